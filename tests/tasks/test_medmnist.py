"""The tasks of MedMNIST: the real chest X-rays, and small files with what such files are known to have wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_medmnist import REORDERED, SOURCES, _task, benchmark_tasks
from benchmark_medmnist._task import MedMnist, oddities, read

from benchmark import TaskData, UserError, official
from benchmark.measure import quality

SPECS = {spec.name: spec for spec in benchmark_tasks()}
official_files = pytest.mark.skipif(
    official.located(SOURCES["pneumoniamnist"])[1] is None,
    reason=f"neither {official.MIRROR} nor the cache has pneumoniamnist",
)


@pytest.fixture(scope="module")
def pneumonia() -> TaskData:
    return MedMnist("pneumoniamnist", 1).load(0)


@official_files
def test_the_official_split_is_kept(pneumonia: TaskData) -> None:
    splits = (pneumonia.train, pneumonia.validation, pneumonia.test)
    assert [np.bincount(part.y).tolist() for part in splits] == [[1214, 3494], [135, 389], [234, 390]]
    assert pneumonia.classes == ("normal", "pneumonia")
    assert np.concatenate([part.units for part in splits]).tolist() == list(range(5856))
    for part in splits:
        assert part.x.shape == (len(part), 1, 28, 28)
        assert [str(values.dtype) for values in (part.x, part.y, part.units)] == ["float32", "int64", "int64"]
        assert part.x.flags.c_contiguous
        assert part.x.min() == 0
        assert 0.9 < part.x.max() <= 1
    # Published for the 4,708 training images: mean .5719, deviation .1684.
    assert pneumonia.train.x.mean(dtype=np.float64) == pytest.approx(0.5719, abs=1e-4)
    assert pneumonia.train.x.std(dtype=np.float64) == pytest.approx(0.1684, abs=1e-4)


@official_files
def test_pixels_and_labels_are_those_of_the_file(pneumonia: TaskData) -> None:
    (path,) = official.fetch(SOURCES["pneumoniamnist"]).values()
    with np.load(path) as arrays:
        assert np.array_equal(np.rint(pneumonia.test.x[:, 0] * 255), arrays["test_images"])
        assert arrays["test_labels"].shape == (624, 1)
        assert np.array_equal(pneumonia.test.y, arrays["test_labels"][:, 0])


@official_files
def test_what_should_be_known_is_noted(pneumonia: TaskData) -> None:
    patients, copies, *order = pneumonia.notes
    assert patients.startswith("no patient ids are published")
    assert copies == "images that are also in train, pixel by pixel: 8 of validation"
    reordered = official.chosen(SOURCES["pneumoniamnist"]) == (REORDERED,)
    assert bool(order) == reordered


@official_files
def test_brightness_alone_is_a_weak_predictor(pneumonia: TaskData) -> None:
    outputs = MedMnist("pneumoniamnist", 1).trivial(pneumonia.train, pneumonia.test.x)
    assert outputs.shape == (624, 2)
    assert quality.score(outputs, pneumonia.test.y, "roc_auc", "probabilities") == pytest.approx(0.575, abs=0.005)


def test_specs_name_what_the_class_knows() -> None:
    assert {spec.options["file"] for spec in SPECS.values()} == set(SOURCES) == set(_task.CLASSES) == set(_task.NOTES)
    for spec in SPECS.values():
        file = MedMnist(**spec.options).file  # type: ignore[arg-type]  # a scalar of any kind
        assert spec.sources == SOURCES[file]
        assert spec.sources[0][0].url == f"https://zenodo.org/records/10519652/files/{file}.npz?download=1"
        assert "diagnosis" in spec.summary
        assert ("3 channels" if spec.options["channels"] == 3 else "grey as 1 channel") in spec.summary


def test_a_fold_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="fold 1: breastmnist has fold 0 only"):
        MedMnist("breastmnist", 1).load(1)


def arrays(channels: int = 1, classes: int = 2, **changed: Any) -> dict[str, Any]:
    """What a MedMNIST file holds, with few random images: 6 to train on, 4 to validate, 5 to test."""
    generator = np.random.default_rng(0)
    made: dict[str, Any] = {}
    for part, count in (("train", 6), ("val", 4), ("test", 5)):
        shape = (count, 28, 28) if channels == 1 else (count, 28, 28, channels)
        made[f"{part}_images"] = generator.integers(0, 256, shape, dtype=np.uint8)
        made[f"{part}_labels"] = (np.arange(count, dtype=np.uint8) % classes)[:, None]
    return made | changed


def save(folder: Path, **content: Any) -> Path:
    path = folder / "file.npz"
    np.savez(path, **content)
    return path


@pytest.mark.parametrize("name", SPECS)
def test_channels_come_first_and_labels_are_squeezed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, channels = str(SPECS[name].options["file"]), int(SPECS[name].options["channels"])
    content = arrays(channels, len(_task.CLASSES[file]))
    path = save(tmp_path, **content)
    monkeypatch.setattr(_task, "fetch", lambda sources: {sources[0][0].name: path})
    data = MedMnist(file, channels).load(0)
    assert data.test.x.shape == (5, channels, 28, 28)
    assert data.test.x.flags.c_contiguous
    pixel = content["test_images"][2, 3, 4].reshape(channels)
    np.testing.assert_allclose(data.test.x[2, :, 3, 4], pixel / 255, atol=1e-7)
    assert data.test.y.tolist() == content["test_labels"][:, 0].tolist()
    assert [part.units.tolist() for part in (data.train, data.validation, data.test)] == [
        [0, 1, 2, 3, 4, 5],
        [6, 7, 8, 9],
        [10, 11, 12, 13, 14],
    ]
    assert len(data.preprocessing["columns"]) == channels
    assert json.loads(json.dumps(data.preprocessing)) == data.preprocessing
    assert not any("single colour" in note or "another order" in note for note in data.notes)
    outputs = MedMnist(file, channels).trivial(data.train, data.validation.x)
    assert outputs.shape == (4, len(data.classes))
    np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-6)


def test_multi_label_files_are_refused(tmp_path: Path) -> None:  # case D-09
    """An argmax over 14 findings, several of which may be there at once, would be no class."""
    path = save(tmp_path, **arrays(train_labels=np.eye(6, 14, dtype=np.uint8)))
    with pytest.raises(ValueError, match=r"file\.npz: train_labels has 14 columns: multi-label, not one class a row"):
        read(path, 1, 2)


def test_labels_may_have_no_second_axis(tmp_path: Path) -> None:
    path = save(tmp_path, **arrays(val_labels=np.array([1, 0, 0, 1])))
    assert read(path, 1, 2)["val"][1].tolist() == [1, 0, 0, 1]


def test_blank_images_and_copies_are_counted() -> None:
    images = {part: arrays(3)[f"{part}_images"] for part in ("train", "val", "test")}
    assert oddities(images) == ()
    images["test"][[1, 3]] = (9, 9, 200)
    images["train"][0] = 0
    images["val"][2] = images["train"][4]
    assert oddities(images) == (
        "images of a single colour: 1 of train, 2 of test",
        "images that are also in train, pixel by pixel: 1 of validation",
    )


@pytest.mark.parametrize(
    ("changed", "channels", "message"),
    [
        ({"val_images": np.zeros((4, 28, 28, 3), np.uint8)}, 1, "val_images is uint8 (4, 28, 28, 3), expected uint8 (N, 28, 28)"),
        ({}, 3, "train_images is uint8 (6, 28, 28), expected uint8 (N, 28, 28, 3)"),
        ({"test_images": np.zeros((5, 28, 28))}, 1, "test_images is float64 (5, 28, 28), expected uint8 (N, 28, 28)"),
        ({"test_labels": np.full((5, 1), 2)}, 1, "test_labels is not one label of 0 to 1 for each of 5 images"),
        ({"test_labels": np.zeros((4, 1))}, 1, "test_labels is not one label of 0 to 1 for each of 5 images"),
    ],
)
def test_other_contents_are_refused(changed: dict[str, Any], channels: int, message: str, tmp_path: Path) -> None:
    path = save(tmp_path, **arrays(**changed))
    with pytest.raises(UserError) as caught:
        read(path, channels, 2)
    assert str(caught.value) == f"{path}: {message}"


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    content = arrays()
    del content["val_labels"]
    path = save(tmp_path, **content)
    with pytest.raises(UserError) as caught:
        read(path, 1, 2)
    assert str(caught.value) == f"{path}: it has no array val_labels"
