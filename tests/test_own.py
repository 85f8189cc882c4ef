"""Tasks that are files of the user's: their specs, what enters their ids, and that no pass can read the file."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from benchmark import TaskSpec, UserError
from benchmark.limits import sandbox
from benchmark.own import with_own
from benchmark.registry import Registry, discover
from benchmark.suite import OwnTask

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Site = Callable[..., Path]

TABLE = "size,colour,kind\n" + "".join(
    f"{i * 7 % 23},{('red', 'blue', 'green')[i % 3]},{'big' if i * 7 % 23 > 11 - i % 5 else 'small'}\n" for i in range(300)
)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return discover()


def own(path: Path, **changes: object) -> OwnTask:
    values: dict[str, object] = {"file": str(path), "target": "kind", "metric": "roc_auc", **changes}
    return OwnTask(**values)  # type: ignore[arg-type]  # any field may be given


def test_an_entry_becomes_a_task(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "things.csv"
    file.write_text(TABLE, encoding="utf-8")
    whole = with_own(registry, {"things": own(file, unit="colour", folds=4, margin=0.1, drop=("size",))})
    spec = cast(TaskSpec, whole.tasks["things"].spec)
    assert (spec.modality, spec.metrics[0], spec.unit, spec.folds, spec.margin) == ("tabular", "roc_auc", "colour", 4, 0.1)
    assert spec.options["sha256"] == hashlib.sha256(TABLE.encode()).hexdigest()
    assert whole.tasks["things"].distribution == "pocketbench"
    assert whole.tasks["mnist-10k"] == registry.tasks["mnist-10k"]
    plain = cast(TaskSpec, with_own(registry, {"things": own(file)}).tasks["things"].spec)
    assert (plain.unit, plain.options["unit"]) == ("row", "")


def test_tasks_of_one_file_share_its_rows(registry: Registry, tmp_path: Path) -> None:
    for name in ("one.csv", "same.csv", "other.csv"):
        (tmp_path / name).write_text("a,b,left\n1,2,yes\n" + ("" if name == "other.csv" else "2,1,no\n"))
    tasks = {name: own(tmp_path / f"{name}.csv") for name in ("one", "same", "other")}
    found = with_own(registry, tasks).tasks
    shares = {name: found[name].spec.shares_rows for name in tasks}  # type: ignore[union-attr]  # tasks have it
    assert shares == {"one": ("same",), "same": ("one",), "other": ()}


def test_a_name_that_is_taken_is_refused(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(TABLE, encoding="utf-8")
    with pytest.raises(UserError, match=r"^task mnist: pocketbench has a task of that name; choose another$"):
        with_own(registry, {"mnist": own(tmp_path / "x.csv")})


@pytest.mark.parametrize("name", ["", "-a", "a b", "ä"])
def test_a_name_that_no_task_may_have_is_refused(registry: Registry, tmp_path: Path, name: str) -> None:
    (tmp_path / "x.csv").write_text(TABLE, encoding="utf-8")
    with pytest.raises(UserError, match=r"^task name .*: use letters, digits"):
        with_own(registry, {name: own(tmp_path / "x.csv")})


def test_a_file_that_cannot_be_read_is_named(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.csv: data file cannot be read: No such file or directory"):
        with_own(registry, {"things": own(tmp_path / "x.csv")})


SPY = '''
"""A pass that looks for what it is not to see."""

import os
from pathlib import Path

from benchmark import CompressorSpec, hookimpl


@hookimpl
def benchmark_compressors():
    spec = {"name": "spy", "target": "spy:Spy", "summary": "Looks.", "stage": "artifact"}
    return [CompressorSpec(**spec, accepts=("onnx",), produces="onnx")]


class Spy:
    def compress(self, context):
        mirror, cache, file = (os.environ[f"BENCHMARK_{name}"] for name in ("DATA_MIRROR", "DATA_CACHE", "OF_THE_USER"))
        raise RuntimeError(f"it saw {[*os.listdir(mirror), *os.listdir(cache), *Path(file).read_text()]}")
'''
SUITE = """
[suite]
name = "mine"
tasks = ["things"]
backends = ["linear"]
[task.things]
file = "things.csv"
target = "kind"
metric = "accuracy"
[measure]
processes = 1
rounds = 1
calls = 50
[[recipe]]
passes = ["spy"]
"""


@pytest.mark.skipif(not sandbox.available(), reason="this kernel lets nobody make namespaces")
def test_no_pass_sees_the_file_or_official_data(command: Command, site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(SUITE, encoding="utf-8")
    (tmp_path / "things.csv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "spy.py").write_text(SPY, encoding="utf-8")
    for folder in ("mirror", "cache"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "labels").write_text("secret", encoding="utf-8")
    # A job changes its folder, so that relative names must be made absolute for it.
    places = {"BENCHMARK_DATA_MIRROR": "mirror", "BENCHMARK_DATA_CACHE": "cache"}
    places["BENCHMARK_OF_THE_USER"] = str(tmp_path / "things.csv")
    run = command("--suite", "mine.toml", "--plugin", "spy.py", path=[site("linear")], **places)
    assert run.returncode == 0, run.stderr
    assert "spy: spy failed (RuntimeError: it saw [])" in run.stdout
    assert "2 cells: 1 failed, 1 ok" in run.stdout


def test_what_a_suite_says_wrongly_of_a_file_is_a_mistake(command: Command, site: Site, tmp_path: Path) -> None:
    """It is found out in a job, as rows say; but the user's mistake ends a run with its line, and with no empty tables."""
    text = SUITE.replace('[[recipe]]\npasses = ["spy"]\n', "").replace('"kind"', '"kinds"')
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    (tmp_path / "things.csv").write_text(TABLE, encoding="utf-8")
    path = [site("linear")]
    run = command("--suite", "mine.toml", path=path)
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert line == "error: suite mine: task things: things.csv: there is no column 'kinds'; did you mean 'kind'?"
    assert "# PocketBench" not in run.stdout
    assert (tmp_path / "results" / "mine" / "rows.csv").exists()

    both = text.replace('["things"]', '["things", "german-credit"]')
    (tmp_path / "mine.toml").write_text(both, encoding="utf-8")
    run = command("--suite", "mine.toml", path=path)
    assert (run.returncode, run.stderr) == (2, f"{line}\n")
    assert "# PocketBench" in run.stdout  # of the other task, which has run
    assert "2 cells: 1 failed, 1 ok" in run.stdout


