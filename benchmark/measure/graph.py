"""Facts of an ONNX artifact, read from its graph: what it stores, what it computes, and whether two artifacts are one program.

The rules, so that the numbers can be set beside another tool's:

- A *constant* is an initializer or the output of a Constant node. Constant nodes are storage, not operators.
- *Parameters* are the elements of the constants, of rank 1 or more, that a node reads: floating ones, integers of up to 16 bits,
  and int32 biases of quantised operators. Scales, zero points, and int32, int64 and boolean constants (shapes, indices, axes)
  are not; a scalar belongs to a formula. A tensor with several readers counts once; two tensors with equal bytes are stored
  twice and count twice. Statistics of a batch normalisation that is still in the graph count. From operators of
  ``ai.onnx.ml``: coefficients, intercepts, offsets and scales; of tree ensembles thresholds, leaf weights and base values.
- A parameter is *non-zero* where the stored value differs from zero or, quantised, from its zero point.
- *MACs* are multiply-adds at batch 1 of convolutions, matrix products, recurrent layers and linear models, biases not counted;
  every other operator counts 0. A node fed by constants alone is computed once, while loading, and counts 0 too.
- *Resident weight bytes* are what a device holds after loading: the constants that nodes read at run time, as they are stored;
  what is computed from constants alone, as it comes out (float16 weights behind a Cast are float32 then), unless a
  DequantizeLinear computes it, which integer kernels do without; and numbers in attributes.
- *Peak activation bytes* are the most that is alive at once at batch 1 while nodes run one by one in graph order: a value lives
  from the node that makes it to the last that reads it, the graph's input and output to either end. A view (Reshape and the
  like) needs no memory of its own, nor does what QuantizeLinear and DequantizeLinear stand between: an integer kernel reads and
  writes the quantised values. A runtime that plans otherwise, or works in place, needs more or less.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import inliner, numpy_helper

_SCALE_SLOTS = {  # inputs that hold scales and zero points, by position
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
    "QGemm": (1, 2, 4, 5, 7, 8),  # of ONNX Runtime: what its quantiser makes of a Gemm where it does not write Q and DQ pairs
}
_ZERO_POINTS = {  # quantised input -> its zero point's input and, where that is a vector, the axis it runs along
    ("DequantizeLinear", 0): (2, 1),  # unless the node's attribute says another axis
    ("QLinearConv", 3): (5, 0),
    ("QLinearMatMul", 3): (5, -1),
    ("ConvInteger", 1): (3, 0),
    ("MatMulInteger", 1): (3, -1),
    ("QGemm", 3): (5, -1),  # unless transposed
}
_INT32_WEIGHTS = {("DequantizeLinear", 0), ("QLinearConv", 8), ("QGemm", 6)}
_NARROW = {f"{sign}int{bits}" for sign in ("", "u") for bits in (2, 4, 8, 16)}
_WEIGHT_ATTRIBUTES = (
    *("coefficients", "intercepts", "offset", "scale", "support_vectors", "rho"),
    *("class_weights", "target_weights", "leaf_weights", "nodes_splits", "base_values"),
)
_STANDARD = ("", "ai.onnx")  # two names of the default domain
_LINEAR = ("LinearClassifier", "LinearRegressor")
_UNCOUNTED = ("Attention", "DeformConv", "DFT", "STFT", "SVMClassifier", "SVMRegressor")  # they multiply and add, by other rules


@dataclass(frozen=True)
class Facts:
    """``parameters``, ``nonzero_parameters``: elements. ``resident_weight_bytes`` and, None where shapes are not known,
    ``activation_peak_bytes``. ``macs``: multiply-adds at batch 1, None where ``macs_reason`` says why they cannot be counted.
    ``dtypes``: elements really stored by dtype (initializers, tensors and lists of floats in attributes).
    ``operators``: nodes by operator. ``nodes``: their sum. ``program``: sha256, in hex, of the operators in graph order with
    their attributes, wiring and constants' bytes; names, documentation and shapes of inner values do not enter."""

    parameters: int
    nonzero_parameters: int
    resident_weight_bytes: int
    activation_peak_bytes: int | None
    macs: int | None
    macs_reason: str
    dtypes: Mapping[str, int]
    operators: Mapping[str, int]
    nodes: int
    program: str


