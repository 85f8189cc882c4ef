"""Tables of tasks -> one order over tasks. A method here is a recipe on an architecture; back ends are its replicates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from benchmark.leaderboard import Entry, Table
from benchmark.suite import REFERENCE
from benchmark.warm import SEARCHED

DEFAULT = "default"
"""The architecture of back ends that have the same single one on each task: which one depends on the task."""


class Name(NamedTuple):
    """What makes entries of several tasks and back ends one method."""

    architecture: str
    recipe: str
    runtime: str


@dataclass(frozen=True)
class Standing:
    """A method over tasks. ``scores``: task -> its normalised score, the mean over back ends: 0 is the task's trivial baseline
    (the constant one where it has no other), 1 its best reference; tasks without a complete entry are missing. ``spread``: the
    largest difference between two back ends on a task, None with one. ``cells``: on how many tasks and back ends it is, of how
    many its architecture is. ``mean``: over all tasks, None where one of these cells is missing (the strict view): a mean over
    fewer back ends is of others. ``imputed``: the mean with the constant predictor's score in missing cells. ``place``: by
    ``mean``, equal means sharing it; None without a mean. ``record``: wins, ties and losses against each other method, by its
    name: on a task a method wins where a back end has it at a better rank than the other, and none at a worse."""

    name: Name
    backends: tuple[str, ...]
    scores: Mapping[str, float]
    spread: float | None
    cells: tuple[int, int]
    mean: float | None
    imputed: float
    place: int | None
    record: Mapping[Name, tuple[int, int, int]]

    @property
    def total(self) -> tuple[int, int, int]:
        """Wins, ties and losses over all others."""
        return tuple(sum(one[i] for one in self.record.values()) for i in range(3))  # type: ignore[return-value]  # of three


@dataclass(frozen=True)
class Overall:
    """``standings``: the complete ones first, best first, then the others by their imputed mean. ``tasks``: what they are over;
    ``left_out``: tasks on which no reference beats the baseline, so that there is no scale."""

    standings: tuple[Standing, ...]
    tasks: tuple[str, ...]
    left_out: tuple[str, ...]


def overall(tables: Sequence[Table]) -> Overall | None:
    """The order over tasks; None with fewer than two tasks that have a scale."""
    scales = {table.task: scale for table in tables if (scale := _scale(table))}
    if len(scales) < 2:
        return None
    labels = _labels(tables)
    found: dict[Name, dict[str, dict[str, Entry]]] = defaultdict(lambda: defaultdict(dict))
    for table in tables:
        for entry in table.entries if table.task in scales else ():
            row = entry.rows[0]
            if entry.rank is not None:
                name = Name(labels.get((row["backend"], row["architecture"]), SEARCHED), row["recipe"], row["runtime"])
                found[name][table.task][row["backend"]] = entry
    wanted: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, tasks in found.items():
        for task, entries in tasks.items():
            wanted[name.architecture, name.runtime][task].update(entries)
    standings = [_standing(name, tasks, wanted[name.architecture, name.runtime], found, scales) for name, tasks in found.items()]
    means = sorted((one.mean for one in standings if one.mean is not None), reverse=True)
    ranked = [replace(one, place=None if one.mean is None else means.index(one.mean) + 1) for one in standings]
    ranked.sort(key=lambda one: (one.mean is None, -(one.imputed if one.mean is None else one.mean)))
    return Overall(tuple(ranked), tuple(scales), tuple(table.task for table in tables if table.task not in scales))


@dataclass(frozen=True)
class _Scale:
    """Test scores of a task's trivial baseline, its constant one and its best reference."""

    zero: float
    constant: float
    one: float

    def of(self, score: float) -> float:
        return (score - self.zero) / (self.one - self.zero)


def _scale(table: Table) -> _Scale | None:
    references = [one.score for one in table.entries if one.rows[0]["recipe"] == REFERENCE and one.score is not None]
    if not references or "constant" not in table.baselines:
        return None
    constant = table.baselines["constant"]
    zero = table.baselines.get("trivial", constant)
    return _Scale(zero, constant, max(references)) if max(references) > zero else None


def _labels(tables: Iterable[Table]) -> dict[tuple[str, str], str]:
    """(back end, architecture) -> how the architecture is called over tasks; what searches find has no entry."""
    used: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for table in tables:
        for row in (*(entry.rows[0] for entry in table.entries), *table.others):
            if row["architecture"] != SEARCHED:  # what a search finds is compared under a name of its own
                used[row["backend"]][table.task].add(row["architecture"])
    single = {
        backend: {task: next(iter(names)) for task, names in tasks.items()}
        for backend, tasks in used.items()
        if all(len(names) == 1 for names in tasks.values())
    }
    choices = [one for one in single.values() if len(set(one.values())) > 1]  # else it has a name of its own

    def label(backend: str, name: str) -> str:
        if single.get(backend) not in choices:
            return name
        same = all(one == single[backend] for one in choices)
        return DEFAULT if same else f"{DEFAULT} of {backend}"

    pairs = {(backend, name) for backend, tasks in used.items() for names in tasks.values() for name in names}
    return {(backend, name): label(backend, name) for backend, name in pairs}


def _standing(
    name: Name,
    tasks: Mapping[str, Mapping[str, Entry]],
    wanted: Mapping[str, set[str]],
    all_: Mapping[Name, Mapping[str, Mapping[str, Entry]]],
    scales: Mapping[str, _Scale],
) -> Standing:
    by_task = {
        task: {backend: scales[task].of(one.score) for backend, one in tasks[task].items() if one.score is not None}
        for task in tasks
    }
    scores = {task: sum(values.values()) / len(values) for task, values in by_task.items()}
    spreads = [max(values.values()) - min(values.values()) for values in by_task.values() if len(values) > 1]
    imputed = []
    for task, scale in scales.items():
        backends = wanted.get(task) or {""}  # on a task that none of its back ends has, one cell is missing
        imputed.append(sum(by_task.get(task, {}).get(one, scale.of(scale.constant)) for one in backends) / len(backends))
    there, all_cells = sum(map(len, by_task.values())), sum(len(wanted.get(task) or {""}) for task in scales)
    return Standing(
        name,
        tuple(sorted({backend for entries in tasks.values() for backend in entries})),
        scores,
        max(spreads) if spreads else None,
        (there, all_cells),
        sum(scores.values()) / len(scores) if there == all_cells else None,
        sum(imputed) / len(imputed),
        None,
        {other: _record(tasks, theirs) for other, theirs in all_.items() if other != name},
    )


def _record(own: Mapping[str, Mapping[str, Entry]], other: Mapping[str, Mapping[str, Entry]]) -> tuple[int, int, int]:
    """Wins, ties and losses on the tasks that both have, in each back end that both have; where there is none, across them."""
    wins = ties = losses = 0
    for task in own.keys() & other.keys():
        common = own[task].keys() & other[task].keys()
        pairs = [(own[task][backend], other[task][backend]) for backend in common]
        pairs = pairs or [(one, two) for one in own[task].values() for two in other[task].values()]
        apart = {(one.rank or 0) < (two.rank or 0) for one, two in pairs if one.rank != two.rank}
        wins, losses, ties = wins + (apart == {True}), losses + (apart == {False}), ties + (len(apart) != 1)
    return wins, ties, losses
