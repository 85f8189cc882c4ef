"""``python -m benchmark compare A B``: two results folders -> what changed beyond noise, method by method.

A method is a task, back end, architecture, recipe and runtime; it is compared over the folds and seeds that both folders have of
it, where all of these ended well in both. All differences are B less A, all ratios B to A.

Scores: the paired bootstrap of :mod:`benchmark.statistics` on the same test rows. Many methods are compared at once, so
``beyond`` holds for all of a task together: see :func:`adjusted`. Sizes are deterministic: any change is one. Times: what a
method takes to what its reference takes in the same processes, since nothing else of two runs at two times can be compared. Rows
of two host classes are never mixed, nor are scores of narrow integers between processors of other flags. The folders are only
read.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmark import statistics
from benchmark.explain import changes
from benchmark.folders import open_run
from benchmark.leaderboard import scored
from benchmark.measure import quality
from benchmark.plan import Cell, judge, stored_cells
from benchmark.statistics import MIN_UNITS, Interval, Scored
from benchmark.store import StepResult, Store
from benchmark.suite import REFERENCE

Doubles: TypeAlias = NDArray[np.float64]
Place: TypeAlias = tuple[int, int]
"""Fold and seed."""
Verdict: TypeAlias = Literal["faster", "slower", "equivalent", "not distinguished", "the same measurement"]
SIZES = {"bytes": "bytes", "parameters": "parameters", "macs": "MACs"}
"""Facts of an artifact that are exact, and what they are called."""
EQUIVALENT = 0.05
"""Times whose whole interval is within this share of 1 are equivalent."""
LEVEL = 0.95
"""Of intervals, and of what is said of all methods of a task together."""
_NARROW = ("int", "uint")
_WIDE = ("int32", "int64", "uint32", "uint64")  # shapes and indices, which processors agree on
_OF_ANCHOR = ("bytes", "macs", "operators")
_DERIVED = ("inputs", "artifact", "kind", "provider", "requires", "code", "params", "training")
_DIGEST = 64  # characters
_CALLED = {
    "data": "data fingerprint",
    "host": "code of the host that steps run on",
    "host_class": "host class",
    "measure": "code that measures",
}


class Method(NamedTuple):
    """What is compared, by its name."""

    task: str
    backend: str
    architecture: str
    recipe: str
    runtime: str


@dataclass(frozen=True)
class ScoreChange:
    """``a``, ``b``: mean test scores over folds and seeds. ``interval``: the paired one of ``b - a``, of this method alone.
    ``flips``: test rows, of ``rows`` over all folds and seeds, whose label is another one. ``p``: adjusted for all methods of
    the task, None with fewer than :data:`MIN_UNITS` units: whatever is said of these holds for no others. ``beyond``: beyond
    noise, whether it is small enough."""

    a: float
    b: float
    interval: Interval | None
    flips: int
    rows: int
    p: float | None
    beyond: bool


@dataclass(frozen=True)
class TimeChange:
    """``ratio``: of the time relative to the reference in B to that in A, the geometric mean over folds and seeds, with its 95 %
    interval of this method alone, None where a run has one process. ``p``: adjusted for all methods of the task."""

    ratio: float
    low: float | None
    high: float | None
    p: float | None
    verdict: Verdict

    @property
    def beyond(self) -> bool:
        """Whether it changed beyond noise."""
        return self.verdict in ("faster", "slower")


@dataclass(frozen=True)
class Compared:
    """A method that is complete in both folders. ``places``: its folds and seeds. ``same``: every test output is the same, bit
    for bit. ``score``: None where it is, or was not compared. ``sizes``: those that changed, means over folds and seeds, None
    where unknown. ``time``: None for references and where it was not compared. ``raw_p50_us``: medians on one host class, not
    relative to anything. ``unexplained``: its outputs are others, though every ingredient of them is the same."""

    method: Method
    places: int
    same: bool
    score: ScoreChange | None
    sizes: Mapping[str, tuple[float | None, float | None]]
    time: TimeChange | None
    raw_p50_us: tuple[float, float] | None
    unexplained: bool


@dataclass(frozen=True)
class Ended:
    """Cells of a method that ended otherwise in B than in A, or are in one folder only: then the other outcome is empty."""

    method: Method
    a: str
    b: str
    reason: str
    cells: int


@dataclass(frozen=True)
class TaskComparison:
    """``units``: distinct ones of the test rows that were compared; ``over_seeds``: whether intervals cover training seeds too.
    ``apart``: what of which methods could not be compared, by the reason."""

    task: str
    metric: str
    unit: str
    units: int
    over_seeds: bool
    methods: tuple[Compared, ...]
    ended: tuple[Ended, ...]
    apart: Mapping[str, tuple[Method, ...]]


@dataclass(frozen=True)
class Side:
    """What is to be known of a folder. ``machines``: CPU model and host class; ``late``: steps that the deadline stopped."""

    root: Path
    suite: str
    cells: int
    finished_utc: str
    versions: tuple[str, ...]
    machines: tuple[str, ...]
    late: int


@dataclass(frozen=True)
class Comparison:
    """``tasks``: those of both folders; ``only_a``, ``only_b``: the others, with how many methods they have. ``ingredients``:
    what differs of what steps depend on, with the number of steps, of ``steps`` that both folders have."""

    a: Side
    b: Side
    tasks: tuple[TaskComparison, ...]
    only_a: Mapping[str, int]
    only_b: Mapping[str, int]
    ingredients: Mapping[str, int]
    steps: int


def compare(a: Path, b: Path) -> Comparison:
    """Compares two results folders. Raises UserError for one that holds no run."""
    with closing(open_run(a)) as store_a, closing(open_run(b)) as store_b:
        one, other = _read(a, store_a), _read(b, store_b)
        tasks = {side: _tasks(side.cells) for side in (one, other)}
        both = [task for task in tasks[other] if task in tasks[one]]
        compared = [_task(task, one, other) for task in both]
        ingredients, steps = _ingredients(one, other)
        return Comparison(
            a=one.told(),
            b=other.told(),
            tasks=tuple(compared),
            only_a={task: count for task, count in tasks[one].items() if task not in both},
            only_b={task: count for task, count in tasks[other].items() if task not in both},
            ingredients=ingredients,
            steps=steps,
        )


@dataclass(frozen=True, eq=False)
class _Side:
    """A folder as it was read, without the cells that a plan skips. What is skipped only when it runs is among them: the other
    folder may have it."""

    root: Path
    suite: str
    store: Store
    cells: Mapping[Method, Mapping[Place, Cell]]
    results: Mapping[str, StepResult]

    def ended(self, cell: Cell) -> tuple[str, str]:
        outcome, reason = judge(cell, self.results)
        return outcome or "no_result", reason or ("" if outcome else "the run ended before this cell was finished")

    def facts(self, id_: str) -> Mapping[str, Any]:
        return self.results[id_].facts if id_ in self.results else {}

    def ingredient(self, id_: str, name: str) -> Any:
        return self.results[id_].ingredients.get(name) if id_ in self.results else None

    def machine(self, host_class: str) -> Mapping[str, Any]:
        with suppress(KeyError):
            found: Mapping[str, Any] = self.store.meta(f"host_class:{host_class}")
            return found
        return {}

    def told(self) -> Side:
        results = self.results.values()
        hosts = sorted({one.ingredients["host_class"] for one in results if one.ingredients.get("host_class")})
        return Side(
            root=self.root,
            suite=self.suite,
            cells=sum(self.ended(cell)[0] != "skipped" for places in self.cells.values() for cell in places.values()),
            finished_utc=max((one.finished_utc for one in results), default=""),
            versions=tuple(sorted({one.facts["versions"]["pocketbench"] for one in results if "versions" in one.facts})),
            machines=tuple(f"{self.machine(host).get('cpu_model', 'unknown CPU')} ({host})" for host in hosts),
            late=sum(one.facts.get("stopped_by") == "deadline" for one in results),
        )


def _read(root: Path, store: Store) -> _Side:
    suite = store.meta("suite")["name"]
    cells: dict[Method, dict[Place, Cell]] = defaultdict(dict)
    ids: dict[str, None] = {}
    for cell in stored_cells(store):
        if not cell.skipped:
            cells[Method(cell.task, cell.backend, cell.architecture, cell.recipe, cell.runtime)][cell.fold, cell.seed] = cell
            ids |= dict.fromkeys(cell.steps())
    return _Side(root, suite, store, cells, store.results(ids))


def _tasks(methods: Iterable[Method]) -> dict[str, int]:
    """Tasks, and how many methods each has."""
    return dict(Counter(method.task for method in methods))


# One task


@dataclass(frozen=True)
class _Pair:
    """A method that is complete in both: its cells, in the order of folds and seeds."""

    method: Method
    a: tuple[Cell, ...]
    b: tuple[Cell, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple((cell.fold, cell.seed) for cell in self.a)


def _task(task: str, a: _Side, b: _Side) -> TaskComparison:
    methods = [method for method in dict.fromkeys([*b.cells, *a.cells]) if method.task == task]
    ended: list[Ended] = []
    apart: dict[str, list[Method]] = defaultdict(list)
    pairs: list[_Pair] = []
    for method in methods:
        ended += _ended(method, a, b)
        pair = _pair(method, a, b, apart)
        if pair is None:
            continue
        if reason := _other_rows(pair, a, b):
            apart[reason].append(method)
        else:
            pairs.append(pair)
    scores, same = _scores(pairs, a, b, apart)
    times = _times(pairs, a, b, apart)
    prepared = {id_: None for pair in pairs for id_ in (cell.prepare for cell in pair.a)}
    units = [a.store.array(id_, "test_units") for id_ in prepared]
    first = next(iter(a.cells[next(method for method in methods if method in a.cells)].values()))
    found = [one.interval for one in scores.values() if one.interval]
    return TaskComparison(
        task=task,
        metric=first.metrics[0],
        unit=first.unit,
        units=len(np.unique(np.concatenate(units))) if units else 0,
        over_seeds=any(one.over_seeds for one in found),
        methods=tuple(
            Compared(
                method=pair.method,
                places=len(pair.a),
                same=pair.method in same,
                score=scores.get(pair.method),
                sizes=_sizes(pair, a, b),
                time=times.get(pair.method),
                raw_p50_us=_raw(pair, a, b),
                unexplained=pair.method not in same and _ids(pair.a) == _ids(pair.b),
            )
            for pair in pairs
        ),
        ended=tuple(ended),
        apart={reason: tuple(names) for reason, names in apart.items()},
    )


def _ids(cells: Iterable[Cell]) -> list[str]:
    """An evaluation's id is made of everything that its outputs depend on."""
    return [cell.evaluate for cell in cells]


