"""Whole runs in real processes, with a stranger's fast back end: outcomes, resume, kill, and what is left behind."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import benchmark
from benchmark import limits, runner
from benchmark.limits import sandbox
from benchmark.limits.guard import mechanisms
from benchmark.measure import size

Rows = Callable[[Path], list[dict[str, str]]]
Stable = Callable[[Path], list[dict[str, object]]]
Command = Callable[..., "subprocess.CompletedProcess[str]"]
Site = Callable[..., Path]

SECONDS = 15
"""Time limit a step: far more than any honest step here needs, also when the tests share the machine."""
HOW = limits.choose().how
NOT_A_REPORT = "it left a report that no step of its kind leaves"
HOSTILE = {
    "raises": ("failed", "raises: RuntimeError: this pass always raises"),
    "exits-politely": ("no_result", "exits-politely: ended with exit code 0 and left no result"),
    "recurses": ("failed", "recurses: RecursionError: maximum recursion depth exceeded"),
    "hogs-suddenly": ("out_of_memory", f"hogs-suddenly: it needed more than 300 MB ({HOW['memory']})"),
    "hogs-slowly": ("out_of_memory", f"hogs-slowly: it needed more than 300 MB ({HOW['memory']})"),
    "spins": ("timeout", f"spins: stopped after {SECONDS} s of wall time"),
    "forks": ("failed", f"forks: it had more than 100 processes and threads ({HOW['processes']})"),
    "leaves": ("ok", ""),
    "prints": ("failed", "prints: RuntimeError: it has said everything"),
    "fills": ("failed", "fills: it wrote more than 150 MB into its folders"),
    "scatters": ("failed", "scatters: it wrote more than 150 MB into its folders"),
    "takes-two-threads": ("ok", ""),
    "upsets": ("ok", ""),
    "edits": ("ok", ""),
    "changes-later": ("ok", ""),
    "lingers": ("ok", ""),
    "lies": ("ok", ""),
    "says-what-no-text-can": ("ok", ""),
    "leaves-arrays": ("ok", ""),
    "forges-nonsense": ("invalid", f"forges-nonsense: {NOT_A_REPORT}: observed values must be numbers"),
    "pipes-its-result": ("no_result", "pipes-its-result: ended with exit code 0 and left no result"),
    "pipes-its-log": ("failed", "pipes-its-log: RuntimeError: read that"),
    "links-its-log": ("ok", ""),
    "links-its-result": ("ok", ""),
    "links-its-output": ("failed", "links-its-output: RuntimeError: remove that"),
    "blocks-its-result": ("ok", ""),
    "tells-nan": ("invalid", f"tells-nan: {NOT_A_REPORT}: NaN is no number"),
    "claims-too-much": ("invalid", f"claims-too-much: {NOT_A_REPORT}: 100000000000000000... is no number"),
    "digs": ("failed", "digs: it wrote more than 150 MB into its folders"),
    "holds-unlinked": ("failed", "holds-unlinked: it wrote more than 150 MB into its folders"),
    "turns-its-clock": ("ok", ""),
    "empties": ("invalid", "empties: the artifact has no bytes"),
    **(
        {
            "writes-outside": ("failed", "writes-outside: RuntimeError: 3 of 3 writes were refused"),
            "shares-memory": ("ok", ""),
            "takes-rights": ("failed", "takes-rights: RuntimeError: 3 of 3 were refused"),
            "looks-around": ("failed", "looks-around: RuntimeError: it found 0"),
            "calls-home": ("failed", "calls-home: OSError: [Errno 101] Network is unreachable"),
        }
        if sandbox.available()
        else {}
    ),
    "wrong-shape": ("invalid", "evaluate: validation outputs: outputs have shape (160, 4), not (160, 2)"),
    "wrong-dtype": ("invalid", "evaluate: validation outputs: outputs are float64, not float32"),
    "batch-dependent": ("invalid", "evaluate: labels of 183 of 360 rows change between batch 1 and 32"),
    "exits": ("no_result", "exits: ended with exit code 0 and left no result"),
    "hangs": ("timeout", f"hangs: stopped after {SECONDS} s of wall time"),
    "segfaults": ("crashed", "segfaults: killed by SIGSEGV"),
    "does-nothing": ("no_op", "does-nothing: the artifact has the same constants and operators as without it"),
    "matches-nothing": ("no_op", "matches-nothing: it matched no layer"),
    "changes-nothing": ("no_op", "changes-nothing: it changed none of 1 layers"),
    "nan": ("invalid", "evaluate: validation outputs: outputs are NaN or infinite in 160 of 160 rows"),
    "leaves-nothing": ("failed", "leaves-nothing: ValueError: it left its output folder empty"),
    "only-images": ("skipped", "only-images: it only works on images"),
}
PLACES = {  # reasons that name a path
    "links-artifact": ("invalid", r"links-artifact: .*/output/model\.onnx is not a regular file or folder"),
    "links": ("invalid", r"links: .*/weights\.npz is not a regular file or folder that can be read"),
    "nests": ("invalid", f"nests: {NOT_A_REPORT}: maximum recursion depth exceeded.*"),
    "links-to-labels": ("invalid", r"links-to-labels: .*/output is not a folder"),
    "removes-its-output": ("invalid", r"removes-its-output: .*/output is not a folder"),
    "reads-beside": ("failed", r"inspect: ValidationError: Location of external TensorProto .*"),
}
if "cpuset" in HOW["cores"]:
    HOSTILE["widens"] = ("no_op", "widens: the artifact has the same constants and operators as without it")
elif (CORES := os.cpu_count() or 1) > 1:  # where there is one core, nothing can be widened
    HOSTILE["widens"] = ("invalid", f"widens: it gave itself {CORES} cores, 1 are allowed")


def suite(path: Path, recipes: list[str], *, seconds: int = 60, more: str = "", budget: str = "") -> Path:
    lines = [
        '[suite]\nname = "small"\ntasks = ["german-credit"]\nbackends = ["linear"]',
        f"[budget.build]\nseconds = {seconds}\n{budget}",
        "[measure]\nprocesses = 2",
        more,
        *(f"[[recipe]]\npasses = [{recipe}]" for recipe in recipes),
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


GOOD = ['"keep-largest(share=0.3)"', '"int8-static"', '"keep-largest(share=0.3)", "int8-static"']


def processes_of(results: Path) -> list[int]:
    """Living processes whose command line or working files name the results folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if str(results).encode() in line and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def shared_memory() -> list[str]:
    """Keys of the segments of System V shared memory."""
    return [line.split()[0] for line in Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]]


