"""Rows as CSV and JSON: unrounded, strict, UTF-8."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmark.budget import LIMITS
from benchmark.leaderboard import COLUMNS, Entry, Row, Searched, Table
from benchmark.overall import overall
from benchmark.plan import METHOD
from benchmark.search import chosen, tried
from benchmark.specs import DEVICE_COUNTS

_OF_SEARCH = ("suite", "task", "fold", "backend", "recipe", "runtime", "seed")
_MEASURED = tuple(limit.column for limit in LIMITS)
_PROPOSAL_COLUMNS = (
    *_OF_SEARCH,
    *("number", "model", "outcome", "reason", "search_score", "val_scores", "limits_broken"),
    *_MEASURED,
    *("charged", "spent", "artifact", "proposal"),
)


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


def proposals_to_csv(searches: Sequence[Searched]) -> str:
    """A header and one line a proposal of each search, in the order in which they were tried, unrounded. ``proposal`` is the
    whole of it as JSON; ``val_scores`` are those on each inner fold that it was tried on, the task's own rows first, and
    ``search_score`` is their mean; ``limits_broken`` names those of the device's limits that it breaks.
    Else as :func:`to_csv`."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _PROPOSAL_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for one in searches:
        place = {name: getattr(one.cell, name) for name in _OF_SEARCH}
        for number, entry in enumerate(one.log.entries, 1):
            beyond = [name for name, excess in tried(entry, one.tier).excess.items() if excess > 0]
            told = {name: getattr(entry, name) for name in ("outcome", "reason", "charged", "spent", "artifact")}
            values = {
                **place,
                **told,
                "number": number,
                "model": chosen(entry.proposal),
                "search_score": entry.score,
                "val_scores": " ".join(map(repr, entry.scores)),
                "limits_broken": " ".join(beyond),
                **{name: entry.measured.get(name) for name in _MEASURED},
                "proposal": entry.proposal.to_json(),
            }
            writer.writerow({column: _field(column, value) for column, value in values.items()})
    return out.getvalue()


def methods_to_csv(tables: Sequence[Table]) -> str:
    """A header and one line a method and task, in the tables' order: what the tables print, unrounded. Else as :func:`to_csv`."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _METHOD_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for entry in table.entries:
            writer.writerow({column: _field(column, value) for column, value in _method(table, entry).items()})
    return out.getvalue()


def methods_to_json(tables: Sequence[Table]) -> str:
    """The tables, unrounded: what is said of each task, its methods in order, and the order over tasks. Else as
    :func:`to_json`."""
    found = overall(tables)
    document = {
        "tasks": [
            {
                "task": table.task,
                "metric": table.metric,
                "margin": table.margin,
                "unit": table.unit,
                "units": table.units,
                "evaluations": table.evaluations,
                "folds": table.folds,
                "resolution": table.resolution,
                "baselines": dict(table.baselines),
                "methods": [_method(table, entry) for entry in table.entries],
            }
            for table in tables
        ],
        "overall": [
            {
                **one.name._asdict(),
                "backends": one.backends,
                "place": one.place,
                "mean": one.mean,
                "imputed": one.imputed,
                "coverage": one.cells,
                "spread": one.spread,
                "scores": dict(one.scores),
                "against": [{**other._asdict(), "wins_ties_losses": record} for other, record in one.record.items()],
            }
            for one in found.standings
        ]
        if found
        else [],
    }
    return _json("leaderboard", document) + "\n"


_MEDIANS = (
    *("artifact_bytes", "size_ratio", "macs", "rss_bytes", "latency_p50_us", "latency_p90_us", "latency_ratio", "floor_us"),
    *DEVICE_COUNTS,
)
_METHOD_COLUMNS = (
    *("task", "rank", "backend", "architecture", "recipe", "runtime", "seeds", "folds", "score", "score_low", "score_high"),
    *("reference_difference", "reference_difference_low", "reference_difference_high", "reference_verdict"),
    *("control", "control_difference", "control_difference_low", "control_difference_high", "control_verdict"),
    *(
        "val_score",
        "flips",
        "label_agreement",
        *_MEDIANS,
        "latency_ratio_low",
        "latency_ratio_high",
        "device_bytes",
        "noisy",
        "fronts",
        "tiers",
    ),
)


def _method(table: Table, entry: Entry) -> dict[str, Any]:
    first = entry.rows[0]
    single = first if len(entry.rows) == 1 else {}  # of several files neither the ends of their intervals have a mean
    differences: dict[str, Any] = {}
    for name, one in (("reference", entry.reference), ("control", entry.control)):
        differences |= {f"{name}_difference{end}": value for end, value in (one.columns() if one else {}).items()}
        differences[f"{name}_verdict"] = one.verdict if one else None
    values = {
        "task": table.task,
        **{name: first[name] for name in METHOD},
        "rank": entry.rank,
        "seeds": sorted({row["seed"] for row in entry.rows}),
        "folds": sorted({row["fold"] for row in entry.rows}),
        "score": entry.score,
        "score_low": entry.interval.low if entry.interval else None,
        "score_high": entry.interval.high if entry.interval else None,
        **differences,
        "control": first["control"] if entry.control else None,
        "val_score": entry.mean("val_score"),
        "flips": entry.mean("flips"),
        "label_agreement": entry.mean("label_agreement"),
        **{name: entry.median(name) for name in _MEDIANS},
        **{f"latency_ratio_{end}": single.get(f"latency_ratio_{end}") for end in ("low", "high")},
        "device_bytes": entry.device_bytes,
        "noisy": any(row["noisy"] for row in entry.rows),
        "fronts": entry.fronts,
        "tiers": entry.tiers,
    }
    return {column: values.get(column) for column in _METHOD_COLUMNS}


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
