"""How long a run will take, from what steps of earlier runs took."""

from __future__ import annotations

import json
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmark.plan import Step
from benchmark.store import StepResult

_OVERHEAD = 0.15  # seconds of a job beyond its steps: bench/child_overhead.py
_OF_ONE_RUN = re.compile(r" · (?:fold|seed) \d+")
_SETTINGS = ("params", "training", "rounds", "calls")
"""What of a step's ingredients decides how long it takes, beside what its label says."""


def forecast(steps: Sequence[Step], records: Iterable[StepResult], jobs: int) -> str:
    """One line for people: the expected time of ``steps`` on ``jobs`` build jobs at once, which are taken to be always busy. A
    step is expected to take the median of the recorded steps most like it: of the same label and settings whatever the fold
    and seed, else of the same kind and provider, else of the same kind. How many had to be judged by others is said."""
    if not steps:
        return "expected time: nothing is to be run"
    seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for record in records:
        for key in _keys(record.kind, record.label, record.ingredients):
            seconds[key].append(record.seconds)
    together = alone = 0.0
    unknown = others = 0
    for step in steps:
        if step.kind == "search":
            together += step.ingredients["seconds"]
            continue
        keys = list(_keys(step.kind, step.label, step.ingredients))
        like = next((key for key in keys if key in seconds), None)
        if like is None:
            unknown += 1
            continue
        others += like != keys[0]
        expected = statistics.median(seconds[like]) + (0.0 if step.rides else _OVERHEAD)
        if step.kind == "latency":
            alone += expected
        else:
            together += expected
    if unknown == len(steps):
        return "expected time: unknown, since no step like these has been recorded in this results folder or beside it"
    parts = [f"{jobs} at once {_duration(together / jobs)}", f"latency, one at a time {_duration(alone)}"]
    parts += [f"{others:,} of {len(steps):,} steps judged by others of their kind"] if others else []
    parts += [f"{unknown:,} of kinds that have never been recorded left out"] if unknown else []
    return f"expected time: about {_duration(together / jobs + alone)} ({'; '.join(parts)})"


def _keys(kind: str, label: str, ingredients: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """What steps have in common, closest first."""
    settings = {name: ingredients[name] for name in _SETTINGS if name in ingredients}
    yield kind, _OF_ONE_RUN.sub("", label), json.dumps(settings, sort_keys=True)
    yield kind, str(ingredients.get("provider", ""))
    yield (kind,)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
