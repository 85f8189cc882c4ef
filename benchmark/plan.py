"""Suite × registry × prepared data -> the graph of steps and the list of cells. Reads digests of code, and looks which official
files are here; writes nothing.

A step's id is the sha256 of everything that its result depends on, so a finished step is found again by its id, steps that
recipes share exist once, and a change reruns exactly what it touches.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import benchmark
from benchmark import official
from benchmark.data import Prepared
from benchmark.errors import UserError
from benchmark.registry import Provider, Registry, exporting, files_digest, ingredients, nearest
from benchmark.search import given_text
from benchmark.specs import (
    STAGES,
    BackendSpec,
    CompressorSpec,
    Param,
    RuntimeSpec,
    Scalar,
    TaskSpec,
)
from benchmark.store import Outcome, StepResult, Store
from benchmark.suite import PassCall, Recipe, Suite

StepKind: TypeAlias = Literal[
    "prepare",
    "split",
    "train",
    "pass",
    "export",
    "identity",
    "inspect",
    "evaluate",
    "latency",
    "memory",
    "search",
    "propose",
    "validate",
]
MEASURED: tuple[StepKind, ...] = ("latency", "memory")
"""Kinds that run after everything is built, latency alone on the machine."""
METHOD = ("backend", "architecture", "recipe", "runtime")
"""What names a method on a task, of a cell and of its row."""
PLACE = ("task", "fold", *METHOD, "seed")
"""What tells the cells of a suite apart, and their rows."""
_SOURCE_FOLD = 0
"""The fold of another task from which a network is transferred."""
_DATA = Path(__file__).parent / "data.py"
"""What prepares a fold, beside the task's own code."""


@dataclass(frozen=True)
class Step:
    """A piece of work. ``inputs``: role -> id of the step whose output it reads. ``settings``: what the worker needs to know.
    ``rides``: id of a step in whose job it runs, right after it, unless that one is finished. ``target``: the plugin's code,
    empty for the host's own work. ``libraries``: import names that its code requires. ``versions``: distribution -> version,
    for provenance only."""

    id: str
    kind: StepKind
    label: str
    target: str
    inputs: Mapping[str, str]
    settings: Mapping[str, Any]
    ingredients: Mapping[str, Any]
    libraries: tuple[str, ...]
    versions: Mapping[str, str]
    rides: str = ""


@dataclass(frozen=True)
class Compared:
    """A pass judged by what it did to the artifact. ``step``: the pass's own; ``before``, ``after``: the ``inspect`` steps of the
    artifact without it and with it."""

    name: str
    step: str
    before: str
    after: str


@dataclass(frozen=True)
class Cell:
    """One row of the grid. ``chain``: (name in reasons, step id) from training to the artifact. ``teachers``: likewise, the
    reference's steps that a pass of it used and that are not in the chain. ``anchors``: what the latency is compared with.
    ``latency``, ``memory``: none where the runtime is an emulated device's. A cell that cannot run has ``skipped``, the reason,
    and no steps. ``search``: of one that a search chooses its step, and once that is over ``chosen``, how people are told what
    won, with the steps of that, or ``fruitless``, why nothing did."""

    suite: str
    task: str
    modality: str
    metrics: tuple[str, ...]
    margin: float
    unit: str
    fold: int
    backend: str
    architecture: str
    recipe: str
    runtime: str
    seed: int
    output: str
    sensitive: tuple[str, ...] = ()
    skipped: str = ""
    prepare: str = ""
    chain: tuple[tuple[str, str], ...] = ()
    teachers: tuple[tuple[str, str], ...] = ()
    compared: tuple[Compared, ...] = ()
    anchors: tuple[tuple[str, str], ...] = ()
    inspect: str = ""
    evaluate: str = ""
    latency: tuple[str, ...] = ()
    memory: str = ""
    floor_memory: str = ""
    reference_inspect: str = ""
    reference_evaluate: str = ""
    search: str = ""
    chosen: str = ""
    fruitless: str = ""

    @property
    def label(self) -> str:
        """How the cell is named to people."""
        parts = [self.task, f"fold {self.fold}", self.backend, self.architecture, self.recipe, self.runtime, f"seed {self.seed}"]
        return " · ".join(part for part in parts if part)

    def steps(self) -> tuple[str, ...]:
        """Ids of all steps that the row is made of."""
        ids = [
            self.prepare,
            self.search,
            *(id_ for _, id_ in (*self.chain, *self.teachers, *self.anchors)),
            self.inspect,
            self.evaluate,
        ]
        ids += [*self.latency, self.memory, self.floor_memory, self.reference_inspect, self.reference_evaluate]
        ids += [id_ for one in self.compared for id_ in (one.before, one.after)]
        return tuple(id_ for id_ in dict.fromkeys(ids) if id_)


