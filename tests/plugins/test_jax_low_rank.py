"""Low-rank factors in JAX: the best approximation, only where it is smaller, and a network that every other pass can take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import benchmark_jax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmark_jax._low_rank import LowRank, factorable, factors, rank, smaller
from benchmark_jax._magnitude import PruneMagnitude
from benchmark_jax._prune import PruneStructured
from benchmark_jax._train import Jax, fresh
from flax import nnx

from benchmark import Context, NotApplicable
from benchmark.measure import graph

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]

STRUCTURED = {"sparsity": 0.5, "importance": "l1", "rounds": 1, "round_to": 1, "finetune": 0.1}
TRAINING = {"updates": 20, "batch": 32, "lr": 1e-2}
export_warns = pytest.mark.filterwarnings(r"ignore:'\.value' access is now deprecated:DeprecationWarning")  # inside jax2onnx


def params(**changes: Any) -> dict[str, Any]:
    return {"keep": 0.9, "by": "energy", "finetune": 0.0, **changes}


def trained(task: str, name: str, make_context: MakeContext) -> Path:
    context, _ = make_context(task, name, training=TRAINING)
    Jax().train(context)
    return context.output


def parameters(model: nnx.Module) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def linear(inputs: int, outputs: int, **settings: Any) -> nnx.Linear:
    return nnx.Linear(inputs, outputs, rngs=nnx.Rngs(0), **settings)


def test_break_even_is_where_the_case_says(make_context: MakeContext) -> None:
    """Case C-10: 512 x 1000 shrinks at rank 338 (511,056 weights) and would grow at 339 (512,568)."""
    layer = linear(1000, 512)
    assert smaller(layer, 338)
    assert not smaller(layer, 339)
    assert parameters(factors(layer, 338)) - 512 == 511_056
    for kept, changed, weights in ((338, 1, 511_056), (339, 0, 512_000)):
        source, _ = make_context("german-credit", "mlp")
        benchmark_jax.save(nnx.Sequential(layer), source.output)
        context, journal = make_context("german-credit", "mlp", params=params(keep=kept / 512, by="rank"), input=source.output)
        LowRank().compress(context)
        assert journal.layers == {"matched": 1, "changed": changed}
        assert parameters(benchmark_jax.load(context.output)) - 512 == weights


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (linear(20, 30), (20,)),
        (nnx.Conv(6, 16, (5,), strides=2, padding=((2, 2),), use_bias=False, rngs=nnx.Rngs(0)), (32, 6)),
        (nnx.Conv(6, 16, (3, 5), strides=(2, 1), padding="SAME", kernel_dilation=(1, 2), rngs=nnx.Rngs(0)), (14, 20, 6)),
    ],
    ids=["linear", "conv1d", "conv2d"],
)
def test_factors_are_the_nearest_of_their_rank(layer: Any, shape: tuple[int, ...]) -> None:
    """Eckart and Young: the squared error is the sum of the squared singular values that are left out; numpy's."""
    matrix = np.asarray(layer.kernel[...]).reshape(-1, layer.out_features)
    values = np.linalg.svd(matrix, compute_uv=False)
    for kept in (1, 5, len(values)):
        pair: Any = factors(layer, kept)
        first, second = (np.asarray(part.kernel[...]) for part in pair.layers)
        product = first.reshape(-1, kept) @ second.reshape(kept, -1)
        assert np.sum((product - matrix) ** 2) == pytest.approx(np.sum(values[kept:] ** 2), rel=1e-3, abs=1e-9)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, *shape)), jnp.float32)
    # Of full rank: strides, padding, bias.
    np.testing.assert_allclose(np.asarray(pair(x)), np.asarray(layer(x)), rtol=1e-4, atol=1e-5)


