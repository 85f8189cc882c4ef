"""Plots for a paper, PDF and SVG: score against bytes, latency, training, budgets and searches, a file each for every task.

Fonts are readable at the width of a column (84 mm). Back ends differ by marker, parts of a bar by hatching: colour carries
nothing alone. Equal results give equal files.
"""

from __future__ import annotations

import bisect
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.folders import Layout
from benchmark.leaderboard import Entry, Searched, Table, is_control, smallest_dense_int8
from benchmark.plan import Cell
from benchmark.render.curves import TRAINED_FOR, read_curve
from benchmark.render.latex import slug, unique
from benchmark.render.style import COLOURS, named
from benchmark.search import best_so_far
from benchmark.suite import REFERENCE
from benchmark.warm import SEARCHED

Curves: TypeAlias = Mapping[str, Sequence[tuple[float, float]]]
"""The name of a step that trains -> its (updates, validation score)."""
Steps: TypeAlias = Sequence[tuple[float, float]]
"""(seconds, validation score) where a curve of steps goes up, in the order of time."""

_STYLE: dict[Any, Any] = {
    "font.size": 7,
    "axes.titlesize": 7,
    "lines.linewidth": 0.8,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "pocketbench",
    "pdf.fonttype": 42,
    "text.parse_math": False,  # a name may hold $
    "hatch.linewidth": 0.5,
}
_WIDTH = 84 / 25.4  # inches
_LEGEND_LINE = 0.13  # inches
_LABEL = 44  # characters of a line below an axis
_MARKERS = ("o", "s", "D", "^", "X", "*")
_LINES = ("-", "--", "-.", ":")
_MOST = 30  # methods in a plot of bars
_THINNEST = 0.005  # share of a limit: less is no bar that can be seen


