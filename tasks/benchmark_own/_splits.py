"""Rows -> the three splits of a fold. The same everywhere: nothing but the labels, the units and the fold enters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import (  # type: ignore[import-untyped]  # scikit-learn has no type hints
    StratifiedGroupKFold,
    StratifiedKFold,
)

from benchmark import UserError
from benchmark_own._words import counted, shown

Rows: TypeAlias = NDArray[np.int64]


def split(y: Rows, units: Rows | None, folds: int, fold: int, classes: Sequence[str], name: str) -> tuple[Rows, Rows, Rows]:
    """Sorted places in ``y``, int64, of the training, validation and test part of ``fold``. Rows of one unit stay together. Each
    class must have ``folds`` rows.

    Test: part ``fold`` of ``folds`` stratified parts. Validation: the first of as many stratified parts of the rest. Raises
    UserError, naming the file ``name``, where a class is missing in one of them, as big units can make it.
    """
    everything = np.arange(len(y))
    rest, test = list(_parts(y, units, folds, seed=0))[fold]
    _check(y[test], 1, classes, f"{name}: fold {fold}: the test part")
    # With fewer, the parts of the rest could not all have one.
    _check(y[rest], folds, classes, f"{name}: fold {fold}: what is left beside the test part")
    train, validation = next(iter(_parts(y[rest], None if units is None else units[rest], folds, seed=fold)))
    _check(y[rest[train]], 1, classes, f"{name}: fold {fold}: the training part")
    _check(y[rest[validation]], 1, classes, f"{name}: fold {fold}: the validation part")
    return everything[rest[train]], everything[rest[validation]], everything[test]


def _parts(y: Rows, units: Rows | None, folds: int, seed: int) -> Any:
    kind = StratifiedKFold if units is None else StratifiedGroupKFold
    return kind(folds, shuffle=True, random_state=seed).split(y, y, units)


def _check(y: Rows, least: int, classes: Sequence[str], what: str) -> None:
    counts = np.bincount(y, minlength=len(classes))
    if counts.min() < least:
        few = int(counts.argmin())
        found = f"{counted(int(counts[few]), 'row')} of class {shown(classes[few])}"
        raise UserError(f"{what} has {found}, {least} needed: set fewer folds")
