"""Runs a plan: starts one process a job, watches it, ends it, says how it ended, and records that.

Its stages: prepare, split and search (where a suite searches), build, memory (all in parallel, one job a core), and latency (one
job at a time, alone on the machine).
Whatever is finished is on disk before the next job starts, so Ctrl-C or ``kill -9`` loses only what was running.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import io
import json
import os
import selectors
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from benchmark import data, folders, limits, official, search_plan
from benchmark.budget import format_bytes
from benchmark.data import Prepared
from benchmark.errors import UserError, described, of_the_disk, one_line
from benchmark.folders import Layout
from benchmark.limits import observe, sandbox
from benchmark.plan import (
    MEASURED,
    Cell,
    Machine,
    Plan,
    Step,
    blocked,
    build_digest,
    ended_well,
    judge,
    measure_digest,
    plan_preparation,
    worth_measuring,
)
from benchmark.registry import Registry
from benchmark.search import Log
from benchmark.search_plan import Searches
from benchmark.searching import Job, Searching, outcomes
from benchmark.specs import CompressorSpec, TaskSpec
from benchmark.step_report import FILE, StepReport, read_report
from benchmark.store import REUSABLE, Outcome, StepResult, Store, open_store
from benchmark.suite import Suite, dump
from benchmark.warm import Earlier

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Accepted: TypeAlias = tuple[Outcome, str, dict[str, Any], dict[str, NDArray[Any]]]
    """Outcome, reason, facts and arrays of a step."""

_POLL = 0.1  # seconds between looks at a job: whether it has gone on to its next step, and what it has used
_ARRAYS_BYTES = 256 * 1024**2  # more than outputs and timings ever come to: the host reads them into memory
_SLACK = 3 * _POLL  # seconds by which the host may see the end of a step late
_UNENFORCED = "not enforced here"
_LOOKS = 5  # fewer looks at a step tell nothing of its threads
_SEEN = {"split": data.FIT, "train": data.FIT, "pass": data.FIT, "export": data.FIT, "validate": data.CHOICE}
"""Kind of step -> the part of a prepared fold that it is given, where that is not the inputs."""
_GRACE = 5.0  # seconds for a job to end after its last step has
_DATA_SHARE = 4  # memory that is reserved and never touched costs nothing; only what no job can mean is refused at once


class Progress(Protocol):
    """What the runner tells while it works. Each method does nothing by default (and says so, or it would be abstract)."""

    def stage(self, name: str, to_run: int, reused: int) -> None:
        """A stage begins, with so many steps to run and so many found finished."""
        return

    def started(self, label: str) -> None:
        """A step began."""
        return

    def finished(self, result: StepResult) -> None:
        """A step ended."""
        return

    def said(self, line: str) -> None:
        """Something happened within a step."""
        return

    def blocked(self, steps: int) -> None:
        """A stage is over, and so many of its steps could not run, since one that they need did not end well."""
        return


@dataclass(frozen=True)
class Ended:
    """What a run came to: the cells and their outcomes, and how many steps it ran."""

    cells: Sequence[tuple[Cell, Outcome, str]]
    steps_run: int

    def unprepared(self) -> list[tuple[Cell, str]]:
        """The cells without data, and why there is none."""
        head = "prepare: "
        return [
            (cell, reason.removeprefix(head))
            for cell, outcome, reason in self.cells
            if outcome not in ("ok", "skipped") and reason.startswith(head)
        ]


def run(
    suite: Suite,
    registry: Registry,
    layout: Layout,
    progress: Progress,
    *,
    jobs: int | None = None,
    fresh: bool = False,
    mechanism: str | None = None,
    require_enforced: bool = False,
    earlier: Earlier | None = None,
) -> Ended:
    """Runs every unfinished step of the suite and records the grid. ``jobs``: build jobs at once, by default as many as there are
    cores for. ``fresh``: reuse nothing. ``mechanism``: what is to enforce the limits, by default the strictest that there is.
    ``require_enforced``: raise UserError where a limit cannot be enforced. ``earlier``: a run that searches start from."""
    limits.check_cores(suite.build.cores)
    enforcer = limits.choose(mechanism)
    if require_enforced and not sandbox.available():
        raise UserError(f"--require-enforced: nothing here enforces {', '.join(sandbox.HOW)}: the kernel refuses namespaces")
    for folder in official.places():
        if sandbox.holds_python(str(folder)):
            raise UserError(
                f"{folder}: this folder of official data also holds what Python needs, so it cannot be hidden from passes"
            )
    with folders.locked(layout):
        store = open_store(layout.store)
        try:
            at_once, cores = jobs_at_once(suite, jobs), limits.available_cores()
            runner = _Runner(suite, layout, store, progress, fresh, at_once, cores, enforcer, require_enforced)
            return runner.run(registry, earlier)
        except OSError as error:
            raise of_the_disk(layout.root, error) or error from None
        finally:
            store.close()


def jobs_at_once(suite: Suite, jobs: int | None) -> int:
    """How many build jobs run at once: as many as asked for and as there are cores for."""
    most = len(limits.available_cores()) // suite.build.cores
    return min(jobs or most, most)


def recorded(layout: Layout) -> list[StepResult]:
    """The steps that ended well in a results folder and in those beside it."""
    found: list[StepResult] = []
    for path in sorted(layout.root.parent.glob("*/store.sqlite")):
        with suppress(UserError), contextlib.closing(open_store(path)) as store:  # what another version wrote says nothing
            found += store.finished()
    return found


def look_up(layout: Layout, steps: Iterable[Step]) -> dict[str, StepResult]:
    """The results among ``steps`` that a run would reuse, without touching the folder; empty where there is none. Raises
    UserError where there can be none."""
    try:
        layout.store.stat()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"results folder {layout.root}: {error.strerror}") from None
    store = open_store(layout.store)
    try:
        return _reusable(layout, store, steps, {})
    finally:
        store.close()


def _reusable(
    layout: Layout, store: Store, steps: Iterable[Step], reused: Mapping[str, StepResult], enforced: bool = False
) -> dict[str, StepResult]:
    """``reused`` and the finished ones among ``steps``, which come after their inputs. What was made from a product that has to
    be made again is no longer its result, though the id is the same: a training that its deadline stopped ends differently.
    Data is exempt: its fingerprint is part of the ids. ``enforced``: only those whose every limit was."""
    steps = [step for step in steps if step.id not in reused]
    known, found = store.results(step.id for step in steps), dict(reused)
    for step in steps:
        result = known.get(step.id)
        made_from = [id_ for role, id_ in step.inputs.items() if role != "data"]
        if result is None or result.outcome not in REUSABLE or not all(id_ in found for id_ in made_from):
            continue
        if folders.is_there(layout, result) and not (enforced and _is_unenforced(result)):
            found[step.id] = result
    return found


def _is_unenforced(result: StepResult) -> bool:
    """Whether a step ran where something could not be enforced. Preparing is never confined."""
    return result.kind != "prepare" and any(one["mechanism"] == _UNENFORCED for one in result.limits.values())


def prepared_folds(
    preparation: Mapping[tuple[str, int], Step], results: Mapping[str, StepResult]
) -> dict[tuple[str, int], Prepared]:
    """What is known of the folds whose prepare step is finished."""
    known = {}
    for key, step in preparation.items():
        if step.id in results and results[step.id].outcome == "ok":
            known[key] = Prepared.of(results[step.id].facts)
    return known


def machine() -> Machine:
    """This machine and this host's measuring code, for ids."""
    return Machine(
        host_class=limits.host_class().id,
        measure_digest=measure_digest(),
        build_digest=build_digest(),
        onnx=importlib.metadata.version("onnx"),
    )


