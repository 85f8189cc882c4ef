"""Prepared folds: who is given which arrays, what a task may not return, and what the fingerprint sees."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmark import Split, TaskData, TaskInfo, TaskSpec, UserError, data

SPEC = TaskSpec(
    name="toy",
    target="toy:Toy",
    summary="A task with values that tell where they came from",
    version="1",
    modality="tabular",
    metrics=("accuracy", "log_loss"),
    margin=0.01,
    unit="row",
    folds=3,
    licence="CC0-1.0",
    citation="none",
    class_weight=(1.0, 2.5, 4.0, 1.0),
)
CLASSES = ("calm", "wäch", "loud", "only in test")
SPLITS = ("train", "validation", "test")
FIT_ARRAYS = [f"{split}_{field}" for split in ("train", "validation") for field in ("x", "y", "units")]


def split(rows: int, first: float, labels: list[int], unit: int) -> Split:
    x = (first + np.arange(2 * rows)).reshape(rows, 2).astype(np.float32)
    return Split(x, np.resize(labels, rows).astype(np.int64), unit + np.arange(rows, dtype=np.int64))


def toy() -> TaskData:
    """Train holds x 100.., validation 500.., test 7000..; class 3 and the units 9000.. are those of test alone."""
    return TaskData(
        train=split(5, 100, [0, 1, 2], 10),
        validation=split(3, 500, [2, 1, 0], 40),
        test=split(6, 7000, [3], 9000),
        classes=CLASSES,
        preprocessing={"mean": [0.5, 1.5], "columns": ["a", "b"]},
    )


class Toy:
    """A TaskCode without the optional baseline."""

    def __init__(self, task: TaskData) -> None:
        self.task = task
        self.folds: list[int] = []

    def load(self, fold: int) -> TaskData:
        self.folds.append(fold)
        return self.task


class ToyWithBaseline(Toy):
    def __init__(self, task: TaskData, outputs: Callable[[NDArray[np.float32]], Any]) -> None:
        super().__init__(task)
        self.outputs = outputs
        self.calls: list[tuple[Any, ...]] = []

    def trivial(self, *given: Any) -> Any:
        self.calls.append(given)
        return self.outputs(given[1])


def uniform(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities that differ between rows, so that a swap would be seen."""
    outputs = np.full((len(x), len(CLASSES)), 0.25, np.float32)
    outputs[:, 0] += x[:, 0] / 100_000
    return outputs


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., tuple[data.Prepared, Path]]:
    """``prepare(task, spec)``: what ``data.prepare`` returns, and the fresh folder it filled."""
    count = 0

    def run(
        task: TaskData | Toy | None = None, spec: TaskSpec = SPEC, modality: Any = None, fold: int = 0
    ) -> tuple[data.Prepared, Path]:
        nonlocal count
        count += 1
        folder = tmp_path / f"prepared{count}"
        folder.mkdir()
        code = task if isinstance(task, Toy) else Toy(task or toy())
        spec = dataclasses.replace(spec, modality=modality) if modality else spec
        return data.prepare(code, spec, fold, folder), folder

    return run


Prepare = Callable[..., tuple[data.Prepared, Path]]


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def changed(task: TaskData, name: str, field: str, value: Any) -> TaskData:
    """The task with one array of one split replaced."""
    return dataclasses.replace(task, **{name: dataclasses.replace(getattr(task, name), **{field: value})})


# What is written, and for whom


def test_exactly_the_documented_files_are_written(prepare: Prepare) -> None:
    _, folder = prepare(ToyWithBaseline(toy(), uniform))
    fit = {f"fit/{name}.npy" for name in FIT_ARRAYS} | {"fit/task.json"}
    inputs = {"inputs/validation_x.npy", "inputs/test_x.npy", "choice/validation_x.npy"}
    truth = {"truth/test_y.npy", "truth/test_units.npy"}
    baselines = {"baselines/trivial_validation.npy", "baselines/trivial_test.npy"}
    assert files(folder) == fit | inputs | truth | baselines | {"preprocessing.json"}
    assert files(prepare(Toy(toy()))[1]) == fit | inputs | truth | {"preprocessing.json"}


