"""What a user may get wrong or may happen to a run: one line and exit code 2, or a row; and nothing is lost. Mistakes in names,
parameters and arguments, folders in use and files that are no store are in ``test_cli.py``, Ctrl-C in ``test_runner.py``."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import benchmark_credit
import pytest

from benchmark.store import SCHEMA_VERSION, open_store
from benchmark.suite import load

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Site = Callable[..., Path]
Rows = Callable[[Path], list[dict[str, str]]]

HERE = len(os.sched_getaffinity(0))
SUITE = """
[suite]
name = "small"
tasks = ["german-credit"]
backends = ["linear"]
[measure]
processes = 1
rounds = 1
calls = 10
"""
LOOKING = [(), ("--dry-run",)]
"""A run, and a look at what it would do: what stops the one must not be promised by the other."""


def mistake(run: subprocess.CompletedProcess[str]) -> str:
    """The one line, after ``error: ``."""
    (line,) = run.stderr.splitlines()
    assert (run.returncode, run.stdout) == (2, "")
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def outcomes(rows: list[dict[str, str]]) -> dict[str, tuple[str, str]]:
    """Outcome and reason by recipe."""
    return {row["recipe"]: (row["outcome"], row["reason"]) for row in rows}


# Suites


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            '[budget.build]\nmemory = "5 apples"\n',
            "s.toml: budget.build.memory: '5 apples' is not a size: write a number and one of B, KB, MB, GB, KiB, MiB, GiB",
        ),
        ("[budget.build]\ncores = 0\n", "s.toml: budget.build.cores must be a whole number from 1 to 2**32 - 1, not 0"),
        ("[budget.build]\ncores = 1000\n", f"budget.build.cores is 1000, but there are {HERE} here"),
        (
            '[[recipe]]\npasses = ["prune-structured", "narrow"]\n',
            "suite small: recipe prune-structured + narrow: narrow replaces training, so it must come first",
        ),
        ('[[recipe]]\npasses = ["narrow(width=0)"]\n', "suite small: pass narrow: width: 0 is below 0.05"),
    ],
)
@pytest.mark.parametrize("looking", [("--suite",), ("--dry-run", "--suite"), ("explain", "reference", "--suite")])
def test_suites_that_cannot_be(command: Command, tmp_path: Path, looking: tuple[str, ...], more: str, expected: str) -> None:
    """The back end's specs are enough: torch need not be installed."""
    (tmp_path / "s.toml").write_text(SUITE.replace("linear", "torch") + more, encoding="utf-8")
    assert mistake(command(*looking, "s.toml")) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]


# Results folders


@pytest.mark.parametrize("looking", LOOKING)
def test_a_file_where_the_results_folder_should_be(
    command: Command, site: Site, tmp_path: Path, looking: tuple[str, ...]
) -> None:
    (tmp_path / "s.toml").write_text(SUITE, encoding="utf-8")
    (tmp_path / "mine.csv").write_text("precious", encoding="utf-8")
    run = command("--suite", "s.toml", "--results", "mine.csv", *looking, path=[site("linear")])
    assert mistake(run) == "results folder mine.csv: Not a directory"
    assert (tmp_path / "mine.csv").read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize("looking", LOOKING)
def test_results_of_a_newer_version(command: Command, site: Site, tmp_path: Path, looking: tuple[str, ...]) -> None:
    (tmp_path / "s.toml").write_text(SUITE, encoding="utf-8")
    store = tmp_path / "newer" / "store.sqlite"
    store.parent.mkdir()
    open_store(store).close()
    connection = sqlite3.connect(store)
    with connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (str(SCHEMA_VERSION + 1),))
    connection.close()
    before = store.read_bytes()
    run = command("--suite", "s.toml", "--results", "newer", *looking, path=[site("linear")])
    expected = f"written by version {SCHEMA_VERSION + 1} of the store, this is version {SCHEMA_VERSION}"
    assert mistake(run) == f"newer/store.sqlite: {expected}"
    assert store.read_bytes() == before


# What is damaged or not installed is a row