def _ended(method: Method, a: _Side, b: _Side) -> Iterator[Ended]:
    """The cells of a method that ended otherwise, one for each way."""
    if method not in a.cells or method not in b.cells:
        side = a if method in a.cells else b
        for (outcome, reason), count in Counter(side.ended(cell) for cell in side.cells[method].values()).items():
            if outcome == "skipped":  # it does not exist in either
                continue
            yield Ended(method, *((outcome, "") if side is a else ("", outcome)), reason if outcome != "ok" else "", count)
        return
    ways: dict[tuple[str, str], list[str]] = defaultdict(list)
    for place in a.cells[method].keys() & b.cells[method].keys():
        before, after = a.ended(a.cells[method][place]), b.ended(b.cells[method][place])
        if before[0] != after[0]:
            ways[before[0], after[0]].append(before[1] if after[0] == "ok" else after[1])
    for (outcome, now), reasons in sorted(ways.items()):
        yield Ended(method, outcome, now, min(reasons), len(reasons))


def _pair(method: Method, a: _Side, b: _Side, apart: dict[str, list[Method]]) -> _Pair | None:
    """None for a method that is not complete in both, over folds and seeds that both have."""
    if method not in a.cells or method not in b.cells:
        return None
    one, other = a.cells[method], b.cells[method]
    shared = sorted(one.keys() & other.keys())
    if not shared:
        apart[f"no fold and seed in common ({_places(one)} in A, {_places(other)} in B)"].append(method)
        return None
    pair = _Pair(method, tuple(one[place] for place in shared), tuple(other[place] for place in shared))
    outcomes = [(a.ended(before)[0], b.ended(after)[0]) for before, after in zip(pair.a, pair.b, strict=True)]
    if any(pair_of != ("ok", "ok") for pair_of in outcomes):
        for outcome in dict.fromkeys(before for before, after in outcomes if before == after not in ("ok", "skipped")):
            apart[f"{outcome} in both"].append(method)
        return None
    for name, side in (("A", one), ("B", other)):
        if further := [place for place in side if place not in shared]:
            apart[f"folds and seeds that only {name} has ({_places(further)})"].append(method)
    return pair


