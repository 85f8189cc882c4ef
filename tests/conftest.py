"""Fixtures shared by all tests: real task data, and the Context that a back end or pass is given."""

from __future__ import annotations

import csv
import functools
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

from benchmark import Context, TaskData, TaskInfo, TaskSpec
from benchmark.measure import quality
from benchmark.specs import Output, Scalar

# Beside other tests a first call may take any time, and how long one takes is never what a test is about.
hypothesis.settings.register_profile("timeless", deadline=None)
hypothesis.settings.load_profile("timeless")

TASKS = {
    "mnist-10k": "benchmark_mnist",
    "nodule-shape": "benchmark_nodule",
    "german-credit": "benchmark_credit",
    "watch-imu": "benchmark_imu",
}


@functools.cache
def _load(name: str, fold: int) -> tuple[TaskSpec, TaskData]:
    (spec,) = (one for one in importlib.import_module(TASKS[name]).benchmark_tasks() if one.name == name)
    module, attribute = spec.target.split(":")
    return spec, getattr(importlib.import_module(module), attribute)().load(fold)


@pytest.fixture(autouse=True, scope="module")
def _no_programs_left() -> Iterator[None]:
    """What JAX has compiled stays in memory, gigabytes by the end."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


@pytest.fixture(scope="session")
def load_task() -> Callable[[str, int], tuple[TaskSpec, TaskData]]:
    """``load_task(name, fold)``: spec and data of an embedded task."""
    return _load


class Journal:
    """What a step told the host through its Context."""

    def __init__(self) -> None:
        self.curve: list[dict[str, float]] = []
        self.training: dict[str, Any] = {}
        self.layers: dict[str, Any] = {}


MakeContext = Callable[..., tuple[Context, Journal]]


@pytest.fixture
def make_context(tmp_path: Path) -> MakeContext:
    """``make_context(task, architecture, training={...}, params={...}, input=..., ...)``: a Context on real data, and the journal
    of what the step said. Each call has a fresh empty output folder."""
    count = 0

    def make(
        task: str,
        architecture: str,
        *,
        output_kind: Output = "logits",
        training: Mapping[str, Scalar] | None = None,
        params: Mapping[str, Scalar] | None = None,
        input: Path | None = None,
        reference: Path | None = None,
        source: Path | None = None,
        seed: int = 0,
        fold: int = 0,
        seconds: float = 60.0,
    ) -> tuple[Context, Journal]:
        nonlocal count
        count += 1
        output = tmp_path / f"output{count}"
        output.mkdir()
        spec, data = _load(task, fold)
        journal = Journal()
        deadline = time.monotonic() + seconds
        context = Context(
            task=TaskInfo(spec.name, spec.modality, spec.metrics, data.train.x.shape[1:], data.classes, spec.class_weight),
            train=data.train,
            validation=data.validation,
            architecture=architecture,
            params=params or {},
            training=training or {},
            output_kind=output_kind,
            seed=seed,
            threads=1,
            input=input,
            reference=reference,
            source=source,
            output=output,
            remaining=lambda: deadline - time.monotonic(),
            score=lambda outputs: quality.score(outputs, np.asarray(data.validation.y), spec.metrics[0], output_kind),
            log=lambda step, **numbers: journal.curve.append({"step": step, **numbers}),
            trained=lambda **facts: journal.training.update(facts),
            report=lambda **facts: journal.layers.update(facts),
        )
        return context, journal

    return make


PLUGINS = Path(__file__).parent / "plugins_under_test"


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Path]:
    """``site("linear", "hostile")``: a folder in which these packages of ``plugins_under_test`` are installed as pip would leave
    them (module and metadata), to be put on PYTHONPATH or sys.path."""

    def install(*names: str) -> Path:
        folder = tmp_path / "site"
        for name in names:
            project = tomllib.loads((PLUGINS / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
            info.mkdir(parents=True)
            for module in (PLUGINS / name).glob("*.py"):
                shutil.copy(module, folder)
            head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
            (info / "METADATA").write_text(head, encoding="utf-8")
            points = "".join(f"{key} = {value}\n" for key, value in project["entry-points"]["benchmark"].items())
            (info / "entry_points.txt").write_text(f"[benchmark]\n{points}", encoding="utf-8")
        return folder

    return install


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(tmp_path: Path) -> Run:
    """``command("--suite", ..., path=[site])``: ``python -m benchmark`` in a process of its own, outside the checkout."""

    def run(*arguments: str, path: Sequence[Path] = (), **environment: str) -> subprocess.CompletedProcess[str]:
        paths = [*map(str, path), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.run(
            [sys.executable, "-m", "benchmark", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


VARYING = re.compile(
    r".*_us|.*_ms|.*_seconds|latency_ratio.*|.*rss_bytes|noisy|warm_up_calls|disturbances|threads_observed|tiers|finished_utc"
)
"""Columns that no two runs share: measured times and memory, and what follows from them."""


def _rows(results: Path) -> list[dict[str, str]]:
    with (results / "rows.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def rows() -> Callable[[Path], list[dict[str, str]]]:
    """``rows(results)``: rows.csv of a results folder, as texts."""
    return _rows


@pytest.fixture(scope="session")
def stable() -> Callable[[Path], list[dict[str, Any]]]:
    """``stable(results)``: its rows without what may differ between two runs; of ``limits`` without what was observed."""

    def of(results: Path) -> list[dict[str, Any]]:
        kept: list[dict[str, Any]] = []
        for row in _rows(results):
            one: dict[str, Any] = {name: value for name, value in row.items() if not VARYING.fullmatch(name)}
            limits = json.loads(row["limits"]) if row["limits"] else {}
            one["limits"] = {name: (value["limit"], value["mechanism"]) for name, value in limits.items()}
            kept.append(one)
        return kept

    return of
