"""Trackers, the host's side: what they are told, when again, and that whatever one does costs no row and no exit code."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark import hookspecs, tracking
from benchmark.folders import Layout
from benchmark.registry import discover

# One worker runs this file, since its tests share a run.
pytestmark = pytest.mark.xdist_group("tracking")

Command = Callable[..., "subprocess.CompletedProcess[str]"]

LINEAR = Path(__file__).parent / "plugins_under_test" / "linear" / "pocketbench_linear.py"
SUITE = """
[suite]
name = "small"
tasks = ["german-credit"]
backends = ["linear"]
[measure]
processes = 1
rounds = 1
calls = 7
[[recipe]]
passes = ["keep-largest"]
[[recipe]]
passes = ["only-images"]
"""
HEAD = "from benchmark import Needs, hookimpl\n\n@hookimpl\ndef benchmark_cell_finished(cell, row):\n"
OUTCOMES = ["ok", "ok", "skipped"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``small.toml`` and its results in ``results/small``, of which two cells are ok and one is skipped."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.toml").write_text(SUITE, encoding="utf-8")
    command = [sys.executable, "-m", "benchmark", "--suite", "small.toml", "--plugin", str(LINEAR)]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert not (folder / "results" / "small" / "tracking").exists()
    return folder


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    """A copy of the results, where :func:`command` runs."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path / "results" / "small"


