"""What all four embedded tasks promise: pinned files and folds, the layout, disjoint splits, JSON preprocessing."""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import TaskCode, TaskSpec, UserError

# Package, shape of a row (D of the table is 60), rows, sha256 of the index arrays of all folds.
TASKS = {
    "mnist-10k": ("benchmark_mnist", (1, 28, 28), 10_000, "32915736024ce585da88fe5ed044695346e4294f9f18c3a4f4158ba33ab5fe88"),
    "nodule-shape": ("benchmark_nodule", (3, 32, 32), 1_646, "5272f180968118eae0fec9e7362799aea3402117a92772478c4e02c48e94386f"),
    "german-credit": ("benchmark_credit", (60,), 1_000, "3bc1bf4d2466ec39aed293c8b9cf6327dd79ec94fde7aa76ebe7cbc0992e0e96"),
    "watch-imu": ("benchmark_imu", (6, 128), 3_605, "0e581167b778e305f322bdddc8f3d3b2e5230a5ffbf80802f8e4ac072f32c7fd"),
}
PACKAGES = [package for package, *_ in TASKS.values()]


def spec_of(package: str) -> TaskSpec:
    (spec,) = (one for one in importlib.import_module(package).benchmark_tasks() if not one.sources and not one.options)
    assert isinstance(spec, TaskSpec)
    return spec


def code_of(package: str) -> TaskCode:
    module, attribute = spec_of(package).target.split(":")
    code: TaskCode = getattr(importlib.import_module(module), attribute)()
    return code


def module_of(package: str) -> Any:
    return importlib.import_module(f"{package}._task")


@pytest.mark.parametrize("name", TASKS)
def test_index_arrays_are_pinned(name: str) -> None:
    package, _, _, expected = TASKS[name]
    module = module_of(package)
    units = {
        "benchmark_mnist": lambda: module.read()[1],
        "benchmark_nodule": lambda: module.read()[2],
        "benchmark_credit": lambda: module.read()[1],
        "benchmark_imu": lambda: module.read().subjects,
    }[package]()
    digest = hashlib.sha256()
    for fold in range(spec_of(package).folds):
        for rows in module.split(units, fold):
            assert rows.dtype == np.int64
            digest.update(len(rows).to_bytes(8, "little") + rows.astype("<i8").tobytes())
    assert digest.hexdigest() == expected


@pytest.mark.parametrize("name", TASKS)
def test_every_fold_holds_every_row_once_in_the_layout(name: str) -> None:
    package, shape, total, _ = TASKS[name]
    spec = spec_of(package)
    assert spec.name == name
    tested: list[int] = []
    for fold in range(spec.folds):
        data = code_of(package).load(fold)
        splits = (data.train, data.validation, data.test)
        assert sum(map(len, splits)) == total
        for split in splits:
            assert split.x.shape == (len(split), *shape)
            assert split.x.dtype == np.float32
            assert split.x.flags.c_contiguous
            assert np.isfinite(split.x).all()
            for numbers in (split.y, split.units):
                assert numbers.shape == (len(split),)
                assert numbers.dtype == np.int64
                assert numbers.flags.c_contiguous
            # A class that is absent would make the columns of a model's output mean something else.
            assert np.unique(split.y).tolist() == list(range(len(data.classes)))
        train, validation, test = (set(split.units.tolist()) for split in splits)
        assert not train & validation
        assert not train & test
        assert not validation & test
        tested += test
    # Every unit is tested equally often over all folds: once, or once in each of five repeats.
    assert set(np.unique(tested, return_counts=True)[1].tolist()) == {5 if name == "german-credit" else 1}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_fold_that_does_not_exist_is_refused(package: str) -> None:
    spec = spec_of(package)
    for fold in (-1, spec.folds):
        with pytest.raises(ValueError, match=f"fold {fold}: {spec.name} has folds 0 to {spec.folds - 1}"):
            code_of(package).load(fold)


@pytest.mark.parametrize("package", PACKAGES)
def test_loading_twice_gives_the_same_bits(package: str) -> None:
    first, second = code_of(package).load(1), code_of(package).load(1)
    for one, two in ((first.train, second.train), (first.validation, second.validation), (first.test, second.test)):
        for field in ("x", "y", "units"):
            assert getattr(one, field).tobytes() == getattr(two, field).tobytes()
    assert first.preprocessing == second.preprocessing


@pytest.mark.parametrize("package", PACKAGES)
def test_preprocessing_survives_strict_json(package: str) -> None:
    preprocessing = code_of(package).load(0).preprocessing
    assert json.loads(json.dumps(preprocessing, allow_nan=False)) == preprocessing


@pytest.mark.parametrize("package", PACKAGES)
def test_the_trivial_baseline_gives_probabilities(package: str) -> None:
    code = code_of(package)
    data = code.load(0)
    outputs = code.trivial(data.train, data.validation.x)  # type: ignore[attr-defined]  # an optional method of TaskCode
    assert outputs.shape == (len(data.validation), len(data.classes))
    assert outputs.dtype == np.float32
    assert outputs.min() >= 0
    np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("package", PACKAGES)
def test_source_names_the_file_as_it_is(package: str) -> None:
    module = module_of(package)
    assert hashlib.sha256(module.DATA.read_bytes()).hexdigest() == module.SHA256
    source = (module.DATA.parent / "SOURCE.md").read_text(encoding="utf-8")
    assert source.startswith(f"# {module.DATA.name}\n")
    assert module.SHA256 in source
    script = (module.DATA.parent / "make_data.py").read_text(encoding="utf-8")
    (archive,) = [line.split('"')[1] for line in script.splitlines() if line.startswith("ARCHIVE_SHA256")]
    assert archive in source


@pytest.mark.parametrize("damage", ["flipped byte", "cut", "empty", "web page"])
@pytest.mark.parametrize("package", PACKAGES)
def test_a_damaged_file_is_named_with_both_hashes(
    package: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = module_of(package)
    good = module.DATA.read_bytes()
    middle = len(good) // 2
    bad = {
        "flipped byte": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        "cut": good[: len(good) * 6 // 10],
        "empty": b"",
        "web page": b"<html><body>Not found</body></html>",
    }[damage]
    path = tmp_path / module.DATA.name
    path.write_bytes(bad)
    monkeypatch.setattr(module, "DATA", path)
    with pytest.raises(UserError) as caught:
        code_of(package).load(0)
    found = hashlib.sha256(bad).hexdigest()
    assert (
        str(caught.value)
        == f"{path}: damaged data file: expected sha256 {module.SHA256}, found {found} ({path.stat().st_size} bytes)"
    )
