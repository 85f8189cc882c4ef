"""This machine: its cores, and its class as far as results depend on it."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmark.errors import UserError


def available_cores() -> list[int]:
    """The cores this process may run on, sorted."""
    return sorted(os.sched_getaffinity(0))


def check_cores(asked: int) -> None:
    """Raises UserError where a build is to have more cores than there are."""
    here = len(available_cores())
    if asked > here:
        raise UserError(f"budget.build.cores is {asked}, but there are {here} here")


@contextmanager
def pinned(cores: list[int]) -> Iterator[None]:
    """A child started inside inherits this affinity: it is in force before its interpreter starts, and no code runs between
    fork and exec. Only the calling thread is moved."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class HostClass:
    """The machine as far as latency and int8 arithmetic depend on it. Rows of two classes never mix."""

    cpu_model: str
    cpu_flags: tuple[str, ...]
    cores: int
    memory_gib: int

    @property
    def id(self) -> str:
        """A short name of the class: the first 12 hex digits of a sha256."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]


@functools.cache
def host_class() -> HostClass:
    """The class of this machine."""
    fields: dict[str, str] = {}
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        for line in cpuinfo:
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return HostClass(
        cpu_model=fields.get("model name") or platform.machine(),
        cpu_flags=tuple(sorted(fields.get("flags", fields.get("Features", "")).split())),
        cores=os.cpu_count() or 1,
        memory_gib=round(memory / 1024**3),
    )
