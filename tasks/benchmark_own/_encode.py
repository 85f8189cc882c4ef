"""Tables of numbers and categories -> arrays, with what the training rows alone teach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from sklearn.impute import SimpleImputer  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]  # scikit-learn has no type hints

GAP = "missing"  # the category that stands for an empty cell
_HOW = (
    "outputs names the inputs of the network, in their order. A column of numbers: (value - means) / scales, where an empty "
    "cell, or one that is no number, has the value in imputed. column=value: 1 where the column has that value, else 0."
)
MOST = 50  # categories of a column that have a code


def encode(train: pd.DataFrame, *others: pd.DataFrame) -> tuple[list[NDArray[np.float32]], dict[str, Any]]:
    """Encodes tables with what ``train`` alone teaches: float32 (rows of the table, D) for each, ``train`` first.

    Columns that are numbers in ``train``: an empty cell, or one that is no number, becomes the median; then mean 0 and
    deviation 1. Other columns: one 0/1 code for each category of ``train``, the 50 most frequent of them, where an empty cell
    is the category ``"missing"``; any other category has all codes 0. A column without any value in ``train`` is dropped, and
    one with a single value. The dictionary says all of it in JSON values; its ``outputs`` names the D columns.
    """
    dropped: dict[str, str] = {}
    numeric: list[Any] = []
    categories: dict[Any, list[str]] = {}
    for column in train:
        values = train[column]
        if not values.notna().any():
            dropped[str(column)] = "no value in the training rows"
        elif (values if is_numeric_dtype(values) else texts(values)).nunique() < 2:
            dropped[str(column)] = "one value in the training rows"
        elif is_numeric_dtype(values):
            numeric.append(column)
        else:
            # By name first, so that of equally frequent ones the same are kept whatever the order of the rows.
            counts = texts(values).value_counts().sort_index().sort_values(ascending=False, kind="stable")
            categories[column] = sorted(counts.index[:MOST])
    imputer, scaler = SimpleImputer(strategy="median"), StandardScaler()
    fitted: dict[str, dict[Any, float]] = {"imputed": {}, "means": {}, "scales": {}}
    if numeric:
        scaler.fit(imputer.fit_transform(_numbers(train, numeric)))
        learnt = {"imputed": imputer.statistics_, "means": scaler.mean_, "scales": scaler.scale_}
        fitted = {key: dict(zip(numeric, values.tolist(), strict=True)) for key, values in learnt.items()}
    outputs = [*numeric, *(f"{column}={value}" for column, values in categories.items() for value in values)]

    def transform(table: pd.DataFrame) -> NDArray[np.float32]:
        x = np.zeros((len(table), len(outputs)), dtype=np.float32)
        if numeric:
            with np.errstate(over="ignore"):  # a number too far away becomes infinite; who reads untrusted files looks for it
                x[:, : len(numeric)] = scaler.transform(imputer.transform(_numbers(table, numeric)))
        first = len(numeric)
        for column, values in categories.items():
            codes = pd.Index(values, dtype=object).get_indexer(pd.Index(texts(table[column])))
            known = codes >= 0
            x[np.flatnonzero(known), first + codes[known]] = 1.0
            first += len(values)
        return x

    preprocessing = {"how": _HOW, "columns": [str(column) for column in train], "dropped": dropped, **fitted}
    return [transform(table) for table in (train, *others)], {**preprocessing, "categories": categories, "outputs": outputs}


def texts(values: pd.Series[Any]) -> pd.Series[Any]:
    """The categories of a column, dtype object: an empty cell is one too."""
    return pd.Series(np.where(values.isna(), GAP, values.to_numpy(dtype=object)), index=values.index, dtype=object)


def _numbers(table: pd.DataFrame, columns: list[Any]) -> NDArray[np.float64]:
    """float64 (rows, columns), NaN for an empty cell and for one that is no number."""
    numbers = [pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64, na_value=np.nan) for column in columns]
    return np.array(numbers).T  # column after column in memory: the order of summing is part of the digests of data
