"""Facts of ONNX graphs: hand-worked counts, and real exports of scikit-learn and ONNX Runtime's quantiser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxruntime import quantization  # type: ignore[import-untyped]  # it ships no types
from skl2onnx import to_onnx  # type: ignore[import-untyped]  # it ships no types
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # it ships no types
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier  # type: ignore[import-untyped]  # it ships no types
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # it ships no types
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]  # it ships no types
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]  # it ships no types

from benchmark.measure import graph
from benchmark.measure.graph import Facts

Constants = Mapping[str, NDArray[Any]]


def numbers(*shape: int, dtype: Any = np.float32, seed: int = 0) -> NDArray[Any]:
    return (np.random.default_rng(seed).integers(1, 100, size=shape)).astype(dtype)


def build(
    nodes: Iterable[onnx.NodeProto], shape: Sequence[Any], constants: Constants, output: str = "out", opset: int = 17
) -> onnx.ModelProto:
    """A model from input ``x`` of this shape, with a dynamic batch, to ``output``."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(helper.make_graph(list(nodes), "g", inputs, outputs, tensors), opset_imports=opsets)


@pytest.fixture
def facts(tmp_path: Path) -> Any:
    count = 0

    def measure(model: onnx.ModelProto, **options: Any) -> Facts:
        nonlocal count
        count += 1
        folder = tmp_path / f"artifact{count}"
        folder.mkdir()
        onnx.save(model, folder / "model.onnx", **options)
        found = graph.facts(folder)
        assert found is not None
        return found

    return measure


def conv(shape: Sequence[int], weight: Sequence[int], bias: bool = True, **attributes: Any) -> onnx.ModelProto:
    constants = {"w": numbers(*weight)} | ({"b": numbers(weight[0])} if bias else {})
    return build([helper.make_node("Conv", ["x", *constants], ["out"], **attributes)], shape, constants)


@pytest.mark.parametrize(
    ("model", "macs", "parameters"),
    [
        (conv((1, 128, 128), (128, 1, 3, 3)), 18_289_152, 1_280),
        (conv((32, 14, 14), (32, 1, 3, 3), group=32, pads=[1] * 4), 56_448, 320),
        (conv((32, 14, 14), (32, 8, 3, 3), group=4, pads=[1] * 4), 451_584, 2_336),
        (conv((32, 14, 14), (32, 32, 3, 3), bias=False, pads=[1] * 4), 1_806_336, 9_216),
        (conv((6, 128), (16, 6, 5), strides=[2]), 62 * 16 * 6 * 5, 496),  # 1-D: (128 - 5) // 2 + 1 = 62 places
        (conv((6, 128), (16, 6, 5), dilations=[3], pads=[6, 6]), 128 * 16 * 6 * 5, 496),
    ],
)
def test_convolutions(facts: Any, model: onnx.ModelProto, macs: int, parameters: int) -> None:  # case M-12
    found = facts(model)
    assert (found.macs, found.macs_reason, found.parameters) == (macs, "", parameters)


def test_transposed_convolution_meets_each_input_element(facts: Any) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["out"], group=2, strides=[2, 2])
    assert facts(build([node], (4, 5, 5), {"w": numbers(4, 3, 2, 2)})).macs == 4 * 5 * 5 * 3 * 2 * 2


def test_dense_layers(facts: Any) -> None:
    plain = build([helper.make_node("Gemm", ["x", "w", "b"], ["out"])], (20,), {"w": numbers(20, 10), "b": numbers(10)})
    transposed = build([helper.make_node("Gemm", ["x", "w"], ["out"], transB=1)], (20,), {"w": numbers(10, 20)})
    batched = build([helper.make_node("MatMul", ["x", "w"], ["out"])], (7, 20), {"w": numbers(20, 10)})
    attention = build(
        [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), helper.make_node("MatMul", ["x", "t"], ["out"])],
        (7, 20),
        {},
    )
    assert (facts(plain).macs, facts(plain).parameters) == (200, 210)
    assert (facts(transposed).macs, facts(transposed).parameters) == (200, 200)
    assert facts(batched).macs == 7 * 20 * 10
    assert facts(attention).macs == 7 * 7 * 20


