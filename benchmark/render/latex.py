"""The same tables as LaTeX (booktabs), to be read into a paper with ``\\input{leaderboard.tex}``."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmark.leaderboard import Row, Table
from benchmark.render.content import document
from benchmark.render.style import Grid, Section, Style

_HEAD = (
    r"% Needs \usepackage{booktabs,graphicx,siunitx}, and in pdfLaTeX \usepackage[T1]{fontenc} for straight quotation marks; "
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
    "≥": r"$\geq$",
    "–": r"\textendash{}",
    "µ": r"\textmu{}",
}
_DIGEST = re.compile(r"[0-9a-f]{40,}")
"""A hash: no line of a column holds it whole."""
_NUMBER = re.compile(r"(\$-\$)?(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+))?")
"""A rounded number, as it is escaped."""
_INTERVAL = re.compile(r"(\S+) (\[[^\[\]]+, [^\[\]]+\])(.*)")
"""A number, its interval, and a mark."""


_LINE = 34
"""Characters of a line of a cell that is wrapped."""
_LINES = 36
"""Lines of a table that may be longer than a page, a cell of several lines counting as so many."""


def to_latex(tables: Sequence[Table], rows: Sequence[Row], suite: Mapping[str, Any]) -> str:
    """A ``table*`` for each table of the leaderboard, or several where it is too wide for a page, with captions and notes; what
    has no table is plain text. ``suite``: what the store keeps of the suite."""
    sections = [leaf for one in document(tables, rows, suite, Style(name=escape, text=_text)) for leaf in _leaves(one)]
    labels = unique(f"tab:pocketbench-{slug(suite['name'])}-{slug(section.title)}" for section in sections)
    # All may have to wait for the end of the text.
    room = rf"\extrafloats{{{len(sections)}}}\maxdeadcycles=\numexpr\maxdeadcycles+{len(sections)}\relax"
    return "\n\n".join([_HEAD, room, *map(_section, sections, labels)]) + "\n"


def _leaves(section: Section) -> Iterator[Section]:
    """The section; where its table has leaves, one for each, or where it may be longer than a page one for each page, whose notes
    stand below the first."""
    grid = next((part for part in section.parts if isinstance(part, Grid)), None)
    if grid is not None and grid.wraps:
        yield from _pages(section, grid)
        return
    if grid is None or not grid.leaves:
        yield section
        return
    (_, columns), *others = grid.leaves
    yield Section(section.title, tuple(part if part is not grid else grid.only(columns) for part in section.parts))
    for name, columns in others:
        title = f"{section.title}{_text(', ' if ':' in section.title else ': ')}{_text(name)}"
        yield Section(title, (section.parts[0], grid.only(columns)))


def _pages(section: Section, grid: Grid) -> Iterator[Section]:
    """A section for as many lines of its table as a page holds."""
    pages: list[list[tuple[str, ...]]] = [[]]
    full = 0
    for line in grid.lines:
        height = max(len(_wrapped(line[j])) for j in grid.wraps)
        if pages[-1] and full + height > _LINES:
            pages.append([])
            full = 0
        pages[-1].append(line)
        full += height
    first, *others = [replace(grid, lines=tuple(lines)) for lines in pages]
    yield Section(section.title, tuple(part if part is not grid else first for part in section.parts))
    for page, part in enumerate(others, 2):
        yield Section(f"{section.title}{_text(f', {page} of {len(pages)}')}", (section.parts[0], part))


def _wrapped(cell: str) -> list[str]:
    """The lines of a cell of a column that is wrapped: one or more for each pass of a recipe, none long where it has spaces."""
    first, *others = cell.split(" + ")
    return [
        re.sub(r"^([\[*])", r"{\1}", line)  # after the end of a line these would be its argument
        for one in (first, *(f"+ {one}" for one in others))
        for line in textwrap.wrap(one, _LINE, break_long_words=False, break_on_hyphens=False) or [""]
    ]


def slug(text: str) -> str:
    """A key that LaTeX and BibTeX take, of a name: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def unique(keys: Iterable[str]) -> list[str]:
    """The keys, from the second equal one on with a number behind it."""
    taken = list[str]()
    for key in keys:
        taken.append(next(one for one in _numbered(key) if one not in taken))
    return taken


def escape(text: str) -> str:
    """A name, whatever is in it, on one line as LaTeX prints it."""
    return _text("".join(character if character.isprintable() else "\ufffd" for character in " ".join(text.split())))


