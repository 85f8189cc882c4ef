"""Bytes and content address of artifact folders."""

from __future__ import annotations

import hashlib
import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmark.measure import size


def make(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_every_file_is_charged(tmp_path: Path) -> None:
    folder = make(
        tmp_path / "a", {"model.onnx": b"x" * 10, "weights/part.data": b"y" * 300, "weights/mask.npy": b"z" * 5, ".hidden": b"h"}
    )
    assert [path.relative_to(folder).as_posix() for path in size.artifact_files(folder)] == [
        ".hidden",
        "model.onnx",
        "weights/mask.npy",
        "weights/part.data",
    ]
    assert size.artifact_bytes(folder) == 316


def test_order_is_that_of_the_written_path(tmp_path: Path) -> None:
    # By path components "a/b" would come before "a.b"; what decides must not change with the Python version.
    folder = make(tmp_path / "a", {"a/b": b"1", "a.b": b"2", "a-b": b"3"})
    assert [path.relative_to(folder).as_posix() for path in size.artifact_files(folder)] == ["a-b", "a.b", "a/b"]


def test_zeros_shrink_only_when_deflated(tmp_path: Path) -> None:  # case C-02
    dense = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    pruned = np.where(np.abs(dense) < np.quantile(np.abs(dense), 0.9), np.float32(0), dense)
    folders = [make(tmp_path / name, {"weights": w.tobytes()}) for name, w in (("dense", dense), ("pruned", pruned))]
    assert [size.artifact_bytes(folder) for folder in folders] == [400_000, 400_000]
    assert size.deflate_bytes(folders[0]) > 0.9 * 400_000
    assert size.deflate_bytes(folders[1]) < 0.2 * 400_000


def test_deflate_is_level_9_summed_over_files(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).integers(8, size=20_000).astype(np.int8).tobytes()
    folder = make(tmp_path / "a", {"a": weights, "b/c": weights})
    compressor = zlib.compressobj(level=9)
    once = len(compressor.compress(weights) + compressor.flush())
    assert once < len(zlib.compress(weights, level=1))
    assert size.deflate_bytes(folder) == 2 * once


def test_digest_is_sha256_of_lengths_paths_and_contents(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", {"m/w": b"\x01\x02", "é": b""})
    written = (
        (3).to_bytes(8, "big") + b"m/w" + (2).to_bytes(8, "big") + b"\x01\x02" + (2).to_bytes(8, "big") + "é".encode() + bytes(8)
    )
    assert size.artifact_digest(folder) == hashlib.sha256(written).hexdigest()


def test_digest_is_that_of_the_content_alone(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", {"model": b"abc", "side.data": b"def"})
    digest = size.artifact_digest(folder)
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "b", copy_function=shutil.copyfile)
    os.utime(moved / "model", (1, 1))
    (moved / "model").chmod(0o600)
    (moved / "empty").mkdir()
    assert size.artifact_digest(moved) == digest


@pytest.mark.parametrize(
    "other",
    [
        {"model": b"abd", "side.data": b"def"},  # another byte
        {"model": b"abcd", "side.data": b"ef"},  # a byte moved to the other file
        {"model": b"def", "side.data": b"abc"},  # contents swapped
        {"model": b"abc", "side.dat": b"def"},  # another name
        {"model": b"abc", "side/data": b"def"},
        {"model": b"abc", "side.data": b"def", "more": b""},
    ],
)
def test_digest_sees_every_difference(tmp_path: Path, other: dict[str, bytes]) -> None:
    first = make(tmp_path / "a", {"model": b"abc", "side.data": b"def"})
    assert size.artifact_digest(make(tmp_path / "b", other)) != size.artifact_digest(first)


def test_no_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a" / "inner").mkdir(parents=True)
    for measure in (size.artifact_files, size.artifact_bytes, size.artifact_digest, size.deflate_bytes):
        with pytest.raises(ValueError, match=f"{tmp_path / 'a'} holds no file"):
            measure(tmp_path / "a")
    with pytest.raises(ValueError, match="missing is not a regular file or folder"):
        size.artifact_files(tmp_path / "missing")


@pytest.mark.parametrize("target", ["file", "folder", "nowhere"])
def test_links_are_refused_by_name(tmp_path: Path, target: str) -> None:
    make(tmp_path, {"file": b"1", "folder/file": b"2"})
    folder = make(tmp_path / "a", {"model": b"abc"})
    (folder / "link").symlink_to(tmp_path / target)
    with pytest.raises(ValueError, match="link is not a regular file or folder"):
        size.artifact_bytes(folder)


def test_a_link_to_the_artifact_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", {"model": b"abc"})
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(ValueError, match="link is not a regular file or folder"):
        size.artifact_bytes(tmp_path / "link")


def test_special_files_are_refused_by_name(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", {"model": b"abc"})
    os.mkfifo(folder / "pipe")
    with pytest.raises(ValueError, match="pipe is not a regular file or folder"):
        size.artifact_digest(folder)
