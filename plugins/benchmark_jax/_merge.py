"""The network that ships: the same function as the one that is trained, in fewer layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from benchmark_jax._blocks import Concatenation, Sum
from benchmark_jax._models import view


def merged(model: nnx.Module, instead: Mapping[Any, Any] | None = None) -> nnx.Module:
    """``model`` in evaluation mode; of a chain of layers a copy with normalisations merged into the convolutions and fully
    connected layers before them, and functions replaced by what stands ``instead`` of them."""
    whole: nnx.Module = _merged(view(model, training=False), instead or {})
    return whole


def _merged(model: Any, instead: Mapping[Any, Any]) -> Any:
    match model:
        case Sum() | Concatenation():
            return type(model)(_merged(model.one, instead), _merged(model.other, instead))
        case nnx.Sequential():
            layers: list[Any] = []
            for part in (_merged(layer, instead) for layer in model.layers):
                for layer in part.layers if isinstance(part, nnx.Sequential) else [part]:
                    last = layers[-1] if layers else None
                    if isinstance(layer, nnx.BatchNorm) and layer.axis == -1 and isinstance(last, nnx.Conv | nnx.Linear):
                        layers[-1] = _fused(last, layer)
                    else:
                        layers.append(layer)
            return nnx.Sequential(*layers)
        case nnx.Conv():
            copy = nnx.clone(model)
            copy.conv_general_dilated = instead.get(model.conv_general_dilated, model.conv_general_dilated)
            return copy
        case nnx.Module():
            return model
    return instead.get(model, model)


def _fused(layer: nnx.Conv | nnx.Linear, behind: nnx.BatchNorm) -> nnx.Conv | nnx.Linear:
    """One layer that does what ``layer`` and the normalisation ``behind`` it do in evaluation mode."""
    scale, shift, bias = (_array(one, absent) for one, absent in ((behind.scale, 1.0), (behind.bias, 0.0), (layer.bias, 0.0)))
    mean, variance, kernel = (_array(one, 0.0) for one in (behind.mean, behind.var, layer.kernel))
    factor = scale / np.sqrt(variance + behind.epsilon)
    one = nnx.clone(layer)
    one.use_bias = True
    one.kernel = nnx.Param(jnp.asarray(kernel * factor, jnp.float32))  # output channels are the last axis of both kinds
    one.bias = nnx.Param(jnp.asarray((bias - mean) * factor + shift, jnp.float32))
    return one


def _array(value: Any, absent: float) -> NDArray[np.float64]:
    """A variable's value, ``absent`` where a layer has none."""
    return np.asarray(absent if value is None else value[...], np.float64)
