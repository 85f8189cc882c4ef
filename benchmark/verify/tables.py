"""Rows and tables, compared as texts with those that a store gives."""

from __future__ import annotations

import csv
import io
import itertools
import json
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any

from benchmark import folders
from benchmark.errors import UserError, one_line
from benchmark.folders import Layout
from benchmark.leaderboard import COLUMNS, Row
from benchmark.plan import PLACE
from benchmark.render.child import FILES, render
from benchmark.verify.findings import SHOWN, Findings, count, leaves

_MOST_BYTES = 256 * 1024**2
_STAMPED = "by its stamp it was made by another version of the code, or from another state of the store"
_ALIKE = ("outcome", "metric", "metrics", "val_score", "score", "flips", "artifact_bytes", "artifact", "data_fingerprint")
"""Columns that every version makes alike."""


def check_tables(layout: Layout, clean: Path, findings: Findings) -> None:
    """Rows and tables against those that the store in ``clean`` gives."""
    findings.tell("rows and tables: made again")
    said = io.StringIO()
    try:
        with redirect_stderr(said):  # where the child ends by what it found, by an exception
            render(clean)
    except (UserError, subprocess.CalledProcessError) as error:
        why = (said.getvalue().strip() or str(error)).splitlines()[-1]
        findings.differ(f"rows and tables: none can be made from store.sqlite: {why}")
        return
    expected = records((clean / "rows.json").read_text(encoding="utf-8"), "rows.json")
    stamps = []
    for root in (layout.root, clean):
        with suppress(OSError, ValueError):
            stamps.append(folders.read_own(root / ".rendered", _MOST_BYTES))
    # The stamp is of the store and the code that tables were made from. It can be forged: what it excuses is not verified.
    other = len(stamps) == 2 and stamps[0] != stamps[1]
    check_rows(layout, expected, ("rows.json", "rows.csv"), other, findings)
    for name in FILES:
        if name not in ("rows.json", "rows.csv"):
            _table(layout, name, (clean / name).read_bytes(), other, findings)
    findings.did("rows and tables made again from the store")


def _table(layout: Layout, name: str, expected: bytes, other: bool, findings: Findings) -> None:
    try:
        stands = folders.read_own(layout.root / name, _MOST_BYTES)
    except (OSError, ValueError) as error:
        findings.cannot(f"{name}: {getattr(error, 'strerror', None) or error}")
        return
    if stands == expected:
        return
    pairs = list(
        itertools.zip_longest(*(text.decode("utf-8", "replace").splitlines() for text in (stands, expected)), fillvalue="")
    )
    wrong = [number for number, (one, two) in enumerate(pairs, 1) if one != two]
    if not wrong:
        findings.differ(f"{name}: its line ends are not those that were written")
        return
    alike = sum(1 for _ in itertools.takewhile(lambda two: two[0] == two[1], zip(*pairs[wrong[0] - 1], strict=False)))
    begin = max(0, alike - SHOWN // 3)
    stood, found = (repr(text[begin : begin + SHOWN]) for text in pairs[wrong[0] - 1])
    more = f" (and {count(len(wrong) - 1, 'more line')})" if len(wrong) > 1 else ""
    line = f"{name}, line {wrong[0]}{more}: {stood} stands there, {found} was found"
    if other and not findings.differences:
        findings.cannot(f"{line}; {_STAMPED}")
    else:
        findings.differ(line)


def check_rows(layout: Layout, expected: Sequence[Row], names: Sequence[str], other: bool, findings: Findings) -> None:
    """Rows as these files have them. ``other``: see :func:`compare_rows`."""
    for name in names:
        try:
            found = records(read_text(layout, name), name)
        except FileNotFoundError:
            findings.cannot(f"{name}: it is not there")
        except (OSError, ValueError, RecursionError, csv.Error) as error:
            findings.differ(f"{name}: cannot be read: {one_line(str(error))}")
        else:
            with findings.guarded(name):
                compare_rows(name, found, expected, other, findings)


def compare_rows(name: str, found: Sequence[Row], expected: Sequence[Row], other: bool, findings: Findings) -> None:
    """``other``: another version made them, which may have had other columns and statistics."""
    of_version: dict[str, None] = {}
    columns = dict.fromkeys(column for row in found for column in row)
    for column in columns:
        if column not in COLUMNS and other:
            of_version[column] = None
        elif column not in COLUMNS:
            findings.differ(f"{name}: column {column!r} is none of ours")
    for column in COLUMNS:
        if column not in columns and found and other:
            of_version[column] = None
        elif column not in columns and found:
            findings.differ(f"{name}: column {column!r} is missing")
    by_place: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in found:
        by_place[_of_row(row)].append(row)
    known = {_of_row(row): row for row in expected}
    for place, row in known.items():
        if place not in by_place:
            findings.differ(f"{_label(row)}: its row is missing in {name}")
    for place, rows in by_place.items():
        if place not in known:
            findings.differ(f"{_label(rows[0])}: this row in {name} is of no cell of the store")
            continue
        if len(rows) > 1:
            findings.differ(f"{_label(rows[0])}: {len(rows)} rows in {name}")
        for column in COLUMNS:
            for row in rows:
                for path, stands, right in leaves(_plain(row.get(column)), _plain(known[place][column])):
                    if column in row and other and column not in _ALIKE:
                        of_version[column] = None
                    elif column in row:
                        findings.changed(_label(known[place]), f"{column}{path} in {name}", stands, right)
    if of_version:
        findings.cannot(f"{name}: {', '.join(of_version)} are not as this version makes them of the store; {_STAMPED}")


def read_text(layout: Layout, name: str) -> str:
    """A text file of the folder. Raises OSError and ValueError."""
    return folders.read_own(layout.root / name, _MOST_BYTES).decode("utf-8")


def records(text: str, name: str) -> list[Row]:
    """The rows of rows.json or rows.csv, whose values are texts. Raises ValueError."""
    records = json.loads(text) if name.endswith(".json") else _csv(text)
    if not isinstance(records, list) or not all(isinstance(one, dict) for one in records):
        raise ValueError("it holds no rows")
    return records


def _csv(text: str) -> list[Row]:
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    if any(len(row) != len(rows[0]) for row in rows):
        raise ValueError("its lines have different numbers of fields")
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def _plain(value: Any) -> Any:
    """A value of rows.json, or what a field of rows.csv says."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value or None


def _of_row(row: Row) -> tuple[str, ...]:
    return tuple(str(row.get(name)) for name in PLACE)


def _label(row: Row) -> str:
    task, fold, backend, architecture, recipe, runtime, seed = _of_row(row)
    parts = (task, f"fold {fold}", backend, architecture, recipe, runtime, f"seed {seed}")
    return " · ".join(part for part in parts if part)
