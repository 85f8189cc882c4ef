"""ONNX Runtime on the CPU, set up for one small model at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import NDArray

from benchmark import Predictor


class OnnxRuntime:
    """Runs the one ``.onnx`` file of an artifact."""

    def load(self, folder: Path, threads: int) -> Predictor:
        """Loads the artifact as :func:`predictor` does."""
        (path,) = folder.glob("*.onnx")
        return predictor(path, threads)

    def identity(self, folder: Path, input_shape: tuple[int, ...]) -> None:
        """Writes the floor: a model of one ``Identity`` operator, whose ``predict`` returns its input, float32 (N, ...).

        No operator costs less on ONNX Runtime; taking (N, 2) out of the input by ``Slice`` costs more than copying it.
        """
        tensor = f"float[N,{','.join(map(str, input_shape))}]"
        # Old enough for any ONNX Runtime that this package allows, and the same file whatever release of onnx writes it.
        header = '<ir_version: 8, opset_import: ["": 17]>'
        model = onnx.parser.parse_model(f"{header} model ({tensor} input) => ({tensor} output) {{ output = Identity(input) }}")
        onnx.save(model, folder / "model.onnx")


def predictor(model: Path | bytes, threads: int) -> Predictor:
    """A loaded ``model``, the path of an ONNX file or its bytes, with all graph optimisations, to run on at most ``threads``
    threads, the caller's included.

    Waiting threads sleep instead of spinning, so that busy threads are working ones. The CPU arena is off: it grows in steps
    that would hide what a small model needs.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = threads
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3  # errors only
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return _Predictor(onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]))


class _Predictor:
    """A loaded model with one input and one output; their names are looked up once, since a small model takes microseconds."""

    def __init__(self, session: Any) -> None:
        self._run = session.run
        self._input = session.get_inputs()[0].name
        self._outputs = [session.get_outputs()[0].name]

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        output: NDArray[np.float32] = self._run(self._outputs, {self._input: x})[0]
        return output
