"""Strangers' packages: good ones are as good citizens as ours, and each broken one is named with what is wrong with it."""

from __future__ import annotations

import ast
import csv
import importlib
import json
import os
import shutil
import site as python_site
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

import benchmark
from benchmark.suite import shipped
from benchmark.testing import check_backend

share_a_run = pytest.mark.xdist_group("strangers")

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Site = Callable[..., Path]
Row = dict[str, str]
Weights = dict[tuple[int, ...], NDArray[np.float32]]

HERE = Path(__file__).parent
PACKAGES = sorted(path.parent for path in (HERE / "plugins_under_test").glob("*/pyproject.toml"))
SHORT = ("breast_cancer", "magnitude_jax", "magnitude_torch", "onnx_reference")
"""What a stranger writes in at most 40 lines: a task, a pass for each of two back ends, a runtime."""
HOOKLESS = "ValueError: it implements no hook: decorate them with benchmark.hookimpl"
BROKEN = {
    "default_argument": "ValueError: benchmark_compressors: unexpected argument 'seed'",
    "half_way": "RuntimeError: no second one",
    "import_error": "ImportError: No module named 'left_pad'",
    "misspelt_hook": "PluginValidationError: unknown hook 'benchmark_compresors' in plugin "
    "<module 'pocketbench_misspelt_hook' from 'SITE/pocketbench_misspelt_hook.py'>",
    "no_decorator": HOOKLESS,
    "other_marker": HOOKLESS,
    "syntax_error": "SyntaxError: future feature pattern_guards is not defined (pocketbench_syntax_error.py, line 3)",
    "system_exit": "SystemExit: usage: system_exit FILE",
    "twin_b": "compressor/torch/twin is already provided by pocketbench-twin-a 1.0",
    "unknown_argument": "PluginValidationError: Plugin 'unknown_argument' for hook 'benchmark_compressors' hookimpl definition: "
    "benchmark_compressors(config: dict[str, str]) -> list[benchmark.specs.CompressorSpec] "
    "Argument(s) {'config'} are declared in the hookimpl but can not be found in the hookspec",
}


def complaints(folder: Path) -> list[str]:
    """What is said of each broken package that is installed in ``folder``, in order."""
    return [
        f"plugin {name} of pocketbench-{name.replace('_', '-')} 1.0: {reason.replace('SITE', str(folder))}"
        for name, reason in BROKEN.items()
    ]


def table(text: str) -> list[list[str]]:
    """The words of each line: how wide a column is depends on what else is listed."""
    return [line.split() for line in text.splitlines()]


# The packages themselves


@pytest.mark.parametrize("name", SHORT)
def test_forty_lines_are_enough(name: str) -> None:
    source = (HERE / "plugins_under_test" / name / f"pocketbench_{name}.py").read_text(encoding="utf-8")
    assert 0 < len(source.splitlines()) <= 40


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_public_names_are_enough(package: Path) -> None:
    (module,) = package.glob("*.py")
    used: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.startswith("benchmark")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("benchmark"):
            assert node.module in {"benchmark", "benchmark_torch", "benchmark_jax", "benchmark_onnx"}
            assert {alias.name for alias in node.names} <= set(importlib.import_module(node.module).__all__)
            used.add(node.module)
    assert ("benchmark" in used) == (package.name not in {"import_error", "syntax_error", "system_exit"})


