"""The leaderboard as a reader sees it: odd names stay in their cells, nothing missing looks like a number, no cell disappears."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from benchmark.leaderboard import COLUMNS, Difference, Entry, Group, Groups, Row, Table
from benchmark.render.markdown import to_markdown
from benchmark.statistics import Interval

SUITE: dict[str, Any] = {
    "name": "edge",
    "seeds": [0],
    "build": {"cores": 1, "memory": 1024**3, "seconds": 60.0},
    "measure": {"processes": 3, "rounds": 3, "calls": 100},
    "tiers": [],  # with any, the table of what to ship would come first
}
SCORES = ["rank", "back end", "model", "recipe", "score ↑ [95 %]", "val ↑", "flips % ↓", "bytes ↓", "p90 µs ↓"]
COSTS = [
    "back end",
    "model",
    "recipe",
    "front",
    "tiers",
    "score ↑",
    "bytes ↓",
    "size ÷ ↑",
    "MACs ↓",
    "device bytes ↓",
    "RSS MB ↓",
    "p50 µs ↓",
]
COSTS += ["p90 µs ↓", "time × ↓ [95 %]"]


def row(**values: Any) -> Row:
    full = {
        "task": "digits",
        "fold": 0,
        "backend": "torch",
        "architecture": "cnn",
        "recipe": "reference",
        "runtime": "onnxruntime",
        "seed": 0,
        "outcome": "ok",
        "reason": "",
        "score": 0.81234,
        "val_score": 0.83456,
        "flips": 0.0123,
        "artifact_bytes": 12_345,
        "size_ratio": 3.456,
        "macs": 1_806_336,
        "latency_p50_us": 30.04,
        "latency_p90_us": 35.55,
        "latency_ratio": 1.516,
        "latency_ratio_low": 1.401,
        "latency_ratio_high": 1.632,
        "floor_us": 4.3,
        "claims": None,
        "parameters": 100,
        "nonzero_parameters": 100,
        "limits": {"memory": {"limit": 1, "mechanism": "a test", "observed": 1}},
        "rss_bytes": 46_500_000,
        "noisy": False,
        "threads": 1,
        "tiers": ["S"],
        "cpu_model": "Some CPU @ 2.20GHz",
    }
    return {**dict.fromkeys(COLUMNS), **full, **values}


INTERVAL = Interval(low=0.79, high=0.84, draws=1000, dropped=0, units=120, over_seeds=False)


def entry(*rows: Row, score: float | None = 0.81234, interval: Interval | None = INTERVAL, **changes: Any) -> Entry:
    return Entry(rows, score, interval, **changes)


def table(*entries: Entry, others: tuple[Row, ...] = (), **changes: Any) -> Table:
    values: dict[str, Any] = {
        "task": "digits",
        "metric": "accuracy",
        "margin": 0.01,
        "unit": "patient",
        "folds": (0,),
        "evaluations": 200,
        "units": 120,
        "entries": entries,
        "others": others,
        "baselines": {},
    }
    return Table(**{**values, **changes})


def render(*tables: Table, suite: dict[str, Any] | None = None) -> str:
    rows = [row for one in tables for entry in one.entries for row in entry.rows] + [row for one in tables for row in one.others]
    return to_markdown(tables, rows, suite or SUITE)


BOLD = re.compile(r"\*\*.+\*\*")


def parse(text: str) -> list[Token]:
    """As GitHub reads it: CommonMark, tables and strike-through."""
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def literal(token: Token) -> str:
    """The text of a cell or line; fails where a part of it is not text but markup."""
    assert token.children is not None
    allowed = {"text"} | ({"strong_open", "strong_close"} if BOLD.fullmatch(token.content) else set())
    assert {child.type for child in token.children} <= allowed, token.content
    return "".join(child.content for child in token.children)


def grids(text: str) -> list[list[list[str]]]:
    """The tables in a text, each with its headers first."""
    tables: list[list[list[str]]] = []
    tokens = parse(text)
    for position, token in enumerate(tokens):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in ("th_open", "td_open"):
            tables[-1][-1].append(literal(tokens[position + 1]))
    return tables


def grid(text: str) -> list[list[str]]:
    """The scores of the one task in a text, the headers first; empty where there is none."""
    return (grids(text) or [[]])[0]


def items(text: str, after: str = "Not ranked:") -> list[str]:
    """The points of the list below a line."""
    tokens = parse(text)
    start = [token.content for token in tokens].index(after)
    end = next(i for i in range(start, len(tokens)) if tokens[i].type == "bullet_list_close")
    return [literal(token) for token in tokens[start + 1 : end] if token.type == "inline"]


def only(*rows: Row, **scores: Any) -> dict[str, str]:
    """What a task's two tables say of its one method."""
    (names, line), (more_names, more) = grids(render(table(entry(*rows, **scores))))
    shown, costs = dict(zip(names, line, strict=True)), dict(zip(more_names, more, strict=True))
    assert all(shown[name] == costs[name] for name in shown.keys() & costs.keys())
    return {**shown, **costs}