def _places(places: Iterable[Place]) -> str:
    return "; ".join(f"fold {fold}, seed {seed}" for fold, seed in sorted(places))


def _other_rows(pair: _Pair, a: _Side, b: _Side) -> str:
    """Why scores, files and times of a method are not about the same thing; empty where they are."""
    if pair.a[0].metrics[0] != pair.b[0].metrics[0]:
        return f"another metric ({pair.a[0].metrics[0]} in A, {pair.b[0].metrics[0]} in B)"
    for one, other in zip(pair.a, pair.b, strict=True):
        if a.facts(one.prepare).get("fingerprint") != b.facts(other.prepare).get("fingerprint"):
            return "other data: the fingerprints differ"
        for name in ("test_y", "test_units"):
            if not np.array_equal(a.store.array(one.prepare, name), b.store.array(other.prepare, name)):
                return f"other data: {name} differs, although the fingerprint is the same"
    return ""


# Scores


def _scores(
    pairs: Sequence[_Pair], a: _Side, b: _Side, apart: dict[str, list[Method]]
) -> tuple[dict[Method, ScoreChange], set[Method]]:
    """Changes of those whose outputs differ, and the methods whose outputs do not."""
    outputs: dict[Method, tuple[list[Scored], list[Scored]]] = {}
    same = set()
    for pair in pairs:
        one, other = ([scored(cell, side.store) for cell in cells] for cells, side in ((pair.a, a), (pair.b, b)))
        if all(_alike(before, after) for before, after in zip(one, other, strict=True)):
            same.add(pair.method)
        elif reason := _other_processors(pair, a, b):
            apart[reason].append(pair.method)
        elif not all(math.isfinite(_score(cell, pair.a[0].metrics[0])) for cell in (*one, *other)):
            apart["the score is undefined"].append(pair.method)
        else:
            outputs[pair.method] = one, other
    if not outputs:
        return {}, same
    return dict(zip(outputs, score_changes(list(outputs.values()), pairs[0].a[0].metrics[0]), strict=True)), same


