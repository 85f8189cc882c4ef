"""Intervals against scikit-learn, SciPy and brute force, and what they cover in simulations."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]  # it ships no types
from sklearn import metrics as reference  # type: ignore[import-untyped]  # it ships no types
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # it ships no types
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]  # it ships no types
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]  # it ships no types

from benchmark import statistics
from benchmark.measure import quality
from benchmark.statistics import Interval, Scored


def cell(rows: int = 60, classes: int = 2, signal: float = 1.0, fold: int = 0, seed: int = 0, rows_of_unit: int = 1) -> Scored:
    """Noisy logits on a grid, with ties; the rows are those of the fold, the noise that of the seed."""
    y = np.random.default_rng(fold).integers(classes, size=rows)
    outputs = np.random.default_rng([fold, seed]).normal(size=(rows, classes))
    outputs[np.arange(rows), y] += signal
    units = 1000 * fold + np.arange(rows) // rows_of_unit
    return Scored(fold, seed, (np.round(outputs * 2) / 2).astype(np.float32), y, units, "logits")


def found(interval: Interval | None) -> Interval:
    assert interval is not None
    return interval


def ends(interval: Interval | None) -> tuple[float, float]:
    return found(interval).low, found(interval).high


def width(interval: Interval | None) -> float:
    return found(interval).high - found(interval).low


def test_quantile_is_the_linear_rule() -> None:
    assert statistics.quantile([4, 1, 3, 2], 0.5) == 2.5
    assert statistics.quantile(range(1, 12), 0.9) == 10.0
    assert statistics.quantile([1, 2], 0.9) == pytest.approx(1.9)


@pytest.mark.parametrize(("q", "samples"), [(0.5, 7), (0.9, 44), (0.95, 90), (0.99, 459), (0.1, 44)])
def test_percentile_needs_a_sample_beyond_it_at_99_percent(q: float, samples: int) -> None:
    assert statistics.samples_needed(q) == samples
    assert statistics.percentile_or_none(np.arange(samples - 1), q) is None
    assert statistics.percentile_or_none(np.arange(samples), q) == pytest.approx(q * (samples - 1))
    beyond = max(q, 1 - q)
    assert stats.binom.cdf(samples - 1, samples, beyond) >= 0.99 > stats.binom.cdf(samples - 2, samples - 1, beyond)


def test_unit_weights_draw_whole_units() -> None:
    units = np.array([7, 7, 3, 9, 3, 7])
    weights = statistics.unit_weights(units, 2000, np.random.default_rng(0))
    assert weights.shape == (2000, 6)
    assert (weights[:, units == 7] == weights[:, [0]]).all()
    assert (weights[:, 2] == weights[:, 4]).all()
    counts = weights[:, [0, 2, 3]]
    assert (counts.sum(axis=1) == 3).all()  # as many units as there are
    assert counts.mean(axis=0) == pytest.approx(1, abs=0.06)
    assert counts.var(axis=0) == pytest.approx(2 / 3, abs=0.08)  # binomial(3, 1/3)
    again = statistics.unit_weights(units, 2000, np.random.default_rng(0))
    assert np.array_equal(weights, again)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "roc_auc"])
@pytest.mark.parametrize(("classes", "rows", "rows_of_unit"), [(2, 60, 1), (2, 60, 3), (4, 30, 1)])
def test_each_draw_scores_the_resampled_rows(
    monkeypatch: pytest.MonkeyPatch, metric: str, classes: int, rows: int, rows_of_unit: int
) -> None:
    drawn = []

    def spy(units: Any, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
        drawn.append(statistics_unit_weights(units, draws, rng))
        return drawn[-1]

    statistics_unit_weights = statistics.unit_weights
    monkeypatch.setattr(statistics, "unit_weights", spy)
    tested = cell(rows, classes, rows_of_unit=rows_of_unit)
    (scores,) = statistics.score_draws([[tested]], metric, draws=120)
    counts = np.concatenate(drawn)  # (draws, units); the units are 0, 1, ... in order
    assert counts.shape == (120, rows // rows_of_unit)
    for score, count in zip(scores, counts, strict=True):
        resampled = np.repeat(np.arange(rows), count[tested.units])
        brute = quality.score(tested.outputs[resampled], tested.y[resampled], metric, "logits")
        assert score == pytest.approx(brute, nan_ok=True)


def test_weighted_scores_agree_with_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = cell(50)
    weights = np.random.default_rng(5).integers(4, size=(30, 50))
    monkeypatch.setattr(statistics, "unit_weights", lambda units, draws, rng: weights[:draws])
    difference = tested.outputs[:, 1] - tested.outputs[:, 0]
    for metric, function, values in (
        ("accuracy", reference.accuracy_score, quality.labels(tested.outputs)),
        ("balanced_accuracy", reference.balanced_accuracy_score, quality.labels(tested.outputs)),
        ("roc_auc", reference.roc_auc_score, difference),
    ):
        (scores,) = statistics.score_draws([[tested]], metric, draws=30)
        assert scores == pytest.approx([function(tested.y, values, sample_weight=row) for row in weights])


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc"])
def test_interval_agrees_with_scipy(metric: str) -> None:
    tested = cell(120)

    def statistic(index: NDArray[np.int64]) -> float:
        return quality.score(tested.outputs[index], tested.y[index], metric, "logits")

    other = stats.bootstrap(
        (np.arange(120),), statistic, vectorized=False, n_resamples=1500, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    ours = found(statistics.score_interval([tested], metric, draws=4000))
    assert ends(ours) == pytest.approx((other.low, other.high), abs=0.012)
    assert (ours.draws, ours.dropped, ours.units, ours.over_seeds) == (4000, 0, 120, False)


def test_same_seed_same_bits() -> None:
    tested = cell(120)
    assert statistics.score_interval([tested], "roc_auc", seed=3) == statistics.score_interval([tested], "roc_auc", seed=3)
    assert statistics.score_interval([tested], "roc_auc", seed=3) != statistics.score_interval([tested], "roc_auc", seed=4)


def test_repeating_a_row_within_its_unit_adds_no_evidence() -> None:
    single = cell(40)
    repeated = replace(single, outputs=single.outputs.repeat(5, 0), y=single.y.repeat(5), units=single.units.repeat(5))
    for metric in ("accuracy", "balanced_accuracy", "roc_auc"):
        by_unit = statistics.score_interval([repeated], metric)
        assert by_unit == statistics.score_interval([single], metric)
        by_row = statistics.score_interval([replace(repeated, units=np.arange(200))], metric)
        assert width(by_unit) / width(by_row) == pytest.approx(math.sqrt(5), rel=0.15)


def test_the_interval_covers_when_rows_of_a_unit_agree() -> None:
    """Forty patients of five rows each, that are right or wrong together nine times in ten; the true accuracy is 0.8."""
    rng = np.random.default_rng(0)
    by_unit, by_row, trials = 0, 0, 150
    units, y = np.repeat(np.arange(40), 5), np.zeros(200, dtype=np.int64)
    for _ in range(trials):
        together, alone = rng.random(40).repeat(5) < 0.8, rng.random(200) < 0.8
        right = np.where(rng.random(200) < 0.9, together, alone)
        outputs = np.stack([right, ~right], axis=1).astype(np.float32)
        for ids in (units, np.arange(200)):
            interval = found(statistics.score_interval([Scored(0, 0, outputs, y, ids, "logits")], "accuracy", draws=400))
            covered = interval.low <= 0.8 <= interval.high
            by_unit, by_row = by_unit + (covered and ids is units), by_row + (covered and ids is not units)
    assert 0.9 <= by_unit / trials <= 0.99
    assert by_row / trials < 0.75


def test_seeds_and_repeated_folds_of_the_same_rows_are_no_new_rows() -> None:
    once = cell(80)
    single = ends(statistics.score_interval([once], "roc_auc"))
    copies = [replace(once, seed=seed) for seed in range(3)]
    assert ends(statistics.score_interval(copies, "roc_auc")) == pytest.approx(single)
    # Repeated cross-validation tests every row again, in another order and fold.
    order = np.random.default_rng(0).permutation(80)
    again = replace(once, fold=5, outputs=once.outputs[order], y=once.y[order], units=once.units[order])
    repeat = found(statistics.score_interval([once, again], "roc_auc"))
    assert ends(repeat) == pytest.approx(single)
    assert repeat.units == 80


def test_other_rows_of_another_fold_are_evidence() -> None:
    folds = [cell(100, fold=fold) for fold in range(4)]
    single = np.mean([width(statistics.score_interval([fold], "accuracy")) for fold in folds])
    together = found(statistics.score_interval(folds, "accuracy"))
    assert single / width(together) == pytest.approx(2, rel=0.15)
    assert together.low < np.mean([quality.score(c.outputs, c.y, "accuracy", "logits") for c in folds]) < together.high
    assert together.units == 400


def test_five_seeds_are_resampled_too() -> None:
    cells = [cell(300, signal=signal, seed=seed) for seed, signal in enumerate([0.2, 0.6, 1.0, 1.4, 1.8])]
    four, five = statistics.score_interval(cells[:4], "accuracy"), statistics.score_interval(cells, "accuracy")
    assert (found(four).over_seeds, found(five).over_seeds) == (False, True)
    assert width(five) > 2 * width(four)
    scores = [quality.score(c.outputs, c.y, "accuracy", "logits") for c in cells]
    over_units, over_seeds = statistics.bootstrap([cells], "accuracy").deviations(0)
    assert over_units is not None
    assert over_seeds is not None
    assert over_seeds == pytest.approx(np.std(scores, ddof=1))
    assert over_units == pytest.approx(width(statistics.score_interval(cells[:4], "accuracy")) / 3.92, rel=0.2)
    assert statistics.bootstrap([cells[:4]], "accuracy").deviations(0)[1] is None
    # Two levels: the variance over units, and that of the mean of five seeds.
    expected = math.sqrt(over_units**2 + over_seeds**2 / 5)
    (draws,) = statistics.score_draws([cells], "accuracy", over_seeds=True)
    assert draws.std() == pytest.approx(expected, rel=0.1)


def test_resolution_is_what_the_median_paired_interval_spans() -> None:
    methods = [[cell(400, signal=signal, seed=seed)] for seed, signal in enumerate([1.0, 3.0, 1.2, 0.8])]
    methods = [[replace(one, seed=0) for one in method] for method in methods]
    halves = [
        width(statistics.paired_difference(methods[1], other, "accuracy")) / 2 for other in (methods[0], methods[2], methods[3])
    ]
    assert statistics.bootstrap(methods, "accuracy").resolution() == pytest.approx(np.median(halves))
    assert statistics.bootstrap(methods[:1], "accuracy").resolution() is None
    # Four times the rows: half the difference.
    more = [[replace(cell(1600, signal=signal, seed=seed), seed=0)] for seed, signal in enumerate([1.0, 3.0, 1.2, 0.8])]
    found = statistics.bootstrap(more, "accuracy").resolution()
    assert found is not None
    assert found == pytest.approx(np.median(halves) / 2, rel=0.15)


@pytest.mark.parametrize(("rows", "accuracy"), [(200, 0.8), (400, 0.75)])
def test_intervals_cover_the_truth_in_95_of_100_draws(rows: int, accuracy: float) -> None:
    """A thousand simulated test sets, each with an interval of its own: between 930 and 970 hold the true accuracy."""
    rng = np.random.default_rng(0)
    y, units, covered = np.zeros(rows, dtype=np.int64), np.arange(rows), 0
    for draw in range(1000):
        right = rng.random(rows) < accuracy
        outputs = np.stack([right, ~right], axis=1).astype(np.float32)
        cells = [Scored(0, 0, outputs, y, units, "logits")]
        interval = found(statistics.score_interval(cells, "accuracy", draws=500, seed=draw))
        covered += interval.low <= accuracy <= interval.high
    assert 930 <= covered <= 970


def test_two_level_intervals_cover_the_truth_too() -> None:
    """A thousand simulated studies of five folds and five seeds each, as edge-paper has at least, that differ by unit and more by
    seed; the truth is what they would come to over all units and seeds."""
    rng = np.random.default_rng(1)
    rows, covered = 150, 0
    y = np.zeros(rows, dtype=np.int64)
    for draw in range(1000):
        cells = []
        for fold in range(5):
            of_unit = rng.normal(size=rows)
            for seed in range(5):
                # A row is right where unit, training and chance together say so: one half of the time.
                right = of_unit + 0.1 * rng.normal() + 0.5 * rng.normal(size=rows) > 0
                outputs = np.stack([right, ~right], axis=1).astype(np.float32)
                cells.append(Scored(fold, seed, outputs, y, 1000 * fold + np.arange(rows), "logits"))
        interval = found(statistics.score_interval(cells, "accuracy", draws=300, seed=draw))
        assert interval.over_seeds
        covered += interval.low <= 0.5 <= interval.high
    assert 930 <= covered <= 970


def test_recordings_of_real_windows_are_fewer_than_the_windows(load_task: Any) -> None:
    """The windows of one recording are right or wrong together: whoever resamples windows claims too much."""
    _, data = load_task("watch-imu", 0)

    def features(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate([x.mean(2), x.std(2), np.abs(np.diff(x, axis=2)).mean(2)], axis=1)

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(features(data.train.x), data.train.y)
    outputs = model.predict_proba(features(data.test.x)).astype(np.float32)
    by_recording = Scored(0, 0, outputs, data.test.y, data.test.units, "probabilities")
    by_window = replace(by_recording, units=np.arange(len(outputs)))
    recordings, windows = (statistics.score_interval([one], "accuracy") for one in (by_recording, by_window))
    assert width(recordings) > 2 * width(windows)
    assert (found(recordings).units, found(windows).units) == (len(np.unique(data.test.units)), len(outputs))


def test_deviation_over_seeds_is_pooled_within_folds() -> None:
    cells = [cell(100, fold=fold, seed=seed, signal=fold) for fold in range(2) for seed in range(5)]
    scores = np.array([quality.score(c.outputs, c.y, "accuracy", "logits") for c in cells]).reshape(2, 5)
    assert statistics.bootstrap([cells], "accuracy").deviations(0)[1] == pytest.approx(
        math.sqrt(scores.var(axis=1, ddof=1).mean())
    )


def test_a_method_does_not_differ_from_itself() -> None:
    cells = [cell(fold=fold, seed=seed) for fold in range(2) for seed in range(5)]
    shuffled = cells[::-1]
    assert ends(statistics.paired_difference(cells, shuffled, "roc_auc")) == (0.0, 0.0)


def test_pairing_removes_what_methods_share() -> None:
    a = cell(200)
    outputs = a.outputs.copy()
    outputs[:8] = outputs[:8, ::-1]  # the other method differs in eight rows only
    b = replace(a, outputs=outputs)
    forth, back = statistics.paired_difference([a], [b], "accuracy"), statistics.paired_difference([b], [a], "accuracy")
    assert ends(forth) == pytest.approx((-found(back).high, -found(back).low))
    assert width(forth) < 0.6 * width(statistics.score_interval([a], "accuracy"))
    gains = (quality.labels(a.outputs) == a.y).astype(float) - (quality.labels(b.outputs) == b.y)
    other = stats.bootstrap((gains,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2))
    assert found(forth).low == pytest.approx(other.confidence_interval.low, abs=0.006)
    assert found(forth).high == pytest.approx(other.confidence_interval.high, abs=0.006)


def test_kinds_of_output_may_differ_between_methods() -> None:
    a = cell(100)
    b = replace(a, outputs=quality.probabilities(a.outputs, "logits").astype(np.float32), kind="probabilities")
    assert ends(statistics.paired_difference([a], [b], "accuracy")) == (0.0, 0.0)


def test_draws_without_both_classes_are_dropped_and_counted() -> None:
    outputs = np.array([[0, 3], [3, 0], [2, 0], [1, 0], [0, 1]], dtype=np.float32)
    both = Scored(0, 0, outputs, np.array([1, 0, 0, 0, 0]), np.arange(5), "logits")
    interval = found(statistics.score_interval([both], "roc_auc", draws=2000))
    assert interval.draws + interval.dropped == 2000
    assert interval.dropped / 2000 == pytest.approx(0.8**5 + 0.2**5, abs=0.03)
    one_class = replace(both, y=np.zeros(5, np.int64))
    assert statistics.score_interval([one_class], "roc_auc") is None
    assert statistics.bootstrap([[one_class]], "roc_auc").deviations(0) == (None, None)


def test_one_unit_has_no_interval() -> None:
    assert statistics.score_interval([replace(cell(60), units=np.zeros(60, np.int64))], "accuracy") is None


def test_what_cannot_be_compared_is_refused() -> None:
    a = cell()
    with pytest.raises(ValueError, match="same folds and seeds"):
        statistics.paired_difference([a], [cell(seed=1)], "accuracy")
    with pytest.raises(ValueError, match="fold 0: cells do not have the same rows"):
        statistics.paired_difference([a], [replace(a, y=a.y[::-1])], "accuracy")
    with pytest.raises(ValueError, match="fold 0: cells do not have the same rows"):
        statistics.score_interval([a, replace(a, seed=1, units=a.units[::-1])], "accuracy")
    with pytest.raises(ValueError, match="fold 0: 60 labels, but 59 unit ids"):
        statistics.score_interval([replace(a, units=a.units[1:])], "accuracy")
    with pytest.raises(ValueError, match="each with a fold and seed of its own"):
        statistics.score_interval([a, a], "accuracy")
    with pytest.raises(ValueError, match="each with a fold and seed of its own"):
        statistics.score_interval([], "accuracy")
    with pytest.raises(ValueError, match="no interval for 'log_loss'"):
        statistics.score_interval([a], "log_loss")
    with pytest.raises(ValueError, match="NaN or infinite"):
        statistics.score_interval([replace(a, outputs=a.outputs * np.float32(np.nan))], "accuracy")


def test_ratio_interval_is_the_t_interval_of_process_means() -> None:
    anchor = np.array([[10.0, 11.0, 10.5], [12.0, 12.5, 12.0], [9.0, 9.5, 9.2], [10.0, 10.0, 10.0]])
    candidate = anchor * np.array([[1.2, 1.25, 1.15], [1.1, 1.12, 1.1], [1.3, 1.28, 1.3], [1.2, 1.2, 1.2]])
    ratio, low, high = statistics.ratio_interval(candidate, anchor)
    logs = np.log(candidate / anchor).mean(axis=1)
    other = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert (ratio, low, high) == pytest.approx(
        (stats.gmean((candidate / anchor).ravel()), math.exp(other.low), math.exp(other.high))
    )
    assert statistics.ratio_interval(anchor, candidate) == pytest.approx((1 / ratio, 1 / high, 1 / low))  # type: ignore[operator]
    single, *none = statistics.ratio_interval(candidate[:1], anchor[:1])
    assert single == pytest.approx(math.exp(logs[0]))
    assert none == [None, None]


def test_ratio_interval_covers_though_rounds_share_their_process() -> None:
    rng = np.random.default_rng(0)
    covered, by_round, trials = 0, 0, 400
    for _ in range(trials):
        logs = math.log(1.2) + rng.normal(scale=0.05, size=(3, 1)) + rng.normal(scale=0.01, size=(3, 3))
        _, low, high = statistics.ratio_interval(np.exp(logs), np.ones((3, 3)))
        assert low is not None
        assert high is not None
        covered += low <= 1.2 <= high
        _, low, high = statistics.ratio_interval(np.exp(logs.reshape(9, 1)), np.ones((9, 1)))
        assert low is not None
        assert high is not None
        by_round += low <= 1.2 <= high
    assert 0.92 <= covered / trials <= 0.98
    assert by_round / trials < 0.85


@pytest.mark.parametrize(
    ("candidate", "anchor", "message"),
    [
        ([[1.0, 2.0]], [[1.0]], r"shapes \(1, 2\) and \(1, 1\)"),
        ([1.0], [1.0], r"not the same \(processes, rounds\)"),
        (np.ones((0, 3)), np.ones((0, 3)), r"not the same \(processes, rounds\)"),
        ([[0.0]], [[1.0]], "finite and above zero"),
        ([[1.0]], [[math.nan]], "finite and above zero"),
    ],
)
def test_medians_that_have_no_ratio_are_refused(candidate: Any, anchor: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        statistics.ratio_interval(candidate, anchor)


def test_wider_levels_hold_narrower_ones() -> None:
    intervals = [found(statistics.score_interval([cell(120)], "roc_auc", level=level)) for level in (0.5, 0.8, 0.95, 0.99)]
    assert all(outer.low < inner.low and inner.high < outer.high for inner, outer in pairwise(intervals))
