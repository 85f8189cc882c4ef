"""What a job tells, read as a stranger's word: the worker's own texts, and everything else that may stand there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.step_report import FILE, read_report

EVALUATED = {"repeatable": True, "batch_rows": 200, "batch_label_changes": 0}
TIMED = {
    **{f"{role}_{name}": 5 for role in ("artifact", "floor") for name in ("load_ns", "first_call_ns", "warm_up_calls")},
    "disturbances": {"seconds": 0.5},
}


def told(**changes: Any) -> dict[str, Any]:
    observed = {"seconds": 1.5, "memory": 1000, "cores": 1}
    return {"outcome": "ok", "reason": "", "facts": {}, "observed": observed, "how": {"memory": "watchdog"}, **changes}


def write(folder: Path, text: str) -> None:
    (folder / FILE).write_text(text, encoding="utf-8")


PREPARED = {"fingerprint": "f", "input_shape": [1, 28, 28], "classes": ["a", "b"], "notes": ["one"], "rows": 640}


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("train", {"updates": 30, "stopped_by": "early", "compile_seconds": 0.5}),
        ("pass", {"matched": 3, "changed": 0, "claims": {"sparsity": 0.5, "note": "fine", "done": True, "bits": None}}),
        ("export", {}),
        ("evaluate", EVALUATED),
        ("evaluate", {**EVALUATED, "device": {"flash_bytes": 10, "label_agreement": 0.5, "flags": "-O2"}}),
        ("latency", TIMED),
        ("memory", {"rss_bytes": 50_000_000}),
        ("memory", {}),
        ("inspect", {"bytes": 10, "dtypes": {"float32": 10}, "macs": None}),
        ("prepare", PREPARED),
        ("split", PREPARED),
    ],
)
def test_what_a_worker_tells_is_kept(tmp_path: Path, kind: str, facts: dict[str, Any]) -> None:
    write(tmp_path, json.dumps(told(facts=facts)))
    found = read_report(tmp_path, kind)
    assert found is not None
    assert (found.outcome, found.reason, found.facts) == ("ok", "", facts)
    assert (found.observed, found.how) == ({"seconds": 1.5, "memory": 1000, "cores": 1}, {"memory": "watchdog"})
    assert found.ended == (tmp_path / FILE).stat().st_mtime


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("train", {"facts": {"updates": "many"}}, "updates cannot be 'many'"),
        ("evaluate", {"facts": {**EVALUATED, "device": ["-O2"]}}, "device cannot be ['-O2']"),
        ("evaluate", {"facts": {**EVALUATED, "device": {"ram_bytes": 1.5}}}, "device cannot be {'ram_bytes': 1.5}"),
        ("evaluate", {"facts": {**EVALUATED, "device": {"label_agreement": 2}}}, "device cannot be {'label_agreement': 2}"),
        ("evaluate", {"facts": {**EVALUATED, "device": {"flags": 2}}}, "device cannot be {'flags': 2}"),
        ("train", {"facts": {"updates": -1}}, "updates cannot be -1"),
        ("train", {"facts": {"updates": True}}, "updates cannot be True"),
        ("train", {"facts": {"stopped_by": "never"}}, "stopped_by cannot be 'never'"),
        ("pass", {"facts": {"changed": 1, "claims": {}}}, "matched is missing"),
        ("pass", {"facts": {"matched": 1, "changed": 1, "claims": {"a": [1]}}}, "claims cannot be {'a': [1]}"),
        ("evaluate", {"facts": {}}, "batch_label_changes is missing"),
        ("latency", {"facts": {**TIMED, "disturbances": {"seconds": "long"}}}, "disturbances cannot be {'seconds': 'long'}"),
        ("latency", {"facts": {**TIMED, "floor_load_ns": 0.5}}, "floor_load_ns cannot be 0.5"),
        ("memory", {"facts": {"rss_bytes": None}}, "rss_bytes cannot be None"),
        ("train", {"outcome": "best"}, "there is no outcome 'best'"),
        ("train", {"observed": {"seconds": 1.0, "cores": "many"}}, "observed values must be numbers"),
        ("train", {"observed": {}}, "'seconds'"),
        ("train", {"facts": {"claims": {"a": {"b": {"c": {"d": {"e": {}}}}}}}}, "it is nested too deeply"),
    ],
)
def test_what_cannot_be_right_is_invalid(tmp_path: Path, kind: str, changes: dict[str, Any], reason: str) -> None:
    write(tmp_path, json.dumps(told(**changes)))
    found = read_report(tmp_path, kind)
    assert found is not None
    assert (found.outcome, found.reason, found.facts) == (
        "invalid",
        f"it left a report that no step of its kind leaves: {reason}",
        {},
    )


def test_facts_that_a_step_of_this_kind_does_not_have_are_dropped(tmp_path: Path) -> None:
    write(tmp_path, json.dumps(told(facts={"updates": 3, "artifact": "../steps", "scores": 1, "bytes": 1})))
    found = read_report(tmp_path, "train")
    assert found is not None
    assert found.facts == {"updates": 3}


def test_a_failed_step_has_no_facts_and_its_reason_is_one_line(tmp_path: Path) -> None:
    write(tmp_path, json.dumps(told(outcome="failed", reason="a\n| b | \x1b[31m \ud800", facts={"updates": "x"})))
    found = read_report(tmp_path, "train")
    assert found is not None
    assert (found.outcome, found.reason, found.facts) == ("failed", "a | b | ?[31m \ufffd", {})


def test_nothing_is_told_where_there_is_no_file(tmp_path: Path) -> None:
    assert read_report(tmp_path, "train") is None
    os.mkfifo(tmp_path / FILE)
    assert read_report(tmp_path, "train") is None  # and it does not wait
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).symlink_to("/etc/hostname")
    assert read_report(tmp_path, "train") is None
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    assert read_report(tmp_path, "train") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(categories=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(categories=None)), inner, max_size=3),
    max_leaves=20,
)
KINDS = st.sampled_from(["prepare", "train", "pass", "export", "identity", "inspect", "evaluate", "latency", "memory"])


@given(KINDS, st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_nothing_that_may_stand_there_ends_the_host(tmp_path_factory: pytest.TempPathFactory, kind: str, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("told")
    (folder / FILE).write_bytes(content)
    found = read_report(folder, kind)
    assert found is not None
    assert found.outcome == "invalid"


@given(
    KINDS, st.dictionaries(st.sampled_from([*EVALUATED, *TIMED, "updates", "matched", "changed", "claims", "rss_bytes"]), JSON)
)
def test_what_is_accepted_can_be_written(tmp_path_factory: pytest.TempPathFactory, kind: str, facts: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("told")
    (folder / FILE).write_text(json.dumps(told(facts=facts)), encoding="utf-8")
    found = read_report(folder, kind)
    assert found is not None
    json.dumps([found.reason, found.facts], allow_nan=False, ensure_ascii=False).encode()
    assert found.facts.keys() <= facts.keys()
