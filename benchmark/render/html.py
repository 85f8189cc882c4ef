"""The report of a run: one folder of pages that need no network, made from the same sections as the other formats.

Plots are drawn by Plotly (plotly.js, MIT licence), which lies beside the pages; tables are complete without any script.
"""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import plotly  # type: ignore[import-untyped]  # it ships no types
from markupsafe import Markup

from benchmark.folders import Layout
from benchmark.leaderboard import Entry, Row, Table, is_control
from benchmark.measure import quality
from benchmark.plan import Cell, stored_cells
from benchmark.render.content import document
from benchmark.render.latex import slug
from benchmark.render.style import DASH, Grid, Style, bounded, named, number, score_decimals
from benchmark.store import Store
from benchmark.suite import REFERENCE

_HERE = Path(__file__).parent / "report"
_ASSETS = ("style.css", "theme.js", "report.js")
_FLIPS = 200  # rows shown
_LOG_LINES = 30
_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
)  # Okabe and Ito 2008: told apart by the colour-blind
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")


def write_report(
    store: Store, rows: Sequence[Row], tables: Sequence[Table], suite: Mapping[str, Any], layout: Layout, folder: Path
) -> None:
    """Writes the pages into the new ``folder``, which stands beside ``artifacts/`` once it is in place."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    (folder / "assets").mkdir(parents=True)
    (folder / "cells").mkdir()
    for name in _ASSETS:
        shutil.copyfile(_HERE / name, folder / "assets" / name)
    shutil.copyfile(Path(plotly.__file__).parent / "package_data" / "plotly.min.js", folder / "assets" / "plotly.min.js")
    pages = {_key(row): f"cells/{i:05d}-{slug(row['recipe'])[:40]}.html" for i, row in enumerate(rows)}
    index = templates.get_template("index.html").render(
        up="",
        title=f"PocketBench: suite {suite['name']}",
        sections=list(_sections(tables, rows, suite, pages)),
        cells=[_in_list(row, pages[_key(row)]) for row in rows],
        outcomes=sorted({row["outcome"] for row in rows}),
    )
    (folder / "index.html").write_text(index, encoding="utf-8")
    cell_page = templates.get_template("cell.html")
    for cell, row in zip(stored_cells(store), rows, strict=True):
        page = cell_page.render(up="../", title=cell.label, row=row, **_cell(cell, row, store, layout))
        (folder / pages[_key(row)]).write_text(page, encoding="utf-8")


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("task", "fold", "backend", "architecture", "recipe", "runtime", "seed"))


# The tables


@dataclass(frozen=True)
class _Part:
    """A part of a section, as the template takes it. ``links``: of each line of a table the page of its first cell."""

    kind: str
    value: Any
    id: int = 0
    links: Sequence[str] = ()
    label: str = ""


def _sections(
    tables: Sequence[Table], rows: Sequence[Row], suite: Mapping[str, Any], pages: Mapping[tuple[Any, ...], str]
) -> Iterator[dict[str, Any]]:
    style = Style(name=lambda text: " ".join(text.split()), text=str)  # the templates escape
    fronts = {table.task: table for table in tables}
    count = 0
    for section in document(tables, rows, suite, style):
        parts = list[_Part]()
        for part in section.parts:
            count += 1
            if isinstance(part, Grid):
                table = fronts.get(section.title)
                if table and part.refs:
                    for kind, front in _fronts(table, pages):
                        parts.append(_Part("plot", _json(front), 1000 + count * 10 + len(parts), label=kind))
                parts.append(_Part("grid", part, count, [pages[ref] for ref in part.refs]))
            else:
                parts.append(_Part("text" if isinstance(part, str) else "list", part))
        yield {"title": section.title, "parts": parts}


def _json(value: Any) -> Markup:
    """JSON inside an element: what could end it is written as an escape."""
    return Markup(json.dumps(value, allow_nan=False).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _fronts(table: Table, pages: Mapping[tuple[Any, ...], str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a score costs: in bytes, and in time."""
    for column, title in (("artifact_bytes", "artifact bytes ↓"), ("latency_p90_us", "p90 latency, µs ↓")):
        if any(entry.median(column) and entry.score is not None for entry in table.entries):
            label = f"{table.metric} ↑ against {title}, with 95 % intervals, on a logarithmic axis; filled: references"
            yield label, _front(table, column, title, pages)


