"""What to ship is chosen by validation, size and speed: never by a test score."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.budget import DeviceTier
from benchmark.recommend import Method, Row, Why, answer, fits, methods

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Ran = Callable[..., list[str]]
ANY = DeviceTier("any")


def row(
    recipe: str, val_score: float | None = 0.5, artifact_bytes: int | None = 100, p90: float | None = 10.0, **more: Any
) -> Row:
    names = {"backend": "torch", "architecture": "cnn", "recipe": recipe, "runtime": "onnxruntime", "outcome": "ok", "seed": 0}
    costs = {"artifact_bytes": artifact_bytes, "latency_p90_us": p90, "rss_bytes": None, "flash_bytes": None, "ram_bytes": None}
    return {**names, "val_score": val_score, **costs, "test_rows": 2000, **more}


def recipe(method: Method | None) -> str:
    return method.rows[0]["recipe"] if method else ""


def rejected(rows: list[Row], tier: DeviceTier = ANY) -> list[tuple[str, Why]]:
    return [(recipe(one.method), one.why) for one in answer("t", rows, tier).rejected]


def test_the_best_on_validation_and_of_equals_the_smaller() -> None:
    rows = [row("a", 0.7, 50), row("b", 0.9, 300), row("c", 0.9, 200), row("d", 0.8, 400)]
    found = answer("t", rows, ANY)
    assert (recipe(found.best), recipe(found.runner_up), found.among) == ("c", "b", 4)
    assert rejected(rows) == [("a", "validation")]  # b and d are not smaller


def test_a_sample_of_rows_is_no_rival_for_all_of_them() -> None:
    on_device = {"runtime": "mcu", "test_rows": 200, "flash_bytes": 500, "ram_bytes": 50}
    rows = [row("a", 0.95, 200), row("b", 0.96, 100, None, **on_device), row("c", 0.94, 150, None, **on_device)]
    found = answer("t", rows, ANY)
    assert (recipe(found.best), found.among) == ("a", 1)
    assert rejected(rows) == [("b", "rows"), ("c", "rows")]
    found = answer("t", rows, DeviceTier("", flash=1000))  # what only a device knows, only its rows can keep
    assert (recipe(found.best), recipe(found.runner_up), found.among) == ("b", "c", 2)


@pytest.mark.parametrize(
    ("limit", "column"), [("memory", "rss_bytes"), ("flash", "flash_bytes"), ("ram", "ram_bytes"), ("bytes", "artifact_bytes")]
)
def test_each_limit_is_of_its_column(limit: str, column: str) -> None:
    rows = (
        [row("a", 0.5, **{column: 100}), row("b", 0.6, **{column: 101})]
        if column != "artifact_bytes"
        else [row("a"), row("b", 0.6, 101)]
    )
    tier = DeviceTier("", **{limit: 100})
    assert recipe(answer("t", rows, tier).best) == "a"
    ((_, why),) = rejected(rows, dataclasses.replace(tier, **{limit: 99}))[-1:]  # type: ignore[arg-type]  # as above
    assert getattr(why, "name", why) == limit


@pytest.mark.parametrize(
    ("tier", "best", "among"),
    [
        (DeviceTier("", bytes=100, latency_p90=10e-6), "a", 1),  # both limits are inclusive
        (DeviceTier("", bytes=99, latency_p90=10e-6), "", 0),
        (DeviceTier("", bytes=100, latency_p90=9.9e-6), "", 0),
        (DeviceTier("", bytes=200), "b", 2),
        (DeviceTier("", latency_p90=20e-6), "b", 2),
        (ANY, "c", 3),
    ],
)
def test_limits(tier: DeviceTier, best: str, among: int) -> None:
    rows = [row("a", 0.5, 100, 10.0), row("b", 0.6, 200, 20.0), row("c", 0.7, 300, 30.0)]
    found = answer("t", rows, tier)
    assert (recipe(found.best), found.among) == (best, among)
    assert [fits(one, tier) for one in rows].count(True) == among


def test_what_is_not_known_fits_nothing() -> None:
    assert not fits(row("a", artifact_bytes=None), DeviceTier("", bytes=10**9))
    assert not fits(row("a", p90=None), DeviceTier("", latency_p90=1.0))
    assert fits(row("a", artifact_bytes=None, p90=None), ANY)


def test_methods_that_did_not_finish_are_never_the_answer_and_say_why() -> None:
    rows = [
        row("good", 0.5, 500),
        row("failed", None, None, None, outcome="failed"),
        row("half", 0.9, 10),
        row("half", 0.9, 10, outcome="timeout", seed=1),
        row("undefined", None, 20),
        row("skipped", None, None, None, outcome="skipped"),
    ]
    found = answer("t", rows, ANY)
    assert (recipe(found.best), found.runner_up, found.among) == ("good", None, 1)
    assert rejected(rows) == [("half", "outcome"), ("undefined", "undefined"), ("failed", "outcome")]


def test_every_seed_must_fit() -> None:
    rows = [row("a", 0.9, 100), row("a", 0.9, 101, seed=1), row("b", 0.1, 100), row("b", 0.1, 100, seed=1)]
    found = answer("t", rows, DeviceTier("", bytes=100))
    assert (recipe(found.best), found.among) == ("b", 1)
    # A smaller one would have to be below the 100 bytes of b.
    assert found.rejected == ()
    assert recipe(answer("t", rows, DeviceTier("", bytes=101)).best) == "a"


def test_of_equal_seeds_the_smallest_file_ships() -> None:
    (method,) = methods([row("a", 0.8, 50), row("a", 0.9, 101, seed=1), row("a", 0.9, 100, seed=2), row("a", 0.9, 102, seed=3)])
    assert method.to_ship["seed"] == 2
    assert method.val_score == pytest.approx(0.875)
    assert method.largest("artifact_bytes") == 102


def test_methods_are_told_apart_by_all_that_names_them() -> None:
    rows = [row("a"), row("a", runtime="other"), row("a", backend="jax"), row("a", architecture="mlp"), row("a", seed=1)]
    assert [len(one.rows) for one in methods(rows)] == [2, 1, 1, 1]


# A real run

SUITE = """
[suite]
name = "small"
tasks = ["german-credit"]
backends = ["linear"]
[measure]
processes = 1
rounds = 1
[[budget.device]]
name = "S"
bytes = "64 KiB"
[[recipe]]
passes = ["keep-largest(share=0.3)"]
[[recipe]]
passes = ["keep-largest(share=0.02)"]
[[recipe]]
passes = ["int8-static"]
[[recipe]]
passes = ["raises"]
"""
BROKEN = "    linear ridge raises: failed (raises: RuntimeError: this pass always raises)"


@pytest.fixture
def ran(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, command: Command, site: Callable[..., Path]) -> Ran:
    """What ``recommend`` prints after a run, with these arguments. The suite is run once, its results copied for each test."""
    path, kept, results = site("linear", "hostile"), tmp_path_factory.getbasetemp() / "recommended", tmp_path / "results"
    (tmp_path / "suite.toml").write_text(SUITE, encoding="utf-8")
    if not kept.exists():
        run = command("--suite", "suite.toml", "--results", "results", path=[path])
        assert run.returncode == 0, run.stderr
        results.rename(kept)
    shutil.copytree(kept, results)

    def recommend(*arguments: str) -> list[str]:
        run = command("recommend", "--task", "german-credit", "--results", "results", *arguments, path=[path])
        assert (run.returncode, run.stderr) == (0, "")
        return run.stdout.splitlines()

    return recommend


def by_validation(results: Path) -> list[dict[str, Any]]:
    """The rows that are ok, best validation score first, of equals the smallest."""
    rows = json.loads((results / "rows.json").read_text(encoding="utf-8"))
    return sorted((row for row in rows if row["outcome"] == "ok"), key=lambda row: (-row["val_score"], row["artifact_bytes"]))


def smaller(results: Path) -> list[str]:
    """What must stand against those that are smaller than the best."""
    best, *others = by_validation(results)
    others = sorted(
        (row for row in others if row["artifact_bytes"] < best["artifact_bytes"]), key=lambda row: row["artifact_bytes"]
    )
    chosen = f"not better than {best['val_score']:.4f}"
    return [f"    linear ridge {row['recipe']}: validation {row['val_score']:.4f}, {chosen}" for row in others]


def change(results: Path, split: str, how: Callable[[list[Any]], list[Any]]) -> None:
    """Gives the methods other scores and stored outputs of a split: ``how`` is given those of the best on validation first."""
    order = [row["recipe"] for row in by_validation(results)]
    connection = sqlite3.connect(results / "store.sqlite")
    try:
        with connection:
            found = connection.execute(
                "SELECT steps.id, label, facts, data FROM steps JOIN arrays ON step = steps.id "
                "WHERE kind = 'evaluate' AND outcome = 'ok' AND name = ?",
                (split,),
            ).fetchall()
            assert len(found) == len(order)
            found.sort(key=lambda one: order.index(one[1].rpartition(" · ")[2].partition(": ")[0]))
            values = how([(json.loads(facts)["scores"][split], data) for _, _, facts, data in found])
            for (id_, _, text, _), (scores, data) in zip(found, values, strict=True):
                facts = json.loads(text)
                facts["scores"][split] = scores
                connection.execute("UPDATE steps SET facts = ? WHERE id = ?", (json.dumps(facts), id_))
                connection.execute("UPDATE arrays SET data = ? WHERE step = ? AND name = ?", (data, id_, split))
    finally:
        connection.close()
    (results / ".rendered").unlink()  # has the tables rendered again


def reverse(values: list[Any]) -> list[Any]:
    return values[::-1]


def undefine(values: list[Any]) -> list[Any]:
    return [({"values": {"roc_auc": None}, "reasons": {"roc_auc": "gone"}}, data) for _, data in values]


def without_scores(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith(("  score ", "  note "))]  # a note says why the score is undefined


def answers(results: Path) -> tuple[list[list[str]], list[str]]:
    """The lines of the answer table without what is said of test scores, and the files below it."""
    text = (results / "leaderboard.md").read_text(encoding="utf-8").partition("## What to ship")[2].partition("## ")[0]
    lines = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("| german")]
    return [[cell.replace(", of one rank", "") for cell in line[:4] + line[6:]] for line in lines], re.findall(
        r"^- .*artifacts/.*$", text, re.MULTILINE
    )


def test_a_choice_and_its_proof(ran: Ran, tmp_path: Path) -> None:
    lines = ran("--bytes", "64KiB", "--latency", "1 s")
    best, second, *_ = by_validation(tmp_path / "results")
    file = f"results/artifacts/{best['artifact']}/"
    assert lines[0] == f"german-credit, at most 64 KiB, p90 at most 1 s: linear ridge {best['recipe']}"
    assert lines[1] == f"  file       {file} ({best['artifact_bytes']} bytes)"
    assert sum(one.stat().st_size for one in (tmp_path / file).iterdir()) == best["artifact_bytes"]
    assert lines[2] == f"  chosen     by validation roc_auc {best['val_score']:.4f}, the best of 4 that fit"
    assert lines[3].startswith(f"  score      {best['score']:.3f} [{best['score_low']:.3f}, {best['score_high']:.3f}] on test")
    assert lines[5] == f"  runner-up  linear ridge {second['recipe']}, validation {second['val_score']:.4f}"
    assert lines[6:] == ["  smaller, and not chosen:", *smaller(tmp_path / "results"), BROKEN]


def test_limits_decide_which_fit(ran: Ran, tmp_path: Path) -> None:
    rows = sorted(by_validation(tmp_path / "results"), key=lambda row: row["artifact_bytes"])
    smallest = rows[0]["artifact_bytes"]
    assert smallest < rows[1]["artifact_bytes"]
    assert "the best of 1 that fit" in ran("--bytes", f"{smallest} B")[2]
    head, what, *against = ran("--bytes", f"{smallest - 1} B")
    assert head.endswith(": nothing fits")
    assert what == "  what stands against each:"
    # The smallest first; of equals in the order of the grid.
    assert [line.partition(":")[2] for line in against[:-1]] == [
        f" {row['artifact_bytes']} bytes, more than {smallest - 1}" for row in rows
    ]
    assert against[-1] == BROKEN
    assert ran("--latency", "0.001 us")[0].endswith(": nothing fits")


def test_no_test_score_is_ever_read(ran: Ran, tmp_path: Path) -> None:
    results = tmp_path / "results"
    before, table = ran(), answers(results)
    assert len(table[0]) == len(table[1]) == 1
    for how in (reverse, undefine):
        change(results, "test", how)
        after = ran()
        assert after != before  # the test score that is printed for the choice is another one
        assert without_scores(after) == without_scores(before)
        (note,) = [line for line in after if line.startswith("  note ")]
        if how is undefine:
            assert note == "  note       roc_auc: gone"
        else:
            assert note.startswith("  note       no better than the task's baseline trivial: test roc_auc 0.")
        assert answers(results) == table


def test_the_validation_score_decides(ran: Ran, tmp_path: Path) -> None:
    results = tmp_path / "results"
    before, table = ran(), answers(results)
    ranked = by_validation(results)
    change(results, "validation", reverse)
    after = ran()
    best, worst = ranked[0], ranked[-1]
    assert after[0] == f"german-credit, no limit: linear ridge {worst['recipe']}" != before[0]
    assert worst["artifact"] in after[1]
    assert f"validation roc_auc {best['val_score']:.4f}" in after[2]
    assert after[6].startswith("  note       no better than the task's baseline trivial: ")
    assert after[7:] == ["  smaller, and not chosen:", *smaller(results), BROKEN]
    assert len(after) == 10  # int8-static is smaller than the worst, whichever was the best
    assert answers(results) != table


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("--bytes", "5 apples"),
            "error: --bytes: '5 apples' is not a size: write a number and one of B, KB, MB, GB, KiB, MiB, GiB",
        ),
        (("--latency", "fast"), "error: --latency: 'fast' is not a duration: write a number and one of us, µs, ms, s, min, h"),
        ((), "error: results folder nowhere: no run has written into it yet; another folder: --results DIR"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], line: str, command: Command) -> None:
    run = command("recommend", "--task", "mnist-10k", "--results", "nowhere", *arguments)
    assert (run.returncode, run.stdout, run.stderr) == (2, "", line + "\n")


def test_an_unknown_task_is_one_line_with_the_nearest(ran: Ran, command: Command) -> None:
    run = command("recommend", "--task", "german-credits", "--results", "results")
    known = "did you mean 'german-credit'?; another folder: --results DIR"
    line = f"error: results folder results: no rows of task 'german-credits'; {known}\n"
    assert (run.returncode, run.stdout, run.stderr) == (2, "", line)
