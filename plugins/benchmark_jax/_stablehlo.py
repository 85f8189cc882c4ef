"""StableHLO files as ``jax.export`` writes them, https://docs.jax.dev/en/latest/export/export.html, and JAX as their runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import jax
import jax.export
import numpy as np
from numpy.typing import NDArray

from benchmark import Predictor

Floats: TypeAlias = NDArray[np.float32]

_FILE = "model.stablehlo"

# What a step or a first call costs must not depend on what was compiled before.
jax.config.update("jax_enable_compilation_cache", False)  # type: ignore[no-untyped-call]  # jax has gaps


def write_stablehlo(network: Callable[[jax.Array], jax.Array], input_shape: tuple[int, ...], folder: Path) -> None:
    """Writes ``network``, float32 (N, *input_shape) -> float32 (N, K), for any number of rows. Its weights are constants of the
    program."""
    (rows,) = jax.export.symbolic_shape("N")
    shape = jax.ShapeDtypeStruct((rows, *input_shape), np.float32)  # type: ignore[no-untyped-call]  # jax has gaps
    before: int = jax.config.jax_traceback_in_locations_limit  # type: ignore[attr-defined]  # jax makes them as it starts
    # Else paths and lines of the code that traces the program go into its file.
    jax.config.update("jax_traceback_in_locations_limit", 0)  # type: ignore[no-untyped-call]  # as above
    try:
        program = jax.export.export(jax.jit(network), platforms=["cpu"])(shape)
    finally:
        jax.config.update("jax_traceback_in_locations_limit", before)  # type: ignore[no-untyped-call]  # as above
    (folder / _FILE).write_bytes(program.serialize())


class JaxRuntime:
    """Runs a StableHLO file, which XLA compiles for the CPU at the first call with each number of rows. XLA takes the number of
    its threads from ``NPROC``, which the host sets to what the process may use, else from the cores that it is kept on."""

    def load(self, folder: Path, threads: int) -> Predictor:
        """Loads the artifact in ``folder``."""
        return _Predictor((folder / _FILE).read_bytes())

    def identity(self, folder: Path, input_shape: tuple[int, ...]) -> None:
        """Writes the floor: a program whose ``predict`` returns its input, float32 (N, ...)."""
        write_stablehlo(lambda x: x, input_shape, folder)


class _Predictor:
    def __init__(self, program: bytes) -> None:
        self._call = jax.jit(jax.export.deserialize(bytearray(program)).call)

    def predict(self, x: Floats) -> Floats:
        return np.asarray(self._call(x))  # waits for the outputs, and has them on the host
