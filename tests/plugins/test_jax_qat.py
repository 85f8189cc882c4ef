"""Quantization-aware training of JAX networks: what is trained is what is saved, and that is what ships, in integers."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import benchmark_jax
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
import pytest
from benchmark_jax._blocks import Sum, channels_last, flatten, halve, mean, relu, relu6
from benchmark_jax._export import to_onnx
from benchmark_jax._integers import Markers, in_integers
from benchmark_jax._magnitude import PruneMagnitude
from benchmark_jax._masks import zeros
from benchmark_jax._models import build, view
from benchmark_jax._qat import QatInt8, counted
from benchmark_jax._rounding import FakeQuant, FakeQuantWeights, Prepared, unrounded
from benchmark_jax._train import Jax
from benchmark_onnx._int8 import Int8Static
from flax import nnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from benchmark import Context, NotApplicable

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]

TRAINING = {"updates": 20, "batch": 32, "lr": 1e-2}
LAYERS = {"cnn": 4, "mlp": 3, "ds-cnn": 10, "resmlp": 6}
NETWORKS = [
    ("nodule-shape", "cnn"),
    ("german-credit", "mlp"),
    ("watch-imu", "ds-cnn"),
    ("german-credit", "resmlp"),
]
INTEGER = {"QLinearConv", "QLinearAdd", "QGemm", "NhwcMaxPool", "Reshape", "Transpose"}
CONVERTING = {"QuantizeLinear", "DequantizeLinear"}
export_warns = pytest.mark.filterwarnings(r"ignore:'\.value' access is now deprecated:DeprecationWarning")  # inside jax2onnx


def quantized(source: Path, make_context: MakeContext, task: str, name: str) -> tuple[Context, Any]:
    context, journal = make_context(task, name, training=TRAINING, params={"finetune": 0.5}, input=source)
    QatInt8().compress(context)
    return context, journal


def run(path: Path, x: NDArray[np.float32], optimised: Path | None = None) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimised:
        options.optimized_model_filepath = str(optimised)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs: NDArray[np.float32] = session.run(None, {"input": np.ascontiguousarray(x)})[0]
    return outputs


@export_warns
@pytest.mark.parametrize(("task", "name"), NETWORKS)
def test_what_is_trained_ships_in_integers(task: str, name: str, make_context: MakeContext, tmp_path: Path) -> None:
    """Cases C-07, C-08 and C-09, depthwise layers too. The network was pruned before, and one checkpoint is made twice."""
    reference, _ = make_context(task, name, training=TRAINING)
    Jax().train(reference)
    pruning = {"sparsity": 0.5, "scope": "layer", "schedule": "one-shot", "finetune": 0.0}
    pruned, _ = make_context(task, name, training=TRAINING, params=pruning, input=reference.output)
    PruneMagnitude().compress(pruned)
    context, journal = quantized(pruned.output, make_context, task, name)
    assert journal.layers == {"matched": LAYERS[name], "changed": LAYERS[name]}
    assert journal.training["updates"] <= 10

    x = np.asarray(context.validation.x)
    loaded: Any = benchmark_jax.load(context.output)
    outputs = benchmark_jax.predict(loaded, x)
    assert context.score(outputs) == max(point["score"] for point in journal.curve)
    masks = zeros(nnx.state(benchmark_jax.load(pruned.output), nnx.Param))
    zero = sum(int(mask.sum()) for mask in jax.tree.leaves(masks))
    kernels = [
        np.asarray(module.layer.kernel[...]) for _, module in nnx.iter_modules(loaded) if isinstance(module, FakeQuantWeights)
    ]
    assert sum(int((kernel == 0).sum()) for kernel in kernels) == zero > 0

    there, _ = make_context(task, name, input=context.output)
    Jax().export(there, "onnx")
    if name == "mlp":
        again, _ = quantized(pruned.output, make_context, task, name)
        assert (again.output / "model.pickle").read_bytes() == (context.output / "model.pickle").read_bytes()

    path = there.output / "model.onnx"
    shipped = run(path, x, tmp_path / "optimised.onnx")
    assert abs(context.score(shipped) - context.score(outputs)) <= 0.01
    assert np.abs(shipped - outputs).mean() < 0.05 * outputs.std()
    # ONNX Runtime computes means in float, and what fully connected layers are added to.
    nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
    assert {node.op_type for node in nodes} <= INTEGER | CONVERTING | {"ReduceMean", "Add"}
    assert ("Add" in {node.op_type for node in nodes}) == (name == "resmlp")
    assert sum(node.op_type in ("QLinearConv", "QGemm") for node in nodes) == LAYERS[name]
    graph = onnx.load(path).graph
    onnx.checker.check_model(onnx.load(path), full_check=True)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = [array for array in arrays.values() if array.ndim > 1]
    assert sorted(array.size for array in weights) == sorted(kernel.size for kernel in kernels)
    assert all(array.dtype == np.int8 and np.abs(array.astype(int)).max() == 64 for array in weights)  # case C-09
    assert sum(int((array == 0).sum()) for array in weights) >= zero
    steps = [arrays[node.input[1]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert all(step.size == 1 for step in steps)
    assert {arrays[node.input[2]].dtype for node in graph.node if node.op_type == "QuantizeLinear"} == {np.dtype(np.uint8)}
    biases = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.INT32]
    assert len(biases) == LAYERS[name]

    # As small as what is quantized afterwards, which cannot be done to this one.
    float_, _ = make_context(task, name, input=reference.output)
    Jax().export(float_, "onnx")
    static, _ = make_context(task, name, params={"calibration_rows": 32, "calibration": "minmax"}, input=float_.output)
    Int8Static().compress(static)
    assert path.stat().st_size < 1.05 * (static.output / "model.onnx").stat().st_size
    with pytest.raises(NotApplicable, match="the model is quantized already"):
        Int8Static().compress(dataclasses.replace(static, input=there.output))
    with pytest.raises(NotApplicable, match="qat-int8 rounds as ONNX's integer operators do: export as onnx"):
        Jax().export(there, "stablehlo")


def small(scale: jax.Array) -> nnx.Sequential:
    """A network with a normalisation whose epsilon counts, since its inputs hardly vary, and dropout."""
    rngs = nnx.Rngs(0)
    convolution = nnx.Conv(2, 8, (3,), padding="VALID", use_bias=False, rngs=rngs)
    norm: Any = nnx.BatchNorm(8, momentum=0.8, epsilon=1e-3, rngs=rngs)
    norm.scale[...] = scale
    return nnx.Sequential(convolution, norm, relu, flatten, nnx.Dropout(0.1, rngs=rngs), nnx.Linear(48, 3, rngs=rngs))


def states(model: nnx.Module) -> dict[str, bytes]:
    flat = nnx.to_flat_state(nnx.state(model, nnx.BatchStat))
    return {"/".join(map(str, path)): np.asarray(value[...]).tobytes() for path, value in flat}


def test_modes_change_nothing_but_what_they_are_about() -> None:
    """Case C-08. Negative and small factors of the normalisation too, which the integers must survive."""
    source = small(jnp.asarray([1, -1, 0.01, 2, 0.5, -0.3, 1, 1], jnp.float32))
    x = 0.03 * jax.random.normal(jax.random.key(0), (64, 8, 2))
    model: Any = Prepared(source, 3)
    learner: Any = view(model, training=True)
    frozen = list[list[str]]()
    for _ in range(5):
        before = states(model)
        learner(x * (1 + len(frozen)))
        counted(model)
        frozen.append([name for name, value in states(model).items() if before[name] == value])
    ranges = sum(isinstance(module, FakeQuant) for _, module in nnx.iter_modules(model))
    (least,) = frozen[1]  # zero, behind relu
    assert frozen[:3] == [[], [least], [least]]
    assert frozen[3] == frozen[4] == list(before)
    assert len(before) == 2 + 2 * ranges == 6  # mean and variance, and the ends of two ranges

    # Once settled, training mode computes what evaluation does, but for dropout, which goes on.
    evaluated: Any = view(model, training=False)
    before = states(model)
    outputs = evaluated(x)
    assert states(model) == before  # looking moves no range
    assert not np.array_equal(learner(x), outputs)
    settled: Any = nnx.view(learner, only=nnx.Dropout, deterministic=True)
    np.testing.assert_allclose(settled(x), outputs, rtol=1e-5, atol=1e-6)


def test_statistics_are_those_of_a_network_that_does_not_round() -> None:
    source = small(jnp.ones(8))
    x = 0.03 * jax.random.normal(jax.random.key(0), (64, 8, 2))
    learner: Any = view(Prepared(nnx.clone(source), 1000), training=True)
    plain: Any = view(source, training=True)
    for _ in range(20):
        learner(x)
        plain(x)
    (one, *_), (other, *_) = (
        [module for _, module in nnx.iter_modules(model) if isinstance(module, nnx.BatchNorm)] for model in (learner, plain)
    )
    np.testing.assert_allclose(one.mean[...], other.mean[...], atol=1e-3)
    np.testing.assert_allclose(one.var[...], other.var[...], rtol=0.05)
    models: list[Any] = [view(learner, training=False), view(plain, training=False)]
    rounded, exact = (np.asarray(model(x)) for model in models)
    assert 0 < np.abs(rounded - exact).mean() < 0.02 * exact.std()


def test_a_range_is_a_moving_average_that_holds_zero() -> None:
    """By hand: the first batch's ends, then a hundredth of the way to the next's."""
    model = Prepared(nnx.Sequential(nnx.Linear(1, 1, rngs=nnx.Rngs(0))), 2)
    (found,) = (module for _, module in nnx.iter_modules(model) if isinstance(module, FakeQuant))
    learner: Any = view(model, training=True)
    for batch in ([[1.0], [3.0]], [[2.0], [103.0]], [[-50.0], [900.0]]):
        learner(jnp.asarray(batch))
        counted(model)
    assert (float(found.low[...]), float(found.high[...])) == pytest.approx((1.01, 4.0))
    step, zero = map(float, found.grid())
    assert (step, zero) == pytest.approx((4 / 255, 0))
    values = jnp.asarray([-1.0, 0.0, 0.3 * step, 0.7 * step, 3.999, 7.0])
    np.testing.assert_allclose(found.rounded(values), [0, 0, 0, step, 4, 4], rtol=1e-5)
    gradient = jax.grad(lambda x: found.rounded(x).sum())(values)
    np.testing.assert_array_equal(gradient[jnp.asarray([0, 2, 3, 4, 5])], [0, 1, 1, 1, 0])
    found.low[...] = jnp.float32(-1.0)
    step, zero = map(float, found.grid())
    assert (step, zero) == pytest.approx((5 / 255, 51))
    assert float(found.rounded(jnp.float32(0))) == 0


@export_warns
def test_ranges_stay_with_their_values() -> None:
    """Activations that end at 6, where the ranges behind them end too, sums, and one value that two layers read."""
    rngs = nnx.Rngs(0)

    def convolution(inputs: int, outputs: int, groups: int = 1) -> nnx.Conv:
        return nnx.Conv(inputs, outputs, (3, 3), feature_group_count=groups, rngs=rngs)

    norm: Any = nnx.BatchNorm(8, rngs=rngs)  # behind no layer that it could be merged into
    norm.scale[...] = jnp.full(8, 30.0)
    body = nnx.Sequential(convolution(8, 8), relu6, convolution(8, 8, groups=8), relu6, convolution(8, 16))
    layers = (
        channels_last,
        convolution(1, 8),
        relu6,
        halve,
        norm,
        Sum(body, convolution(8, 16)),
        convolution(16, 8),
        relu6,
        mean,
    )
    x = 30 * np.random.default_rng(0).standard_normal((64, 1, 6, 6)).astype(np.float32)
    model: Any = Prepared(nnx.Sequential(*layers, nnx.Linear(8, 3, rngs=rngs)), 100)
    learner: Any = view(model, training=True)
    for _ in range(3):
        learner(jnp.asarray(x))
    ends = [float(module.high[...]) for _, module in nnx.iter_modules(model) if isinstance(module, FakeQuant)]
    assert ends.count(6.0) >= 2
    outputs = benchmark_jax.predict(model, x)
    session = onnxruntime.InferenceSession(to_onnx(model, x.shape[1:]).SerializeToString(), providers=["CPUExecutionProvider"])
    shipped = session.run(None, {"input": x})[0]
    assert np.abs(shipped - outputs).mean() < 0.01 * outputs.std()
    # A layer that would ship in float is an error.
    marks = Markers()
    network = to_onnx(unrounded(model.network, marks), x.shape[1:])
    with pytest.raises(RuntimeError, match="int8 weights in 7 of 8 layers, and rounds in"):
        in_integers(network, marks, 8)


@export_warns
def test_concatenations_and_overlapping_poolings(tmp_path: Path) -> None:
    """A narrow SqueezeNet. Where a pooling adds edges, ONNX Runtime pools floats."""
    x = np.random.default_rng(0).random((64, 1, 16, 16), np.float32)
    model: Any = Prepared(build("squeezenet", (1, 16, 16), 4, seed=0, width=0.25), 100)
    learner: Any = view(model, training=True)

    @nnx.jit
    def learn(learner: Any, x: jax.Array) -> Any:
        return learner(x)

    for _ in range(20):
        learn(learner, jnp.asarray(x))
    outputs = benchmark_jax.predict(model, x)
    onnx.save(to_onnx(model, (1, 16, 16)), tmp_path / "model.onnx")
    shipped = run(tmp_path / "model.onnx", x, tmp_path / "optimised.onnx")
    assert np.abs(shipped - outputs).mean() < 0.1 * outputs.std()
    counts = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert (counts["QLinearConv"], counts["QLinearConcat"], counts["QGemm"], counts["Pad"]) == (25, 8, 1, 3)
    assert not {"Conv", "Gemm", "Concat"} & set(counts)


def test_a_network_without_weights_is_refused(make_context: MakeContext) -> None:
    source, _ = make_context("german-credit", "mlp")
    benchmark_jax.save(nnx.Sequential(relu), source.output)
    context, _ = make_context("german-credit", "mlp", training=TRAINING, params={"finetune": 0.5}, input=source.output)
    with pytest.raises(NotApplicable, match="the network has no convolution and no linear layer"):
        QatInt8().compress(context)
