"""The networks by name, all ``nn.Sequential``. Those made here are of plain layers only, so that a pickled one needs nothing but
torch to be loaded; the published ones are made in ``_networks``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import pairwise

from torch import nn

from benchmark_torch import _networks
from benchmark_torch._efficientnet import efficientnet_lite0

_PUBLISHED: dict[str, Callable[[tuple[int, ...], int, _networks.Scaled], nn.Sequential]] = {
    "smallnet": functools.partial(_networks.perceptron, hidden=(64, 32)),
    "lenet-300-100": functools.partial(_networks.perceptron, hidden=(300, 100)),
    "lenet-5": _networks.lenet_5,
    "ds-cnn": _networks.ds_cnn,
    "resnet-8": _networks.resnet_8,
    "mobilenet-v2": _networks.mobilenet_v2,
    "squeezenet": _networks.squeezenet,
    "resmlp": _networks.resmlp,
    "efficientnet-lite0": efficientnet_lite0,
}
_HIDDEN = {"cnn": (16, 32, 64), "cnn1d": (32, 48, 64), "mlp": (64, 32)}


def channels(count: int, width: float) -> int:
    """How many of ``count`` channels are left at ``width`` (1 = all): at least one. Pruning rounds in the same way."""
    return max(1, round(count * width))


def build(architecture: str, input_shape: tuple[int, ...], classes: int, width: float = 1.0) -> nn.Sequential:
    """An untrained network, float32 (N, *input_shape) -> logits (N, classes), its hidden channels multiplied by ``width``.

    ``cnn``: three convolutions 3x3, images (C, H, W). ``cnn1d``: three of width 5, sequences (C, T). ``mlp``: two hidden
    layers, rows (D,). Convolutions have no bias: the mean that the batch normalisation after them subtracts would cancel it.
    Others: see ``_networks``. Weights come from torch's global generator, which the caller seeds. Raises KeyError for unknown
    names, and NotApplicable for rows that a network cannot take.
    """
    if architecture in _PUBLISHED:
        return _PUBLISHED[architecture](input_shape, classes, functools.partial(channels, width=width))
    sizes = [input_shape[0], *(channels(count, width) for count in _HIDDEN[architecture])]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        if architecture == "cnn":
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
        elif architecture == "cnn1d":
            layers += [nn.Conv1d(inputs, outputs, 5, padding=2, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(), nn.MaxPool1d(4)]
        else:
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    # The mean over all that two poolings leave, by a window of its size: an adaptive pooling is exported as several operators.
    if architecture == "cnn":
        layers[-1:] = [nn.AvgPool2d((input_shape[1] // 4, input_shape[2] // 4)), nn.Flatten()]
    elif architecture == "cnn1d":
        layers[-1:] = [nn.AvgPool1d(input_shape[1] // 16), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], classes))