def facts(folder: Path) -> Facts | None:
    """Facts of the ONNX model in ``folder``, None where there is none. Raises ValueError for more than one model, and for sparse
    initializers, which no rule here covers."""
    paths = sorted(folder.rglob("*.onnx"))
    if not paths:
        return None
    if len(paths) > 1:
        raise ValueError(f"{folder} holds {len(paths)} ONNX models: {', '.join(path.name for path in paths)}")
    model = onnx.load(paths[0])
    if model.functions:
        model = inliner.inline_local_functions(model)
    graphs = list(_graphs(model.graph))
    if any(graph.sparse_initializer for graph in graphs):
        raise ValueError(f"{paths[0]} has sparse initializers")
    nodes = [node for graph in graphs for node in graph.node if node.op_type != "Constant"]
    constants = {name: value for graph in graphs for name, value in _constants(graph).items()}
    weights = [*_weight_inputs(nodes, constants), *_weight_attributes(nodes)]
    operators = Counter(node.op_type for node in nodes)
    macs, macs_reason = _macs(model, constants)
    return Facts(
        parameters=sum(nonzero.size for nonzero in weights),
        nonzero_parameters=sum(int(nonzero.sum()) for nonzero in weights),
        resident_weight_bytes=_resident(model, nodes, constants),
        activation_peak_bytes=_activation_peak(model, constants),
        macs=macs,
        macs_reason=macs_reason,
        dtypes=dict(sorted(_stored(nodes, constants).items())),
        operators=dict(sorted(operators.items())),
        nodes=operators.total(),
        program=_program(model.graph, {}, ""),
    )


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.type in (attribute.GRAPH, attribute.GRAPHS) else ():
                yield from _graphs(inner)


