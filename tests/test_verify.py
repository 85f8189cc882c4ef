"""``verify`` against hostile edits of a real run: each is named, with what stands there and what was found."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmark import UserError, bundle
from benchmark.plan import Cell, stored_cells
from benchmark.registry import Registry, discover
from benchmark.render.child import FILES, render
from benchmark.store import open_store
from benchmark.verify import Verdict, predictions, verify
from benchmark.verify.findings import Findings
from benchmark.verify.subject import SPLITS

pytestmark = pytest.mark.xdist_group("verify")

Copy = Callable[[], Path]
LINEAR = Path(__file__).parent / "plugins_under_test" / "linear" / "pocketbench_linear.py"
SUITE = """
[suite]
name = "blobs"
tasks = ["blobs"]
backends = ["linear"]
[measure]
processes = 1
rounds = 1
[[budget.device]]
name = "S"
bytes = "64 KiB"
[[recipe]]
passes = ["keep-largest(share=0.5)"]
[[recipe]]
passes = ["keep-largest(share=0.2)"]
[[recipe]]
passes = ["only-images"]
"""
TASK = '''
"""Three clouds of points, of which one lies apart."""

import numpy as np

from benchmark import Split, TaskData, TaskSpec, hookimpl


@hookimpl
def benchmark_tasks():
    spec = {"name": "blobs", "target": "blobs:Blobs", "summary": "Points.", "modality": "tabular", "licence": "none"}
    more = {"metrics": ("accuracy", "log_loss"), "margin": 0.02, "unit": "row", "folds": 1, "citation": "none", "version": "1"}
    return [TaskSpec(**spec, **more)]


class Blobs:
    def load(self, fold):
        random = np.random.default_rng(fold)
        y = np.arange(330, dtype=np.int64) % 3
        means = np.array([[0, 0, 0, 0], [1, 0, 1, 0], [0, 2, 0, 2]])
        x = (random.normal(size=(330, 4)) + means[y]).astype(np.float32)
        ids = np.arange(330, dtype=np.int64)
        parts = [Split(x[part], y[part], ids[part]) for part in (slice(0, 150), slice(150, 210), slice(210, 330))]
        return TaskData(*parts, classes=("left", "right", "far"))

    def trivial(self, train, x):
        far = 1 / (1 + np.exp(-x[:, 1]))
        return np.stack([(1 - far) / 2, (1 - far) / 2, far], axis=1)
'''
LABEL = "blobs · fold 0 · linear · ridge · {} · onnxruntime · seed 0"
REFERENCE, HALF, FIFTH = map(LABEL.format, ("reference", "keep-largest(share=0.5)", "keep-largest(share=0.2)"))
CHECKED = (
    "data of 1 fold prepared again",
    "the grid: 4 cells of suite.toml, 22 steps",
    "4 of 4 artifacts hashed",
    "predictions of 3 evaluations scored again",
    "artifacts of 3 of 4 cells run again, in 3 evaluations",
    "rows and tables made again from the store",
)


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    task = tmp_path_factory.mktemp("plugin") / "blobs.py"
    task.write_text(TASK, encoding="utf-8")
    return [LINEAR, task]


@pytest.fixture(scope="module")
def registry(plugins: list[Path]) -> Registry:
    return discover(plugins)


def python(plugins: list[Path], folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    options = [option for plugin in plugins for option in ("--plugin", plugin)]
    command = [sys.executable, "-m", "benchmark", *options, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def results(plugins: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, without the folders of its steps."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "blobs.toml").write_text(SUITE, encoding="utf-8")
    run = python(plugins, folder, "--suite", "blobs.toml", "--results", "results")
    assert "4 cells: 3 ok, 1 skipped" in run.stdout, run.stdout + run.stderr
    shutil.rmtree(folder / "results" / "steps")
    return folder / "results"


@pytest.fixture
def copy(results: Path, tmp_path: Path) -> Path:
    return shutil.copytree(results, tmp_path / "copy")


def cells(root: Path) -> dict[str, Cell]:
    with closing(open_store(root / "store.sqlite")) as store:
        return {cell.label: cell for cell in stored_cells(store)}


def sql(root: Path, query: str, *values: object) -> None:
    with closing(sqlite3.connect(root / "store.sqlite")) as connection, connection:
        assert connection.execute(query, values).rowcount, query


def set_facts(root: Path, step: str, change: Callable[[dict[str, Any]], object]) -> None:
    with closing(open_store(root / "store.sqlite")) as store:
        facts = json.loads(json.dumps(store.results([step])[step].facts))
    change(facts)
    sql(root, "UPDATE steps SET facts = ? WHERE id = ?", json.dumps(facts), step)


def array(root: Path, step: str, name: str) -> Any:
    with closing(open_store(root / "store.sqlite")) as store:
        return store.array(step, name)


def set_array(root: Path, step: str, name: str, value: Any) -> None:
    query = "UPDATE arrays SET data = ?, shape = ? WHERE step = ? AND name = ?"
    sql(root, query, value.tobytes(), json.dumps(value.shape), step, name)


def rows_of(root: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((root / "rows.json").read_text(encoding="utf-8"))
    return rows


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def snapshot(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


# What is as it says


def test_an_untouched_run_is_verified_and_only_read(copy: Path, plugins: list[Path]) -> None:
    before = snapshot(copy)
    run = python(plugins, copy.parent, "verify", copy)
    assert run.stdout.splitlines() == [*(f"checked: {line}" for line in CHECKED), "verified"]
    assert run.returncode == 0
    assert snapshot(copy) == before


def test_so_is_its_bundle_and_what_another_process_unpacks(copy: Path, registry: Registry, tmp_path: Path) -> None:
    bundle.pack(copy, tmp_path / "one.zip", FILES)
    assert verify(tmp_path / "one.zip", registry) == Verdict((), (), CHECKED)
    shutil.rmtree(copy)
    code = "import sys; from pathlib import Path; from benchmark.bundle import extract; extract(*map(Path, sys.argv[1:]))"
    subprocess.run([sys.executable, "-c", code, tmp_path / "one.zip", tmp_path / "elsewhere" / "there"], check=True)
    assert verify(tmp_path / "elsewhere" / "there", registry) == Verdict((), (), CHECKED)


def test_the_digest_of_a_bundle_is_that_of_what_it_says(copy: Path, registry: Registry, tmp_path: Path) -> None:
    """Else a text with the hash that stands under published tables could hold something else beside."""
    bundle.pack(copy, tmp_path / "one.zip", FILES)
    bundle.extract(tmp_path / "one.zip", tmp_path / "new")
    text = tmp_path / "new" / bundle.STORE
    before = text.read_text(encoding="ascii")
    first, second, *others = before.splitlines(keepends=True)
    for changed in (f"{first} {second}{''.join(others)}", f"{before}{second}"):
        text.write_text(changed, encoding="ascii")
        (line,) = verify(tmp_path / "new", registry).differences
        assert re.fullmatch(r"store\.jsonl: its sha256 is [0-9a-f]{64}, that of what it says is [0-9a-f]{64}: .*", line)
    text.write_text(before, encoding="ascii")
    shutil.copy(copy / "store.sqlite", tmp_path / "new")
    (line,) = verify(tmp_path / "new", registry).differences
    assert line == "store.jsonl: store.sqlite is there too: which of them holds the results is not known"


def stub(**values: Any) -> Any:
    return SimpleNamespace(**values)


def compared(theirs: Any, ours: Any, y: Any) -> Findings:
    """What is found of stored predictions of both splits, where these are what the artifact gives."""
    cell = stub(task="t", fold=0, backend="none", output="logits", label="cell", runtime="r")
    spec = stub(metrics=("accuracy", "log_loss"))
    store = stub(array=lambda id_, split: theirs)
    registry = stub(tasks={"t": stub(spec=spec)}, backends={})
    subject = stub(store=store, registry=registry, results={"id": stub(ingredients={})})
    fold = stub(arrays={"validation_y": y, "test_y": y})
    runtime = discover().runtimes["onnxruntime"]
    findings = Findings(lambda _: None)
    predictions._compare_outputs("id", cell, runtime, dict.fromkeys(SPLITS, ours), subject, {("t", 0): fold}, findings)
    return findings


def test_predictions_that_hide_behind_a_tolerance_are_found() -> None:
    random = np.random.default_rng(0)
    y = np.arange(300) % 3
    ours = random.normal(size=(300, 3)).astype(np.float32)
    assert compared(ours, ours, y).differences == []
    rounded = ours + (1e-5 * random.normal(size=ours.shape)).astype(np.float32)
    assert compared(rounded, ours, y).differences == compared(rounded, ours, y).unchecked == []

    far = ours.copy()
    far[0] = (1e6, 0, 0)  # one row must not make room for the others
    forged = far + np.eye(3, dtype=np.float32)[y] * 8
    assert [line.partition(":")[0] for line in compared(forged, far, y).differences] == ["cell", "cell"]

    narrow = ours.copy()
    narrow[:150] = np.sort(narrow[:150], axis=1)
    narrow[:150, 1] = narrow[:150, 2] - np.float32(1e-4)
    swapped = narrow.copy()
    swapped[:150, 1:] = narrow[:150, :0:-1]  # by less than rounding, and another label
    (line, _) = compared(swapped, narrow, y).differences
    assert "0 of 300 rows are not what its artifact gives (150 labels differ" in line

    wide = np.where(np.arange(3) == y[:, None], 0, -np.abs(ours) - 1).astype(np.float32) * 1e4  # log loss asks for little
    offset = wide - np.array([1.0, 0.0, 0.0], np.float32) * 9
    assert not compared(offset, wide, y).differences  # the same scores, labels and rows within rounding


def test_scores_of_what_an_artifact_gives_are_compared_too() -> None:
    y = np.zeros(200, dtype=np.int64)
    ours = np.tile(np.array([2.0, 1.9, -4000.0], np.float32), (200, 1))
    theirs = ours + np.array([3.0, 0, 0], np.float32)  # little of such a range, and much of a loss
    line, _ = compared(theirs, ours, y).differences
    assert re.fullmatch(r"cell: validation predictions in store\.sqlite: log_loss: 0\.0\d+ stands there, 0\.6\d+ was found", line)


def test_without_the_task_it_is_not_checked_and_the_rest_is(copy: Path) -> None:
    verdict = verify(copy, discover([LINEAR]))
    assert verdict.differences == ()
    assert [re.split(r"[;,] (?:known|did)", line)[0].rstrip("?") for line in verdict.unchecked] == [
        "blobs · fold 0: its data, and with it all scores: unknown task 'blobs'",
        "whether the grid is that of suite.toml: unknown task 'blobs'",
    ]
    assert verdict.checked[1:] == ("predictions of 0 evaluations scored again", *CHECKED_NOT_RUN)
    assert not verdict.verified


CHECKED_NOT_RUN = ("artifacts of 0 of 4 cells run again, in 0 evaluations", CHECKED[-1])


# Artifacts


def test_one_flipped_bit_in_an_artifact(copy: Path, registry: Registry) -> None:
    digest = next(row["artifact"] for row in rows_of(copy) if row["recipe"] == "keep-largest(share=0.5)")
    (model,) = (copy / "artifacts" / digest).iterdir()
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    verdict = verify(copy, registry)
    (line,) = verdict.differences
    assert re.fullmatch(
        re.escape(f"{HALF}: artifact: {digest[:57]}") + r"\.\.\. stands there, [0-9a-f]{57}\.\.\. was found", line
    )
    assert verdict.unchecked == ()
    assert "artifacts of 2 of 4 cells run again, in 2 evaluations" in verdict.checked


def test_a_missing_artifact_is_not_checked(copy: Path, plugins: list[Path]) -> None:
    digest = next(row["artifact"] for row in rows_of(copy) if row["recipe"] == "keep-largest(share=0.5)")
    shutil.rmtree(copy / "artifacts" / digest)
    run = python(plugins, copy.parent, "verify", copy)
    lines = [line for line in run.stdout.splitlines() if not line.startswith("checked: ")]
    missing = f"not checked: {HALF}: artifact {digest} is not there: its bytes, and what it gives"
    assert lines == [missing, "not verified: 1 could not be checked"]
    assert run.returncode == 1


def test_bytes_that_are_not_those_of_the_files(copy: Path, registry: Registry) -> None:
    set_facts(copy, cells(copy)[FIFTH].inspect, lambda facts: facts.update(bytes=facts["bytes"] - 100, macs=1))
    row = next(row for row in rows_of(copy) if row["recipe"] == "keep-largest(share=0.2)")
    lines = verify(copy, registry).differences
    stands = f"{row['artifact_bytes'] - 100} stands there, {row['artifact_bytes']} was found"
    assert f"{FIFTH}: artifact_bytes in store.sqlite: {stands}" in lines
    assert f"{FIFTH}: macs in store.sqlite: 1 stands there, {row['macs']} was found" in lines


# Rows and tables


def test_edits_of_rows_and_tables_are_named_each(copy: Path, registry: Registry) -> None:
    rows = rows_of(copy)
    score = {row["recipe"]: row["score"] for row in rows}
    rows[0]["score"] = 0.99
    rows[0]["metrics"]["log_loss"] = 0.01
    text = json.dumps([row for row in rows if row["recipe"] != "keep-largest(share=0.2)"])
    (copy / "rows.json").write_text(text, encoding="utf-8")
    with (copy / "rows.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    loss = json.loads(table[0]["metrics"])["log_loss"]
    table[1]["score"] = "0.98"
    table[1]["recipe_of_ours"] = "x"
    with (copy / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*table[0], "recipe_of_ours"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    heading = "# PocketBench: suite blobs"
    edit(copy / "leaderboard.md", heading, f"{heading}, the best")
    verdict = verify(copy, registry)
    assert verdict.differences == (
        f"{FIFTH}: its row is missing in rows.json",
        f"{REFERENCE}: metrics.log_loss in rows.json: 0.01 stands there, {loss} was found",
        f"{REFERENCE}: score in rows.json: 0.99 stands there, {score['reference']} was found",
        "rows.csv: column 'recipe_of_ours' is none of ours",
        f"{HALF}: score in rows.csv: 0.98 stands there, {score['keep-largest(share=0.5)']} was found",
        "leaderboard.md, line 1: 'etBench: suite blobs, the best' stands there, 'etBench: suite blobs' was found",
    )
    assert verdict.unchecked == ()


def test_rows_and_tables_of_another_version_are_called_so(copy: Path, registry: Registry) -> None:
    """What every version makes alike is a difference all the same."""
    rows = rows_of(copy)
    score = rows[0]["score"]
    for row in rows:
        row |= {"score_low": 0.1, "of_old": 1}
        del row["flips"]
    (copy / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    edit(copy / "leaderboard.md", "score", "points")
    (copy / ".rendered").write_text("0" * 64, encoding="ascii")
    verdict = verify(copy, registry)
    assert verdict.differences == ()
    row_line, table_line = verdict.unchecked
    told = "by its stamp it was made by another version of the code, or from another state of the store"
    assert row_line == f"rows.json: of_old, flips, score_low are not as this version makes them of the store; {told}"
    assert table_line.startswith("leaderboard.md, line ")
    assert table_line.endswith(told)
    rows[0]["score"] = 0.99
    (copy / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    verdict = verify(copy, registry)
    assert verdict.differences[0] == f"{REFERENCE}: score in rows.json: 0.99 stands there, {score} was found"


# The store


def test_an_edited_score_in_the_store(copy: Path, registry: Registry) -> None:
    """Also where rows and tables were then made of it."""
    row = next(row for row in rows_of(copy) if row["recipe"] == "keep-largest(share=0.2)")
    set_facts(
        copy, cells(copy)[FIFTH].evaluate, lambda facts: [one["values"].update(accuracy=0.97) for one in facts["scores"].values()]
    )
    (copy / ".rendered").unlink()
    render(copy)
    lines = verify(copy, registry).differences
    for column in ("score", "val_score"):
        assert f"{FIFTH}: {column} (accuracy) in store.sqlite: 0.97 stands there, {row[column]} was found" in lines
        for file in ("rows.json", "rows.csv"):
            assert f"{FIFTH}: {column} in {file}: 0.97 stands there, {row[column]} was found" in lines
    assert any(line.startswith("leaderboard.md, line ") for line in lines)


def test_a_cell_missing_from_the_grid(copy: Path, registry: Registry) -> None:
    position = list(cells(copy)).index(FIFTH)
    sql(copy, "DELETE FROM cells WHERE position = ?", position)
    render(copy)
    verdict = verify(copy, registry)
    assert verdict.differences == (f"{FIFTH}: this cell of suite.toml is missing in store.sqlite",)


def test_a_cell_made_of_the_steps_of_another(copy: Path, registry: Registry) -> None:
    """What was evaluated for the reference is passed off as the smaller model's."""
    found = cells(copy)
    position = list(found).index(FIFTH)
    with closing(sqlite3.connect(copy / "store.sqlite")) as connection, connection:
        (text,) = connection.execute("SELECT cell FROM cells WHERE position = ?", (position,)).fetchone()
        text = text.replace(found[FIFTH].evaluate, found[REFERENCE].evaluate)
        connection.execute("UPDATE cells SET cell = ? WHERE position = ?", (text, position))
    lines = verify(copy, registry).differences
    assert any(line.startswith("blobs · fold 0 · linear ridge · seed 0 · keep-largest(share=0.2): evaluate") for line in lines)