def paragraph(text: str, start: str) -> str:
    """The one paragraph that begins so."""
    (found,) = [literal(token) for token in parse(text) if token.type == "inline" and token.content.startswith(start)]
    return found


def test_headers() -> None:  # case L-09: each says which way is better
    scores, costs = grids(render(table(entry(row()))))
    assert (scores[0], costs[0]) == (SCORES, COSTS)


def test_a_flip_is_never_printed_as_none() -> None:
    assert [only(row(flips=share))["flips % ↓"] for share in (0.0, 0.0004, 0.0006, None)] == ["0.0", "< 0.1", "0.1", "–"]


def test_a_line_rounded() -> None:
    assert only(row(resident_weight_bytes=5_000, activation_peak_bytes=1_234), rank=1, fronts=("bytes", "device")) == {
        "rank": "1",
        "back end": "torch",
        "model": "cnn",
        "recipe": "reference",
        "score ↑ [95 %]": "0.812 [0.790, 0.840]",
        "val ↑": "0.835",
        "flips % ↓": "1.2",
        "bytes ↓": "12,345",
        "score ↑": "0.812",
        "size ÷ ↑": "3.46",
        "MACs ↓": "1,806,336",
        "device bytes ↓": "6,234",
        "p50 µs ↓": "30.0",
        "p90 µs ↓": "35.5",
        "time × ↓ [95 %]": "1.52 [1.40, 1.63]",  # case M-07: slower than the reference, shown as it is
        "RSS MB ↓": "46.5",
        "front": "BD",
        "tiers": "S",
    }


def test_the_readme_explains_every_column() -> None:
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
    table_ = readme.partition("## Reading the tables")[2].partition("\n## ")[0]
    explained = {name for names in re.findall(r"^\| ([^|]+) \|", table_, re.MULTILINE) for name in names.split(", ")} - {"column"}
    device = dict.fromkeys(
        ("flash_bytes", "ram_bytes", "arena_bytes", "instructions_m4", "instructions_m7", "label_agreement"), 1
    )
    compared = entry(row(**device), reference=Difference(0.1, 0.0, 0.2, "better"), control=Difference(0.1, 0.0, 0.2, "better"))
    headers = [header for one in grids(render(table(compared))) for header in one[0]]
    shown = [re.sub(r" [↑↓]| \[95 %\]| MB| %", "", header).removesuffix(" µs") for header in headers]
    assert explained == {*shown} - {"back end", "model", "recipe"}


def test_what_does_not_beat_a_baseline_is_named() -> None:
    entries = (entry(row(), score=0.9), entry(row(recipe="a_b"), score=0.7), entry(row(recipe="c"), score=0.6999))
    text = render(table(*entries, baselines={"trivial": 0.7, "constant": 0.5}))
    assert paragraph(text, "No better") == "No better here than the best of them: torch cnn a_b, torch cnn c."
    assert "No better" not in render(table(entries[0], baselines={"trivial": 0.7}))


def test_trainings_that_a_deadline_stopped_are_named() -> None:
    late = entry(row(recipe="a_b", stopped_by="updates"), row(recipe="a_b", seed=1, stopped_by="deadline"))
    text = render(table(late, entry(row(stopped_by="early"))))
    assert paragraph(text, "Training") == "Training stopped by its deadline, so another run may differ: torch cnn a_b."
    assert "deadline" not in render(table(entry(row(stopped_by="updates"))))


def test_claims_that_the_file_does_not_bear_out_are_named() -> None:
    said = {"prune": {"matched": 1, "changed": 1, "claims": {"size_ratio": 10.0, "macs": 1_806_000, "note": "fine"}}}
    text = render(table(entry(row(recipe="prune(x=1)", size_ratio=1.0, claims=said)), entry(row())))
    expected = "Claims of passes, more than 5 % from what was measured: torch cnn prune(x=1): size_ratio 10, measured 1."
    assert paragraph(text, "Claims") == expected.replace("5 %", "5%")
    later = row(recipe="prune(x=1) + int8", size_ratio=1.0, claims={**said, "int8": {}})  # what ships is not what it spoke of
    assert "Claims" not in render(table(entry(later)))


