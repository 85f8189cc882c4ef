"""uci-har: an archive of the official layout with invented signals; subjects kept apart, scaling and the baseline.

The official archive may not be shipped. Where the cache or a mirror has it, its counts are checked too.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import benchmark_har._task as task
import numpy as np
import pytest
from benchmark_har import ARCHIVE
from benchmark_har._task import CHANNELS, CLASSES, UciHar, read

from benchmark import UserError, official

SUBJECTS = {"train": (1, 3, 5, 6, 7, 8), "test": (2, 4)}
FOLDER = "UCI HAR Dataset"
official_files = pytest.mark.skipif(
    official.located(((ARCHIVE,),))[1] is None,
    reason=f"neither {official.MIRROR} nor the cache has the official archive of uci-har",
)


def texts(seed: int = 0) -> dict[str, str]:
    """The files of the inner archive: of each subject two windows of each activity, moving more the higher its number."""
    generator = np.random.default_rng(seed)
    files = {}
    for part, subjects in SUBJECTS.items():
        labels = np.tile(np.repeat(np.arange(1, 7), 2), len(subjects))
        owners = np.repeat(subjects, 12)
        for place, channel in enumerate(CHANNELS):
            signals = place + labels[:, None] * generator.normal(size=(len(labels), 128))
            lines = ["".join(f" {value:15.7e}" for value in row) for row in signals]
            files[f"{part}/Inertial Signals/{channel}_{part}.txt"] = "\n".join([*lines, ""])
        files[f"{part}/y_{part}.txt"] = "".join(f"{label}\n" for label in labels)
        files[f"{part}/subject_{part}.txt"] = "".join(f"{owner}\n" for owner in owners)
    return files


def pack(folder: Path, files: Mapping[str, str], inside: str = f"{FOLDER}.zip") -> Path:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(f"{FOLDER}/{name}", text)
    path = folder / "human_activity_recognition_using_smartphones.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(inside, inner.getvalue())
        archive.writestr(f"{FOLDER}.names", "")
    return path


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive that ``fetch`` gives."""
    path = pack(tmp_path, texts())
    monkeypatch.setattr(task, "fetch", lambda sources: {sources[0][0].name: path})
    return path


def test_windows_hold_the_numbers_of_their_line(tmp_path: Path) -> None:
    files = texts()
    train, test = read(pack(tmp_path, files))
    assert train.signals.shape == (72, 9, 128)
    assert test.signals.shape == (24, 9, 128)
    line = files["test/Inertial Signals/body_gyro_y_test.txt"].splitlines()[13]
    assert test.signals[13, CHANNELS.index("body_gyro_y")].tolist() == [float(number) for number in line.split()]
    assert test.labels[:4].tolist() == [0, 0, 1, 1]
    assert test.subjects.tolist() == [2] * 12 + [4] * 12


@pytest.mark.usefixtures("fetched")
def test_subjects_are_kept_apart() -> None:
    data = UciHar().load(0)
    splits = (data.train, data.validation, data.test)
    assert [np.unique(part.units).tolist() for part in splits] == [[1, 3], [5, 6, 7, 8], [2, 4]]
    for part in splits:
        assert part.x.shape == (len(part), 9, 128)
        assert [str(values.dtype) for values in (part.x, part.y, part.units)] == ["float32", "int64", "int64"]
        assert part.x.flags.c_contiguous
        assert np.unique(part.y).tolist() == list(range(6))
    assert data.classes == CLASSES
    assert "2 people are tested" in data.notes[0]


def test_constants_come_from_training_subjects_only(fetched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = UciHar().load(0)
    np.testing.assert_allclose(before.train.x.mean(axis=(0, 2), dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(before.train.x.std(axis=(0, 2), dtype=np.float64), 1, atol=1e-6)
    assert json.loads(json.dumps(before.preprocessing)) == before.preprocessing
    assert before.preprocessing["columns"][:4] == ["body_acc_x", "body_acc_y", "body_acc_z", "body_gyro_x"]
    train, test = read(fetched)
    train.signals[train.subjects >= 5] *= 2
    test.signals[:] = 0
    monkeypatch.setattr(task, "read", lambda path: (train, test))
    after = UciHar().load(0)
    assert after.preprocessing == before.preprocessing
    assert after.train.x.tobytes() == before.train.x.tobytes()
    assert after.test.x.tobytes() != before.test.x.tobytes()


@pytest.mark.usefixtures("fetched")
def test_the_baseline_sees_movement() -> None:
    """In the invented signals it tells all; its probabilities are those of six classes."""
    data = UciHar().load(0)
    outputs = UciHar().trivial(data.train, data.test.x)
    assert outputs.dtype == np.float32
    assert outputs.shape == (24, 6)
    np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-6)
    assert (outputs.argmax(axis=1) == data.test.y).mean() > 0.5


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train/y_train.txt", None, f"it has no file {FOLDER}/train/y_train.txt"),
        (
            "test/Inertial Signals/total_acc_z_test.txt",
            "1 2 3\n" * 24,
            "test: not 128 samples, a label and a subject for each of 24 windows",
        ),
        ("test/subject_test.txt", "2\n" * 23, "test: not 128 samples, a label and a subject for each of 24 windows"),
        ("train/y_train.txt", "7\n" * 72, "train: labels are not 1 to 6"),
        ("test/subject_test.txt", "2\n3\n" * 12, "subjects are in training and test: 3"),
    ],
)
def test_other_contents_are_refused(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    files = texts()
    if text is None:
        del files[name]
    else:
        files[name] = text
    path = pack(tmp_path, files)
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: {message}"


def test_lines_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = pack(tmp_path, texts() | {"train/Inertial Signals/body_acc_x_train.txt": "<html>\n" * 72})
    with pytest.raises(UserError, match=r"body_acc_x_train\.txt is no table of numbers: "):
        read(path)


def test_the_inner_archive_is_asked_for_by_name(tmp_path: Path) -> None:
    path = pack(tmp_path, texts(), inside="other.zip")
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: it has no file {FOLDER}.zip"


def test_a_fold_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="fold 1: uci-har has fold 0 only"):
        UciHar().load(1)


@official_files
def test_the_official_split_is_kept() -> None:
    data = UciHar().load(0)
    assert len(data.train) + len(data.validation) == 7_352
    assert len(data.test) == 2_947
    assert np.unique(data.validation.units).tolist() == [27, 28, 29, 30]
    assert np.unique(data.test.units).tolist() == [2, 4, 9, 10, 12, 13, 18, 20, 24]
    assert len(np.unique(data.train.units)) == 17
