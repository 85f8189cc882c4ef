"""Reads the four official MNIST files and splits a validation part off the official training digits."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold  # type: ignore[import-untyped]  # scikit-learn has no type hints

from benchmark import TaskData, UserError, fetch
from benchmark_mnist import SOURCES
from benchmark_mnist._task import Mnist10k, task_data

TRAIN, TEST = 60_000, 10_000


def read_idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The bytes of a gzipped IDX file, in this shape. Raises UserError where it is not an IDX file of such bytes.

    The format: two zeros, 8 for unsigned bytes, the number of axes; the length of each, 32 bits, big-endian; the bytes.
    """
    content = gzip.decompress(path.read_bytes())
    header = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
    if content[: len(header)] != header or len(content) != len(header) + math.prod(shape):
        found = f"{len(content)} bytes that begin with {content[: len(header)].hex()}"
        raise UserError(f"{path}: not an IDX file of bytes of shape {shape}: expected a header {header.hex()}, found {found}")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


def read() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images, uint8 (70000, 28, 28), and digits, int64 (70000,), the official training part first. Raises UserError where a file
    cannot be had or is not as expected."""
    files = fetch(SOURCES)
    parts = {"train": TRAIN, "t10k": TEST}
    images = [read_idx(files[f"mnist/{part}-images-idx3-ubyte.gz"], (rows, 28, 28)) for part, rows in parts.items()]
    labels = [read_idx(files[f"mnist/{part}-labels-idx1-ubyte.gz"], (rows,)) for part, rows in parts.items()]
    return np.concatenate(images), np.concatenate(labels).astype(np.int64)


def split(labels: NDArray[np.int64], fold: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sorted row numbers, int64, of the training, validation and test part.

    Test: the official one. Validation: first of twelve stratified parts of the official training rows.
    Raises ValueError for a fold that does not exist.
    """
    if fold != 0:
        raise ValueError(f"fold {fold}: mnist has fold 0 only")
    rest = labels[:TRAIN]
    train, validation = next(StratifiedKFold(12, shuffle=True, random_state=fold).split(rest, rest))
    return train, validation, np.arange(TRAIN, TRAIN + TEST)


class Mnist(Mnist10k):
    """Digits as in ``mnist-10k``, with its baseline. Units: 0 to 59,999 are the official training rows, the others test rows."""

    def load(self, fold: int) -> TaskData:
        """55,000 training, 5,000 validation and 10,000 test rows. Raises ValueError for a fold that does not exist, UserError
        where the official files cannot be had."""
        images, labels = read()
        return task_data(images, labels, split(labels, fold))