def test_a_step_whose_ingredients_were_edited(copy: Path, registry: Registry) -> None:
    step = cells(copy)[FIFTH].chain[1][1]
    with closing(open_store(copy / "store.sqlite")) as store:
        result = store.results([step])[step]
    told = {**result.ingredients, "params": {"share": 0.9}}
    sql(copy, "UPDATE steps SET ingredients = ? WHERE id = ?", json.dumps(told), step)
    lines = verify(copy, registry).differences
    assert any(line.startswith(f"{result.label}: id of the step") for line in lines)
    assert f"{result.label}: ingredient params.share: 0.9 -> 0.2" in lines


def test_a_swapped_order_of_labels(copy: Path, registry: Registry) -> None:
    prepare = cells(copy)[REFERENCE].prepare
    set_facts(copy, prepare, lambda facts: facts["classes"].reverse())
    y = array(copy, prepare, "test_y")
    set_array(copy, prepare, "test_y", 2 - y)
    lines = verify(copy, registry).differences
    classes = "['far', 'right', 'left'] stands there, ['left', 'right', 'far'] was found"
    assert f"blobs · fold 0: classes in store.sqlite: {classes}" in lines
    assert f"blobs · fold 0: test_y: {int((y != 1).sum())} of 120 rows in store.sqlite are not those of the task" in lines


