"""The JAX back end: networks, training, checkpoints and the ONNX export, on the embedded tasks."""

from __future__ import annotations

import dataclasses
import itertools
import json
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
from benchmark_jax._blocks import halve, max_pool
from benchmark_jax._controls import Longer, Narrow
from benchmark_jax._distil import Distil, distillation
from benchmark_jax._models import build
from benchmark_jax._train import Jax, cross_entropy, fresh
from flax import nnx
from numpy.typing import NDArray

from benchmark import Context, TaskData, TaskSpec

Floats: TypeAlias = NDArray[np.float32]
MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]
LoadTask: TypeAlias = Callable[[str, int], tuple[TaskSpec, TaskData]]

NETWORKS = {"nodule-shape": "cnn", "watch-imu": "cnn1d", "german-credit": "mlp"}
TRAINING = {"updates": 10, "batch": 32, "lr": 3e-3}
export_warns = pytest.mark.filterwarnings(r"ignore:'\.value' access is now deprecated:DeprecationWarning")  # inside jax2onnx


def arrays(model: nnx.Module) -> list[NDArray[Any]]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(model))]


def parameters(model: nnx.Module) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def ever_better(context: Context) -> Context:
    """The context, with a score that never stops a training early."""
    count = itertools.count()
    return dataclasses.replace(context, score=lambda outputs: float(next(count)))


@pytest.fixture
def credit(make_context: MakeContext) -> tuple[Context, Any]:
    return make_context("german-credit", "mlp", training={"updates": 60, "batch": 64, "lr": 1e-2})


# Weights, biases, scales and shifts: convolution 3 * 3 * C * 16 + 32, 9 * 16 * 32 + 64, 9 * 32 * 64 + 128, linear 64 * K + K.
@pytest.mark.parametrize(
    ("architecture", "shape", "classes", "width", "count"),
    [
        ("cnn", (1, 28, 28), 10, 1.0, 24_058),
        ("cnn", (3, 32, 32), 2, 1.0, 23_826),
        ("cnn", (1, 28, 28), 10, 0.5, 72 + 16 + 1152 + 32 + 4608 + 64 + 330),
        ("cnn1d", (6, 128), 7, 1.0, 5 * (6 * 32 + 32 * 48 + 48 * 64) + 2 * 144 + 65 * 7),
        ("cnn1d", (6, 128), 7, 0.5, 5 * (6 * 16 + 16 * 24 + 24 * 32) + 2 * 72 + 33 * 7),
        ("mlp", (60,), 2, 1.0, 61 * 64 + 65 * 32 + 33 * 2),
        ("mlp", (60,), 2, 0.001, 61 + 2 + 4),
    ],
)
def test_parameter_counts(architecture: str, shape: tuple[int, ...], classes: int, width: float, count: int) -> None:
    model = build(architecture, shape, classes, seed=0, width=width)
    assert parameters(model) == count
    assert benchmark_jax.predict(model, np.zeros((3, *shape), np.float32)).shape == (3, classes)


def test_weights_start_as_in_pytorch() -> None:
    """Uniform within 1 / sqrt(inputs of a unit), biases too: a variance of a third of 1 / inputs."""
    model: Any = build("cnn", (1, 28, 28), 10, seed=0)
    kernels = [np.asarray(layer.kernel[...]) for layer in model.layers if isinstance(layer, nnx.Conv | nnx.Linear)]
    for kernel, inputs in zip(kernels, (9, 9 * 16, 9 * 32, 64), strict=True):
        assert 0.9 * inputs**-0.5 < np.abs(kernel).max() <= inputs**-0.5
        assert np.var(kernel) * inputs == pytest.approx(1 / 3, rel=0.2)
    assert 0 < np.abs(np.asarray(model.layers[-1].bias[...])).max() <= 1 / 8


