"""Published networks, by name, for images, sequences and tables. Each is an ``nn.Sequential`` whose last layer gives the logits.

Where a batch normalisation follows, convolutions have no bias: the mean that it subtracts would cancel it. Every hidden layer's
number of channels is scaled by itself, so that pruning the same share of each layer ends in the same shape.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import nn

from benchmark import NotApplicable
from benchmark_torch._blocks import Concatenation, Sum

Scaled: TypeAlias = Callable[[int], int]
"""How many of so many channels a network of this width has."""


def perceptron(input_shape: tuple[int, ...], classes: int, scaled: Scaled, hidden: tuple[int, ...]) -> nn.Sequential:
    """All values of a row in one vector, and fully connected layers of ``hidden`` units.

    ``smallnet`` has 64 and 32, on tables the same as ``mlp``: one name for a floor under every modality. ``lenet-300-100``: LeCun
    et al., "Gradient-based learning applied to document recognition", 1998.
    """
    sizes = [math.prod(input_shape), *map(scaled, hidden)]
    layers = [layer for inputs, outputs in pairwise(sizes) for layer in (nn.Linear(inputs, outputs), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(sizes[-1], classes))


def lenet_5(input_shape: tuple[int, ...], classes: int, scaled: Scaled) -> nn.Sequential:
    """The variant of LeNet-5 that came with Caffe, and that most papers on pruning prune (Han et al., arXiv 1506.02626): no
    activation but the poolings between its convolutions. Raises NotApplicable for images under 16 x 16."""
    if min(input_shape[1:]) < 16:
        raise NotApplicable(f"lenet-5 needs images of 16 x 16 or more, these are {input_shape[1]} x {input_shape[2]}")
    first, second, third = map(scaled, (20, 50, 500))
    height, width = (((size - 4) // 2 - 4) // 2 for size in input_shape[1:])
    return nn.Sequential(
        *(nn.Conv2d(input_shape[0], first, 5), nn.MaxPool2d(2)),
        *(nn.Conv2d(first, second, 5), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(second * height * width, third), nn.ReLU(), nn.Linear(third, classes)),
    )


def ds_cnn(input_shape: tuple[int, ...], classes: int, scaled: Scaled) -> nn.Sequential:
    """One convolution that halves the sides and four depthwise separable ones, all of 64 channels: the small network of Zhang et
    al., "Hello Edge" (arXiv 1711.07128), as MLPerf Tiny has it, with a square window for its first convolution too."""
    convolution = _convolution(input_shape)
    count = scaled(64)
    layers = convolution(input_shape[0], count, stride=2)
    for _ in range(4):
        layers += [*convolution(count, count, groups=count), *convolution(count, count, 1)]
    return _classified(layers, input_shape, count, classes)


def resnet_8(input_shape: tuple[int, ...], classes: int, scaled: Scaled) -> nn.Sequential:
    """Three residual blocks of 16, 32 and 64 channels (He et al., arXiv 1512.03385), as MLPerf Tiny has it: a shortcut
    that changes the shape is a convolution of width 1 without normalisation."""
    convolution = _convolution(input_shape)
    plain = nn.Conv1d if len(input_shape) == 2 else nn.Conv2d
    first, second, third = map(scaled, (16, 32, 64))
    layers = convolution(input_shape[0], first)
    for inputs, outputs, stride in ((first, first, 1), (first, second, 2), (second, third, 2)):
        body = nn.Sequential(*convolution(inputs, outputs, stride=stride), *convolution(outputs, outputs)[:-1])
        shortcut = nn.Identity() if stride == 1 else plain(inputs, outputs, 1, stride)
        layers += [Sum(body, shortcut), nn.ReLU()]
    return _classified(layers, input_shape, third, classes)


def mobilenet_v2(input_shape: tuple[int, ...], classes: int, scaled: Scaled) -> nn.Sequential:
    """Inverted residual blocks: Sandler et al., arXiv 1801.04381, table 2. For small images the second of its five halvings is
    left out, and so is the dropout before the last layer."""
    convolution = functools.partial(_convolution(input_shape), activation=nn.ReLU6)
    full, count = 32, scaled(32)  # of the channels between blocks: all of them, and those of this width
    layers = convolution(input_shape[0], count, stride=2)
    # Expansion, channels, blocks, stride of the first block.
    for expansion, channels, blocks, first in (
        *((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2)),
        *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
    ):
        for stride in (first, *[1] * (blocks - 1)):
            inside = scaled(full * expansion) if expansion > 1 else count
            body = convolution(count, inside, 1) if expansion > 1 else []
            body += [*convolution(inside, inside, stride=stride, groups=inside), *convolution(inside, scaled(channels), 1)[:-1]]
            same = stride == 1 and full == channels
            layers += [Sum(nn.Sequential(*body), nn.Identity())] if same else body
            full, count = channels, scaled(channels)
    layers += convolution(count, scaled(1280), 1)
    return _classified(layers, input_shape, scaled(1280), classes)


def squeezenet(input_shape: tuple[int, ...], classes: int, scaled: Scaled) -> nn.Sequential:
    """Fire modules: Iandola et al., arXiv 1602.07360, in its version 1.1, with normalisations, which become the biases that
    it has as published when it is exported: at the back end's learning rate it learns nothing without. For small images the first
    convolution keeps the size, as the edges of poolings do. The mean is taken before the last layer, which gives the same logits
    for less work, without the activation behind it, that could leave a class without a gradient, and without its dropout."""
    convolution = _convolution(input_shape)
    count = scaled(64)
    layers = convolution(input_shape[0], count)
    for index, (squeeze, expand) in enumerate(((16, 64), (16, 64), (32, 128), (32, 128), *[(48, 192)] * 2, *[(64, 256)] * 2)):
        if index in (0, 2, 4):
            layers.append(nn.MaxPool2d(3, 2, padding=1))
        narrow, wide = scaled(squeeze), scaled(expand)
        expansions = (nn.Sequential(*convolution(narrow, wide, window)[:-1]) for window in (1, 3))
        layers += [*convolution(count, narrow, 1), Concatenation(*expansions), nn.ReLU()]
        count = 2 * wide
    return _classified(layers, input_shape, count, classes)


def resmlp(input_shape: tuple[int, ...], classes: int, scaled: Scaled) -> nn.Sequential:
    """A perceptron of 64 units with two residual blocks, each 128 units inside: after the "ResNet" for tables of Gorishniy et
    al., arXiv 2106.11959, without its dropout and with normalisation behind layers, into which exports merge it."""
    count, inside = scaled(64), scaled(128)
    layers: list[nn.Module] = [nn.Linear(input_shape[0], count)]
    for _ in range(2):
        body = (nn.Linear(count, inside, bias=False), nn.BatchNorm1d(inside), nn.ReLU(), nn.Linear(inside, count))
        layers.append(Sum(nn.Sequential(*body), nn.Identity()))
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(count, classes))


def _convolution(input_shape: tuple[int, ...]) -> Callable[..., list[nn.Module]]:
    """The function that makes a convolution for rows of this shape, its normalisation and its activation. The window is 3x3 in
    images and 5 in sequences where no other is asked for, and keeps the size, or halves it upwards with a stride of 2."""
    sequence = len(input_shape) == 2

    def layers(
        inputs: int,
        outputs: int,
        window: int = 5 if sequence else 3,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.Module] = nn.ReLU,
    ) -> list[nn.Module]:
        convolution, normalisation = (nn.Conv1d, nn.BatchNorm1d) if sequence else (nn.Conv2d, nn.BatchNorm2d)
        layer = convolution(inputs, outputs, window, stride, window // 2, groups=groups, bias=False)
        return [layer, normalisation(outputs), activation()]

    return layers


def _classified(layers: list[nn.Module], input_shape: tuple[int, ...], count: int, classes: int) -> nn.Sequential:
    """``layers``, the mean of each of their ``count`` channels over all positions, and the output layer."""
    with torch.no_grad():
        # In evaluation mode: a normalisation would take this row into its statistics.
        window = nn.Sequential(*layers).eval()(torch.zeros(1, *input_shape)).shape[2:]
    # A window of that size: an adaptive pooling is exported as several operators.
    pool = nn.AvgPool1d(window) if len(window) == 1 else nn.AvgPool2d(window)
    return nn.Sequential(*layers, pool, nn.Flatten(), nn.Linear(count, classes)).train()
