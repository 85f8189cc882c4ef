"""Rows as CSV and JSON: unrounded, strict, UTF-8."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmark.leaderboard import COLUMNS, Row


def to_json(rows: Sequence[Row]) -> str:
    """An array of objects, one a line. Undefined values are null. Raises ValueError naming the column for NaN and infinity."""
    lines = [", ".join(f"{json.dumps(column)}: {_json(column, value)}" for column, value in row.items()) for row in rows]
    return "[\n" + ",\n".join(f"{{{line}}}" for line in lines) + "\n]\n"


def to_csv(rows: Sequence[Row]) -> str:
    """A header and one line a row. Undefined values are empty; lists and mappings are JSON; read names as text (pandas:
    ``keep_default_na=False``), since a recipe may be called ``None``. Raises as :func:`to_json`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_field(column, row[column]) for column in COLUMNS] for row in rows)
    return out.getvalue()


def _field(column: str, value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _json(column, value)


def _json(column: str, value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, default=_plain)
    except ValueError:
        raise ValueError(f"column {column}: {value!r} is or holds NaN or infinity, which strict JSON does not have") from None


def _plain(value: Any) -> Any:
    """What json does not know: a numpy scalar is the number that it holds."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON")
