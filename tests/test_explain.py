"""Why a cell would run again: the ingredient that changed is named, and nothing else is blamed."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.explain import changes

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Reasons = dict[str, list[str]]
Explain = Callable[[str], Reasons]
CELL = "keep-largest(share=0.3)"
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
passes = ["keep-more"]
[[recipe]]
passes = ["prune-structured"]
"""
ARGUMENTS = ("--suite", "suite.toml", "--results", "results")
STRANGER = """
from pocketbench_linear import KeepLargest
from benchmark import CompressorSpec, Param, hookimpl


@hookimpl
def benchmark_compressors():
    spec = CompressorSpec(name="keep-more", target="pocketbench_more:More", summary="As keep-largest.", stage="model",
                          backend="linear", params=(Param("share", 0.5),), requires={"numpy": "numpy"})
    return [spec]


class More(KeepLargest):
    pass
"""
GONE = ["it ended well, but what it or a step before it made is not there any more, or has been changed"]
NEVER = ["it has never ended before"]
REFERENCE_STEPS = ["train", "export to onnx", "inspect the artifact", "evaluate on onnxruntime"]
PASS_STEPS = ["export to onnx", "inspect the artifact", "evaluate on onnxruntime"]
PASS_STEPS += ["latency on onnxruntime, process 0", "memory on onnxruntime"]
"""What follows a pass."""


def steps_of(recipe: str) -> set[str]:
    """All steps of a recipe of one pass but preparing and the runtime's own."""
    of_pass = [recipe.partition("(")[0], *PASS_STEPS]
    return {f"reference: {step}" for step in REFERENCE_STEPS} | {f"{recipe}: {step}" for step in of_pass}


def test_changes_are_named_by_their_path() -> None:
    old, new = {"lr": 0.1, "old": True, "deep": {"x": 1, "y": 2}}, {"lr": 0.2, "deep": {"x": 1, "y": 3}}
    before = {"a": 1, "same": [1], "params": old, "code": "0" * 64, "kind": {"b": 1}}
    now = {"a": 2, "same": [1], "params": new, "code": "1" * 64, "new": "x", "kind": "none"}
    assert list(changes(before, now)) == [
        "a: 1 -> 2",
        f"code: {'0' * 16}... -> {'1' * 16}...",
        "kind: {'b': 1} -> none",
        "new: nothing -> x",
        "params.deep.y: 2 -> 3",
        "params.lr: 0.1 -> 0.2",
        "params.old: True -> nothing",
    ]
    assert list(changes(before, before)) == []
    assert list(changes({"x": "a" * 63}, {"x": "b" * 64})) == [f"x: {'a' * 63} -> {'b' * 16}..."]


@pytest.fixture
def path(tmp_path: Path, site: Callable[..., Path]) -> Path:
    """The stranger's back end, and a second package with a pass for it."""
    folder = site("linear")
    (folder / "pocketbench_more.py").write_text(STRANGER, encoding="utf-8")
    info = folder / "pocketbench_more-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pocketbench-more\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[benchmark]\nmore = pocketbench_more\n", encoding="utf-8")
    (tmp_path / "suite.toml").write_text(SUITE, encoding="utf-8")
    return folder


@pytest.fixture
def explain(command: Command, path: Path) -> Explain:
    """What ``explain`` says of a cell: for each step that would run the reasons."""

    def of(cell: str) -> Reasons:
        run = command("explain", cell, *ARGUMENTS, path=[path])
        assert (run.returncode, run.stderr) == (0, "")
        name, *lines = run.stdout.splitlines()
        assert name == f"german-credit · fold 0 · linear · ridge · {cell} · onnxruntime · seed 0"
        reasons: Reasons = {}
        said: list[str] = []
        for line in lines:
            if step := re.fullmatch(r"  (?:run  |reuse) [0-9a-f]{16} (.*)", line):
                said = []
                if line.startswith("  run "):
                    reasons[step[1].rpartition(" · ")[2]] = said
            else:
                said.append(line.strip())
        return reasons

    return of


@pytest.fixture
def results(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, command: Command, path: Path) -> Path:
    """The results of a run of the suite: run once, and copied for each test."""
    kept, mine = tmp_path_factory.getbasetemp() / "explained", tmp_path / "results"
    if not kept.exists():
        run = command(*ARGUMENTS, path=[path])
        assert run.returncode == 0, run.stderr
        mine.rename(kept)
    shutil.copytree(kept, mine)
    return mine


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def folder_of(kind: str, results: Path) -> Path:
    connection = sqlite3.connect(results / "store.sqlite")
    try:
        ((id_,),) = connection.execute("SELECT id FROM steps WHERE kind = ?", (kind,)).fetchall()
    finally:
        connection.close()
    return results / "steps" / str(id_)


