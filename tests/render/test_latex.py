"""The LaTeX tables as a reader of the paper sees them: pylatexenc, an independent reader of LaTeX, gives every name back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pylatexenc.latex2text import LatexNodes2Text  # type: ignore[import-untyped]  # it ships no types

from benchmark.leaderboard import COLUMNS, Entry, Row, Table
from benchmark.render.latex import escape, to_latex
from benchmark.statistics import Interval

SUITE: dict[str, Any] = {
    "name": "edge",
    "seeds": [0],
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
        "threads": 1,
        "latency_p50_us": 30.0,
    }
    return {**dict.fromkeys(COLUMNS), **full, **values}


INTERVAL = Interval(low=0.7, high=0.9, draws=1000, dropped=0, units=200, over_seeds=False)


def render(*rows: Row, task: str = "digits", others: tuple[Row, ...] = (), tiers: Sequence[dict[str, Any]] = ()) -> str:
    mine, rest = [{**one, "task": task} for one in rows], tuple({**one, "task": task} for one in others)
    entries = tuple(Entry((one,), one["score"], None if one["score"] is None else INTERVAL) for one in mine)
    suite = {**SUITE, "tiers": list(tiers) or SUITE["tiers"]}
    return to_latex([Table(task, "accuracy", 0.01, "row", (0,), 200, 200, entries, rest, {})], [*mine, *rest], suite)


def read(latex: str) -> str:
    """The text that LaTeX would print, its ligatures included; lines within a cell as one."""
    within = r"\\begin\{tabular\}\[t\]\{@\{\}[lr]@\{\}\}(.*?)\\end\{tabular\}"
    latex = re.sub(within, lambda found: found[1].replace(r" \\ ", " "), latex)
    for characters, printed in (("---", "—"), ("--", "–"), ("``", "“"), ("''", "”"), ("?`", "¿"), ("!`", "¡"), (",,", "„")):
        latex = latex.replace(characters, printed)
    # Characters that LaTeX prints as they are, and pylatexenc as accents; and the minus sign, which it takes for a hyphen.
    latex = latex.replace(r"~\%", r" \%").replace(r"\allowbreak{}", "")
    plain = {r"\textasciicircum{}": "\ue000", r"\textasciitilde{}": "\ue001", r"\textasciigrave{}": "\ue002"}
    latex = re.sub(r"\\\$|\$[^$]*\$", lambda found: "\ue003" if found[0] == "$-$" else found[0], latex)
    for macro, mark in plain.items():
        latex = latex.replace(macro, mark)
    text = str(LatexNodes2Text(math_mode="text", strict_latex_spaces=True).latex_to_text(latex))
    return text.translate({0xE000: "^", 0xE001: "~", 0xE002: "`", 0xE003: "−"})


def tabulars(latex: str) -> list[tuple[str, list[list[str]]]]:
    """For each table its column letters and the cells of its lines."""
    found = re.findall(r"\\begin\{tabular\}\{([lrS].*?)\}\n(.*?)\\bottomrule", latex, re.DOTALL)
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
    "p_a & 50%": r"p\_a \& 50\%",
    "size_kB (%)": r"size\_kB (\%)",
    "a--b": r"a-\/-b",
    "---": r"-\/-\/-",
    ",,x": r",\/,x",
    "?`x": r"?\textasciigrave{}x",
    "!`x": r"!\textasciigrave{}x",
    "``x''": r"\textasciigrave{}\textasciigrave{}x\textquotesingle{}\textquotesingle{}",
    "<->": "$<$-$>$",
    "<<|>>": "$<$$<$$|$$>$$>$",
    r"\\": r"\textbackslash{}\textbackslash{}",
    r"\&": r"\textbackslash{}\&",
    r"\begin{x}": r"\textbackslash{}begin\{x\}",
    "−5 µs ≤ 2×3÷4 – ↑↓": r"$-$5 \textmu{}s $\leq$ 2$\times$3$\div$4 \textendash{} $\uparrow$$\downarrow$",
    "a\tb\n c ": "a b c",
    "naïve 剪枝": "naïve 剪枝",
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_characters_are_escaped_once(name: str) -> None:  # case L-01
    assert escape(name) == SPECIAL[name]
    ship, _, task, _, costs, _ = tabulars(render(row(recipe=name)))
    assert task[1][1][3] == costs[1][1][2] == SPECIAL[name]
    assert ship[1][1][2].endswith(escape(f"cnn {name}"))


def test_also_in_captions_headers_and_below_the_table() -> None:
    failed = row(recipe="x_1", outcome="failed", reason="100% of {it}")
    latex = render(row(), task="credit_50%", others=(failed,))
    assert r"\caption{credit\_50\%. accuracy on 200 test rows (200 rows);" in latex
    assert r"those of rank 1 are bold. [95~\%]: over the choice of rows only" in latex
    assert r"\label{tab:pocketbench-edge-credit-50}" in latex
    assert r"torch cnn x\_1, seed 0, fold 0: failed (100\% of \{it\})" in latex
    headers = tabulars(latex)[2][1][0]
    assert r"score $\uparrow$ {[}95~\%]".replace("{[}", "[") in headers
    assert not re.search(r"(?<!\\)[%#_](?!Needs)", latex.partition("\n")[2].replace("{%\n", "{\n"))


@pytest.mark.parametrize("name", SPECIAL)
def test_names_are_escaped_once_wherever_they_stand(name: str) -> None:
    shown = " ".join(name.split())
    failed = row(backend="jax", recipe=name, outcome="failed", reason=name)
    skipped = row(recipe="other", outcome="skipped", reason=name)
    tiers: list[dict[str, Any]] = [
        {"name": name, "bytes": None, "latency_p90": None},
        {"name": "none", "bytes": 1, "latency_p90": None},
    ]
    shipped = row(recipe=name, tiers=[name], cpu_model=name, reason=name)
    latex = render(shipped, task=name, others=(failed, skipped), tiers=tiers)
    first, _, second, _, third, _ = re.findall(r"^\\caption\{(.*)\}$", latex, re.MULTILINE)
    assert first.startswith("What to ship. For each task")
    assert read(second).startswith(f"{shown}. accuracy on 200 test rows")
    assert read(third).startswith(f"{shown}: cost. What the methods")
    (_, (_, fits, none)), _, (_, (_, line)), _, (_, (_, costs)), (_, (_, times)) = tabulars(latex)
    assert [read(cell) for cell in fits[:3]] == [shown, shown, f"torch cnn {shown}"]
    assert read(none[2]) == " ".join(f"nothing fits: torch cnn {name}: 12,345 bytes, more than 1".split())
    assert (read(line[3]), read(costs[2]), read(times[3])) == (shown, shown, shown)
    notes = "\n".join(
        read(text) for text in re.findall(r"^\\par\\smallskip\\footnotesize\\raggedright (.*)$", latex, re.MULTILINE)
    )
    assert f"{shown}: no limit; none: at most" in notes
    assert f"torch cnn {shown}: artifacts/{'0' * 64}/" in notes
    assert f"To be noted: torch cnn {shown}: {shown}." in notes
    assert f"jax cnn {shown}, seed 0, fold 0: failed ({shown}); torch: 1 skipped ({shown})" in notes
    assert f"Latency on {shown} by " in read(latex.partition(r"\begin{table*}")[0])


def test_labels_are_safe_and_captions_say_percent() -> None:
    tasks = ["german-credit", "A_b.c", "50% & more", "a~b^c\\d", "naïve 剪枝"]
    for task in tasks:
        latex = render(row(flips=0.0125), task=task)
        labels = re.findall(r"\\label\{(.*?)\}$", latex, re.MULTILINE)
        assert labels[0] == "tab:pocketbench-edge-what-to-ship"
        assert all(re.fullmatch(r"tab:pocketbench-edge-[a-z0-9-]+", label) for label in labels)
        assert len(set(labels)) == len(labels) == 6
        assert r"flips \% $\downarrow$" in tabulars(latex)[3][1][0][-1]
    assert r"\label{tab:pocketbench-edge-german-credit}" in render(row(), task="german-credit")


def test_every_line_has_its_columns() -> None:
    latex = render(row(), row(recipe="int8", score=None, val_score=None, tiers=[]))
    grids = tabulars(latex)
    assert [len(lines) for _, lines in grids] == [2, 2, 3, 3, 3, 3]
    for align, lines in grids:
        assert {len(line) for line in lines} == {len(re.sub(r"S\[[^]]*\]", "S", align))}
    assert latex.count(r"\begin{table*}") == latex.count(r"\toprule") == latex.count(r"\bottomrule") == 6


def test_no_cell_begins_what_the_line_break_before_it_would_take() -> None:
    for name in ("[1pt]", "*"):
        _, _, (_, lines), _, (_, costs), _ = tabulars(render(row(backend=name)))
        assert lines[1][1].startswith("{")
        assert costs[1][0].startswith("{")


LETTERS = st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]) | st.sampled_from("&%$#_{}~^\\-`'\"?!,<>|[]*−– ")


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.text(LETTERS, max_size=20))
@example("---")
@example("''``")
@example("\\alpha{}$x$ % no comment")
def test_any_name_is_read_as_it_was_written(name: str) -> None:
    shown = " ".join(name.split())
    assert read(escape(name)) == shown
    (_, ship), _, (_, lines), _, (_, costs), _ = tabulars(render(row(recipe=name)))
    assert read(lines[1][3]) == read(costs[1][2]) == shown
    assert read(ship[1][2]) == f"torch cnn {shown}".rstrip()


def test_what_cannot_be_printed_is_marked() -> None:
    assert escape("a\x00b\u200bc") == "a\ufffdb\ufffdc"


def test_a_long_recipe_that_a_search_chose_is_broken_and_a_long_table_goes_on() -> None:
    pass_ = 'prune_it(importance="group-norm", round_to=19, rounds=19, sparsity=0.73)'
    chosen = f"mlp · shift=1, turn=false · {pass_} + int8-dynamic"
    rows = [
        row(
            architecture="searched",
            recipe='o(seconds=9, tier="S_1")',
            chosen=chosen,
            n_proposals=5,
            search_seconds=9.1,
            seed=seed,
        )
        for seed in range(20)
    ]
    reason = "none of 3 proposals: failed ([a] " + "[b] * " * 20 + ")"
    none = row(
        architecture="searched", recipe="z(seconds=9)", n_proposals=3, search_seconds=9.0, outcome="no_result", reason=reason
    )
    table = Table("digits", "accuracy", 0.01, "row", (0,), 200, 200, (Entry(tuple(rows), 0.8, INTERVAL),), (none,), {})
    latex = to_latex([table], [*rows, none], SUITE)
    pages = [part for part in latex.split(r"\begin{table*}") if "what the searches chose" in part]
    heights = []
    found = []
    for page in pages:
        cells = re.findall(r"\\begin\{tabular\}\[t\]\{@\{\}l@\{\}\}(.*?)\\end\{tabular\}", page)
        wrapped = [cell for cell in cells if "mlp" in cell or "nothing" in cell]
        heights.append(sum(len(cell.split(r" \\ ")) for cell in wrapped))
        assert all(len(read(line)) <= 34 for cell in cells for line in cell.split(r" \\ "))
        ((_, (headers, *lines)),) = tabulars(page)
        assert headers[:4] == ["back end", "search", "{seed}", "chosen"]
        found += [read(line[3]) for line in lines]
    assert len(pages) == 3
    assert all(height <= 36 for height in heights)
    assert found == [f"nothing: {reason}", *[chosen] * 20]
    titles = re.findall(r"caption\{digits: what the searches chose(.*?)\. Of", latex)
    assert titles == ["", ", 2 of 3", ", 3 of 3"]
    assert all(part.count("three digits here") == (page == 0) for page, part in enumerate(pages))