# Names

ODD = [
    "a|b",
    "a||b",
    r"a\|b",
    r"a\b",
    "back`tick`",
    "*bold* __b__",
    "_a_b_",
    "<b>x</b>",
    "[x](y)",
    "![x](y)",
    "a\nb",
    " a \t b\r\n",
]
ODD += [
    "~~gone~~",
    "&lt;&amp;",
    "$x$",
    "naïve",
    "剪枝",
    "none",
    "nan",
    "NA",
    "007",
    "1e5",
    "-",
    "– ",
    "# x",
    "1. x",
    ":---",
    "\\",
]


@pytest.mark.parametrize("name", ODD)
def test_names_stay_in_their_cell(name: str) -> None:
    shown = only(row(architecture=name, recipe=name, tiers=[name]))
    assert (shown["model"], shown["recipe"], shown["tiers"]) == (" ".join(name.split()),) * 3
    assert shown["p50 µs ↓"] == "30.0"


@pytest.mark.parametrize("name", ODD)
def test_names_and_reasons_stay_in_their_line(name: str) -> None:
    failed = row(recipe=name, outcome="failed", reason=name)
    skipped = row(outcome="skipped", reason=name)
    clean = " ".join(name.split())
    shown = f"torch cnn {clean}, seed 0, fold 0: failed ({clean})"
    assert items(render(table(others=(failed, skipped)))) == [shown, f"torch: 1 skipped ({clean})"]


def test_equal_failures_of_several_seeds_are_one_line() -> None:
    failed = [row(outcome="failed", reason="no", seed=seed) for seed in range(3)]
    other = row(outcome="failed", reason="yes", seed=3)
    assert items(render(table(others=(*failed, other)))) == [
        "torch cnn reference, 3 seeds and folds: failed (no)",
        "torch cnn reference, seed 3, fold 0: failed (yes)",
    ]


MARKUP = "|\\`*_~<>[]()&;#$!+-.1 \n"


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.sampled_from(MARKUP), max_size=20))
def test_any_name_stays_in_its_cell(name: str) -> None:
    assert only(row(recipe=name))["recipe"] == " ".join(name.split())


# What to ship


def shipped(name: str) -> tuple[list[list[str]], str]:
    """The answer table of a method and devices with a name: one device that it fits, one that nothing fits."""
    tiers = [{"name": name, "bytes": None, "latency_p90": None}, {"name": f"no {name}", "bytes": 1, "latency_p90": None}]
    first = row(architecture=name, recipe=f"r {name}", artifact="abc", val_score=0.8)
    second = row(architecture=name, recipe="second", artifact="def", val_score=0.7)
    text = render(table(entry(first), entry(second)), suite={**SUITE, "tiers": tiers})
    return grids(text)[0], text


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", [*ODD, "## x", "+ x", "- x", "12) x", "1.", "#", "1.5 x", "-x", "---", "==="])
def test_names_stay_in_their_cells_and_lines_of_what_to_ship(name: str) -> None:
    (_, fits, none), text = shipped(name)
    clean = one_line(name)
    method = f"torch {clean} r {clean}"
    assert fits[:3] == ["digits", clean, method]
    assert fits[3:] == ["0.812 [0.790, 0.840]", "–", "0.800", "12,345", "35.5", "2", f"torch {clean} second (val 0.700)"]
    assert none[:2] == ["digits", f"no {clean}"]
    assert none[2:] == [one_line(f"nothing fits: torch {name} r {name}: 12,345 bytes, more than 1"), *["–"] * 7]
    assert items(text, "The files, in the results folder; each folder is named by the hash of what it holds:") == [
        f"digits, {method}: artifacts/abc/"
    ]
    what = next(token.content for token in parse(text) if token.content.startswith("For each task and device"))
    assert items(text, what) == [f"{clean}: no limit", f"no {clean}: at most 1 B"]


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.sampled_from(MARKUP), max_size=20))
def test_any_name_stays_in_its_cell_of_what_to_ship(name: str) -> None:
    (_, fits, none), text = shipped(name)
    assert (fits[1], fits[2]) == (one_line(name), one_line(f"torch {name} r {name}"))
    assert none[1:3] == [one_line(f"no {name}"), one_line(f"nothing fits: torch {name} r {name}: 12,345 bytes, more than 1")]
    what = next(token.content for token in parse(text) if token.content.startswith("For each task and device"))
    assert items(text, what)[0] == f"{one_line(name)}: no limit"


