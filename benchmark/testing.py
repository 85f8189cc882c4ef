"""The conformance kit: what every back end and pass has to keep to, checked by a plain test in the plugin's own package::

    from benchmark.testing import check_compressor

    def test_it_keeps_the_rules() -> None:
        check_compressor("prune-smallest", backend="torch")

The plugin is planned like a cell of a suite, and the worker runs its steps in fresh processes, as in a run, though with no
sandbox, so that what it should not do can be seen. A rule that is broken is one line: the plugin, the rule, what was seen.

| rule | what it asks for |
|---|---|
| runs | every step ends well, the artifact can be loaded, and its outputs are finite and of the right shape |
| same bytes | two processes with the same seed make the same artifact, to the bit |
| seed | another seed makes another one, where there is training |
| inputs | data, input and reference are left as they were |
| reload | in another place and process the checkpoint gives the same artifact, and the artifact the same outputs |
| threads | no more are busy than ``context.threads``, as far as it works long enough to be looked at |
| rows | a row's output depends on that row alone, and is the same each time: evaluation mode |
| parameters | it runs with the lowest and the highest value and all choices of each, or says NotApplicable |
| unknown parameter | it is refused by a line that names it |
| layers | a pass on a checkpoint or artifact reports ``matched`` and ``changed``, and changes no more than it matched |
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from benchmark import data, folders, limits
from benchmark.budget import BuildLimits
from benchmark.data import Prepared
from benchmark.errors import UserError
from benchmark.limits import observe
from benchmark.measure import outputs, quality, size
from benchmark.plan import Cell, Machine, Plan, Step, plan, plan_preparation
from benchmark.registry import OWN, Provider, Registry, discover, files_digest
from benchmark.specs import BackendSpec, CompressorSpec, Param, RuntimeSpec, Scalar
from benchmark.step_report import FILE, read_report
from benchmark.suite import PassCall, Recipe, Suite

__all__ = ["TASK", "check_backend", "check_compressor", "check_runtime", "findings"]

TASK = "german-credit"
"""The task of checks that name none: it needs no network, and its rows are short."""
_UPDATES = 10  # of a training: what is checked shows after one
_ROWS = {"train": 256, "validation": 128}
_BUILD = BuildLimits(seconds=600, memory=4 * 1024**3)  # one process runs what in a run many would; speed is no rule
_LOOK = 0.03  # seconds between looks at busy threads
_LOOKS = 5  # fewer say nothing
_LONG = 300  # updates: long enough to be looked at
_CROWDED = 1 / 3  # of the looks: in more of them work was done
_UNKNOWN = "no_such_parameter"

Values: TypeAlias = tuple[tuple[str, Scalar], ...]
"""Names of parameters and values that they are given, as of a pass in a recipe."""


def check_backend(name: str, *, architecture: str = "", task: str = TASK, draws: bool = True, files: Sequence[Path] = ()) -> None:
    """Raises AssertionError, a line for each rule that back end ``name`` breaks. ``architecture``: by default the first for the
    task's modality. ``draws``: False for a training that draws nothing, so that the seed cannot matter. ``files``: plugins
    that are single files, not installed."""
    _judge(_examine(name, [], itself=True, architecture=architecture, task=task, draws=draws, files=files))


def check_compressor(
    name: str, *, backend: str, architecture: str = "", task: str = TASK, draws: bool = True, files: Sequence[Path] = ()
) -> None:
    """Raises AssertionError, a line for each rule that pass ``name`` breaks on models of ``backend``. Others as for
    :func:`check_backend`."""
    _judge(_examine(backend, [name], itself=False, architecture=architecture, task=task, draws=draws, files=files))


def check_runtime(name: str, *, backend: str, architecture: str = "", task: str = TASK, files: Sequence[Path] = ()) -> None:
    """Raises AssertionError, a line for each of the rules runs, inputs, reload, threads and rows that runtime ``name`` breaks on
    a reference of ``backend``, and where its identity model cannot be loaded. Others as for :func:`check_backend`."""
    registry = discover(files)
    provider, host = registry.get("runtime", name), registry.get("backend", backend)
    suite = Suite(
        name="check",
        tasks=(task,),
        backends=(backend,),
        recipes=(Recipe(),),
        runtimes=(name,),
        architectures={backend: (architecture,)} if architecture else {},
        training={backend: {"updates": _UPDATES}} if "updates" in {param.name for param in _params(host)} else {},
    )
    with tempfile.TemporaryDirectory(prefix="pocketbench-check-") as folder:
        lab = _Lab(Path(folder).resolve(), registry.files)
        known, fit, rows = _prepared(lab, suite, registry)
        whole = plan(suite, registry, {(task, 0): known}, Machine("", "", "", ""))
        (cell,) = whole.cells
        if cell.skipped:
            raise UserError(f"{provider.path}: {cell.skipped}")
        train, export = (whole.steps[id_] for _, id_ in cell.chain)
        trained = _Try(train, {"data": fit})
        shipped = _Try(export, {"input": trained, "data": fit})
        first, again = (_Try(whole.steps[cell.evaluate], {"artifact": shipped, "data": rows}) for _ in range(2))
        identities = [_Try(step, {}) for step in whole.steps.values() if step.kind == "identity"]
        floors = [_Try(first.step, {"artifact": one, "data": rows}) for one in identities]
        lab.run([trained, shipped])
        for tries in ([first], [again], [*identities, *floors]):
            lab.run(tries)
        broken = list(_runtime_broken(shipped, first, again, identities, floors, len(known.classes)))
    _judge({provider.path: [f"{provider.path}: {rule}: {how}" for rule, how in broken]})


def _runtime_broken(
    shipped: _Try, first: _Try, again: _Try, identities: Sequence[_Try], floors: Sequence[_Try], classes: int
) -> Iterator[tuple[str, str]]:
    """The rules that a runtime breaks, and how."""
    for one in (shipped, first, again):
        if not one.ok:
            yield "runs", f"{one.step.kind}: {one.outcome}: {one.reason}"
            return
    outputs_of = [one.arrays() for one in (first, again)]
    if reason := quality.check(outputs_of[0]["validation"], len(outputs_of[0]["validation"]), classes):
        yield "runs", reason
    if changed := sorted({role for one in (first, again) for role in one.changed}):
        yield "inputs", f"it changed its {' and '.join(changed)}"
    if not all(np.array_equal(outputs_of[0][split], outputs_of[1][split]) for split in outputs_of[0]):
        yield "reload", "the artifact gave other outputs in another process"
    if reason := crowded([*first.busy, *again.busy]):
        yield "threads", reason
    facts = first.facts
    if reason := outputs.refusal(facts["repeatable"], facts["batch_rows"], facts["batch_label_changes"]):
        yield "rows", reason
    written = any(one.output.exists() and any(one.output.iterdir()) for one in identities)
    for one in (*identities, *(floors if written else ())):  # a runtime without an identity model writes nothing
        if not one.ok:
            yield "identity", f"{one.step.kind}: {one.outcome}: {one.reason}"


def findings(
    backend: str,
    names: Iterable[str],
    *,
    architecture: str = "",
    task: str = TASK,
    draws: bool = True,
    files: Sequence[Path] = (),
) -> dict[str, list[str]]:
    """The rules that a back end and the passes ``names`` break, by plugin (``kind/backend/name``): all checked together, which
    takes a fraction of the time."""
    return _examine(backend, names, itself=True, architecture=architecture, task=task, draws=draws, files=files)


def _judge(found: Mapping[str, list[str]]) -> None:
    lines = [line for group in found.values() for line in group]
    if lines:
        raise AssertionError("\n".join(lines))


@dataclass(eq=False)
class _Try:
    """One run of a step. ``inputs``: role -> a folder, or the try whose output it is. ``changed``: roles whose folder was not
    afterwards what it was before. ``digest``: of an artifact. ``busy``: for each look, how many threads were busy."""

    step: Step
    inputs: Mapping[str, Path | _Try]
    folder: Path = Path()
    outcome: str = ""
    reason: str = ""
    digest: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    busy: list[int] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.outcome == "ok"

    @property
    def output(self) -> Path:
        return self.folder / "output"

    def accept(self) -> None:
        """Looks at what it has left, as the host does."""
        try:
            if self.ok and (self.step.kind == "export" or self.step.settings.get("stage") == "artifact"):
                self.digest = size.artifact_digest(self.output)
            elif self.ok and self.step.kind in ("train", "pass"):
                folders.check_tree(self.output)
        except ValueError as error:
            self.outcome, self.reason = "invalid", str(error)

    def arrays(self) -> dict[str, Any]:
        """The outputs of an evaluation, by split."""
        with np.load(self.folder / "arrays.npz", allow_pickle=False) as stored:
            return dict(stored)


@dataclass
class _Lab:
    """Runs tries in processes of the worker. Each gets copies of what it reads."""

    root: Path
    plugin_files: Mapping[str, str]
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(self, tries: Iterable[_Try]) -> None:
        """Runs them in one process, and in another one what comes after a try that did not end well and does not need it. When
        they have ended their folders are moved, so that nothing works only where it was made."""
        waiting = list(tries)
        while waiting:
            job = list[_Try]()
            for one in waiting:
                needed = [source for source in one.inputs.values() if isinstance(source, _Try)]
                if all(source.ok or source in job for source in needed):
                    job.append(one)
                else:
                    one.outcome, one.reason = "blocked", "what it needs did not end well"
            if job:
                self._job(job)
            waiting = [one for one in job if not one.outcome]

    def _job(self, job: Sequence[_Try]) -> None:
        number = next(self.numbers)
        before, steps, started = dict[_Try, dict[str, str]](), list[dict[str, Any]](), time.monotonic()
        for position, one in enumerate(job):
            one.folder = self.root / f"{number}-{position}"
            one.output.mkdir(parents=True)
            paths = {}
            for role, source in one.inputs.items():
                if isinstance(source, _Try) and source in job:
                    paths[role] = source.output
                else:
                    origin = source.output if isinstance(source, _Try) else source
                    paths[role] = Path(shutil.copytree(origin, one.folder / "given" / role))
            before[one] = {role: _digest(path) for role, path in paths.items() if one.folder in path.parents}
            steps.append(_described(one, paths))
        description = {
            "host": os.getpid(),
            "file_bytes": _BUILD.file_bytes,
            "data_bytes": None,
            "sandbox": None,
            "plugin_files": dict(self.plugin_files),
            "started": started,
            "steps": steps,
        }
        temporary = self.root / f"{number}-temporary"
        temporary.mkdir()
        (self.root / f"{number}.json").write_text(json.dumps(description, allow_nan=False), encoding="utf-8")
        stopped = self._launch(job, number, temporary)
        for one in job:
            report = read_report(one.folder, one.step.kind)
            if report is None:
                one.outcome, one.reason = "no_result", stopped
            else:
                one.outcome, one.reason, one.facts = report.outcome, report.reason, report.facts
            after = {role: _digest(one.folder / "given" / role) for role in before[one]}
            one.changed = tuple(role for role, digest in before[one].items() if after[role] != digest)
            one.accept()
            if report is None or report.outcome != "ok":
                break  # and so has the worker
        for one in job:
            if one.outcome:
                one.folder = one.folder.rename(one.folder.with_suffix(".moved"))

    def _launch(self, job: Sequence[_Try], number: int, temporary: Path) -> str:
        """Runs and watches the process; returns how it ended, for the step that has no result."""
        name = f"check-{os.getpid()}-{number}"
        cores = limits.available_cores()
        cores = [cores[os.getpid() % len(cores)]]  # tests that run beside each other tend to get different ones
        guard = limits.choose().guard(name, _BUILD, cores)
        with (self.root / f"{number}.log").open("wb") as log, limits.pinned(cores):
            process = subprocess.Popen(
                [*guard.launcher, sys.executable, "-m", "benchmark.worker", str(self.root / f"{number}.json")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=limits.child_environment(_BUILD.cores, temporary, name),
                start_new_session=True,
            )
        try:
            current, since = 0, time.monotonic()
            for look in itertools.count():
                if process.poll() is not None:
                    return f"its process ended with exit code {process.returncode} and left no result"
                if look % 3 == 0:
                    guard.watch(process.pid)
                while current < len(job) and (job[current].folder / FILE).exists():
                    current, since = current + 1, time.monotonic()
                if reason := guard.hit() or ("seconds" if time.monotonic() - since > _BUILD.seconds else ""):
                    return f"it took more {reason} than a step has"
                if current < len(job):
                    job[current].busy.append(observe.runnable_threads(guard.members()))
                time.sleep(_LOOK)
            raise AssertionError("unreachable")
        finally:
            guard.kill(process.pid)
            process.wait()
            guard.close()


def crowded(busy: Sequence[int]) -> str:
    """Why these counts of busy threads, one a look, are too high, "" where they are not. Single looks prove nothing, however many
    threads they find: those of a pool are ready to run once, when the library that keeps them starts them to wait."""
    over = [threads for threads in busy if threads > _BUILD.cores]
    if len(busy) < _LOOKS or len(over) <= _CROWDED * len(busy):
        return ""
    return f"{statistics.median(over):.0f} were busy in {len(over)} of {len(busy)} looks, {_BUILD.cores} may be"


def _described(one: _Try, paths: Mapping[str, Path]) -> dict[str, Any]:
    """A step as the worker reads it."""
    return {
        "id": one.step.id,
        "kind": one.step.kind,
        "target": one.step.target,
        "folder": str(one.folder),
        "inputs": {role: str(path) for role, path in paths.items()},
        "settings": one.step.settings,
        "threads": _BUILD.cores,
        "seconds": _BUILD.seconds,
        "libraries": one.step.libraries,
        "how": {},
    }


def _digest(folder: Path) -> str:
    return files_digest(folder, (path for path in folder.rglob("*") if path.is_file()))


@dataclass
class _Subject:
    """A back end or pass, and what becomes of it.

    ``step``: its training or pass; ``export``: of what that makes, None where it is an artifact already; ``evaluate``: of the
    artifact; ``call``: the step with these parameters instead of the defaults; ``given``: what it reads; ``rows``: the folder of
    what is evaluated.

    ``first``, ``again``: the step in two processes; ``other``: with another seed; ``third``: as ``first``, run where it is not
    clear what made two artifacts; ``shipped``: try -> its artifact; ``moved``: the artifact of the checkpoint of ``first``,
    exported in another process; ``seen``, ``elsewhere``: the artifact of ``again``, evaluated in the process that made it and in
    another; ``long``: the step with more updates, where it trains by them; ``varied``: with each of :func:`variants` of its
    parameters; ``alone``: with single values of those that did not end well.
    """

    provider: Provider
    step: Step
    export: Step | None
    evaluate: Step
    call: Callable[[Values], Step]
    given: Mapping[str, Path | _Try]
    rows: Path
    shipped: dict[_Try, _Try] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.first, self.again, self.third, self.other = (self._with_seed(seed) for seed in (0, 0, 0, 1))
        self.moved = _Try(self.export, self._read(self.first)) if self.export else self.first
        shipped: Mapping[str, Path | _Try] = {"artifact": self.shipped[self.again], "data": self.rows}
        self.seen, self.elsewhere = _Try(self.evaluate, shipped), _Try(self.evaluate, shipped)
        self.long = _Try(self._lengthened(), self.given)
        self.varied = self._called(variants(_params(self.provider)))
        self.alone: dict[Values, _Try] = {}

    def _with_seed(self, seed: int) -> _Try:
        one = _Try(dataclasses.replace(self.step, settings={**self.step.settings, "seed": seed}), self.given)
        self.shipped[one] = _Try(self.export, self._read(one)) if self.export else one
        return one

    def _lengthened(self) -> Step:
        longer = {name: {**self.step.settings[name]} for name in ("params", "training")}
        for given in (given for given in longer.values() if "updates" in given):
            given["updates"] = _LONG
        return dataclasses.replace(self.step, settings={**self.step.settings, **longer})

    def _called(self, calls: Iterable[Values]) -> dict[Values, _Try]:
        return {values: _Try(self.call(values), self.given) for values in calls}

    def _read(self, checkpoint: _Try) -> dict[str, Path | _Try]:
        return {"input": checkpoint, "data": self.given["data"]}

    @property
    def trains(self) -> bool:
        """Whether there is training in it: a pass on checkpoints may do without."""
        return self.step.kind == "train" or self.step.settings["stage"] == "start" or "updates" in self.first.facts

    def repeat(self) -> list[_Try]:
        """What is run in another process than ``first``."""
        tries = [self.again, self.shipped[self.again], self.seen]
        tries += [self.moved] if self.export else []
        tries += [self.other, self.shipped[self.other]] if self.trains else []
        tries += [self.long] if self.long.step.settings != self.step.settings else []
        return list(dict.fromkeys([*tries, *self.varied.values()]))

    def settle(self) -> list[_Try]:
        """What is run where there are two artifacts: either the step makes them, or the export does elsewhere."""
        doubtful = self.export and self.moved.ok and self.moved.digest != self.shipped[self.again].digest
        return [self.third, self.shipped[self.third]] if doubtful else []

    def single(self) -> list[_Try]:
        """What is run last: values that did not end well together, each alone."""
        doubtful = [values for values, one in self.varied.items() if one.outcome not in ("", "ok") and len(values) > 1]
        self.alone = self._called((value,) for values in doubtful for value in values)
        return list(self.alone.values())

    def broken(self, classes: int, draws: bool) -> Iterator[tuple[str, str]]:
        """The rules that it breaks, and how."""
        needed = [self.first, self.again, self.shipped[self.again], self.seen, self.elsewhere]
        needed += [self.other, self.shipped[self.other]] if self.trains else []
        for one in needed:
            if not one.ok:
                yield "runs", f"{one.step.kind} with seed {one.step.settings.get('seed', 0)}: {one.outcome}: {one.reason}"
                return
        here, elsewhere = self.seen.arrays(), self.elsewhere.arrays()
        if reason := quality.check(here["validation"], len(here["validation"]), classes):
            yield "runs", reason
            return
        made = self.shipped[self.again].digest
        compared = self.third if self.settle() else self.again if self.export else self.first
        if self.shipped[compared].digest != made:
            yield "same bytes", "two processes made two artifacts with one seed"
        elif not self.moved.ok:
            yield "reload", f"the checkpoint cannot be exported in another process: {self.moved.reason}"
        elif self.moved.digest != made:
            yield "reload", "the checkpoint became another artifact in another process"
        if self.trains and draws and self.shipped[self.other].digest == made:
            yield "seed", "seeds 0 and 1 made the same artifact"
        if changed := sorted({role for one in self._own() for role in one.changed}):
            yield "inputs", f"it changed its {' and '.join(changed)}"
        tries = (self.again, self.other, self.long, *self.varied.values())
        if reason := crowded([threads for one in tries for threads in one.busy]):
            yield "threads", reason
        facts = self.elsewhere.facts
        if reason := outputs.refusal(facts["repeatable"], facts["batch_rows"], facts["batch_label_changes"]):
            yield "rows", reason
        elif not all(np.array_equal(here[split], elsewhere[split]) for split in here):
            yield "reload", "the artifact gave other outputs in another process"
        failed = {values: one for values, one in (self.alone | self.varied).items() if one.outcome not in ("ok", "skipped")}
        for values, one in failed.items():
            if len(values) == 1 or not any((value,) in failed for value in values):
                given = ", ".join(f"{name}={value!r}" for name, value in values)
                yield "parameters", f"{given}: {one.outcome}: {one.reason}"
        if self.step.kind == "pass" and self.step.settings["stage"] != "start":
            if "matched" not in self.first.facts:
                yield "layers", "it reported no matched and changed layers"
            elif (matched := self.first.facts["matched"]) < (altered := self.first.facts["changed"]):
                yield "layers", f"it matched {matched} and changed {altered}"

    def _own(self) -> Iterator[_Try]:
        """The tries in which its own code ran: exports are the back end's."""
        yield from (self.first, self.again, self.other, self.long, *self.varied.values(), *self.alone.values())
        if self.step.kind == "train":
            yield from (self.moved, *self.shipped.values())


