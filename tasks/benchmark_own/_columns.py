"""Columns as a file has them -> columns of numbers and of texts. Decides by all rows: what a column is, not what it teaches."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark_own._words import counted, listed, plain, shown

Kind: TypeAlias = Literal["cells", "texts", "booleans", "numbers", "other"]

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")
"""Texts that stand for an empty cell."""
LARGEST = float(np.finfo(np.float32).max)  # a number beyond it would be infinite in x

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,4000}")  # more digits Python reads as a mistake
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:\.[0-9]{3})+")
_NOT_FINITE = re.compile(r"[+-]?(?:inf|infinity|nan)", re.IGNORECASE)
_CODE = re.compile(r"[+-]?0[0-9]")
_DATE = re.compile(
    r"[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}([T ][0-9:.,]+.*)?|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2,4}( [0-9:.]+)?"
)


@dataclass(frozen=True)
class Column:
    """A column of a file. ``cells``: texts of any type, to be found out. ``texts``, ``booleans``: lists, None where missing.
    ``numbers``: an array, NaN where missing. ``other``: cannot be used; ``why`` says so and ``values`` is empty."""

    kind: Kind
    values: Sequence[Any] | NDArray[Any]
    why: str = ""


@dataclass(frozen=True)
class Typed:
    """``frame``: float64 columns with NaN and text columns with None, one row per row of the file. ``dropped``: column -> why."""

    frame: pd.DataFrame
    dropped: Mapping[str, str]
    notes: tuple[str, ...]


def number(text: str) -> float | None:
    """The number that a text is, infinity for one that is not finite, None for any other text."""
    if _NUMBER.fullmatch(text):
        return float(text)
    return np.inf if _NOT_FINITE.fullmatch(text) else None


def is_code(text: str) -> bool:
    """Whether digits stand for a name, as in ``007``: a number is not written with a leading zero."""
    return _CODE.match(text) is not None


def scalars(column: Column) -> list[Any]:
    """The values one by one, as text, bool, int or float; None where missing. Texts stay texts, also where they are digits."""
    if column.kind in ("cells", "texts"):
        return [None if one is None or one in MISSING else one for one in column.values]
    if column.kind == "numbers":
        return [one if abs(one) < np.inf else None for one in np.asarray(column.values).tolist()]
    return list(column.values)


def keys(values: Iterable[Any]) -> dict[Any, Any]:
    """Each distinct value of :func:`scalars` -> what it is equal and sorted by; None where it counts as missing.

    Texts that all are numbers, and no codes, are their numbers: 2 before 10, and ``1`` is ``1.0``. Whole ones stay exact.
    """
    distinct = [one for one in dict.fromkeys(values) if one is not None]
    if not all(isinstance(one, str) and number(one) is not None and not is_code(one) for one in distinct):
        return {one: one for one in distinct}
    exact = {one: int(one) if _WHOLE.fullmatch(one) else number(one) for one in distinct}
    return {one: None if value is None or abs(value) == np.inf else value for one, value in exact.items()}


@dataclass(frozen=True)
class _Found:
    """What was found of a column. ``values``: float64 or object, empty where ``dropped`` says why. ``missing``: how many cells.
    ``odd``: cells that are no number in a column most of whose cells are, how many, and the row and text of the first. ``comma``:
    the decimal point is one; ``thousands``: a number whose point could part thousands; ``dates``: most cells look like dates."""

    values: NDArray[Any]
    dropped: str = ""
    missing: int = 0
    odd: int = 0
    odd_row: int = 0
    odd_text: str = ""
    leading_zeros: bool = False
    digits: bool = False
    comma: bool = False
    thousands: str = ""
    dates: bool = False

    @property
    def example(self) -> str:
        return f"{self.odd:,} (row {self.odd_row}: {shown(self.odd_text)})"


def typed(columns: Mapping[str, Column], decimal_comma: bool) -> Typed:
    """Columns of numbers and of texts out of these. ``decimal_comma``: a column of ``1,5`` is one of numbers.

    Cells are numbers where at least 95 % of those with a value are, and none is a code as ``007``. Left out: columns without a
    value, texts of which no two are equal, numbers that count the rows, and what is neither a number nor a text.
    """
    found = {name: _find(column, decimal_comma) for name, column in columns.items()}
    kept = {name: one.values for name, one in found.items() if not one.dropped}
    dropped = {name: one.dropped for name, one in found.items() if one.dropped}
    return Typed(frame=pd.DataFrame(kept), dropped=dropped, notes=tuple(_notes(found)))


def _notes(found: Mapping[str, _Found]) -> Iterable[str]:
    kept = {name: one for name, one in found.items() if not one.dropped}
    kinds = {
        "numbers": [plain(name) for name, one in kept.items() if one.values.dtype != object],
        "text": [plain(name) for name, one in kept.items() if one.values.dtype == object],
    }
    used = "; ".join(f"{kind}: {listed(names)}" for kind, names in kinds.items() if names)
    yield f"{counted(len(kept), 'column')} in use; {used}" if used else "no column in use"
    if missing := [f"{plain(name)} {one.missing:,}" for name, one in kept.items() if one.missing]:
        yield f"missing cells: {listed(missing)}"
    odd = {name: one for name, one in kept.items() if one.odd}
    if numeric := [f"{plain(name)} {one.example}" for name, one in odd.items() if one.values.dtype != object]:
        yield f"cells that are no number, in columns of numbers, count as missing: {listed(numeric)}"
    if texts := [f"{plain(name)} {one.example}" for name, one in odd.items() if one.values.dtype == object]:
        yield f"read as text, each value a category, since too many cells are no number (empty ones would do): {listed(texts)}"
    for names, decided in (
        (
            [name for name, one in kept.items() if one.leading_zeros],
            "text, though values look like whole numbers (leading zeros)",
        ),
        ([name for name, one in kept.items() if one.digits], "text, as the file says, though all values look like numbers"),
        (
            [name for name, one in kept.items() if one.dates],
            "looks like dates; each one is a category, so drop it or make it a number, such as days since the first",
        ),
        ([name for name, one in kept.items() if one.comma], "numbers, with a comma for the decimal point"),
        (
            [name for name, one in kept.items() if one.thousands and any(other.comma for other in kept.values())],
            "numbers, read with a decimal point, though in other columns it is a comma",
        ),
        *(
            ([name for name, one in found.items() if one.dropped == why], f"left out, {why}")
            for why in dict.fromkeys(one.dropped for one in found.values() if one.dropped)
        ),
    ):
        if names:
            yield f"column{'s' if len(names) > 1 else ''} {listed([plain(name) for name in names])}: {decided}"


def _find(column: Column, decimal_comma: bool) -> _Found:
    if column.kind == "other":
        return _Found(np.empty(0), dropped=column.why)
    if column.kind == "booleans":
        return _of_numbers(np.array([np.nan if one is None else float(one) for one in column.values]))
    if column.kind == "numbers":
        return _of_numbers(np.asarray(column.values).astype(np.float64))
    return _of_texts(column.values, column.kind == "texts", decimal_comma)


def _of_numbers(values: NDArray[np.float64]) -> _Found:
    values = np.where(np.abs(values) <= LARGEST, values, np.nan)  # False for NaN
    missing = int(np.isnan(values).sum())
    if missing == len(values):
        return _Found(np.empty(0), dropped="no value in any row")
    if len(values) > 2 and (np.diff(values) == 1).all():
        return _Found(np.empty(0), dropped="it counts the rows")
    return _Found(values, missing=missing)


def _of_texts(cells: Sequence[str | None] | NDArray[Any], declared: bool, decimal_comma: bool) -> _Found:
    codes, distinct = pd.factorize(np.array(["" if one is None else one for one in cells], dtype=object))
    times = np.bincount(codes)
    missing = np.array([one in MISSING for one in distinct])
    present = ~missing
    if missing.all():
        return _Found(np.empty(0), dropped="no value in any row")
    comma = False
    numbers = _numbers(distinct)
    if decimal_comma and not _mostly(numbers, times, present):
        points = _numbers([one.replace(",", ".") if "." not in one else "" for one in distinct])
        if comma := _mostly(points, times, present):
            numbers = points
    zeros = any(is_code(one) for one in distinct[present & ~np.isnan(numbers)])
    odd = present & np.isnan(numbers)
    first = int(np.flatnonzero(odd[codes])[0]) if odd.any() else 0
    strange = {"odd": int(times[odd].sum()), "odd_row": first + 1, "odd_text": distinct[codes[first]]}
    if _mostly(numbers, times, present) and not zeros and not declared:
        one = _of_numbers(np.where(np.isfinite(numbers) & present, numbers, np.nan)[codes])
        thousands = "" if comma else next(filter(_THOUSANDS.fullmatch, distinct), "")
        one = dataclasses.replace(one, comma=comma, thousands=thousands)
        return one if one.dropped or not odd.any() else dataclasses.replace(one, **strange)
    if times[present].max() == 1 and present.sum() > 1:
        return _Found(np.empty(0), dropped="a text that differs in every row")
    distinct[missing] = None
    values = distinct[codes]
    digits = not odd.any()
    known = times[present].sum()
    dates = 2 * times[[bool(_DATE.fullmatch(one or "")) for one in distinct]].sum() > known
    mixed = odd.any() and not declared and not zeros and 2 * times[odd].sum() < known
    return _Found(
        values,
        missing=int(times[missing].sum()),
        leading_zeros=digits and zeros,
        digits=digits and not zeros,
        dates=bool(dates),
        **(strange if mixed else {}),
    )


def _numbers(distinct: Iterable[str]) -> NDArray[np.float64]:
    """The number of each text, NaN for what is none."""
    return np.array([np.nan if value is None else value for value in map(number, distinct)], dtype=np.float64)


def _mostly(numbers: NDArray[np.float64], times: NDArray[Any], present: NDArray[np.bool_]) -> bool:
    """Whether at least 95 % of the cells that have a value are numbers."""
    return bool(20 * times[present & ~np.isnan(numbers)].sum() >= 19 * times[present].sum())
