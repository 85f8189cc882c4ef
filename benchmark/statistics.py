"""Intervals and quantiles: numbers in, numbers out, and the same seed gives the same bits.

Scores are bootstrapped by *unit* (patient, recording, row): units are drawn with replacement and all rows of a unit come with
it, as rows of one unit are not independent (Field and Welsh 2007, "Bootstrapping clustered data",
doi:10.1111/j.1467-9868.2007.00593.x). One draw gives each unit one multiplicity, which it has in every cell that it is tested
in: seeds of one fold, folds of repeated cross-validation and methods to be compared all see the same draw, so that neither
rows tested twice nor what methods share is taken for independent evidence. Unit ids must therefore mean the same unit in all
folds of a task. A draw's score is exactly what :mod:`benchmark.measure.quality` gives for the resampled rows. Intervals are
percentile intervals (Efron and Tibshirani 1993, "An introduction to the bootstrap", chapter 13).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmark.measure import quality
from benchmark.specs import RANKING_METRICS, Output

Doubles: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
_Statistic: TypeAlias = Callable[[Doubles], Doubles]  # row weights (draws, N) -> scores (draws,), NaN where undefined

MIN_SEEDS = 5
"""With fewer training seeds a fold, an interval says nothing of the variation between seeds."""
MIN_UNITS = 10
"""With fewer units, an interval is conditional on them."""
DRAWS = 2000
"""Of a bootstrap, where nothing else is asked for."""
_BLOCK = 1_000_000  # weights of rows computed at once: bounds the memory
_PAIRS = 250_000  # of a positive and a negative row, up to which comparing all is faster than sorting


def quantile(samples: ArrayLike, q: float) -> float:
    """The ``q`` quantile by linear interpolation between order statistics, the default of numpy, pandas and R (type 7 of Hyndman
    and Fan 1996, doi:10.1080/00031305.1996.10473566). The one rule for all quantiles in PocketBench."""
    return float(np.quantile(np.asarray(samples, dtype=np.float64), q, method="linear"))


def samples_needed(q: float, confidence: float = 0.99) -> int:
    """The fewest samples of which, at this confidence, at least one lies beyond the true ``q`` quantile (on its outer side): the
    smallest n with ``1 - max(q, 1 - q)**n >= confidence``. 7 for p50, 44 for p90, 90 for p95, 459 for p99."""
    return math.ceil(math.log(1 - confidence) / math.log(max(q, 1 - q)))


def percentile_or_none(samples: ArrayLike, q: float) -> float | None:
    """The ``q`` quantile, or None with fewer samples than :func:`samples_needed`: it would hide the tail it is meant to show."""
    values = np.asarray(samples, dtype=np.float64)
    return quantile(values, q) if values.size >= samples_needed(q) else None


@dataclass(frozen=True)
class Scored:
    """The test rows of one cell: ``outputs`` float32 (N, K) of ``kind``, ``y`` int64 (N,), ``units`` int64 (N,)."""

    fold: int
    seed: int
    outputs: NDArray[np.float32]
    y: NDArray[Any]
    units: NDArray[Any]
    kind: Output


@dataclass(frozen=True)
class Interval:
    """``low``, ``high``: the ends. ``draws``: those used; ``dropped``: those in which the metric was undefined. ``units``: how
    many were resampled; below :data:`MIN_UNITS` the interval is conditional on them. ``over_seeds``: training seeds were
    resampled too, else it is conditional on the trained models."""

    low: float
    high: float
    draws: int
    dropped: int
    units: int
    over_seeds: bool


def unit_weights(units: ArrayLike, draws: int, rng: np.random.Generator) -> Integers:
    """How often each row is in each of ``draws`` resamples of the units with replacement: int64 (draws, N) for ids (N,)."""
    distinct, index = np.unique(np.asarray(units), return_inverse=True)
    size = len(distinct)
    drawn = rng.integers(size, size=(draws, size)) + size * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * size).reshape(draws, size)[:, index]


def score_draws(
    methods: Sequence[Sequence[Scored]], metric: str, *, draws: int = DRAWS, seed: int = 0, over_seeds: bool = False
) -> Doubles:
    """Bootstrap scores of methods on the same rows, float64 (methods, draws), NaN where undefined: for each draw the mean over
    folds of the mean over seeds. Differences between rows of the result are paired. ``over_seeds``: the seeds of each fold are
    resampled too, the same ones for all methods (the two-level bootstrap). Of S seeds S - 1 are drawn, since S would understate
    the variance between them by the factor (S - 1) / S (Rao and Wu 1988, "Resampling inference with complex survey data",
    doi:10.1080/01621459.1988.10478591).

    Raises ValueError where the methods do not have the same cells, a fold's cells not the same rows, or the metric is not a
    ranking one.
    """
    return _draws(methods, metric, draws, seed, over_seeds)[0]


def _draws(methods: Sequence[Sequence[Scored]], metric: str, draws: int, seed: int, over_seeds: bool) -> tuple[Doubles, Doubles]:
    """What :func:`score_draws` gives, and likewise with the mean over all seeds in each draw."""
    cells = _aligned(methods)
    statistics = [[_statistic(cell, metric) for cell in method] for method in cells]
    all_units = np.unique(np.concatenate([cell.units for cell in cells[0]]))
    rows = {cell.fold: np.searchsorted(all_units, cell.units) for cell in cells[0]}
    folds = np.array([cell.fold for cell in cells[0]])
    unit_rng, seed_rng = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2))
    equal = np.array([1 / (np.count_nonzero(folds == fold) * len(rows)) for fold in folds])[:, None]  # of each cell in the mean
    resampled, whole = [], []
    block = max(1, _BLOCK // max(len(cell.y) for cell in cells[0]))
    for start in range(0, draws, block):
        size = min(block, draws - start)
        unit_counts = unit_weights(all_units, size, unit_rng).astype(np.float64)
        weights = {fold: unit_counts[:, index] for fold, index in rows.items()}
        scores = np.array(
            [[statistic(weights[fold]) for statistic, fold in zip(method, folds, strict=True)] for method in statistics]
        )
        whole.append((scores * equal).sum(axis=1))
        if over_seeds:
            shares = np.empty((len(folds), size))
            for fold in rows:
                members = np.flatnonzero(folds == fold)
                seeds = len(members)
                drawn = max(1, seeds - 1)
                counts = seed_rng.multinomial(drawn, np.full(seeds, 1 / seeds), size=size).T
                shares[members] = counts / (drawn * len(rows))
            resampled.append((scores * shares).sum(axis=1))
    means = np.concatenate(whole, axis=1)
    return np.concatenate(resampled, axis=1) if over_seeds else means, means


def score_interval(
    cells: Sequence[Scored], metric: str, *, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> Interval | None:
    """The interval of one method's mean score over folds and seeds; seeds are resampled too where each fold has at least
    :data:`MIN_SEEDS`. None with fewer than two units or no draw in which the metric is defined. Raises as :func:`score_draws`."""
    return bootstrap([cells], metric, draws=draws, seed=seed).interval(0, level)


def paired_difference(
    a: Sequence[Scored], b: Sequence[Scored], metric: str, *, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> Interval | None:
    """The interval of the mean score of ``a`` less that of ``b`` on the same rows, each draw shared; else as
    :func:`score_interval`."""
    return bootstrap([a, b], metric, draws=draws, seed=seed).difference(0, 1, level)


@dataclass(frozen=True)
class Bootstrap:
    """Methods on the same rows: their mean test ``scores`` (methods,) over folds and seeds, and the ``draws`` of them (methods,
    draws) that :func:`score_draws` gives. ``over_units``, ``over_seed``: standard deviations of a method's score from its two
    sources (methods,), NaN where undefined: of the mean score over resampled units, the trained models held fixed; and of a
    single training over seeds, the test rows held fixed, pooled over folds, from :data:`MIN_SEEDS` seeds a fold on. ``units``
    and ``over_seeds``: as in :class:`Interval`."""

    scores: Doubles
    draws: Doubles
    over_units: Doubles
    over_seed: Doubles
    units: int
    over_seeds: bool

    def only(self, methods: Sequence[int]) -> Bootstrap:
        """Of these methods, in this order."""
        parts = {name: getattr(self, name)[list(methods)] for name in ("scores", "draws", "over_units", "over_seed")}
        return replace(self, **parts)

    def interval(self, method: int, level: float = 0.95) -> Interval | None:
        """Of a method's score; None as in :func:`score_interval`."""
        return self._interval(self.draws[method], level)

    def difference(self, one: int, other: int, level: float = 0.95) -> Interval | None:
        """Of the score of ``one`` less that of ``other``, paired: each draw is shared."""
        return self._interval(self.draws[one] - self.draws[other], level)

    def deviations(self, method: int) -> tuple[float | None, float | None]:
        """``over_units`` and ``over_seed`` of a method, None where undefined."""
        over_units, over_seed = (
            None if math.isnan(one) else float(one) for one in (self.over_units[method], self.over_seed[method])
        )
        return over_units, over_seed

    def resolution(self) -> float | None:
        """About how far two methods' scores must be apart to be told apart: half the width of the paired 95 % interval between
        the best method and another, the median over the others whose outputs are not the same. None where there is none."""
        best = int(np.argmax(self.scores))
        found = [self.difference(best, other) for other in range(len(self.scores)) if other != best]
        widths = [one.high - one.low for one in found if one and one.high > one.low]
        return float(np.median(widths)) / 2 if widths else None

    def _interval(self, draws: Doubles, level: float) -> Interval | None:
        defined = draws[np.isfinite(draws)]
        if self.units < 2 or not len(defined):
            return None
        low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
        return Interval(float(low), float(high), len(defined), len(draws) - len(defined), self.units, self.over_seeds)


