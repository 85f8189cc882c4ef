"""Quality of stored outputs. The host scores them; no label enters a process that runs a runtime's or pass's code.

Outputs are float32 (N, K) with K >= 2: logits, or probabilities. Labels ``y`` are int64 (N,), indices of the K classes; class 1
of two is the positive one. :data:`benchmark.specs.METRICS` is the closed list:

- ``accuracy``: share of rows whose label (argmax, ties to the lowest index) is right.
- ``balanced_accuracy``: mean recall over the classes present in ``y``.
- ``roc_auc``: the Mann-Whitney probability that a positive row scores above a negative one, ties counting one half (Hanley and
  McNeil 1982, doi:10.1148/radiology.143.1.7063747). Two classes: the score is ``outputs[:, 1] - outputs[:, 0]``. More: the mean
  of the one-vs-rest values of the classes for which it is defined, whatever their frequency.
- ``log_loss``: mean negative natural logarithm of the probability of the right class, clipped to [2.2e-16, 1].
- ``brier``: two classes: mean of ``(p1 - y)²``, in [0, 1]. More: mean of ``sum over k of (p_k - [y = k])²``, in [0, 2]
  (Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2).
- ``recall_5_1``: two classes only: recall of class 1 where a row is called 1 if ``p1 >= 1/6``, the threshold of least expected
  cost when a missed 1 costs five times a false one (Elkan 2001, "The foundations of cost-sensitive learning").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmark.specs import METRICS, Output

Doubles: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Value: TypeAlias = tuple[float | None, str]
"""A metric and what must be said of it: None and why it is undefined, or a number and, if any, its restriction."""

_SUM_TOLERANCE = 0.05  # an 8-bit softmax rounds each of ten classes by up to 1/512


@dataclass(frozen=True)
class Quality:
    """``values``: each metric asked for, None where undefined. ``reasons``: why it is undefined, or over how many of the K
    classes it was averaged where these are not all; no entry where nothing must be said."""

    values: Mapping[str, float | None]
    reasons: Mapping[str, str]


def check(outputs: object, rows: int, classes: int) -> str:
    """Why ``outputs`` are not valid outputs for this many rows and classes, or an empty string."""
    if not isinstance(outputs, np.ndarray):
        return f"outputs are a {type(outputs).__name__}, not a numpy array"
    if outputs.dtype != np.float32:
        return f"outputs are {outputs.dtype}, not float32"
    if outputs.shape != (rows, classes):
        return f"outputs have shape {outputs.shape}, not {(rows, classes)}"
    if classes < 2:
        return f"outputs have {classes} column, at least 2 are needed"
    # argmax of a row with a NaN is the NaN's index, so without this check such a row can count as right.
    bad = int((~np.isfinite(outputs)).any(axis=1).sum())
    return f"outputs are NaN or infinite in {bad} of {rows} rows" if bad else ""


def labels(outputs: NDArray[Any]) -> Integers:
    """The predicted classes, int64 (N,), of outputs (N, K): argmax, ties to the lowest index."""
    return np.asarray(np.argmax(outputs, axis=1), dtype=np.int64)


def probabilities(outputs: NDArray[Any], kind: Output) -> Doubles:
    """Probabilities, float64 (N, K), rows summing to 1: the softmax of logits; probabilities divided by their sum, so that a
    rounded or an unnormalised output gains nothing. Raises ValueError for probabilities outside [0, 1] (by more than
    1e-6) or with a sum further than 0.05 from 1."""
    values = np.asarray(outputs, dtype=np.float64)
    if kind == "logits":
        values = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(values / values.sum(axis=1, keepdims=True))
    sums = values.sum(axis=1, keepdims=True)
    if values.min() < -1e-6 or values.max() > 1 + 1e-6 or np.abs(sums - 1).max() > _SUM_TOLERANCE:
        raise ValueError("outputs declared as probabilities leave [0, 1] or do not sum to 1")
    return np.asarray(np.clip(values / sums, 0.0, 1.0))


def ranking_scores(outputs: NDArray[Any], kind: Output) -> Doubles:
    """The scores whose one-vs-rest AUCs make up ``roc_auc``, float64: (N, 1) for two classes, positive class 1; else (N, K).

    For more than two classes and logits: the log-odds ``z_k - log(sum over j != k of exp(z_j))``, which order rows as the softmax
    does but do not saturate at 1, where different rows would become ties.
    """
    values = np.asarray(outputs, dtype=np.float64)
    if values.shape[1] == 2:
        return values[:, 1:] - values[:, :1]
    if kind == "probabilities":
        return values
    odds = np.empty_like(values)
    for k in range(values.shape[1]):
        # Sorted and less the largest first, so that rows of equal odds are ties to the last bit where logits lie on a grid, as
        # quantised ones do: reordered or shifted logits must not break a tie by rounding.
        rest = np.sort(np.delete(values, k, axis=1), axis=1)
        top = rest[:, -1]
        odds[:, k] = (values[:, k] - top) - np.log(np.exp(rest - top[:, None]).sum(axis=1))
    return odds


def evaluate(outputs: NDArray[np.float32], y: NDArray[Any], metrics: Iterable[str], kind: Output) -> Quality:
    """The metrics of outputs (N, K) against ``y`` (N,). An undefined one is None with a reason, never a number.

    Raises ValueError for outputs that :func:`check` refuses, no rows, a label outside 0..K-1, or an unknown metric.
    """
    truth = _labels_for(outputs, y)
    results = {metric: _value(outputs, truth, metric, kind) for metric in metrics}
    return Quality(
        values={metric: value for metric, (value, _) in results.items()},
        reasons={metric: reason for metric, (_, reason) in results.items() if reason},
    )


def score(outputs: NDArray[np.float32], y: NDArray[Any], metric: str, kind: Output) -> float:
    """One metric as :func:`evaluate` gives it, NaN where it is undefined. Raises the same errors."""
    value, _ = _value(outputs, _labels_for(outputs, y), metric, kind)
    return float("nan") if value is None else value


def _labels_for(outputs: NDArray[np.float32], y: NDArray[Any]) -> Integers:
    truth = np.asarray(y, dtype=np.int64)
    if truth.ndim != 1 or not len(truth):
        raise ValueError(f"labels have shape {truth.shape}, not (N,) with at least one row")
    if reason := check(outputs, len(truth), np.shape(outputs)[-1] if np.ndim(outputs) else 0):
        raise ValueError(reason)
    if truth.min() < 0 or truth.max() >= outputs.shape[1]:
        raise ValueError(f"labels reach from {truth.min()} to {truth.max()}, but outputs have {outputs.shape[1]} classes")
    return truth


def _value(outputs: NDArray[np.float32], y: Integers, metric: str, kind: Output) -> Value:
    match metric:
        case "accuracy":
            return float(np.mean(labels(outputs) == y)), ""
        case "balanced_accuracy":
            return _balanced_accuracy(labels(outputs), y, outputs.shape[1])
        case "roc_auc":
            return _roc_auc(ranking_scores(outputs, kind), y)
        case "log_loss" | "brier" | "recall_5_1":
            try:
                p = probabilities(outputs, kind)
            except ValueError as error:
                return None, str(error)
            return {"log_loss": _log_loss, "brier": _brier, "recall_5_1": _recall_5_1}[metric](p, y)
        case _:
            raise ValueError(f"unknown metric {metric!r}; known: {', '.join(METRICS)}")


def _averaged(values: list[float], classes: int) -> Value:
    return float(np.mean(values)), "" if len(values) == classes else f"mean over {len(values)} of {classes} classes"


def _balanced_accuracy(predicted: Integers, y: Integers, classes: int) -> Value:
    return _averaged([float(np.mean(predicted[y == k] == k)) for k in np.unique(y)], classes)


def _roc_auc(scores: Doubles, y: Integers) -> Value:
    positive_classes = [1] if scores.shape[1] == 1 else range(scores.shape[1])
    values = [auc for column, k in enumerate(positive_classes) if (auc := _auc(scores[:, column], y == k)) is not None]
    if not values:
        return None, f"all {len(y)} rows are of class {y[0]}"
    return _averaged(values, scores.shape[1])


def _auc(scores: Doubles, positive: NDArray[np.bool_]) -> float | None:
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if not ones or not zeros:
        return None
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[group]  # ties share the mean of their ranks
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def _log_loss(p: Doubles, y: Integers) -> Value:
    right = p[np.arange(len(y)), y]
    return float(-np.log(np.maximum(right, np.finfo(np.float64).eps)).mean()), ""


def _brier(p: Doubles, y: Integers) -> Value:
    if p.shape[1] == 2:
        return float(np.mean((p[:, 1] - y) ** 2)), ""
    return float(np.mean(((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1))), ""


def _recall_5_1(p: Doubles, y: Integers) -> Value:
    if p.shape[1] != 2:
        return None, f"defined for 2 classes, not for {p.shape[1]}"
    if not (y == 1).any():
        return None, "no row is of class 1"
    return float(np.mean(p[y == 1, 1] >= 1 / 6)), ""
