"""The runtime ``mcu``: integers, arena and trees against ONNX Runtime, and the boards against programs whose needs are known."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
import pytest
from benchmark_mcu import _board
from benchmark_mcu._c import Program, generate, place
from benchmark_mcu._integers import to_integers
from benchmark_mcu._runtime import Microcontroller
from benchmark_onnx import fold
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import (  # type: ignore[import-untyped]
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from skl2onnx import to_onnx  # type: ignore[import-untyped]  # it ships no types
from sklearn.ensemble import (  # type: ignore[import-untyped]  # it ships no types
    GradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier  # type: ignore[import-untyped]  # it ships no types

from benchmark import NotApplicable

Floats: TypeAlias = NDArray[np.float32]

emulated = pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None or shutil.which("arm-none-eabi-gcc") is None,
    reason="no cross compiler or emulator here: apt-get install what benchmark_mcu names",
)
RNG = np.random.default_rng(0)
IMAGES = RNG.random((64, 2, 12, 12), np.float32)

# A bit of everything that exporters write between a pair: relu and relu6, strides, groups, a residual, a concatenation, pools.
NETWORK = """<ir_version: 10, opset_import: ["": 20]> model (float[N,2,12,12] input) => (float[N,5] output) {
    zero = Constant <value = float {0.0}> ()
    six = Constant <value = float {1.5}> ()
    axes = Constant <value = int64[2] {2, 3}> ()
    c1 = Conv <pads = [1, 1, 1, 1]> (input, w1, b1)
    r1 = Relu(c1)
    c2 = Conv <pads = [1, 1, 1, 1], group = 8> (r1, w2, b2)
    r2 = Clip(c2, zero, six)
    c3 = Conv(r2, w3, b3)
    sum = Add(c3, r1)
    p1 = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (sum)
    p2 = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (r1)
    both = Concat <axis = 1> (p1, p2)
    mean = ReduceMean <keepdims = 0> (both, axes)
    h = Gemm <transB = 1> (mean, w4, b4)
    r4 = Relu(h)
    output = Gemm <transB = 1> (r4, w5, b5)
}"""
SHAPES = {
    "w1": (8, 2, 3, 3),
    "b1": (8,),
    "w2": (8, 1, 3, 3),
    "b2": (8,),
    "w3": (8, 8, 1, 1),
    "b3": (8,),
    "w4": (12, 16),
    "b4": (12,),
    "w5": (5, 12),
    "b5": (5,),
}


def network() -> onnx.ModelProto:
    model = onnx.parser.parse_model(NETWORK)
    for name, shape in SHAPES.items():
        scale = 0.2 if len(shape) == 1 else float(np.sqrt(3 / np.prod(shape[1:])))
        value = np.random.default_rng(len(model.graph.initializer)).normal(scale=scale, size=shape)
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    return model


class Rows(CalibrationDataReader):  # type: ignore[misc]  # it ships no types
    def __init__(self, x: Floats) -> None:
        self._rows = iter(x)

    def get_next(self) -> dict[str, Floats] | None:
        row = next(self._rows, None)
        return None if row is None else {"input": row[None]}


def quantized(model: onnx.ModelProto, x: Floats, folder: Path, activations: Any = QuantType.QUInt8) -> onnx.ModelProto:
    onnx.save(fold_constants(model), folder / "float.onnx")
    options = {"per_channel": True, "weight_type": QuantType.QInt8, "activation_type": activations, "reduce_range": True}
    quantize_static(folder / "float.onnx", folder / "int8.onnx", Rows(x), quant_format=QuantFormat.QDQ, **options)
    return onnx.load(folder / "int8.onnx")


def run(model: onnx.ModelProto, x: Floats) -> Floats:
    """What ONNX Runtime gives without any of its rewrites."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs: Floats = session.run(["output"], {session.get_inputs()[0].name: x})[0]
    return outputs


def loaded(model: onnx.ModelProto, folder: Path) -> Any:
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    return Microcontroller().load(folder, 1)


# Integers


