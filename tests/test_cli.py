"""The command as a user meets it: what it lists, what it says of mistakes, exit codes, progress on and off a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import benchmark
from benchmark.cli import _Bar

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Site = Callable[..., Path]

HERE = len(os.sched_getaffinity(0))
SUITE = '[suite]\nname = "small"\ntasks = ["german-credit"]\nbackends = ["linear"]\n'


@pytest.fixture
def needy(site: Site) -> Path:
    """The site of ``linear``, and a back end ``needy`` in it that requires what nobody has."""
    folder = site("linear")
    (folder / "needy-2.5.dist-info").mkdir()
    (folder / "needy-2.5.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: needy\nVersion: 2.5\n", encoding="utf-8"
    )
    (folder / "needy-2.5.dist-info" / "entry_points.txt").write_text("[benchmark]\nneedy = needy\n", encoding="utf-8")
    (folder / "needy.py").write_text(
        """
from benchmark import BackendSpec, hookimpl

@hookimpl
def benchmark_backends():
    yield BackendSpec(name="needy", target="needy:X", summary="Näher 近い.", requires={"left_of_nobody": "left-pad"}, extra="pad",
                      architectures={"tabular": ("t",)}, exports=("onnx",), output="logits")
""",
        encoding="utf-8",
    )
    return folder


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


# --list


def test_list_shows_every_provider_with_its_distribution(command: Command, needy: Path) -> None:
    run = command("--list", path=[needy])
    lines = run.stdout.splitlines()
    assert [line.split()[0] for line in lines] == sorted(line.split()[0] for line in lines)
    shown = {line.split()[0]: re.split(" {2,}", line)[1:] for line in lines}
    assert shown["backend/linear"] == ["Ridge regression in numpy.", "pocketbench-linear 1.0"]
    assert shown["compressor/linear/keep-largest"][1] == "pocketbench-linear 1.0"
    assert shown["backend/needy"] == ["Näher 近い.", "needy 2.5", "unavailable: needs left-pad: pip install 'needy[pad]'"]
    for path in ("runtime/onnxruntime", "compressor/int8-static", "task/german-credit", "task/mnist-10k"):
        assert shown[path][1] == f"pocketbench {benchmark.__version__}"
    assert run.returncode == (1 if run.stderr else 0)  # a missing extra is no fault


def test_list_is_1_and_complete_when_a_plugin_is_broken(command: Command, site: Site) -> None:
    run = command("--list", path=[site("linear", "import_error")])
    assert run.returncode == 1
    assert (
        "plugin import_error of pocketbench-import-error 1.0: ImportError: No module named 'left_pad'" in run.stderr.splitlines()
    )
    assert {"backend/linear", "runtime/onnxruntime", "task/mnist-10k"} <= {line.split()[0] for line in run.stdout.splitlines()}


LISTED = """
import importlib.metadata as metadata
found = metadata.entry_points
metadata.entry_points = lambda group: [point for point in found(group=group) if point.name in {names}]
from benchmark.cli import main
raise SystemExit(main(["--list"]))
"""


def test_list_is_0_when_all_is_well() -> None:
    run = python(LISTED.format(names=["onnx", "credit", "mnist"]))
    assert (run.returncode, run.stderr) == (0, "")
    assert [line.split()[0] for line in run.stdout.splitlines()] == [
        "compressor/cluster",
        "compressor/fp16",
        "compressor/int8-dynamic",
        "compressor/int8-static",
        "runtime/onnxruntime",
        "task/german-credit",
        "task/mnist",
        "task/mnist-10k",
        "task/taiwan-credit",
    ]


def test_without_any_plugin_the_remedy_is_named() -> None:
    run = python(LISTED.format(names=[]))
    assert (run.returncode, run.stdout, run.stderr) == (2, "", "error: no plugins found: run pip install -e .\n")


def test_a_checkout_on_a_bare_interpreter_names_the_remedy() -> None:
    checkout = Path(__file__).parent.parent
    run = subprocess.run(  # -S: nothing that is installed can be imported
        [sys.executable, "-S", "-m", "benchmark", "--list"], cwd=checkout, capture_output=True, text=True, check=False
    )
    expected = "error: pocketbench is not installed (pluggy is missing): run pip install -e .\n"
    assert (run.returncode, run.stdout, run.stderr) == (2, "", expected)


def test_list_imports_nothing_heavy() -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "benchmark", "--list"], capture_output=True, text=True, check=False
    )
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}
    assert "pluggy" in imported
    assert not imported & {
        "numpy",
        "scipy",
        "pandas",
        "sklearn",
        "onnx",
        "onnxruntime",
        "torch",
        "jax",
        "flax",
        "rich",
        "tabulate",
        "tensorboard",
        "mlflow",
        "wandb",
    }


def test_version(command: Command) -> None:
    assert command("--version").stdout == f"pocketbench {benchmark.__version__}\n"


# The user's mistakes: exit code 2, one line


def mistake(run: subprocess.CompletedProcess[str]) -> str:
    """The one line, after ``error: ``."""
    (line,) = [line for line in run.stderr.splitlines() if not line.startswith("warning: ")]
    assert run.returncode == 2, run.stdout
    assert run.stdout == ""
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        (
            SUITE + "seeds = 0 1\n",
            "FILE: not valid TOML: Expected newline or end of document after a statement (at line 5, column 11)",
        ),
        (SUITE + "seed = [0]\n", "FILE: unknown key suite.seed; did you mean 'seeds'?"),
        (SUITE.replace("credit", "credits"), "suite small: unknown task 'german-credits'; did you mean 'german-credit'?"),
        (SUITE.replace("linear", "lineal"), "suite small: unknown backend 'lineal'; did you mean 'linear'?"),
        (SUITE + 'runtimes = ["onnx-runtime"]\n', "suite small: unknown runtime 'onnx-runtime'; did you mean 'onnxruntime'?"),
        (
            SUITE + 'architectures = {linear = ["rigde"]}\n',
            "suite small: unknown architecture 'rigde' of linear; did you mean 'ridge'?",
        ),
        (SUITE + "folds = [25]\n", "suite small: task german-credit has no fold 25: it has 25, from 0 on"),
        (SUITE + "[train]\nupdate = 1\n", "suite small: [train]: unknown parameter 'update'; did you mean 'updates'?"),
        (SUITE + "[train.linear]\nl2 = -1.0\n", "suite small: [train] of linear: l2: -1.0 is below 0"),
        (
            SUITE + '[[recipe]]\npasses = ["keep-larges"]\n',
            "suite small: unknown pass 'keep-larges'; did you mean 'keep-largest'? (not installed: --plugin FILE.py)",
        ),
        (
            SUITE + '[[recipe]]\npasses = ["keep-largest(shar=0.1)"]\n',
            "suite small: pass keep-largest: unknown parameter 'shar'; did you mean 'share'?",
        ),
        (SUITE + '[[recipe]]\npasses = ["keep-largest(share=1.5)"]\n', "suite small: pass keep-largest: share: 1.5 is above 1"),
        (
            SUITE + '[[recipe]]\npasses = ["keep-largest(share=true)"]\n',
            "suite small: pass keep-largest: share: True is not of type float",
        ),
        (
            SUITE + '[[recipe]]\npasses = ["int8-static", "keep-largest"]\n',
            "suite small: recipe int8-static + keep-largest: keep-largest works on a checkpoint, so it must come before passes on artifacts",  # noqa: E501  # the exact line
        ),
        (SUITE + "[budget.build]\ncores = 1000\n", f"budget.build.cores is 1000, but there are {HERE} here"),
    ],
)
def test_mistakes_in_a_suite(command: Command, site: Site, tmp_path: Path, suite: str, expected: str) -> None:
    file = tmp_path / "suite.toml"
    file.write_text(suite, encoding="utf-8")
    assert mistake(command("--suite", str(file), path=[site("linear")])) == expected.replace("FILE:", f"{file}:")
    assert not (tmp_path / "results").exists()  # nothing was started


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--suite", "smok"), "unknown suite 'smok'; did you mean 'smoke'?"),
        (("--suite", "nowhere/suite.toml"), "nowhere/suite.toml: cannot be read: No such file or directory"),
        (("--suite", "smoke", "--task", "mnist10k"), "no task of the suite matches 'mnist10k'; did you mean 'mnist-10k'?"),
        (("leaderboard", "nowhere"), "results folder nowhere: no run has written into it yet"),
        (("--suite", "smoke", "--backend", "sklern"), "no backend of the suite matches 'sklern'; did you mean 'sklearn'?"),
    ],
)
def test_mistakes_in_what_is_asked_for(command: Command, arguments: tuple[str, ...], expected: str) -> None:
    assert mistake(command(*arguments)) == expected


def test_a_recipe_that_the_suite_lacks(command: Command, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SUITE + '[[recipe]]\npasses = ["int8-static"]\n', encoding="utf-8")
    run = command("--suite", "s.toml", "--recipe", "int8")
    assert mistake(run) == "no recipe of the suite matches 'int8'; known: int8-static, reference"


def test_results_that_cannot_be_written_or_read(command: Command, site: Site, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SUITE, encoding="utf-8")
    (tmp_path / "file").write_text("", encoding="utf-8")
    start = ("--suite", "s.toml", "--results")
    path = [site("linear")]
    assert mistake(command(*start, "file/below", path=path)) == "results folder file/below: Not a directory"
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "store.sqlite").write_text("no database " * 100, encoding="utf-8")
    remedy = "where a run wrote it, delete it: finished steps are read again from their folders"
    expected = f"old/store.sqlite: cannot be used as a results store: file is not a database; {remedy}"
    assert mistake(command(*start, "old", path=path)) == expected
    assert mistake(command(*start, "old", "--dry-run", path=path)) == expected


def test_a_second_run_on_the_same_folder(command: Command, site: Site, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SUITE, encoding="utf-8")
    (tmp_path / "r").mkdir()
    arguments, path = ("--suite", "s.toml", "--results", "r"), [site("linear")]
    with (tmp_path / "r" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert mistake(command(*arguments, path=path)) == "results folder r: another run is using it"
        assert command(*arguments, "--dry-run", path=path).returncode == 0  # looking is allowed


def test_eight_runs_started_at_once_on_one_folder(
    command: Command, site: Site, tmp_path: Path, rows: Callable[..., Any]
) -> None:  # case H-08
    (tmp_path / "s.toml").write_text(SUITE, encoding="utf-8")
    path = [site("linear")]
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: command("--suite", "s.toml", "--results", "r", path=path), range(8)))
    assert sorted(run.returncode for run in runs) == [0, *[2] * 7]
    assert {mistake(run) for run in runs if run.returncode} == {"results folder r: another run is using it"}
    found = rows(tmp_path / "r")
    assert [row["outcome"] for row in found] == ["ok"]


def test_broken_plugins_are_warnings(command: Command, site: Site, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SUITE.replace("linear", "lineal"), encoding="utf-8")
    run = command("--suite", "s.toml", path=[site("linear", "import_error")])
    assert mistake(run) == "suite small: unknown backend 'lineal'; did you mean 'linear'?"
    warning = "warning: plugin import_error of pocketbench-import-error 1.0: ImportError: No module named 'left_pad'"
    assert warning in run.stderr.splitlines()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--suite", "smoke", "--seeds", "0"), "argument --seeds: '0' is not a whole number from 1 on"),
        (("--suite", "smoke", "--jobs", "two"), "argument --jobs: 'two' is not a whole number from 1 on"),
        (("--suite", "smoke", "--list"), "argument --list: not allowed with argument --suite"),
        ((), "say --suite, --list, recommend, export, leaderboard, explain, compare, data, verify or bundle"),
    ],
)
def test_mistakes_in_the_arguments(command: Command, arguments: tuple[str, ...], expected: str) -> None:
    run = command(*arguments)
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1] == f"python -m benchmark: error: {expected}"


# --dry-run

GRID = """
[suite]
name = "grid"
tasks = ["german-credit", "mnist-10k"]
backends = ["linear", "needy"]
seeds = [0, 3]
[[recipe]]
passes = ["keep-largest(share=0.3)", "int8-static"]
"""


def test_dry_run_lists_every_cell_once_and_touches_nothing(command: Command, needy: Path, tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text(GRID, encoding="utf-8")
    before = set(tmp_path.rglob("*"))
    run = command("--suite", "grid.toml", "--folds", "2", "--dry-run", path=[needy], PYTHONDONTWRITEBYTECODE="1")
    assert run.returncode == 0
    assert set(tmp_path.rglob("*")) == before
    *lines, last, expected = run.stdout.splitlines()
    assert expected == "expected time: unknown, since no step like these has been recorded in this results folder or beside it"
    cells = dict(line.split(": ", 1) for line in lines)
    assert len(cells) == len(lines) == 2 * 2 * 2 * 2 * 2
    assert last.startswith("32 cells, ")
    long = "keep-largest(share=0.3) + int8-static"
    unknown = "run: its data is not prepared yet, so its steps' ids are unknown"
    hint = "skip: backend/needy needs left-pad: pip install 'needy[pad]'"
    for seed in (0, 3):
        for fold in (0, 1):
            for recipe in ("reference", long):
                rest = f"{recipe} · onnxruntime · seed {seed}"
                assert cells[f"mnist-10k · fold {fold} · linear · ridge · {rest}"] == unknown
                assert cells[f"german-credit · fold {fold} · linear · ridge · {rest}"] == unknown
            rest = f"onnxruntime · seed {seed}"
            assert cells[f"german-credit · fold {fold} · needy · t · reference · {rest}"] == hint
            absent = "skip: no such pass for needy: keep-largest"
            assert cells[f"german-credit · fold {fold} · needy · t · {long} · {rest}"] == absent


def test_filters_leave_the_rest_of_the_grid_alone(command: Command, needy: Path, tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text(GRID, encoding="utf-8")
    filters = ("--task", "german-*", "--backend", "lin*", "--recipe", "reference", "--seeds", "1")
    run = command("--suite", "grid.toml", *filters, "--dry-run", path=[needy])
    assert [line.partition(":")[0] for line in run.stdout.splitlines()[:-2]] == [
        "german-credit · fold 0 · linear · ridge · reference · onnxruntime · seed 0"
    ]


def test_a_terminal_that_lacks_characters_ends_no_run(command: Command, site: Site, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SUITE, encoding="utf-8")
    run = command("--suite", "s.toml", "--dry-run", path=[site("linear")], PYTHONIOENCODING="ascii")
    assert run.returncode == 0
    assert run.stdout.startswith("german-credit ? fold 0 ? linear ? ridge ? reference ? onnxruntime ? seed 0: run: ")


# Progress


def on_a_terminal(arguments: list[str], path: Path, cwd: Path) -> tuple[int, str]:
    """Exit code and all that a terminal was sent."""
    ours, theirs = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-m", "benchmark", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(path), "TERM": "xterm", "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    sent = b""
    try:
        while block := os.read(ours, 65536):
            sent += block
    except OSError:
        pass  # Linux says EIO when the last process has closed its end
    finally:
        os.close(ours)
    return run.wait(), sent.decode()


def test_the_bar_shows_labels_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with _Bar() as progress:
        progress.stage("build", 1, 0)
        progress.started('prune(mode="[/b] [red]")')
    assert 'prune(mode="[/b] [red]")' in capsys.readouterr().out


def test_a_live_bar_on_a_terminal_and_plain_lines_in_a_pipe(command: Command, site: Site, tmp_path: Path) -> None:
    more = '[measure]\nprocesses = 1\nrounds = 1\ncalls = 10\n[[recipe]]\npasses = ["raises"]\n'
    (tmp_path / "s.toml").write_text(SUITE + more, encoding="utf-8")
    path = site("linear", "hostile")
    reason = "RuntimeError: this pass always raises"

    code, sent = on_a_terminal(["--suite", "s.toml"], path, tmp_path)
    assert code == 0
    assert "\x1b[" in sent
    for stage in ("prepare", "build", "memory", "latency"):
        assert stage in sent
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent)
    assert plain.count(f"raises failed ({reason})") == 1  # what did not end well stays as a line
    assert "2 cells: 1 failed, 1 ok" in plain

    run = command("--suite", "s.toml", path=[path])
    assert run.returncode == 0
    assert "\x1b" not in run.stdout
    assert "\r" not in run.stdout
    progress = run.stdout.partition("# PocketBench")[0].splitlines()
    assert progress[0] == "prepare: 0 steps to run, 1 finished earlier"
    # The pass, and what waits for it (its export, and that artifact's inspection and evaluation): who knows that it fails again?
    assert re.fullmatch(r"build: 4 steps to run, \d+ finished earlier", progress[1])
    label = "german-credit · fold 0 · linear ridge · seed 0 · raises: raises"
    assert re.fullmatch(re.escape(f"[1/4] {label} failed ({reason}) ") + r"\d+\.\d s", progress[2])
    assert progress[3] == "3 steps are left out: what they need was skipped or failed"
    assert re.fullmatch(r"memory: 0 steps to run, \d+ finished earlier", progress[4])
    assert re.fullmatch(r"latency: 0 steps to run, \d+ finished earlier", progress[5])
    assert run.stdout.splitlines()[-2:] == [
        "2 cells: 1 failed, 1 ok",
        "1 steps run. Tables and rows: results/small/leaderboard.md, rows.csv, rows.json; models: results/small/artifacts/",
    ]

    dry = command("--suite", "s.toml", "--dry-run", path=[path]).stdout.splitlines()
    assert re.fullmatch(r"german-credit · .* · reference · .*: reuse: all \d+ steps are finished", dry[0])
    assert re.fullmatch(r"german-credit · .* · raises · .*: run: \d+ of \d+ steps are not finished", dry[1])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--tsk", "mnist-10k", "recommend"), "unknown option --tsk; did you mean '--task'?"),
        (("verify", "--sweet=edge", "x"), "unknown option --sweet; did you mean '--seeds'?"),
        (("--nothing-like-it",), "unknown option --nothing-like-it"),
        (("recomend", "--task", "mnist-10k"), "unknown command 'recomend'; did you mean 'recommend'?"),
        (("--suite",), "argument --suite: expected one argument"),
    ],
)
def test_a_mistyped_option_or_command_is_named(command: Command, arguments: tuple[str, ...], expected: str) -> None:
    run = command(*arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.splitlines()[-1] == f"python -m benchmark: error: {expected}"


NOT_FOR_ME = """
from benchmark import CompressorSpec, NotApplicable, hookimpl