def test_einsum(facts: Any) -> None:
    def model(equation: str) -> onnx.ModelProto:
        return build([helper.make_node("Einsum", ["x", "w"], ["out"], equation=equation)], (7, 20), {"w": numbers(20, 10)})

    assert facts(model("nij,jk->nik")).macs == 7 * 20 * 10
    assert facts(model("...j,jk->...k")).macs is None


def test_recurrent_layer_counts_all_gates_and_steps(facts: Any) -> None:
    constants = {"w": numbers(1, 48, 8), "r": numbers(1, 48, 16), "b": numbers(1, 96)}
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["t", "w", "r", "b"], ["", "out"], hidden_size=16),
    ]
    found = facts(build(nodes, (124, 8), constants))
    assert (found.macs, found.parameters) == (124 * (48 * 8 + 48 * 16), 48 * 8 + 48 * 16 + 96)


def test_shapes_computed_in_the_graph_are_followed(facts: Any) -> None:
    # How exporters write x.reshape(len(x), -1): the length of the rows is a product of integers taken from a Shape.
    constants = {"i0": np.array([0]), "i1": np.array([1]), "i3": np.array([3]), "one": np.array([-1]), "w": numbers(60, 10)}
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "i0", "i1"], ["rows"]),
        helper.make_node("Slice", ["s", "i1", "i3"], ["rest"]),
        helper.make_node("ReduceProd", ["rest"], ["columns"]),
        helper.make_node("Reshape", ["columns", "one"], ["flat"]),
        helper.make_node("Concat", ["rows", "flat"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["r"]),
        helper.make_node("Gemm", ["r", "w"], ["out"]),
    ]
    found = facts(build(nodes, (12, 5), constants))
    assert (found.macs, found.parameters) == (600, 600)


def test_wrong_shapes_in_the_file_are_not_believed(facts: Any) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Gemm", ["h", "w"], ["out"])]
    model = build(nodes, (20,), {"w": numbers(20, 10)})
    model.graph.value_info.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, [99, 99]))
    assert facts(model).macs == 200


def test_older_files_list_weights_as_inputs_too(facts: Any) -> None:
    model = build([helper.make_node("MatMul", ["x", "w"], ["out"])], (20,), {"w": numbers(20, 10)})
    plain = facts(model)
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [20, 10]))
    assert facts(model) == plain
    assert plain.macs == 200


def test_weights_computed_from_constants_are_no_work_at_run_time(facts: Any) -> None:
    nodes = [helper.make_node("MatMul", ["u", "v"], ["w"]), helper.make_node("MatMul", ["x", "w"], ["out"])]
    found = facts(build(nodes, (20,), {"u": numbers(20, 2), "v": numbers(2, 10)}))
    assert (found.macs, found.parameters) == (200, 60)


def test_macs_that_cannot_be_counted_have_a_reason(facts: Any) -> None:
    unknown = build([helper.make_node("MatMul", ["x", "w"], ["out"])], ("time", 20), {"w": numbers(20, 10)})
    foreign = build([helper.make_node("FusedGemm", ["x", "w"], ["out"], domain="com.microsoft")], (20,), {"w": numbers(20, 10)})
    foreign.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert (facts(unknown).macs, facts(unknown).macs_reason) == (None, "the shape of 'out' is not known")
    assert (facts(foreign).macs, facts(foreign).macs_reason) == (None, "no rule for operator com.microsoft.FusedGemm")
    assert facts(foreign).parameters == 200