def _examine(
    backend: str, names: Iterable[str], *, itself: bool, architecture: str, task: str, draws: bool, files: Sequence[Path]
) -> dict[str, list[str]]:
    registry = discover(files)
    host, passes = registry.get("backend", backend), [_pass_of(registry, backend, name) for name in names]
    suite = Suite(
        name="check",
        tasks=(task,),
        backends=(backend,),
        recipes=(Recipe(), *(recipe for one in passes for recipe in _recipes(one))),
        runtimes=_runtimes(registry, cast(BackendSpec, host.spec), {one.distribution for one in (host, *passes)}),
        architectures={backend: (architecture,)} if architecture else {},
        training={backend: {"updates": _UPDATES}} if "updates" in {param.name for param in _params(host)} else {},
    )
    with tempfile.TemporaryDirectory(prefix="pocketbench-check-") as folder:
        lab = _Lab(Path(folder).resolve(), registry.files)
        known, fit, rows = _prepared(lab, suite, registry)
        grid = _Grid(plan(suite, registry, {(task, 0): known}, Machine("", "", "", "")), fit, rows)
        whole = grid.backend(host)
        subjects = [grid.compressor(one, whole) for one in passes]
        lab.run([whole.first, *(one for one in grid.made.values() if one is not whole.first)])
        if not whole.first.ok:
            return {host.path: _lines(whole, known, draws)}  # there is nothing to try a pass on
        lab.run(subject.first for subject in subjects)
        examined = [subject for subject in (whole, *subjects) if itself or subject is not whole]
        lab.run(one for subject in examined if subject.first.ok for one in subject.repeat())
        lab.run(one for subject in examined for one in (*subject.settle(), *subject.single()))
        lab.run(subject.elsewhere for subject in examined if subject.seen.ok)
        found = {subject.provider.path: _lines(subject, known, draws) for subject in examined}
    for one in [*([host] if itself else []), *passes]:
        if not _refuses_unknown(suite, registry, one):
            found[one.path].append(f"{one.path}: unknown parameter: a plan with {_UNKNOWN} is no error that names it")
    return found


