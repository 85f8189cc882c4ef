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
from benchmark_jax._blocks import Concatenation, Sum, halve, identity, relu
from benchmark_jax._models import build, channels
from benchmark_jax._prune import PruneStructured, hidden_sizes, importance, prune, walk
from benchmark_jax._train import Jax, fresh
from flax import nnx
from numpy.typing import NDArray

from benchmark import Context, NotApplicable

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]

STRUCTURED = {"sparsity": 0.5, "importance": "l1", "rounds": 1, "round_to": 1, "finetune": 0.5}
NETWORKS = {"nodule-shape": "cnn", "watch-imu": "cnn1d", "german-credit": "mlp"}


def used(model: Any, seed: int = 0) -> Any:
    """``model`` with statistics, scales and shifts as after some training, all of them different."""
    rng = np.random.default_rng(seed)
    ranges = {"mean": (-0.1, 0.1), "var": (0.05, 0.2), "scale": (0.5, 1.5), "bias": (-0.2, 0.2)}
    for _, layer in nnx.iter_modules(model):
        if isinstance(layer, nnx.BatchNorm):
            for name, (low, high) in ranges.items():
                values = getattr(layer, name)
                values[...] = jnp.asarray(rng.uniform(low, high, values.shape), jnp.float32)
    return model


def masked(model: Any, pruned: Any) -> Any:
    """A copy of ``model`` in which the channels that ``pruned`` lacks give zero, whatever reads them: the reference that pruning
    must equal. Which they are is told by the channels' own weights, compared with those that are left."""
    copy = nnx.clone(model)
    whole, small = ([use.layer for use in walk(one)[0]] for one in (copy, pruned))
    kept = np.ones(0, bool)
    for index, (layer, left) in enumerate(zip(whole, small, strict=True)):
        if not isinstance(layer, nnx.BatchNorm):
            # Not by weights, of which those that read a removed channel are gone too.
            behind = whole[index + 1 : index + 2]
            kept = np.zeros(layer.out_features, bool)
            name, source, target = ("bias", layer, left)
            if behind and isinstance(behind[0], nnx.BatchNorm):
                name, source, target = ("mean", behind[0], small[index + 1])
            values, rest = (np.asarray(getattr(one, name)[...]) for one in (source, target))
            kept = np.isin(values, rest)
            assert kept.sum() == len(rest)  # all values differ
            if name == "mean":
                continue
            layer.kernel[...] = layer.kernel[...] * kept
            layer.bias[...] = layer.bias[...] * kept
        else:
            both: tuple[Any, ...] = (layer.scale, layer.bias)
            for one in both:
                one[...] = one[...] * kept
    return copy


def exactly(model: nnx.Module, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """The outputs, computed in float64."""
    with jax.enable_x64(True):
        graph, state = nnx.split(model)
        whole: Any = nnx.merge(graph, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), state))
        outputs = np.asarray(jax.jit(lambda x: whole(x))(jnp.asarray(x, jnp.float64)))
    assert outputs.dtype == np.float64
    return outputs


DEEP = [("nodule-shape", name) for name in ("ds-cnn", "resnet-8", "mobilenet-v2", "squeezenet")]
OTHERS = [("watch-imu", "ds-cnn"), ("watch-imu", "resnet-8"), ("german-credit", "resmlp"), ("nodule-shape", "lenet-5")]


@pytest.mark.parametrize(
    ("task", "name", "sparsity"),
    [
        *((*network, 0.4) for network in (*NETWORKS.items(), *DEEP, *OTHERS)),
        ("nodule-shape", "cnn", 0.9),
        ("watch-imu", "resnet-8", 0.9),
    ],
)
def test_outputs_are_those_of_a_masked_copy(task: str, name: str, sparsity: float, make_context: MakeContext) -> None:
    context, _ = make_context(task, name)
    model: Any = nnx.view(used(fresh(context)), use_running_average=True, raise_if_not_found=False)
    x = context.validation.x[:64]
    pruned = prune(model, sparsity)
    outputs, expected, whole = exactly(pruned, x), exactly(masked(model, pruned), x), benchmark_jax.predict(model, x)
    # Of what varies from row to row, which deep networks with random normalisations leave little of.
    assert np.abs(outputs - expected).max() < 1e-5 * expected.std(axis=0).min()
    # Fifty layers with random normalisations make 2e-5 of the largest output of a rounding.
    np.testing.assert_allclose(benchmark_jax.predict(pruned, x), expected, rtol=1e-5, atol=5e-5 * np.abs(expected).max())
    assert np.abs(outputs - whole).max() > 0.1 * expected.std(axis=0).max()
    assert np.array_equal(benchmark_jax.predict(prune(model, 0.0), x), whole)


@pytest.mark.parametrize(("task", "name"), [*NETWORKS.items(), *DEEP, *OTHERS])
def test_shape_is_that_of_a_narrow_network(task: str, name: str, make_context: MakeContext) -> None:
    context, _ = make_context(task, name)
    for width in (0.5, 0.25):
        pruned, narrow = nnx.split(prune(fresh(context), 1 - width)), nnx.split(fresh(context, width))
        assert pruned[0] == narrow[0]  # layers and all their settings
        assert jax.tree.map(jnp.shape, pruned[1]) == jax.tree.map(jnp.shape, narrow[1])


