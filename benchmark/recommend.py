"""Rows -> which file to ship on a device. Chosen by validation scores; test scores are never read here (a test shuffles them)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from benchmark.budget import LIMITS, DeviceTier, Limit
from benchmark.plan import METHOD

Row: TypeAlias = Mapping[str, Any]
Why: TypeAlias = Literal["outcome", "undefined", "rows", "validation"] | Limit
"""What stands against a method: a limit is one that it breaks."""


def fits(row: Row, tier: DeviceTier) -> bool:
    """Whether a row keeps every limit of a tier. A value that is not known keeps none."""
    return not _broken_limits([row], tier)


@dataclass(frozen=True)
class Method:
    """One method on one task: its rows over seeds and folds, at least one."""

    rows: tuple[Row, ...]

    @property
    def complete(self) -> bool:
        """Whether every row ended well."""
        return all(row["outcome"] == "ok" for row in self.rows)

    @property
    def val_score(self) -> float | None:
        """The mean validation score; None where a row has none."""
        values = [row["val_score"] for row in self.rows]
        return None if None in values else sum(values) / len(values)

    @property
    def rows_tested(self) -> int:
        """The test rows that its scores are of, summed over seeds and folds."""
        return sum(row["test_rows"] or 0 for row in self.rows)

    def largest(self, column: str) -> float | None:
        """The largest value of a column; None where a row has none."""
        values = [row[column] for row in self.rows]
        return None if None in values else max(values)

    @property
    def to_ship(self) -> Row:
        """The row whose file to ship: the best on validation, of equals the smallest."""
        return max(self.rows, key=lambda row: (row["val_score"], -row["artifact_bytes"]))


@dataclass(frozen=True)
class Rejected:
    """A method that is not the answer, and what stands against it."""

    method: Method
    why: Why


@dataclass(frozen=True)
class Answer:
    """``best``: the method to ship, None where none fits; ``runner_up``: the next one. ``among``: how many methods fit, which is
    what the best was chosen among. ``rejected``: smaller methods than the best (all, where there is none) that are not it,
    the smallest first, then those of unknown size. ``runtimes``: whether a method must be named with its runtime."""

    task: str
    tier: DeviceTier
    best: Method | None
    runner_up: Method | None
    among: int
    rejected: tuple[Rejected, ...]
    runtimes: bool


def methods(rows: Iterable[Row]) -> list[Method]:
    """The rows of one task, grouped by method, without cells that do not exist (``skipped``)."""
    grouped: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        grouped[tuple(row[name] for name in METHOD)].append(row)
    return [Method(tuple(group)) for group in grouped.values() if not all(row["outcome"] == "skipped" for row in group)]


def answer(task: str, rows: Iterable[Row], tier: DeviceTier) -> Answer:
    """What to ship of a task's rows: of the methods that keep the tier's limits with every seed and fold the one with the best
    mean validation score, of equals the smaller one. Scores of some of the rows, as of an emulated device, stand back behind
    those of all where there are both: a sample's luck is no merit."""
    known = methods(rows)
    keeping = [one for one in known if _why_not(one, tier) is None]
    most = max((one.rows_tested for one in keeping), default=0)
    fitting = [one for one in keeping if one.rows_tested == most]
    fitting.sort(key=lambda one: (-_number(one.val_score), _number(one.largest("artifact_bytes"))))
    best = fitting[0] if fitting else None
    limit = best.largest("artifact_bytes") if best else None
    rejected = [
        Rejected(one, _why_not(one, tier) or ("validation" if one in fitting else "rows"))
        for one in known
        if one is not best and (limit is None or (size := one.largest("artifact_bytes")) is None or size < limit)
    ]
    rejected.sort(key=lambda one: _number(one.method.largest("artifact_bytes")))
    runtimes = len({one.rows[0]["runtime"] for one in known}) > 1
    return Answer(task, tier, best, fitting[1] if len(fitting) > 1 else None, len(fitting), tuple(rejected), runtimes)


def _number(value: float | None) -> float:
    return float("inf") if value is None else value


def _why_not(method: Method, tier: DeviceTier) -> Why | None:
    if not method.complete:
        return "outcome"
    if method.val_score is None:
        return "undefined"
    return next(iter(_broken_limits(method.rows, tier)), None)


def _broken_limits(rows: Sequence[Row], tier: DeviceTier) -> list[Limit]:
    return [limit for limit in LIMITS if not all(limit.kept(tier, row) for row in rows)]
