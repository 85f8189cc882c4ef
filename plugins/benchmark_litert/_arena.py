"""What tflite-micro needs to run a file."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from tflite_micro.python.tflite_micro import runtime  # type: ignore[import-untyped]  # it ships no types

_MOST = 64 * 1024**2  # bytes of arena: far more than any microcontroller has
_STEP = 16  # bytes; tflite-micro aligns to as many


def arena_bytes(model: bytes) -> tuple[int | None, str]:
    """The smallest tensor arena in bytes, a multiple of 16, in which tflite-micro runs the ``.tflite`` file ``model`` once, and
    an empty text; None and the reason where it does not run it at all.

    By bisection, since what its own counters call used leaves out room that it needs while it plans. Structures are those of a
    64-bit machine: a microcontroller's are smaller. The weights, which it reads where the file lies, are no part of it.
    """
    with _silenced() as said:
        try:
            _run(model, _MOST)
        except Exception as error:  # its Python part raises several kinds
            said.seek(0)
            lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
            return None, (lines or [str(error)])[0]
        low, high = 0, _MOST // _STEP  # in steps: too little, enough
        while high - low > 1:
            middle = (low + high) // 2
            try:
                _run(model, middle * _STEP)
                high = middle
            except RuntimeError:
                low = middle
    return high * _STEP, ""


def _run(model: bytes, size: int) -> None:
    interpreter: Any = runtime.Interpreter.from_bytes(model, arena_size=size)
    details = interpreter.get_input_details(0)
    interpreter.set_input(np.zeros(details["shape"], details["dtype"]), 0)
    interpreter.invoke()


@contextmanager
def _silenced() -> Iterator[IO[bytes]]:
    """A file that gets what is written to standard error meanwhile, also by code that is not Python."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield file
        finally:
            os.dup2(before, 2)
            os.close(before)
