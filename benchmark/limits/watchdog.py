"""Where the kernel offers no groups: the job's process tree is looked at ten times a second, and killed when it has too much."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmark.budget import BuildLimits
from benchmark.limits.guard import JOB, Guard, Limit, Usage
from benchmark.limits.observe import mapped_files

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE = 10.0  # seconds for killed processes to go
_TICKS = os.sysconf("SC_CLK_TCK")


class Watchdog:
    """The mechanism that needs nothing but /proc. What begins and ends between two looks is not seen."""

    name = "watchdog"
    limits_data = True
    how: Mapping[str, str] = {
        "cores": "affinity",
        "memory": "watchdog, every 0.1 s",
        "cpu_seconds": "watchdog, every 0.1 s",
        "processes": "watchdog, every 0.1 s",
    }

    def guard(self, job: str, limits: BuildLimits, cores: Sequence[int]) -> Guard:
        # Whatever loses its parent becomes a child of this process: no tree is left by starting a new session.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        return _Tree(f"{JOB}={job}".encode(), limits)


@dataclass
class _Tree:
    """``known``: pid -> when it started, since a number may be given again. ``ticks``: CPU time, also of the ended."""

    mark: bytes
    limits: BuildLimits
    launcher: Sequence[str] = ()
    known: dict[int, int] = field(default_factory=dict)
    ticks: dict[tuple[int, int], int] = field(default_factory=dict)
    memory: int = 0
    processes: int = 0
    too_much: Limit | None = None

    def watch(self, leader: int) -> None:
        living = self._look(leader)
        self.ticks |= {(pid, one.started): one.ticks for pid, one in living.items()}
        self.processes = max(self.processes, sum(one.threads for one in living.values()))
        self.memory = max(self.memory, sum(map(_memory, living)) + mapped_files(living))
        if self.memory > self.limits.memory:
            self.too_much = "memory"
        elif self.processes > self.limits.processes:
            self.too_much = "processes"

    def _look(self, leader: int) -> dict[int, _Process]:
        """The living processes of the job: those known before, their descendants, and orphans that carry its mark."""
        table = dict(_table())
        found = {pid for pid, started in self.known.items() if pid in table and table[pid].started == started}
        found |= {leader} & set(table)
        found |= {pid for pid, one in table.items() if one.parent == os.getpid() and pid not in found and self._carries(pid)}
        while more := {pid for pid, one in table.items() if one.parent in found} - found:
            found |= more
        self.known = {pid: table[pid].started for pid in found}
        return {pid: table[pid] for pid in found}

    def _carries(self, pid: int) -> bool:
        try:
            return self.mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False

    def members(self) -> Collection[int]:
        return self.known.keys()

    def usage(self) -> Usage:
        return Usage(self.memory, sum(self.ticks.values()) / _TICKS, self.processes)

    def hit(self) -> Limit | None:
        return self.too_much

    def kill(self, leader: int) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            living = {pid: one for pid, one in self._look(leader).items() if one.state != "Z" or pid != leader}
            if not living:
                return
            for pid, one in living.items():
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
                if pid != leader and one.parent == os.getpid():  # an orphan, which nobody else waits for
                    with suppress(ChildProcessError):
                        os.waitpid(pid, os.WNOHANG)
            time.sleep(0.002)

    def close(self) -> None:
        """Nothing was made."""


class _Process(NamedTuple):
    state: str
    parent: int
    ticks: int
    threads: int
    started: int


def _table() -> Iterator[tuple[int, _Process]]:
    """Every process that can be seen: proc_pid_stat(5)."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                ticks, threads, started = int(fields[11]) + int(fields[12]), int(fields[17]), int(fields[19])
            except (OSError, IndexError):  # it has just ended: there is no such file, or nothing in it
                continue
            yield int(folder.name), _Process(fields[0], int(fields[1]), ticks, threads, started)


def _memory(pid: int) -> int:
    """Bytes of a process that are no file's, swap included: its proportional share of what several processes have."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:", "SwapPss:"))) * 1024
