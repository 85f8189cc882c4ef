"""The target -> class indices, and the unit that each row belongs to -> a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark import UserError
from benchmark_own._columns import Column, keys, scalars
from benchmark_own._splits import Rows
from benchmark_own._words import counted, listed, plain, shown

_MOST = 100  # classes
_FEW = 20  # distinct labels with a fraction that may still be classes


@dataclass(frozen=True)
class Labels:
    """``y``: int64 (N,), -1 where the target is missing. ``classes``: their names by index: numbers by size, False before True,
    texts by their letters."""

    y: Rows
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def read_labels(column: Column, where: str) -> Labels:
    """The classes in a target; ``where`` names it. Raises UserError for one that has fewer than two, or so many that it looks
    like a quantity or a name."""
    values = _usable(column, where)
    key_of = keys(values)
    order = sorted({key for key in key_of.values() if key is not None})
    index = {key: place for place, key in enumerate(order)}
    places = {value: -1 if key is None else index[key] for value, key in key_of.items()}
    y = np.array([-1 if value is None else places[value] for value in values], dtype=np.int64)
    left_out = np.flatnonzero(y < 0)
    rows = len(y) - len(left_out)
    if len(order) < 2:
        found = f"all {counted(rows, 'row')} with a value say {shown(order[0])}" if order else "no row has a value"
        raise UserError(f"{where}: {found}; a task needs two classes")
    fraction = next((key for key in order if isinstance(key, float) and not key.is_integer()), None)
    if len(order) > _MOST or 2 * len(order) > rows or (fraction is not None and len(order) > _FEW):
        row = int(np.flatnonzero(y == index[order[0] if fraction is None else fraction])[0]) + 1
        many = f"{counted(len(order), 'different value')} in {counted(rows, 'row')}, as {shown(values[row - 1])} in row {row}"
        raise UserError(f"{where}: {many}: it looks like a quantity or an identifier, and PocketBench predicts classes")
    classes = tuple(_name(key) for key in order)
    positive = f"; class 1 is the positive one ({plain(classes[1])})" if len(classes) == 2 else ""
    notes = [f"classes: {listed([f'{plain(one)} ({place})' for place, one in enumerate(classes)])}{positive}"]
    if len(left_out):
        notes.append(f"{counted(len(left_out), 'row')} without a target left out (the first: row {left_out[0] + 1})")
    return Labels(y=y, classes=classes, notes=tuple(notes))


def read_units(column: Column, rows: Rows, where: str) -> Rows:
    """The unit of each of these rows, int64 (N,): its place among the sorted units. Raises UserError where one is missing."""
    values = _usable(column, where)
    key_of = {None: None, **keys(values)}  # 3 and 3.0 are one unit
    chosen = [key_of[values[row]] for row in rows]
    if None in chosen:
        raise UserError(f"{where}, row {rows[chosen.index(None)] + 1}: has no value, so it is unknown what the row belongs to")
    index = {value: place for place, value in enumerate(sorted(set(chosen)))}
    return np.array([index[value] for value in chosen], dtype=np.int64)


def check_sizes(labels: Labels, rows: Rows, units: Rows, folds: int, where: str, unit: str) -> None:
    """Raises UserError for a class with too few rows, or units, to be in all splits of all folds. ``labels`` are those of all
    rows, ``rows`` the rows in use and ``units`` theirs; ``unit`` is empty where each row is its own."""
    # One part of each fold is for testing. Of a class with folds + 1 members, a test part can take two, and too few are left to
    # be in each part of the rest.
    needed = folds + 2
    y = labels.y[rows]
    pairs = np.unique(np.stack([y, units]), axis=1)
    sizes = np.bincount(pairs[0], minlength=len(labels.classes))
    for place in np.flatnonzero(sizes < needed)[:1]:
        size = counted(int(sizes[place]), "unit" if unit else "row")
        row = rows[np.flatnonzero(y == place)[0]] + 1
        advice = "leave it out, merge it with another, or set fewer folds"
        which = f"class {shown(labels.classes[place])} has {size}, {folds} folds need {needed} of each class"
        raise UserError(f"{where}, row {row}: {which}: {advice}")


def _usable(column: Column, where: str) -> list[Any]:
    if column.kind == "other":
        raise UserError(f"{where}: is {column.why}")
    return scalars(column)


def _name(key: Any) -> str:
    """A class by name: 1.0 is ``1``."""
    return str(int(key)) if isinstance(key, float) and key.is_integer() and abs(key) < 2**53 else str(key)
