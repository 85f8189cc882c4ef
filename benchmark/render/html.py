"""The report of a run: one folder of pages that need no network, made from the same sections as the other formats.

Plots are drawn by Plotly (plotly.js, MIT licence), which lies beside the pages; tables are complete without any script.
"""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import plotly  # type: ignore[import-untyped]  # it ships no types
from markupsafe import Markup

from benchmark.budget import DeviceTier
from benchmark.folders import Layout
from benchmark.leaderboard import (
    CONTROL,
    PROVENANCE,
    Difference,
    Entry,
    Row,
    Searched,
    Table,
    is_control,
    searched,
    tested,
)
from benchmark.measure import quality
from benchmark.plan import PLACE, Cell, ended_well, stored_cells
from benchmark.recommend import answer
from benchmark.render import answers
from benchmark.render.content import chosen_title, document
from benchmark.render.curves import TRAINED_FOR, log_tail, read_curve
from benchmark.render.latex import slug
from benchmark.render.style import COLOURS, DASH, Grid, Style, bounded, named, number, score_decimals
from benchmark.search import Entry as Proposed
from benchmark.search import chosen, rounded, tried, winner
from benchmark.store import Store
from benchmark.suite import REFERENCE

_HERE = Path(__file__).parent / "report"
_ASSETS = ("style.css", "theme.js", "report.js")
_FLIPS = 200  # rows shown
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
        page = cell_page.render(up="../", title=cell.label, row=row, **_cell(cell, row, store, layout, suite))
        (folder / pages[_key(row)]).write_text(page, encoding="utf-8")


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in PLACE)


# The tables


@dataclass(frozen=True)
class _Part:
    """A part of a section, as the template takes it, ``id`` being its own on the page. ``links``: of each line of a table the
    page that its column ``key`` leads to, "" for none. ``values``: of each line and column the unrounded number that it is sorted
    by; None where that is what it shows."""

    kind: str
    value: Any
    id: int
    links: Sequence[str] = ()
    key: int = 0
    values: Sequence[Sequence[float | None]] = ()
    label: str = ""


def _mean(name: str) -> Callable[[Entry], float | None]:
    return lambda entry: entry.mean(name)


def _median(name: str) -> Callable[[Entry], float | None]:
    return lambda entry: entry.median(name)


def _apart(found: Difference | None) -> float | None:
    return found.mean if found else None


_UNROUNDED: Mapping[str, Callable[[Entry], float | None]] = {
    "score": lambda entry: entry.score,
    "− reference": lambda entry: _apart(entry.reference),
    f"− {CONTROL}": lambda entry: _apart(entry.control),
    "val": _mean("val_score"),
    "flips %": _mean("flips"),
    "bytes": _median("artifact_bytes"),
    "size ÷": _median("size_ratio"),
    "MACs": _median("macs"),
    "device bytes": lambda entry: entry.device_bytes,
    "RSS MB": _median("rss_bytes"),
    "p50 µs": _median("latency_p50_us"),
    "p90 µs": _median("latency_p90_us"),
    "time ×": _median("latency_ratio"),
    "proposals": _mean("n_proposals"),
    "search s": _mean("search_seconds"),
    "cv": _mean("search_score"),
}
"""What the columns of the tables of methods are sorted by, by their headers without the arrow and what follows it."""


def _sections(
    tables: Sequence[Table], rows: Sequence[Row], suite: Mapping[str, Any], pages: Mapping[tuple[Any, ...], str]
) -> Iterator[dict[str, Any]]:
    style = Style(name=lambda text: " ".join(text.split()), text=str)  # the templates escape
    tiers = [DeviceTier(**tier) for tier in suite["tiers"]]
    ship = answers.section(tables, rows, tiers, style).title
    of_task = {table.task: table for table in tables}
    entries = {_key(entry.rows[0]): entry for table in tables for entry in table.entries}
    single = {_key(row): Entry((row,)) for row in rows}
    of_searches = {chosen_title(table.task, style) for table in tables}
    count = 0
    for section in document(tables, rows, suite, style):
        parts = list[_Part]()
        for part in section.parts:
            if isinstance(part, Grid) and part.refs and section.title in of_task:
                for label, front in _fronts(of_task[section.title], pages):
                    parts.append(_Part("plot", _json(front), count := count + 1, label=label))
            count += 1
            if isinstance(part, Grid) and part.refs:
                known = single if section.title in of_searches else entries
                values = [_unrounded(part.headers, known[ref]) for ref in part.refs]
                parts.append(_Part("grid", part, count, [pages[ref] for ref in part.refs], part.key, values))
            elif isinstance(part, Grid):
                links = _shipped(tables, rows, tiers, pages) if section.title == ship else []
                parts.append(_Part("grid", part, count, links, 2))
            else:
                parts.append(_Part("text" if isinstance(part, str) else "list", part, count))
        yield {"title": section.title, "parts": parts}