@dataclass
class _Child:
    """A running job. ``given``: bytes of its files when it began. ``current``: index of the step it is at, since ``since``
    (monotonic seconds). ``usages``: what it had used when each earlier step ended, ``took``: how long that was seen to take.
    ``until``, ``why``, ``counted``: as those of its :class:`Job`. ``ended``: when it was seen to have ended. ``written``:
    the most bytes that it has added to its files.
    ``busy``: for each look the step it was at and how many of its threads were busy. ``stopped``: outcome and reason of the
    step for which it was ended."""

    process: subprocess.Popen[bytes]
    pidfd: int
    steps: list[Step]
    cores: list[int]
    guard: limits.Guard
    log: Path
    temporary: Path
    given: int
    since: float
    until: float
    why: str
    counted: bool
    current: int = 0
    usages: list[limits.Usage] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    ended: float = 0.0
    written: int = 0
    busy: list[tuple[int, int]] = field(default_factory=list)
    stopped: tuple[Outcome, str] | None = None


class _Work(Protocol):
    """Where the jobs of a stage come from."""

    def next(self) -> Job | None:
        """A job that can start now."""

    def ended(self, job: Job) -> None:
        """A job is over; what has no result of its steps did not run."""

    def tick(self) -> None:
        """Jobs are running."""


@dataclass
class _Graph:
    """The steps of a stage that have no result yet: the first that can start, and what rides in its job."""

    waiting: dict[str, Step]
    results: Mapping[str, StepResult]

    def next(self) -> Job | None:
        for step in self.waiting.values():
            if self._ready(step, set()):
                riders = [one for one in self.waiting.values() if one.rides == step.id and self._ready(one, {step.id})]
                for one in (step, *riders):
                    del self.waiting[one.id]
                return Job([step, *riders])
        return None

    def _ready(self, step: Step, with_: set[str]) -> bool:
        needed = {*step.inputs.values(), *([step.rides] if step.rides else [])} - with_
        return all(id_ in self.results and self.results[id_].outcome == "ok" for id_ in needed)

    def ended(self, job: Job) -> None:
        self.waiting.update({step.id: step for step in job.steps if step.id not in self.results})

    def tick(self) -> None:
        """Nothing here depends on the time."""


