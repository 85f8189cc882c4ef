"""Rows as CSV and JSON: every name and every bit of a number survives, and nothing is written that a strict reader refuses."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.leaderboard import COLUMNS, Difference, Entry, Row, Table
from benchmark.plan import Cell
from benchmark.render.child import FILES
from benchmark.render.tabular import methods_to_csv, methods_to_json, to_csv, to_json
from benchmark.statistics import Interval
from benchmark.store import open_store

NAMES = ["none", "None", "NA", "null", "nan", "NaN", "007", "1e5", "", "true", "-inf", "#N/A"]
ODD = ["naïve ✓", "剪枝 8 ビット", "a,b;c\td", 'say "x"', "line 1\nline 2", "line 1\r\nline 2", "'", "=1+1", " padded ", "a\\b|c"]


def row(**values: Any) -> Row:
    return {**dict.fromkeys(COLUMNS), **values}


def from_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def from_json(text: str) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    rows: list[dict[str, Any]] = json.loads(text, parse_constant=refuse)
    return rows


@pytest.mark.parametrize("names", [NAMES, ODD])
def test_names_come_back_as_they_were(names: list[str]) -> None:
    rows = [row(recipe=name, reason=name) for name in names]
    assert [(one["recipe"], one["reason"]) for one in from_csv(to_csv(rows))] == [(name, name) for name in names]
    assert [one["recipe"] for one in from_json(to_json(rows))] == names


def test_names_come_back_through_pandas() -> None:  # case L-02
    pandas = pytest.importorskip("pandas")
    rows = [row(recipe=name, score=0.5 + i / 3) for i, name in enumerate(NAMES)]
    frame = pandas.read_csv(io.StringIO(to_csv(rows), newline=""), keep_default_na=False, dtype={"recipe": str})
    assert frame["recipe"].tolist() == NAMES
    assert frame["score"].tolist() == [one["score"] for one in rows]
    assert frame.groupby("recipe").size().to_dict() == dict.fromkeys(NAMES, 1)  # no baseline vanishes


# Python's csv module does not quote a lone carriage return; no name or reason holds one, as they are made of one line.
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\r")), st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_and_number_come_back(text: str, number: float) -> None:
    rows = [row(recipe=text, score=number), row(recipe="after")]
    first, second = from_csv(to_csv(rows))
    assert (first["recipe"], float(first["score"]), second["recipe"]) == (text, number, "after")
    assert from_json(to_json(rows)) == rows


def test_header_and_keys_are_the_columns_in_order() -> None:
    assert to_csv([]) == ",".join(COLUMNS) + "\n"
    assert from_json(to_json([])) == []
    assert list(from_csv(to_csv([row()]))[0]) == list(COLUMNS)
    assert list(from_json(to_json([row()]))[0]) == list(COLUMNS)


def test_one_line_a_row() -> None:
    rows = [row(recipe="a"), row(recipe="b")]
    assert len(to_csv(rows).splitlines()) == 3
    assert to_json(rows).splitlines()[1:3] == [json.dumps(rows[0]) + ",", json.dumps(rows[1])]


def test_numbers_are_not_rounded_and_undefined_is_empty() -> None:
    values = {
        "score": 0.1 + 0.2,
        "macs": 123_456_789_012,
        "noisy": False,
        "tiers": ["S", "M"],
        "metrics": {"accuracy": 1 / 3, "roc_auc": None},
        "latency_ratio": None,
        "size_ratio": 1e-7,
    }
    (text,) = from_csv(to_csv([row(**values)]))
    assert {name: text[name] for name in values} == {
        "score": "0.30000000000000004",
        "macs": "123456789012",
        "noisy": "false",
        "tiers": '["S", "M"]',
        "metrics": '{"accuracy": 0.3333333333333333, "roc_auc": null}',
        "latency_ratio": "",
        "size_ratio": "1e-07",
    }
    (parsed,) = from_json(to_json([row(**values)]))
    assert {name: parsed[name] for name in values} == values


BAD = [math.nan, math.inf, -math.inf, np.float32("nan"), np.float64("inf"), {"accuracy": math.nan}, [1.0, math.inf]]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("column", ["score", "floor_us"])
@pytest.mark.parametrize("write", [to_csv, to_json])
def test_what_strict_readers_refuse_is_never_written(column: str, value: object, write: Callable[[list[Row]], str]) -> None:
    # Case L-07
    with pytest.raises(ValueError, match=f"^column {column}: .* is or holds NaN or infinity, which strict JSON does not have$"):
        write([row(score=0.5), row(**{column: value})])


def test_numpy_scalars_are_numbers() -> None:
    values = {
        "score": np.float32(0.5),
        "flips": np.float64(0.1),
        "macs": np.int64(2**40),
        "noisy": np.bool_(True),
        "metrics": {"accuracy": np.float32(0.25)},
    }
    plain = {"score": 0.5, "flips": 0.1, "macs": 2**40, "noisy": True, "metrics": {"accuracy": 0.25}}
    assert to_csv([row(**values)]) == to_csv([row(**plain)])
    assert to_json([row(**values)]) == to_json([row(**plain)])
    assert "0.5,,,,0.1" in to_csv([row(**values)])


def test_what_is_no_json_is_refused_not_written_as_text() -> None:
    for write in (to_csv, to_json):
        with pytest.raises(TypeError, match="ndarray is no JSON"):
            write([row(score=np.ones(2))])


CELL = Cell(
    suite="überblick-近",
    task="crédit-信用",
    modality="tabular",
    metrics=("accuracy",),
    margin=0.02,
    unit="row",
    fold=0,
    backend="torch",
    architecture="mlp",
    recipe='prune(mode="né|é")',
    runtime="onnxruntime",
    seed=0,
    output="logits",
    skipped="pas de passe « é » — 無",
)
SUITE = {
    "name": "s",
    "seeds": [0],
    "build": {"cores": 1, "memory": 1024**3, "seconds": 60.0},
    "measure": {"processes": 1, "rounds": 1, "calls": 10},
    "tiers": [],
}
LOCALES = {
    "C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "latin": {"LC_ALL": "en_US.ISO-8859-1", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252"},
}


@pytest.mark.parametrize("locale", LOCALES)
def test_files_are_utf8_whatever_the_locale(tmp_path: Path, locale: str) -> None:  # case L-08
    store = open_store(tmp_path / "store.sqlite")
    store.replace_grid(SUITE, [dataclasses.asdict(CELL)])
    store.close()
    subprocess.run(
        [sys.executable, "-m", "benchmark.render", str(tmp_path)], env={**os.environ, **LOCALES[locale]}, check=True, cwd=tmp_path
    )
    (from_text,) = from_csv((tmp_path / "rows.csv").read_bytes().decode("utf-8"))
    (parsed,) = from_json((tmp_path / "rows.json").read_bytes().decode("utf-8"))
    for name in ("suite", "task", "recipe"):
        assert from_text[name] == parsed[name] == getattr(CELL, name)
    assert (parsed["outcome"], parsed["reason"]) == ("skipped", CELL.skipped)
    markdown = (tmp_path / "leaderboard.md").read_bytes().decode("utf-8")
    assert "## crédit-信用" in markdown
    assert "- torch: 1 skipped (pas de passe « é » — 無)" in markdown
    latex = (tmp_path / "leaderboard.tex").read_bytes().decode("utf-8")
    assert "crédit-信用" in latex
    assert {path.name for path in tmp_path.iterdir()} >= {*FILES, "store.sqlite"}
    assert not list(tmp_path.glob("*.part"))


def tables(names: list[str]) -> list[Table]:
    """Two tasks with these methods."""
    found = []
    for task in names[:2]:
        entries = [
            Entry((row(task=task, recipe="reference", backend="b", tiers=[], runtime="r", architecture="a"),), 0.9, rank=1)
        ]
        for i, name in enumerate(names):
            full = row(
                task=task, recipe=name, backend="b", architecture="a", runtime="r", seed=i, fold=0, tiers=[name], noisy=False
            )
            full |= {"val_score": 1 / 3, "artifact_bytes": 100 + i, "flips": 0.1, "control": None, "latency_p90_us": math.pi}
            interval, worse = Interval(0.1, 0.7, 2000, 0, 50, False), Difference(-0.1, -0.2, -1 / 7, "inferior")
            entries.append(Entry((full,), 1 / 7, interval, rank=2, reference=worse, fronts=("bytes",)))
        found.append(Table(task, "accuracy", 0.01, "row", (0,), 50, 50, tuple(entries), (), {"constant": 0.1}))
    return found


@pytest.mark.parametrize("names", [NAMES, ODD])
def test_methods_come_back_as_they_were(names: list[str]) -> None:
    made = tables(names)
    lines = from_csv(methods_to_csv(made))
    assert [(one["task"], one["recipe"]) for one in lines] == [
        (task, name) for task in names[:2] for name in ("reference", *names)
    ]
    document = json.loads(methods_to_json(made), parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert [one["task"] for one in document["tasks"]] == names[:2]
    methods = [one for task in document["tasks"] for one in task["methods"]]
    assert [one["recipe"] for one in methods] == [one["recipe"] for one in lines]
    expected = {
        "rank": 2,
        "score": 1 / 7,
        "score_low": 0.1,
        "reference_difference_high": -1 / 7,
        "reference_verdict": "inferior",
        "control_difference": None,
        "latency_p90_us": math.pi,
        "fronts": ["bytes"],
        "tiers": [names[0]],
    }
    assert {key: methods[1][key] for key in expected} == expected
    assert lines[1]["latency_p90_us"] == repr(math.pi)
    assert lines[1]["control_difference"] == ""
    assert document["overall"][0]["recipe"] == "reference"
    assert document["overall"][0]["against"][0]["wins_ties_losses"] == [2, 0, 0]