def test_resident_bytes_are_those_that_are_held_after_loading(facts: Any) -> None:
    half = """<ir_version: 10, opset_import: ["": 20]> model (float[N,8] x) => (float[N,4] y) {
        f = Cast <to = 1> (w)
        y = MatMul(x, f)
    }"""
    model = onnx.parser.parse_model(half)
    model.graph.initializer.append(numpy_helper.from_array(np.ones((8, 4), np.float16), "w"))
    assert facts(model).resident_weight_bytes == 4 * 8 * 4  # float16 in the file, float32 in memory
    int8 = onnx.parser.parse_model(half.replace("Cast <to = 1> (w)", "DequantizeLinear(w, s)"))
    int8.graph.initializer.append(numpy_helper.from_array(np.ones((8, 4), np.int8), "w"))
    int8.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "s"))
    assert facts(int8).resident_weight_bytes == 8 * 4 + 4


def test_resident_bytes_of_constants_are_those_stored(facts: Any) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20]> model (float[N,8] x) => (float[N,4] y) {y = Gemm(x, w, b)}'
    )
    model.graph.initializer.extend(
        [numpy_helper.from_array(np.ones((8, 4), np.float32), "w"), numpy_helper.from_array(np.ones(4, np.float32), "b")]
    )
    assert facts(model).resident_weight_bytes == 4 * (8 * 4 + 4)


def test_peak_activations_follow_the_lives_of_values(facts: Any) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> model (float[N,10] x) => (float[N,30] y) {
        a = Concat <axis = 1> (x, x)
        b = Relu(a)
        f = Flatten(b)
        c = Neg(f)
        y = Concat <axis = 1> (x, c)
    }"""
    # x lives to the end: at b, x + a + b = 10 + 20 + 20; at c, x + b + c; at y, x + c + y = 10 + 20 + 30 floats.
    assert facts(onnx.parser.parse_model(text)).activation_peak_bytes == 4 * 60


def test_peak_activations_of_quantised_values_are_quantised(facts: Any) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> model (float[N,100] x) => (float[N,100] y) {
        s = Constant <value_float = 0.1> ()
        z = Constant <value = uint8 {0}> ()
        q = QuantizeLinear(x, s, z)
        d = DequantizeLinear(q, s, z)
        r = Relu(d)
        rq = QuantizeLinear(r, s, z)
        rd = DequantizeLinear(rq, s, z)
        n = Relu(rd)
        nq = QuantizeLinear(n, s, z)
        y = DequantizeLinear(nq, s, z)
    }"""
    # What comes in and goes out is float32; in between there are two values of 100 bytes at most.
    assert facts(onnx.parser.parse_model(text)).activation_peak_bytes == 400 + 100


def test_peak_activations_are_unknown_where_shapes_are(facts: Any) -> None:
    text = '<ir_version: 10, opset_import: ["": 20]> model (float[N,M] x) => (float[N,M] y) {y = Relu(x)}'
    assert facts(onnx.parser.parse_model(text)).activation_peak_bytes is None


def test_tied_weights_count_once(facts: Any) -> None:  # case C-11
    def model(output: str, **more: NDArray[Any]) -> onnx.ModelProto:
        constants = {"e": numbers(1000, 64), "index": np.array(3), **more}
        nodes = [
            helper.make_node("Gather", ["e", "index"], ["h"]),
            helper.make_node("Add", ["x", "h"], ["a"]),
            helper.make_node("Transpose", [output], ["t"]),
            helper.make_node("MatMul", ["a", "t"], ["out"]),
        ]
        return build(nodes, (64,), constants)

    tied, untied = model("e"), model("d", d=numbers(1000, 64))
    assert facts(tied).parameters == 64_000
    assert facts(untied).parameters == 128_000
    assert len(tied.SerializeToString()) == pytest.approx(257_769, rel=0.02)
    assert facts(tied).macs == 64_000


def test_what_is_no_parameter(facts: Any) -> None:
    constants = {
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
        "to": np.array([-1, 20]),
        "unused": numbers(500),
    }
    constants |= {"w": numbers(20, 10), "b": numbers(10)}
    nodes = [
        helper.make_node("Clip", ["x", "low", "high"], ["c"]),
        helper.make_node("Reshape", ["c", "to"], ["r"]),
        helper.make_node("Gemm", ["r", "w", "b"], ["out"]),
    ]
    found = facts(build(nodes, (20,), constants))
    assert found.parameters == 210
    assert found.dtypes == {"float32": 712, "int64": 2}  # what nobody reads is stored all the same
    assert (found.operators, found.nodes) == ({"Clip": 1, "Gemm": 1, "Reshape": 1}, 3)


