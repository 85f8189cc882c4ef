"""How long a run is expected to take, from steps that were recorded."""

from __future__ import annotations

import pytest

from benchmark.forecast import forecast
from benchmark.plan import Step, StepKind
from benchmark.store import StepResult


def step(kind: StepKind, label: str, provider: str = "p", rides: str = "", **ingredients: object) -> Step:
    return Step(f"{kind} {label}", kind, label, "", {}, {}, {"provider": provider, **ingredients}, (), {}, rides)


def record(kind: StepKind, label: str, seconds: float, provider: str = "p", **ingredients: object) -> StepResult:
    return StepResult("id", kind, label, "ok", "", seconds, "2026-01-01", ingredients={"provider": provider, **ingredients})


TRAIN = "t · fold {} · torch cnn · seed {} · reference: train"


def test_the_median_of_the_same_step_over_folds_and_seeds() -> None:
    records = [record("train", TRAIN.format(0, seed), seconds) for seed, seconds in enumerate([10, 20, 900])]
    records.append(record("train", "u · fold 0 · torch cnn · seed 0 · reference: train", 5000))
    steps = [step("train", TRAIN.format(fold, 7)) for fold in range(30)]
    assert (
        forecast(steps, records, 2) == "expected time: about 5 min (2 at once 5 min; latency, one at a time 0 s)"
    )  # 30 × 20.15 / 2
    assert forecast(steps, records, 1).startswith("expected time: about 10 min")


def test_a_short_training_does_not_stand_for_a_long_one() -> None:
    short = [record("train", "a", 1, training={"updates": 10})]
    long = [record("train", "a", 100, training={"updates": 2000}), record("train", "a", 100, training={"updates": 2000})]
    steps = [step("train", "a", training={"updates": 2000}), step("train", "a", training={"updates": 2000}, seed=1)]
    assert forecast(steps, [*short, *long], 1) == "expected time: about 3 min (1 at once 3 min; latency, one at a time 0 s)"
    text = "expected time: about 2 s (1 at once 2 s; latency, one at a time 0 s; 2 of 2 steps judged by others of their kind)"
    assert forecast(steps, short, 1) == text


def test_else_of_the_same_provider_else_of_the_same_kind() -> None:
    records = [record("train", "a", 10), record("train", "b", 30), record("train", "c", 500, "other")]
    assert "about 40 s" in forecast([step("train", "new")] * 2, records, 1)
    assert "about 60 s" in forecast([step("train", "new", "unseen")] * 2, records, 1)  # the median of all three


def test_latency_is_measured_one_at_a_time() -> None:
    records = [record("latency", "a", 10), record("train", "a", 40)]
    text = forecast([step("latency", "a"), step("train", "a")], records, 2)
    assert text == "expected time: about 30 s (2 at once 20 s; latency, one at a time 10 s)"


def test_a_step_that_rides_in_another_job_starts_none() -> None:
    records = [record("export", "a", 0.0)]
    assert "1 at once 15 s" in forecast([step("export", "a")] * 100, records, 1)
    assert "1 at once 0 s" in forecast([step("export", "a", rides="train")] * 100, records, 1)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], "expected time: nothing is to be run"),
        (["train"], "expected time: unknown, since no step like these has been recorded in this results folder or beside it"),
        (["latency", "train"], "; 1 of kinds that have never been recorded left out)"),
        (["latency"] * 9000, "about 25.4 h"),
    ],
)
def test_what_is_not_known_is_said(steps: list[StepKind], expected: str) -> None:
    assert expected in forecast([step(kind, "x") for kind in steps], [record("latency", "x", 10)], 1)
