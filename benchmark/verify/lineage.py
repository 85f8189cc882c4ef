"""Whether cells and steps of a store are those that its suite asks for."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from benchmark import limits, search_plan
from benchmark.data import Prepared
from benchmark.errors import UserError
from benchmark.explain import changes
from benchmark.plan import PLACE, Cell, Plan, Step, judge
from benchmark.runner import machine
from benchmark.searching import outcomes
from benchmark.specs import TaskSpec
from benchmark.store import StepResult
from benchmark.suite import Suite
from benchmark.verify.findings import Findings, count, leaves
from benchmark.verify.subject import Fold, Subject
from benchmark.warm import Earlier

_OF_PLAN = ("suite", "modality", "metrics", "margin", "unit", "output", "sensitive", "chosen", "fruitless")
"""What else a cell says that follows from its suite and the specs."""
_OF_CODE = ("code", "requires", "host", "measure", "files", "task", "data", "host_class")
"""Ingredients of ids that differ where releases, data or machines do."""
_OF_INPUTS = ("inputs", "artifact")


def check_grid(subject: Subject, suite: Suite | None, folds: Mapping[tuple[str, int], Fold], findings: Findings) -> None:
    """The steps of the results, and whether they and the cells are those that ``suite`` asks for."""
    for id_, result in subject.results.items():
        canonical = json.dumps(result.ingredients, sort_keys=True, separators=(",", ":"), allow_nan=False)
        if (found := hashlib.sha256(canonical.encode()).hexdigest()) != id_:
            findings.changed(result.label, "id of the step, which is the hash of its ingredients,", id_, found)
    for host in {one.ingredients["host_class"] for one in subject.results.values() if "host_class" in one.ingredients}:
        told = subject.store.meta(f"host_class:{host}")
        found = limits.HostClass(**{**told, "cpu_flags": tuple(told["cpu_flags"])}).id
        if found != host:
            findings.changed(
                "store.sqlite", f"machine {host} ({told['cpu_model']}), whose name is the hash of what it is", host, found
            )
    if open_ := sum(judge(cell, subject.results)[0] is None for cell in subject.cells):
        findings.cannot(f"{count(open_, 'cell')} without a result: the run ended before there was one")
    if suite is None:
        return
    _compare_suite(subject, suite, findings)
    try:
        plan = _planned(subject, suite, {place: fold.prepared for place, fold in folds.items()})
    except UserError as error:
        findings.cannot(f"whether the grid is that of suite.toml: {error}")
        return
    planned, stored = ({_place(cell): cell for cell in cells} for cells in (plan.cells, subject.cells))
    for place in planned.keys() - stored.keys():
        findings.differ(f"{planned[place].label}: this cell of suite.toml is missing in store.sqlite")
    for place in stored.keys() - planned.keys():
        findings.differ(f"{stored[place].label}: this cell in store.sqlite is none of suite.toml")
    if len(stored) < len(subject.cells):
        findings.differ(f"store.sqlite: {count(len(subject.cells) - len(stored), 'cell')} of its grid is there twice")
    both = [(planned[place], cell) for place, cell in stored.items() if place in planned]
    if [_place(one) for one, _ in both] != [place for place in planned if place in stored]:
        findings.differ("store.sqlite: the order of its cells is not that of suite.toml")
    _lineage(subject, plan, both, findings)
    findings.did(f"the grid: {count(len(plan.cells), 'cell')} of suite.toml, {count(len(subject.results), 'step')}")


def _planned(subject: Subject, suite: Suite, known: Mapping[tuple[str, int], Prepared]) -> Plan:
    """The plan of the suite with what the searches of the results found, whatever their ids are here."""
    try:
        told = subject.store.meta("earlier")
    except KeyError:  # of a version without searches
        told = None
    earlier = Earlier(told["suite"], tuple(told["rows"])) if told else None
    searches = search_plan.plan(suite, subject.registry, known, machine(), earlier=earlier)
    stored = {_place(cell): subject.results[cell.search] for cell in subject.cells if cell.search in subject.results}
    results = {cell.search: stored[_place(cell)] for cell in searches.plan.cells if cell.search and _place(cell) in stored}
    found = outcomes(searches.known, results)
    return search_plan.plan(suite, subject.registry, known, machine(), found, earlier).plan if found else searches.plan


def _compare_suite(subject: Subject, suite: Suite, findings: Findings) -> None:
    stored = subject.store.meta("suite")
    specs = {name: cast(TaskSpec, one.spec) for name, one in subject.registry.tasks.items() if name in suite.tasks}
    found = {
        "name": suite.name,
        "seeds": suite.seeds,
        "build": dataclasses.asdict(suite.build),
        "measure": dataclasses.asdict(suite.measure),
        "tiers": [dataclasses.asdict(tier) for tier in suite.tiers],
        "published": {name: [dataclasses.asdict(one) for one in spec.published] for name, spec in specs.items()},
    }
    for name, value in found.items():
        told, value = stored.get(name), json.loads(json.dumps(value))
        if name == "published" and isinstance(told, dict):
            told = {task: one for task, one in told.items() if task in specs}
        for path, stands, here in leaves(told, value):
            findings.changed("store.sqlite", f"suite.{name}{path}", stands, here)


def _lineage(subject: Subject, plan: Plan, both: Sequence[tuple[Cell, Cell]], findings: Findings) -> None:
    """Each cell must be made of the steps that its place asks for: told by their ingredients, which their ids are hashes of,
    and by whose product each of them reads."""
    same: dict[str, str] = {}
    for planned, cell in both:
        for name in _OF_PLAN:
            if getattr(planned, name) != getattr(cell, name):
                findings.changed(cell.label, f"{name} in store.sqlite", getattr(cell, name), getattr(planned, name))
        if bool(planned.skipped) != bool(cell.skipped):
            findings.cannot(f"{cell.label}: {_skipped(cell, 'there')}, {_skipped(planned, 'here')}")
        if planned.skipped or cell.skipped:
            continue
        mine, theirs = _roles(planned), _roles(cell)
        if mine.keys() != theirs.keys():
            findings.differ(
                f"{cell.label}: it is not made of the steps of its recipe: {', '.join(sorted(mine.keys() ^ theirs.keys()))}"
            )
        for role in mine.keys() & theirs.keys():
            if same.setdefault(mine[role], theirs[role]) != theirs[role]:
                findings.differ(f"{cell.label}: {role}: store.sqlite takes the step of another cell")
    for mine_id, id_ in same.items():
        if id_ in subject.results and mine_id in plan.steps:
            _compare_step(plan.steps[mine_id], subject.results[id_], same, findings)


def _compare_step(planned: Step, result: StepResult, same: Mapping[str, str], findings: Findings) -> None:
    if result.label != planned.label or result.kind != planned.kind:
        findings.changed(
            planned.label, "step in store.sqlite", f"{result.kind} {result.label}", f"{planned.kind} {planned.label}"
        )
        return
    ours, stored = json.loads(json.dumps(planned.ingredients)), result.ingredients
    kept = [{name: value for name, value in one.items() if name not in (*_OF_CODE, *_OF_INPUTS)} for one in (stored, ours)]
    reads = _reads(stored) != {role: same.get(id_) for role, id_ in _reads(ours).items()}
    lines = [f"{planned.label}: ingredient {line}" for line in changes(kept[0], kept[1])]
    lines += [f"{planned.label}: it was made from the product of another step than its recipe asks for"] * reads
    other_code = any(stored.get(name) != ours.get(name) for name in ("code", "requires", "host", "measure"))
    for line in lines:  # what makes a step changes between versions
        findings.cannot(f"{line} (made by another version)") if other_code else findings.differ(line)


def _place(cell: Cell) -> tuple[Any, ...]:
    return tuple(getattr(cell, name) for name in PLACE)


def _skipped(cell: Cell, where: str) -> str:
    return f"skipped {where} ({cell.skipped})" if cell.skipped else f"not skipped {where}"


def _roles(cell: Cell) -> dict[str, str]:
    """What each step of a cell is in it -> the step's id."""
    roles = {name: getattr(cell, name) for name in ("prepare", "search", "inspect", "evaluate", "memory", "floor_memory")}
    roles |= {name: getattr(cell, name) for name in ("reference_inspect", "reference_evaluate")}
    for name in ("chain", "teachers", "anchors"):
        roles |= {f"{name} {place} ({step})": id_ for place, (step, id_) in enumerate(getattr(cell, name), 1)}
    for place, one in enumerate(cell.compared, 1):
        roles |= {f"{one.name} ({place}) {name}": getattr(one, name) for name in ("step", "before", "after")}
    return roles | {f"latency {place}": id_ for place, id_ in enumerate(cell.latency)}


def _reads(told: Mapping[str, Any]) -> dict[str, str]:
    """Role -> the step whose product a step reads, as its ingredients say."""
    return {**told.get("inputs", {}), **{name: told[name] for name in ("artifact",) if name in told}}