def test_every_array_is_the_one_that_the_task_returned(prepare: Prepare) -> None:
    code = Toy(toy())
    prepared, folder = prepare(code, fold=2)
    assert code.folds == [2]
    places = {"train": ("fit", "fit"), "validation": ("fit", "fit"), "test": ("inputs", "truth")}
    for name, (of_x, of_rest) in places.items():
        for field, place in (("x", of_x), ("y", of_rest), ("units", of_rest)):
            array = np.load(folder / place / f"{name}_{field}.npy")
            expected = getattr(getattr(code.task, name), field)
            np.testing.assert_array_equal(array, expected)
            assert array.dtype == expected.dtype
    np.testing.assert_array_equal(np.load(folder / "inputs" / "validation_x.npy"), code.task.validation.x)
    assert json.loads((folder / "preprocessing.json").read_text(encoding="utf-8")) == code.task.preprocessing
    assert prepared.input_shape == (2,)
    assert prepared.classes == CLASSES


def test_nothing_of_the_test_rows_lies_in_fit(prepare: Prepare) -> None:
    task = toy()
    _, folder = prepare(ToyWithBaseline(task, uniform))
    assert len(list((folder / "fit").iterdir())) == 7
    for path in (folder / "fit").iterdir():
        content = path.read_bytes()
        for value in (*task.test.x.ravel(), *task.test.units):
            assert value.tobytes() not in content, path.name
        if path.suffix == ".npy":
            array = np.load(path)
            assert not np.isin(array, task.test.x).any()
            assert not np.isin(array, task.test.units).any()
            assert not (path.stem.endswith("_y") and np.isin(array, task.test.y).any())


def test_no_label_lies_with_the_inputs(prepare: Prepare) -> None:
    task = toy()
    _, folder = prepare(ToyWithBaseline(task, uniform))
    for path in (folder / "inputs").iterdir():
        content = path.read_bytes()
        for name in SPLITS:
            for labels in (getattr(task, name).y, getattr(task, name).units):
                assert labels.tobytes() not in content
                assert labels.astype(np.float32).tobytes() not in content