def _unrounded(headers: Sequence[str], entry: Entry) -> list[float | None]:
    names = [header.partition(" ↑")[0].partition(" ↓")[0] for header in headers]
    return [_UNROUNDED[name](entry) if name in _UNROUNDED else None for name in names]


def _shipped(
    tables: Sequence[Table], rows: Sequence[Row], tiers: Sequence[DeviceTier], pages: Mapping[tuple[Any, ...], str]
) -> list[str]:
    """For each task and device the page of the file to ship, "" where nothing fits."""
    bests = [
        answer(table.task, [row for row in rows if row["task"] == table.task], tier).best for table in tables for tier in tiers
    ]
    return [pages[_key(best.to_ship)] if best else "" for best in bests]


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
    runtimes = len({entry.rows[0]["runtime"] for entry in known}) > 1
    digits, traces = score_decimals(table.scores()), list(_lines(known, column, runtimes))  # lines lie below points
    for i, backend in enumerate(_backends(known)):
        mine = [entry for entry in known if entry.rows[0]["backend"] == backend]
        colour = COLOURS[i % len(COLOURS)]
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
                "color": colour,
                "line": {"width": 2, "color": colour},
            },
            "text": [_hover(entry, digits, runtimes) for entry in mine],
            "hovertemplate": "%{text}<extra></extra>",
            "customdata": [pages[_key(entry.rows[0])] for entry in mine],
        }
        traces.append(trace)
    axes = {"xaxis": {"type": "log", "title": {"text": title}}, "yaxis": {"title": {"text": f"{table.metric} ↑"}}}
    return {"data": traces, "layout": axes}


def _backends(entries: Sequence[Entry]) -> list[str]:
    return sorted({entry.rows[0]["backend"] for entry in entries})


def _symbol(place: int, entry: Entry) -> str:
    """By back end; filled for references."""
    return _SYMBOLS[place % len(_SYMBOLS)] + ("" if entry.rows[0]["recipe"] == REFERENCE else "-open")


def _lines(known: Sequence[Entry], column: str, runtimes: bool) -> Iterator[dict[str, Any]]:
    """What is joined: the front that is chosen from, as a step for what a limit of bytes buys, and each network with what is
    trained smaller from scratch."""
    if column == "artifact_bytes":
        members = [entry for entry in known if "bytes" in entry.fronts]
        yield from _line("on the front by validation", {"shape": "hv", "dash": "dot", "color": "#888"}, members, column)
    controlled = {_network(entry) for entry in known if is_control(entry.rows[0]["recipe"])}
    for network in sorted(controlled):
        mine = [entry for entry in known if _network(entry) == network]
        joined = [one for one in mine if one.rows[0]["recipe"] == REFERENCE or is_control(one.rows[0]["recipe"])]
        colour = COLOURS[_backends(known).index(network[0]) % len(COLOURS)]
        where = f" on {network[2]}" if runtimes else ""
        line = {"dash": "dash", "color": colour}
        yield from _line(html.escape(f"{' '.join(filter(None, network[:2]))}{where}, narrower"), line, joined, column)


def _line(name: str, line: Mapping[str, str], members: Sequence[Entry], column: str) -> Iterator[dict[str, Any]]:
    ordered = sorted(members, key=lambda one: one.median(column) or 0.0)
    if len(ordered) > 1:
        points = {"x": [entry.median(column) for entry in ordered], "y": [entry.score for entry in ordered]}
        yield {"type": "scatter", "mode": "lines", "name": name, "line": line, "hoverinfo": "skip", "legendrank": 2000, **points}


