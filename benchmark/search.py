"""A search: what it has tried, what that cost, and which of its proposals wins. Test scores are never read here.

The log is all that a search knows: from the same log a searcher makes the same next proposal, and the same one wins.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.budget import LIMITS, DeviceTier
from benchmark.space import Proposal, Tried
from benchmark.specs import Scalar
from benchmark.store import Outcome
from benchmark.suite import PassCall, Recipe

PARTS = ("training", "export", "start", "evaluation")
"""What the seconds of a search went to, beside the host's own work: training and passes, exports, starting of processes with
their imports, and validation."""
_UNKNOWN = 1.0


@dataclass(frozen=True)
class Entry:
    """A proposal that was tried. ``scores``: the ranking metric on the validation rows of each inner fold that it was tried on,
    the task's own rows first. ``measured``: column of rows -> value, as far as it was seen in the search: bytes exactly, time and
    memory on a core beside other work. ``artifact``: digest. ``left``:
    seconds that the search had left when it was proposed; ``charged``: seconds that it cost, recorded ones for what was
    reused; ``spent``: of the search when it ended. ``parts``: of ``charged``, by :data:`PARTS`. ``refused``: see
    :class:`benchmark.Tried`."""

    proposal: Proposal
    outcome: Outcome
    reason: str
    scores: tuple[float, ...]
    measured: Mapping[str, float]
    artifact: str
    left: float
    charged: float
    spent: float
    parts: Mapping[str, float]
    refused: tuple[str, ...] = ()

    @property
    def score(self) -> float | None:
        """The mean of its scores; None where it has none."""
        return statistics.fmean(self.scores) if self.scores else None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        # Not asdict, which copies all that is in it: a log is written several times a second.
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return {**values, "proposal": self.proposal.to_json()}


@dataclass(frozen=True)
class Log:
    """A search so far. ``spent``: seconds. ``begun``: ids of the steps that it has paid for. ``starting``, ``asking``: seconds
    that the searcher's own processes took to start, and to propose.

    Of the proposal that is being tried: ``asked``, its number, counted from 1; ``left``, ``before``: what was left, and spent,
    when it was asked for; ``parts``: of what it cost until now. ``ended``: why the search was over before its time, where
    something was wrong."""

    spent: float = 0.0
    entries: tuple[Entry, ...] = ()
    begun: tuple[str, ...] = ()
    starting: float = 0.0
    asking: float = 0.0
    asked: int = 0
    left: float = 0.0
    before: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)
    ended: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return {**values, "entries": [one.to_json() for one in self.entries]}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Log:
        """The inverse of :meth:`to_json`."""
        entries = tuple(map(_entry, values["entries"]))
        return Log(**{**values, "entries": entries, "begun": tuple(values["begun"])})


def _entry(values: Mapping[str, Any]) -> Entry:
    told = dict(values)
    score = told.pop("score", None)  # of a log of before cross-validation, all that there is
    scores = told.pop("scores", () if score is None else (score,))
    return Entry(
        **{
            **told,
            "proposal": Proposal.from_json(told["proposal"]),
            "refused": tuple(told.get("refused", ())),
            "scores": tuple(scores),
        }
    )


@dataclass(frozen=True)
class Found:
    """What a search came to. ``best``: the proposal that won, None where none is a model inside the limits; ``reason`` then says
    why, else what went wrong, if anything did."""

    best: Entry | None
    reason: str
    log: Log = field(default_factory=Log)


def tried(entry: Entry, tier: DeviceTier | None, leader: Entry | None = None) -> Tried:
    """An entry as a searcher is told of it, while ``leader`` is the best proposal."""
    limits = [(limit, limit.of(tier)) for limit in LIMITS] if tier and entry.measured else []
    excess = {
        limit.name: _UNKNOWN if (value := entry.measured.get(limit.column)) is None else value / (most * limit.scale) - 1
        for limit, most in limits
        if most is not None
    }
    score = estimate(entry.scores, leader) if entry.scores and entry.measured else None
    return Tried(entry.proposal, entry.outcome, score, excess, entry.charged, entry.refused, len(entry.scores))


def history(entries: Sequence[Entry], tier: DeviceTier | None) -> list[Tried]:
    """All of a search that a searcher is told."""
    leader = best(entries, tier)
    return [tried(one, tier, leader) for one in entries]


def best(entries: Iterable[Entry], tier: DeviceTier | None) -> Entry | None:
    """Of the proposals inside the limits that were tried on the most folds the one with the best mean score on validation rows;
    of equals the smaller one, then the earlier one."""
    fitting = (one for one in entries if tried(one, tier).fits)
    return max(fitting, key=lambda one: (len(one.scores), one.score or 0.0, -one.measured["artifact_bytes"]), default=None)


def estimate(scores: Sequence[float], leader: Entry | None) -> float:
    """What the mean over all folds may be, of the scores on the first of them: their mean, plus what the best proposal so far has
    more over all of its folds than over these. Searchers are told this; no row and no winner is made of it."""
    mean, over = statistics.fmean(scores), len(scores)
    if leader is None or len(leader.scores) <= over:
        return mean
    return mean + statistics.fmean(leader.scores) - statistics.fmean(leader.scores[:over])


def keeps_up(scores: Sequence[float], leader: Entry | None, margin: float) -> bool:
    """Whether a proposal is tried on another fold: as long as its mean is at most ``margin`` below that of the best one so far on
    the same folds, where a few rows may have made the difference. A race as that of F-Race (Birattari et al. 2002) and SMAC
    (Hutter et al., doi:10.1007/978-3-642-25566-3_40), with the task's margin in place of a test: there are few folds."""
    if leader is None:
        return True
    shared = min(len(scores), len(leader.scores))
    return statistics.fmean(scores[:shared]) >= statistics.fmean(leader.scores[:shared]) - margin


