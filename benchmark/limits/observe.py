"""What there is to see of processes and of the machine: threads that are busy, and what disturbs a measurement."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from benchmark.limits.groups import own_groups


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
        return (task / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] == "R"
    except OSError:
        return False


def disturbances(root: Path = Path("/")) -> dict[str, float]:
    """Counters of what may spoil a measurement, to be read before and after it; without those that this machine does not have.

    ``seconds``: the clock. ``waiting_seconds``: that this process's first thread was ready and had no core (its schedstat).
    ``steal_seconds``: that another virtual machine had a core on which this process may run (proc_stat(5)).
    ``swapped_pages``: of the whole machine (/proc/vmstat). ``heat_throttled``: times that such a core was slowed by heat or
    power. ``quota_throttled``: periods in which a control group around this process had used up its CPU quota."""
    proc, cores = root / "proc", os.sched_getaffinity(0)
    found = {"seconds": time.monotonic()}
    with suppress(OSError, ValueError, IndexError):
        found["waiting_seconds"] = int((proc / "self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    with suppress(OSError, ValueError, IndexError):
        lines = [line.split() for line in (proc / "stat").read_text(encoding="ascii").splitlines()]
        names = {f"cpu{core}" for core in cores}
        found["steal_seconds"] = sum(int(line[8]) for line in lines if line[0] in names) / os.sysconf("SC_CLK_TCK")
    with suppress(OSError, ValueError):
        counts = _fields(proc / "vmstat")
        found["swapped_pages"] = sum(counts[name] for name in ("pswpin", "pswpout") if name in counts)
    throttle = [root / f"sys/devices/system/cpu/cpu{core}/thermal_throttle/core_throttle_count" for core in cores]
    with suppress(OSError, ValueError):
        found["heat_throttled"] = sum(int(path.read_text(encoding="ascii")) for path in throttle)
    own = [own_groups(proc / "self", kind).get(name) for kind, name in (("cgroup", "cpu"), ("cgroup2", ""))]
    groups = [path for folder in own if folder for path in (folder, *folder.parents) if (path / "cpu.stat").exists()]
    if groups:
        found["quota_throttled"] = sum(_fields(path / "cpu.stat").get("nr_throttled", 0) for path in groups)
    return found


def _fields(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value in map(str.split, path.read_text(encoding="ascii").splitlines())}


def since(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """What was added between two :func:`disturbances`."""
    return {name: now[name] - before[name] for name in now if name in before}
