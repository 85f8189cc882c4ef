"""JAX and Flax (nnx) as a back end, with its own passes.

For a pass of one's own: ``load`` gives a checkpoint's ``flax.nnx.Module``, ``fit`` trains it in place on a Context, ``predict``
gives its logits, ``save`` writes a checkpoint::

    class Pass:
        def compress(self, context):
            model = load(context.input)
            ...
            fit(model, context, share=0.5)
            save(model, context.output)
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from benchmark import BackendSpec, CompressorSpec, Param, hookimpl

if TYPE_CHECKING:
    from benchmark_jax._train import fit, load, predict, save

__all__ = ["fit", "load", "predict", "save"]

_REQUIRES = {
    "jax": "jax",
    "flax": "flax",
    "optax": "optax",
    "jax2onnx": "jax2onnx",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "numpy": "numpy",
    "benchmark_onnx": None,
}
_WIDTH = Param("width", 0.5, low=0.05, high=1.0)
_FINETUNE = Param("finetune", 0.5, low=0.0)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("benchmark_jax._train"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@hookimpl
def benchmark_backends() -> Iterable[BackendSpec]:
    yield BackendSpec(
        name="jax",
        target="benchmark_jax._train:Jax",
        summary="Small networks in JAX and Flax.",
        architectures={"image": ("cnn",), "sequence": ("cnn1d",), "tabular": ("mlp",)},
        exports=("onnx",),
        output="logits",
        params=(Param("updates", 2000, low=1), Param("batch", 32, low=1), Param("lr", 1e-2, low=0.0, scale="log")),
        requires=_REQUIRES,
        extra="jax",
    )


@hookimpl
def benchmark_compressors() -> Iterable[CompressorSpec]:
    yield CompressorSpec(
        name="longer",
        target="benchmark_jax._controls:Longer",
        summary="The same network, trained as long as a reference and its fine-tuning together.",
        stage="start",
        backend="jax",
        params=(_FINETUNE,),
        requires=_REQUIRES,
        extra="jax",
    )
    yield CompressorSpec(
        name="narrow",
        target="benchmark_jax._controls:Narrow",
        summary="A fresh network with fewer channels, trained as long as a reference and its fine-tuning together.",
        stage="start",
        backend="jax",
        params=(_WIDTH, _FINETUNE),
        requires=_REQUIRES,
        extra="jax",
    )
    yield CompressorSpec(
        name="distil",
        target="benchmark_jax._distil:Distil",
        summary="Taught by the reference: a fresh network with fewer channels, or behind other passes what they made.",
        stage="start",
        backend="jax",
        uses_reference=True,
        anywhere=True,
        params=(_WIDTH, Param("temperature", 4.0, low=1.0), Param("soft", 0.5, low=0.0, high=1.0), _FINETUNE),
        requires=_REQUIRES,
        extra="jax",
    )
    yield CompressorSpec(
        name="prune-structured",
        target="benchmark_jax._prune:PruneStructured",
        summary="The channels with the smallest weights removed, the same share in each hidden layer, then fine-tuned.",
        stage="model",
        backend="jax",
        params=(Param("sparsity", 0.5, low=0.0, high=0.95), _FINETUNE),
        requires=_REQUIRES,
        extra="jax",
    )
