"""How names and values are written in notes and errors: on one line, and never endless."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

_NAMED = 4  # names in a list before the rest is only counted
_LENGTH = 40  # characters of a name or value


def plain(text: str) -> str:
    """A name without quotes."""
    cut = text if len(text) <= _LENGTH else text[: _LENGTH - 1] + "…"
    return "".join(one if one.isprintable() else "?" for one in cut)


def shown(value: object) -> str:
    """A name or value as it stands, in quotes; a float as short as it can be."""
    return f"'{plain(f'{value:.9g}' if isinstance(value, float) else str(value))}'"


def listed(items: Sequence[str]) -> str:
    """``a, b, c, d and 12 more``."""
    rest = len(items) - _NAMED
    return ", ".join(items[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def counted(number: int, noun: str) -> str:
    """``1 row``, ``1,200 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def nearest(name: str, known: Sequence[str]) -> str:
    """``; did you mean 'x'?``, or what there is."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {shown(close[0])}?" if close else f"; there is {listed([plain(one) for one in known]) or 'none'}"
