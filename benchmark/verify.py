"""``python -m benchmark verify DIR|FILE.zip``: whether results are what they say, by their artifacts and predictions.

Nothing in the folder is trusted. Data is prepared again by the tasks that are installed here, and their labels score the stored
predictions; artifacts are hashed, inspected and run again; steps must be those that the plan of ``suite.toml`` asks for; rows and
tables are made again from the store. What differs is one line, and so is what cannot be checked. What no later look can check:
times, memory, and what a training did to come to its artifact.

The folder is only read, and nothing out of it is unpickled or executed: the store is SQLite (without views and triggers) or JSON,
arrays are read without objects, rows and tables are compared as text. Artifacts are loaded by a runtime, as in a run: in a child
process, where the kernel allows namespaces without network, and with time and memory that end.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import itertools
import json
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from benchmark import bundle, data, folders, limits
from benchmark import plan as plans
from benchmark import suite as suites
from benchmark.budget import BuildLimits
from benchmark.data import Prepared
from benchmark.errors import UserError, described, one_line
from benchmark.explain import changes
from benchmark.folders import Layout
from benchmark.leaderboard import COLUMNS, Row
from benchmark.limits import sandbox
from benchmark.measure import outputs, quality, size
from benchmark.own import with_own
from benchmark.plan import Cell, Plan, Step, plan_preparation, stored_cells
from benchmark.registry import Provider, Registry, ingredients
from benchmark.render.child import FILES, render
from benchmark.runner import machine
from benchmark.specs import BackendSpec, TaskSpec
from benchmark.step_report import FILE, StepReport, read_report
from benchmark.store import SCHEMA_VERSION, StepResult, Store, open_store
from benchmark.suite import Suite

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tell = Callable[[str], None]
_SPLITS = ("validation", "test")
_PLACE = ("task", "fold", "backend", "architecture", "recipe", "runtime", "seed")
"""What tells the cells of a suite apart, and its rows."""
_OF_PLAN = ("suite", "modality", "metrics", "margin", "unit", "output", "sensitive")
"""What else a cell says that follows from its suite and the specs."""
_OF_CODE = ("code", "requires", "host", "measure", "files", "task", "data", "host_class")
"""Ingredients of ids that differ where releases, data or machines do."""
_OF_INPUTS = ("inputs", "artifact")
_FACTS = (
    "bytes",
    "parameters",
    "nonzero_parameters",
    "macs",
    "dtypes",
    "resident_weight_bytes",
    "activation_peak_bytes",
    "program",
)
"""What is read from an artifact's files, in the step ``inspect``."""
_DEFLATE = 0.05  # by so much releases of zlib may differ
_CLOSE = 1e-9  # sums are taken in another order on other machines
_ROUNDING = 1e-3  # of the range of a model's outputs: what the same arithmetic in another order comes to
_SECONDS = 120.0  # for a step, beside what all of them need to start
_MOST_BYTES = 256 * 1024**2
_DATA_BYTES = 8 * 1024**3
_SHOWN = 60  # characters of a value
_STAMPED = "by its stamp it was made by another version of the code, or from another state of the store"
_TEXTS = tuple(one.name for one in dataclasses.fields(Cell) if one.type == "str")
_ALIKE = ("outcome", "metric", "metrics", "val_score", "score", "flips", "artifact_bytes", "artifact", "data_fingerprint")
"""Columns that every version makes alike."""
_SCHEMA = "SELECT type, name, sql FROM sqlite_master"


@dataclass(frozen=True)
class Verdict:
    """``differences``: what is not as it says. ``unchecked``: what could not be checked, and why. ``checked``: what was. One line
    each."""

    differences: tuple[str, ...]
    unchecked: tuple[str, ...]
    checked: tuple[str, ...]

    @property
    def verified(self) -> bool:
        return not (self.differences or self.unchecked)


def report(path: Path, registry: Registry) -> int:
    """Verifies and prints what was found; returns the exit code: 0 verified, 1 something differs or could not be checked."""
    verdict = verify(path, registry, lambda text: print(text, file=sys.stderr, flush=True))
    for kind, lines in (("differs", verdict.differences), ("not checked", verdict.unchecked), ("checked", verdict.checked)):
        for line in lines:
            print(f"{kind}: {line}")
    if verdict.verified:
        print("verified")
        return 0
    found = [f"{len(verdict.differences)} differ"] * bool(verdict.differences)
    found += [f"{len(verdict.unchecked)} could not be checked"] * bool(verdict.unchecked)
    print(f"not verified: {', '.join(found)}")
    return 1


def verify(path: Path, registry: Registry, tell: Tell = lambda _: None) -> Verdict:
    """Checks a results folder or a bundle. ``tell``: is told what is done, as it may take minutes. Raises UserError where there
    are no results, and for a zip that is not to be unpacked."""
    with tempfile.TemporaryDirectory(prefix=f"{folders.TEMPORARY}{os.getpid()}-") as work:
        root, name = path, str(path)
        if not path.is_dir():
            if not path.is_file():
                raise UserError(f"{path}: there is no such folder or file")
            bundle.extract(path, root := Path(work) / "bundle")
        if not any((root / one).is_file() for one in ("store.sqlite", bundle.STORE)):
            raise UserError(f"{name}: no results are there: neither store.sqlite nor {bundle.STORE}")
        check = _Check(Layout(root), Path(work), registry, tell)
        check.run()
        return Verdict(*(tuple(dict.fromkeys(one)) for one in (check.differences, check.unchecked, check.checked)))


