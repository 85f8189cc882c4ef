"""ONNX: its runtime, passes for any back end's ONNX file, and functions for back ends and runtimes.

``fold``, ``strip`` and ``integer_biases`` take and return an ``onnx.ModelProto``: ``fold`` computes what is constant, ``strip``
(which ``fold`` ends with) drops what no output depends on, ``integer_biases`` is for what was quantized in training. A back end
exports with ``onnx.save(fold(model), context.output / "model.onnx")``. A runtime for a format that becomes ONNX while loading
makes its ``Predictor`` by ``predictor(model, threads)``; ``OnnxRuntime`` is the runtime for files.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from benchmark import CompressorSpec, Param, RuntimeSpec, hookimpl

if TYPE_CHECKING:
    from benchmark_onnx._biases import integer_biases
    from benchmark_onnx._graph import fold, strip
    from benchmark_onnx._runtime import OnnxRuntime, predictor

__all__ = ["OnnxRuntime", "fold", "integer_biases", "predictor", "strip"]

_HOME = {
    "OnnxRuntime": "_runtime",
    "fold": "_graph",
    "integer_biases": "_biases",
    "predictor": "_runtime",
    "strip": "_graph",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"benchmark_onnx.{_HOME[name]}"), name)
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


_DEEP_COMPRESSION = (
    "S. Han, H. Mao and W. J. Dally, Deep compression: compressing deep neural networks with pruning, trained quantization and "
    "Huffman coding, 2016, arXiv:1510.00149"
)


@hookimpl
def benchmark_compressors() -> Iterable[CompressorSpec]:
    yield _pass(
        "int8-static",
        "benchmark_onnx._int8:Int8Static",
        "Weights and activations as int8, ranges from training rows (ONNX Runtime's static quantization, QDQ).",
        Param("calibration_rows", 256, low=1),
        Param("calibration", "minmax", choices=("minmax", "entropy", "percentile")),
        citations=(
            "B. Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference, "
            "2018, arXiv:1712.05877",
        ),
    )
    yield _pass(
        "int8-dynamic",
        "benchmark_onnx._int8:Int8Dynamic",
        "Weights of matrix products as int8, their inputs rounded at each call (ONNX Runtime's dynamic quantization).",
    )
    yield _pass("fp16", "benchmark_onnx._weights:Float16", "Weights stored as float16, computed with as float32.")
    yield _pass(
        "cluster",
        "benchmark_onnx._weights:Cluster",
        "The weights of each layer rounded to 2 ** bits values (k-means), of which `pack` can make a smaller file.",
        Param("bits", 4, low=1, high=8),
        citations=(_DEEP_COMPRESSION,),
    )


def _pass(name: str, target: str, summary: str, *params: Param, citations: tuple[str, ...] = ()) -> CompressorSpec:
    return CompressorSpec(
        name=name,
        target=target,
        summary=summary,
        stage="artifact",
        accepts=("onnx",),
        produces="onnx",
        params=params,
        citations=citations,
        requires={"onnx": "onnx", "onnxruntime": "onnxruntime", "numpy": "numpy", "sklearn": "scikit-learn"},
    )
