"""Reads the windows of the official archive, keeps its split by subject and offers the one-feature baseline."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]  # scikit-learn has no type hints

from benchmark import Split, TaskData, UserError, fetch
from benchmark_har import ARCHIVE

FOLDER = "UCI HAR Dataset"  # the archive holds another one, with this name and one folder of this name
WINDOW = 128  # samples, 2.56 s; the next window of a recording begins 64 samples later
# Acceleration in g, without and with gravity; rotation in rad/s.
CHANNELS = tuple(f"{signal}_{axis}" for signal in ("body_acc", "body_gyro", "total_acc") for axis in "xyz")
CLASSES = ("walking", "walking upstairs", "walking downstairs", "sitting", "standing", "laying")  # the file counts them from 1
VALIDATION = 4  # subjects


@dataclass(frozen=True)
class Windows:
    """``signals``: float64 (N, 9, 128), in the order of CHANNELS. ``labels``: indices of CLASSES. ``subjects``: 1 to 30. Both are
    int64 (N,)."""

    signals: NDArray[np.float64]
    labels: NDArray[np.int64]
    subjects: NDArray[np.int64]

    def of(self, subjects: NDArray[np.int64]) -> Windows:
        """The windows of these subjects, in the order of the file."""
        rows = np.isin(self.subjects, subjects)
        return Windows(self.signals[rows], self.labels[rows], self.subjects[rows])


def _numbers(archive: zipfile.ZipFile, path: Path, name: str) -> NDArray[np.float64]:
    """The numbers in a file of the inner archive, float64 (lines, numbers a line)."""
    member = f"{FOLDER}/{name}"
    if member not in archive.namelist():
        raise UserError(f"{path}: it has no file {member}")
    try:
        return np.loadtxt(io.BytesIO(archive.read(member)), dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise UserError(f"{path}: {member} is no table of numbers: {error}") from None


def read(path: Path) -> tuple[Windows, Windows]:
    """The official training and test windows. Raises UserError where the archive is not as expected."""
    with zipfile.ZipFile(path) as outer:
        if f"{FOLDER}.zip" not in outer.namelist():
            raise UserError(f"{path}: it has no file {FOLDER}.zip")
        inner = outer.read(f"{FOLDER}.zip")
    parts = []
    with zipfile.ZipFile(io.BytesIO(inner)) as archive:
        for part in ("train", "test"):
            signals = [_numbers(archive, path, f"{part}/Inertial Signals/{channel}_{part}.txt") for channel in CHANNELS]
            labels, subjects = (_numbers(archive, path, f"{part}/{kind}_{part}.txt") for kind in ("y", "subject"))
            shapes = {array.shape for array in signals}
            if shapes != {(len(labels), WINDOW)} or labels.shape != subjects.shape or labels.shape[1] != 1:
                raise UserError(f"{path}: {part}: not {WINDOW} samples, a label and a subject for each of {len(labels)} windows")
            if not np.isin(labels, np.arange(1, len(CLASSES) + 1)).all():
                raise UserError(f"{path}: {part}: labels are not 1 to {len(CLASSES)}")
            parts.append(
                Windows(np.stack(signals, axis=1), labels[:, 0].astype(np.int64) - 1, subjects[:, 0].astype(np.int64)),
            )
    train, test = parts
    if shared := np.intersect1d(train.subjects, test.subjects).tolist():
        raise UserError(f"{path}: subjects are in training and test: {', '.join(map(str, shared))}")
    return train, test


class UciHar:
    """Windows: x is float32 (N, 9, 128), each channel at mean 0 and deviation 1 over the training windows; y is the activity; the
    unit is the subject. No subject, and so no raw sample of the half-overlapping windows, is in two splits."""

    def load(self, fold: int) -> TaskData:
        """The official split; the last four of the sorted training subjects validate. Raises ValueError for a fold that does not
        exist, UserError where the archive cannot be had or is not as expected."""
        if fold != 0:
            raise ValueError(f"fold {fold}: uci-har has fold 0 only")
        official, test = read(fetch(((ARCHIVE,),))[ARCHIVE.name])
        subjects = np.unique(official.subjects)
        parts = (official.of(subjects[:-VALIDATION]), official.of(subjects[-VALIDATION:]), test)
        means, scales = parts[0].signals.mean(axis=(0, 2)), parts[0].signals.std(axis=(0, 2))
        train, validation, tested = (
            Split(
                x=np.ascontiguousarray((part.signals - means[:, None]) / scales[:, None], dtype=np.float32),
                y=part.labels,
                units=part.subjects,
            )
            for part in parts
        )
        return TaskData(
            train=train,
            validation=validation,
            test=tested,
            classes=CLASSES,
            preprocessing={"columns": list(CHANNELS), "means": means.tolist(), "scales": scales.tolist()},
            notes=(
                f"windows of one person are alike: {len(np.unique(test.subjects))} people are tested, intervals are over people",
                "most published results are of the 561 features in the archive; this task gives the signals they were made from",
            ),
        )

    def trivial(self, train: Split, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities, float32 (N, 6), of a logistic regression on how much a window moves: the mean over its channels of
        their standard deviations in time."""

        def movement(signals: NDArray[np.float32]) -> NDArray[np.float64]:
            return np.asarray(signals.std(axis=2, dtype=np.float64).mean(axis=1, keepdims=True))

        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(movement(train.x), train.y)
        return np.asarray(model.predict_proba(movement(x)), dtype=np.float32)