def _network(entry: Entry) -> tuple[str, str, str]:
    first = entry.rows[0]
    return first["backend"], first["architecture"], first["runtime"]


def _errors(entries: Sequence[Entry]) -> dict[str, Any]:
    ends = [(entry.score or 0.0, entry.interval) for entry in entries]
    return {
        "array": [one.high - score if one else 0.0 for score, one in ends],
        "arrayminus": [score - one.low if one else 0.0 for score, one in ends],
    }


def _hover(entry: Entry, digits: int, runtimes: bool) -> str:
    interval = entry.interval
    score = bounded(entry.score, interval.low if interval else None, interval.high if interval else None, digits)
    p90 = number(entry.median("latency_p90_us"), ".1f")
    costs = f"{number(entry.median('artifact_bytes'), ',.0f')} bytes, p90 {p90} µs"
    return "<br>".join(
        map(html.escape, (named(entry.rows[0], runtime=runtimes), f"score {score}, rank {entry.rank or DASH}", costs))
    )


def _in_list(row: Row, page: str) -> dict[str, Any]:
    shown = {
        name: row[name] for name in ("task", "backend", "architecture", "recipe", "runtime", "seed", "fold", "outcome", "reason")
    }
    return shown | {
        "page": page,
        "numbers": [
            (row[name], number(row[name], form))
            for name, form in (("score", ".4f"), ("artifact_bytes", ",.0f"), ("latency_p90_us", ".1f"))
        ],
    }


# A cell


def _cell(cell: Cell, row: Row, store: Store, layout: Layout, suite: Mapping[str, Any]) -> dict[str, Any]:
    named_steps = _steps(cell)
    results = store.results(dict.fromkeys(id_ for _, id_ in named_steps))
    ended = [(name, results[id_]) for name, id_ in named_steps if id_ in results]
    curves = {one.id: (name, points) for name, one in ended if (points := read_curve(layout.step(one.id) / "curve.csv"))}
    built = {cell.prepare, cell.evaluate, *(id_ for _, id_ in (*cell.teachers, *cell.chain))}
    heard = [(name, one) for name, one in ended if one.id in built or one.outcome != "ok"]
    logs = {one.id: (name, text) for name, one in heard if (text := log_tail(layout.step(one.id) / "log.txt"))}
    return {
        "steps": [
            {"name": name, "outcome": one.outcome, "seconds": f"{one.seconds:.1f}", "reason": one.reason} for name, one in ended
        ],
        "search": _search(cell, store, suite),
        "files": list(_files(row, layout)),
        "curve": _curve(list(curves.values())),
        "bests": [f"{name}: best {max(y for _, y in points):.4f} of {len(points)}" for name, points in curves.values()],
        "groups": list(_groups(row)),
        "flips": _flips(cell, row, store),
        "limits": [
            {"name": name, "mechanism": one["mechanism"], "limit": _amount(one["limit"]), "observed": _amount(one["observed"])}
            for name, one in (row["limits"] or {}).items()
        ],
        "logs": list(logs.values()),
        "known": list(_known(row)),
    }


def _steps(cell: Cell) -> list[tuple[str, str]]:
    """(name, id) of the steps that the cell's outcome is made of, in their order."""
    steps = [("prepare", cell.prepare), *cell.teachers, *cell.chain, ("inspect", cell.inspect), ("evaluate", cell.evaluate)]
    steps += [*cell.anchors, *(("latency", id_) for id_ in cell.latency), ("memory", cell.memory)]
    steps += [("memory of the identity model", cell.floor_memory)]
    names = {id_: name for name, id_ in reversed(steps) if id_}  # a reference's steps are its own anchors too
    return [(name, id_) for name, id_ in steps if names.get(id_) == name]