def test_zeros_are_counted(facts: Any) -> None:
    weight = numbers(20, 10)
    weight[:, ::2] = 0
    found = facts(build([helper.make_node("MatMul", ["x", "w"], ["out"])], (20,), {"w": weight}))
    assert (found.parameters, found.nonzero_parameters, found.macs) == (200, 100, 200)


@pytest.mark.parametrize(
    ("zero", "attributes", "nonzero"),
    [
        (np.array(3, np.int8), {}, 6),
        (np.array([3, 0], np.int8), {"axis": 0}, 6),
        (np.array([3, 5, 6, 7], np.int8), {"axis": 1}, 3),
        (np.array([[3, 0], [6, 3]], np.int8), {"axis": 1, "block_size": 2}, 5),
    ],
)
def test_quantised_zero_is_the_zero_point(facts: Any, zero: NDArray[Any], attributes: dict[str, Any], nonzero: int) -> None:
    stored, scale = np.array([[3, 5, 0, 0], [3, 5, 6, 0]], dtype=np.int8), np.full(zero.shape, 0.5, np.float32)
    dequantise = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], **attributes)
    nodes = [dequantise, helper.make_node("Gemm", ["x", "w"], ["out"], transB=1)]
    found = facts(build(nodes, (4,), {"q": stored, "s": scale, "z": zero}, opset=21))
    assert (found.parameters, found.nonzero_parameters, found.macs) == (8, nonzero, 8)
    assert found.dtypes == {"float32": zero.size, "int8": 8 + zero.size}
    (weights,) = ReferenceEvaluator(dequantise).run(None, {"q": stored, "s": scale, "z": zero})
    assert np.count_nonzero(weights) == nonzero


@pytest.mark.parametrize(("transposed", "nonzero"), [(1, 3), (0, 2)])
def test_zero_points_of_a_quantised_dense_layer_follow_its_outputs(facts: Any, transposed: int, nonzero: int) -> None:
    stored = np.array([[3, 5, 3], [3, 5, 5], [1, 5, 5]], dtype=np.int8)
    constants: dict[str, NDArray[Any]] = {"w": stored, "ws": numbers(3), "wz": np.array([3, 5, 5], np.int8)}
    constants |= {"s": np.array(1, np.float32), "z": np.array(0, np.int8)}
    inputs = ["q", "s", "z", "w", "ws", "wz"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QGemm", inputs, ["out"], domain="com.microsoft", transB=transposed),
    ]
    model = build(nodes, (3,), constants)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    found = facts(model)
    assert (found.parameters, found.nonzero_parameters, found.macs) == (9, nonzero, 9)


def network() -> onnx.ModelProto:
    """A small CNN for 8 x 8 digits."""
    rng = np.random.default_rng(0)
    constants = {
        "w1": rng.normal(size=(8, 1, 3, 3)).astype(np.float32),
        "b1": rng.normal(size=8).astype(np.float32),
        "w2": rng.normal(size=(8, 1, 3, 3)).astype(np.float32),
        "b2": rng.normal(size=8).astype(np.float32),
        "w3": rng.normal(size=(128, 10)).astype(np.float32),
        "b3": rng.normal(size=10).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], group=8, strides=[2, 2], pads=[1] * 4),
        helper.make_node("Flatten", ["c2"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["out"]),
    ]
    return build(nodes, (1, 8, 8), constants)


class Digits(quantization.CalibrationDataReader):  # type: ignore[misc]  # the base class has no types
    def __init__(self) -> None:
        images = load_digits().images.astype(np.float32) / 16
        self.rows = iter([{"x": image[None, None]} for image in images[:20]])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self.rows, None)


