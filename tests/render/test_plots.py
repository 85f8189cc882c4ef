"""The plots, read back: from the artists of the figures, and from the files."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from benchmark.budget import DeviceTier
from benchmark.folders import Layout
from benchmark.leaderboard import COLUMNS, Entry, Row, Searched, Table, smallest_dense_int8
from benchmark.plan import Cell
from benchmark.render import plots
from benchmark.search import PARTS, Log
from benchmark.search import Entry as Proposed
from benchmark.space import Proposal
from benchmark.statistics import Interval
from benchmark.store import Outcome

NAMES = [
    "reference",
    "narrow(width=0.5)",
    "int8-static",
    "narrow(width=0.25) + int8-static",
    "prune(x=1) + int8-static",
    "longer",
]
KIB = [64.0, 32.0, 20.0, 6.0, 4.0, 64.0]
SCORES = [0.95, 0.93, 0.948, 0.91, 0.90, 0.96]
VALIDATION = [0.95, 0.93, 0.945, 0.941, 0.95, 0.96]


def row(**values: Any) -> Row:
    full = {"task": "digits", "backend": "torch", "architecture": "cnn", "runtime": "onnxruntime", "seed": 0, "fold": 0}
    full |= {"latency_p50_us": 30.0, "latency_p90_us": 40.0, "floor_us": 10.0, "cpu_model": "Some CPU"}
    full |= {
        "limits": {"memory": {"limit": 1000, "observed": 250, "mechanism": "m"}, "seconds": {"limit": 60.0, "observed": 45.0}}
    }
    return {**dict.fromkeys(COLUMNS), **full, **values}


def dtypes_of(recipe: str) -> dict[str, int]:
    whole, part = {"float32": 1000}, {"float32": 900, "int8": 100}
    return part if "dynamic" in recipe else {"float32": 20, "int32": 30, "int8": 950} if "int8" in recipe else whole


def entries(names: list[str] = NAMES) -> tuple[Entry, ...]:
    return tuple(
        Entry(
            (row(recipe=name, artifact_bytes=kib * 1024, val_score=val, dtypes=dtypes_of(name)),),
            score,
            Interval(score - 0.01, score + 0.02, 2000, 0, 100, False),
            fronts=("bytes",) if i in (0, 3) else (),
        )
        for i, (name, kib, score, val) in enumerate(zip(names, KIB, SCORES, VALIDATION, strict=True))
    )


def table(*methods: Entry, task: str = "digits") -> Table:
    return Table(task, "accuracy", 0.01, "row", (0,), 100, 100, methods, (), {"constant": 0.1, "trivial": 0.92})


def lines(figure: Any) -> list[Any]:
    return list(figure.axes[0].get_lines())


def drawn(figure: Any, panel: int = 0) -> list[Any]:
    """The lines of a panel that are not there for the legend alone."""
    return [line for line in figure.axes[panel].get_lines() if len(line.get_xdata())]


def points_of(line: Any) -> list[tuple[float, float]]:
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))


def bars_of(figure: Any) -> list[Any]:
    return list(figure.axes[0].patches)


def test_the_front_shows_each_method_where_it_lies() -> None:
    figure = plots.front(table(*entries()))
    assert figure is not None
    points = [line for line in lines(figure) if line.get_marker() == "o" and line.get_markersize() == 4 and len(line.get_xdata())]
    assert [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in points] == list(zip(KIB, SCORES, strict=True))
    assert [line.get_markerfacecolor() != "white" for line in points] == [True, *[False] * 5]  # the reference is filled
    bars = [line for line in lines(figure) if len(line.get_xdata()) == 2 and line.get_linewidth() == 0.5]
    assert [tuple(line.get_ydata()) for line in bars] == [(pytest.approx(s - 0.01), pytest.approx(s + 0.02)) for s in SCORES]
    rings = [line for line in lines(figure) if line.get_markersize() == 8 and len(line.get_xdata())]
    assert [float(line.get_xdata()[0]) for line in rings] == [64.0, 6.0]
    (narrower,) = [line for line in lines(figure) if line.get_linewidth() == 0.7]
    assert list(narrower.get_xdata()) == [32.0, 64.0]
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_xlabel(), axes.get_ylabel()) == ("log", "artifact, KiB ↓", "accuracy ↑")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "constant: 0.10, below" in labels
    assert "trivial" in labels


def test_the_smallest_dense_int8_network_is_plain_and_non_inferior_on_validation() -> None:
    whole = table(*entries())
    found = smallest_dense_int8(whole)
    assert found is not None
    assert found.rows[0]["recipe"] == "narrow(width=0.25) + int8-static"  # smaller ones are pruned; 0.941 is within 0.01 of 0.95
    stricter = Table("digits", "accuracy", 0.005, "row", (0,), 100, 100, whole.entries, (), {})
    found = smallest_dense_int8(stricter)
    assert found is not None
    assert found.rows[0]["recipe"] == "int8-static"
    assert smallest_dense_int8(table(*entries()[:2])) is None
    named = ["reference", "narrow(width=0.5)", "qat-int8", "narrow(width=0.25) + int8-dynamic", *NAMES[4:]]
    found = smallest_dense_int8(table(*entries(named)))
    assert found is not None
    assert found.rows[0]["recipe"] == "qat-int8"  # the smaller one is in float32 but for a tenth
    searched = dataclasses.replace(whole.entries[2], rows=({**whole.entries[2].rows[0], "architecture": "searched"},))
    assert smallest_dense_int8(table(whole.entries[0], searched)) is None  # it may be pruned
    marks = [line for line in lines(plots.front(whole)) if line.get_linestyle() == ":" and len(line.get_xdata()) == 2]
    assert float(marks[0].get_xdata()[0]) == 6.0


def test_latency_is_split_into_the_runtimes_floor_and_what_lies_above() -> None:
    figure = plots.latency(table(*entries()[:2]))
    assert figure is not None
    bars = [(round(bar.get_x(), 6), round(bar.get_width(), 6)) for bar in bars_of(figure)]
    assert bars == [(0, 10), (10, 20)] * 2
    assert [list(line.get_xdata()) for line in lines(figure)] == [[40.0, 40.0]] * 2
    assert figure.axes[0].get_xlabel() == "latency on Some CPU, µs ↓"
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == [
        "torch cnn reference",
        "torch cnn narrow(width=0.5)",
    ]


def test_budgets_are_shares_of_their_limits() -> None:
    figure = plots.budget(table(*entries()[:2]))
    assert figure is not None
    assert [round(bar.get_width(), 6) for bar in bars_of(figure)] == [0.25, 0.25, 0.75, 0.75]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["memory", "seconds"]


def test_a_legend_names_what_is_drawn() -> None:
    plain = [dataclasses.replace(one, fronts=()) for one in entries()[:1]]
    figure = plots.front(table(*plain))
    assert figure is not None
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["torch", "constant: 0.10, below", "trivial: 0.92, below"]
    thin = row(limits={"memory": {"limit": 1000, "observed": 250}, "file_bytes": {"limit": 1000, "observed": 1}})
    figure = plots.budget(table(Entry((thin,), 0.5)))
    assert figure is not None
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["memory"]


@pytest.mark.parametrize("kind", ["front", "latency", "budget"])
def test_a_column_holds_the_plot_and_its_legend_below_the_axis(kind: str) -> None:
    figure = getattr(plots, kind)(table(*entries()))
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(84)
    figure.draw_without_rendering()
    axes, whole, legend = figure.axes[0], figure.bbox, figure.legends[0].get_window_extent()
    assert whole.y0 <= legend.y0 < legend.y1 < axes.xaxis.label.get_window_extent().y0
    assert whole.x0 <= legend.x0 < legend.x1 <= whole.x1
    names = [one.get_window_extent() for one in (axes.yaxis.label, *axes.get_yticklabels()) if one.get_text()]
    assert min(one.x0 for one in names) >= whole.x0
    assert axes.get_window_extent().width > 0.3 * whole.width  # what is drawn has room


def test_the_file_has_the_legend_on_its_page(tmp_path: Path) -> None:
    plots.write_plots([table(*entries())], [], Layout(tmp_path), tmp_path / "plots")
    text = (tmp_path / "plots" / "digits-front.svg").read_text(encoding="utf-8")
    height = float(re.search(r'viewBox="0 0 \S+ ([\d.]+)"', text)[1])  # type: ignore[index]  # every SVG of matplotlib has one
    places = [float(y) for y in re.findall(r"translate\(\S+ ([\d.]+)\)[^>]*>constant", text)]
    places += [float(y) for y in re.findall(r'y="([\d.]+)"[^>]*>constant', text)]
    assert places
    assert all(0 < place < height for place in places)


def cell(recipe: str, *chain: tuple[str, str]) -> Cell:
    return Cell(
        *("s", "digits", "image", ("accuracy",), 0.01, "row", 0, "torch", "cnn", recipe, "onnxruntime", 0, "logits"), chain=chain
    )


def test_curves_are_of_the_steps_that_train_each_once(tmp_path: Path) -> None:
    curves = {"one": "step,loss,score\n10,0.5,0.8\n20,0.4,nan\n30,0.3,0.9\n", "two": "step,loss,score\n5,0.5,0.7\n"}
    for step, text in curves.items():
        (tmp_path / "steps" / step).mkdir(parents=True)
        (tmp_path / "steps" / step / "curve.csv").write_text(text, encoding="utf-8")
    cells = [
        cell("reference", ("train", "one"), ("export", "none")),
        cell("distil", ("distil", "two")),
        cell("distil + int8", ("distil", "two"), ("int8", "none")),
    ]
    found = plots.read_curves(cells, Layout(tmp_path))
    assert found == {"torch cnn distil": [(5.0, 0.7)], "torch cnn reference": [(10.0, 0.8), (30.0, 0.9)]}
    figure = plots.training(found)
    assert figure is not None
    assert [list(line.get_xdata()) for line in lines(figure)] == [[5.0], [10.0, 30.0]]
    assert plots.training({}) is None


def test_files_are_the_same_for_the_same_results_and_hold_their_text(tmp_path: Path) -> None:
    hostile = ["a $x$ & <b>", "剪枝 \\frac{", *NAMES[2:]]
    made = [table(*entries(hostile), task="a b"), table(*entries(), task="a-b"), table(task="empty")]
    first, second = (plots.write_plots(made, [], Layout(tmp_path), tmp_path / name) for name in ("one", "two"))
    kinds = ("front", "latency", "budget")
    assert [path.name for path in first] == [
        f"{task}-{kind}.{form}" for task in ("a-b", "a-b-2") for kind in kinds for form in ("pdf", "svg")
    ]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert all(path.read_bytes().startswith(b"%PDF-") for path in first if path.suffix == ".pdf")
    text = " ".join(ElementTree.parse(tmp_path / "one" / "a-b-latency.svg").getroot().itertext())
    assert "torch cnn a $x$ & <b>" in text
    assert "\ufffd\ufffd \\frac{" in text  # what the font lacks is marked
    assert matplotlib.rcParams["svg.fonttype"] == "path"  # what others draw is left alone


XS = DeviceTier("XS", bytes=1000)
Tried = tuple[float, float | None, int]
"""Seconds, validation score and bytes of a proposal."""
TRIED: dict[tuple[str, int], list[Tried]] = {
    ("optuna", 0): [(5.0, 0.6, 900), (8.0, 0.9, 1001), (9.0, None, 0), (11.0, 0.7, 1000), (20.0, 0.65, 10), (30.0, 0.8, 10)],
    ("optuna", 1): [(7.0, 0.99, 2000), (10.0, 0.5, 900), (30.0, 0.6, 10), (41.0, 0.7, 10)],
    ("random", 0): [(5.0, 0.6, 900)],
    ("random", 1): [(6.0, 0.6, 1001)],
}


def searched(searcher: str, seed: int, tried: list[Tried], seconds: float = 40.0, **names: Any) -> Searched:
    proposals = []
    for spent, score, size in tried:
        measured = {} if score is None else {"artifact_bytes": size}
        outcome: Outcome = "timeout" if score is None else "ok"
        parts = dict.fromkeys(PARTS, 0.0)
        scores = () if score is None else (score,)
        proposals.append(Proposed(Proposal("cnn"), outcome, "", scores, measured, "", 0.0, 1.0, spent, parts))
    log = Log(seconds, tuple(proposals))
    where = dataclasses.replace(
        cell(f"{searcher}(seconds={seconds:g})"), seed=seed, architecture="searched", search="id", **names
    )
    return Searched(where, searcher, seconds, XS, log)


def best_at(tried: list[Tried], time: float) -> float | None:
    """By hand: the largest score inside the limits by then."""
    return max((score for spent, score, size in tried if spent <= time and score is not None and size <= 1000), default=None)


def test_a_search_is_drawn_as_its_best_score_inside_the_limits_so_far() -> None:
    figure = plots.search(table(), [searched(*key, tried) for key, tried in TRIED.items()])
    assert figure is not None
    (axes,) = figure.axes
    assert {line.get_drawstyle() for line in drawn(figure)} == {"steps-post"}
    thin, thick = ([line for line in drawn(figure) if line.get_linewidth() == width] for width in (0.4, 1.2))
    steps = [points_of(line) for line in thin]
    assert steps == [
        [(5.0, 0.6), (11.0, 0.7), (30.0, 0.8), (40.0, 0.8)],
        [(10.0, 0.5), (30.0, 0.6), (41.0, 0.7), (41.0, 0.7)],
        [(5.0, 0.6), (40.0, 0.6)],
    ]
    for curve, tried in zip(steps, [tried for tried in TRIED.values() if best_at(tried, 99)], strict=True):
        assert [score for _, score in curve] == [best_at(tried, seconds) for seconds, _ in curve]
    (mean,) = thick  # one of chance never had a model inside
    points = points_of(mean)
    assert [seconds for seconds, _ in points] == [10.0, 11.0, 30.0, 41.0, 41.0]
    by_hand = [[best_at(TRIED["optuna", seed], seconds) or 0.0 for seed in (0, 1)] for seconds, _ in points]
    assert [score for _, score in points] == [pytest.approx(sum(pair) / 2) for pair in by_hand]
    assert axes.get_xlim() == (0, 41.0)
    assert axes.get_xlabel() == "seconds of a search of 40 s, inside XS"
    assert axes.get_ylabel() == "best validation\naccuracy ↑"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["optuna", "random"]


def test_one_search_has_one_line_and_each_back_end_a_panel() -> None:
    tried = TRIED["optuna", 0]
    figure = plots.search(table(), [searched("optuna", 0, tried, backend=name) for name in ("torch", "jax")])
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == ["jax", "torch"]
    assert [len(drawn(figure, panel)) for panel in (0, 1)] == [1, 1]
    two = [searched("optuna", 0, tried, runtime=name) for name in ("onnxruntime", "packed")]
    figure = plots.search(table(), two)
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == ["torch on onnxruntime", "torch on packed"]
    assert plots.search(table(), [searched("random", 1, TRIED["random", 1])]) is None


def test_each_tier_and_total_of_searches_has_a_file(tmp_path: Path) -> None:
    one, other = (searched("optuna", 0, TRIED["optuna", 0], seconds) for seconds in (40.0, 60.0))
    elsewhere = searched("optuna", 0, TRIED["optuna", 0], task="another")
    methods = table(*entries()[:1])
    for name, searches, kinds in (
        ("single", [one, elsewhere], ["search"]),
        ("several", [one, other, dataclasses.replace(one, tier=None)], ["search-xs-40", "search-xs-60", "search-40"]),
    ):
        written = plots.write_plots([methods], [], Layout(tmp_path), tmp_path / name, searches)
        found = [path.stem for path in written if "search" in path.stem and path.suffix == ".pdf"]
        assert found == [f"digits-{kind}" for kind in kinds]
        again = plots.write_plots([methods], [], Layout(tmp_path), tmp_path / f"{name} again", searches)
        assert [path.read_bytes() for path in written] == [path.read_bytes() for path in again]


def test_what_a_search_found_hides_no_other_method() -> None:
    first, second, *_ = entries()
    same = dataclasses.replace(second, rows=({**second.rows[0], "architecture": "searched", "recipe": "optuna(seconds=40)"},))
    figure = plots.front(table(first, second, same))
    assert figure is not None
    sizes = [line.get_markersize() for line in drawn(figure) if len(line.get_xdata()) == 1 and line.get_marker() == "o"]
    assert sorted(sizes) == [1.8, 4, 4, 8]  # the ring is of the first
    assert "found by a search" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_curve_of_what_a_search_trained_is_called_by_the_search(tmp_path: Path) -> None:
    for step in ("one", "two"):
        (tmp_path / "steps" / step).mkdir(parents=True)
        (tmp_path / "steps" / step / "curve.csv").write_text("step,score\n10,0.8\n", encoding="utf-8")
    own = dataclasses.replace(cell("optuna(seconds=4)", ("train", "one"), ("prune", "two")), architecture="searched", search="s")
    assert list(plots.read_curves([own], Layout(tmp_path))) == [
        "torch optuna(seconds=4): prune",
        "torch optuna(seconds=4): train",
    ]
    known = cell("reference", ("train", "one"))
    assert list(plots.read_curves([known, own], Layout(tmp_path))) == ["torch cnn reference", "torch optuna(seconds=4): prune"]