def test_what_to_ship_comes_first_where_there_are_devices() -> None:
    tiers = [{"name": "S", "bytes": None, "latency_p90": None}]
    shown = table(entry(row()))
    titles = {len(suite["tiers"]): render(shown, suite=suite).split("\n## ") for suite in ({**SUITE, "tiers": tiers}, SUITE)}
    heads = {count: [part.partition("\n")[0] for part in parts[1:]] for count, parts in titles.items()}
    rest = ["digits", "digits: cost", "How to read the tables"]
    assert heads == {1: ["What to ship", *rest], 0: rest}


def test_names_outside_tables_are_text_too() -> None:
    text = render(table(entry(row(cpu_model="CPU_a_b *x* | y")), unit="re*c*ord", baselines={"a_b*c*": 0.5}))
    assert paragraph(text, "Baselines") == "Baselines, not ranked: a_b*c* 0.500."
    assert r"Latency on CPU\_a\_b \*x\* \| y by" in text
    assert r"(120 re\*c\*ords)" in text


def test_the_differences_and_what_they_say() -> None:
    better, worse = Difference(0.0124, 0.0049, 0.02, "better"), Difference(-0.0124, -0.02, 0.0049, "undecided")
    text = render(table(entry(row(recipe="prune"), reference=better, control=worse), entry(row(recipe="narrow"))))
    headers, first, second = grid(text)
    place = headers.index("− reference ↑ [95 %]")
    assert place == headers.index("score ↑ [95 %]") + 1
    assert headers[place : place + 3] == ["− reference ↑ [95 %]", "verdict", "− narrow ↑ [95 %]"]
    assert first[place : place + 3] == ["+0.012 [+0.005, +0.020]", "better", "−0.012 [−0.020, +0.005]"]
    assert second[place : place + 3] == ["–"] * 3


def test_the_methods_that_share_the_first_rank_are_bold() -> None:  # case L-09: ties share a rank
    entries = [entry(row(recipe=f"r_{i}"), rank=rank) for i, rank in enumerate((1, 1, 3))]
    bold = [token.content for token in parse(render(table(*entries))) if BOLD.fullmatch(token.content)]
    score = "**0.812 [0.790, 0.840]**"
    assert bold == ["**1**", r"**r\_0**", score, "**1**", r"**r\_1**", score]


# Values

MEASURED = {
    "val_score": "val ↑",
    "flips": "flips % ↓",
    "artifact_bytes": "bytes ↓",
    "size_ratio": "size ÷ ↑",
    "macs": "MACs ↓",
    "latency_p50_us": "p50 µs ↓",
    "latency_p90_us": "p90 µs ↓",
    "latency_ratio": "time × ↓ [95 %]",
    "rss_bytes": "RSS MB ↓",
}


@pytest.mark.parametrize("column", MEASURED)
def test_a_missing_value_is_a_dash_and_zero_is_a_number(column: str) -> None:
    interval = {"latency_ratio_low": None, "latency_ratio_high": None} if column == "latency_ratio" else {}
    expected = only(row(**interval))
    missing = only(row(**interval, **{column: None}, noisy=True))
    assert missing[MEASURED[column]] == ("– ~" if column == "latency_ratio" else "–")
    assert only(row(**interval, **{column: 0}))[MEASURED[column]].startswith("0")
    noisy = "time × ↓ [95 %]"
    others = [header for header in (*SCORES, *COSTS) if header not in (MEASURED[column], noisy)]
    assert [missing[header] for header in others] == [expected[header] for header in others]


def test_a_missing_score_or_tier_is_a_dash() -> None:
    assert only(row(), score=None, interval=None)["score ↑ [95 %]"] == "–"
    assert only(row(), interval=None)["score ↑ [95 %]"] == "0.812"
    assert only(row(tiers=[]))["tiers"] == "–"


@pytest.mark.parametrize(
    ("floor", "expected"),
    [(15.03, "(1.52 [1.40, 1.63])"), (15.02, "1.52 [1.40, 1.63]"), (4.3, "1.52 [1.40, 1.63]"), (None, "1.52 [1.40, 1.63]")],
)
def test_the_ratio_is_in_brackets_when_most_of_the_time_is_the_runtimes_own(floor: float | None, expected: str) -> None:
    assert only(row(floor_us=floor))["time × ↓ [95 %]"] == expected


