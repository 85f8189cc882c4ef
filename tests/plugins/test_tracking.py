"""The trackers: what they keep of a run, read back as their own libraries read it; where they write; that they tell nobody."""

from __future__ import annotations

import csv
import json
import math
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from benchmark_tracking import _cells

from benchmark import FinishedCell, tracking
from benchmark.folders import Layout

# One worker runs this file, since its tests share a run.
pytestmark = pytest.mark.xdist_group("trackers")

Cells = list[tuple[FinishedCell, dict[str, Any]]]
Track = Callable[[str], Path]

LINEAR = Path(__file__).parent.parent / "plugins_under_test" / "linear" / "pocketbench_linear.py"
SUITE = """
[suite]
name = "small"
tasks = ["german-credit"]
backends = ["linear", "sklearn"]
architectures = { sklearn = ["tree"] }
[measure]
processes = 1
rounds = 1
calls = 50
[[recipe]]
passes = ["draw-a-curve(note=\\"a/b's\\")", "draw-a-curve"]
[[recipe]]
passes = ["break-down"]
"""
CURVES = """
import shutil

from benchmark import CompressorSpec, Param, hookimpl


@hookimpl
def benchmark_compressors():
    said = {"summary": "For tests.", "stage": "model", "backend": "linear"}
    note = Param("note", "")
    yield CompressorSpec(name="draw-a-curve", target="curves:DrawACurve", params=(note,), **said)
    yield CompressorSpec(name="break-down", target="curves:BreakDown", **said)


class DrawACurve:
    def compress(self, context):
        import numpy as np

        weights = np.load(context.input / "weights.npz")["weights"]
        for step in (10, 20, 300):
            context.log(step, loss=1 / step, rate=0.5 if step < 300 else float("nan"))
        np.savez(context.output / "weights.npz", weights=weights + np.float32(0.01))
        context.report(matched=1, changed=1)


class BreakDown:
    def compress(self, context):
        raise RuntimeError("it's broken, \\"quite\\"")
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run in which cells are ok, failed and skipped, some with a curve and one with three."""
    folder = tmp_path_factory.mktemp("tracked")
    (folder / "small.toml").write_text(SUITE, encoding="utf-8")
    (folder / "curves.py").write_text(CURVES, encoding="utf-8")
    command = [sys.executable, "-m", "benchmark", "--suite", "small.toml", "--plugin", str(LINEAR), "--plugin", "curves.py"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    return folder / "results" / "small"


@pytest.fixture(scope="module")
def cells(results: Path) -> Cells:
    return list(tracking._finished(Layout(results), results / "tracking"))


@pytest.fixture(scope="module")
def track(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Track:
    """``track(name)``: has a tracker told of all cells, twice, and gives the folder that it wrote into. It has written nowhere
    else, and has tried to reach nobody: whoever asks for a proxy is heard."""
    made: dict[str, Path] = {}

    def once(name: str) -> Path:
        pytest.importorskip(name)
        if name in made:
            return made[name]
        folder = tmp_path_factory.mktemp(name)
        for place in ("home", "temporary", "here"):
            (folder / place).mkdir()
        with socket.create_server(("127.0.0.1", 0)) as server:
            proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
            environment = {one: value for one, value in os.environ.items() if not one.startswith(("XDG_", "WANDB_", "MLFLOW_"))}
            environment |= {
                one: proxy for scheme in ("http", "https", "all") for one in (f"{scheme}_proxy", f"{scheme}_PROXY".upper())
            }
            environment |= {"HOME": str(folder / "home"), "TMPDIR": str(folder / "temporary"), "NO_PROXY": "", "no_proxy": ""}
            for again in (False, True):
                if again:
                    (results / "tracking" / name / "told.jsonl").unlink()
                run = subprocess.run(
                    [sys.executable, "-m", "benchmark", "leaderboard", str(results), "--track", name],
                    cwd=folder / "here",
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert (run.returncode, run.stderr) == (0, "")
                assert f"\n{name}: told of 6 cells that are new or have changed: " in run.stdout
            server.setblocking(False)
            with pytest.raises(BlockingIOError):
                server.accept()
        assert [path for path in folder.rglob("*") if path.parent != folder] == []
        made[name] = results / "tracking" / name
        return made[name]

    return once


def points(path: Path) -> list[dict[str, float]]:
    """The lines of a ``curve.csv``."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in line.items()} for line in csv.DictReader(file)]


def series(cell: FinishedCell) -> dict[str, list[tuple[float, float]]]:
    """What every tracker should hold of a cell's curves: ``step/column`` -> (x, y)."""
    names = [name for name, _ in cell.curves]
    named = [f"{name} {place}" if names.count(name) > 1 else name for place, name in enumerate(names, start=1)]
    found: dict[str, list[tuple[float, float]]] = {}
    for name, (_, path) in zip(named, cell.curves, strict=True):
        for point in points(path):
            for column, value in point.items():
                if column != "step":
                    found.setdefault(f"{name}/{column}", []).append((point["step"], value))
    return found


def same(found: Mapping[str, list[tuple[float, float]]], expected: Mapping[str, list[tuple[float, float]]], **how: float) -> None:
    assert set(found) == set(expected)
    for name, curve in expected.items():
        assert [x for x, _ in found[name]] == [x for x, _ in curve]
        assert [y for _, y in found[name]] == pytest.approx([y for _, y in curve], nan_ok=True, **how)


def moment(row: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(row["finished_utc"]).timestamp()


def test_the_run_has_what_trackers_differ_in(cells: Cells) -> None:
    assert [(cell.backend, cell.outcome, [name for name, _ in cell.curves]) for cell, _ in cells] == [
        ("linear", "ok", ["train"]),
        ("linear", "ok", ["train", "draw-a-curve", "draw-a-curve"]),
        ("linear", "failed", ["train"]),
        ("sklearn", "ok", ["train"]),
        ("sklearn", "skipped", []),
        ("sklearn", "skipped", []),
    ]
    curves = series(cells[1][0])
    assert set(curves) == {"train/score", *(f"draw-a-curve {place}/{name}" for place in (2, 3) for name in ("loss", "rate"))}
    assert curves["draw-a-curve 2/loss"] == [(10, 0.1), (20, 0.05), (300, 1 / 300)]
    assert len(series(cells[3][0])["train/score"]) > 3


def test_numbers_and_texts_are_all_columns_that_have_a_value(cells: Cells) -> None:
    for cell, row in cells:
        numbers, texts, settings = _cells.numbers(row), _cells.texts(row), _cells.settings(cell)
        held = {name for name, value in row.items() if value not in (None, "")}
        assert {name for name in numbers if not name.startswith("metrics/")} | set(texts) | set(settings) == held
        assert {name: row[name] for name in settings} == settings
        assert texts["outcome"] == row["outcome"]
        assert {f"metrics/{name}": value for name, value in (row["metrics"] or {}).items()} == {
            name: value for name, value in numbers.items() if name.startswith("metrics/")
        }
    assert _cells.numbers(cells[0][1])["score"] == cells[0][1]["score"]
    assert {"artifact_bytes", "latency_p50_us", "latency_p90_us", "val_score"} <= set(_cells.numbers(cells[0][1]))


def test_tensorboard(track: Track, cells: Cells) -> None:
    output = track("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    files = sorted(output.rglob("events.out.tfevents.*"))
    assert len(files) == len(cells)  # one each, though they were told twice
    for cell, row in cells:
        folder = output.joinpath("german-credit", "fold 0", cell.backend, cell.architecture)
        (recipe,) = (one for one in folder.iterdir() if one.name.startswith(cell.recipe.replace("/", "_")))
        run = EventAccumulator(str(recipe / cell.runtime / "seed 0"))
        run.Reload()
        scalars = {tag: run.Scalars(tag) for tag in run.Tags()["scalars"]}
        drawn = {tag: [(one.step, one.value) for one in events] for tag, events in scalars.items()}
        same({tag: curve for tag, curve in drawn.items() if not tag.startswith("row/")}, series(cell), rel=1e-6)
        numbers = {f"row/{name}": [(0.0, value)] for name, value in _cells.numbers(row).items()}
        same({tag: curve for tag, curve in drawn.items() if tag.startswith("row/")}, numbers, rel=1e-6)
        if row["finished_utc"]:
            assert {one.wall_time for events in scalars.values() for one in events} == {moment(row)}
        text = make_ndarray(run.Tensors("row")[0].tensor_proto).item().decode()
        assert f"| outcome | {cell.outcome} |" in text
        assert f"| recipe | {cell.recipe} |" in text
        assert ("| reason | break-down: RuntimeError: it's broken" in text) == (cell.outcome == "failed")


def test_tensorboards_folders_have_names_that_a_disk_takes() -> None:
    from benchmark_tracking.tensorboard import _file_name

    assert _file_name("prune(share=0.5) + int8") == "prune(share=0.5) + int8"
    assert "/" not in _file_name("a/b")
    assert _file_name("a/b") != _file_name("a_b")
    assert len(_file_name("ä" * 300).encode()) <= 255
    assert _file_name("ä" * 300) != _file_name("ä" * 301)


MLFLOW = """
import json, os, sys
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
from mlflow import MlflowClient
client = MlflowClient(tracking_uri=f"sqlite:///{sys.argv[1]}/mlflow.db")
found = client.search_runs([client.get_experiment_by_name("small").experiment_id])
history = lambda run, name: [(one.step, one.value, one.timestamp) for one in client.get_metric_history(run.info.run_id, name)]
print(json.dumps([
    {
        "name": run.info.run_name,
        "status": run.info.status,
        "times": [run.info.start_time, run.info.end_time],
        "params": run.data.params,
        "tags": run.data.tags,
        "metrics": {name: history(run, name) for name in run.data.metrics},
    }
    for run in found
]))
"""


def test_mlflow(track: Track, cells: Cells) -> None:
    output = track("mlflow")
    # In a process of its own: MLflow imports importlib_metadata, which puts itself in the place of Python's.
    read = subprocess.run([sys.executable, "-W", "error", "-c", MLFLOW, output], capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    found = json.loads(read.stdout)
    runs = {run["name"]: run for run in found}
    assert set(runs) == {cell.label for cell, _ in cells}
    assert len(found) == len(cells)  # one each, though they were told twice
    for cell, row in cells:
        run = runs[cell.label]
        assert run["status"] == ("FAILED" if cell.outcome == "failed" else "FINISHED")
        assert run["params"] == {name: str(value) for name, value in _cells.settings(cell).items()}
        tags = {name: value for name, value in run["tags"].items() if not name.startswith(("mlflow.", "pocketbench."))}
        assert tags == _cells.texts(row)
        assert tags.get("reason", "") == row["reason"]
        numbers = {name: [(0.0, value)] for name, value in _cells.numbers(row).items()}
        drawn = {name: sorted((step, value) for step, value, _ in history) for name, history in run["metrics"].items()}
        same(drawn, {**series(cell), **numbers})
        if row["finished_utc"]:
            times = {*run["times"], *(at for history in run["metrics"].values() for _, _, at in history)}
            assert times == {round(moment(row) * 1000)}
            assert json.loads(tags["versions"]) == row["versions"]


def records(path: Path) -> Iterator[Any]:
    """The records of an offline run. W&B's reader is a program; the format is LevelDB's log: blocks of 32 KiB, in them pieces of
    records, each with its checksum, length and kind (1 whole, 2 first, 3 middle, 4 last), behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # it makes its classes when it is imported

    data, at, whole = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while len(data) - at > 7:
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield Record.FromString(whole)
            whole = b""


def items(changes: Any) -> dict[str, Any]:
    """What a record of W&B says, by name; NaN is a word in it."""
    return {".".join(one.nested_key) or one.key: json.loads(one.value_json) for one in changes}


def test_wandb(track: Track, cells: Cells) -> None:
    output = track("wandb")
    files = sorted(output.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == len(cells)  # one each, though they were told twice
    runs: dict[str, dict[str, Any]] = {}
    for file in files:
        kept: dict[str, Any] = {"curves": {}, "summary": {}, "config": {}, "ended": None}
        for record in records(file):
            if record.HasField("run"):
                runs[record.run.display_name] = kept
                kept["config"] |= items(record.run.config.update)
                assert (record.run.project, record.run.run_group) == ("pocketbench", "small")
            elif record.HasField("history"):
                point = items(record.history.item)
                (step,) = (name for name in point if name.endswith("/step"))
                for name in point:
                    if name.startswith(step.removesuffix("step")) and name != step:
                        kept["curves"].setdefault(name, []).append((point[step], float(point[name])))
            elif record.HasField("summary"):
                kept["summary"] |= items(record.summary.update)
            elif record.HasField("exit"):
                kept["ended"] = record.exit.exit_code
    assert set(runs) == {cell.label for cell, _ in cells}
    for cell, row in cells:
        run = runs[cell.label]
        assert run["ended"] == 0
        same(run["curves"], series(cell))
        numbers = _cells.numbers(row)
        assert {name: run["summary"][name] for name in numbers} == numbers
        config = {name: value for name, value in run["config"].items() if not name.startswith("_wandb")}
        assert config == {**_cells.settings(cell), **_cells.texts(row)}
        assert (config["outcome"], config.get("reason", "")) == (cell.outcome, row["reason"])


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_discovery_imports_none_of_them(name: str) -> None:
    code = f"import sys; from benchmark.registry import discover; discover(); raise SystemExit({name!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_curve_with_nan_is_kept(cells: Cells) -> None:
    assert math.isnan(series(cells[1][0])["draw-a-curve 3/rate"][-1][1])
