"""Searches while they run: which job each of them needs next, what it is charged, and how it ends.

A search has one total time. It runs while its clock does: from when it is taken up until it is over or the run ends, but not
while another search makes a step that it needs too. What is found finished is charged what it took when it was run. The log is
in the store and at most a second old, so that a search that was killed goes on from there, with what is left of its time.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.errors import UserError
from benchmark.folders import Layout
from benchmark.measure import size
from benchmark.plan import Step, without_effect
from benchmark.search import PARTS, Entry, Found, Log, best, best_so_far, chosen, found, history, keeps_up, rounded, tried
from benchmark.search_plan import Proposed, Search, Searches
from benchmark.space import Proposal
from benchmark.specs import DEVICE_COUNTS
from benchmark.store import Outcome, StepResult, Store

_SAVED_EVERY = 1.0  # seconds
_MISTAKES = 3
"""So many proposals in a row that cannot be end a search."""
_NOTHING = dict.fromkeys(PARTS, 0.0)
_OVER = "stopped: the time of its search was over"


@dataclass(frozen=True)
class Job:
    """Steps for one process. ``until``: when it is ended at the latest (monotonic seconds), and ``why``. ``counted``: whether
    they are what the progress of their stage counts."""

    steps: list[Step]
    until: float = float("inf")
    why: str = ""
    counted: bool = True


def outcomes(searches: Mapping[str, Search], results: Mapping[str, StepResult]) -> dict[str, Found]:
    """What those searches came to that are over."""
    return {
        id_: found(Log.from_json(results[id_].facts["log"]), search.tier)
        for id_, search in searches.items()
        if id_ in results and results[id_].outcome == "ok"
    }


@dataclass
class _Active:
    """A search that has been taken up. ``mark``: until when its time is in the log (monotonic). ``proposal``: what it is trying;
    ``steps``: on which fold, ``whole``: on the first, from which the artifact is; ``scores``: on the folds until now;
    ``beyond``: whether it cost more, when it was made for somebody else, than was left. ``running``: ids of the steps of its
    job."""

    search: Search
    log: Log
    mark: float
    saved: float
    proposal: Proposal | None = None
    steps: Proposed | None = None
    whole: Proposed | None = None
    scores: tuple[float, ...] = ()
    beyond: bool = False
    running: tuple[str, ...] = ()


@dataclass
class Searching:
    """Runs searches, ``at_once`` at a time, each in one job after the other. ``look_up``: makes the results of steps that are
    finished known in ``results``. ``conclude``: records how the step of a search ended. ``say``: is told a line for each
    proposal."""

    searches: Searches
    queue: list[Search]
    at_once: int
    results: dict[str, StepResult]
    store: Store
    layout: Layout
    fresh: bool
    look_up: Callable[[Sequence[Step]], None]
    conclude: Callable[[Step, Outcome, str, float, dict[str, Any]], None]
    say: Callable[[str], None]
    active: list[_Active] = field(default_factory=list)

    def next(self) -> Job | None:
        """The job of the first search that can go on."""
        for one in list(self.active):
            if not one.running and (job := self._advance(one)):
                return job
        while len(self.active) < self.at_once and (search := self._pick()):
            self.queue.remove(search)
            now = time.monotonic()
            self.active.append(_Active(search, self._log(search), now, now))
            if job := self._advance(self.active[-1]):
                return job
        return None

    def ended(self, job: Job) -> None:
        """A job is over, and the results of its steps are known."""
        ids = tuple(step.id for step in job.steps)
        (one,) = (one for one in self.active if one.running == ids)
        one.running = ()
        self._count(one)
        for id_ in ids:
            if id_ not in self.results:
                continue
            if self.results[id_].kind != "propose":
                self._attribute(one, self.results[id_])
            if self.results[id_].reason == _OVER:  # it is nobody's failure, and another search may still make it
                del self.results[id_]

    def tick(self) -> None:
        """Called often while jobs run: counts time."""
        for one in self.active:
            if one.running:
                self._count(one)

    # One search

    def _pick(self) -> Search | None:
        """The next search, if possible not for a model that another one works on: they would wait for each other's steps."""

        def place(search: Search) -> tuple[Any, ...]:
            return search.task, search.fold, search.backend, search.seed

        busy = {place(one.search) for one in self.active}
        return next((one for one in self.queue if place(one) not in busy), None)

    def _log(self, search: Search) -> Log:
        try:
            kept = None if self.fresh else self.store.meta(f"search:{search.step}")
        except KeyError:  # it was never taken up
            kept = None
        return Log.from_json(kept) if kept else Log()

    def _count(self, one: _Active) -> None:
        now = time.monotonic()
        one.log = dataclasses.replace(one.log, spent=one.log.spent + now - one.mark)
        one.mark = now
        if now - one.saved >= _SAVED_EVERY:
            self._save(one)

    def _save(self, one: _Active) -> None:
        self.store.set_meta(f"search:{one.search.step}", one.log.to_json())
        one.saved = time.monotonic()

    def _is_over(self, one: _Active) -> bool:
        return one.log.spent >= one.search.seconds

    def _advance(self, one: _Active) -> Job | None:
        """The next job of a search; None where it is over, or has to wait for another search's."""
        while True:
            if one.steps is None:
                self._count(one)
                if self._is_over(one):
                    self._end(one)
                    return None
                ask = self._ask(one)
                if ask is not None:
                    return self._begin(one, [ask])
                if one not in self.active:
                    return None
                if one.steps is None:  # what it proposed cannot be
                    continue
            self._charge(one)
            steps = one.steps.all
            missing = [step for step in steps if step.id not in self.results]
            if one.beyond or (missing and self._is_over(one)):
                self._end_proposal(one, "ok" if one.scores else "timeout", "" if one.scores else _OVER)
            elif bad := next((step for step in steps if step not in missing and self.results[step.id].outcome != "ok"), None):
                what = bad.label.rpartition(": ")[2]
                done = sum(step.kind == "pass" for step in steps[: steps.index(bad) + 1])
                reason = f"{what}: {self.results[bad.id].reason}"
                self._end_proposal(one, self.results[bad.id].outcome, self._where(one, reason), passes=done)
            elif not missing:
                self._end_fold(one)
            elif {step.id for step in missing} & {id_ for other in self.active for id_ in other.running}:
                one.mark = time.monotonic()  # its clock stands
                return None
            else:
                return self._begin(one, _first_job(missing, self.results))

    def _ask(self, one: _Active) -> Step | None:
        """The step that proposes, where it is still to be run; else takes its proposal up, or ends the search."""
        search, log = one.search, one.log
        if log.asked != len(log.entries) + 1:  # else it was asked for before the run was stopped
            left = search.seconds - log.spent
            one.log = log = dataclasses.replace(log, asked=len(log.entries) + 1, left=left, before=log.spent, parts=_NOTHING)
        step = self.searches.asking(search, history(log.entries, search.tier), log.left)
        self.look_up([step])
        if step.id not in self.results:
            return step
        result = self.results[step.id]
        if result.outcome != "ok":
            self._end(one, f"{search.searcher}: {result.reason}")
            return None
        self._account(one, result)
        if result.facts["proposal"] is None:
            self._end(one)
            return None
        one.proposal, one.beyond, one.scores = Proposal.from_json(result.facts["proposal"]), False, ()
        try:
            one.steps = one.whole = self.searches.proposed(search, one.proposal)
        except UserError as error:
            self._end_proposal(one, "invalid", str(error))
            if all(entry.outcome == "invalid" for entry in one.log.entries[-_MISTAKES:]) and len(one.log.entries) >= _MISTAKES:
                self._end(one, f"{_MISTAKES} proposals in a row could not be: {error}")
            return None
        self.look_up(one.steps.all)
        return None

    def _end_fold(self, one: _Active) -> None:
        """A proposal was tried on a fold; it goes to the next one as long as it may become the best."""
        assert one.steps is not None
        assert one.proposal is not None
        search, score = one.search, _score(one.steps.validate, self.results)
        if score is None:
            self._end_proposal(one, "invalid", self._where(one, "its validation score is undefined"))
            return
        one.scores += (score,)
        leader = best(one.log.entries, search.tier)
        fits = tried(self._entry(one, "ok", ""), search.tier).fits
        if fits and len(one.scores) < search.folds and keeps_up(one.scores, leader, search.margin):
            one.steps = self.searches.proposed(search, one.proposal, len(one.scores))
            self.look_up(one.steps.all)
        else:
            self._end_proposal(one, "ok", "")

    def _where(self, one: _Active, reason: str) -> str:
        """A reason, with the inner fold where it is not the first."""
        return f"on inner fold {len(one.scores) + 1} of {one.search.folds}: {reason}" if one.scores else reason

    def _charge(self, one: _Active) -> None:
        """Charges what is finished and was made for somebody else what it took then. What that would have taken beyond the time
        of the search would have been cut off."""
        assert one.steps is not None
        for id_ in (step.id for step in one.steps.all):
            if id_ in self.results and id_ not in one.log.begun:
                spent = one.log.spent + self.results[id_].seconds
                one.beyond |= spent > one.search.seconds
                spent = min(spent, max(one.search.seconds, one.log.spent))
                one.log = dataclasses.replace(one.log, spent=spent, begun=(*one.log.begun, id_))
                self._attribute(one, self.results[id_])

    def _attribute(self, one: _Active, result: StepResult) -> None:
        """Notes what the seconds of a step went to."""
        start = result.facts.get("start_seconds", 0.0)
        kind = {"export": "export", "validate": "evaluation"}.get(result.kind, "training")
        parts = dict(one.log.parts)
        parts["start"] += start
        parts[kind] += max(0.0, result.seconds - start)
        one.log = dataclasses.replace(one.log, parts=parts)

    def _account(self, one: _Active, result: StepResult) -> None:
        """Notes what a searcher's own process took, once."""
        if result.id in one.log.begun:
            start = result.facts["start_seconds"]
            one.log = dataclasses.replace(
                one.log,
                starting=one.log.starting + start,
                asking=one.log.asking + max(0.0, result.seconds - start),
                begun=tuple(id_ for id_ in one.log.begun if id_ != result.id),
            )

    def _begin(self, one: _Active, steps: list[Step]) -> Job:
        one.running = tuple(step.id for step in steps)
        one.log = dataclasses.replace(one.log, begun=tuple(dict.fromkeys((*one.log.begun, *one.running))))
        self._count(one)
        self._save(one)  # what it starts now is paid for, however the run ends
        return Job(steps, one.mark + one.search.seconds - one.log.spent, _OVER, counted=False)

    def _end_proposal(self, one: _Active, outcome: Outcome, reason: str, passes: int = 0) -> None:
        """``passes``: how many had been tried, with the last, when it ended."""
        self._count(one)
        entry = self._entry(one, outcome, reason, passes)
        one.log = dataclasses.replace(one.log, entries=(*one.log.entries, entry), parts=_NOTHING)
        self.say(f"{self.searches.grid.steps[one.search.step].label}: {_line(one, entry)}")
        one.proposal, one.steps, one.whole = None, None, None
        self._save(one)

    def _entry(self, one: _Active, outcome: Outcome, reason: str, passes: int = 0) -> Entry:
        """What the log would say of its proposal if it ended now."""
        assert one.proposal is not None
        measured, artifact = dict[str, float](), ""
        if outcome == "ok":
            assert one.whole is not None
            artifact = self.results[one.whole.artifact].facts["artifact"]
            measured = _seen(one.whole.validate, self.results, size.artifact_bytes(self.layout.artifact(artifact)))
            if reason := self._without_effect(one, one.whole, artifact):
                outcome = "no_op"
        log = one.log
        return Entry(
            proposal=one.proposal,
            outcome=outcome,
            reason=reason,
            scores=one.scores,
            measured=measured,
            artifact=artifact,
            left=log.left,
            charged=log.spent - log.before,
            spent=log.spent,
            parts=log.parts,
            refused=tuple(name for name, _ in one.proposal.passes[:passes]) if outcome == "skipped" else (),
        )

    def _without_effect(self, one: _Active, steps: Proposed, artifact: str) -> str:
        """Why a model is not what its recipe says, as a row of it would say; empty where it is."""
        for step in steps.passes:
            if reason := without_effect(self.results[step.id]):
                return f"{step.label.rpartition(': ')[2]}: {reason}"
        twin = next((n for n, entry in enumerate(one.log.entries, 1) if entry.artifact == artifact), None)
        return f"the same file as that of proposal {twin}" if twin else ""

    def _end(self, one: _Active, ended: str = "") -> None:
        """Ends a search. ``ended``: what was wrong, where it is over before its time."""
        one.log = dataclasses.replace(one.log, ended=ended)
        self.active.remove(one)
        step = self.searches.grid.steps[one.search.step]
        outcome: Outcome = "failed" if ended and not one.log.entries else "ok"
        self.conclude(step, outcome, ended if outcome == "failed" else "", one.log.spent, {"log": one.log.to_json()})
        curve = [f"{n},{seconds!r},{score!r}" for n, (seconds, score) in enumerate(best_so_far(one.log, one.search.tier))]
        if curve:
            text = "\n".join(["step,seconds,score", *curve, ""])
            (self.layout.step(step.id) / "curve.csv").write_text(text, encoding="utf-8")
        self.store.set_meta(f"search:{one.search.step}", None)  # from now on it is in the step


