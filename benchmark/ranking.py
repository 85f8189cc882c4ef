"""Which methods differ: ranks that ties share, verdicts against a margin, and fronts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Doubles: TypeAlias = NDArray[np.float64]
Verdict: TypeAlias = Literal["better", "non-inferior", "inferior", "undecided"]


def ranks(scores: ArrayLike, draws: ArrayLike, level: float = 0.95) -> list[int]:
    """The rank of each method, 1 the best, from scores (methods,), higher better, and their paired bootstrap draws (methods,
    draws).

    The best method that has no rank yet leads; it shares its rank with all down to the last from which it is not told apart, and
    the next rank counts them all. Two methods are told apart when every stretch of neighbours by score that holds both is
    heterogeneous: the largest ``|t|`` of any pair in it is, in the centred draws, as large as that of its two ends in the data in
    no more than ``1 - level`` of the draws, for stretches of all k methods or all but one, in ``1 - level**(p / k)`` for p. This
    is the step-down procedure of Ryan, Einot, Gabriel and Welsch (Hochberg and Tamhane 1987, "Multiple comparison procedures",
    chapter 4) with the bootstrap of max-|t| in place of the studentised range, since methods that share rows are correlated.

    Any two of truly equal methods are told apart in at most ``1 - level`` of all samples, however many methods there are and
    wherever the others lie: the two outermost of the equal ones would have to be apart, so also in the stretch between them, and
    their t is at most the largest of all equal ones. (The largest t of any pair in the stretch would not do: a pair that errs on
    nearly the same rows, one of the equal methods and its copy, say, tells nothing of the others.)

    To compare the others with the leader alone is not enough: the leader was picked for its luck. Draws in which a score is NaN
    are left out; where none is left, all methods share rank 1.
    """
    values, drawn = np.asarray(scores, dtype=np.float64), np.asarray(draws, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    apart = _apart(values[order], drawn[order][:, np.isfinite(drawn).all(axis=0)], level)
    found, lead = np.ones(len(values), dtype=np.int64), 0
    while lead < len(values):
        beyond = np.flatnonzero(apart[lead, lead:])
        end = lead + int(beyond[0]) if len(beyond) else len(values)
        found[order[lead:end]] = lead + 1
        lead = end
    return found.tolist()


def _apart(scores: Doubles, draws: Doubles, level: float) -> NDArray[np.bool_]:
    """Whether methods ``a`` and ``b``, a < b of those sorted by score, are told apart: (methods, methods), upper triangle."""
    k = len(scores)
    apart = np.zeros((k, k), dtype=np.bool_)
    if draws.shape[1] < 2:
        return apart
    covariance = np.atleast_2d(np.cov(draws))
    variances = np.diag(covariance)
    # Methods that differ by as much in every draw are apart however little that is, those with equal outputs never.
    errors = np.sqrt(np.maximum(variances[:, None] + variances[None] - 2 * covariance, 1e-24))
    centred = draws - draws.mean(axis=1, keepdims=True)
    largest = np.zeros(draws.shape)  # of the group of p neighbours from a on: the largest |t| of any pair in it, in each draw
    heterogeneous = np.zeros((k, k), dtype=np.bool_)
    for p in range(2, k + 1):
        first = np.arange(k - p + 1)
        last = first + p - 1
        error = errors[first, last]
        largest = np.maximum(largest[:-1], largest[1:])
        np.maximum(largest, np.abs(centred[first] - centred[last]) / error[:, None], out=largest)
        seen = (scores[first] - scores[last]) / error
        as_large = (1 + np.count_nonzero(largest >= seen[:, None], axis=1)) / (1 + draws.shape[1])
        heterogeneous[first, last] = as_large <= 1 - (level if p >= k - 1 else level ** (p / k))
    for p in range(k, 1, -1):  # from the widest group inwards
        first = np.arange(k - p + 1)
        last = first + p - 1
        apart[first, last] = heterogeneous[first, last]
        apart[first[1:], last[1:]] &= apart[first[1:] - 1, last[1:]]
        apart[first[:-1], last[:-1]] &= apart[first[:-1], last[:-1] + 1]
    return apart


def verdict(low: float, high: float, margin: float) -> Verdict:
    """What the interval of a difference in score says, given the largest loss that is as good: ``better`` where it lies above
    0, ``non-inferior`` where it lies above ``-margin``, ``inferior`` where it lies below it, else ``undecided`` (the CONSORT
    extension to non-inferiority trials, Piaggio et al. 2012, doi:10.1001/jama.2012.87802)."""
    if low > 0:
        return "better"
    if low > -margin:
        return "non-inferior"
    return "inferior" if high < -margin else "undecided"


def front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Which points are on the Pareto front: no other is as low in every coordinate and lower in one; all are costs."""
    costs = np.asarray(points, dtype=np.float64)
    return [bool(~((costs <= one).all(axis=1) & (costs < one).any(axis=1)).any()) for one in costs]
