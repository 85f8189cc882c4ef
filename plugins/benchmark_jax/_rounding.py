"""Networks that round weights and activations as their int8 file will: what quantization-aware training trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import qwix  # type: ignore[import-untyped]  # it ships no types
from flax import nnx

from benchmark_jax._blocks import (
    Concatenation,
    Layer,
    Sum,
    channels_last,
    flatten,
    halve,
    halve_upwards,
    identity,
    rebuilt,
    relu,
    relu6,
)

_MOMENTUM = 0.01  # of the ranges: how much of each batch's goes into them
_STEPS = 255  # from the smallest to the largest uint8
LEVELS = 64
"""Weights are integers from -64 to 64."""
_SYMMETRIC = f"absmax,{127.5 / LEVELS}"  # as qwix says it, whose int8 go to 127.5

_CHOOSING = (halve, halve_upwards, flatten)  # what they return is among what they are given
_KEEPING = (channels_last, identity)
_ACTIVATIONS = (relu, relu6)


class UpdatesLeft(nnx.Variable[jax.Array]):
    """int32 (): the updates for which ranges and statistics still learn."""


class Prepared(nnx.Module):
    """A network that rounds. ``left`` updates from now, ranges and the statistics of normalisations stay as they are."""

    def __init__(self, model: nnx.Module, left: int) -> None:
        self.left = UpdatesLeft(jnp.asarray(left, jnp.int32))
        self.network = rounding(model, self.left)

    @property
    def matched(self) -> int:
        """How many layers have weights that are rounded."""
        return sum(isinstance(module, FakeQuantWeights) for _, module in nnx.iter_modules(self))

    def __call__(self, x: jax.Array) -> jax.Array:
        """As the network that it was made of."""
        outputs: jax.Array = self.network(x)
        return outputs


class FakeQuantWeights(nnx.Module):
    """``layer`` with its kernel rounded per output channel. Gradients pass the rounding as if it were not there."""

    def __init__(self, layer: nnx.Conv | nnx.Linear) -> None:
        self.layer = layer

    def rounded(self) -> nnx.Conv | nnx.Linear:
        """The layer with the kernel that it computes with."""
        kernel = self.layer.kernel[...]
        integers = qwix.quantize(kernel, jnp.int8, channelwise_axes=(kernel.ndim - 1,), calibration_method=_SYMMETRIC)
        layer = nnx.clone(self.layer)
        layer.kernel = nnx.Param(kernel + jax.lax.stop_gradient(qwix.dequantize(integers) - kernel))
        return layer

    def __call__(self, x: jax.Array) -> jax.Array:
        """As ``layer``."""
        return self.rounded()(x)


class FakeQuant(nnx.Module):
    """Rounds to uint8, from the smallest to the largest value that training batches had: their moving average. Gradients pass
    for what lies within."""

    def __init__(self, left: UpdatesLeft) -> None:
        self.left = left
        self.low, self.high = nnx.BatchStat(jnp.float32(jnp.nan)), nnx.BatchStat(jnp.float32(jnp.nan))
        self.use_running_average = True

    def set_view(self, use_running_average: bool | None = None) -> None:
        """Switches the mode, as a normalisation's: ``nnx.view`` calls it."""
        if use_running_average is not None:
            self.use_running_average = use_running_average

    def grid(self) -> tuple[jax.Array, jax.Array]:
        """The step, float32 (), and the integer that stands for zero, float32 (), which is always a value of the grid."""
        low, high = jnp.minimum(self.low[...], 0), jnp.maximum(self.high[...], 0)
        step = jnp.where(high > low, (high - low) / _STEPS, 1)
        return step, jnp.round(-low / step)

    def rounded(self, x: jax.Array) -> jax.Array:
        """float32 -> float32, on the grid."""
        step, zero = self.grid()
        within: jax.Array = jnp.clip(x, -zero * step, (_STEPS - zero) * step)
        return within + jax.lax.stop_gradient(jnp.round(within / step) * step - within)

    def __call__(self, x: jax.Array) -> jax.Array:
        """float32, any shape."""
        if not self.use_running_average:
            for end, value in ((self.low, x.min()), (self.high, x.max())):
                moved = jnp.where(jnp.isnan(end[...]), value, end[...] + _MOMENTUM * (value - end[...]))
                end[...] = jax.lax.stop_gradient(jnp.where(self.left[...] > 0, moved, end[...]))
        return self.rounded(x)