def _search(cell: Cell, store: Store, suite: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the search of a cell tried, in its order; None where it has none that is over."""
    results = store.results([cell.search] if cell.search else [])
    if not ended_well(cell.search, results):
        return None
    search = searched(cell, results, suite)
    entries, won = search.log.entries, winner(search.log.entries, cell.chosen)
    crossed = any(len(entry.scores) > 1 for entry in entries)
    lines = [
        {
            "model": chosen(rounded(entry.proposal)),
            "ended": "chosen" if entry is won else _came_to(entry, search),
            "numbers": [
                number(entry.score, ".4f"),
                *([str(len(entry.scores))] if crossed else []),
                number(entry.measured.get("artifact_bytes"), ",.0f"),
                number(entry.spent, ",.1f"),
            ],
        }
        for entry in entries
    ]
    return {"headers": ["cv" if crossed else "val", *(["folds"] if crossed else []), "bytes", "at s"], "lines": lines}


def _came_to(entry: Proposed, search: Searched) -> str:
    if entry.outcome != "ok":
        return f"{entry.outcome} ({entry.reason})"
    beyond = [name for name, excess in tried(entry, search.tier).excess.items() if excess > 0]
    return f"beyond {', '.join(beyond)}" if beyond else ""


def _files(row: Row, layout: Layout) -> Iterator[dict[str, Any]]:
    if not row["artifact"]:
        return
    folder = layout.artifact(row["artifact"])
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        name = path.relative_to(folder).as_posix()
        yield {"name": name, "href": quote(f"../../artifacts/{folder.name}/{name}"), "bytes": f"{path.stat().st_size:,}"}


def _curve(curves: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> Markup | None:
    traces = []
    for i, (name, points) in enumerate(curves):
        look = {"line": {"color": COLOURS[i % len(COLOURS)]}, "marker": {"symbol": _SYMBOLS[i % len(_SYMBOLS)]}}
        x, y = zip(*points, strict=True)
        traces.append({"type": "scatter", "mode": "lines+markers", "name": html.escape(name), "x": x, "y": y, **look})
    axes = {"xaxis": {"title": {"text": TRAINED_FOR}}, "yaxis": {"title": {"text": "validation score ↑"}}}
    return _json({"data": traces, "layout": {**axes, "showlegend": True}}) if traces else None


def _groups(row: Row) -> Iterator[dict[str, Any]]:
    for column, found in (row["groups"] or {}).items():
        for name, group in found["groups"].items():
            score = bounded(group["score"], group["low"], group["high"], 3)
            yield {"column": column, "name": name, "n": f"{group['n']:,}", "score": score}
        yield {"column": column, "name": "largest gap", "n": "", "score": number(found["gap"], ".3f")}


def _flips(cell: Cell, row: Row, store: Store) -> dict[str, Any] | None:
    if row["flips"] is None or cell.evaluate == cell.reference_evaluate:
        return None
    classes = store.results([cell.prepare])[cell.prepare].facts["classes"]
    own, reference = (quality.labels(store.array(id_, "test")) for id_ in (cell.evaluate, cell.reference_evaluate))
    y, other = store.array(cell.prepare, "test_y"), [int(i) for i in (own != reference).nonzero()[0]]
    place = tested(cell, store)
    shown = [(int(place[i]), classes[y[place[i]]], classes[reference[i]], classes[own[i]]) for i in other[:_FLIPS]]
    return {"count": len(other), "rows": len(place), "shown": shown} if other else None


_APART = ("groups", "limits")  # they have tables of their own
_ORIGIN = (*PROVENANCE, "host_class", "cpu_flags", "artifact", "git_commit")


def _known(row: Row) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The columns of a row that have a value, with what mappings hold a line each: a title and (name, value) of each."""
    rest = [name for name in row if name not in (*_APART, *_ORIGIN, "metrics", "claims")]
    parts = {
        "Metrics on the test rows": row["metrics"] or {},
        "Claims of the passes": row["claims"] or {},
        "Columns of rows.csv": {name: row[name] for name in rest},
        "Provenance": {name: row[name] for name in _ORIGIN},
    }
    for title, values in parts.items():
        if lines := [line for name, value in values.items() for line in _flat(name, value)]:
            yield title, lines


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _flat(f"{name}: {key}", one)
    elif isinstance(value, list) and all(isinstance(one, str) for one in value):
        yield name, ", ".join(value)
    elif value not in (None, ""):
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _amount(value: Any) -> str:
    if isinstance(value, int | float):
        return number(value, ",.3g" if isinstance(value, float) and value < 100 else ",.6g" if isinstance(value, float) else ",")
    return DASH if value is None else str(value)
