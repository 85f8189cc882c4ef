"""The ``smoke`` suite, whole and real: all tasks and back ends. One worker runs this file, since its tests share a run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
import pytest

from benchmark.leaderboard import COLUMNS
from benchmark.limits import choose, sandbox
from benchmark.measure import quality, size
from benchmark.plan import Cell, stored_cells
from benchmark.render.child import FILES
from benchmark.specs import Output
from benchmark.store import Store, open_store

pytestmark = pytest.mark.xdist_group("smoke")

Rows = Callable[[Path], list[dict[str, str]]]
Cells = list[tuple[Cell, dict[str, str]]]
Stable = Callable[[Path], list[dict[str, Any]]]

AUDITED = "nodule-shape"
"""The task of the run whose processes are watched."""
AUDIT = """
import os, sys
_folder = os.environ.get("BENCHMARK_AUDIT_FOLDER")
if _folder:
    _command = open("/proc/self/cmdline").read().replace("\\0", " ")
    _log = os.open(os.path.join(_folder, f"{os.getpid()}.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(_log, (_command + "\\n").encode())
    def _hook(event, arguments):
        if event == "open":
            os.write(_log, f"{arguments[0]}\\n".encode("utf-8", "replace"))
    sys.addaudithook(_hook)
"""


def smoke(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmark", "--suite", "smoke", "--results", str(folder / "results"), *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run in ``results/``."""
    folder = tmp_path_factory.mktemp("whole")
    run = smoke(folder)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    (folder / "stdout.txt").write_text(run.stdout, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of one task in ``results/`` and, for each of its processes, the files it opened in ``audit/``."""
    folder = tmp_path_factory.mktemp("audited")
    (folder / "audit").mkdir()
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(AUDIT, encoding="utf-8")
    paths = os.pathsep.join([str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    run = smoke(folder, "--task", AUDITED, BENCHMARK_AUDIT_FOLDER=str(folder / "audit"), PYTHONPATH=paths)
    assert (run.returncode, run.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def results(whole: Path) -> Path:
    return whole / "results"


@pytest.fixture(scope="module")
def store(results: Path) -> Store:
    return open_store(results / "store.sqlite")


@pytest.fixture(scope="module")
def by_cell(store: Store, results: Path, rows: Rows) -> Cells:
    return list(zip(stored_cells(store), rows(results), strict=True))


def test_every_cell_of_the_dry_run_is_a_row(results: Path, tmp_path: Path, rows: Rows) -> None:
    dry = [line for line in smoke(tmp_path, "--dry-run").stdout.splitlines() if ": run:" in line or ": skip:" in line]
    keys = ("task", "fold", "backend", "architecture", "recipe", "runtime", "seed")
    labels = [" · ".join(f"{key} {row[key]}" if key in ("fold", "seed") else row[key] for key in keys) for row in rows(results)]
    assert [re.split(r": (?:run|skip)", line)[0] for line in dry] == labels
    assert len(labels) == len(set(labels)) == 24


def test_outcomes(results: Path, rows: Rows) -> None:
    # After ten updates a network may give every row the same label, and then says so.
    alike = re.compile(r"labels: all \d+ test rows get \w+")
    outcomes = {(row["backend"], row["recipe"], row["outcome"], alike.sub("", row["reason"])) for row in rows(results)}
    recipe = "prune-structured(sparsity=0.5) + int8-static"
    assert outcomes == {
        ("torch", "reference", "ok", ""),
        ("torch", recipe, "ok", ""),
        ("jax", "reference", "ok", ""),
        ("jax", recipe, "ok", ""),
        ("sklearn", "reference", "ok", ""),
        ("sklearn", recipe, "skipped", "no such pass for sklearn: prune-structured"),
    }


def test_every_printed_number_is_that_of_the_csv(results: Path) -> None:
    script = [sys.executable, str(Path(__file__).parent / "recompute.py"), str(results)]
    run = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == "20 methods: every number is that of the CSV\n"


def test_tables_made_again_are_the_same(results: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns("leaderboard.*", "macros.tex", ".rendered", "rows.*"))
    run = subprocess.run(
        [sys.executable, "-m", "benchmark", "leaderboard", str(copy)], capture_output=True, text=True, check=True
    )
    assert run.stdout.rstrip("\n") == (results / "leaderboard.md").read_text(encoding="utf-8").rstrip("\n")
    for name in FILES:
        assert (copy / name).read_bytes() == (results / name).read_bytes(), name


def test_the_bibliography_has_the_tasks_and_the_passes(results: Path) -> None:
    text = (results / "references.bib").read_text(encoding="utf-8")
    keys = re.findall(r"^@misc\{(.*),$", text, re.MULTILINE)
    tasks = ["mnist-10k", "nodule-shape", "german-credit", "watch-imu"]
    assert keys == ["pocketbench", *tasks, "prune-structured", "prune-structured-2", "int8-static"]
    assert "arXiv:2301.12900" in text


def test_two_runs_from_scratch_are_equal(results: Path, audited: Path, stable: Stable) -> None:
    """Of one task; the next test has another."""
    assert stable(audited / "results") == [row for row in stable(results) if row["task"] == AUDITED] != []


def test_a_back_end_alone_gives_the_same_rows(results: Path, tmp_path: Path, stable: Stable) -> None:
    assert smoke(tmp_path, "--backend", "torch", "--task", "german-credit").returncode == 0
    alone = stable(tmp_path / "results")
    assert alone == [row for row in stable(results) if (row["backend"], row["task"]) == ("torch", "german-credit")] != []


def test_no_build_job_opens_task_data_or_test_arrays(audited: Path) -> None:
    jobs: dict[str, list[list[str]]] = defaultdict(list)
    for path in (audited / "audit").iterdir():
        command, *opened = path.read_text(encoding="utf-8").splitlines()
        found = re.search(r"benchmark\.worker (\S+)/job\.json", command)
        if found:
            # The step's folder is called .part while it works.
            job = json.loads((Path(found[1].removesuffix(".part")) / "job.json").read_text(encoding="utf-8"))
            jobs[job["steps"][0]["kind"]].append(opened)
    opened_by = {kind: {name for opened in lists for name in opened} for kind, lists in jobs.items()}
    assert set(opened_by) >= {"prepare", "train", "pass", "inspect", "evaluate", "latency", "memory"}

    def task_data(kind: str) -> set[str]:
        return {name for name in opened_by[kind] if re.search(r"benchmark_(mnist|nodule|credit|imu)/data/", name)}

    def test_arrays(kind: str) -> set[str]:
        return {name for name in opened_by[kind] if "/inputs/" in name or "/truth/" in name or Path(name).match("test_*.npy")}

    assert len(task_data("prepare")) == 1
    assert len(test_arrays("evaluate")) == 2  # the hook does see such files
    assert not [name for name in opened_by["evaluate"] if "/truth/" in name or name.endswith("_y.npy")]
    for kind in opened_by.keys() & {"train", "pass", "export", "inspect"}:
        assert not task_data(kind)
        assert not test_arrays(kind)


def test_the_host_stays_small(tmp_path: Path, results: Path) -> None:
    """Peak memory and imports of the host process in a run that really starts jobs."""
    code = """
import sys
from benchmark.cli import main
code = main(sys.argv[1:])
from benchmark.measure.memory import peak_memory
print("PEAK", peak_memory(), sorted({name.partition(".")[0] for name in sys.modules}))
sys.exit(code)
"""
    run = subprocess.run(
        [sys.executable, "-c", code, "--suite", "smoke", "--task", "german-credit", "--backend", "sklearn", "--results", "here"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    peak, _, modules = run.stdout.rpartition("PEAK ")[2].partition(" ")
    assert int(peak) < 80e6
    loaded = set(json.loads(modules.replace("'", '"')))
    assert not loaded & {"torch", "jax", "flax", "sklearn", "onnx", "onnxruntime", "scipy", "pandas"}


def test_recommend_as_the_readme_prints_it(results: Path, rows: Rows) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^python -m benchmark recommend (.*)$", readme, re.MULTILINE)
    command = [sys.executable, "-m", "benchmark", "recommend", *shlex.split(line), "--results", str(results)]
    run = subprocess.run(command, cwd=results, capture_output=True, text=True, check=True)
    fitting = [row for row in rows(results) if row["task"] == "mnist-10k" and int(row["artifact_bytes"] or 1 << 20) <= 65536]
    best = max(fitting, key=lambda row: float(row["val_score"]))
    assert best["artifact"] in run.stdout
    assert f"the best of {len(fitting)} that fit" in run.stdout


# What each column means: recomputed from the files and predictions that the run left


def test_scores_are_those_of_the_stored_outputs(by_cell: Cells, store: Store) -> None:
    for cell, row in by_cell:
        if cell.skipped:
            assert row["score"] == row["artifact_bytes"] == row["latency_p50_us"] == ""
            continue
        for column, split in (("val_score", "validation"), ("score", "test")):
            y = store.array(cell.prepare, f"{split}_y")
            outputs = store.array(cell.evaluate, split)
            (value,) = quality.evaluate(outputs, y, cell.metrics[:1], cast(Output, cell.output)).values.values()
            assert float(row[column]) == value
        assert list(json.loads(row["metrics"])) == list(cell.metrics)
        assert float(row["score_low"]) <= float(row["score"]) <= float(row["score_high"])
        labels = quality.labels(store.array(cell.evaluate, "test"))
        reference = quality.labels(store.array(cell.reference_evaluate, "test"))
        assert float(row["flips"]) == np.mean(labels != reference)
        if cell.recipe == "reference":
            assert row["flips"] == "0.0"


def test_outputs_are_those_of_the_shipped_file(by_cell: Cells, store: Store, results: Path) -> None:
    for cell, row in by_cell:
        if cell.skipped:
            continue
        (file,) = (results / "artifacts" / row["artifact"]).iterdir()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(file, options)
        x = np.load(results / "steps" / cell.prepare / "output" / "inputs" / "test_x.npy")[:20]
        outputs = [session.run(["output"], {"input": x[i : i + 1]})[0][0] for i in range(len(x))]
        assert np.array_equal(outputs, store.array(cell.evaluate, "test")[:20])


def test_sizes_are_those_of_the_files(by_cell: Cells, results: Path) -> None:
    reference: dict[tuple[str, str], int] = {}
    for cell, row in by_cell:
        if cell.skipped:
            continue
        folder = results / "artifacts" / row["artifact"]
        measured = sum(path.stat().st_size for path in folder.iterdir())
        assert int(row["artifact_bytes"]) == measured
        assert size.artifact_digest(folder) == row["artifact"]
        reference.setdefault((cell.task, cell.backend), measured)
        assert float(row["size_ratio"]) == reference[cell.task, cell.backend] / measured
        assert int(row["nonzero_parameters"]) <= int(row["parameters"])


def test_networks_hold_little_but_their_weights(by_cell: Cells, results: Path) -> None:
    for cell, row in by_cell:
        if cell.skipped or cell.backend == "sklearn":
            continue
        (file,) = (results / "artifacts" / row["artifact"]).iterdir()
        graph = onnx.load(file).graph
        parameters, nodes = int(row["parameters"]), len(graph.node)
        if "int8" not in cell.recipe:
            assert int(row["artifact_bytes"]) <= 4 * parameters + 160 * nodes + 4096
            continue
        weights = [one for one in graph.initializer if len(one.dims) > 1]
        assert weights
        assert {one.data_type for one in weights} == {onnx.TensorProto.INT8}
        channels = sum(one.dims[0] if len(one.dims) > 2 else max(one.dims) for one in weights)
        assert int(row["artifact_bytes"]) <= parameters + 8 * channels + 300 * nodes + 4096


def test_latency_and_memory_columns(by_cell: Cells, store: Store) -> None:
    for cell, row in by_cell:
        if cell.skipped:
            continue
        (step,) = cell.latency
        samples = store.array(step, "artifact")
        assert samples.shape == (1, 300)
        assert float(row["latency_p50_us"]) == pytest.approx(np.median(samples) / 1e3)
        assert 0 < float(row["latency_p50_us"]) <= float(row["latency_p90_us"])
        assert row["latency_p99_us"] == ""  # 300 samples do not allow it
        assert float(row["floor_us"]) > 0
        assert row["latency_ratio_low"] == row["latency_ratio_high"] == ""  # one process: no interval
        if cell.recipe == "reference":
            assert row["latency_ratio"] == "1.0"
        assert float(row["first_call_ms"]) > 0
        assert float(row["load_ms"]) > 0
        # A megabyte of noise: the floor's process differs in nothing but the model.
        assert 20e6 < float(row["floor_rss_bytes"]) < float(row["rss_bytes"]) + 1e6
        inside = int(row["artifact_bytes"]) <= 64 * 1024 and float(row["latency_p90_us"]) <= 1000
        assert json.loads(row["tiers"]) == (["S"] if inside else [])


def test_training_and_provenance_columns(by_cell: Cells, store: Store) -> None:
    for cell, row in by_cell:
        if cell.skipped:
            continue
        if cell.backend in ("torch", "jax"):
            # 10 updates from [train], and half as many for fine-tuning the pruned network
            assert (row["updates"], row["stopped_by"]) == ("10" if cell.recipe == "reference" else "15", "updates")
            assert float(row["build_seconds"]) > 0
        assert float(row["total_build_seconds"]) >= float(row["build_seconds"])
        if cell.backend == "jax":
            assert float(row["compile_seconds"]) > 0
        limits = json.loads(row["limits"])
        assert set(limits) == {*("cores", "threads", "seconds", "cpu_seconds", "memory", "processes", "file_bytes"), *sandbox.HOW}
        how = choose().how
        assert {name: limits[name]["mechanism"] for name in how} == how
        expected = sandbox.HOW if sandbox.available() else dict.fromkeys(sandbox.HOW, "not enforced here")
        assert {name: limits[name]["mechanism"] for name in sandbox.HOW} == expected
        assert (limits["cores"]["limit"], limits["cores"]["observed"]) == (1, 1)
        assert 20e6 < limits["memory"]["observed"] <= limits["memory"]["limit"] == 2**30
        assert 0 < limits["cpu_seconds"]["observed"] < limits["cpu_seconds"]["limit"] == 60
        assert 1 <= limits["processes"]["observed"] < limits["processes"]["limit"] == 256
        assert 0 < limits["seconds"]["observed"] < limits["seconds"]["limit"] == 60
        versions = json.loads(row["versions"])
        assert versions["pocketbench"] == "0.1.0"
        assert {"torch": "torch", "jax": "jax", "sklearn": "scikit-learn"}[cell.backend] in versions
        for column in ("host_class", "cpu_model", "cpu_flags", "threads", "data_fingerprint", "python", "finished_utc"):
            assert row[column], column
        assert row["data_fingerprint"] == store.results([cell.prepare])[cell.prepare].facts["fingerprint"]


def test_rows_as_json_say_the_same(results: Path, rows: Rows) -> None:
    parsed = json.loads((results / "rows.json").read_text(encoding="utf-8"))
    assert [list(row) for row in parsed] == [list(COLUMNS)] * 24
    for one, other in zip(parsed, rows(results), strict=True):
        for name, text in other.items():
            value = one[name]
            assert text == ("" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def test_the_printed_leaderboard_is_the_file(whole: Path) -> None:
    stdout = (whole / "stdout.txt").read_text(encoding="utf-8")
    assert (whole / "results" / "leaderboard.md").read_text(encoding="utf-8") in stdout
    for task in ("mnist-10k", "nodule-shape", "german-credit", "watch-imu"):
        assert f"\n## {task}\n" in stdout


def test_the_store_has_every_step_and_no_child_is_left(results: Path, store: Store) -> None:
    ids = {id_ for cell in stored_cells(store) for id_ in cell.steps()}
    assert set(store.results(ids)) == ids
    connection = sqlite3.connect(results / "store.sqlite")
    assert connection.execute("SELECT count(*) FROM steps WHERE outcome != 'ok'").fetchone() == (0,)
    connection.close()
    assert not list(results.glob("steps/*.part"))
