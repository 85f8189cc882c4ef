"""The order over tasks, on tables whose means can be worked out on paper."""

from __future__ import annotations

from typing import Any

import pytest

from benchmark.leaderboard import COLUMNS, Entry, Row, Table
from benchmark.overall import DEFAULT, Name, Overall, overall

FULL = {"constant": 0.0, "trivial": 0.0}


def row(task: str, recipe: str, **values: Any) -> Row:
    full = {
        "task": task,
        "backend": "torch",
        "architecture": "cnn",
        "recipe": recipe,
        "runtime": "onnxruntime",
        "seed": 0,
        "fold": 0,
    }
    return {**dict.fromkeys(COLUMNS), **full, "outcome": "ok", **values}


def entry(task: str, recipe: str, score: float | None, rank: int | None = 1, **values: Any) -> Entry:
    return Entry((row(task, recipe, **values),), score, rank=rank)


def table(task: str, *entries: Entry, baselines: dict[str, float] = FULL, others: tuple[Row, ...] = ()) -> Table:
    return Table(task, "accuracy", 0.01, "row", (0,), 100, 100, entries, others, baselines)


def found(*tables: Table) -> Overall:
    whole = overall(tables)
    assert whole is not None
    return whole


def name(recipe: str, architecture: str = DEFAULT) -> Name:
    return Name(architecture, recipe, "onnxruntime")


def test_a_method_that_lacks_a_task_has_no_mean_and_no_rank() -> None:  # case L-04
    reference = {task: entry(task, "reference", 1.0) for task in "abc"}
    x = {"a": 0.9, "c": 0.9}
    y = {"a": 0.8, "b": 0.85, "c": 0.8}
    failed = row("b", "x", outcome="failed", reason="it failed")
    whole = found(
        *(
            table(
                task,
                reference[task],
                *([entry(task, "x", x[task], 2)] if task in x else []),
                entry(task, "y", y[task], 3),
                others=(failed,) if task == "b" else (),
            )
            for task in "abc"
        )
    )
    shown = {one.name.recipe: one for one in whole.standings}
    assert (shown["x"].mean, shown["x"].place, len(shown["x"].scores), len(whole.tasks)) == (None, None, 2, 3)
    assert shown["x"].imputed == pytest.approx(0.6)  # the constant predictor's 0 where it is missing
    assert shown["y"].mean == pytest.approx(0.81667, abs=1e-5)
    assert shown["y"].place == 2
    assert [one.name.recipe for one in whole.standings] == ["reference", "y", "x"]


def test_scores_are_normalised_by_the_trivial_baseline_and_the_best_reference() -> None:
    first = table(
        "a",
        entry("a", "reference", 0.9),
        entry("a", "p", 0.8, 2),
        baselines={"constant": 0.5, "trivial": 0.7},
    )
    second = table("b", entry("b", "reference", 0.8), entry("b", "p", 0.85), baselines={"constant": 0.6})
    whole = found(first, second)
    (p,) = (one for one in whole.standings if one.name.recipe == "p")
    assert p.scores == {"a": pytest.approx(0.5), "b": pytest.approx(1.25)}
    assert p.mean == pytest.approx(0.875)
    assert (p.place, p.spread) == (2, None)


def test_back_ends_with_the_same_networks_are_replicates_of_a_method() -> None:
    def both(task: str, architecture: str, torch: float, jax: float) -> tuple[Entry, ...]:
        return (
            entry(task, "reference", 1.0, architecture=architecture),
            entry(task, "reference", 0.9, backend="jax", architecture=architecture),
            entry(task, "p", torch, 2, architecture=architecture),
            entry(task, "p", jax, 3, backend="jax", architecture=architecture),
        )

    whole = found(table("a", *both("a", "cnn", 0.8, 0.6)), table("b", *both("b", "mlp", 0.5, 0.9)))
    (p,) = (one for one in whole.standings if one.name.recipe == "p")
    assert p.name == name("p")  # each back end has a single architecture on each task
    assert p.backends == ("jax", "torch")
    assert p.scores == {"a": pytest.approx(0.7), "b": pytest.approx(0.7)}
    assert p.spread == pytest.approx(0.4)
    assert p.cells == (4, 4)


