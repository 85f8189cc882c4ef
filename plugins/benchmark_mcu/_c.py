"""ONNX -> C: integer operators, fixed shapes, and one arena for all that is alive between operators."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
from benchmark_onnx import fold
from emx_onnx_cgen import (  # type: ignore[import-untyped]  # it ships no types
    CodegenError,
    Compiler,
    ShapeInferenceError,
    UnsupportedOpError,
)
from emx_onnx_cgen.compiler import CompilerOptions  # type: ignore[import-untyped]  # as above
from onnx import helper

from benchmark import NotApplicable
from benchmark_mcu import _trees
from benchmark_mcu._integers import to_integers

_HEAD = "#include <math.h>\n#include <stdint.h>\n"
_SIZES = {
    "float": 4,
    "int8_t": 1,
    "uint8_t": 1,
    "int16_t": 2,
    "uint16_t": 2,
    "int32_t": 4,
    "uint32_t": 4,
    "int64_t": 8,
    "_Bool": 1,
}
_ALIGNMENT = 8
# Kinds whose output at a place is made from the input at the same place alone.
_IN_PLACE = ("relu", "clip", "reshape", "flatten", "squeeze", "unsqueeze", "identity", "sigmoid", "abs", "tanh")
_INTEGERS = (
    *("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd", "QLinearMul", "QLinearConcat"),
    *("QLinearAveragePool", "QLinearGlobalAveragePool", "MaxPool", "Clip"),
)
_MOVES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Concat")
_DECLARED = re.compile(r"    (\w+) (tmp\w+)((?:\[\d+\])+);")
_CALLED = re.compile(r"    node\d+_(\w+)\((.*)\);")
_LOADER = re.compile(r"_Bool model_load\(.*?\n\}\n\n", re.DOTALL)  # of weights in a file, of which there is none
_ENTRY = re.compile(r"(void model\([^{]*\) \{\n)(.*?)(\n\}\n)", re.DOTALL)


@dataclass(frozen=True)
class Program:
    """C of a model. ``sources``: file name -> text; together they define ``void model(const float input[1]..., float
    output[1][K])``, with weights as constants and nothing on a heap. ``input_shape``: of one row; ``classes``: K.
    ``arena_bytes``: what holds the values between operators. ``exact``: it computes in integers and single products alone, so
    that any compiler that does not contract them gives the same bits."""

    sources: dict[str, str]
    input_shape: tuple[int, ...]
    classes: int
    arena_bytes: int
    exact: bool


def generate(model: onnx.ModelProto) -> Program:
    """C of a model with one float32 input (N, ...) and one float32 output (N, K), for one row at a time. Raises NotApplicable for
    operators of which no C can be made."""
    if len(model.graph.input) != 1 or len(model.graph.output) != 1:
        inputs, outputs = len(model.graph.input), len(model.graph.output)
        raise NotApplicable(f"no C can be made of it: it has {inputs} inputs and {outputs} outputs, not one of each")
    input_shape = tuple(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim)[1:]
    if (trees := _trees.ensemble(model)) is not None:
        source = _trees.c_source(trees, input_shape, _HEAD)
        return Program({"model.c": source}, input_shape, int(source.split("float output[1][")[1].split("]")[0]), 0, False)
    try:
        shaped = _shaped(to_integers(fold(model)))
        options = CompilerOptions(model_name="model", large_weight_threshold=0, large_temp_threshold_bytes=0)
        with contextlib.redirect_stdout(io.StringIO()):
            source, data = Compiler(options).compile_with_data_file(shaped)
    except (CodegenError, ShapeInferenceError, UnsupportedOpError) as error:
        raise NotApplicable(f"no C can be made of it: {str(error).partition(' (while lowering')[0]}") from error
    source, arena = _with_arena(_in_single_precision(_LOADER.sub("", source)))
    classes = shaped.graph.output[-1].type.tensor_type.shape.dim[1].dim_value
    exact = {node.op_type for node in shaped.graph.node} <= {*_INTEGERS, *_MOVES}
    return Program({"model.c": source, "model_data.c": data}, input_shape, classes, arena, exact)


def _shaped(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model at batch 1 with the type and shape of every value, as ONNX Runtime finds them: what exporters say is wrong in
    places, and ONNX's own inference does not know ONNX Runtime's operators."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    probe = onnx.ModelProto.FromString(model.SerializeToString())
    names = [name for node in graph.node for name in node.output if name]
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a class of its own for each of a dozen things
        raise NotApplicable(f"no C can be made of it: {error}") from error
    zeros = np.zeros([dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim], np.float32)
    values = dict(zip(names, session.run(names, {graph.input[0].name: zeros}), strict=True))
    kinds = {
        name: helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in values.items()
    }
    outputs = [value.name for value in graph.output]
    del graph.value_info[:], graph.output[:]
    graph.value_info.extend(kind for name, kind in kinds.items() if name not in outputs)
    graph.output.extend(kinds[name] for name in outputs)
    return model


def _in_single_precision(source: str) -> str:
    """The source with float32 in place of float64, which a Cortex-M4 has no instructions for: there a layer's rescaling alone
    would cost more than its products. Halves are rounded to even, as ONNX says; the generator's average pool does otherwise."""
    source = re.sub(r"\bdouble\b", "float", source)
    source = re.sub(r"\broundf?\(", "nearbyintf(", source)
    source = re.sub(r"(?<![\w.])(\d+\.\d+)(?![\w.])", r"\1f", source)
    return re.sub(r"\b(nearbyint|rint|llrint|lrint|exp|fmax|fmin|fabs|floor|ceil|sqrt|pow|tanh)\(", r"\1f(", source)


