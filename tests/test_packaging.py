"""What users install: the wheel, built here from the project's own files."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import benchmark

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (file,) = folder.glob("*.whl")
    return file


def test_the_wheel_holds_our_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.partition("/")[0] for name in names}
    assert top == {
        *("benchmark", "benchmark_torch", "benchmark_jax", "benchmark_sklearn", "benchmark_onnx", "benchmark_pack"),
        *("benchmark_mcu", "benchmark_litert", "benchmark_executorch", "benchmark_optuna", "benchmark_tracking"),
        "benchmark_flaml",
        *("benchmark_mnist", "benchmark_nodule", "benchmark_credit", "benchmark_imu"),
        *("benchmark_medmnist", "benchmark_occupancy", "benchmark_har", "benchmark_own"),
        f"{wheel.name.rsplit('-', 3)[0]}.dist-info",
    }
    assert {
        "benchmark/py.typed",
        *(
            f"benchmark/render/report/{name}"
            for name in ("page.html", "index.html", "cell.html", "style.css", "theme.js", "report.js")
        ),
        *(f"benchmark/suites/{name}.toml" for name in ("edge", "edge-full", "edge-paper", "smoke")),
        *(f"benchmark/suites/{name}.toml" for name in ("compression", "deep-compression", "distillation", "transfer")),
    } <= set(names)
    assert sum(name.endswith(".xz") for name in names) == 4
    assert sum(name.endswith("data/SOURCE.md") for name in names) == 4


def test_the_wheel_works_from_elsewhere_and_does_not_pollute(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    run = subprocess.run(
        [sys.executable, "-m", "benchmark", "--list"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    listed = [line.split()[0] for line in run.stdout.splitlines()]
    assert listed == [
        "backend/flaml",
        "backend/jax",
        "backend/sklearn",
        "backend/torch",
        "compressor/cluster",
        "compressor/fp16",
        "compressor/int8-dynamic",
        "compressor/int8-litert",
        "compressor/int8-static",
        "compressor/jax/distil",
        "compressor/jax/longer",
        "compressor/jax/low-rank",
        "compressor/jax/narrow",
        "compressor/jax/prune-magnitude",
        "compressor/jax/prune-structured",
        "compressor/jax/qat-int8",
        "compressor/jax/transfer",
        "compressor/pack",
        "compressor/sklearn/distil",
        "compressor/torch/distil",
        "compressor/torch/int8-xnnpack",
        "compressor/torch/longer",
        "compressor/torch/low-rank",
        "compressor/torch/narrow",
        "compressor/torch/prune-magnitude",
        "compressor/torch/prune-structured",
        "compressor/torch/qat-int8",
        "compressor/torch/transfer",
        "runtime/executorch",
        "runtime/jax",
        "runtime/litert",
        "runtime/mcu",
        "runtime/onnxruntime",
        "runtime/packed",
        "runtime/torch-eager",
        "runtime/torch-export",
        "searcher/defaults",
        "searcher/optuna",
        "searcher/random",
        "task/breast-mnist",
        "task/german-credit",
        "task/mnist",
        "task/mnist-10k",
        "task/nodule-shape",
        "task/nodule-shape-300",
        "task/occupancy",
        "task/pneumonia-mnist",
        "task/retina-mnist",
        "task/taiwan-credit",
        "task/uci-har",
        "task/watch-imu",
        "tracker/mlflow",
        "tracker/tensorboard",
        "tracker/wandb",
    ]
    for name in ("plugins", "tasks"):
        code = f"import sys; sys.path[:] = [{str(site)!r}, *sys.path]; import {name}"
        run = subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert f"No module named '{name}'" in run.stderr


def test_the_citation_names_this_version_and_licence() -> None:
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {benchmark.__version__}" in lines
    assert "license: Apache-2.0" in lines
