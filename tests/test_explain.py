"""Why a cell would run again: the ingredient that changed is named, and nothing else is blamed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.explain import changes

Command = Callable[..., "subprocess.CompletedProcess[str]"]
CELL = "keep-largest"
SUITE = """
[suite]
name = "small"
tasks = ["german-credit"]
backends = ["linear"]
[measure]
processes = 1
rounds = 1
[[budget.device]]
name = "S"
bytes = "64 KiB"
[[recipe]]
passes = ["keep-largest(share=0.3)"]
"""
STRANGER = """
from pocketbench_linear import KeepLargest
from benchmark import CompressorSpec, Param, hookimpl


@hookimpl
def benchmark_compressors():
    spec = CompressorSpec(name="keep-more", target="pocketbench_more:More", summary="As keep-largest.", stage="model",
                          backend="linear", params=(Param("share", 0.5),), requires={"numpy": "numpy"})
    return [spec]


class More(KeepLargest):
    pass
"""


def test_changes_are_named_by_their_path() -> None:
    before = {"a": 1, "same": [1], "params": {"lr": 0.1, "old": True}, "code": "0" * 64}
    now = {"a": 2, "same": [1], "params": {"lr": 0.2}, "code": "1" * 64, "new": "x"}
    assert list(changes(before, now)) == [
        "a: 1 -> 2",
        f"code: {'0' * 16}... -> {'1' * 16}...",
        "new: nothing -> x",
        "params.lr: 0.1 -> 0.2",
        "params.old: True -> nothing",
    ]
    assert list(changes(before, before)) == []


@pytest.fixture
def explained(tmp_path: Path, command: Command, site: Callable[..., Path]) -> Callable[[], dict[str, list[str]]]:
    """What ``explain`` says after a first run: for each step that would run (by the end of its label) the reasons."""
    path = site("linear")
    (path / "pocketbench_more.py").write_text(STRANGER, encoding="utf-8")
    info = path / "pocketbench_more-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pocketbench-more\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[benchmark]\nmore = pocketbench_more\n", encoding="utf-8")
    text = SUITE + '[[recipe]]\npasses = ["keep-more"]\n'
    (tmp_path / "suite.toml").write_text(text, encoding="utf-8")
    arguments = ("--suite", "suite.toml", "--results", "results")
    run = command(*arguments, path=[path])
    assert run.returncode == 0, run.stderr

    def explain(cell: str = CELL) -> dict[str, list[str]]:
        run = command("explain", cell, *arguments, path=[path])
        assert run.returncode == 0, run.stderr
        reasons: dict[str, list[str]] = {}
        said: list[str] = []
        for line in run.stdout.splitlines()[1:]:
            if line.startswith("  run "):
                reasons[line.rpartition(" · ")[2].partition(": ")[2]] = said = []
            elif line.startswith("  reuse "):
                said = []
            else:
                said.append(line.strip())
        return reasons

    return explain


def test_nothing_would_run_after_a_run_or_another_tier(explained: Callable[..., dict[str, list[str]]], tmp_path: Path) -> None:
    assert explained() == {}
    suite = tmp_path / "suite.toml"
    suite.write_text(suite.read_text(encoding="utf-8").replace("64 KiB", "1 KiB"), encoding="utf-8")
    assert explained() == {}


def test_a_parameter_that_changed(explained: Callable[..., dict[str, list[str]]], tmp_path: Path) -> None:
    suite = tmp_path / "suite.toml"
    suite.write_text(suite.read_text(encoding="utf-8").replace("share=0.3", "share=0.4"), encoding="utf-8")
    # Another parameter makes another recipe: its steps have other labels, and have never been seen.
    assert set(map(tuple, explained().values())) == {("it has never ended before",)}
    suite.write_text(
        suite.read_text(encoding="utf-8").replace("share=0.4", "share=0.3") + "[train]\nl2 = 2.0\n", encoding="utf-8"
    )
    reasons = explained()
    assert reasons["train"] == ["params.l2: 1.0 -> 2.0", "training.l2: 1.0 -> 2.0"]
    assert [line.partition(":")[0] for line in reasons["inspect the artifact"]] == ["artifact"]


def test_one_line_of_a_pass(explained: Callable[..., dict[str, list[str]]], tmp_path: Path, command: Command) -> None:
    code = tmp_path / "site" / "pocketbench_more.py"
    code.write_text(code.read_text(encoding="utf-8").replace("    pass", "    pass  # edited"), encoding="utf-8")
    assert explained("keep-largest") == {}
    reasons = explained("keep-more")
    assert [line.partition(":")[0] for line in reasons["keep-more"]] == ["code"]
    assert [line.partition(":")[0] for line in reasons["export to onnx"]] == ["inputs.input"]
    expected = {"keep-more", "export to onnx", "inspect the artifact", "evaluate on onnxruntime"}
    expected |= {"latency on onnxruntime, process 0", "memory on onnxruntime"}
    assert set(reasons) == expected
    run = command("--suite", "suite.toml", "--results", "results", path=[tmp_path / "site"])
    assert f"\n{len(expected)} steps run" in run.stdout  # exactly its own step and those after it


def test_a_product_that_is_gone(explained: Callable[..., dict[str, list[str]]], tmp_path: Path) -> None:
    for folder in (tmp_path / "results" / "steps").iterdir():
        if (folder / "output" / "weights.npz").exists() and "train" in (folder / "result.json").read_text(encoding="utf-8"):
            shutil.rmtree(folder)
            break
    said = {line for lines in explained().values() for line in lines}
    assert said == {"it ended well, but what it or a step before it made is not there any more, or has been changed"}


def test_a_failure_is_told(explained: Callable[..., dict[str, list[str]]], tmp_path: Path, command: Command) -> None:
    code = tmp_path / "site" / "pocketbench_more.py"
    code.write_text(code.read_text(encoding="utf-8").replace("    pass", "    compress = None"), encoding="utf-8")
    command("--suite", "suite.toml", "--results", "results", path=[tmp_path / "site"])
    assert explained("keep-more")["keep-more"] == ["last time: failed (TypeError: 'NoneType' object is not callable)"]


def test_no_such_cell_is_one_line(command: Command) -> None:
    run = command("explain", "nothing like it", "--suite", "smoke")
    line = "error: no cell of suite smoke has 'nothing like it' in its name; --dry-run prints them all\n"
    assert (run.returncode, run.stdout, run.stderr) == (2, "", line)
