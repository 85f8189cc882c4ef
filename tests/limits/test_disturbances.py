"""What disturbs a process: seen here, and read from a machine's files as they would lie there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark import limits
from benchmark.limits import disturbances

HOG = "while True: pass"


def test_waiting_for_a_core_that_another_process_has_is_seen() -> None:  # case M-14
    core = limits.available_cores()[:1]
    with limits.pinned(core), subprocess.Popen([sys.executable, "-c", HOG]) as hog:
        try:
            before = disturbances.counters()
            while time.monotonic() < before["seconds"] + 1:
                pass
            seen = disturbances.since(before, disturbances.counters())
        finally:
            hog.kill()
    assert seen["seconds"] >= 1
    assert seen["waiting_seconds"] > 0.1  # half of the time where nobody else is


CORES = "".join(f"cpu{i} 1 2 3 4 5 6 7 {100 * (i + 1)} 0 0\n" for i in range(256))
FILES = {
    "proc/self/schedstat": "123456 2500000000 99\n",
    "proc/stat": "cpu 1 2 3 4 5 6 7 800 0 0\n" + CORES + "intr 5\n",
    "proc/vmstat": "nr_free_pages 77\npswpin 4\npswpout 9\n",
    "proc/self/cgroup": "4:cpu,cpuacct:/a/b\n0::/\n",
    "cg/a/b/cpu.stat": "nr_periods 8\nnr_throttled 3\nthrottled_time 1\n",
    "cg/a/cpu.stat": "nr_periods 8\nnr_throttled 2\nthrottled_time 1\n",
}


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    mount = f"30 20 0:26 / {tmp_path}/cg rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n"
    (tmp_path / "proc/self/mountinfo").write_text(mount, encoding="ascii")
    for core in os.sched_getaffinity(0):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}/thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text("5\n", encoding="ascii")
    return tmp_path


def test_counters_of_this_processs_cores_and_groups(machine: Path) -> None:
    found = disturbances.counters(machine)
    cores = os.sched_getaffinity(0)
    assert found.pop("seconds") == pytest.approx(time.monotonic(), abs=60)
    assert found == {
        "waiting_seconds": 2.5,
        "steal_seconds": sum(core + 1 for core in cores) * 100 / os.sysconf("SC_CLK_TCK"),
        "swapped_pages": 13,
        "heat_throttled": 5 * len(cores),
        "quota_throttled": 5,
    }


@pytest.mark.parametrize(
    ("gone", "name"),
    [
        ("proc/self/schedstat", "waiting_seconds"),
        ("proc/vmstat", "swapped_pages"),
        ("proc/stat", "steal_seconds"),
    ],
)
def test_what_a_machine_lacks_is_left_out(machine: Path, gone: str, name: str) -> None:
    before = disturbances.counters(machine)
    (machine / gone).unlink()
    now = disturbances.counters(machine)
    assert before.keys() - now.keys() == {name}
    assert name not in disturbances.since(before, now)
    assert disturbances.since(before, now)["quota_throttled"] == 0


def test_without_a_cpu_group_no_quota_is_known(machine: Path) -> None:
    (machine / "proc/self/mountinfo").write_text("", encoding="ascii")
    assert "quota_throttled" not in disturbances.counters(machine)
