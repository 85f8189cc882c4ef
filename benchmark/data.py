"""Prepares a task's fold once: arrays on disk, in folders by who may see them.

```
fit/        train_{x,y,units}.npy validation_{x,y,units}.npy task.json   what train, pass and export jobs are given
inputs/     validation_x.npy test_x.npy                                  what evaluate and measure jobs are given: no labels
choice/     validation_x.npy                                             what a search's are given: no labels, and no test row
truth/      test_{y,units}.npy group_<column>.npy                        what only the host reads
baselines/  trivial_{validation,test}.npy                                probabilities of the task's trivial predictor
preprocessing.json
```

A fold of a cross-validation (:func:`split`) has ``fit/`` and ``choice/`` alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.errors import UserError, one_line
from benchmark.protocols import Split, TaskData, TaskInfo
from benchmark.specs import TaskSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIT, INPUTS, CHOICE, TRUTH, BASELINES = "fit", "inputs", "choice", "truth", "baselines"
GROUP = "group_"
"""How names of the arrays of groups begin; the sensitive column follows."""
_DIMENSIONS = {"image": 4, "sequence": 3, "tabular": 2}
_FIELDS = ("x", "y", "units")


@dataclass(frozen=True)
class Prepared:
    """What the host knows of a prepared fold. ``notes``: what the task said of its data. ``rows``: of training."""

    fingerprint: str
    input_shape: tuple[int, ...]
    classes: tuple[str, ...]
    rows: int
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(facts: Mapping[str, Any]) -> Prepared:
        """From what a step that prepared it told."""
        shape, classes, notes = (tuple(facts.get(name, ())) for name in ("input_shape", "classes", "notes"))
        return Prepared(facts["fingerprint"], shape, classes, facts["rows"], notes)


def prepare(code: Any, spec: TaskSpec, fold: int, folder: Path) -> Prepared:
    """Loads the fold, checks it against the contract (ValueError says what is wrong) and writes it into the empty ``folder``."""
    data: TaskData = code.load(fold)
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    for name, split in splits.items():
        _check(name, split, spec, data)
    _check_groups(spec, data)
    info = TaskInfo(spec.name, spec.modality, spec.metrics, data.train.x.shape[1:], tuple(data.classes), spec.class_weight)
    _write(folder, info, data.train, data.validation)
    for part in (INPUTS, TRUTH, BASELINES):
        (folder / part).mkdir()
    for name in ("validation", "test"):
        np.save(folder / INPUTS / f"{name}_x.npy", splits[name].x)
    for field in ("y", "units"):
        np.save(folder / TRUTH / f"test_{field}.npy", getattr(data.test, field))
    for column, names in data.groups.items():
        np.save(folder / TRUTH / f"{GROUP}{column}.npy", np.array(names, dtype=np.str_))
    preprocessing = json.dumps(data.preprocessing, sort_keys=True, allow_nan=False)
    (folder / "preprocessing.json").write_text(preprocessing, encoding="utf-8")
    fingerprint = _fingerprint(splits, preprocessing)  # of what was written: trivial, a stranger's code, could change the arrays
    if hasattr(code, "trivial"):
        for name in ("validation", "test"):
            outputs = np.asarray(code.trivial(data.train, splits[name].x), np.float32)
            if outputs.shape != (len(splits[name]), len(data.classes)) or not np.isfinite(outputs).all():
                raise ValueError(f"task {spec.name}, {name}: trivial must give finite outputs of shape (rows, classes)")
            np.save(folder / BASELINES / f"trivial_{name}.npy", outputs)
    notes = tuple(one_line(str(note)) for note in data.notes)
    return Prepared(fingerprint, info.input_shape, info.classes, len(data.train), notes)


def split(fit: Path, part: int, parts: int, folder: Path) -> Prepared:
    """Writes a fold of a cross-validation of ``parts`` folds into the empty ``folder``. The first, ``part`` 0, is ``fit`` itself.
    The others each validate on another part of its training rows, stratified, units whole, and train on all other rows, those of
    its validation included. These parts are about as large as that validation, so that all folds train on about as many rows,
    unless more of them are asked for. Inputs stay as the task encoded them, with what it had learned from all of its training
    inputs. ValueError where a class has too few rows or units."""
    from sklearn.model_selection import StratifiedGroupKFold  # type: ignore[import-untyped]  # scikit-learn has no type hints

    train, validation, info = load_split(fit, "train"), load_split(fit, "validation"), load_info(fit)
    dealt = max(2, parts - 1, round(len(train) / len(validation)))
    for label in np.unique(train.y):
        if (units := len(np.unique(train.units[train.y == label]))) < dealt:
            raise ValueError(
                f"cross-validation in {parts} folds: class {info.classes[label]} has {units} units in the training rows, "
                f"which are dealt into {dealt} parts"
            )
    folds = StratifiedGroupKFold(dealt, shuffle=True, random_state=0).split(train.y, train.y, train.units)
    others, held = list(folds)[part - 1]
    splits = {
        "train": Split(*(np.concatenate([getattr(train, one)[others], getattr(validation, one)]) for one in _FIELDS)),
        "validation": Split(*(getattr(train, one)[held] for one in _FIELDS)),
    }
    for name, rows in splits.items():
        if missing := sorted(set(np.unique(train.y)) - set(np.unique(rows.y))):
            raise ValueError(
                f"cross-validation, inner fold {part + 1} of {parts}: no row of class {info.classes[missing[0]]} in {name}"
            )
    _write(folder, info, splits["train"], splits["validation"])
    return Prepared(_fingerprint(splits, ""), info.input_shape, info.classes, len(splits["train"]))


def _write(folder: Path, info: TaskInfo, train: Split, validation: Split) -> None:
    """Writes what jobs that build, and those of searches, are given."""
    for part in (FIT, CHOICE):
        (folder / part).mkdir()
    for name, rows in (("train", train), ("validation", validation)):
        for field in _FIELDS:
            np.save(folder / FIT / f"{name}_{field}.npy", getattr(rows, field))
    np.save(folder / CHOICE / "validation_x.npy", validation.x)
    (folder / FIT / "task.json").write_text(json.dumps(dataclasses.asdict(info)), encoding="utf-8")


def _check(name: str, split: Split, spec: TaskSpec, data: TaskData) -> None:
    where = f"task {spec.name}, {name}"
    if split.x.dtype != np.float32 or split.y.dtype != np.int64 or split.units.dtype != np.int64:
        raise ValueError(f"{where}: x must be float32, y and units int64")
    if split.x.ndim != _DIMENSIONS[spec.modality]:
        raise ValueError(f"{where}: x has {split.x.ndim} axes, {spec.modality} rows make {_DIMENSIONS[spec.modality]}")
    if not len(split.x) == len(split.y) == len(split.units) > 0:
        raise ValueError(f"{where}: x, y and units must have the same number of rows, at least one")
    if split.x.shape[1:] != data.train.x.shape[1:]:
        raise ValueError(f"{where}: rows have shape {split.x.shape[1:]}, those of train {data.train.x.shape[1:]}")
    if len(data.classes) < 2:
        raise ValueError(f"{where}: a task needs at least two classes")
    if split.y.min() < 0 or split.y.max() >= len(data.classes):
        raise ValueError(f"{where}: labels must lie in 0 .. {len(data.classes) - 1}")
    if not np.isfinite(split.x).all():
        raise ValueError(f"{where}: x holds NaN or infinity")


def _check_groups(spec: TaskSpec, data: TaskData) -> None:
    if set(data.groups) != set(spec.sensitive):
        found = ", ".join(data.groups) or "none"
        raise ValueError(
            f"task {spec.name}: groups are given for {found}, sensitive columns are {', '.join(spec.sensitive) or 'none'}"
        )
    for column, names in data.groups.items():
        if len(names) != len(data.test) or not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"task {spec.name}: groups of {column} must be a name for each of the {len(data.test)} test rows")


def _fingerprint(splits: dict[str, Split], preprocessing: str) -> str:
    digest = hashlib.sha256(preprocessing.encode())
    for name, split in splits.items():
        for field in _FIELDS:
            array = np.ascontiguousarray(getattr(split, field))
            digest.update(f"{name}.{field} {array.dtype.str} {array.shape}\0".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def read_verified(path: Path, sha256: str) -> bytes:
    """The content of a task's data file. Raises UserError, one line naming the file, what was expected and what was found,
    where it is damaged, and what is the matter where it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: data file cannot be read: {error.strerror}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise UserError(f"{path}: damaged data file: expected sha256 {sha256}, found {found} ({len(content)} bytes)")
    return content


