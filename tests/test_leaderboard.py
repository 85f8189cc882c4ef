"""Rows and tables from a store filled by hand: what each column means, on numbers that can be worked out on paper."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmark import leaderboard, statistics
from benchmark.leaderboard import COLUMNS, Row, Table
from benchmark.measure import quality
from benchmark.measure.outputs import sample
from benchmark.plan import Cell
from benchmark.render.tabular import to_csv, to_json
from benchmark.specs import Output
from benchmark.statistics import Scored
from benchmark.store import StepResult, Store, open_store

Y = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
UNITS = [3, 3, 3, 5, 5, 8, 8, 8, 8, 9]
VALIDATION_Y = [0, 0, 1, 1]
SUITE: dict[str, Any] = {
    "name": "small",
    "seeds": [0],
    "build": {"cores": 2, "memory": 1024**3, "seconds": 60.0},
    "measure": {"processes": 2, "rounds": 2, "calls": 50},
    "tiers": [],
}
MACHINE = {"cpu_model": "Some CPU", "cpu_flags": ["avx", "fma"], "cores": 2, "memory_gib": 8}
FACTS = {"versions": {"pocketbench": "0.1.0"}, "git_commit": "c1", "python": "3.11.7"}


def logits(labels: Sequence[int]) -> NDArray[np.float32]:
    """Outputs of two classes whose labels are these."""
    return np.eye(2, dtype=np.float32)[list(labels)]


def timings(*rounds: float, calls: int = 50) -> NDArray[np.int64]:
    """A process's samples, nanoseconds: each round's calls all take so many microseconds."""
    return np.repeat(np.int64(np.array(rounds) * 1000), calls).reshape(len(rounds), calls)


@dataclass
class Grid:
    """A store and the cells in it. :meth:`cell` records one that is ``ok``; a step that is recorded again replaces the first."""

    store: Store
    cells: list[Cell] = field(default_factory=list)

    def step(
        self,
        id_: str,
        facts: Mapping[str, Any] | None = None,
        arrays: Mapping[str, NDArray[Any]] | None = None,
        **changes: Any,
    ) -> str:
        kind = id_.rpartition("/")[2]
        result = StepResult(id_, kind, id_, "ok", "", 1.0, "2026-01-02T03:00:00+00:00", {**FACTS, **(facts or {})})
        self.store.record(dataclasses.replace(result, **changes), arrays)
        return id_

    def prepare(
        self, task: str = "digits", fold: int = 0, y: Sequence[int] = Y, units: Sequence[int] = UNITS, **outputs: Sequence[Any]
    ) -> str:
        """``outputs``: ``constant``, ``trivial``: their probabilities of class 1, or of all classes, for the test rows."""
        arrays: dict[str, NDArray[Any]] = {
            "test_y": np.array(y),
            "test_units": np.array(units),
            "validation_y": np.array(VALIDATION_Y),
        }
        for name, values in outputs.items():
            p = np.array(values, np.float32)
            arrays[f"{name}_test"] = p if p.ndim == 2 else np.stack([1 - p, p], axis=1)
        facts = {
            "fingerprint": f"data of {task} {fold}",
            "classes": ["a", "b", "c"],
            "rows": {"train": 50, "validation": 4, "test": len(y)},
        }
        return self.step(f"{task} {fold}/prepare", facts, arrays)

    def add_groups(self, column: str, names: Sequence[str], fold: int = 0) -> None:
        """Groups of the test rows of a fold that is prepared."""
        id_ = f"digits {fold}/prepare"
        arrays = {name: self.store.array(id_, name) for name in ("test_y", "test_units", "validation_y")}
        self.store.record(self.store.results([id_])[id_], {**arrays, f"group_{column}": np.array(names)})

    def cell(
        self,
        recipe: str = "reference",
        predicted: Sequence[int] = Y,
        *,
        validation: Sequence[int] = VALIDATION_Y,
        outputs: NDArray[np.float32] | None = None,
        metrics: tuple[str, ...] = ("accuracy",),
        **names: Any,
    ) -> Cell:
        """A cell with a model pass of the recipe's name, whose outputs have the labels ``predicted``, or are ``outputs``."""
        key = {
            "task": "digits",
            "fold": 0,
            "backend": "torch",
            "architecture": "cnn",
            "runtime": "onnxruntime",
            "seed": 0,
            **names,
        }
        branch = " ".join(str(key[name]) for name in ("task", "fold", "backend", "architecture", "seed"))
        tag, runtime = f"{branch} {recipe}", key["runtime"]
        prepare = f"{key['task']} {key['fold']}/prepare"
        if prepare not in self.store.results([prepare]):
            self.prepare(key["task"], key["fold"])
        train, reference, identity = f"{branch}/train", f"{branch} reference/export", f"{runtime}/identity"
        export = f"{tag}/export"
        middle = [] if recipe == "reference" else [(recipe, f"{tag}/pass")]
        cell = Cell(
            suite="small",
            modality="image",
            metrics=metrics,
            margin=0.01,
            unit="patient",
            output="logits",
            recipe=recipe,
            prepare=prepare,
            chain=(("train", train), *middle, ("export", export)),
            anchors=(("reference: train", train), ("reference: export", reference), ("identity model", identity)),
            inspect=f"{tag}/inspect",
            evaluate=f"{tag} {runtime}/evaluate",
            latency=(f"{tag} {runtime} 0/latency", f"{tag} {runtime} 1/latency"),
            memory=f"{tag} {runtime}/memory",
            floor_memory=f"{runtime}/memory",
            reference_inspect=f"{branch} reference/inspect",
            reference_evaluate=f"{branch} reference {runtime}/evaluate",
            **key,
        )
        assert not self.store.results([cell.evaluate]), "the reference must come first, and each cell once"
        for id_ in cell.steps():
            if self.store.results([id_]):
                continue
            match id_.rpartition("/")[2]:
                case "export":
                    self.step(id_, {"artifact": f"sha of {id_}"})
                case "inspect":
                    self.step(id_, {"bytes": 1000, "deflate_bytes": 900})
                case "evaluate":
                    whose = dataclasses.replace(cell, evaluate=id_)
                    self.evaluated(whose, logits(predicted) if outputs is None else outputs, logits(validation))
                case "latency":
                    self.timed(id_, artifact=timings(10, 10), anchor=None if recipe == "reference" else timings(10, 10))
                case "memory":
                    self.step(id_, {"rss_bytes": 50_000_000 if id_ == cell.memory else 40_000_000})
                case _:
                    self.step(id_)
        self.cells.append(cell)
        return cell

    def evaluated(self, cell: Cell, test: NDArray[np.float32], validation: NDArray[np.float32]) -> None:
        """The evaluate step as the runner records it."""
        scores = {}
        for split, outputs in (("test", test), ("validation", validation)):
            y = self.store.array(cell.prepare, f"{split}_y")
            found = quality.evaluate(outputs, y, cell.metrics, cast(Output, cell.output))
            scores[split] = {"values": dict(found.values), "reasons": dict(found.reasons)}
        arrays = {"test": test, "validation": validation}
        self.step(cell.evaluate, {"scores": scores}, arrays, ingredients={"host_class": "abc"})

    def timed(
        self,
        id_: str,
        first: int = 3_000_000,
        load: int = 5_000_000,
        warm_up: int = 40,
        disturbances: Mapping[str, float] | None = None,
        **roles: NDArray[np.int64] | None,
    ) -> None:
        """A latency step as the runner records it."""
        arrays = {role: samples for role, samples in {"floor": timings(1, 1), **roles}.items() if samples is not None}
        facts: dict[str, Any] = {
            f"{role}_{name}_ns": value for role in arrays for name, value in (("load", load), ("first_call", first))
        }
        facts |= {
            "artifact_warm_up_calls": warm_up,
            "disturbances": {"seconds": 2.0, "timed_seconds": 2.0, **(disturbances or {})},
        }
        self.step(id_, facts, arrays, ingredients={"host_class": "abc"})

    def rows(self, **suite: Any) -> list[Row]:
        self.store.set_meta("host_class:abc", MACHINE)
        self.store.replace_grid({**SUITE, **suite}, (dataclasses.asdict(cell) for cell in self.cells))
        return leaderboard.rows(self.store)

    def row(self, **suite: Any) -> Row:
        """That of the last cell."""
        return self.rows(**suite)[-1]

    def tables(self) -> list[Table]:
        return leaderboard.tables(self.store, self.rows())

    def table(self) -> Table:
        (table,) = self.tables()
        return table

    def scored(self, *cells: Cell) -> list[Scored]:
        """What intervals are made of, read by hand."""
        found = []
        for cell in cells:
            y, units = (self.store.array(cell.prepare, name) for name in ("test_y", "test_units"))
            found.append(Scored(cell.fold, cell.seed, self.store.array(cell.evaluate, "test"), y, units, "logits"))
        return found


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    store = open_store(tmp_path / "store.sqlite")
    yield Grid(store)
    store.close()


