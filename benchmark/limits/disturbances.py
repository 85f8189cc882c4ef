"""What spoils a measurement and is nobody's fault in it: waiting, stolen time, swapping, throttling."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from benchmark.limits.cgroups import own_groups


def counters(root: Path = Path("/")) -> dict[str, float]:
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
    """What was added between two :func:`counters`."""
    return {name: now[name] - before[name] for name in now if name in before}