def _alike(a: Scored, b: Scored) -> bool:
    return a.kind == b.kind and a.outputs.shape == b.outputs.shape and a.outputs.tobytes() == b.outputs.tobytes()


def _score(cell: Scored, metric: str) -> float:
    return quality.score(cell.outputs, cell.y, metric, cell.kind)


def _other_processors(pair: _Pair, a: _Side, b: _Side) -> str:
    """Sums of narrow integers may saturate on one processor and not on another."""
    for one, other in zip(pair.a, pair.b, strict=True):
        stored = {*a.facts(one.inspect).get("dtypes", ()), *b.facts(other.inspect).get("dtypes", ())}
        hosts = a.ingredient(one.evaluate, "host_class"), b.ingredient(other.evaluate, "host_class")
        flags = a.machine(hosts[0]).get("cpu_flags"), b.machine(hosts[1]).get("cpu_flags")
        alike = hosts[0] == hosts[1] or (flags[0] is not None and flags[0] == flags[1])
        if not alike and any(name.startswith(_NARROW) and name not in _WIDE for name in stored):
            return "scores of narrow integers: A and B ran on processors with other flags"
    return ""


def score_changes(methods: Sequence[tuple[Sequence[Scored], Sequence[Scored]]], metric: str) -> list[ScoreChange]:
    """What changed between the cells of each method in A and those in B, on the same rows. Of truly equal methods any is
    ``beyond`` in at most about 5 of 100 comparisons, however many there are. Methods of other folds and seeds are tested apart,
    each group at its share of the 5 %. Raises as :func:`statistics.bootstrap`."""
    groups: dict[tuple[Place, ...], list[int]] = defaultdict(list)
    for index, (cells, _) in enumerate(methods):
        groups[tuple(sorted((cell.fold, cell.seed) for cell in cells))].append(index)
    found: dict[int, ScoreChange] = {}
    for members in groups.values():
        drawn = statistics.bootstrap([cells for index in members for cells in methods[index]], metric)
        at_a, at_b = range(0, 2 * len(members), 2), range(1, 2 * len(members), 2)
        p_values = adjusted(drawn.scores[at_b] - drawn.scores[at_a], drawn.draws[at_b] - drawn.draws[at_a])
        share = (1 - LEVEL) * len(members) / len(methods)
        for index, i, j, p in zip(members, at_a, at_b, p_values, strict=True):
            interval = drawn.difference(j, i, LEVEL)
            judged = drawn.units >= MIN_UNITS and interval is not None
            excludes = interval is not None and not interval.low <= 0 <= interval.high
            flips, rows = _flips(*methods[index])
            found[index] = ScoreChange(
                a=float(drawn.scores[i]),
                b=float(drawn.scores[j]),
                interval=interval,
                flips=flips,
                rows=rows,
                p=p if judged else None,
                beyond=judged and excludes and p <= share,
            )
    return [found[index] for index in range(len(methods))]


