"""A results folder as one file for others to check, and the digest of its content that can stand under its tables.

```
store.jsonl             the record of the last run's grid: version, suite, machines, cells, steps, one JSON object a line
arrays/<sha256>.npy     labels, predictions and times of these steps, named by the hash of the file, each once
artifacts/<sha256>/     the files that would ship, and those that they were made from
suite.toml .rendered    as they lie in the folder, and so the rows and tables
```

SQLite's own file depends on the order in which steps ended and on what was deleted, and holds steps of earlier grids; so the
store goes in as text, from which :func:`restore` makes one again. Equal content is equal bytes: names are sorted, dates and modes
fixed, and nothing is compressed, since what deflate makes of equal bytes differs between releases of zlib.

The digest is the sha256 of ``store.jsonl``, so ``unzip -p FILE.zip store.jsonl | sha256sum`` prints it. That text names arrays
and artifacts by their hashes; it covers all that tables are made from, also when each step ended, and no table, so that tables
can hold it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError, described
from benchmark.folders import Layout, open_run
from benchmark.measure import size
from benchmark.plan import stored_cells
from benchmark.store import SCHEMA_VERSION, StepResult, open_store

if TYPE_CHECKING:
    from numpy.typing import NDArray

STORE = "store.jsonl"
"""The store as text, at the top of a bundle."""
ARRAYS = "arrays"
_TEXTS = ("suite.toml", ".rendered")
_KEPT = re.compile(r"[^/]+|arrays/[^/]+|artifacts/.+")
"""What is taken out of a zip; of a whole results folder that somebody has zipped its steps are left."""
_MOST_BYTES = 4 * 1024**3
_MOST_FILES = 200_000
_MOST_RATIO = 100  # bytes that come out of one of the zip
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can say
_MODE = (stat.S_IFREG | 0o644) << 16
_UNIX = 3
_MACHINE = "host_class:"
HASH = re.compile(r"[0-9a-f]{64}")
"""A sha256, in hex."""
_SELECT = "SELECT name, dtype, shape, data FROM arrays WHERE step = ? ORDER BY name"


@dataclass(frozen=True)
class _Record:
    """``text``: the content of :data:`STORE`. ``arrays``: hash -> (step, name) of an array with that content. ``artifacts``:
    their digests."""

    text: bytes
    arrays: Mapping[str, tuple[str, str]]
    artifacts: frozenset[str]


def digest(root: Path) -> str:
    """sha256, in hex, of the content of the results folder ``root``: of the grid of the last run, its steps, their arrays and the
    hashes of its artifacts. Reads the store alone. Raises as :func:`benchmark.store.open_store`."""
    with closing(_connect(root)) as connection:
        return hashlib.sha256(_record(root, connection).text).hexdigest()


def pack(root: Path, output: Path, tables: Iterable[str]) -> str:
    """Writes the bundle of the results folder ``root``; returns its digest. ``tables``: names of the files that were rendered.
    What is not there, of these and of artifacts, is left out. Raises UserError where there is no run or the file cannot be
    written."""
    layout = Layout(root)
    open_run(root).close()
    part = output.with_name(f"{output.name}.part")
    try:
        with closing(_connect(root)) as connection:
            record = _record(root, connection)
            files = {name: root / name for name in (*_TEXTS, *tables) if (root / name).is_file()}
            for folder in (layout.artifact(one) for one in record.artifacts):
                if folder.is_dir():
                    files |= {path.relative_to(root).as_posix(): path for path in size.artifact_files(folder)}
            arrays = {f"{ARRAYS}/{name}.npy": place for name, place in record.arrays.items()}
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as packed:
                for name in sorted([STORE, *files, *arrays]):
                    member = zipfile.ZipInfo(name, _DATE)
                    member.create_system, member.external_attr = _UNIX, _MODE
                    if name in files:
                        content = files[name].read_bytes()
                    else:
                        content = _array(connection, *arrays[name]) if name in arrays else record.text
                    packed.writestr(member, content)
        part.rename(output)
    except OSError as error:
        raise UserError(f"{error.filename or output}: cannot be bundled: {error.strerror}") from None
    except ValueError as error:  # an artifact holds a link, or no file
        raise UserError(f"{root}: cannot be bundled: {error}") from None
    finally:
        part.unlink(missing_ok=True)
    return hashlib.sha256(record.text).hexdigest()


def _connect(root: Path) -> sqlite3.Connection:
    """For reading arrays as they are stored, however many a step has."""
    open_store(Layout(root).store).close()  # it says what is wrong with the file
    return sqlite3.connect(f"{Layout(root).store.absolute().as_uri()}?mode=ro", uri=True)


def _record(root: Path, connection: sqlite3.Connection) -> _Record:
    with closing(open_store(Layout(root).store)) as store:
        results = store.results(sorted({id_ for cell in stored_cells(store) for id_ in cell.steps()}))
        hosts = {one.ingredients["host_class"] for one in results.values() if "host_class" in one.ingredients}
        lines: list[dict[str, Any]] = [{"schema_version": SCHEMA_VERSION}, {"suite": store.meta("suite")}]
        lines += [{"machine": host, "value": store.meta(f"{_MACHINE}{host}")} for host in sorted(hosts)]
        lines += [{"cell": cell} for cell in store.cells()]
    arrays: dict[str, tuple[str, str]] = {}
    for id_, result in results.items():
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in _arrays(connection, id_)}
        arrays |= {one: (id_, name) for name, one in hashes.items()}
        lines.append({"step": vars(result), "arrays": hashes})
    # ASCII, as the store's: a claim may be text that UTF-8 cannot say. Keys keep their order, so that rows are the same text.
    text = "".join(f"{json.dumps(line, allow_nan=False)}\n" for line in lines)
    found = frozenset(one.facts["artifact"] for one in results.values() if one.facts.get("artifact"))
    return _Record(text.encode("ascii"), arrays, found)


def _arrays(connection: sqlite3.Connection, step: str) -> Iterator[tuple[str, bytes]]:
    for name, dtype, shape, data in connection.execute(_SELECT, (step,)):
        yield name, _npy(dtype, tuple(json.loads(shape)), data)


def _array(connection: sqlite3.Connection, step: str, name: str) -> bytes:
    return dict(_arrays(connection, step))[name]


def _npy(dtype: str, shape: tuple[int, ...], data: bytes) -> bytes:
    """The file that numpy reads (numpy.lib.format, version 1.0). numpy's own header has changed between its releases."""
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode("ascii") + data


