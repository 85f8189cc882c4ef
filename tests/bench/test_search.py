"""``bench/search.py``, tables and plots of searches: on numbers worked out otherwise, and on a real run of tiny searches."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import json
import math
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]  # it ships no types
from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]  # it ships no types

from benchmark.budget import DeviceTier
from benchmark.plan import stored_cells
from benchmark.search import PARTS, Entry, Log
from benchmark.space import Proposal
from benchmark.store import Outcome, Store, open_store

pytestmark = pytest.mark.xdist_group("searches")

SCRIPT = Path(__file__).parent.parent.parent / "bench" / "search.py"
SUITE = """
[suite]
name = "searches"
tasks = ["german-credit"]
backends = ["sklearn"]
seeds = [0, 1]
[search]
searchers = ["defaults", "random"]
seconds = [20]
tiers = ["XS", "none"]
architectures = {sklearn = ["logistic", "tree"]}
passes = ["int8-static", "fp16"]
[measure]
processes = 1
rounds = 1
calls = 50
[[budget.device]]
name = "XS"
bytes = "16 KiB"
latency_p90 = "1 ms"
[[budget.device]]
name = "none"
bytes = "100 B"
[[recipe]]
passes = ["int8-static"]
"""


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("search_of_bench", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def union(points: list[tuple[float, ...]]) -> float:
    """The volume of the union of the boxes up to 1, by inclusion and exclusion."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for some in itertools.combinations(points, size):
            total -= (-1) ** size * math.prod(1 - max(values) for values in zip(*some, strict=True))
    return total


@pytest.mark.parametrize(
    ("points", "volume"),
    [
        ([(0.25,), (0.5,)], 0.75),
        ([(0.5, 0.5)], 0.25),
        ([(0.2, 0.6), (0.6, 0.2)], 0.48),
        ([(0.0, 0.0, 0.0), (0.5, 0.1, 0.9)], 1.0),
        ([(0.5, 0.5, 1.0)], 0.0),
        ([(1.5, 0.0)], 0.0),
    ],
)
def test_known_volumes(script: Any, points: list[tuple[float, ...]], volume: float) -> None:
    assert script.hypervolume(np.array(points)) == pytest.approx(volume)


@given(st.integers(1, 4).flatmap(lambda d: st.lists(st.tuples(*[st.floats(0, 1)] * d), min_size=1, max_size=7)), st.randoms())
def test_volumes_are_those_of_inclusion_and_exclusion(script: Any, points: list[tuple[float, ...]], random: Any) -> None:
    volume = script.hypervolume(np.array(points))
    assert volume == pytest.approx(union(points), abs=1e-9)
    order = random.sample(range(len(points[0])), len(points[0]))
    assert script.hypervolume(np.array(points)[:, order]) == pytest.approx(volume, abs=1e-9)
    worse = tuple((1 + one) / 2 for one in points[0])
    assert script.hypervolume(np.array([*points, worse])) == pytest.approx(volume, abs=1e-9)


def test_a_volume_is_the_share_of_points_that_are_dominated(script: Any) -> None:
    rng = np.random.default_rng(0)
    points = rng.beta(2, 2, (12, 3))
    drawn = rng.random((200_000, 3))
    dominated = np.any(np.all(drawn[:, None] >= points, axis=2), axis=1)
    assert script.hypervolume(points) == pytest.approx(dominated.mean(), abs=4 * dominated.std() / math.sqrt(len(drawn)))


def entry(score: float | None, size: float, p90: float | None, outcome: Outcome = "ok") -> Entry:
    measured = {"artifact_bytes": size} | ({} if p90 is None else {"latency_p90_us": p90})
    scores = () if score is None else (score, 0.0)  # on the task's own validation rows, and another fold
    return Entry(Proposal("cnn"), outcome, "", scores, measured, "", 0.0, 1.0, 1.0, dict.fromkeys(PARTS, 0.0))