@dataclass(frozen=True)
class Plan:
    """``steps``: every step once, each after its inputs. ``cells``: the whole grid in the suite's order."""

    steps: Mapping[str, Step]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Machine:
    """What of this machine and of the host's own code enters ids. ``onnx``: the version of the library that reads graphs."""

    host_class: str
    measure_digest: str
    build_digest: str
    onnx: str


def measure_digest() -> str:
    """Digest of the code that measures: its change reruns every evaluation and measurement, and no training."""
    host = Path(__file__).parent
    return files_digest(host, [*(host / "measure").glob("*.py"), *(host / "limits").glob("*.py"), host / "worker.py"])


def build_digest() -> str:
    """Digest of the host's code that a training or pass runs on: its environment and seeds, what it is given, and the score that
    may stop it."""
    host = Path(__file__).parent
    names = ("worker.py", "protocols.py", "calibration.py", "limits/child.py", "measure/quality.py")
    return files_digest(host, [host / name for name in names])


@functools.cache
def data_digest() -> str:
    """Digest of the host's code that writes a fold."""
    return files_digest(_DATA.parent, [_DATA])


@functools.cache
def _version(distribution: str) -> str:
    """Read once: a search plans a split for each step of a proposal."""
    return importlib.metadata.version(distribution)


def plan_preparation(suite: Suite, registry: Registry) -> dict[tuple[str, int], Step]:
    """The prepare steps by (task, fold), which run before the rest is planned. Raises UserError for an unknown task or fold."""
    steps = {}
    sources = {source for recipe in suite.recipes for source in sources_of(suite, registry, recipe)}
    for name in dict.fromkeys([*suite.tasks, *sorted(sources)]):
        provider = registry.get("task", name)
        spec = cast(TaskSpec, provider.spec)
        wanted = [_SOURCE_FOLD] * (name in sources), folds_of(suite, spec) if name in suite.tasks else []
        for fold in sorted(set().union(*wanted)):
            if fold >= spec.folds:
                raise UserError(f"task {name} has no fold {fold}: it has {spec.folds}, from 0 on")
            if not provider.missing:
                steps[name, fold] = _step(
                    "prepare",
                    f"{name} · fold {fold}: prepare",
                    provider,
                    # Where its files come from is for the host, and what to print beside its rows.
                    settings={"fold": fold, "spec": dataclasses.asdict(dataclasses.replace(spec, sources=(), published=()))},
                    ingredients={
                        "fold": fold,
                        "task": told_of_task(spec),
                        "options": dict(spec.options),
                        "files": {file.name: file.checksum for file in official.chosen(spec.sources)},
                        "host": data_digest(),
                    },
                    of_provider=ingredients(provider),
                )
    return steps


def sources_of(suite: Suite, registry: Registry, recipe: Recipe) -> list[str]:
    """The tasks whose references passes of a recipe are given."""
    found = []
    for call in recipe.passes:
        for backend in suite.backends:
            provider = registry.compressor(backend, call.name)
            if provider and (source := _source(provider, call)):
                found.append(source)
    return found


def _source(provider: Provider, call: PassCall) -> str:
    """The task whose reference a pass is given; empty where it is given none."""
    spec = compressor(provider)
    default = {param.name: param.default for param in spec.params}.get(spec.uses_task, "")
    return str(dict(call.params).get(spec.uses_task, default))


def told_of_task(spec: TaskSpec) -> dict[str, Any]:
    """What of a task's spec the jobs are told beside its arrays; its name changes nothing."""
    told = {"modality": spec.modality, "metrics": spec.metrics, "class_weight": spec.class_weight}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}


def folds_of(suite: Suite, task: TaskSpec) -> Sequence[int]:
    """The folds of a task that a suite asks for."""
    return range(task.folds) if suite.folds is None else suite.folds


def plan(suite: Suite, registry: Registry, prepared: Mapping[tuple[str, int], Prepared], machine: Machine) -> Plan:
    """The steps and cells of a suite, without its searches. ``prepared``: what is known of each (task, fold); absent ones count
    as unknown. Raises UserError for names, parameters and orders that cannot be right; a combination that does not exist is a
    skipped cell."""
    return Planner(suite, registry, prepared, machine).plan()