def finished_steps(results: Path) -> int:
    if not (results / "store.sqlite").exists():
        return 0
    connection = sqlite3.connect(f"file:{results / 'store.sqlite'}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM steps").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # created, but not yet filled
    finally:
        connection.close()


def steps_run(run: subprocess.CompletedProcess[str]) -> int:
    (number,) = re.findall(r"\n(\d+) steps run", run.stdout)
    return int(number)


def test_hostile_passes_become_outcomes_and_harm_no_other_cell(
    tmp_path: Path, command: Command, site: Site, rows: Rows, stable: Stable
) -> None:  # cases H-05, H-06
    path = site("linear", "hostile", "import_error")
    alone, crowded = tmp_path / "alone", tmp_path / "crowded"
    more = 'memory = "300 MB"\nprocesses = 100\nfile_bytes = "150 MB"'
    file = suite(
        tmp_path / "all.toml",
        [*GOOD, *(f'"{name}"' for name in PLACES), *(f'"{name}"' for name in HOSTILE)],
        seconds=SECONDS,
        budget=more,
    )
    good_file = suite(tmp_path / "good.toml", GOOD, seconds=SECONDS, budget=more)
    assert command("--suite", str(good_file), "--results", str(alone), path=[path]).returncode == 0
    good = stable(alone)
    assert [row["outcome"] for row in good] == ["ok"] * 4
    temporary, victim = tmp_path / "tmp", tmp_path / "victim" / "file"
    temporary.mkdir()
    victim.parent.mkdir(mode=0o755)
    victim.write_bytes(content := os.urandom(3_000_000))
    before = shared_memory()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        run = command(
            "--suite",
            str(file),
            "--results",
            str(crowded),
            path=[path],
            TMPDIR=str(temporary),
            BENCHMARK_ZOO_PORT=port,
            BENCHMARK_ZOO_VICTIM=str(victim),
        )
    assert run.returncode == 0, run.stderr
    assert "import_error of pocketbench-import-error 1.0: ImportError: No module named 'left_pad'" in run.stderr
    by_recipe = {row["recipe"]: row for row in rows(crowded)}
    assert {name: (by_recipe[name]["outcome"], by_recipe[name]["reason"]) for name in HOSTILE} == HOSTILE
    for name, (outcome, pattern) in PLACES.items():
        assert by_recipe[name]["outcome"] == outcome
        assert re.fullmatch(pattern, by_recipe[name]["reason"])
    busy = {name: float(row["threads_observed"]) for name, row in by_recipe.items() if row["threads_observed"]}
    assert {name for name, threads in busy.items() if threads > 1.5} >= {"takes-two-threads"}
    assert 0.5 < busy["spins"] < 1.5
    assert float(by_recipe["turns-its-clock"]["build_seconds"]) > 1
    assert (victim.read_bytes(), victim.parent.stat().st_mode & 0o777) == (content, 0o755)
    assert shared_memory() == before
    assert not processes_of(crowded)
    assert max(log.lstat().st_size for log in crowded.glob("steps/*/log.txt")) <= 2**20
    assert not list(temporary.iterdir())

    assert [row for row in stable(crowded) if row["recipe"] not in {*HOSTILE, *PLACES}] == good


