"""How long a run will take, from what steps of earlier runs took."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from benchmark.plan import MEASURED, Step
from benchmark.store import StepResult

_OVERHEAD = 0.15  # seconds of a job beyond its steps: bench/child_overhead.py
_OF_ONE_RUN = re.compile(r" · (?:fold|seed) \d+")


def forecast(steps: Sequence[Step], records: Iterable[StepResult], jobs: int) -> str:
    """One line for people: the expected time of ``steps`` on ``jobs`` build jobs at once. A step is expected to take the median
    of the recorded steps most like it: of the same label whatever the fold and seed, else of the same kind and code, else of
    the same kind."""
    if not steps:
        return "expected time: nothing is to be run"
    seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for record in records:
        for key in _keys(record.kind, record.label, str(record.ingredients.get("provider", ""))):
            seconds[key].append(record.seconds)
    build = measure = 0.0
    unknown = 0
    for step in steps:
        likes = (
            seconds[key] for key in _keys(step.kind, step.label, str(step.ingredients.get("provider", ""))) if key in seconds
        )
        alike = next(likes, None)
        if alike is None:
            unknown += 1
            continue
        expected = statistics.median(alike) + (0.0 if step.rides else _OVERHEAD)
        if step.kind in MEASURED:
            measure += expected
        else:
            build += expected
    if unknown == len(steps):
        return "expected time: unknown, since no step like these has been recorded in this results folder or beside it"
    text = f"expected time: about {_duration(build / jobs + measure)} (build {_duration(build / jobs)}, {jobs} at once; "
    text += f"measure {_duration(measure)})"
    return f"{text}; without {unknown} steps of kinds that have never been recorded" if unknown else text


def _keys(kind: str, label: str, provider: str) -> Iterator[tuple[str, ...]]:
    """What steps have in common, closest first."""
    yield kind, _OF_ONE_RUN.sub("", label)
    yield kind, "", provider
    yield (kind,)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
