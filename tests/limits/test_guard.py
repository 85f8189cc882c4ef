"""Every mechanism that this machine offers, forced one by one on real process trees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmark import limits
from benchmark.budget import BuildLimits
from benchmark.errors import UserError
from benchmark.limits.guard import JOB, Guard, mechanisms

MB = 1_000_000
MECHANISMS = sorted(mechanisms())
Start = Callable[..., tuple["subprocess.Popen[bytes]", Guard]]


@pytest.fixture(params=MECHANISMS)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """``start(code, BuildLimits(...))``: a Python process under these limits on the first core, and its guard."""
    running: list[tuple[subprocess.Popen[bytes], Guard]] = []

    def of(code: str, budget: BuildLimits) -> tuple[subprocess.Popen[bytes], Guard]:
        job = f"test{len(running)}"
        core = limits.available_cores()[:1]
        guard = limits.choose(request.param).guard(job, budget, core)
        with limits.pinned(core):
            process = subprocess.Popen(
                [*guard.launcher, sys.executable, "-c", code, str(tmp_path)], env={**os.environ, JOB: job}, start_new_session=True
            )
        running.append((process, guard))
        return process, guard

    yield of
    for process, guard in running:
        guard.kill(process.pid)
        process.wait()
        guard.close()


def watched(process: subprocess.Popen[bytes], guard: Guard) -> int | None:
    """Looks at a job as the runner does until it has ended, or is to be stopped; its exit code, None for that."""
    deadline = time.monotonic() + 60
    while process.poll() is None:
        assert time.monotonic() < deadline
        guard.watch(process.pid)
        if guard.hit():
            return None
        time.sleep(0.1)
    return process.returncode


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_memory_below_the_limit_lives_and_is_observed(start: Start) -> None:
    code = f"import time; x = bytearray({200 * MB}); time.sleep(0.5)"
    process, guard = start(code, BuildLimits(memory=300 * MB))
    assert watched(process, guard) == 0
    memory = guard.usage().memory
    assert memory is not None
    assert 200 * MB < memory <= 300 * MB
    assert guard.hit() is None


@pytest.mark.parametrize(
    "code",
    [
        f"x = bytearray({400 * MB}); import time; time.sleep(60)",
        f"import time\nx = []\nwhile True: x.append(bytearray({10 * MB})); time.sleep(0.01)",
        # No process of the two has too much; the tree has.
        f"import os, time\nos.fork()\nx = bytearray({200 * MB})\ntime.sleep(60)",
    ],
    ids=["sudden", "slow", "two processes"],
)
def test_memory_beyond_the_limit_is_evidence(start: Start, code: str) -> None:
    process, guard = start(code, BuildLimits(memory=300 * MB))
    assert watched(process, guard) in (None, -signal.SIGKILL)
    assert guard.hit() == "memory"


def test_what_a_grandchild_was_killed_for_is_known(start: Start) -> None:
    grandchild = f"x = bytearray({400 * MB}); import time; time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    process, guard = start(code, BuildLimits(memory=300 * MB))
    watched(process, guard)
    assert guard.hit() == "memory"


LIBRARIES = {
    "numpy": ("import numpy", "x = numpy.ones({bytes}, numpy.uint8)"),
    "torch": ("import torch", "x = torch.ones({bytes}, dtype=torch.uint8)"),
    "jax": ("import jax; jax.jit(lambda x: x + 1)(1.0)", "x = jax.numpy.ones({bytes}, 'uint8').block_until_ready()"),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_memory_that_a_library_takes_beyond_what_it_needs_idle(start: Start, library: str) -> None:
    load, take = LIBRARIES[library]
    pytest.importorskip(library)

    def run(code: str, limit: int) -> tuple[int | None, Guard]:
        process, guard = start(f"{code}\nimport time\ntime.sleep(0.3)", BuildLimits(memory=limit))
        return watched(process, guard), guard

    # Twice: files that nobody had read before are charged to the first.
    idle = min(run(load, 4000 * MB)[1].usage().memory or 0 for _ in range(2))
    assert 5 * MB < idle < 1000 * MB
    ended, guard = run(f"{load}\n{take.format(bytes=200 * MB)}", idle + 300 * MB)
    assert (ended, guard.hit()) == (0, None)
    ended, guard = run(f"{load}\n{take.format(bytes=400 * MB)}", idle + 300 * MB)
    assert ended in (None, -signal.SIGKILL)
    assert guard.hit() == "memory"


DEAF = """
import os, signal, subprocess, sys, time
from pathlib import Path
deaf = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(99)"
child = subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True, stdout=subprocess.PIPE)
number = child.stdout.readline().decode()
(Path(sys.argv[1]) / "part").write_text(number)
(Path(sys.argv[1]) / "part").rename(Path(sys.argv[1]) / "grandchild")
if {leaves}:
    os._exit(0)
