"""The log of a search, what it is worth and who wins."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark import Proposal
from benchmark.budget import DeviceTier
from benchmark.search import Entry, Log, best, best_so_far, chosen, estimate, found, history, keeps_up, tried, winner
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
    scores = () if score is None else (score,)
    return Entry(**{**known, "scores": scores, "measured": measured if size is not None else {}, **values})


def raced(*scores: float) -> Entry:
    """One that was tried on as many folds."""
    return entry(None, 900, scores=scores)


def test_the_best_score_inside_the_limits_wins() -> None:
    entries = (entry(0.7, 900), entry(0.9, 1001), entry(0.8, 1000), entry(0.95, 500, 1001.0))
    assert found(Log(entries=entries), TIER).best == entries[2]
    assert found(Log(entries=entries), None).best == entries[3]


def test_of_equal_scores_the_smaller_file_and_then_the_earlier_one_wins() -> None:
    first, second, third = entry(0.8, 900), entry(0.8, 800, artifact="b"), entry(0.8, 800, artifact="c")
    assert found(Log(entries=(first, second, third)), TIER).best == second


MARGIN = 0.02


@given(st.lists(st.lists(st.integers(0, 1000).map(lambda n: n / 1000), min_size=3, max_size=3), min_size=2), st.integers(1, 3))
def test_who_wins_a_race_was_tried_on_all_folds(proposals: list[list[float]], last: int) -> None:
    """Each is tried on folds as long as it keeps up; of the last one the time may be over before that."""
    entries: tuple[Entry, ...] = ()
    for place, folds in enumerate(proposals):
        leader, scores = best(entries, TIER), [folds[0]]
        most = last if place + 1 == len(proposals) else 3
        while len(scores) < most and keeps_up(scores, leader, MARGIN):
            scores.append(folds[len(scores)])
        entries += (entry(None, 900 - place, scores=tuple(scores)),)
    complete = [one for one in entries if len(one.scores) == 3]
    won = best(entries, TIER)
    assert won in complete
    assert won.score == max(one.score for one in complete if one.score is not None)


def test_a_proposal_races_with_the_best_one_on_the_folds_that_both_have() -> None:
    leader = raced(0.9, 0.7, 0.8)
    assert keeps_up((0.1,), None, MARGIN)
    assert [keeps_up(scores, leader, MARGIN) for scores in [(0.89,), (0.87,), (0.87, 0.7), (0.87, 0.68), (0.1, 0.9, 1.0)]] == [
        *(True, False, True, False, False)
    ]
    assert keeps_up((0.95, 0.1), raced(0.9), MARGIN) == keeps_up((0.95,), raced(0.9), MARGIN)  # only the first fold tells


def test_one_that_was_cut_wins_only_where_none_was_tried_on_more_folds() -> None:
    assert best([raced(0.6, 0.6), raced(0.9)], TIER) == raced(0.6, 0.6)
    assert best([raced(0.6), raced(0.9)], TIER) == raced(0.9)


def test_a_searcher_is_told_of_who_was_dropped_as_far_below_the_best_as_it_was_on_its_folds() -> None:
    leader = raced(0.9, 0.7, 0.8)
    assert estimate((0.85,), leader) == pytest.approx(0.75)
    assert estimate((0.85, 0.72), leader) == pytest.approx(0.785)
    assert estimate((0.6, 0.7, 0.8), leader) == pytest.approx(0.7)
    assert estimate((0.6, 0.7), None) == pytest.approx(0.65)
    assert estimate((0.6, 0.8), raced(0.9)) == pytest.approx(0.7)
    dropped, failed = raced(0.85), entry(None, None, outcome="failed", scores=(0.85,))
    assert [(one.score, one.folds) for one in history([dropped, failed, leader], TIER)] == [
        (pytest.approx(0.75), 1),  # as who is the best has it now, not when it was dropped
        (None, 1),
        (pytest.approx(0.8), 3),
    ]


def test_what_failed_on_a_later_fold_cannot_win() -> None:
    failed = entry(None, None, outcome="failed", scores=(0.9, 0.9))
    assert failed.score == 0.9
    assert best([failed, raced(0.5)], TIER) == raced(0.5)


def test_a_winner_is_known_by_what_its_cell_calls_it() -> None:
    other = entry(0.9, 10, proposal=Proposal("mlp"))
    assert winner([entry(0.8, 10), other], chosen(other.proposal)) == other
    assert winner([entry(None, None, outcome="failed", proposal=Proposal("mlp"))], "mlp · reference") is None


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
        (entry(0.9, 1500), entry(None, None, outcome="skipped", refused=("prune",)), raced(0.5, 0.75)),
        ("a", "b"),
        1.5,
        0.25,
    )
    assert Log.from_json(json.loads(json.dumps(log.to_json()))) == log


def test_a_log_of_before_there_was_cross_validation_can_be_read() -> None:
    log = Log(12.5, (entry(0.9, 1500),))
    kept = log.to_json()
    (score,) = kept["entries"][0].pop("scores")
    kept["entries"][0]["score"] = score
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