def write_plots(
    tables: Sequence[Table], cells: Sequence[Cell], layout: Layout, folder: Path, searches: Sequence[Searched] = ()
) -> list[Path]:
    """Writes ``<task>-<kind>.pdf`` and ``.svg`` into ``folder``; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with matplotlib.rc_context(_STYLE):
        for table, name in zip(tables, unique(slug(table.task) for table in tables), strict=True):
            curves = read_curves([cell for cell in cells if cell.task == table.task], layout)
            figures = {"front": front(table), "latency": latency(table), "training": training(curves), "budget": budget(table)}
            figures |= search_figures(table, [one for one in searches if one.cell.task == table.task])
            for kind, figure in figures.items():
                if figure is None:
                    continue
                for form, metadata in (("pdf", {"CreationDate": None}), ("svg", {"Date": None})):
                    path = folder / f"{name}-{kind}.{form}"
                    figure.savefig(path, metadata=metadata)
                    written.append(path)
    return written


def read_curves(cells: Sequence[Cell], layout: Layout) -> dict[str, list[tuple[float, float]]]:
    """The training curves of these cells, of the first seed and fold of each."""
    found: dict[str, list[tuple[float, float]]] = {}
    first = min(((cell.fold, cell.seed) for cell in cells), default=None)
    chains = [(cell, name, id_) for cell in cells if (cell.fold, cell.seed) == first for name, id_ in cell.chain]
    for cell, name, id_ in {id_: (cell, name, id_) for cell, name, id_ in reversed(chains)}.values():
        label = f"{cell.backend} {cell.architecture} {REFERENCE if name == 'train' else cell.recipe}"
        if cell.search:
            label = f"{cell.backend} {cell.recipe}: {name}"
        if points := read_curve(layout.step(id_) / "curve.csv"):
            found[label] = points
    return dict(sorted(found.items()))


def front(table: Table) -> Figure | None:
    """Score against bytes: references filled, the front by validation ringed, networks joined with what is trained narrower. What
    searches found is small, as it often is another method's file."""
    known = [entry for entry in table.entries if entry.score is not None and entry.median("artifact_bytes")]
    if not known:
        return None
    figure, axes = _axes(62)
    ringed = narrower = searched = False
    for i, backend in enumerate(sorted({entry.rows[0]["backend"] for entry in known})):
        colour, marker = COLOURS[i % len(COLOURS)], _MARKERS[i % len(_MARKERS)]
        mine = [entry for entry in known if entry.rows[0]["backend"] == backend]
        for entry in mine:
            x, y = _kib(entry), entry.score or 0.0
            filled = entry.rows[0]["recipe"] == REFERENCE
            if entry.interval:
                axes.plot([x, x], [entry.interval.low, entry.interval.high], color=colour, linewidth=0.5, zorder=1)
            if entry.rows[0]["architecture"] == SEARCHED:
                searched = True
                axes.plot(x, y, marker, color=colour, markersize=1.8, zorder=4)
            else:
                axes.plot(x, y, marker, color=colour, markerfacecolor=colour if filled else "white", markersize=4, zorder=3)
            if "bytes" in entry.fronts:
                ringed = True
                axes.plot(x, y, "o", color="black", markerfacecolor="none", markersize=8, markeredgewidth=0.6, zorder=2)
        axes.plot([], [], marker, color=colour, label=backend, markersize=4)
        for joined in _narrower(mine):
            points = sorted((_kib(entry), entry.score or 0.0) for entry in joined)
            axes.plot(*zip(*points, strict=True), color=colour, linestyle="--", linewidth=0.7, zorder=1)
            narrower = True
    if ringed:
        axes.plot([], [], "o", color="black", markerfacecolor="none", markersize=8, label="front by validation")
    if searched:
        axes.plot([], [], "o", color="black", markersize=1.8, label="found by a search")
    if narrower:
        axes.plot([], [], color="black", linestyle="--", label="trained narrower")
    if dense := smallest_dense_int8(table):
        axes.axvline(_kib(dense), color="black", linestyle=":", linewidth=0.8, label="smallest dense int8")
    low, high = axes.get_ylim()  # of the methods: a baseline far below them is said in the legend alone
    for name, score in table.baselines.items():
        below = "" if score >= low else f": {score:.2f}, below"
        axes.axhline(score, color="#777", linewidth=0.6, linestyle="-." if name == "trivial" else (0, (1, 3)), label=name + below)
    axes.set_ylim(low, high)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("artifact, KiB ↓")
    axes.set_ylabel(f"{table.metric} ↑")
    _legend(figure, axes)
    return figure


def _kib(entry: Entry) -> float:
    return (entry.median("artifact_bytes") or 0.0) / 1024


