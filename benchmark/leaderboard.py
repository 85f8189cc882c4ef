"""Store -> rows -> ranked tables. Numbers stay unrounded here; rounding is the renderers' work."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import numpy as np

from benchmark import ranking, statistics
from benchmark.budget import DeviceTier
from benchmark.data import GROUP
from benchmark.measure import quality
from benchmark.measure.outputs import sample
from benchmark.plan import Cell, ended_well, judge, stored_cells
from benchmark.ranking import Verdict
from benchmark.recommend import fits
from benchmark.search import Log, winner
from benchmark.specs import DEVICE_COUNTS, Output
from benchmark.statistics import Bootstrap, Interval, Scored
from benchmark.store import StepResult, Store
from benchmark.suite import REFERENCE, read_searched
from benchmark.warm import SEARCHED

if TYPE_CHECKING:
    from numpy.typing import NDArray

Row: TypeAlias = dict[str, Any]
_KEY = ("suite", "task", "modality", "fold", "backend", "architecture", "recipe", "runtime", "seed")
_ON_DEVICE = ("resident_weight_bytes", "activation_peak_bytes")
COLUMNS = (
    *_KEY,
    *("outcome", "reason"),
    *("chosen", "n_proposals", "search_seconds", "search_score"),
    *("stopped_by", "metric", "metrics", "val_score", "score", "score_low", "score_high", "test_rows", "flips"),
    *("reference_difference", "reference_difference_low", "reference_difference_high", "reference_verdict"),
    *("control", "control_difference", "control_difference_low", "control_difference_high", "control_verdict", "groups"),
    *("artifact_bytes", "size_ratio", "deflate_bytes", "dtypes", "parameters", "nonzero_parameters", "macs"),
    *_ON_DEVICE,
    *("latency_p50_us", "latency_p90_us", "latency_p99_us", "latency_ratio", "latency_ratio_low", "latency_ratio_high"),
    *("floor_us", "first_call_ms", "load_ms", "warm_up_calls", "rss_bytes", "floor_rss_bytes"),
    *DEVICE_COUNTS,
    *("label_agreement", "device"),
    *("build_seconds", "total_build_seconds", "compile_seconds", "updates", "threads_observed"),
    *("noisy", "disturbances", "tiers", "limits"),
    "host_class",
    *(
        "claims",
        "cpu_model",
        "cpu_flags",
        "threads",
        "data_fingerprint",
        "artifact",
        "versions",
        "python",
        "git_commit",
        "finished_utc",
    ),
)
"""The columns of rows.csv and rows.json, in order. Undefined values are None."""
CLAIM_MARGIN = 0.05
"""A plugin's claim further than this share from what was measured is flagged."""
NOISY = 0.2
"""A row is ``noisy`` when the medians of its rounds spread by more than this share of the smallest, ..."""
NOISY_WAITING = 0.05
"""... or when a measuring process that was ready waited for its core for more than this share of the time."""
THREADS_MARGIN = 1.0
"""Rows with more busy threads than allowed by this are named. On a pinned core two threads of which one hands on to the other
are often ready together: JAX comes to 1.7 there, and to 1.1 where it has two cores, so that only more than that is sure."""
PROVENANCE = ("versions", "python", "cpu_model", "threads", "seed", "data_fingerprint", "finished_utc")
"""A row that lacks any of these is not shown as a result (case M-14 of what users met: numbers nobody can repeat)."""
CONTROL = "narrow"
"""The pass that trains a smaller network from scratch, for as many updates as a reference and a pass's fine-tuning together: what
compressing must beat."""
_STOPS = ("updates", "early", "deadline")


Drawn: TypeAlias = dict[tuple[str, int, int], tuple[dict[str, int], Bootstrap]]
"""(task, fold, number of test rows) -> the bootstrap of all that was scored on these rows, each evaluate step as a method, and
the places of these by id."""


