"""LiteRT on the CPU, set up for one small model at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import flatbuffers  # type: ignore[import-untyped]  # it ships no types
import numpy as np
from ai_edge_litert import schema_py_generated as schema  # type: ignore[import-untyped]  # it ships no types
from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]  # as above
from numpy.typing import NDArray

from benchmark import Predictor

Floats: TypeAlias = NDArray[np.float32]

FILE = "model.tflite"


class LiteRt:
    """Runs the ``model.tflite`` of an artifact."""

    def load(self, folder: Path, threads: int) -> Predictor:
        """Loads the artifact in ``folder``: one input and one output, each float32 or int8, for one row at a time. Raises
        ValueError for any other."""
        content = (folder / FILE).read_bytes()
        interpreter = opened(content, threads)
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValueError(f"{FILE} has {len(inputs)} inputs and {len(outputs)} outputs, not one of each")
        given, made = inputs[0], outputs[0]
        if given["shape"][:1].tolist() != [1]:
            raise ValueError(f"{FILE} takes inputs of shape {given['shape'].tolist()}, not one row at a time")
        match given["dtype"], made["dtype"]:
            case np.float32, np.float32:
                return _Predictor(interpreter, given["index"], made["index"], content)
            case np.int8, np.int8:
                return _Integers(interpreter, given, made, content)
        raise ValueError(f"{FILE} maps {given['dtype'].__name__} to {made['dtype'].__name__}, not float32 or int8 to the same")

    def identity(self, folder: Path, input_shape: tuple[int, ...]) -> None:
        """Writes the floor: a graph without an operator, whose ``predict`` returns its input, float32 (N, ...).

        No operator costs less than none: what is left is what every call pays.
        """
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = "input", [1, *input_shape], schema.TensorType.FLOAT32
        graph = schema.SubGraphT()
        graph.tensors, graph.inputs, graph.outputs, graph.operators = [tensor], [0], [0], []
        model = schema.ModelT()
        model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [], [graph], [schema.BufferT()]
        builder = flatbuffers.Builder(256)
        builder.Finish(model.Pack(builder), b"TFL3")
        (folder / FILE).write_bytes(builder.Output())


def opened(model: bytes, threads: int) -> Any:
    """An ``Interpreter`` of ``model``, the bytes of a file, that is ready to run on at most ``threads`` threads."""
    interpreter = Interpreter(model_content=model, num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter


class _Predictor:
    """A loaded model from float32 to float32. ``set_tensor`` and ``get_tensor`` copy, and take less time than views of the
    tensors, which have to be asked for anew at each call."""

    def __init__(self, interpreter: Any, given: int, made: int, content: bytes) -> None:
        self._set, self._invoke, self._get = interpreter.set_tensor, interpreter.invoke, interpreter.get_tensor
        self._given, self._made, self._content = given, made, content

    def device(self) -> dict[str, Any]:
        """The arena that tflite-micro needs, or why it does not run the file."""
        from benchmark_litert._arena import arena_bytes  # it starts an interpreter of its own, which no timing should know of

        size, reason = arena_bytes(self._content)
        return {"tflite-micro": reason} if size is None else {"arena_bytes": size}

    def predict(self, x: Floats) -> Floats:
        """float32 (N, ...) -> float32 (N, K), row by row: the file's memory is planned for one."""
        if len(x) == 1:
            return self._row(x)
        return np.concatenate([self._row(x[i : i + 1]) for i in range(len(x))])

    def _row(self, x: Floats) -> Floats:
        self._set(self._given, x)
        self._invoke()
        output: Floats = self._get(self._made)
        return output


class _Integers(_Predictor):
    """A loaded model from int8 to int8. What goes in is rounded, and what comes out made float32, here, within the time of a
    call: the callers of all models have floats and want floats."""

    def __init__(self, interpreter: Any, given: Any, made: Any, content: bytes) -> None:
        super().__init__(interpreter, given["index"], made["index"], content)
        (scale, zero), (self._scale, self._zero) = (map(np.float32, one["quantization"]) for one in (given, made))
        self._factor, self._shift = 1 / scale, zero

    def _row(self, x: Floats) -> Floats:
        steps = np.rint(x * self._factor) + self._shift
        output: Floats = super()._row(np.clip(steps, -128, 127).astype(np.int8))
        return (output - self._zero) * self._scale