def test_a_runtime_that_ruins_what_it_loads_or_knows_a_dummy_input_gains_nothing(
    tmp_path: Path, command: Command, site: Site, rows: Rows
) -> None:
    results = tmp_path / "results"
    file = suite(tmp_path / "suite.toml", GOOD[:1])
    text = file.read_text(encoding="utf-8")
    runtimes = 'runtimes = ["onnxruntime", "ruins", "sleeps-on-real-rows"]\n[budget.build]'
    file.write_text(text.replace("[budget.build]", runtimes), encoding="utf-8")
    run = command("--suite", str(file), "--results", str(results), path=[site("linear", "hostile")])
    assert run.returncode == 0, run.stderr
    found = rows(results)
    assert {(row["outcome"], row["reason"]) for row in found} == {("ok", "")}
    by_recipe: dict[str, set[tuple[str, ...]]] = {}
    for row in found:
        by_recipe.setdefault(row["recipe"], set()).add((row["score"], row["artifact"], row["artifact_bytes"]))
    assert [len(same) for same in by_recipe.values()] == [1, 1]
    for folder in (results / "artifacts").iterdir():
        assert size.artifact_digest(folder) == folder.name
    assert all((float(row["latency_p50_us"]) > 2000) == (row["runtime"] == "sleeps-on-real-rows") for row in found)


FORCED = """
import json, os, sys
from pathlib import Path
from benchmark import runner
from benchmark.folders import Layout
from benchmark.cli import _Lines
from benchmark.registry import discover
from benchmark.suite import load

suite, results, mechanism = sys.argv[1:]
layout = Layout(Path(results))
ended = runner.run(load(suite), discover(), layout, _Lines(), mechanism=mechanism)
every = (folder for folder, _, _ in os.walk("/sys/fs/cgroup"))  # other hosts' come and go meanwhile
left = [folder for folder in every if Path(folder).name.startswith(f"pocketbench-{os.getpid()}-")]
print(json.dumps({"left": left, **{cell.recipe: (outcome, reason) for cell, outcome, reason in ended.cells}}))
"""


