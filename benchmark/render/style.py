"""What every format shares: the parts of a document, how a format escapes, and how numbers are rounded."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

DASH = "–"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of Okabe and Ito 2008, "Color universal design": for the colour-blind too."""


@dataclass(frozen=True)
class Style:
    """A format's escapes. ``name``: of what people have named, whatever is in it. ``text``: of our own words and numbers."""

    name: Callable[[str], str]
    text: Callable[[str], str]

    def say(self, template: str, **values: object) -> str:
        """A sentence with its values filled in: texts are names, numbers are formatted as the template says."""
        parts = []
        for literal, field, form, _ in string.Formatter().parse(template):
            parts.append(self.text(literal))
            if field:
                value = values[field]
                parts.append(self.name(value) if isinstance(value, str) else self.text(format(value, form or "")))
        return "".join(parts)


@dataclass(frozen=True)
class Grid:
    """A table. ``align``: ``l`` or ``r`` for each column. ``bold``: (line, column) of the cells that stand out. ``refs``: of each
    line what names the cell that it begins with, where lines are methods or cells, and ``key`` the column of its recipe.
    ``leaves``: where it is too wide for a page, the tables that it becomes there: what each adds to the title, empty for the
    first, and its columns. ``wraps``: columns of long texts, which are set in several lines there; such a table may be longer
    than a page."""

    headers: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    align: str
    bold: frozenset[tuple[int, int]] = frozenset()
    refs: tuple[tuple[Any, ...], ...] = ()
    key: int = 0
    leaves: tuple[tuple[str, tuple[int, ...]], ...] = ()
    wraps: tuple[int, ...] = ()

    def only(self, columns: Sequence[int]) -> Grid:
        """These columns of it."""
        places = {column: place for place, column in enumerate(columns)}
        return Grid(
            headers=tuple(self.headers[j] for j in columns),
            lines=tuple(tuple(line[j] for j in columns) for line in self.lines),
            align="".join(self.align[j] for j in columns),
            bold=frozenset((i, places[j]) for i, j in self.bold if j in places),
        )


Part: TypeAlias = str | Grid | tuple[str, ...]
"""A paragraph, a table, or the items of a list."""


@dataclass(frozen=True)
class Section:
    """A titled part of the document."""

    title: str
    parts: tuple[Part, ...]


def named(row: Mapping[str, Any], *, runtime: bool) -> str:
    """How the method of a row is named to people, with its runtime where there are several."""
    name = " ".join(filter(None, (row["backend"], row["architecture"], row["recipe"])))
    return f"{name} on {row['runtime']}" if runtime else name


def decimals(half_widths: Iterable[float]) -> int:
    """To how many decimals the scores of a table are rounded: as many as its narrowest interval bears, given half the widths of
    all. The rule is the Particle Data Group's (Review of Particle Physics, introduction, "Rounding"): of the half-width's first
    three digits, up to 354 two are kept, up to 949 one, and above it is taken for 1000. 3 where there is no interval."""
    known = [half for half in half_widths if half > 0]
    if not known:
        return 3
    digits, exponent = f"{min(known):.2e}".split("e")
    first = round(float(digits) * 100)
    return min(max(-int(exponent) + (1 if first <= 354 else 0), 0), 6)


class Bounded(Protocol):
    """An interval."""

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


def score_decimals(intervals: Iterable[Bounded | None]) -> int:
    """:func:`decimals` of these intervals, of those that there are."""
    return decimals((one.high - one.low) / 2 for one in intervals if one)


def number(value: float | None, form: str) -> str:
    """A number as ``format`` writes it, a dash where there is none."""
    return DASH if value is None else format(value, form).replace("-", "−")


def bounded(value: float | None, low: float | None, high: float | None, digits: int, sign: str = "") -> str:
    """A value and its interval, where it has one."""
    form = f"{sign}.{digits}f"
    text = number(value, form)
    return text if low is None or high is None else f"{text} [{number(low, form)}, {number(high, form)}]"


def span(values: Iterable[float], digits: int) -> str:
    """The least and the greatest value; one number where they look alike, a dash where there is none."""
    ends = [f"{value:.{digits}f}" for value in sorted(values)]
    return "–".join(dict.fromkeys((ends[0], ends[-1]))) if ends else DASH


def plural(unit: str) -> str:
    """More than one of a unit."""
    return unit if unit.endswith("s") else f"{unit}s"


def listed(numbers: Sequence[int]) -> str:
    """Numbers in one line, three and more that follow one another as the first and the last."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}–{numbers[-1]}"
    return ", ".join(map(str, numbers))
