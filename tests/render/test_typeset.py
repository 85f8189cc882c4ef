"""The tables as a printer makes them: TeX Live typesets them, and the page is read back. CI installs it (`.ci/run`)."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.leaderboard import COLUMNS, Difference, Entry, Group, Groups, Row, Table
from benchmark.render.latex import to_latex
from benchmark.render.paper import to_bibtex, to_macros
from benchmark.statistics import Interval

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("lualatex", "pdflatex", "bibtex", "pdftotext"))), reason="TeX Live and poppler are not installed"
)

PDFLATEX = r"\usepackage[T1]{fontenc}\usepackage{lmodern}"
LUALATEX = r"""\usepackage{fontspec}
\directlua{luaotfload.add_fallback("cjk", {"DroidSansFallback:mode=node;"})}
\setmainfont{lmroman10-regular}[Extension=.otf, BoldFont=lmroman10-bold, RawFeature={fallback=cjk}]"""
HOSTILE = [
    *("&", "%", "$x$", "#1", "_", "{", "}", "~", "^", "\\", r"\input{x}", "a & b % c $ d # e_f {g} ~h ^i \\j", "--- ?` !`"),
    *("é à ü ñ ß", "剪枝", "None", "nan", "007", "1e5", "[x]", "*"),
]
SUITE: dict[str, Any] = {
    "name": "hostile & 100%",
    "seeds": [0],
    "build": {"cores": 1, "memory": 1024**3, "seconds": 60.0},
    "measure": {"processes": 3, "rounds": 3, "calls": 100},
    "tiers": [{"name": "S_1 & {x}", "bytes": 65_536, "latency_p90": 0.001}],
    "bundle": "0123456789abcdef" * 4,
    "methods": {"distil": ["A. Teacher, Telling & showing, 2015"], "x": ["A. Teacher, Telling & showing, 2015", "B, 2016"]},
    "citations": {"a & b": "Å. Nobody & Sons: 100% {of} it_all. Journal $1, 2019. doi:10.1000/x_y", "A-b": "None"},
}


def row(**values: Any) -> Row:
    full = {
        "fold": 0,
        "backend": "torch",
        "architecture": "cnn",
        "recipe": "reference",
        "runtime": "onnxruntime",
        "seed": 0,
        "outcome": "ok",
        "reason": "",
        "metric": "accuracy",
        "artifact": "0" * 64,
        "score": 0.8,
        "val_score": 0.8,
        "artifact_bytes": 1_234_567,
        "latency_p50_us": 30.0,
        "latency_p90_us": 35.0,
        "size_ratio": 1.5,
        "macs": 12_345_678,
        "rss_bytes": 45e6,
        "latency_ratio": 0.5,
        "flips": 0.01,
        "tiers": ["S_1 & {x}"],
        "noisy": True,
        "threads": 1,
        "cpu_model": "Intel(R) Xeon(R) CPU_1 @ 2.20GHz",
        "versions": {"pocketbench": "0.1.0"},
        "python": "3.11.7",
        "git_commit": "fedcba9876543210fedcba9876543210fedcba98-dirty",
        "finished_utc": "2026-01-01T00:00:00+00:00",
    }
    return {**dict.fromkeys(COLUMNS), **full, **values}


def tables(*names: str) -> list[Table]:
    """Two tasks in which these are the names of everything that people name."""
    found = []
    for task in ("a & b", names[-1]):
        entries = tuple(
            Entry(
                (row(task=task, recipe=name, architecture=name),),
                0.8,
                Interval(0.78, 0.82, 2000, 0, 200, False),
                rank=1 if i < 2 else 3,
                reference=Difference(-0.012, -0.02, -0.001, "undecided"),
                control=Difference(0.012, 0.001, 0.02, "better"),
                fronts=("bytes",),
                groups={name: Groups({name: Group(10, 10, 0.8, 0.7, 0.9), "other": Group(10, 10, 0.7)}, 0.1)},
            )
            for i, name in enumerate(names)
        )
        failed = tuple(row(task=task, recipe=name, outcome="failed", reason=name) for name in names)
        baselines = {"constant": 0.5, "trivial": 0.6}
        found.append(Table(task, "accuracy", 0.01, "row", (0,), 200, 200, entries, failed, baselines, notes=names))
    return found


def searches(*chosen: str) -> list[Table]:
    """A task whose searches chose these, and one that found nothing, on ten seeds each."""
    rows = [
        row(
            task="a & b",
            architecture="searched",
            recipe='optuna(sampler="nsga2", seconds=180, tier="S_1 & {x}")',
            chosen=name,
            n_proposals=4321,
            search_seconds=180.06,
            seed=seed,
        )
        for seed in range(10)
        for name in chosen
    ]
    nothing = [{**one, "chosen": None, "outcome": "no_result", "reason": HOSTILE[11]} for one in rows[:10]]
    return [Table("a & b", "accuracy", 0.01, "row", (0,), 200, 200, (Entry(tuple(rows), 0.8),), tuple(nothing), {})]


Typeset = Callable[..., tuple[str, str]]


@pytest.fixture
def typeset(tmp_path: Path) -> Typeset:
    """``typeset(engine, files, body)``: the log of two runs, and the text of the pages. ``options``: of the class."""

    def run(engine: str, files: dict[str, str], body: str, options: str = "a4paper") -> tuple[str, str]:
        fonts = LUALATEX if engine == "lualatex" else PDFLATEX
        head = rf"\documentclass[{options}]{{article}}{fonts}\usepackage{{booktabs,graphicx,siunitx}}\input{{macros}}"
        files = {**files, "page.tex": rf"{head}\begin{{document}}{body}\end{{document}}"}
        for name, text in files.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        for command in ([engine], ["bibtex"], [engine], [engine]):
            if command == ["bibtex"] and "\\bibliography" not in body:
                continue
            flags = [] if command == ["bibtex"] else ["-interaction=nonstopmode", "-halt-on-error"]
            done = subprocess.run([*command, *flags, "page"], cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout[-3000:]
        read = subprocess.run(["pdftotext", "-layout", "page.pdf", "-"], cwd=tmp_path, capture_output=True, text=True, check=True)
        return (tmp_path / "page.log").read_text(encoding="utf-8", errors="replace"), read.stdout

    return run


def test_hostile_names_come_out_as_they_were_written(typeset: Typeset) -> None:  # case L-01
    made = tables(*HOSTILE)
    rows = [one for table in made for entry in table.entries for one in entry.rows]
    files = {"leaderboard.tex": to_latex(made, rows, SUITE), "macros.tex": to_macros(made)}
    log, text = typeset("lualatex", files, r"\input{leaderboard}")
    assert "Missing character" not in log
    printed = " ".join(text.split())
    for name in HOSTILE:
        assert f"torch {' '.join(name.split())} {' '.join(name.split())}" in printed, name
    assert "What to ship" in text
    assert "S_1 & {x}" in text


@pytest.mark.parametrize("options", ["a4paper", "twocolumn"])
def test_the_tables_of_a_run_have_no_overfull_box(typeset: Typeset, options: str) -> None:
    names = ["reference", "narrow(width=0.5)", "prune-structured(sparsity=0.5) + int8-static", "distil(width=0.5) + int8-static"]
    made = tables(*names)
    rows = [one for table in made for entry in table.entries for one in entry.rows]
    files = {"leaderboard.tex": to_latex(made, rows, SUITE), "macros.tex": to_macros(made)}
    log, text = typeset("pdflatex", files, r"\input{leaderboard}", options)
    assert "0123456789abcdef" in re.sub(r"\s", "", text)
    assert not re.findall(r"^Overfull.*", log, re.MULTILINE)
    assert "undefined" not in log.replace("undefined or not measured", "")
    assert "1,234,567" in text  # a number of a siunitx column
    assert "prune-structured(sparsity=0.5) + int8-static" in text


@pytest.mark.parametrize("options", ["a4paper", "twocolumn"])
def test_what_searches_chose_fits_its_pages(typeset: Typeset, options: str) -> None:
    pass_ = 'prune-structured(importance="group-norm", round_to=19, rounds=19, sparsity=0.730397058690668)'
    made = searches(f'mlp · shift=1, turn=false, updates=75 · {pass_} + low-rank(by="energy") + int8-dynamic', "mlp · reference")
    rows = [*(one for entry in made[0].entries for one in entry.rows), *made[0].others]
    files = {"leaderboard.tex": to_latex(made, rows, SUITE), "macros.tex": to_macros(made)}
    log, text = typeset("pdflatex", files, r"\input{leaderboard}", options)
    assert not re.findall(r"^Overfull.*|.*Float too large.*", log, re.MULTILINE)
    assert "a & b: what the searches chose, 2 of" in " ".join(text.split())
    assert "sparsity=0.73)" in text
    assert text.count("4,321") == len(rows)


def test_numbers_for_running_text_and_references(typeset: Typeset) -> None:
    made = tables("narrow(width=0.5)", "x y", "x-y")
    files = {"macros.tex": to_macros(made), "references.bib": to_bibtex(SUITE)}
    key = "a-b/torch/narrow-width-0-5/narrow-width-0-5/onnxruntime"
    body = rf"SCORE \pocketbench{{{key}/score}} \pocketbench{{{key}/interval}} BYTES \pocketbench{{{key}/bytes}} END "
    body += r"TWO \pocketbench{a-b/torch/x-y/x-y/onnxruntime-2/rank} END"
    body += r"\cite{pocketbench,a-b,a-b-2,distil,x}\bibliographystyle{plain}\bibliography{references}"
    log, text = typeset("pdflatex", files, body)
    printed = " ".join(text.split())
    assert "SCORE 0.800 [0.780, 0.820] BYTES 1,234,567 END" in printed
    assert "TWO 3 END" in printed
    assert "Å. Nobody & Sons: 100% {of} it_all. Journal $1, 2019." in printed
    assert printed.count("A. Teacher, Telling & showing, 2015") == 1
    assert "B, 2016" in printed
    assert "undefined" not in log


def test_an_unknown_key_stops_the_paper(typeset: Typeset) -> None:
    with pytest.raises(AssertionError, match="no number nowhere/at/all"):
        typeset("pdflatex", {"macros.tex": to_macros([])}, r"\pocketbench{nowhere/at/all}")