def test_noisy_rows_are_marked() -> None:
    assert only(row(noisy=True))["time × ↓ [95 %]"] == "1.52 [1.40, 1.63] ~"
    assert only(row(), row(seed=1, noisy=True))["time × ↓, min–max"] == "1.52 ~"
    assert only(row())["time × ↓ [95 %]"] == "1.52 [1.40, 1.63]"


def test_several_seeds_are_one_line() -> None:
    rows = (
        row(val_score=0.8, artifact_bytes=100, latency_p50_us=10.0, tiers=["XS", "S"]),
        row(seed=1, val_score=0.9, artifact_bytes=300, latency_p50_us=20.0, tiers=["S"]),
        row(seed=2, val_score=0.7, artifact_bytes=200, latency_p50_us=90.0, tiers=["S", "XS"]),
    )
    shown = only(*rows)
    assert (shown["val ↑"], shown["bytes ↓"], shown["p50 µs ↓"], shown["tiers"]) == ("0.800", "200", "20.0", "S")
    assert only(*rows[:2], row(seed=2, artifact_bytes=None))["bytes ↓"] == "–"


def ratios(*values: float | None, **more: Any) -> str:
    return only(*(row(seed=i, latency_ratio=value, **more) for i, value in enumerate(values)))["time × ↓, min–max"]


def test_ratios_of_several_seeds_are_a_median_and_a_range() -> None:
    # The median of the rows' intervals, 1.40 to 1.63, would be no interval of anything.
    assert ratios(1.2, 1.5, 1.1) == "1.20, 1.10–1.50"
    assert ratios(1.2, 1.5, 1.1, floor_us=20.0) == "(1.20, 1.10–1.50)"
    assert ratios(1.0, 1.0) == "1.00"  # the reference
    assert ratios(1.2, None) == "–"


def test_runtimes_are_named_where_there_are_several() -> None:
    failed = row(runtime="b", recipe="x", outcome="failed", reason="why")
    text = render(table(entry(row(runtime="a_1")), others=(failed,)))
    headers, line = grid(text)
    assert headers == [*SCORES[:4], "runtime", *SCORES[4:]]
    assert line[:6] == ["–", "torch", "cnn", "reference", "a_1", "0.812 [0.790, 0.840]"]
    assert grids(text)[1][0] == [*COSTS[:3], "runtime", *COSTS[3:]]
    assert items(text) == ["torch cnn x on b, seed 0, fold 0: failed (why)"]
    both = render(table(entry(row(runtime="a")), entry(row(runtime="b"))))
    assert [line[4] for line in grid(both)[1:]] == ["a", "b"]


# What is not ranked


def test_what_is_not_ranked_is_listed_with_its_reason() -> None:
    others = (
        row(recipe="prune", seed=0),
        row(recipe="prune", seed=1, outcome="timeout", reason="prune: stopped after 60 s of wall time"),
        row(backend="jax", architecture="", recipe="int8", outcome="no_op", reason="int8: it matched no layer"),
        row(backend="sklearn", architecture="tree", recipe="prune", outcome="skipped", reason="no such pass for sklearn: prune"),
        row(
            backend="sklearn", architecture="forest", recipe="prune", outcome="skipped", reason="no such pass for sklearn: prune"
        ),
        row(
            backend="sklearn", architecture="tree", recipe="narrow", outcome="skipped", reason="no such pass for sklearn: narrow"
        ),
        row(backend="jax", recipe="prune", outcome="skipped", reason="no such pass for sklearn: prune"),
    )
    assert items(render(table(entry(row()), others=others))) == [
        "torch cnn prune, seed 0, fold 0: ok, but other seeds or folds of it are not",
        "torch cnn prune, seed 1, fold 0: timeout (prune: stopped after 60 s of wall time)",
        "jax int8, seed 0, fold 0: no_op (int8: it matched no layer)",
        "sklearn: 2 skipped (no such pass for sklearn: prune)",
        "sklearn: 1 skipped (no such pass for sklearn: narrow)",
        "jax: 1 skipped (no such pass for sklearn: prune)",
    ]


def test_a_table_without_any_method_says_so() -> None:
    text = render(table(others=(row(outcome="failed", reason="train: ValueError: x"),)))
    assert "No method has finished all its cells." in text
    assert "| back end" not in text
    assert items(text) == ["torch cnn reference, seed 0, fold 0: failed (train: ValueError: x)"]


def test_methods_keep_the_order_that_they_are_given_in() -> None:
    entries = [entry(row(recipe=name), score=score) for name, score in (("b", 0.9), ("a", 0.8996), ("c", None))]
    assert [[line[place] for line in one[1:]] for place, one in zip((3, 2), grids(render(table(*entries))), strict=True)] == [
        ["b", "a", "c"]
    ] * 2


