"""The table of what to ship, and what ``recommend`` prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.budget import DeviceTier
from benchmark.leaderboard import COLUMNS, Difference, Entry, Table
from benchmark.recommend import Row, answer, methods
from benchmark.render.answers import ON_DEVICE, remarks, report, section
from benchmark.render.style import Grid, Style
from benchmark.specs import DEVICE_COUNTS
from benchmark.statistics import Interval

PLAIN = Style(name=str, text=str)
S, TINY = DeviceTier("S", bytes=64 * 1024, latency_p90=0.001), DeviceTier("tiny", bytes=1000)


def row(recipe: str = "reference", **values: Any) -> Row:
    full = {
        "task": "digits",
        "backend": "torch",
        "architecture": "cnn",
        "recipe": recipe,
        "runtime": "onnxruntime",
        "fold": 0,
        "seed": 0,
        "outcome": "ok",
        "reason": "",
        "metric": "accuracy",
        "artifact": f"<{recipe}>",
        "threads": 1,
        "score": 0.5,
        "score_low": 0.4,
        "score_high": 0.6,
        "val_score": 0.8,
        "artifact_bytes": 12_345,
        "latency_p50_us": 30.04,
        "latency_p90_us": 35.06,
        "cpu_model": "Some CPU",
    }
    return {**dict.fromkeys(COLUMNS), **full, **values}


ROWS = [
    row(val_score=0.912, artifact_bytes=60_000, score=0.1, score_low=0.05, score_high=0.15),
    row("int8", val_score=0.911, artifact_bytes=15_000, score=0.99),
    row("prune", val_score=0.7, artifact_bytes=2_000),
    row("slow", val_score=0.95, artifact_bytes=9_000, latency_p90_us=1000.1),
    row("broken", outcome="failed", reason="broken: ValueError: no", artifact_bytes=None, val_score=None, latency_p90_us=None),
    row("none", outcome="skipped", reason="no such pass", artifact_bytes=None, val_score=None, latency_p90_us=None),
]


def tables(tasks: Sequence[str], rows: list[Row]) -> list[Table]:
    """What the leaderboard would make of these rows."""
    found = []
    for task in tasks:
        entries = []
        for one in methods(row for row in rows if row["task"] == task):
            if one.complete:
                scores, first = [row["score"] for row in one.rows], one.rows[0]
                single = len(scores) == 1 and first["score_low"] is not None
                interval = Interval(first["score_low"], first["score_high"], 1000, 0, 200, False) if single else None
                mean = None if None in scores else sum(scores) / len(scores)
                entries.append(Entry(tuple(map(dict, one.rows)), mean, interval))
        found.append(Table(task, "accuracy", 0.01, "row", (0,), 200, 200, tuple(entries), (), {}))
    return found


def grid(rows: list[Row], *tiers: DeviceTier, tasks: Sequence[str] = ("digits",)) -> list[dict[str, str]]:
    (found,) = (part for part in section(tables(tasks, rows), rows, tiers, PLAIN).parts if isinstance(part, Grid))
    return [dict(zip(found.headers, line, strict=True)) for line in found.lines]


def test_a_line_of_the_table() -> None:
    assert grid(ROWS, S) == [
        {
            "task": "digits",
            "device": "S",
            "ship this": "torch cnn reference",
            "score ↑ [95 %]": "0.10 [0.05, 0.15]",  # a bad test score changes nothing
            "verdict": "–",
            "val ↑": "0.912",
            "bytes ↓": "60,000",
            "p90 µs ↓": "35.1",
            "best of": "3",
            "runner-up": "torch cnn int8 (val 0.911)",
        }
    ]


def test_the_files_are_listed_once() -> None:
    wide = DeviceTier("L", bytes=10**6, latency_p90=0.001)
    *_, heading, files = section(tables(["digits"], ROWS), ROWS, [S, wide], PLAIN).parts
    assert heading == "The files, in the results folder; each folder is named by the hash of what it holds:"
    assert files == ("digits, torch cnn reference: artifacts/<reference>/",)


def test_a_device_that_nothing_fits() -> None:
    (line,) = grid(ROWS, TINY)
    assert line["ship this"] == "nothing fits: torch cnn prune: 2,000 bytes, more than 1,000"
    assert set(line.values()) == {"digits", "tiny", line["ship this"], "–"}
    parts = section(tables(["digits"], ROWS), ROWS, [TINY], PLAIN).parts
    assert not [part for part in parts if isinstance(part, str) and part.startswith("The files")]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([row("slow", latency_p90_us=1500.04)], "torch cnn slow: p90 1500.0 µs, more than 1000"),
        ([row("a", val_score=None)], "torch cnn a: its validation score is undefined"),
        ([row("a"), row("a", seed=1, outcome="timeout", reason="after 60 s")], "torch cnn a: timeout (after 60 s)"),
        ([row("a", outcome="failed", reason="train: no\n data", artifact_bytes=None)], "torch cnn a: failed (train: no\n data)"),
        (
            [row("big", artifact_bytes=10**6), row("vast", artifact_bytes=10**9)],
            "torch cnn big: 1,000,000 bytes, more than 65,536",
        ),
        (
            [row("a", outcome="failed", reason="no", artifact_bytes=None), ROWS[3]],
            "torch cnn slow: p90 1000.1 µs, more than 1000",
        ),
    ],
)
def test_why_nothing_fits_is_said_of_the_smallest(rows: list[Row], why: str) -> None:
    ended = any(one["outcome"] == "ok" for one in rows) and not any(one["outcome"] == "timeout" for one in rows)
    assert grid(rows, S)[0]["ship this"] == f"{'nothing fits' if ended else 'no method has ended well'}: {why}"


def test_a_task_that_was_only_skipped_has_no_answer() -> None:
    (line,) = grid([row("none", outcome="skipped", reason="no such pass")], S)
    assert line["ship this"] == "no method has ended well"


def test_every_task_and_device_has_a_line_of_its_own_rows() -> None:
    rows = [*ROWS, row("other", task="shapes", backend="jax", val_score=0.99, artifact_bytes=999)]
    lines = grid(rows, S, TINY, tasks=("shapes", "digits"))
    assert [(line["task"], line["device"], line["ship this"].partition(":")[0], line["best of"]) for line in lines] == [
        ("shapes", "S", "jax cnn other", "1"),
        ("shapes", "tiny", "jax cnn other", "1"),
        ("digits", "S", "torch cnn reference", "3"),
        ("digits", "tiny", "nothing fits", "–"),
    ]
    assert [line["runner-up"] for line in lines] == ["–", "–", "torch cnn int8 (val 0.911)", "–"]


def test_of_several_seeds_the_table_shows_means_and_what_every_file_keeps() -> None:
    first = [
        row("a", seed=seed, score=score, artifact_bytes=size, latency_p90_us=p90, val_score=val, artifact=f"{seed}")
        for seed, (score, size, p90, val) in enumerate([(0.2, 900, 10.0, 0.8), (0.4, 1000, 30.0, 0.9), (0.9, 950, 20.0, 0.7)])
    ]
    second = [row("b", seed=seed, val_score=0.6) for seed in range(3)]
    (line,) = grid([*second, *first], S)
    assert line == {
        "task": "digits",
        "device": "S",
        "ship this": "torch cnn a",
        "score ↑ [95 %]": "0.500",  # no interval: those of single rows have no mean
        "verdict": "–",
        "val ↑": "0.800",
        "bytes ↓": "1,000",
        "p90 µs ↓": "30.0",
        "best of": "2",
        "runner-up": "torch cnn b (val 0.600)",
    }
    *_, files = section(tables(["digits"], first), first, [S], PLAIN).parts
    assert files == ("digits, torch cnn a: artifacts/1/",)
    # One seed's file is too large: the method does not fit, though the file that would ship does.
    (line,) = grid([*second, {**first[0], "artifact_bytes": 70_000}, *first[1:]], S)
    assert (line["ship this"], line["best of"], line["runner-up"]) == ("torch cnn b", "1", "–")


def test_an_undefined_test_score_is_a_dash_and_no_reason_not_to_ship() -> None:
    (line,) = grid([row(score=None, score_low=None, score_high=None)], S)
    assert (line["ship this"], line["score ↑ [95 %]"], line["val ↑"]) == ("torch cnn reference", "–", "0.800")


def test_devices_are_described() -> None:
    tiers = (S, TINY, DeviceTier("any"))
    items = section(tables(["digits"], ROWS), ROWS, tiers, PLAIN).parts[1]
    assert items == ("S: at most 64 KiB, p90 at most 1 ms", "tiny: at most 1 KB", "any: no limit")


def test_recommend_names_the_file_and_what_stopped_the_smaller_ones() -> None:
    assert report(answer("digits", ROWS, S), Path("here"), {}).splitlines() == [
        "digits, at most 64 KiB, p90 at most 1 ms: torch cnn reference",
        "  file       here/artifacts/<reference>/ (60,000 bytes)",
        "  chosen     by validation accuracy 0.9120, the best of 3 that fit",
        "  score      0.100 [0.050, 0.150] on test rows, not looked at for the choice",
        "  latency    p50 30.0 µs, p90 35.1 µs for one input, on Some CPU, onnxruntime, 1 thread(s)",
        "  runner-up  torch cnn int8, validation 0.9110",
        "  smaller, and not chosen:",
        "    torch cnn prune: validation 0.7000, not better than 0.9120",
        "    torch cnn slow: p90 1000.1 µs, more than 1000",
        "    torch cnn int8: validation 0.9110, not better than 0.9120",
        "    torch cnn broken: failed (broken: ValueError: no)",
    ]


def test_recommend_where_nothing_fits() -> None:
    lines = report(answer("digits", ROWS[:2], TINY), Path("here"), {}).splitlines()
    assert lines == [
        "digits, at most 1 KB: nothing fits",
        "  what stands against each:",
        "    torch cnn int8: 15,000 bytes, more than 1,000",
        "    torch cnn reference: 60,000 bytes, more than 1,000",
    ]


@pytest.mark.parametrize("seeds", [(0.9, 0.8), (0.8, 0.9)])
def test_of_several_seeds_the_best_on_validation_ships(seeds: tuple[float, float]) -> None:
    rows = [row("a", seed=seed, val_score=value, artifact=f"seed{seed}") for seed, value in enumerate(seeds)]
    text = report(answer("digits", rows, S), Path("here"), {})
    assert f"artifacts/seed{seeds.index(0.9)}/" in text
    assert "by validation accuracy 0.8500, mean of 2 seeds and folds, the best of 1 that fit" in text
    assert "  score      0.500 on test rows" in text
    assert "runner-up  none fits" in text


def test_runtimes_are_named_where_there_are_several() -> None:
    rows = [row("a", val_score=0.9), row("a", val_score=0.8, runtime="other")]
    (line,) = grid(rows, S)
    assert (line["ship this"], line["runner-up"]) == ("torch cnn a on onnxruntime", "torch cnn a on other (val 0.800)")
    text = report(answer("digits", rows, S), Path("here"), {})
    assert "runner-up  torch cnn a on other, validation 0.8000" in text


def test_the_file_of_one_seed_has_its_own_scores_beside_it() -> None:
    rows = [row("a", seed=0, val_score=1.0, score=1.0), row("a", seed=1, val_score=0.5, score=0.4)]
    lines = report(answer("digits", rows, S), Path("here"), {}).splitlines()
    assert lines[2] == "             of seed 0, fold 0: validation 1.0000, test 1.0000"
    assert lines[4].startswith("  score      0.700 on test rows")


def test_the_verdict_and_a_tie_with_the_runner_up_are_said() -> None:
    worse = Difference(-0.03, -0.05, -0.02, "inferior")
    for ranks, tied in (((1, 1), ", of one rank"), ((1, 2), ""), ((None, None), "")):
        (found,) = tables(["digits"], ROWS)
        best, second = (replace(one, rank=rank, reference=worse) for one, rank in zip(found.entries[:2], ranks, strict=True))
        parts = section([replace(found, entries=(best, second, *found.entries[2:]))], ROWS, [S], PLAIN).parts
        (line,) = next(part for part in parts if isinstance(part, Grid)).lines
        assert (line[4], line[-1]) == ("inferior", f"torch cnn int8 (val 0.911{tied})")


def test_a_method_that_no_trivial_predictor_loses_to_says_so() -> None:
    rows = [
        row("a", score=0.5, reason="all 9 test rows get good"),
        row("a", seed=1, score=0.7, reason="all 9 test rows get good"),
    ]
    beaten = ["no better than the task's baseline trivial: test accuracy 0.600, not above 0.600", "all 9 test rows get good"]
    one = answer("digits", rows, S)
    assert one.best is not None
    assert remarks(one.best, {"constant": 0.4, "trivial": 0.6}) == beaten
    assert remarks(one.best, {"constant": 0.59}) == beaten[1:]
    assert remarks(answer("digits", ROWS, S).best or one.best, {}) == []
    assert [line for line in report(one, Path("here"), {"trivial": 0.6}).splitlines() if "note" in line] == [
        f"  note       {text}" for text in beaten
    ]
    (table,) = tables(["digits"], rows)
    weak = dataclasses.replace(table, baselines={"trivial": 0.6})
    parts = section([weak], rows, [S, DeviceTier("any")], PLAIN).parts
    assert parts[parts.index("To be noted:") + 1] == tuple(f"digits (S, any), torch cnn a: {text}" for text in beaten)
    assert "To be noted:" not in section(tables(["digits"], ROWS), ROWS, [S], PLAIN).parts


def test_whatever_a_device_may_tell_has_a_name_for_people() -> None:
    assert set(ON_DEVICE) == set(DEVICE_COUNTS)
