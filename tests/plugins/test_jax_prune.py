"""Structured pruning of JAX networks: what is left has the shape of a narrow network and the outputs of a masked one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import benchmark_jax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmark_jax._models import Chain, build, channels, halve, relu
from benchmark_jax._prune import PruneStructured, hidden_sizes, prune, strongest
from benchmark_jax._train import Jax, fresh
from flax import nnx
from numpy.typing import NDArray

from benchmark import Context, NotApplicable

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]

NETWORKS = {"nodule-shape": "cnn", "watch-imu": "cnn1d", "german-credit": "mlp"}


def used(model: Any, seed: int = 0) -> Any:
    """``model`` with statistics, scales and shifts as after some training, all of them different."""
    rng = np.random.default_rng(seed)
    ranges = {"mean": (-0.1, 0.1), "var": (0.05, 0.2), "scale": (0.5, 1.5), "bias": (-0.2, 0.2)}
    for layer in model.layers:
        if isinstance(layer, nnx.BatchNorm):
            for name, (low, high) in ranges.items():
                values = getattr(layer, name)
                values[...] = jnp.asarray(rng.uniform(low, high, values.shape), jnp.float32)
    return model


def masked(model: Any, share: float) -> Any:
    """A copy of ``model`` whose weakest hidden channels give zero: the reference that pruning must equal."""
    copy = nnx.clone(model)
    layers = list(copy.layers)
    weighted = [index for index, layer in enumerate(layers) if isinstance(layer, nnx.Conv | nnx.Linear)]
    for index in weighted[:-1]:
        kernel = np.asarray(layers[index].kernel[...])
        norms = np.abs(kernel).sum(axis=tuple(range(kernel.ndim - 1)))
        count = max(1, round(len(norms) * share))
        mask = jnp.asarray(norms >= np.sort(norms)[-count], jnp.float32)
        # Zero after the normalisation where there is one: a channel that is zero before it need not be so behind it.
        layer, behind = layers[index : index + 2]
        normalised = isinstance(behind, nnx.BatchNorm)
        for values in (behind.scale, behind.bias) if normalised else (layer.kernel, layer.bias):
            values[...] = values[...] * mask
    return copy


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("task", NETWORKS)
def test_outputs_are_those_of_a_masked_copy(task: str, sparsity: float, make_context: MakeContext) -> None:
    context, _ = make_context(task, NETWORKS[task])
    model = used(fresh(context))
    x = context.validation.x[:64]
    outputs = benchmark_jax.predict(prune(model, sparsity), x)
    np.testing.assert_allclose(outputs, benchmark_jax.predict(masked(model, 1 - sparsity), x), rtol=1e-5, atol=1e-5)
    assert np.array_equal(outputs, benchmark_jax.predict(model, x)) == (sparsity == 0)


@pytest.mark.parametrize("task", NETWORKS)
def test_shape_is_that_of_a_narrow_network(task: str, make_context: MakeContext) -> None:
    context, _ = make_context(task, NETWORKS[task])
    for width in (0.5, 0.25):
        pruned, narrow = nnx.split(prune(fresh(context), 1 - width)), nnx.split(fresh(context, width))
        assert pruned[0] == narrow[0]  # layers and all their settings
        assert jax.tree.map(jnp.shape, pruned[1]) == jax.tree.map(jnp.shape, narrow[1])


def test_strongest_channels_by_sum_of_absolute_weights() -> None:
    layer = nnx.Linear(2, 5, rngs=nnx.Rngs(0))
    layer.kernel[...] = jnp.asarray([[1.0, -3.0, 2.0, 0.0, 2.0], [1.0, 0.5, 0.0, -0.5, 0.0]])  # sums 2, 3.5, 2, 0.5, 2
    kept = [strongest(layer, share).tolist() for share in (1.0, 0.6, 0.4, 0.01)]
    assert kept == [[0, 1, 2, 3, 4], [0, 1, 2], [0, 1], [1]]


def test_sizes_left() -> None:
    model = build("cnn1d", (6, 128), 7, seed=0)
    assert hidden_sizes(model) == [32, 48, 64]
    assert hidden_sizes(prune(model, 0.7)) == [10, 14, 19]
    assert hidden_sizes(prune(model, 0.99)) == [1, 1, 1]
    assert [channels(3, 0.5), channels(5, 0.5), channels(1, 0.1)] == [2, 2, 1]  # halves go to the even number


def test_pass_fine_tunes_and_leaves_its_input_alone(make_context: MakeContext) -> None:
    training = {"updates": 10, "batch": 32, "lr": 3e-3}
    source, _ = make_context("watch-imu", "cnn1d", training=training)
    Jax().train(source)
    before = digests(source.output)
    params = {"sparsity": 0.5, "finetune": 0.5}
    context, journal = make_context("watch-imu", "cnn1d", training=training, params=params, input=source.output)
    PruneStructured().compress(context)
    assert digests(source.output) == before
    assert journal.layers == {"matched": 3, "changed": 3}
    assert journal.training["updates"] == 5
    model = benchmark_jax.load(context.output)
    assert hidden_sizes(model) == [16, 24, 32]
    best = max(point["score"] for point in journal.curve)
    assert context.score(benchmark_jax.predict(model, context.validation.x)) == best


def test_nothing_removed_and_no_fine_tuning_is_the_same_network(make_context: MakeContext) -> None:
    source, _ = make_context("german-credit", "mlp")
    model = fresh(source)
    benchmark_jax.save(model, source.output)
    context, journal = make_context("german-credit", "mlp", params={"sparsity": 0.0, "finetune": 0.0}, input=source.output)
    PruneStructured().compress(context)
    assert journal.layers == {"matched": 2, "changed": 0}
    assert journal.training == {}
    x = source.validation.x
    assert np.array_equal(benchmark_jax.predict(benchmark_jax.load(context.output), x), benchmark_jax.predict(model, x))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


class Residual(nnx.Module):
    """Not a chain: its input is added to what a layer makes of it."""

    def __init__(self) -> None:
        self.layers = nnx.List([nnx.Linear(60, 60, rngs=nnx.Rngs(0)), nnx.Linear(60, 2, rngs=nnx.Rngs(1))])

    def __call__(self, x: jax.Array) -> jax.Array:
        inner, outer = self.layers
        return outer(x + inner(x))


def flatten(x: jax.Array) -> jax.Array:
    """Mixes channels with positions, so that one channel is many inputs of the next layer."""
    return x.reshape(len(x), -1)


def convolution(inputs: int, outputs: int, **settings: Any) -> nnx.Conv:
    return nnx.Conv(inputs, outputs, (3, 3), rngs=nnx.Rngs(0), **settings)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Residual, "Residual is not a plain chain of layers"),
        (lambda: Chain([convolution(4, 4, feature_group_count=4), halve]), "layer 0 is a convolution with groups or a mask"),
        (
            lambda: Chain([convolution(4, 4), flatten, nnx.Linear(16, 2, rngs=nnx.Rngs(0))]),
            r"layer 1 \(flatten\) is not known to keep channels apart",
        ),
        (lambda: Chain([nnx.Linear(4, 4, rngs=nnx.Rngs(0)), nnx.LayerNorm(4, rngs=nnx.Rngs(0))]), r"layer 1 \(LayerNorm\)"),
        (lambda: Chain([relu, nnx.Linear(4, 2, rngs=nnx.Rngs(0))]), "no hidden layer"),
    ],
)
def test_not_applicable(model: Callable[[], nnx.Module], reason: str, make_context: MakeContext, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    benchmark_jax.save(model(), folder)
    context, _ = make_context("german-credit", "mlp", params={"sparsity": 0.5, "finetune": 0.5}, input=folder)
    with pytest.raises(NotApplicable, match=reason):
        PruneStructured().compress(context)
    assert not list(context.output.iterdir())


def test_pruned_layers_own_their_weights() -> None:
    """Fine-tuning the pruned network must not reach the one it came from."""
    model: Any = build("mlp", (60,), 2, seed=0)
    before: NDArray[Any] = np.asarray(model.layers[-1].bias[...]).copy()
    pruned: Any = prune(model, 0.0)
    pruned.layers[-1].bias[...] += 1.0
    assert np.array_equal(model.layers[-1].bias[...], before)