def _lines(subject: _Subject, known: Prepared, draws: bool) -> list[str]:
    return [f"{subject.provider.path}: {rule}: {how}" for rule, how in subject.broken(len(known.classes), draws)]


def _pass_of(registry: Registry, backend: str, name: str) -> Provider:
    registry.compressors_named(name)  # raises UserError where nobody has one
    if (found := registry.compressor(backend, name)) is None:
        raise UserError(f"no such pass for {backend}: {name}")
    return found


def _runtimes(registry: Registry, backend: BackendSpec, theirs: Collection[str]) -> tuple[str, ...]:
    """Those that are installed: emulated devices last, before others what loads the back end's default format, of the rest first
    what comes with the plugins (``theirs``: their distributions), then our own."""

    def place(one: Provider) -> tuple[bool, bool, bool, bool, str]:
        spec = cast(RuntimeSpec, one.spec)
        default = backend.exports[0] in spec.formats
        strange = not default and one.distribution not in theirs
        return bool(spec.emulates), not default, strange, one.distribution != OWN, spec.name

    found = [one for one in registry.runtimes.values() if not one.missing]
    return tuple(one.spec.name for one in sorted(found, key=place))


def _params(provider: Provider) -> tuple[Param, ...]:
    return cast(BackendSpec | CompressorSpec, provider.spec).params


