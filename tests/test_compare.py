"""What ``compare`` says: of runs that were edited in a known way, and of simulated methods whose truth is known."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from benchmark.compare import Comparison, adjusted, compare, score_changes, time_changes
from benchmark.errors import UserError
from benchmark.render.comparison import report
from benchmark.statistics import Scored

pytestmark = pytest.mark.xdist_group("compare")  # its tests share a run

SUITE = """
[suite]
name = "small"
tasks = ["german-credit"]
backends = ["sklearn"]
architectures = {sklearn = ["logistic", "tree", "forest"]}
[measure]
processes = 2
rounds = 1
[[recipe]]
passes = ["distil"]
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    (folder / "suite.toml").write_text(SUITE, encoding="utf-8")
    command = [sys.executable, "-m", "benchmark", "--suite", "suite.toml", "--results", "results"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return folder / "results"


@pytest.fixture
def other(ran: Path, tmp_path: Path) -> Path:
    shutil.copytree(ran, tmp_path / "b", ignore=shutil.ignore_patterns("steps", "artifacts", "report"))
    return tmp_path / "b"


def edit(folder: Path, change: Callable[[sqlite3.Connection], object]) -> None:
    connection = sqlite3.connect(folder / "store.sqlite")
    try:
        with connection:
            change(connection)
    finally:
        connection.close()


def step(connection: sqlite3.Connection, kind: str, part: str) -> str:
    query = "SELECT id FROM steps WHERE kind = ? AND label LIKE ?"
    ((id_,),) = connection.execute(query, (kind, f"%{part}%")).fetchall()
    return str(id_)


def first_line(found: Comparison) -> str:
    return report(found).partition("\n")[0]


def test_a_run_does_not_differ_from_itself(ran: Path, other: Path) -> None:
    found = compare(ran, other)
    assert first_line(found) == "0 of 6 methods differ beyond noise; 6 give the same predictions"
    (task,) = found.tasks
    assert [(one.same, one.score, dict(one.sizes), one.unexplained) for one in task.methods] == [(True, None, {}, False)] * 6
    assert (found.ingredients, task.ended) == ({}, ())


def test_scores_that_fell_are_named_beyond_noise(ran: Path, other: Path) -> None:
    def forget(connection: sqlite3.Connection) -> None:
        id_ = step(connection, "evaluate", "sklearn logistic · seed 0 · reference")
        ((data, dtype),) = connection.execute(
            "SELECT data, dtype FROM arrays WHERE step = ? AND name = 'test'", (id_,)
        ).fetchall()
        reversed_ = np.frombuffer(data, dtype).reshape(-1, 2)[:, ::-1]
        connection.execute("UPDATE arrays SET data = ? WHERE step = ? AND name = 'test'", (reversed_.tobytes(), id_))

    edit(other, forget)
    found = compare(ran, other)
    assert first_line(found).startswith("1 of 6 methods differs beyond noise")
    (changed,) = (one for one in found.tasks[0].methods if one.score)
    assert (changed.method.architecture, changed.method.recipe) == ("logistic", "reference")
    assert changed.score is not None
    assert changed.score.interval is not None
    assert changed.score.beyond
    assert changed.score.b == pytest.approx(1 - changed.score.a)  # the area under the curve of reversed scores
    assert changed.score.interval.high < 0
    assert changed.unexplained  # nothing that the step depends on is another


def test_runs_without_a_common_cell_are_not_called_unchanged(ran: Path, other: Path) -> None:
    edit(other, lambda connection: connection.execute("UPDATE cells SET cell = replace(cell, '\"seed\": 0', '\"seed\": 9')"))
    edit(other, lambda connection: connection.execute("UPDATE cells SET cell = replace(cell, '\"seed\":0', '\"seed\":9')"))
    found = compare(ran, other)
    assert [len(task.methods) for task in found.tasks] == [0]
    assert "## Unchanged" not in report(found)


def test_what_was_skipped_when_it_ran_is_no_cell(ran: Path, other: Path) -> None:
    def change(connection: sqlite3.Connection) -> None:
        gone = step(connection, "evaluate", "sklearn forest · seed 0 · distil")
        connection.execute("UPDATE steps SET outcome = 'skipped', reason = 'not this one' WHERE id = ?", (gone,))
        cells = connection.execute("SELECT position, cell FROM cells").fetchall()
        (place,) = (position for position, text in cells if '"forest"' in text and '"reference"' in text)
        connection.execute("DELETE FROM cells WHERE position = ?", (place,))

    before = compare(ran, other)
    edit(other, change)
    found = compare(ran, other)
    assert (before.b.cells, found.b.cells) == (6, 4)
    assert {(one.a, one.b) for one in found.tasks[0].ended} == {("ok", "skipped"), ("ok", "")}

    edit(other, lambda connection: connection.execute("DELETE FROM cells WHERE cell LIKE '%\"logistic\"%'"))
    backwards = compare(other, ran)  # what A lacks is new, but not what is skipped there
    assert {(one.method.architecture, one.a, one.b) for one in backwards.tasks[0].ended if one.method.recipe == "distil"} == {
        ("forest", "skipped", "ok"),
        ("logistic", "", "ok"),
    }


def test_sizes_and_outcomes_that_changed_are_named(ran: Path, other: Path) -> None:
    def change(connection: sqlite3.Connection) -> None:
        id_ = step(connection, "inspect", "sklearn tree · seed 0 · reference")
        ((facts,),) = connection.execute("SELECT facts FROM steps WHERE id = ?", (id_,)).fetchall()
        told = json.loads(facts)
        told["bytes"] += 100
        connection.execute("UPDATE steps SET facts = ? WHERE id = ?", (json.dumps(told), id_))
        gone = step(connection, "evaluate", "sklearn forest · seed 0 · distil")
        connection.execute("UPDATE steps SET outcome = 'failed', reason = 'it broke' WHERE id = ?", (gone,))
        cells = connection.execute("SELECT position, cell FROM cells").fetchall()
        (place,) = (position for position, text in cells if '"logistic"' in text and '"distil"' in text)
        connection.execute("DELETE FROM cells WHERE position = ?", (place,))

    edit(other, change)
    found = compare(ran, other)
    (task,) = found.tasks
    sized = {(one.method.architecture, one.method.recipe): one.sizes for one in task.methods if one.sizes}
    before, after = sized.pop(("tree", "reference"))["bytes"]
    assert (after or 0) - (before or 0) == 100
    assert not sized
    ended = {(one.method.architecture, one.a, one.b): one.reason for one in task.ended}
    assert ended.keys() == {("forest", "ok", "failed"), ("logistic", "ok", "")}
    assert "it broke" in ended["forest", "ok", "failed"]
    text = report(found)
    assert "it broke" in text
    assert "100" in text


def test_other_data_is_not_compared(ran: Path, other: Path) -> None:
    def change(connection: sqlite3.Connection) -> None:
        id_ = step(connection, "prepare", "german-credit")
        ((facts,),) = connection.execute("SELECT facts FROM steps WHERE id = ?", (id_,)).fetchall()
        told = {**json.loads(facts), "fingerprint": "0" * 64}
        connection.execute("UPDATE steps SET facts = ? WHERE id = ?", (json.dumps(told), id_))

    edit(other, change)
    (task,) = compare(ran, other).tasks
    assert task.methods == ()
    assert {reason: len(methods) for reason, methods in task.apart.items()} == {"other data: the fingerprints differ": 6}


def test_a_folder_without_a_run_is_one_line(ran: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^results folder {tmp_path}: no run has written into it yet$"):
        compare(ran, tmp_path)
    run = subprocess.run(
        [sys.executable, "-m", "benchmark", "compare", str(tmp_path), str(ran)], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (2, f"error: results folder {tmp_path}: no run has written into it yet\n")


def scored(right: NDArray[np.bool_]) -> list[Scored]:
    outputs = np.stack([right, ~right], axis=1).astype(np.float32)
    rows = len(right)
    return [Scored(0, 0, outputs, np.zeros(rows, np.int64), np.arange(rows), "logits")]


def test_of_20_equal_methods_any_is_beyond_noise_in_5_of_100_comparisons_at_most() -> None:
    rng, said = np.random.default_rng(0), []
    for _ in range(100):
        common = rng.random(250) < 0.8
        runs = [scored(np.where(rng.random(250) < 0.05, rng.random(250) < 0.8, common)) for _ in range(40)]
        said.append(any(one.beyond for one in score_changes(list(zip(runs[::2], runs[1::2], strict=True)), "accuracy")))
    assert np.mean(said) <= 0.08  # 5 %, and what 100 comparisons add by chance


def test_a_large_change_among_many_is_found() -> None:
    rng = np.random.default_rng(0)
    before = rng.random(250) < 0.8
    worse = before & (rng.random(250) < 0.8)
    pairs = [(scored(before), scored(worse)), *[(scored(before), scored(before ^ (rng.random(250) < 0.01))) for _ in range(19)]]
    found = score_changes(pairs, "accuracy")
    assert [one.beyond for one in found] == [True, *[False] * 19]
    assert found[0].flips == int((before != worse).sum())


def test_p_values_of_one_method_are_those_of_a_normal_test_and_of_many_are_larger() -> None:
    draws = np.random.default_rng(0).standard_normal((8, 40_000))
    for z in (1.0, 2.0, 3.0):
        (p,) = adjusted([z], draws[:1] + z)
        assert p == pytest.approx(2 * stats.norm.sf(z), abs=0.01)
        largest = adjusted([z, *[0.0] * 7], draws + np.array([z, *[0.0] * 7])[:, None])[0]
        assert largest == pytest.approx(1 - (1 - 2 * stats.norm.sf(z)) ** 8, abs=0.01)  # of eight independent ones


def test_times_are_compared_by_welch_over_processes() -> None:
    rng = np.random.default_rng(0)
    a, b = np.log(1.0) + 0.01 * rng.standard_normal(5), np.log(1.2) + 0.02 * rng.standard_normal(7)
    (found,) = time_changes([([a], [b])])
    expected = stats.ttest_ind(b, a, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert found.low == pytest.approx(math.exp(interval.low))
    assert found.high == pytest.approx(math.exp(interval.high))
    assert (found.verdict, found.beyond) == ("slower", True)
    wild = 0.06 * rng.standard_normal(5)
    assert [one.verdict for one in time_changes([([a], [a + 1e-3]), ([wild], [wild + 0.03])])] == [
        "equivalent",
        "not distinguished",
    ]
    (alone,) = time_changes([([a[:1]], [b[:1]])])
    assert (alone.low, alone.p, alone.verdict) == (None, None, "not distinguished")
