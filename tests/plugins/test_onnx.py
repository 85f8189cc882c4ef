"""strip and fold, the runtime, and int8-static, on networks built here and run on real digits."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import benchmark_onnx
import numpy as np
import onnx
import pytest
from benchmark_onnx._int8 import Int8Dynamic, Int8Static, _activations, _minmax, _quantize
from benchmark_onnx._runtime import OnnxRuntime
from benchmark_sklearn._train import Sklearn
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # it ships no types

from benchmark import Context, NotApplicable, Split

Floats: TypeAlias = NDArray[np.float32]
Digits: TypeAlias = tuple[Split, Split]
MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]
IMAGE = ("N", 1, 28, 28)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, NDArray[Any]],
    shape: Sequence[int | str] = IMAGE,
    outputs: Sequence[int | str] = ("N", 10),
) -> onnx.ModelProto:
    """A model from ``input`` to ``output`` with every kind of ballast that exporters leave."""
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(
        list(nodes),
        "exported from somewhere",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, outputs)],
        tensors,
        doc_string="needless",
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in (("", 17), ("ai.onnx.ml", 3), ("", 17))]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="needless", doc_string="needless")
    for message in (model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.input):
        message.metadata_props.append(onnx.StringStringEntryProto(key="needless", value="needless"))
    for node in model.graph.node:
        node.doc_string = "needless"
        node.name = f"needless/{node.output[0]}"
    return model


def random(seed: int, *shape: int) -> Floats:
    scale = math.sqrt(2 / math.prod(shape[1:]))
    return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


def conv_body() -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """Convolution, batch normalisation, pooling, a depthwise convolution; its value ``features`` is (N, 12 * 7 * 7)."""
    nodes = [
        helper.make_node("Identity", ["input"], ["same"]),
        helper.make_node("Conv", ["same", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", "gamma", "beta", "mean", "var"], ["n1"]),
        helper.make_node("Relu", ["n1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1], strides=[2, 2], group=12),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Flatten", ["r2"], ["features"]),
    ]
    weights: dict[str, NDArray[Any]] = {
        "w1": random(0, 12, 1, 3, 3),
        "gamma": 1 + random(1, 12) / 20,
        "beta": random(2, 12) / 20,
        "mean": random(3, 12) / 20,
        "var": 1 + random(4, 12) ** 2 / 20,
        "w2": np.abs(random(5, 12, 1, 3, 3)) / 2,
        "b2": random(6, 12) / 20,
    }
    return nodes, weights


def run(model: onnx.ModelProto, x: Floats, folder: Path) -> Floats:
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    return OnnxRuntime().load(folder, 1).predict(x)


@pytest.fixture(scope="module")
def digits(load_task: Callable[[str, int], Any]) -> Digits:
    _, data = load_task("mnist-10k", 0)
    return data.train, data.validation


@pytest.fixture(scope="module")
def conv_net(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """Random convolutions with a head fitted to digits: about 92 % of the validation rows right."""
    train, _ = digits
    nodes, weights = conv_body()
    body = model_of([*nodes, helper.make_node("Identity", ["features"], ["output"])], weights, outputs=("N", 588))
    features = run(body, train.x[:3000], tmp_path_factory.mktemp("body"))
    head = LogisticRegression(C=0.1, max_iter=1000).fit(features, train.y[:3000])
    weights |= {"w3": head.coef_.astype(np.float32), "b3": head.intercept_.astype(np.float32)}
    return model_of([*nodes, helper.make_node("Gemm", ["features", "w3", "b3"], ["output"], transB=1)], weights)


@pytest.fixture(scope="module")
def mlp(digits: Digits) -> onnx.ModelProto:
    """As jax exports it: MatMul and Add with biases (1, N); the last layer is the nearest class mean of the hidden values."""
    train, _ = digits
    w1 = random(7, 784, 64) * np.float32(3)
    hidden = np.maximum(train.x.reshape(-1, 784) @ w1, 0)
    means = np.stack([hidden[train.y == label].mean(axis=0) for label in range(10)]).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w1"], ["m1"]),
        helper.make_node("Add", ["m1", "b1"], ["a1"]),
        helper.make_node("Relu", ["a1"], ["r1"]),
        helper.make_node("MatMul", ["r1", "w2"], ["m2"]),
        helper.make_node("Add", ["m2", "b2"], ["output"]),
    ]
    bias = -(means**2).sum(axis=1)[None] / 2
    return model_of(nodes, {"w1": w1, "b1": np.zeros((1, 64), np.float32), "w2": means.T.copy(), "b2": bias.astype(np.float32)})


# strip


def test_strip_drops_ballast_and_keeps_outputs(conv_net: onnx.ModelProto, digits: Digits, tmp_path: Path) -> None:
    before = conv_net.SerializeToString()
    stripped = benchmark_onnx.strip(conv_net)
    assert conv_net.SerializeToString() == before
    assert b"needless" not in stripped.SerializeToString()
    assert stripped.graph.name == "model"
    assert [entry.domain for entry in stripped.opset_import] == [""]  # nothing is of ai.onnx.ml
    assert stripped.ByteSize() < conv_net.ByteSize() - 750
    onnx.checker.check_model(stripped, full_check=True)
    x = digits[1].x[:50]
    np.testing.assert_array_equal(run(stripped, x, tmp_path), run(conv_net, x, tmp_path))


def test_strip_of_its_result_changes_nothing(conv_net: onnx.ModelProto, mlp: onnx.ModelProto) -> None:
    for model in (conv_net, mlp):
        stripped = benchmark_onnx.strip(model)
        assert benchmark_onnx.strip(stripped).SerializeToString() == stripped.SerializeToString()


def test_size_does_not_depend_on_names(mlp: onnx.ModelProto) -> None:
    wordy = onnx.ModelProto.FromString(mlp.SerializeToString())
    for node in wordy.graph.node:
        node.input[:] = [name if name == "input" else f"jit/net/layer/{name}" for name in node.input]
        node.output[:] = [name if name == "output" else f"jit/net/layer/{name}" for name in node.output]
    for tensor in wordy.graph.initializer:
        tensor.name = f"jit/net/layer/{tensor.name}"
    tensors = list(wordy.graph.initializer)[::-1]
    del wordy.graph.initializer[:]
    wordy.graph.initializer.extend(tensors)
    assert benchmark_onnx.strip(wordy).SerializeToString() == benchmark_onnx.strip(mlp).SerializeToString()


def test_a_weight_shared_twice_is_stored_once(tmp_path: Path) -> None:
    tied = random(0, 1000, 64)
    nodes = [
        helper.make_node("Gemm", ["input", "embedding"], ["wide"], transB=1),
        helper.make_node("MatMul", ["wide", "head"], ["output"]),
    ]
    model = model_of(nodes, {"embedding": tied, "head": tied.copy(), "unused": tied + 1}, ("N", 64), ("N", 64))
    stripped = benchmark_onnx.strip(model)
    assert model.ByteSize() > 3 * 256_000
    assert 256_000 < stripped.ByteSize() < 256_400
    x = random(1, 3, 64)
    np.testing.assert_array_equal(run(stripped, x, tmp_path), run(model, x, tmp_path))


def test_equal_bytes_of_another_shape_or_type_are_not_shared() -> None:
    weights = {"a": np.zeros((2, 4), np.float32), "b": np.zeros((4, 2), np.float32), "c": np.array([4, 2]), "d": np.array([2, 4])}
    nodes = [
        helper.make_node("MatMul", ["input", "b"], ["x"]),
        helper.make_node("MatMul", ["x", "a"], ["y"]),
        helper.make_node("Reshape", ["y", "d"], ["z"]),
        helper.make_node("Reshape", ["z", "c"], ["output"]),
    ]
    stripped = benchmark_onnx.strip(model_of(nodes, weights, (2, 4), (4, 2)))
    assert [list(tensor.dims) for tensor in stripped.graph.initializer] == [[4, 2], [2, 4], [2], [2]]


def test_strip_stores_tensors_as_raw_bytes_and_drops_dead_nodes() -> None:
    nodes = [
        helper.make_node("Add", ["input", "a"], ["output"]),
        helper.make_node("Binarizer", ["output"], ["label"], domain="ai.onnx.ml", threshold=0.5),
        helper.make_node("Neg", ["label"], ["negative"]),
    ]
    model = model_of(nodes, {}, ("N", 3), ("N", 3))
    model.graph.initializer.append(helper.make_tensor("a", TensorProto.FLOAT, [3], [1.0, -2.5, 3.0]))
    stripped = benchmark_onnx.strip(model)
    (tensor,) = stripped.graph.initializer
    assert tensor.raw_data == np.array([1, -2.5, 3], np.float32).tobytes()
    assert not tensor.float_data
    assert [node.op_type for node in stripped.graph.node] == ["Add"]


def test_short_names_avoid_those_of_inputs_and_outputs(tmp_path: Path) -> None:
    model = model_of(
        [helper.make_node("Mul", ["input", "a"], ["b"]), helper.make_node("Sub", ["b", "a"], ["output"])],
        {"a": np.array([2, 3], np.float32)},
        ("N", 2),
        ("N", 2),
    )
    for node in model.graph.node:
        node.input[:] = ["0" if name == "input" else name for name in node.input]
        node.output[:] = ["1" if name == "output" else name for name in node.output]
    model.graph.input[0].name, model.graph.output[0].name = "0", "1"
    stripped = benchmark_onnx.strip(model)
    assert {name for node in stripped.graph.node for name in (*node.input, *node.output)} == {"0", "1", "2", "3"}
    np.testing.assert_array_equal(run(stripped, np.ones((1, 2), np.float32), tmp_path), [[0, 0]])


def test_strip_follows_subgraphs(tmp_path: Path) -> None:
    """What only a branch reads must stay, under the name that the branch uses."""
    branches = {
        name: helper.make_graph([helper.make_node(operator, ["input", "amount"], [f"{name}_result"])], name, [], [
            helper.make_tensor_value_info(f"{name}_result", TensorProto.FLOAT, ("N", 2))
        ])
        for name, operator in (("then", "Add"), ("else", "Sub"))
    }  # fmt: skip
    nodes = [
        helper.make_node("ReduceSum", ["input"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["output"], then_branch=branches["then"], else_branch=branches["else"]),
    ]
    weights = {"zero": np.array(0, np.float32), "amount": np.array([10, 20], np.float32)}
    model = model_of(nodes, weights, ("N", 2), ("N", 2))
    stripped = benchmark_onnx.strip(model)
    onnx.checker.check_model(stripped, full_check=True)
    for sign, expected in ((1, [[11, 21]]), (-1, [[-11, -21]])):
        np.testing.assert_array_equal(run(stripped, np.full((1, 2), sign, np.float32), tmp_path), expected)
    assert benchmark_onnx.strip(stripped) == stripped


# fold


def test_fold_merges_and_keeps_the_interface(conv_net: onnx.ModelProto, digits: Digits, tmp_path: Path) -> None:
    folded = benchmark_onnx.fold(conv_net)
    kinds = [node.op_type for node in folded.graph.node]
    assert kinds == ["Conv", "Relu", "MaxPool", "Conv", "Relu", "Flatten", "Gemm"]
    assert [entry.domain for entry in folded.opset_import] == [""]
    for value, name, shape in ((folded.graph.input[0], "input", (1, 28, 28)), (folded.graph.output[0], "output", (10,))):
        assert value.name == name
        dims = value.type.tensor_type.shape.dim
        assert not dims[0].HasField("dim_value")
        assert tuple(dim.dim_value for dim in dims[1:]) == shape
    x = digits[1].x[:50]
    np.testing.assert_allclose(run(folded, x, tmp_path), run(conv_net, x, tmp_path), atol=1e-4)
    np.testing.assert_allclose(run(folded, x[:1], tmp_path), run(folded, x, tmp_path)[:1], atol=1e-5)


def test_fold_computes_constants_and_is_repeatable(mlp: onnx.ModelProto) -> None:
    model = onnx.ModelProto.FromString(mlp.SerializeToString())
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "w2")
    transposed = numpy_helper.from_array(numpy_helper.to_array(weight).T.copy(), "stored")
    model.graph.initializer.remove(weight)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["constant"], value=transposed))
    model.graph.node.insert(1, helper.make_node("Transpose", ["constant"], ["w2"]))
    folded = benchmark_onnx.fold(model)
    assert [node.op_type for node in folded.graph.node] == ["Flatten", "Gemm", "Relu", "Gemm"]
    assert folded == benchmark_onnx.fold(mlp)
    assert benchmark_onnx.fold(folded).SerializeToString() == folded.SerializeToString()


# The runtime


def test_predict_gives_float32_for_any_number_of_rows(conv_net: onnx.ModelProto, digits: Digits, tmp_path: Path) -> None:
    onnx.save(conv_net, tmp_path / "anything.onnx")
    predictor = OnnxRuntime().load(tmp_path, 1)
    x = digits[1].x[:32]
    outputs = predictor.predict(x)
    assert outputs.dtype == np.float32
    assert outputs.shape == (32, 10)
    one_by_one = np.concatenate([predictor.predict(x[row : row + 1]) for row in range(32)])
    np.testing.assert_allclose(one_by_one, outputs, atol=1e-4)
    np.testing.assert_array_equal(predictor.predict(x), outputs)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
@pytest.mark.parametrize("threads", [1, 3])
def test_threads_are_as_many_as_asked_for(conv_net: onnx.ModelProto, tmp_path: Path, threads: int) -> None:
    onnx.save(conv_net, tmp_path / "model.onnx")
    before = len(os.listdir("/proc/self/task"))
    predictor = OnnxRuntime().load(tmp_path, threads)
    assert len(os.listdir("/proc/self/task")) - before == threads - 1  # the caller is one of them
    del predictor


@pytest.mark.parametrize("shape", [(60,), (6, 128), (3, 32, 32)])
def test_identity_returns_its_input(shape: tuple[int, ...], tmp_path: Path) -> None:
    OnnxRuntime().identity(tmp_path, shape)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size < 150
    onnx.checker.check_model(onnx.load(path), full_check=True)
    x = random(0, 2, *shape)
    np.testing.assert_array_equal(OnnxRuntime().load(tmp_path, 1).predict(x), x)


# int8-static


@pytest.fixture
def compress(make_context: MakeContext, tmp_path: Path) -> Callable[..., tuple[onnx.ModelProto, dict[str, Any]]]:
    """Runs the pass on a model: the result and what the pass reported."""

    def compress(
        model: onnx.ModelProto, rows: int = 256, seed: int = 0, calibration: str = "minmax", **changes: Any
    ) -> tuple[onnx.ModelProto, dict[str, Any]]:
        folder = tmp_path / "fp32"
        folder.mkdir(exist_ok=True)
        onnx.save(model, folder / "model.onnx")
        params = {"calibration_rows": rows, "calibration": calibration}
        context, journal = make_context("mnist-10k", "cnn", params=params, input=folder, seed=seed)
        Int8Static().compress(dataclasses.replace(context, **changes))
        assert [path.name for path in context.output.iterdir()] == ["model.onnx"]
        return onnx.load(context.output / "model.onnx"), journal.layers

    return compress


Compress: TypeAlias = Callable[..., tuple[onnx.ModelProto, dict[str, Any]]]


def arrays(model: onnx.ModelProto) -> list[NDArray[Any]]:
    return [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]


@pytest.mark.parametrize(
    ("name", "layers", "channels", "at_least"), [("conv_net", 3, 12 + 12 + 10, 0.9), ("mlp", 2, 64 + 10, 0.65)]
)
def test_int8_keeps_accuracy_and_bounds_the_file(
    name: str,
    layers: int,
    channels: int,
    at_least: float,
    request: pytest.FixtureRequest,
    compress: Compress,
    digits: Digits,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    model = request.getfixturevalue(name)
    quantized, report = compress(model)
    assert capfd.readouterr() == ("", "")
    weights = [array for array in arrays(quantized) if array.dtype == np.int8 and array.ndim > 1]
    assert report["matched"] == report["changed"] == len(weights) == layers
    assert not [array.shape for array in arrays(quantized) if array.dtype == np.float32 and array.ndim > 1]
    folded = benchmark_onnx.fold(model)
    parameters = sum(array.size for array in arrays(folded) if array.dtype == np.float32)
    assert quantized.ByteSize() <= parameters + 8 * channels + 300 * len(folded.graph.node) + 4096
    assert quantized.ByteSize() < 0.5 * folded.ByteSize()

    x, y = digits[1].x, digits[1].y
    before, after = run(folded, x, tmp_path), run(quantized, x, tmp_path)
    assert after.dtype == np.float32
    accuracy = np.mean(before.argmax(1) == y)
    assert accuracy > at_least
    assert abs(np.mean(after.argmax(1) == y) - accuracy) <= 0.01
    assert np.mean(after.argmax(1) != before.argmax(1)) < 0.03
    single = np.concatenate([run(quantized, x[row : row + 1], tmp_path) for row in range(20)])
    np.testing.assert_array_equal(single.argmax(1), after[:20].argmax(1))
    onnx.checker.check_model(quantized, full_check=True)


def test_int8_cannot_saturate_16_bit_pair_sums(conv_net: onnx.ModelProto, compress: Compress) -> None:
    quantized, _ = compress(conv_net)
    largest = max(int(np.abs(array.astype(int)).max()) for array in arrays(quantized) if array.dtype == np.int8)
    assert largest == 64  # of 7 bits; 255 * 64 + 255 * 64 = 32,640
    assert 2 * 255 * largest <= np.iinfo(np.int16).max


def test_int8_bytes_depend_on_rows_of_train_alone(mlp: onnx.ModelProto, compress: Compress, digits: Digits) -> None:
    first, report = compress(mlp)
    rows = np.sort(np.random.default_rng(0).choice(len(digits[0]), 256, replace=False))
    assert report["calibration_rows"] == 256
    assert report["calibration_sha256"] == hashlib.sha256(digits[0].x[rows].tobytes()).hexdigest()
    poisoned = dataclasses.replace(digits[1], x=np.full_like(digits[1].x, np.nan), y=np.zeros_like(digits[1].y))
    again, _ = compress(mlp, validation=poisoned)
    assert again.SerializeToString() == first.SerializeToString()
    other, other_report = compress(mlp, seed=1)
    assert other_report["calibration_sha256"] != report["calibration_sha256"]
    assert other.SerializeToString() != first.SerializeToString()


def test_int8_takes_all_rows_where_there_are_fewer(mlp: onnx.ModelProto, compress: Compress, digits: Digits) -> None:
    few = Split(x=digits[0].x[:40], y=digits[0].y[:40], units=digits[0].units[:40])
    _, report = compress(mlp, train=few)
    assert report["calibration_rows"] == 40
    assert report["calibration_sha256"] == hashlib.sha256(few.x.tobytes()).hexdigest()


def test_int8_survives_an_activation_that_is_always_zero(compress: Compress, digits: Digits, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["input", "w1", "b1"], ["c1"], strides=[4, 4]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Flatten", ["r1"], ["f1"]),
        helper.make_node("Gemm", ["f1", "w2", "b2"], ["output"]),
    ]
    weights = {"w1": random(0, 4, 1, 4, 4), "b1": np.full(4, -100, np.float32), "w2": random(1, 196, 10), "b2": random(2, 10)}
    quantized, report = compress(model_of(nodes, weights))
    assert report["changed"] == 2
    scales = {node.input[1] for node in quantized.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    for tensor in quantized.graph.initializer:
        if tensor.name in scales:
            scale = numpy_helper.to_array(tensor)
            assert np.isfinite(scale).all()
            assert (scale > 0).all()
    outputs = run(quantized, digits[1].x[:5], tmp_path)
    step = np.abs(weights["w2"]).max() / 64  # a bias is rounded to steps of weight times activation, here 1
    np.testing.assert_allclose(outputs, np.tile(weights["b2"], (5, 1)), atol=step / 2)


def test_int8_on_a_logistic_export(make_context: MakeContext) -> None:
    trained, _ = make_context("german-credit", "logistic", output_kind="probabilities")
    Sklearn().train(trained)
    exported, _ = make_context("german-credit", "logistic", output_kind="probabilities", input=trained.output)
    Sklearn().export(exported, "onnx")
    context, journal = make_context(
        "german-credit",
        "logistic",
        output_kind="probabilities",
        input=exported.output,
        params={"calibration_rows": 256, "calibration": "minmax"},
    )
    Int8Static().compress(context)
    assert (journal.layers["matched"], journal.layers["changed"]) == (1, 1)
    auc = [
        context.score(OnnxRuntime().load(folder, 1).predict(context.validation.x)) for folder in (exported.output, context.output)
    ]
    assert auc[0] == pytest.approx(auc[1], abs=0.003)
    sizes = [(folder / "model.onnx").stat().st_size for folder in (exported.output, context.output)]
    assert sizes[1] < 0.9 * sizes[0]


def test_int8_is_refused_where_there_is_nothing_to_do(mlp: onnx.ModelProto, compress: Compress) -> None:
    quantized, _ = compress(mlp)
    with pytest.raises(NotApplicable, match="quantized already"):
        compress(quantized)
    plain = model_of(
        [helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("Slice", ["flat", "a", "b", "c"], ["output"])],
        {"a": np.array([300]), "b": np.array([310]), "c": np.array([1])},
    )
    with pytest.raises(NotApplicable, match="no Conv, Gemm or MatMul with a float weight"):
        compress(plain)


def test_calibration_by_histogram_cuts_outliers(
    mlp: onnx.ModelProto, compress: Compress, digits: Digits, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One pixel of one row is a hundred times as bright as any: with its range the others get two or three steps."""
    x = digits[0].x[:256].copy()
    x[0, 0, 0, 0] = 100
    spoilt = Split(x=x, y=digits[0].y[:256], units=digits[0].units[:256])
    rows = digits[1].x[:500]
    before = run(mlp, rows, tmp_path)
    error, scales = {}, {}
    for name in ("minmax", "entropy", "percentile"):
        quantized, report = compress(mlp, calibration=name, train=spoilt)
        assert report["changed"] == 2
        error[name] = np.abs(run(quantized, rows, tmp_path) - before).mean()
        first = next(node for node in quantized.graph.node if node.op_type == "QuantizeLinear")
        scales[name] = next(
            float(numpy_helper.to_array(one)) for one in quantized.graph.initializer if one.name == first.input[1]
        )
    assert scales["minmax"] == pytest.approx(100 / 255)
    assert scales["percentile"] < 2 / 255
    assert scales["entropy"] < scales["minmax"] / 4
    assert error["percentile"] < error["minmax"] / 2
    assert error["entropy"] < error["minmax"]
    assert capfd.readouterr().out == ""


