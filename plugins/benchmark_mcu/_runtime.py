"""The runtime ``mcu``: an ONNX file as C on emulated microcontrollers."""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from benchmark_onnx import OnnxRuntime
from numpy.typing import NDArray

from benchmark import Predictor
from benchmark_mcu import _board
from benchmark_mcu._c import generate
from benchmark_mcu._source import write

_COUNTED = 20
"""Evenly spaced rows of the first call whose instructions are counted on both cores; the median is told. Networks need the same
for each but for the mantissas of their numbers, trees as many as their branches."""


class Microcontroller:
    """Turns the one ``.onnx`` file of an artifact into C, compiles it for Cortex-M4F and Cortex-M7, and runs it on QEMU."""

    def load(self, folder: Path, threads: int) -> Predictor:
        """The compiled program. Raises :class:`benchmark.NotApplicable` for a model that no C can be made of, or that does not
        fit the emulated boards."""
        (path,) = folder.glob("*.onnx")
        return _Predictor(path, OnnxRuntime().load(folder, threads))

    def write(self, folder: Path, form: str, x: NDArray[np.float32], output: Path) -> None:
        """Writes the C of an artifact into ``output``, with a check on the rows ``x``; ``form`` is ``"c"``, the only one."""
        (path,) = folder.glob("*.onnx")
        program = generate(onnx.load(path))
        with tempfile.TemporaryDirectory(prefix="mcu-") as built:
            board = _board.build(program, _board.M4, Path(built) / "board")
            ran = _board.run(board, x, Path(built))
        write(program, board, ran, x, output)


class _Predictor:
    """``predict`` runs rows on the M4; ``device`` tells the rest."""

    def __init__(self, path: Path, onnxruntime: Predictor) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mcu-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._onnxruntime = onnxruntime
        self._program = generate(onnx.load(path))
        self._m4, self._m7 = (_board.build(self._program, core, self._folder / core.machine) for core in (_board.M4, _board.M7))
        self._counted: NDArray[np.float32] | None = None
        self._m4_instructions: NDArray[np.int64] | None = None
        self._stack_bytes = 0
        self._agreeing: dict[bytes, bool] = {}  # row -> whether its label is ONNX Runtime's: some are run again

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs, float32 (N, K), of the Cortex-M4F for rows, float32 (N, ...), one at a time."""
        ran = _board.run(self._m4, x, self._folder)
        if self._counted is None:
            places = np.arange(min(_COUNTED, len(x))) * len(x) // min(_COUNTED, len(x))
            self._counted, self._m4_instructions = np.array(x[places]), ran.instructions[places]
        self._stack_bytes = max(self._stack_bytes, ran.stack_bytes)
        expected = np.concatenate([self._onnxruntime.predict(x[i : i + 1]) for i in range(len(x))])
        same = expected.argmax(1) == ran.outputs.argmax(1)
        self._agreeing |= {row.tobytes(): bool(one) for row, one in zip(x, same, strict=True)}
        return ran.outputs

    def device(self) -> dict[str, Any]:
        """What the program needs on the M4, instructions of one input (median) on both cores, and what made it."""
        assert self._counted is not None
        assert self._m4_instructions is not None
        m7 = _board.run(self._m7, self._counted, self._folder)
        return {
            "flash_bytes": self._m4.flash_bytes,
            "ram_bytes": self._m4.static_bytes + self._stack_bytes,
            "instructions_m4": int(np.median(self._m4_instructions)),
            "instructions_m7": int(np.median(m7.instructions)),
            "label_agreement": sum(self._agreeing.values()) / len(self._agreeing),
            **_board.versions(),
            "generator": f"emx-onnx-cgen {importlib.metadata.version('emx-onnx-cgen')}",
            "flags": " ".join(_board.flags(self._program)),
            "cores": "; ".join(" ".join(core.flags) for core in (_board.M4, _board.M7)),
        }