def off(*wrong: int) -> list[int]:
    """The right labels but for the rows at these places."""
    return [1 - label if place in wrong else label for place, label in enumerate(Y)]


# Rows: which cell, and how it ended


def test_a_row_says_which_cell_it_is(grid: Grid) -> None:
    names: dict[str, Any] = {"task": "shapes", "fold": 2, "backend": "jax", "architecture": "mlp", "runtime": "other", "seed": 3}
    grid.cell("prune(x=1)", metrics=("balanced_accuracy", "accuracy"), **names)
    row = grid.row()
    assert list(row) == list(COLUMNS)
    expected = {
        **names,
        "suite": "small",
        "modality": "image",
        "recipe": "prune(x=1)",
        "metric": "balanced_accuracy",
        "threads": 2,
    }
    assert {name: row[name] for name in expected} == expected
    assert (row["outcome"], row["reason"]) == ("ok", "")


def test_a_skipped_cell_has_nothing_but_its_reason(grid: Grid) -> None:
    skipped: dict[str, Any] = {
        "skipped": "no such pass",
        "prepare": "",
        "chain": (),
        "anchors": (),
        "inspect": "",
        "evaluate": "",
        "latency": (),
    }
    skipped |= {"memory": "", "floor_memory": "", "reference_inspect": "", "reference_evaluate": ""}
    grid.cells.append(dataclasses.replace(grid.cell(), **skipped))
    row = grid.row()
    assert (row["outcome"], row["reason"]) == ("skipped", "no such pass")
    filled = {name for name, value in row.items() if value is not None}
    cell = ("suite", "task", "modality", "fold", "backend", "architecture", "recipe", "runtime", "seed")
    assert filled == {*cell, "outcome", "reason", "metric", "threads"}


def test_a_failed_cell_keeps_what_came_before(grid: Grid) -> None:
    cell = grid.cell()
    grid.step(cell.latency[1], outcome="timeout", reason="stopped after 60 s")
    row = grid.row(tiers=[{"name": "any", "bytes": None, "latency_p90": None}])
    assert (row["outcome"], row["reason"]) == ("timeout", "latency: stopped after 60 s")
    assert (row["score"], row["artifact_bytes"], row["rss_bytes"]) == (1.0, 1000, 50_000_000)
    assert (row["latency_p50_us"], row["floor_us"], row["noisy"], row["tiers"]) == (None,) * 4


def test_a_cell_that_the_run_did_not_come_to(grid: Grid) -> None:
    cell = grid.cell()
    grid.cells[-1] = dataclasses.replace(cell, memory="not run")
    row = grid.row()
    assert (row["outcome"], row["reason"]) == ("no_result", "the run ended before this cell was finished")
    assert (row["score"], row["rss_bytes"], row["tiers"]) == (1.0, None, None)


def plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return type(value) is dict and all(type(key) is str and plain(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return value is None or type(value) in (str, int, float, bool)


def test_rows_hold_plain_python_values(grid: Grid) -> None:
    grid.cell(predicted=off(0))
    grid.cell("prune", off(9), metrics=("accuracy", "roc_auc"))
    rows = grid.rows(tiers=[{"name": "any", "bytes": None, "latency_p90": None}])
    assert [name for row in rows for name, value in row.items() if not plain(value)] == []
    assert not plain({"x": [np.float64(1)]})
    assert json.loads(to_json(rows)) == rows
    assert len(to_csv(rows).splitlines()) == 3


# Scores


def test_scores_of_the_test_and_validation_rows(grid: Grid) -> None:
    # One of six rows of class 0 is wrong, and one of four of class 1; of validation, one of four.
    cell = grid.cell(predicted=off(2, 9), validation=[0, 1, 1, 1], metrics=("accuracy", "balanced_accuracy"))
    row = grid.row()
    assert (row["score"], row["val_score"]) == (0.8, 0.75)
    assert row["metrics"] == {"accuracy": 0.8, "balanced_accuracy": pytest.approx((5 / 6 + 3 / 4) / 2)}
    (scored,) = grid.scored(cell)
    interval = statistics.score_interval([scored], "accuracy")
    assert interval is not None
    assert (row["score_low"], row["score_high"]) == (interval.low, interval.high)
    assert interval.low < 0.8 < interval.high
    by_row = statistics.score_interval([dataclasses.replace(scored, units=np.arange(10))], "accuracy")
    assert by_row is not None
    assert by_row.low != interval.low


def test_the_ranking_metric_is_the_first(grid: Grid) -> None:
    # Scores of class 1 are 0.6 and 0.2 (twice) where y is 1, else 0.1 and 0.2: of 3 × 2 pairs 4 are won and 2 tied.
    grid.prepare(y=[0, 0, 1, 1, 1], units=range(5))
    margin = np.array([0.1, 0.2, 0.6, 0.2, 0.2], dtype=np.float32)
    grid.cell(outputs=np.stack([np.zeros(5, np.float32), margin], axis=1), metrics=("roc_auc", "accuracy"))
    row = grid.row()
    assert (row["metric"], row["score"]) == ("roc_auc", pytest.approx(5 / 6))
    assert row["metrics"] == {"roc_auc": pytest.approx(5 / 6), "accuracy": 0.6}


def test_flips_are_labels_that_changed_for_better_or_worse(grid: Grid) -> None:
    grid.cell(predicted=off(0, 1))
    grid.cell("prune", off(1, 2))  # row 0 is right now, row 2 wrong; the score is the same
    reference, pruned = grid.rows()
    assert reference["score"] == pruned["score"] == 0.8
    assert (reference["flips"], pruned["flips"]) == (0.0, 0.2)


def test_flips_and_size_ratio_need_the_reference(grid: Grid) -> None:
    cell = grid.cell("prune")
    for id_ in (cell.reference_evaluate, cell.reference_inspect):
        grid.step(id_, outcome="invalid", reason="NaN")
    row = grid.row()
    assert (row["outcome"], row["score"], row["flips"], row["size_ratio"]) == ("ok", 1.0, None, None)


def test_an_undefined_score_says_why(grid: Grid) -> None:
    grid.prepare(y=[1] * 10)
    grid.cell(predicted=[1] * 7 + [0] * 3, validation=[0, 0, 1, 0], metrics=("roc_auc", "accuracy"))
    row = grid.row()
    assert (row["outcome"], row["reason"]) == ("ok", "roc_auc: all 10 rows are of class 1")
    assert (row["score"], row["score_low"], row["score_high"], row["val_score"]) == (None, None, None, 0.75)
    assert row["metrics"] == {"roc_auc": None, "accuracy": 0.7}
    (entry,) = grid.table().entries
    assert (entry.score, entry.interval, entry.deviations) == (None, None, None)


def test_a_score_without_two_different_labels_says_so(grid: Grid) -> None:
    grid.prepare(y=[0, 1] * 5)
    grid.cell(predicted=[1] * 10, metrics=("accuracy",))
    assert (grid.row()["score"], grid.row()["reason"]) == (0.5, "labels: all 10 test rows get b")


def test_another_undefined_metric_and_a_restricted_one_say_why(grid: Grid) -> None:
    grid.prepare(y=[0] * 10)
    cell = grid.cell(predicted=[0] * 10, metrics=("accuracy", "balanced_accuracy", "recall_5_1"))
    assert grid.row()["reason"] == "balanced_accuracy: mean over 1 of 2 classes; recall_5_1: no row is of class 1"
    assert grid.row()["score"] == 1.0
    # A failed cell has its failure's reason alone.
    grid.step(cell.memory, outcome="crashed", reason="killed by SIGSEGV")
    assert grid.row()["reason"] == "memory: killed by SIGSEGV"


def test_an_undefined_validation_score_says_why(grid: Grid) -> None:
    cell = grid.cell(metrics=("roc_auc",))
    scores = {
        "test": {"values": {"roc_auc": 1.0}, "reasons": {}},
        "validation": {"values": {"roc_auc": None}, "reasons": {"roc_auc": "all 4 rows are of class 0"}},
    }
    grid.step(cell.evaluate, {"scores": scores}, {"test": logits(Y)}, ingredients={"host_class": "abc"})
    row = grid.row()
    assert (row["score"], row["val_score"]) == (1.0, None)
    assert row["reason"] == "validation roc_auc: all 4 rows are of class 0"


# Size


def test_sizes(grid: Grid) -> None:
    grid.step(grid.cell().inspect, {"bytes": 1000, "deflate_bytes": 700})
    cell = grid.cell("prune")
    facts = {"dtypes": {"int8": 70, "float32": 30}, "parameters": 100, "nonzero_parameters": 60, "macs": 5000}
    grid.step(cell.inspect, {"bytes": 400, "deflate_bytes": 300, **facts})
    reference, row = grid.rows()
    assert (row["artifact_bytes"], row["deflate_bytes"], row["size_ratio"]) == (400, 300, 2.5)
    assert {name: row[name] for name in facts} == facts
    assert row["artifact"] == "sha of digits 0 torch cnn 0 prune/export"
    assert (reference["artifact_bytes"], reference["size_ratio"], reference["macs"]) == (1000, 1.0, None)


# Latency and memory


def test_latencies(grid: Grid) -> None:
    cell = grid.cell("prune")
    # 1, 2, ... 100 µs in the two rounds of each process: 200 samples, in which every value is there twice.
    ramp = np.arange(1, 101).reshape(50, 2).T * 1000
    for place, id_ in enumerate(cell.latency):
        roles: Any = {"artifact": ramp, "anchor": timings(50, 50), "floor": timings(2.5, 4.5)}
        grid.timed(id_, first=(3 + place) * 1_000_000, load=(5 + 3 * place) * 1_000_000, **roles)
    row = grid.row()
    assert row["latency_p50_us"] == pytest.approx(50.5)
    assert row["latency_p90_us"] == pytest.approx(90.1)  # 0.9 × 199 = 179.1: between the 180th sample, 90, and the 181st, 91
    assert row["floor_us"] == 3.5
    assert (row["first_call_ms"], row["load_ms"]) == (3.5, 6.5)


@pytest.mark.parametrize(
    ("calls", "defined"),
    [(3, ()), (4, (50,)), (21, (50,)), (22, (50, 90)), (229, (50, 90)), (230, (50, 90, 99))],
)
def test_percentiles_need_enough_samples(calls: int, defined: tuple[int, ...], grid: Grid) -> None:
    for id_ in grid.cell().latency:  # two processes of one round
        grid.timed(id_, artifact=timings(10, calls=calls))
    row = grid.row()
    found = {percent: row[f"latency_p{percent}_us"] for percent in (50, 90, 99)}
    assert found == {percent: 10.0 if percent in defined else None for percent in (50, 90, 99)}


def test_the_ratio_is_over_processes(grid: Grid) -> None:
    cell = grid.cell("prune")
    # Ratios of the rounds: 0.5 and 0.5 in one process, 0.9 and 0.8 in the other.
    grid.timed(cell.latency[0], artifact=timings(10, 20), anchor=timings(20, 40))
    grid.timed(cell.latency[1], artifact=timings(18, 16), anchor=timings(20, 20))
    row = grid.row()
    logs = [math.log(0.5), (math.log(0.9) + math.log(0.8)) / 2]
    mean, half = sum(logs) / 2, 12.706204736 * abs(logs[0] - logs[1]) / 2  # Student's t with one degree of freedom
    ratio, low, high = (row[f"latency_ratio{end}"] for end in ("", "_low", "_high"))
    assert (ratio, low, high) == pytest.approx((math.exp(mean), math.exp(mean - half), math.exp(mean + half)))


def test_the_reference_is_its_own_anchor(grid: Grid) -> None:
    grid.cell()
    row = grid.row()
    assert (row["latency_ratio"], row["latency_ratio_low"], row["latency_ratio_high"]) == (1.0, None, None)


def test_one_process_has_a_ratio_and_no_interval(grid: Grid) -> None:
    cell = grid.cell("prune")
    grid.timed(cell.latency[0], artifact=timings(10), anchor=timings(40))
    grid.cells[-1] = dataclasses.replace(cell, latency=cell.latency[:1])
    row = grid.row()
    assert (row["latency_ratio"], row["latency_ratio_low"], row["latency_ratio_high"]) == (pytest.approx(0.25), None, None)


@pytest.mark.parametrize(
    ("rounds", "noisy"),
    [([(10, 10), (10, 10)], False), ([(10, 12), (11, 10)], False), ([(10, 12.1), (11, 10)], True), ([(10, 10), (13, 13)], True)],
)
def test_noisy_rows(rounds: Sequence[tuple[float, float]], noisy: bool, grid: Grid) -> None:
    for id_, medians in zip(grid.cell().latency, rounds, strict=True):
        grid.timed(id_, artifact=timings(*medians))
    assert grid.row()["noisy"] is noisy


@pytest.mark.parametrize(("waiting", "noisy"), [((0.1, 0.1), False), ((0.3, 0.0), True)])
def test_what_disturbed_the_processes_is_summed_and_waiting_makes_a_row_noisy(
    waiting: Sequence[float], noisy: bool, grid: Grid
) -> None:
    for id_, seconds, swapped in zip(grid.cell().latency, waiting, (7, 0), strict=True):
        seen = {"waiting_seconds": seconds, "swapped_pages": swapped, "quota_throttled": 1}
        grid.timed(id_, artifact=timings(10, 10), warm_up=40 + swapped, disturbances=seen)
    row = grid.row()
    assert row["noisy"] is noisy  # of 4 seconds 5 %
    total = {
        "seconds": 4.0,
        "timed_seconds": 4.0,
        "waiting_seconds": pytest.approx(sum(waiting)),
        "swapped_pages": 7,
        "quota_throttled": 2,
    }
    assert row["disturbances"] == total
    assert row["warm_up_calls"] == 47


def test_what_only_one_process_knows_is_not_summed(grid: Grid) -> None:
    first, second = grid.cell().latency
    grid.timed(first, artifact=timings(10, 10), disturbances={"steal_seconds": 1.0})
    grid.timed(second, artifact=timings(10, 10))
    assert grid.row()["disturbances"] == {"seconds": 4.0, "timed_seconds": 4.0}


def test_busy_threads_are_the_most_of_the_cells_own_steps(grid: Grid) -> None:
    cell = grid.cell("prune")
    assert grid.row()["threads_observed"] is None
    (_, train), (_, pruned), _ = cell.chain
    for id_, threads in ((train, 1), (pruned, 3), (cell.memory, 9)):
        facts = grid.store.results([id_])[id_].facts
        grid.step(id_, facts, limits={"threads": {"limit": 1, "mechanism": "counted", "observed": threads}})
    assert grid.row()["threads_observed"] == 3


def test_a_few_slow_calls_are_no_noise(grid: Grid) -> None:
    slow = timings(10, 10)
    slow[0, :20] *= 10  # the round's median stays
    for id_ in grid.cell().latency:
        grid.timed(id_, artifact=slow)
    assert grid.row()["noisy"] is False


def test_memory_and_its_floor(grid: Grid) -> None:
    cell = grid.cell()
    row = grid.row()
    assert (row["rss_bytes"], row["floor_rss_bytes"]) == (50_000_000, 40_000_000)
    # A runtime without an identity model
    grid.step(cell.floor_memory)
    for id_ in cell.latency:
        grid.timed(id_, artifact=timings(10, 10), floor=None)
    row = grid.row()
    assert (row["outcome"], row["floor_rss_bytes"], row["floor_us"]) == ("ok", None, None)


def tier(name: str, bytes: int | None = None, latency_p90: float | None = None) -> dict[str, Any]:
    return {"name": name, "bytes": bytes, "latency_p90": latency_p90}


def test_tiers_are_those_whose_every_limit_is_kept(grid: Grid) -> None:
    cell = grid.cell()  # 1000 bytes
    mostly = timings(5, 10)  # half of the calls take 10 µs, which is p90 then
    for id_ in cell.latency:
        grid.timed(id_, artifact=mostly)
    tiers = [
        *(tier("equal", 1000, 10e-6), tier("larger file", 999, 1), tier("slower", 2000, 9.9e-6)),
        *(tier("size", bytes=1000), tier("time", latency_p90=10e-6), tier("any")),
    ]
    assert grid.row(tiers=tiers)["tiers"] == ["equal", "size", "time", "any"]
    for id_ in cell.latency:  # 40 samples: no p90, and what is not known keeps no limit
        grid.timed(id_, artifact=timings(10, calls=20))
    assert grid.row(tiers=tiers)["latency_p90_us"] is None
    assert grid.row(tiers=tiers)["tiers"] == ["size", "any"]


# Building


def seconds(grid: Grid, costs: Mapping[str, float]) -> None:
    for id_, cost in costs.items():
        grid.step(id_, grid.store.results([id_])[id_].facts, seconds=cost)


def test_build_seconds_are_the_cells_own_and_total_charges_all(grid: Grid) -> None:
    grid.cell()
    cell = grid.cell("prune")
    train, pruned, export = (id_ for _, id_ in cell.chain)
    reference = cell.anchors[1][1]
    seconds(grid, {train: 10.0, pruned: 4.0, export: 2.0, reference: 100.0})
    uncompressed, row = grid.rows()
    assert (uncompressed["build_seconds"], uncompressed["total_build_seconds"]) == (110.0, 110.0)
    assert (row["build_seconds"], row["total_build_seconds"]) == (6.0, 16.0)


@pytest.mark.parametrize(
    ("teachers", "total"), [((), 3.0), (("train",), 13.0), (("train", "export"), 113.0), (("train", "train", "distil"), 13.0)]
)
def test_a_teacher_is_charged_once(teachers: tuple[str, ...], total: float, grid: Grid) -> None:
    # A start pass: its chain does not hold the training of the reference.
    cell = grid.cell("distil")
    ids = {"train": cell.chain[0][1], "export": cell.anchors[1][1], "distil": cell.chain[1][1]}
    grid.step(ids["export"], {"artifact": "the teacher's"})
    seconds(grid, {ids["train"]: 10.0, ids["export"]: 100.0, ids["distil"]: 2.0})
    taught = tuple((f"reference: {name}", ids[name]) for name in teachers)
    grid.cells[-1] = dataclasses.replace(cell, chain=cell.chain[1:], teachers=taught)
    row = grid.row()
    assert (row["build_seconds"], row["total_build_seconds"]) == (3.0, total)


def test_a_teacher_in_the_chain_is_charged_once(grid: Grid) -> None:
    cell = grid.cell("distil")
    grid.cells[-1] = dataclasses.replace(cell, teachers=(("reference: train", cell.chain[0][1]),))
    assert grid.row()["total_build_seconds"] == 3.0


def test_training_is_summed_over_the_chain(grid: Grid) -> None:
    cell = grid.cell("prune")
    train, pruned, _ = (id_ for _, id_ in cell.chain)
    grid.step(train, {"updates": 100, "stopped_by": "deadline", "compile_seconds": 1.5})
    grid.step(pruned, {"updates": 20, "stopped_by": "early", "compile_seconds": 0.25})
    row = grid.row()
    assert (row["updates"], row["stopped_by"], row["compile_seconds"]) == (120, "deadline", 1.75)
    grid.step(train, {"updates": 100, "stopped_by": "updates"})
    row = grid.row()
    assert (row["updates"], row["stopped_by"], row["compile_seconds"]) == (120, "early", 0.25)
    for id_ in (train, pruned):  # nothing that trains by updates
        grid.step(id_)
    row = grid.row()
    assert (row["updates"], row["stopped_by"], row["compile_seconds"]) == (None, None, None)


def test_limits_show_the_most_that_was_observed(grid: Grid) -> None:
    cell = grid.cell("prune")
    for (_, id_), mechanism, observed in zip(cell.chain, ("x", "not enforced here", "x"), (None, 700, 300), strict=True):
        facts = grid.store.results([id_])[id_].facts
        memory = {"limit": 1024, "mechanism": mechanism, "observed": observed}
        grid.step(id_, facts, limits={"memory": memory, "cores": {"limit": 2, "mechanism": "affinity", "observed": 2}})
    grid.step(
        cell.memory, {"rss_bytes": 1}, limits={"memory": {"limit": 1024, "mechanism": "x", "observed": 900}}
    )  # not building
    assert grid.row()["limits"] == {
        "memory": {"limit": 1024, "mechanism": "x; not enforced here", "observed": 700},
        "cores": {"limit": 2, "mechanism": "affinity", "observed": 2},
    }


def test_claims_are_what_each_pass_said(grid: Grid) -> None:
    cell = grid.cell("prune")
    assert grid.row()["claims"] == {"prune": {}}
    train, pruned, export = cell.chain
    grid.step(pruned[1], {"matched": 3, "changed": 2, "claims": {"sparsity": 0.5}})
    grid.step("second/pass", {"matched": 4, "changed": 0, "claims": {}})
    grid.step("silent/pass", {})
    grid.step("third/pass", {"matched": 9, "changed": 9, "claims": {"bits": 8}, "artifact": "sha"})
    chain = (train, pruned, ("prune", "second/pass"), ("cut", "silent/pass"), export, ("int8", "third/pass"))
    grid.cells[-1] = dataclasses.replace(cell, chain=chain)
    assert grid.row()["claims"] == {
        "prune": {"matched": 3, "changed": 2, "claims": {"sparsity": 0.5}},
        "prune (3)": {"matched": 4, "changed": 0, "claims": {}},
        "int8": {"matched": 9, "changed": 9, "claims": {"bits": 8}},
        "cut": {},
    }


# Provenance


def test_provenance(grid: Grid) -> None:
    cell = grid.cell("prune")
    train, pruned, _ = (id_ for _, id_ in cell.chain)
    grid.step(train, {"versions": {"numpy": "2.1", "pocketbench": "0.1.0"}, "git_commit": "b2"})
    grid.step(pruned, {"git_commit": "a1"})
    grid.step(cell.memory, {"rss_bytes": 1, "python": "3.12.0", "git_commit": ""}, finished_utc="2026-02-01T00:00:00+00:00")
    row = grid.row()
    assert (row["host_class"], row["cpu_model"], row["cpu_flags"]) == ("abc", "Some CPU", ["avx", "fma"])
    assert row["data_fingerprint"] == "data of digits 0"
    assert list(row["versions"].items()) == [("numpy", "2.1"), ("pocketbench", "0.1.0")]
    assert (row["python"], row["finished_utc"]) == ("3.11.7 3.12.0", "2026-02-01T00:00:00+00:00")
    assert row["git_commit"] == "a1 b2 c1"


@pytest.mark.parametrize(("name", "nothing"), [("versions", {}), ("python", ""), ("cpu_model", "")])
def test_a_row_that_does_not_say_where_it_comes_from_is_no_result(
    name: str, nothing: Any, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:  # case M-14
    monkeypatch.setitem(FACTS, name, nothing)
    monkeypatch.setitem(MACHINE, name, nothing)
    grid.cell()
    row = grid.row()
    assert (row["outcome"], row["reason"]) == ("invalid", f"it does not say where it comes from: no {name}")
    table = grid.table()
    assert (table.entries, [one["recipe"] for one in table.others]) == ((), ["reference"])


def test_a_machine_that_the_store_does_not_know_is_no_provenance(grid: Grid) -> None:  # case M-14
    cell = grid.cell()
    for id_ in (cell.evaluate, *cell.latency):
        grid.store._connection.execute(  # as if the line had been deleted
            "UPDATE steps SET ingredients = replace(ingredients, 'abc', 'gone') WHERE id = ?", (id_,)
        )
    assert grid.row()["reason"] == "it does not say where it comes from: no cpu_model"


def test_outside_a_checkout_there_is_no_commit(grid: Grid) -> None:
    cell = grid.cell()
    for id_, result in grid.store.results(cell.steps()).items():
        arrays = {"test": logits(Y)} if id_ == cell.evaluate else None
        if id_ not in (cell.prepare, *cell.latency):
            grid.step(id_, {**result.facts, "git_commit": ""}, arrays, ingredients=result.ingredients)
    assert grid.row()["git_commit"] == "c1"
    grid.cells[-1] = dataclasses.replace(
        cell, latency=(), prepare=grid.step("digits 9/prepare", {"git_commit": "", "fingerprint": "f"}, PREPARED)
    )
    row = grid.row()
    assert (row["outcome"], row["git_commit"]) == ("ok", None)


PREPARED = {"test_y": np.array(Y), "test_units": np.array(UNITS)}


# Tables


def test_methods_stand_in_the_order_of_their_mean_score(grid: Grid) -> None:
    for recipe, wrong in (("a", (0,)), ("b", ()), ("c", (0, 1)), ("d", (9,))):
        for seed in range(3):
            grid.cell(recipe, off(*wrong, 2, 3) if (recipe, seed) == ("b", 1) else off(*wrong), seed=seed)
    table = grid.table()
    assert [(entry.rows[0]["recipe"], entry.score) for entry in table.entries] == [
        ("b", pytest.approx(2.8 / 3)),
        ("a", 0.9),  # as good as d, and before it in the grid
        ("d", 0.9),
        ("c", pytest.approx(0.8)),
    ]
    assert [[row["seed"] for row in entry.rows] for entry in table.entries] == [[0, 1, 2]] * 4
    assert (table.task, table.metric, table.unit, table.others) == ("digits", "accuracy", "patient", ())


def test_a_method_without_a_score_is_last(grid: Grid) -> None:
    grid.cell("a", metrics=("roc_auc",))
    cell = grid.cell("b", metrics=("roc_auc",), seed=0)
    grid.cell("b", metrics=("roc_auc",), seed=1)
    facts = grid.store.results([cell.evaluate])[cell.evaluate].facts
    facts["scores"]["test"]["values"]["roc_auc"] = None
    grid.step(cell.evaluate, facts, {"test": logits(Y)}, ingredients={"host_class": "abc"})
    grid.cells.reverse()
    assert [(entry.rows[0]["recipe"], entry.score) for entry in grid.table().entries] == [("a", 1.0), ("b", None)]


def test_a_method_with_a_failed_seed_is_not_ranked(grid: Grid) -> None:
    grid.cell("good", off(0, 1, 2))
    grid.cell("bad", seed=0)
    failed = grid.cell("bad", seed=1)
    grid.step(failed.chain[1][1], outcome="out_of_memory", reason="too big")
    table = grid.table()
    assert [entry.rows[0]["recipe"] for entry in table.entries] == ["good"]
    assert [(row["recipe"], row["seed"], row["outcome"], row["score"]) for row in table.others] == [
        ("bad", 0, "ok", 1.0),
        ("bad", 1, "out_of_memory", 1.0),
    ]


@pytest.mark.parametrize("seeds", [1, 2, 4, 5])
def test_intervals_of_methods_and_the_sources_of_their_variation(seeds: int, grid: Grid) -> None:
    cells = [grid.cell("prune", off(*range(seed)), seed=seed) for seed in range(seeds)]
    grid.cell("other", off(5))
    entry = next(entry for entry in grid.table().entries if entry.rows[0]["recipe"] == "prune")
    scored = grid.scored(*cells)
    assert entry.interval == statistics.score_interval(scored, "accuracy")
    assert entry.interval is not None
    assert (entry.interval.over_seeds, entry.interval.units) == (seeds == 5, 4)
    assert entry.deviations == (None if seeds == 1 else statistics.bootstrap([scored], "accuracy").deviations(0))
    if entry.deviations is not None:
        over_units, over_seeds = entry.deviations
        assert over_units is not None
        assert over_units > 0
        # Accuracies 1.0, 0.9, 0.8, 0.7, 0.6
        assert over_seeds == (pytest.approx(math.sqrt(0.025)) if seeds == 5 else None)


def test_one_unit_has_neither_interval_nor_deviations(grid: Grid) -> None:
    grid.prepare(units=[7] * 10)
    for seed in range(2):
        grid.cell(predicted=off(0), seed=seed)
    table = grid.table()
    assert (table.units, table.evaluations) == (1, 10)
    assert (table.entries[0].score, table.entries[0].interval, table.entries[0].deviations) == (0.9, None, None)


def test_units_are_counted_once_over_folds(grid: Grid) -> None:
    grid.prepare(fold=1, y=[0, 1, 1], units=[9, 9, 20])
    for fold in range(2):
        for seed in range(2):
            grid.cell(predicted=Y if fold == 0 else [0, 1, 0], fold=fold, seed=seed)
    table = grid.table()
    assert (table.evaluations, table.units) == (13, 5)  # 3, 5, 8, 9 and 20
    assert table.entries[0].score == pytest.approx((1 + 2 / 3) / 2)
    assert table.entries[0].interval is not None
    assert table.entries[0].interval.units == 5


def test_a_fold_that_could_not_be_prepared_counts_nothing(grid: Grid) -> None:
    grid.cell(fold=0)
    failed = dataclasses.replace(grid.cell(fold=1), evaluate="not run", inspect="not run either")
    grid.step(failed.prepare, outcome="failed", reason="no data")
    grid.cells[-1] = failed
    table = grid.table()
    assert (table.evaluations, table.units, table.baselines) == (10, 4, {})
    assert (table.entries, [row["reason"] for row in table.others]) == ((), ["", "prepare: no data"])
    grid.cells = [failed]
    assert (grid.table().evaluations, grid.table().units) == (0, 0)


def test_scores_by_group_of_a_sensitive_column(grid: Grid) -> None:
    """Rows 0 to 5 are of class 0, 6 to 9 of class 1; all of the old are right, of the young two of four."""
    ages = ["old"] * 4 + ["young"] * 2 + ["old"] * 2 + ["young"] * 2
    grid.prepare()
    grid.add_groups("age", ages)
    cell = grid.cell(predicted=off(5, 9), metrics=("accuracy", "roc_auc"), sensitive=("age",))
    found = grid.row()["groups"]["age"]
    assert {name: (one["n"], one["score"]) for name, one in found["groups"].items()} == {"old": (6, 1.0), "young": (4, 0.5)}
    assert found["gap"] == 0.5
    (scored,) = grid.scored(cell)
    young = np.array(ages) == "young"
    parts = dataclasses.replace(scored, outputs=scored.outputs[young], y=scored.y[young], units=scored.units[young])
    interval = statistics.score_interval([parts], "accuracy")
    assert interval is not None
    assert (found["groups"]["young"]["low"], found["groups"]["young"]["high"]) == (interval.low, interval.high)
    assert grid.table().entries[0].groups["age"].gap == 0.5


def test_a_group_of_one_class_has_no_auc_and_no_gap(grid: Grid) -> None:
    grid.prepare()
    grid.add_groups("age", ["old"] * 6 + ["young"] * 2 + ["old"] * 2)
    grid.cell(metrics=("roc_auc",), sensitive=("age",))
    found = grid.row()["groups"]["age"]
    assert found["groups"]["young"] == {"n": 2, "units": 1, "score": None, "low": None, "high": None}
    assert found["groups"]["old"]["score"] == 1.0
    assert found["gap"] is None


def test_a_group_is_scored_in_the_folds_that_test_it(grid: Grid) -> None:
    for fold in (0, 1):
        grid.prepare(fold=fold)
        grid.add_groups("age", ["old", "young" if fold else "old"] * 5, fold=fold)
        grid.cell(predicted=off(*(range(1, 10, 2) if fold else range(3))), fold=fold, sensitive=("age",))
    (entry,) = grid.table().entries
    found = {name: (one.n, one.score) for name, one in entry.groups["age"].groups.items()}
    assert found == {"old": (15, pytest.approx((0.7 + 1.0) / 2)), "young": (5, 0.0)}
    assert entry.groups["age"].gap == pytest.approx(0.85)


def test_without_a_sensitive_column_there_are_no_groups(grid: Grid) -> None:
    grid.cell()
    assert grid.row()["groups"] is None


def test_a_table_has_what_the_suite_and_the_data_say_of_its_task(grid: Grid) -> None:
    published = [{"method": "LeNet", "scores": {"accuracy": 0.99}, "source": "a paper", "fold": None}]
    of_one = [{**published[0], "fold": fold} for fold in (0, 1)]
    for fold in (0, 1):
        grid.prepare(fold=fold)
        prepared = grid.store.results([f"digits {fold}/prepare"])[f"digits {fold}/prepare"]
        facts = {**prepared.facts, "notes": ["of all folds", f"of fold {fold}"]}
        y, units, validation = (grid.store.array(prepared.id, name) for name in ("test_y", "test_units", "validation_y"))
        grid.store.record(
            dataclasses.replace(prepared, facts=facts), {"test_y": y, "test_units": units, "validation_y": validation}
        )
        grid.cell(fold=fold)
    rows = grid.rows(published={"digits": published + of_one})
    (table,) = leaderboard.tables(grid.store, rows)
    assert table.published == published  # the others are of a part of these rows
    assert table.notes == ("of all folds", "of fold 0", "of fold 1")
    assert table.folds == (0, 1)
    assert table.resolution is None


def test_published_results_of_the_one_fold_that_is_tested(grid: Grid) -> None:
    published = [{"method": str(fold), "scores": {"accuracy": 0.9}, "source": "a paper", "fold": fold} for fold in (None, 0, 1)]
    grid.cell(fold=1)
    (table,) = leaderboard.tables(grid.store, grid.rows(published={"digits": published}))
    assert [one["method"] for one in table.published] == ["None", "1"]


def test_resolution_is_of_the_methods_that_are_ranked(grid: Grid) -> None:
    cells = [grid.cell(), grid.cell("a", off(1, 2)), grid.cell("b", off(3))]
    grid.step(grid.cell("slow", off(1, 2, 3, 4)).latency[0], outcome="timeout", reason="stopped")
    grid.cell("more", seed=1)  # of a seed that the others lack
    assert [(row["outcome"], row["score"]) for row in grid.rows()][-2:] == [("timeout", 0.6), ("ok", 1.0)]
    expected = statistics.bootstrap([[one] for one in grid.scored(*cells)], "accuracy").resolution()
    assert expected is not None
    assert expected > 0
    assert grid.table().resolution == expected


def test_baselines_are_means_over_folds(grid: Grid) -> None:
    # Fold 0: constant is right where y is 0, 6 of 10; trivial in all but two. Fold 1: 1 of 3, and all.
    grid.prepare(constant=[0.4] * 10, trivial=[0.1] * 4 + [0.9] * 2 + [0.9] * 4)
    grid.prepare(fold=1, y=[0, 1, 1], units=[0, 1, 2], constant=[0.4] * 3, trivial=[0.2, 0.8, 0.8])
    grid.cell(fold=0)
    grid.cell(predicted=[0, 1, 1], fold=1)
    baselines = grid.table().baselines
    assert baselines == {"constant": pytest.approx((0.6 + 1 / 3) / 2), "trivial": pytest.approx((0.8 + 1) / 2)}


def test_baselines_are_probabilities_of_the_ranking_metric(grid: Grid) -> None:
    grid.prepare(constant=[0.4] * 10, trivial=[0.3] * 6 + [0.3, 0.4, 0.5, 0.2])
    grid.cell(metrics=("roc_auc", "accuracy"))
    # trivial: a row of class 1 ties with all six, two win against all, one loses against all
    assert grid.table().baselines == {"constant": 0.5, "trivial": pytest.approx((3 + 6 + 6 + 0) / 24)}


def test_baselines_of_three_classes(grid: Grid) -> None:
    # AUCs of the classes: 1, one half, 1. Taken for logits, the second row's odds of class 0 would beat the first row's.
    p = [[0.5, 0.5, 0.0], [0.49, 0.255, 0.255], [0.1, 0.1, 0.8]]
    grid.prepare(y=[0, 1, 2], units=[0, 1, 2], trivial=p)
    grid.cell(outputs=np.eye(3, dtype=np.float32), metrics=("roc_auc",))
    assert grid.table().baselines == {"trivial": pytest.approx(2.5 / 3)}


def test_a_task_without_a_trivial_predictor_and_an_undefined_baseline(grid: Grid) -> None:
    grid.prepare(constant=[0.4] * 10)
    grid.prepare("one class", y=[1] * 10, constant=[0.4] * 10)
    grid.cell(metrics=("roc_auc",))
    grid.cell(task="one class", metrics=("roc_auc",))
    assert [(table.task, table.baselines) for table in grid.tables()] == [("digits", {"constant": 0.5}), ("one class", {})]


def test_what_is_another_method(grid: Grid) -> None:
    grid.cell()
    others = {"backend": "jax", "architecture": "mlp", "runtime": "other", "recipe": "prune"}
    for name, value in others.items():
        grid.cell(**cast(dict[str, Any], {name: value}))
    grid.cell(seed=1)
    grid.cell(fold=1)
    first, *rest = grid.table().entries
    assert [(row["seed"], row["fold"]) for row in first.rows] == [(0, 0), (1, 0), (0, 1)]
    assert [entry.rows[0][name] for entry, name in zip(rest, others, strict=True)] == list(others.values())
    assert [len(entry.rows) for entry in rest] == [1] * 4


# The difference to the control: a smaller network trained from scratch

DIFFERENCE = ("control_difference", "control_difference_low", "control_difference_high")
NARROW = "narrow(width=0.5)"


def difference(row: Row) -> tuple[float | None, ...]:
    return tuple(row[name] for name in DIFFERENCE)


def paired(grid: Grid, own: Sequence[Cell], controls: Sequence[Cell]) -> tuple[float, float]:
    interval = statistics.paired_difference(grid.scored(*own), grid.scored(*controls), own[0].metrics[0])
    assert interval is not None
    return interval.low, interval.high


def test_the_difference_to_the_control_is_paired(grid: Grid) -> None:
    grid.cell()
    narrow = grid.cell(NARROW, off(0, 5, 9))
    pruned = grid.cell("prune", off(0))
    rows = grid.rows()
    value, low, high = difference(rows[2])
    assert value == pytest.approx(0.9 - 0.7)
    assert (low, high) == paired(grid, [pruned], [narrow])
    # What is wrong of prune is wrong of narrow too, so no shared draw is below 0; draws of their own would be.
    assert low is not None
    assert high is not None
    assert 0 <= low < 0.2 < high
    assert [difference(row) for row in rows[:2]] == [(None,) * 3] * 2  # the reference and the control itself
    assert {
        entry.rows[0]["recipe"]: entry.control and tuple(entry.control.columns().values()) for entry in grid.table().entries
    } == {
        "reference": None,
        NARROW: None,
        "prune": difference(rows[2]),
    }


def test_the_difference_is_of_the_ranking_metric_and_may_be_below_zero(grid: Grid) -> None:
    # Class 1 has one of four wrong and class 0 one of six, against one of four.
    narrow = grid.cell("narrow", off(9), metrics=("balanced_accuracy", "accuracy"))
    pruned = grid.cell("prune", off(2, 9), metrics=("balanced_accuracy", "accuracy"))
    value, low, high = difference(grid.row())
    assert value == pytest.approx(-1 / 12)
    assert (low, high) == paired(grid, [pruned], [narrow])
    assert high == 0  # never above: every draw has one more wrong, or as many


def test_a_control_is_of_the_same_task_fold_back_end_architecture_runtime_and_seed(grid: Grid) -> None:
    grid.cell("prune", off(0))
    others = {"task": "b", "fold": 1, "backend": "jax", "architecture": "mlp", "runtime": "other", "seed": 1}
    for name, value in others.items():
        grid.cell("narrow", **cast(dict[str, Any], {name: value}))
    assert [difference(row) for row in grid.rows()] == [(None,) * 3] * 7
    assert all(entry.control is None for table in grid.tables() for entry in table.entries)
    grid.cell("narrow", off(0, 1))
    assert difference(grid.rows()[0])[0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("recipe", "compared"), [("narrow + int8-static", True), ("int8-static", True), ("narrower", True), ("narrow", False)]
)
def test_what_is_a_control(recipe: str, compared: bool, grid: Grid) -> None:
    grid.cell(NARROW, off(1))
    grid.cell(recipe)
    assert difference(grid.row())[0] == (pytest.approx(0.1) if compared else None)


def test_of_several_controls_the_one_nearest_in_bytes(grid: Grid) -> None:
    tiny = grid.cell("narrow(width=0.1)", off(0, 1, 2))
    grid.step(tiny.inspect, {"bytes": 100, "deflate_bytes": 90})
    half = grid.cell(NARROW, off(0))
    grid.step(half.inspect, {"bytes": 500, "deflate_bytes": 90})
    for recipe, size, control, value in (("small", 130, "narrow(width=0.1)", 0.3), ("middle", 400, NARROW, 0.1)):
        cell = grid.cell(recipe)
        grid.step(cell.inspect, {"bytes": size, "deflate_bytes": 90})
        row = grid.row()
        assert (row["control"], row["control_difference"]) == (control, pytest.approx(value))
    assert [row["control"] for row in grid.rows()[:2]] == [None, None]


def test_seeds_with_different_controls_are_not_averaged(grid: Grid) -> None:
    for seed, recipe in enumerate(("narrow(width=0.1)", NARROW)):
        grid.cell(recipe, seed=seed)
        grid.cell("prune", off(0), seed=seed)
    assert [row["control"] for row in grid.rows()] == [None, "narrow(width=0.1)", None, NARROW]
    entry = next(entry for entry in grid.table().entries if entry.rows[0]["recipe"] == "prune")
    assert entry.control is None


def test_versions_of_all_steps_are_kept(grid: Grid) -> None:
    cell = grid.cell("prune")
    grid.step(cell.chain[0][1], {"versions": {"torch": "2.12"}})
    grid.step(cell.chain[1][1], {"versions": {"torch": "2.13"}})
    assert grid.row()["versions"]["torch"] == "2.12 2.13"


def test_without_an_anchor_there_is_no_ratio(grid: Grid) -> None:
    """On a runtime that cannot load the reference."""
    cell = grid.cell("packed")
    for id_ in cell.latency:
        grid.timed(id_, artifact=timings(10, 10), anchor=None)
    grid.cells[-1] = dataclasses.replace(cell, reference_evaluate="")
    row = grid.row()
    assert (row["latency_ratio"], row["flips"], row["latency_p50_us"] is None) == (None, None, False)


def test_macs_that_are_not_known_say_why(grid: Grid) -> None:
    cell = grid.cell()
    grid.step(cell.inspect, {"bytes": 10, "deflate_bytes": 9, "macs": None, "macs_reason": "Loop is not counted"})
    assert (grid.row()["macs"], grid.row()["reason"]) == (None, "macs: Loop is not counted")


def test_without_a_scored_control_there_is_no_difference(grid: Grid) -> None:
    narrow = grid.cell(NARROW)
    grid.cell("prune", off(0))
    grid.step(narrow.evaluate, outcome="invalid", reason="NaN", ingredients={"host_class": "abc"})
    assert [difference(row) for row in grid.rows()] == [(None,) * 3] * 2
    (entry,) = grid.table().entries
    assert (entry.rows[0]["recipe"], entry.score, entry.control) == ("prune", 0.9, None)


def test_an_undefined_score_has_no_difference(grid: Grid) -> None:
    grid.prepare(y=[1] * 10)
    grid.cell(NARROW, metrics=("roc_auc",))
    grid.cell("prune", metrics=("roc_auc",))
    assert [(row["score"], *difference(row)) for row in grid.rows()] == [(None,) * 4] * 2
    grid.prepare("one unit", units=[7] * 10)
    grid.cell(NARROW, off(0), task="one unit")
    grid.cell("prune", task="one unit")
    assert (grid.row()["score"], *difference(grid.row())) == (1.0, None, None, None)  # as the score, it has no interval


@pytest.mark.parametrize("seeds", [2, 5])
def test_the_difference_of_several_seeds_is_of_the_means(seeds: int, grid: Grid) -> None:
    pruned = [grid.cell("prune", off(*range(seed)), seed=seed) for seed in range(seeds)]
    narrow = [grid.cell(NARROW, off(9, *range(seed % 2)), seed=seed) for seed in reversed(range(seeds))]
    narrow.reverse()
    rows = grid.rows()
    for seed in range(seeds):
        value, *interval = difference(rows[seed])
        assert value == pytest.approx((10 - seed) / 10 - (9 - seed % 2) / 10)
        assert tuple(interval) == paired(grid, pruned[seed : seed + 1], narrow[seed : seed + 1])
    found = {entry.rows[0]["recipe"]: entry for entry in grid.table().entries}
    entry, control = found["prune"], found[NARROW]
    assert entry.control is not None
    assert entry.score is not None
    assert control.score is not None
    assert entry.control.mean == pytest.approx(entry.score - control.score)
    assert (entry.control.low, entry.control.high) == paired(grid, pruned, narrow)
    assert control.control is None


def test_seeds_without_a_control_leave_the_method_without_a_difference(grid: Grid) -> None:
    for seed in range(3):
        grid.cell("prune", off(0), seed=seed)
    for seed in range(2):
        grid.cell(NARROW, off(0, 1), seed=seed)
    assert [difference(row)[0] for row in grid.rows()] == [pytest.approx(0.1), pytest.approx(0.1), None, None, None]
    entry = next(entry for entry in grid.table().entries if entry.rows[0]["recipe"] == "prune")
    assert (entry.score, entry.control) == (0.9, None)


# A device that only some rows are run on


def sampled(grid: Grid, rows: int, recipe: str, predicted: Sequence[int], told: Mapping[str, Any]) -> Cell:
    """A cell of the runtime ``mcu``, scored on so many rows alone."""
    places, all_y = sample(len(Y), rows), np.array(Y)
    grid.prepare(y=all_y[places].tolist(), units=np.array(UNITS)[places].tolist())  # what the helper scores by
    cell = grid.cell(recipe, np.array(predicted)[places].tolist(), runtime="mcu")
    result = grid.store.results([cell.evaluate])[cell.evaluate]
    arrays = {name: grid.store.array(cell.evaluate, name) for name in ("test", "validation")}
    facts, ingredients = {**result.facts, "device": dict(told)}, {**result.ingredients, "rows": rows}
    grid.store.record(dataclasses.replace(result, facts=facts, ingredients=ingredients), arrays)
    grid.prepare()
    grid.cells[-1] = dataclasses.replace(cell, latency=(), memory="", floor_memory="", anchors=cell.anchors[:2])
    return grid.cells[-1]


DEVICE = {"flash_bytes": 5000, "ram_bytes": 600, "instructions_m4": 70, "instructions_m7": 80, "label_agreement": 0.75}


def test_rows_of_a_device_are_scored_on_the_rows_that_it_ran(grid: Grid) -> None:
    sampled(grid, 4, "reference", off(2), {**DEVICE, "flags": "-O2"})
    row = grid.row(tiers=[{"name": "fits", "flash": 5000, "ram": 600}, {"name": "small", "flash": 4999, "ram": 600}])
    assert (row["outcome"], row["score"], row["test_rows"]) == ("ok", 0.75, 4)
    assert {name: row[name] for name in DEVICE} == DEVICE
    assert row["device"] == {"flags": "-O2"}
    assert row["tiers"] == ["fits"]
    assert row["latency_p50_us"] is row["rss_bytes"] is None
    table = grid.table()
    assert (table.evaluations, table.units) == (4, len(set(np.array(UNITS)[[0, 2, 5, 7]].tolist())))
    assert table.entries[0].rank == 1


def test_rows_of_a_sample_have_no_rank_beside_those_of_all(grid: Grid) -> None:
    grid.cell("reference", off(1))
    grid.cell("other", off(1, 2))
    sampled(grid, 4, "reference", Y, DEVICE)
    table = grid.table()
    by_runtime = {(entry.rows[0]["runtime"], entry.rows[0]["recipe"]): entry for entry in table.entries}
    assert by_runtime["mcu", "reference"].rank is None
    assert by_runtime["onnxruntime", "reference"].rank == 1
    assert table.evaluations == len(Y)
    assert by_runtime["mcu", "reference"].fronts == ("bytes", "microcontroller")
