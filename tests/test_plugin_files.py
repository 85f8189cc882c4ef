"""Plugins that are single files: found, run in jobs, told apart from each other, and reported where they are broken."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark import UserError
from benchmark.limits import sandbox
from benchmark.plugin_files import modules

Command = Callable[..., "subprocess.CompletedProcess[str]"]

TASK = '''
"""A task, with a class of its own in one file."""

from benchmark import Split, TaskData, TaskSpec, hookimpl


@hookimpl
def benchmark_tasks():
    return [
        TaskSpec(
            name="corners",
            target="corners:Corners",
            summary="Which of two corners a point is near to.",
            requires={"numpy": "numpy"},
            version="1",
            modality="tabular",
            metrics=("accuracy",),
            margin=0.01,
            unit="row",
            folds=1,
            licence="CC0-1.0",
            citation="none",
            options={"rows": 30},
        )
    ]


class Corners:
    def __init__(self, rows):
        self.rows = rows

    def load(self, fold):
        import numpy as np

        def split(seed):
            y = np.arange(self.rows) % 2
            x = (np.random.default_rng(seed).normal(size=(self.rows, 3)) + 3 * y[:, None]).astype(np.float32)
            return Split(x, y, np.arange(self.rows) + 1000 * seed)

        return TaskData(split(0), split(1), split(2), ("low", "high"), notes=("drawn,\\nnot measured",))
'''
SUITE = """
[suite]
name = "own"
tasks = ["corners"]
backends = ["sklearn"]
architectures = { sklearn = ["logistic"] }
[measure]
processes = 1
rounds = 1
calls = 50
"""


def test_a_task_in_a_file_is_listed_run_and_run_again_when_it_changes(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "corners.py"
    file.write_text(TASK, encoding="utf-8")
    (tmp_path / "own.toml").write_text(SUITE, encoding="utf-8")
    listed = command("--list", "--plugin", "corners.py")
    assert [line.split()[-2] for line in listed.stdout.splitlines() if line.startswith("task/corners")] == ["corners.py"]
    run = command("--suite", "own.toml", "--plugin", "corners.py")
    assert run.returncode == 0, run.stderr
    assert "1 cells: 1 ok" in run.stdout
    assert "    drawn, not measured\n" in run.stdout  # on one line, when it was prepared
    board = (tmp_path / "results" / "own" / "leaderboard.md").read_text(encoding="utf-8")
    assert "- drawn, not measured" in board
    again = command("--suite", "own.toml", "--plugin", "corners.py")
    assert "\n0 steps run." in again.stdout
    for fresh, expected in (((), "expected time: nothing is to be run"), (("--fresh",), "expected time: about ")):
        planned = command("--suite", "own.toml", "--plugin", "corners.py", "--dry-run", *fresh)
        assert planned.stdout.splitlines()[-1].startswith(expected)
    for order in (("explain", "corners", "--plugin", "corners.py"), ("--plugin", "corners.py", "explain", "corners")):
        explained = command(*order, "--suite", "own.toml")
        assert "  reuse" in explained.stdout, explained.stderr
    file.write_text(TASK.replace('"rows": 30', '"rows": 40'), encoding="utf-8")
    changed = command("--suite", "own.toml", "--plugin", "corners.py", "--dry-run")
    assert "its data is not prepared yet" in changed.stdout
    without = command("--suite", "own.toml")
    assert (without.returncode, without.stderr) == (
        2,
        "error: suite own: unknown task 'corners'" + without.stderr.partition("'corners'")[2],
    )


SPY = """
from benchmark import CompressorSpec, hookimpl


@hookimpl
def benchmark_compressors():
    spec = {"name": "spy", "target": "spy:Spy", "summary": "Looks.", "stage": "artifact"}
    return [CompressorSpec(**spec, accepts=("onnx",), produces="onnx")]


class Spy:
    def compress(self, context):
        import corners

        raise RuntimeError(f"it saw {len(corners.Corners(30).load(0).test)} rows")
"""


@pytest.mark.skipif(not sandbox.available(), reason="this kernel lets nobody make namespaces")
def test_no_pass_can_read_the_file_of_a_task(command: Command, tmp_path: Path) -> None:
    (tmp_path / "corners.py").write_text(TASK, encoding="utf-8")
    (tmp_path / "spy.py").write_text(SPY, encoding="utf-8")
    (tmp_path / "own.toml").write_text(SUITE + '[[recipe]]\npasses = ["spy"]\n', encoding="utf-8")
    run = command("--suite", "own.toml", "--plugin", "corners.py", "--plugin", "spy.py")
    assert "spy: spy failed (AttributeError: module 'corners' has no attribute 'Corners')" in run.stdout
    assert "2 cells: 1 failed, 1 ok" in run.stdout


def test_a_broken_file_is_reported_with_its_name(command: Command, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def x(:\n", encoding="utf-8")
    run = command("--list", "--plugin", "bad.py")
    assert run.returncode == 1
    assert "plugin bad of bad.py " in run.stderr
    assert "SyntaxError" in run.stderr
    assert "task/mnist-10k" in run.stdout


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere.py", "there is no such file, or its name does not end in .py"),
        ("folder.py", "there is no such file, or its name does not end in .py"),
        ("plugin.txt", "there is no such file, or its name does not end in .py"),
        ("my-pass.py", "'my-pass' cannot be the name of a module: use letters, digits and '_'"),
        ("json.py", "there is another module 'json'; give the file another name"),
    ],
)
def test_what_cannot_be_a_plugin_is_said_in_one_line(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    for other in ("plugin.txt", "my-pass.py", "json.py"):
        (tmp_path / other).touch()
    with pytest.raises(UserError) as caught:
        modules([tmp_path / name])
    assert str(caught.value) == f"plugin file {tmp_path / name}: {reason}"


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine_too.py").touch()
    assert list(modules([tmp_path / "a" / "mine_too.py"])) == ["mine_too"]
    with pytest.raises(UserError, match="there is another module 'mine_too'"):
        modules([tmp_path / "a" / "mine_too.py", tmp_path / "b" / "mine_too.py"])