@dataclass
class Planner:
    """Plans the grid of a suite. Arguments as those of :func:`plan`."""

    suite: Suite
    registry: Registry
    prepared: Mapping[tuple[str, int], Prepared]
    machine: Machine
    steps: dict[str, Step] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    known: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    preparation: Mapping[tuple[str, int], Step] = field(default_factory=dict)

    def plan(self) -> Plan:
        """The whole plan."""
        suite = self.suite
        preparation = self.preparation = plan_preparation(suite, self.registry)
        backends = {name: self.registry.get("backend", name) for name in suite.backends}
        runtimes = {name: self.registry.get("runtime", name) for name in suite.runtimes}
        _check_training(suite, self.registry.backends)
        self.check_architectures(suite.architectures)
        for recipe in suite.recipes:
            self._check_recipe(recipe)
        for step in preparation.values():
            self.steps[step.id] = step
        specs = {name: cast(TaskSpec, self.registry.tasks[name].spec) for name in suite.tasks}
        places = [(name, fold) for name, spec in specs.items() for fold in folds_of(suite, spec)]
        for (task, fold), backend in itertools.product(places, backends.values()):
            architectures = self.architectures(backend, specs[task])
            prepare = preparation.get((task, fold))
            grid = itertools.product(architectures, suite.recipes, runtimes.values(), suite.seeds)
            for architecture, recipe, runtime, seed in grid:
                self._cell(prepare, task, fold, backend, architecture, recipe, runtime, seed)
        return Plan(self.steps, tuple(self.cells))

    # Checks of what the suite names

    def check_architectures(self, named: Mapping[str, tuple[str, ...]]) -> None:
        """Raises UserError for a back end's architecture that it does not have."""
        for name, architectures in named.items():
            if name not in self.suite.backends:
                continue  # filtered away, or of a back end that another run uses
            spec = cast(BackendSpec, self.registry.get("backend", name).spec)
            known = {one for group in spec.architectures.values() for one in group}
            for architecture in architectures:
                if architecture not in known:
                    raise UserError(f"unknown architecture {architecture!r} of {name}{nearest(architecture, known)}")

    def _check_recipe(self, recipe: Recipe) -> None:
        """Names, parameters and order, for the suite's back ends; where none of them has a pass, as others declare it."""
        last = 0
        for position, call in enumerate(recipe.passes):
            named = self.registry.compressors_named(call.name)
            own = [one for backend in self.suite.backends if (one := self.registry.compressor(backend, call.name))]
            specs = [compressor(provider) for provider in own or named]
            for spec in specs:
                fill(spec.params, dict(call.params), f"pass {call.name}")
            stages = [STAGES.index(spec.stage_at(position)) for spec in specs]
            if position and not any(stages):
                raise UserError(f"recipe {recipe}: {_not_first(call.name)}")
            stage = min(one for one in stages if one or not position)
            if stage < last:
                raise UserError(f"recipe {recipe}: {call.name} works on a checkpoint, so it must come before passes on artifacts")
            last = stage

    def architectures(self, backend: Provider, task: TaskSpec) -> tuple[str, ...]:
        """The networks of a back end that the suite asks for on a task."""
        spec = cast(BackendSpec, backend.spec)
        return self.suite.architectures.get(spec.name) or spec.architectures.get(task.modality, ("",))[:1]

    # One cell

    def _cell(
        self,
        prepare: Step | None,
        task: str,
        fold: int,
        backend: Provider,
        architecture: str,
        recipe: Recipe,
        runtime: Provider,
        seed: int,
    ) -> None:
        empty = self.empty(task, fold, backend, architecture, str(recipe), runtime, seed)
        reason, format_ = self.possible(cast(TaskSpec, self.registry.tasks[task].spec), backend, architecture, recipe, runtime)
        if reason or prepare is None:
            self.cells.append(dataclasses.replace(empty, skipped=reason))
            return
        branch = Branch(self, self.preparation, task, fold, backend, architecture, seed)
        self.cells.append(branch.cell(empty, self.calls(backend, recipe), format_, runtime))

    def empty(
        self, task: str, fold: int, backend: Provider, architecture: str, recipe: str, runtime: Provider, seed: int
    ) -> Cell:
        """A cell without steps."""
        spec = cast(TaskSpec, self.registry.tasks[task].spec)
        return Cell(
            suite=self.suite.name,
            task=task,
            modality=spec.modality,
            metrics=spec.metrics,
            margin=spec.margin,
            unit=spec.unit,
            sensitive=spec.sensitive,
            fold=fold,
            backend=backend.spec.name,
            architecture=architecture,
            recipe=recipe,
            runtime=runtime.spec.name,
            seed=seed,
            output=cast(BackendSpec, backend.spec).output,
        )

    def calls(self, backend: Provider, recipe: Recipe) -> list[tuple[PassCall, Provider]]:
        """The passes of a recipe that is possible, with their providers."""
        return [(call, cast(Provider, self.registry.compressor(backend.spec.name, call.name))) for call in recipe.passes]

    def possible(
        self, task: TaskSpec, backend: Provider, architecture: str, recipe: Recipe, runtime: Provider
    ) -> tuple[str, str]:
        """Why there is no such cell, or an empty string, and the format that the back end exports for it."""
        spec = cast(BackendSpec, backend.spec)
        calls = [(call, self.registry.compressor(spec.name, call.name)) for call in recipe.passes]
        if reason := self._why_not(task, backend, architecture, calls, runtime):
            return reason, ""
        specs = [compressor(provider) for _, provider in calls if provider]
        format_ = _format(spec, specs, cast(RuntimeSpec, runtime.spec))
        if not format_:
            return f"no format that {spec.name} exports, these passes map and {runtime.spec.name} loads", ""
        hint = exporting(backend, format_).hint
        return (f"{backend.path} as {format_} {hint}" if hint else ""), format_

    def _why_not(
        self,
        task: TaskSpec,
        backend: Provider,
        architecture: str,
        calls: list[tuple[PassCall, Provider | None]],
        runtime: Provider,
    ) -> str:
        spec = cast(BackendSpec, backend.spec)
        for call, provider in calls:
            if provider is None:
                return f"no such pass for {spec.name}: {call.name}"
        if broken := _order_broken([compressor(provider) for _, provider in calls if provider]):
            return broken
        sources = [self.registry.tasks[source] for call, one in calls if one and (source := _source(one, call))]
        for one in (self.registry.tasks[task.name], backend, runtime, *(provider for _, provider in calls if provider), *sources):
            if one.missing:
                return f"{one.path} {one.hint}"
        for one in sources:
            if reason := _no_source(cast(TaskSpec, one.spec), task):
                return reason
        if architecture not in spec.architectures.get(task.modality, ()):
            return f"no {architecture or 'architecture'} for {task.modality} tasks in {spec.name}"
        return ""

    def training(self, spec: BackendSpec, changed: Mapping[str, Scalar] | None = None) -> dict[str, Scalar]:
        """The training parameters of a back end: its defaults, what the suite says, what is ``changed`` of that."""
        given = {**self.suite.training.get("", {}), **self.suite.training.get(spec.name, {}), **(changed or {})}
        names = {param.name for param in spec.params}
        return fill(spec.params, {name: value for name, value in given.items() if name in names}, f"[train] of {spec.name}")

    # Steps

    def of(self, provider: Provider) -> dict[str, Any]:
        """What of a provider enters ids."""
        key = (provider.identity, *provider.requires)
        if key not in self.known:
            self.known[key] = ingredients(provider)
        return self.known[key]

    def add(
        self,
        kind: StepKind,
        label: str,
        provider: Provider | None,
        *,
        inputs: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        ingredients: Mapping[str, Any],
        rides: str = "",
    ) -> str:
        """Adds a step, and gives its id."""
        step = _step(
            kind,
            label,
            provider,
            inputs=inputs or {},
            settings=settings or {},
            ingredients=ingredients,
            of_provider=self.of(provider) if provider else {},
            rides=rides,
        )
        self.steps.setdefault(step.id, step)
        return step.id

    def split(self, task: str, fold: int, part: int, parts: int) -> Step:
        """Adds the step that makes an inner fold, but the first, of the cross-validation of a prepared fold."""
        prepare, prepared = self.preparation[task, fold], self.prepared[task, fold]
        place = {"part": part, "parts": parts}
        id_ = self.add(
            "split",
            f"{prepare.label.rpartition(': ')[0]}: inner fold {part + 1} of {parts}",
            None,
            inputs={"data": prepare.id},
            settings=place,
            ingredients={
                **place,
                "data": prepared.fingerprint,
                "task": told_of_task(cast(TaskSpec, self.registry.tasks[task].spec)),
                "classes": list(prepared.classes),
                "host": data_digest(),
                "scikit-learn": _version("scikit-learn"),
            },
        )
        return self.steps[id_]