def _front(table: Table, column: str, title: str, pages: Mapping[tuple[Any, ...], str]) -> dict[str, Any]:
    known = [entry for entry in table.entries if entry.score is not None and entry.median(column)]
    digits, traces = score_decimals(table.scores()), list[dict[str, Any]]()
    for i, backend in enumerate(sorted({entry.rows[0]["backend"] for entry in known})):
        mine = [entry for entry in known if entry.rows[0]["backend"] == backend]
        trace: dict[str, Any] = {
            "type": "scatter",
            "mode": "markers",
            "name": html.escape(backend),
            "x": [entry.median(column) for entry in mine],
            "y": [entry.score for entry in mine],
            "error_y": {"type": "data", "symmetric": False, "thickness": 1, "width": 0, **_errors(mine)},
            "marker": {
                "size": 10,
                "symbol": [_symbol(i, entry) for entry in mine],
                "color": _COLOURS[i % len(_COLOURS)],
                "line": {"width": 2},
            },
            "text": [_hover(entry, digits) for entry in mine],
            "hovertemplate": "%{text}<extra></extra>",
            "customdata": [pages[_key(entry.rows[0])] for entry in mine],
        }
        traces.append(trace)
    for name, dash, members in _lines(known, column):
        ordered = sorted(members, key=lambda one: one.median(column) or 0.0)
        if len(ordered) > 1:
            points = {"x": [entry.median(column) for entry in ordered], "y": [entry.score for entry in ordered]}
            line = {"dash": dash, "color": "#888"}
            traces.append({"type": "scatter", "mode": "lines", "name": name, "line": line, "hoverinfo": "skip", **points})
    axes = {"xaxis": {"type": "log", "title": {"text": title}}, "yaxis": {"title": {"text": f"{table.metric} ↑"}}}
    return {"data": traces, "layout": axes}


def _symbol(place: int, entry: Entry) -> str:
    """By back end; filled for references."""
    return _SYMBOLS[place % len(_SYMBOLS)] + ("" if entry.rows[0]["recipe"] == REFERENCE else "-open")


def _lines(known: Sequence[Entry], column: str) -> Iterator[tuple[str, str, list[Entry]]]:
    """What is joined: the front that is chosen from, and each network with what is trained smaller from scratch."""
    if column == "artifact_bytes":
        yield "on the front by validation", "dot", [entry for entry in known if "bytes" in entry.fronts]
    controlled = {_network(entry) for entry in known if is_control(entry.rows[0]["recipe"])}
    for network in sorted(controlled):
        mine = [entry for entry in known if _network(entry) == network]
        joined = [one for one in mine if one.rows[0]["recipe"] == REFERENCE or is_control(one.rows[0]["recipe"])]
        yield html.escape(f"{' '.join(network[:2])}, narrower"), "dash", joined


def _network(entry: Entry) -> tuple[str, str, str]:
    first = entry.rows[0]
    return first["backend"], first["architecture"], first["runtime"]


def _errors(entries: Sequence[Entry]) -> dict[str, Any]:
    ends = [(entry.score or 0.0, entry.interval) for entry in entries]
    return {
        "array": [one.high - score if one else 0.0 for score, one in ends],
        "arrayminus": [score - one.low if one else 0.0 for score, one in ends],
    }


def _hover(entry: Entry, digits: int) -> str:
    interval = entry.interval
    score = bounded(entry.score, interval.low if interval else None, interval.high if interval else None, digits)
    p90 = number(entry.median("latency_p90_us"), ".1f")
    costs = f"{number(entry.median('artifact_bytes'), ',.0f')} bytes, p90 {p90} µs"
    return "<br>".join(
        map(html.escape, (named(entry.rows[0], runtime=False), f"score {score}, rank {entry.rank or DASH}", costs))
    )


