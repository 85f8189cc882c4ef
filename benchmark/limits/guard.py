"""One interface for the ways to hold a job to its limits, and the choice between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from benchmark.budget import BuildLimits
from benchmark.errors import UserError

Limit: TypeAlias = Literal["memory", "processes"]

JOB = "POCKETBENCH_JOB"


@dataclass(frozen=True)
class Usage:
    """What a job with all its processes has used so far: the peak of its memory in bytes, CPU seconds, and the most processes
    and threads at once. None where the mechanism does not know."""

    memory: int | None
    cpu_seconds: float | None
    processes: int | None


class Guard(Protocol):
    """One job under its limits."""

    @property
    def launcher(self) -> Sequence[str]:
        """What the job's command is started through."""

    def watch(self, leader: int) -> None:
        """Called about ten times a second with the pid of the job's first process."""

    def members(self) -> Collection[int]:
        """The job's processes, as far as they are known from the last look."""

    def usage(self) -> Usage:
        """What the job has used."""

    def hit(self) -> Limit | None:
        """The limit that a process was killed or refused for, if any."""

    def kill(self, leader: int) -> None:
        """Kills every process of the job; returns when they are gone, the first one as a zombie that its parent has to reap."""

    def close(self) -> None:
        """Takes away what the guard made. Every process is gone by then."""


class Mechanism(Protocol):
    """A way to enforce limits. ``how``: limit -> what enforces it, as it is recorded. ``limits_data``: a child is to bound its
    private memory itself too, as the mechanism looks only now and then."""

    @property
    def name(self) -> str: ...

    @property
    def how(self) -> Mapping[str, str]: ...

    @property
    def limits_data(self) -> bool: ...

    def guard(self, job: str, limits: BuildLimits, cores: Sequence[int]) -> Guard:
        """Makes the guard of a new job on these cores. ``job``: a name of its own, which the job's environment holds as
        :data:`JOB`."""


def mechanisms() -> dict[str, Mechanism]:
    """Those that this machine allows, by name, the strictest first. The last one works everywhere."""
    from benchmark.limits.cgroups import find
    from benchmark.limits.watchdog import Watchdog

    cgroups = find()
    found: list[Mechanism] = [cgroups] if cgroups else []
    return {one.name: one for one in [*found, Watchdog()]}


def choose(name: str | None = None) -> Mechanism:
    """The strictest mechanism here, or the one of this name; raises UserError where there is none."""
    here = mechanisms()
    if name is None:
        return next(iter(here.values()))
    if name not in here:
        raise UserError(f"limits cannot be enforced by {name} here, only by {', '.join(here)}")
    return here[name]