def _flips(a: Iterable[Scored], b: Iterable[Scored]) -> tuple[int, int]:
    """Rows that got another label, and all rows."""
    theirs = {(cell.fold, cell.seed): quality.labels(cell.outputs) for cell in b}
    flips = [quality.labels(cell.outputs) != theirs[cell.fold, cell.seed] for cell in a]
    return sum(int(one.sum()) for one in flips), sum(map(len, flips))


def adjusted(differences: ArrayLike, draws: ArrayLike) -> list[float]:
    """p-values of differences (methods,) being 0, adjusted for there being so many, from their bootstrap draws (methods, draws).

    The step-down max-|t| procedure (Westfall and Young 1993, "Resampling-based multiple testing"; Romano and Wolf 2005, "Exact
    and approximate stepdown methods for multiple hypothesis testing", doi:10.1198/016214504000000539): the largest ``|t|`` is
    held against the largest of all centred draws, the next against the largest of the others, and so on. Draws that are shared
    by all methods make it as sharp as their correlation allows. Draws in which a score is undefined are left out.
    """
    values, drawn = np.asarray(differences, dtype=np.float64), np.asarray(draws, dtype=np.float64)
    drawn = drawn[:, np.isfinite(drawn).all(axis=0)]
    if drawn.shape[1] < 2:
        return [1.0] * len(values)
    errors = drawn.std(axis=1, ddof=1)
    constant = errors < 1e-12
    scale = np.where(constant, 1.0, errors)
    t = np.where(constant, np.where(np.abs(values) > 1e-12, np.inf, 0.0), np.abs(values) / scale)
    centred = np.abs(drawn - drawn.mean(axis=1, keepdims=True)) / scale[:, None]
    centred[constant] = 0.0
    order = np.argsort(-t, kind="stable")
    largest = np.maximum.accumulate(centred[order][::-1], axis=0)[::-1]  # of this one and all after it
    p = (1 + np.count_nonzero(largest >= t[order][:, None], axis=1)) / (1 + drawn.shape[1])
    found = np.empty(len(values))
    found[order] = np.maximum.accumulate(p)
    return found.tolist()


# Sizes


def _sizes(pair: _Pair, a: _Side, b: _Side) -> dict[str, tuple[float | None, float | None]]:
    found = {}
    for fact in SIZES:
        one, other = ([side.facts(cell.inspect).get(fact) for cell in cells] for cells, side in ((pair.a, a), (pair.b, b)))
        if one != other:
            found[fact] = _mean(one), _mean(other)
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


# Times