def rows(store: Store, drawn: Drawn | None = None) -> list[Row]:
    """One row for every cell of the last run, in the grid's order. ``drawn``: is given the bootstraps, for :func:`tables`."""
    suite, cells = store.meta("suite"), stored_cells(store)
    all_rows = [_row(cell, store.results(cell.steps()), store, suite) for cell in cells]
    partners = _partners(cells, all_rows)
    split: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    for index, (cell, row) in enumerate(zip(cells, all_rows, strict=True)):
        if row["score"] is not None:
            split[cell.task, cell.fold, row["test_rows"]].append(index)
    for where, members in split.items():
        alone = [[dataclasses.replace(scored(cells[i], store), seed=0)] for i in members]  # what they share is the test rows
        boot = statistics.bootstrap(alone, cells[members[0]].metrics[0])
        place = {index: position for position, index in enumerate(members)}
        if drawn is not None:
            drawn[where] = {cells[i].evaluate: place[i] for i in members}, boot
        for index in members:
            if interval := boot.interval(place[index]):
                all_rows[index] |= {"score_low": interval.low, "score_high": interval.high}
            for name, margin in (("reference", cells[index].margin), ("control", 0.0)):
                other = partners[index][name]
                if other is None:
                    continue
                if name == "control":
                    all_rows[index]["control"] = cells[other].recipe
                if found := _difference(boot, place[index], place[other], margin):
                    all_rows[index] |= {f"{name}_difference{end}": value for end, value in found.columns().items()}
                    all_rows[index][f"{name}_verdict"] = found.verdict
    return all_rows


@dataclass(frozen=True)
class Difference:
    """A mean test score less another on the same rows, its paired interval, and what that says given the margin."""

    mean: float
    low: float
    high: float
    verdict: Verdict

    def columns(self) -> dict[str, float]:
        """By the ends of column names."""
        return {"": self.mean, "_low": self.low, "_high": self.high}


def _difference(boot: Bootstrap, one: int, other: int, margin: float) -> Difference | None:
    interval = boot.difference(one, other)
    if interval is None:
        return None
    mean = float(boot.scores[one] - boot.scores[other])
    return Difference(mean, interval.low, interval.high, ranking.verdict(interval.low, interval.high, margin))


def _partners(cells: Sequence[Cell], all_rows: Sequence[Row]) -> list[dict[str, int | None]]:
    """For each cell the positions of what it is compared with, None where there is none: its reference, and its control, which is
    of several the one nearest in bytes. Both are of the same task, fold, back end, architecture, runtime and seed. References
    are compared with nothing, controls not with each other."""
    place = ("task", "fold", "backend", "runtime", "seed")
    # What a search found is compared with the reference of the network that it chose, where that is in the grid.
    keys = [(*(getattr(cell, name) for name in place), cell.chosen.partition(" ")[0] or cell.architecture) for cell in cells]
    references: dict[tuple[Any, ...], int] = {}
    controls: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for index, (key, cell, row) in enumerate(zip(keys, cells, all_rows, strict=True)):
        if not _is_scored(row):
            continue
        if cell.recipe == REFERENCE:
            references[key] = index
        elif is_control(cell.recipe):
            controls[key].append(index)

    def apart(index: int, row: Row) -> float:
        return abs(float(np.log(all_rows[index]["artifact_bytes"] / row["artifact_bytes"])))

    found: list[dict[str, int | None]] = []
    for key, cell, row in zip(keys, cells, all_rows, strict=True):
        compared = row["score"] is not None and cell.recipe != REFERENCE
        near = controls[key] if compared and key in controls and not is_control(cell.recipe) else []
        control = min(near, key=lambda index: apart(index, row)) if near else None
        found.append({"reference": references.get(key) if compared else None, "control": control})
    return found


def is_control(recipe: str) -> bool:
    """Whether a recipe is a control by itself: a smaller network trained from scratch."""
    return recipe.partition("(")[0] == CONTROL and " + " not in recipe


def _row(cell: Cell, results: Mapping[str, StepResult], store: Store, suite: Mapping[str, Any]) -> Row:
    outcome, reason = judge(cell, results)
    row: Row = dict.fromkeys(COLUMNS)
    row |= {name: getattr(cell, name) for name in _KEY}
    row |= {"outcome": outcome or "no_result", "reason": reason, "metric": cell.metrics[0], "threads": suite["build"]["cores"]}
    if outcome is None:
        row["reason"] = "the run ended before this cell was finished"
    if cell.skipped:
        return row
    if ended_well(cell.search, results):
        search = searched(cell, results, suite)
        won = winner(search.log.entries, cell.chosen)
        row |= {"chosen": cell.chosen or None, "n_proposals": len(search.log.entries), "search_seconds": search.log.spent}
        row["search_score"] = won.score if won and len(won.scores) > 1 else None
    row |= _built(cell, results) | _provenance(cell, results, store)
    row["limits"] = _limits([results[id_] for id_ in (*(id_ for _, id_ in cell.chain), cell.evaluate) if id_ in results])
    if ended_well(cell.inspect, results):
        row |= _sizes(cell, results)
    if ended_well(cell.evaluate, results):
        row |= _scores(cell, results, store) | _on_device(results[cell.evaluate].facts.get("device", {}))
        row["groups"] = {column: dataclasses.asdict(one) for column, one in groups([cell], store).items()} or None
    if cell.latency and all(ended_well(id_, results) for id_ in cell.latency):
        row |= _latencies(cell, results, store)
    row["threads_observed"] = max((one for one in _threads(cell, results) if one is not None), default=None)
    if ended_well(cell.memory, results):
        row["rss_bytes"] = results[cell.memory].facts.get("rss_bytes")
    if ended_well(cell.floor_memory, results):
        row["floor_rss_bytes"] = results[cell.floor_memory].facts.get("rss_bytes")
    if outcome != "ok":
        row["stopped_by"] = None  # it would be that of a training before what went wrong
    else:
        row["reason"] = "; ".join(f"{name}: {remark}" for name, remark in _remarks(cell, results, store).items())
        if missing := [name for name in PROVENANCE if row[name] in (None, "", {})]:
            return row | {"outcome": "invalid", "reason": f"it does not say where it comes from: no {', '.join(missing)}"}
        row["tiers"] = [tier["name"] for tier in suite["tiers"] if fits(row, DeviceTier(**tier))]
    return row