def bootstrap(methods: Sequence[Sequence[Scored]], metric: str, *, draws: int = DRAWS, seed: int = 0) -> Bootstrap:
    """The bootstrap of at least one method; seeds are resampled too where each fold has at least :data:`MIN_SEEDS`. Raises as
    :func:`score_draws`."""
    over_seeds = all(map(_enough_seeds, methods))
    drawn, means = _draws(methods, metric, draws, seed, over_seeds)
    found = [[quality.score(cell.outputs, cell.y, metric, cell.kind) for cell in method] for method in methods]
    defined = [row[np.isfinite(row)] for row in means]
    return Bootstrap(
        scores=np.array([np.mean(one) for one in found]),
        draws=drawn,
        over_units=np.array([row.std(ddof=1) if len(row) > 1 else math.nan for row in defined]),
        over_seed=np.array([_over_seed(method, one) for method, one in zip(methods, found, strict=True)]),
        units=len(np.unique(np.concatenate([cell.units for cell in methods[0]]))),
        over_seeds=over_seeds,
    )


def _over_seed(cells: Sequence[Scored], scores: Sequence[float]) -> float:
    if not _enough_seeds(cells):
        return math.nan
    by_fold: dict[int, list[float]] = {}
    for cell, score in zip(cells, scores, strict=True):
        by_fold.setdefault(cell.fold, []).append(score)
    return math.sqrt(np.mean([np.var(values, ddof=1) for values in by_fold.values()]))


