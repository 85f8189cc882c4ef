"""What steps left in their folders, for people. A job could write there: nothing is followed, waited for or believed."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path

from benchmark.folders import read_own

TRAINED_FOR = "updates, or settings tried"
"""What the axis along a curve counts."""
_MOST = 16 * 1024**2  # bytes of a file that is read
_POINTS = 1000  # of a curve
_LINES = 30  # of a log
_WIDTH = 500  # characters of such a line
_COLOURS_OF_TERMINALS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def read_curve(path: Path) -> list[tuple[float, float]]:
    """(updates, validation score) of the points of a ``curve.csv`` that have a score, at most :data:`_POINTS` and the last; none
    where the file cannot be read as one."""
    try:
        lines = csv.DictReader(io.StringIO(read_own(path, _MOST).decode(), newline=""))
        points = [(float(one["step"]), float(one["score"])) for one in lines if one.get("score")]
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return []
    finite = [point for point in points if all(map(math.isfinite, point))]
    return finite[:: -(-len(finite) // _POINTS)] + finite[-1:] if len(finite) > _POINTS else finite


def log_tail(path: Path) -> str:
    """The last lines of a log, without control characters; empty where it cannot be read."""
    try:
        text = read_own(path, _MOST).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""
    lines = _COLOURS_OF_TERMINALS.sub("", text).splitlines()[-_LINES:]
    return "\n".join("".join(one if one.isprintable() or one == "\t" else "?" for one in line[:_WIDTH]) for line in lines)
