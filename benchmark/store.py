"""The record of a results folder: one SQLite file with one writer, the runner. Readers never block it (WAL)."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from benchmark.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA_VERSION = 1
Outcome: TypeAlias = Literal["ok", "failed", "timeout", "out_of_memory", "crashed", "no_result", "no_op", "skipped", "invalid"]
REUSABLE = ("ok", "skipped")
"""Step outcomes that a rerun keeps. Everything else is tried again."""

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT OR IGNORE INTO meta VALUES ('schema_version', '{SCHEMA_VERSION}');
CREATE TABLE IF NOT EXISTS steps (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, label TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL,
    seconds REAL NOT NULL, finished_utc TEXT NOT NULL, facts TEXT NOT NULL, limits TEXT NOT NULL, ingredients TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS arrays (
    step TEXT NOT NULL, name TEXT NOT NULL, dtype TEXT NOT NULL, shape TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (step, name)
);
CREATE TABLE IF NOT EXISTS cells (position INTEGER PRIMARY KEY, cell TEXT NOT NULL);
"""

_OF_THE_DISK = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_IOERR: errno.EIO}


@dataclass(frozen=True)
class StepResult:
    """How a step ended. ``seconds``: wall time of the step itself, without queueing. ``facts``: JSON values that it produced.
    ``limits``: limit -> its value, its mechanism and what was observed."""

    id: str
    kind: str
    label: str
    outcome: Outcome
    reason: str
    seconds: float
    finished_utc: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    ingredients: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Strict JSON in ASCII, since a claim may be text that UTF-8 cannot say. Its keys keep their order, so that a row that is
        made from it is the same text."""
        return json.dumps(vars(self), allow_nan=False)


class Store:
    """Open with :func:`open_store`. Every method is one transaction. Those that
    write raise OSError where the disk is full or fails, and have then changed nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self._connection:
                yield
        except sqlite3.OperationalError as error:
            number = _OF_THE_DISK.get(error.sqlite_errorcode & 0xFF)  # the bits above say what exactly SQLite was doing
            if number is None:
                raise
            raise OSError(number, os.strerror(number)) from None

    def record(self, result: StepResult, arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Writes a step's result and its arrays, replacing earlier ones of the same id."""
        with self._transaction():
            self._connection.execute("DELETE FROM arrays WHERE step = ?", (result.id,))
            self._connection.execute(
                "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    result.id,
                    result.kind,
                    result.label,
                    result.outcome,
                    result.reason,
                    result.seconds,
                    result.finished_utc,
                    *(json.dumps(value, allow_nan=False) for value in (result.facts, result.limits, result.ingredients)),
                ),
            )
            self._connection.executemany(
                "INSERT INTO arrays VALUES (?, ?, ?, ?, ?)",
                [
                    (result.id, name, array.dtype.str, json.dumps(array.shape), array.tobytes())
                    for name, array in (arrays or {}).items()
                ],
            )

    def forget(self, ids: Collection[str]) -> None:
        """Removes steps and their arrays."""
        with self._transaction():
            for table, column in (("arrays", "step"), ("steps", "id")):
                self._connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(id_,) for id_ in ids])

    def results(self, ids: Iterable[str]) -> dict[str, StepResult]:
        """The recorded results among ``ids``."""
        found = {}
        for id_ in ids:
            row = self._connection.execute("SELECT * FROM steps WHERE id = ?", (id_,)).fetchone()
            if row is not None:
                found[id_] = StepResult(*row[:7], *map(json.loads, row[7:]))
        return found

    def finished(self) -> list[StepResult]:
        """All steps that ended well, in the order in which they ended."""
        rows = self._connection.execute("SELECT * FROM steps WHERE outcome = 'ok' ORDER BY finished_utc, id")
        return [StepResult(*row[:7], *map(json.loads, row[7:])) for row in rows]

    def latest(self, kind: str, label: str) -> StepResult | None:
        """The step of this kind and label that ended last, whatever its id."""
        query = "SELECT id FROM steps WHERE kind = ? AND label = ? ORDER BY finished_utc DESC, id LIMIT 1"
        row = self._connection.execute(query, (kind, label)).fetchone()
        return None if row is None else self.results([row[0]])[row[0]]

    def array(self, step: str, name: str) -> NDArray[Any]:
        """An array that was recorded with a step; raises KeyError."""
        import numpy as np  # not needed to look steps up

        query = "SELECT dtype, shape, data FROM arrays WHERE step = ? AND name = ?"
        row = self._connection.execute(query, (step, name)).fetchone()
        if row is None:
            raise KeyError(f"{step}: {name}")
        array: NDArray[Any] = np.frombuffer(row[2], row[0]).reshape(json.loads(row[1]))
        return array

    def replace_grid(self, suite: Mapping[str, Any], cells: Iterable[Mapping[str, Any]]) -> None:
        """Writes the grid of this run and what is to be known of its suite (the value ``suite`` of :meth:`meta`): what the tables
        are made of. Steps of earlier runs stay and are reused."""
        with self._transaction():
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('suite', ?)", (json.dumps(suite),))
            self._connection.execute("DELETE FROM cells")
            self._connection.executemany("INSERT INTO cells VALUES (?, ?)", enumerate(map(json.dumps, cells)))

    def cells(self) -> list[dict[str, Any]]:
        """The grid of the last run, in its order."""
        return [json.loads(row[0]) for row in self._connection.execute("SELECT cell FROM cells ORDER BY position")]

    def set_meta(self, key: str, value: Any) -> None:
        """Remembers a JSON value."""
        with self._transaction():
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def meta(self, key: str) -> Any:
        """A value set by :meth:`set_meta`; raises KeyError."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return json.loads(row[0])

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()


def open_store(path: Path) -> Store:
    """Opens or creates the store; raises UserError for a file of another version or one that is no store."""
    try:
        connection = sqlite3.connect(path)
    except sqlite3.Error as error:
        raise UserError(f"{path}: cannot be used as a results store: {error}") from None
    try:
        if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            connection.execute("PRAGMA journal_mode = WAL")  # the file remembers it
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        (damage,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if damage != "ok":
            raise sqlite3.DatabaseError(damage)
        connection.execute("PRAGMA synchronous = NORMAL")  # survives kill -9; only a power cut may lose the last transactions
        row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    except sqlite3.Error as error:
        connection.close()
        told = " ".join(str(error).split())
        remedy = "where a run wrote it, delete it: finished steps are read again from their folders"
        raise UserError(f"{path}: cannot be used as a results store: {told}; {remedy}") from None
    version = row[0] if row else "unknown"
    if version != str(SCHEMA_VERSION):
        connection.close()
        raise UserError(f"{path}: written by version {version} of the store, this is version {SCHEMA_VERSION}")
    return Store(connection)
