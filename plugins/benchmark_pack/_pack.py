"""The pass that packs, and the runtime that decodes."""

from __future__ import annotations

from pathlib import Path

import onnx
from benchmark_onnx import OnnxRuntime, predictor, strip

from benchmark import Context, Predictor
from benchmark_pack._format import decode, encode

_NAME = "model.packed"


class Pack:
    """Writes the same model in fewer bytes, lossless. What it saves, pruning and clustering have made possible."""

    def compress(self, context: Context) -> None:
        """Reads ``model.onnx`` from ``context.input`` and writes ``model.packed`` into ``context.output``."""
        assert context.input is not None
        model = strip(onnx.load(context.input / "model.onnx"))
        file, packed = encode(model)
        (context.output / _NAME).write_bytes(file)
        context.report(matched=len(model.graph.initializer), changed=packed)


class Packed:
    """ONNX Runtime, for packed files and for ONNX files: so a packed model's time can be compared with its reference's."""

    def load(self, folder: Path, threads: int) -> Predictor:
        """Decodes the artifact, as a part of loading it, to run on at most ``threads`` threads. Raises ValueError for damaged
        files."""
        if (folder / _NAME).exists():
            return predictor(self.onnx(folder), threads)
        return OnnxRuntime().load(folder, threads)

    def onnx(self, folder: Path) -> bytes:
        """The ONNX model that a packed artifact is decoded to."""
        content: bytes = decode((folder / _NAME).read_bytes()).SerializeToString()
        return content

    def identity(self, folder: Path, input_shape: tuple[int, ...]) -> None:
        """Writes the floor of ONNX Runtime."""
        OnnxRuntime().identity(folder, input_shape)
