"""The timed loop. Runs in a process of its own, pinned, with the candidate and its anchors loaded together."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmark.protocols import Floats, Predictor, RuntimeCode

MIN_ROWS = 64
_WINDOW = 20
_MAX_WARM_UP = 200
_SETTLED = 0.05


def rows(x: Floats) -> list[Floats]:
    """Rows of ``x``, float32 (N, ...), to measure with: :data:`MIN_ROWS` different ones, or all, each (1, ...) and in memory.
    Spread over all: those of one recording or patient stand side by side and look alike."""
    return [np.array(x[i : i + 1]) for i in np.linspace(0, len(x) - 1, min(len(x), MIN_ROWS)).astype(int)]


def load(runtime: RuntimeCode, folder: Path, threads: int) -> tuple[Predictor, int]:
    """A runtime's predictor of an artifact, and the nanoseconds that loading took: in a fresh process, and for the first one with
    the runtime's own start."""
    start = time.perf_counter_ns()
    predictor = runtime.load(folder, threads)
    return predictor, time.perf_counter_ns() - start


def first_call(predictor: Predictor, row: Floats) -> int:
    """Nanoseconds of the first call, which may compile or allocate; a column of its own and no part of any sample."""
    return _timed(predictor, row)


def warm_up(predictor: Predictor, rows: Sequence[Floats]) -> int:
    """Calls until the median of the last 20 is within 5 % of that of the 20 before, at least 40 and at most 200 calls; returns
    how many."""
    samples: list[int] = []
    while len(samples) < _MAX_WARM_UP:
        done = len(samples)
        samples.extend([_timed(predictor, rows[(done + i) % len(rows)]) for i in range(_WINDOW)])
        if len(samples) >= 2 * _WINDOW:
            before, last = statistics.median(samples[-2 * _WINDOW : -_WINDOW]), statistics.median(samples[-_WINDOW:])
            if abs(last - before) <= _SETTLED * before:
                break
    return len(samples)


def sample(
    predictors: Mapping[str, Predictor], rows: Sequence[Floats], rounds: int, calls: int, seed: int
) -> dict[str, NDArray[np.int64]]:
    """Nanoseconds of single calls, int64 (rounds, calls) for each predictor. In each round the predictors take turns in random
    order, so that a drift of the machine meets all alike; rows are cycled through. The garbage collector rests meanwhile."""
    order = random.Random(seed)
    names = list(predictors)
    samples = {name: np.zeros((rounds, calls), np.int64) for name in names}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for round_ in range(rounds):
            order.shuffle(names)
            for name in names:
                predictor = predictors[name]
                for call in range(calls):
                    samples[name][round_, call] = _timed(predictor, rows[(round_ * calls + call) % len(rows)])
    finally:
        if collecting:
            gc.enable()
    return samples


def _timed(predictor: Predictor, row: Floats) -> int:
    # np.asarray is inside: an output that is still being computed, or lies on a device, is forced onto the host (case M-01).
    predict, asarray, clock = predictor.predict, np.asarray, time.perf_counter_ns
    start = clock()
    asarray(predict(row))
    return clock() - start