time.sleep(3600)
"""


@pytest.mark.parametrize("leaves", [False, True])
def test_a_grandchild_in_a_session_of_its_own_is_killed(start: Start, tmp_path: Path, leaves: bool) -> None:  # case H-06
    process, guard = start(DEAF.format(leaves=leaves), BuildLimits())
    while not (tmp_path / "grandchild").exists() or (leaves and process.poll() is None):
        assert process.poll() in (None, 0)
        time.sleep(0.01)
    grandchild = int((tmp_path / "grandchild").read_text(encoding="ascii"))
    assert alive(grandchild)
    guard.kill(process.pid)
    deadline = time.monotonic() + 5  # it leaves its group some microseconds before it is a zombie
    while alive(grandchild):
        assert time.monotonic() < deadline


BOMB = """
import os, time
for _ in range(200):
    try:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    except BlockingIOError:
        pass
time.sleep(60)
"""


def test_too_many_processes(start: Start, tmp_path: Path) -> None:
    process, guard = start(BOMB, BuildLimits(processes=40))
    assert watched(process, guard) is None
    assert guard.hit() == "processes"
    guard.kill(process.pid)
    assert not [one for one in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _read(one)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_cpu_time_of_the_whole_tree_is_counted(start: Start) -> None:
    spin = "import time\nwhile time.process_time() < 0.6: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spin!r}])\n{spin}\nimport time; time.sleep(0.3)"
    process, guard = start(code, BuildLimits())
    assert watched(process, guard) == 0
    seconds = guard.usage().cpu_seconds
    assert seconds is not None
    assert 0.9 < seconds < 3  # the watchdog does not see the last tenth of a second of each process


@pytest.mark.skipif(
    "cpuset" not in limits.choose().how["cores"], reason="affinity can be widened; the host sees and refuses that"
)
def test_a_cpuset_cannot_be_left(start: Start) -> None:
    code = "import os, sys; os.sched_setaffinity(0, range(os.cpu_count())); sys.exit(len(os.sched_getaffinity(0)))"
    process, guard = start(code, BuildLimits())
    expected = (os.cpu_count() or 1) if guard.launcher == () else 1
    assert process.wait() == expected


def test_nothing_is_left_in_the_hierarchies(start: Start) -> None:
    process, guard = start("pass", BuildLimits())
    process.wait()
    guard.kill(process.pid)
    guard.close()
    mine = f"pocketbench-{os.getpid()}-test0"
    assert not list(Path("/sys/fs/cgroup").rglob(mine))


def test_the_strictest_comes_first_and_the_last_is_always_there() -> None:
    here = list(mechanisms())
    assert here[-1] == "watchdog"
    assert limits.choose().name == here[0]
    assert limits.choose("watchdog").name == "watchdog"
    with pytest.raises(UserError, match=r"^limits cannot be enforced by prayer here, only by .*watchdog$"):
        limits.choose("prayer")