def test_energy_is_the_share_of_squared_singular_values() -> None:
    layer = linear(4, 4, use_bias=False)
    layer.kernel = nnx.Param(jnp.diag(jnp.asarray([4.0, 2.0, 2.0, 1.0])))  # squares 16, 4, 4, 1: 25
    for keep, kept in ((0.0, 1), (0.64, 1), (0.641, 2), (0.8, 2), (0.9, 3), (0.96, 3), (0.97, 4), (1.0, 4)):
        assert rank(layer, keep, by_energy=True) == kept, keep


@export_warns
@pytest.mark.parametrize(
    ("task", "name"), [("nodule-shape", "resnet-8"), ("nodule-shape", "squeezenet"), ("german-credit", "resmlp")]
)
def test_layers_inside_blocks_are_replaced(task: str, name: str, make_context: MakeContext) -> None:
    context, _ = make_context(task, name)
    model = fresh(context)
    benchmark_jax.save(model, context.output)
    target, journal = make_context(task, name, params=params(keep=0.25, by="rank"), input=context.output)
    LowRank().compress(target)
    found = benchmark_jax.load(target.output)
    assert journal.layers["matched"] == len(factorable(model))
    assert 0 < journal.layers["changed"] <= journal.layers["matched"]
    assert parameters(found) < 0.7 * parameters(model)
    facts = []
    for folder in (context.output, target.output):
        shipped, _ = make_context(task, name, input=folder)
        Jax().export(shipped, "onnx")
        facts.append(graph.facts(shipped.output))
    before, after = facts
    assert before is not None and after is not None  # noqa: PT018  # one statement for mypy
    assert before.macs is not None and after.macs is not None  # noqa: PT018  # as above
    assert after.macs < 0.7 * before.macs
    # One node more for each; the normalisations are merged still.
    assert after.nodes == before.nodes + journal.layers["changed"]
    assert "BatchNormalization" not in after.operators


def test_nothing_that_would_grow_is_touched(make_context: MakeContext) -> None:
    source = trained("german-credit", "mlp", make_context)
    context, journal = make_context(
        "german-credit", "mlp", training=TRAINING, params=params(keep=1.0, finetune=1.0), input=source
    )
    LowRank().compress(context)
    assert journal.layers == {"matched": 3, "changed": 0}
    assert journal.training == {}
    x = context.validation.x[:8]
    before, after = (benchmark_jax.predict(benchmark_jax.load(folder), x) for folder in (source, context.output))
    assert np.array_equal(before, after)


def test_other_passes_take_it_in_any_order(make_context: MakeContext) -> None:
    passes: dict[str, tuple[Any, dict[str, Any]]] = {
        "low-rank": (LowRank, params(keep=0.4, by="rank", finetune=0.1)),
        "structured": (PruneStructured, STRUCTURED),
        "magnitude": (PruneMagnitude, {"sparsity": 0.8, "scope": "layer", "schedule": "one-shot", "finetune": 0.1}),
    }
    source = trained("nodule-shape", "cnn", make_context)
    for order in (("low-rank", "structured", "magnitude"), ("magnitude", "structured", "low-rank")):
        folder, whole = source, parameters(benchmark_jax.load(source))
        for name in order:
            code, given = passes[name]
            context, journal = make_context("nodule-shape", "cnn", training=TRAINING, params=given, input=folder)
            code().compress(context)
            assert journal.layers["changed"] > 0, (order, name)
            folder = context.output
        assert parameters(benchmark_jax.load(folder)) < whole / 3
        assert np.isfinite(benchmark_jax.predict(benchmark_jax.load(folder), context.validation.x[:8])).all()


def test_not_applicable_without_such_layers(make_context: MakeContext) -> None:
    source, _ = make_context("german-credit", "mlp")
    layer = nnx.Conv(60, 60, (1,), feature_group_count=60, rngs=nnx.Rngs(0))
    benchmark_jax.save(nnx.Sequential(layer), source.output)
    context, _ = make_context("german-credit", "mlp", params=params(), input=source.output)
    with pytest.raises(NotApplicable, match="no fully connected layer or plain convolution"):
        LowRank().compress(context)
    assert not list(context.output.iterdir())