def _recipe(provider: Provider, values: Values = ()) -> Recipe:
    return Recipe((PassCall(provider.spec.name, values),))


def _recipes(provider: Provider) -> list[Recipe]:
    """The pass with its defaults, with each set of other values, and with each of these alone."""
    sets = variants(_params(provider))
    return [_recipe(provider, values) for values in dict.fromkeys([(), *sets, *((one,) for group in sets for one in group)])]


def variants(params: Sequence[Param]) -> list[Values]:
    """Few sets of values in which each choice, lowest and highest value of the parameters stands once: all lowest ones in one,
    all highest ones in another, and choices in others, so that no extreme keeps a choice from mattering. Defaults are left
    out."""
    rows = list(itertools.zip_longest(*([value for value in _choices(param) if value != param.default] for param in params)))
    rows.append(tuple(_end(param, param.low, math.ceil) for param in params))
    rows.append(tuple(_end(param, param.high, math.floor) for param in params))
    sets = list[Values]()
    for row in rows:
        pairs = zip(params, row, strict=True)
        sets.append(tuple((param.name, value) for param, value in pairs if value not in (None, param.default)))
    return list(dict.fromkeys(one for one in sets if one))


def _choices(param: Param) -> tuple[Scalar, ...]:
    return (False, True) if isinstance(param.default, bool) else param.choices


