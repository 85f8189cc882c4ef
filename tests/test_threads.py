"""Busy threads under a budget of one thread, on every core: what the back ends, the runtime and a stranger really start."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from benchmark import runner
from benchmark.folders import Layout
from benchmark.registry import discover
from benchmark.suite import load

STRANGER = """
[suite]
name = "stranger"
tasks = ["german-credit"]
backends = ["linear"]
[[recipe]]
passes = ["takes-two-threads"]
"""


@pytest.fixture(scope="module")
def check() -> ModuleType:
    """The script that prints the same: it runs a finished step again, with no core to keep it on."""
    path = Path(__file__).parents[1] / "bench" / "threads.py"
    spec = importlib.util.spec_from_file_location("threads_check", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_thread_is_busy_where_one_is_allowed(check: ModuleType, tmp_path: Path) -> None:  # case M-09
    busy = _busy(check, check.SUITE, tmp_path, ("train", "evaluate"))
    assert sorted(label.rpartition(": ")[2] for label in busy) == [
        "evaluate on jax",
        *["evaluate on onnxruntime"] * 3,
        *["train"] * 3,
    ]
    assert {label: threads for label, threads in busy.items() if not 0.5 < threads < 1.5} == {}


def test_a_pass_that_takes_two_is_found_out(
    check: ModuleType, tmp_path: Path, site: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = site("linear", "hostile")
    monkeypatch.setattr(sys, "path", [str(path), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(path))
    (threads,) = _busy(check, STRANGER, tmp_path, ("pass",)).values()
    assert 1.5 < threads < 3


def _busy(check: ModuleType, suite: str, folder: Path, kinds: tuple[str, ...]) -> dict[str, float]:
    (folder / "suite.toml").write_text(suite, encoding="utf-8")
    quiet, layout = check.Quiet(), Layout(folder / "results")
    runner.run(load(str(folder / "suite.toml")), discover(), layout, quiet)
    chosen = [one for one in quiet.results if one.kind in kinds]
    assert {one.outcome for one in chosen} == {"ok"}
    return {one.label: check.again(layout, one, updates=300)[1] for one in chosen}
