"""The files of a run: where they lie in a results folder, whether they are still what they were, and how to get rid of them."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from benchmark.errors import UserError, one_line
from benchmark.measure import size
from benchmark.store import StepResult, Store, open_store

TEMPORARY = "pocketbench-job-"
"""How names of jobs' temporary folders begin; the number of their host follows."""
_LOG_BYTES = 1024**2  # a longer log is cut
_LOG_TAIL = 64 * 1024  # to its end
_LAST_LINES = 10
_BLOCK = 4096  # bytes that the smallest file takes
_DEEPEST = 64  # folders within one another
_TOO_DEEP = 2**60  # bytes


@dataclass(frozen=True)
class Layout:
    """The files of a results folder."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / "store.sqlite"

    def step(self, id_: str) -> Path:
        return self.root / "steps" / id_

    def part(self, id_: str) -> Path:
        """Where a step works; renamed to :meth:`step` when it has ended."""
        return self.root / "steps" / f"{id_}.part"

    def artifact(self, digest: str) -> Path:
        return self.root / "artifacts" / digest


def open_run(root: Path) -> Store:
    """The store of a results folder in which a run has written its grid. Raises UserError where there is none, or none that can
    be read."""
    if not Layout(root).store.exists():
        raise UserError(f"results folder {root}: no run has written into it yet")
    store = open_store(Layout(root).store)
    try:
        store.meta("suite")
    except KeyError:
        store.close()
        raise UserError(f"results folder {root}: no run has written its grid into it yet") from None
    except UserError:
        store.close()
        raise
    return store


@contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Creates the results folder and holds it for this process; raises UserError where that is not possible. The kernel drops
    the lock with the process, however it ends."""
    try:
        for folder in ("steps", "artifacts"):
            (layout.root / folder).mkdir(parents=True, exist_ok=True)
        lock = (layout.root / "lock").open("w")
    except OSError as error:
        raise UserError(f"results folder {layout.root}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"results folder {layout.root}: another run is using it") from None
        yield


def is_there(layout: Layout, result: StepResult) -> bool:
    """Whether what the step made is still on disk, an artifact with the very bytes."""
    folder, digest = layout.step(result.id), result.facts.get("artifact")
    if digest:
        return holds(layout.artifact(digest), digest)
    if result.outcome == "ok" and result.kind in ("prepare", "split", "train", "pass"):
        return (folder / "output").is_dir()
    return folder.exists()


def holds(artifact: Path, digest: str) -> bool:
    """Whether an artifact's folder has the very bytes that its name says."""
    try:
        return size.artifact_digest(artifact) == digest
    except (OSError, ValueError):
        return False


def bytes_of(folder: Path) -> int:
    """Bytes of what lies in a folder: files, and folders and links too, each at least a block. What lies too deep to be named,
    copied or removed counts as more than any limit."""
    total, waiting = 0, [(str(folder), 0)]
    while waiting:
        place, depth = waiting.pop()
        if depth > _DEEPEST:
            return _TOO_DEEP
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    total += max(entry.stat(follow_symlinks=False).st_size, _BLOCK)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, depth + 1))
        except OSError as error:  # it has just gone
            if error.errno == errno.ENAMETOOLONG:
                return _TOO_DEEP
    return total


# Files in a folder where a job could write. Whatever it has put in their place is not followed, waited for or read without end.


def _opened(path: Path, flags: int) -> BinaryIO:
    """Raises OSError for a link, and for anything but a regular file."""
    file = os.fdopen(os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK), "rb+" if flags & os.O_RDWR else "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


def read_own(path: Path, most: int) -> bytes:
    """The content of a file. Raises OSError where it is none, and ValueError for more than ``most`` bytes."""
    with _opened(path, os.O_RDONLY) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{path.name} has more than {most:,} bytes")
    return content


def write_own(path: Path, text: str) -> None:
    """Writes a file in the place of whatever is there."""
    remove(path)
    path.touch(exist_ok=False)
    path.write_text(text, encoding="utf-8")


def bound(log: Path) -> None:
    """Cuts a log that has grown too long to its end. The job goes on writing behind that, since it appends."""
    with suppress(OSError), _opened(log, os.O_RDWR) as file:
        if os.fstat(file.fileno()).st_size > _LOG_BYTES:
            file.seek(-_LOG_TAIL, os.SEEK_END)
            tail = file.read(_LOG_TAIL)
            file.truncate(0)
            file.seek(0)
            file.write(b"[the beginning was cut]\n" + tail)


def last_lines(log: Path) -> list[str]:
    """What a job that did not end well said last."""
    with suppress(OSError), _opened(log, os.O_RDONLY) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_TAIL))
        return [one_line(line.decode("utf-8", "replace")) for line in file.read(_LOG_TAIL).splitlines()[-_LAST_LINES:]]
    return []


def sweep() -> None:
    """Removes temporary folders of hosts that are gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*-*"):
        made = re.fullmatch(rf"{TEMPORARY}(\d+)-[a-z0-9_]{{8}}", folder.name)
        if made and not Path(f"/proc/{made[1]}").exists():
            remove(folder)


def remove(path: Path) -> None:
    """Removes a folder, whatever a job has made of it: of a link or a file that alone, of folders within one another any number,
    and those in which it took away its owner's right to write."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    with suppress(RecursionError):
        shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):  # they go to any depth, and follow no link
            subprocess.run([*command, "--", path], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def check_tree(folder: Path) -> None:
    """Raises ValueError for a product that cannot be copied to the job that needs it."""
    if folder.is_symlink() or not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()) or not os.access(path, os.R_OK):
            raise ValueError(f"{path} is not a regular file or folder that can be read")


def left_behind(folder: Path) -> StepResult | None:
    """The result in the folder of an ended step; None where there is none, or one that a power cut damaged."""
    try:
        return StepResult(**json.loads((folder / "result.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
