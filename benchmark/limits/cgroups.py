"""Control groups, versions 1 and 2: the kernel itself accounts for a job's whole process tree and enforces its limits.

Version 2: https://docs.kernel.org/admin-guide/cgroup-v2.html. Version 1: https://docs.kernel.org/admin-guide/cgroup-v1/.
Groups are made below this process's own, so limits around the host hold too, and a delegated group is enough without root.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmark.budget import BuildLimits
from benchmark.limits.guard import Guard, Limit, Usage
from benchmark.limits.observe import mapped_files

_ENTER = 'for group do shift; [ "$group" = -- ] && break; echo $$ > "$group/cgroup.procs" || exit 125; done; exec "$@"'
"""Puts the shell into each group up to ``--`` and becomes the command: in the group before its first instruction."""
_PREFIX = "pocketbench-"
_V1 = ("memory", "cpuset", "pids", "cpuacct")
_V2 = ("memory", "cpuset", "pids")
_CHARGE = 4 * 1024**2  # bytes: a refused allocation is not part of the peak, and may be a huge page
_PATIENCE = 10.0  # seconds for killed processes to go


@functools.cache
def find() -> Cgroups | None:
    """What this machine lets this process use: version 2, else version 1, else None."""
    process = Path("/proc/self")
    for one in (_version_2(process), _version_1(process)):
        if one is not None:
            with suppress(OSError):
                _sweep(one.parents.values())
                one.guard("probe", BuildLimits(), sorted(os.sched_getaffinity(0))).close()
                return one
    return None


@dataclass(frozen=True)
class Cgroups:
    """``parents``: controller -> the folder in which groups are made; in version 2 the same one for all."""

    version: int
    parents: Mapping[str, Path]
    limits_data: bool = False

    @property
    def name(self) -> str:
        return f"cgroup v{self.version}"

    @property
    def how(self) -> dict[str, str]:
        pinned = f"{self.name} cpuset" if "cpuset" in self.parents else "affinity"
        return {
            "cores": pinned,
            "memory": f"{self.name} memory {'with' if self._counts_swap() else 'without'} swap, mapped files every 0.1 s",
            "cpu_seconds": f"{self.name} CPU time, read every 0.1 s",
            "processes": f"{self.name} pids",
        }

    def _counts_swap(self) -> bool:
        return self.version == 2 or (self.parents["memory"] / "memory.memsw.limit_in_bytes").exists()

    def guard(self, job: str, limits: BuildLimits, cores: Sequence[int]) -> Guard:
        name = f"{_PREFIX}{os.getpid()}-{job}"
        group = _Group(self.version, limits.memory, {controller: parent / name for controller, parent in self.parents.items()})
        try:
            group.make(limits, cores)
        except OSError:
            group.close()
            raise
        return group


@dataclass
class _Group:
    """``memory``: its limit, in bytes. ``resident``: the most that its processes were seen to have, with the files that they have
    mapped: the kernel charges those to whoever read them first, and drops them rather than kill."""

    version: int
    memory: int
    folders: Mapping[str, Path]
    resident: int = 0

    @property
    def launcher(self) -> Sequence[str]:
        return ["/bin/sh", "-c", _ENTER, "sh", *map(str, self._distinct()), "--"]

    def make(self, limits: BuildLimits, cores: Sequence[int]) -> None:
        for folder in self._distinct():
            folder.mkdir()
        for controller, name, value in self._settings(limits, cores):
            (self.folders[controller] / name).write_text(value, encoding="ascii")

    def _settings(self, limits: BuildLimits, cores: Sequence[int]) -> Iterator[tuple[str, str, str]]:
        if "cpuset" in self.folders:
            if self.version == 1:
                mems = (self.folders["cpuset"].parent / "cpuset.effective_mems").read_text(encoding="ascii")
                yield "cpuset", "cpuset.mems", mems
            yield "cpuset", "cpuset.cpus", ",".join(map(str, cores))
        yield "pids", "pids.max", str(limits.processes)
        if self.version == 2:
            yield "memory", "memory.max", str(limits.memory)
            if (self.folders["memory"] / "memory.swap.max").exists():
                yield "memory", "memory.swap.max", "0"
            yield "memory", "memory.oom.group", "1"
        else:
            yield "memory", "memory.limit_in_bytes", str(limits.memory)
            if self._counts_swap():
                yield "memory", "memory.memsw.limit_in_bytes", str(limits.memory)

    def _counts_swap(self) -> bool:
        return (self.folders["memory"] / "memory.memsw.limit_in_bytes").exists()

    def watch(self, leader: int) -> None:
        """The kernel watches, but for mapped files."""
        kinds = ("anon", "shmem") if self.version == 2 else ("rss", "shmem", "swap")
        own = sum(self._entry("memory", "memory.stat", kind) or 0 for kind in kinds)
        self.resident = max(self.resident, own + mapped_files(_members(self.folders["memory"])))

    def members(self) -> Collection[int]:
        return _members(self.folders["memory"])

    def usage(self) -> Usage:
        if self.version == 2:
            cpu, unit = self._entry("memory", "cpu.stat", "usage_usec"), 1e6
        else:
            cpu, unit = self._number("cpuacct", "cpuacct.usage"), 1e9
        seconds = None if cpu is None else cpu / unit
        return Usage(self.resident or None, seconds, self._number("pids", "pids.peak"))

    def _peak(self) -> int | None:
        """The most that the kernel has charged to the group. It also charges every file that the group was the first to read or
        has written, which it drops when memory runs short; so this is evidence, but no measure of what was needed."""
        if self.version == 2:
            return self._number("memory", "memory.peak")
        return self._number("memory", "memory.memsw.max_usage_in_bytes" if self._counts_swap() else "memory.max_usage_in_bytes")

    def hit(self) -> Limit | None:
        if self.resident > self.memory or self._out_of_memory():
            return "memory"
        return "processes" if self._entry("pids", "pids.events", "max") else None

    def _out_of_memory(self) -> bool:
        """Whether a process was killed for this group's own limit. A kill is counted here for a limit further up, too."""
        if self.version == 2:
            return bool(self._entry("memory", "memory.events", "oom_kill") and self._entry("memory", "memory.events", "oom"))
        peak = self._peak()  # failcnt stays 0 on recent kernels
        full = peak is None or peak > self.memory - _CHARGE
        return full and bool(self._entry("memory", "memory.oom_control", "oom_kill"))

    def kill(self, leader: int) -> None:
        memory = self.folders["memory"]
        with suppress(OSError):
            (self.folders["pids"] / "pids.max").write_text("0", encoding="ascii")  # nothing forks faster than it is killed
        with suppress(ProcessLookupError, PermissionError):
            os.kill(leader, signal.SIGKILL)  # it may not have come into the group yet
        deadline = time.monotonic() + _PATIENCE
        while (members := _members(memory)) and time.monotonic() < deadline:
            for pid in members:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)

    def close(self) -> None:
        for folder in self._distinct():
            _remove(folder)

    def _distinct(self) -> list[Path]:
        return list(dict.fromkeys(self.folders.values()))

    def _number(self, controller: str, name: str) -> int | None:
        try:
            return int((self.folders[controller] / name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None  # an older kernel

    def _entry(self, controller: str, name: str, key: str) -> int | None:
        try:
            lines = (self.folders[controller] / name).read_text(encoding="ascii").splitlines()
            return next((int(line.split()[1]) for line in lines if line.split()[0] == key), None)
        except OSError:
            return None


def _members(folder: Path) -> list[int]:
    """The processes of a group and of those that a job may have made in it."""
    found = list[int]()
    for place, _, _ in os.walk(folder):
        with suppress(OSError):
            found.extend(map(int, Path(place, "cgroup.procs").read_text(encoding="ascii").split()))
    return found


def _remove(folder: Path, patience: float = _PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while folder.exists():
        try:
            for place, _, _ in os.walk(folder, topdown=False):
                os.rmdir(place)
        except OSError:  # the kernel still holds what was just killed
            if time.monotonic() > deadline:
                return
            time.sleep(0.002)


def _sweep(parents: Collection[Path]) -> None:
    """Ends the groups of hosts that are gone: of one killed with SIGKILL the grandchildren may live on."""
    for parent in dict.fromkeys(parents):
        for folder in parent.glob(f"{_PREFIX}*-*"):
            host = folder.name.removeprefix(_PREFIX).split("-")[0]
            if not Path(f"/proc/{host}").exists():
                for pid in _members(folder):
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
                _remove(folder, 1.0)  # another user's stays


# Where groups can be made


def _version_1(process: Path) -> Cgroups | None:
    found = {name: folder for name, folder in own_groups(process, "cgroup").items() if name in _V1}
    return Cgroups(1, found) if {"memory", "pids", "cpuacct"} <= set(found) else None


def _version_2(process: Path) -> Cgroups | None:
    folder = own_groups(process, "cgroup2").get("")
    if folder is None:
        return None
    if folder.name == f"{_PREFIX}host":  # started by a host that has put itself there, see below: its groups lie beside it
        folder = folder.parent
    try:
        offered = set((folder / "cgroup.controllers").read_text(encoding="ascii").split()) & set(_V2)
        enabled = (folder / "cgroup.subtree_control").read_text(encoding="ascii").split()
        if missing := offered - set(enabled):
            if _members(folder) == [os.getpid()]:  # a group delegated to us alone: it must be empty to have groups with limits
                (folder / f"{_PREFIX}host").mkdir(exist_ok=True)
                (folder / f"{_PREFIX}host" / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
            text = " ".join(f"+{one}" for one in sorted(missing))
            (folder / "cgroup.subtree_control").write_text(text, encoding="ascii")
    except OSError:
        return None
    return Cgroups(2, dict.fromkeys(sorted(offered), folder)) if {"memory", "pids"} <= offered else None


def own_groups(process: Path, kind: str) -> dict[str, Path]:
    """Controller -> the folder of the group that a process has for it, where its hierarchy is mounted. ``process``: its folder in
    /proc. ``kind``: ``cgroup``, or ``cgroup2``, which has one hierarchy, under the empty name."""
    mounts, own = _mounts(process, kind), _own(process)
    return {name: _below(mounts[name], own[name]) for name in mounts if name in own}


def _mounts(process: Path, kind: str) -> dict[str, tuple[str, Path]]:
    """Controller (empty in version 2) -> the part of its hierarchy that is mounted, and where."""
    found: dict[str, tuple[str, Path]] = {}
    for line in (process / "mountinfo").read_text(encoding="utf-8").splitlines():
        left, _, right = line.partition(" - ")
        type_, _, options = right.split(" ", 2)
        if type_ == kind:
            root, mounted = left.split()[3:5]
            for controller in options.split(",") if kind == "cgroup" else [""]:
                found.setdefault(controller, (root, Path(mounted)))
    return found


def _own(process: Path) -> dict[str, str]:
    """Controller (empty in version 2) -> the path of this process's group in its hierarchy."""
    found = {}
    for line in (process / "cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _below(mount: tuple[str, Path], path: str) -> Path:
    root, mounted = mount
    return mounted / path.removeprefix(root).lstrip("/") if root != "/" else mounted / path.lstrip("/")