@dataclass(frozen=True)
class _Fold:
    """A fold as it was prepared here. ``arrays``: labels, units, groups and baselines, as the store has them."""

    prepared: Prepared
    folder: Path
    arrays: Mapping[str, NDArray[Any]]


@dataclass
class _Check:
    layout: Layout
    work: Path
    registry: Registry
    tell: Tell
    differences: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    results: dict[str, StepResult] = field(default_factory=dict)
    folds: dict[tuple[str, int], _Fold] = field(default_factory=dict)
    sound: set[str] = field(default_factory=set)  # artifacts whose files have the hash that their name says

    def run(self) -> None:
        """Each part goes on where an earlier one found something wrong."""
        clean = self.work / "clean"
        clean.mkdir()
        try:
            store = self._open(clean)
        except UserError as error:
            self._differ(str(error).replace(f"{clean}{os.sep}", "").replace(f"{self.layout.root}{os.sep}", ""))
            self._without_store()
            return
        with closing(store):
            with self._guarded("store.sqlite: the grid"):
                cells = stored_cells(store)
                results = store.results(dict.fromkeys(id_ for cell in cells for id_ in cell.steps()))
                _check_types(cells, results.values())
                self.cells, self.results = cells, results
            suite = self._suite()
            self._prepare(store)
            with self._guarded("store.sqlite: its steps"):
                self._grid(store, suite)
            self._artifacts(store)
            self._scores(store)
            self._run_again(store)
        with self._guarded("rows and tables"):
            self._render(clean)

    def _without_store(self) -> None:
        """What can be checked all the same: artifacts, and rows against each other."""
        self._unchecked("data, predictions, scores and tables: the store cannot be used")
        self._hash_all()
        rows: list[Row] = []
        with self._guarded("rows.json"):
            rows = _records(self._text("rows.json")[0], "rows.json")
            self._compare_rows("rows.json", rows, rows, other=False)
            self._rows(rows, ("rows.csv",), other=False)
            self.checked.append(f"{_count(len(rows), 'row')} of rows.json compared with rows.csv")

    # What is said

    def _differ(self, line: str) -> None:
        self.differences.append(one_line(line))

    def _unchecked(self, line: str) -> None:
        self.unchecked.append(one_line(line))

    def _changed(self, where: str, what: str, stands: object, found: object) -> None:
        self._differ(f"{where}: {what}: {_short(stands)} stands there, {_short(found)} was found")

    @contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        """What is read here was written by others, who may have put anything in any place: whatever goes wrong is a finding."""
        try:
            yield
        except Exception as error:
            self._differ(f"{what}: cannot be read: {described(error)}")

    # The store

    def _open(self, clean: Path) -> Store:
        """A copy of the store, in which what is found to be wrong is put right, so that rows and tables can be made from it."""
        path = clean / "store.sqlite"
        if not self.layout.store.is_file():
            bundle.restore(self.layout.root, path)
            return open_store(path)
        for source in (self.layout.store, self.layout.store.with_name("store.sqlite-wal")):
            if source.is_file():
                shutil.copyfile(source, clean / source.name)
        _check_schema(path, self.work / "new.sqlite")
        return open_store(path)

    def _suite(self) -> Suite | None:
        """The suite of the folder, and the tasks of its own whose files are here."""
        try:
            suite = suites.parse(self._text("suite.toml")[0], "suite.toml")
            here = {name: task for name, task in suite.own.items() if Path(task.file).is_file()}
            self.registry = with_own(self.registry, here)
            return suite
        except (UserError, OSError, ValueError) as error:
            self._unchecked(f"the grid: suite.toml cannot be used: {error}")
            return None

    def _text(self, name: str) -> tuple[str, bytes]:
        """A file of the folder, as text and as bytes. Raises OSError and ValueError."""
        content = folders.read_own(self.layout.root / name, _MOST_BYTES)
        return content.decode("utf-8"), content

    # Data

    def _prepare(self, store: Store) -> None:
        wanted = dict.fromkeys((cell.task, cell.fold, cell.prepare) for cell in self.cells if cell.prepare)
        for task, fold, id_ in wanted:
            where = f"{task} · fold {fold}"
            if id_ not in self.results or self.results[id_].outcome != "ok":
                continue  # there is nothing to compare with, and its cells have no score
            self.tell(f"{where}: prepare again")
            try:
                found = self._prepare_fold(task, fold)
            except (UserError, OSError, ValueError) as error:
                self._unchecked(f"{where}: its data, and with it all scores: {error}")
                continue
            self.folds[task, fold] = found
            with self._guarded(f"{where}: what store.sqlite has of the data"):
                self._compare_fold(where, id_, found, store)
        if self.folds:
            self.checked.append(f"data of {_count(len(self.folds), 'fold')} prepared again")

    def _prepare_fold(self, task: str, fold: int) -> _Fold:
        suite = Suite(name="verify", tasks=(task,), backends=(), recipes=(), folds=(fold,))
        step = plan_preparation(suite, self.registry).get((task, fold))
        if step is None:
            raise UserError(f"task {task} {self.registry.tasks[task].hint}")
        report = self._job([_told(step)])[step.id]
        if report is None or report.outcome != "ok":
            raise UserError(f"it was not prepared: {report.reason if report else 'the process ended, or took too long'}")
        folder = self._step(step.id) / "output"
        facts = report.facts
        prepared = Prepared(facts["fingerprint"], *(tuple(facts.get(name, ())) for name in ("input_shape", "classes", "notes")))
        return _Fold(prepared, folder, {**data.load_truth(folder), **_baselines(folder, len(prepared.classes))})

    def _compare_fold(self, where: str, id_: str, fold: _Fold, store: Store) -> None:
        facts, right = self.results[id_].facts, {}
        for name in ("fingerprint", "input_shape", "classes", "notes"):
            value = getattr(fold.prepared, name)
            value = list(value) if isinstance(value, tuple) else value
            if facts.get(name) != value:
                self._changed(where, f"{name} in store.sqlite", facts.get(name), value)
                right[name] = value
        wrong = False
        for name, array in fold.arrays.items():
            try:
                stored = store.array(id_, name)
            except KeyError:
                wrong = True
                self._differ(f"{where}: {name}: it is missing in store.sqlite")
                continue
            if _same(stored, array):
                continue
            wrong = True
            if stored.shape != array.shape:
                self._changed(where, f"shape of {name} in store.sqlite", stored.shape, array.shape)
            else:
                rows = (stored != array).reshape(len(array), -1).any(axis=1)
                self._differ(f"{where}: {name}: {int(rows.sum())} of {len(array)} rows in store.sqlite are not those of the task")
        if right or wrong:
            self._put_right(id_, right, dict(fold.arrays), store)

    def _put_right(self, id_: str, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], store: Store) -> None:
        """Writes into the copy of the store what was found, so that rows and tables show what it changes."""
        result = self.results[id_]
        self.results[id_] = dataclasses.replace(result, facts={**result.facts, **facts})
        store.record(self.results[id_], arrays)

    # The grid, and whether its steps are those that it asks for

    def _grid(self, store: Store, suite: Suite | None) -> None:
        for id_, result in self.results.items():
            canonical = json.dumps(result.ingredients, sort_keys=True, separators=(",", ":"), allow_nan=False)
            if (found := hashlib.sha256(canonical.encode()).hexdigest()) != id_:
                self._changed(result.label, "id of the step, which is the hash of its ingredients,", id_, found)
        for host in {one.ingredients["host_class"] for one in self.results.values() if "host_class" in one.ingredients}:
            told = store.meta(f"host_class:{host}")
            found = limits.HostClass(**{**told, "cpu_flags": tuple(told["cpu_flags"])}).id
            if found != host:
                self._changed(
                    "store.sqlite", f"machine {host} ({told['cpu_model']}), whose name is the hash of what it is", host, found
                )
        if suite is None:
            return
        self._compare_suite(store.meta("suite"), suite)
        try:
            known = {place: fold.prepared for place, fold in self.folds.items()}
            plan = plans.plan(suite, self.registry, known, machine())
        except UserError as error:
            self._unchecked(f"whether the grid is that of suite.toml: {error}")
            return
        planned, stored = ({_place(cell): cell for cell in cells} for cells in (plan.cells, self.cells))
        for place in planned.keys() - stored.keys():
            self._differ(f"{planned[place].label}: this cell of suite.toml is missing in store.sqlite")
        for place in stored.keys() - planned.keys():
            self._differ(f"{stored[place].label}: this cell in store.sqlite is none of suite.toml")
        if len(stored) < len(self.cells):
            self._differ(f"store.sqlite: {_count(len(self.cells) - len(stored), 'cell')} of its grid is there twice")
        both = [(planned[place], cell) for place, cell in stored.items() if place in planned]
        if [_place(one) for one, _ in both] != [place for place in planned if place in stored]:
            self._differ("store.sqlite: the order of its cells is not that of suite.toml")
        self._lineage(plan, both)
        self.checked.append(f"the grid: {_count(len(plan.cells), 'cell')} of suite.toml, {_count(len(self.results), 'step')}")

    def _compare_suite(self, stored: Mapping[str, Any], suite: Suite) -> None:
        specs = {name: cast(TaskSpec, one.spec) for name, one in self.registry.tasks.items() if name in suite.tasks}
        found = {
            "name": suite.name,
            "seeds": suite.seeds,
            "build": dataclasses.asdict(suite.build),
            "measure": dataclasses.asdict(suite.measure),
            "tiers": [dataclasses.asdict(tier) for tier in suite.tiers],
            "published": {name: [dataclasses.asdict(one) for one in spec.published] for name, spec in specs.items()},
        }
        for name, value in found.items():
            told, value = stored.get(name), json.loads(json.dumps(value))
            if name == "published" and isinstance(told, dict):
                told = {task: one for task, one in told.items() if task in specs}
            for path, stands, here in _leaves(told, value):
                self._changed("store.sqlite", f"suite.{name}{path}", stands, here)

    def _lineage(self, plan: Plan, both: Sequence[tuple[Cell, Cell]]) -> None:
        """Each cell must be made of the steps that its place asks for: told by their ingredients, which their ids are hashes of,
        and by whose product each of them reads."""
        same: dict[str, str] = {}
        for planned, cell in both:
            for name in _OF_PLAN:
                if getattr(planned, name) != getattr(cell, name):
                    self._changed(cell.label, f"{name} in store.sqlite", getattr(cell, name), getattr(planned, name))
            if bool(planned.skipped) != bool(cell.skipped):
                self._unchecked(f"{cell.label}: {_skipped(cell, 'there')}, {_skipped(planned, 'here')}")
            if planned.skipped or cell.skipped:
                continue
            mine, theirs = _roles(planned), _roles(cell)
            if mine.keys() != theirs.keys():
                self._differ(
                    f"{cell.label}: it is not made of the steps of its recipe: {', '.join(sorted(mine.keys() ^ theirs.keys()))}"
                )
            for role in mine.keys() & theirs.keys():
                if same.setdefault(mine[role], theirs[role]) != theirs[role]:
                    self._differ(f"{cell.label}: {role}: store.sqlite takes the step of another cell")
        for mine_id, id_ in same.items():
            if id_ in self.results and mine_id in plan.steps:
                self._compare_step(plan.steps[mine_id], self.results[id_], same)

    def _compare_step(self, planned: Step, result: StepResult, same: Mapping[str, str]) -> None:
        if result.label != planned.label or result.kind != planned.kind:
            self._changed(
                planned.label, "step in store.sqlite", f"{result.kind} {result.label}", f"{planned.kind} {planned.label}"
            )
            return
        ours, stored = json.loads(json.dumps(planned.ingredients)), result.ingredients
        kept = [{name: value for name, value in one.items() if name not in (*_OF_CODE, *_OF_INPUTS)} for one in (stored, ours)]
        reads = _reads(stored) != {role: same.get(id_) for role, id_ in _reads(ours).items()}
        lines = [f"{planned.label}: ingredient {line}" for line in changes(kept[0], kept[1])]
        lines += [f"{planned.label}: it was made from the product of another step than its recipe asks for"] * reads
        other_code = any(stored.get(name) != ours.get(name) for name in ("code", "requires", "host", "measure"))
        for line in lines:  # what makes a step changes between versions
            self._unchecked(f"{line} (made by another version)") if other_code else self._differ(line)

    # Artifacts

    def _hash_all(self) -> None:
        """Where no store says which artifacts there should be: those that are there."""
        for folder in sorted((self.layout.root / "artifacts").glob("*")):
            self._hash(folder.name, f"artifacts/{folder.name}")
        self.checked.append(f"{_count(len(self.sound), 'artifact')} hashed")

    def _hash(self, digest: str, where: str) -> None:
        try:
            found = size.artifact_digest(self.layout.artifact(digest))
        except (OSError, ValueError) as error:
            self._differ(f"{where}: artifact {digest}: {error}")
            return
        if found == digest:
            self.sound.add(digest)
        else:
            self._changed(where, "artifact", digest, found)

    def _artifacts(self, store: Store) -> None:
        owners = self._owners()
        for digest, owner in owners.items():
            if not set(digest) <= set("0123456789abcdef"):
                self._differ(f"{owner}: artifact: {digest!r} is no hash")
            elif not self.layout.artifact(digest).exists():
                self._unchecked(f"{owner}: artifact {digest} is not there: its bytes, and what it gives")
            else:
                self._hash(digest, owner)
        self.checked.append(f"{len(self.sound)} of {_count(len(owners), 'artifact')} hashed")
        self._inspect(store, owners)

    def _owners(self) -> dict[str, str]:
        """Artifact -> the first cell that ships it, else the step that made it."""
        found: dict[str, str] = {}
        for cell in self.cells:
            with self._guarded(f"{cell.label}: its artifact"):
                if digest := self._shipped(cell):
                    found.setdefault(digest, cell.label)
        for result in self.results.values():
            if made := result.facts.get("artifact"):
                found.setdefault(str(made), result.label)
        return found

    def _shipped(self, cell: Cell) -> str:
        """The artifact of a cell, empty where it has none."""
        made = self.results.get(cell.chain[-1][1]) if cell.chain else None
        return str(made.facts.get("artifact") or "") if made else ""

    def _inspect(self, store: Store, owners: Mapping[str, str]) -> None:
        """Reads sizes and what a graph holds from the files again, in a child."""
        jobs: dict[str, dict[str, Any]] = {}
        steps: dict[str, str] = {}
        for result in self.results.values():
            made = self.results.get(str(result.ingredients.get("artifact")))
            digest = str(made.facts.get("artifact")) if made else ""
            if result.kind != "inspect" or result.outcome != "ok" or digest not in self.sound:
                continue
            decoder = self._decoder(result)
            if isinstance(decoder, str):
                self._unchecked(f"{result.label}: {decoder}")
                continue
            steps[result.id] = key = _key("inspect", digest, decoder.spec.target if decoder else "")
            jobs[key] = self._job_of(key, "inspect", decoder, digest, {}, {}, 1)
        self.tell(f"{_count(len(jobs), 'artifact')}: inspect again")
        reports = self._job(list(jobs.values()))
        for id_, key in steps.items():
            result, report = self.results[id_], reports[key]
            if report is None or report.outcome != "ok":
                self._unchecked(f"{result.label}: {report.reason if report else 'the process ended, or took too long'}")
                continue
            self._compare_facts(result, report.facts, store)

    def _decoder(self, result: StepResult) -> Provider | str | None:
        """The runtime that decoded an artifact to inspect it, None where none had to; or why it cannot be used here."""
        name = result.ingredients.get("provider")
        found = [one for one in self.registry.runtimes.values() if one.identity == name]
        if name is None:
            return None
        return (found[0].hint or found[0]) if found else f"{name} is not installed"

    def _compare_facts(self, result: StepResult, facts: Mapping[str, Any], store: Store) -> None:
        owner = next((cell.label for cell in self.cells if cell.inspect == result.id), result.label)
        other_code = result.ingredients.get("measure") != machine().measure_digest
        right = {}
        for name in _FACTS:
            stands, found = result.facts.get(name), facts.get(name)
            if stands == found:
                continue
            right[name] = found
            column = "artifact_bytes" if name == "bytes" else name
            if other_code and name != "bytes":
                self._unchecked(
                    f"{owner}: {column}: {_short(stands)} stands there, {_short(found)} here (another version reads files)"
                )
            else:
                self._changed(owner, f"{column} in store.sqlite", stands, found)
        deflate, found = result.facts.get("deflate_bytes"), facts["deflate_bytes"]
        if not isinstance(deflate, int) or abs(deflate - found) > _DEFLATE * found:
            self._changed(owner, "deflate_bytes in store.sqlite", deflate, found)
            right["deflate_bytes"] = found
        if right:
            self._put_right(result.id, right, {}, store)

    # Predictions

    def _evaluated(self) -> dict[str, Cell]:
        """Evaluate step -> the first cell with that, of those that have scores."""
        found: dict[str, Cell] = {}
        for cell in self.cells:
            if cell.evaluate in self.results and self.results[cell.evaluate].outcome == "ok":
                found.setdefault(cell.evaluate, cell)
        return found

    def _scores(self, store: Store) -> None:
        """Scores stored predictions by the labels of the data prepared here."""
        scored = 0
        for id_, cell in self._evaluated().items():
            with self._guarded(f"{cell.label}: its predictions in store.sqlite"):
                scored += self._score(id_, cell, store)
        self.checked.append(f"predictions of {_count(scored, 'evaluation')} scored again")

    def _score(self, id_: str, cell: Cell, store: Store) -> bool:
        fold = self.folds.get((cell.task, cell.fold))
        if fold is None:
            return False
        facts, right = self.results[id_].facts, {}
        spec = cast(TaskSpec, self.registry.tasks[cell.task].spec)
        backend = self.registry.backends.get(cell.backend)
        kind = cast(BackendSpec, backend.spec).output if backend else cell.output
        predictions = {split: store.array(id_, split) for split in _SPLITS}
        for split, given in predictions.items():
            y = fold.arrays[f"{split}_y"]
            if reason := quality.check(given, len(y), len(fold.prepared.classes)):
                self._differ(f"{cell.label}: {split} predictions in store.sqlite: {reason}")
                continue
            found = quality.evaluate(given, y, spec.metrics, cast(Any, kind))
            right[split] = {"values": dict(found.values), "reasons": dict(found.reasons)}
        wrong = False
        for split, scores in right.items():
            for path, stands, here in _leaves(facts["scores"][split], scores):
                wrong = True
                name = path.removeprefix(".values.").removeprefix(".")
                column = {("test", spec.metrics[0]): "score", ("validation", spec.metrics[0]): "val_score"}.get((split, name))
                self._changed(cell.label, f"{column or split} ({name}) in store.sqlite", stands, here)
        if wrong:
            self._put_right(id_, {"scores": {**facts["scores"], **right}}, predictions, store)
        return True

    def _run_again(self, store: Store) -> None:
        """Runs artifacts on the data prepared here: what was stored must be what they give for these very rows in this order."""
        jobs: dict[str, dict[str, Any]] = {}
        run: dict[str, tuple[str, Cell, Provider]] = {}
        for id_, cell in self._evaluated().items():
            with self._guarded(f"{cell.label}: how it was evaluated"):
                fold, digest = self.folds.get((cell.task, cell.fold)), self._shipped(cell)
                runtime = self.registry.runtimes.get(cell.runtime)
                if fold is None or digest not in self.sound:
                    continue  # said already
                if runtime is None or runtime.missing:
                    why = runtime.hint if runtime else "is not installed"
                    self._unchecked(f"{cell.label}: what its artifact gives: runtime {cell.runtime} {why}")
                    continue
                threads = self.results[id_].ingredients.get("threads")
                threads = threads if isinstance(threads, int) and 1 <= threads <= len(limits.available_cores()) else 1
                key = _key("evaluate", digest, cell.runtime, cell.task, str(cell.fold), str(threads))
                settings = {"output_kind": cell.output, "metrics": list(cell.metrics)}
                inputs = {"data": str(fold.folder / data.INPUTS)}
                jobs[key] = self._job_of(key, "evaluate", runtime, digest, inputs, settings, threads)
                run[id_] = key, cell, runtime
        self.tell(f"{_count(len(jobs), 'evaluation')}: run again")
        reports = self._job(list(jobs.values()))
        done = 0
        for id_, (key, cell, runtime) in run.items():
            report = reports[key]
            if report is None or report.outcome != "ok":
                why = report.reason if report else "the process ended, or took too long"
                self._unchecked(f"{cell.label}: what its artifact gives: {why}")
                continue
            with self._guarded(f"{cell.label}: what its artifact gives"):
                self._compare_outputs(id_, cell, runtime, _loaded(self._step(key) / "arrays.npz"), store)
                done += 1
        cells = sum(cell.evaluate in run for cell in self.cells)
        self.checked.append(
            f"artifacts of {cells} of {_count(len(self.cells), 'cell')} run again, in {_count(done, 'evaluation')}"
        )

    def _compare_outputs(self, id_: str, cell: Cell, runtime: Provider, given: Mapping[str, NDArray[Any]], store: Store) -> None:
        stored = {split: store.array(id_, split) for split in _SPLITS}
        told = self.results[id_].ingredients
        same = told.get("host_class") == limits.host_class().id and all(
            told.get(name) == value for name, value in ingredients(runtime).items()
        )
        for split in _SPLITS:
            theirs, ours = stored[split], given[split]
            where = f"{cell.label}: {split} predictions in store.sqlite"
            if theirs.shape != ours.shape:
                other = " (they are those of another split)" * any(_same(theirs, one) for one in given.values())
                self._changed(where, "shape", theirs.shape, f"{ours.shape}{other}")
                continue
            span = float(np.ptp(ours)) or 1.0
            apart = ~(np.abs(theirs - ours) <= _ROUNDING * span).all(axis=1)
            if not apart.any():
                continue
            labels = int((quality.labels(theirs) != quality.labels(ours)).sum())
            permuted = np.array_equal(np.sort(theirs, axis=0), np.sort(ours, axis=0))
            how = "; they are its rows in another order" * permuted + "; they are its classes in another order" * (
                not permuted and np.allclose(np.sort(theirs, axis=1), np.sort(ours, axis=1), atol=_ROUNDING * span)
            )
            line = (
                f"{where}: {int(apart.sum())} of {len(ours)} rows are not what its artifact gives ({labels} labels differ{how})"
            )
            if same or labels > outputs.BATCH_LIMIT * len(ours):
                self._differ(line)
            else:
                self._unchecked(f"{line}: another machine or version of {cell.runtime} may round otherwise")

    # Jobs

    def _step(self, key: str) -> Path:
        return self.work / "steps" / key

    def _job_of(
        self,
        key: str,
        kind: str,
        provider: Provider | None,
        digest: str,
        inputs: Mapping[str, str],
        settings: Mapping[str, Any],
        threads: int,
    ) -> dict[str, Any]:
        """A step of the worker that reads an artifact, of which it gets a copy: of the bytes that were hashed, and no other."""
        copy = self.work / "artifacts" / digest
        if not copy.exists():
            source = self.layout.artifact(digest)
            for path in size.artifact_files(source):
                (target := copy / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        return {
            "id": key,
            "kind": kind,
            "target": provider.spec.target if provider else "",
            "inputs": {"artifact": str(copy), **inputs},
            "settings": settings,
            "threads": threads,
            "libraries": sorted(provider.requires) if provider else [],
        }

    def _job(self, steps: Sequence[dict[str, Any]]) -> dict[str, StepReport | None]:
        """Runs steps of the worker in as few processes as that needs: one that ends badly ends its process, and the next goes on.
        Returns the report of each, None where there is none."""
        reports: dict[str, StepReport | None] = {}
        waiting = list(steps)
        while waiting:
            self._start(waiting)
            while waiting:
                step = waiting.pop(0)
                reports[step["id"]] = report = read_report(self._step(step["id"]), step["kind"])
                if report is None or report.outcome != "ok":
                    break
        return reports

    def _start(self, steps: Sequence[dict[str, Any]]) -> None:
        for step in steps:
            folder = self._step(step["id"])
            folders.remove(folder)
            (folder / "output").mkdir(parents=True)
        (temporary := self.work / "temporary").mkdir(exist_ok=True)
        confined = steps[0]["kind"] != "prepare" and sandbox.available()
        readable = [self.work / "artifacts", *(fold.folder / data.INPUTS for fold in self.folds.values())]
        writable = [*(self._step(step["id"]) for step in steps), temporary]
        inside = limits.Sandbox([str(self.work)], [str(one) for one in readable], [str(one) for one in writable])
        job = {
            "host": os.getpid(),
            "file_bytes": BuildLimits().file_bytes,
            "data_bytes": _DATA_BYTES if steps[0]["kind"] != "prepare" else None,
            "sandbox": dataclasses.asdict(inside) if confined else None,
            "plugin_files": self.registry.files,
            "started": time.monotonic(),
            "steps": [{**step, "folder": str(self._step(step["id"])), "seconds": _SECONDS, "how": {}} for step in steps],
        }
        first = self._step(steps[0]["id"])
        (first / "job.json").write_text(json.dumps(job, allow_nan=False), encoding="utf-8")
        with (first / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmark.worker", str(first / "job.json")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=limits.child_environment(max(step["threads"] for step in steps), temporary, steps[0]["id"][:16]),
                start_new_session=True,
            )
            try:
                self._watch(process, steps)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _watch(self, process: subprocess.Popen[bytes], steps: Sequence[dict[str, Any]]) -> None:
        """Waits for a job, as long as each of its steps ends in time."""
        for step in steps:
            since = time.monotonic()
            while not (self._step(step["id"]) / FILE).exists():
                left = since + _SECONDS - time.monotonic()
                if left <= 0:
                    return
                with suppress(subprocess.TimeoutExpired):
                    process.wait(min(left, 0.05))
                    return
        with suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS)

    # Rows and tables

    def _render(self, clean: Path) -> None:
        self.tell("rows and tables: made again")
        said = io.StringIO()
        try:
            with redirect_stderr(said):  # where the child ends by what it found, by an exception
                render(clean)
        except (UserError, subprocess.CalledProcessError) as error:
            why = (said.getvalue().strip() or str(error)).splitlines()[-1]
            self._differ(f"rows and tables: none can be made from store.sqlite: {why}")
            return
        expected = _records((clean / "rows.json").read_text(encoding="utf-8"), "rows.json")
        stamps = []
        for root in (self.layout.root, clean):
            with suppress(OSError, ValueError):
                stamps.append(folders.read_own(root / ".rendered", _MOST_BYTES))
        # The stamp is of the store and the code that tables were made from. It can be forged: what it excuses is not verified.
        other = len(stamps) == 2 and stamps[0] != stamps[1]
        self._rows(expected, ("rows.json", "rows.csv"), other)
        for name in FILES:
            if name not in ("rows.json", "rows.csv"):
                self._table(name, (clean / name).read_bytes(), other)
        self.checked.append("rows and tables made again from the store")

    def _table(self, name: str, expected: bytes, other: bool) -> None:
        try:
            stands = folders.read_own(self.layout.root / name, _MOST_BYTES)
        except (OSError, ValueError) as error:
            self._unchecked(f"{name}: {getattr(error, 'strerror', None) or error}")
            return
        if stands == expected:
            return
        pairs = list(
            itertools.zip_longest(*(text.decode("utf-8", "replace").splitlines() for text in (stands, expected)), fillvalue="")
        )
        wrong = [number for number, (one, two) in enumerate(pairs, 1) if one != two]
        if not wrong:
            self._differ(f"{name}: its line ends are not those that were written")
            return
        alike = sum(1 for _ in itertools.takewhile(lambda two: two[0] == two[1], zip(*pairs[wrong[0] - 1], strict=False)))
        begin = max(0, alike - _SHOWN // 3)
        stood, found = (repr(text[begin : begin + _SHOWN]) for text in pairs[wrong[0] - 1])
        more = f" (and {_count(len(wrong) - 1, 'more line')})" if len(wrong) > 1 else ""
        line = f"{name}, line {wrong[0]}{more}: {stood} stands there, {found} was found"
        if other and not self.differences:
            self._unchecked(f"{line}; {_STAMPED}")
        else:
            self._differ(line)

    def _rows(self, expected: Sequence[Row], names: Sequence[str], other: bool) -> None:
        for name in names:
            try:
                found = _records(self._text(name)[0], name)
            except FileNotFoundError:
                self._unchecked(f"{name}: it is not there")
            except (OSError, ValueError, RecursionError, csv.Error) as error:
                self._differ(f"{name}: cannot be read: {one_line(str(error))}")
            else:
                with self._guarded(name):
                    self._compare_rows(name, found, expected, other)

    def _compare_rows(self, name: str, found: Sequence[Row], expected: Sequence[Row], other: bool) -> None:
        """``other``: another version made them, which may have had other columns and statistics."""
        of_version: dict[str, None] = {}
        columns = dict.fromkeys(column for row in found for column in row)
        for column in columns:
            if column not in COLUMNS and other:
                of_version[column] = None
            elif column not in COLUMNS:
                self._differ(f"{name}: column {column!r} is none of ours")
        for column in COLUMNS:
            if column not in columns and found and other:
                of_version[column] = None
            elif column not in columns and found:
                self._differ(f"{name}: column {column!r} is missing")
        by_place: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        for row in found:
            by_place[_of_row(row)].append(row)
        known = {_of_row(row): row for row in expected}
        for place, row in known.items():
            if place not in by_place:
                self._differ(f"{_label(row)}: its row is missing in {name}")
        for place, rows in by_place.items():
            if place not in known:
                self._differ(f"{_label(rows[0])}: this row in {name} is of no cell of the store")
                continue
            if len(rows) > 1:
                self._differ(f"{_label(rows[0])}: {len(rows)} rows in {name}")
            for column in COLUMNS:
                for row in rows:
                    for path, stands, right in _leaves(_plain(row.get(column)), _plain(known[place][column])):
                        if column in row and other and column not in _ALIKE:
                            of_version[column] = None
                        elif column in row:
                            self._changed(_label(known[place]), f"{column}{path} in {name}", stands, right)
        if of_version:
            self._unchecked(f"{name}: {', '.join(of_version)} are not as this version makes them of the store; {_STAMPED}")


# Small things


def _check_schema(path: Path, new: Path) -> None:
    """Raises UserError for another version, and for what has other tables than a store, or code in it: views run when they are
    read, triggers when something is written. ``new``: where an empty store can be made to compare with."""
    open_store(new).close()
    ours, theirs = set(_query(new, _SCHEMA)), set(_query(path, _SCHEMA))
    if any(one[:2] == ("table", "meta") and one in ours for one in theirs):
        ((version,),) = _query(path, "SELECT value FROM meta WHERE key = 'schema_version'") or [("unknown",)]
        if version != str(SCHEMA_VERSION):
            raise UserError(f"{path}: written by version {version} of the store, this is version {SCHEMA_VERSION}")
    for kind, name, _ in sorted(theirs - ours, key=repr) or sorted(ours - theirs, key=repr):
        raise UserError(
            f"{path}: cannot be used as a results store: the {kind} {name!r} is not as a store of this version has it"
        )


def _check_types(cells: Sequence[Cell], results: Iterable[StepResult]) -> None:
    """Raises TypeError where a cell or step holds something else than cells and steps do."""
    for cell in cells:
        pairs = [
            *cell.chain,
            *cell.teachers,
            *cell.anchors,
            *((one.name, one.step, one.before, one.after) for one in cell.compared),
        ]
        texts = [*(getattr(cell, name) for name in _TEXTS), *cell.metrics, *cell.latency, *itertools.chain(*pairs)]
        if not all(isinstance(one, str) for one in texts) or type(cell.fold) is not int or type(cell.seed) is not int:
            raise TypeError(f"a cell of task {cell.task} holds other things than a cell does")
    for result in results:
        kinds = (result.facts, dict), (result.limits, dict), (result.ingredients, dict), (result.label, str), (result.kind, str)
        if not all(isinstance(value, kind) for value, kind in kinds):
            raise TypeError(f"step {result.id} holds other things than a step does")


def _query(path: Path, query: str) -> list[tuple[Any, ...]]:
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            return connection.execute(query).fetchall()
    except sqlite3.Error as error:
        raise UserError(f"{path}: cannot be used as a results store: {' '.join(str(error).split())}") from None


def _told(step: Step) -> dict[str, Any]:
    """A prepare step as the worker is told of it."""
    return {
        "id": step.id,
        "kind": step.kind,
        "target": step.target,
        "inputs": {},
        "settings": step.settings,
        "threads": 1,
        "libraries": step.libraries,
    }


def _baselines(folder: Path, classes: int) -> dict[str, NDArray[Any]]:
    """Outputs of the predictors to beat, as the runner records them: training classes' frequencies, and the task's own rule."""
    share = np.bincount(data.load_split(folder / data.FIT, "train").y, minlength=classes)
    rows = {split: len(np.load(folder / data.INPUTS / f"{split}_x.npy", mmap_mode="r")) for split in _SPLITS}
    found = {f"constant_{split}": np.tile((share / share.sum()).astype(np.float32), (n, 1)) for split, n in rows.items()}
    return found | {path.stem: np.load(path) for path in sorted((folder / data.BASELINES).glob("trivial_*.npy"))}


def _loaded(path: Path) -> dict[str, NDArray[Any]]:
    """What an evaluation left. Raises OSError and ValueError."""
    with np.load(io.BytesIO(folders.read_own(path, _MOST_BYTES)), allow_pickle=False) as stored:
        arrays = dict(stored)
    if sorted(arrays) != sorted(_SPLITS) or not all(one.ndim == 2 and one.dtype == np.float32 for one in arrays.values()):
        raise ValueError("it left no outputs")
    return arrays


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether arrays are equal; floats as far as another machine's sums are."""
    if one.shape != other.shape or one.dtype.kind != other.dtype.kind:
        return False
    return bool(np.allclose(one, other, rtol=0, atol=1e-6) if one.dtype.kind == "f" else np.array_equal(one, other))


def _place(cell: Cell) -> tuple[Any, ...]:
    return tuple(getattr(cell, name) for name in _PLACE)


def _of_row(row: Row) -> tuple[str, ...]:
    return tuple(str(row.get(name)) for name in _PLACE)


def _label(row: Row) -> str:
    task, fold, backend, architecture, recipe, runtime, seed = _of_row(row)
    parts = (task, f"fold {fold}", backend, architecture, recipe, runtime, f"seed {seed}")
    return " · ".join(part for part in parts if part)


def _skipped(cell: Cell, where: str) -> str:
    return f"skipped {where} ({cell.skipped})" if cell.skipped else f"not skipped {where}"


def _roles(cell: Cell) -> dict[str, str]:
    """What each step of a cell is in it -> the step's id."""
    roles = {name: getattr(cell, name) for name in ("prepare", "inspect", "evaluate", "memory", "floor_memory")}
    roles |= {name: getattr(cell, name) for name in ("reference_inspect", "reference_evaluate")}
    for name in ("chain", "teachers", "anchors"):
        roles |= {f"{name} {place} ({step})": id_ for place, (step, id_) in enumerate(getattr(cell, name), 1)}
    for place, one in enumerate(cell.compared, 1):
        roles |= {f"{one.name} ({place}) {name}": getattr(one, name) for name in ("step", "before", "after")}
    return roles | {f"latency {place}": id_ for place, id_ in enumerate(cell.latency)}


def _reads(told: Mapping[str, Any]) -> dict[str, str]:
    """Role -> the step whose product a step reads, as its ingredients say."""
    return {**told.get("inputs", {}), **{name: told[name] for name in ("artifact",) if name in told}}


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _records(text: str, name: str) -> list[Row]:
    """The rows of rows.json or rows.csv, whose values are texts. Raises ValueError."""
    records = json.loads(text) if name.endswith(".json") else _csv(text)
    if not isinstance(records, list) or not all(isinstance(one, dict) for one in records):
        raise ValueError("it holds no rows")
    return records


def _csv(text: str) -> list[Row]:
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    if any(len(row) != len(rows[0]) for row in rows):
        raise ValueError("its lines have different numbers of fields")
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def _plain(value: Any) -> Any:
    """A value of rows.json, or what a field of rows.csv says."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value or None


def _leaves(stands: Any, found: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """What differs between two JSON values: where, and the two. Numbers may differ as sums in another order do."""
    if isinstance(stands, dict) and isinstance(found, dict):
        for name in dict.fromkeys((*stands, *found)):
            yield from _leaves(stands.get(name), found.get(name), f"{path}.{name}")
    elif type(stands) in (int, float) and type(found) in (int, float):
        if not math.isclose(stands, found, rel_tol=_CLOSE, abs_tol=_CLOSE):
            yield path, stands, found
    elif isinstance(stands, list) and isinstance(found, list) and len(stands) == len(found):
        for place, (one, other) in enumerate(zip(stands, found, strict=True)):
            yield from _leaves(one, other, f"{path}[{place}]")
    elif stands != found or type(stands) is not type(found):
        yield path, stands, found


def _count(number: int, what: str) -> str:
    return f"{number:,} {what if number == 1 else f'{what}s'}"


def _short(value: object) -> str:
    text = "nothing" if value is None or value == "" else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