def _end(param: Param, end: float | None, rounded: Callable[[float], int]) -> Scalar | None:
    """An end of a parameter's range as a value of its type; None where it has none, or lists its values."""
    if end is None or param.choices or isinstance(param.default, bool | str):
        return None
    return rounded(end) if isinstance(param.default, int) else float(end)


def _prepared(lab: _Lab, suite: Suite, registry: Registry) -> tuple[Prepared, Path, Path]:
    """What is known of the task's first fold, and folders of some of its rows: for building, and for evaluating."""
    (task,) = suite.tasks
    steps = list(plan_preparation(suite, registry).values())
    if not steps:
        raise UserError(f"task {task} {registry.tasks[task].hint}")
    fold = _Try(steps[0], {})
    lab.run([fold])
    if not fold.ok:
        raise UserError(f"task {task} could not be prepared: {fold.reason}")
    fit, rows = lab.root / data.FIT, lab.root / data.INPUTS
    for path in (fit, rows):
        path.mkdir()
    for path in (fold.output / data.FIT).glob("*.npy"):
        array = np.load(path)
        most = _ROWS[path.name.partition("_")[0]]
        np.save(fit / path.name, array[np.unique(np.linspace(0, len(array) - 1, most).astype(np.int64))])
    shutil.copy(fold.output / data.FIT / "task.json", fit)
    x = np.load(fit / "validation_x.npy")
    np.save(rows / "validation_x.npy", x)
    np.save(rows / "test_x.npy", x[::-1])  # other rows beside each
    return Prepared(*(fold.facts[name] for name in ("fingerprint", "input_shape", "classes", "rows"))), fit, rows