def test_predictions_of_another_split(copy: Path, registry: Registry) -> None:
    step = cells(copy)[REFERENCE].evaluate
    set_array(copy, step, "test", array(copy, step, "validation"))
    lines = verify(copy, registry).differences
    assert f"{REFERENCE}: test predictions in store.sqlite: outputs have shape (60, 3), not (120, 3)" in lines
    found = "(60, 3) stands there, (120, 3) (they are those of another split) was found"
    assert f"{REFERENCE}: test predictions in store.sqlite: shape: {found}" in lines


def test_permuted_predictions_with_the_score_that_they_have(copy: Path, registry: Registry) -> None:
    """Perfect predictions, made by giving each row those of one with its label, and scored without a fault."""
    cell = cells(copy)[REFERENCE]
    given, y = array(copy, cell.evaluate, "test"), array(copy, cell.prepare, "test_y")
    order = np.empty(len(y), np.int64)
    order[np.argsort(y, kind="stable")] = np.argsort(given.argmax(1), kind="stable")
    better = float(np.mean(given[order].argmax(1) == y))
    score = next(row["score"] for row in rows_of(copy) if row["recipe"] == "reference")
    assert better > score
    set_array(copy, cell.evaluate, "test", given[order])
    lines = verify(copy, registry).differences
    assert f"{REFERENCE}: score (accuracy) in store.sqlite: {score} stands there, {better} was found" in lines
    set_facts(copy, cell.evaluate, lambda facts: facts["scores"]["test"]["values"].update(accuracy=better))
    lines = verify(copy, registry).differences
    assert not any("score (accuracy)" in line for line in lines)
    pattern = rf"{re.escape(REFERENCE)}: test predictions in store\.sqlite: \d+ of 120 rows are not what its artifact gives "
    assert any(re.fullmatch(rf"{pattern}\(\d+ labels differ; they are its rows in another order\)", line) for line in lines)