@dataclass
class _Runner:
    suite: Suite
    layout: Layout
    store: Store
    progress: Progress
    fresh: bool
    jobs: int
    cores: list[int]
    enforcer: limits.Mechanism
    require_enforced: bool
    results: dict[str, StepResult] = field(default_factory=dict)
    reused: dict[str, StepResult] = field(default_factory=dict)
    steps_run: int = 0
    provenance: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)  # prepare step -> the package that its data comes from
    plugin_files: Mapping[str, str] = field(default_factory=dict)  # module -> path

    def run(self, registry: Registry, earlier: Earlier | None) -> Ended:
        self.provenance = {"git_commit": _git_commit(), "python": sys.version.split()[0]}
        folders.sweep()
        here = limits.host_class()
        self.store.set_meta(f"host_class:{here.id}", dataclasses.asdict(here))
        preparation = plan_preparation(self.suite, registry)
        self.sources = {step.id: _package(step) for step in preparation.values()}
        self.plugin_files = registry.files
        self._stage("prepare", {step.id: step for step in preparation.values()}, self.jobs)
        known, here_now = prepared_folds(preparation, self.results), machine()
        searches = search_plan.plan(self.suite, registry, known, here_now, earlier=earlier)
        whole = searches.plan
        self._keep_grid(registry, whole)
        self.store.set_meta("earlier", earlier.to_json() if earlier else None)
        self._keep_suite()
        if searches.known:
            self._search(searches)
            found = outcomes(searches.known, self.results)
            whole = search_plan.plan(self.suite, registry, known, here_now, found, earlier).plan
            self._keep_grid(registry, whole)
        self._stage("build", {id_: step for id_, step in whole.steps.items() if _is_built(step)}, self.jobs)
        worth = worth_measuring(whole, self.results)
        # What a process holds does not depend on its neighbours; how long it takes does.
        self._stage("memory", {id_: step for id_, step in worth.items() if step.kind == "memory"}, self.jobs)
        others = self.cores[: -self.suite.build.cores]
        with limits.pinned(others or self.cores):  # the host keeps off the core on which it measures
            self._stage("latency", {id_: step for id_, step in worth.items() if step.kind == "latency"}, 1)
        for left in (self.layout.root / "steps").glob("*.part"):  # of killed runs, of steps that no plan has any more
            folders.remove(left)
        ended = [(cell, *judge(cell, self.results)) for cell in whole.cells]
        return Ended([(cell, outcome or "no_result", reason) for cell, outcome, reason in ended], self.steps_run)

    def _keep_grid(self, registry: Registry, whole: Plan) -> None:
        self.store.replace_grid(_describe(self.suite, registry), (dataclasses.asdict(cell) for cell in whole.cells))

    def _keep_suite(self) -> None:
        """Writes down what is run, so that others can run it from there."""
        part = self.layout.root / "suite.part"
        part.write_text(dump(self.suite), encoding="utf-8")
        part.rename(part.with_suffix(".toml"))

    # One stage

    def _stage(self, name: str, steps: Mapping[str, Step], jobs: int) -> None:
        self._look_up(list(steps.values()))
        waiting = {id_: step for id_, step in steps.items() if id_ not in self.results}
        without = blocked(waiting, self.results)
        self.progress.stage(name, len(waiting) - len(without), len(steps) - len(waiting))
        self._work(_Graph(waiting, self.results), jobs)
        if waiting:
            self.progress.blocked(len(waiting))

    def _search(self, searches: Searches) -> None:
        """Runs the searches of a suite, each on a core, after what they cross-validate on was made."""
        steps = {id_: searches.grid.steps[id_] for id_ in searches.known}
        self._look_up(list(steps.values()))
        waiting = [one for id_, one in searches.known.items() if id_ not in self.results]
        if splits := {step.id: step for one in waiting for step in searches.data(one)[1:]}:
            self.sources |= {id_: self.sources[step.inputs["data"]] for id_, step in splits.items()}
            self._stage("split", splits, self.jobs)
        queue = []
        for one in waiting:
            without = [step.id for step in searches.data(one) if not ended_well(step.id, self.results)]
            if not without:
                queue.append(one)
            elif without[0] in splits and without[0] in self.results:
                reason = self.results[without[0]].reason
                self._conclude_search(steps[one.step], "failed", reason, 0.0, {"log": Log().to_json()})
        self.progress.stage("search", len(queue), len(steps) - len(queue))
        searching = Searching(
            searches,
            queue,
            self.jobs,
            self.results,
            self.store,
            self.layout,
            self.fresh,
            self._look_up,
            self._conclude_search,
            self.progress.said,
        )
        self._work(searching, self.jobs)

    def _conclude_search(self, step: Step, outcome: Outcome, reason: str, seconds: float, facts: dict[str, Any]) -> None:
        report = StepReport(outcome, reason, facts, {"seconds": seconds}, {}, time.time())
        (part := self.layout.part(step.id)).mkdir(parents=True, exist_ok=True)
        # A search is enforced as far as every step of it was.
        steps = [self.results[id_] for id_ in facts["log"]["begun"] if id_ in self.results]
        evidence = next((dict(one.limits) for one in steps if _is_unenforced(one)), {})
        self.results[step.id] = result = self._keep(step, part, report, outcome, reason, facts, evidence, {})
        self.steps_run += 1
        self.progress.finished(result)

    def _look_up(self, steps: Sequence[Step]) -> None:
        """Makes known which of these steps are finished; with ``fresh`` forgets what earlier runs made of them."""
        unknown = [step for step in steps if step.id not in self.results]
        if self.fresh:
            self._forget(unknown)
        else:
            self._recover(unknown)
            self.reused = _reusable(self.layout, self.store, unknown, self.reused, self.require_enforced)
            self.results |= self.reused

    def _work(self, work: _Work, jobs: int) -> None:
        """Runs the jobs of a stage, so many at once."""
        cores, size = self.cores, self.suite.build.cores
        # The last cores first: interrupts and the host itself tend to sit on the first.
        free = [cores[len(cores) - (i + 1) * size : len(cores) - i * size] for i in range(jobs)]
        children: dict[int, tuple[Job, _Child]] = {}
        with selectors.DefaultSelector() as selector:
            try:
                while True:
                    while free and (job := work.next()):
                        child = self._start(job, free.pop(0))
                        selector.register(child.pidfd, selectors.EVENT_READ)
                        children[child.pidfd] = job, child
                    if not children:
                        break
                    ready = {key.fd for key, _ in selector.select(_POLL)}
                    work.tick()
                    for pidfd, (job, child) in list(children.items()):
                        if pidfd in ready:
                            selector.unregister(pidfd)
                            self._end(child)
                            del children[pidfd]
                            free.append(child.cores)
                            self._record(child)
                            work.ended(job)
                        else:
                            self._watch(child)
            finally:
                for _, child in children.values():
                    _kill(child)

    def _forget(self, steps: Sequence[Step]) -> None:
        for step in steps:
            for folder in (self.layout.part(step.id), self.layout.step(step.id)):
                folders.remove(folder)
        self.store.forget([step.id for step in steps])

    def _recover(self, steps: Sequence[Step]) -> None:
        """Records steps that had ended when the host was killed, before the store knew."""
        known = self.store.results(step.id for step in steps)
        for step in steps:
            if step.id in known and known[step.id].outcome in REUSABLE:
                continue
            folder, part = self.layout.step(step.id), self.layout.part(step.id)
            if (result := folders.left_behind(folder)) and result.outcome in REUSABLE:
                try:
                    arrays = _arrays(step, folder) if result.outcome == "ok" else {}
                except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                    continue  # damaged: it is run again
                self.store.record(result, arrays)
            elif (report := read_report(part, step.kind)) and report.outcome in REUSABLE:
                self._conclude(step, report)

    # One job

    def _start(self, job: Job, cores: list[int]) -> _Child:
        for step in job.steps:
            part = self.layout.part(step.id)
            folders.remove(part)
            (part / "output").mkdir(parents=True)
            self.progress.started(step.label)
        guard = self.enforcer.guard(job.steps[0].id[:16], self.suite.build, cores)
        temporary = Path(tempfile.mkdtemp(prefix=f"{folders.TEMPORARY}{os.getpid()}-"))
        try:
            return self._launch(job, cores, guard, temporary)
        except BaseException:
            guard.close()
            folders.remove(temporary)
            raise

    def _launch(self, wanted: Job, cores: list[int], guard: limits.Guard, temporary: Path) -> _Child:
        job = wanted.steps
        own, build = {step.id for step in job}, self.suite.build
        first = self.layout.part(job[0].id).absolute()
        inputs = {step.id: self._input_paths(step, own, temporary) for step in job}
        started = time.monotonic()
        description = {
            "host": os.getpid(),
            "file_bytes": build.file_bytes,
            "data_bytes": _DATA_SHARE * build.memory if self.enforcer.limits_data else None,
            "sandbox": self._sandbox(job, inputs, temporary),
            "plugin_files": self.plugin_files,
            "started": started,
            "steps": [
                {
                    "id": step.id,
                    "kind": step.kind,
                    "target": step.target,
                    "folder": str(self.layout.part(step.id).absolute()),
                    "inputs": inputs[step.id],
                    "settings": step.settings,
                    "threads": self.suite.build.cores,
                    "seconds": self.suite.build.seconds,
                    "libraries": step.libraries,
                    "how": self._how(step),
                }
                for step in job
            ],
        }
        (first / "job.json").write_text(json.dumps(description, allow_nan=False), encoding="utf-8")
        given = self._bytes_of(job, temporary)
        with (first / "log.txt").open("ab") as log, limits.pinned(cores):
            process = subprocess.Popen(
                [*guard.launcher, sys.executable, "-m", "benchmark.worker", str(first / "job.json")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=limits.child_environment(build.cores, temporary, job[0].id[:16]),
                start_new_session=True,  # a signal from the terminal reaches the host alone
            )
        pidfd = os.pidfd_open(process.pid)
        log_file, limit = first / "log.txt", (wanted.until, wanted.why)
        return _Child(process, pidfd, job, cores, guard, log_file, temporary, given, started, *limit, wanted.counted)

    def _bytes_of(self, job: Sequence[Step], temporary: Path) -> int:
        """What the folders in which a job may write hold."""
        return sum(map(folders.bytes_of, (temporary, *(self.layout.part(step.id) for step in job))))

    def _input_paths(self, step: Step, own: set[str], temporary: Path) -> dict[str, str]:
        """Role -> folder. But for the data, which is large, a job gets copies: it can spoil nothing that another one reads, and a
        model that only works where it was made does not."""
        paths = {}
        for role, id_ in step.inputs.items():
            if id_ in own:
                path = self.layout.part(id_) / "output"
            elif "artifact" in self.results[id_].facts:
                digest = self.results[id_].facts["artifact"]
                if digest is None:
                    continue  # a runtime without an identity model
                path = self.layout.artifact(digest)
            else:
                path = self.layout.step(id_) / "output"
                if self.results[id_].kind in ("prepare", "split"):
                    path = path / _SEEN.get(step.kind, data.INPUTS)
            if role != "data" and id_ not in own:
                copy = temporary / (self.results[id_].facts.get("artifact") or id_)[:16]
                path = copy if copy.exists() else Path(shutil.copytree(path, copy, symlinks=True))
            paths[role] = str(path.absolute())
        return paths

    def _sandbox(self, job: Sequence[Step], inputs: Mapping[str, Mapping[str, str]], temporary: Path) -> dict[str, Any] | None:
        """What a job is to see. Preparing is not confined: it may fetch its data and cache it."""
        if job[0].kind == "prepare" or not sandbox.available():
            return None
        root = self.layout.root.absolute()
        kept = ("steps", "artifacts", "report*", "store.sqlite*")  # also of the results beside these: they hold the same rows
        neighbours = {root, *(path.parent for path in root.parent.glob("*/store.sqlite"))}
        hidden = {str(path) for folder in neighbours for name in kept for path in folder.glob(name)}
        hidden |= {str(path) for folder in (root, root.parent) for path in folder.glob("*.zip")}  # bundles of results
        hidden |= {str(path) for path in official.places()} | {task.file for task in self.suite.own.values()}
        for package in {package for step in job for package in self._sources_of(step) if self._hides(package, step)}:
            hidden |= _folder(package) | _histories(package)
        data_folders = {inputs[step.id]["data"] for step in job if "data" in inputs[step.id]}
        own = [str(self.layout.part(step.id).absolute()) for step in job]
        return dataclasses.asdict(limits.Sandbox(sorted(hidden), sorted(data_folders), [*own, str(temporary)]))

    def _sources_of(self, step: Step) -> set[str]:
        """The packages that hold the test rows, with their labels, of what a step is for: of a searcher, which is told of models
        alone, those of all tasks."""
        if step.kind == "propose":
            return set(self.sources.values())
        return {self.sources[step.inputs["data"]]} if step.inputs.get("data") in self.sources else set()

    def _hides(self, package: str, step: Step) -> bool:
        """Whether a package can be kept from a step: not its own."""
        return package != _package(step) and bool(_folder(package))

    def _watch(self, child: _Child) -> None:
        """Notes that a job has gone on to its next step, and ends it when a step takes too much."""
        folders.bound(child.log)
        self._look(child)
        lingers = child.current == len(child.steps) and time.monotonic() - child.since > _GRACE
        if child.stopped or lingers:
            child.guard.kill(child.process.pid)

    def _look(self, child: _Child) -> None:
        """A limit that was hit is laid to the step that was running at the look before, though it may have ended since: a pass
        whose child was killed for memory may go on as if nothing had happened."""
        child.guard.watch(child.process.pid)
        members = child.guard.members()
        written = self._bytes_of(child.steps, child.temporary) - child.given + observe.unlinked_bytes(members)
        child.written = max(child.written, written)
        if child.stopped is None:
            child.stopped = self._hit(child)
        if child.stopped is None:
            self._go_on(child)
            child.stopped = self._late(child) if child.current < len(child.steps) else None
        child.busy.append((child.current, observe.runnable_threads(members)))

    def _go_on(self, child: _Child) -> None:
        while child.current < len(child.steps) and os.path.lexists(self.layout.part(child.steps[child.current].id) / FILE):
            child.current += 1
            now = time.monotonic()
            child.took.append(now - child.since)
            child.since = now
            child.usages.append(child.guard.usage())

    def _hit(self, child: _Child) -> tuple[Outcome, str] | None:
        """The outcome and reason of a step for which a process was killed or refused."""
        build, hit = self.suite.build, child.guard.hit()
        if hit == "memory":
            return "out_of_memory", f"it needed more than {format_bytes(build.memory)} ({self.enforcer.how['memory']})"
        if hit == "processes":
            return "failed", f"it had more than {build.processes} processes and threads ({self.enforcer.how['processes']})"
        if child.written > build.file_bytes:
            return "failed", f"it wrote more than {format_bytes(build.file_bytes)} into its folders"
        return None

    def _late(self, child: _Child) -> tuple[Outcome, str] | None:
        """The outcome and reason of a step that has taken too much time."""
        build = self.suite.build
        if time.monotonic() > child.until:
            return "timeout", child.why
        if time.monotonic() - child.since > build.seconds:
            return "timeout", f"stopped after {build.seconds:g} s of wall time"
        if (_spent(child.guard.usage(), child.usages[-1:]) or 0) > build.cpu:
            return "timeout", f"stopped after {build.cpu:g} s of CPU time"
        return None

    def _end(self, child: _Child) -> None:
        """Looks for the last time at a job that has ended, and ends whatever it has left."""
        child.ended = time.monotonic()
        folders.bound(child.log)
        self._look(child)
        child.usages.append(child.guard.usage())
        _kill(child)

    def _record(self, child: _Child) -> None:
        """Records the steps of a job that has ended, but for those that it did not come to although they still can run."""
        blamed = min(child.current, len(child.steps) - 1)
        for position, step in enumerate(child.steps):
            report = read_report(self.layout.part(step.id), step.kind)
            # No step of the job came after one that did not end well, though the host may have looked on in between.
            if report is None or (child.stopped and (position == blamed or report.outcome != "ok")):
                report = _without_result(child)
            result = self._conclude(step, dataclasses.replace(_with_usage(report, child, position), how=self._how(step)))
            self.results[step.id] = result
            self.steps_run += 1
            if child.counted:
                self.progress.finished(result)
            if result.outcome != "ok":
                for late in child.steps[position + 1 :]:
                    folders.remove(self.layout.part(late.id))
                return

    def _conclude(self, step: Step, report: StepReport) -> StepResult:
        """Looks at what an ended step left, gives its folder the final name and records it."""
        part = self.layout.part(step.id)
        outcome, reason, facts, arrays = report.outcome, report.reason, report.facts, dict[str, Any]()
        if outcome not in ("ok", "skipped"):
            facts = {**facts, "last_lines": folders.last_lines(part / "log.txt")}
        if report.observed["seconds"] > self.suite.build.seconds and outcome == "ok":
            outcome, reason = "timeout", f"ended after {report.observed['seconds']:.1f} s of {self.suite.build.seconds:g}"
        if (peak := report.observed.get("memory") or 0) > self.suite.build.memory and outcome == "ok":
            outcome, reason = "out_of_memory", f"its memory came to {peak:,} bytes of {self.suite.build.memory:,}"
        if (spent := report.observed.get("cpu_seconds") or 0) > self.suite.build.cpu and outcome == "ok":
            outcome, reason = "timeout", f"ended after {spent:.1f} s of CPU time of {self.suite.build.cpu:g}"
        if (most := report.observed.get("processes") or 0) > self.suite.build.processes and outcome == "ok":
            outcome, reason = "failed", f"it had {most} processes and threads of {self.suite.build.processes}"
        if (report.observed.get("cores") or 0) > self.suite.build.cores and outcome == "ok":
            outcome, reason = "invalid", f"it gave itself {report.observed['cores']} cores, {self.suite.build.cores} are allowed"
        if outcome == "ok":
            outcome, reason, facts, arrays = self._accept(step, part, facts)
        if outcome != "ok":
            folders.remove(part / "output")  # of no use, and it may be what fills the disk
        part.mkdir(exist_ok=True)  # a plugin may have removed it
        return self._keep(step, part, report, outcome, reason, facts, self._evidence(report), arrays)

    def _keep(
        self,
        step: Step,
        part: Path,
        report: StepReport,
        outcome: Outcome,
        reason: str,
        facts: dict[str, Any],
        evidence: dict[str, Any],
        arrays: Mapping[str, NDArray[Any]],
    ) -> StepResult:
        """Writes a step's result, gives its folder the final name and records it."""
        final = self.layout.step(step.id)
        result = StepResult(
            id=step.id,
            kind=step.kind,
            label=step.label,
            outcome=outcome,
            reason=reason,
            seconds=report.observed["seconds"],
            finished_utc=datetime.fromtimestamp(report.ended, UTC).isoformat(timespec="seconds"),
            facts={**facts, "versions": dict(step.versions), **self.provenance},
            limits=evidence,
            ingredients=step.ingredients,
        )
        folders.write_own(part / "result.json", result.to_json())
        folders.remove(final)
        part.rename(final)
        self.store.record(result, arrays)
        return result

    def _accept(self, step: Step, part: Path, facts: dict[str, Any]) -> Accepted:
        """Looks at what an ended step left: files become an artifact, outputs are scored. All of it is a stranger's word."""
        try:
            if step.kind in ("export", "identity") or step.settings.get("stage") == "artifact":
                facts = {**facts, "artifact": self._take_artifact(step, part / "output")}
            elif step.kind in ("train", "pass"):
                folders.check_tree(part / "output")
            arrays = _arrays(step, part)
            if step.kind in ("evaluate", "validate"):
                return self._score(step, facts, arrays)
        except Exception as error:  # it may have left anything under the names that are read here
            ours = isinstance(error, OSError | ValueError)  # they say what is wrong with which file
            return "invalid", one_line(str(error)) if ours else described(error), facts, {}
        return "ok", "", facts, arrays

    def _take_artifact(self, step: Step, output: Path) -> str | None:
        from benchmark.measure import size

        if step.kind == "identity" and not any(output.iterdir()):
            return None
        digest = size.artifact_digest(output)
        if not size.artifact_bytes(output):
            raise ValueError("the artifact has no bytes")
        final = self.layout.artifact(digest)
        if folders.holds(final, digest):
            folders.remove(output)
            return digest
        part = final.with_suffix(".part")
        folders.remove(part)
        # Contents alone: modes, times and attributes are no part of an artifact, and could hold something.
        for path in size.artifact_files(output):
            (copy := part / path.relative_to(output)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        folders.remove(final)  # there may be one that somebody has changed
        part.rename(final)
        folders.remove(output)
        return digest

    def _score(self, step: Step, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Accepted:
        from benchmark.measure import outputs, quality

        prepare = self.results[step.inputs["data"]]
        scores: dict[str, Any] = {}
        for split in ("validation", "test") if step.kind == "evaluate" else ("validation",):
            y = self.store.array(prepare.id, f"{split}_y")
            y = y[outputs.sample(len(y), step.settings["rows"])]
            if reason := quality.check(arrays[split], len(y), len(prepare.facts["classes"])):
                return "invalid", f"{split} outputs: {reason}", facts, arrays
            result = quality.evaluate(arrays[split], y, step.settings["metrics"], step.settings["output_kind"])
            scores[split] = {"values": result.values, "reasons": result.reasons}
        facts = {**facts, "scores": scores}
        reason = outputs.refusal(facts["repeatable"], facts["batch_rows"], facts["batch_label_changes"])
        arrays = arrays if step.kind == "evaluate" else {}  # what a search only looked at need not be kept
        return ("invalid" if reason else "ok"), reason, facts, arrays

    def _how(self, step: Step) -> dict[str, str]:
        """Limit -> what enforces it for a step."""
        inside = dict(sandbox.HOW) if step.kind != "prepare" and sandbox.available() else {}
        packages = self._sources_of(step)
        if inside and not (packages and all(self._hides(one, step) for one in packages)):
            inside["test_data"] += ", but for the task's own package"
        return {
            **self.enforcer.how,
            "seconds": "wall clock of the host",
            "file_bytes": "rlimit for one file, all together looked at every 0.1 s",
            "threads": "held by cores, the mean of looks every 0.1 s",
            **{name: inside.get(name, _UNENFORCED) for name in sandbox.HOW},
        }

    def _evidence(self, report: StepReport) -> dict[str, Any]:
        build = self.suite.build
        allowed: dict[str, Any] = {
            "cores": build.cores,
            "threads": build.cores,
            "seconds": build.seconds,
            "cpu_seconds": build.cpu,
            "memory": build.memory,
            "processes": build.processes,
            "file_bytes": build.file_bytes,
            **dict.fromkeys(sandbox.HOW, "none"),
        }
        return {
            name: {"limit": limit, "mechanism": report.how.get(name, "not known"), "observed": report.observed.get(name)}
            for name, limit in allowed.items()
        }


def _task(registry: Registry, name: str) -> TaskSpec:
    return cast(TaskSpec, registry.tasks[name].spec)


def _is_built(step: Step) -> bool:
    """Whether a step belongs to the build stage. The inputs of a fold that could not be prepared have no shape to build for."""
    return step.kind not in (*MEASURED, "split", "search") and step.settings.get("input_shape") != []


def _package(step: Step) -> str:
    """The top-level package or module of a step's code."""
    return step.target.partition(":")[0].partition(".")[0]


def _folder(package: str) -> set[str]:
    """Where a package lies: its folders, of a single module its file."""
    found = importlib.util.find_spec(package)
    if found is None:
        return set()
    return set(found.submodule_search_locations or [found.origin or ""]) - {""}


def _histories(package: str) -> set[str]:
    """The repositories that a package lies in, which hold its files too."""
    above = {parent for place in _folder(package) for parent in Path(place).resolve().parents}
    return {str(parent / ".git") for parent in above if (parent / ".git").exists()}


def _kill(child: _Child) -> None:
    """Kills whatever is left of a job. Its first process is reaped last, so its number cannot be another's yet."""
    child.guard.kill(child.process.pid)
    child.process.wait()
    child.guard.close()
    os.close(child.pidfd)
    folders.remove(child.temporary)


def _without_result(child: _Child) -> StepReport:
    """What is to be said of a step whose job ended, or was ended, before it had a result."""
    code = child.process.returncode
    outcome: Outcome = "no_result"
    reason = f"ended with exit code {code} and left no result"
    if child.stopped:
        outcome, reason = child.stopped
    elif code < 0:
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
        outcome, reason = "crashed", f"killed by {name}"
    return StepReport(outcome, reason, {}, {"seconds": child.ended - child.since}, {}, time.time())


def _with_usage(report: StepReport, child: _Child, position: int) -> StepReport:
    """Adds what the job with all its processes had used when its step at this position ended: memory, processes and files since
    the job began, CPU time and busy threads of the step alone."""
    usage = child.usages[min(position, len(child.usages) - 1)]
    busy = [threads for step, threads in child.busy if step == position]
    seen: dict[str, Any] = {
        "memory": max(usage.memory or 0, report.observed.get("memory") or 0) or None,
        "processes": usage.processes,
        "cpu_seconds": _spent(usage, child.usages[:position][-1:]),
        "threads": statistics.mean(busy) if len(busy) >= _LOOKS else None,
        "file_bytes": child.written,
        "seconds": _seconds(report, child, position),
    }
    return dataclasses.replace(report, observed={**report.observed, **seen})


def _seconds(report: StepReport, child: _Child, position: int) -> float:
    """The seconds that a step says it took, as far as the host saw the same: it may have changed its clock."""
    seen = child.took[position] if position < len(child.took) else child.ended - child.since
    return float(min(max(report.observed["seconds"], seen - _SLACK), seen + _SLACK))


def _spent(now: limits.Usage, before: Sequence[limits.Usage]) -> float | None:
    """CPU seconds since an earlier look, of which there is at most one."""
    earlier = before[0].cpu_seconds if before else 0.0
    return None if now.cpu_seconds is None or earlier is None else now.cpu_seconds - earlier


def _arrays(step: Step, folder: Path) -> dict[str, NDArray[Any]]:
    """The arrays that the store keeps of an ended step. Of a prepared fold: labels and units, which only the host reads, and the
    outputs of the baselines: the task's trivial predictor, and the constant one of the training classes' frequencies."""
    import numpy as np

    if step.kind == "split":
        return data.load_truth(folder / "output", test=False)
    if step.kind == "prepare":
        output = folder / "output"
        return {**data.load_truth(output), **data.baselines(output, _classes(output))}
    if step.kind not in ("evaluate", "validate", "latency"):
        return {}
    content = folders.read_own(folder / "arrays.npz", _ARRAYS_BYTES)
    with zipfile.ZipFile(io.BytesIO(content)) as packed:  # the worker compresses nothing
        if sum(member.file_size for member in packed.infolist()) > len(content):
            raise ValueError("arrays.npz is compressed")
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        arrays = dict(stored)
    if step.kind == "latency":
        shape = (step.settings["rounds"], step.settings["calls"])
        for role in ("artifact", "anchor", "floor"):
            times = arrays.get(role)
            if times is not None and not (times.shape == shape and times.dtype == np.int64 and (times > 0).all()):
                raise ValueError(f"the times of {role} are not {shape[0]} × {shape[1]} whole numbers above 0")
    return arrays


def _classes(prepared: Path) -> int:
    return len(data.load_info(prepared / data.FIT).classes)


def _describe(suite: Suite, registry: Registry) -> dict[str, Any]:
    """What tables need to know of the suite and its tasks."""
    return {
        "name": suite.name,
        "seeds": suite.seeds,
        "licences": {name: _task(registry, name).licence for name in suite.tasks},
        "citations": {name: _task(registry, name).citation for name in suite.tasks},
        "methods": _methods(suite, registry),
        "published": {name: [dataclasses.asdict(one) for one in _task(registry, name).published] for name in suite.tasks},
        "build": dataclasses.asdict(suite.build),
        "measure": dataclasses.asdict(suite.measure),
        "tiers": [dataclasses.asdict(tier) for tier in suite.tiers],
    }


def _methods(suite: Suite, registry: Registry) -> dict[str, list[str]]:
    """The passes of a suite that somebody is to be cited for, of whichever back ends have them, and whom to cite."""
    found: dict[str, dict[str, None]] = {}
    for name in dict.fromkeys(call.name for recipe in suite.recipes for call in recipe.passes):
        specs = [one.spec for backend in suite.backends if (one := registry.compressor(backend, name))]
        citations = [text for spec in specs if isinstance(spec, CompressorSpec) for text in spec.citations]
        if citations:
            found[name] = dict.fromkeys(citations)
    return {name: list(citations) for name, citations in found.items()}


def _git_commit() -> str:
    """The commit of the checkout that the host runs from, ``-dirty`` where files differ from it; empty outside one, also where
    the host merely lies in a folder of somebody else's repository."""
    here = Path(__file__)
    try:
        subprocess.run(["git", "ls-files", "--error-unmatch", here.name], cwd=here.parent, capture_output=True, check=True)
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, cwd=here.parent, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