@pytest.mark.parametrize("name", sorted(mechanisms()))
def test_each_mechanism_ends_what_breaks_a_limit(tmp_path: Path, site: Site, name: str) -> None:
    how, budget = mechanisms()[name].how, 'memory = "300 MB"\nprocesses = 100\ncpu_seconds = 5'
    recipes = [f'"{one}"' for one in ("hogs-suddenly", "hogs-slowly", "forks", "spins", "leaves")]
    file = suite(tmp_path / "suite.toml", recipes, seconds=SECONDS, budget=budget)
    run = subprocess.run(
        [sys.executable, "-c", FORCED, str(file), str(tmp_path / "results"), name],
        env={**os.environ, "PYTHONPATH": str(site("linear", "hostile"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    if name == "watchdog":  # on a busy machine it may look when the process has ended by itself, and find what it came to
        came_to = r"hogs-suddenly: its memory came to [\d,]+ bytes of 300,000,000"
        found["hogs-suddenly"][1] = re.sub(
            f"^{came_to}$", f"hogs-suddenly: it needed more than 300 MB ({how['memory']})", found["hogs-suddenly"][1]
        )
    assert found == {
        "left": [],
        "reference": ["ok", ""],
        "hogs-suddenly": ["out_of_memory", f"hogs-suddenly: it needed more than 300 MB ({how['memory']})"],
        "hogs-slowly": ["out_of_memory", f"hogs-slowly: it needed more than 300 MB ({how['memory']})"],
        "forks": ["failed", f"forks: it had more than 100 processes and threads ({how['processes']})"],
        "spins": ["timeout", "spins: stopped after 5 s of CPU time"],
        "leaves": ["ok", ""],
    }
    assert not processes_of(tmp_path / "results")


HOLDING = """
held = bytearray(b"x") * 700_000_000
"""


def test_every_generator_follows_the_seed_and_nothing_else(
    tmp_path: Path, command: Command, site: Site, rows: Rows
) -> None:  # case H-11
    pytest.importorskip("torch")
    pytest.importorskip("jax")

    def drawn(name: str, *recipes: str) -> list[dict[str, float]]:
        file = suite(tmp_path / f"{name}.toml", list(recipes))
        arguments = ("--suite", str(file), "--results", str(tmp_path / name), "--seeds", "3")
        run = command(*arguments, path=[site("linear", "hostile") if name == "alone" else tmp_path / "site"])
        assert run.returncode == 0, run.stderr
        found = [row for row in rows(tmp_path / name) if row["recipe"].endswith("draws")]
        assert [row["seed"] for row in found] == ["0", "1", "2"]
        return [json.loads(row["claims"])["draws"]["claims"] for row in found]

    alone = drawn("alone", '"draws"')
    for generator in ("python", "numpy", "torch", "jax"):
        assert len({one[generator] for one in alone}) == 3, generator
    assert drawn("beside", '"upsets"', '"draws"', '"raises"') == alone


@pytest.mark.parametrize("name", sorted(mechanisms()))
def test_what_the_host_holds_is_no_part_of_a_jobs_memory(tmp_path: Path, site: Site, name: str) -> None:  # case M-08
    file = suite(tmp_path / "suite.toml", GOOD[:1], budget='memory = "300 MB"')
    run = subprocess.run(
        [sys.executable, "-c", HOLDING + FORCED, str(file), str(tmp_path / "results"), name],
        env={**os.environ, "PYTHONPATH": str(site("linear"))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(run.stdout.splitlines()[-1]) == {
        "left": [],
        **{key: ["ok", ""] for key in ("reference", "keep-largest(share=0.3)")},
    }
    evidence = map(json.loads, query(tmp_path / "results", "SELECT limits FROM steps"))
    assert max(one["memory"]["observed"] for one in evidence) < 300_000_000


def test_last_lines_curve_and_claims_are_kept(tmp_path: Path, command: Command, site: Site, rows: Rows) -> None:
    results = tmp_path / "results"
    file = suite(tmp_path / "suite.toml", ['"speaks"'])
    assert command("--suite", str(file), "--results", str(results), path=[site("linear", "hostile")]).returncode == 0
    (curve,) = [one for one in results.glob("steps/*/curve.csv") if "loss" in one.read_text(encoding="utf-8")]
    assert curve.read_text(encoding="utf-8").split() == ["step,loss", "1,2.0", "2,1.0"]
    assert (curve.parent / "log.txt").read_text(encoding="utf-8") == "a line for the log\n"
    facts = json.loads((curve.parent / "result.json").read_text(encoding="utf-8"))["facts"]
    assert facts["claims"] == {"artifact_bytes": 1}  # shown as a claim; the size column is the file's
    assert {row["artifact_bytes"] for row in rows(results)} != {"1"}


def test_a_second_run_runs_nothing_and_fresh_runs_all(
    tmp_path: Path, command: Command, site: Site, rows: Rows, stable: Stable
) -> None:
    path, results = site("linear"), tmp_path / "results"
    arguments = ("--suite", str(suite(tmp_path / "suite.toml", GOOD[:1])), "--results", str(results))
    first = command(*arguments, path=[path])
    before, stable_before = rows(results), stable(results)
    again = command(*arguments, path=[path])
    assert steps_run(again) == 0
    assert rows(results) == before
    tables = [run.stdout.partition("# PocketBench")[2].rpartition(f"{steps_run(run)} steps run")[0] for run in (first, again)]
    assert tables[0] == tables[1] != ""
    fresh = command(*arguments, "--fresh", path=[path])
    assert steps_run(fresh) == steps_run(first)
    assert stable(results) == stable_before


def test_shared_prefixes_run_once(tmp_path: Path, command: Command, site: Site) -> None:
    path, results = site("linear"), tmp_path / "results"
    arguments = ("--suite", str(suite(tmp_path / "suite.toml", GOOD)), "--results", str(results))
    dry = command(*arguments, "--dry-run", path=[path]).stdout
    run = command(*arguments, path=[path])
    (different,) = re.findall(r"(\d+) different steps", dry)
    assert steps_run(run) == int(different)
    trained = [line for line in run.stdout.splitlines() if line.startswith("[") and ": train " in line]
    assert len(trained) == 1


def test_editing_a_pass_reruns_it_and_what_follows(tmp_path: Path, command: Command, site: Site) -> None:
    path, results = site("linear"), tmp_path / "results"
    arguments = ("--suite", str(suite(tmp_path / "suite.toml", ['"keep-largest"'])), "--results", str(results))
    command(*arguments, path=[path])
    code = path / "pocketbench_linear.py"
    code.write_text(code.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    run = command(*arguments, path=[path]).stdout
    # All of that package's code is one file, so its training runs again too; preparing and the runtime's identity model do not.
    assert "prepare: 0 steps to run, 1 finished earlier" in run
    assert "identity model" not in run.partition("memory:")[0]
    assert ": train " in run


def test_failures_are_tried_again_and_skips_are_not(tmp_path: Path, command: Command, site: Site) -> None:
    path, results = site("linear", "hostile"), tmp_path / "results"
    file = suite(tmp_path / "suite.toml", ['"raises"', '"only-images"'])
    arguments = ("--suite", str(file), "--results", str(results))
    command(*arguments, path=[path])
    again = command(*arguments, path=[path])
    assert steps_run(again) == 1
    assert "raises: raises failed" in again.stdout
    assert command(*arguments, "--strict", path=[path]).returncode == 1


def test_kill_9_at_any_moment_loses_only_what_was_running(tmp_path: Path, command: Command, site: Site, stable: Stable) -> None:
    path = site("linear")
    file = suite(tmp_path / "suite.toml", GOOD[:1])
    whole = tmp_path / "whole"
    total = steps_run(command("--suite", str(file), "--results", str(whole), path=[path]))
    for moment in (1, 6, 12):  # finished steps: while building, while measuring
        killed = tmp_path / f"killed{moment}"
        run = subprocess.Popen(
            [sys.executable, "-m", "benchmark", "--suite", str(file), "--results", str(killed), "--jobs", "2"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(path)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while finished_steps(killed) < moment:
            assert run.poll() is None
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        deadline = time.monotonic() + 5
        while processes_of(killed):  # the kernel ends the children with their host; they need a moment to go
            assert time.monotonic() < deadline
            time.sleep(0.01)
        done = finished_steps(killed)
        assert moment <= done < total
        # A step may have ended in its folder without the store knowing: that one is read again, not run again.
        again = steps_run(command("--suite", str(file), "--results", str(killed), path=[path]))
        assert total - done - 2 <= again <= total - done
        assert stable(killed) == stable(whole)


def test_ctrl_c_ends_the_children_and_keeps_what_is_finished(tmp_path: Path, site: Site) -> None:
    results = tmp_path / "results"
    file = suite(tmp_path / "suite.toml", ['"hangs"'])
    run = subprocess.Popen(
        [sys.executable, "-m", "benchmark", "--suite", str(file), "--results", str(results)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site("linear", "hostile"))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not [log for log in results.glob("steps/*.part/log.txt") if "grandchild" in log.read_text(encoding="utf-8")]:
        assert run.poll() is None
        time.sleep(0.05)
    assert len(processes_of(results)) > 2
    run.send_signal(signal.SIGINT)
    _, stderr = run.communicate(timeout=10)
    assert run.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted: everything finished is kept; the same command goes on from here"
    assert not processes_of(results)
    assert finished_steps(results) >= 3


def test_no_build_job_can_reach_a_test_row(tmp_path: Path, command: Command, site: Site) -> None:
    results = tmp_path / "results"
    file = suite(tmp_path / "suite.toml", ['"spy"'])
    file.write_text(file.read_text(encoding="utf-8").replace("linear", "spy"), encoding="utf-8")
    command("--suite", str(file), "--results", str(results), path=[site("spy")])
    notes = [json.loads(path.read_text(encoding="utf-8")) for path in results.glob("*/*/output/notes.json")]
    notes += [json.loads(path.read_text(encoding="utf-8")) for path in results.glob("artifacts/*/notes.json")]
    # train and the pass as checkpoints, their exports as artifacts
    assert len(notes) == 4
    (inputs,) = results.glob("steps/*/output/inputs")
    train, test = np.load(inputs.parent / "fit" / "train_x.npy"), np.load(inputs / "test_x.npy")
    in_train, in_test = ({hashlib.sha256(row.tobytes()).hexdigest() for row in array} for array in (train, test))
    for one in notes:
        assert one["arrays"] >= 6  # x, y and units of two splits
        assert in_train <= set(one["rows"])  # the search does find what is there
        assert not in_test & set(one["rows"])
        assert not [name for name in one["files"] if "test" in Path(name).name]


@pytest.mark.skipif(not sandbox.available(), reason="no namespaces here")
def test_a_report_and_a_bundle_of_earlier_runs_are_hidden(tmp_path: Path, command: Command, site: Site, rows: Rows) -> None:
    results, path = tmp_path / "results", site("linear", "hostile")
    for recipes in (GOOD[:1], ['"looks-around"']):
        file = suite(tmp_path / "suite.toml", recipes)
        command("--suite", str(file), "--results", str(results), path=[path])
        assert (results / "report" / "index.html").exists()  # which has test labels
        (tmp_path / "results.zip").write_bytes(b"a bundle")
    (found,) = (row["reason"] for row in rows(results) if row["recipe"] == "looks-around")
    assert found == "looks-around: RuntimeError: it found 0"


# What a run finds when it goes on in a folder. A finished run is taken back to the state of an earlier moment.


def run_small(tmp_path: Path, command: Command, site: Site, *more: str) -> tuple[Path, Callable[[], int]]:
    """A finished run, and what runs it again and says how many steps that took."""
    path, results = site("linear"), tmp_path / "results"
    arguments = ("--suite", str(suite(tmp_path / "suite.toml", GOOD[:1])), "--results", str(results))

    def again() -> int:
        run = command(*arguments, *more, path=[path])
        assert run.returncode == 0, run.stderr
        return steps_run(run)

    return results, again


def query(results: Path, text: str, *values: str) -> list[Any]:
    connection = sqlite3.connect(results / "store.sqlite")
    try:
        with connection:
            return [row[0] for row in connection.execute(text, values)]
    finally:
        connection.close()


def ids(results: Path, kind: str, like: str = "%") -> list[str]:
    return query(results, "SELECT id FROM steps WHERE kind = ? AND label LIKE ? ORDER BY label", kind, like)


def test_a_step_that_the_store_does_not_know_is_read_from_its_folder(
    tmp_path: Path, command: Command, site: Site, stable: Stable
) -> None:
    results, again = run_small(tmp_path, command, site)
    assert again() > 12
    before = stable(results)
    for kind in ("prepare", "train", "export", "evaluate", "latency"):
        (id_, *_) = ids(results, kind)
        query(results, "DELETE FROM steps WHERE id = ?", id_)
        query(results, "DELETE FROM arrays WHERE step = ?", id_)
    query(results, "UPDATE steps SET outcome = 'failed' WHERE kind = 'pass'")  # a retry of it had just ended well
    assert again() == 0
    assert stable(results) == before


@pytest.mark.parametrize("keep", [0.5, 0.95])
def test_a_damaged_store_is_one_line_and_its_steps_are_read_from_their_folders(
    tmp_path: Path, command: Command, site: Site, stable: Stable, keep: float
) -> None:  # case H-09
    results, again = run_small(tmp_path, command, site)
    again()
    before = stable(results)
    query(results, "PRAGMA wal_checkpoint(TRUNCATE)")
    store = results / "store.sqlite"
    os.truncate(store, int(store.stat().st_size * keep))
    run = command("--suite", str(tmp_path / "suite.toml"), "--results", str(results), path=[tmp_path / "site"])
    assert run.returncode == 2
    assert re.fullmatch(
        r"error: .*store\.sqlite: cannot be used as a results store: .*; where a run wrote it, delete it: .*\n", run.stderr
    )
    for path in results.glob("store.sqlite*"):
        path.unlink()
    assert again() == 0
    assert stable(results) == before


def test_damaged_folders_are_made_again(tmp_path: Path, command: Command, site: Site, stable: Stable) -> None:  # case H-09
    results, again = run_small(tmp_path, command, site)
    again()
    before = stable(results)
    (evaluate, *_), (prepare,) = ids(results, "evaluate"), ids(results, "prepare")
    (results / "steps" / evaluate / "arrays.npz").write_bytes(b"")
    shutil.rmtree(results / "steps" / prepare / "output" / "truth")
    for path in results.glob("store.sqlite*"):
        path.unlink()
    assert again() == 2
    assert stable(results) == before


@pytest.mark.skipif(not sandbox.available(), reason="the kernel refuses namespaces here")
def test_only_what_was_enforced_is_good_enough_where_that_is_asked_for(tmp_path: Path, command: Command, site: Site) -> None:
    results, again = run_small(tmp_path, command, site, "--require-enforced")
    again()
    assert again() == 0
    (export,) = ids(results, "export", "%keep-largest%")
    query(results, "UPDATE steps SET limits = replace(limits, 'network namespace', 'not enforced here') WHERE id = ?", export)
    assert again() >= 1
    assert not query(results, "SELECT label FROM steps WHERE kind != 'prepare' AND limits LIKE '%not enforced here%'")


def test_a_write_ahead_log_that_was_cut_loses_no_step(tmp_path: Path, command: Command, site: Site, stable: Stable) -> None:
    path, whole, cut = site("linear"), tmp_path / "whole", tmp_path / "cut"  # case H-09
    file = suite(tmp_path / "suite.toml", GOOD[:1])
    total = steps_run(command("--suite", str(file), "--results", str(whole), path=[path]))
    with subprocess.Popen(
        [sys.executable, "-m", "benchmark", "--suite", str(file), "--results", str(cut)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(path)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        next(line for line in run.stdout if line.startswith("[8/"))
        os.killpg(run.pid, signal.SIGKILL)
    log = cut / "store.sqlite-wal"
    os.truncate(log, log.stat().st_size // 2)
    ended = len(list(cut.glob("steps/*/result.json")))
    assert ended >= 8
    assert finished_steps(cut) < ended  # the store has lost some
    assert steps_run(command("--suite", str(file), "--results", str(cut), path=[path])) <= total - ended
    assert stable(cut) == stable(whole)


def test_a_training_outlives_the_export_that_was_running_in_its_job(
    tmp_path: Path, command: Command, site: Site, stable: Stable
) -> None:
    results, again = run_small(tmp_path, command, site)
    again()
    before = stable(results)
    (train,), (export, *_) = ids(results, "train"), ids(results, "export", "%reference%")
    for id_ in (train, export):
        query(results, "DELETE FROM steps WHERE id = ?", id_)
        (results / "steps" / id_).rename(results / "steps" / f"{id_}.part")
        (results / "steps" / f"{id_}.part" / "result.json").unlink()
    (results / "steps" / f"{export}.part" / "worker.json").unlink()
    again()
    assert not list(results.glob("steps/*.part"))
    assert query(results, "SELECT count(*) FROM steps WHERE id = ?", train) == [1]
    assert stable(results) == before


def test_a_step_that_is_found_later_keeps_what_enforced_its_limits(tmp_path: Path, command: Command, site: Site) -> None:
    results, again = run_small(tmp_path, command, site)
    again()
    (train,) = ids(results, "train")
    part = results / "steps" / f"{train}.part"
    (results / "steps" / train).rename(part)
    query(results, "DELETE FROM steps WHERE id = ?", train)
    (part / "result.json").unlink()
    told = json.loads((part / "worker.json").read_text(encoding="utf-8"))
    told["how"]["memory"] = "what there was then"
    (part / "worker.json").write_text(json.dumps(told), encoding="utf-8")
    assert again() == 0
    (evidence,) = query(results, "SELECT limits FROM steps WHERE id = ?", train)
    assert json.loads(evidence)["memory"]["mechanism"] == "what there was then"
    assert json.loads(evidence)["cores"]["mechanism"] == HOW["cores"]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("seconds", 61.0, "ended after 61.0 s of 60"),
        ("memory", 2**30 + 1, "its memory came to 1,073,741,825 bytes of 1,073,741,824"),
        ("cores", 2, "it gave itself 2 cores, 1 are allowed"),
    ],
)
def test_a_step_that_was_seen_to_take_too_much_is_no_result(
    tmp_path: Path, command: Command, site: Site, name: str, value: float, reason: str
) -> None:
    results, again = run_small(tmp_path, command, site)
    again()
    (train,) = ids(results, "train")
    part = results / "steps" / f"{train}.part"
    (results / "steps" / train).rename(part)
    query(results, "DELETE FROM steps WHERE id = ?", train)
    (part / "result.json").unlink()
    told = json.loads((part / "worker.json").read_text(encoding="utf-8"))
    told["observed"][name] = value
    (part / "worker.json").write_text(json.dumps(told), encoding="utf-8")
    # What is found is recorded as what it is, and then run again.
    query(results, "CREATE TABLE seen (id TEXT, reason TEXT)")
    query(results, "CREATE TRIGGER see AFTER INSERT ON steps BEGIN INSERT INTO seen VALUES (NEW.id, NEW.reason); END")
    assert again() >= 1
    assert query(results, "SELECT reason FROM seen WHERE id = ?", train) == [reason, ""]


def test_what_was_made_from_a_lost_product_is_made_again(tmp_path: Path, command: Command, site: Site, stable: Stable) -> None:
    results, again = run_small(tmp_path, command, site)
    total = again()
    before = stable(results)
    (train,) = ids(results, "train")
    shutil.rmtree(results / "steps" / train)
    # All but preparing, and the runtime's identity model and its memory.
    assert again() == total - 3
    assert stable(results) == before


def test_an_artifact_that_was_changed_is_made_again(
    tmp_path: Path, command: Command, site: Site, rows: Rows, stable: Stable
) -> None:
    results, again = run_small(tmp_path, command, site)
    again()
    before = stable(results)
    (artifact,) = {row["artifact"] for row in rows(results) if row["recipe"] != "reference"}
    (file,) = (results / "artifacts" / artifact).iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    # Export, inspection, evaluation, three processes' worth of measuring; the reference's own steps stand.
    assert again() == 3 + 2 + 1
    assert stable(results) == before
    assert hashlib.sha256(file.read_bytes()).digest() != hashlib.sha256(bytes(content)).digest()


def test_a_run_killed_while_preparing_says_nothing_new_of_the_old_rows(
    tmp_path: Path, command: Command, site: Site, rows: Rows
) -> None:
    results, again = run_small(tmp_path, command, site)
    again()
    before = rows(results), (results / "leaderboard.md").read_text(encoding="utf-8")
    arguments = ("--suite", str(tmp_path / "suite.toml"), "--results", str(results), "--seeds", "2", "--folds", "2")
    with subprocess.Popen(
        [sys.executable, "-m", "benchmark", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        assert (
            next(line for line in run.stdout if line.startswith("prepare: ")) == "prepare: 1 steps to run, 1 finished earlier\n"
        )
        os.killpg(run.pid, signal.SIGKILL)
    recommend = command("recommend", "--task", "german-credit", "--results", str(results), path=[tmp_path / "site"])
    assert recommend.returncode == 0, recommend.stderr
    assert (rows(results), (results / "leaderboard.md").read_text(encoding="utf-8")) == before


def test_a_checkpoint_that_is_gone_is_made_again(tmp_path: Path, command: Command, site: Site, stable: Stable) -> None:
    results, again = run_small(tmp_path, command, site)
    again()
    before = stable(results)
    for output in results.glob("steps/*/output"):
        shutil.rmtree(output)
    suite(tmp_path / "suite.toml", GOOD)  # recipes that need what is gone
    again()
    after = stable(results)
    assert {row["outcome"] for row in after} == {"ok"}
    assert [row for row in after if row in before] == before


def test_a_killed_fresh_run_keeps_no_old_result(tmp_path: Path, command: Command, site: Site, stable: Stable) -> None:
    results, again = run_small(tmp_path, command, site)
    total = again()
    before = stable(results)
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "benchmark",
            "--suite",
            str(tmp_path / "suite.toml"),
            "--results",
            str(results),
            "--fresh",
            "--jobs",
            "2",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        next(line for line in run.stdout if line.startswith("[1/") and "prepare" not in line)  # the build stage has begun
        os.killpg(run.pid, signal.SIGKILL)
    assert total - 8 <= again() <= total - 2
    assert stable(results) == before


def test_the_repository_of_a_tasks_package_is_hidden_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "clone" / "tasks" / "benchmark_of_nobody"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(package.parent)
    assert runner._histories("benchmark_of_nobody") == set()
    (tmp_path / "clone" / ".git").mkdir()
    assert runner._histories("benchmark_of_nobody") == {str(tmp_path / "clone" / ".git")}


def test_the_commit_is_named_with_its_state_and_only_for_our_own_checkout(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(["git", *who, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    def named() -> str:
        code = "from benchmark import runner; print(runner._git_commit())"
        return subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()

    shutil.copytree(Path(benchmark.__file__).parent, tmp_path / "benchmark", ignore=shutil.ignore_patterns("__pycache__"))
    assert named() == ""
    (tmp_path / "theirs.txt").write_text("somebody else's file", encoding="utf-8")
    git("init", "-q")
    git("add", "theirs.txt")
    git("commit", "-qm", "theirs")
    assert named() == ""
    git("add", "benchmark")
    git("commit", "-qm", "ours")
    assert named() == git("rev-parse", "HEAD")
    (tmp_path / "benchmark" / "__main__.py").write_text("", encoding="utf-8")
    assert named() == git("rev-parse", "HEAD") + "-dirty"
