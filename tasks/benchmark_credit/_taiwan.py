"""Reads the official sheet of credit card holders, splits it into folds, encodes it and offers the one-column baseline."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import xlrd  # type: ignore[import-untyped]  # xlrd has no type hints
from benchmark_own import encode
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.model_selection import StratifiedKFold  # type: ignore[import-untyped]  # scikit-learn has no type hints

from benchmark import Split, TaskData, UserError, fetch
from benchmark_credit import TAIWAN_SOURCES

ROWS = 30_000
FOLDS = 5
SHEET = "default of credit card clients.xls"
# The second of the sheet's two header lines; the first one, the only one of the mirror's copy, calls these X1 to X23.
COLUMNS = (
    *("LIMIT_BAL", "SEX", "EDUCATION", "MARRIAGE", "AGE"),
    *("PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6"),
    *(f"BILL_AMT{month}" for month in range(1, 7)),
    *(f"PAY_AMT{month}" for month in range(1, 7)),
)
CATEGORICAL = ("SEX", "EDUCATION", "MARRIAGE")
LAST_PAYMENT = 2  # the encoded column PAY_0, months of delay of the last payment: the third numeric one
CLASSES = ("paid", "default")
SEXES = {1: "male", 2: "female"}
YOUNG = 25  # years; with the next birthday another group
NOTES = (
    "codes that the authors do not explain are kept: EDUCATION 0, 5 and 6, MARRIAGE 0 as categories, PAY -2 and 0 as numbers",
    "the authors report area ratios of gain charts on a split of their own, no AUC: nothing published stands beside these rows",
)


def read(path: Path) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """COLUMNS of each customer, int64, and 1 for a default, int64 (N,). ``path``: the official archive, or a gzipped table with
    its first header line alone. Raises UserError where the content is not as expected."""
    if path.suffix == ".gz":
        table = pd.read_csv(path)
    else:
        with zipfile.ZipFile(path) as archive:
            if SHEET not in archive.namelist():
                raise UserError(f"{path}: it has no file {SHEET}")
            # Without pandas, which gives up its reader of such files.
            sheet = xlrd.open_workbook(file_contents=archive.read(SHEET)).sheet_by_index(0)
        header, _, *rows = (sheet.row_values(row) for row in range(sheet.nrows))
        table = pd.DataFrame(rows, columns=header)
    table = table.iloc[:, 1:]  # without the number of the customer
    expected = [*(f"X{number}" for number in range(1, len(COLUMNS) + 1)), "Y"]
    if list(table) != expected:
        raise UserError(f"{path}: after the first, its columns are {', '.join(map(str, table))}, expected {', '.join(expected)}")
    numbers = table.apply(pd.to_numeric, errors="coerce")
    if (numbers % 1 != 0).any(axis=None):  # of a cell without a number too
        raise UserError(f"{path}: cells are empty or no whole numbers")
    whole = numbers.astype(np.int64)
    defaulted = whole.pop("Y").to_numpy()
    return whole.set_axis(list(COLUMNS), axis=1), defaulted


def split(labels: NDArray[np.int64], fold: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sorted row numbers, int64, of the training, validation and test part of ``fold``.

    Test: part ``fold`` of five stratified parts. Validation: first of five stratified parts of the rest.
    Raises ValueError for a fold that does not exist.
    """
    if not 0 <= fold < FOLDS:
        raise ValueError(f"fold {fold}: taiwan-credit has folds 0 to {FOLDS - 1}")
    rest, test = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(labels, labels))[fold]
    train, validation = next(StratifiedKFold(5, shuffle=True, random_state=fold).split(rest, labels[rest]))
    return rest[train], rest[validation], test


class TaiwanCredit:
    """Customers: x is float32 (N, D), numeric columns first, then 0/1 codes; y is 1 for a default; each row is its own unit."""

    def load(self, fold: int) -> TaskData:
        """19,200 training, 4,800 validation and 6,000 test rows, these grouped by sex and age. Raises ValueError for a fold that
        does not exist, UserError where the official file cannot be had or is not as expected."""
        (path,) = fetch(TAIWAN_SOURCES).values()
        table, labels = read(path)
        if len(table) != ROWS:
            raise UserError(f"{path}: it has {len(table)} rows, expected {ROWS}")
        parts = split(labels, fold)
        # As texts, so that a code is a category and not a number.
        texts = table.astype(dict.fromkeys(CATEGORICAL, str))
        encoded, preprocessing = encode(*(texts.iloc[rows] for rows in parts))
        train, validation, test = (Split(x=x, y=labels[rows], units=rows) for x, rows in zip(encoded, parts, strict=True))
        tested = table.iloc[parts[2]]
        return TaskData(
            train=train,
            validation=validation,
            test=test,
            classes=CLASSES,
            preprocessing=preprocessing,
            groups={
                "sex": tuple(SEXES[code] for code in tested["SEX"]),
                "age": tuple(f"<= {YOUNG}" if years <= YOUNG else f"> {YOUNG}" for years in tested["AGE"]),
            },
            notes=NOTES,
        )

    def trivial(self, train: Split, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities, float32 (N, 2), of a logistic regression on the delay of the last payment alone."""
        model = LogisticRegression().fit(train.x[:, [LAST_PAYMENT]], train.y)
        return np.asarray(model.predict_proba(x[:, [LAST_PAYMENT]]), dtype=np.float32)
