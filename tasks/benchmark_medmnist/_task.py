"""Reads a MedMNIST file with its official split, says what is odd about its images, and offers the one-feature baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]  # scikit-learn has no type hints
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]  # scikit-learn has no type hints

from benchmark import Split, TaskData, UserError, fetch
from benchmark_medmnist import REORDERED, SOURCES

SIZE = 28  # pixels
WHITE = 255.0  # the largest pixel value; the only scale, so that black stays exactly 0
PARTS = {"train": "train", "val": "validation", "test": "test"}  # what the files call a part, what we call it
CLASSES = {
    "pneumoniamnist": ("normal", "pneumonia"),
    "breastmnist": ("malignant", "normal or benign"),
    "retinamnist": ("grade 0", "grade 1", "grade 2", "grade 3", "grade 4"),
}
NO_PATIENTS = "no patient ids are published: a patient may be in two splits, and intervals over images may be too narrow"
NOTES = {
    "pneumoniamnist": (NO_PATIENTS,),
    "breastmnist": (NO_PATIENTS, "the positive class 1 is the harmless one, normal or benign"),
    "retinamnist": (NO_PATIENTS, "the grades are ordered; they are scored as five classes without order"),
}


def read(path: Path, channels: int, classes: int) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Images, uint8 (N, 28, 28) for one channel and (N, 28, 28, C) for more, and labels, int64 (N,), of each part.

    Raises UserError where the file holds something else, ValueError where a row has several labels: such a file is no task of one
    class a row, and the largest of its 0/1 columns would be a made-up class.
    """
    expected = (SIZE, SIZE) if channels == 1 else (SIZE, SIZE, channels)
    parts = {}
    with np.load(path, allow_pickle=False) as arrays:
        for part in PARTS:
            if lacking := {f"{part}_images", f"{part}_labels"} - set(arrays):
                raise UserError(f"{path}: it has no array {min(lacking)}")
            images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
            if images.dtype != np.uint8 or images.shape[1:] != expected:
                shape = ", ".join(map(str, expected))
                raise UserError(f"{path}: {part}_images is {images.dtype} {images.shape}, expected uint8 (N, {shape})")
            if labels.ndim == 2 and labels.shape[1] > 1:
                raise ValueError(f"{path}: {part}_labels has {labels.shape[1]} columns: multi-label, not one class a row")
            if labels.shape not in ((len(images), 1), (len(images),)) or not np.isin(labels, np.arange(classes)).all():
                raise UserError(f"{path}: {part}_labels is not one label of 0 to {classes - 1} for each of {len(images)} images")
            parts[part] = images, labels.reshape(-1).astype(np.int64)
    return parts


def oddities(images: Mapping[str, NDArray[np.uint8]]) -> tuple[str, ...]:
    """One line for each oddity: how many images of a part have a single colour, and how many are also among those to train on."""
    blank = {part: int((x == x[:, :1, :1]).reshape(len(x), -1).all(axis=1).sum()) for part, x in images.items()}
    known = {image.tobytes() for image in images["train"]}
    copies = {part: sum(image.tobytes() in known for image in x) for part, x in images.items() if part != "train"}
    return tuple(
        f"images {what}: " + ", ".join(f"{count} of {PARTS[part]}" for part, count in counts.items() if count)
        for what, counts in (("of a single colour", blank), ("that are also in train, pixel by pixel", copies))
        if any(counts.values())
    )


class MedMnist:
    """Images: x is float32 (N, channels, 28, 28) in 0..1; y is the class; each image is its own unit, numbered through the
    official parts. ``file``: the name of the official file, without its ending."""

    def __init__(self, file: str, channels: int) -> None:
        self.file, self.channels = file, channels

    def load(self, fold: int) -> TaskData:
        """The official split. Raises ValueError for a fold that does not exist, UserError where the file cannot be had or is
        not as expected."""
        if fold != 0:
            raise ValueError(f"fold {fold}: {self.file} has fold 0 only")
        ((name, path),) = fetch(SOURCES[self.file]).items()
        classes = CLASSES[self.file]
        parts = read(path, self.channels, len(classes))
        splits, first = [], 0
        for images, labels in parts.values():
            x = images.reshape(len(images), SIZE, SIZE, self.channels).transpose(0, 3, 1, 2)
            units = np.arange(first, first + len(images))
            splits.append(Split(x=np.ascontiguousarray(x, dtype=np.float32) / np.float32(WHITE), y=labels, units=units))
            first += len(images)
        train, validation, test = splits
        reordered = ("a mirror's copy: rows to train on are those of the official file in another order",)
        return TaskData(
            train=train,
            validation=validation,
            test=test,
            classes=classes,
            preprocessing={
                "columns": ["grey"] if self.channels == 1 else ["red", "green", "blue"],
                "means": [0.0] * self.channels,
                "scales": [WHITE] * self.channels,
            },
            notes=(
                *NOTES[self.file],
                *oddities({part: images for part, (images, _) in parts.items()}),
                *(reordered if name == REORDERED.name else ()),
            ),
        )

    def trivial(self, train: Split, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities, float32 (N, K), of a logistic regression on the mean brightness alone."""

        def brightness(images: NDArray[np.float32]) -> NDArray[np.float64]:
            return np.asarray(images.reshape(len(images), -1).mean(axis=1, keepdims=True, dtype=np.float64))

        # Without standardising, the penalty on the weight would decide the fit: the mean pixel varies by 0.1 only.
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(brightness(train.x), train.y)
        return np.asarray(model.predict_proba(brightness(x)), dtype=np.float32)
