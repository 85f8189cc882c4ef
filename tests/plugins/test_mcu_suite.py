"""A run on the emulated microcontroller, from the command line: rows, tables, what to ship, and its C."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.xdist_group("mcu"),  # its tests share a run
    pytest.mark.skipif(
        shutil.which("qemu-system-arm") is None or shutil.which("arm-none-eabi-gcc") is None,
        reason="no cross compiler or emulator here: apt-get install what benchmark_mcu names",
    ),
]
SUITE = """
[suite]
name = "small"
tasks = ["german-credit", "watch-imu"]
backends = ["torch", "jax", "sklearn"]
architectures = {sklearn = ["forest"]}
runtimes = ["mcu"]
[train]
updates = 30
[[budget.device]]
name = "tiny"
flash = "12 KiB"
ram = "4 KiB"
[[recipe]]
passes = ["int8-static"]
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "suite.toml").write_text(SUITE, encoding="utf-8")
    run = benchmark(folder, "--suite", "suite.toml", "--results", "results")
    assert run.returncode == 0, run.stderr
    return folder / "results"


def benchmark(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmark", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_rows_have_what_a_device_needs_and_no_time(results: Path, rows: Callable[[Path], list[dict[str, str]]]) -> None:
    ok = [row for row in rows(results) if row["outcome"] == "ok"]
    assert len(ok) == 10
    for row in ok:
        assert min(int(row[name]) for name in ("flash_bytes", "ram_bytes", "instructions_m4", "instructions_m7")) > 0
        assert not any(row[name] for name in ("latency_p50_us", "latency_p90_us", "rss_bytes", "floor_us", "arena_bytes"))
        assert float(row["label_agreement"]) >= 0.98
        assert int(row["test_rows"]) == 200
        told = json.loads(row["device"])
        assert told["generator"].startswith("emx-onnx-cgen ")
        versions = json.loads(row["versions"])
        assert versions["qemu-system-arm"].startswith("QEMU emulator version")
        assert versions["arm-none-eabi-gcc"].startswith("arm-none-eabi-gcc")
    by_name = {(row["task"], row["backend"], row["recipe"]): row for row in ok}
    for task in ("german-credit", "watch-imu"):
        whole, small = (by_name[task, "torch", recipe] for recipe in ("reference", "int8-static"))
        assert int(small["flash_bytes"]) < 0.5 * int(whole["flash_bytes"])
        assert (json.loads(whole["tiers"]), json.loads(small["tiers"])) == ([], ["tiny"] if task == "german-credit" else [])


def test_tables_show_what_a_device_needs(results: Path) -> None:
    text = (results / "leaderboard.md").read_text(encoding="utf-8")
    assert "## german-credit: on a microcontroller" in text
    assert "Nothing is timed on mcu, which is emulated." in text
    assert "never call them a latency" in text
    assert "p90 µs" not in text.partition("## How to read the tables")[0]


def test_what_to_ship_on_a_device_is_named_with_its_figures(results: Path) -> None:
    def ask(task: str, device: str) -> list[str]:
        run = benchmark(results.parent, "recommend", "--task", task, "--results", "results", "--device", device)
        assert run.returncode == 0, run.stderr
        return run.stdout.splitlines()

    first, *lines = ask("german-credit", "cortex-m4-256k")
    assert first.startswith("german-credit, flash at most 256 KiB, RAM at most 64 KiB: ")
    (device,) = (line for line in lines if line.startswith("  device "))
    assert re.fullmatch(r"  device     flash [\d,]+ bytes, RAM [\d,]+ bytes, .*; \d+\.\d% of labels as ONNX Runtime's", device)
    assert not any(line.startswith("  latency") for line in lines)
    first, *lines = ask("watch-imu", "tiny")
    assert first == "watch-imu, flash at most 12 KiB, RAM at most 4 KiB: nothing fits"
    assert any("torch cnn1d reference: flash " in line and line.endswith(" bytes, more than 12,288") for line in lines)
    run = benchmark(results.parent, "recommend", "--task", "german-credit", "--results", "results", "--device", "cortex-m4-256")
    assert run.returncode == 2
    assert run.stderr.startswith("error: --device: unknown device 'cortex-m4-256'; did you mean 'cortex-m4-256k'?")


def test_the_c_of_what_ships_gives_what_the_board_gave(results: Path, tmp_path: Path) -> None:
    def export(*arguments: Any) -> subprocess.CompletedProcess[str]:
        command = ["export", "--task", "watch-imu", "--results", str(results), "--device", "cortex-m4-64k", *map(str, arguments)]
        return benchmark(tmp_path, *command)

    run = export("--format", "c", tmp_path / "model")
    assert (run.returncode, run.stderr) == (0, "")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"model.c", "model.h", "golden.h", "Makefile", "README.txt", "preprocessing.json", "MODEL_CARD.md"} <= names
    assert not {"infer.py", "golden.npz", "model.onnx"} & names
    assert "The ONNX file that all this is of, as c;" in (tmp_path / "model" / "MODEL_CARD.md").read_text(encoding="utf-8")
    check = subprocess.run(["make", "-s", "check"], cwd=tmp_path / "model", capture_output=True, text=True, check=False)
    assert (check.returncode, check.stderr) == (0, "")
    assert check.stdout == "0 of 56 outputs differ\n"
    readme = (tmp_path / "model" / "README.txt").read_text(encoding="utf-8")
    (cross,) = (line.strip() for line in readme.splitlines() if "arm-none-eabi-gcc" in line)
    assert subprocess.run(shlex.split(cross), cwd=tmp_path / "model", capture_output=True, check=False).returncode == 0
    assert (tmp_path / "model" / "model.o").read_bytes()[18:20] == b"\x28\0"  # EM_ARM
    plus = 'extern int use(); \n#include "model.h"\nint main() { static float x[1][6][128], y[1][7]; model(x, y); return 0; }\n'
    (tmp_path / "model" / "main.cpp").write_text(plus, encoding="utf-8")
    sources = ["model.c", "model_data.c"]
    subprocess.run(["gcc", "-c", *sources], cwd=tmp_path / "model", check=True)
    linked = subprocess.run(
        ["g++", "main.cpp", "model.o", "model_data.o", "-lm"], cwd=tmp_path / "model", capture_output=True, text=True
    )
    assert linked.returncode == 0, linked.stderr
    unknown = export("--format", "cc", tmp_path / "other")
    assert unknown.returncode == 2
    assert unknown.stderr == "error: --format: no installed runtime writes 'cc'; did you mean 'c'?\n"


def test_figures_do_not_depend_on_the_run(results: Path, stable: Callable[[Path], list[dict[str, Any]]]) -> None:
    again = benchmark(results.parent, "--suite", "suite.toml", "--results", "again", "--task", "german-credit")
    assert again.returncode == 0, again.stderr
    first = [row for row in stable(results) if row["task"] == "german-credit"]
    assert stable(results.parent / "again") == first
    # What the emulator gave is given again, on the same rows.
    verified = benchmark(results.parent, "verify", "again")
    assert verified.returncode == 0, verified.stdout
    assert "verified" in verified.stdout.splitlines()[-1]