def test_the_least_important_channels_go() -> None:
    """Two hidden units, then two more: sums of absolute weights, and of the squares of all that make or read them."""
    model: Any = nnx.Sequential(nnx.Linear(2, 5, rngs=nnx.Rngs(0)), relu, nnx.Linear(5, 2, use_bias=False, rngs=nnx.Rngs(0)))
    model.layers[0].kernel[...] = jnp.asarray([[1.0, -3.0, 2.0, 0.0, 2.0], [1.0, 0.5, 0.0, -0.5, 0.0]])
    model.layers[2].kernel[...] = jnp.asarray([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [-3.0, 1.0], [0.0, 0.0]])
    uses = walk(model)[0]
    assert list(importance(uses, "l1", None).values())[:5] == [2, 3.5, 2, 0.5, 2]
    scores = importance(uses, "group-norm", None)
    assert [scores[channel] for channel in range(5)] == [2, 9.25, 5, 10.25, 4]
    gradient = nnx.clone(model)
    for layer in (gradient.layers[0], gradient.layers[2]):
        layer.kernel[...] = jnp.full(layer.kernel.shape, -2.0)
    scores = importance(uses, "taylor", walk(gradient)[0])
    assert [scores[channel] for channel in range(5)] == [4, 7, 6, 9, 4]
    smaller: list[Any] = [prune(model, 1 - share) for share in (1.0, 0.6, 0.4, 0.01)]
    kept = [np.asarray(one.layers[0].kernel[...])[0].tolist() for one in smaller]
    assert kept == [[1, -3, 2, 0, 2], [1, -3, 2], [1, -3], [-3]]  # of equals, the first
    by_group: Any = prune(model, 0.6, by="group-norm")
    assert np.asarray(by_group.layers[0].kernel[...])[0].tolist() == [-3, 0]
    rounded: Any = prune(model, 0.6, round_to=4)
    assert rounded.layers[0].out_features == 4


def test_a_sum_loses_the_same_channels_on_both_sides() -> None:
    """Ranked by the layer that comes first; what adds to it has the other order."""
    first, body = (nnx.Linear(3, 3, rngs=nnx.Rngs(0)) for _ in range(2))
    last: Any = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    first.kernel[...] = jnp.eye(3) * jnp.asarray([1.0, 2.0, 3.0])
    body.kernel[...] = jnp.eye(3) * jnp.asarray([9.0, 8.0, 7.0])
    pruned: Any = prune(nnx.Sequential(first, Sum(body, identity), last), 0.34)
    assert np.asarray(pruned.layers[0].kernel[...]).tolist() == [[0, 0], [2, 0], [0, 3]]
    assert np.asarray(pruned.layers[1].one.kernel[...]).tolist() == [[8, 0], [0, 7]]
    assert np.array_equal(pruned.layers[2].kernel[...], np.asarray(last.kernel[...])[1:])


def test_a_concatenation_keeps_its_halves_apart() -> None:
    halves = [nnx.Linear(3, 2, rngs=nnx.Rngs(0)) for _ in range(2)]
    halves[0].kernel[...] = jnp.asarray([[1.0, 2.0]] * 3)
    halves[1].kernel[...] = jnp.asarray([[4.0, 3.0]] * 3)
    last: Any = nnx.Linear(4, 2, rngs=nnx.Rngs(0))
    pruned: Any = prune(nnx.Sequential(nnx.Linear(3, 3, rngs=nnx.Rngs(0)), Concatenation(*halves), last), 0.5)
    assert np.array_equal(pruned.layers[2].kernel[...], np.asarray(last.kernel[...])[[1, 2]])


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
    params = {**STRUCTURED, "finetune": 0.5}
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
    context, journal = make_context(
        "german-credit", "mlp", params={**STRUCTURED, "sparsity": 0.0, "finetune": 0.0}, input=source.output
    )
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


def reversed_channels(x: jax.Array) -> jax.Array:
    return x[..., ::-1]


def convolution(inputs: int, outputs: int, **settings: Any) -> nnx.Conv:
    return nnx.Conv(inputs, outputs, (3, 3), rngs=nnx.Rngs(0), **settings)


def linear(inputs: int, outputs: int) -> nnx.Linear:
    return nnx.Linear(inputs, outputs, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Residual, "Residual is not known to keep channels apart"),
        (lambda: nnx.Sequential(convolution(4, 4, feature_group_count=2), halve), "groups of several channels"),
        (lambda: nnx.Sequential(linear(4, 4), reversed_channels, linear(4, 2)), "reversed_channels is not known"),
        (lambda: nnx.Sequential(linear(4, 4), nnx.LayerNorm(4, rngs=nnx.Rngs(0))), "LayerNorm is not known"),
        (lambda: nnx.Sequential(Sum(linear(4, 4), identity), linear(4, 2)), "a sum of the input's channels"),
        (lambda: nnx.Sequential(relu, linear(4, 2)), "no hidden layer"),
    ],
)
def test_not_applicable(model: Callable[[], nnx.Module], reason: str, make_context: MakeContext, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    benchmark_jax.save(model(), folder)
    context, _ = make_context("german-credit", "mlp", params=STRUCTURED, input=folder)
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