def test_places_are_shares_of_the_way_to_1_and_of_the_limits(script: Any) -> None:
    log = Log(
        9.0,
        (
            entry(0.9, 500, 250.0),
            entry(0.8, 600, 300.0),  # dominated
            entry(0.7, 100, 1000.0),
            entry(0.99, 1001, 1.0),
            entry(0.99, 1, None),
            entry(0.5, 1, 1.0),
            entry(0.99, 1, 1.0, "no_op"),
        ),
    )
    tier = DeviceTier("XS", bytes=1000, latency_p90=1e-3)
    expected = [[0.2, 0.5, 0.25], [0.6, 0.1, 1.0], [1.0, 0.001, 0.001]]
    assert script.places(log, tier, 0.5) == pytest.approx(np.array(expected))
    assert script.places(log, DeviceTier("S", bytes=1000), 0.5) == pytest.approx(np.array([[0.02, 0.001]]))
    assert script.places(log, None, 0.5) == pytest.approx(np.array([[0.02]] * 2))
    assert script.places(Log(), tier, 0.5).shape == (0, 3)
    assert script.hypervolume(script.places(log, tier, 0.5)) == pytest.approx(0.8 * 0.5 * 0.75)


def test_an_interval_is_students(script: Any) -> None:
    values = np.array([0.1, 0.3, 0.2, -0.1])
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert script.interval(values) == pytest.approx((expected.low, expected.high))
    assert script.interval(values[:1]) is None
    assert script.told(values[:2], 1) == "+0.2000 – (2)"  # two back ends say nothing of other seeds
    assert script.told(np.array([0.1, 0.1]), 2) == "+0.1000 [+0.1000, +0.1000] (2)"
    assert script.told(values[:0], 2) == "–"


