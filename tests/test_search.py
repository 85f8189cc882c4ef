"""The log of a search, what it is worth and who wins."""

from __future__ import annotations

import json
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark import Proposal
from benchmark.budget import DeviceTier
from benchmark.search import Entry, Log, best, best_so_far, estimate, found, is_ahead, tried
from benchmark.suite import PassCall, read_searched, searched

TIER = DeviceTier("XS", bytes=1000, latency_p90=0.001)


def entry(score: float | None, size: float | None, latency: float | None = 500.0, **values: Any) -> Entry:
    measured = {name: one for name, one in (("artifact_bytes", size), ("latency_p90_us", latency)) if one is not None}
    known = {
        "proposal": Proposal("cnn", (("prune", {"sparsity": 0.5}),), {"lr": 0.1}),
        "outcome": "ok",
        "reason": "",
        "artifact": "a",
        "left": 9.0,
        "charged": 1.0,
        "spent": 2.0,
        "parts": {"training": 1.0},
    }
    return Entry(**{**known, "score": score, "measured": measured if size is not None else {}, **values})


def test_the_best_score_inside_the_limits_wins() -> None:
    entries = (entry(0.7, 900), entry(0.9, 1001), entry(0.8, 1000), entry(0.95, 500, 1001.0))
    assert found(Log(entries=entries), TIER).best == entries[2]
    assert found(Log(entries=entries), None).best == entries[3]


def test_of_equal_scores_the_smaller_file_and_then_the_earlier_one_wins() -> None:
    first, second, third = entry(0.8, 900), entry(0.8, 800, artifact="b"), entry(0.8, 800, artifact="c")
    assert found(Log(entries=(first, second, third)), TIER).best == second


@given(st.lists(st.lists(st.integers(0, 1000).map(lambda n: n / 1000), min_size=3, max_size=3), min_size=1), st.integers(1, 3))
def test_no_one_that_raced_is_worth_more_than_who_wins(proposals: list[list[float]], last: int) -> None:
    """Each is tried on folds as long as it is ahead; of the last one the time may be over before that."""
    entries: tuple[Entry, ...] = ()
    for place, folds in enumerate(proposals):
        leader, scores = best(entries, TIER), [folds[0]]
        most = last if place + 1 == len(proposals) else 3
        while len(scores) < most and is_ahead(scores, leader):
            scores.append(folds[len(scores)])
        entries += (entry(estimate(scores, leader), 900 - place, scores=tuple(scores)),)
        if leader and not is_ahead(scores, leader):
            assert best(entries, TIER) is leader  # who is behind is dropped
        elif leader and len(scores) < 3 and statistics.fmean(scores) > statistics.fmean(leader.scores[: len(scores)]) + 1e-9:
            assert best(entries, TIER) is entries[-1]  # who was ahead until the end is the best guess


def test_a_proposal_races_with_the_best_one_on_the_folds_that_both_have() -> None:
    leader = entry(0.8, 900, scores=(0.9, 0.7, 0.8))
    assert is_ahead((0.1,), None)
    assert [is_ahead(scores, leader) for scores in [(0.9,), (0.89,), (0.89, 0.71), (0.89, 0.7), (0.8, 0.8, 0.81)]] == [
        *(True, False, True, False, True)
    ]
    assert is_ahead((0.95, 0.1), entry(0.9, 900, scores=(0.9,)))  # the best one was cut: only the first fold tells


def test_who_is_dropped_is_told_as_far_below_the_best_as_it_was_on_its_folds() -> None:
    leader = entry(0.8, 900, scores=(0.9, 0.7, 0.8))
    assert estimate((0.85,), leader) == pytest.approx(0.75)
    assert estimate((0.85, 0.72), leader) == pytest.approx(0.785)
    assert estimate((0.6, 0.7, 0.8), leader) == pytest.approx(0.7)
    assert estimate((0.6, 0.7), None) == pytest.approx(0.65)
    assert estimate((0.6, 0.8), entry(0.9, 900, scores=(0.9,))) == pytest.approx(0.7)


@pytest.mark.parametrize("outcome", ["no_op", "skipped", "timeout", "failed"])
def test_what_is_no_model_cannot_win(outcome: str) -> None:
    assert found(Log(entries=(entry(0.9, 10, outcome=outcome), entry(0.6, 10))), TIER).best == entry(0.6, 10)