def test_each_can_be_built(tmp_path: Path) -> None:
    build = "import os, sys, hatchling.build\nfor path in sys.argv[2:]: os.chdir(path); hatchling.build.build_wheel(sys.argv[1])"
    built = subprocess.run([sys.executable, "-c", build, tmp_path, *PACKAGES], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    for package in PACKAGES:
        (path,) = tmp_path.glob(f"pocketbench_{package.name}-1.0-*.whl")
        with zipfile.ZipFile(path) as wheel:
            info = f"pocketbench_{package.name}-1.0.dist-info"
            files = {f"pocketbench_{package.name}.py", *(f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD"))}
            assert set(wheel.namelist()) == {*files, f"{info}/entry_points.txt"}
            points = wheel.read(f"{info}/entry_points.txt").decode().split()
            assert points == ["[benchmark]", package.name, "=", f"pocketbench_{package.name}"]


def test_the_task_learns_from_training_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE / "plugins_under_test" / "breast_cancer")
    task = importlib.import_module("pocketbench_breast_cancer").BreastCancer()
    folds = [task.load(fold) for fold in range(5)]
    for data in folds:
        splits = (data.train, data.validation, data.test)
        assert sorted(np.concatenate([split.units for split in splits]).tolist()) == list(range(569))
        assert sum(int(split.y.sum()) for split in splits) == 212  # the malignant ones
        np.testing.assert_allclose(data.train.x.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(data.train.x.std(axis=0), 1, atol=1e-5)
        assert min(abs(split.x.mean(axis=0)).max() for split in splits[1:]) > 0.01
    assert sorted(row for data in folds for row in data.test.units.tolist()) == list(range(569))


# PyTorch Lightning

LIGHTNING = HERE / "plugins_under_test" / "lightning" / "pocketbench_lightning.py"


def test_a_lightning_module_keeps_the_rules() -> None:
    """In eighty lines, half of which a user of Lightning has already."""
    assert len(LIGHTNING.read_text(encoding="utf-8").splitlines()) <= 80
    check_backend("lightning", files=[LIGHTNING])


def test_a_lightning_module_beside_ours(command: Command, site: Site, tmp_path: Path, rows: Callable[[Path], list[Row]]) -> None:
    """Its rows are as good as those of PyTorch, a pass works on its file, and it leaves nothing where the run was started."""
    (tmp_path / "lit.toml").write_text(
        """
[suite]
name = "lit"
tasks = ["german-credit"]
backends = ["lightning", "torch"]
[train]
updates = 100
[measure]
processes = 1
rounds = 1
calls = 7
[[recipe]]
passes = ["int8-static"]
""",
        encoding="utf-8",
    )
    run = command("--suite", "lit.toml", "--strict", path=[site("lightning")])
    assert (run.returncode, run.stderr) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lit.toml", "results", "site"]
    found = {(row["backend"], row["recipe"]): row for row in rows(tmp_path / "results" / "lit")}
    assert {name: row["outcome"] for name, row in found.items()} == {
        (backend, recipe): "ok" for backend in ("lightning", "torch") for recipe in ("reference", "int8-static")
    }
    theirs = found["lightning", "reference"]
    assert (theirs["updates"], theirs["stopped_by"]) == ("100", "updates")
    assert float(theirs["score"]) > 0.7
    assert {"lightning", "pocketbench-lightning"} <= json.loads(theirs["versions"]).keys()
    for folder in (tmp_path / "results" / "lit" / "steps").iterdir():
        if (folder / "output" / "model.pt").exists():
            assert {path.name for path in (folder / "output").iterdir()} == {"meta.json", "model.pt"}


@pytest.mark.filterwarnings("ignore")  # Lightning's own, which in a run go to a log
def test_a_lightning_module_stops_at_the_deadline(make_context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):  # which Lightning would leave behind
        monkeypatch.setenv(name, "0")
    monkeypatch.syspath_prepend(LIGHTNING.parent)
    training = {"updates": 1000, "batch": 64, "lr": 1e-3}
    context, journal = make_context("german-credit", "mlp", training=training, params=training, seconds=0)
    importlib.import_module("pocketbench_lightning").Lightning().train(context)
    assert journal.training == {"updates": 1, "stopped_by": "deadline"}
    assert [point["step"] for point in journal.curve] == [1]


# Broken ones


def test_each_broken_plugin_is_named_and_all_others_are_listed(command: Command, site: Site) -> None:
    alone = command("--list")
    good = site(*SHORT, "linear", "missing_backend", "twin_a")
    without = command("--list", "--strict", path=[good])
    assert (without.returncode, without.stderr) == (0, "")
    listed = {words[0]: words for words in table(without.stdout)}
    ours = {words[0] for words in table(alone.stdout)}
    assert set(listed) - ours == {
        *("backend/linear", "compressor/linear/keep-largest", "compressor/linear/only-images"),
        *("compressor/jax/prune-smallest", "compressor/torch/prune-smallest", "runtime/onnx-reference", "task/breast-cancer"),
        *("backend/missing-backend", "compressor/torch/twin", "compressor/torch/twin-a"),
    }
    assert ours <= set(listed)
    hint = "pocketbench-missing-backend 1.0 unavailable: needs library-of-nobody: pip install library-of-nobody"
    assert " ".join(listed["backend/missing-backend"]) == f"backend/missing-backend Never runs. {hint}"

    folder = site(*BROKEN)
    assert folder == good
    run = command("--list", path=[folder])
    assert run.stderr.splitlines() == complaints(folder)
    assert run.returncode == 1
    twin_b = ["compressor/torch/twin-b", "Never", "runs.", "pocketbench-twin-b", "1.0"]
    assert table(run.stdout) == sorted([*listed.values(), twin_b])
    strict = command("--list", "--strict", path=[folder])
    assert (strict.returncode, strict.stdout, strict.stderr) == (1, run.stdout, run.stderr)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_of_twins_the_first_by_name_is_kept_wherever_they_lie(command: Command, site: Site, tmp_path: Path, order: str) -> None:
    folders = [shutil.move(site(f"twin_{letter}"), tmp_path / letter) for letter in order]
    run = command("--list", path=folders)
    assert run.returncode == 1
    assert run.stderr == f"plugin twin_b of pocketbench-twin-b 1.0: {BROKEN['twin_b']}\n"
    assert [(words[0], words[-2]) for words in table(run.stdout) if "twin" in words[0]] == [
        ("compressor/torch/twin", "pocketbench-twin-a"),
        ("compressor/torch/twin-a", "pocketbench-twin-a"),
        ("compressor/torch/twin-b", "pocketbench-twin-b"),
    ]


def test_a_run_beside_broken_plugins(command: Command, site: Site, tmp_path: Path, rows: Callable[[Path], list[Row]]) -> None:
    (tmp_path / "beside.toml").write_text(
        """
[suite]
name = "beside"
tasks = ["german-credit"]
backends = ["linear", "missing-backend"]
runtimes = ["onnxruntime", "onnx-reference"]
[measure]
processes = 1
rounds = 1
calls = 7
""",
        encoding="utf-8",
    )
    folder = site(*BROKEN, "twin_a", "linear", "missing_backend", "onnx_reference")
    run = command("--suite", "beside.toml", path=[folder])
    assert run.stderr.splitlines() == [f"warning: {line}" for line in complaints(folder)]
    assert run.returncode == 0
    hint = "backend/missing-backend needs library-of-nobody: pip install library-of-nobody"
    found = rows(tmp_path / "results" / "beside")
    assert [(row["backend"], row["runtime"], row["outcome"], row["reason"]) for row in found] == [
        ("linear", "onnxruntime", "ok", ""),
        ("linear", "onnx-reference", "ok", ""),
        ("missing-backend", "onnxruntime", "skipped", hint),
        ("missing-backend", "onnx-reference", "skipped", hint),
    ]
    assert float(found[0]["score"]) == pytest.approx(float(found[1]["score"]), abs=1e-3)
    assert command("--suite", "beside.toml", "--strict", path=[folder]).returncode == 1


# Good ones, installed beside PocketBench by pip


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python in a new virtual environment, in which pip has installed PocketBench and the good strangers from their sources.
    It sees every other library of this environment, and no installation of PocketBench that this one has."""
    folder = tmp_path_factory.mktemp("clean")
    ours = {path.parts[0] for path in metadata.distribution("pocketbench").files or ()}
    (folder / "libraries").mkdir()
    for path in (path for place in python_site.getsitepackages() for path in sorted(Path(place).iterdir())):
        if path.name not in ours and path.suffix != ".pth":
            (folder / "libraries" / path.name).symlink_to(path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (packages,) = folder.glob("venv/lib/python*/site-packages")
    (packages / "libraries.pth").write_text(f"{folder / 'libraries'}\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def python(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [folder / "venv" / "bin" / "python", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    options = ("--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check", "--no-compile")
    sources = [HERE.parent, *(HERE / "plugins_under_test" / name for name in SHORT)]
    installed = python("-m", "pip", "install", *options, *sources)
    assert installed.returncode == 0, installed.stderr
    assert sorted(path.name for path in packages.glob("pocketbench*.dist-info")) == [
        f"pocketbench-{benchmark.__version__}.dist-info",
        *(f"pocketbench_{name}-1.0.dist-info" for name in SHORT),
    ]
    return python


@pytest.fixture(scope="module")
def strangers(clean: Callable[..., subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a copy of ``smoke`` in which strangers bring the task, a pass and a runtime."""
    folder = tmp_path_factory.mktemp("strangers")
    text = shipped()["smoke"].read_text(encoding="utf-8")
    for old, new in (
        ('name = "smoke"', 'name = "strangers"\nruntimes = ["onnxruntime", "onnx-reference"]'),
        ('tasks = ["mnist-10k", "nodule-shape", "german-credit", "watch-imu"]', 'tasks = ["breast-cancer"]'),
        ('passes = ["prune-structured(sparsity=0.5)", "int8-static"]', 'passes = ["prune-smallest(sparsity=0.8)"]'),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "strangers.toml").write_text(text, encoding="utf-8")
    where = clean("-c", "import benchmark, sys; print(benchmark.__file__.startswith(sys.prefix))")
    assert (where.stdout, where.stderr) == ("True\n", "")
    run = clean("-m", "benchmark", "--suite", folder / "strangers.toml", "--results", folder / "results", "--strict")
    assert (run.returncode, run.stderr) == (0, "")
    return folder / "results"


@pytest.fixture(scope="module")
def by_cell(strangers: Path) -> dict[tuple[str, str, str], Row]:
    """The rows, by back end, the recipe's first word, and runtime."""
    with (strangers / "rows.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 12
    return {(row["backend"], row["recipe"].partition("(")[0], row["runtime"]): row for row in found}


@share_a_run
def test_strangers_rows_stand_beside_ours(by_cell: dict[tuple[str, str, str], Row]) -> None:
    skipped = ("skipped", "no such pass for sklearn: prune-smallest")
    for (backend, recipe, _), row in by_cell.items():
        expected = skipped if (backend, recipe) == ("sklearn", "prune-smallest") else ("ok", "")
        assert (row["outcome"], row["reason"]) == expected
        assert row["task"] == "breast-cancer"
    versions = json.loads(by_cell["jax", "prune-smallest", "onnx-reference"]["versions"])
    strange = {name: version for name, version in versions.items() if name.startswith("pocketbench-")}
    assert strange == {f"pocketbench-{name}": "1.0" for name in ("breast-cancer", "magnitude-jax", "onnx-reference")}


@share_a_run
@pytest.mark.parametrize(
    ("backend", "recipe"),
    [(backend, recipe) for backend in ("torch", "jax") for recipe in ("reference", "prune-smallest")]
    + [("sklearn", "reference")],
)
def test_two_runtimes_agree(by_cell: dict[tuple[str, str, str], Row], backend: str, recipe: str) -> None:
    ours, theirs = (by_cell[backend, recipe, runtime] for runtime in ("onnxruntime", "onnx-reference"))
    assert ours["artifact"] == theirs["artifact"]
    for column in ("score", "val_score"):  # one pair of rows that rounding puts in another order is less than 0.001
        assert float(theirs[column]) == pytest.approx(float(ours[column]), abs=1e-3)
    assert float(theirs["score"]) > 0.9
    for row in (ours, theirs):
        assert float(row["floor_us"]) > 0
        assert float(row["floor_rss_bytes"]) > 1e6
    assert ours["floor_us"] != theirs["floor_us"]


def weights(results: Path, row: Row) -> Weights:
    """The matrices in an artifact, by shape."""
    (path,) = (results / "artifacts" / row["artifact"]).iterdir()
    arrays = [numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
    return {array.shape: array for array in arrays if array.ndim == 2 and min(array.shape) > 1}


@share_a_run
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_magnitude_pruning(strangers: Path, by_cell: dict[tuple[str, str, str], Row], backend: str) -> None:
    """Cases C-01, C-02, C-07 and M-13: what is pruned stays exactly zero while the rest is trained on, zeros take as many bytes
    and MACs, and the sparsity stands nowhere but among the claims; time is measured."""
    whole, pruned = (by_cell[backend, recipe, "onnxruntime"] for recipe in ("reference", "prune-smallest"))
    before, after = weights(strangers, whole), weights(strangers, pruned)
    sizes = [30 * 64, 64 * 32, 32 * 2]
    assert sorted(array.size for array in before.values()) == sorted(sizes)
    assert before.keys() == after.keys()
    for shape, old in before.items():
        zero = after[shape] == 0
        assert zero.sum() == round(0.8 * old.size)
        assert abs(old[zero]).max() <= abs(old[~zero]).min()
        assert (after[shape] != old).mean() > 0.99  # the others were trained on

    removed = sum(round(0.8 * size) for size in sizes)
    assert whole["nonzero_parameters"] == whole["parameters"] == pruned["parameters"] == str(sum(sizes) + 64 + 32 + 2)
    assert int(pruned["nonzero_parameters"]) == int(whole["parameters"]) - removed
    assert pruned["artifact_bytes"] == whole["artifact_bytes"]
    assert (pruned["size_ratio"], pruned["macs"]) == ("1.0", whole["macs"])
    assert float(pruned["latency_ratio"]) > 0
    assert int(pruned["deflate_bytes"]) < 0.6 * int(whole["deflate_bytes"])
    assert (whole["updates"], pruned["updates"]) == ("10", "15")

    claim = {"matched": 3, "changed": 3, "claims": {"sparsity": removed / sum(sizes)}}
    assert json.loads(pruned["claims"]) == {"prune-smallest": claim}
    assert {name for name, value in pruned.items() if "sparsity" in name + value} == {"recipe", "claims"}
