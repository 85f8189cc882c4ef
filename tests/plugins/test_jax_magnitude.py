"""Magnitude pruning of JAX networks: the right weights, as many as asked for, exactly zero in what is shipped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import benchmark_jax
import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]  # it ships no types
import pytest
from benchmark_jax._magnitude import PruneMagnitude
from benchmark_jax._masks import cubic, masked, prune_gradually, smallest, stay_zero, zeros
from benchmark_jax._train import Jax
from flax import nnx
from numpy.typing import NDArray

from benchmark import Context, NotApplicable

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]

TRAINING = {"updates": 40, "batch": 32, "lr": 1e-2}
SIZES = [60 * 64, 64 * 32, 32 * 2]
TOTAL = sum(SIZES)


def params(**changes: Any) -> dict[str, Any]:
    return {"sparsity": 0.9, "scope": "global", "schedule": "one-shot", "finetune": 0.5, **changes}


@pytest.fixture
def source(make_context: MakeContext) -> Path:
    """A checkpoint that was trained for a while."""
    context, _ = make_context("german-credit", "mlp", training=TRAINING)
    Jax().train(context)
    return context.output


def arrays(folder: Path) -> list[NDArray[Any]]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(benchmark_jax.load(folder), nnx.Param))]


def matrices(folder: Path) -> list[NDArray[Any]]:
    return [array for array in arrays(folder) if array.ndim > 1]


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_smallest_weights_go_and_nothing_else_changes(scope: str, source: Path, make_context: MakeContext) -> None:
    context, journal = make_context("german-credit", "mlp", params=params(scope=scope, finetune=0.0), input=source)
    PruneMagnitude().compress(context)
    before, after = matrices(source), matrices(context.output)
    assert [array.size for array in after] == SIZES
    groups = [range(3)] if scope == "global" else [[index] for index in range(3)]
    for group in groups:
        old, new = (np.concatenate([arrays[index].ravel() for index in group]) for arrays in (before, after))
        gone = new == 0
        assert gone.sum() == old.size - round(0.1 * old.size)
        assert abs(old[gone]).max() <= abs(old[~gone]).min()
        assert np.array_equal(new[~gone], old[~gone])
    vectors = [[array for array in arrays(folder) if array.ndim == 1] for folder in (source, context.output)]
    assert all(np.array_equal(one, other) for one, other in zip(*vectors, strict=True))
    shares = [(array == 0).mean() for array in after]
    assert (max(shares) - min(shares) > 0.02) == (scope == "global")
    claim = sum(int((array == 0).sum()) for array in after) / TOTAL
    assert journal.layers == {"matched": 3, "changed": 3, "sparsity": claim}
    assert journal.training == {}


@pytest.mark.parametrize("schedule", ["one-shot", "cubic"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_zeros_are_exact_after_fine_tuning(scope: str, schedule: str, source: Path, make_context: MakeContext) -> None:
    """Case C-07: recounted at the end, the sparsity is that asked for. Twice the same weights."""
    runs = []
    for _ in range(2):
        context, journal = make_context(
            "german-credit", "mlp", training=TRAINING, params=params(scope=scope, schedule=schedule), input=source
        )
        PruneMagnitude().compress(context)
        runs.append(arrays(context.output))
    assert all(np.array_equal(one, other) for one, other in zip(*runs, strict=True))
    assert journal.training["updates"] <= 20
    assert journal.training["stopped_by"] in ("updates", "early")
    found = [int((array == 0).sum()) for array in matrices(context.output)]
    if scope == "layer":
        assert found == [size - round(0.1 * size) for size in SIZES]
    else:
        assert sum(found) == TOTAL - round(0.1 * TOTAL)
    assert journal.layers == {"matched": 3, "changed": 3, "sparsity": sum(found) / TOTAL}
    # The others were trained on.
    assert all((new != old).mean() > 0.9 for old, new in zip(arrays(source), arrays(context.output), strict=True))


def test_only_states_of_the_final_sparsity_are_chosen(source: Path, make_context: MakeContext) -> None:
    """Every state is worse than the one before; of those that are pruned to the end the first is kept."""
    context, journal = make_context("german-credit", "mlp", training=TRAINING, params=params(schedule="cubic"), input=source)
    outputs: list[NDArray[np.float32]] = []

    def score(values: NDArray[np.float32]) -> float:
        outputs.append(values)
        return -float(len(outputs))

    PruneMagnitude().compress(dataclasses.replace(context, score=score))
    scores = [point["score"] for point in journal.curve]
    assert np.isnan(scores[:9]).all()
    assert scores[9:] == [-float(number) for number in range(1, 12)]
    assert np.array_equal(benchmark_jax.predict(benchmark_jax.load(context.output), context.validation.x), outputs[0])


def test_a_deadline_before_the_last_pruning_prunes_all_the_same(source: Path, make_context: MakeContext) -> None:
    context, journal = make_context("german-credit", "mlp", training=TRAINING, params=params(schedule="cubic"), input=source)
    PruneMagnitude().compress(dataclasses.replace(context, remaining=lambda: 0.0))
    assert journal.training["stopped_by"] == "deadline"
    assert sum(int((array == 0).sum()) for array in matrices(context.output)) == TOTAL - round(0.1 * TOTAL)


def test_what_is_pruned_stays_so_in_the_next_training(source: Path, make_context: MakeContext) -> None:
    context, _ = make_context("german-credit", "mlp", training=TRAINING, params=params(finetune=0.0), input=source)
    PruneMagnitude().compress(context)
    model = benchmark_jax.load(context.output)
    benchmark_jax.fit(model, context)
    target = make_context("german-credit", "mlp")[0].output
    benchmark_jax.save(model, target)
    for old, new in zip(matrices(context.output), matrices(target), strict=True):
        assert np.array_equal(new == 0, old == 0)
        assert (new != old).any()


def test_vectors_alone_cannot_be_pruned(tmp_path: Path, make_context: MakeContext) -> None:
    benchmark_jax.save(nnx.BatchNorm(4, rngs=nnx.Rngs(0)), tmp_path)
    with pytest.raises(NotApplicable, match="no weight matrices"):
        PruneMagnitude().compress(make_context("german-credit", "mlp", params=params(), input=tmp_path)[0])


def test_the_cubic_schedule_is_that_of_the_paper() -> None:
    assert [cubic(done / 4, 0.9) for done in range(5)] == pytest.approx([0, 0.5203125, 0.7875, 0.8859375, 0.9])


def test_of_equals_the_first_goes_and_each_matrix_keeps_one() -> None:
    weights = {"a": jnp.asarray([[1.0, -1.0, 1.0, 2.0]]), "b": jnp.asarray([[0.1, 0.2]]), "c": jnp.asarray([0.0])}
    by_layer = smallest(weights, 0.5, everywhere=False)
    assert {name: mask.tolist() for name, mask in by_layer.items()} == {
        "a": [[True, True, False, False]],
        "b": [[True, False]],
        "c": False,
    }
    together = smallest(weights, 0.5, everywhere=True)  # the largest of each matrix is not in question
    assert {name: mask.tolist() for name, mask in together.items()} == {
        "a": [[True, True, False, False]],
        "b": [[True, False]],
        "c": False,
    }
    assert masked(weights, by_layer)["a"].tolist() == [[0, 0, 1, 2]]


def test_zeros_of_a_matrix_that_is_yet_to_learn_are_none() -> None:
    assert zeros({"a": jnp.zeros((2, 2)), "b": jnp.ones((2, 2)), "c": jnp.zeros(3)}) is None
    masks: Any = zeros({"a": jnp.asarray([[0.0, 1.0]]), "b": jnp.ones((2, 2))})
    assert {name: mask.tolist() for name, mask in masks.items()} == {"a": [[True, False]], "b": False}


@pytest.mark.parametrize("everywhere", [True, False])
def test_sparsity_grows_and_nothing_comes_back(everywhere: bool) -> None:
    """Each update moves all weights, the pruned ones too and much further, as a large momentum would."""
    rng = np.random.default_rng(0)
    weights = {"a": jnp.asarray(rng.normal(size=(60, 64)), jnp.float32), "b": jnp.asarray(rng.normal(size=(64, 32)), jnp.float32)}
    sizes = [60 * 64, 64 * 32]
    rule = prune_gradually(0.8, 8, everywhere=everywhere)
    state, counts, before = rule.init(weights), [], dict[str, NDArray[np.bool_]]()
    for _ in range(12):
        moves = jax.tree.map(lambda weight: jnp.where(weight == 0, 5.0, 0.001), weights)
        changes, state = jax.jit(rule.update)(moves, state, weights)
        weights = optax.apply_updates(weights, changes)
        after = {name: np.asarray(weight == 0) for name, weight in weights.items()}
        assert all(after[name][mask].all() for name, mask in before.items())
        before = after
        counts.append(sum(int(mask.sum()) for mask in after.values()))
    assert counts[:8] == pytest.approx([sum(sizes) * cubic(done / 8, 0.8) for done in range(1, 9)], abs=1.5)
    groups = [sum(sizes)] if everywhere else sizes
    assert counts[7:] == [sum(size - round(size * 0.2) for size in groups)] * 5


def test_a_long_ramp_is_climbed_in_few_steps() -> None:
    weights = {"a": jnp.asarray(np.random.default_rng(0).normal(size=(50, 40)), jnp.float32)}
    rule = prune_gradually(0.8, 120, everywhere=True)
    state, counts, update = rule.init(weights), [], jax.jit(rule.update)
    for _ in range(125):
        changes, state = update({"a": jnp.full((50, 40), 1e-6)}, state, weights)
        weights = optax.apply_updates(weights, changes)
        counts.append(int((weights["a"] == 0).sum()))
    every_third = [2000 - round(2000 * (1 - cubic(done // 3 / 40, 0.8))) for done in range(1, 121)]
    assert counts == every_third + [every_third[-1]] * 5


def test_a_masked_weight_is_exactly_zero_behind_momentum_and_decay() -> None:
    weights = {"a": jnp.asarray([[0.0, 0.3]])}
    rule = optax.chain(optax.adamw(0.1, weight_decay=0.5), stay_zero(zeros(weights)))
    state = rule.init(weights)
    for _ in range(5):
        changes, state = rule.update({"a": jnp.asarray([[3.0, 1.0]])}, state, weights)
        weights = optax.apply_updates(weights, changes)
        assert weights["a"][0, 0] == 0
    assert weights["a"][0, 1] != jnp.float32(0.3)
