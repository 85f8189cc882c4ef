"""What to ship is chosen by validation, size and speed: never by a test score."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.budget import DeviceTier
from benchmark.recommend import Method, Row, Why, answer, fits, methods

Command = Callable[..., "subprocess.CompletedProcess[str]"]
ANY = DeviceTier("any")


def row(
    recipe: str, val_score: float | None = 0.5, artifact_bytes: int | None = 100, p90: float | None = 10.0, **more: Any
) -> Row:
    names = {"backend": "torch", "architecture": "cnn", "recipe": recipe, "runtime": "onnxruntime", "outcome": "ok", "seed": 0}
    return {**names, "val_score": val_score, "artifact_bytes": artifact_bytes, "latency_p90_us": p90, **more}


def recipe(method: Method | None) -> str:
    return method.rows[0]["recipe"] if method else ""


def rejected(rows: list[Row], tier: DeviceTier = ANY) -> list[tuple[str, Why]]:
    return [(recipe(one.method), one.why) for one in answer("t", rows, tier).rejected]


def test_the_best_on_validation_and_of_equals_the_smaller() -> None:
    rows = [row("a", 0.7, 50), row("b", 0.9, 300), row("c", 0.9, 200), row("d", 0.8, 400)]
    found = answer("t", rows, ANY)
    assert (recipe(found.best), recipe(found.runner_up), found.among) == ("c", "b", 4)
    assert rejected(rows) == [("a", "validation")]  # b and d are not smaller


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
[[recipe]]
passes = ["keep-largest(share=0.3)"]
[[recipe]]
passes = ["keep-largest(share=0.02)"]
[[recipe]]
passes = ["int8-static"]
"""


@pytest.fixture
def ran(tmp_path: Path, command: Command, site: Callable[..., Path]) -> Callable[..., str]:
    """What ``recommend`` prints after a run, with these arguments."""
    path = site("linear")
    (tmp_path / "suite.toml").write_text(SUITE, encoding="utf-8")
    run = command("--suite", "suite.toml", "--results", "results", path=[path])
    assert run.returncode == 0, run.stderr

    def recommend(*arguments: str) -> str:
        run = command("recommend", "--task", "german-credit", "--results", "results", *arguments, path=[path])
        assert run.returncode == 0, run.stderr
        return run.stdout

    return recommend


def change(results: Path, how: Callable[[dict[str, Any], int], None]) -> None:
    """Changes the facts of all evaluations in the store, and has the tables rendered again."""
    connection = sqlite3.connect(results / "store.sqlite")
    try:
        with connection:
            found = connection.execute("SELECT id, facts FROM steps WHERE kind = 'evaluate' ORDER BY id").fetchall()
            for position, (id_, text) in enumerate(found):
                facts = json.loads(text)
                how(facts["scores"], position)
                connection.execute("UPDATE steps SET facts = ? WHERE id = ?", (json.dumps(facts), id_))
            # The stored test outputs too, from which tables take intervals and differences.
            outputs = connection.execute(
                "SELECT step, dtype, data FROM arrays WHERE name = 'test' AND step IN "
                "(SELECT id FROM steps WHERE kind = 'evaluate')"
            ).fetchall()
            for step, dtype, data in outputs:
                shuffled = np.random.default_rng(0).permutation(np.frombuffer(data, dtype)).tobytes()
                connection.execute("UPDATE arrays SET data = ? WHERE step = ? AND name = 'test'", (shuffled, step))
    finally:
        connection.close()
    (results / ".rendered").unlink()


def chosen(text: str) -> tuple[str, str]:
    (file,) = re.findall(r"  file +(\S+)", text)
    return text.splitlines()[0], file


def test_a_choice_and_its_proof(ran: Callable[..., str], tmp_path: Path, rows: Callable[[Path], list[dict[str, str]]]) -> None:
    text = ran("--bytes", "64KiB", "--latency", "1 s")
    best = max(rows(tmp_path / "results"), key=lambda row: (float(row["val_score"]), -int(row["artifact_bytes"])))
    name, file = chosen(text)
    assert name == f"german-credit, at most 64 KiB, p90 at most 1000 ms: linear ridge {best['recipe']}"
    assert (tmp_path / file / "model.onnx").stat().st_size == int(best["artifact_bytes"])
    assert f"chosen     by validation roc_auc {float(best['val_score']):.4f}, the best of 4 that fit" in text
    assert f"score      {float(best['score']):.3f} [" in text
    smallest = min(int(row["artifact_bytes"]) for row in rows(tmp_path / "results"))
    assert "nothing fits" in ran("--bytes", f"{smallest - 1} B")
    assert "the best of 1 that fit" in ran("--bytes", f"{smallest} B")


def test_no_test_score_is_ever_read(ran: Callable[..., str], tmp_path: Path) -> None:
    before = ran()

    def shuffle(scores: dict[str, Any], position: int) -> None:
        scores["test"]["values"]["roc_auc"] = [0.1, 0.99, 0.5, 0.7][position]

    change(tmp_path / "results", shuffle)
    after = ran()
    assert after != before  # the score that is printed for the choice is another one
    assert chosen(after) == chosen(before)

    def favour(scores: dict[str, Any], position: int) -> None:
        scores["validation"]["values"]["roc_auc"] = [0.1, 0.99, 0.5, 0.7][position]

    change(tmp_path / "results", favour)
    assert "validation roc_auc 0.9900" in ran()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("--bytes", "5 apples"),
            "error: --bytes: '5 apples' is not a size: write a number and one of B, KB, MB, GB, KiB, MiB, GiB",
        ),
        (("--latency", "fast"), "error: --latency: 'fast' is not a duration: write a number and one of us, µs, ms, s, min, h"),
        ((), "error: results folder nowhere: no run has written into it yet"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], line: str, command: Command) -> None:
    run = command("recommend", "--task", "mnist-10k", "--results", "nowhere", *arguments)
    assert (run.returncode, run.stdout, run.stderr) == (2, "", line + "\n")


def test_an_unknown_task_is_one_line_with_the_nearest(ran: Callable[..., str], command: Command) -> None:
    run = command("recommend", "--task", "german-credits", "--results", "results")
    line = "error: results folder results: no rows of task 'german-credits'; did you mean 'german-credit'?\n"
    assert (run.returncode, run.stdout, run.stderr) == (2, "", line)