def _times(pairs: Sequence[_Pair], a: _Side, b: _Side, apart: dict[str, list[Method]]) -> dict[Method, TimeChange]:
    logs: dict[Method, tuple[list[Doubles], list[Doubles]]] = {}
    found: dict[Method, TimeChange] = {}
    for pair in pairs:
        if pair.method.recipe == REFERENCE:
            continue  # what the others are timed against
        if _samples(pair.a, a.store) == _samples(pair.b, b.store):
            found[pair.method] = TimeChange(1.0, None, None, None, "the same measurement")
        elif reason := _no_times(pair, a, b):
            apart[reason].append(pair.method)
        else:
            logs[pair.method] = [_logs(cell, a.store) for cell in pair.a], [_logs(cell, b.store) for cell in pair.b]
    for method, change in zip(logs, time_changes(list(logs.values())), strict=True):
        if change.low is None:
            apart["time: one process, so that there is no interval"].append(method)
        found[method] = change
    return found


def _no_times(pair: _Pair, a: _Side, b: _Side) -> str:
    """Why two ratios to the reference cannot be compared; empty where they can."""
    for one, other in zip(pair.a, pair.b, strict=True):
        for name, said in (("host_class", "of two host classes"), ("threads", "with another number of threads")):
            if {a.ingredient(id_, name) for id_ in one.latency} != {b.ingredient(id_, name) for id_ in other.latency}:
                return f"time: measured {said}"
        if not all("anchor_load_ns" in side.facts(id_) for cell, side in ((one, a), (other, b)) for id_ in cell.latency):
            return "time: there is no reference that the runtime loads"
        anchors = [[side.facts(cell.reference_inspect).get(name) for name in _OF_ANCHOR] for cell, side in ((one, a), (other, b))]
        if anchors[0] != anchors[1]:
            return "time: the reference that it is measured against is another network"
        if any(_mostly_floor(cell, side.store) for cell, side in ((one, a), (other, b))):
            return "time: more than half of it is the runtime's own floor"
    return ""


def _mostly_floor(cell: Cell, store: Store) -> bool:
    try:
        floor = [store.array(id_, "floor") for id_ in cell.latency]
    except KeyError:  # the runtime has no identity model
        return False
    return bool(np.median(floor) > np.median([store.array(id_, "artifact") for id_ in cell.latency]) / 2)


def _samples(cells: Iterable[Cell], store: Store) -> list[bytes]:
    return [store.array(id_, "artifact").tobytes() for cell in cells for id_ in cell.latency]


def _logs(cell: Cell, store: Store) -> Doubles:
    """log(artifact / anchor) of each process, the mean over its rounds: as :func:`statistics.ratio_interval` has it."""
    own, anchor = (np.stack([store.array(id_, role) for id_ in cell.latency]) for role in ("artifact", "anchor"))
    return np.asarray(np.log(np.median(own, axis=2) / np.median(anchor, axis=2)).mean(axis=1), dtype=np.float64)


def time_changes(methods: Sequence[tuple[Sequence[Doubles], Sequence[Doubles]]]) -> list[TimeChange]:
    """What changed between the log ratios (processes,) of each cell of each method in A and in B, which are independent.

    The change is the mean over cells of the difference of means; its interval is Welch's (1947, "The generalization of
    'Student's' problem when several different population variances are involved", doi:10.1093/biomet/34.1-2.28), the process
    being the unit. p-values are adjusted by Holm's step-down procedure (1979, "A simple sequentially rejective multiple test
    procedure"), which holds for any dependence. A ratio is ``equivalent`` where its whole interval lies within
    :data:`EQUIVALENT` of 1, as what changes a machine between two runs is in no interval; else ``faster`` or ``slower`` where
    the interval excludes 1 and the adjusted p-value is small; else ``not distinguished``.
    """
    plain = [_welch(*one) for one in methods]
    p_values = iter(_holm([p for *_, p in plain if p is not None]))
    found = []
    for ratio, low, high, p in plain:
        p = None if p is None else next(p_values)
        found.append(TimeChange(ratio, low, high, p, _verdict(low, high, p)))
    return found


