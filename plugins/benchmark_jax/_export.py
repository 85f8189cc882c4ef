"""The ONNX export."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax2onnx  # type: ignore[import-untyped]  # it ships no types
import numpy as np
import onnx
from benchmark_onnx import fold
from flax import nnx

from benchmark_jax._blocks import EXPORTED, Concatenation, Sum
from benchmark_jax._models import view


def to_onnx(model: nnx.Module, input_shape: tuple[int, ...]) -> onnx.ModelProto:
    """``model`` in evaluation mode as one ONNX graph: ``input`` float32 (N, *input_shape) -> ``output`` float32 (N, K)."""
    jax.eval_shape(_import_equinox_converters)
    model = exported(view(model, training=False))
    return fold(jax2onnx.to_onnx(model, [("N", *input_shape)], input_names=["input"], output_names=["output"]))


def exported(model: Any) -> Any:
    """``model``, or of a chain of layers a copy with what stands in an export for what trains faster, and with normalisations
    merged into the fully connected layers before them, which ONNX Runtime does for convolutions alone."""
    match model:
        case Sum() | Concatenation():
            return type(model)(exported(model.one), exported(model.other))
        case nnx.Sequential():
            layers: list[Any] = []
            for part in map(exported, model.layers):
                for layer in part.layers if isinstance(part, nnx.Sequential) else [part]:
                    if isinstance(layer, nnx.BatchNorm) and layers and isinstance(layers[-1], nnx.Linear):
                        layers[-1] = _merged(layers[-1], layer)
                    else:
                        layers.append(layer)
            return nnx.Sequential(*layers)
    return EXPORTED.get(model, model) if callable(model) and not isinstance(model, nnx.Module) else model


def _merged(layer: nnx.Linear, behind: nnx.BatchNorm) -> nnx.Linear:
    """One layer that does what ``layer`` and the normalisation ``behind`` it do in evaluation mode."""
    values: tuple[Any, ...] = (behind.scale, behind.bias, behind.mean, behind.var, layer.kernel)
    scale, shift, mean, variance, kernel = (np.asarray(value[...], np.float64) for value in values)
    factor = scale / np.sqrt(variance + behind.epsilon)
    bias = 0.0 if layer.bias is None else np.asarray(layer.bias[...], np.float64)
    one = nnx.Linear(layer.in_features, layer.out_features, rngs=nnx.Rngs(0))
    one.kernel = nnx.Param(jnp.asarray(kernel * factor, jnp.float32))
    one.bias = nnx.Param(jnp.asarray((bias - mean) * factor + shift, jnp.float32))
    return one


def _import_equinox_converters() -> None:
    """Imports a part of what jax2onnx imports at its first conversion: its converters for Equinox.

    These build layers for jax2onnx's own tests, which takes 7 s of compiling. Under ``jax.eval_shape`` they are only traced, in
    a fraction of a second; nothing of ours uses them.
    """
    folder = Path(jax2onnx.__file__).parent / "plugins" / "equinox"
    for module in pkgutil.walk_packages([str(folder)], "jax2onnx.plugins.equinox."):
        importlib.import_module(module.name)
