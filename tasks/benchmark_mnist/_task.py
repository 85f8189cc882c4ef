"""Loads the embedded digits, splits them into folds and offers the one-feature baseline."""

from __future__ import annotations

import io
import lzma
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.model_selection import StratifiedKFold  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]  # scikit-learn has no type hints

from benchmark import Split, TaskData, read_verified

DATA = Path(__file__).parent / "data" / "mnist10k.npz.xz"
SHA256 = "c535d6ff562061c2425c79100d8073fac2a6640b1f4e650a29c5b86420d6368e"
FOLDS = 5
WHITE = 255.0  # the largest pixel value; the only scale, so that background stays exactly 0


def read() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images, uint8 (10000, 28, 28), and digits, int64 (10000,). Raises UserError when the embedded file is damaged."""
    content = read_verified(DATA, SHA256)
    with np.load(io.BytesIO(lzma.decompress(content)), allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"].astype(np.int64)


def split(labels: NDArray[np.int64], fold: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sorted row numbers, int64, of the training, validation and test part of ``fold``.

    Test: part ``fold`` of five stratified parts. Validation: first of eight stratified parts of the rest.
    Raises ValueError for a fold that does not exist.
    """
    if not 0 <= fold < FOLDS:
        raise ValueError(f"fold {fold}: mnist-10k has folds 0 to {FOLDS - 1}")
    rest, test = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(labels, labels))[fold]
    train, validation = next(StratifiedKFold(8, shuffle=True, random_state=fold).split(rest, labels[rest]))
    return rest[train], rest[validation], test


def task_data(images: NDArray[np.uint8], labels: NDArray[np.int64], parts: Sequence[NDArray[np.int64]]) -> TaskData:
    """Images (N, 28, 28) and digits (N,) as a task; ``parts``: the rows to train on, to validate and to test."""
    train, validation, test = (
        Split(x=images[rows, None].astype(np.float32) / np.float32(WHITE), y=labels[rows], units=rows) for rows in parts
    )
    return TaskData(
        train=train,
        validation=validation,
        test=test,
        classes=tuple("0123456789"),
        preprocessing={"columns": ["grey"], "means": [0.0], "scales": [WHITE]},
    )


class Mnist10k:
    """Digits: x is float32 (N, 1, 28, 28) in 0..1, background 0; y is the digit; each row is its own unit."""

    def load(self, fold: int) -> TaskData:
        """7,000 training, 1,000 validation and 2,000 test rows. Raises ValueError for a fold that does not exist."""
        images, labels = read()
        return task_data(images, labels, split(labels, fold))

    def trivial(self, train: Split, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities, float32 (N, 10), of a logistic regression on the amount of ink (mean pixel) alone."""

        def ink(images: NDArray[np.float32]) -> NDArray[np.float64]:
            return np.asarray(images.reshape(len(images), -1).mean(axis=1, keepdims=True, dtype=np.float64))

        # Without standardising, the penalty on the weight would decide the fit: the mean pixel varies by 0.04 only.
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(ink(train.x), train.y)
        return np.asarray(model.predict_proba(ink(x)), dtype=np.float32)