def _built(cell: Cell, results: Mapping[str, StepResult]) -> Row:
    chain = [results[id_] for _, id_ in cell.chain if id_ in results]
    charged = dict.fromkeys(id_ for _, id_ in (*cell.chain, *cell.teachers))
    shared = {id_ for _, id_ in cell.anchors} if cell.recipe != REFERENCE else set()
    stops = [one.facts["stopped_by"] for one in chain if "stopped_by" in one.facts]
    trained = [one.facts["updates"] for one in chain if "updates" in one.facts]
    compiled = [one.facts["compile_seconds"] for one in chain if "compile_seconds" in one.facts]
    return {
        "stopped_by": max(stops, key=_STOPS.index, default=None),
        "updates": sum(trained) if trained else None,
        "compile_seconds": sum(compiled) if compiled else None,
        "build_seconds": sum(one.seconds for one in chain if one.id not in shared),
        "total_build_seconds": sum(results[id_].seconds for id_ in ([cell.search] if cell.search else charged) if id_ in results),
        "claims": _claims(cell, results),
    }


def _threads(cell: Cell, results: Mapping[str, StepResult]) -> Iterator[float | None]:
    """The busy threads that were seen in each step in which the cell's own back end, passes and runtime ran."""
    for id_ in (*(id_ for _, id_ in cell.chain), cell.evaluate, *cell.latency):
        if id_ in results and "threads" in results[id_].limits:
            yield results[id_].limits["threads"]["observed"]


def _limits(steps: Iterable[StepResult]) -> Row:
    """For each limit its value, every mechanism that one of these steps ran under, and the largest value observed in any."""
    merged: dict[str, dict[str, Any]] = {}
    for result in steps:
        for name, evidence in result.limits.items():
            best = merged.setdefault(name, dict(evidence))
            if evidence["mechanism"] not in best["mechanism"].split("; "):
                best["mechanism"] += f"; {evidence['mechanism']}"
            if evidence["observed"] is not None and (best["observed"] is None or evidence["observed"] > best["observed"]):
                best["observed"] = evidence["observed"]
    return merged


def _claims(cell: Cell, results: Mapping[str, StepResult]) -> Row | None:
    """What each pass said of itself, in the chain's order, by its name, from the second pass of a name on with its place in the
    chain; nothing for one that said nothing."""
    told: Row = {}
    for place, (name, id_) in enumerate(cell.chain, 1):
        if id_ in results and results[id_].kind == "pass":
            facts = results[id_].facts
            said = {key: facts[key] for key in ("matched", "changed", "claims") if key in facts}
            told[f"{name} ({place})" if name in told else name] = said
    return told or None


def disputed(row: Row) -> dict[str, tuple[float, float]]:
    """What the last pass of a row claimed and the file does not bear out: name -> (claimed, measured), where they are more than
    :data:`CLAIM_MARGIN` apart. Earlier passes spoke of models that others have changed since."""
    passes: list[Row] = list((row["claims"] or {}).values())
    last = passes[-1] if passes else {}
    measured = {name: row[name] for name in ("artifact_bytes", "size_ratio", "parameters", "nonzero_parameters", "macs")}
    if row["parameters"]:
        measured["sparsity"] = 1 - row["nonzero_parameters"] / row["parameters"]
    if row["latency_ratio"]:
        measured["speed_up"] = 1 / row["latency_ratio"]
    both = {name: (value, measured[name]) for name, value in last.get("claims", {}).items() if measured.get(name) is not None}
    numbers = {name: pair for name, pair in both.items() if isinstance(pair[0], int | float)}
    return {name: pair for name, pair in numbers.items() if abs(pair[0] - pair[1]) > CLAIM_MARGIN * abs(pair[1])}


