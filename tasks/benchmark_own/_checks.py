"""What would make a result too good: columns that tell the target, rows that are in two splits, units that are torn apart."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier  # type: ignore[import-untyped]  # scikit-learn has no type hints

from benchmark import UserError
from benchmark_own._columns import Column, scalars
from benchmark_own._splits import Rows
from benchmark_own._words import counted, listed, plain, shown

_UNITS = "patient|subject|customer|client|user|person|device|session|recording|site"
_BELONG = re.compile(rf"(?:^|_)(?:(?:{_UNITS})s?(?:_?(?:id|no|nr|number|name|code))?|id)$")
"""Names of units whose rows belong together, written as ``patient_id``."""
_NEARLY = 0.95
_ROWS_OF_A_CLASS = 10  # on average: fewer are told by any column
_LOOKED_AT = 5000  # training rows: a table can have hundreds of columns


def refuse_leaks(frame: pd.DataFrame, y: Rows, classes: Sequence[str], target: str, drop: Sequence[str], name: str) -> None:
    """Raises UserError for a column that tells the target exactly: each of its values goes with one class, and there are few
    values, ten rows or more each on average, or as many as classes. An empty cell is a value where that makes it complete.

    ``frame``: the rows in use, whose index holds their places in the file. ``drop``: what is left out already.
    """
    telling = {str(column): place for column in frame if (place := _tells(frame[column], y, len(classes))) is not None}
    if not telling:
        return
    column, place = next(iter(telling.items()))
    value = frame[column].iloc[place]
    what = "an empty cell" if pd.isna(value) else shown(value)
    example = f"row {frame.index[place] + 1}: {what} is always {shown(classes[y[place]])}"
    advice = f"drop = {json.dumps([*drop, *telling], ensure_ascii=False)}"
    if units := [one for one in telling if _sounds_like_unit(one)]:
        # Left out only, rows of one patient would be on both sides of a split.
        advice += f", or set unit = {json.dumps(units[0], ensure_ascii=False)} if its rows belong together"
    tells = f"column {shown(column)} tells the target {shown(target)} exactly"
    raise UserError(f"{name}: {tells} ({example}): leave it out by {advice}")


def _tells(values: pd.Series[Any], y: Rows, classes: int) -> int | None:
    """The place of the first row that shows how a column tells the target, None where it does not."""
    codes, distinct = pd.factorize(values)
    for chosen, count in ((codes >= 0, len(distinct)), (np.ones(len(y), dtype=np.bool_), len(distinct) + 1)):
        found, labels = codes[chosen], y[chosen]
        if not 0 < count <= max(len(found) // 10, classes) or labels.min() == labels.max():
            continue
        class_of = np.empty(len(distinct) + 1, dtype=np.int64)  # an empty cell has code -1, the last place
        class_of[found] = labels
        if (class_of[found] == labels).all():
            return int(np.flatnonzero(chosen)[0])
    return None


def nearly_telling(x: NDArray[np.float32], widths: Mapping[str, int], y: Rows) -> Iterator[str]:
    """A note of columns each of which alone gives the class of nearly all training rows: they may be known only after the
    target is. ``x``: float32 (N, D) as encoded, ``widths``: of each column of the file the number of its D, in their order."""
    step = max(1, len(y) // _LOOKED_AT)
    x, y = x[::step], y[::step]
    classes, found, last = np.unique(y), [], 0
    if len(y) < _ROWS_OF_A_CLASS * len(classes):
        return
    for column, width in widths.items():
        places = slice(last, last := last + width)
        # Few leaves: with one a value, any column would tell the rows that it has learnt.
        tree = DecisionTreeClassifier(max_leaf_nodes=2 * len(classes), class_weight="balanced", random_state=0)
        predicted = tree.fit(x[:, places], y).predict(x[:, places])
        share = float(np.mean([(predicted[y == one] == one).mean() for one in classes]))
        found += [f"{plain(column)} {100 * share:.1f} %"] if share >= _NEARLY else []
    if found:
        yield f"known before the target? alone it gives the class of most training rows (mean over classes): {listed(found)}"


def groups_of_table(frame: pd.DataFrame) -> Rows:
    """A number for each row, equal where rows are equal in all columns, int64 (N,)."""
    return groups_of_rows(np.stack([pd.factorize(frame[column])[0] for column in frame], axis=1))


def groups_of_rows(x: NDArray[Any]) -> Rows:
    """A number for each row of an array (N, ...), equal where rows are equal, int64 (N,)."""
    flat = np.ascontiguousarray(x).reshape(len(x), -1)
    digests = pd.Series([hashlib.blake2b(row.data, digest_size=16).hexdigest() for row in flat])
    return np.asarray(digests.factorize()[0], dtype=np.int64)


def repeated(groups: Rows, y: Rows, parts: Mapping[str, Rows]) -> Iterator[str]:
    """A note for each two splits that share equal rows. ``groups``: equal for equal rows. ``parts``: the rows of each split."""
    for (seen, first), (name, second) in itertools.combinations(parts.items(), 2):
        pairs = np.unique(np.stack([groups[first], y[first]]), axis=1)
        classes = np.bincount(pairs[0], minlength=groups.max() + 1)  # of the equal rows in the first split
        shared = second[classes[groups[second]] > 0]
        if not len(shared):
            continue
        same = np.isin(groups[shared] * (y.max() + 1) + y[shared], pairs[0] * (y.max() + 1) + pairs[1])
        other = int((classes[groups[shared]] > same).sum())
        what = f"{len(shared):,} of {counted(len(second), f'{name} row')} {'is' if len(shared) == 1 else 'are'} equal"
        yield f"{what} to a {seen} row in all columns, {other:,} of them with another class"


def belonging(columns: Mapping[str, Column]) -> Iterator[str]:
    """A note of columns that sound like units whose rows belong together, and whose values repeat."""
    found = []
    for name in filter(_sounds_like_unit, columns):
        values = [one for one in scalars(columns[name]) if one is not None]
        found += [name] if 1 < len(set(values)) < len(values) else []
    if found:
        yield f"rows of one {listed([shown(one) for one in found])} may belong together: if so, set unit"


def _sounds_like_unit(name: str) -> bool:
    # PatientID and patient-id are patient_id.
    words = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()).strip("_")
    return _BELONG.search(words) is not None