def load_info(fit: Path) -> TaskInfo:
    """The TaskInfo in a ``fit`` folder."""
    values: dict[str, Any] = json.loads((fit / "task.json").read_text(encoding="utf-8"))
    restored: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return TaskInfo(**restored)


def load_split(fit: Path, name: str) -> Split:
    """The split ``train`` or ``validation`` of a ``fit`` folder, memory-mapped and read-only."""
    return Split(*(np.load(fit / f"{name}_{field}.npy", mmap_mode="r") for field in _FIELDS))


def load_truth(folder: Path, *, test: bool = True) -> dict[str, NDArray[Any]]:
    """Labels and units of validation and ``test``, which a fold of a cross-validation does not have, and the groups of test rows,
    by file name: for the host alone."""
    places = [(FIT, "validation"), *([(TRUTH, "test")] if test else [])]
    paths = [folder / place / f"{name}_{field}.npy" for place, name in places for field in ("y", "units")]
    return {path.stem: np.load(path) for path in (*paths, *sorted((folder / TRUTH).glob(f"{GROUP}*.npy")))}


def baselines(folder: Path, classes: int) -> dict[str, NDArray[np.float32]]:
    """Outputs of the predictors to beat on a prepared fold, probabilities float32 (N, ``classes``), by ``<name>_<split>``: the
    constant one, which gives the training classes' frequencies, and the task's trivial one where it has one."""
    share = np.bincount(load_split(folder / FIT, "train").y, minlength=classes)
    constant, found = (share / share.sum()).astype(np.float32), {}
    for split in ("validation", "test"):
        found[f"constant_{split}"] = np.tile(constant, (len(np.load(folder / INPUTS / f"{split}_x.npy", mmap_mode="r")), 1))
        trivial = folder / BASELINES / f"trivial_{split}.npy"
        if trivial.exists():
            found[f"trivial_{split}"] = np.load(trivial)
    return found