class _Grid:
    """The planned steps. ``made``: id -> what passes read of the back end."""

    def __init__(self, whole: Plan, fit: Path, rows: Path) -> None:
        self.made: dict[str, _Try] = {}
        self._steps, self._fit, self._rows = whole.steps, fit, rows
        self._cells = dict[str, Cell]()
        for cell in whole.cells:  # of each recipe the first that can run
            if cell.recipe not in self._cells or self._cells[cell.recipe].skipped:
                self._cells[cell.recipe] = cell

    def backend(self, provider: Provider) -> _Subject:
        """The subject of the back end, which is also what its passes start from."""
        cell = self._cell(provider, Recipe())
        train, export = (self._steps[id_] for _, id_ in cell.chain)

        def call(values: Values) -> Step:
            given = {**train.settings["params"], **dict(values)}
            return dataclasses.replace(train, settings={**train.settings, "params": given, "training": given})

        subject = _Subject(provider, train, export, self._steps[cell.evaluate], call, {"data": self._fit}, self._rows)
        self.made[train.id] = subject.first
        return subject

    def compressor(self, provider: Provider, whole: _Subject) -> _Subject:
        """The subject of a pass on the models of the back end."""
        cell = self._cell(provider, _recipe(provider))
        chain = dict(cell.chain)
        step = self._steps[chain[provider.spec.name]]
        export = None if step.settings["stage"] == "artifact" else self._steps[chain["export"]]
        given: dict[str, Path | _Try] = {"data": self._fit}
        for role, id_ in step.inputs.items():
            if role != "data":  # a training or its export
                given[role] = self.made.setdefault(id_, _Try(self._steps[id_], {"input": whole.first, "data": self._fit}))
        if cast(CompressorSpec, provider.spec).uses_task:
            given["source"] = whole.first  # what it does with another task's network, it does with this one's

        def call(values: Values) -> Step:
            return self._steps[dict(self._cell(provider, _recipe(provider, values)).chain)[provider.spec.name]]

        return _Subject(provider, step, export, self._steps[cell.evaluate], call, given, self._rows)

    def _cell(self, provider: Provider, recipe: Recipe) -> Cell:
        cell = self._cells[str(recipe)]
        if cell.skipped:
            raise UserError(f"{provider.path} cannot be checked: {cell.skipped}")
        return cell


def _refuses_unknown(suite: Suite, registry: Registry, provider: Provider) -> bool:
    """Whether a parameter that ``provider`` does not declare is an error that names it."""
    if provider.kind == "backend":
        suite = dataclasses.replace(suite, training={provider.spec.name: {_UNKNOWN: 1}})
    else:
        suite = dataclasses.replace(suite, recipes=(_recipe(provider, ((_UNKNOWN, 1),)),))
    try:
        plan(suite, registry, {}, Machine("", "", "", ""))
    except UserError as error:
        return _UNKNOWN in str(error)
    return False
