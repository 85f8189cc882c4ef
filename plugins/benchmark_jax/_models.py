"""The networks by name, all ``nnx.Sequential`` whose last layer gives the logits: the same layers and parameters as those of
the same names in PyTorch, where not told otherwise.

Where a batch normalisation follows, convolutions have no bias: the mean that it subtracts would cancel it. Every hidden layer's
number of channels is scaled by itself, so that pruning the same share of each layer ends in the same shape.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmark import NotApplicable
from benchmark_jax._blocks import (
    Concatenation,
    Enlarged,
    Layer,
    Rescaled,
    Sum,
    channels_last,
    flatten,
    halve,
    halve_upwards,
    identity,
    mean,
    relu,
    relu6,
    shifted_products,
)

Scaled: TypeAlias = Callable[[int], int]
"""How many of so many channels a network of this width has."""

_HIDDEN = {"cnn": (16, 32, 64), "cnn1d": (32, 48, 64), "mlp": (64, 32)}
_POOLING: dict[str, list[Layer]] = {"cnn": [halve], "cnn1d": [halve, halve]}  # a window of a gesture is long: by 4

# EfficientNet-Lite0.
_SIDE, _STEP = 64, 32  # pixels: the least side, and what sides are multiples of, as five halvings ask
# Window, expansion, channels, blocks, stride of the first block.
_STAGES = (
    *((3, 1, 16, 1, 1), (3, 6, 24, 2, 2), (5, 6, 40, 2, 2), (3, 6, 80, 3, 2)),
    *((5, 6, 112, 3, 1), (5, 6, 192, 4, 2), (3, 6, 320, 1, 1)),
)
_EPS = 1e-3  # of TensorFlow's normalisation, with which the weights were trained


def channels(count: int, width: float) -> int:
    """How many of ``count`` channels are left at ``width`` (1 = all): at least one. Pruning rounds in the same way."""
    return max(1, round(count * width))


def build(architecture: str, input_shape: tuple[int, ...], classes: int, seed: int, width: float = 1.0) -> nnx.Sequential:
    """An untrained network, float32 (N, *input_shape) -> logits (N, classes), its hidden channels multiplied by ``width``.

    ``cnn``: three convolutions 3x3, images (C, H, W). ``cnn1d``: three of width 5, sequences (C, T). ``mlp``: two hidden
    layers, rows (D,). Others: see their functions. Raises KeyError for unknown names, and NotApplicable for rows that a network
    cannot take.
    """
    make = _Layers(input_shape, np.random.default_rng(seed))
    scaled = functools.partial(channels, width=width)
    if architecture in _PUBLISHED:
        return _PUBLISHED[architecture](make, input_shape, classes, scaled)
    sizes = [input_shape[0], *map(scaled, _HIDDEN[architecture])]
    layers: list[Layer] = [channels_last]
    for inputs, outputs in pairwise(sizes):
        if architecture == "mlp":
            layers += [make.linear(inputs, outputs), relu]
        else:
            layers += [*make.convolution(inputs, outputs), *_POOLING[architecture]]
    if architecture != "mlp":
        layers[-len(_POOLING[architecture]) :] = [mean]
    return nnx.Sequential(*layers, make.linear(sizes[-1], classes))


class _Layers:
    """Makes layers with PyTorch's default for weights and biases, U(-b, b) with b = 1 / sqrt(inputs of a unit).

    Drawn by numpy, since JAX compiles a program for every shape that it draws: 4 s for three layers.
    """

    def __init__(self, input_shape: tuple[int, ...], rng: np.random.Generator) -> None:
        self._axes, self._rng = len(input_shape) - 1, rng

    def linear(self, inputs: int, outputs: int, *, bias: bool = True) -> nnx.Linear:
        """A fully connected layer."""
        draw = self._uniform(inputs)
        return nnx.Linear(inputs, outputs, use_bias=bias, kernel_init=draw, bias_init=draw, rngs=nnx.Rngs(0))

    def plain(
        self, inputs: int, outputs: int, window: int, *, stride: int = 1, groups: int = 1, bias: bool = True, same: bool = False
    ) -> nnx.Conv:
        """A convolution, padded by half its window on each side, ``same``: as TensorFlow does."""
        draw = self._uniform(window**self._axes * inputs // groups)
        edges: Any = "SAME" if same else ((window // 2, window // 2),) * self._axes
        settings: dict[str, Any] = {"strides": stride, "padding": edges, "feature_group_count": groups, "use_bias": bias}
        if groups == inputs == outputs > 1:
            settings["conv_general_dilated"] = shifted_products
        return nnx.Conv(inputs, outputs, (window,) * self._axes, **settings, kernel_init=draw, bias_init=draw, rngs=nnx.Rngs(0))

    def convolution(
        self,
        inputs: int,
        outputs: int,
        window: int = 0,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: Layer = relu,
        eps: float = 1e-5,
        same: bool = False,
    ) -> list[Layer]:
        """A convolution, its normalisation and its activation. The window is 3x3 in images and 5 in sequences where no other is
        asked for, and keeps the size, or halves it upwards with a stride of 2."""
        window = window or {1: 5, 2: 3}[self._axes]
        layer = self.plain(inputs, outputs, window, stride=stride, groups=groups, bias=False, same=same)
        return [layer, self.normalisation(outputs, eps), activation]

    def normalisation(self, count: int, eps: float = 1e-5) -> nnx.BatchNorm:
        """flax's default momentum of 0.99 is too slow for trainings of a few hundred updates."""
        return nnx.BatchNorm(count, momentum=0.9, epsilon=eps, rngs=nnx.Rngs(0))

    def _uniform(self, inputs: int) -> Callable[..., jax.Array]:
        bound = inputs**-0.5

        def draw(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
            return jnp.asarray(self._rng.uniform(-bound, bound, shape), dtype)

        return draw


def _perceptron(
    make: _Layers, input_shape: tuple[int, ...], classes: int, scaled: Scaled, *, hidden: tuple[int, ...]
) -> nnx.Sequential:
    """All values of a row in one vector, and fully connected layers of ``hidden`` units.

    ``smallnet`` has 64 and 32, on tables the same as ``mlp``: one name for a floor under every modality. ``lenet-300-100``: LeCun
    et al., "Gradient-based learning applied to document recognition", 1998.
    """
    sizes = [math.prod(input_shape), *map(scaled, hidden)]
    layers = [layer for inputs, outputs in pairwise(sizes) for layer in (make.linear(inputs, outputs), relu)]
    return nnx.Sequential(channels_last, flatten, *layers, make.linear(sizes[-1], classes))


def _lenet_5(make: _Layers, input_shape: tuple[int, ...], classes: int, scaled: Scaled) -> nnx.Sequential:
    """The variant of LeNet-5 that came with Caffe, and that most papers on pruning prune (Han et al., arXiv 1506.02626): no
    activation but the poolings between its convolutions. Raises NotApplicable for images under 16 x 16."""
    if min(input_shape[1:]) < 16:
        raise NotApplicable(f"lenet-5 needs images of 16 x 16 or more, these are {input_shape[1]} x {input_shape[2]}")
    first, second, third = map(scaled, (20, 50, 500))
    height, width = (((size - 4) // 2 - 4) // 2 for size in input_shape[1:])
    convolutions = [make.plain(*sizes, 5) for sizes in ((input_shape[0], first), (first, second))]
    for layer in convolutions:
        layer.padding = "VALID"
    return nnx.Sequential(
        *(channels_last, convolutions[0], halve, convolutions[1], halve, flatten),
        *(make.linear(second * height * width, third), relu, make.linear(third, classes)),
    )


def _ds_cnn(make: _Layers, input_shape: tuple[int, ...], classes: int, scaled: Scaled) -> nnx.Sequential:
    """One convolution that halves the sides and four depthwise separable ones, all of 64 channels: the small network of Zhang et
    al., "Hello Edge" (arXiv 1711.07128), as MLPerf Tiny has it, with a square window for its first convolution too."""
    count = scaled(64)
    layers = make.convolution(input_shape[0], count, stride=2)
    for _ in range(4):
        layers += [*make.convolution(count, count, groups=count), *make.convolution(count, count, 1)]
    return _classified(make, layers, count, classes)


def _resnet_8(make: _Layers, input_shape: tuple[int, ...], classes: int, scaled: Scaled) -> nnx.Sequential:
    """Three residual blocks of 16, 32 and 64 channels (He et al., arXiv 1512.03385), as MLPerf Tiny has it: a shortcut
    that changes the shape is a convolution of width 1 without normalisation."""
    first, second, third = map(scaled, (16, 32, 64))
    layers = make.convolution(input_shape[0], first)
    for inputs, outputs, stride in ((first, first, 1), (first, second, 2), (second, third, 2)):
        body = [*make.convolution(inputs, outputs, stride=stride), *make.convolution(outputs, outputs)[:-1]]
        shortcut = identity if stride == 1 else make.plain(inputs, outputs, 1, stride=stride)
        layers += [Sum(nnx.Sequential(*body), shortcut), relu]
    return _classified(make, layers, third, classes)


def _mobilenet_v2(make: _Layers, input_shape: tuple[int, ...], classes: int, scaled: Scaled) -> nnx.Sequential:
    """Inverted residual blocks: Sandler et al., arXiv 1801.04381, table 2. For small images the second of its five halvings is
    left out, and so is the dropout before the last layer."""
    convolution = functools.partial(make.convolution, activation=relu6)
    stages = ((3, *stage) for stage in _MOBILENET)
    layers, count = _inverted(convolution, convolution(input_shape[0], scaled(32), stride=2), stages, scaled)
    return _classified(make, [*layers, *convolution(count, scaled(1280), 1)], scaled(1280), classes)


# Expansion, channels, blocks, stride of the first block.
_MOBILENET = (
    *((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


def _inverted(
    convolution: Callable[..., list[Layer]], layers: list[Layer], stages: Any, scaled: Scaled
) -> tuple[list[Layer], int]:
    """``layers``, of which the last has 32 channels, and inverted residual blocks; and how many channels come out."""
    full, count = 32, scaled(32)  # of the channels between blocks: all of them, and those of this width
    for window, expansion, wide, blocks, first in stages:
        for stride in (first, *[1] * (blocks - 1)):
            inside = scaled(full * expansion) if expansion > 1 else count
            body = convolution(count, inside, 1) if expansion > 1 else []
            body += [
                *convolution(inside, inside, window, stride=stride, groups=inside),
                *convolution(inside, scaled(wide), 1)[:-1],
            ]
            layers = [*layers, *([Sum(nnx.Sequential(*body), identity)] if stride == 1 and full == wide else body)]
            full, count = wide, scaled(wide)
    return layers, count


def _squeezenet(make: _Layers, input_shape: tuple[int, ...], classes: int, scaled: Scaled) -> nnx.Sequential:
    """Fire modules: Iandola et al., arXiv 1602.07360, in its version 1.1, with normalisations, which become the biases that
    it has as published when it is exported: at the back end's learning rate it learns nothing without. For small images the first
    convolution keeps the size, as the edges of poolings do. The mean is taken before the last layer, which gives the same logits
    for less work, without the activation behind it, that could leave a class without a gradient, and without its dropout."""
    count = scaled(64)
    layers = make.convolution(input_shape[0], count)
    for index, (squeeze, expand) in enumerate(((16, 64), (16, 64), (32, 128), (32, 128), *[(48, 192)] * 2, *[(64, 256)] * 2)):
        if index in (0, 2, 4):
            layers.append(halve_upwards)
        narrow, wide = scaled(squeeze), scaled(expand)
        layers += make.convolution(count, narrow, 1)
        expansions = (nnx.Sequential(*make.convolution(narrow, wide, window)[:-1]) for window in (1, 3))
        layers += [Concatenation(*expansions), relu]
        count = 2 * wide
    return _classified(make, layers, count, classes)


def _resmlp(make: _Layers, input_shape: tuple[int, ...], classes: int, scaled: Scaled) -> nnx.Sequential:
    """A perceptron of 64 units with two residual blocks, each 128 units inside: after the "ResNet" for tables of Gorishniy et
    al., arXiv 2106.11959, without its dropout and with normalisation behind layers, into which exports merge it."""
    count, inside = scaled(64), scaled(128)
    layers: list[Layer] = [make.linear(input_shape[0], count)]
    for _ in range(2):
        body = (make.linear(count, inside, bias=False), make.normalisation(inside), relu, make.linear(inside, count))
        layers.append(Sum(nnx.Sequential(*body), identity))
    return nnx.Sequential(channels_last, *layers, relu, make.linear(count, classes))


def _efficientnet_lite0(make: _Layers, input_shape: tuple[int, ...], classes: int, scaled: Scaled) -> nnx.Sequential:
    """Tan and Le, arXiv 1905.11946, in the form without squeeze-and-excitation and with ReLU6 ("EfficientNet-Lite"), for
    images of values from 0 to 1, whose sides are enlarged by a bilinear filter to the next multiple of 32, at least 64. All
    but the last layer begin with published weights (``_pretrained``); in another width it has none of them. Raises NotApplicable
    for other than 1 or 3 channels."""
    channels, *sides = input_shape
    if channels not in (1, 3):
        raise NotApplicable(f"efficientnet-lite0 needs images of 1 or 3 channels, these have {channels}")
    height, width = (max(_SIDE, -(-side // _STEP) * _STEP) for side in sides)
    convolution = functools.partial(make.convolution, activation=relu6, eps=_EPS, same=True)
    layers: list[Layer] = [Rescaled(2.0, -1.0)]
    layers += [Enlarged((height, width))] if [height, width] != sides else []
    layers, count = _inverted(convolution, [*layers, *convolution(channels, scaled(32), stride=2)], _STAGES, scaled)
    network = _classified(make, [*layers, *convolution(count, scaled(1280), 1)], scaled(1280), classes)
    if scaled(1280) == 1280:
        from benchmark_jax._pretrained import adopt  # only where this network is asked for

        adopt(network)
    return network


def _classified(make: _Layers, layers: list[Layer], count: int, classes: int) -> nnx.Sequential:
    """``layers``, the mean of each of their ``count`` channels over all positions, and the output layer."""
    return nnx.Sequential(channels_last, *layers, mean, make.linear(count, classes))


_PUBLISHED: dict[str, Callable[[_Layers, tuple[int, ...], int, Scaled], nnx.Sequential]] = {
    "smallnet": functools.partial(_perceptron, hidden=(64, 32)),
    "lenet-300-100": functools.partial(_perceptron, hidden=(300, 100)),
    "lenet-5": _lenet_5,
    "ds-cnn": _ds_cnn,
    "resnet-8": _resnet_8,
    "mobilenet-v2": _mobilenet_v2,
    "squeezenet": _squeezenet,
    "resmlp": _resmlp,
    "efficientnet-lite0": _efficientnet_lite0,
}


class Held(nnx.Variable[jax.Array]):
    """A parameter that training leaves as it is."""


def hold(layer: nnx.Module) -> None:
    """Makes each parameter of ``layer`` a :class:`Held` one."""
    _retype(layer, nnx.Param, Held)


def release(model: nnx.Module) -> None:
    """Makes each :class:`Held` parameter of ``model`` one that learns."""
    _retype(model, Held, nnx.Param)


def _retype(model: nnx.Module, old: type[nnx.Variable[jax.Array]], new: type[nnx.Variable[jax.Array]]) -> None:
    for _, module in nnx.iter_modules(model):
        for name, value in vars(module).items():
            if type(value) is old:
                setattr(module, name, new(value[...]))


def view(model: nnx.Module, training: bool) -> nnx.Module:
    """``model`` in training or evaluation mode: another module on the same arrays. Normalisations that are held are always in
    evaluation mode: their statistics are part of what they do."""

    def learns(path: Any, module: Any) -> bool:
        return not any(isinstance(value, Held) for value in vars(module).values())

    viewed = nnx.view(model, deterministic=True, use_running_average=True, raise_if_not_found=False)
    if training:
        viewed = nnx.view(viewed, only=learns, deterministic=False, use_running_average=False, raise_if_not_found=False)
    return viewed