def _with_arena(source: str) -> tuple[str, int]:
    """The source with one static arena in the place of an array for each value, and the arena's bytes."""
    match = _ENTRY.search(source)
    assert match is not None  # it was generated under this name
    lines = match[2].splitlines()
    declared = {found[2]: found for line in lines if (found := _DECLARED.fullmatch(line))}
    calls = [(found[1], re.findall(r"\w+", found[2])) for line in lines if (found := _CALLED.fullmatch(line))]
    if len(declared) + len(calls) < len(lines):
        raise NotApplicable("no C can be made of it: the generated code is not a list of calls")
    sizes = {name: _SIZES[found[1]] * prod(map(int, re.findall(r"\d+", found[3]))) for name, found in declared.items()}
    offsets, arena = place(sizes, *_lives(sizes, calls))
    body = []
    for line in lines:
        if found := _DECLARED.fullmatch(line):
            kind, name, shape = found.groups()
            inner = re.sub(r"^\[\d+\]", "", shape)
            body.append(f"    {kind} (*const {name}){inner} = ({kind} (*){inner})(arena.bytes + {offsets[name]});")
        else:
            body.append(line)
    storage = f"static union {{ int64_t alignment; unsigned char bytes[{arena}]; }} arena;\n\n" if arena else ""
    return f"{source[: match.start()]}{storage}{match[1]}{chr(10).join(body)}{match[3]}{source[match.end() :]}", arena


def _lives(sizes: dict[str, int], calls: list[tuple[str, list[str]]]) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """For each value the first and the last call that it takes part in; and the values that can lie where the one that they are
    made from lay, by name."""
    life: dict[str, tuple[int, int]] = {}
    for index, (_, names) in enumerate(calls):
        for name in names:
            if name in sizes:
                life[name] = life.get(name, (index, index))[0], index
    over = {}
    for index, (kind, names) in enumerate(calls):
        values = [name for name in names if name in sizes]
        if kind in _IN_PLACE and len(values) == 2 and sizes[values[0]] == sizes[values[1]] and life[values[0]][1] == index:
            over[values[1]] = values[0]
    return life, over


def place(sizes: dict[str, int], life: dict[str, tuple[int, int]], over: dict[str, str]) -> tuple[dict[str, int], int]:
    """Offset of each value, and the arena's size: the largest first, each at the lowest place that is free while it lives (greedy
    by size: Pisarchyk and Lee 2020, arXiv:2001.03288). Values of ``over`` lie where the one that they name does."""

    def home(name: str) -> str:
        while name in over:
            name = over[name]
        return name

    groups: dict[str, tuple[int, int]] = {}
    for name, (first, last) in life.items():
        known = groups.get(home(name), (first, last))
        groups[home(name)] = min(known[0], first), max(known[1], last)
    placed: dict[str, int] = {}
    for name in sorted(groups, key=lambda one: (-sizes[one], groups[one])):
        first, last = groups[name]
        beside = [one for one in placed if groups[one][0] <= last and groups[one][1] >= first]
        taken = sorted((placed[one], placed[one] + sizes[one]) for one in beside)
        offset = 0
        for start, end in taken:
            if offset + sizes[name] <= start:
                break
            offset = max(offset, _aligned(end))
        placed[name] = offset
    arena = max((offset + sizes[name] for name, offset in placed.items()), default=0)
    return {name: placed[home(name)] for name in life}, arena


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
