"""What there is to see of a job's processes: threads that are busy, files that they have mapped or hold without a name."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def runnable_threads(pids: Iterable[int]) -> int:
    """How many threads of these processes run or are ready to run just now. It tells one busy thread from two also on one core,
    where CPU time over wall time is 1 in both cases."""
    return sum(_is_runnable(task) for pid in pids for task in _tasks(pid))


def unlinked_bytes(pids: Iterable[int]) -> int:
    """Bytes of the files that these processes hold open though they have no name any more, each counted once."""
    found: dict[tuple[int, int], int] = {}
    for pid in pids:
        with suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    status = descriptor.stat()
                    if stat.S_ISREG(status.st_mode) and not status.st_nlink:
                        found[status.st_dev, status.st_ino] = status.st_size
    return sum(found.values())


def mapped_files(pids: Iterable[int]) -> int:
    """Resident bytes of files that these processes have mapped, libraries above all: those of the one that has most, as the
    others mostly have the same."""
    return max(map(_mapped_files, pids), default=0)


def _mapped_files(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile:")), 0)


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []  # it has just ended


def _is_runnable(task: Path) -> bool:
    try:
        return (task / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:1] == ["R"]
    except OSError:
        return False