@hookimpl
def benchmark_compressors():
    return [CompressorSpec(name="not-for-me", target="picky:Picky", summary="Refuses.", stage="model", backend="linear")]


class Picky:
    def compress(self, context):
        raise NotApplicable("too plain")
"""


def test_steps_that_no_run_would_run_are_not_counted(command: Command, site: Site, tmp_path: Path) -> None:
    """A pass that says when it runs that it does not apply leaves an export, an inspection and more undone for ever."""
    more = '[measure]\nprocesses = 1\nrounds = 1\ncalls = 10\n[[recipe]]\npasses = ["not-for-me"]\n'
    (tmp_path / "s.toml").write_text(SUITE + more, encoding="utf-8")
    (tmp_path / "picky.py").write_text(NOT_FOR_ME, encoding="utf-8")
    path, arguments = site("linear"), ("--suite", "s.toml", "--plugin", "picky.py")
    run = command(*arguments, path=[path])
    assert "2 cells: 1 ok, 1 skipped" in run.stdout
    again = command(*arguments, path=[path]).stdout
    assert re.search(r"^build: 0 steps to run, \d+ finished earlier$", again, re.MULTILINE)
    dry = command(*arguments, "--dry-run", path=[path]).stdout.splitlines()
    assert dry[-1] == "expected time: nothing is to be run"
    assert ": reuse: skipped (" in dry[1]