@pytest.mark.parametrize("activations", [QuantType.QUInt8, QuantType.QInt8])
def test_pairs_become_integers_that_differ_by_a_step(activations: Any, tmp_path: Path) -> None:
    pairs = quantized(network(), IMAGES, tmp_path, activations)
    integers = to_integers(pairs)
    kinds = Counter(node.op_type for node in integers.graph.node)
    assert kinds["Conv"] == kinds["Gemm"] == kinds["Add"] == kinds["ReduceMean"] == 0
    assert kinds["QuantizeLinear"] == kinds["DequantizeLinear"] == 1  # of the input and of the output
    expected, found = run(pairs, IMAGES), run(integers, IMAGES)
    assert np.abs(expected - found).max() < 0.05 * np.ptp(expected)  # a step of an inner value's scale
    assert (expected.argmax(1) == found.argmax(1)).mean() >= 0.98
    assert np.ptp(expected) > 0.1


def test_a_clip_within_the_range_stays_one(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> model (float[N,4] input) => (float[N,4] output) {
        low = Constant <value = float {-1.0}> ()
        high = Constant <value = float {2.0}> ()
        q = QuantizeLinear(input, s, z)
        d = DequantizeLinear(q, s, z)
        e = Add(d, d)
        c = Clip(e, low, high)
        qc = QuantizeLinear(c, t, z)
        output = DequantizeLinear(qc, t, z)
    }"""
    model = onnx.parser.parse_model(text)
    for name, value in (("s", np.float32(0.05)), ("t", np.float32(0.1)), ("z", np.uint8(128))):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    integers = to_integers(onnx.shape_inference.infer_shapes(fold_constants(model)))
    assert [node.op_type for node in integers.graph.node] == ["QuantizeLinear", "QLinearAdd", "Clip", "DequantizeLinear"]
    x = np.linspace(-6, 6, 400, dtype=np.float32).reshape(-1, 4)
    found = run(integers, x)
    assert np.abs(found - run(model, x)).max() < 0.1001  # a step
    assert (found.min(), found.max()) == (pytest.approx(-1), pytest.approx(2))


HEAD = "q = QuantizeLinear(input, s, z)\n d = DequantizeLinear(q, s, z)\n"
CLOSE = "yq = QuantizeLinear(y, t, z)\n output = DequantizeLinear(yq, t, z)"
WEIGHT = "w = DequantizeLinear <axis = {axis}> (wq, ws, wz)\n"
ODD = {
    # The scales of a square weight run along one axis or the other, and nothing but the attribute says which.
    **{
        f"gemm, transB {transposed}, axis {axis}": (
            (8,),
            8,
            HEAD + WEIGHT.format(axis=axis) + f"output = Gemm <transB = {transposed}> (d, w)",
        )
        for transposed in (0, 1)
        for axis in (0, 1)
    },
    **{f"matmul, axis {axis}": ((8,), 8, HEAD + WEIGHT.format(axis=axis) + "y = MatMul(d, w)\n" + CLOSE) for axis in (0, 1)},
    **{
        f"conv, axis {axis}": (
            (8, 6, 6),
            8,
            HEAD
            + WEIGHT.format(axis=axis).replace("wq", "cq")
            + "y = Conv(d, w)\n yq = QuantizeLinear(y, t, z)\n yd = DequantizeLinear(yq, t, z)\n"
            + "g = GlobalAveragePool(yd)\n output = Flatten(g)",
        )
        for axis in (0, 1)
    },
    # A mean over some of the axes is no global pool.
    **{
        f"mean over {axes}": (
            (4, 6, 6),
            4,
            HEAD + f"a = Constant <value = int64[{len(axes)}] {{{', '.join(map(str, axes))}}}> ()\n y = ReduceMean(d, a)\n"
            "yq = QuantizeLinear(y, s, z)\n yd = DequantizeLinear(yq, s, z)\n g = GlobalMaxPool(yd)\n output = Flatten(g)",
        )
        for axes in ([2], [-1], [3], [2, 3], [-2, -1])
    },
    "rounded again to another type": (
        (4,),
        4,
        HEAD.replace("z)", "zero)") + "q2 = QuantizeLinear(d, s, izero)\n output = DequantizeLinear(q2, s, izero)",
    ),
    "a view between two types": (
        (2, 2),
        4,
        HEAD.replace("z)", "zero)")
        + "f = Flatten(d)\n q2 = QuantizeLinear(f, s, izero)\n output = DequantizeLinear(q2, s, izero)",
    ),
    "a bias beyond 32 bits": (
        (8,),
        8,
        HEAD + WEIGHT.format(axis=0).replace("ws", "tiny") + "output = Gemm <transB = 1> (d, w, b)",
    ),
    "a pool with padding": (
        (4, 6, 6),
        144,
        HEAD + "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (d)\n yq = QuantizeLinear(y, s, z)\n"
        "yd = DequantizeLinear(yq, s, z)\n output = Flatten(yd)",
    ),
    "a value with two readers": (
        (8,),
        8,
        HEAD + WEIGHT.format(axis=0) + "y = Gemm <transB = 1> (d, w)\n r = Relu(y)\n rq = QuantizeLinear(r, t, z)\n"
        "rd = DequantizeLinear(rq, t, z)\n output = Add(rd, y)",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_what_only_looks_like_a_pair_is_left_alone(name: str) -> None:
    shape, classes, body = ODD[name]
    sizes = ",".join(map(str, shape))
    head = '<ir_version: 10, opset_import: ["": 20]>'
    model = onnx.parser.parse_model(f"{head} model (float[N,{sizes}] input) => (float[N,{classes}] output) {{\n{body}\n}}")
    rng = np.random.default_rng(0)
    scales = np.linspace(0.001, 0.05, 8).astype(np.float32)
    constants = {
        "s": np.float32(0.02),
        "t": np.float32(0.1),
        "z": np.uint8(128),
        "zero": np.uint8(0),
        "izero": np.int8(0),
        "wq": rng.integers(-100, 100, (8, 8)).astype(np.int8),
        "ws": scales,
        "wz": np.zeros(8, np.int8),
        "cq": rng.integers(-30, 30, (8, 8, 3, 3)).astype(np.int8),
        "tiny": np.where(np.arange(8) == 3, np.float32(1e-9), scales),
        "b": np.ones(8, np.float32),
    }
    used = {one for node in model.graph.node for one in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k in used)
    model = fold_constants(model)
    x = rng.normal(scale=0.8, size=(64, *shape)).astype(np.float32)
    expected, found = run(model, x), run(to_integers(model), x)
    assert np.ptp(expected) > 0.5
    assert np.abs(expected - found).max() <= 0.1001  # a step of the coarsest scale


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Constant nodes as initializers, as every export has them."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for node in [node for node in model.graph.node if node.op_type == "Constant"]:
        model.graph.node.remove(node)
        model.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(node.attribute[0].t), node.output[0]))
    return model


def test_floats_pass_unchanged() -> None:
    model = fold_constants(network())
    assert np.array_equal(run(to_integers(model), IMAGES), run(model, IMAGES))


# The arena


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=25))
def test_no_two_values_that_live_at_once_overlap(values: list[tuple[int, int, int]]) -> None:
    sizes = {str(i): size for i, (size, _, _) in enumerate(values)}
    life = {str(i): (min(a, b), max(a, b)) for i, (_, a, b) in enumerate(values)}
    offsets, arena = place(sizes, life, {})
    for one, other in itertools.combinations(sizes, 2):
        at_once = life[one][0] <= life[other][1] and life[other][0] <= life[one][1]
        apart = offsets[one] + sizes[one] <= offsets[other] or offsets[other] + sizes[other] <= offsets[one]
        assert apart or not at_once
    alive = [sum(size for name, size in sizes.items() if life[name][0] <= at <= life[name][1]) for at in range(21)]
    assert max(alive) <= arena <= sum(size + 8 for size in sizes.values())


def test_a_chain_needs_the_largest_pair_and_what_lies_over_another_nothing() -> None:
    sizes = {"a": 800, "b": 800, "c": 160, "d": 80}
    life = {"a": (0, 1), "b": (1, 2), "c": (2, 3), "d": (3, 4)}
    assert place(sizes, life, {})[1] == 1600
    offsets, arena = place(sizes, life, {"b": "a"})
    assert (offsets["a"], arena) == (offsets["b"], 960)


# Trees


@emulated
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "make",
    [
        lambda: DecisionTreeClassifier(max_depth=5, random_state=0),
        lambda: RandomForestClassifier(12, max_depth=5, random_state=0),
        lambda: GradientBoostingClassifier(n_estimators=8, max_depth=3, random_state=0),
    ],
    ids=["tree", "forest", "boosting"],
)
def test_trees_give_what_onnx_runtime_gives(make: Callable[[], Any], classes: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(classes)
    x = rng.normal(size=(300, 7)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int) + (classes == 3) * (x[:, 3] > 0.5)
    fitted = make().fit(x, y)
    model = to_onnx(fitted, x[:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 1})
    model.graph.input[0].name = "input"
    for node in model.graph.node:
        node.input[:] = ["input" if name == "X" else name for name in node.input]
        node.output[:] = ["output" if name == "probabilities" else name for name in node.output]
    kept = [value for value in model.graph.output if value.name == "probabilities"]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    model.graph.output[0].name = "output"
    model = fold(model)
    assert [node.op_type for node in model.graph.node] == ["TreeEnsembleClassifier"]
    predictor = loaded(model, tmp_path / "artifact")
    np.testing.assert_allclose(predictor.predict(x[:100]), run(model, x[:100]), atol=1e-5)
    told = predictor.device()
    assert told["label_agreement"] == 1
    assert told["flash_bytes"] > 6 * fitted.tree_.node_count if hasattr(fitted, "tree_") else told["flash_bytes"] > 1000


# The boards


@emulated
def test_networks_give_what_onnx_runtime_gives(tmp_path: Path) -> None:
    model = fold_constants(network())
    plain = loaded(model, tmp_path / "float")
    np.testing.assert_allclose(plain.predict(IMAGES), run(model, IMAGES), atol=1e-4)
    pairs = quantized(network(), IMAGES, tmp_path)
    small = loaded(pairs, tmp_path / "int8")
    found = small.predict(IMAGES)
    apart = np.abs(found - run(to_integers(pairs), IMAGES))
    step = float(np.diff(np.unique(found.round(6))).min())
    assert apart.max() < 1.01 * step
    assert (apart < 1e-5).mean() > 0.9  # the others: means of four that lie halfway between two integers
    floats, integers = plain.device(), small.device()
    weights = sum(int(np.prod(shape)) for name, shape in SHAPES.items() if name.startswith("w"))
    assert integers["flash_bytes"] > weights
    assert floats["flash_bytes"] > 4 * weights
    # No weight and no activation is expanded: RAM holds the input, float32, and integers.
    assert integers["ram_bytes"] < 4 * (2 * 12 * 12 + 5) + 3 * 8 * 12 * 12 + 700
    assert floats["ram_bytes"] > 4 * (2 * 12 * 12 + 5) + 4 * 2 * 8 * 12 * 12
    assert floats["label_agreement"] == 1
    assert integers["label_agreement"] >= 0.98


@emulated
def test_figures_are_the_same_each_time(tmp_path: Path) -> None:
    model = quantized(network(), IMAGES, tmp_path)
    told = []
    for number in range(2):
        predictor = loaded(model, tmp_path / str(number))
        predictor.predict(IMAGES[:25])
        told.append(predictor.device())
    assert told[0] == told[1]


def program(body: str, before: str = "") -> Program:
    source = f"{before}\nvoid model(const float input[1][4], float output[1][2]) {{\n{body}\n}}\n"
    return Program({"model.c": source}, (4,), 2, 0, exact=False)


@emulated
@pytest.mark.parametrize("core", [_board.M4, _board.M7], ids=["M4", "M7"])
def test_instructions_are_counted_one_by_one(core: _board.Core, tmp_path: Path) -> None:
    x = RNG.random((3, 4), np.float32)
    counts = []
    for number in (100, 1100):
        nops = program(f'__asm volatile(".rept {number}\\n nop\\n .endr"); output[0][0] = input[0][1]; output[0][1] = 7.0f;')
        ran = _board.run(_board.build(nops, core, tmp_path / str(number)), x, tmp_path)
        assert np.array_equal(ran.outputs, np.stack([x[:, 1], np.full(3, 7, np.float32)], axis=1))
        assert len(set(ran.instructions.tolist())) == 1
        counts.append(int(ran.instructions[0]))
    assert counts[1] - counts[0] == 1000
    assert counts[0] - 100 < 40


@emulated
def test_flash_and_ram_are_those_of_the_model_alone(tmp_path: Path) -> None:
    body = "for (int i = 0; i < 4; ++i) state[i * 500] += input[0][i]; output[0][0] = state[500] + table[(int)input[0][0]];"
    table = f"static const float table[1000] = {{{', '.join(f'{i}.5f' for i in range(1000))}}};"
    built = _board.build(program(body, f"static float state[2000];\n{table}"), _board.M4, tmp_path / "built")
    assert 4000 <= built.flash_bytes < 4200
    assert built.static_bytes == 4 * 2000 + 4 * (4 + 2)  # and the buffers of input and output
    used = _board.run(built, np.ones((1, 4), np.float32), tmp_path)
    assert used.stack_bytes < 64
    deep = program("volatile float big[1000]; for (int i = 0; i < 1000; ++i) big[i] = input[0][1]; output[0][0] = big[999];")
    ran = _board.run(_board.build(deep, _board.M4, tmp_path / "deep"), np.ones((1, 4), np.float32), tmp_path)
    assert 4000 <= ran.stack_bytes < 4100


@emulated
def test_what_does_not_fit_says_so_with_both_figures(tmp_path: Path) -> None:
    x = np.ones((1, 4), np.float32)
    large = program("output[0][0] = table[(int)input[0][0]];", f"static const char table[{5 * 1024**2}] = {{1}};")
    with pytest.raises(NotApplicable, match=r"it needs 5,24\d,\d\d\d bytes of FLASH, and the emulated board has 4,194,304"):
        _board.build(large, _board.M4, tmp_path / "flash")
    wide = program("state[(int)input[0][0]] += 1; output[0][0] = state[1];", f"static char state[{5 * 1024**2}];")
    with pytest.raises(NotApplicable, match=r"it needs 5,24\d,\d\d\d bytes of RAM, and the emulated board has 4,194,304"):
        _board.build(wide, _board.M4, tmp_path / "ram")
    # A processor without memory protection goes on, with wrong results, when its stack has met its data.
    recursive = "__attribute__((noinline)) static float sum(int n, float x) { volatile float a[64]; a[n % 64] = x; "
    recursive += "return n ? sum(n - 1, x) + a[n % 64] : x; }"
    overflows = ((14000, "the stack ran out of the 4,194,304 bytes of RAM"), (20000, "did not end well: exit code -6: .*Lockup"))
    for calls, said in overflows:
        deep = program(f"rest[1] = 1; output[0][0] = rest[1] + sum({calls}, input[0][0]);", f"{recursive}\nchar rest[1500000];")
        built = _board.build(deep, _board.M4, tmp_path / str(calls))
        with pytest.raises(RuntimeError, match=said):
            _board.run(built, x, tmp_path)
    with pytest.raises(NotApplicable, match=r"a stack frame of 80,\d\d\d bytes is more than the 65,536 that are watched"):
        _board.build(program("volatile char b[80000]; b[(int)input[0][0]] = 1;"), _board.M4, tmp_path / "frame")


@emulated
@pytest.mark.parametrize("bits", [8, 32])
def test_what_is_written_builds_here_and_gives_what_the_board_gave(bits: int, tmp_path: Path) -> None:
    model = quantized(network(), IMAGES, tmp_path) if bits == 8 else fold_constants(network())
    (tmp_path / "artifact").mkdir()
    (tmp_path / "written").mkdir()
    onnx.save(model, tmp_path / "artifact" / "model.onnx")
    Microcontroller().write(tmp_path / "artifact", "c", IMAGES[:8], tmp_path / "written")
    check = ["make", "-s", "-C", str(tmp_path / "written"), "check"]
    built = subprocess.run(check, capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    assert built.stdout.startswith("0 of 40 outputs differ")
    golden = tmp_path / "written" / "golden.h"
    text = golden.read_text(encoding="utf-8")
    start = text.index("golden_output")
    last = {8: "0x1.0p+2f", 32: "0x1.0p+9f"}[bits]
    golden.write_text(text[:start] + re.sub(r"-?0x\S+f", last, text[start:], count=1), encoding="utf-8")
    assert subprocess.run(check, capture_output=True, text=True).stdout.startswith("1 of 40 outputs differ")


def test_no_double_is_left_in_what_is_generated(tmp_path: Path) -> None:
    source = generate(quantized(network(), IMAGES, tmp_path)).sources["model.c"]
    assert "double" not in source
    assert not {"nearbyint(", "llrint(", "expf(f"} & set(source.split())


@emulated
def test_more_instructions_than_the_timer_counts_are_no_small_number(tmp_path: Path) -> None:
    endless = program("for (volatile uint32_t i = 0; i < 280000000u; ++i) {} output[0][0] = 1.0f;", "#include <stdint.h>")
    built = _board.build(endless, _board.M4, tmp_path / "built")
    with pytest.raises(NotApplicable, match="more than the 1,342,177,279 instructions that the emulated board's timer can count"):
        _board.run(built, np.ones((1, 4), np.float32), tmp_path)


def small_tree(**changes: Any) -> onnx.ModelProto:
    """One split of feature 0 at 0.5, two classes."""
    told: dict[str, Any] = {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [0, 0, 0],
        "nodes_values": [0.5, 0.0, 0.0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "class_treeids": [0, 0],
        "class_nodeids": [1, 2],
        "class_ids": [0, 0],
        "class_weights": [0.2, 0.9],
        "classlabels_int64s": [0, 1],
        "post_transform": "NONE",
        **changes,
    }
    node = onnx.helper.make_node("TreeEnsembleClassifier", ["input"], ["label", "output"], domain="ai.onnx.ml", **told)
    shape = ["N", changes.get("nodes_featureids", [0])[0] + 1]
    graph = onnx.helper.make_graph(
        [node],
        "tree",
        [onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, ["N", 2])],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("ai.onnx.ml", 1)], ir_version=8)


@emulated
@pytest.mark.parametrize("feature", [0, 40000])
def test_a_tree_looks_at_the_feature_that_it_splits(feature: int, tmp_path: Path) -> None:
    model = small_tree(nodes_featureids=[feature, 0, 0])
    x = np.zeros((6, feature + 1), np.float32)
    x[::2, feature] = 1
    np.testing.assert_allclose(loaded(model, tmp_path / "a").predict(x), run(model, x), atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"class_ids": [1, 1]},
        {"class_weights": [-0.2, 0.9]},
        {"nodes_missing_value_tracks_true": [1, 0, 0]},
        {"nodes_modes": ["BRANCH_LT", "LEAF", "LEAF"]},
        {"post_transform": "PROBIT"},
    ],
)
def test_trees_of_other_rules_are_not_applicable(changes: dict[str, Any]) -> None:
    with pytest.raises(NotApplicable, match="turned into C"):
        generate(small_tree(**changes))


def test_a_model_of_two_outputs_is_not_applicable() -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> model (float[N,4] input) => (float[N,4] output, float[N,4] other) {
        output = Relu(input)
        other = Neg(input)
    }"""
    with pytest.raises(NotApplicable, match="it has 1 inputs and 2 outputs, not one of each"):
        generate(onnx.parser.parse_model(text))


def test_an_operator_without_c_is_not_applicable() -> None:
    text = """<ir_version: 10, opset_import: ["": 20, "ai.onnx.ml": 1]> model (float[N,4] input) => (float[N,4] output) {
        output = ai.onnx.ml.Scaler <offset = [1.0], scale = [2.0]> (input)
    }"""
    with pytest.raises(NotApplicable, match="no C can be made of it"):
        generate(onnx.parser.parse_model(text))
