"""What an artifact gives for the rows of a task, and whether it gives that reliably. Scored elsewhere, by who has the labels."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmark.protocols import Floats, Predictor

BATCH = 32
AGAIN = 16
"""Rows that are run a second time on an emulated device."""
BATCH_LIMIT = 0.01
"""Share of the labels that may change between batch 1 and batch 32. More means that rows of a batch see each other."""


@dataclass(frozen=True)
class Collected:
    """``outputs``: float32 (N, K), each row at batch 1. ``repeatable``: a second pass gave the same bits. ``batch_rows``: rows
    that were compared at batch 32, none where the runtime takes no batches. ``batch_label_changes``: labels that differed."""

    outputs: Floats
    repeatable: bool
    batch_rows: int
    batch_label_changes: int


def collect(predictor: Predictor, x: Floats) -> Collected:
    """Runs the rows ``x``, float32 (N, ...), N >= 1, through a predictor: twice at batch 1, once at batch 32."""
    first, second = (_in_batches(predictor, x, 1) for _ in range(2))
    try:
        batched = _in_batches(predictor, x, BATCH)
        if batched.shape != first.shape:
            raise ValueError(f"outputs of shape {batched.shape} at batch {BATCH}, {first.shape} at batch 1")
        changes = int((batched.argmax(1) != first.argmax(1)).sum())
    except Exception as error:  # taking batches is optional for a runtime, and what it does instead is its own affair
        print(f"no batches: {error}", file=sys.stderr)
        return Collected(first, np.array_equal(first, second, equal_nan=True), 0, 0)
    return Collected(first, np.array_equal(first, second, equal_nan=True), len(x), changes)


def collect_emulated(predictor: Predictor, x: Floats) -> Collected:
    """Runs the rows ``x``, float32 (N, ...), N >= 1, on an emulated device, which takes one at a time and long: once, all in one
    call, and the first :data:`AGAIN` a second time."""
    first, again = np.array(predictor.predict(x)), predictor.predict(x[:AGAIN])
    return Collected(first, np.array_equal(first[:AGAIN], again, equal_nan=True), 0, 0)


def sample(n: int, rows: int | None) -> NDArray[np.int64]:
    """The places of ``rows`` of ``n`` rows, evenly spaced so that every unit has its share; of all for None, and for more."""
    rows = n if rows is None else min(n, rows)
    return np.arange(rows) * n // rows


def _in_batches(predictor: Predictor, x: Floats, size: int) -> Floats:
    # A copy of each: a runtime may give the same buffer again and again.
    return np.concatenate([np.array(predictor.predict(x[i : i + size])) for i in range(0, len(x), size)])


def refusal(repeatable: bool, batch_rows: int, batch_label_changes: int) -> str:
    """Why outputs do not count, or an empty string. The numbers are those of :class:`Collected`, summed over splits."""
    if not repeatable:
        return "a second pass over the same rows gave other outputs"
    if batch_label_changes > BATCH_LIMIT * batch_rows:
        return f"labels of {batch_label_changes} of {batch_rows} rows change between batch 1 and {BATCH}"
    return ""