def test_truth_is_that_of_validation_and_test(prepare: Prepare) -> None:
    names = ["calm", "loud and proud"] * 3
    task, spec = dataclasses.replace(toy(), groups={"mood": names}), dataclasses.replace(SPEC, sensitive=("mood",))
    truth = data.load_truth(prepare(task, spec)[1])
    assert {name: array.tolist() for name, array in truth.items()} == {
        "validation_y": [2, 1, 0],
        "validation_units": [40, 41, 42],
        "test_y": [3] * 6,
        "test_units": list(range(9000, 9006)),
        "group_mood": names,
    }


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "groups are given for none, sensitive columns are mood"),
        ({"mood": ["a"] * 6, "age": ["b"] * 6}, "groups are given for mood, age, sensitive columns are mood"),
        ({"mood": ["a"] * 5}, "groups of mood must be a name for each of the 6 test rows"),
        ({"mood": ["a"] * 5 + [""]}, "groups of mood must be a name for each of the 6 test rows"),
        ({"mood": ["a"] * 5 + [1]}, "groups of mood must be a name for each of the 6 test rows"),
    ],
)
def test_groups_that_do_not_fit_are_refused(prepare: Prepare, groups: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^task toy: {message}$"):
        prepare(dataclasses.replace(toy(), groups=groups), dataclasses.replace(SPEC, sensitive=("mood",)))


def test_notes_are_lines_and_change_no_fingerprint(prepare: Prepare) -> None:
    plain, _ = prepare()
    noted, _ = prepare(dataclasses.replace(toy(), notes=("two\nlines", "x" * 1000)))
    assert plain.notes == ()
    assert noted.notes == ("two lines", "x" * 500)
    assert noted.fingerprint == plain.fingerprint


# The contract of a task


def violation(name: str, how: str) -> tuple[TaskData, str]:
    """The toy task with one thing wrong in one split, and what the message must say."""
    task = toy()
    part: Split = getattr(task, name)
    x, y = part.x.copy(), part.y.copy()
    wrong: Mapping[str, tuple[str, Any, str]] = {
        "float64 x": ("x", part.x.astype(np.float64), "float32"),
        "big-endian x": ("x", part.x.astype(">f4"), "float32"),
        "int32 y": ("y", part.y.astype(np.int32), "int64"),
        "uint64 units": ("units", part.units.astype(np.uint64), "int64"),
        "image axes": ("x", part.x[:, None, None, :], "4 axes, tabular rows make 2"),
        "labels one short": ("y", part.y[:-1], "same number of rows"),
        "units one short": ("units", part.units[:-1], "same number of rows"),
        "x one short": ("x", part.x[:-1], "same number of rows"),
    }
    if how in wrong:
        field, value, message = wrong[how]
        return changed(task, name, field, value), message
    if how in ("NaN", "infinity"):
        x[-1, -1] = np.nan if how == "NaN" else -np.inf
        return changed(task, name, "x", x), "NaN or infinity"
    y[-1] = {"label -1": -1, "label 4": 4}[how]
    return changed(task, name, "y", y), r"0 \.\. 3"


HOWS = (
    *("float64 x", "big-endian x", "int32 y", "uint64 units", "image axes", "labels one short", "units one short", "x one short"),
    *("NaN", "infinity", "label -1", "label 4"),
)


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("how", HOWS)
def test_a_violation_is_refused_by_task_and_split(prepare: Prepare, name: str, how: str) -> None:
    task, message = violation(name, how)
    with pytest.raises(ValueError, match=f"^task toy, {name}: .*{message}"):
        prepare(task)


@pytest.mark.parametrize("name", ["validation", "test"])
def test_rows_of_another_shape_than_those_of_train_are_refused(prepare: Prepare, name: str) -> None:
    task = toy()
    wider = np.concatenate([getattr(task, name).x] * 2, axis=1)
    with pytest.raises(ValueError, match=rf"^task toy, {name}: rows have shape \(4,\), those of train \(2,\)"):
        prepare(changed(task, name, "x", wider))


@pytest.mark.parametrize("name", SPLITS)
def test_a_split_without_rows_is_refused(prepare: Prepare, name: str) -> None:
    task = toy()
    for field in ("x", "y", "units"):
        task = changed(task, name, field, getattr(getattr(task, name), field)[:0])
    with pytest.raises(ValueError, match=f"^task toy, {name}: .*at least one"):
        prepare(task)


def test_a_task_of_one_class_is_refused(prepare: Prepare) -> None:
    task = toy()
    for name in SPLITS:
        task = changed(task, name, "y", np.zeros_like(getattr(task, name).y))
    with pytest.raises(ValueError, match=r"^task toy, train: .*at least two classes"):
        prepare(dataclasses.replace(task, classes=("calm",)))


@pytest.mark.parametrize(("modality", "axes"), [("image", 4), ("sequence", 3), ("tabular", 2)])
def test_each_modality_takes_its_own_number_of_axes_and_no_other(prepare: Prepare, modality: str, axes: int) -> None:
    for other in (1, 2, 3, 4, 5):
        task = toy()
        for name in SPLITS:
            x = getattr(task, name).x
            task = changed(task, name, "x", x[:, 0] if other == 1 else x.reshape(len(x), *[1] * (other - 2), 2))
        if other == axes:
            assert prepare(task, modality=modality)[0].input_shape == (*[1] * (axes - 2), 2)
        else:
            with pytest.raises(ValueError, match=f"^task toy, train: x has {other} axes, {modality} rows make {axes}$"):
                prepare(task, modality=modality)


# The trivial baseline


def test_the_baseline_is_given_inputs_and_never_their_labels(prepare: Prepare) -> None:
    task = toy()
    code = ToyWithBaseline(task, uniform)
    _, folder = prepare(code)
    assert [len(call) for call in code.calls] == [2, 2]
    for call, name in zip(code.calls, ("validation", "test"), strict=True):
        train, x = call
        assert train is task.train
        assert type(x) is np.ndarray
        np.testing.assert_array_equal(x, getattr(task, name).x)
        stored = np.load(folder / "baselines" / f"trivial_{name}.npy")
        np.testing.assert_array_equal(stored, uniform(x))
        assert stored.dtype == np.float32


def poked(value: float) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    def outputs(x: NDArray[np.float32]) -> NDArray[np.float32]:
        made = uniform(x)
        made[-1, -1] = value
        return made

    return outputs


@pytest.mark.parametrize("rows", [3, 6], ids=["in validation", "in test"])
@pytest.mark.parametrize(
    "bad",
    [
        lambda x: uniform(x)[:, :3],  # a class missing
        lambda x: uniform(x)[1:],  # a row missing
        lambda x: uniform(x)[:, 0],  # (N,)
        lambda x: uniform(x).T,
        lambda x: uniform(x)[..., None],
        poked(math.nan),
        poked(math.inf),
    ],
    ids=["K-1", "N-1", "one axis", "transposed", "three axes", "NaN", "infinity"],
)
def test_a_bad_baseline_is_refused(prepare: Prepare, bad: Callable[[NDArray[np.float32]], Any], rows: int) -> None:
    code = ToyWithBaseline(toy(), lambda x: bad(x) if len(x) == rows else uniform(x))
    name = {3: "validation", 6: "test"}[rows]
    with pytest.raises(ValueError, match=f"^task toy, {name}: .*trivial"):
        prepare(code)


# The fingerprint


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("field", ["x", "y", "units"])
def test_the_fingerprint_sees_every_element(prepare: Prepare, name: str, field: str) -> None:
    array = getattr(getattr(toy(), name), field)
    found = {prepare()[0].fingerprint}
    for i in range(array.size):
        other = array.copy()
        if field == "x":
            other.flat[i] = np.nextafter(other.flat[i], np.float32(0))
        else:
            other.flat[i] = (other.flat[i] + 1) % (len(CLASSES) if field == "y" else 100_000)
        found.add(prepare(changed(toy(), name, field, other))[0].fingerprint)
    assert len(found) == 1 + array.size


def test_the_fingerprint_sees_the_preprocessing(prepare: Prepare) -> None:
    found = {
        prepare(dataclasses.replace(toy(), preprocessing=preprocessing))[0].fingerprint
        for preprocessing in ({"mean": [0.5, 1.5]}, {"mean": [1.5, 0.5]}, {"mean": [0.5, 1.25]}, {"means": [0.5, 1.5]}, {})
    }
    assert len(found) == 5


def test_the_fingerprint_sees_which_split_a_row_is_in(prepare: Prepare) -> None:
    task = toy()
    swapped = dataclasses.replace(task, train=task.validation, validation=task.train)
    moved = {
        field: np.concatenate([getattr(task.train, field), getattr(task.validation, field)]) for field in ("x", "y", "units")
    }
    shifted = dataclasses.replace(
        task,
        train=Split(**{field: array[:6] for field, array in moved.items()}),
        validation=Split(**{field: array[6:] for field, array in moved.items()}),
    )
    reshaped = task
    for name in SPLITS:
        reshaped = changed(reshaped, name, "x", getattr(task, name).x[:, None, :])
    found = [prepare(task), prepare(swapped), prepare(shifted), prepare(reshaped, modality="sequence")]
    assert len({prepared.fingerprint for prepared, _ in found}) == 4


def test_two_preparations_of_the_same_values_have_one_fingerprint(prepare: Prepare) -> None:
    first = prepare()[0]
    task = toy()
    for name in SPLITS:  # how the values lie in memory, and the order of keys, are no part of the data
        strided = np.repeat(np.asfortranarray(getattr(task, name).x), 2, axis=0)[::2]
        task = changed(task, name, "x", strided)
    task = dataclasses.replace(task, preprocessing={key: task.preprocessing[key] for key in ("columns", "mean")})
    assert list(task.preprocessing) != list(toy().preprocessing)
    assert not task.train.x.flags.c_contiguous
    second = prepare(ToyWithBaseline(task, uniform), fold=1)[0]
    assert second == first
    assert len(first.fingerprint) == 64


def test_the_fingerprint_is_that_of_what_was_written_whatever_the_baseline_does(prepare: Prepare) -> None:
    def in_place(x: NDArray[np.float32]) -> NDArray[np.float32]:
        x -= x.mean(axis=0)
        return uniform(x)

    prepared, folder = prepare(ToyWithBaseline(toy(), in_place))
    np.testing.assert_array_equal(np.load(folder / "inputs" / "test_x.npy"), toy().test.x)
    assert prepared.fingerprint == prepare()[0].fingerprint


def test_preprocessing_that_is_no_strict_json_is_refused(prepare: Prepare) -> None:
    with pytest.raises(ValueError, match="JSON"):
        prepare(dataclasses.replace(toy(), preprocessing={"mean": math.nan}))


# Reading it back


@pytest.mark.parametrize("weight", [None, (1.0, 2.5, 4.0, 1.0)])
@pytest.mark.parametrize("modality", ["tabular", "image"])
def test_the_task_info_comes_back_as_it_was(prepare: Prepare, weight: tuple[float, ...] | None, modality: str) -> None:
    task = toy()
    for name in SPLITS if modality == "image" else ():
        task = changed(task, name, "x", getattr(task, name).x[:, None, None, :])
    _, folder = prepare(task, dataclasses.replace(SPEC, class_weight=weight), modality=modality)
    info = data.load_info(folder / "fit")
    shape = (1, 1, 2) if modality == "image" else (2,)
    assert info == TaskInfo("toy", modality, ("accuracy", "log_loss"), shape, CLASSES, weight)  # type: ignore[arg-type]  # a str
    hash(info)  # tuples all through, no list left of the JSON


@pytest.mark.parametrize("name", ["train", "validation"])
def test_a_split_is_mapped_and_cannot_be_written(prepare: Prepare, name: str) -> None:
    task = toy()
    _, folder = prepare(task)
    loaded = data.load_split(folder / "fit", name)
    for field in ("x", "y", "units"):
        array = getattr(loaded, field)
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
        np.testing.assert_array_equal(array, getattr(getattr(task, name), field))
        assert array.dtype == getattr(getattr(task, name), field).dtype


# Data files (case D-06)

CONTENT = bytes(range(256)) * 40
GOOD = hashlib.sha256(CONTENT).hexdigest()


def test_a_good_file_is_read_whole_and_from_a_read_only_folder(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(CONTENT)
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        assert data.read_verified(path, GOOD) == CONTENT
    finally:
        tmp_path.chmod(0o755)
    assert files(tmp_path) == {"rows.csv"}


@pytest.mark.parametrize(
    "content",
    [
        CONTENT[:5000] + bytes([CONTENT[5000] ^ 1]) + CONTENT[5001:],
        CONTENT[: len(CONTENT) * 6 // 10],
        b"",
        CONTENT + b"\n",
        b"<html>moved</html>",
    ],
    ids=["one bit", "cut", "empty", "longer", "a notice"],
)
def test_a_damaged_file_is_named_with_both_hashes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        data.read_verified(path, GOOD)
    message = str(caught.value)
    for part in (str(path), f"expected sha256 {GOOD}", f"found {hashlib.sha256(content).hexdigest()}", f"{len(content)} bytes"):
        assert part in message
    assert "\n" not in message
    path.write_bytes(CONTENT)  # a second try reads the file again
    assert data.read_verified(path, GOOD) == CONTENT


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "absent.csv", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError) as caught:
            data.read_verified(path, GOOD)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert why in message
        assert "\n" not in message


# Folds of a cross-validation


def crossed(units: list[int], labels: list[int], held: int = 6) -> TaskData:
    """Train with those units and labels; validation of so many rows of three classes in turn, units 500.."""
    rows = len(units)
    x = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    train = Split(x, np.array(labels, np.int64), np.array(units, np.int64))
    return dataclasses.replace(
        toy(), train=train, validation=split(held, 500, [0, 1, 2], 500), classes=CLASSES[:3], test=split(3, 7000, [2], 9000)
    )


@pytest.mark.parametrize("owners", [1, 3])
@pytest.mark.parametrize("parts", [2, 4, 6])
def test_the_folds_of_a_cross_validation_try_no_training_row_twice(
    prepare: Prepare, tmp_path: Path, owners: int, parts: int
) -> None:
    units, labels = [row // owners for row in range(90)], [row // owners % 3 for row in range(90)]
    spec = dataclasses.replace(SPEC, class_weight=None)
    whole, folder = prepare(crossed(units, labels, 30), spec)  # 90 and 30 rows: three parts, unless more are asked for
    fit, seen, dealt = folder / data.FIT, list[float](), max(3, parts - 1)
    train, validation = data.load_split(fit, "train"), data.load_split(fit, "validation")
    assert whole.rows == 90
    for part in range(1, parts):
        (out := tmp_path / f"part{part}").mkdir()
        told = data.split(fit, part, parts, out)
        inner, held = data.load_split(out / data.FIT, "train"), data.load_split(out / data.FIT, "validation")
        assert files(out) == {f"fit/{name}.npy" for name in FIT_ARRAYS} | {"fit/task.json", "choice/validation_x.npy"}
        assert not set(inner.units) & set(held.units)
        every = sorted(map(tuple, np.concatenate([train.x, validation.x]).tolist()))
        assert sorted(map(tuple, np.concatenate([inner.x, held.x]).tolist())) == every
        assert set(map(tuple, validation.x.tolist())) <= set(map(tuple, inner.x.tolist()))
        assert np.bincount(held.y).tolist() == pytest.approx([30 / dealt] * 3, abs=owners)
        assert (np.load(out / data.CHOICE / "validation_x.npy") == held.x).all()
        truth = data.load_truth(out, test=False)
        assert set(truth) == {"validation_y", "validation_units"}
        assert (truth["validation_y"] == held.y).all()
        assert (told.classes, told.input_shape, told.rows) == (CLASSES[:3], (2,), len(inner))
        assert told.fingerprint != whole.fingerprint
        assert data.load_info(out / data.FIT) == data.load_info(fit)
        seen += held.x[:, 0].tolist()
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(train.x[:, 0].tolist())
    assert (sorted(seen) == train.x[:, 0].tolist()) == (parts - 1 == dealt)


def test_a_fold_of_a_cross_validation_is_the_same_again(prepare: Prepare, tmp_path: Path) -> None:
    _, folder = prepare(crossed(list(range(30)), [0, 1, 2] * 10), dataclasses.replace(SPEC, class_weight=None))
    found: list[str] = []
    for number in (1, 1, 2):
        (out := tmp_path / f"again{len(found)}").mkdir()
        found.append(data.split(folder / data.FIT, number, 4, out).fingerprint)
    assert found[0] == found[1] != found[2]


def test_too_few_units_of_a_class_are_refused(prepare: Prepare, tmp_path: Path) -> None:
    few = crossed([*range(20), *[98, 99] * 5], [0, 2] * 10 + [1] * 10)
    _, folder = prepare(few, dataclasses.replace(SPEC, class_weight=None))
    message = "^cross-validation in 4 folds: class wäch has 2 units in the training rows, which are dealt into 5 parts$"
    with pytest.raises(ValueError, match=message):
        data.split(folder / data.FIT, 1, 4, tmp_path)


def test_a_fold_without_a_class_is_refused(prepare: Prepare, tmp_path: Path) -> None:
    """Each class has three units, but no three parts can hold all of them: 3 would have to lie with 2, and apart from it."""
    _, folder = prepare(
        crossed([0, 0, 1, 1, 2, 2, 3, 3, 4], [0, 1, 0, 1, 0, 2, 1, 2, 2]), dataclasses.replace(SPEC, class_weight=None)
    )
    refused = [refusal(folder / data.FIT, part, tmp_path / f"part{part}") for part in (1, 2, 3)]
    message = r"cross-validation, inner fold [2-4] of 4: no row of class (calm|wäch|loud) in validation"
    assert any(re.fullmatch(message, one) for one in refused)
    assert all(not one or re.fullmatch(message, one) for one in refused)


def refusal(fit: Path, part: int, out: Path) -> str:
    out.mkdir()
    try:
        data.split(fit, part, 4, out)
    except ValueError as error:
        return str(error)
    return ""