def _narrower(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    networks = dict.fromkeys((entry.rows[0]["architecture"], entry.rows[0]["runtime"]) for entry in entries)
    for network in networks:
        mine = [one for one in entries if (one.rows[0]["architecture"], one.rows[0]["runtime"]) == network]
        joined = [one for one in mine if one.rows[0]["recipe"] == REFERENCE or is_control(one.rows[0]["recipe"])]
        if len(joined) > 1:
            yield joined


def latency(table: Table) -> Figure | None:
    """The p50 of each method: the runtime's floor and what lies above it; a tick at p90."""
    known = [entry for entry in table.entries if entry.median("latency_p50_us")][:_MOST]
    if not known:
        return None
    figure, axes = _axes(20 + 5 * len(known))
    for place, entry in enumerate(known):
        p50, p90 = entry.median("latency_p50_us") or 0.0, entry.median("latency_p90_us")
        floor = min(entry.median("floor_us") or 0.0, p50)
        first = place == 0
        axes.barh(
            place,
            floor,
            color="#bbbbbb",
            edgecolor="black",
            hatch="////",
            linewidth=0.4,
            label="runtime's floor" if first else None,
        )
        axes.barh(
            place,
            p50 - floor,
            left=floor,
            color=COLOURS[0],
            edgecolor="black",
            linewidth=0.4,
            label="p50 above it" if first else None,
        )
        if p90 is not None:
            axes.plot([p90, p90], [place - 0.4, place + 0.4], color="black", linewidth=1.2, label="p90" if first else None)
    _methods(axes, known)
    cpus = sorted({row["cpu_model"] or "an unknown CPU" for entry in known for row in entry.rows})
    axes.set_xlabel(textwrap.fill(f"latency on {_printable(', '.join(cpus))}, µs ↓", _LABEL))
    _legend(figure, axes)
    return figure


def budget(table: Table) -> Figure | None:
    """The most that any step of a method was seen to use, as a share of each limit."""
    known = [entry for entry in table.entries if any(row["limits"] for row in entry.rows)][:_MOST]
    seen = {
        name: max((share for entry in known for share in _shares(entry, name)), default=0.0)
        for name in ("memory", "seconds", "cpu_seconds", "file_bytes")
    }
    names = [name for name, share in seen.items() if share >= _THINNEST]
    if not names:
        return None
    figure, axes = _axes(16 + 5 * len(known))
    height = 0.8 / len(names)
    for i, name in enumerate(names):
        for place, entry in enumerate(known):
            share = max(_shares(entry, name), default=0.0)
            axes.barh(
                place + (i - (len(names) - 1) / 2) * height,
                share,
                height,
                label=name if place == 0 else None,
                color=COLOURS[i],
                hatch=("", "////", "....", "xxxx")[i],
                edgecolor="black",
                linewidth=0.3,
            )
    axes.axvline(1, color="black", linewidth=0.8)
    _methods(axes, known)
    axes.set_xlabel("most that was observed ÷ limit")
    _legend(figure, axes)
    return figure


def _shares(entry: Entry, name: str) -> list[float]:
    limits = [(row["limits"] or {}).get(name) for row in entry.rows]
    return [one["observed"] / one["limit"] for one in limits if one and one["observed"] is not None and one["limit"]]


def training(curves: Curves) -> Figure | None:
    """Validation score against updates, of each step that trains."""
    if not curves:
        return None
    figure, axes = _axes(60)
    for i, (label, points) in enumerate(curves.items()):
        axes.plot(
            *zip(*points, strict=True),
            label=_printable(label),
            color=COLOURS[i % len(COLOURS)],
            linestyle=_LINES[i // len(COLOURS) % len(_LINES)],
            marker=_MARKERS[i % len(_MARKERS)],
            markersize=2,
        )
    axes.set_xlabel(TRAINED_FOR)
    axes.set_ylabel("validation score ↑")
    _legend(figure, axes, columns=1)
    return figure


def search_figures(table: Table, searches: Sequence[Searched]) -> dict[str, Figure | None]:
    """By kind :func:`search`, one for each device tier and total time of a task's searches."""
    grouped: dict[tuple[str, float], list[Searched]] = defaultdict(list)
    for one in searches:
        grouped[one.tier.name if one.tier else "", one.seconds].append(one)
    kinds = unique(
        "-".join(["search", *([slug(f"{tier} {seconds:g}")] if len(grouped) > 1 else [])]) for tier, seconds in grouped
    )
    return {kind: search(table, members) for kind, members in zip(kinds, grouped.values(), strict=True)}


def search(table: Table, searches: Sequence[Searched]) -> Figure | None:
    """The best validation score so far inside the limits against the seconds of searches with one tier and total: a panel for
    each back end (and runtime, where there are several), in it for each searcher thin steps for each seed and fold, and thick
    ones for their mean, from when each of them has a model inside. None where none ever has."""
    panels: dict[str, dict[str, list[Steps]]] = defaultdict(lambda: defaultdict(list))
    runtimes = len({one.cell.runtime for one in searches}) > 1
    for one in searches:
        name = f"{one.cell.backend} on {one.cell.runtime}" if runtimes else one.cell.backend
        panels[name][one.searcher].append(best_so_far(one.log, one.tier))
    if not any(steps for searchers in panels.values() for found in searchers.values() for steps in found):
        return None
    names = sorted({name for searchers in panels.values() for name in searchers})
    figure = Figure(figsize=(_WIDTH, (12 + 36 * len(panels)) / 25.4), layout="constrained")
    all_axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, (panel, searchers) in zip(all_axes, sorted(panels.items()), strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(_printable(panel))
        axes.set_ylabel(f"best validation\n{table.metric} ↑")
        for place, name in enumerate(names):
            look: dict[str, Any] = {
                "color": COLOURS[place % len(COLOURS)],
                "linestyle": _LINES[place % len(_LINES)],
                "drawstyle": "steps-post",
            }
            found = [steps for steps in searchers.get(name, ()) if steps]
            for steps in found if len(searchers.get(name, ())) > 1 else ():
                _steps(axes, steps, searches[0].seconds, linewidth=0.4, alpha=0.6, **look)
            if steps := mean_steps(searchers.get(name, ())):
                marked = {"marker": _MARKERS[place % len(_MARKERS)], "markersize": 3, "markevery": slice(0, len(steps))}
                _steps(axes, steps, searches[0].seconds, linewidth=1.2, **marked, **look)
    first = all_axes[0]
    for place, name in enumerate(names):
        first.plot(
            *([], []),
            label=_printable(name),
            color=COLOURS[place % len(COLOURS)],
            linestyle=_LINES[place % len(_LINES)],
            marker=_MARKERS[place % len(_MARKERS)],
            markersize=3,
        )
    tier = searches[0].tier
    ends = [steps[-1][0] for searchers in panels.values() for found in searchers.values() for steps in found if steps]
    all_axes[-1].set_xlim(0, max(searches[0].seconds, *ends))
    inside = f", inside {tier.name}" if tier else ""
    all_axes[-1].set_xlabel(textwrap.fill(_printable(f"seconds of a search of {searches[0].seconds:g} s{inside}"), _LABEL))
    _legend(figure, first, columns=3 if max(map(len, names)) < 16 else 1)
    return figure


def mean_steps(curves: Sequence[Steps]) -> list[tuple[float, float]]:
    """The mean of curves of steps, from when each of them has begun; none where one never does."""
    if not curves or not all(curves):
        return []
    times = sorted({seconds for steps in curves for seconds, _ in steps})
    begun = max(steps[0][0] for steps in curves)
    found: list[tuple[float, float]] = []
    for time in times[bisect.bisect_left(times, begun) :]:
        values = [steps[bisect.bisect_right([seconds for seconds, _ in steps], time) - 1][1] for steps in curves]
        found.append((time, sum(values) / len(values)))
    return found


def _steps(axes: Axes, steps: Steps, total: float, **look: Any) -> None:
    """Draws a curve of steps up to the end of the search's time."""
    x, y = zip(*steps, strict=True)
    axes.plot([*x, max(total, x[-1])], [*y, y[-1]], **look)


# What all share


def _axes(height: float) -> tuple[Figure, Axes]:
    """A figure of a column's width and this height, mm."""
    figure = Figure(figsize=(_WIDTH, height / 25.4), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _methods(axes: Axes, entries: Sequence[Entry]) -> None:
    names = [_printable(named(entry.rows[0], runtime=False)).replace(" + ", "\n+ ") for entry in entries]
    axes.set_yticks(range(len(entries)), names, fontsize=5)
    axes.set_ylim(len(entries) - 0.4, -0.6)  # the best on top


def _legend(figure: Figure, axes: Axes, columns: int = 2) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + _LEGEND_LINE * -(-len(handles) // columns))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, borderaxespad=0, fontsize=6)


def _printable(text: str) -> str:
    """On one line, and without what the font of the plots lacks."""
    return "".join(
        one if (ord(one) < 0x250 and one.isprintable()) or one in "×÷↑↓−–·" else "\ufffd" for one in " ".join(text.split())
    )