# What stands around the tables


def test_captions_say_what_the_numbers_are() -> None:
    text = render(table(entry(row()), baselines={"constant": 0.7, "trivial": 0.75}), table(entry(row()), task="credit"))
    assert text.startswith("# PocketBench: suite edge\n\n")
    assert text.endswith("\n")
    assert "Built within 60 s and 1 GiB a step on 1 core(s); memory held by a test." in text
    assert "Latency on Some CPU @ 2.20GHz by onnxruntime: another device has another." in text
    assert "One seed and one fold: a screening run." in text
    assert "accuracy on 200 test rows (120 patients); seeds 0, folds 0; margin 0.01.\n\nSorted by test score; what to" in text
    assert "Undefined" not in text
    assert "Standard deviation" not in text
    assert "Baselines, not ranked: trivial 0.750, constant 0.700." in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## digits",
        "## digits: cost",
        "## credit",
        "## credit: cost",
        "## How to read the tables",
    ]
    assert "[95 %]: over the processes." in text


def test_captions_of_a_run_with_one_process() -> None:
    suite = {**SUITE, "measure": {"processes": 1, "rounds": 1, "calls": 100}}
    text = render(table(others=(row(outcome="skipped", reason="x", cpu_model=None),)), suite=suite)
    assert "Latency on no machine yet by onnxruntime:" in text
    assert "One process: no interval." in text
    assert "[95 %]: over the" not in text


def test_the_tasks_that_are_only_screened_are_named() -> None:
    one, several = table(entry(row())), table(entry(row(), row(fold=1)), task="shapes", folds=(0, 1))
    text = render(one, several)
    assert "One seed and one fold of digits: a screening run." in text
    assert "[95 %]: over the processes. Of several seeds or folds the median, then" in text
    assert "One seed and one fold: a screening run." in render(one)
    assert "screening" not in render(several)


def test_many_folds_are_named_by_the_first_and_the_last() -> None:
    assert "seeds 0, folds 0–24; margin" in render(table(entry(row()), folds=tuple(range(25))))
    assert "seeds 0, folds 0, 1, 3; margin" in render(table(entry(row()), folds=(0, 1, 3)))


def test_the_resolution_stands_in_the_caption() -> None:
    text = render(table(entry(row()), resolution=0.01234))
    assert "Resolution: about 0.012 (half the width of the paired 95 % interval between the best method and another" in text
    assert "Resolution" not in render(table(entry(row())))


def test_published_results_stand_below_with_their_source() -> None:
    published = [
        {"method": "ResNet_18 *at* 28", "scores": {"roc_auc": 0.944, "accuracy": 0.854}, "source": "Yang 2023, doi:10/x"}
    ]
    text = render(table(entry(row()), published=published))
    (line,) = [literal(token) for token in parse(text) if token.type == "inline" and "ResNet" in token.content]
    assert line == "ResNet_18 *at* 28: roc_auc 0.944, accuracy 0.854 (Yang 2023, doi:10/x)"
    assert "Published" not in render(table(entry(row())))


def test_what_a_task_says_of_its_data_is_a_list() -> None:
    text = render(table(entry(row()), notes=("column *a*: dropped", "12 rows twice")))
    lines = [literal(token) for token in parse(text) if token.type == "inline"]
    assert lines[lines.index("Of the data:") + 1 :][:2] == ["column *a*: dropped", "12 rows twice"]


def test_groups_have_a_table_of_their_own() -> None:
    def groups(old: Group, young: Group, gap: float | None) -> dict[str, Any]:
        return {"age": Groups({"<= 25": young, "> 25": old}, gap)}

    first = entry(row(), groups=groups(Group(159, 159, 0.75, 0.7, 0.8), Group(41, 41, 0.6, 0.45, 0.75), 0.15))
    second = entry(row(recipe="int8-static"), groups=groups(Group(159, 159, 0.7), Group(41, 41, None), None))
    *_, found = grids(render(table(first, second)))
    assert found == [
        ["method", "<= 25 ↑", "> 25 ↑", "gap ↓"],
        ["torch cnn reference", "0.600 [0.450, 0.750]", "0.750 [0.700, 0.800]", "0.150"],
        ["torch cnn int8-static", "–", "0.700", "–"],
    ]
    text = render(table(first, second))
    assert "fewer than 10 patients" not in text
    few = entry(row(), groups=groups(Group(159, 9, 0.75, 0.7, 0.8), Group(41, 41, 0.6, 0.45, 0.75), 0.15))
    assert "Some groups have fewer than 10 patients: their intervals are conditional on these." in render(table(few))
    assert "## digits by age" in text
    assert "accuracy of the test rows of each group" in " ".join(text.split())