# Reading what somebody else has made


def extract(path: Path, folder: Path) -> None:
    """Takes the files of a bundle, or of a zipped results folder, out of it, into ``folder``, which must be new or empty. Raises
    UserError for what is no zip or damaged, and before anything is written for one that has a member that would not lie in the
    folder, or would fill the disk."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UserError(f"{folder}: it is not empty, so no bundle is unpacked there")
        with zipfile.ZipFile(path) as packed:
            members = packed.infolist()
            if reason := _refusal(members, path.stat().st_size):
                raise UserError(f"{path}: not unpacked: {reason}")
            for member in members:
                if _KEPT.fullmatch(member.filename) and not member.is_dir():
                    (target := folder / member.filename).parent.mkdir(parents=True, exist_ok=True)
                    with packed.open(member) as source, target.open("xb") as file:
                        shutil.copyfileobj(source, file, 1024**2)  # zipfile gives no more than the size that was checked
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        RuntimeError,
        ValueError,
    ) as error:  # what zipfile raises: it is encrypted, too
        raise UserError(f"{path}: not a bundle that can be read: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be unpacked: {error.strerror or error}") from None


def _refusal(members: list[zipfile.ZipInfo], packed_bytes: int) -> str:
    """Why a zip is not unpacked; empty where it can be."""
    for member in members:
        parts = member.filename.removesuffix("/").split("/")
        if not member.filename.isprintable() or "\\" in member.filename or {"", ".", ".."} & set(parts):
            return f"{member.filename!r} would not lie in the folder"
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            return f"{member.filename!r} is a link or a device"
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return f"{member.filename!r} is neither stored nor deflated"
    if len({member.filename for member in members}) < len(members):
        return "two of its files have one name"
    total = sum(member.file_size for member in members)
    if total > min(_MOST_BYTES, _MOST_RATIO * packed_bytes) or len(members) > _MOST_FILES:
        return f"it would unpack to {total:,} bytes in {len(members):,} files, from a file of {packed_bytes:,}"
    return ""


def restore(folder: Path, path: Path) -> None:
    """Makes a new store at ``path`` of the text and the arrays in ``folder``, where :func:`extract` has put them. Raises
    UserError where these are damaged or of another version. Nothing is unpickled: texts are JSON, and arrays of objects are
    refused."""
    source = folder / STORE
    try:
        lines = source.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{source}: cannot be used as a results store: {error}") from None
    version = _parsed(source, 1, lines[0] if lines else "").get("schema_version", "unknown")
    if version != SCHEMA_VERSION:
        raise UserError(f"{source}: written by version {version} of the store, this is version {SCHEMA_VERSION}")
    suite: dict[str, Any] = {}
    cells: list[dict[str, Any]] = []
    with closing(open_store(path)) as store:
        for number, line in enumerate(lines[1:], 2):
            one = _parsed(source, number, line)
            try:
                match one:
                    case {"suite": dict(value)}:
                        suite = value
                    case {"machine": str(host), "value": value}:
                        store.set_meta(f"{_MACHINE}{host}", value)
                    case {"cell": dict(value)}:
                        cells.append(value)
                    case {"step": dict(value), "arrays": dict(hashes)}:
                        store.record(StepResult(**value), {name: _load(folder, one) for name, one in hashes.items()})
                    case _:
                        raise ValueError("it is no part of a store")
            except (ValueError, TypeError, sqlite3.Error, OverflowError) as error:
                raise UserError(f"{source}, line {number}: cannot be used: {described(error)}") from None
        store.replace_grid(suite, cells)


def _parsed(source: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source}, line {number}: cannot be used: {error}") from None
    return value if isinstance(value, dict) else {}


def _load(folder: Path, name: Any) -> NDArray[Any]:
    """An array by the hash of its file. Raises ValueError where it is not there, or is not what its name says."""
    import numpy as np  # not needed for digests

    if not isinstance(name, str) or not HASH.fullmatch(name):
        raise ValueError(f"{name!r} is no hash")
    path = folder / ARRAYS / f"{name}.npy"
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != name:
                raise ValueError(f"{ARRAYS}/{path.name} is damaged")
            file.seek(0)  # of np.load: an archive of arrays would be something else
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
            return array
    except (OSError, EOFError, MemoryError) as error:
        raise ValueError(f"{ARRAYS}/{path.name}: {described(error)}") from None