def test_halve_pools_as_max_pool_does(load_task: LoadTask) -> None:
    images = np.moveaxis(load_task("nodule-shape", 0)[1].train.x[:8], 1, -1)
    for x in (images, images[:, :31, :29], images[:, 3]):
        pooled = halve(jnp.asarray(x))
        assert pooled.shape == (8, *(size // 2 for size in x.shape[1:-1]), 3)
        assert np.array_equal(pooled, max_pool(jnp.asarray(x)))


def test_cross_entropy_weights_classes() -> None:
    logits, y = jnp.asarray([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), jnp.asarray([0, 1, 1])
    losses = [np.log1p(np.exp(-2)), np.log1p(np.exp(-1)), np.log(2)]
    for weight, expected in ((None, np.mean(losses)), ((1.0, 5.0), np.dot(losses, [1, 5, 5]) / 11)):
        loss: Any = cross_entropy(weight)
        assert loss(logits, y) == pytest.approx(expected, rel=1e-6)


def test_training_repeats_bit_for_bit_and_keeps_the_best(make_context: MakeContext) -> None:
    runs = []
    for _ in range(2):
        context, journal = make_context("watch-imu", "cnn1d", training=TRAINING)
        model = fresh(context)
        benchmark_jax.fit(model, context)
        runs.append((arrays(model), journal.curve))
        scores = [point["score"] for point in journal.curve]
        assert context.score(benchmark_jax.predict(model, context.validation.x)) == max(scores) > 1 / 7
        assert [point["step"] for point in journal.curve] == list(range(1, 11))
        assert journal.training["updates"] == 10
        assert journal.training["stopped_by"] == "updates"
        assert 0 < journal.training["compile_seconds"] < 60
    assert runs[0][1] == runs[1][1]
    assert all(np.array_equal(one, other) for one, other in zip(runs[0][0], runs[1][0], strict=True))


def test_seeds_differ_in_weights_and_in_batches(make_context: MakeContext) -> None:
    contexts = [make_context("german-credit", "mlp", training=TRAINING, seed=seed)[0] for seed in (0, 1)]
    start = fresh(contexts[0])
    assert not np.array_equal(arrays(start)[0], arrays(fresh(contexts[1]))[0])
    trained = []
    for context in contexts:
        model = nnx.clone(start)
        benchmark_jax.fit(model, context)
        trained.append(arrays(model)[0])
    assert not np.array_equal(trained[0], trained[1])


def test_training_learns(credit: tuple[Context, Any]) -> None:
    context, journal = credit
    model = fresh(context)
    benchmark_jax.fit(model, context)
    assert max(point["score"] for point in journal.curve) > 0.7
    assert journal.curve[-1]["loss"] < 0.9 * journal.curve[0]["loss"]


def test_deadline_keeps_the_best(credit: tuple[Context, Any]) -> None:
    context, journal = credit
    left = iter([10.0] * 15)
    model = fresh(context)
    benchmark_jax.fit(model, dataclasses.replace(context, remaining=lambda: next(left, 0.0)))
    assert journal.training["stopped_by"] == "deadline"
    assert journal.training["updates"] == journal.curve[-1]["step"] == 48  # at the end of a call, of three updates here
    best = max(point["score"] for point in journal.curve)
    assert context.score(benchmark_jax.predict(model, context.validation.x)) == best


def test_early_stop_after_ten_scorings_without_a_better_one(credit: tuple[Context, Any]) -> None:
    context, journal = credit
    scores = iter([0.5, 0.6, *[0.6] * 18])
    outputs: list[Floats] = []

    def score(values: Floats) -> float:
        outputs.append(values)
        return next(scores)

    model = fresh(context)
    benchmark_jax.fit(model, dataclasses.replace(context, score=score))
    assert (journal.training["stopped_by"], journal.training["updates"], len(outputs)) == ("early", 36, 12)
    assert np.array_equal(benchmark_jax.predict(model, context.validation.x), outputs[1])


def test_undefined_scores_keep_the_last_state(credit: tuple[Context, Any]) -> None:
    context, journal = credit
    outputs: list[Floats] = []

    def score(values: Floats) -> float:
        outputs.append(values)
        return float("nan")

    model = fresh(context)
    benchmark_jax.fit(model, dataclasses.replace(context, score=score))
    assert (journal.training["stopped_by"], len(outputs)) == ("updates", 20)
    assert np.array_equal(benchmark_jax.predict(model, context.validation.x), outputs[-1])


def test_share_counts_updates(make_context: MakeContext) -> None:
    for share, updates in ((0.5, 5), (0.0, 1)):
        context, journal = make_context("german-credit", "mlp", training=TRAINING)
        benchmark_jax.fit(fresh(context), ever_better(context), share=share)
        assert journal.training["updates"] == updates


def test_after_step_keeps_a_mask_exactly(make_context: MakeContext) -> None:
    """Momentum and weight decay would move masked weights off zero if only the gradient were masked."""
    context, _ = make_context("german-credit", "mlp", training=TRAINING)
    model: Any = fresh(context)
    mask = np.asarray(np.random.default_rng(0).random((60, 64)) < 0.5, np.float32)

    def keep(model: Any) -> None:
        model.layers[1].kernel[...] *= mask

    before = np.asarray(model.layers[1].kernel[...])
    benchmark_jax.fit(model, context, after_step=keep)
    kernel = np.asarray(model.layers[1].kernel[...])
    assert np.array_equal(kernel == 0, mask == 0)
    assert np.all((kernel != before)[mask == 1])


def test_own_loss_is_what_is_trained(make_context: MakeContext) -> None:
    context, journal = make_context("watch-imu", "cnn1d", training={**TRAINING, "updates": 2})
    seen = []

    def loss(model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        seen.append((x.shape, y.dtype, model.layers[2].use_running_average))
        return jnp.asarray(3.0 + 0.0 * model(x).sum())

    model = fresh(context)
    before = [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))]
    benchmark_jax.fit(model, context, loss=loss)
    assert seen == [((32, 6, 128), jnp.int32, False)]
    assert [point["loss"] for point in journal.curve] == [3.0, 3.0]
    # No gradient is left, so weight decay alone acts: rate 3e-3 times 0.05. The second state scores no better: the first is kept.
    for old, new in zip(before, jax.tree.leaves(nnx.state(model, nnx.Param)), strict=True):
        np.testing.assert_allclose(np.asarray(new), old * (1 - 1.5e-4), rtol=1e-6, atol=1e-9)


def test_prediction_is_in_evaluation_mode_and_changes_nothing(make_context: MakeContext) -> None:
    context, _ = make_context("watch-imu", "cnn1d")
    model: Any = fresh(context)
    model.train()
    before = arrays(model)
    x = context.validation.x[:33]
    one_by_one = np.concatenate([benchmark_jax.predict(model, x[row : row + 1]) for row in range(33)])
    together = benchmark_jax.predict(model, x)
    assert together.dtype == np.float32
    assert np.array_equal(one_by_one, together)
    assert np.array_equal(benchmark_jax.predict(model, np.tile(x, (9, 1, 1)))[-33:], together)
    assert all(np.array_equal(one, other) for one, other in zip(before, arrays(model), strict=True))
    assert not model.layers[2].use_running_average


def test_checkpoint_round_trip(make_context: MakeContext, tmp_path: Path) -> None:
    context, _ = make_context("nodule-shape", "cnn")
    model: Any = fresh(context)
    model.train()
    benchmark_jax.save(model, tmp_path)
    loaded: Any = benchmark_jax.load(tmp_path)
    assert all(np.array_equal(one, other) for one, other in zip(arrays(model), arrays(loaded), strict=True))
    assert loaded.layers[2].use_running_average
    assert {path.name for path in tmp_path.iterdir()} >= {"model.pickle", "meta.json"}
    assert json.loads((tmp_path / "meta.json").read_text(encoding="utf-8"))["parameters"] == 23_826


@export_warns
@pytest.mark.parametrize("task", NETWORKS)
def test_export_equals_the_model(task: str, make_context: MakeContext) -> None:
    context, _ = make_context(task, NETWORKS[task], training=TRAINING)
    Jax().train(context)
    target, _ = make_context(task, NETWORKS[task], input=context.output)
    Jax().export(target, "onnx")
    (path,) = target.output.iterdir()
    assert path.name == "model.onnx"

    graph = onnx.load(path).graph
    operators = [node.op_type for node in graph.node]
    if task == "german-credit":
        assert operators == ["Gemm", "Relu", "Gemm", "Relu", "Gemm"]
    else:
        pools = ["MaxPool"] * (2 if task == "watch-imu" else 1)
        assert operators == ["Conv", "Relu", *pools] * 2 + ["Conv", "Relu", "ReduceMean", "Gemm"]
    model: Any = benchmark_jax.load(context.output)
    assert path.stat().st_size <= 4 * parameters(model) + 160 * len(operators) + 4096
    weights = sum(int(np.prod(tensor.dims)) for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT)
    scales = sum(layer.num_features for layer in model.layers if isinstance(layer, nnx.BatchNorm))
    assert weights == parameters(model) - scales

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (one,), (other,) = session.get_inputs(), session.get_outputs()
    shape = [one.name, one.type, one.shape[1:], other.name, other.type, other.shape[1:]]
    classes = len(context.task.classes)
    assert shape == ["input", "tensor(float)", [*context.task.input_shape], "output", "tensor(float)", [classes]]
    assert isinstance(one.shape[0], str)
    assert one.shape[0] == other.shape[0]
    x = context.train.x[:256]
    expected = benchmark_jax.predict(model, x)
    assert np.std(expected) > 0.01
    for rows in (1, 7, 256):
        outputs = session.run(None, {"input": x[:rows]})[0]
        np.testing.assert_allclose(outputs, expected[:rows], rtol=1e-5, atol=1e-5)


@export_warns
def test_export_of_any_module(tmp_path: Path, make_context: MakeContext) -> None:
    """A pass may save a network that is no chain of layers."""
    context, _ = make_context("german-credit", "mlp")
    x = context.train.x[:5]
    model = Residual(60)
    benchmark_jax.save(model, tmp_path)
    target, _ = make_context("german-credit", "mlp", input=tmp_path)
    Jax().export(target, "onnx")
    session = onnxruntime.InferenceSession(target.output / "model.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"input": x})[0], np.asarray(model(jnp.asarray(x))), rtol=1e-5, atol=1e-5)


class Residual(nnx.Module):
    """Not a chain: its input is added to what a layer makes of it."""

    def __init__(self, size: int) -> None:
        self.inner = nnx.Linear(size, size, rngs=nnx.Rngs(0))
        self.outer = nnx.Linear(size, 2, rngs=nnx.Rngs(1))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.outer(x + nnx.relu(self.inner(x)))


def test_narrow_trains_a_small_network_for_both_lengths(make_context: MakeContext) -> None:
    context, journal = make_context("german-credit", "mlp", training=TRAINING, params={"width": 0.5, "finetune": 0.5})
    Narrow().compress(ever_better(context))
    assert journal.training["updates"] == 15
    model = benchmark_jax.load(context.output)
    assert isinstance(model, nnx.Sequential)
    assert parameters(model) == 61 * 32 + 33 * 16 + 17 * 2


def test_longer_trains_the_whole_network_for_both_lengths(make_context: MakeContext) -> None:
    context, journal = make_context("german-credit", "mlp", training=TRAINING, params={"finetune": 0.5})
    Longer().compress(ever_better(context))
    assert journal.training["updates"] == 15
    assert parameters(benchmark_jax.load(context.output)) == 61 * 64 + 65 * 32 + 33 * 2


def test_distillation_is_scaled_as_in_the_paper() -> None:
    """Case C-13: student logits (2, 0, 0, 0), teacher (0, 2, 0, 0), temperature 4."""
    student, teacher = jnp.asarray([[2.0, 0, 0, 0]] * 3), jnp.asarray([[0, 2.0, 0, 0]] * 3)
    x, y = jnp.zeros((3, 1)), jnp.asarray([0, 1, 1])
    hard = [np.log(np.exp(2) + 3) - value for value in (2, 0, 0)]
    for soft in (0.0, 0.25, 1.0):
        loss = distillation(lambda x: teacher, cross_entropy(None), 4.0, soft)
        expected = (1 - soft) * np.mean(hard) + soft * 1.116389
        assert float(loss(lambda x: student, x, y)) == pytest.approx(expected, abs=1e-5)


def test_only_the_student_learns(make_context: MakeContext) -> None:
    training = {"updates": 60, "batch": 32, "lr": 1e-2}
    source, _ = make_context("watch-imu", "cnn1d", training=training)
    Jax().train(source)
    before = {path.name: path.read_bytes() for path in source.output.iterdir()}
    params = {"student": "", "width": 0.5, "temperature": 4.0, "soft": 1.0, "finetune": 0.5}
    context, journal = make_context("watch-imu", "cnn1d", training=training, params=params, reference=source.output)
    teacher = benchmark_jax.load(source.output)
    state, student = arrays(teacher), fresh(context, 0.5)
    benchmark_jax.fit(student, context, loss=distillation(teacher, cross_entropy(None), 4.0, 1.0))
    assert all(np.array_equal(one, other) for one, other in zip(arrays(teacher), state, strict=True))  # running statistics too

    Distil().compress(ever_better(context))
    assert journal.training["updates"] == 90
    assert {path.name: path.read_bytes() for path in source.output.iterdir()} == before
    distilled = benchmark_jax.load(context.output)
    assert parameters(distilled) == parameters(fresh(context, 0.5))
    # Of labels it saw nothing (soft = 1), and yet it says what its teacher says.
    x = np.asarray(context.train.x)
    taught = benchmark_jax.predict(teacher, x).argmax(1)
    agreement = [np.mean(benchmark_jax.predict(model, x).argmax(1) == taught) for model in (distilled, fresh(context, 0.5))]
    assert agreement[0] > agreement[1] + 0.2
