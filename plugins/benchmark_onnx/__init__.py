"""ONNX: its runtime, static int8 quantization of any back end's ONNX file, and two functions for back ends that write one.

Both take and return an ``onnx.ModelProto``: ``fold`` computes what is constant, ``strip`` (which ``fold`` ends with) drops
what no output depends on. A back end exports with ``onnx.save(fold(model), context.output / "model.onnx")``.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from benchmark import CompressorSpec, Param, RuntimeSpec, hookimpl

if TYPE_CHECKING:
    from benchmark_onnx._graph import fold, strip

__all__ = ["fold", "strip"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("benchmark_onnx._graph"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@hookimpl
def benchmark_runtimes() -> Iterable[RuntimeSpec]:
    yield RuntimeSpec(
        name="onnxruntime",
        target="benchmark_onnx._runtime:OnnxRuntime",
        summary="ONNX Runtime on the CPU.",
        formats=("onnx",),
        requires={"onnx": "onnx", "onnxruntime": "onnxruntime", "numpy": "numpy"},
    )


@hookimpl
def benchmark_compressors() -> Iterable[CompressorSpec]:
    yield CompressorSpec(
        name="int8-static",
        target="benchmark_onnx._int8:Int8Static",
        summary="Weights and activations as int8, ranges from training rows (ONNX Runtime's static quantization, QDQ).",
        stage="artifact",
        accepts=("onnx",),
        produces="onnx",
        params=(Param("calibration_rows", 256, low=1),),
        requires={"onnx": "onnx", "onnxruntime": "onnxruntime", "numpy": "numpy"},
    )
