"""Rows as CSV and JSON: unrounded, strict, UTF-8."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from benchmark.leaderboard import COLUMNS, Row


def to_json(rows: Sequence[Row]) -> str:
    """An array of objects, one a line. Undefined values are null; NaN and infinity are refused with a ValueError."""
    lines = [json.dumps(row, allow_nan=False, ensure_ascii=False) for row in rows]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def to_csv(rows: Sequence[Row]) -> str:
    """A header and one line a row. Undefined values are empty; lists and mappings are JSON; read names as text (pandas:
    ``keep_default_na=False``), since a recipe may be called ``None``."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_field(row[column]) for column in COLUMNS] for row in rows)
    return out.getvalue()


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