def test_many_groups_are_summed_up_by_their_mean_and_the_worst() -> None:
    groups = {f"subject {i}": Group(70, 7, 0.5 + i / 20, 0.4 + i / 20, 0.6 + i / 20) for i in range(5)}
    undefined = {**groups, "subject 3": Group(70, 7, None)}
    whole = entry(row(), groups={"subject": Groups(groups, 0.2)})
    without = entry(row(recipe="int8-static"), groups={"subject": Groups(undefined, None)})
    *_, found = grids(render(table(whole, without)))
    assert found == [
        ["method", "mean of groups ↑", "worst group ↑", "gap ↓"],
        ["torch cnn reference", "0.600", "0.500 (subject 0)", "0.200"],
        ["torch cnn int8-static", "–", "–", "–"],
    ]


def test_captions_of_a_run_with_several_seeds_and_folds() -> None:
    text = render(table(entry(row(), row(seed=1)), evaluations=5000, units=1000, folds=(0, 1)), suite={**SUITE, "seeds": [0, 1]})
    assert "screening" not in text
    assert "accuracy on 5,000 evaluations (1,000 patients); seeds 0, 1, folds 0, 1; margin 0.01." in text
    assert "- evaluations: test rows of each fold, summed over folds" in text
    assert "Of several seeds or folds the median, then the least and the greatest; no interval." in text
    assert "[95 %]: over the processes." not in text
    seeds = render(table(entry(row(), row(seed=1))), suite={**SUITE, "seeds": [0, 1]})
    assert "accuracy on 200 test rows (120 patients); seeds 0, 1, folds 0; margin" in seeds
    assert "screening" not in seeds
    assert "evaluations" not in seeds
    folds = render(table(entry(row(), row(fold=1)), folds=(0, 1)))
    assert "accuracy on 200 evaluations (120 patients); seeds 0, folds 0, 1; margin" in folds
    assert "screening" not in folds


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "over the choice of patients only, conditional on the trained models (fewer than 5 seeds)."),
        ({"over_seeds": True}, "over the choice of patients and over training seeds."),
        ({"over_seeds": True, "units": 10}, "over the choice of patients and over training seeds."),
        (
            {"over_seeds": True, "units": 9},
            "over the choice of patients and over training seeds; conditional on these 9 patients (fewer than 10).",
        ),
        (
            {"draws": 1988, "dropped": 12},
            "over the choice of patients only, conditional on the trained models (fewer than 5 seeds); "
            "without up to 12 of 2,000 draws, in which accuracy is undefined.",
        ),
    ],
)
def test_captions_say_what_the_intervals_cover(changes: dict[str, Any], said: str) -> None:
    shown = entry(row(), interval=replace(INTERVAL, **changes))
    caption = paragraph(render(table(shown, entry(row(), score=None, interval=None))), "Sorted by")
    assert caption.partition(" [95 %]: ")[2] == said


def test_without_any_interval_nothing_is_said_of_them() -> None:
    assert "[95 %]" not in paragraph(render(table(entry(row(), interval=None))), "Sorted by")


def test_both_deviations_are_ranges_over_methods() -> None:
    entries = [entry(row(), deviations=values) for values in ((0.0312, 0.0071), (0.0209, 0.0004), (None, 0.002))]
    assert paragraph(render(table(*entries, entry(row()))), "Standard") == (
        "Standard deviations, least to greatest of the methods: of the mean score over the choice of patients 0.021–0.031; "
        "of a single training over seeds 0.000–0.007."
    )
    few = [entry(row(), deviations=(0.0312, None)), entry(row(), deviations=(0.0309, None))]
    assert paragraph(render(table(*few)), "Standard") == (
        "Standard deviations, least to greatest of the methods: of the mean score over the choice of patients 0.031; "
        "of a single training over seeds not estimated from fewer than 5 seeds."
    )