def _sizes(cell: Cell, results: Mapping[str, StepResult]) -> Row:
    facts = results[cell.inspect].facts
    reference = results[cell.reference_inspect].facts if ended_well(cell.reference_inspect, results) else None
    return {
        "artifact": results[cell.chain[-1][1]].facts["artifact"],
        "artifact_bytes": facts["bytes"],
        "size_ratio": reference["bytes"] / facts["bytes"] if reference else None,
        "deflate_bytes": facts["deflate_bytes"],
        **{name: facts.get(name) for name in ("dtypes", "parameters", "nonzero_parameters", "macs", *_ON_DEVICE)},
    }


def _on_device(told: Mapping[str, Any]) -> Row:
    """What a runtime told of the device that it is for: a column each, and the texts together."""
    columns = {name: value for name, value in told.items() if name in (*DEVICE_COUNTS, "label_agreement")}
    return {**columns, "device": {name: value for name, value in told.items() if name not in columns} or None}


def _scores(cell: Cell, results: Mapping[str, StepResult], store: Store) -> Row:
    scores, metric = results[cell.evaluate].facts["scores"], cell.metrics[0]
    flips = None
    if ended_well(cell.reference_evaluate, results):
        own, reference = (quality.labels(store.array(id_, "test")) for id_ in (cell.evaluate, cell.reference_evaluate))
        flips = float(np.mean(own != reference))
    return {
        "metrics": scores["test"]["values"],
        "val_score": scores["validation"]["values"][metric],
        "score": scores["test"]["values"][metric],
        "test_rows": len(store.array(cell.evaluate, "test")),
        "flips": flips,
    }


def _remarks(cell: Cell, results: Mapping[str, StepResult], store: Store) -> dict[str, str]:
    """What has to be said of a row that ended well, by what it is about: why a score or the MACs are undefined; over how many
    classes a score is a mean; and whether the labels tell rows apart at all (an AUC asks for their order only, and can be high
    where every label is the same)."""
    scores, metric = results[cell.evaluate].facts["scores"], cell.metrics[0]
    reasons = dict(scores["test"]["reasons"])
    if metric in scores["validation"]["reasons"]:
        reasons[f"validation {metric}"] = scores["validation"]["reasons"][metric]
    if reason := results[cell.inspect].facts.get("macs_reason"):
        reasons["macs"] = reason
    if cell.search and (ended := results[cell.search].facts["log"]["ended"]):
        reasons["search"] = f"over before its time: {ended}"
    test = scored(cell, store)
    labels = quality.labels(test.outputs)
    if len(np.unique(labels)) == 1 < len(np.unique(test.y)):
        reasons["labels"] = f"all {len(labels)} test rows get {results[cell.prepare].facts['classes'][labels[0]]}"
    return reasons


def scored(cell: Cell, store: Store) -> Scored:
    """A cell's test outputs with the labels and units of these rows."""
    rows = tested(cell, store)
    y, units = (store.array(cell.prepare, f"test_{name}")[rows] for name in ("y", "units"))
    return Scored(cell.fold, cell.seed, store.array(cell.evaluate, "test"), y, units, cast(Output, cell.output))


def tested(cell: Cell, store: Store) -> NDArray[np.int64]:
    """The test rows that a cell was scored on: all, but for a runtime that is too slow for that."""
    rows = store.results([cell.evaluate])[cell.evaluate].ingredients.get("rows")  # not there in a store of an earlier version
    return sample(len(store.array(cell.prepare, "test_y")), rows)


def _latencies(cell: Cell, results: Mapping[str, StepResult], store: Store) -> Row:
    samples = _samples(cell.latency, "artifact", store) / 1e3  # (processes, rounds, calls), µs
    medians = np.median(samples, axis=2)
    disturbances = _disturbances([results[id_].facts.get("disturbances", {}) for id_ in cell.latency])
    waiting = disturbances.get("waiting_seconds", 0.0) > NOISY_WAITING * disturbances.get("timed_seconds", 0.0)
    row: Row = {
        "latency_p50_us": statistics.percentile_or_none(samples, 0.5),
        "latency_p90_us": statistics.percentile_or_none(samples, 0.9),
        "latency_p99_us": statistics.percentile_or_none(samples, 0.99),
        "noisy": bool(medians.max() > (1 + NOISY) * medians.min()) or waiting,
        "disturbances": disturbances,
        "warm_up_calls": max(results[id_].facts["artifact_warm_up_calls"] for id_ in cell.latency),
        "first_call_ms": _median_fact(cell.latency, "artifact_first_call_ns", results) / 1e6,
        "load_ms": _median_fact(cell.latency, "artifact_load_ns", results) / 1e6,
    }
    if all("floor_load_ns" in results[id_].facts for id_ in cell.latency):
        row["floor_us"] = float(np.median(_samples(cell.latency, "floor", store))) / 1e3
    if all("anchor_load_ns" in results[id_].facts for id_ in cell.latency):
        anchor = np.median(_samples(cell.latency, "anchor", store) / 1e3, axis=2)
        row["latency_ratio"], row["latency_ratio_low"], row["latency_ratio_high"] = statistics.ratio_interval(medians, anchor)
    elif cell.reference_evaluate:  # the runtime does load the reference, and this is it
        row["latency_ratio"] = 1.0
    return row


