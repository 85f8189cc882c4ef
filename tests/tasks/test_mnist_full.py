"""mnist: the official files, their split and baseline; and files that are not IDX files of the expected shape."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from benchmark_mnist import SOURCES, _task
from benchmark_mnist._full import Mnist, read, read_idx, split

from benchmark import TaskData, UserError, official

official_files = pytest.mark.skipif(
    official.located(SOURCES)[1] is None,
    reason=f"neither {official.MIRROR} nor the cache has the official files of mnist",
)
COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]  # digits in the official training rows


@pytest.fixture(scope="module")
def data() -> TaskData:
    return Mnist().load(0)


@official_files
@pytest.mark.xdist_group("mnist")
def test_the_digits_are_the_official_ones() -> None:
    images, labels = read()
    assert images.shape == (70_000, 28, 28)
    assert np.bincount(labels[:60_000]).tolist() == COUNTS
    assert np.bincount(labels[60_000:]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert labels[[0, 1, 2, 60_000, 60_001, 60_002]].tolist() == [5, 0, 4, 7, 2, 1]
    assert images[:60_000].mean(dtype=np.float64) / 255 == pytest.approx(0.1306604762738429)
    # mnist-10k is made of the first 10,000, in another order.
    first, embedded = (
        sorted((int(label), image.tobytes()) for image, label in zip(*rows, strict=True))
        for rows in ((images[:10_000], labels[:10_000]), _task.read())
    )
    assert first == embedded


@official_files
@pytest.mark.xdist_group("mnist")
def test_the_official_split_is_kept(data: TaskData) -> None:
    splits = (data.train, data.validation, data.test)
    assert [len(part) for part in splits] == [55_000, 5_000, 10_000]
    assert data.test.units.tolist() == list(range(60_000, 70_000))
    assert sorted([*data.train.units, *data.validation.units]) == list(range(60_000))
    assert np.bincount(data.validation.y) / 5_000 == pytest.approx(np.array(COUNTS) / 60_000, abs=2e-4)
    digest = hashlib.sha256()
    for rows in split(read()[1], 0):
        assert rows.dtype == np.int64
        digest.update(len(rows).to_bytes(8, "little") + rows.astype("<i8").tobytes())
    assert digest.hexdigest() == "145c62f899f73d5e8be2c470ea26875e9f05205c7339a993c0e39ec8f9630f34"


@official_files
@pytest.mark.xdist_group("mnist")
def test_rows_hold_their_pixels(data: TaskData) -> None:
    images, labels = read()
    for part in (data.train, data.validation, data.test):
        assert part.x.dtype == np.float32
        assert part.x.shape == (len(part), 1, 28, 28)
        assert part.x.flags.c_contiguous
        assert np.array_equal(part.y, labels[part.units])
        rows = slice(None, None, 100)
        np.testing.assert_allclose(part.x[rows, 0], images[part.units[rows]] / 255, atol=1e-7)


@official_files
@pytest.mark.xdist_group("mnist")
def test_ink_alone_is_a_weak_predictor(data: TaskData) -> None:
    accuracy = (Mnist().trivial(data.train, data.test.x).argmax(axis=1) == data.test.y).mean()
    assert accuracy == pytest.approx(0.220, abs=0.01)  # the largest class has .114


def test_a_fold_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="fold 1: mnist has fold 0 only"):
        split(np.zeros(70_000, np.int64), 1)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path


def test_idx_files_are_read_as_their_header_says(tmp_path: Path) -> None:
    path = write(tmp_path / "images.gz", bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3]) + bytes(range(6)))
    assert read_idx(path, (2, 1, 3)).tolist() == [[[0, 1, 2]], [[3, 4, 5]]]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (bytes([0, 0, 8, 1, 0, 0, 0, 5]) + bytes(5), "other length"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 4]) + bytes(3), "cut"),
        (bytes([0, 0, 13, 1, 0, 0, 0, 4]) + bytes(16), "floats"),
        (b"", "empty"),
    ],
)
def test_other_idx_files_are_refused(content: bytes, what: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"{what}.gz", content)
    found = f"found {len(content)} bytes that begin with {content[:8].hex()}"
    with pytest.raises(UserError) as caught:
        read_idx(path, (4,))
    message = f"{path}: not an IDX file of bytes of shape (4,): expected a header 0000080100000004, {found}"
    assert str(caught.value) == message.rstrip()
