"""Searches while they run: which job each of them needs next, what it is charged, and how it ends.

A search has one total time. It runs while its clock does: from when it is taken up until it is over or the run ends, but not
while another search makes a step that it needs too. What is found finished is charged what it took when it was run. The log is
in the store and at most a second old, so that a search that was killed goes on from there, with what is left of its time.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.errors import UserError
from benchmark.folders import Layout
from benchmark.measure import size
from benchmark.plan import Planner, Proposed, Search, Step, chosen
from benchmark.search import PARTS, Entry, Found, Log, found, tried
from benchmark.space import Proposal
from benchmark.specs import DEVICE_COUNTS
from benchmark.store import REUSABLE, Outcome, StepResult, Store

_SAVED_EVERY = 1.0  # seconds
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
    """A search that has been taken up. ``mark``: until when its time is in the log (monotonic). ``left``: what it had left when
    it asked for ``proposal``; ``before``: spent by then. ``own``: ids of the steps of this proposal that it pays for."""

    search: Search
    log: Log
    mark: float
    saved: float
    left: float = 0.0
    before: float = 0.0
    proposal: Proposal | None = None
    steps: Proposed | None = None
    own: list[str] = field(default_factory=list)
    running: tuple[str, ...] = ()


@dataclass
class Searching:
    """Runs searches, ``at_once`` at a time, each in one job after the other. ``look_up``: makes the results of steps that are
    finished known in ``results``. ``conclude``: records how the step of a search ended. ``say``: is told a line for each
    proposal."""

    planner: Planner
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
        for id_ in ids:  # what was cut off is nobody's failure, and another search may still make it
            if id_ in self.results and self.results[id_].reason == _OVER:
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
        if self.fresh:
            return Log()
        try:
            return Log.from_json(self.store.meta(f"search:{search.step}"))
        except KeyError:
            return Log()

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
            assert one.steps is not None
            steps = [*one.steps.steps, one.steps.validate]
            bad = next((step for step in steps if step.id in self.results and self.results[step.id].outcome != "ok"), None)
            missing = [step for step in steps if step.id not in self.results]
            if self._is_over(one) and (bad or missing):
                self._end_proposal(one, "timeout", _OVER)
            elif bad:
                self._end_proposal(
                    one, self.results[bad.id].outcome, f"{bad.label.rpartition(': ')[2]}: {self.results[bad.id].reason}"
                )
            elif not missing:
                self._end_proposal(one, "ok", "")
            elif {step.id for step in missing} & {id_ for other in self.active for id_ in other.running}:
                one.mark = time.monotonic()  # its clock stands
                return None
            else:
                return self._begin(one, _first_job(missing, self.results))

    def _ask(self, one: _Active) -> Step | None:
        """The step that proposes, where it is still to be run; else takes its proposal up, or ends the search."""
        search = one.search
        one.left, one.before = search.seconds - one.log.spent, one.log.spent
        step = self.planner.asking(search, [tried(entry, search.tier) for entry in one.log.entries], one.left)
        self.look_up([step])
        if step.id not in self.results:
            return step
        result = self.results[step.id]
        if result.outcome != "ok":
            self._end(one, "failed", f"{search.searcher}: {result.reason}")
            return None
        self._account(one, result)
        if result.facts["proposal"] is None:
            self._end(one)
            return None
        one.proposal = Proposal.from_json(result.facts["proposal"])
        try:
            one.steps = self.planner.proposed(search, one.proposal)
        except UserError as error:
            self._end(one, "failed", str(error))
            return None
        steps = [*one.steps.steps, one.steps.validate]
        self.look_up(steps)
        one.own = [step.id for step in steps if step.id not in one.log.begun]
        reused = sum(self.results[id_].seconds for id_ in one.own if id_ in self.results)
        begun = (*one.log.begun, *(id_ for id_ in one.own if id_ in self.results))
        # Were it not finished, it would be cut off when the time is over.
        one.log = dataclasses.replace(one.log, spent=min(one.log.spent + reused, max(search.seconds, one.log.spent)), begun=begun)
        return None

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

    def _end_proposal(self, one: _Active, outcome: Outcome, reason: str) -> None:
        assert one.proposal is not None
        assert one.steps is not None
        self._count(one)
        score, measured, artifact = None, dict[str, float](), ""
        if outcome == "ok":
            artifact = self.results[one.steps.artifact].facts["artifact"]
            score, measured = _seen(one.steps.validate, self.results, size.artifact_bytes(self.layout.artifact(artifact)))
            if twin := next((n for n, entry in enumerate(one.log.entries, 1) if entry.artifact == artifact), None):
                outcome, reason = "no_op", f"the same file as that of proposal {twin}"
        entry = Entry(
            proposal=one.proposal,
            outcome=outcome,
            reason=reason,
            score=score,
            measured=measured,
            artifact=artifact,
            left=one.left,
            charged=one.log.spent - one.before,
            spent=one.log.spent,
            parts=_parts(self.results[id_] for id_ in one.own if id_ in self.results),
        )
        one.log = dataclasses.replace(one.log, entries=(*one.log.entries, entry))
        self.say(f"{self.planner.steps[one.search.step].label}: {_line(one, entry)}")
        one.proposal, one.steps, one.own = None, None, []
        self._save(one)

    def _end(self, one: _Active, outcome: Outcome = "ok", reason: str = "") -> None:
        self._save(one)
        self.active.remove(one)
        step = self.planner.steps[one.search.step]
        self.conclude(step, outcome, reason, one.log.spent, {"log": one.log.to_json()})


def _line(one: _Active, entry: Entry) -> str:
    """A proposal that was tried, for people."""
    about = f"{one.log.spent:.0f} of {one.search.seconds:g} s, proposal {len(one.log.entries)}: {chosen(entry.proposal)}"
    if entry.score is None or entry.outcome != "ok":
        return f"{about}: {entry.outcome} ({entry.reason})"
    fits = "" if tried(entry, one.search.tier).fits else ", beyond the limits"
    return f"{about}: {entry.score:.4f}, {entry.measured['artifact_bytes']:,.0f} bytes{fits}"


def _first_job(missing: Sequence[Step], results: Mapping[str, StepResult]) -> list[Step]:
    """The first of the steps, which come after their inputs, and those that ride in its job."""
    first = missing[0]
    riders = [
        one for one in missing if one.rides == first.id and all(id_ in results or id_ == first.id for id_ in one.inputs.values())
    ]
    return [first, *riders]


def _seen(validate: Step, results: Mapping[str, StepResult], artifact_bytes: int) -> tuple[float | None, dict[str, float]]:
    """The validation score of a model and what is known of its limits, by columns of rows."""
    facts = results[validate.id].facts
    score = facts["scores"]["validation"]["values"][validate.settings["metrics"][0]]
    told = {name: value for name, value in facts.get("device", {}).items() if name in DEVICE_COUNTS}
    timed = {name: facts[name] for name in ("latency_p90_us", "rss_bytes") if name in facts}
    return score, {"artifact_bytes": artifact_bytes, **timed, **told}


def _parts(results: Iterable[StepResult]) -> dict[str, float]:
    parts = dict.fromkeys(PARTS, 0.0)
    for one in results:
        if one.outcome not in REUSABLE:
            continue
        start = one.facts.get("start_seconds", 0.0)
        kind = {"export": "export", "validate": "evaluation"}.get(one.kind, "training")
        parts["start"] += start
        parts[kind] += max(0.0, one.seconds - start)
    return parts
