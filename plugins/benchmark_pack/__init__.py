"""The format ``packed``: what pruning and clustering save, as bytes of the file that ships.

An artifact of this format is one file, ``model.packed``: an ONNX model whose weights are stored as the places of what is not zero
and a codebook, entropy-coded (Han et al., arXiv 1510.00149). Its runtime decodes it while loading and runs it on ONNX Runtime:
fewer bytes to download and to keep, as much memory and time as the model itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmark import CompressorSpec, RuntimeSpec, hookimpl

__all__: list[str] = []

_REQUIRES = {"benchmark_onnx": None, "onnx": "onnx", "onnxruntime": "onnxruntime", "numpy": "numpy"}


@hookimpl
def benchmark_compressors() -> Iterable[CompressorSpec]:
    yield CompressorSpec(
        name="pack",
        target="benchmark_pack._pack:Pack",
        summary="The same model in fewer bytes: places of what is not zero, a codebook, both entropy-coded; lossless.",
        stage="artifact",
        accepts=("onnx",),
        produces="packed",
        requires=_REQUIRES,
    )


@hookimpl
def benchmark_runtimes() -> Iterable[RuntimeSpec]:
    yield RuntimeSpec(
        name="packed",
        target="benchmark_pack._pack:Packed",
        summary="Decodes packed files while loading, and runs them on ONNX Runtime, as it does ONNX files.",
        formats=("packed", "onnx"),
        requires=_REQUIRES,
    )
