"""A file and what the suite says of it -> the splits of a fold, with every decision in a note."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier  # type: ignore[import-untyped]  # scikit-learn has no type hints

from benchmark import Split, TaskData, UserError, read_verified
from benchmark_own._arrays import INPUTS, Arrays, read_npz, scaled, signal
from benchmark_own._checks import belonging, groups_of_rows, groups_of_table, nearly_telling, refuse_leaks, repeated
from benchmark_own._columns import MISSING, Column, typed
from benchmark_own._encode import MOST, encode, texts
from benchmark_own._labels import check_sizes, read_labels, read_units
from benchmark_own._splits import Rows, split
from benchmark_own._tables import Table, read_csv, read_parquet
from benchmark_own._words import counted, listed, nearest, plain, shown


@dataclass(frozen=True)
class _Chosen:
    """The rows with a target. ``rows``: their places in the file; ``y``, ``units``: theirs. ``parts``: for training, validation
    and test, places in these."""

    rows: Rows
    y: Rows
    units: Rows
    parts: Mapping[str, Rows]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


class OwnData:
    """A file of the user's: x as its modality says; y indexes the classes in their order; ``units`` are the places of the sorted
    units, or of the rows in the file. Everything wrong with the file is a UserError that names column and row; rows are counted
    from 1 on, without the header.

    ``file``: its path, which ends in .csv, .parquet or .npz; ``sha256``: its digest. ``target``: the column (NPZ: array) of the
    labels. ``unit``: that of what rows belong to, or empty. ``folds``: at least 2. ``drop``: a JSON list of columns not to use.
    """

    def __init__(self, *, file: str, sha256: str, target: str, unit: str, folds: int, drop: str, modality: str) -> None:
        self._path, self._sha256 = Path(file), sha256
        self._target, self._unit, self._folds, self._modality = target, unit, folds, modality
        self._drop: list[str] = json.loads(drop)
        self._name = self._path.name

    def load(self, fold: int) -> TaskData:
        """Raises UserError for a file that cannot be used, and ValueError for a fold that does not exist."""
        if not 0 <= fold < self._folds:
            raise ValueError(f"fold {fold}: {self._name} has folds 0 to {self._folds - 1}")
        if self._folds < 2:
            raise UserError(f"{self._name}: folds must be at least 2")
        content = read_verified(self._path, self._sha256)
        if self._path.suffix.lower() == ".npz":
            return self._of_arrays(read_npz(content, self._name, self._target, self._unit, self._modality), fold)
        read = read_csv if self._path.suffix.lower() == ".csv" else read_parquet
        table = read(content, self._name)
        self._known([self._target, *([self._unit] if self._unit else []), *self._drop], list(table.columns))
        chosen = self._choose(table.columns[self._target], table.columns.get(self._unit), "column", fold)
        return self._of_table(table, chosen)

    def trivial(self, train: Split, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities, float32 (N, K), of a decision stump: one threshold on one value."""
        stump = DecisionTreeClassifier(max_depth=1, random_state=0).fit(train.x.reshape(len(train), -1), train.y)
        return np.asarray(stump.predict_proba(x.reshape(len(x), -1)), dtype=np.float32)

    def _known(self, names: Sequence[str], columns: Sequence[str]) -> None:
        for one in names:
            if one not in columns:
                raise UserError(f"{self._name}: there is no column {shown(one)}{nearest(one, columns)}")

    def _choose(self, target: Column, unit: Column | None, word: str, fold: int) -> _Chosen:
        """Labels, units and splits; ``word``: what a column is called in this kind of file."""
        where = f"{self._name}: {word} {shown(self._target)}"
        labels = read_labels(target, where)
        rows = np.flatnonzero(labels.y >= 0)
        units = rows if unit is None else read_units(unit, rows, f"{self._name}: {word} {shown(self._unit)}")
        check_sizes(labels, rows, units, self._folds, where, self._unit)
        y, grouped = labels.y[rows], None if unit is None else units
        parts = split(y, grouped, self._folds, fold, labels.classes, self._name)
        notes = labels.notes
        if unit is not None:
            notes = (*notes, f"unit {plain(self._unit)}: {counted(len(np.unique(units)), 'unit')}, none in two splits")
        named = dict(zip(("training", "validation", "test"), parts, strict=True))
        return _Chosen(rows=rows, y=y, units=units, parts=named, classes=labels.classes, notes=notes)

    def _of_table(self, table: Table, chosen: _Chosen) -> TaskData:
        others = {name: one for name, one in table.columns.items() if name not in (self._target, self._unit)}
        found = typed({name: one for name, one in others.items() if name not in self._drop}, table.decimal_comma)
        if not len(found.frame.columns):
            raise UserError(f"{self._name}: no column is left to learn from{''.join(f'; {note}' for note in found.notes[1:])}")
        frame = found.frame.iloc[chosen.rows]
        refuse_leaks(frame, chosen.y, chosen.classes, self._target, self._drop, self._name)
        splits = [frame.iloc[part] for part in chosen.parts.values()]
        encoded, fitted = encode(*splits)
        if not fitted["outputs"]:
            raise UserError(f"{self._name}: no column is left to learn from: each has one value in the training rows")
        for x, part in zip(encoded, splits, strict=True):
            for row, output in np.argwhere(~np.isfinite(x))[:1]:
                where = f"column {shown(fitted['outputs'][output])}, row {part.index[row] + 1}"
                raise UserError(f"{self._name}: {where}: is too far from the training rows for float32")
        notes = [*table.notes, *found.notes, *chosen.notes]
        notes += belonging(others) if not self._unit else []
        notes += repeated(groups_of_table(frame), chosen.y, chosen.parts)
        notes += _encoding(splits, fitted)
        widths = {**dict.fromkeys(fitted["means"], 1), **{name: len(codes) for name, codes in fitted["categories"].items()}}
        notes += nearly_telling(encoded[0], widths, chosen.y[chosen.parts["training"]])
        asked = dict.fromkeys(self._drop, "the suite says so")
        preprocessing = {
            **fitted,
            "columns": list(others),
            "dropped": {**asked, **found.dropped, **fitted["dropped"]},
            "empty": list(MISSING),
        }
        return self._data(encoded, chosen, preprocessing, notes)

    def _of_arrays(self, arrays: Arrays, fold: int) -> TaskData:
        kind = self._modality
        chosen = self._choose(arrays.target, arrays.unit, "array", fold)
        if kind == "tabular":
            columns = {str(place): Column("numbers", values) for place, values in enumerate(arrays.x.T)}
            self._known(self._drop, list(columns))
            return self._of_table(Table(columns, False, arrays.notes), chosen)
        if self._drop:
            raise UserError(f"{self._name}: array {shown(INPUTS)} holds {kind}s, which have no columns to drop")
        read = signal(arrays.x[chosen.rows], kind, chosen.rows, chosen.parts["training"], self._name)
        x, fitted = scaled(read, list(chosen.parts.values()), chosen.rows, self._name)
        notes = [*arrays.notes, *chosen.notes, *read.notes, *repeated(groups_of_rows(read.x), chosen.y, chosen.parts)]
        return self._data(x, chosen, fitted, notes)

    def _data(
        self, x: Sequence[NDArray[np.float32]], chosen: _Chosen, preprocessing: Mapping[str, Any], notes: Sequence[str]
    ) -> TaskData:
        train, validation, test = (
            Split(x=one, y=chosen.y[part], units=chosen.units[part]) for one, part in zip(x, chosen.parts.values(), strict=True)
        )
        return TaskData(
            train=train,
            validation=validation,
            test=test,
            classes=chosen.classes,
            preprocessing={**preprocessing, "classes": list(chosen.classes)},
            notes=tuple(notes),
        )


def _encoding(splits: Sequence[pd.DataFrame], fitted: Mapping[str, Any]) -> Iterator[str]:
    """Notes of what the training rows alone decided. ``splits``: training rows first. ``fitted``: what ``encode`` says of it."""
    train, *others = splits
    for why in dict.fromkeys(fitted["dropped"].values()):
        names = [plain(name) for name, one in fitted["dropped"].items() if one == why]
        yield f"column{'s' if len(names) > 1 else ''} {listed(names)}: left out, {why}"
    limited, unseen = [], []
    for column, kept in fitted["categories"].items():
        seen = texts(train[column])
        if (count := seen.nunique()) > MOST:
            limited.append(f"{plain(column)} {count:,} (in {int(seen.isin(kept).sum()):,} of {counted(len(seen), 'row')})")
        cells = pd.concat([texts(other[column]) for other in others])
        if len(new := cells[~cells.isin(seen)]):
            unseen.append(f"{plain(column)} {len(new):,} (row {new.index[0] + 1}: {shown(new.iloc[0])})")
    if limited:
        yield f"of the categories of a column the {MOST} most frequent have codes: {listed(limited)}"
    if unseen:
        yield f"cells of validation and test rows in a category that no training row has, all codes 0: {listed(unseen)}"