def test_what_is_to_be_noted_of_ranked_rows_is_said_once_and_of_whom() -> None:
    reason = "roc_auc: all 10 rows are of class 1"
    undefined = [entry(row(recipe=name, reason=reason), score=None, interval=None) for name in ("a", "b")]
    assert paragraph(render(table(*undefined)), "To be noted") == f"To be noted: {reason}."
    three = [*undefined, entry(row(recipe="c", reason="x_y: mean over 2 of 3 classes; labels: all 10 test rows get p"))]
    assert paragraph(render(table(*three)), "To be noted") == (
        f"To be noted: torch cnn a, torch cnn b: {reason}; torch cnn c: x_y: mean over 2 of 3 classes; "
        "torch cnn c: labels: all 10 test rows get p."
    )


def test_methods_with_too_many_busy_threads_are_named() -> None:
    quiet = render(table(entry(row(threads_observed=1.4)), entry(row(recipe="b", threads_observed=None))))
    assert "busy" not in quiet
    crowded = render(
        table(entry(row(recipe="a", threads_observed=1), row(recipe="a", threads_observed=2.6, seed=1)), entry(row()))
    )
    assert (
        paragraph(crowded, "More threads") == "More threads busy than allowed, all on the cores allowed: torch cnn a (2.6 of 1)."
    )


TIER: dict[str, Any] = {"name": "XS", "bytes": 16_384, "latency_p90": 0.001}


def searched(recipe: str, chosen: str | None, proposals: int | None = 7, **values: Any) -> Row:
    full = {"architecture": "searched", "recipe": recipe, "chosen": chosen, "n_proposals": proposals, "search_seconds": 40.04}
    return row(**{**full, **values})


def test_what_the_searches_chose_has_a_line_for_each_seed() -> None:
    optuna, chance = 'optuna(seconds=40, tier="XS")', 'random(seconds=40, tier="XS")'
    long = 'cnn · shift=2, turn=true · prune(scope="a", sparsity=0.7303970586) + low-rank(keep=1.5e-05, n=1234.56789) + int8'
    found = (
        searched(optuna, long, val_score=0.8456, artifact_bytes=9876, seed=0),
        searched(optuna, "cnn · reference", 1, search_seconds=3.71, seed=1),
    )
    none = "none of 1,024 proposals is inside XS: the nearest has artifact_bytes 24,640 of 16,384"
    broken = (
        searched(chance, None, 1024, seed=1, outcome="no_result", reason=none, val_score=None, artifact_bytes=None),
        searched(chance, "cnn · int8", seed=0, outcome="timeout", reason="evaluate: late", val_score=None, artifact_bytes=12),
        searched(
            "z(seconds=40)", None, None, outcome="failed", reason="search: z: it\nraised", search_seconds=None, val_score=None
        ),
        searched("y(seconds=40)", None, None, outcome="skipped", reason="not there", search_seconds=None),
    )
    shown = table(entry(row()), entry(*found), others=broken)
    suite = {**SUITE, "seeds": [0, 1], "tiers": [TIER]}
    text = render(shown, suite=suite)
    grid = grids(text)[-1]
    assert grid[0] == ["back end", "search", "seed", "chosen", "proposals", "search s", "val ↑", "bytes ↓"]
    assert [line[1:] for line in grid[1:]] == [
        ["z(seconds=40)", "0", "failed (search: z: it raised)", "–", "–", "–", "12,345"],
        [
            optuna,
            "0",
            'cnn · shift=2, turn=true · prune(scope="a", sparsity=0.73) + low-rank(keep=1.5e-05, n=1235) + int8',
            *("7", "40.0", "0.846", "9,876"),
        ],
        [optuna, "1", "cnn · reference", "1", "3.7", "0.835", "12,345"],
        [chance, "0", "cnn · int8, which ended as timeout (evaluate: late)", "7", "40.0", "–", "12"],
        [chance, "1", f"nothing: {none}", "1,024", "40.0", "–", "–"],
    ]
    assert "- chosen: a search proposes" in text
    assert text.index("## digits: cost") < text.index("## digits: what the searches chose") < text.index("## How to read")


def test_where_nothing_is_searched_nothing_is_said_of_searches() -> None:
    skipped = searched("y(seconds=40)", None, None, outcome="skipped", reason="not there")
    text = render(table(entry(row()), others=(skipped,)))
    assert "searches" not in text
    assert "a search proposes" not in text


def test_runtimes_stand_where_there_are_several_and_seeds_where_there_are_several() -> None:
    rows = [searched("defaults(seconds=4)", "cnn · reference", runtime=name, fold=1) for name in ("b", "a")]
    grid = grids(render(table(*(entry(one) for one in rows))))[-1]
    assert grid[0][:4] == ["back end", "search", "runtime", "chosen"]
    assert [line[2] for line in grid[1:]] == ["a", "b"]