@pytest.mark.parametrize("format", [quantization.QuantFormat.QDQ, quantization.QuantFormat.QOperator])
@pytest.mark.parametrize("per_channel", [False, True])
def test_static_int8_has_the_work_and_parameters_of_its_float_twin(
    facts: Any, tmp_path: Path, format: Any, per_channel: bool
) -> None:
    onnx.save(network(), tmp_path / "float.onnx")
    quantization.quantize_static(
        tmp_path / "float.onnx", tmp_path / "int8.onnx", Digits(), quant_format=format, per_channel=per_channel
    )
    twin, found = facts(network()), facts(onnx.load(tmp_path / "int8.onnx"))
    assert twin.macs == 8 * 64 * 9 + 8 * 16 * 9 + 1280
    assert twin.parameters == 72 + 8 + 72 + 8 + 1280 + 10
    assert found.parameters == twin.parameters
    assert found.dtypes["int8"] + found.dtypes.get("uint8", 0) >= 72 + 72 + 1280
    assert (found.macs, found.macs_reason) == (twin.macs, "")


@pytest.mark.parametrize("per_channel", [False, True])
def test_dynamic_int8_has_the_work_and_parameters_of_its_float_twin(facts: Any, tmp_path: Path, per_channel: bool) -> None:
    onnx.save(network(), tmp_path / "float.onnx")
    quantization.quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int8.onnx", per_channel=per_channel)
    twin, found = facts(network()), facts(onnx.load(tmp_path / "int8.onnx"))
    assert {"ConvInteger", "MatMulInteger"} <= set(found.operators)
    assert (found.macs, found.parameters) == (twin.macs, twin.parameters)


@pytest.fixture(scope="module")
def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    x, y = load_digits(n_class=3, return_X_y=True)
    return x.astype(np.float32), y


def test_logistic_regression(facts: Any, digits: Any) -> None:
    x, y = digits
    found = facts(to_onnx(make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y), x[:1], options={"zipmap": False}))
    assert found.parameters == 64 + 64 + 3 * 64 + 3
    assert (found.macs, found.dtypes) == (3 * 64, {"float32": found.parameters})


def test_trees_count_thresholds_and_leaf_weights(facts: Any, digits: Any) -> None:
    x, y = digits
    forest = RandomForestClassifier(5, max_depth=4, random_state=0).fit(x, y)
    leaves = sum(tree.get_n_leaves() for tree in forest.estimators_)
    inner = sum(tree.tree_.node_count for tree in forest.estimators_) - leaves
    found = facts(to_onnx(forest, x[:1], options={"zipmap": False}))
    assert (found.parameters, found.macs) == (inner + 3 * leaves, 0)

    boosting = GradientBoostingClassifier(n_estimators=3, random_state=0).fit(x, y)
    leaves = sum(tree.get_n_leaves() for tree in boosting.estimators_.ravel())
    inner = sum(tree.tree_.node_count for tree in boosting.estimators_.ravel()) - leaves
    assert facts(to_onnx(boosting, x[:1], options={"zipmap": False})).parameters == inner + leaves + 3  # 3 base values


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same program with other names, remarks and ways to store its constants."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    model.doc_string, model.producer_name, model.graph.name = "remark", "somebody", "other"
    del model.graph.value_info[:]
    for node in model.graph.node:
        node.name, node.doc_string = f"node of {node.output[0]}", "remark"
        for names in (node.input, node.output):
            names[:] = [name and f"renamed {name}" for name in names]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.name = f"renamed {value.name}"
    first, *rest = model.graph.initializer
    del model.graph.initializer[:]
    values = numpy_helper.to_array(first)
    constant = helper.make_tensor("inner", TensorProto.FLOAT, values.shape, values.ravel().tolist())  # not raw bytes
    nodes = [helper.make_node("Constant", [], [first.name], value=constant), *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend([*reversed(rest), numpy_helper.from_array(numbers(7), "unused")])
    return model


def test_program_is_independent_of_names_and_storage(facts: Any) -> None:
    first, second = facts(network()), facts(renamed(network()))
    assert first.program == second.program
    assert (first.parameters, first.macs, first.operators) == (second.parameters, second.macs, second.operators)


def difference(nodes: Sequence[str]) -> onnx.ModelProto:
    return build(
        [
            helper.make_node("Relu", ["x"], ["a"]),
            helper.make_node("Neg", ["x"], ["b"]),
            helper.make_node("Sub", list(nodes), ["out"]),
        ],
        (4,),
        {},
    )


def test_program_sees_weights_attributes_operators_and_wiring(facts: Any) -> None:
    models = [network() for _ in range(4)]
    weight = numpy_helper.to_array(models[1].graph.initializer[0]).copy()
    weight.ravel()[5] = np.nextafter(weight.ravel()[5], np.float32(9))
    models[1].graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w1"))
    models[2].graph.node[0].attribute[0].ints[:] = [2, 0, 1, 1]
    models[3].graph.node[1].op_type = "Sigmoid"
    models += [difference(["a", "b"]), difference(["b", "a"]), difference(["a", "x"])]
    programs = [facts(model).program for model in models]
    assert len(set(programs)) == len(programs)


def test_program_sees_the_dtype_and_shape_of_equal_bytes(facts: Any) -> None:
    zeros = [np.zeros((4, 1), np.float32), np.zeros((1, 4), np.float32)]
    programs = [facts(build([helper.make_node("Add", ["x", "c"], ["out"])], (4, 4), {"c": c})).program for c in zeros]
    assert programs[0] != programs[1]


def branches(scale: float) -> onnx.ModelProto:
    def branch(name: str, value: float) -> onnx.GraphProto:
        constant = numpy_helper.from_array(np.full(4, value, np.float32), f"{name} scale")
        node = helper.make_node("Mul", ["x", constant.name], [f"{name} out"])
        return helper.make_graph(
            [node], name, [], [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)], [constant]
        )

    node = helper.make_node("If", ["flag"], ["out"], then_branch=branch("then", 2.0), else_branch=branch("else", scale))
    return build([node], (4,), {"flag": np.array(True)})