def _disturbances(processes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The sum over measuring processes of what each of them knows."""
    return {name: sum(one[name] for one in processes) for name in processes[0] if all(name in one for one in processes)}


def _samples(ids: Sequence[str], role: str, store: Store) -> NDArray[Any]:
    return np.stack([store.array(id_, role) for id_ in ids])


def _median_fact(ids: Sequence[str], name: str, results: Mapping[str, StepResult]) -> float:
    return float(np.median([results[id_].facts[name] for id_ in ids]))


def _provenance(cell: Cell, results: Mapping[str, StepResult], store: Store) -> Row:
    steps = [results[id_] for id_ in cell.steps() if id_ in results]
    versions: dict[str, set[str]] = defaultdict(set)
    for one in steps:
        for name, version in one.facts["versions"].items():
            versions[name].add(version)
    last = max(steps, key=lambda one: one.finished_utc, default=None)
    host = next((results[id_].ingredients.get("host_class") for id_ in (cell.evaluate, *cell.latency) if id_ in results), None)
    machine: Mapping[str, Any] = {}
    with suppress(KeyError):
        machine = store.meta(f"host_class:{host}")
    return {
        "host_class": host,
        "cpu_model": machine.get("cpu_model"),
        "cpu_flags": machine.get("cpu_flags"),
        "data_fingerprint": results[cell.prepare].facts.get("fingerprint") if cell.prepare in results else None,
        "versions": {name: " ".join(sorted(found)) for name, found in sorted(versions.items())},
        "python": " ".join(sorted({one.facts["python"] for one in steps})) or None,
        "git_commit": " ".join(sorted({one.facts["git_commit"] for one in steps} - {""})) or None,
        "finished_utc": last.finished_utc if last else None,
    }


@dataclass(frozen=True)
class Searched:
    """A search that is over. ``searcher``: its name, with the parameters that it was given; ``seconds``: its total; ``tier``:
    None for no limits."""

    cell: Cell
    searcher: str
    seconds: float
    tier: DeviceTier | None
    log: Log


def searches(store: Store) -> list[Searched]:
    """The searches of the last run that are over, in the grid's order."""
    found, suite = [], store.meta("suite")
    for cell in stored_cells(store):
        results = store.results([cell.search] if cell.search else [])
        if ended_well(cell.search, results):
            found.append(searched(cell, results, suite))
    return found


def searched(cell: Cell, results: Mapping[str, StepResult], suite: Mapping[str, Any]) -> Searched:
    """The search of a cell, whose step is among ``results``. ``suite``: as the store describes it."""
    searcher, seconds, tier = read_searched(cell.recipe)
    limits = {one["name"]: DeviceTier(**one) for one in suite["tiers"]}.get(tier)
    return Searched(cell, str(searcher), seconds, limits, Log.from_json(results[cell.search].facts["log"]))


@dataclass(frozen=True)
class Group:
    """The test rows of one group of a sensitive column. ``n``: rows, summed over folds; ``units``: what they belong to.
    ``score``: mean over seeds and over the folds that test rows of it, None where it is undefined in one of these, with its
    interval by unit."""

    n: int
    units: int
    score: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Groups:
    """A method's scores by group, groups by name. ``gap``: the largest difference between two of them, None where one is
    undefined."""

    groups: Mapping[str, Group]
    gap: float | None


def groups(cells: Sequence[Cell], store: Store) -> dict[str, Groups]:
    """Sensitive column -> the scores of a method's cells on each of its groups."""
    outputs, metric = [scored(cell, store) for cell in cells], cells[0].metrics[0]
    found = {}
    for column in cells[0].sensitive:
        names = [store.array(cell.prepare, f"{GROUP}{column}")[tested(cell, store)] for cell in cells]
        by_name = {
            str(name): _group(outputs, [one == name for one in names], metric) for name in np.unique(np.concatenate(names))
        }
        scores = [one.score for one in by_name.values() if one.score is not None]
        found[column] = Groups(by_name, max(scores) - min(scores) if len(scores) == len(by_name) > 1 else None)
    return found


def _groups_of(row: Row) -> dict[str, Groups]:
    """What :func:`groups` gave for a row."""
    return {
        column: Groups({name: Group(**group) for name, group in one["groups"].items()}, one["gap"])
        for column, one in (row["groups"] or {}).items()
    }


def _group(cells: Sequence[Scored], members: Sequence[NDArray[np.bool_]], metric: str) -> Group:
    parts = [one for one in map(statistics.of_group, cells, members) if one]
    n = sum(map(len, (one.y for one in parts))) // len({cell.seed for cell in cells})
    units = len(np.unique(np.concatenate([one.units for one in parts])))
    scores = [quality.score(one.outputs, one.y, metric, one.kind) for one in parts]
    if not np.isfinite(scores).all():
        return Group(n, units, None)
    interval = statistics.score_interval(parts, metric)
    return Group(n, units, float(np.mean(scores)), *((interval.low, interval.high) if interval else ()))


@dataclass(frozen=True)
class Entry:
    """A method in a task's table: its rows over seeds and folds, the mean of their test scores and its interval by unit.
    ``deviations``: as :meth:`Bootstrap.deviations` gives them, for more than one seed. ``rank``: as :func:`ranking.ranks` gives
    it; None for a method of other seeds, folds or rows than the most complete ones have. ``reference``, ``control``: the
    difference from these on the same seeds and folds, judged by the task's margin and by 0. ``fronts``: of ``bytes`` (validation
    score and artifact bytes), ``device`` (validation score, memory on the device and p90 latency) and ``microcontroller``
    (validation score, flash and RAM) those that it is on. None where undefined. ``groups``: as :func:`groups` gives them."""

    rows: tuple[Row, ...]
    score: float | None = None
    interval: Interval | None = None
    deviations: tuple[float | None, float | None] | None = None
    rank: int | None = None
    reference: Difference | None = None
    control: Difference | None = None
    fronts: tuple[str, ...] = ()
    groups: Mapping[str, Groups] = field(default_factory=dict)

    def mean(self, column: str) -> float | None:
        """Mean of a column over the rows; None where any lacks it."""
        values = [row[column] for row in self.rows]
        return None if any(value is None for value in values) else float(np.mean(values))

    def median(self, column: str) -> float | None:
        """Median of a column over the rows; None where any lacks it."""
        values = [row[column] for row in self.rows]
        return None if any(value is None for value in values) else float(np.median(values))

    @property
    def tiers(self) -> list[str]:
        """The devices whose limits every row keeps."""
        return [name for name in self.rows[0]["tiers"] if all(name in row["tiers"] for row in self.rows)]

    def has(self, *columns: str) -> bool:
        """Whether every row has one of these columns."""
        return any(all(row[column] is not None for row in self.rows) for column in columns)

    @property
    def device_bytes(self) -> float | None:
        """What the device holds for one input: weights and the peak of activations, median over the rows."""
        parts = [self.median(column) for column in _ON_DEVICE]
        return None if None in parts else sum(cast("list[float]", parts))


@dataclass(frozen=True)
class Table:
    """A task's leaderboard. ``entries``: methods all of whose cells are ``ok``, best mean score first; ``others``: rows of the
    methods of which a cell is not, in the grid's order. ``baselines``: name -> mean test score. ``evaluations``: test rows of
    each fold, summed over folds; ``units``: the distinct units that they belong to. ``resolution``: as
    :meth:`Bootstrap.resolution` gives it, of the methods that have a rank. ``margin``: how much less than the reference is as
    good, fixed before any result. ``published``: what others published, as the task's spec says. ``notes``: what the
    task said of its data."""

    task: str
    metric: str
    margin: float
    unit: str
    folds: tuple[int, ...]
    evaluations: int
    units: int
    entries: tuple[Entry, ...]
    others: tuple[Row, ...]
    baselines: Mapping[str, float]
    resolution: float | None = None
    published: Sequence[Mapping[str, Any]] = ()
    notes: tuple[str, ...] = ()

    def scores(self) -> list[Interval | None]:
        """The intervals of all scores."""
        return [entry.interval for entry in self.entries]

    def differences(self) -> list[Difference | None]:
        """All differences from references and controls."""
        return [one for entry in self.entries for one in (entry.reference, entry.control)]


def tables(store: Store, all_rows: Sequence[Row], drawn: Drawn | None = None) -> list[Table]:
    """One table a task, in the grid's order. Rows of methods with a missing or failed cell are never ranked."""
    cells = stored_cells(store)
    by_task: dict[str, dict[_Name, list[_Member]]] = defaultdict(lambda: defaultdict(list))
    for cell, row in zip(cells, all_rows, strict=True):
        by_task[cell.task][_Name(cell.backend, cell.architecture, cell.recipe, cell.runtime)].append(_Member(cell, row))
    published = store.meta("suite").get("published", {})
    return [_table(task, methods, published.get(task, ()), store, drawn or {}) for task, methods in by_task.items()]


class _Name(NamedTuple):
    """What makes rows of a task one method."""

    backend: str
    architecture: str
    recipe: str
    runtime: str


class _Member(NamedTuple):
    """A cell of a method, and its row."""

    cell: Cell
    row: Row


def _table(
    task: str, methods: Mapping[_Name, Sequence[_Member]], published: Sequence[Mapping[str, Any]], store: Store, drawn: Drawn
) -> Table:
    complete = {name: method for name, method in methods.items() if all(one.row["outcome"] == "ok" for one in method)}
    members = [one for method in methods.values() for one in method]
    first = members[0].cell
    entries, resolution = _entries(complete, store, drawn)
    results = store.results(dict.fromkeys(one.cell.prepare for one in members))
    folds = [id_ for id_ in results if ended_well(id_, results)]
    places = _places_tested(members, folds, store)
    units = [store.array(id_, "test_units")[places[id_]] for id_ in folds]
    folds_tested = list(dict.fromkeys(one.cell.fold for one in members))
    return Table(
        task=task,
        metric=first.metrics[0],
        margin=first.margin,
        unit=first.unit,
        folds=tuple(folds_tested),
        evaluations=sum(map(len, units)),
        units=len(np.unique(np.concatenate(units))) if units else 0,
        entries=tuple(sorted(entries, key=lambda entry: -np.inf if entry.score is None else entry.score, reverse=True)),
        others=tuple(one.row for name, method in methods.items() if name not in complete for one in method),
        baselines=_baselines(places, first.metrics[0], store),
        resolution=resolution,
        published=[one for one in published if one.get("fold") is None or [one["fold"]] == folds_tested],
        notes=tuple(dict.fromkeys(note for id_ in folds for note in results[id_].facts.get("notes", ()))),
    )


def _places_tested(members: Sequence[_Member], folds: Sequence[str], store: Store) -> dict[str, NDArray[np.int64]]:
    """By prepare step the test rows that a table is of: all, unless each method of it was scored on some of them."""
    found = {}
    for id_ in folds:
        rows = [one.row["test_rows"] for one in members if one.cell.prepare == id_ and one.row["test_rows"] is not None]
        found[id_] = sample(len(store.array(id_, "test_y")), max(rows, default=None))
    return found


def _entries(methods: Mapping[_Name, Sequence[_Member]], store: Store, drawn: Drawn) -> tuple[list[Entry], float | None]:
    """The methods, all of whose cells ended well, and the resolution. Those with as many seeds, folds and rows as any are ranked:
    a mean over others is of other rows."""
    grids: dict[tuple[tuple[int, int, int], ...], list[_Name]] = defaultdict(list)
    entries = {name: Entry(tuple(one.row for one in method)) for name, method in methods.items()}
    for name, method in methods.items():
        if all(_is_scored(one.row) for one in method):
            grids[tuple(sorted((one.cell.fold, one.cell.seed, one.row["test_rows"]) for one in method))].append(name)
    resolution = None
    for grid, names in grids.items():
        first = methods[names[0]][0].cell
        boot = _bootstrap([methods[name] for name in names], store, drawn)
        ranked = grid == max(grids, key=lambda one: (len(one), sum(rows for *_, rows in one)))
        ranks: Sequence[int | None] = ranking.ranks(boot.scores, boot.draws) if ranked else [None] * len(names)
        resolution = boot.resolution() if ranked else resolution
        place = {name: position for position, name in enumerate(names)}
        for name, rank in zip(names, ranks, strict=True):
            cells = [one.cell for one in methods[name]]
            interval = boot.interval(place[name])
            differences = {
                kind: _difference(boot, place[name], place[other], margin)
                for kind, other, margin in _others_of(name, methods[name], first.margin)
                if other in place
            }
            entries[name] = dataclasses.replace(
                entries[name],
                score=float(boot.scores[place[name]]),
                interval=interval,
                deviations=boot.deviations(place[name]) if interval and len({one.seed for one in cells}) > 1 else None,
                rank=rank,
                reference=differences.get("reference"),
                control=differences.get("control"),
                groups=groups(cells, store) if len(cells) > 1 else _groups_of(methods[name][0].row),
            )
    return _with_fronts(list(entries.values())), resolution


def _bootstrap(methods: Sequence[Sequence[_Member]], store: Store, drawn: Drawn) -> Bootstrap:
    """Of methods with the same seeds, folds and rows; of a single one each, what was drawn for the rows is drawn already."""
    first, row = methods[0][0]
    where = first.task, first.fold, row["test_rows"]
    if len(methods[0]) == 1 and where in drawn:
        places, boot = drawn[where]
        return boot.only([places[one.cell.evaluate] for (one,) in methods])
    return statistics.bootstrap([[scored(one.cell, store) for one in method] for method in methods], first.metrics[0])


def _others_of(name: _Name, method: Sequence[_Member], margin: float) -> Iterator[tuple[str, _Name, float]]:
    """What a method is compared with: its reference, and its control where all its rows have the same one, since a mean over
    several would be of no method."""
    if name.recipe != REFERENCE:
        yield "reference", name._replace(recipe=REFERENCE), margin
    controls = {one.row["control"] for one in method}
    if len(controls) == 1 and None not in controls:
        yield "control", name._replace(recipe=controls.pop()), 0.0


def _with_fronts(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, with the fronts that they are on by validation: a front is what is chosen from. Scores of all rows and of some
    are not compared."""
    columns: dict[str, Callable[[Entry], tuple[float | None, ...]]] = {
        "bytes": lambda one: (one.median("artifact_bytes"),),
        "device": lambda one: (one.device_bytes, one.median("latency_p90_us")),
        "microcontroller": lambda one: (one.median("flash_bytes"), one.median("ram_bytes")),
    }
    on: dict[int, list[str]] = defaultdict(list)
    for name, costs in columns.items():
        known: dict[tuple[int, ...], dict[int, list[float]]] = defaultdict(dict)
        for index, one in enumerate(entries):
            point = [one.mean("val_score"), *costs(one)]
            if one.score is not None and None not in point:
                val_score, *others = cast("list[float]", point)
                known[tuple(row["test_rows"] or 0 for row in one.rows)][index] = [-val_score, *others]
        for points in known.values():
            for index, undominated in zip(points, ranking.front(list(points.values())), strict=True):
                on[index] += [name] if undominated else []
    return [dataclasses.replace(one, fronts=tuple(on[index])) for index, one in enumerate(entries)]


def _is_scored(row: Row) -> bool:
    return row["outcome"] == "ok" and row["score"] is not None


def smallest_dense_int8(table: Table) -> Entry | None:
    """The smallest plain dense network of 8-bit integers that is non-inferior on validation: a reference or a control that is
    only rounded by one pass, whichever that is, whose validation score is at most the margin below the best reference's."""
    scores = [entry.mean("val_score") for entry in table.entries if entry.rows[0]["recipe"] == REFERENCE]
    best = max((score for score in scores if score is not None), default=None)
    if best is None:
        return None
    good = []
    for entry in table.entries:
        if entry.rows[0]["architecture"] == SEARCHED:
            continue  # its recipe does not say what was done to it
        *before, _ = entry.rows[0]["recipe"].split(" + ")
        plain = _in_int8(entry.rows[0]) and (not before or (len(before) == 1 and is_control(before[0])))
        score, size = entry.mean("val_score"), entry.median("artifact_bytes")
        if plain and score is not None and size is not None and score >= best - table.margin:
            good.append((size, entry))
    return min(good, key=lambda one: one[0])[1] if good else None


def _in_int8(row: Row) -> bool:
    """Whether most of what a file stores is integers of 8 bits, whatever its recipe is called."""
    stored = row["dtypes"] or {}
    return bool(2 * sum(stored.get(name, 0) for name in ("int8", "uint8")) > sum(stored.values()))


def _baselines(places: Mapping[str, NDArray[np.int64]], metric: str, store: Store) -> dict[str, float]:
    """Mean test scores over prepared folds of the predictors to beat, without those that do not exist or are undefined.
    ``places``: by fold the rows that the table is of."""
    means = {}
    for name in ("constant", "trivial"):
        try:
            outputs = [store.array(id_, f"{name}_test")[rows] for id_, rows in places.items()]
        except KeyError:  # the task has no trivial predictor
            continue
        y = [store.array(id_, "test_y")[rows] for id_, rows in places.items()]
        scores = [quality.score(*one, metric, "probabilities") for one in zip(outputs, y, strict=True)]
        if scores and np.isfinite(scores).all():
            means[name] = float(np.mean(scores))
    return means