def _text(text: str) -> str:
    escaped = "".join(_SPECIAL.get(character, character) for character in text)
    escaped = re.sub(r"(?<=\d) (?=\\%)", "~", escaped)  # a line never ends between a number and its unit
    escaped = _DIGEST.sub(lambda found: re.sub(".{8}(?=.)", r"\g<0>\\allowbreak{}", found[0]), escaped)
    apart = re.sub(
        r"([-,?!])(?=[-,`])", r"\1\\/", escaped
    )  # two would become a dash, a quotation mark or a Spanish one; LuaTeX looks through {}
    return re.sub(r"^(\[|\*)", r"{\1}", apart)  # after the end of a table's line these would be its argument


def _numbered(key: str) -> Iterator[str]:
    yield key
    yield from (f"{key}-{n}" for n in itertools.count(2))


def _section(section: Section, label: str) -> str:
    grids = [part for part in section.parts if isinstance(part, Grid)]
    if not grids:
        texts = [part if isinstance(part, str) else _items(part) for part in section.parts if not isinstance(part, Grid)]
        # Wide spaces are better than names that stick out of a column.
        return "\n\n".join([rf"{{\sloppy\paragraph{{{section.title}}}", *texts]) + "\\par}"
    texts = [part if isinstance(part, str) else _run_in(part) for part in section.parts if not isinstance(part, Grid)]
    (grid,) = grids
    columns = list(zip(*grid.lines, strict=True))
    numeric = [side == "r" and _format(column) for side, column in zip(grid.align, columns, strict=True)]
    cells = [
        [
            _cell(cell, True, (i, j) in grid.bold) if number else _narrowed(cell, side, (i, j) in grid.bold, j in grid.wraps)
            for j, (cell, side, number) in enumerate(zip(line, grid.align, numeric, strict=True))
        ]
        for i, line in enumerate(grid.lines)
    ]
    lines = [
        r"\begin{table*}\setlength{\belowcaptionskip}{6pt}",  # where captions stand below, classes leave no space here
        rf"\caption{{{section.title}. {texts[0]}}}",
        rf"\label{{{label}}}",
        r"\centering\small\setlength{\tabcolsep}{3pt}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",  # made smaller where it is too wide, never larger
        rf"\begin{{tabular}}{{{''.join(one or side for one, side in zip(numeric, grid.align, strict=True))}}}",
        r"\toprule",
        _line([_cell(header, bool(one), False) for header, one in zip(grid.headers, numeric, strict=True)]),
        r"\midrule",
        *map(_line, cells),
        r"\bottomrule",
        r"\end{tabular}}",
        *(rf"\par\smallskip\footnotesize\raggedright {text}" for text in texts[1:]),
        r"\end{table*}",
    ]
    return "\n".join(lines)


def _format(cells: Sequence[str]) -> str:
    """The siunitx column of these cells; empty where they are not mostly numbers, as an interval beside each is none."""
    found = [match for cell in cells if (match := _NUMBER.fullmatch(cell))]
    if not found or any(len(cell) > len(r"\textendash{}") for cell in cells):
        return ""
    whole = max(len(match[2].replace(",", "")) for match in found)
    sign = "-" if any(match[1] for match in found) else ""
    decimals = max(len(match[3] or "") for match in found)
    return f"S[table-format={sign}{whole}{f'.{decimals}' if decimals else ''},group-separator={{,}},group-minimum-digits=4]"


def _cell(cell: str, numeric: bool, bold: bool) -> str:
    """A cell of a column; in one of siunitx everything but numbers is in braces."""
    match = _NUMBER.fullmatch(cell)
    if numeric and match and not bold:
        return cell.replace("$-$", "-").replace(",", "")
    text = rf"\textbf{{{cell}}}" if bold else cell
    return f"{{{text}}}" if numeric else text


def _narrowed(cell: str, side: str, bold: bool, wraps: bool) -> str:
    """A cell whose interval is set smaller than its number, and which has a line for each pass of a recipe, or several."""
    if found := _INTERVAL.fullmatch(cell) if side == "r" else None:
        return rf"{_cell(found[1], False, bold)} {{\scriptsize {found[2]}}}{found[3]}"
    first, *others = cell.split(" + ") if side == "l" else [cell]
    split = _wrapped(cell) if wraps else (first, *(f"+ {one}" for one in others))
    lines = [_cell(line, False, bold) for line in split]
    if len(lines) == 1:
        return lines[0]
    return rf"\begin{{tabular}}[t]{{@{{}}{side}@{{}}}}" + r" \\ ".join(lines) + r"\end{tabular}"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _items(items: Sequence[str]) -> str:
    return "\n".join([r"\begin{itemize}", *(rf"\item {{}}{item}" for item in items), r"\end{itemize}"])


def _run_in(items: Sequence[str]) -> str:
    """A list in one paragraph: a list environment does not fit below a table."""
    return " ".join(item if item.endswith(".") else f"{item};" for item in items).removesuffix(";")
