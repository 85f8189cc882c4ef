"""Whole searches in real processes, with strangers' fast plugins: what they try, how they end, and what they may not see."""

from __future__ import annotations

import csv
import html
import itertools
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmark import Proposal, runner
from benchmark.folders import Layout
from benchmark.limits import sandbox
from benchmark.plan import plan_preparation
from benchmark.registry import Registry, discover
from benchmark.search import Log, best, chosen, found, history, keeps_up, rounded
from benchmark.search_plan import Searches, plan
from benchmark.space import Space
from benchmark.store import StepResult, open_store
from benchmark.suite import load
from benchmark.worker import _code

HERE = Path(__file__).parent / "plugins_under_test"
FILES = [HERE / "linear" / "pocketbench_linear.py", HERE / "seeker" / "pocketbench_seeker.py"]
Rows = Callable[[Path], list[dict[str, str]]]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def suite_file(
    folder: Path, searchers: str, *, seconds: float = 15, limit: str = "4 KiB", recipes: str = "", folds: int = 1
) -> Path:
    path = folder / "searched.toml"
    path.write_text(
        f"""
[suite]
name = "searched"
tasks = ["german-credit"]
backends = ["linear"]
[search]
searchers = [{searchers}]
seconds = [{seconds}]
passes = ["keep-largest", "round-weights"]
folds = {folds}
[budget.build]
seconds = 30
[[budget.device]]
name = "tiny"
bytes = "{limit}"
[measure]
processes = 1
rounds = 1
calls = 50
{recipes}
""",
        encoding="utf-8",
    )
    return path


def with_plugins(path: Path, results: Path, *more: str) -> list[str]:
    plugins = [part for file in FILES for part in ("--plugin", str(file))]
    return ["--suite", str(path), "--results", str(results), *plugins, *more]


def logs(results: Path) -> dict[str, Log]:
    """Searcher's call -> the log of its search."""
    with sqlite3.connect(results / "store.sqlite") as connection:
        found = connection.execute("SELECT label, facts FROM steps WHERE kind = 'search' AND outcome = 'ok'").fetchall()
    return {label.split(" · ")[4]: Log.from_json(json.loads(facts)["log"]) for label, facts in found}


def planned(path: Path, results: Path) -> tuple[Registry, Searches]:
    """The searches as the run in ``results`` planned them."""
    suite, registry = load(str(path)), discover(FILES)
    preparation = plan_preparation(suite, registry)
    known = runner.prepared_folds(preparation, runner.look_up(Layout(results), preparation.values()))
    return registry, plan(suite, registry, known, runner.machine())