def of_group(cell: Scored, members: NDArray[np.bool_]) -> Scored | None:
    """The rows of a cell that belong to a group, bool (N,); None where there is none."""
    if not members.any():
        return None
    return Scored(cell.fold, cell.seed, cell.outputs[members], cell.y[members], cell.units[members], cell.kind)


def ratio_interval(candidate: ArrayLike, anchor: ArrayLike, *, level: float = 0.95) -> tuple[float, float | None, float | None]:
    """Ratio of latencies, candidate to anchor, and its interval, from medians (processes, rounds) > 0 of interleaved rounds.

    A process's value is the mean over its rounds of log(candidate / anchor); the ratio is the exponential of the mean over
    processes, the interval mean ± t(P - 1) · sd / √P of the P processes. The process is the unit because all its rounds
    share one memory layout: they repeat its bias, and an interval over rounds would be too narrow (Kalibera and Jones 2013,
    "Rigorous benchmarking in reasonable time", doi:10.1145/2464157.2464160). With one process there is no interval.
    Raises ValueError for other shapes or values.
    """
    above, below = np.asarray(candidate, dtype=np.float64), np.asarray(anchor, dtype=np.float64)
    if above.shape != below.shape or above.ndim != 2 or not above.size:
        raise ValueError(f"medians have shapes {above.shape} and {below.shape}, not the same (processes, rounds)")
    if not all((values > 0).all() and np.isfinite(values).all() for values in (above, below)):
        raise ValueError("medians must be finite and above zero")
    logs = np.log(above / below).mean(axis=1)
    mean, processes = float(logs.mean()), len(logs)
    if processes == 1:
        return math.exp(mean), None, None
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # it ships no types; slow to import

    half = float(stdtrit(processes - 1, (1 + level) / 2) * logs.std(ddof=1) / math.sqrt(processes))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def _aligned(methods: Sequence[Sequence[Scored]]) -> list[list[Scored]]:
    """Each method's cells, sorted by fold and seed."""
    cells = [sorted(method, key=lambda cell: (cell.fold, cell.seed)) for method in methods]
    keys = [(cell.fold, cell.seed) for cell in cells[0]]
    if not keys or len(set(keys)) != len(keys):
        raise ValueError(f"a method needs cells, each with a fold and seed of its own, not {keys}")
    first: Mapping[int, Scored] = {cell.fold: cell for cell in reversed(cells[0])}
    for method in cells:
        if [(cell.fold, cell.seed) for cell in method] != keys:
            raise ValueError("the methods do not have the same folds and seeds")
        for cell in method:
            same = first[cell.fold]
            if not (np.array_equal(cell.y, same.y) and np.array_equal(cell.units, same.units)):
                raise ValueError(f"fold {cell.fold}: cells do not have the same rows")
            if cell.units.shape != cell.y.shape:
                raise ValueError(f"fold {cell.fold}: {len(cell.y)} labels, but {len(cell.units)} unit ids")
    return cells


