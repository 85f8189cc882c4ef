"""Tables as Markdown, readable as plain text too."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from benchmark.leaderboard import Row, Table
from benchmark.render.content import document
from benchmark.render.style import Grid, Part, Style


def to_markdown(tables: Sequence[Table], rows: Sequence[Row], suite: Mapping[str, Any]) -> str:
    """The leaderboard of a run. ``suite``: what the store keeps of the suite."""
    first, *others = document(tables, rows, suite, _STYLE)
    parts = [f"# {first.title}", *map(_part, first.parts)]
    for section in others:
        parts += [f"## {section.title}", *map(_part, section.parts)]
    return "\n\n".join(parts) + "\n"


def _part(part: Part) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Grid):
        align = ["left" if side == "l" else "right" for side in part.align]
        lines = [
            [f"**{cell}**" if (i, j) in part.bold else cell for j, cell in enumerate(line)] for i, line in enumerate(part.lines)
        ]
        return tabulate(lines, headers=part.headers, tablefmt="pipe", disable_numparse=True, colalign=align)
    return "\n".join(f"- {item}" for item in part)


def escape(text: str) -> str:
    """A name as text of a Markdown table cell or line, whatever is in it."""
    for character in "\\|`*_<>[]~&$":
        text = text.replace(character, "\\" + character)
    # At the start of a line these would begin a heading or a list.
    return re.sub(r"^(\d*)(#+|[-+.)])(?= |$)", r"\1\\\2", " ".join(text.split()))


_STYLE = Style(name=escape, text=str)
