"""The training rows that a pass finds ranges on: drawn in one way, so that passes of several formats can be compared."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmark.protocols import Context, Floats


def calibration_rows(context: Context) -> tuple[Floats, dict[str, Any]]:
    """Inputs, float32 (N, ...), of as many training rows as the pass's parameter ``calibration_rows`` says, of all where there
    are fewer; and what to ``report`` of them: their number and their sha256. Drawn by the seed without replacement, since the
    first rows are of few patients or recordings, and kept in their order."""
    rows = min(int(context.params["calibration_rows"]), len(context.train))
    chosen = np.random.default_rng(context.seed).choice(len(context.train), rows, replace=False)
    x = np.ascontiguousarray(context.train.x[np.sort(chosen)])
    return x, {"calibration_rows": rows, "calibration_sha256": hashlib.sha256(x.tobytes()).hexdigest()}
