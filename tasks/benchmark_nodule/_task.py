"""Loads the embedded nodule images, splits them by patient and offers the one-feature baseline."""

from __future__ import annotations

import io
import lzma
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]  # scikit-learn has no type hints

from benchmark import Split, TaskData, read_verified

DATA = Path(__file__).parent / "data" / "nodule_shape.npz.xz"
SHA256 = "3b5258e76c2a8a73328b445fb9bb20d4c3189cf0aaaebe9fa1ce674b2e1598c2"
FOLDS = 5
CLASSES = ("not round", "round")
SAMPLES = 4  # points tested in each pixel, for each reader


def read() -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Images, float32 (1646, 3, 32, 32); 1 for a round nodule, int64 (1646,); patient numbers of LIDC-IDRI, int64 (1646,).

    Raises UserError when the embedded file is damaged.
    """
    content = read_verified(DATA, SHA256)
    with np.load(io.BytesIO(lzma.decompress(content)), allow_pickle=False) as arrays:
        points = SAMPLES * arrays["readers"].astype(np.float32)
        images = arrays["counts"] / points[:, None, None, None]
        return images, arrays["labels"].astype(np.int64), arrays["patients"].astype(np.int64)


def split(patients: NDArray[np.int64], fold: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers, int64, ascending, of the training, validation and test part of ``fold``.

    A patient's place among the sorted patients, mod 5, is the fold that tests them; the fold after it validates.
    Raises ValueError for a fold that does not exist.
    """
    if not 0 <= fold < FOLDS:
        raise ValueError(f"fold {fold}: nodule-shape has folds 0 to {FOLDS - 1}")
    _, place = np.unique(patients, return_inverse=True)
    test, validation = place % FOLDS == fold, place % FOLDS == (fold + 1) % FOLDS
    return np.flatnonzero(~(test | validation)), np.flatnonzero(validation), np.flatnonzero(test)


class NoduleShape:
    """Nodules: x is float32 (N, 3, 32, 32), the share of readers (0..1) whose outline holds a point, for three neighbouring
    slices at 1 mm a pixel; y is 1 for round (mean sphericity rating of the readers at least 4; others at most 3.5); the unit is
    the patient. ``training_rows``: how many of a fold's training rows there are, drawn by numpy's generator of the fold's
    number; without it, all."""

    def __init__(self, training_rows: int | None = None) -> None:
        self._training_rows = training_rows

    def load(self, fold: int) -> TaskData:
        """About 985 training (unless fewer are asked for), 330 validation and 330 test rows. Raises ValueError for a fold that
        does not exist."""
        images, labels, patients = read()
        parts = list(split(patients, fold))
        if self._training_rows is not None:
            parts[0] = np.sort(np.random.RandomState(fold).permutation(parts[0])[: self._training_rows])
        train, validation, test = (Split(x=images[rows], y=labels[rows], units=patients[rows]) for rows in parts)
        return TaskData(
            train=train,
            validation=validation,
            test=test,
            classes=CLASSES,
            # A share needs no scaling; and background must stay exactly 0.
            preprocessing={"columns": ["slice below", "middle slice", "slice above"], "means": [0.0] * 3, "scales": [1.0] * 3},
        )

    def trivial(self, train: Split, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities, float32 (N, 2), of a logistic regression on area alone (the sum over the three slices)."""

        def area(images: NDArray[np.float32]) -> NDArray[np.float64]:
            return np.asarray(images.reshape(len(images), -1).sum(axis=1, keepdims=True, dtype=np.float64))

        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(area(train.x), train.y)
        return np.asarray(model.predict_proba(area(x)), dtype=np.float32)
