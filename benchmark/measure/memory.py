"""Peak memory of a process that holds one predictor and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.protocols import Floats, Predictor

CALLS = 100


def peak_memory() -> int:
    """Peak resident bytes of this process. VmHWM, not ru_maxrss: a child's ru_maxrss starts at its parent's peak."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def after_calls(predictor: Predictor, rows: Sequence[Floats], calls: int = CALLS) -> int:
    """Peak resident bytes of this process after so many calls, the rows taken in turn."""
    import numpy as np  # here, as most jobs only ask for their peak

    for call in range(calls):
        np.asarray(predictor.predict(rows[call % len(rows)]))  # an output that is computed when it is read counts too
    return peak_memory()
