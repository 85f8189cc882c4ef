"""What the networks have beside flax's layers: functions and blocks. A checkpoint is a pickled module that names them.

Between the layers channels are the last axis, (N, H, W, C), (N, T, C) or (N, C).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

Layer: TypeAlias = Callable[[jax.Array], jax.Array]


class Sum(nnx.Module):
    """``one(x) + other(x)``, which must be of one shape: a residual block, where one of them is a shortcut."""

    def __init__(self, one: Layer, other: Layer) -> None:
        self.one, self.other = one, other

    def __call__(self, x: jax.Array) -> jax.Array:
        """float32 (N, ..., C) -> float32 (N, ..., D)."""
        return self.one(x) + self.other(x)


class Concatenation(nnx.Module):
    """The channels of ``one(x)``, then those of ``other(x)``."""

    def __init__(self, one: Layer, other: Layer) -> None:
        self.one, self.other = one, other

    def __call__(self, x: jax.Array) -> jax.Array:
        """float32 (N, ..., C) -> float32 (N, ..., D + E)."""
        # Over the second axis, where ONNX has it: so no transpose is left in an export.
        return channels_last(jnp.concatenate([channels_first(self.one(x)), channels_first(self.other(x))], 1))


def rebuilt(model: Any, layer: Callable[[Any], Any]) -> Any:
    """The chains, sums and concatenations of ``model`` anew, with ``layer(one)`` for each other layer."""
    match model:
        case nnx.Sequential():
            return nnx.Sequential(*(rebuilt(one, layer) for one in model.layers))
        case Sum() | Concatenation():
            return type(model)(rebuilt(model.one, layer), rebuilt(model.other, layer))
    return layer(model)


class Rescaled(nnx.Module):
    """``factor * x + offset``."""

    def __init__(self, factor: float, offset: float) -> None:
        self.factor, self.offset = factor, offset

    def __call__(self, x: jax.Array) -> jax.Array:
        """float32, any shape."""
        return self.factor * x + self.offset


class Enlarged(nnx.Module):
    """Images of sides ``size``, by a bilinear filter."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(self, x: jax.Array) -> jax.Array:
        """float32 (N, H, W, C) -> float32 (N, *size, C). Two matrix products: jax2onnx resizes no unknown number of rows."""
        x = channels_first(x)  # as ONNX has it
        for axis, size in zip((2, 3), self.size, strict=True):
            unit = np.eye(x.shape[axis], dtype=np.float32)
            weights = jax.image.resize(jnp.asarray(unit), (x.shape[axis], size), "bilinear", antialias=False)
            x = jnp.swapaxes(jnp.swapaxes(x, axis, 3) @ weights, axis, 3)
        return channels_last(x)


def channels_last(x: jax.Array) -> jax.Array:
    """From a task's layout, (N, C, ...) or (N, D), to that between the layers."""
    return jnp.moveaxis(x, 1, -1) if x.ndim > 2 else x


def channels_first(x: jax.Array) -> jax.Array:
    """The other way."""
    return jnp.moveaxis(x, -1, 1) if x.ndim > 2 else x


def identity(x: jax.Array) -> jax.Array:
    """``x``."""
    return x


def relu(x: jax.Array) -> jax.Array:
    """max(x, 0). A function of our own because ``nnx.relu`` cannot be pickled."""
    return nnx.relu(x)


def relu6(x: jax.Array) -> jax.Array:
    """min(max(x, 0), 6)."""
    return jnp.clip(x, 0, 6)  # as jax.nn.relu6, which jax2onnx exports as two operators


def halve(x: jax.Array) -> jax.Array:
    """Max-pooling by 2 along every axis between batch and channels: the values of :func:`max_pool`.

    A maximum of two slices for each axis: XLA's gradient of a pooling window makes an update up to 3 times as slow on a CPU.
    """
    for axis in range(1, x.ndim - 1):
        end = x.shape[axis] // 2 * 2
        x = jnp.maximum(jax.lax.slice_in_dim(x, 0, end, 2, axis), jax.lax.slice_in_dim(x, 1, end, 2, axis))
    return x