def test_differences_are_paired_and_clustered(
    script: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three searchers on two tasks and two back ends, with three seeds: against scipy, over units of a task and back end."""
    rng = np.random.default_rng(0)
    places = list(itertools.product(("a", "b"), ("torch", "jax"), (0, 1, 2), ("defaults", "random", "optuna")))
    zeros = dict.fromkeys((*PARTS, "spent", "proposing"), 1.0)
    made: list[dict[str, Any]] = [
        {"task": task, "back end": backend, "tier": "S", "seconds": 7.0, "searcher": searcher, "seed": seed, "fold": 0}
        | {"runtime": "onnxruntime", "proposals": 3, "inside": True, **zeros}
        | {name: rng.random() for name in ("hypervolume", "val", "test")}
        for task, backend, seed, searcher in places
    ]
    made = [row for row in made if not (row["task"] == "a" and row["seed"] == 2 and row["searcher"] == "random")]  # no pair
    monkeypatch.setattr(script, "read", lambda root: made)
    script.main("anywhere")
    _, apart, _ = capsys.readouterr().out.strip().split("\n\n")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in apart.splitlines()]
    found = {(line[0], line[1], line[4]): line[5:] for line in lines}
    by_place = {tuple(row[name] for name in ("task", "back end", "seed", "searcher")): row for row in made}
    for other, column in itertools.product(("random", "defaults"), ("hypervolume", "val", "test")):
        apart_by = {
            place[:3]: row[column] - by_place[(*place[:3], other)][column]
            for place, row in by_place.items()
            if place[3] == "optuna" and (*place[:3], other) in by_place
        }
        units = {one[:2]: [value for place, value in apart_by.items() if place[:2] == one[:2]] for one in apart_by}
        means = [statistics.fmean(values) for values in units.values()]
        ends = stats.ttest_1samp(means, 0.0).confidence_interval(0.95)
        at = ("hypervolume", "val", "test").index(column)
        whole = f"{statistics.fmean(means):+.4f} [{ends.low:+.4f}, {ends.high:+.4f}] (4)"
        assert found["all", "", f"optuna − {other}"][at] == whole
        values = units["b", "jax"]
        ends = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
        one = f"{statistics.fmean(values):+.4f} [{ends.low:+.4f}, {ends.high:+.4f}] (3)"
        assert found["b", "jax", f"optuna − {other}"][at] == one
        if column == "hypervolume":
            tasks = [statistics.fmean(value for place, value in apart_by.items() if place[0] == task) for task in ("a", "b")]
            counts = f"{sum(value > 0 for value in tasks)}, {sum(value < 0 for value in tasks)}"
            assert found["all", "", f"optuna − {other}"][3] == counts


# A run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run with eight searches, half of which can find nothing, with plots."""
    folder = tmp_path_factory.mktemp("searches")
    (folder / "suite.toml").write_text(SUITE, encoding="utf-8")
    for arguments in (("--suite", "suite.toml", "--results", "results"), ("leaderboard", "results", "--plots")):
        command = [sys.executable, "-m", "benchmark", *arguments]
        done = subprocess.run(command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=400)
        assert done.returncode == 0, done.stderr
    return folder / "results"


@pytest.fixture(scope="module")
def store(results: Path) -> Iterator[Store]:
    opened = open_store(results / "store.sqlite")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def rows(results: Path) -> list[dict[str, Any]]:
    every: list[dict[str, Any]] = json.loads((results / "rows.json").read_text(encoding="utf-8"))
    return [row for row in every if row["architecture"] == "searched"]


@pytest.fixture(scope="module")
def logs(store: Store) -> dict[tuple[str, int], dict[str, Any]]:
    """(name of the search, seed) -> its log, as it is stored."""
    cells = [cell for cell in stored_cells(store) if cell.search]
    return {(cell.recipe, cell.seed): store.results([cell.search])[cell.search].facts["log"] for cell in cells}


def tables(text: str, title: str) -> list[dict[str, str]]:
    """The lines of the first table below a heading, by its headers."""
    lines = [line for line in text[text.index(title) :].split("\n\n## ")[0].splitlines() if line.startswith("|")]
    headers, _, *others = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [dict(zip(headers, one, strict=True)) for one in others]


def test_the_table_says_what_rows_and_logs_say(results: Path, rows: list[dict[str, Any]], logs: dict[Any, Any]) -> None:
    shown = tables((results / "leaderboard.md").read_text(encoding="utf-8"), "## german-credit: what the searches chose")
    assert len(shown) == len(rows) == len(logs) == 8
    by_name = {(row["recipe"], row["seed"]): row for row in rows}
    for line in shown:
        key = line["search"], int(line["seed"])
        row, log = by_name[key], logs[key]
        assert int(line["proposals"]) == len(log["entries"]) == row["n_proposals"]
        assert line["search s"] == f"{log['spent']:.1f}"
        if 'tier="none"' in line["search"]:
            assert line["chosen"].startswith(f"nothing: none of {len(log['entries'])} proposals is inside none")
            assert (line["val ↑"], line["bytes ↓"], row["outcome"]) == ("–", "–", "no_result")
        else:
            inside = [one for one in log["entries"] if one["outcome"] == "ok" and one["measured"]["artifact_bytes"] <= 16 * 1024]
            best = max(inside, key=lambda one: (one["scores"], -one["measured"]["artifact_bytes"]))
            assert line["val ↑"] == f"{best['scores'][0]:.3f}"
            assert line["bytes ↓"] == f"{best['measured']['artifact_bytes']:,}"
            assert line["chosen"].startswith(f"{best['proposal']['architecture']} · ")
            assert line["chosen"] == row["chosen"]  # no number here has more than three digits
    assert "what the searches chose" in (results / "leaderboard.tex").read_text(encoding="utf-8")


def test_the_report_has_the_table_with_a_page_for_each_line(results: Path, rows: list[dict[str, Any]]) -> None:
    page = (results / "report" / "index.html").read_text(encoding="utf-8")
    (section,) = [one for one in page.split("<section") if "what the searches chose</h2>" in one]
    body = section[section.index("<tbody>") : section.index("</tbody>")]
    links = re.findall(r'<a href="(cells/[^"]+)">', body)
    assert len(set(links)) == len(rows)
    assert all((results / "report" / one).exists() for one in links)
    spent = re.findall(r'data-value="([\d.]+)"', body)
    assert {str(row["search_seconds"]) for row in rows} <= set(spent)  # sorted by what was not rounded


def test_a_tier_in_which_something_was_found_has_a_plot(results: Path) -> None:
    names = {path.name for path in (results / "plots").iterdir() if "search" in path.name}
    assert names == {"german-credit-search-xs-20.pdf", "german-credit-search-xs-20.svg"}


def test_the_script_prints_what_the_logs_say(
    results: Path, store: Store, rows: list[dict[str, Any]], logs: dict[Any, Any], script: Any
) -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), str(results)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    means, apart, times = (
        list(
            csv.DictReader(
                [line.strip("| ").replace(" | ", "\t") for line in part.splitlines() if "---" not in line], delimiter="\t"
            )
        )
        for part in done.stdout.strip().split("\n\n")
    )
    prepare = stored_cells(store)[0].prepare
    trivial = roc_auc_score(store.array(prepare, "validation_y"), store.array(prepare, "trivial_validation")[:, 1])
    for searcher in ("defaults", "random"):
        (line,) = [one for one in means if one["searcher"] == searcher and one["tier"] == "XS"]
        volumes, wins, as_good = [], [], []
        for seed in (0, 1):
            log = logs[f'{searcher}(seconds=20, tier="XS")', seed]
            seen = [one for one in log["entries"] if one["outcome"] == "ok" and one["measured"]["artifact_bytes"] <= 16 * 1024]
            points = {
                (
                    (1 - one["scores"][0]) / (1 - trivial),
                    one["measured"]["artifact_bytes"] / 2**14,
                    one["measured"]["latency_p90_us"] / 1000,
                )
                for one in seen
            }
            volumes.append(union([one for one in points if max(one) < 1]))
            wins.append(max(one["scores"][0] for one in seen))
            theirs = logs['defaults(seconds=20, tier="XS")', seed]["entries"]
            as_good.append(wins[-1] >= max(one["scores"][0] for one in theirs if one["outcome"] == "ok"))  # all are small enough
        assert line["hypervolume"] == f"{np.mean(volumes):.4f}"
        assert line["val"] == f"{np.mean(wins):.4f}"
        tested = [row["score"] for row in rows if row["recipe"] == f'{searcher}(seconds=20, tier="XS")']
        assert line["test"] == f"{np.mean(tested):.4f}"
        assert (line["searches"], line["inside"], line["≥ defaults"]) == ("2", "100%", f"{np.mean(as_good):.0%}")
        (nothing,) = [one for one in means if one["searcher"] == searcher and one["tier"] == "none"]
        assert [nothing[name] for name in ("hypervolume", "val", "test", "inside")] == ["0.0000", "–", "–", "0%"]
        own = [log for (name, _), log in logs.items() if name.startswith(searcher)]
        (whole,) = [one for one in times if one["searcher"] == searcher and one["task"] == "all"]
        spent = sum(log["spent"] for log in own)
        parts = {part: sum(one["parts"][part] for log in own for one in log["entries"]) for part in PARTS}
        parts["start"] += sum(log["starting"] for log in own)
        rest = spent - parts["training"] - parts["export"] - parts["start"]
        expected = [parts["training"], parts["export"], parts["start"], rest, parts["evaluation"]]
        columns = ("training", "export", "process start", "rest", "of it evaluation")
        assert [whole[name] for name in columns] == [f"{value / spent:.1%}" for value in expected]
    assert apart == []  # neither is compared with the other: both are what others are compared with
    table = script.gather([results])
    volumes_of = table[table.tier == "XS"].set_index(["searcher", "seed"]).hypervolume
    found = script.differences(table[table.tier == "XS"], "random", "defaults", "hypervolume", ["seed"])
    assert found == pytest.approx([volumes_of["random", seed] - volumes_of["defaults", seed] for seed in (0, 1)])
    with pytest.raises(SystemExit, match="more than once"):
        script.gather([results, results])


def test_a_folder_without_a_finished_run_is_one_line(script: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"^{re.escape(str(tmp_path))}: no finished run has written its rows here: "):
        script.main(str(tmp_path))