@dataclass(frozen=True)
class Branch:
    """All cells of one (task, fold, back end, architecture, seed): they share the reference. ``training``: parameters that are
    not what the suite says, for all but the reference. ``part``, ``parts``: which fold of a cross-validation its data is, the
    first being the task's own training and validation rows."""

    planner: Planner
    preparation: Mapping[tuple[str, int], Step]
    task: str
    fold: int
    backend: Provider
    architecture: str
    seed: int
    training: Mapping[str, Scalar] = field(default_factory=dict)
    part: int = 0
    parts: int = 1

    def cell(self, empty: Cell, passes: list[tuple[PassCall, Provider]], format_: str, runtime: Provider) -> Cell:
        """``empty`` with its steps."""
        plain = dataclasses.replace(self, training={})
        train = plain._train()
        given = plain._export(train, format_, [])
        stages = [compressor(provider).stage_at(position) for position, (_, provider) in enumerate(passes)]
        start, model, artifact_passes = (
            [one for one, own in zip(passes, stages, strict=True) if own == stage] for stage in STAGES
        )
        names = list[str]()
        if not start:
            checkpoint = self._train()
            chain = [("train", checkpoint)]
        for call, provider in start:
            names = [str(call)]
            checkpoint = self._pass(call, provider, names, {}, train)
            chain = [(call.name, checkpoint)]
        artifact = self._export(checkpoint, format_, names)
        compared: list[Compared] = []
        for call, provider in model:
            inspected = self._inspect(artifact, format_, runtime, names)
            names = [*names, str(call)]
            checkpoint = self._pass(call, provider, names, {"input": checkpoint}, train)
            artifact = self._export(checkpoint, format_, names)
            chain.append((call.name, checkpoint))
            compared.append(Compared(call.name, checkpoint, inspected, self._inspect(artifact, format_, runtime, names)))
        chain.append(("export", artifact))
        made = format_
        for call, provider in artifact_passes:
            before, inspected = artifact, self._inspect(artifact, made, runtime, names)
            names, made = [*names, str(call)], compressor(provider).produces or made
            artifact = self._pass(call, provider, names, {"input": before}, given)
            chain.append((call.name, artifact))
            compared.append(Compared(call.name, artifact, inspected, self._inspect(artifact, made, runtime, names)))
        taught = [compressor(provider).stage for _, provider in passes if _taught(provider)]
        teachers = [("reference: train", train)] if taught else []
        teachers += [("reference: export", given)] if "artifact" in taught else []
        sources = [source for call, provider in passes if (source := _source(provider, call))]
        for source in sources:
            teachers.append((f"{source}: prepare", self.preparation[source, _SOURCE_FOLD].id))
            teachers.append((f"{source}: train", self._train_of(source)))
        spec = cast(RuntimeSpec, runtime.spec)
        # The reference is what this runtime itself loads, whatever format a recipe starts from. Where it loads no export there is
        # nothing to compare time and labels with, and sizes are compared with what the passes were given.
        own = _format(cast(BackendSpec, self.backend.spec), [], spec)
        own = "" if own and exporting(self.backend, own).missing else own
        reference = plain._export(train, own or format_, [])
        cell = dataclasses.replace(
            empty,
            prepare=self.prepare.id,
            chain=tuple(chain),
            teachers=tuple(one for one in teachers if one[1] not in dict(chain).values()),
            compared=tuple(compared),
            anchors=(("reference: train", train), ("reference: export", reference)),
            inspect=self._inspect(artifact, made, runtime, names),
            evaluate=self._evaluate(artifact, runtime, names),
            reference_inspect=plain._inspect(reference, own or format_, runtime, []),
            reference_evaluate=plain._evaluate(reference, runtime, []) if own else "",
        )
        return cell if spec.emulates else self._timed(cell, artifact, reference if own else "", runtime, names)

    def _timed(self, cell: Cell, artifact: str, anchor: str, runtime: Provider, names: list[str]) -> Cell:
        """The cell with what is measured on this machine."""
        identity = self._identity(runtime)
        measure = self.planner.suite.measure
        inputs = {"artifact": artifact, **({"anchor": anchor} if anchor else {}), "floor": identity, "data": self.prepare.id}
        return dataclasses.replace(
            cell,
            anchors=(*cell.anchors, ("identity model", identity)),
            latency=tuple(
                self._measured(
                    "latency",
                    self._label(names, f"latency on {runtime.spec.name}, process {process}"),
                    runtime,
                    inputs,
                    {"process": process, "rounds": measure.rounds, "calls": measure.calls},
                )
                for process in range(measure.processes)
            ),
            memory=self._memory(artifact, runtime, self._label(names, f"memory on {runtime.spec.name}")),
            floor_memory=self._memory(identity, runtime, f"{runtime.spec.name}: memory of its identity model"),
        )

    def _label(self, names: list[str], verb: str) -> str:
        where = f"{self.task} · fold {self.fold} · {self.backend.spec.name} {self.architecture} · seed {self.seed}"
        held = [f"inner fold {self.part + 1} of {self.parts}"] if self.part else []
        return f"{where} · {' · '.join([*held, *given_text(self.training), ' + '.join(names) or 'reference'])}: {verb}"

    @property
    def prepare(self) -> Step:
        """The step that makes its data."""
        if self.part:
            return self.planner.split(self.task, self.fold, self.part, self.parts)
        return self.preparation[self.task, self.fold]

    @property
    def _whole(self) -> Prepared:
        """What is known of the fold. Ids made of one that is not prepared yet match nothing, and not those of another fold."""
        unknown = Prepared(fingerprint=f"unknown: {self.task}, fold {self.fold}", input_shape=(), classes=(), rows=0)
        return self.planner.prepared.get((self.task, self.fold), unknown)

    @property
    def _prepared(self) -> Prepared:
        """What is known of its data."""
        return dataclasses.replace(self._whole, fingerprint=self.prepare.id) if self.part else self._whole

    @property
    def _told_of_task(self) -> dict[str, Any]:
        """What a build's Context says of the task beside its arrays; its name changes nothing."""
        spec = cast(TaskSpec, self.planner.registry.tasks[self.task].spec)
        return {**told_of_task(spec), "classes": list(self._prepared.classes)}

    @property
    def _training(self) -> dict[str, Scalar]:
        return self.planner.training(cast(BackendSpec, self.backend.spec), self.training)

    def _build(
        self, kind: StepKind, verb: str, names: list[str], provider: Provider, inputs: Mapping[str, str], **settings: Any
    ) -> str:
        limits = self.planner.suite.build
        settings = {
            "architecture": self.architecture,
            "seed": self.seed,
            "output_kind": cast(BackendSpec, self.backend.spec).output,
            **settings,
        }
        return self.planner.add(
            kind,
            self._label(names, verb),
            provider,
            inputs={**inputs, "data": self.prepare.id},
            settings=settings,
            ingredients={
                **settings,
                "data": self._prepared.fingerprint,
                "task": self._told_of_task,
                "inputs": dict(inputs),
                "limits": dataclasses.asdict(limits),
                "host": self.planner.machine.build_digest,
            },
            rides=inputs["input"] if kind == "export" else "",
        )

    def _train(self) -> str:
        return self._build("train", "train", [], self.backend, {}, params=self._training, training=self._training)

    def _train_of(self, source: str) -> str:
        """The reference's training on another task."""
        return dataclasses.replace(self, task=source, fold=_SOURCE_FOLD, training={}, part=0, parts=1)._train()

    def _export(self, checkpoint: str, format_: str, names: list[str]) -> str:
        exporter, inputs = exporting(self.backend, format_), {"input": checkpoint}
        return self._build("export", f"export to {format_}", names, exporter, inputs, params={}, training={}, format=format_)

    def _pass(self, call: PassCall, provider: Provider, names: list[str], inputs: Mapping[str, str], reference: str) -> str:
        spec = compressor(provider)
        if spec.uses_reference:
            inputs = {**inputs, "reference": reference}
        if source := _source(provider, call):
            inputs = {**inputs, "source": self._train_of(source)}
        return self._build(
            "pass",
            call.name,
            names,
            provider,
            inputs,
            params=fill(spec.params, dict(call.params), f"pass {call.name}"),
            training=self._training if spec.backend else {},
            stage=spec.stage_at(len(names) - 1),
        )

    def _inspect(self, artifact: str, format_: str, runtime: Provider, names: list[str]) -> str:
        """The host reads ONNX itself; what other formats hold, only the runtime that decodes them can say."""
        decodes = format_ != "onnx" and format_ in cast(RuntimeSpec, runtime.spec).formats
        return self.planner.add(
            "inspect",
            self._label(names, "inspect the artifact"),
            runtime if decodes else None,
            inputs={"artifact": artifact},
            settings={"format": format_},
            ingredients={
                "artifact": artifact,
                "format": format_,
                "measure": self.planner.machine.measure_digest,
                "onnx": self.planner.machine.onnx,
            },
        )

    def _identity(self, runtime: Provider) -> str:
        shape = self._prepared.input_shape
        return self.planner.add(
            "identity",
            f"{runtime.spec.name}: identity model for inputs of {' × '.join(map(str, shape))}",
            runtime,
            settings={"input_shape": list(shape)},
            ingredients={"input_shape": list(shape)},
        )

    def _evaluate(self, artifact: str, runtime: Provider, names: list[str]) -> str:
        return self._scored("evaluate", artifact, runtime, names)

    def validate(self, artifact: str, runtime: Provider, names: list[str]) -> str:
        """The id of the step that runs an artifact on validation rows alone."""
        return self._scored("validate", artifact, runtime, names)

    def _scored(self, kind: StepKind, artifact: str, runtime: Provider, names: list[str]) -> str:
        spec = cast(RuntimeSpec, runtime.spec)
        return self._measured(
            kind,
            self._label(names, f"{kind} on {runtime.spec.name}"),
            runtime,
            {"artifact": artifact, "data": self.prepare.id},
            {
                "output_kind": cast(BackendSpec, self.backend.spec).output,
                "metrics": list(cast(TaskSpec, self.planner.registry.tasks[self.task].spec).metrics),
                "rows": spec.rows,
                "emulates": spec.emulates,
            },
        )

    def _memory(self, artifact: str, runtime: Provider, label: str) -> str:
        return self._measured("memory", label, runtime, {"artifact": artifact, "data": self.prepare.id}, {})

    def _measured(
        self,
        kind: StepKind,
        label: str,
        runtime: Provider,
        inputs: Mapping[str, str],
        settings: Mapping[str, Any],
    ) -> str:
        return self.planner.add(
            kind,
            label,
            runtime,
            inputs=inputs,
            settings=settings,
            ingredients={
                **settings,
                "inputs": {role: id_ for role, id_ in inputs.items() if role != "data"},
                "data": self._prepared.fingerprint,
                "threads": self.planner.suite.build.cores,
                "measure": self.planner.machine.measure_digest,
                "host_class": self.planner.machine.host_class,
            },
        )