def _enough_seeds(cells: Iterable[Scored]) -> bool:
    return min(Counter(cell.fold for cell in cells).values(), default=0) >= MIN_SEEDS


def _statistic(cell: Scored, metric: str) -> _Statistic:
    if metric not in RANKING_METRICS:
        raise ValueError(f"no interval for {metric!r}; known: {', '.join(RANKING_METRICS)}")
    quality.score(cell.outputs, cell.y, metric, cell.kind)  # raises for outputs and labels that do not fit
    if metric == "roc_auc":
        scores = quality.ranking_scores(cell.outputs, cell.kind)
        classes = [1] if scores.shape[1] == 1 else range(scores.shape[1])
        return _mean_of([_auc(column, cell.y == k) for column, k in zip(scores.T, classes, strict=True)])
    right = quality.labels(cell.outputs) == cell.y
    every = np.ones(len(right), dtype=np.bool_)
    return _mean_share(right, [every] if metric == "accuracy" else [cell.y == k for k in np.unique(cell.y)])


def _mean_share(right: NDArray[np.bool_], classes: Sequence[NDArray[np.bool_]]) -> _Statistic:
    """The mean over the classes that a draw holds of the share of their rows that are right."""
    sums = np.stack([*(right & one for one in classes), *classes], axis=1).astype(np.float64)

    def statistic(weights: Doubles) -> Doubles:
        hits, totals = np.split((weights @ sums).T, 2)
        return _mean_defined(_divide(hits, totals))

    return statistic


def _auc(scores: Doubles, positive: NDArray[np.bool_]) -> _Statistic:
    """The Mann-Whitney statistic of weighted rows, ties counting one half."""
    above, below = scores[positive], scores[~positive]
    if above.size * below.size > _PAIRS:
        return _auc_of_many(scores, positive)
    # Halves of small whole numbers, which single precision holds exactly.
    wins = ((above[:, None] > below) + 0.5 * (above[:, None] == below)).astype(np.float32)

    def statistic(weights: Doubles) -> Doubles:
        ones, zeros = weights[:, positive].astype(np.float32), weights[:, ~positive].astype(np.float32)
        won = np.einsum("ij,ij->i", ones @ wins, zeros, dtype=np.float64)
        return _divide(won, ones.sum(axis=1, dtype=np.float64) * zeros.sum(axis=1, dtype=np.float64))

    return statistic


def _auc_of_many(scores: Doubles, positive: NDArray[np.bool_]) -> _Statistic:
    """The same by sorting: rows of one score form a group."""
    order = np.argsort(scores, kind="stable")
    ordered, ones = scores[order], positive[order].astype(np.float64)
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))

    def statistic(weights: Doubles) -> Doubles:
        sorted_weights = weights[:, order]
        above = np.add.reduceat(sorted_weights * ones, starts, axis=1)
        below = np.add.reduceat(sorted_weights * (1 - ones), starts, axis=1)
        wins = (above * (np.cumsum(below, axis=1) - below / 2)).sum(axis=1)
        return _divide(wins, above.sum(axis=1) * below.sum(axis=1))

    return statistic


def _mean_of(statistics: Sequence[_Statistic]) -> _Statistic:
    """The mean over the classes for which a draw defines the statistic."""
    return lambda weights: _mean_defined(np.stack([part(weights) for part in statistics]))


def _mean_defined(values: Doubles) -> Doubles:
    defined = np.isfinite(values)
    return _divide(np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0))


def _divide(numerator: Doubles, denominator: NDArray[Any]) -> Doubles:
    undefined = np.full(numerator.shape, np.nan)
    return np.asarray(np.divide(numerator, denominator, out=undefined, where=denominator > 0), dtype=np.float64)
