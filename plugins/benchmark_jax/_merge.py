"""The network that ships: the same function as the one that is trained, in fewer and larger steps."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmark_jax._blocks import EXPORTED, Concatenation, Sum
from benchmark_jax._models import view


def exported(model: nnx.Module) -> nnx.Module:
    """``model`` in evaluation mode; of a chain of layers a copy with what stands in an export for what trains faster, and with
    normalisations merged into the convolutions and fully connected layers before them."""
    whole: nnx.Module = _merged(view(model, training=False))
    return whole


def _merged(model: Any) -> Any:
    match model:
        case Sum() | Concatenation():
            return type(model)(_merged(model.one), _merged(model.other))
        case nnx.Sequential():
            layers: list[Any] = []
            for part in map(_merged, model.layers):
                for layer in part.layers if isinstance(part, nnx.Sequential) else [part]:
                    if isinstance(layer, nnx.BatchNorm) and layers and isinstance(layers[-1], nnx.Conv | nnx.Linear):
                        layers[-1] = _one(layers[-1], layer)
                    else:
                        layers.append(layer)
            return nnx.Sequential(*layers)
    return EXPORTED.get(model, model) if callable(model) and not isinstance(model, nnx.Module) else model


def _one(layer: nnx.Conv | nnx.Linear, behind: nnx.BatchNorm) -> nnx.Conv | nnx.Linear:
    """One layer that does what ``layer`` and the normalisation ``behind`` it do in evaluation mode."""
    values: tuple[Any, ...] = (behind.scale, behind.bias, behind.mean, behind.var, layer.kernel)
    scale, shift, mean, variance, kernel = (np.asarray(value[...], np.float64) for value in values)
    factor = scale / np.sqrt(variance + behind.epsilon)
    bias = 0.0 if layer.bias is None else np.asarray(layer.bias[...], np.float64)
    one = nnx.clone(layer)
    one.use_bias = True
    one.kernel = nnx.Param(jnp.asarray(kernel * factor, jnp.float32))  # output channels are the last axis of both kinds
    one.bias = nnx.Param(jnp.asarray((bias - mean) * factor + shift, jnp.float32))
    return one
