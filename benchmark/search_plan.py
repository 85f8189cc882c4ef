"""The searches of a suite: what each may propose, the steps of a proposal, and the cell of what it found. Pure, as a plan is."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from benchmark.budget import LIMITS, DeviceTier
from benchmark.data import Prepared
from benchmark.errors import UserError
from benchmark.plan import (
    Branch,
    Cell,
    Machine,
    Plan,
    Planner,
    Step,
    compressor,
    fill,
    folds_of,
    share_rows,
    sources_of,
    told_of_task,
)
from benchmark.registry import Provider, Registry, exporting, files_digest, nearest
from benchmark.search import Found, chosen, recipe_of
from benchmark.space import Proposal, Space, Tried
from benchmark.specs import BackendSpec, Modality, Param, SearcherSpec, TaskSpec
from benchmark.suite import PassCall, Recipe, SearchOptions, Suite, searched
from benchmark.warm import SEARCHED, Earlier

LONGEST = 3
"""Passes in a recipe that a search proposes."""
SMALL = 2_000
"""Training rows of a task below which a search cross-validates, where its suite says so."""


@dataclass(frozen=True)
class Search:
    """What a search is for. ``step``: its id; ``space``: what may be proposed; ``tier``: None for no limits; ``folds``: of its
    cross-validation, 1 for none; ``margin``: the task's."""

    step: str
    task: str
    fold: int
    backend: str
    runtime: str
    seed: int
    searcher: str
    seconds: float
    tier: DeviceTier | None
    space: Space
    folds: int
    margin: float


@dataclass(frozen=True)
class Proposed:
    """The steps of a proposal on one fold. ``steps``: those that make its artifact, each after its inputs; ``passes``: of these
    the passes on checkpoints and artifacts. ``artifact``: id of the last; ``validate``: the step that runs it on validation
    rows."""

    steps: tuple[Step, ...]
    passes: tuple[Step, ...]
    artifact: str
    validate: Step

    @property
    def all(self) -> tuple[Step, ...]:
        """Every step, each after its inputs."""
        return *self.steps, self.validate


def plan(
    suite: Suite,
    registry: Registry,
    prepared: Mapping[tuple[str, int], Prepared],
    machine: Machine,
    found: Mapping[str, Found] | None = None,
    earlier: Earlier | None = None,
) -> Searches:
    """The plan of a suite with its searches. ``found``: what the searches that are over came to, by their steps; ``earlier``: the
    run whose best recipes they begin with too. Others, and errors, as those of :func:`benchmark.plan.plan`."""
    searches = Searches(Planner(suite, registry, prepared, machine), found or {}, earlier)
    searches.add()
    return searches