@pytest.mark.skipif(not sandbox.available(), reason="this kernel lets nobody make namespaces")
def test_a_data_folder_that_cannot_be_hidden_is_refused(command: Command, site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(SUITE.replace('[[recipe]]\npasses = ["spy"]\n', ""), encoding="utf-8")
    (tmp_path / "things.csv").write_text(TABLE, encoding="utf-8")
    folder = str(Path(sys.prefix).parent)
    run = command("--suite", "mine.toml", path=[site("linear")], BENCHMARK_DATA_CACHE=folder)
    reason = "this folder of official data also holds what Python needs, so it cannot be hidden from passes"
    assert (run.returncode, run.stderr) == (2, f"error: {folder}: {reason}\n")
    assert not (tmp_path / "results").exists()


def test_a_changed_file_is_prepared_again_and_a_moved_one_trains_nothing(command: Command, site: Site, tmp_path: Path) -> None:
    suite = SUITE.replace('[[recipe]]\npasses = ["spy"]\n', "")
    path = [site("linear")]
    (tmp_path / "mine.toml").write_text(suite, encoding="utf-8")
    (tmp_path / "things.csv").write_text(TABLE, encoding="utf-8")
    assert "1 cells: 1 ok" in command("--suite", "mine.toml", path=path).stdout
    (tmp_path / "things.csv").rename(tmp_path / "moved.csv")
    (tmp_path / "mine.toml").write_text(suite.replace("things.csv", "moved.csv"), encoding="utf-8")
    moved = command("--suite", "mine.toml", path=path)
    assert "\n1 steps run." in moved.stdout  # the preparation, whose arrays are the same
    (tmp_path / "moved.csv").write_text(TABLE.replace("red", "pink", 1), encoding="utf-8")
    changed = command("--suite", "mine.toml", path=path)
    assert "1 cells: 1 ok" in changed.stdout
    assert "\n1 steps run." not in changed.stdout
    (tmp_path / "moved.csv").unlink()
    gone = command("--suite", "mine.toml", path=path)
    assert (gone.returncode, gone.stderr) == (
        2,
        f"error: mine.toml: task.things.file: there is no file {tmp_path / 'moved.csv'}\n",
    )
