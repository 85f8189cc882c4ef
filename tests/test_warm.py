"""What searches start from: the best recipes of other tasks, by validation scores, inside the limits."""

from __future__ import annotations

from typing import Any

from benchmark import Proposal
from benchmark.budget import DeviceTier
from benchmark.warm import Earlier

TIER = DeviceTier("XS", bytes=1000)


def row(task: str, recipe: str, val_score: float | None, **values: Any) -> dict[str, Any]:
    known = {"backend": "torch", "architecture": "cnn", "outcome": "ok", "artifact_bytes": 900, "chosen": None, "score": 0.0}
    return {**known, "task": task, "recipe": recipe, "val_score": val_score, **values}


def best(*rows: dict[str, Any]) -> list[Proposal]:
    return list(Earlier.of_rows("edge", rows).best({"one", "two"}, "torch", ("cnn1d", "mlp"), TIER))


def test_the_two_best_of_each_other_task_inside_the_limits() -> None:
    assert best(
        row("one", "reference", 0.7),
        row("one", "int8-static", 0.8),
        row("one", "fp16", 0.6),
        row("one", "cluster(bits=2)", 0.9, artifact_bytes=1001),
        row("two", "prune(sparsity=0.5) + int8-static", 0.5, architecture="mlp"),
    ) == [
        Proposal("cnn1d", (("int8-static", {}),)),
        Proposal("cnn1d"),
        Proposal("mlp", (("prune", {"sparsity": 0.5}), ("int8-static", {}))),
    ]


def test_test_scores_change_nothing() -> None:
    rows = [
        row("one", "int8-static", 0.8, score=0.1),
        row("one", "fp16", 0.7, score=0.9),
        row("one", "reference", 0.6, score=1.0),
    ]
    shuffled = [{**one, "score": 1 - one["score"]} for one in rows]
    assert best(*rows) == best(*shuffled) == [Proposal("cnn1d", (("int8-static", {}),)), Proposal("cnn1d", (("fp16", {}),))]


def test_neither_other_tasks_nor_other_back_ends() -> None:
    assert best(row("here", "fp16", 0.9), row("one", "fp16", 0.9, backend="jax")) == []


def test_what_a_search_chose_is_taken_with_its_training() -> None:
    chosen = "mlp · lr=0.01, turn=true · prune(sparsity=0.25)"
    assert best(row("one", "optuna(seconds=60)", 0.9, architecture="searched", chosen=chosen)) == [
        Proposal("mlp", (("prune", {"sparsity": 0.25}),), {"lr": 0.01, "turn": True})
    ]
    assert best(row("one", "optuna(seconds=60)", 0.9, architecture="searched", chosen=None)) == []


def test_a_recipe_that_failed_with_one_seed_is_left_out() -> None:
    assert best(row("one", "fp16", 0.9), row("one", "fp16", None, outcome="failed"), row("one", "reference", 0.5)) == [
        Proposal("cnn1d")
    ]
