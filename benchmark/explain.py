"""Why a cell would run or be reused: its steps one by one, and which ingredient of an id is not what it was last time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from benchmark.plan import Cell, Plan
from benchmark.store import REUSABLE, StepResult, Store

_SHOWN = 16  # characters of a digest


def explain(cell: Cell, plan: Plan, finished: Iterable[str], store: Store | None) -> Iterator[str]:
    """Lines for people. ``finished``: ids that a run would reuse. ``store``: of earlier runs, None where there was none."""
    yield cell.label
    if cell.skipped:
        yield f"  skipped: {cell.skipped}"
        return
    done = set(finished)
    if done.issuperset(cell.steps()):
        yield f"  reuse all its {len(cell.steps())} steps"
        return
    for id_ in cell.steps():
        step = plan.steps[id_]
        before = store.latest(step.kind, step.label) if store else None
        yield f"  {'reuse' if id_ in done else 'run  '} {id_[:_SHOWN]} {step.label}"
        if id_ in done:
            if before and before.id == id_ and before.outcome != "ok":
                yield f"          {_ended(before, again=False)}; what follows it is not run"
                return
            continue
        if before is None:
            yield "          it has never ended before"
        elif before.id == id_:
            yield f"          {_ended(before, again=True)}"
        else:
            for line in changes(before.ingredients, json.loads(json.dumps(step.ingredients))):  # as the store has them
                yield f"          {line}"
        if id_ == cell.prepare:  # the plan's ids of the others are not those that they will have
            yield "  its other steps: their ids follow from the data, and are unknown until it is prepared"
            return


def _ended(before: StepResult, *, again: bool) -> str:
    if again and before.outcome in REUSABLE:
        return "it ended well, but what it or a step before it made is not there any more, or has been changed"
    return f"last time: {before.outcome} ({before.reason})"


def changes(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """What differs between two ingredients of ids, one line each, named by its path."""
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from changes(old, new, f"{path}{name}.")
        else:
            yield f"{path}{name}: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 4 * _SHOWN - 1 else f"{text[:_SHOWN]}..."
