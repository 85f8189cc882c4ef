"""What a searcher is given and what it answers: the space of models that a back end can make for a task, what was tried, and a
proposal. Nothing here imports numpy.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from benchmark.specs import Param, Scalar


@dataclass(frozen=True)
class Proposal:
    """A model to try. ``architecture``: name of the network. ``passes``: (name, parameters) in order; parameters that are left
    out keep their defaults, and no passes make the reference. ``training``: parameters of the back end's training that are not
    what the suite says. Values are plain ``bool``, ``int``, ``float`` and ``str``; raises ValueError for others."""

    architecture: str
    passes: tuple[tuple[str, Mapping[str, Scalar]], ...] = ()
    training: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(isinstance(one, tuple) and len(one) == 2 and isinstance(one[1], Mapping) for one in self.passes):
            raise ValueError(f"passes must be pairs of a name and its parameters, not {self.passes!r}")
        for values in (self.training, *(params for _, params in self.passes)):
            for name, value in values.items():
                if type(value) not in (bool, int, float, str) or (isinstance(value, float) and not math.isfinite(value)):
                    raise ValueError(f"{name}: {value!r} is none of bool, int, float (finite) and str")

    @property
    def key(self) -> str:
        """A text that equal proposals share, as the mappings in it have no hash."""
        return json.dumps(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """As JSON values, equal for equal proposals."""
        return {
            "architecture": self.architecture,
            "passes": [[name, dict(sorted(params.items()))] for name, params in self.passes],
            "training": dict(sorted(self.training.items())),
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Proposal:
        """Raises KeyError, TypeError or ValueError for what :meth:`to_json` does not write."""
        passes = tuple((str(name), dict(params)) for name, params in values["passes"])
        return Proposal(str(values["architecture"]), passes, dict(values["training"]))


@dataclass(frozen=True)
class Tried:
    """What became of a proposal. ``outcome``: ``ok``, or why it has no score. ``score``: the task's ranking metric on validation
    rows of the exported artifact, higher is better. ``excess``: limit of the device -> value ÷ limit − 1, so that more than 0
    breaks it, and 1 where the value is not known; empty where there is no artifact. ``seconds``: what it was charged.
    ``refused``: of one that was ``skipped`` the names of its passes up to the one that did not apply, empty where training
    itself did not. ``folds``: on how many of a cross-validation it was tried; one that falls behind the best is tried on no more,
    and ``score`` is then the mean of its folds, plus what the best one has more over all folds than over these."""

    proposal: Proposal
    outcome: str
    score: float | None
    excess: Mapping[str, float]
    seconds: float
    refused: tuple[str, ...] = ()
    folds: int = 1

    def rules_out(self, other: Proposal) -> bool:
        """Whether another proposal is known to be skipped too: the same architecture, beginning with the same passes."""
        names = tuple(name for name, _ in other.passes)
        same = self.outcome == "skipped" and other.architecture == self.proposal.architecture
        return same and bool(self.refused) and names[: len(self.refused)] == self.refused

    @property
    def fits(self) -> bool:
        """Whether it is a model that keeps every limit."""
        return self.outcome == "ok" and self.score is not None and all(value <= 0 for value in self.excess.values())


@dataclass(frozen=True)
class Space:
    """What may be proposed. ``architectures``: names. ``orders``: every sequence of names of passes that can stand in a recipe,
    the empty one first. ``ranges``: pass -> those of its parameters that have a range or choices. ``training``: those of the
    back end's; ``updates``: how many a training has unless a proposal says fewer (None where it has no length). ``limits``:
    the device's, in bytes and seconds, by name. ``starts``: what every searcher proposes first, in this order: the recipes of
    the suite, which may lie outside ``architectures``, ``orders`` and ``ranges``. ``seed``: what to draw from, together with
    how much was tried. ``params``: the searcher's own parameters, defaults filled in.
    """

    architectures: tuple[str, ...]
    orders: tuple[tuple[str, ...], ...]
    ranges: Mapping[str, tuple[Param, ...]]
    training: tuple[Param, ...]
    updates: int | None
    limits: Mapping[str, float]
    starts: tuple[Proposal, ...]
    seed: int
    params: Mapping[str, Scalar]

    def following(self, passes: tuple[str, ...]) -> tuple[str, ...]:
        """What can stand behind these passes: names of passes, and "" where a recipe may end there."""
        longer = (order for order in self.orders if len(order) > len(passes) and order[: len(passes)] == passes)
        behind = {order[len(passes)]: None for order in longer}
        return ("",) * (passes in self.orders) + tuple(behind)

    def draw(self, random: Random) -> Proposal:
        """A proposal at random: architecture, passes and parameters, each uniform over what is possible there, and of recipes
        that may end every other one does: most orders are long, and most good recipes short."""
        names: tuple[str, ...] = ()
        while (behind := [name for name in self.following(names) if name]) and not (
            names in self.orders and random.random() < 0.5
        ):
            names += (random.choice(behind),)
        passes = tuple((name, {one.name: drawn(one, random) for one in self.ranges[name]}) for name in names)
        return Proposal(random.choice(self.architectures), passes, {one.name: drawn(one, random) for one in self.training})

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**dataclasses.asdict(self), "starts": [one.to_json() for one in self.starts]}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Space:
        """The inverse of :meth:`to_json`."""

        def params(all_: Any) -> tuple[Param, ...]:
            return tuple(
                Param(**{**one, "choices": tuple(one["choices"]), "modalities": tuple(one["modalities"])}) for one in all_
            )

        return Space(
            architectures=tuple(values["architectures"]),
            orders=tuple(map(tuple, values["orders"])),
            ranges={name: params(group) for name, group in values["ranges"].items()},
            training=params(values["training"]),
            updates=values["updates"],
            limits=values["limits"],
            starts=tuple(map(Proposal.from_json, values["starts"])),
            seed=values["seed"],
            params=values["params"],
        )


def drawn(param: Param, random: Random) -> Scalar:
    """A value of a parameter with choices or a range: uniform, of a logarithmic one in its logarithm."""
    if param.options:
        return random.choice(param.options)
    assert param.low is not None
    assert param.high is not None  # it has a range, or a search would not vary it
    whole = isinstance(param.default, int)
    if param.scale == "log":
        value = math.exp(random.uniform(math.log(param.low), math.log(param.high)))
        return min(max(round(value), math.ceil(param.low)), math.floor(param.high)) if whole else value
    return random.randint(math.ceil(param.low), math.floor(param.high)) if whole else random.uniform(param.low, param.high)