def compressor(provider: Provider) -> CompressorSpec:
    """The spec of a pass."""
    return cast(CompressorSpec, provider.spec)


def _taught(provider: Provider) -> bool:
    return compressor(provider).uses_reference


def share_rows(one: TaskSpec, other: TaskSpec) -> bool:
    """Whether two tasks say that they hold some of the same rows."""
    return one.name in other.shares_rows or other.name in one.shares_rows


def _no_source(source: TaskSpec, task: TaskSpec) -> str:
    """Why a network trained on ``source`` is not transferred to ``task``; empty where it can be."""
    if source.name == task.name:
        return f"{source.name} is the task itself, and no source for it"
    if source.modality != task.modality:
        return f"a network for {source.modality} tasks ({source.name}) is no source for {task.modality} tasks"
    if share_rows(source, task):
        return f"{source.name} is no source for {task.name}: they share rows, and test rows would have been trained on"
    return ""


def _step(
    kind: StepKind,
    label: str,
    provider: Provider | None,
    *,
    inputs: Mapping[str, str] | None = None,
    settings: Mapping[str, Any],
    ingredients: Mapping[str, Any],
    of_provider: Mapping[str, Any],
    rides: str = "",
) -> Step:
    everything = {"kind": kind, **of_provider, **ingredients}
    canonical = json.dumps(everything, sort_keys=True, separators=(",", ":"), allow_nan=False)
    versions = {"pocketbench": benchmark.__version__}
    if provider is not None:
        versions[provider.distribution] = provider.version
        if isinstance(provider.spec, TaskSpec):
            versions[f"task {provider.spec.name}"] = provider.spec.version
        for module, distribution in provider.requires.items():
            if distribution is not None:
                versions[distribution] = of_provider["requires"][module]
        versions |= of_provider.get("tools", {})
    return Step(
        id=hashlib.sha256(canonical.encode()).hexdigest(),
        kind=kind,
        label=label,
        target=provider.spec.target if provider else "",
        inputs=inputs or {},
        settings=settings,
        ingredients=everything,
        libraries=tuple(sorted(provider.requires)) if provider else (),
        versions=versions,
        rides=rides,
    )