share_a_run = pytest.mark.xdist_group("searching")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite and its finished run: three searchers of equal total."""
    folder = tmp_path_factory.mktemp("searched")
    recipes = '[[recipe]]\npasses = ["round-weights(decimals=1)"]\n[[recipe]]\npasses = ["keep-largest(share=0.1)"]\n'
    path = suite_file(folder, '"defaults", "random", "climb"', recipes=recipes)
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", *with_plugins(path, folder / "results")],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout, encoding="utf-8")
    return folder


@share_a_run
def test_each_search_is_a_row_measured_like_any_other(run: Path, rows: Rows) -> None:
    searched = {row["recipe"].partition("(")[0]: row for row in rows(run / "results") if row["architecture"] == "searched"}
    assert set(searched) == {"defaults", "random", "climb"}
    for name, row in searched.items():
        (log,) = (one for call, one in logs(run / "results").items() if call.startswith(name))
        best = found(log, load(str(run / "searched.toml")).tiers[0]).best
        assert best is not None
        assert (row["outcome"], row["recipe"]) == ("ok", f'{name}(seconds=15, tier="tiny")')
        assert int(row["n_proposals"]) == len(log.entries)
        assert float(row["search_seconds"]) == float(row["total_build_seconds"]) == log.spent
        assert row["artifact"] == best.artifact
        assert float(row["val_score"]) == best.score
        assert int(row["artifact_bytes"]) == best.measured["artifact_bytes"] <= 4096
        assert row["chosen"].startswith("ridge · ")
        assert float(row["latency_p90_us"]) > 0
    assert searched["defaults"]["n_proposals"] == "3"
    assert int(searched["random"]["n_proposals"]) > 3


@share_a_run
def test_every_proposal_can_be_read(run: Path) -> None:
    with (run / "results" / "searches.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    for call, log in logs(run / "results").items():
        mine = [line for line in lines if line["recipe"] == call]
        assert [json.loads(line["proposal"]) for line in mine] == [entry.proposal.to_json() for entry in log.entries]
        assert [line["search_score"] for line in mine] == ["" if one.score is None else repr(one.score) for one in log.entries]
        assert [(int(line["number"]), line["outcome"]) for line in mine] == [
            (number, entry.outcome) for number, entry in enumerate(log.entries, 1)
        ]
        (page,) = (run / "results" / "report" / "cells").glob(f"*-{call.partition('(')[0]}-*.html")
        text = html.unescape(page.read_text(encoding="utf-8"))
        listed = text.partition("<h2>What the search tried</h2>")[2].partition("</table>")[0]
        models = re.findall(r'<td class="r">\d+</td><td class="wrap">([^<]*)</td>', listed)
        assert models == [chosen(rounded(entry.proposal)) for entry in log.entries]
        assert listed.count(">chosen<") == 1


@share_a_run
def test_who_ships_a_searched_model_is_told_what_it_is(run: Path, command: Command, rows: Rows, tmp_path: Path) -> None:
    best = max((row for row in rows(run / "results") if row["outcome"] == "ok"), key=lambda row: float(row["val_score"]))
    told = command("recommend", "--task", "german-credit", "--results", str(run / "results")).stdout
    if best["chosen"]:
        assert f"  model      {best['chosen']}" in told
    done = command("export", "--task", "german-credit", "--results", str(run / "results"), str(tmp_path / "model"))
    assert done.returncode == 0, done.stderr
    assert best["artifact"] in told
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert ("what that search found" in card) == ("searched" in told.splitlines()[0])


@share_a_run
def test_explain_names_only_what_changed(run: Path, command: Command, tmp_path: Path) -> None:
    changed = tmp_path / "searched.toml"
    changed.write_text((run / "searched.toml").read_text(encoding="utf-8").replace("decimals=1", "decimals=3"), encoding="utf-8")
    told = command("explain", "climb", *with_plugins(changed, run / "results")).stdout
    lines = [line.strip() for line in told.splitlines() if "space." in line]
    assert len(lines) == 1
    assert lines[0].startswith("space.starts: ")


@share_a_run
def test_every_searcher_begins_with_the_recipes_of_the_suite(run: Path) -> None:
    starts = [
        Proposal("ridge"),
        Proposal("ridge", (("round-weights", {"decimals": 1}),)),
        Proposal("ridge", (("keep-largest", {"share": 0.1}),)),
    ]
    for log in logs(run / "results").values():
        assert [entry.proposal for entry in log.entries[:3]] == starts


@share_a_run
def test_no_search_is_worse_on_validation_than_the_recipes_it_began_with(run: Path, rows: Rows) -> None:
    everything = [row for row in rows(run / "results") if row["outcome"] == "ok"]
    best = max(float(row["val_score"]) for row in everything if row["architecture"] != "searched")
    assert all(float(row["val_score"]) >= best for row in everything if row["architecture"] == "searched")


@share_a_run
def test_a_strangers_pass_and_searcher_take_part_by_what_they_declare(run: Path) -> None:
    for log in (log for call, log in logs(run / "results").items() if not call.startswith("defaults")):
        drawn = [dict(given) for entry in log.entries[3:] for name, given in entry.proposal.passes if name == "round-weights"]
        assert drawn
        assert all(set(given) == {"decimals"} and given["decimals"] in range(7) for given in drawn)
    source = (HERE / "seeker" / "pocketbench_seeker.py").read_text(encoding="utf-8")
    body = source.partition("class Climb:")[2].partition("\n\n\nclass")[0]
    assert len(body.splitlines()) <= 30


@share_a_run
def test_the_log_is_replayed_proposal_by_proposal_and_the_winner_made_again(run: Path, tmp_path: Path, rows: Rows) -> None:
    """From the log alone: each searcher proposes the same again, and what won is the same file when it is made anew."""
    registry, planner = planned(run / "searched.toml", run / "results")
    of_call = logs(run / "results")
    for search in planner.known.values():
        step = planner.grid.steps[search.step]
        log = of_call[step.label.split(" · ")[4]]
        for place, entry in enumerate(log.entries):
            told = history(log.entries[:place], search.tier)
            asked = planner.asking(search, told, entry.left)
            space = Space.from_json(json.loads(json.dumps(asked.settings["space"])))
            code = _code(registry.searchers[search.searcher].spec.target)
            assert code.propose(space, told, entry.left) == entry.proposal
        best = found(log, search.tier).best
        assert best is not None
    climb = next(row for row in rows(run / "results") if row["recipe"].startswith("climb"))
    recipe = climb["chosen"].split(" · ")[-1]
    texts = json.dumps([part for part in recipe.split(" + ") if part != "reference"])
    again = suite_file(tmp_path, '"defaults"', seconds=1, recipes=f"[[recipe]]\npasses = {texts}\n")
    body = again.read_text(encoding="utf-8")
    again.write_text(body[: body.index("[search]")] + body[body.index("[budget.build]") :], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", *with_plugins(again, tmp_path / "results")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    artifacts = {row["recipe"]: row["artifact"] for row in rows(tmp_path / "results")}
    assert artifacts[recipe] == climb["artifact"]


@share_a_run
def test_a_second_run_reuses_every_search(run: Path, command: Command) -> None:
    before = logs(run / "results")
    done = command(*with_plugins(run / "searched.toml", run / "results"))
    assert done.returncode == 0, done.stderr
    assert "search: 0 steps to run, 3 finished earlier" in done.stdout
    assert "\n0 steps run." in done.stdout
    assert logs(run / "results") == before


@share_a_run
def test_a_dry_run_knows_what_a_search_found(run: Path, command: Command, tmp_path: Path) -> None:
    shown = command(*with_plugins(run / "searched.toml", run / "results", "--dry-run")).stdout
    assert shown.count("reuse: all") == 6
    fresh = command(*with_plugins(run / "searched.toml", tmp_path / "none", "--dry-run")).stdout
    assert fresh.count("run: its data is not prepared yet") == 6


class _Watched(runner.Progress):
    """Hides the test rows from everybody while searches run."""

    def __init__(self, root: Path) -> None:
        self.root, self.stages = root, list[str]()
        self.hidden: dict[Path, Path] = {}

    def stage(self, name: str, to_run: int, reused: int) -> None:
        self.stages.append(name)
        if name == "split":
            for path in (self.root / "steps").glob("*/output/inputs/test_x.npy"):
                self.hidden[path] = path.rename(path.with_name("hidden"))
                (path.parent.parent / "truth").rename(path.parent.parent / "gone")
        for path, hidden in self.hidden.items() if name == "build" else ():
            hidden.rename(path)
            (path.parent.parent / "gone").rename(path.parent.parent / "truth")


def test_no_test_row_is_read_before_the_winner_is_evaluated(tmp_path: Path) -> None:
    suite = load(str(suite_file(tmp_path, '"random"', seconds=6, folds=2)))
    layout = Layout(tmp_path / "results")
    progress = _Watched(layout.root)
    ended = runner.run(suite, discover(FILES), layout, progress)
    assert progress.stages[:4] == ["prepare", "split", "search", "build"]
    assert len(progress.hidden) == 1  # there was something to read
    assert {outcome for _, outcome, _ in ended.cells} == {"ok"}
    kinds = {name: json.loads((layout.root / "steps" / name / "job.json").read_text())["steps"][0] for name in _jobs(layout)}
    given: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for step in (step for step in kinds.values() if "data" in step["inputs"]):
        given[step["kind"]].add(tuple(sorted(os.listdir(step["inputs"]["data"]))))
    arrays = tuple(f"{split}_{name}.npy" for split in ("train", "validation") for name in ("units", "x", "y"))
    assert given["split"] == given["train"] == {("task.json", *arrays)}
    assert given["validate"] == {("validation_x.npy",)}
    assert given["evaluate"] == {("test_x.npy", "validation_x.npy")}
    of = {kind: {step["inputs"]["data"].split("/")[-3] for step in kinds.values() if step["kind"] == kind} for kind in given}
    assert len(of["train"]) == len(of["validate"]) == 2  # on both folds


def _jobs(layout: Layout) -> list[str]:
    return [path.parent.name for path in (layout.root / "steps").glob("*/job.json")]


def test_the_last_proposal_is_cut_when_the_time_is_over(tmp_path: Path, command: Command, rows: Rows) -> None:
    """Eight seconds in all, and the second proposal would take 14: cut, and the search ends with the first."""
    recipe = '[[recipe]]\npasses = ["nap(seconds=14.0)"]\n'
    path = suite_file(tmp_path, '"defaults"', seconds=8, recipes=recipe)
    done = command(*with_plugins(path, tmp_path / "results"))
    assert done.returncode == 0, done.stderr
    ((_, log),) = logs(tmp_path / "results").items()
    assert [(entry.outcome, entry.proposal.passes) for entry in log.entries] == [
        ("ok", ()),
        ("timeout", (("nap", {"seconds": 14.0}),)),
    ]
    assert log.entries[1].reason == "stopped: the time of its search was over"
    assert 8 <= log.spent < 10
    outcomes = {row["recipe"]: row["outcome"] for row in rows(tmp_path / "results")}
    assert outcomes['defaults(seconds=8, tier="tiny")'] == "ok"
    assert outcomes["nap(seconds=14.0)"] == "ok"  # as a cell of its own it has the time of a step


def test_nothing_inside_the_limits_is_a_row_that_says_so(tmp_path: Path, command: Command, rows: Rows) -> None:
    path = suite_file(tmp_path, '"random"', seconds=6, limit="64 B")
    done = command(*with_plugins(path, tmp_path / "results"))
    assert done.returncode == 0, done.stderr
    (row,) = (row for row in rows(tmp_path / "results") if row["architecture"] == "searched")
    (log,) = logs(tmp_path / "results").values()
    smallest = min(entry.measured["artifact_bytes"] for entry in log.entries if entry.outcome == "ok")
    assert row["outcome"] == "no_result"
    assert row["reason"] == (
        f"none of {len(log.entries)} proposals is inside tiny: the nearest has artifact_bytes {smallest:,.0f} of 64"
    )
    assert row["chosen"] == row["score"] == ""


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("architecture", "proposed architecture 'rige'; did you mean 'ridge'?"),
        ("order", "proposed round-weights + round-weights, which cannot be: see space.orders"),
        ("parameter", "proposed round-weights: unknown parameter 'decimal'; did you mean 'decimals'?"),
        ("value", "proposed round-weights: decimals: 20 is above 6"),
        ("training", "proposed training: unknown parameter 'l3'; known: l2"),
    ],
)
def test_a_searchers_mistake_is_one_line_in_its_row(how: str, reason: str, tmp_path: Path, command: Command, rows: Rows) -> None:
    path = suite_file(tmp_path, f"'wrong(how=\"{how}\")'", seconds=20)
    assert command(*with_plugins(path, tmp_path / "results")).returncode == 0
    (row,) = (row for row in rows(tmp_path / "results") if row["architecture"] == "searched")
    mistake = f"searcher wrong: {reason}"
    assert (row["outcome"], row["reason"]) == (
        "no_result",
        f"3 proposals in a row could not be: {mistake}",
    )


def test_what_a_searcher_found_before_it_broke_is_kept(tmp_path: Path, command: Command, rows: Rows) -> None:
    path = suite_file(tmp_path, '"breaks"', seconds=30)
    assert command(*with_plugins(path, tmp_path / "results")).returncode == 0
    (row,) = (row for row in rows(tmp_path / "results") if row["architecture"] == "searched")
    assert (row["outcome"], row["n_proposals"]) == ("ok", "2")
    assert row["reason"] == "search: over before its time: breaks: RuntimeError: it has no idea"


@pytest.mark.skipif(not sandbox.available(), reason="nothing here hides files from a searcher")
def test_a_searcher_finds_no_test_rows_in_the_tasks_own_package(tmp_path: Path, command: Command, rows: Rows) -> None:
    path = suite_file(tmp_path, '"spy"', seconds=20)
    assert command(*with_plugins(path, tmp_path / "results")).returncode == 0
    (row,) = (row for row in rows(tmp_path / "results") if row["architecture"] == "searched")
    assert (row["outcome"], row["reason"], row["n_proposals"]) == ("ok", "", "1")


def test_what_is_finished_and_costs_more_than_is_left_is_cut_too(tmp_path: Path, command: Command) -> None:
    """Else who comes later in a suite could afford more."""
    recipe = '[[recipe]]\npasses = ["nap(seconds=8.0)"]\n'
    assert (
        command(*with_plugins(suite_file(tmp_path, '"defaults"', seconds=60, recipes=recipe), tmp_path / "results")).returncode
        == 0
    )
    assert (
        command(*with_plugins(suite_file(tmp_path, '"random"', seconds=8, recipes=recipe), tmp_path / "results")).returncode == 0
    )
    before, after = (
        next(log for call, log in logs(tmp_path / "results").items() if name in call) for name in ("defaults", "random")
    )
    assert [entry.outcome for entry in before.entries] == ["ok", "ok"]
    assert [entry.outcome for entry in after.entries] == ["ok", "timeout"]
    assert after.spent < 10


@share_a_run
def test_a_part_of_the_searches_is_the_same_searches(run: Path, command: Command) -> None:
    """What they begin with does not depend on which recipes are run beside them."""
    shown = command(*with_plugins(run / "searched.toml", run / "results", "--dry-run", "--recipe", "climb*")).stdout
    assert [line.partition(": ")[2].partition(" ")[0] for line in shown.splitlines()[:2]] == ["reuse:", "reuse:"]


@share_a_run
def test_verify_finds_nothing(run: Path, command: Command, tmp_path: Path) -> None:
    plugins = with_plugins(run / "searched.toml", run / "results")[4:]
    shutil.copytree(run / "results", tmp_path / "results")
    done = command("verify", str(tmp_path / "results"), *plugins)
    assert done.returncode == 0, done.stdout + done.stderr
    with sqlite3.connect(tmp_path / "results" / "store.sqlite") as connection:  # another winner than that of the log
        position, text = connection.execute("SELECT position, cell FROM cells WHERE cell LIKE '%climb%'").fetchone()
        other = json.dumps({**json.loads(text), "chosen": "ridge · round-weights(decimals=6)"})
        connection.execute("UPDATE cells SET cell = ? WHERE position = ?", (other, position))
    done = command("verify", str(tmp_path / "results"), *plugins)
    assert done.returncode == 1
    assert "chosen" in done.stdout


def test_killed_at_any_point_a_search_goes_on_with_what_is_left(tmp_path: Path, rows: Rows) -> None:
    """Killed again and again at other points: the time that was spent is not given again, and what was tried stays tried."""
    seconds, results = 10.0, tmp_path / "results"
    path = suite_file(tmp_path, '"random"', seconds=seconds, folds=3)
    command = [sys.executable, "-m", "benchmark", *with_plugins(path, results)]
    seen: list[Log] = []
    for wait in itertools.cycle((0.3, 1.1, 0.7, 1.9)):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True)
        _wait_for_search(process, results, seen[-1].spent if seen else 0.0)
        time.sleep(wait)
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not seen:  # the grid is there from the start
            told = subprocess.run([*command[:3], "leaderboard", str(results)], cwd=tmp_path, capture_output=True, text=True)
            assert told.returncode == 0, told.stderr
            assert {row["reason"] for row in rows(results)} == {"the run ended before this cell was finished"}
        if log := _unfinished(results):
            seen.append(log)
    assert process.returncode == 0
    assert len(seen) >= 3
    (log,) = logs(results).values()
    for before, after in itertools.pairwise([*seen, log]):
        assert after.spent >= before.spent
        assert after.entries[: len(before.entries)] == before.entries
    assert seconds <= log.spent < seconds + 2
    assert all(one.spent <= log.spent for one in log.entries)
    charged = sum(one.charged for one in log.entries)
    assert charged <= log.spent < charged + 3  # at most what came after the last proposal
    for place, one in enumerate(log.entries[1:], 1):
        assert one.left <= seconds - log.entries[place - 1].spent + 0.01
    assert any(len(one.scores) == 3 for one in log.entries)
    (row,) = (row for row in rows(results) if row["architecture"] == "searched")
    assert row["outcome"] == "ok"


def test_a_small_task_is_cross_validated_in_a_race_with_the_best(tmp_path: Path, command: Command, rows: Rows) -> None:
    recipe = '[[recipe]]\npasses = ["keep-largest(share=0.05)"]\n'
    path = suite_file(tmp_path, '"defaults"', seconds=100, folds=3, recipes=recipe)
    done = command(*with_plugins(path, tmp_path / "results"))
    assert done.returncode == 0, done.stderr
    ((_, log),) = logs(tmp_path / "results").items()
    tier = load(str(path)).tiers[0]
    assert [len(entry.scores) for entry in log.entries] == [3, 1]  # the second was behind on the first fold
    assert len(set(log.entries[0].scores)) == 3  # on other rows each
    for place, entry in enumerate(log.entries):
        leader = best(log.entries[:place], tier)
        assert all(keeps_up(entry.scores[:number], leader, 0.02) for number in range(1, len(entry.scores)))
        assert len(entry.scores) == 3 or not keeps_up(entry.scores, leader, 0.02)  # the margin of german-credit
    won = found(log, tier).best
    assert won == log.entries[0]
    (row,) = (row for row in rows(tmp_path / "results") if row["architecture"] == "searched")
    assert (float(row["val_score"]), float(row["search_score"])) == (won.scores[0], won.score)
    assert "| cv ↑ |" in " ".join(done.stdout.replace(":", "").split())
    with (tmp_path / "results" / "searches.csv").open(newline="", encoding="utf-8") as file:
        assert [tuple(map(float, line["val_scores"].split())) for line in csv.DictReader(file)] == [
            entry.scores for entry in log.entries
        ]
    steps = _made(tmp_path / "results")
    inner = [one for one in steps if "inner fold" in one["label"]]
    assert {one["kind"] for one in inner} >= {"split", "train", "validate"}
    own = next(one["limits"] for one in steps if one["kind"] == "train" and one not in inner)
    # What hides test rows from a training hides them from those of all folds.
    assert {one["limits"]["test_data"]["mechanism"] for one in inner} == {own["test_data"]["mechanism"]}


def _made(results: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(results / "store.sqlite") as connection:
        found = connection.execute("SELECT kind, label, limits FROM steps").fetchall()
    return [{"kind": kind, "label": label, "limits": json.loads(limits)} for kind, label, limits in found]


def test_a_task_that_cannot_be_cross_validated_is_a_row_that_says_so(tmp_path: Path, command: Command, rows: Rows) -> None:
    data = tmp_path / "few.csv"
    lines = [f"{number},{number % 7},{'yes' if number % 3 else 'no'}" for number in range(60)]
    data.write_text("\n".join(["a,b,target", *lines]), encoding="utf-8")
    path = suite_file(tmp_path, '"random"', seconds=4, folds=20)
    path.write_text(
        path.read_text(encoding="utf-8").replace('"german-credit"', '"few"')
        + '\n[task.few]\nfile = "few.csv"\nmodality = "tabular"\ntarget = "target"\nmetric = "accuracy"\n',
        encoding="utf-8",
    )
    done = command(*with_plugins(path, tmp_path / "results"))
    assert done.returncode == 0, done.stderr
    by_architecture = {row["architecture"]: row for row in rows(tmp_path / "results")}
    assert by_architecture["ridge"]["outcome"] == "ok"
    assert by_architecture["searched"]["outcome"] == "failed"
    reason = by_architecture["searched"]["reason"]
    expected = (
        r"search: .*cross-validation in 20 folds: class no has \d+ units in the training rows, which are dealt into 19 parts"
    )
    assert re.fullmatch(expected, reason), reason


def _wait_for_search(process: subprocess.Popen[bytes], results: Path, spent: float) -> None:
    """Until the log has grown, or the process has ended."""
    while process.poll() is None:
        log = _unfinished(results)
        if log and log.spent > spent:
            return
        time.sleep(0.05)


def _unfinished(results: Path) -> Log | None:
    try:
        with sqlite3.connect(f"file:{results / 'store.sqlite'}?mode=ro", uri=True) as connection:
            row = connection.execute("SELECT value FROM meta WHERE key LIKE 'search:%'").fetchone()
    except sqlite3.Error:
        return None
    value = json.loads(row[0]) if row else None  # null once it is over
    return Log.from_json(value) if value else None


@share_a_run
def test_what_another_search_made_is_charged_what_it_cost(run: Path) -> None:
    """The three searches share the starts: each is charged for them, though one alone has run them."""
    results = open_store(run / "results" / "store.sqlite")
    _, planner = planned(run / "searched.toml", run / "results")
    for search in planner.known.values():
        log = logs(run / "results")[planner.grid.steps[search.step].label.split(" · ")[4]]
        for entry in log.entries[:3]:
            proposed = planner.proposed(search, entry.proposal)
            ids = [step.id for step in (*proposed.steps, proposed.validate)]
            steps: Mapping[str, StepResult] = results.results(ids)
            new = [one.seconds for one in steps.values() if one.kind not in ("train", "export") or not entry.proposal.passes]
            assert entry.charged >= 0.9 * sum(new) - 0.2
    results.close()


@share_a_run
def test_fresh_searches_again(run: Path, tmp_path: Path, command: Command) -> None:
    shutil.copytree(run / "results", tmp_path / "results")
    before = logs(tmp_path / "results")
    done = command(*with_plugins(run / "searched.toml", tmp_path / "results", "--fresh", "--recipe", "random*"))
    assert done.returncode == 0, done.stderr
    after = logs(tmp_path / "results")
    name = next(call for call in after if call.startswith("random"))
    assert after[name] != before[name]
    assert [one.proposal for one in after[name].entries[:1]] == [Proposal("ridge")]


def test_the_searcher_in_the_documents_runs(tmp_path: Path, command: Command, rows: Rows) -> None:
    (code,) = re.findall(
        r"```python\n(.*?)```", (HERE.parent.parent / "docs" / "search.md").read_text(encoding="utf-8"), re.DOTALL
    )
    (tmp_path / "sober.py").write_text(code, encoding="utf-8")
    path = suite_file(tmp_path, '"sober"', seconds=4)
    done = command(*with_plugins(path, tmp_path / "results", "--plugin", str(tmp_path / "sober.py")))
    assert done.returncode == 0, done.stderr
    (row,) = (row for row in rows(tmp_path / "results") if row["architecture"] == "searched")
    assert (row["outcome"], row["recipe"]) == ("ok", 'sober(seconds=4, tier="tiny")')


def test_a_warm_start_begins_with_what_did_best_elsewhere(tmp_path: Path, command: Command, rows: Rows) -> None:
    """From a run on another task: its best recipe inside the limits comes right after the suite's own."""
    recipes = "".join(f'[[recipe]]\npasses = ["{one}"]\n' for one in ("round-weights(decimals=1)", "keep-largest(share=0.1)"))
    earlier = suite_file(tmp_path, '"defaults"', seconds=1, limit="64 KiB", recipes=recipes)
    body = earlier.read_text(encoding="utf-8").replace("german-credit", "nodule-shape").replace('"searched"', '"before"')
    earlier.write_text(body[: body.index("[search]")] + body[body.index("[budget.build]") :], encoding="utf-8")
    assert command(*with_plugins(earlier, tmp_path / "before")).returncode == 0
    scores = {row["recipe"]: float(row["val_score"]) for row in rows(tmp_path / "before") if row["outcome"] == "ok"}
    now = suite_file(tmp_path, '"defaults"', seconds=30, limit="64 KiB")
    done = command(*with_plugins(now, tmp_path / "results", "--warm-start", str(tmp_path / "before")))
    assert done.returncode == 0, done.stderr
    ((call, log),) = logs(tmp_path / "results").items()
    assert call == 'defaults(seconds=30, tier="tiny", warm="before")'
    best = sorted(scores, key=lambda one: -scores[one])[:2]
    told = [chosen(entry.proposal).removeprefix("ridge · ") for entry in log.entries]
    assert told == ["reference", *(one for one in best if one != "reference")]


def test_a_warm_start_of_a_suite_without_searches_is_one_line(tmp_path: Path, command: Command) -> None:
    done = command("--suite", "smoke", "--warm-start", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == f"error: --warm-start: suite smoke has no searches that could start from {tmp_path}\n"