# int8-dynamic


def dynamic(model: onnx.ModelProto, make_context: MakeContext, tmp_path: Path) -> tuple[onnx.ModelProto, dict[str, Any]]:
    folder = tmp_path / "fp32"
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    context, journal = make_context("mnist-10k", "cnn", input=folder)
    Int8Dynamic().compress(context)
    return onnx.load(context.output / "model.onnx"), journal.layers


def test_dynamic_quantizes_products_and_leaves_convolutions(
    conv_net: onnx.ModelProto, make_context: MakeContext, digits: Digits, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quantized, report = dynamic(conv_net, make_context, tmp_path)
    assert report == {"matched": 1, "changed": 1}
    kinds = [node.op_type for node in quantized.graph.node]
    assert (kinds.count("Conv"), kinds.count("DynamicQuantizeLinear"), kinds.count("MatMulInteger")) == (2, 1, 1)
    (weight,) = (array for array in arrays(quantized) if array.dtype == np.int8 and array.ndim > 1)
    assert weight.size == 588 * 10
    assert np.abs(weight.astype(int)).max() <= 64  # of 7 bits, as in int8-static
    x, y = digits[1].x, digits[1].y
    accuracy = [np.mean(run(model, x, tmp_path).argmax(1) == y) for model in (conv_net, quantized)]
    assert accuracy[0] > 0.9
    assert abs(accuracy[1] - accuracy[0]) < 0.01
    assert not caplog.records
    onnx.checker.check_model(quantized, full_check=True)


def test_dynamic_is_refused_where_there_is_nothing_to_do(
    mlp: onnx.ModelProto, make_context: MakeContext, compress: Compress, tmp_path: Path
) -> None:
    quantized, report = dynamic(mlp, make_context, tmp_path)
    assert report == {"matched": 2, "changed": 2}
    assert quantized.ByteSize() < 0.3 * mlp.ByteSize()
    with pytest.raises(NotApplicable, match="quantized already"):
        dynamic(quantized, make_context, tmp_path)
    with pytest.raises(NotApplicable, match="quantized already"):
        compress(quantized)
    nodes, weights = conv_body()
    body = model_of([*nodes, helper.make_node("Identity", ["features"], ["output"])], weights, outputs=("N", 588))
    with pytest.raises(NotApplicable, match="no Gemm or MatMul with a float weight"):
        dynamic(body, make_context, tmp_path)


@pytest.mark.parametrize("layers", [5, 8, 11])
def test_layers_that_share_a_bias_are_quantized_each_with_its_own_copy(layers: int, tmp_path: Path) -> None:
    """ONNX Runtime's quantiser names copies by adding a number to a name, which in a stripped file is another value's name."""
    nodes, weights, before = [], {"w": random(0, 4 * 36, 3)}, "input"
    for i in range(layers):
        weights |= {f"w{i}": random(i + 1, 4, 4 if i else 1, 3, 3), f"b{i}": np.zeros(4, np.float32)}
        nodes.append(helper.make_node("Conv", [before, f"w{i}", f"b{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        nodes += [helper.make_node("Add", [f"c{i}", before], [f"a{i}"])] if i else []
        nodes.append(helper.make_node("Relu", [f"a{i}" if i else f"c{i}"], [f"r{i}"]))
        before = f"r{i}"
    nodes += [helper.make_node("Flatten", [before], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["output"])]
    model = benchmark_onnx.fold(model_of(nodes, weights, ("N", 1, 6, 6), ("N", 3)))
    assert len({node.input[2] for node in model.graph.node if node.op_type == "Conv"}) == 1
    x = np.random.default_rng(0).random((64, 1, 6, 6), np.float32)
    small = _quantize(model, _minmax(_activations(model, x, 1)))
    whole, rounded = (run(one, x, tmp_path / name) for name, one in (("whole", model), ("rounded", small)))
    assert np.abs(whole - rounded).max() < 0.1 * np.ptp(whole)
    assert np.corrcoef(whole.ravel(), rounded.ravel())[0, 1] > 0.99
