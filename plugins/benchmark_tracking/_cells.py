"""What of a cell every tracker keeps: numbers, settings, texts, curves, and when it ended."""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from benchmark import FinishedCell

SETTINGS = ("suite", "task", "fold", "backend", "architecture", "recipe", "runtime", "seed")
"""The columns that tell cells apart."""


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Columns that are measured numbers, and each of the task's metrics as ``metrics/NAME``."""
    named = {name: value for name, value in row.items() if name not in SETTINGS}
    named |= {f"metrics/{name}": value for name, value in (row["metrics"] or {}).items()}
    return {name: float(value) for name, value in named.items() if isinstance(value, bool | int | float)}


def settings(cell: FinishedCell) -> dict[str, str | int]:
    """The values of :data:`SETTINGS`."""
    return {name: getattr(cell, name) for name in SETTINGS}


def identity(cell: FinishedCell) -> str:
    """16 characters that are the same whenever a tracker is told of this cell, whatever its row is."""
    return hashlib.sha256(f"{cell.suite}: {cell.label}".encode()).hexdigest()[:16]


def texts(row: Mapping[str, Any]) -> dict[str, str]:
    """All other columns that have a value, among them the outcome and its reason; lists and mappings as JSON."""
    rest = {name: value for name, value in row.items() if name not in SETTINGS and not isinstance(value, bool | int | float)}
    return {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in rest.items() if value not in (None, "")
    }


def ended(row: Mapping[str, Any]) -> float:
    """When the cell ended, in seconds since 1970; of one that never ran, now."""
    at = row["finished_utc"]
    return datetime.fromisoformat(at).timestamp() if at else time.time()


def curves(cell: FinishedCell) -> Iterator[tuple[str, list[tuple[int, dict[str, float]]]]]:
    """(name, points) of each step's curve, a point being what it counts and its numbers. A pass that stands twice in a recipe has
    its place behind its name."""
    names = [name for name, _ in cell.curves]
    for place, (name, path) in enumerate(cell.curves, start=1):
        with path.open(newline="", encoding="utf-8") as file:
            points = [
                (int(line.pop("step")), {key: float(value) for key, value in line.items()}) for line in csv.DictReader(file)
            ]
        yield (name if names.count(name) == 1 else f"{name} {place}"), points