def _welch(a: Sequence[Doubles], b: Sequence[Doubles]) -> tuple[float, float | None, float | None, float | None]:
    """The ratio, its interval and the p-value of it being 1; None where a cell has one process."""
    change = float(np.mean([other.mean() - one.mean() for one, other in zip(a, b, strict=True)]))
    groups = [*a, *b]
    if min(map(len, groups)) < 2:
        return math.exp(change), None, None, None
    from scipy.special import stdtr, stdtrit  # type: ignore[import-untyped]  # it ships no types; slow to import

    parts = np.array([group.var(ddof=1) / len(group) for group in groups])
    error = math.sqrt(parts.sum()) / len(a)
    if not error:
        return math.exp(change), math.exp(change), math.exp(change), 0.0 if change else 1.0
    freedom = parts.sum() ** 2 / (parts**2 / [len(group) - 1 for group in groups]).sum()
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    p = 2 * float(stdtr(freedom, -abs(change) / error))
    return math.exp(change), math.exp(change - half), math.exp(change + half), p


def _holm(p_values: Sequence[float]) -> list[float]:
    order = np.argsort(p_values, kind="stable")
    scaled = np.array(p_values, dtype=np.float64)[order] * np.arange(len(p_values), 0, -1)
    found = np.empty(len(p_values))
    found[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return found.tolist()


def _verdict(low: float | None, high: float | None, p: float | None) -> Verdict:
    if low is None or high is None or p is None:
        return "not distinguished"
    if low >= 1 - EQUIVALENT and high <= 1 + EQUIVALENT:
        return "equivalent"
    if p <= 1 - LEVEL and not low <= 1 <= high:
        return "faster" if high < 1 else "slower"
    return "not distinguished"


def _raw(pair: _Pair, a: _Side, b: _Side) -> tuple[float, float] | None:
    """p50 in µs, the median over folds and seeds, where both were measured on one host class and it can be told."""
    hosts, medians = set(), []
    for cells, side in ((pair.a, a), (pair.b, b)):
        hosts |= {side.ingredient(id_, "host_class") for cell in cells for id_ in cell.latency}
        samples = [np.stack([side.store.array(id_, "artifact") for id_ in cell.latency]) / 1e3 for cell in cells]
        known = [p50 for one in samples if (p50 := statistics.percentile_or_none(one, 0.5)) is not None]
        medians.append(float(np.median(known)) if len(known) == len(cells) else None)
    one, other = medians
    return None if len(hosts) != 1 or one is None or other is None else (one, other)


# What could explain it


def _ingredients(a: _Side, b: _Side) -> tuple[dict[str, int], int]:
    """What differs of the steps of cells that both have, matched by what they are called: line -> number of steps."""
    steps = []
    for side, other in ((a, b), (b, a)):
        shared = [
            cell for method, cells in side.cells.items() for place, cell in cells.items() if place in other.cells.get(method, {})
        ]
        ids = dict.fromkeys(id_ for cell in shared for id_ in cell.steps() if id_ in side.results)
        steps.append({(side.results[id_].kind, side.results[id_].label): side.results[id_] for id_ in ids})
    both = [key for key in steps[1] if key in steps[0]]
    counted = Counter(line for key in both for line in changes(_told(steps[0][key]), _told(steps[1][key])))
    return dict(counted.most_common()), len(both)


def _told(step: StepResult) -> dict[str, Any]:
    """What a step depends on but for other steps, named for people. What a plugin brings stands under its name, and versions
    of distributions together."""
    own = {name: step.ingredients[name] for name in ("code", "params", "training") if name in step.ingredients}
    if step.kind == "train":
        own.pop("params", None)  # they are those of the training
    requires = step.ingredients.get("requires", {})
    told = {_CALLED.get(name, name): value for name, value in step.ingredients.items() if name not in _DERIVED}
    return {
        **told,
        step.ingredients.get("provider", "host"): own,
        "code": {name: digest for name, digest in requires.items() if len(str(digest)) == _DIGEST},
        "versions": step.facts.get("versions", {}),
        "python": step.facts.get("python"),
        "git commit": step.facts.get("git_commit"),
    }