def test_a_recipe_gains_nothing_by_lacking_the_weakest_back_end() -> None:
    """Neither another kind of model nor a missing back end may change what a mean is over."""

    def three(task: str, architecture: str) -> tuple[Entry, ...]:
        return (
            entry(task, "reference", 1.0, architecture=architecture),
            entry(task, "reference", 0.2, 3, backend="jax", architecture=architecture),
            entry(task, "reference", 0.1, 4, backend="sklearn", architecture="tree"),
            entry(task, "p", 0.9, 2, architecture=architecture),
        )

    whole = found(table("a", *three("a", "cnn")), table("b", *three("b", "mlp")))
    shown = {(one.name.architecture, one.name.recipe): one for one in whole.standings}
    assert shown.keys() == {(DEFAULT, "reference"), ("tree", "reference"), (DEFAULT, "p")}
    assert shown[DEFAULT, "reference"].mean == pytest.approx(0.6)
    assert shown[DEFAULT, "reference"].place == 1
    assert (shown[DEFAULT, "p"].mean, shown[DEFAULT, "p"].place, shown[DEFAULT, "p"].cells) == (None, None, (2, 4))
    assert shown[DEFAULT, "p"].imputed == pytest.approx(0.45)  # the constant predictor's 0 for jax
    assert shown["tree", "reference"].mean == pytest.approx(0.1)
    assert shown["tree", "reference"].cells == (2, 2)


def test_back_ends_with_other_networks_are_no_replicates() -> None:
    def both(task: str, torch: str, jax: str) -> Table:
        other = entry(task, "reference", 0.5, 2, backend="jax", architecture=jax)
        return table(task, entry(task, "reference", 1.0, architecture=torch), other)

    whole = found(both("a", "cnn", "resnet-8"), both("b", "mlp", "resmlp"))
    assert [one.name.architecture for one in whole.standings] == ["default of torch", "default of jax"]


def test_several_architectures_of_a_back_end_are_several_methods() -> None:
    def two(task: str) -> Table:
        return table(task, entry(task, "reference", 0.9), entry(task, "reference", 0.7, 2, architecture="mlp"))

    whole = found(two("a"), two("b"))
    assert [(one.name.architecture, one.mean, one.place) for one in whole.standings] == [
        ("cnn", 1.0, 1),
        ("mlp", pytest.approx(0.7 / 0.9), 2),
    ]


def test_wins_ties_and_losses_are_of_ranks_on_common_tasks() -> None:
    a = table("a", entry("a", "reference", 0.9, 1), entry("a", "p", 0.89, 1), entry("a", "q", 0.5, 3))
    b = table("b", entry("b", "reference", 0.7, 2), entry("b", "p", 0.9, 1))
    c = table(
        "c",
        entry("c", "reference", 0.9, 1),
        entry("c", "p", 0.8, 2),
        entry("c", "reference", 0.7, 4, backend="jax"),
        entry("c", "p", 0.75, 3, backend="jax"),
    )
    shown = {one.name.recipe: one for one in found(a, b, c).standings}
    reference, p, q = (name(recipe, "cnn") for recipe in ("reference", "p", "q"))
    assert shown["p"].record == {reference: (1, 2, 0), q: (1, 0, 0)}  # on c the back ends disagree
    assert shown["reference"].record == {p: (0, 2, 1), q: (1, 0, 0)}
    assert (shown["p"].total, shown["q"].total) == ((2, 2, 0), (0, 0, 2))


def test_equal_means_share_a_rank() -> None:
    def one(task: str) -> Table:
        return table(task, entry(task, "reference", 0.8), entry(task, "p", 0.8), entry(task, "q", 0.4))

    assert [(one.name.recipe, one.place) for one in found(one("a"), one("b")).standings] == [
        ("reference", 1),
        ("p", 1),
        ("q", 3),
    ]


def test_without_a_scale_on_two_tasks_there_is_no_order() -> None:
    good = table("a", entry("a", "reference", 0.9))
    useless = table("b", entry("b", "reference", 0.5), baselines={"constant": 0.4, "trivial": 0.6})
    assert overall([good]) is None
    assert overall([good, useless]) is None
    assert overall([]) is None
    third = table("c", entry("c", "reference", 0.9))
    assert found(good, useless, third).left_out == ("b",)
    undefined = table("d", entry("d", "reference", None, None))
    assert found(good, third, undefined).left_out == ("d",)


def test_what_searches_find_is_no_other_architecture_of_a_back_end() -> None:
    search = 'optuna(seconds=60, tier="S")'
    tables = [
        table(
            task,
            entry(task, "reference", 1.0, architecture=network),
            entry(task, "p", 0.9, 2, architecture=network),
            entry(task, search, 0.95, architecture="searched"),
        )
        for task, network in (("a", "cnn"), ("b", "mlp"))
    ]
    shown = {one.name: one for one in found(*tables).standings}
    assert set(shown) == {name("reference"), name("p"), name(search, "searched")}
    assert shown[name("p")].cells == (2, 2)
    assert shown[name(search, "searched")].mean == pytest.approx(0.95)
