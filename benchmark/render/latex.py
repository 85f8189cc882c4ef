"""The same tables as LaTeX (booktabs), to be read into a paper with ``\\input{leaderboard.tex}``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.leaderboard import Row, Table
from benchmark.render.content import document
from benchmark.render.style import Grid, Section, Style

_HEAD = (
    r"% Needs \usepackage{booktabs,graphicx}, and in pdfLaTeX \usepackage[T1]{fontenc} for straight quotation marks; "
    r"names outside Latin scripts need LuaLaTeX or XeLaTeX and a font that has them."
)
_SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "×": r"$\times$",
    "÷": r"$\div$",
    "≤": r"$\leq$",
    "−": "$-$",
    "–": r"\textendash{}",
    "µ": r"\textmu{}",
}


def to_latex(tables: Sequence[Table], rows: Sequence[Row], suite: Mapping[str, Any]) -> str:
    """One ``table*`` for each table of the leaderboard, with its caption and notes; what has no table is plain text.
    ``suite``: what the store keeps of the suite."""
    sections = document(tables, rows, suite, Style(name=escape, text=_text))
    return "\n\n".join([_HEAD, *(_section(section, f"tab:pocketbench-{suite['name']}") for section in sections)]) + "\n"


def escape(text: str) -> str:
    """A name, whatever is in it, on one line as LaTeX prints it."""
    return _text("".join(character if character.isprintable() else "\ufffd" for character in " ".join(text.split())))


def _text(text: str) -> str:
    escaped = "".join(_SPECIAL.get(character, character) for character in text)
    apart = re.sub(r"([-,?!])(?=[-,`])", r"\1{}", escaped)  # two would become a dash, a quotation mark or a Spanish one
    return re.sub(r"^(\[|\*)", r"{\1}", apart)  # after the end of a table's line these would be its argument


def _section(section: Section, label: str) -> str:
    texts = [part if isinstance(part, str) else _run_in(part) for part in section.parts if not isinstance(part, Grid)]
    grids = [part for part in section.parts if isinstance(part, Grid)]
    if not grids:
        return "\n\n".join([rf"\paragraph{{{section.title}}}", *texts])
    (grid,) = grids
    slug = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-")
    lines = [
        r"\begin{table*}",
        rf"\caption{{{section.title}. {texts[0]}}}",
        rf"\label{{{label}-{slug}}}",
        r"\centering",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",  # made smaller where it is too wide, never larger
        rf"\begin{{tabular}}{{{grid.align}}}",
        r"\toprule",
        _line(grid.headers),
        r"\midrule",
        *map(_line, grid.lines),
        r"\bottomrule",
        r"\end{tabular}}",
        *(rf"\par\smallskip\footnotesize\raggedright {text}" for text in texts[1:]),
        r"\end{table*}",
    ]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _run_in(items: Sequence[str]) -> str:
    """A list in one paragraph: a list environment does not fit below a table."""
    return " ".join(item if item.endswith(".") else f"{item};" for item in items).removesuffix(";")