def test_subgraphs_are_part_of_the_facts(facts: Any) -> None:
    found = facts(branches(3.0))
    assert (found.parameters, found.operators, found.dtypes) == (8, {"If": 1, "Mul": 2}, {"bool": 1, "float32": 8})
    assert found.program == facts(branches(3.0)).program
    assert found.program != facts(branches(4.0)).program


def test_work_inside_a_subgraph_is_not_guessed(facts: Any) -> None:
    found = facts(branches(3.0))  # its only formal input is constant, and yet it depends on x
    assert (found.macs, found.macs_reason) == (None, "how often the subgraph of If runs is not known")


def test_functions_are_inlined(facts: Any) -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    dense = [helper.make_node("MatMul", ["a", "b"], ["m"]), helper.make_node("Relu", ["m"], ["c"])]
    function = helper.make_function("own", "Dense", ["a", "b"], ["c"], dense, opsets[:1])
    model = build([helper.make_node("Dense", ["x", "w"], ["out"], domain="own")], (20,), {"w": numbers(20, 10)})
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    model.functions.append(function)
    found = facts(model)
    assert (found.macs, found.operators) == (200, {"MatMul": 1, "Relu": 1})


def test_external_data_is_read(facts: Any) -> None:
    inside = facts(network())
    assert facts(network(), save_as_external_data=True, location="weights.data", size_threshold=0) == inside


def test_folders_without_one_readable_model(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"TFL3")
    assert graph.facts(tmp_path) is None
    for name in ("a.onnx", "b.onnx"):
        onnx.save(network(), tmp_path / name)
    with pytest.raises(ValueError, match=r"holds 2 ONNX models: a\.onnx, b\.onnx"):
        graph.facts(tmp_path)


def test_sparse_initializers_are_refused_not_missed(tmp_path: Path) -> None:
    model = network()
    values, indices = numpy_helper.from_array(numbers(2), "s"), numpy_helper.from_array(np.array([1, 5]), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [8]))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="sparse initializers"):
        graph.facts(tmp_path)