class FakeQuantAgain(nnx.Module):
    """Rounds what ``before`` rounded, which changes nothing: where integers are handed on."""

    def __init__(self, before: FakeQuant) -> None:
        self.before = before

    def __call__(self, x: jax.Array) -> jax.Array:
        """float32, any shape."""
        return self.before.rounded(x)


class FreezingNorm(nnx.Module):
    """A normalisation that, once nothing is ``left`` to learn, does in training what it does afterwards."""

    def __init__(self, norm: nnx.BatchNorm, left: UpdatesLeft) -> None:
        self.norm, self.left = norm, left

    def __call__(self, x: jax.Array) -> jax.Array:
        """As ``norm``."""
        norm: Any = self.norm
        outputs: jax.Array
        if norm.use_running_average:
            outputs = norm(x)
            return outputs
        learning, before = self.left[...] > 0, (norm.mean[...], norm.var[...])
        settled = nnx.view(self.norm, use_running_average=True)(x)
        moving = norm(x)
        for statistic, value in zip((norm.mean, norm.var), before, strict=True):
            statistic[...] = jnp.where(learning, statistic[...], value)
        outputs = jnp.where(learning, moving, settled)
        return outputs


def unrounded(model: Any, between: Callable[[FakeQuant], Layer]) -> Any:
    """A network of the rounded weights of ``model``, which :func:`rounding` made, that rounds nothing: where values are rounded
    to a range is what ``between`` gives for it."""

    def plain(layer: Any) -> Any:
        match layer:
            case FakeQuantWeights():
                return layer.rounded()
            case FreezingNorm():
                return layer.norm
            case FakeQuant():
                return between(layer)
            case FakeQuantAgain():
                return between(layer.before)
        return layer

    return rebuilt(model, plain)


def rounding(model: Any, left: UpdatesLeft, known: FakeQuant | None = None) -> nnx.Sequential:
    """A network of the layers of ``model``, a chain or one layer, that rounds the weights of convolutions and fully connected
    layers, and each value that these, sums, concatenations and poolings read or convolutions return, behind normalisation and
    activation: so that ONNX Runtime computes these on integers. ``known``: what rounded its input, None: nothing did. Float
    stays: what fully connected layers return where none of them reads it, means, and poolings that add edges
    (``halve_upwards``). Only chains, sums and concatenations are looked into."""
    layers: list[Any] = []
    due = False  # the value has to be rounded whatever reads it, behind normalisation and activation

    def rounded() -> FakeQuant:
        nonlocal known
        if known is None:
            known = FakeQuant(left)
            layers.append(known)
        return known

    for layer in _flat(model):
        match layer:
            case nnx.BatchNorm():
                layers.append(FreezingNorm(layer, left))
                if known is not None:  # it stands behind no layer that it could be merged into
                    known, due = None, True
            case _ if layer in _ACTIVATIONS:
                layers.append(layer)
                if known is not None:
                    known, due = None, True
            case _ if layer in _KEEPING or isinstance(layer, nnx.Dropout):  # which is not there in an export
                layers.append(layer)
            case nnx.Conv() | nnx.Linear():
                rounded()
                layers.append(FakeQuantWeights(layer))
                known, due = None, isinstance(layer, nnx.Conv)
            case Sum() | Concatenation():
                parts = [rounding(part, left, rounded()) for part in (layer.one, layer.other)]
                layers.append(type(layer)(*parts))
                known, due = None, True
            case _ if layer in _CHOOSING:
                layers += [layer, FakeQuantAgain(rounded())]
            case _:
                if due:
                    rounded()
                layers.append(layer)
                known, due = None, False
    if due:
        rounded()
    return nnx.Sequential(*layers)


def _flat(model: Any) -> list[Any]:
    """The layers of a chain, those of chains in it too."""
    return [part for layer in model.layers for part in _flat(layer)] if isinstance(model, nnx.Sequential) else [model]