def _line(one: _Active, entry: Entry) -> str:
    """A proposal that was tried, for people."""
    about = f"{one.log.spent:.0f} of {one.search.seconds:g} s, proposal {len(one.log.entries)}: {chosen(rounded(entry.proposal))}"
    if entry.score is None or entry.outcome != "ok":
        return f"{about}: {entry.outcome} ({entry.reason})"
    fits = "" if tried(entry, one.search.tier).fits else ", beyond the limits"
    folds = f" on {len(entry.scores)} of {one.search.folds} folds" if one.search.folds > 1 else ""
    return f"{about}: {entry.score:.4f}{folds}, {entry.measured['artifact_bytes']:,.0f} bytes{fits}"


def _first_job(missing: Sequence[Step], results: Mapping[str, StepResult]) -> list[Step]:
    """The first of the steps, which come after their inputs, and those that ride in its job."""
    first = missing[0]
    riders = [
        one for one in missing if one.rides == first.id and all(id_ in results or id_ == first.id for id_ in one.inputs.values())
    ]
    return [first, *riders]


def _score(validate: Step, results: Mapping[str, StepResult]) -> float | None:
    """The validation score of a model; None where it is undefined."""
    values: Mapping[str, float | None] = results[validate.id].facts["scores"]["validation"]["values"]
    return values[validate.settings["metrics"][0]]


def _seen(validate: Step, results: Mapping[str, StepResult], artifact_bytes: int) -> dict[str, float]:
    """What is known of a model's limits, by columns of rows."""
    facts = results[validate.id].facts
    told = {name: value for name, value in facts.get("device", {}).items() if name in DEVICE_COUNTS}
    timed = {name: facts[name] for name in ("latency_p90_us", "rss_bytes") if name in facts}
    return {"artifact_bytes": artifact_bytes, **timed, **told}
