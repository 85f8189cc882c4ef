"""Reads the three official files of the occupancy data, keeps their split and offers the one-column baseline."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # scikit-learn has no type hints

from benchmark import Split, TaskData, UserError, fetch
from benchmark_occupancy import ARCHIVE, SOURCES

TRAIN = "datatraining.txt"
TESTS = ("datatest.txt", "datatest2.txt")  # of fold 0, measured before the training rows, and of fold 1, measured after them
COLUMNS = ("Temperature", "Humidity", "Light", "CO2", "HumidityRatio")  # Celsius, %, lux, ppm, kg water per kg air
LIGHT = COLUMNS.index("Light")
CLASSES = ("empty", "occupied")
NOTES = (
    "rows are a minute apart and no more independent than neighbours are: {hours} hours are tested, of few days in one room",
    "the time stamp is left out: it would tell the working hours of one office",
    "validation takes two of the four working days in the official training rows; published results are trained on all of them",
)


def read(files: Mapping[str, Path], name: str) -> pd.DataFrame:
    """The rows of one of the three files, in the order of time: COLUMNS; Occupancy, 0 or 1; ``hour``, the clock hour, counted
    from 1970 in the file's local time. ``files``: one of SOURCES. Raises UserError where the content is not as expected."""
    path = files.get(ARCHIVE.name) or files[f"occupancy/{name}"]
    content = path.read_bytes()
    if ARCHIVE.name in files:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [member for member in archive.namelist() if PurePosixPath(member).name == name]
            if len(members) != 1:
                raise UserError(f"{path}: it holds {len(members)} files {name}, expected one")
            content = archive.read(members[0])
    # The header lacks the first column, the number of the row: pandas makes it the index.
    table = pd.read_csv(io.BytesIO(content))
    expected = ["date", *COLUMNS, "Occupancy"]
    if list(table) != expected:
        raise UserError(f"{path}: the columns of {name} are {', '.join(map(str, table))}, expected {', '.join(expected)}")
    table["hour"] = pd.to_datetime(table.pop("date")).to_numpy("datetime64[h]").astype(np.int64)
    if not table["hour"].is_monotonic_increasing or table.isna().any(axis=None):
        raise UserError(f"{path}: rows of {name} are not in the order of time, or cells are empty")
    return table


def split(hours: NDArray[np.int64]) -> int:
    """How many of the official training rows, which are in the order of time, are trained on; the rest, about a fifth, validates.

    A block and not a random choice, whose rows would have their near copies, the minutes before and after, in training. It begins
    with the first full hour after four fifths of the rows.
    """
    last = hours[len(hours) * 4 // 5 - 1]
    return int(np.searchsorted(hours, last, side="right"))


class Occupancy:
    """Minutes: x is float32 (N, 5), each column at mean 0 and deviation 1 over the training rows; y is 1 where somebody is in the
    room; the unit is the clock hour."""

    def load(self, fold: int) -> TaskData:
        """The official training rows, and the first (fold 0) or second (fold 1) official test file. Raises ValueError for a fold
        that does not exist, UserError where the files cannot be had or are not as expected."""
        if fold not in range(len(TESTS)):
            raise ValueError(f"fold {fold}: occupancy has folds 0 to {len(TESTS) - 1}")
        files = fetch(SOURCES)
        official, tested = read(files, TRAIN), read(files, TESTS[fold])
        end = split(official["hour"].to_numpy())
        tables = (official[:end], official[end:], tested)
        values = [table[list(COLUMNS)].to_numpy(np.float64) for table in tables]
        means, scales = values[0].mean(axis=0), values[0].std(axis=0)
        train, validation, test = (
            Split(
                x=np.ascontiguousarray((rows - means) / scales, dtype=np.float32),
                y=table["Occupancy"].to_numpy(np.int64),
                units=table["hour"].to_numpy(np.int64),
            )
            for rows, table in zip(values, tables, strict=True)
        )
        return TaskData(
            train=train,
            validation=validation,
            test=test,
            classes=CLASSES,
            preprocessing={"columns": list(COLUMNS), "means": means.tolist(), "scales": scales.tolist()},
            notes=tuple(note.format(hours=len(np.unique(test.units))) for note in NOTES),
        )

    def trivial(self, train: Split, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities, float32 (N, 2), of a logistic regression on light alone: who is in the room has the lamp on."""
        model = LogisticRegression().fit(train.x[:, [LIGHT]], train.y)
        return np.asarray(model.predict_proba(x[:, [LIGHT]]), dtype=np.float32)