def rows_of(results: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((results / "rows.json").read_text(encoding="utf-8"))
    return rows


def write(folder: Path, name: str, body: str) -> str:
    """A plugin file with a tracker of that body; gives its path."""
    (folder / f"{name}.py").write_text(HEAD + textwrap.indent(textwrap.dedent(body), "    "), encoding="utf-8")
    return str(folder / f"{name}.py")


def test_the_tracker_in_the_docstring_is_told_of_each_cell_once(command: Command, results: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"lines\.py``::\n\n(.*)", inspect.getdoc(hookspecs) or "", re.DOTALL)
    code = textwrap.dedent(code)
    assert 0 < len(code.splitlines()) <= 15
    (tmp_path / "lines.py").write_text(code, encoding="utf-8")
    options = ("--plugin", str(LINEAR), "--plugin", "lines.py", "--track", "lines")
    listed = command("--list", "--plugin", "lines.py")
    assert "tracker/lines One line a cell, in a text file. lines.py" in [
        " ".join(line.split()[:-1]) for line in listed.stdout.splitlines()
    ]

    def told(*arguments: str) -> tuple[int, int]:
        """How many cells it says that it told, and how many lines there are then."""
        run = command(*arguments, *options)
        assert (run.returncode, run.stderr) == (0, "")
        (count,) = re.findall(
            r"^lines: told of (\d+) cells that are new or have changed: results/small/tracking/lines/$", run.stdout, re.M
        )
        return int(count), len((results / "tracking" / "lines" / "cells.txt").read_text(encoding="utf-8").splitlines())

    assert told("--suite", "small.toml") == (3, 3)
    labels = [f"german-credit · fold 0 · linear · ridge · {row['recipe']} · onnxruntime · seed 0" for row in rows_of(results)]
    expected = [f"{label}: {row['outcome']}, roc_auc {row['score']}" for label, row in zip(labels, rows_of(results), strict=True)]
    assert (results / "tracking" / "lines" / "cells.txt").read_text(encoding="utf-8").splitlines() == expected
    assert told("--suite", "small.toml") == (0, 3)
    assert told("leaderboard", "results/small") == (0, 3)

    # A row that has changed is told again, though no step has run.
    with (tmp_path / "small.toml").open("a", encoding="utf-8") as file:
        file.write('[[budget.device]]\nname = "S"\nbytes = "64 KiB"\n')
    assert told("--suite", "small.toml") == (2, 5)  # what was skipped fits no device

    # A line that was cut counts as not there.
    record = results / "tracking" / "lines" / "told.jsonl"
    record.write_bytes(record.read_bytes()[:-20])
    assert told("leaderboard", "results/small") == (1, 6)
    shutil.rmtree(results / "tracking" / "lines")
    assert told("leaderboard", "results/small") == (3, 3)


def test_what_a_tracker_is_given(command: Command, results: Path, tmp_path: Path) -> None:
    plugin = write(
        tmp_path,
        "notes",
        """
        import dataclasses, json, os
        try:
            row["score"] = 1.0
        except TypeError:
            fixed = True
        given = {"cell": dataclasses.asdict(cell), "row": dict(row), "fixed": fixed}
        given |= {"folder": os.getcwd(), "process": os.getpid()}
        with open("notes.jsonl", "a") as file:
            print(json.dumps(given, default=str), file=file)
        print("to the log")
        """,
    )
    run = command("leaderboard", "results/small", "--track", "notes", "--plugin", plugin)
    assert (run.returncode, run.stderr) == (0, "")
    output = results / "tracking" / "notes"
    notes = [json.loads(line) for line in (output / "notes.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [one["row"] for one in notes] == rows_of(results)
    assert all(one["fixed"] for one in notes)
    assert {one["folder"] for one in notes} == {str(output)}
    assert len({one["process"] for one in notes}) == 1
    assert (output / "log.txt").read_text(encoding="utf-8") == "to the log\n" * 3
    names = ("suite", "task", "fold", "backend", "architecture", "recipe", "runtime", "seed", "outcome")
    for one in notes:
        assert {name: one["cell"][name] for name in names} == {name: one["row"][name] for name in names}
        assert one["cell"]["output"] == str(output)
    assert [[name for name, _ in one["cell"]["curves"]] for one in notes] == [["train"]] * 3  # the skipped one was trained
    (_, curve), *_ = notes[0]["cell"]["curves"]
    assert Path(curve).read_text(encoding="utf-8").startswith("step,score\n1,0.")


FAULTS = {
    "raises": ('if row["recipe"] == "keep-largest":\n    raise RuntimeError("no\\nluck")', 2, "RuntimeError: no luck"),
    "leaves": ('if row["recipe"] == "keep-largest":\n    raise SystemExit("bye")', 2, "SystemExit: bye"),
    "exits": ('import os\nif row["recipe"] == "keep-largest":\n    os._exit(3)', 1, "ended with exit code 3"),
    "exits_well": ('import os\nif row["recipe"] == "keep-largest":\n    os._exit(0)', 1, "ended with exit code 0"),
    "crashes": (
        'import os, signal\nif row["recipe"] == "keep-largest":\n    os.kill(os.getpid(), signal.SIGSEGV)',
        1,
        "killed by SIGSEGV",
    ),
    "fails_late": ("import atexit, os\natexit.register(os._exit, 4)", 3, "ended with exit code 4"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_goes_wrong_is_a_warning_and_what_was_not_told_is_told_again(
    command: Command, results: Path, tmp_path: Path, name: str
) -> None:
    body, told, reason = FAULTS[name]
    write(tmp_path, name, body)
    before = (results / "rows.json").read_bytes()
    options = ("--suite", "small.toml", "--strict", "--plugin", str(LINEAR), "--plugin", f"{name}.py", "--track", name)
    run = command(*options)
    assert run.returncode == 0
    version = re.escape(name) + r"\.py [0-9a-f]{12}"
    cell = r"(german-credit · .* · keep-largest · onnxruntime · seed 0: )?"
    told_of = rf"told of {told} of 3 cells: {cell}{reason} \(results/small/tracking/{name}/log\.txt\)"
    line = rf"warning: tracker {name} of {version}: {told_of}\n"
    assert re.fullmatch(line, run.stderr), run.stderr
    assert f"{name}: told of {told} cells" in run.stdout
    assert (results / "rows.json").read_bytes() == before
    write(tmp_path, name, "pass")  # somebody has mended it
    again = command(*options)
    assert (again.returncode, again.stderr) == (0, "")
    assert f"{name}: told of {3 - told} cells" in again.stdout


def _runs(process: Path) -> bool:
    try:
        return "\nState:\tZ" not in (process / "status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("where", ["cell", "end"])
def test_one_that_hangs_is_killed_with_what_it_started(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    hang = "time.sleep(1000)" if where == "cell" else "atexit.register(time.sleep, 1000)"
    body = f"""
        import atexit, subprocess, time
        if row["recipe"] == "keep-largest":
            (cell.output / "started").write_text(str(subprocess.Popen(["sleep", "1000"]).pid))
            {hang}
        """
    name = f"hangs_in_{where}"
    plugin = write(tmp_path, name, body)
    monkeypatch.setattr(tracking, "SECONDS", 5.0)
    registry = discover([Path(plugin)])
    tracked = tracking.track(registry.trackers[name], Layout(results), {name: plugin})
    assert tracked.told == (1 if where == "cell" else 3)
    assert f"told of {tracked.told} of 3 cells: killed, since nothing came of it for 5 s" in tracked.problem
    started = Path("/proc") / (results / "tracking" / name / "started").read_text(encoding="utf-8")
    until = time.monotonic() + 10
    while _runs(started):  # who is killed is gone soon, not at once
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("tensorbord", "unknown tracker 'tensorbord'; did you mean 'tensorboard'?"),
        ("pocketbench_linear", "unknown tracker 'pocketbench_linear'; known: mlflow, needy, tensorboard, wandb"),
        ("needy", "needy needs left-pad: pip install left-pad"),
        ("torn", "plugin torn of torn.py [0-9a-f]{12}: SyntaxError: invalid syntax (torn.py, line 1)"),
    ],
)
def test_what_cannot_be_a_tracker_is_said_before_anything_runs(command: Command, tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / "small.toml").write_text(SUITE, encoding="utf-8")
    needs = '@hookimpl\ndef benchmark_tracker_needs():\n    return Needs(requires={"left_of_nobody": "left-pad"})\n'
    (tmp_path / "needy.py").write_text(f"{HEAD}    pass\n\n{needs}", encoding="utf-8")
    (tmp_path / "torn.py").write_text("def x(:\n", encoding="utf-8")
    plugins = [option for file in (LINEAR, "needy.py", "torn.py") for option in ("--plugin", str(file))]
    expected = re.escape(f"error: --track: {line}\n").replace(re.escape("[0-9a-f]{12}"), "[0-9a-f]{12}")
    for arguments in (("--suite", "small.toml"), ("--suite", "small.toml", "--dry-run"), ("leaderboard", "results/small")):
        run = command(*arguments, *plugins, "--track", name)
        assert (run.returncode, run.stdout) == (2, "")
        last = "".join(run.stderr.splitlines(keepends=True)[-1:])  # a run has warned of the broken one before
        assert re.fullmatch(expected, last), run.stderr
    assert not (tmp_path / "results").exists()
    listed = command("--list", *plugins)
    (shown,) = (line for line in listed.stdout.splitlines() if line.startswith("tracker/needy"))
    assert shown.endswith("  unavailable: needs left-pad: pip install left-pad")


def test_a_folder_that_cannot_be_written_is_said(command: Command, results: Path, tmp_path: Path) -> None:
    (results / "tracking").touch()
    plugin = write(tmp_path, "quiet", "pass")
    run = command("leaderboard", "results/small", "--track", "quiet", "--plugin", plugin)
    assert (run.returncode, run.stderr) == (2, "error: --track: results/small/tracking/quiet: Not a directory\n")


def test_a_curve_that_leads_elsewhere_is_not_given(results: Path, tmp_path: Path) -> None:
    (curve,) = results.glob("steps/*/curve.csv")
    os.replace(curve, tmp_path / "curve.csv")
    curve.symlink_to(tmp_path / "curve.csv")
    assert [cell.curves for cell, _ in tracking._finished(Layout(results), tmp_path)] == [(), (), ()]
    assert [cell.outcome for cell, _ in tracking._finished(Layout(results), tmp_path)] == OUTCOMES
