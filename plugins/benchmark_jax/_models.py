"""The networks: chains of flax layers and plain functions, so that a pass can walk them and a pickled one needs no other code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

Layer: TypeAlias = Callable[[jax.Array], jax.Array]

_HIDDEN = {"cnn": (16, 32, 64), "cnn1d": (32, 48, 64), "mlp": (64, 32)}
_KERNEL = {"cnn": (3, 3), "cnn1d": (5,)}


class Chain(nnx.Module):
    """``layers`` one after another: flax layers and the functions ``relu``, ``halve``, ``max_pool`` and ``mean`` of this module.

    Takes float32 in a task's layout, (N, C, H, W), (N, C, T) or (N, D). Channels are the last axis between the layers.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = nnx.List(layers)

    def __call__(self, x: jax.Array) -> jax.Array:
        if x.ndim > 2:
            x = jnp.moveaxis(x, 1, -1)
        for layer in self.layers:
            x = layer(x)
        return x


def relu(x: jax.Array) -> jax.Array:
    """max(x, 0). A function of our own because ``nnx.relu`` cannot be pickled."""
    return nnx.relu(x)


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


def mean(x: jax.Array) -> jax.Array:
    """The mean of each channel, (N, C). Over the last axes, where ONNX has them: so no transpose is left in an export."""
    return jnp.mean(jnp.moveaxis(x, -1, 1), axis=tuple(range(2, x.ndim)))


def view(model: nnx.Module, training: bool) -> nnx.Module:
    """``model`` in training or evaluation mode: another module on the same arrays."""
    return nnx.view(model, deterministic=not training, use_running_average=not training, raise_if_not_found=False)


def channels(count: int, width: float) -> int:
    """How many of ``count`` channels are left at ``width`` (1 = all): at least one. Pruning rounds in the same way."""
    return max(1, round(count * width))


_POOLING: dict[str, list[Layer]] = {"cnn": [halve], "cnn1d": [halve, halve]}  # a window of a gesture is long: by 4


def build(architecture: str, input_shape: tuple[int, ...], classes: int, seed: int, width: float = 1.0) -> Chain:
    """An untrained network, float32 (N, *input_shape) -> logits (N, classes), its hidden channels multiplied by ``width``.

    ``cnn``: three convolutions 3x3, images (C, H, W). ``cnn1d``: three of width 5, sequences (C, T). ``mlp``: two hidden
    layers, rows (D,). Raises KeyError for other names.
    """
    rng = np.random.default_rng(seed)
    sizes = [input_shape[0], *(channels(count, width) for count in _HIDDEN[architecture])]
    layers: list[Layer] = []
    for inputs, outputs in pairwise(sizes):
        if architecture == "mlp":
            layers += [_linear(inputs, outputs, rng), relu]
        else:
            layers += [*_convolution(inputs, outputs, _KERNEL[architecture], rng), relu, *_POOLING[architecture]]
    if architecture != "mlp":
        layers[-len(_POOLING[architecture]) :] = [mean]
    return Chain([*layers, _linear(sizes[-1], classes, rng)])


def _linear(inputs: int, outputs: int, rng: np.random.Generator) -> nnx.Linear:
    draw = _uniform(inputs, rng)
    return nnx.Linear(inputs, outputs, kernel_init=draw, bias_init=draw, rngs=nnx.Rngs(0))


def _convolution(inputs: int, outputs: int, kernel: tuple[int, ...], rng: np.random.Generator) -> list[Layer]:
    """No bias: the mean that the normalisation subtracts would cancel it. flax's default momentum of 0.99 is too slow for
    trainings of a few hundred updates."""
    draw = _uniform(inputs * int(np.prod(kernel)), rng)
    return [
        nnx.Conv(inputs, outputs, kernel, use_bias=False, kernel_init=draw, rngs=nnx.Rngs(0)),
        nnx.BatchNorm(outputs, momentum=0.9, epsilon=1e-5, rngs=nnx.Rngs(0)),
    ]


def _uniform(inputs: int, rng: np.random.Generator) -> Callable[..., jax.Array]:
    """An initializer with PyTorch's default for weights and biases, U(-b, b) with b = 1 / sqrt(inputs of a unit).

    Drawn by numpy, since JAX compiles a program for every shape that it draws: 4 s for these networks.
    """
    bound = inputs**-0.5

    def draw(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        return jnp.asarray(rng.uniform(-bound, bound, shape), dtype)

    return draw
