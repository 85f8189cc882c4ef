"""LiteRT (formerly TensorFlow Lite): its runtime, static int8 for any ``.tflite`` file, and what a microcontroller needs.

A back end exports ``model.tflite`` with one signature, whose one input is float32 (1, ...) in the task's layout and whose one
output is float32 (1, K). ``arena_bytes`` tells how much memory tflite-micro needs for such a file.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from benchmark import CompressorSpec, Param, RuntimeSpec, hookimpl

if TYPE_CHECKING:
    from benchmark_litert._arena import arena_bytes
    from benchmark_litert._runtime import LiteRt

__all__ = ["LiteRt", "arena_bytes"]

_HOME = {"LiteRt": "_runtime", "arena_bytes": "_arena"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"benchmark_litert.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@hookimpl
def benchmark_runtimes() -> Iterable[RuntimeSpec]:
    yield RuntimeSpec(
        name="litert",
        target="benchmark_litert._runtime:LiteRt",
        summary="LiteRT on the CPU, with XNNPACK.",
        formats=("tflite",),
        requires={
            "ai_edge_litert": "ai-edge-litert",
            "flatbuffers": "flatbuffers",
            "tflite_micro": "tflite-micro",
            "numpy": "numpy",
        },
        extra="litert",
    )


@hookimpl
def benchmark_compressors() -> Iterable[CompressorSpec]:
    yield CompressorSpec(
        name="int8-litert",
        target="benchmark_litert._int8:Int8Litert",
        summary="Weights and activations as int8, ranges from training rows (AI Edge Quantizer).",
        stage="artifact",
        accepts=("tflite",),
        produces="tflite",
        params=(Param("calibration_rows", 256, low=1),),
        citations=(
            "B. Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference, "
            "2018, arXiv:1712.05877",
        ),
        requires={"ai_edge_litert": "ai-edge-litert", "ai_edge_quantizer": "ai-edge-quantizer", "numpy": "numpy"},
        extra="litert",
    )