def winner(entries: Iterable[Entry], text: str) -> Entry | None:
    """The proposal that a cell calls ``chosen``; None where it names none."""
    return next((one for one in entries if one.scores and chosen(one.proposal) == text), None)


def found(log: Log, tier: DeviceTier | None) -> Found:
    """The best of all proposals."""
    if one := best(log.entries, tier):
        return Found(one, log.ended, log)
    return Found(None, log.ended or _why_none(log.entries, tier), log)


def best_so_far(log: Log, tier: DeviceTier | None) -> list[tuple[float, float]]:
    """(seconds of the search, validation score of the best proposal by then), a pair for each time that it was another one with
    another score; none where no proposal is inside the limits."""
    steps: list[tuple[float, float]] = []
    for number, one in enumerate(log.entries, 1):
        by_then = best(log.entries[:number], tier)
        if by_then is one and one.score is not None and (not steps or one.score != steps[-1][1]):
            steps.append((one.spent, one.score))
    return steps


def _why_none(entries: Sequence[Entry], tier: DeviceTier | None) -> str:
    if not entries:
        return "nothing was proposed"
    models = [(tried(one, tier), one) for one in entries if one.outcome == "ok" and one.score is not None]
    if not models:
        return f"none of {len(entries)} proposals gave a model: {entries[-1].outcome} ({entries[-1].reason})"
    assert tier is not None  # without limits each of them fits
    near, nearest = min(models, key=lambda pair: max(pair[0].excess.values()))
    limit = next(one for one in LIMITS if near.excess.get(one.name, 0.0) == max(near.excess.values()))
    value, most = nearest.measured.get(limit.column), limit.of(tier)
    assert most is not None
    has = "unknown" if value is None else f"{value:,.0f}"
    allowed = f"{most * limit.scale:,.0f}"
    return f"none of {len(entries)} proposals is inside {tier.name}: the nearest has {limit.column} {has} of {allowed}"


def chosen(proposal: Proposal) -> str:
    """A proposal as people are told of it: the network, what its training is given, and the recipe."""
    return " · ".join([proposal.architecture, *given_text(proposal.training), str(recipe_of(proposal))])


def rounded(proposal: Proposal) -> Proposal:
    """With three digits, for people."""

    def short(values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        return {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in values.items()}

    return Proposal(
        proposal.architecture, tuple((name, short(given)) for name, given in proposal.passes), short(proposal.training)
    )


def recipe_of(proposal: Proposal) -> Recipe:
    """Its passes as a recipe."""
    return Recipe(tuple(PassCall(name, tuple(sorted(params.items()))) for name, params in proposal.passes))


def given_text(training: Mapping[str, Scalar]) -> list[str]:
    """Training parameters in one text, none for none."""
    text = str(PassCall("", tuple(sorted(training.items()))))[1:-1]
    return [text] if text else []
