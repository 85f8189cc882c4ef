"""Low rank: a layer becomes two thinner ones, whose product is the nearest matrix of that rank."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import nn

from benchmark import Context, NotApplicable
from benchmark_torch._models import channels
from benchmark_torch._train import fit, load, save

Layer: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Linear


class LowRank:
    """Replaces layers by two of lower rank (Denton et al., arXiv 1404.0736; for convolutions Zhang et al., arXiv 1505.06798), and
    fine-tunes them for ``finetune`` of the reference's updates.

    ``by`` = ``energy``: each layer keeps the smallest rank that holds the share ``keep`` of its squared singular values;
    ``rank``: that share of its full rank. Left as they are: layers that would not get smaller, and grouped convolutions. What
    magnitude pruning has set to zero does not stay zero: prune afterwards.
    """

    def compress(self, context: Context) -> None:
        """Factorises ``context.input``. Raises NotApplicable for a network without such layers."""
        assert context.input is not None
        model = load(context.input)
        layers = factorable(model)
        if not layers:
            raise NotApplicable("the network has no fully connected layer or plain convolution")
        keep, by_energy = float(context.params["keep"]), context.params["by"] == "energy"
        changed = 0
        for name, layer in layers.items():
            kept = rank(layer, keep, by_energy=by_energy)
            if smaller(layer, kept):
                model.set_submodule(name, factors(layer, kept))
                changed += 1
        if changed and context.params["finetune"]:
            fit(model, context, share=float(context.params["finetune"]))
        save(model, context.output)
        context.report(matched=len(layers), changed=changed)


def factorable(model: nn.Module) -> dict[str, Layer]:
    """The layers that can be factorised, by name."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv1d | nn.Conv2d) and layer.groups == 1)
    }


def rank(layer: Layer, keep: float, *, by_energy: bool) -> int:
    """The rank at which ``layer`` keeps the share ``keep`` of the sum of its squared singular values, or of its full rank."""
    values = torch.linalg.svdvals(_matrix(layer))
    if not by_energy:
        return channels(len(values), keep)
    energy = torch.cumsum(values**2, 0)
    return min(len(values), 1 + int((energy < keep * energy[-1]).sum()))


def smaller(layer: Layer, kept: int) -> bool:
    """Whether two factors of this rank have fewer weights than the layer: r (m + n) < m n."""
    rows, columns = _matrix(layer).shape
    return kept * (rows + columns) < rows * columns


def factors(layer: Layer, kept: int) -> nn.Sequential:
    """Two layers for one: of a convolution one of its window into ``kept`` channels and one of width 1 out of them. Their
    product is the best approximation of this rank (Eckart and Young, 1936); each takes the square root of the singular values."""
    left, values, right = torch.linalg.svd(_matrix(layer), full_matrices=False)
    root = values[:kept].sqrt()
    first, second = (root[:, None] * right[:kept]).float(), (left[:, :kept] * root).float()
    bias = layer.bias is not None
    one: nn.Module
    other: nn.Module
    if isinstance(layer, nn.Linear):
        one, other = nn.Linear(layer.in_features, kept, bias=False), nn.Linear(kept, layer.out_features, bias=bias)
    else:
        kind = type(layer)
        one = kind(
            layer.in_channels,
            kept,
            layer.kernel_size,  # type: ignore[arg-type]  # a tuple as long as the kind wants
            layer.stride,  # type: ignore[arg-type]  # as above
            layer.padding,  # type: ignore[arg-type]  # as above
            layer.dilation,  # type: ignore[arg-type]  # as above
            bias=False,
        )
        other = kind(kept, layer.out_channels, 1, bias=bias)
    with torch.no_grad():
        for part, weight in ((one, first), (other, second)):
            own = part.get_parameter("weight")
            own.copy_(weight.reshape(own.shape))
        if layer.bias is not None:
            other.get_parameter("bias").copy_(layer.bias)
    return nn.Sequential(one, other).train(layer.training)


def _matrix(layer: Layer) -> torch.Tensor:
    """The weight as float64 (outputs, inputs x window)."""
    return layer.weight.detach().double().flatten(1)