def test_a_damaged_data_file(command: Command, site: Site, tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "s.toml").write_text(SUITE, encoding="utf-8")
    copied = shutil.copytree(Path(benchmark_credit.__file__).parent, tmp_path / "copy" / "benchmark_credit")
    data = copied / "data" / "germancredit.csv.xz"
    content = bytearray(data.read_bytes())
    content[1000] ^= 1
    data.write_bytes(content)

    run = command("--suite", "s.toml", path=[copied.parent, site("linear")])
    assert (run.returncode, run.stderr) == (0, "")
    row = rows(tmp_path / "results" / "small")[0]
    assert row["outcome"] == "failed"
    damaged = re.escape(f"{data}: damaged data file: expected sha256 ") + r"[0-9a-f]{64}, found [0-9a-f]{64} \(\d+ bytes\)"
    assert re.fullmatch(f"prepare: {damaged}", row["reason"])
    progress = run.stdout.partition("# PocketBench")[0].splitlines()
    assert re.fullmatch(rf"\[1/1\] german-credit · fold 0: prepare failed \({damaged}\) \d+\.\d s", progress[1])
    assert [line for line in progress if line.startswith("[")] == [progress[1]]  # no other step was tried, nor failed
    ended = run.stdout.splitlines()
    assert ended[-3] == f"no cell is ok: failed ({row['reason']}), 1 of 1"  # after the tables, where it is read
    assert ended[-2] == "1 cells: 1 failed"


HIDES_TORCH = """
from importlib.machinery import PathFinder

_find = PathFinder.find_spec
PathFinder.find_spec = classmethod(lambda cls, name, *where: None if name == "torch" else _find(name, *where))
"""


def test_a_back_end_that_is_not_installed(command: Command, site: Site, tmp_path: Path, rows: Rows) -> None:
    suite = SUITE.replace('["linear"]', '["torch", "linear", "jax"]') + "[train.jax]\nlr = 0.5\n"
    (tmp_path / "s.toml").write_text(suite + '[[recipe]]\npasses = ["narrow"]\n', encoding="utf-8")
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(HIDES_TORCH, encoding="utf-8")
    path = [tmp_path / "hidden", site("linear")]
    run = command("--suite", "s.toml", "--backend", "*[!x]", "--recipe", "reference", "--strict", path=path)
    assert (run.returncode, run.stderr) == (0, "")
    results = tmp_path / "results" / "small"
    hint = "backend/torch needs torch: pip install 'pocketbench[torch]'"
    assert [(row["backend"], row["recipe"], row["outcome"], row["reason"]) for row in rows(results)] == [
        ("torch", "reference", "skipped", hint),
        ("linear", "reference", "ok", ""),
    ]
    assert run.stdout.splitlines()[-2] == "2 cells: 1 ok, 1 skipped"

    # What was run lies beside it: that part of the suite, and running it is the same run.
    assert load(str(results / "suite.toml")) == load(str(tmp_path / "s.toml")).select(backends=["*[!x]"], recipes=["reference"])
    again = command("--suite", str(results / "suite.toml"), "--dry-run", path=path).stdout.splitlines()[:-2]
    assert [line.partition(": ")[2].partition(":")[0] for line in again] == ["skip", "reuse"]


# A disk that is full

GREEDY = '''
"""A pass that fills the disk when $BENCHMARK_FILL names a file of its output, or waits for that under $BENCHMARK_WAIT."""

import os
import time

from benchmark import CompressorSpec, Param, hookimpl


@hookimpl
def benchmark_compressors():
    params = (Param("quiet", False),)
    yield CompressorSpec(name="greedy", target="greedy:Greedy", summary="", stage="model", backend="linear", params=params)


class Greedy:
    def compress(self, context):
        import numpy as np

        np.savez(context.output / "weights.npz", weights=2 * np.load(context.input / "weights.npz")["weights"])
        if "BENCHMARK_WAIT" in os.environ:
            (context.output / "ready").touch()
            while os.statvfs(context.output).f_bavail:
                time.sleep(0.05)
            raise OSError(28, "No space left on device")
        if "BENCHMARK_FILL" in os.environ:
            try:
                with (context.output / os.environ["BENCHMARK_FILL"]).open("wb") as file:
                    while True:
                        np.zeros(100_000, np.uint8).tofile(file)
            except OSError:
                if not context.params["quiet"]:
                    raise
'''
FULL = """
set -u
mount -t tmpfs -o size=8m none disk
arguments="-m benchmark --suite s.toml --results disk/r --jobs 1"
run() { "$PYTHON" $arguments "$@"; }
fill() { until ls disk/r/steps/*/output/ready 2> /dev/null; do sleep 0.05; done; cat /dev/zero > disk/fill; }
keep() { "$@" > "$name.out" 2> "$name.err"; echo $? > "$name.code"; }
"""


