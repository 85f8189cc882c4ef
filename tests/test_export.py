"""What is exported runs where nothing of ours is installed, and says of itself what the store says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.plan import Cell, stored_cells
from benchmark.store import Store, open_store

pytestmark = pytest.mark.xdist_group("export")  # its tests share a run and an environment

ROOT = Path(__file__).parent.parent
SUITE = """
[suite]
name = "small"
tasks = ["german-credit"]
backends = ["sklearn"]
architectures = {sklearn = ["logistic"]}
[measure]
processes = 1
rounds = 1
[[budget.device]]
name = "S"
bytes = "64 KiB"
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "suite.toml").write_text(SUITE, encoding="utf-8")
    command = [sys.executable, "-m", "benchmark", "--suite", "suite.toml", "--results", "results"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return folder / "results"


def export(results: Path, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmark", "export", "--task", "german-credit", "--results", str(results), *arguments]
    return subprocess.run([*command, str(output)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def exported(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    run = export(results, folder)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines()[0] == "german-credit, no limit: sklearn logistic reference"
    assert "not looked at for the choice" in run.stdout
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with numpy and onnxruntime."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    constraints = str(ROOT / "constraints.txt")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "-c", constraints, "numpy", "onnxruntime"]
    subprocess.run(pip, check=True, capture_output=True)
    return folder / "bin" / "python"


@pytest.fixture
def store(results: Path) -> Any:
    opened = open_store(results / "store.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def cell(store: Store) -> Cell:
    (found,) = stored_cells(store)
    return found


def infer(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), "infer.py", *arguments]
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)


def test_it_runs_with_numpy_and_onnxruntime_alone_and_reproduces_its_golden_output(exported: Path, bare: Path) -> None:
    without = subprocess.run([bare, "-c", "import benchmark"], cwd=exported, capture_output=True, text=True, check=False)
    assert "No module named 'benchmark'" in without.stderr
    run = infer(bare, exported)
    assert (run.returncode, run.stderr) == (0, "")
    outputs = np.load(exported / "golden.npz")["outputs"]
    p = outputs / outputs.sum(axis=1, keepdims=True)  # scikit-learn's are probabilities
    expected = [f"{('good', 'bad')[row.argmax()]} {row.max():.4f}" for row in p]
    assert run.stdout.splitlines() == expected
    assert len(expected) == 8
    code = (exported / "infer.py").read_text(encoding="utf-8").splitlines()
    assert len(code) <= 20


def test_it_tells_of_other_rows(exported: Path, bare: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.load(exported / "golden.npz")["x"][2:4].astype(np.float64))
    whole, part = infer(bare, exported), infer(bare, exported, str(tmp_path / "rows.npy"))
    assert part.stdout.splitlines() == whole.stdout.splitlines()[2:4]


def test_rows_of_another_shape_are_refused(exported: Path, bare: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((2, 3)))
    run = infer(bare, exported, str(tmp_path / "rows.npy"))
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"{tmp_path / 'rows.npy'}: rows of shape (3,), not (60,)\n"


def test_another_model_does_not_pass_its_check(exported: Path, bare: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    golden = dict(np.load(copy / "golden.npz"))
    np.savez(copy / "golden.npz", **{**golden, "outputs": golden["outputs"] + np.float32(0.001)})
    run = infer(bare, copy)
    assert run.returncode == 1
    assert run.stderr.strip() == "the outputs are not those of golden.npz: another model, or another processor"


def test_golden_rows_are_of_validation_with_the_outputs_that_were_scored(
    exported: Path, results: Path, store: Store, cell: Cell
) -> None:
    golden = np.load(exported / "golden.npz")
    prepared = results / "steps" / cell.prepare / "output"
    assert np.array_equal(golden["x"], np.load(prepared / "fit" / "validation_x.npy")[:8])
    assert np.array_equal(golden["outputs"], store.array(cell.evaluate, "validation")[:8])
    test = {row.tobytes() for row in np.load(prepared / "inputs" / "test_x.npy")}
    assert not test & {row.tobytes() for row in golden["x"]}
    constants = json.loads((exported / "preprocessing.json").read_text(encoding="utf-8"))
    assert constants["constants"] == json.loads((prepared / "preprocessing.json").read_text(encoding="utf-8"))
    assert (constants["classes"], constants["input_shape"], constants["outputs"]) == (["good", "bad"], [60], "probabilities")


def test_what_is_watched_is_counted_on_training_and_validation_rows(
    exported: Path, results: Path, store: Store, cell: Cell
) -> None:
    watched = json.loads((exported / "monitor.json").read_text(encoding="utf-8"))
    fit = results / "steps" / cell.prepare / "output" / "fit"
    x, y = np.load(fit / "train_x.npy"), np.load(fit / "train_y.npy")
    assert len(watched["inputs"]) == x.shape[1] == 60
    for column, one in zip(x.T, watched["inputs"], strict=True):
        assert one["n"] == sum(one["counts"]) == len(x)
        inside = [(column >= low) & (column < high) for low, high in zip(one["edges"], one["edges"][1:], strict=False)]
        inside[-1] |= column == one["edges"][-1]
        assert [int(one.sum()) for one in inside] == one["counts"]
    assert watched["train_class_shares"] == {"good": np.mean(y == 0), "bad": np.mean(y == 1)}
    outputs = store.array(cell.evaluate, "validation")
    assert watched["largest_probability"]["n"] == watched["rows"]["validation"] == len(outputs)
    assert watched["predicted_class_shares"]["good"] == np.mean(outputs.argmax(axis=1) == 0)


def test_the_model_card_says_what_the_row_says(exported: Path, results: Path) -> None:
    card = (exported / "MODEL_CARD.md").read_text(encoding="utf-8")
    (row,) = json.loads((results / "rows.json").read_text(encoding="utf-8"))
    assert card.startswith("# sklearn logistic reference for german-credit\n")
    assert f"- chosen by validation roc_auc {row['val_score']:.4f}, the best of 1 that keep: no limit\n" in card
    assert f"- {row['artifact_bytes']:,} bytes in all files" in card
    assert f"- artifact: sha256 {row['artifact']}\n" in card
    assert "- source: Hofmann: Statlog (German Credit Data)." in card
    assert "- licence: CC BY 4.0 (UCI data set 144)" in card
    gap = row["groups"]["age"]["gap"]
    assert f"- largest gap by age: {gap:.3f}\n" in card
    assert "- one training on one split:" in card
    assert "held by" in card


def test_what_cannot_be_exported_is_one_line(exported: Path, results: Path, tmp_path: Path) -> None:
    def mistake(*arguments: Any) -> str:
        run = export(*arguments)
        assert run.returncode == 2
        (line,) = run.stderr.splitlines()
        return line.removeprefix("error: ")

    assert mistake(results, exported) == f"{exported}: it is there already: name a new folder"
    nothing = f"results folder {results}: nothing of task german-credit fits: nothing to export"
    assert mistake(results, tmp_path / "new", "--bytes", "1 B") == nothing
    copy = tmp_path / "copy"
    shutil.copytree(results, copy)
    (row,) = json.loads((results / "rows.json").read_text(encoding="utf-8"))
    artifact = copy / "artifacts" / row["artifact"]
    (file,) = artifact.iterdir()
    content = file.read_bytes()
    file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    damaged = f"{artifact}: it is missing or not what was measured; the same run makes it again"
    assert mistake(copy, tmp_path / "new") == damaged
    file.write_bytes(content)
    shutil.rmtree(copy / "steps")
    assert mistake(copy, tmp_path / "new").endswith("the prepared data is gone; the same run makes it again")
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert mistake(results, tmp_path / "file" / "below") == f"{tmp_path / 'file' / 'below'}: Not a directory"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "file"]  # nothing half
