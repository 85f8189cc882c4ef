"""scikit-learn as a back end: the classical models that a small network has to beat.

For a pass of one's own: ``fit`` trains any scikit-learn classifier on a Context, ``predict`` gives its probabilities,
``save`` and ``load`` write and read a checkpoint. A back end that comes to its classifier in another way wraps it in a ``Model``,
and exports it by ``to_onnx``.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from benchmark import BackendSpec, CompressorSpec, Param, hookimpl

if TYPE_CHECKING:
    from benchmark_sklearn._train import Model, fit, load, predict, save, to_onnx

__all__ = ["Model", "fit", "load", "predict", "save", "to_onnx"]

_REQUIRES = {
    "sklearn": "scikit-learn",
    "skl2onnx": "skl2onnx",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "numpy": "numpy",
    "benchmark_onnx": None,
}
_ARCHITECTURES = ("logistic", "tree", "forest")


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("benchmark_sklearn._train"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@hookimpl
def benchmark_backends() -> Iterable[BackendSpec]:
    yield BackendSpec(
        name="sklearn",
        target="benchmark_sklearn._train:Sklearn",
        summary="Classical models: logistic regression, tree, forest, boosting.",
        architectures={
            "image": _ARCHITECTURES,
            "sequence": _ARCHITECTURES,
            "tabular": (*_ARCHITECTURES, "boosting"),
        },
        exports=("onnx",),
        output="probabilities",
        params=(Param("capacity", 0, low=0, high=4),),
        requires=_REQUIRES,
    )


@hookimpl
def benchmark_compressors() -> Iterable[CompressorSpec]:
    yield CompressorSpec(
        name="distil",
        target="benchmark_sklearn._distil:Distil",
        summary="A small tree that learns what the reference says of each row, whatever the reference is.",
        stage="start",
        backend="sklearn",
        uses_reference=True,
        params=(Param("leaves", 32, low=2, high=1024, scale="log"),),
        citations=(
            "M. W. Craven and J. W. Shavlik, Extracting tree-structured representations of trained networks, "
            "Advances in Neural Information Processing Systems 8, 1996",
        ),
        requires=_REQUIRES,
    )
