"""Busy threads and nameless files of real processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark import limits
from benchmark.limits import observe

THREADS = """
import hashlib, sys, threading, time
block = bytes(10_000_000)
def work():
    while True: hashlib.sha256(block)
for _ in range(int(sys.argv[1])):
    threading.Thread(target=work, daemon=True).start()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_busy_threads_are_told_apart_on_one_core(threads: int) -> None:
    with (
        limits.pinned(limits.available_cores()[:1]),
        subprocess.Popen([sys.executable, "-c", THREADS, str(threads)], stdout=subprocess.PIPE) as process,
    ):
        try:
            assert process.stdout is not None
            process.stdout.readline()
            looks = []
            for _ in range(20):
                time.sleep(0.05)
                looks.append(observe.runnable_threads([process.pid]))
        finally:
            process.kill()
    assert statistics.median_low(looks) == threads


def test_a_process_that_is_gone_has_none() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    assert observe.runnable_threads([process.pid]) == 0


UNLINKED = """
import os, sys
kept = [open(os.path.join(sys.argv[1], str(i)), "wb") for i in range(3)]
for file in kept[1:]:
    file.write(bytes(1_000_000)); file.flush(); os.unlink(file.name)
again = os.dup(kept[1].fileno())
print("ready", flush=True)
input()
"""


def test_files_that_have_no_name_any_more_are_counted_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", UNLINKED, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert observe.unlinked_bytes([process.pid]) == 2_000_000
        process.communicate(b"\n")
    assert observe.unlinked_bytes([process.pid]) == 0