def test_after_a_run_everything_is_reused(results: Path, path: Path, command: Command) -> None:
    _, line = command("explain", CELL, *ARGUMENTS, path=[path]).stdout.splitlines()
    # Preparing, its own steps and the reference's, the runtime's identity model and that one's memory.
    assert line == f"  reuse all its {1 + len(steps_of(CELL)) + 2} steps"
    every = command("explain", "german-credit", *ARGUMENTS, path=[path]).stdout
    assert every.endswith("prune-structured · onnxruntime · seed 0\n  skipped: no such pass for linear: prune-structured\n")
    assert "  run " not in every


def test_another_tier_reruns_nothing(
    results: Path, explain: Explain, path: Path, tmp_path: Path, command: Command, rows: Callable[[Path], list[dict[str, str]]]
) -> None:
    assert [row["tiers"] for row in rows(results)] == ['["S"]'] * 3 + [""]
    edit(tmp_path / "suite.toml", "64 KiB", "100 B")
    assert explain(CELL) == {}
    run = command(*ARGUMENTS, path=[path])
    assert "\n0 steps run. " in run.stdout
    assert [row["tiers"] for row in rows(results)] == ["[]"] * 3 + [""]


def test_a_parameter_that_changed(results: Path, explain: Explain, tmp_path: Path) -> None:
    edit(tmp_path / "suite.toml", "share=0.3", "share=0.4")
    # A recipe with another parameter is another recipe, which has not been seen; the reference is as it was.
    changed = "keep-largest(share=0.4)"
    assert explain(changed) == {step: NEVER for step in steps_of(changed) if step.startswith(changed)}
    edit(tmp_path / "suite.toml", "share=0.4", "share=0.3")
    with (tmp_path / "suite.toml").open("a", encoding="utf-8") as file:
        file.write("[train]\nl2 = 2.0\n")
    reasons = explain(CELL)
    assert reasons["reference: train"] == ["params.l2: 1.0 -> 2.0", "training.l2: 1.0 -> 2.0"]
    assert set(reasons) == steps_of(CELL)
    assert [line.partition(":")[0] for line in reasons[f"{CELL}: inspect the artifact"]] == ["artifact"]


def test_one_line_of_a_pass(results: Path, explain: Explain, path: Path, command: Command) -> None:
    edit(path / "pocketbench_more.py", "    pass", "    pass  # edited")
    assert explain(CELL) == {}
    reasons = explain("keep-more")
    named = {step.removeprefix("keep-more: "): [line.partition(":")[0] for line in said] for step, said in reasons.items()}
    assert named == {
        "keep-more": ["code"],
        "export to onnx": ["inputs.input"],
        "inspect the artifact": ["artifact"],
        "evaluate on onnxruntime": ["inputs.artifact"],
        "latency on onnxruntime, process 0": ["inputs.artifact"],
        "memory on onnxruntime": ["inputs.artifact"],
    }
    run = command(*ARGUMENTS, path=[path])
    assert f"\n{len(named)} steps run. " in run.stdout  # exactly its own step and those after it
    assert explain("keep-more") == {}


def test_a_product_that_is_gone(results: Path, explain: Explain) -> None:
    shutil.rmtree(folder_of("train", results))
    assert explain(CELL) == dict.fromkeys(steps_of(CELL), GONE)


def test_before_the_data_is_prepared_nothing_else_is_known(results: Path, explain: Explain) -> None:
    shutil.rmtree(folder_of("prepare", results))
    rest = "its other steps: their ids follow from the data, and are unknown until it is prepared"
    assert explain(CELL) == {"fold 0: prepare": [*GONE, rest]}
    shutil.rmtree(results)
    assert explain(CELL) == {"fold 0: prepare": [*NEVER, rest]}
    assert not results.exists()


def test_a_failure_is_told(results: Path, explain: Explain, path: Path, command: Command) -> None:
    edit(path / "pocketbench_more.py", "    pass", "    compress = None")
    assert command(*ARGUMENTS, path=[path]).returncode == 0
    reasons = explain("keep-more")
    assert reasons["keep-more: keep-more"] == ["last time: failed (TypeError: 'NoneType' object is not callable)"]
    # What comes after it is compared with when it last ended.
    assert [line.partition(":")[0] for line in reasons["keep-more: export to onnx"]] == ["inputs.input"]


def test_what_follows_a_pass_that_does_not_apply_is_not_announced(results: Path, path: Path, command: Command) -> None:
    no = "    def compress(self, context):\n        from benchmark import NotApplicable\n        raise NotApplicable('too plain')"
    edit(path / "pocketbench_more.py", "    pass", no)
    assert command(*ARGUMENTS, path=[path]).returncode == 0
    *_, step, why = command("explain", "keep-more", *ARGUMENTS, path=[path]).stdout.splitlines()
    assert re.fullmatch(r"  reuse [0-9a-f]{16} .* keep-more: keep-more", step)
    assert why == "          last time: skipped (too plain); what follows it is not run"


def test_no_such_cell_is_one_line(command: Command) -> None:
    run = command("explain", "nothing like it", "--suite", "smoke")
    line = "error: no cell of suite smoke has 'nothing like it' in its name; --dry-run prints them all, --suite takes another\n"
    assert (run.returncode, run.stdout, run.stderr) == (2, "", line)