def _has_subgraph(node: onnx.NodeProto) -> bool:
    return any(attribute.type in (attribute.GRAPH, attribute.GRAPHS) for attribute in node.attribute)


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            value = onnx.helper.get_attribute_value(node.attribute[0])
            if isinstance(value, onnx.TensorProto):
                found[node.output[0]] = numpy_helper.to_array(value)
            else:
                dtype = np.float32 if node.attribute[0].name.startswith("value_float") else None
                found[node.output[0]] = np.asarray(value, dtype=dtype)
    return found


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((onnx.helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)


def _weight_inputs(nodes: list[onnx.NodeProto], constants: Mapping[str, NDArray[Any]]) -> list[NDArray[np.bool_]]:
    """For each constant that is a weight: where it is not zero."""
    dynamic_scales = {node.output[1] for node in nodes if node.op_type == "DynamicQuantizeLinear"}
    nonzero: dict[str, NDArray[np.bool_]] = {}
    for node in nodes:
        if node.op_type == "Mul" and dynamic_scales & set(node.input):
            continue  # dynamic quantisation multiplies the activation's scale by the weight's
        for slot, name in enumerate(node.input):
            value = constants.get(name)
            if value is None or name in nonzero or value.ndim == 0 or slot in _SCALE_SLOTS.get(node.op_type, ()):
                continue
            is_weight = value.dtype.name.startswith(("float", "bfloat")) or value.dtype.name in _NARROW
            if is_weight or (value.dtype == np.int32 and (node.op_type, slot) in _INT32_WEIGHTS):
                nonzero[name] = np.asarray(value != _zero(node, slot, value, constants), dtype=np.bool_)
    return list(nonzero.values())


def _zero(node: onnx.NodeProto, slot: int, value: NDArray[Any], constants: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The stored value that means zero, in a shape that broadcasts to the weight's."""
    zero_slot, axis = _ZERO_POINTS.get((node.op_type, slot), (len(node.input), 0))
    if zero_slot >= len(node.input) or node.input[zero_slot] not in constants:
        return np.zeros((), dtype=value.dtype)
    zero = constants[node.input[zero_slot]]
    axis = 0 if _attribute(node, "transB", 0) else _attribute(node, "axis", axis)
    if zero.size == 1:
        return zero.reshape(())
    if zero.ndim == 1:
        return zero.reshape([-1 if i == axis % value.ndim else 1 for i in range(value.ndim)])
    return np.repeat(zero, _attribute(node, "block_size", 1), axis=axis)  # one zero point a block, along the axis


def _weight_attributes(nodes: list[onnx.NodeProto]) -> list[NDArray[np.bool_]]:
    found = []
    for node in nodes:
        if node.domain != "ai.onnx.ml":
            continue
        for name in _WEIGHT_ATTRIBUTES:
            found.append(_numbers(_attribute(node, name, [])) != 0)
        thresholds = _numbers(_attribute(node, "nodes_values", _attribute(node, "nodes_values_as_tensor", [])))
        modes = np.asarray(_attribute(node, "nodes_modes", []))
        if node.op_type != "TreeEnsemble" and thresholds.size:  # in the older operators leaves have a dummy threshold
            found.append(thresholds[modes != b"LEAF"] != 0)
    return found


def _numbers(value: Any) -> NDArray[Any]:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value, dtype=np.float32)


def _stored(nodes: list[onnx.NodeProto], constants: Mapping[str, NDArray[Any]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for value in constants.values():
        counts[value.dtype.name] += value.size
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        if attribute.type in (attribute.TENSOR, attribute.FLOATS):
            value = _numbers(onnx.helper.get_attribute_value(attribute))
            counts[value.dtype.name] += value.size
    return counts


def _resident(model: onnx.ModelProto, nodes: list[onnx.NodeProto], constants: Mapping[str, NDArray[Any]]) -> int:
    stored = {name: (value.size * _bits(value.dtype) + 7) // 8 for name, value in constants.items()}
    total = sum(_loaded(model, constants, stored).values())
    for domain, attribute in [(node.domain, one) for node in nodes for one in node.attribute]:
        value = onnx.helper.get_attribute_value(attribute)
        if attribute.type == attribute.TENSOR:
            total += numpy_helper.to_array(value).nbytes
        elif attribute.type == attribute.FLOATS:
            total += 4 * len(value)
        elif attribute.type == attribute.INTS and domain == "ai.onnx.ml":  # the structure of trees; elsewhere paddings
            total += 8 * len(value)
    return total


def _loaded(model: onnx.ModelProto, constants: Mapping[str, NDArray[Any]], stored: Mapping[str, int]) -> Mapping[str, int]:
    """Value -> its bytes, of all that is known before the first input and read at each; as stored where shapes are not known."""
    graph = model.graph
    if any(_has_subgraph(node) for node in graph.node):
        return stored
    run, fixed = _at_run_time(graph, constants)
    run += [node for node in graph.node if node.op_type == "DequantizeLinear" and node.output[0] in fixed]
    made = {node.output[0] for node in run}
    read = {name for node in run for name in node.input} | {value.name for value in graph.output}
    computed = (read & fixed) - constants.keys() - made
    try:
        shape, bits = _shapes(model, constants), _element_bits(model)
        sizes = {name: (prod(shape(name)) * bits[name] + 7) // 8 for name in computed}
    except (_UncountableError, KeyError):
        return stored
    return {name: stored[name] for name in read & constants.keys()} | sizes


def _bits(dtype: np.dtype[Any]) -> int:
    """Bits of an element. numpy holds the narrowest integers in whole bytes, which no device has to do."""
    narrow = re.fullmatch(r"u?int([24])", dtype.name)
    return int(narrow[1]) if narrow else 8 * dtype.itemsize


def _activation_peak(model: onnx.ModelProto, constants: Mapping[str, NDArray[Any]]) -> int | None:
    graph = model.graph
    if any(_has_subgraph(node) for node in graph.node):
        return None
    inputs = [value.name for value in graph.input if value.name not in constants]
    outputs = [value.name for value in graph.output]
    nodes, fixed = _at_run_time(graph, constants)
    store = _stores(nodes, inputs, outputs)
    made = [[name for name in node.output if name] for node in nodes]
    try:
        shape, bits = _shapes(model, constants), _element_bits(model)
        size: dict[str, int] = {}
        for name in itertools.chain(inputs, *made):
            own = prod(shape(name)) * bits[name] // 8
            size[store(name)] = min(size.get(store(name), own), own)  # of what shares a store, the quantised value
    except (_UncountableError, KeyError):
        return None
    last = {store(name): i for i, node in enumerate(nodes) for name in node.input if name and name not in fixed}
    last |= {store(name): len(nodes) for name in outputs}
    alive, peak = set(map(store, inputs)), 0
    for i, names in enumerate(made):
        alive |= set(map(store, names))
        peak = max(peak, sum(size[name] for name in alive))
        alive = {name for name in alive if last.get(name, i) > i}
    return peak


def _at_run_time(graph: onnx.GraphProto, constants: Collection[str]) -> tuple[list[onnx.NodeProto], set[str]]:
    """The nodes that run at each call, and the values that are known before: constants, and what is computed from them alone."""
    nodes, fixed = [], set(constants)
    for node in graph.node:
        known = node.input and fixed.issuperset(filter(None, node.input)) and not _has_subgraph(node)
        if known or node.op_type == "Constant":
            fixed.update(node.output)
        else:
            nodes.append(node)
    return nodes, fixed


def _stores(nodes: list[onnx.NodeProto], inputs: Collection[str], outputs: Collection[str]) -> Callable[[str], str]:
    """Names what a value is stored in: itself, or the value that it is a view of or is quantised from or to."""
    readers = Counter(name for node in nodes for name in node.input)
    same = {}
    for node in nodes:
        view = node.op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
        read = node.op_type == "DequantizeLinear" and node.output[0] not in outputs
        written = node.op_type == "QuantizeLinear" and readers[node.input[0]] == 1 and node.input[0] not in inputs
        if view or read or written:
            same[node.output[0]] = node.input[0]

    def store(name: str) -> str:
        while name in same:
            name = same[name]
        return name

    return store


def _element_bits(model: onnx.ModelProto) -> dict[str, int]:
    """Bits of an element, by value."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    return {name: _bits(onnx.helper.tensor_dtype_to_np_dtype(kind)) for name, kind in kinds.items() if kind}


class _UncountableError(Exception):
    """Why what depends on shapes is not known."""


def _macs(model: onnx.ModelProto, constants: Mapping[str, NDArray[Any]]) -> tuple[int | None, str]:
    try:
        shape = _shapes(model, constants)
        total = sum(_node_macs(node, shape) for node in _at_run_time(model.graph, constants)[0])
    except _UncountableError as error:
        return None, str(error)
    return total, ""


def _shapes(model: onnx.ModelProto, constants: Mapping[str, NDArray[Any]]) -> Callable[[str], list[int]]:
    """Looks a value's shape up at batch 1. What the file says of inner values and outputs is inferred afresh, as some exporters
    are wrong there; integers computed from shapes are computed too, as a Reshape may need them."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    graph = single.graph
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    for value in graph.input:
        if value.name not in constants and value.type.tensor_type.shape.dim:  # older files list initializers as inputs too
            value.type.tensor_type.shape.dim[0].dim_value = 1
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    values = dict(constants)
    while True:
        known: dict[str, list[int]] = _inferred(single) | {name: list(value.shape) for name, value in values.items()}
        computed = {node.output[0]: value for node in graph.node if (value := _integers(node, known, values, opsets)) is not None}
        if not computed:
            break
        values |= computed
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in computed.items())
        rest = [node for node in graph.node if node.output[0] not in computed]
        del graph.node[:]
        graph.node.extend(rest)

    def shape(name: str) -> list[int]:
        if name not in known:
            raise _UncountableError(f"the shape of {name!r} is not known")
        return known[name]

    return shape


def _inferred(model: onnx.ModelProto) -> dict[str, list[int]]:
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except onnx.shape_inference.InferenceError as error:
        raise _UncountableError(f"shapes cannot be inferred: {error}") from error
    shapes = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = [dim.dim_value for dim in dims]
    return shapes


def _integers(
    node: onnx.NodeProto, known: Mapping[str, list[int]], values: Mapping[str, NDArray[Any]], opsets: dict[str, int]
) -> NDArray[Any] | None:
    """What a node that computes on shapes gives: a Shape of a known shape, or any operator on integers already known."""
    if node.op_type == "Shape" and node.input[0] in known:
        return np.array(known[node.input[0]][_attribute(node, "start", 0) : _attribute(node, "end", None)], dtype=np.int64)
    feeds = {name: values.get(name) for name in node.input if name}
    if not feeds or any(value is None or value.dtype.kind != "i" for value in feeds.values()):
        return None
    if node.domain not in _STANDARD or _has_subgraph(node):
        return None
    from onnx.reference import ReferenceEvaluator  # as slow to import as all the rest, and few graphs need it

    (result, *_) = ReferenceEvaluator(node, opsets=opsets).run(None, feeds)
    return np.asarray(result)


def _node_macs(node: onnx.NodeProto, shape: Callable[[str], list[int]]) -> int:
    if node.op_type in _UNCOUNTED or (node.domain not in (*_STANDARD, "ai.onnx.ml") and node.op_type != "QGemm"):
        raise _UncountableError(f"no rule for operator {node.domain and node.domain + '.'}{node.op_type}")
    if _has_subgraph(node):
        raise _UncountableError(f"how often the subgraph of {node.op_type} runs is not known")
    match node.op_type:
        case "Conv" | "ConvInteger" | "QLinearConv":
            weight = shape(node.input[3 if node.op_type == "QLinearConv" else 1])  # (out, in / groups, kernel...)
            return prod(shape(node.output[0])) * prod(weight[1:])
        case "ConvTranspose":  # each input element meets (out / groups, kernel...) weights
            return prod(shape(node.input[0])) * prod(shape(node.input[1])[1:])
        case "Gemm" | "QGemm":
            rows = shape(node.input[0])[1 if _attribute(node, "transA", 0) else 0]
            return rows * prod(shape(node.input[3 if node.op_type == "QGemm" else 1]))
        case "MatMul" | "MatMulInteger" | "QLinearMatMul":
            return prod(shape(node.output[0])) * shape(node.input[0])[-1]
        case "Einsum":
            return _einsum_macs(_attribute(node, "equation", b"").decode(), [shape(name) for name in node.input])
        case "RNN" | "GRU" | "LSTM":  # X is (time, batch, in), or batch first; W and R hold all gates and directions
            time_and_batch = shape(node.input[0])[:2]
            return prod(time_and_batch) * (prod(shape(node.input[1])) + prod(shape(node.input[2])))
        case operator if operator in _LINEAR:
            return len(_attribute(node, "coefficients", []))
    return 0


def _einsum_macs(equation: str, shapes: list[list[int]]) -> int:
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if "." in equation:
        raise _UncountableError(f"no rule for Einsum with an ellipsis: {equation}")
    sizes = {letter: size for term, shape in zip(terms, shapes, strict=True) for letter, size in zip(term, shape, strict=True)}
    return prod(sizes.values()) * (len(terms) - 1)


def _program(graph: onnx.GraphProto, outer: Mapping[str, str], level: str) -> str:
    """Values are referred to by where they come from: a constant by its bytes, an input or a node's output by its place."""
    constants = {name: _constant_digest(value) for name, value in _constants(graph).items()}
    inputs = {value.name: f"{level}input{i}" for i, value in enumerate(graph.input)}
    places = {"": "", **outer, **inputs, **constants}
    digest = hashlib.sha256()
    for i, node in enumerate(node for node in graph.node if node.op_type != "Constant"):
        place = f"{level}{i}"
        attributes = sorted((entry.name, _attribute_text(entry, places, f"{place}/")) for entry in node.attribute)
        domain = "" if node.domain in _STANDARD else node.domain
        digest.update(repr((domain, node.op_type, attributes, [places[name] for name in node.input])).encode())
        places |= {name: f"{place}.{j}" for j, name in enumerate(node.output) if name}
    digest.update(repr([places[value.name] for value in graph.output]).encode())
    return digest.hexdigest()


def _constant_digest(value: NDArray[Any]) -> str:
    return hashlib.sha256(repr((value.dtype.name, value.shape)).encode() + value.tobytes()).hexdigest()


def _attribute_text(attribute: onnx.AttributeProto, places: Mapping[str, str], level: str) -> str:
    match onnx.helper.get_attribute_value(attribute):
        case onnx.TensorProto() as tensor:
            return _constant_digest(numpy_helper.to_array(tensor))
        case onnx.GraphProto() as graph:
            return _program(graph, places, level)
        case value:
            return repr(value)