def _in_list(row: Row, page: str) -> dict[str, Any]:
    shown = {
        name: row[name] for name in ("task", "backend", "architecture", "recipe", "runtime", "seed", "fold", "outcome", "reason")
    }
    return shown | {
        "page": page,
        "score": number(row["score"], ".4f"),
        "bytes": number(row["artifact_bytes"], ",.0f"),
        "p90": number(row["latency_p90_us"], ".1f"),
    }


# A cell


def _cell(cell: Cell, row: Row, store: Store, layout: Layout) -> dict[str, Any]:
    results = store.results(dict.fromkeys((*(id_ for _, id_ in cell.chain), cell.evaluate))) if not cell.skipped else {}
    steps = [
        {"label": one.label, "outcome": one.outcome, "seconds": f"{one.seconds:.1f}", "reason": one.reason}
        for one in results.values()
    ]
    return {
        "steps": steps,
        "files": list(_files(row, layout)),
        "curve": _curve({one.label: layout.step(id_) / "curve.csv" for id_, one in results.items()}),
        "groups": list(_groups(row)),
        "flips": _flips(cell, row, store),
        "limits": [
            {"name": name, "mechanism": one["mechanism"], "limit": _amount(one["limit"]), "observed": _amount(one["observed"])}
            for name, one in (row["limits"] or {}).items()
        ],
        "logs": [log for id_, one in results.items() if (log := _log(one.label, layout.step(id_) / "log.txt"))],
        "columns": [(name, _value(value)) for name, value in row.items() if value is not None],
    }


def _files(row: Row, layout: Layout) -> Iterator[dict[str, Any]]:
    folder = layout.artifact(row["artifact"] or "-")
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        name = path.relative_to(folder).as_posix()
        yield {"name": name, "href": f"../../artifacts/{folder.name}/{name}", "bytes": f"{path.stat().st_size:,}"}


def _curve(paths: Mapping[str, Path]) -> Markup | None:
    traces = []
    for label, path in paths.items():
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                points = [
                    (float(one["step"]), float(one["score"]))
                    for one in csv.DictReader(file)
                    if one.get("score") not in (None, "", "nan")
                ]
            if points:
                x, y = zip(*points, strict=True)
                traces.append({"type": "scatter", "mode": "lines+markers", "name": html.escape(label), "x": x, "y": y})
    axes = {"xaxis": {"title": {"text": "updates"}}, "yaxis": {"title": {"text": "validation score ↑"}}}
    return _json({"data": traces, "layout": axes}) if traces else None


def _groups(row: Row) -> Iterator[dict[str, Any]]:
    for column, found in (row["groups"] or {}).items():
        for name, group in found["groups"].items():
            yield {
                "column": column,
                "name": name,
                "n": group["n"],
                "score": bounded(group["score"], group["low"], group["high"], 3),
            }


def _flips(cell: Cell, row: Row, store: Store) -> dict[str, Any] | None:
    if row["flips"] is None or cell.evaluate == cell.reference_evaluate:
        return None
    classes = store.results([cell.prepare])[cell.prepare].facts["classes"]
    own, reference = (quality.labels(store.array(id_, "test")) for id_ in (cell.evaluate, cell.reference_evaluate))
    y, other = store.array(cell.prepare, "test_y"), [int(i) for i in (own != reference).nonzero()[0]]
    shown = [(i, classes[y[i]], classes[reference[i]], classes[own[i]]) for i in other[:_FLIPS]]
    return {"count": len(other), "rows": len(y), "shown": shown} if other else None


def _log(label: str, path: Path) -> dict[str, str] | None:
    if not path.exists():
        return None
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", path.read_text(encoding="utf-8", errors="replace"))  # colours of terminals
    lines = text.splitlines()[-_LOG_LINES:]
    return {"label": label, "text": "\n".join(lines)} if lines else None


def _amount(value: Any) -> str:
    return (
        DASH
        if value is None
        else f"{value:,.6g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