def test_a_damaged_store_and_a_flipped_bit(copy: Path, registry: Registry) -> None:
    """Artifacts are hashed, and rows compared with each other, all the same."""
    content = bytearray((copy / "store.sqlite").read_bytes())
    content[:200] = os.urandom(200)
    (copy / "store.sqlite").write_bytes(content)
    digest = rows_of(copy)[0]["artifact"]
    (model,) = (copy / "artifacts" / digest).iterdir()
    model.write_bytes(model.read_bytes() + b"x")
    score = rows_of(copy)[0]["score"]
    edit(copy / "rows.csv", f",{score},", ",0.5,")
    verdict = verify(copy, registry)
    store, artifact, row = verdict.differences
    assert store == "store.sqlite: cannot be used as a results store: file is not a database"
    assert artifact.startswith(f"artifacts/{digest}: artifact: ")
    assert row.startswith(f"{REFERENCE}: ")
    assert row.endswith(f"score in rows.csv: 0.5 stands there, {score} was found")
    assert verdict.unchecked == ("data, predictions, scores and tables: the store cannot be used",)
    assert verdict.checked == ("3 artifacts hashed", "4 rows of rows.json compared with rows.csv")


def test_a_newer_store(copy: Path, registry: Registry) -> None:
    sql(copy, "UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    verdict = verify(copy, registry)
    assert verdict.differences == ("store.sqlite: written by version 99 of the store, this is version 1",)
    assert verdict.checked[0] == "4 artifacts hashed"


def test_a_store_with_code_in_it(copy: Path, registry: Registry) -> None:
    """A view that never ends, in the place of the grid."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i AS position, '' AS cell FROM n"
    with closing(sqlite3.connect(copy / "store.sqlite")) as connection:
        connection.executescript(f"DROP TABLE cells; CREATE VIEW cells AS {endless};")
    (line,) = verify(copy, registry).differences
    assert line == "store.sqlite: cannot be used as a results store: the view 'cells' is not as a store of this version has it"


def test_predictions_that_are_gone(copy: Path, plugins: list[Path]) -> None:
    sql(copy, "DELETE FROM arrays WHERE step = ? AND name = 'test'", cells(copy)[HALF].evaluate)
    run = python(plugins, copy.parent, "verify", copy)
    assert run.returncode == 1
    assert "Traceback" not in run.stdout + run.stderr
    lines = run.stdout.splitlines()
    assert any(line.startswith(f"differs: {HALF}: its predictions in store.sqlite: cannot be read: KeyError") for line in lines)
    assert any(line.startswith("differs: rows and tables: none can be made from store.sqlite: KeyError") for line in lines)


@pytest.mark.parametrize("odd", ['{"task": []}', "[]", '{"fold": "0"}'])
def test_a_grid_of_something_else(odd: str, copy: Path, registry: Registry) -> None:
    with closing(sqlite3.connect(copy / "store.sqlite")) as connection, connection:
        connection.execute("UPDATE cells SET cell = json_patch(cell, ?) WHERE position = 0", (odd,))
    verdict = verify(copy, registry)
    assert verdict.differences[0].startswith("store.sqlite: the grid: cannot be read: TypeError")
    assert not verdict.verified


# Mistakes


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda path: None, "X: there is no such folder or file"),
        (lambda path: path.mkdir(), "X: no results are there: neither store.sqlite nor store.jsonl"),
        (lambda path: path.write_text("no zip"), "X: not a bundle that can be read: File is not a zip file"),
    ],
    ids=["nothing", "an empty folder", "no zip"],
)
def test_what_holds_no_results_is_one_line(
    make: Callable[[Path], object], line: str, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    make(tmp_path / "X")
    run = command("verify", "X")
    assert (run.returncode, run.stdout, run.stderr) == (2, "", f"error: {line}\n")


def test_a_suite_that_cannot_be_read_leaves_the_rest(copy: Path, registry: Registry) -> None:
    (copy / "suite.toml").write_text("[suite]\nname = 1\n", encoding="utf-8")
    verdict = verify(copy, registry)
    assert verdict.differences == ()
    (line,) = verdict.unchecked
    assert line.startswith("the grid: suite.toml cannot be used: suite.toml: suite.name must be a text")
    with pytest.raises(UserError):
        verify(copy / "rows.json", registry)


def test_facts_that_no_store_can_hold_are_findings(copy: Path, registry: Registry) -> None:
    cell = cells(copy)[REFERENCE]
    set_facts(copy, cell.inspect, lambda facts: facts.update(macs=math.nan))
    verdict = verify(copy, registry)
    assert any("macs" in line for line in verdict.differences)
    assert any("rows and tables" in line for line in (*verdict.differences, *verdict.checked))


def test_a_name_that_no_file_can_have_is_a_finding(copy: Path, registry: Registry) -> None:
    cell = cells(copy)[REFERENCE]
    set_facts(copy, cell.chain[-1][1], lambda facts: facts.update(artifact="a" * 5000))
    verdict = verify(copy, registry)
    assert any("is no hash" in line for line in verdict.differences), verdict


def test_cells_without_a_result_are_told(copy: Path, registry: Registry) -> None:
    """A bundle of a run that was stopped must not pass for all of it."""
    sql(copy, "DELETE FROM steps WHERE id = ?", cells(copy)[FIFTH].memory)
    verdict = verify(copy, registry)
    assert any(
        re.fullmatch(r"\d cells? without a result: the run ended before there was one", line) for line in verdict.unchecked
    )
