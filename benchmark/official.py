"""Official data files: a mirror on this machine, the cache, or their official address; verified whenever they are used.

A set of files is looked for in three places: the folder that the environment variable ``BENCHMARK_DATA_MIRROR`` names, the
cache (``BENCHMARK_DATA_CACHE``, by default ``~/.cache/pocketbench``), and the official address, from where it is fetched into
the cache. Nothing unverified ever has its final name there, and a mirror is never written to.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import itertools
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, TypeAlias

from benchmark.errors import UserError, described
from benchmark.specs import DataFile

Tell: TypeAlias = Callable[[str, int, int], None]
"""Called during a transfer with the file's name, the bytes received and those announced (0 where they were not)."""

MIRROR, CACHE = "BENCHMARK_DATA_MIRROR", "BENCHMARK_DATA_CACHE"
_BY_HAND = f"put it into the folder that {MIRROR} names"
_BLOCK = 64 * 1024
# Compressed for the way, a file is not the one that was asked for.
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "pocketbench"}


def mirror() -> Path | None:
    """The folder with files that somebody has put there, if one is named."""
    value = os.environ.get(MIRROR)
    if value and not os.path.isdir(value):
        raise UserError(f"{MIRROR}: {value} is not a folder")
    return Path(value).absolute() if value else None


def cache() -> Path:
    """The folder for what is fetched, which may not be there yet. XDG_CACHE_HOME has no say: jobs are not given it."""
    value = os.environ.get(CACHE)
    return Path(value).absolute() if value else Path.home() / ".cache" / "pocketbench"


def places() -> list[Path]:
    """The folders with official data that are there now."""
    return [Path(one).absolute() for one in (os.environ.get(MIRROR), cache()) if one and os.path.isdir(one)]


def located(sources: Sequence[Sequence[DataFile]]) -> tuple[tuple[DataFile, ...], Path | None]:
    """The set of files that :func:`fetch` would use now, and the folder that has all of them, damaged or not; None where some
    must be fetched."""
    folders = [folder for folder in (mirror(), cache()) if folder] if sources else []
    for folder, files in itertools.product(folders, sources):
        try:
            if all((folder / file.name).exists() for file in files):
                return tuple(files), folder
        except OSError as error:
            raise UserError(f"data folder {folder}: {error.strerror}") from None
    fetchable = [files for files in sources if all(file.url for file in files)]
    return tuple(next(iter(fetchable or sources), ())), None


def chosen(sources: Sequence[Sequence[DataFile]]) -> tuple[DataFile, ...]:
    """The set of files that :func:`fetch` would use now, by a look at what is there."""
    return located(sources)[0]


def fetch(sources: Sequence[Sequence[DataFile]], tell: Tell | None = None) -> dict[str, Path]:
    """The verified files of one of the ``sources``, by name: of the first one that a mirror or the cache has complete, else of
    the first one that has addresses, which is fetched. Raises UserError, one line naming the file, what was expected and what
    was found."""
    files, folder = located(sources)
    if folder is None or folder != mirror():
        return {file.name: _cached(file, cache(), tell) for file in files}
    for file in files:
        if damage := fault(folder / file.name, file):
            raise UserError(f"{folder / file.name}: damaged data file in {MIRROR}: {damage}")
    return {file.name: folder / file.name for file in files}


def fault(path: Path, file: DataFile) -> str:
    """What is wrong with what lies there: what was expected and what was found. Empty where it is the very file."""
    algorithm = file.checksum.partition(":")[0]
    digest = hashlib.new(algorithm, usedforsecurity=False)
    try:
        with path.open("rb") as raw:
            beginning = raw.read(1024).lower()
            raw.seek(0)
            try:
                with gzip.open(raw) if file.unpacked else nullcontext(raw) as content:
                    while block := content.read(_BLOCK):
                        digest.update(block)
                found = f"{algorithm}:{digest.hexdigest()}"
            except (gzip.BadGzipFile, EOFError, zlib.error):
                found = "no whole gzip file"
            size = os.fstat(raw.fileno()).st_size
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if found == file.checksum:
        return ""
    expected = f"{file.checksum}{' (unpacked)' if file.unpacked else ''}"
    notice = ", looks like an HTML page" if b"<!doctype html" in beginning or b"<html" in beginning else ""
    return f"expected {expected}, found {found} ({size} bytes{notice})"


def _cached(file: DataFile, folder: Path, tell: Tell | None) -> Path:
    """The verified file in the cache, fetched where it is missing or damaged."""
    path = folder / file.name
    if not (damage := fault(path, file)):
        return path
    also = f"; {path} is damaged: {damage}" if path.exists() else ""
    if not file.url:
        raise UserError(f"{file.name}: it is not in {folder} and has no official address; {_BY_HAND}{also}")
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _held(part) as content:
            if fault(path, file):  # else another process has fetched it while this one waited
                _transfer(file, content, tell)
                if damage := fault(part, file):
                    raise UserError(f"{file.name}: {file.url}: {damage}")
                os.replace(part, path)
    except OSError as error:
        raise UserError(f"{file.name}: data folder {folder}: {error.strerror or error}{also}") from None
    except UserError as error:
        raise UserError(f"{error}{also}") from None
    return path


@contextmanager
def _held(path: Path) -> Iterator[BinaryIO]:
    """An empty file that this process alone writes to, gone at the end unless it was renamed. The kernel drops the lock with the
    process, however it ends, and whoever comes next takes over what a killed one has left."""
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_called(file, path):  # whoever held it has renamed or removed it
                continue
            try:
                file.truncate(0)
                yield file
            finally:
                if _is_called(file, path):
                    path.unlink()
            return


def _is_called(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _transfer(file: DataFile, target: BinaryIO, tell: Tell | None) -> None:
    """Fetches a file. Raises UserError, and OSError where it cannot be written."""
    import pooch  # type: ignore[import-untyped]  # it has no annotations
    import requests

    meter = _Meter(file.name, tell)
    where = f"{file.name}: {file.url}"
    try:
        pooch.HTTPDownloader(meter, chunk_size=_BLOCK, headers=_HEADERS)(file.url, target, None)
    except requests.HTTPError as error:
        status = str(error).partition(" for url")[0]
        raise UserError(f"{where}: expected {file.checksum}, found HTTP status {status}") from None
    except requests.exceptions.ChunkedEncodingError as error:  # so is called whatever ends early, in chunks or not
        partial = getattr(_cause(error), "partial", None)  # of a body of known length; then the last bytes are counted too
        received = partial if isinstance(partial, int) else target.tell()
        expected = f"{meter.total} bytes" if meter.total else file.checksum
        raise UserError(f"{where}: it was cut: expected {expected}, found {received} bytes") from None
    except requests.RequestException as error:
        cause = _cause(error)
        reason = getattr(cause, "strerror", None) or described(cause)
        raise UserError(f"{where} cannot be reached: {reason}; {_BY_HAND}, or fetch it where there is a network") from None


def _cause(error: BaseException) -> BaseException:
    """What the libraries have wrapped."""
    while type(error).__module__.startswith(("requests.", "urllib3.")) and (inner := error.__cause__ or error.__context__):
        error = inner
    return error


class _Meter:
    """The progress bar that pooch fills."""

    def __init__(self, name: str, tell: Tell | None) -> None:
        self.total = 0  # pooch sets it to what the server announces
        self._name, self._tell = name, tell
        self._done = 0

    def update(self, count: int) -> None:
        self._done += count  # of whole chunks, though the last one is shorter
        if self._tell:
            self._tell(self._name, min(self._done, self.total or self._done), self.total)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        """Does nothing: whoever shows the bar ends it."""
