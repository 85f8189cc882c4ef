"""What is written into and read from the hierarchies: on files that lie as the kernel's documentation says, for versions that a
machine may not have. What the kernel makes of it is in test_guard, for the version that is here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmark.budget import BuildLimits
from benchmark.limits import cgroups
from benchmark.limits.guard import Usage

LIMITS = BuildLimits(memory=300_000_000, processes=40)


def lay(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="ascii")


def version_2(root: Path, group: str, procs: str, *, enabled: str = "", controllers: str = "cpuset cpu io memory pids") -> Path:
    """A process's folder in /proc and the group that it is in, all of it below ``root``; returns the former."""
    files = {"cgroup.controllers": controllers, "cgroup.subtree_control": enabled, "cgroup.procs": procs}
    lay(root, {f"cg{group}/{name}": text for name, text in files.items()})
    lay(root, {"self/mountinfo": f"31 23 0:27 / {root}/cg rw,nosuid - cgroup2 cgroup2 rw\n", "self/cgroup": f"0::{group}\n"})
    return root / "self"


def test_alone_in_its_group_the_host_goes_below_and_hands_controllers_down(tmp_path: Path) -> None:
    process = version_2(tmp_path, "/mine", f"{os.getpid()}\n")
    lay(tmp_path, {"cg/mine/pocketbench-host/cgroup.procs": ""})  # the kernel makes it with the folder
    found = cgroups._version_2(process)
    assert found is not None
    assert found.name == "cgroup v2"
    assert set(found.parents) == {"cpuset", "memory", "pids"}
    assert set(found.parents.values()) == {tmp_path / "cg" / "mine"}
    assert (tmp_path / "cg/mine/pocketbench-host/cgroup.procs").read_text(encoding="ascii") == str(os.getpid())
    assert (tmp_path / "cg/mine/cgroup.subtree_control").read_text(encoding="ascii") == "+cpuset +memory +pids"
    assert found.how["cores"] == "cgroup v2 cpuset"
    assert found.how["memory"] == "cgroup v2 memory with swap, mapped files every 0.1 s"


def test_a_host_that_a_host_has_started_makes_its_groups_beside_it(tmp_path: Path) -> None:
    version_2(tmp_path, "/mine", "", enabled="cpuset memory pids")
    found = cgroups._version_2(version_2(tmp_path, "/mine/pocketbench-host", "1\n"))
    assert found is not None
    assert set(found.parents.values()) == {tmp_path / "cg" / "mine"}


def test_with_others_in_the_group_nothing_is_moved(tmp_path: Path) -> None:
    process = version_2(tmp_path, "/mine", f"1\n{os.getpid()}\n", enabled="memory pids", controllers="cpu memory pids")
    found = cgroups._version_2(process)
    assert found is not None
    assert found.how["cores"] == "affinity"
    assert not (tmp_path / "cg/mine/pocketbench-host").exists()


@pytest.mark.parametrize("controllers", ["cpu io memory", "cpuset pids", ""])
def test_without_memory_or_pids_there_is_no_version_2(tmp_path: Path, controllers: str) -> None:
    assert cgroups._version_2(version_2(tmp_path, "/mine", "1\n", enabled=controllers, controllers=controllers)) is None


def test_no_hierarchy_at_all(tmp_path: Path) -> None:
    lay(tmp_path, {"self/mountinfo": "22 1 8:1 / / rw - ext4 /dev/root rw\n", "self/cgroup": "0::/\n"})
    assert cgroups._version_1(tmp_path / "self") is None
    assert cgroups._version_2(tmp_path / "self") is None


def test_groups_of_version_1_lie_below_ones_own(tmp_path: Path) -> None:
    mounts = {"memory": "/", "cpu,cpuacct": "/", "pids": "/docker/a"}
    lines = [f"31 20 0:27 {root} {tmp_path}/{what} rw - cgroup cgroup rw,{what}" for what, root in mounts.items()]
    own = "3:memory:/x\n2:cpu,cpuacct:/y\n1:pids:/docker/a/z\n0::/\n"
    lay(tmp_path, {"self/mountinfo": "\n".join(lines), "self/cgroup": own})
    found = cgroups._version_1(tmp_path / "self")
    assert found is not None
    assert found.parents == {"memory": tmp_path / "memory/x", "cpuacct": tmp_path / "cpu,cpuacct/y", "pids": tmp_path / "pids/z"}
    assert found.how["cores"] == "affinity"


@pytest.fixture
def group(tmp_path: Path) -> cgroups._Group:
    """A group of version 2, its files as a kernel makes them."""
    files = {"memory.swap.max": "max", "cgroup.procs": "", "memory.events": EVENTS.format(0, 0), "pids.events": "max 0"}
    lay(tmp_path, {f"job/{name}": text for name, text in files.items()})
    return cgroups._Group(2, LIMITS.memory, dict.fromkeys(("cpuset", "memory", "pids"), tmp_path / "job"))


EVENTS = "low 0\nhigh 0\nmax 35\noom {}\noom_kill {}\noom_group_kill 0\n"


def test_limits_are_written_in_the_kernels_words(group: cgroups._Group) -> None:
    assert {name: value for _, name, value in group._settings(LIMITS, [1, 3])} == {
        "cpuset.cpus": "1,3",
        "pids.max": "40",
        "memory.max": "300000000",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
    }
    (group.folders["memory"] / "memory.swap.max").unlink()  # a kernel without swap accounting
    assert "memory.swap.max" not in {name for _, name, _ in group._settings(LIMITS, [1])}


def test_what_was_used_is_read_and_what_a_kernel_lacks_is_none(group: cgroups._Group) -> None:
    assert group.usage() == Usage(None, None, None)
    files = {"memory.peak": "123456\n", "cpu.stat": "usage_usec 2500000\nuser_usec 1\n", "pids.peak": "17\n"}
    lay(group.folders["memory"], files)
    assert group.usage() == Usage(None, 2.5, 17)  # the peak holds page cache, too
    lay(group.folders["memory"], {"memory.stat": "anon 200000\nfile 900000\nshmem 50000\n"})
    group.watch(1)
    assert group.usage() == Usage(250_000, 2.5, 17)


@pytest.mark.parametrize(
    ("files", "hit"),
    [
        ({}, None),
        ({"memory.events": EVENTS.format(1, 2)}, "memory"),
        ({"memory.events": EVENTS.format(0, 1)}, None),  # killed for a limit further up
        ({"pids.events": "max 1"}, "processes"),
    ],
)
def test_evidence(group: cgroups._Group, files: Mapping[str, str], hit: str | None) -> None:
    lay(group.folders["memory"], files)
    assert group.hit() == hit


def test_more_than_the_limit_is_evidence_too(group: cgroups._Group) -> None:
    lay(group.folders["memory"], {"memory.stat": "anon 300000001\n"})
    group.watch(1)
    assert group.hit() == "memory"


def test_processes_in_groups_of_the_jobs_own_are_members(group: cgroups._Group) -> None:
    lay(group.folders["memory"], {"cgroup.procs": "11\n12\n", "of/its/own/cgroup.procs": "13\n"})
    assert sorted(cgroups._members(group.folders["memory"])) == [11, 12, 13]
