"""The LaTeX tables as a reader of the paper sees them: pylatexenc, an independent reader of LaTeX, gives every name back."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pylatexenc.latex2text import LatexNodes2Text  # type: ignore[import-untyped]  # it ships no types

from benchmark.leaderboard import COLUMNS, Entry, Row, Table
from benchmark.render.latex import escape, to_latex

SUITE: dict[str, Any] = {
    "name": "edge",
    "seeds": [0],
    "folds": [0],
    "build": {"cores": 1, "memory": 1024**3, "seconds": 60.0},
    "measure": {"processes": 3, "rounds": 3, "calls": 100},
    "tiers": [{"name": "S_1", "bytes": 65_536, "latency_p90": 0.001}],
}


def row(**values: Any) -> Row:
    full = {
        "task": "digits",
        "backend": "torch",
        "architecture": "cnn",
        "recipe": "reference",
        "runtime": "onnxruntime",
        "fold": 0,
        "seed": 0,
        "outcome": "ok",
        "reason": "",
        "metric": "accuracy",
        "artifact": "0" * 64,
        "score": 0.8,
        "score_low": 0.7,
        "score_high": 0.9,
        "val_score": 0.8,
        "artifact_bytes": 12_345,
        "latency_p90_us": 35.0,
        "tiers": ["S_1"],
        "noisy": True,
        "latency_p50_us": 30.0,
    }
    return {**dict.fromkeys(COLUMNS), **full, **values}


def render(*rows: Row, task: str = "digits", others: tuple[Row, ...] = ()) -> str:
    entries = tuple(Entry((one,), one["score"]) for one in rows)
    return to_latex([Table(task, "accuracy", "row", 200, 200, entries, others, {})], [*rows, *others], SUITE)


def read(latex: str) -> str:
    """The text that LaTeX would print, its ligatures included."""
    for characters, printed in (("---", "—"), ("--", "–"), ("``", "“"), ("''", "”"), ("?`", "¿"), ("!`", "¡"), (",,", "„")):
        latex = latex.replace(characters, printed)
    # Characters that LaTeX prints as they are, and pylatexenc as accents.
    plain = {r"\textasciicircum{}": "\ue000", r"\textasciitilde{}": "\ue001", r"\textasciigrave{}": "\ue002"}
    for macro, mark in plain.items():
        latex = latex.replace(macro, mark)
    text = str(LatexNodes2Text(math_mode="text", strict_latex_spaces=True).latex_to_text(latex))
    return text.translate({0xE000: "^", 0xE001: "~", 0xE002: "`"})


def tabulars(latex: str) -> list[tuple[str, list[list[str]]]]:
    """For each tabular its column letters and the cells of its lines."""
    found = re.findall(r"\\begin\{tabular\}\{([lr]+)\}\n(.*?)\\end\{tabular\}", latex, re.DOTALL)
    return [
        (align, [line.removesuffix(r" \\").split(" & ") for line in body.splitlines() if line.endswith(r"\\")])
        for align, body in found
    ]


SPECIAL = {
    "a & b": r"a \& b",
    "50%": r"50\%",
    "p_a": r"p\_a",
    "x{y}#$": r"x\{y\}\#\$",
    r"a~b^c\d": r"a\textasciitilde{}b\textasciicircum{}c\textbackslash{}d",
    "[0]": "{[}0]",
    "*": "{*}",
    "a--b": "a-{}-b",
    "?`x": r"?\textasciigrave{}x",
    "a\tb\n c ": "a b c",
    "naïve 剪枝": "naïve 剪枝",
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_characters_are_escaped_once(name: str) -> None:
    assert escape(name) == SPECIAL[name]
    ship, task = tabulars(render(row(recipe=name)))
    assert task[1][1][2] == SPECIAL[name]
    assert ship[1][1][2].endswith(escape(f"cnn {name}"))


def test_also_in_captions_headers_and_below_the_table() -> None:
    failed = row(recipe="x_1", outcome="failed", reason="100% of {it}")
    latex = render(row(), task="credit_50%", others=(failed,))
    assert r"\caption{credit\_50\%. accuracy on 200 test rows (200 rows);" in latex
    assert r"\label{tab:pocketbench-edge-credit-50}" in latex
    assert r"torch cnn x\_1, seed 0, fold 0: failed (100\% of \{it\})" in latex
    headers = tabulars(latex)[1][1][0]
    assert r"score $\uparrow$ {[}95 \%]".replace("{[}", "[") in headers
    assert not re.search(r"(?<!\\)[%#_](?!Needs)", latex.partition("\n")[2].replace("{%\n", "{\n"))


def test_every_line_has_its_columns() -> None:
    latex = render(row(), row(recipe="int8", score=None, val_score=None, tiers=[]))
    grids = tabulars(latex)
    assert [len(lines) for _, lines in grids] == [2, 3]
    for align, lines in grids:
        assert {len(line) for line in lines} == {len(align)}
    assert latex.count(r"\begin{table*}") == latex.count(r"\toprule") == latex.count(r"\bottomrule") == 2


def test_no_cell_begins_what_the_line_break_before_it_would_take() -> None:
    for name in ("[1pt]", "*"):
        _, (_, lines) = tabulars(render(row(backend=name)))
        assert lines[1][0].startswith("{")


LETTERS = st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]) | st.sampled_from("&%$#_{}~^\\-`'\"?!,<>|[]* ")


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.text(LETTERS, max_size=20))
@example("---")
@example("''``")
@example("\\alpha{}$x$ % no comment")
def test_any_name_is_read_as_it_was_written(name: str) -> None:
    shown = " ".join(name.split())
    assert read(escape(name)) == shown
    _, (_, lines) = tabulars(render(row(recipe=name)))
    assert read(lines[1][2]) == shown


def test_what_cannot_be_printed_is_marked() -> None:
    assert escape("a\x00b\u200bc") == "a\ufffdb\ufffdc"