def test_a_value_that_is_not_known_keeps_no_limit() -> None:
    one = entry(0.9, 10, None)
    assert tried(one, TIER).excess == {"bytes": pytest.approx(-0.99), "latency_p90": 1.0}
    assert found(Log(entries=(one,)), TIER).best is None
    assert found(Log(entries=(one,)), DeviceTier("any", bytes=1000)).best == one


def test_excess_is_the_share_by_which_a_limit_is_broken() -> None:
    assert tried(entry(0.9, 1500, 250.0), TIER).excess == {"bytes": 0.5, "latency_p90": -0.75}
    assert tried(entry(None, None, outcome="failed"), TIER).excess == {}


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ((), "nothing was proposed"),
        ((entry(None, None, outcome="timeout", reason="too late"),), "none of 1 proposals gave a model: timeout (too late)"),
        (
            (entry(0.9, 5000), entry(0.5, 1100), entry(0.6, 900, 1500.0)),
            "none of 3 proposals is inside XS: the nearest has artifact_bytes 1,100 of 1,000",
        ),
        ((entry(0.6, 900, 1500.0),), "none of 1 proposals is inside XS: the nearest has latency_p90_us 1,500 of 1,000"),
        ((entry(0.6, 900, None),), "none of 1 proposals is inside XS: the nearest has latency_p90_us unknown of 1,000"),
    ],
)
def test_why_nothing_was_found(entries: tuple[Entry, ...], reason: str) -> None:
    over = found(Log(entries=entries), TIER)
    assert (over.best, over.reason) == (None, reason)


def test_a_log_survives_json() -> None:
    log = Log(
        12.5,
        (entry(0.9, 1500), entry(None, None, outcome="skipped", refused=("prune",)), entry(0.5, 5, scores=(0.5, 0.5))),
        ("a", "b"),
        1.5,
        0.25,
    )
    assert Log.from_json(json.loads(json.dumps(log.to_json()))) == log


def test_a_log_of_before_there_was_cross_validation_can_be_read() -> None:
    log = Log(12.5, (entry(0.9, 1500),))
    kept = log.to_json()
    del kept["entries"][0]["scores"]
    assert Log.from_json(kept) == log


def test_the_best_so_far_is_of_proposals_inside_the_limits() -> None:
    entries = (
        entry(0.9, 1001, spent=2.0),
        entry(0.6, 500, spent=4.0),
        entry(None, None, outcome="timeout", spent=6.0),
        entry(0.95, 500, None, spent=7.0),
        entry(0.5, 500, spent=8.0),
        entry(0.6, 100, spent=9.0),
        entry(0.99, 100, outcome="no_op", spent=10.0),
        entry(0.8, 1000, 1000.0, spent=12.0),
    )
    assert best_so_far(Log(entries=entries), TIER) == [(4.0, 0.6), (12.0, 0.8)]
    assert best_so_far(Log(entries=entries), None) == [(2.0, 0.9), (7.0, 0.95)]
    assert best_so_far(Log(), TIER) == []


@given(st.lists(st.tuples(st.none() | st.floats(0, 1), st.integers(1, 2000))))
def test_its_last_value_is_that_of_what_wins(proposals: list[tuple[float | None, int]]) -> None:
    log = Log(entries=tuple(entry(score, size, spent=float(i)) for i, (score, size) in enumerate(proposals)))
    curve, best = best_so_far(log, TIER), found(log, TIER).best
    assert (curve[-1][1] if curve else None) == (best.score if best else None)
    for seconds, score in curve:  # each is the maximum of what was known by then
        known = [one.score for one in log.entries if one.spent <= seconds and tried(one, TIER).fits]
        assert score == max(value for value in known if value is not None)


@pytest.mark.parametrize(
    ("call", "seconds", "tier"),
    [
        (PassCall("optuna"), 60.0, "S"),
        (PassCall("optuna", (("halving", False), ("sampler", "nsga2"))), 0.5, ""),
        (PassCall("random"), 180.0, 'a "tier", of 1'),
        (PassCall("random", (("warm", "edge"),)), 180.0, "S"),
    ],
)
def test_the_name_of_a_search_says_what_it_was_given(call: PassCall, seconds: float, tier: str) -> None:
    assert read_searched(searched(call, seconds, tier)) == (call, seconds, tier)
