"""Peak memory, seen from real processes (case M-08)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmark.measure import memory

MB = 1_000_000

CHILD = """
import sys
import numpy as np
from benchmark.measure import memory

class Lazy:
    def __array__(self, dtype=None, copy=None):
        bytearray(b"x") * 100_000_000
        return np.zeros((1, 2), np.float32)

class Small:
    calls = 0
    def predict(self, x):
        self.calls += 1
        if sys.argv[1] == "touching" and self.calls == 100:
            bytearray(b"x") * 100_000_000
        return Lazy() if sys.argv[1] == "lazy" else x[:, :2] * 2

print(memory.after_calls(Small(), [np.ones((1, 64), np.float32)] * 3))
"""

PARENT = """
import subprocess, sys
from benchmark.measure import memory
held = bytearray(b"x") * int(sys.argv[1])
child = subprocess.run([sys.executable, "-c", sys.argv[2], "plain"], stdout=subprocess.PIPE, text=True, check=True)
print(memory.peak_memory(), child.stdout)
"""


def run(code: str, *arguments: str) -> list[int]:
    """The numbers that ``code`` prints in a fresh interpreter."""
    child = subprocess.run([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return [int(number) for number in child.stdout.split()]


@pytest.fixture(scope="module")
def plain() -> int:
    """The peak of the small predictor, its process started from here."""
    return run(CHILD, "plain")[0]


def test_a_childs_peak_does_not_start_at_its_parents() -> None:
    small_parent, from_small = run(PARENT, "1", CHILD)
    big_parent, from_big = run(PARENT, str(700 * MB), CHILD)
    assert small_parent < 100 * MB
    assert big_parent > 700 * MB
    assert from_big == pytest.approx(from_small, rel=0.2)
    assert 10 * MB < from_big < 200 * MB  # bytes, not KiB


def test_what_one_call_touched_and_gave_back_counts(plain: int) -> None:
    (touching,) = run(CHILD, "touching")  # only in the last of the 100 calls
    assert 90 * MB < touching - plain < 120 * MB


def test_what_reading_the_output_touches_counts(plain: int) -> None:
    (lazy,) = run(CHILD, "lazy")  # an output that is still being computed, as in case M-01
    assert 90 * MB < lazy - plain < 120 * MB


class Seen:
    def __init__(self) -> None:
        self.rows: list[int] = []

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        self.rows.append(int(x[0, 0]))
        return x


def test_a_hundred_calls_take_the_rows_in_turn() -> None:
    rows = [np.full((1, 2), i, np.float32) for i in range(7)]
    predictor = Seen()
    memory.after_calls(predictor, rows)
    assert predictor.rows == [i % 7 for i in range(100)]
    few = Seen()
    memory.after_calls(few, rows, calls=3)
    assert few.rows == [0, 1, 2]


def test_the_value_is_the_kernels_high_water_mark_in_bytes() -> None:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    here = int(lines["VmHWM"].split()[0]) * 1024
    assert memory.peak_memory() == pytest.approx(here, abs=2 * MB)
    assert memory.after_calls(Seen(), [np.zeros((1, 2), np.float32)]) == pytest.approx(here, abs=2 * MB)