def on_a_small_disk(tmp_path: Path, path: Path, script: str, recipes: str) -> Callable[[str], tuple[int, str, str]]:
    """Runs a shell script where ``disk`` is a file system of 8 MiB that nobody else sees and that ends with the script. There,
    ``run`` runs the suite on it, and ``keep`` keeps what a command says under ``$name``. What is returned gives, for such a name,
    exit code, stdout and stderr."""
    (tmp_path / "disk").mkdir()
    own_mounts = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]
    try:
        subprocess.run([*own_mounts, "mount -t tmpfs none disk"], cwd=tmp_path, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    (tmp_path / "s.toml").write_text(
        SUITE + "".join(f"[[recipe]]\npasses = [{one}]\n" for one in recipes.split()), encoding="utf-8"
    )
    (path / "greedy.py").write_text(GREEDY, encoding="utf-8")
    info = path / "greedy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greedy\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[benchmark]\ngreedy = greedy\n", encoding="utf-8")
    subprocess.run(
        [*own_mounts, FULL + script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(path), "PYTHON": sys.executable},
        check=True,
    )

    def said(name: str) -> tuple[int, str, str]:
        code, out, err = ((tmp_path / f"{name}.{end}").read_text(encoding="utf-8") for end in ("code", "out", "err"))
        return int(code), out, err

    return said


def test_a_step_that_fills_the_disk_has_failed_and_gives_way_to_the_others(tmp_path: Path, site: Site, rows: Rows) -> None:
    script = "export BENCHMARK_FILL=fill; name=first; keep run; cp disk/r/rows.csv ."
    said = on_a_small_disk(tmp_path, site("linear"), script, '"greedy" "greedy(quiet=true)"')
    code, out, err = said("first")
    assert (code, err) == (0, "")
    assert "3 cells: 2 failed, 1 ok" in out
    by_recipe = outcomes(rows(tmp_path))
    outcome, reason = by_recipe.pop("greedy")
    assert outcome == "failed"
    # numpy does not say why; the host knows.
    assert re.fullmatch(r"greedy: OSError: 100000 requested and \d+ written \(No space left on device\)", reason)
    assert by_recipe == {
        "reference": ("ok", ""),
        "greedy(quiet=true)": ("failed", "greedy: OSError: [Errno 28] No space left on device"),
    }


def test_a_full_disk_ends_the_run_with_one_line_and_it_goes_on_when_there_is_space(
    tmp_path: Path, site: Site, rows: Rows
) -> None:
    script = """
    fill 2> /dev/null > /dev/null &
    name=first; BENCHMARK_WAIT=yes keep run
    wait
    name=look; keep run --dry-run
    rm disk/fill
    name=second; keep run
    cp disk/r/rows.csv .
    """
    said = on_a_small_disk(tmp_path, site("linear"), script, '"greedy"')
    code, out, err = said("first")
    kept = "everything finished is kept; the same command goes on from here"
    assert (code, err) == (2, f"error: results folder disk/r: No space left on device: {kept}\n")
    ended = len(re.findall(r"^\[\d+/\d+\] (?!.*greedy)", out, re.MULTILINE))
    assert ended >= 3  # preparing, training, exporting
    code, out, err = said("look")  # the store can be read while the disk is full
    assert (code, err) == (0, "")
    unfinished, steps = map(int, re.findall(r"reference · .*: run: (\d+) of (\d+) steps", out)[0])
    assert steps - unfinished >= 3
    (total,) = map(int, re.findall(r"(\d+) different steps", out))
    code, out, err = said("second")
    assert (code, err) == (0, "")
    assert f"\n{total - ended} steps run." in out
    assert outcomes(rows(tmp_path)) == {"reference": ("ok", ""), "greedy": ("ok", "")}