def fill(params: tuple[Param, ...], given: Mapping[str, Scalar], where: str) -> dict[str, Scalar]:
    """All parameters with defaults filled in, of the default's type; raises UserError for an unknown name or a refused value."""
    by_name = {param.name: param for param in params}
    for name, value in given.items():
        if name not in by_name:
            raise UserError(f"{where}: unknown parameter {name!r}{nearest(name, by_name)}")
        if reason := by_name[name].refuses(value):
            raise UserError(f"{where}: {name}: {reason}")
    return {
        name: float(value) if isinstance(param.default, float) else value
        for name, param in sorted(by_name.items())
        for value in [given.get(name, param.default)]
    }


def _check_training(suite: Suite, backends: Mapping[str, Provider]) -> None:
    names = {name: {param.name for param in cast(BackendSpec, one.spec).params} for name, one in backends.items()}
    for backend, given in suite.training.items():
        known = names.get(backend, set()) if backend else set().union(*names.values())
        for name in given:
            if name not in known:
                raise UserError(f"[train{'.' + backend if backend else ''}]: unknown parameter {name!r}{nearest(name, known)}")


def _not_first(name: str) -> str:
    return f"{name} replaces training, so it must come first"


def _order_broken(passes: Sequence[CompressorSpec]) -> str:
    """Which pass cannot stand where it does; empty where all can."""
    for position, spec in enumerate(passes):
        if position and spec.stage_at(position) == "start":
            return f"{_not_first(spec.name)} in {spec.backend}"
    for one, after in itertools.pairwise([spec for spec in passes if spec.stage != "artifact"]):
        if one.last:
            return f"{one.name} must be the last pass on checkpoints, so {after.name} cannot follow it"
    return ""