@dataclass
class Searches:
    """Plans the searches of a suite, behind its grid, and what they propose. ``known``: the searches by their steps."""

    grid: Planner
    found: Mapping[str, Found]
    earlier: Earlier | None
    known: dict[str, Search] = field(default_factory=dict)
    orders: dict[tuple[str, ...], tuple[tuple[str, ...], ...]] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """The whole plan: the cells of the grid, then those of the searches."""
        return Plan(self.grid.steps, tuple(self.grid.cells))

    def add(self) -> None:
        """Plans the grid, and adds the searches."""
        grid = self.grid
        suite, registry = grid.suite, grid.registry
        grid.plan()
        if suite.search is None:
            return
        grid.check_architectures(suite.search.architectures)
        self._check_searchers(suite.search)
        specs = {name: cast(TaskSpec, registry.tasks[name].spec) for name in suite.tasks}
        places = [(name, fold) for name, spec in specs.items() for fold in folds_of(suite, spec)]
        for (task, fold), backend, runtime, seed in itertools.product(places, suite.backends, suite.runtimes, suite.seeds):
            prepare = grid.preparation.get((task, fold))
            self._cells(prepare, task, fold, registry.get("backend", backend), registry.get("runtime", runtime), seed)

    def _check_searchers(self, search: SearchOptions) -> None:
        for call in search.searchers:
            spec = cast(SearcherSpec, self.grid.registry.get("searcher", call.name).spec)
            fill(spec.params, dict(call.params), f"searcher {call.name}")
        for name in search.passes:
            self.grid.registry.compressors_named(name)

    def _cells(self, prepare: Step | None, task: str, fold: int, backend: Provider, runtime: Provider, seed: int) -> None:
        """A cell for each search, whose steps are those of what it found, once it is over."""
        options = cast(SearchOptions, self.grid.suite.search)
        if options.architectures and backend.spec.name not in options.architectures:
            return
        spec = cast(TaskSpec, self.grid.registry.tasks[task].spec)
        offered = cast(BackendSpec, backend.spec).architectures.get(spec.modality, ())
        architectures = tuple(one for one in options.architectures.get(backend.spec.name, offered) if one in offered)
        reason, _ = self.grid.possible(spec, backend, (architectures or ("",))[0], Recipe(), runtime)
        space = None if reason else self._space(options, spec, backend, architectures, runtime, seed)
        tiers = {tier.name: tier for tier in self.grid.suite.tiers}
        prepared = self.grid.prepared.get((task, fold))
        folds = options.folds if prepared and prepared.rows < SMALL else 1
        for call, seconds, tier in options.searches():
            provider = self.grid.registry.get("searcher", call.name)
            name = searched(call, seconds, tier, self.earlier.suite if self.earlier else "")
            empty = self.grid.empty(task, fold, backend, SEARCHED, name, runtime, seed)
            skipped = reason or (f"{provider.path} {provider.hint}" if provider.missing else "")
            if skipped or prepare is None or space is None:
                self.grid.cells.append(dataclasses.replace(empty, skipped=skipped))
                continue
            params = fill(cast(SearcherSpec, provider.spec).params, dict(call.params), f"searcher {call.name}")
            limited = tiers.get(tier)
            starts = (*space.starts, *self._warm(spec, backend, space, limited, runtime))
            own = dataclasses.replace(space, params=params, limits=_limits(limited), starts=starts)
            search = Search(
                *("", task, fold, backend.spec.name, runtime.spec.name, seed, call.name, seconds, limited, own),
                folds=folds,
                margin=spec.margin,
            )
            search = dataclasses.replace(search, step=self._search(search, provider, empty, prepare))
            self.known[search.step] = search
            self.grid.cells.append(self._chosen(search, dataclasses.replace(empty, prepare=prepare.id, search=search.step)))

    def _space(
        self,
        options: SearchOptions,
        task: TaskSpec,
        backend: Provider,
        architectures: tuple[str, ...],
        runtime: Provider,
        seed: int,
    ) -> Space:
        """What can be proposed: all orders of the passes that are installed, and what each declares of its parameters."""
        known = {name: one for (of, name), one in self.grid.registry.compressors.items() if of is None}
        known |= {name: one for (of, name), one in self.grid.registry.compressors.items() if of == backend.spec.name}
        names = [
            name
            for name, one in sorted(known.items())
            if not one.missing and not compressor(one).uses_task and (not options.passes or name in options.passes)
        ]

        def possible(recipe: Recipe, architecture: str = architectures[0]) -> bool:
            return not self.grid.possible(task, backend, architecture, recipe, runtime)[0]

        key = (task.name, backend.spec.name, runtime.spec.name)  # seeds and folds share them
        if key not in self.orders:
            every = (order for length in range(LONGEST + 1) for order in itertools.permutations(names, length))
            self.orders[key] = tuple(order for order in every if possible(Recipe(tuple(map(PassCall, order)))))
        spec = cast(BackendSpec, backend.spec)
        return Space(
            architectures=architectures,
            orders=self.orders[key],
            ranges={name: _varied(compressor(known[name]).params, task.modality) for name in names},
            training=tuple(one for one in _varied(spec.params, task.modality) if one.name != "updates"),
            updates=cast(int | None, self.grid.training(spec).get("updates")),
            limits={},
            starts=tuple(
                Proposal(architecture, tuple((call.name, dict(call.params)) for call in recipe.passes))
                for architecture in self.grid.architectures(backend, task)
                for recipe in options.starts
                if possible(recipe, architecture)
            ),
            seed=seed,
            params={},
        )

    def _warm(
        self, task: TaskSpec, backend: Provider, space: Space, tier: DeviceTier | None, runtime: Provider
    ) -> Iterator[Proposal]:
        """What did best on other tasks, as far as it can be made here and is none of the starts."""
        if self.earlier is None:
            return
        specs = {name: cast(TaskSpec, one.spec) for name, one in self.grid.registry.tasks.items()}
        others = {name for name, other in specs.items() if name != task.name and not share_rows(other, task)}
        for one in self.earlier.best(others, backend.spec.name, space.architectures, tier):
            recipe = recipe_of(one)
            if one in space.starts or self.grid.possible(task, backend, one.architecture, recipe, runtime)[0]:
                continue
            with suppress(UserError):  # of an earlier version of a pass, whose parameters were others
                self._check_parameters(backend, self.grid.calls(backend, recipe), one, "")
                yield one

    def _search(self, search: Search, provider: Provider, empty: Cell, prepare: Step) -> str:
        """The id of a search's step: everything that it may come to depends on is in it."""
        backend, runtime = self.grid.registry.backends[search.backend], self.grid.registry.runtimes[search.runtime]
        started = [name for start in search.space.starts for name, _ in start.passes]
        passes = [self.grid.registry.compressor(search.backend, name) for name in sorted({*search.space.ranges, *started})]
        exporters = [exporting(backend, format_) for format_ in cast(BackendSpec, backend.spec).exports]
        sources = {
            source for recipe in self.grid.suite.recipes for source in sources_of(self.grid.suite, self.grid.registry, recipe)
        }
        prepared = self.grid.prepared.get((search.task, search.fold))
        return self.grid.add(
            "search",
            empty.label,
            provider,
            inputs={"data": prepare.id},
            ingredients={
                "space": search.space.to_json(),
                "seconds": search.seconds,
                "tier": dataclasses.asdict(search.tier) if search.tier else None,
                "data": prepared.fingerprint if prepared else "unknown",
                "folds": [self._data(search, part).id for part in range(1, search.folds)],
                "margin": search.margin,
                "task": told_of_task(cast(TaskSpec, self.grid.registry.tasks[search.task].spec)),
                "training": self.grid.training(cast(BackendSpec, backend.spec)),
                "limits": dataclasses.asdict(self.grid.suite.build),
                "host": self.grid.machine.build_digest,
                "search": search_digest(),
                "measure": self.grid.machine.measure_digest,
                "host_class": self.grid.machine.host_class,
                "providers": [self.grid.of(one) for one in (backend, runtime, *passes, *exporters) if one and not one.missing],
                "sources": {name: one.fingerprint for (name, _), one in sorted(self.grid.prepared.items()) if name in sources},
            },
        )

    def _data(self, search: Search, part: int) -> Step:
        """The step that makes what a proposal is tried on."""
        place = search.task, search.fold
        return self.grid.split(*place, part, search.folds) if part else self.grid.preparation[place]

    def data(self, search: Search) -> tuple[Step, ...]:
        """The steps that make what the proposals of a search are tried on, a fold after the other."""
        return tuple(self._data(search, part) for part in range(search.folds))

    def _chosen(self, search: Search, empty: Cell) -> Cell:
        """The cell of a search: with the steps of what it found, where it is over and found something."""
        over = self.found.get(search.step)
        if over is None:
            return empty
        if over.best is None:
            return dataclasses.replace(empty, fruitless=over.reason)
        branch, calls, format_ = self._branch(search, over.best.proposal, self.grid)
        runtime = self.grid.registry.runtimes[search.runtime]
        return branch.cell(dataclasses.replace(empty, chosen=chosen(over.best.proposal)), calls, format_, runtime)

    def _branch(
        self, search: Search, proposal: Proposal, into: Planner, part: int = 0
    ) -> tuple[Branch, list[tuple[PassCall, Provider]], str]:
        """What adds the steps of a proposal to ``into``, its passes, and the format that is exported. Raises UserError for a
        proposal that is not in the search's space."""
        space, where = search.space, f"searcher {search.searcher}: proposed"
        backend, runtime = self.grid.registry.backends[search.backend], self.grid.registry.runtimes[search.runtime]
        if proposal.architecture not in space.architectures and proposal not in space.starts:
            raise UserError(
                f"{where} architecture {proposal.architecture!r}{nearest(proposal.architecture, space.architectures)}"
            )
        updates = proposal.training.get("updates")
        if space.updates is not None and isinstance(updates, int) and updates > space.updates:
            raise UserError(f"{where} {updates} updates, more than the {space.updates} of a training")
        recipe = recipe_of(proposal)
        if proposal not in space.starts and tuple(name for name, _ in proposal.passes) not in space.orders:
            raise UserError(f"{where} {recipe}, which cannot be: see space.orders")
        calls = self.grid.calls(backend, recipe)
        self._check_parameters(backend, calls, proposal, where)
        _, format_ = self.grid.possible(
            cast(TaskSpec, self.grid.registry.tasks[search.task].spec), backend, proposal.architecture, recipe, runtime
        )
        branch = Branch(
            *(into, into.preparation, search.task, search.fold, backend, proposal.architecture, search.seed),
            proposal.training,
            part,
            search.folds,
        )
        return branch, calls, format_

    def _check_parameters(
        self, backend: Provider, calls: list[tuple[PassCall, Provider]], proposal: Proposal, where: str
    ) -> None:
        for call, provider in calls:
            fill(compressor(provider).params, dict(call.params), f"{where} {call.name}")
        fill(cast(BackendSpec, backend.spec).params, proposal.training, f"{where} training")

    def asking(self, search: Search, history: Sequence[Tried], left: float) -> Step:
        """The step in which a searcher proposes what to try after ``history``, with ``left`` seconds of the search left."""
        names = [one.name for one in dataclasses.fields(Tried)]
        told = [{**{name: getattr(one, name) for name in names}, "proposal": one.proposal.to_json()} for one in history]
        scratch = dataclasses.replace(self.grid, steps={})
        id_ = scratch.add(
            "propose",
            f"{self.grid.steps[search.step].label}: proposal {len(history) + 1}",
            self.grid.registry.get("searcher", search.searcher),
            settings={"space": search.space.to_json(), "history": told, "seconds_left": left},
            # Not how much time is left: a search that is taken up again goes on with what it was about to try.
            ingredients={"search": search.step, "history": hashlib.sha256(json.dumps(told).encode()).hexdigest()},
        )
        return scratch.steps[id_]

    def proposed(self, search: Search, proposal: Proposal, part: int = 0) -> Proposed:
        """The steps of a proposal on a fold of the search. Raises UserError for one that is not in the search's space."""
        scratch = dataclasses.replace(self.grid, steps={})
        branch, calls, format_ = self._branch(search, proposal, scratch, part)
        runtime = self.grid.registry.runtimes[search.runtime]
        empty = self.grid.empty(search.task, search.fold, branch.backend, SEARCHED, "", runtime, search.seed)
        cell = branch.cell(empty, calls, format_, runtime)
        artifact = cell.chain[-1][1]
        validate = branch.validate(artifact, runtime, [str(call) for call, _ in calls])
        needed = set[str]()
        for step in reversed(scratch.steps.values()):
            if step.id == artifact or step.id in needed:
                needed |= {step.id, *step.inputs.values()}
        steps = tuple(step for step in scratch.steps.values() if step.id in needed and step.kind != "split")
        passes = tuple(scratch.steps[one.step] for one in cell.compared)
        return Proposed(steps, passes, artifact, scratch.steps[validate])


@functools.cache
def search_digest() -> str:
    """Digest of the code that decides what a search tries and what wins."""
    host = Path(__file__).parent
    return files_digest(
        host, [host / name for name in ("space.py", "search.py", "search_plan.py", "searching.py", "warm.py", "plan.py")]
    )


def _varied(params: Iterable[Param], modality: Modality) -> tuple[Param, ...]:
    return tuple(one for one in params if one.varies and modality in one.modalities)


def _limits(tier: DeviceTier | None) -> dict[str, float]:
    return {limit.name: value for limit in LIMITS if tier and (value := limit.of(tier)) is not None}
