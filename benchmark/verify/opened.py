"""Stores and suites that others have written, opened without running anything that is in them."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmark import bundle
from benchmark import suite as suites
from benchmark.errors import UserError
from benchmark.folders import Layout
from benchmark.own import with_own
from benchmark.plan import Cell
from benchmark.registry import Registry
from benchmark.store import SCHEMA_VERSION, StepResult, Store, open_store
from benchmark.suite import Suite
from benchmark.verify.findings import Findings
from benchmark.verify.tables import read_text

_TEXTS = tuple(one.name for one in dataclasses.fields(Cell) if one.type == "str")
_SCHEMA = "SELECT type, name, sql FROM sqlite_master"


def open_copy(layout: Layout, clean: Path, new: Path) -> Store:
    """A copy of the store in ``clean``. ``new``: where an empty store can be made to compare with. Raises UserError where there
    is none that can be used, or there are two, and for a text that is not the one that its digest is of."""
    path, text = clean / "store.sqlite", layout.root / bundle.STORE
    if not layout.store.is_file():
        bundle.restore(layout.root, path)
        with text.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if (digest := bundle.digest(clean)) != found:
            raise UserError(f"{text}: its sha256 is {found}, that of what it says is {digest}: it is not as a bundle has it")
        return open_store(path)
    if text.exists():
        raise UserError(f"{text}: store.sqlite is there too: which of them holds the results is not known")
    for source in (layout.store, layout.store.with_name("store.sqlite-wal")):
        if source.is_file():
            shutil.copyfile(source, clean / source.name)
    _check_schema(path, new)
    return open_store(path)


def read_suite(layout: Layout, registry: Registry, findings: Findings) -> tuple[Suite | None, Registry]:
    """The suite of the folder, and the registry with the tasks of its own whose files are here."""
    try:
        suite = suites.parse(read_text(layout, "suite.toml"), "suite.toml")
        here = {name: task for name, task in suite.own.items() if Path(task.file).is_file()}
        return suite, with_own(registry, here)
    except (UserError, OSError, ValueError) as error:
        findings.cannot(f"the grid: suite.toml cannot be used: {error}")
        return None, registry


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


def check_types(cells: Sequence[Cell], results: Iterable[StepResult]) -> None:
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
