"""Ranks, verdicts and fronts: on numbers that can be worked out, and on simulated methods whose truth is known."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from benchmark import ranking


def normal(means: list[float], errors: float, draws: int = 4000, seed: int = 0) -> NDArray[np.float64]:
    """Draws of independent methods (methods, draws)."""
    rng = np.random.default_rng(seed)
    return np.array(means)[:, None] + errors * rng.standard_normal((len(means), draws))


def test_far_apart_methods_have_ranks_of_their_own_and_ties_share_one() -> None:
    assert ranking.ranks([0.5, 0.9, 0.7], normal([0.5, 0.9, 0.7], 0.001)) == [3, 1, 2]
    assert ranking.ranks([0.7, 0.9, 0.7001, 0.2], normal([0.7, 0.9, 0.7001, 0.2], 0.001)) == [2, 1, 2, 4]
    assert ranking.ranks([0.5], normal([0.5], 0.01)) == [1]


@pytest.mark.parametrize("gap", [0.5, 1.9, 2.0, 2.5])
def test_two_methods_are_told_apart_by_a_two_sided_test_at_5_percent(gap: float) -> None:
    means = [gap * math.sqrt(2) * 0.01, 0.0]  # the standard error of the difference is sqrt(2) * 0.01
    assert ranking.ranks(means, normal(means, 0.01, draws=40_000)) == ([1, 2] if gap > stats.norm.ppf(0.975) else [1, 1])


@pytest.mark.parametrize("k", [3, 8])
def test_the_widest_stretch_is_tested_by_the_studentised_range(k: int) -> None:
    """Independent methods of equal variance: the best and the worst are told apart as Tukey's test does; scipy's distribution of
    the range is the independent value. All others lie in between, so that no narrower stretch is wider."""
    critical = float(stats.studentized_range.ppf(0.95, k, np.inf)) * 0.01
    for factor, apart in ((0.97, False), (1.03, True)):
        means = [factor * critical, *[factor * critical / 2] * (k - 2), 0.0]
        ranks = ranking.ranks(means, normal(means, 0.01, draws=40_000))
        assert (ranks[-1] > 1) is apart


def test_what_lies_between_two_that_are_not_told_apart_is_not_either() -> None:
    # The pair in the middle errs on the same rows, and alone would be told apart.
    rng = np.random.default_rng(0)
    shared, draws = rng.standard_normal(4000), rng.standard_normal((4, 4000))
    noise = 0.01 * np.array([draws[0], shared + 0.01 * draws[1], shared + 0.01 * draws[2], draws[3]])
    means = np.array([0.004, 0.002, 0.001, 0.0])
    assert ranking.ranks(means[1:3], (means[:, None] + noise)[1:3]) == [1, 2]
    assert ranking.ranks([0.004, 0.0], (means[:, None] + noise)[[0, 3]]) == [1, 1]
    assert ranking.ranks(means, means[:, None] + noise) == [1, 1, 1, 1]


def test_equal_outputs_and_undefined_draws_are_ties() -> None:
    draws = normal([0.5], 0.01)
    assert ranking.ranks([0.5, 0.5], np.concatenate([draws, draws])) == [1, 1]
    assert ranking.ranks([0.5, 0.9], np.full((2, 100), math.nan)) == [1, 1]
    assert ranking.ranks([1.0, 0.0], [[1.0] * 100, [0.0] * 100]) == [1, 2]  # one is right on every row, the other on none
    gaps = normal([0.9, 0.5], 0.001)
    gaps[0, :3000] = math.nan
    assert ranking.ranks([0.9, 0.5], gaps) == [1, 2]  # of the draws that are left


def simulated(methods: int, rows: int, better: float, seed: int, agree: float = 0.95) -> NDArray[np.float64]:
    """Whether each of some methods is right on each row, at an accuracy of 0.8, any two of them alike on a share ``agree`` of the
    rows; the first is right on a share ``better`` of all rows more."""
    rng = np.random.default_rng(seed)
    p = 0.8
    own = 1 - math.sqrt(1 - (1 - agree) / (2 * p * (1 - p)))  # the share of rows on which a method does not follow the others
    right = np.where(rng.random((methods, rows)) < own, rng.random((methods, rows)) < p, rng.random(rows) < p)
    right[0] |= rng.random(rows) < better / (1 - p)
    return right.astype(np.float64)


@functools.cache
def weights(rows: int, draws: int = 1000) -> NDArray[np.float64]:
    return np.random.default_rng(1).multinomial(rows, np.full(rows, 1 / rows), size=draws).T / rows


def ranked(right: NDArray[np.float64]) -> list[int]:
    return ranking.ranks(right.mean(axis=1), right @ weights(right.shape[1]))


@pytest.mark.parametrize("agree", [0.9, 0.95])
def test_20_equal_methods_on_250_rows_are_one_group_in_93_of_100_draws(agree: float) -> None:
    one_group = [set(ranked(simulated(20, 250, 0.0, seed, agree))) == {1} for seed in range(400)]
    assert np.mean(one_group) >= 0.93


def test_equal_methods_are_not_told_apart_by_the_copy_of_one_of_them() -> None:
    """Two equal ones, and what is made of the second: right on the same rows but for one in a hundred."""
    apart = 0
    for seed in range(400):
        right = simulated(2, 2000, 0.0, seed, agree=0.7)
        copy = right[1] * (np.random.default_rng([seed, 1]).random(2000) >= 0.01)
        ranks = ranked(np.stack([*right, copy]))
        apart += ranks[0] != ranks[1]
    assert apart / 400 <= 0.07


def test_a_method_better_by_three_standard_errors_is_alone_at_the_top_of_two_in_80_of_100_draws() -> None:
    # Right on so many rows more: the standard error of the paired difference is sqrt(rows that differ) / rows.
    rows, alone, ratios = 250, [], []
    for seed in range(400):
        right = simulated(2, rows, 0.05, seed, agree=0.98)
        ratios.append((right[0] - right[1]).mean() / (right[0] - right[1]).std() * math.sqrt(rows))
        alone.append(ranked(right) == [1, 2])
    assert np.mean(ratios) == pytest.approx(3.0, abs=0.35)
    assert np.mean(alone) >= 0.8


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.001, 0.02, "better"),
        (0.0, 0.02, "non-inferior"),
        (-0.0099, -0.001, "non-inferior"),
        (-0.01, 0.02, "undecided"),
        (-0.05, -0.0099, "undecided"),
        (-0.05, -0.0101, "inferior"),
    ],
)
def test_verdicts(low: float, high: float, expected: str) -> None:
    assert ranking.verdict(low, high, 0.01) == expected


def test_the_front_holds_what_nothing_beats_in_every_cost() -> None:
    points = [(1.0, 5.0), (2.0, 2.0), (2.0, 3.0), (5.0, 1.0), (6.0, 1.0), (2.0, 2.0)]
    assert ranking.front(points) == [True, True, False, True, False, True]
    assert ranking.front([]) == []
    by_hand = np.random.default_rng(0).random((60, 3))
    expected = [not any((other <= one).all() and (other < one).any() for other in by_hand) for one in by_hand]
    assert ranking.front(by_hand.tolist()) == expected
