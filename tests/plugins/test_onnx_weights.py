"""fp16 and cluster, on exports of real networks: what is stored, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import pytest
from benchmark_onnx import OnnxRuntime
from benchmark_onnx._int8 import Int8Static
from benchmark_onnx._weights import Cluster, Float16, clustered
from benchmark_sklearn._train import Sklearn
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmark import Context, NotApplicable

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]


@pytest.fixture
def network(make_context: MakeContext, load_task: Callable[[str, int], Any]) -> Path:
    """A perceptron 784-32-10 on digits, of random features and a head that is the nearest mean; a folder with its file."""
    context, _ = make_context("mnist-10k", "cnn")
    train = load_task("mnist-10k", 0)[1].train
    rng = np.random.default_rng(0)
    w1 = rng.normal(scale=0.1, size=(784, 32)).astype(np.float32)
    hidden = np.maximum(train.x.reshape(-1, 784) @ w1, 0)
    w2 = np.stack([hidden[train.y == label].mean(axis=0) for label in range(10)]).T.astype(np.float32)
    weights = {"w1": w1, "b1": np.zeros(32, np.float32), "w2": w2, "b2": -(w2**2).sum(axis=0) / 2}
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ("N", 1, 28, 28))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ("N", 10))],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), context.output / "model.onnx")
    return context.output


def arrays(folder: Path) -> list[NDArray[Any]]:
    return [numpy_helper.to_array(one) for one in onnx.load(folder / "model.onnx").graph.initializer]


def outputs(folder: Path, context: Context) -> NDArray[np.float32]:
    return OnnxRuntime().load(folder, 1).predict(context.validation.x)


def test_float16_halves_the_file(network: Path, make_context: MakeContext) -> None:
    context, journal = make_context("mnist-10k", "cnn", input=network)
    Float16().compress(context)
    before, after = arrays(network), arrays(context.output)
    assert [array.dtype.name for array in sorted(after, key=lambda array: -array.size)] == ["float16"] * 3 + ["float32"]
    assert journal.layers == {"matched": 4, "changed": 3}  # ten biases are not worth a Cast
    sizes = [(folder / "model.onnx").stat().st_size for folder in (network, context.output)]
    assert sizes[0] > 4 * sum(array.size for array in before)
    assert sizes[1] < 0.53 * sizes[0]
    old, new = outputs(network, context), outputs(context.output, context)
    assert new.dtype == np.float32
    np.testing.assert_allclose(new, old, rtol=0, atol=2e-3 * np.abs(old).max())
    assert context.score(new) == pytest.approx(context.score(old), abs=0.003)
    onnx.checker.check_model(onnx.load(context.output / "model.onnx"), full_check=True)


def test_what_float16_cannot_hold_stays(network: Path, make_context: MakeContext) -> None:
    model = onnx.load(network / "model.onnx")
    (tensor,) = (one for one in model.graph.initializer if one.name == "w2")
    large = numpy_helper.to_array(tensor).copy()
    large[0, 0] = 70_000
    tensor.CopyFrom(numpy_helper.from_array(large, "w2"))
    onnx.save(model, network / "model.onnx")
    context, journal = make_context("mnist-10k", "cnn", input=network)
    Float16().compress(context)
    assert journal.layers == {"matched": 4, "changed": 2}
    assert any(array.dtype == np.float32 and array.max() == 70_000 for array in arrays(context.output))
    clusters, journal = make_context("mnist-10k", "cnn", input=network, params={"bits": 2})
    Cluster().compress(clusters)
    assert journal.layers["changed"] == 2  # w1 and the biases of the output


def test_cluster_leaves_few_values_in_the_right_places(network: Path, make_context: MakeContext) -> None:
    runs = []
    for _ in range(2):
        context, journal = make_context("mnist-10k", "cnn", input=network, params={"bits": 3})
        Cluster().compress(context)
        runs.append((context.output / "model.onnx").read_bytes())
    assert runs[0] == runs[1]
    before = {array.shape: array for array in arrays(network)}
    counts = {}
    for after in arrays(context.output):
        counts[after.shape] = len(np.unique(after[after != 0]))
        kept, values = before[after.shape][after != 0], after[after != 0]
        assert np.array_equal(values, values.astype(np.float16).astype(np.float32))
        distance = np.abs(kept[:, None] - np.unique(values)[None]) if values.size else np.zeros((0, 1))
        np.testing.assert_allclose(np.abs(kept - values), distance.min(axis=1), atol=1e-4)  # each has the nearest
    assert counts == {(784, 32): 8, (32, 10): 8, (10,): 8, (32,): 0}
    values = sum(len(np.unique(after)) for after in arrays(context.output))
    assert journal.layers == {"matched": 4, "changed": 3, "values": values}
    assert (context.output / "model.onnx").stat().st_size == pytest.approx((network / "model.onnx").stat().st_size, abs=100)
    assert context.score(outputs(context.output, context)) > context.score(outputs(network, context)) - 0.03


@given(
    weight=hnp.arrays(np.float32, st.integers(1, 60), elements=st.sampled_from([0.0, 0.5, -0.25, 1.0, 3.0, -7.0])),
    count=st.sampled_from([2, 4, 8]),
)
def test_zeros_stay_and_no_more_values_than_asked_for(weight: NDArray[np.float32], count: int) -> None:
    result = clustered(weight, count)
    assert result.dtype == np.float32
    assert not result[weight == 0].any()
    assert len(np.unique(result[result != 0])) <= count
    if len(np.unique(weight[weight != 0])) <= count:
        assert result is weight


def test_clusters_are_the_best_two_means() -> None:
    """Known by hand: two groups around 1 and 5."""
    weight = np.array([0.5, 1.0, 1.5, 0.0, 4.5, 5.0, 5.5], np.float32)
    assert clustered(weight, 2).tolist() == [1, 1, 1, 0, 5, 5, 5]


@pytest.mark.parametrize(("code", "params"), [(Float16, {}), (Cluster, {"bits": 4})])
def test_not_applicable_to_what_has_no_float_weights(code: Any, params: Any, make_context: MakeContext) -> None:
    trained, _ = make_context("german-credit", "tree", output_kind="probabilities")
    Sklearn().train(trained)
    exported, _ = make_context("german-credit", "tree", output_kind="probabilities", input=trained.output)
    Sklearn().export(exported, "onnx")
    context, _ = make_context("german-credit", "tree", output_kind="probabilities", input=exported.output, params=params)
    with pytest.raises(NotApplicable, match="no float weight"):
        code().compress(context)


def test_scales_of_a_quantized_model_are_left_alone(network: Path, make_context: MakeContext) -> None:
    quantized, _ = make_context("mnist-10k", "cnn", input=network, params={"calibration_rows": 32, "calibration": "minmax"})
    Int8Static().compress(quantized)
    context, _ = make_context("mnist-10k", "cnn", input=quantized.output)
    with pytest.raises(NotApplicable, match="no float weight"):
        Float16().compress(context)
