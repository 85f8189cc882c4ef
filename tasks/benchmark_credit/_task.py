"""Loads the embedded credit table, splits it into folds, encodes it and offers the one-column baseline."""

from __future__ import annotations

import io
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from sklearn.compose import ColumnTransformer  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.impute import SimpleImputer  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.model_selection import StratifiedKFold  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # type: ignore[import-untyped]  # scikit-learn has no type hints

from benchmark import Split, TaskData, read_verified

DATA = Path(__file__).parent / "data" / "germancredit.csv.xz"
SHA256 = "d5dc839fe1bbd7b548912b2b70f21428b28495cf622df6c166de87089c5cdbe8"
FOLDS = 25
CLASSES = ("good", "bad")
MISSING = "missing"  # the category that stands for an empty cell
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


def encode(train: pd.DataFrame, *others: pd.DataFrame) -> tuple[list[NDArray[np.float32]], dict[str, Any]]:
    """Encodes tables with what ``train`` alone teaches: float32 (rows of the table, D) for each, ``train`` first.

    Columns that are numbers in ``train``: an empty cell, or one that is no number, becomes the median; then mean 0 and
    deviation 1. Other columns: one 0/1 code for each category of ``train``, where an empty cell is the category
    ``"missing"``; a category that ``train`` lacks has all codes 0. A column without any value in ``train`` is dropped.
    There must be a column of either kind. The dictionary says all of it in JSON values; its ``outputs`` names the D columns.
    """
    kept = [column for column in train if train[column].notna().any()]
    numeric = [column for column in kept if is_numeric_dtype(train[column])]
    categorical = [column for column in kept if column not in numeric]

    def prepare(table: pd.DataFrame) -> pd.DataFrame:
        texts = table[categorical].astype(object)
        numbers = table[numeric].apply(pd.to_numeric, errors="coerce")
        prepared: pd.DataFrame = pd.concat([numbers, texts.where(texts.notna(), MISSING)], axis=1)
        return prepared

    transformer = ColumnTransformer(
        [
            ("numeric", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numeric),
            ("categorical", OneHotEncoder(handle_unknown="ignore", sparse_output=False), categorical),
        ]
    ).fit(prepare(train))
    imputer, scaler = transformer.named_transformers_["numeric"]
    categories = [values.tolist() for values in transformer.named_transformers_["categorical"].categories_]
    preprocessing = {
        "columns": [str(column) for column in train],
        "dropped": {str(column): "no value in the training rows" for column in train if column not in kept},
        "imputed": dict(zip(numeric, imputer.statistics_.tolist(), strict=True)),
        "means": dict(zip(numeric, scaler.mean_.tolist(), strict=True)),
        "scales": dict(zip(numeric, scaler.scale_.tolist(), strict=True)),
        "categories": dict(zip(categorical, categories, strict=True)),
        "outputs": [
            *numeric,
            *(f"{column}={value}" for column, values in zip(categorical, categories, strict=True) for value in values),
        ],
    }
    tables = [np.ascontiguousarray(transformer.transform(prepare(table)), dtype=np.float32) for table in (train, *others)]
    return tables, preprocessing


class GermanCredit:
    """Customers: x is float32 (N, D), numeric columns first, then 0/1 codes; y is 1 for a bad risk; each row is its own unit."""

    def load(self, fold: int) -> TaskData:
        """640 training, 160 validation and 200 test rows. Raises ValueError for a fold that does not exist."""
        table, labels = read()
        parts = split(labels, fold)
        encoded, preprocessing = encode(*(table.iloc[rows] for rows in parts))
        train, validation, test = (Split(x=x, y=labels[rows], units=rows) for x, rows in zip(encoded, parts, strict=True))
        return TaskData(train=train, validation=validation, test=test, classes=CLASSES, preprocessing=preprocessing)

    def trivial(self, train: Split, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities, float32 (N, 2), of a logistic regression on the status of the checking account alone."""
        model = LogisticRegression().fit(train.x[:, CHECKING], train.y)
        return np.asarray(model.predict_proba(x[:, CHECKING]), dtype=np.float32)
