"""Tasks that are a file of the user's: an entry of a suite -> the spec of a task."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from benchmark import __version__
from benchmark.errors import UserError
from benchmark.registry import OWN, Registry, with_tasks
from benchmark.specs import Modality, Scalar, TaskSpec
from benchmark.suite import OwnTask

_CODE = "benchmark_own._task:OwnData"
_REQUIRES = {"numpy": "numpy", "pandas": "pandas", "pyarrow": "pyarrow", "sklearn": "scikit-learn"}


def with_own(registry: Registry, own: Mapping[str, OwnTask]) -> Registry:
    """The registry with the user's own tasks. Reads each file once, for its digest, which is part of the ids. Raises UserError
    for a file that cannot be read and for a name that another task has."""
    try:
        specs = {name: _spec(name, task) for name, task in own.items()}
        for name, spec in specs.items():
            same = tuple(one for one, other in specs.items() if one != name and other.version == spec.version)
            specs[name] = dataclasses.replace(spec, shares_rows=same)
        return with_tasks(registry, list(specs.values()), OWN, __version__)
    except ValueError as error:
        raise UserError(f"task {error}") from None


def _spec(name: str, task: OwnTask) -> TaskSpec:
    try:
        with Path(task.file).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{task.file}: data file cannot be read: {error.strerror}") from None
    options: dict[str, Scalar] = {
        "file": task.file,
        "sha256": digest,
        "target": task.target,
        "unit": task.unit,
        "folds": task.folds,
        "drop": json.dumps(task.drop),
        "modality": task.modality,
    }
    return TaskSpec(
        name=name,
        target=_CODE,
        summary=f"{Path(task.file).name}, as the suite says.",
        requires=_REQUIRES,
        version=digest[:12],
        modality=cast(Modality, task.modality),
        metrics=tuple(dict.fromkeys((task.metric, "accuracy", "log_loss", "brier"))),
        margin=task.margin,
        unit=task.unit or "row",
        folds=task.folds,
        licence="that of the file",
        citation="none",
        options=options,
    )
