"""Loads the embedded recordings, splits them by subject, cuts windows and offers the one-feature baseline."""

from __future__ import annotations

import io
import lzma
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]  # scikit-learn has no type hints

from benchmark import Split, TaskData, read_verified

DATA = Path(__file__).parent / "data" / "watch_imu.npz.xz"
SHA256 = "ba30d0d2bfa9d8532064b4a225c7db18a53291aee642bf90bdae6af8862fd693"
FOLDS = 5
SUBJECTS = 10
WINDOW = 128  # samples, 2.56 s
STRIDE = 64
CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")  # acceleration in g, rotation in rad/s
STEPS = (2e-4, 2e-4, 2e-4, 1e-3, 1e-3, 1e-3)  # what one count of the int16 samples is worth
CLASSES = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")


@dataclass(frozen=True)
class Recordings:
    """140 recordings, one after the other. ``samples``: int16 (6, T) in STEPS. By recording: ``lengths`` in samples, ``subjects``
    1 to 10, ``exercises`` as indices of CLASSES; all int64 (140,)."""

    samples: NDArray[np.int16]
    lengths: NDArray[np.int64]
    subjects: NDArray[np.int64]
    exercises: NDArray[np.int64]


def read() -> Recordings:
    """Raises UserError when the embedded file is damaged."""
    content = read_verified(DATA, SHA256)
    with np.load(io.BytesIO(lzma.decompress(content)), allow_pickle=False) as arrays:
        return Recordings(
            samples=arrays["samples"],
            lengths=arrays["lengths"].astype(np.int64),
            subjects=arrays["subjects"].astype(np.int64),
            exercises=arrays["exercises"].astype(np.int64),
        )


def split(subjects: NDArray[np.int64], fold: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Recordings, as ascending indices, int64, of the training, validation and test part of ``fold``.

    Test: subjects 2 fold + 1 and 2 fold + 2. Validation: the two after them, where 1 comes after 10.
    Raises ValueError for a fold that does not exist.
    """
    if not 0 <= fold < FOLDS:
        raise ValueError(f"fold {fold}: watch-imu has folds 0 to {FOLDS - 1}")
    place = (subjects - 1 - 2 * fold) % SUBJECTS  # 0 and 1: test, 2 and 3: validation
    return np.flatnonzero(place >= 4), np.flatnonzero((place == 2) | (place == 3)), np.flatnonzero(place < 2)


def windows(lengths: NDArray[np.int64], recordings: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The windows of these recordings, none across two of them: the number of each one's first sample, and its recording."""
    begins = np.cumsum(lengths) - lengths
    starts = [begins[r] + np.arange(0, lengths[r] - WINDOW + 1, STRIDE) for r in recordings]
    return np.concatenate(starts), np.repeat(recordings, [len(part) for part in starts])


class WatchImu:
    """Windows: x is float32 (N, 6, 128), each channel at mean 0 and deviation 1 over the training windows; y is the exercise; the
    unit is the recording. No subject, and so no raw sample, is in two splits."""

    def load(self, fold: int) -> TaskData:
        """Windows of six subjects to train, two to validate, two to test. Raises ValueError for a fold that does not exist."""
        data = read()
        signals, owners = [], []
        for recordings in split(data.subjects, fold):
            starts, owner = windows(data.lengths, recordings)
            counts = data.samples[:, starts[:, None] + np.arange(WINDOW)]
            signals.append(counts.transpose(1, 0, 2) * np.array(STEPS)[:, None])
            owners.append(owner)
        means, scales = signals[0].mean(axis=(0, 2)), signals[0].std(axis=(0, 2))
        train, validation, test = (
            Split(
                x=np.ascontiguousarray((signal - means[:, None]) / scales[:, None], dtype=np.float32),
                y=data.exercises[owner],
                units=owner,
            )
            for signal, owner in zip(signals, owners, strict=True)
        )
        return TaskData(
            train=train,
            validation=validation,
            test=test,
            classes=CLASSES,
            preprocessing={"columns": list(CHANNELS), "means": means.tolist(), "scales": scales.tolist()},
            groups={"subject": tuple(f"subject {number}" for number in data.subjects[owners[2]])},
        )

    def trivial(self, train: Split, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities, float32 (N, 7), of a logistic regression on how much a window moves: the standard deviation of
        all its values."""

        def movement(signals: NDArray[np.float32]) -> NDArray[np.float64]:
            return np.asarray(signals.reshape(len(signals), -1).std(axis=1, keepdims=True, dtype=np.float64))

        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(movement(train.x), train.y)
        return np.asarray(model.predict_proba(movement(x)), dtype=np.float32)
