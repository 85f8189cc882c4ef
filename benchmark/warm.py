"""Warm starts: what did best on other tasks in an earlier run, for searches to begin with. Chosen by validation scores alone."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.budget import LIMITS, DeviceTier
from benchmark.errors import UserError
from benchmark.space import Proposal
from benchmark.specs import TaskSpec
from benchmark.suite import REFERENCE, parse_pass

SEARCHED = "searched"
"""Stands for the architecture in rows whose architecture and recipe a search chose."""
_BEST = 2
"""Of each other task so many recipes."""


@dataclass(frozen=True)
class Earlier:
    """An earlier run: the name of its suite, and its rows."""

    suite: str
    rows: tuple[Mapping[str, Any], ...]

    def best(self, task: TaskSpec, backend: str, architectures: tuple[str, ...], tier: DeviceTier | None) -> tuple[Proposal, ...]:
        """The recipes of a back end that did best on tasks other than ``task`` and those that share rows with it, of each the
        :data:`_BEST` best by the mean validation score inside the limits of ``tier``. A network that ``architectures`` do not
        have becomes the first of them."""
        scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        broken: dict[str, set[str]] = defaultdict(set)
        proposals: dict[str, Proposal] = {}
        for row in self.rows:
            other = row["task"]
            if row["backend"] != backend or other == task.name or other in task.shares_rows:
                continue
            proposal = _proposal(row, architectures)
            if proposal is None:
                continue
            key = json.dumps(proposal.to_json())
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
        calls = [] if recipe == REFERENCE else [parse_pass(text) for text in recipe.split(" + ")]
        changed = dict(parse_pass(f"training({training})").params)
    except UserError:
        return None
    name = architecture if architecture in architectures else architectures[0]
    return Proposal(name, tuple((call.name, dict(call.params)) for call in calls), changed)
