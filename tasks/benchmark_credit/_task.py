"""Loads the embedded credit table, splits it into folds and offers the one-column baseline."""

from __future__ import annotations

import io
import lzma
from pathlib import Path

import numpy as np
import pandas as pd
from benchmark_own import encode
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.model_selection import StratifiedKFold  # type: ignore[import-untyped]  # scikit-learn has no type hints

from benchmark import Split, TaskData, read_verified

DATA = Path(__file__).parent / "data" / "germancredit.csv.xz"
SHA256 = "d5dc839fe1bbd7b548912b2b70f21428b28495cf622df6c166de87089c5cdbe8"
FOLDS = 25
CLASSES = ("good", "bad")
YOUNG = 25  # years: the last of the younger group
CHECKING = slice(7, 11)  # the four codes of the column "checking": the first categorical one, after seven numeric columns


def read() -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """The 20 columns of 1,000 customers, and 1 for a bad risk, int64 (1000,). Raises UserError when the file is damaged."""
    content = read_verified(DATA, SHA256)
    # "none" is a category here, not an empty cell.
    table = pd.read_csv(io.BytesIO(lzma.decompress(content)), keep_default_na=False)
    risk = table.pop("risk")
    return table, np.asarray(risk == CLASSES[1], dtype=np.int64)


def split(labels: NDArray[np.int64], fold: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sorted row numbers, int64, of the training, validation and test part of ``fold`` = 5 r + k.

    Test: part k of five stratified parts, shuffled with seed r. Validation: first of five stratified parts of the rest.
    Raises ValueError for a fold that does not exist.
    """
    if not 0 <= fold < FOLDS:
        raise ValueError(f"fold {fold}: german-credit has folds 0 to {FOLDS - 1}")
    repeat, part = divmod(fold, 5)
    rest, test = list(StratifiedKFold(5, shuffle=True, random_state=repeat).split(labels, labels))[part]
    train, validation = next(StratifiedKFold(5, shuffle=True, random_state=fold).split(rest, labels[rest]))
    return rest[train], rest[validation], test


class GermanCredit:
    """Customers: x is float32 (N, D), numeric columns first, then 0/1 codes; y is 1 for a bad risk; each row is its own unit."""

    def load(self, fold: int) -> TaskData:
        """640 training, 160 validation and 200 test rows. Raises ValueError for a fold that does not exist."""
        table, labels = read()
        parts = split(labels, fold)
        encoded, preprocessing = encode(*(table.iloc[rows] for rows in parts))
        train, validation, test = (Split(x=x, y=labels[rows], units=rows) for x, rows in zip(encoded, parts, strict=True))
        ages = table["age"].iloc[parts[2]]
        return TaskData(
            train=train,
            validation=validation,
            test=test,
            classes=CLASSES,
            preprocessing=preprocessing,
            groups={"age": tuple(np.where(ages <= YOUNG, f"<= {YOUNG}", f"> {YOUNG}").tolist())},
        )

    def trivial(self, train: Split, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities, float32 (N, 2), of a logistic regression on the status of the checking account alone."""
        model = LogisticRegression().fit(train.x[:, CHECKING], train.y)
        return np.asarray(model.predict_proba(x[:, CHECKING]), dtype=np.float32)