def max_pool(x: jax.Array) -> jax.Array:
    """Max-pooling by 2 as one operator, which is what an export should hold."""
    window = (2,) * (x.ndim - 2)
    # jax2onnx reads the window from keywords only.
    pooled: jax.Array = nnx.max_pool(x, window_shape=window, strides=window)  # type: ignore[no-untyped-call]  # flax has gaps
    return pooled


def halve_upwards(x: jax.Array) -> jax.Array:
    """Max-pooling by 2 with a window of 3 around every second place, of values that are not negative: at the edges are zeros.
    The values of :func:`max_pool_3`, made as in :func:`halve`."""
    padded, sizes = _with_edges(x)
    for axis, size in enumerate(sizes, 1):
        parts = [jax.lax.slice_in_dim(padded, start, start + 2 * size - 1, 2, axis) for start in range(3)]
        padded = jnp.maximum(jnp.maximum(parts[0], parts[1]), parts[2])
    return padded


def max_pool_3(x: jax.Array) -> jax.Array:
    """Max-pooling by 2 with a window of 3 as one operator, which is what an export should hold."""
    padded, sizes = _with_edges(x)  # by itself: jax2onnx leaves out a pooling's own padding
    settings = {"window_shape": (3,) * len(sizes), "strides": (2,) * len(sizes)}
    pooled: jax.Array = nnx.max_pool(padded, **settings)  # type: ignore[no-untyped-call]  # as above
    return pooled


def _with_edges(x: jax.Array) -> tuple[jax.Array, list[int]]:
    """``x`` with the zeros that every window of 3 around a second place needs, and how many such places each axis has."""
    sizes = [-(-size // 2) for size in x.shape[1:-1]]
    edges = [(1, 2 * size - whole) for size, whole in zip(sizes, x.shape[1:-1], strict=True)]
    return jnp.pad(x, [(0, 0), *edges, (0, 0)]), sizes


def shifted_products(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    *,
    feature_group_count: int,
    lhs_dilation: Sequence[int] = (1,),
    rhs_dilation: Sequence[int] = (1,),
    **_: Any,
) -> jax.Array:
    """A depthwise convolution, in the place of ``jax.lax.conv_general_dilated``: x (N, ..., C), kernel (*window, 1, C). Raises
    ValueError for any other and for dilations, as a layer that was changed may ask for: it needs that function again.

    The sum over the window of shifted inputs times a weight for each channel: XLA's CPU compiler has naive code for grouped
    convolutions, with which an update takes up to 10 times as long.
    """
    if {*lhs_dilation, *rhs_dilation} != {1} or not feature_group_count == kernel.shape[-1] == x.shape[-1]:
        raise ValueError("shifted_products takes depthwise convolutions without dilation; others need lax.conv_general_dilated")
    window = kernel.shape[:-2]
    edges = jax.lax.padtype_to_pads(x.shape[1:-1], window, strides, padding) if isinstance(padding, str) else padding
    padded = jnp.pad(x, [(0, 0), *edges, (0, 0)])
    sizes = [(size - width) // stride + 1 for size, width, stride in zip(padded.shape[1:-1], window, strides, strict=True)]
    total = jnp.zeros((), x.dtype)
    for place in np.ndindex(*window):
        part = padded
        for axis, (start, size, stride) in enumerate(zip(place, sizes, strides, strict=True), 1):
            part = jax.lax.slice_in_dim(part, start, start + (size - 1) * stride + 1, stride, axis)
        total = total + part * kernel[place][0]
    return total


def mean(x: jax.Array) -> jax.Array:
    """The mean of each channel, (N, C). Over the last axes, where ONNX has them: so no transpose is left in an export."""
    return jnp.mean(channels_first(x), axis=tuple(range(2, x.ndim)))


def flatten(x: jax.Array) -> jax.Array:
    """All values of a row, channel after channel as in a task's layout, (N, D); likewise for the sake of an export."""
    return channels_first(x).reshape(x.shape[0], math.prod(x.shape[1:]))


CHANNELWISE = (channels_last, identity, relu, relu6, halve, max_pool, halve_upwards, max_pool_3, mean)
"""The functions that keep channels apart and in order."""

OPERATORS: dict[Any, Any] = {
    halve: max_pool,
    halve_upwards: max_pool_3,
    shifted_products: jax.lax.conv_general_dilated,
}
"""The one operator that each stands for, which it is quicker than in XLA."""
