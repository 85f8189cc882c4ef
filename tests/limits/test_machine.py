"""Affinity and the class of the machine, seen from real processes."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys

import pytest

from benchmark import limits
from benchmark.limits import HostClass


def python(code: str, *arguments: str, env: dict[str, str] | None = None) -> str:
    """What ``code`` prints in a fresh interpreter."""
    run = subprocess.run([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, check=True, env=env)
    return run.stdout.strip()


# Cores

AFFINITY = "import os; print(*sorted(os.sched_getaffinity(0)))"


def test_available_cores_are_sorted() -> None:
    cores = limits.available_cores()
    assert cores == sorted(os.sched_getaffinity(0))
    assert cores


def test_a_child_started_inside_runs_on_the_core_and_the_parent_moves_back() -> None:
    before = os.sched_getaffinity(0)
    for core in limits.available_cores()[:2]:
        with limits.pinned([core]):
            assert python(AFFINITY) == str(core)
        assert os.sched_getaffinity(0) == before
    assert python(AFFINITY) == " ".join(map(str, sorted(before)))


def test_the_parent_moves_back_after_an_exception() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyError), limits.pinned([min(before)]):
        raise KeyError
    assert os.sched_getaffinity(0) == before


# The class of the machine


def test_the_host_class_is_the_same_in_every_process() -> None:
    here = limits.host_class()
    limits.host_class.cache_clear()
    assert limits.host_class() == here
    with limits.pinned(limits.available_cores()[:1]):  # a child's affinity is no part of the machine
        assert python("from benchmark.limits import host_class; print(host_class().id)") == here.id
    assert here.cpu_model
    assert here.cpu_flags == tuple(sorted(here.cpu_flags))
    assert here.cores >= len(limits.available_cores())


def test_the_id_of_a_host_class_follows_every_field() -> None:
    base = HostClass(cpu_model="A", cpu_flags=("avx2", "fma"), cores=4, memory_gib=16)
    others = {
        "cpu_model": "B",
        "cpu_flags": ("avx2",),
        "cores": 8,
        "memory_gib": 15,
    }
    assert others.keys() == {field.name for field in dataclasses.fields(HostClass)}
    ids = [base.id, *(HostClass(**{**dataclasses.asdict(base), name: value}).id for name, value in others.items())]
    assert len(set(ids)) == 5
    assert all(re.fullmatch("[0-9a-f]{12}", id_) for id_ in ids)
    assert HostClass("A", ("avx2", "fma"), 4, 16).id == base.id