def _format(backend: BackendSpec, passes: list[CompressorSpec], runtime: RuntimeSpec) -> str:
    """The first format that the back end exports, of what the passes on checkpoints make, the artifact passes map and the runtime
    loads; empty where there is none."""
    for first in backend.exports:
        if any(spec.exports and first not in spec.exports for spec in passes):
            continue
        current: str | None = first
        for spec in passes:
            if spec.stage == "artifact":
                current = spec.produces if current in spec.accepts else None
        if current in runtime.formats:
            return first
    return ""


def stored_cells(store: Store) -> list[Cell]:
    """The grid that the last run recorded, in its order."""
    return [
        Cell(
            **{
                **values,
                **{key: tuple(values[key]) for key in ("metrics", "sensitive", "latency")},
                **{key: tuple(map(tuple, values[key])) for key in ("chain", "teachers", "anchors")},
                "compared": tuple(Compared(**one) for one in values["compared"]),
            }
        )
        for values in store.cells()
    ]


def judge(cell: Cell, results: Mapping[str, StepResult]) -> tuple[Outcome | None, str]:
    """The outcome of a cell and its reason, from the results of its steps; (None, "") while a step is still to run."""
    if cell.skipped:
        return "skipped", cell.skipped
    if cell.search and (found := _first_not_ok([("prepare", cell.prepare), ("search", cell.search)], results)):
        return found
    if cell.fruitless:
        return "no_result", cell.fruitless
    steps = [("prepare", cell.prepare), *cell.teachers, *cell.chain, ("inspect", cell.inspect), ("evaluate", cell.evaluate)]
    if found := _first_not_ok(steps, results):
        return found
    for one in cell.compared:
        if reason := without_effect(results[one.step]):
            return "no_op", f"{one.name}: {reason}"
        if not (ended_well(one.before, results) and ended_well(one.after, results)):
            continue  # an artifact between two passes need not exist for the last one to ship
        before, after = results[one.before].facts, results[one.after].facts
        if before.get("program") and before["program"] == after.get("program") and after["bytes"] > 0.99 * before["bytes"]:
            return "no_op", f"{one.name}: the artifact has the same constants and operators as without it"
    measured = [("latency", id_) for id_ in cell.latency]
    measured += [("memory", cell.memory), ("memory of the identity model", cell.floor_memory)] if cell.memory else []
    return _first_not_ok([*cell.anchors, *measured], results) or ("ok", "")


