"""Warm starts: what did best on other tasks in an earlier run, for searches to begin with. Chosen by validation scores alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.budget import LIMITS, DeviceTier
from benchmark.errors import UserError
from benchmark.space import Proposal
from benchmark.suite import parse_pass, parse_recipe

SEARCHED = "searched"
"""Stands for the architecture in rows whose architecture and recipe a search chose."""
_BEST = 2
"""Of each other task so many recipes."""


_COLUMNS = (
    *("task", "backend", "architecture", "recipe", "chosen", "outcome", "val_score"),
    *(limit.column for limit in LIMITS),
)


@dataclass(frozen=True)
class Earlier:
    """An earlier run: the name of its suite, and of its rows what is needed here."""

    suite: str
    rows: tuple[Mapping[str, Any], ...]

    @staticmethod
    def of_rows(suite: str, rows: Iterable[Mapping[str, Any]]) -> Earlier:
        """Of rows as they stand in rows.json what is needed here."""
        return Earlier(suite, tuple({name: row.get(name) for name in _COLUMNS} for row in rows))

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"suite": self.suite, "rows": list(self.rows)}

    def best(
        self, tasks: Collection[str], backend: str, architectures: tuple[str, ...], tier: DeviceTier | None
    ) -> tuple[Proposal, ...]:
        """The recipes of a back end that did best on each of ``tasks``: the :data:`_BEST` best by the mean validation score
        inside the limits of ``tier``. A network that ``architectures`` do not have becomes the first of them."""
        scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        broken: dict[str, set[str]] = defaultdict(set)
        proposals: dict[str, Proposal] = {}
        for row in self.rows:
            other = row["task"]
            if row["backend"] != backend or other not in tasks:
                continue
            proposal = _proposal(row, architectures)
            if proposal is None:
                continue
            key = proposal.key
            proposals[key] = proposal
            known = row["outcome"] == "ok" and row["val_score"] is not None
            if known and all(limit.kept(tier, row) for limit in LIMITS if tier):
                scores[other][key].append(row["val_score"])
            else:
                broken[other].add(key)
        best: dict[str, None] = {}
        for other, of_other in sorted(scores.items()):
            means = {key: sum(values) / len(values) for key, values in of_other.items() if key not in broken[other]}
            best |= dict.fromkeys(sorted(means, key=lambda key: (-means[key], key))[:_BEST])
        return tuple(proposals[key] for key in best)


def _proposal(row: Mapping[str, Any], architectures: tuple[str, ...]) -> Proposal | None:
    """What a row's model was made by; None of one whose recipe cannot be told from its name."""
    architecture, training, recipe = row["architecture"], "", row["recipe"]
    if architecture == SEARCHED:
        if not row["chosen"]:
            return None
        architecture, *given, recipe = row["chosen"].split(" · ")
        training = "".join(given)
    try:
        calls = parse_recipe(recipe).passes
        changed = dict(parse_pass(f"training({training})").params)
    except UserError:
        return None
    name = architecture if architecture in architectures else architectures[0]
    return Proposal(name, tuple((call.name, dict(call.params)) for call in calls), changed)