def without_effect(result: StepResult) -> str:
    """Why a pass on a checkpoint or artifact did nothing, by its own word; empty where it did something."""
    if result.facts.get("matched") == 0:
        return "it matched no layer"
    return f"it changed none of {result.facts['matched']} layers" if result.facts.get("changed") == 0 else ""


def ended_well(id_: str, results: Mapping[str, StepResult]) -> bool:
    """Whether a step is among the results with outcome ``ok``."""
    return id_ in results and results[id_].outcome == "ok"


def worth_measuring(plan: Plan, results: Mapping[str, StepResult]) -> dict[str, Step]:
    """Latency and memory of the cells that nothing has decided yet."""
    open_cells = [cell for cell in plan.cells if judge(cell, results)[0] in (None, "ok")]
    wanted = {id_ for cell in open_cells for id_ in (*cell.latency, cell.memory, cell.floor_memory)}
    return {id_: step for id_, step in plan.steps.items() if id_ in wanted}


def blocked(steps: Mapping[str, Step], results: Mapping[str, StepResult]) -> set[str]:
    """The ids of the steps without a result that cannot run, since one that they need, or that one needs, did not end well."""
    known: dict[str, bool] = {}

    def is_blocked(id_: str) -> bool:
        if id_ in results:
            return results[id_].outcome != "ok"
        if id_ not in known:
            step = steps.get(id_)
            known[id_] = step is not None and any(map(is_blocked, [*step.inputs.values(), *([step.rides] if step.rides else [])]))
        return known[id_]

    return {id_ for id_ in steps if id_ not in results and is_blocked(id_)}


def _first_not_ok(steps: Iterable[tuple[str, str]], results: Mapping[str, StepResult]) -> tuple[Outcome | None, str] | None:
    for name, id_ in steps:
        if id_ not in results:
            return None, ""
        if results[id_].outcome != "ok":
            return results[id_].outcome, f"{name}: {results[id_].reason}"
    return None
