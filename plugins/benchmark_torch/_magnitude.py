"""Magnitude pruning: single weights become zero and stay zero. The network keeps its shape, and its file its size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import torch
from torch import nn

from benchmark import Context, NotApplicable
from benchmark_torch._models import channels
from benchmark_torch._train import Floats, fit, load, planned, save

_PRUNINGS = 50  # of a gradual schedule, at most: weights get some updates in between to make up for each


class PruneMagnitude:
    """Sets the share ``sparsity`` of the weights to zero, those of smallest magnitude (Han et al., arXiv 1506.02626), and
    fine-tunes the others for ``finetune`` of the reference's updates. Vectors (biases, normalisations) stay whole.

    ``scope``: ``global`` compares the weights of all layers with each other, ``layer`` takes the same share of each.
    ``schedule``: ``one-shot`` prunes before fine-tuning, ``cubic`` step by step in the first half of it; the curve has no score
    (NaN) until the last of these. Without fine-tuning both are one.
    """

    def compress(self, context: Context) -> None:
        """Prunes ``context.input``. Raises NotApplicable for a network of vectors alone."""
        assert context.input is not None
        model = load(context.input)
        if not matrices(model):
            raise NotApplicable("the network has no weight matrices")
        share = float(context.params["finetune"])
        gradual = share and context.params["schedule"] == "cubic"
        ramp = max(1, planned(context, share) // 2) if gradual else 0
        pruner = Pruner(float(context.params["sparsity"]), everywhere=context.params["scope"] == "global", ramp=ramp)
        if not ramp:
            pruner.prune(model)

        def score(outputs: Floats) -> float:
            # fit keeps the state with the best score, and one that is not pruned yet may well be better. An undefined score makes
            # fit go on to the next state without counting it, so that only states of the final sparsity are compared.
            return context.score(outputs) if pruner.final else math.nan

        if share:
            fit(model, dataclasses.replace(context, score=score), share=share, after_step=pruner)
        if not pruner.final:  # the deadline came first
            pruner.prune(model)
        save(model, context.output)
        zeros = {name: int((weight == 0).sum()) for name, weight in matrices(model).items()}
        total = sum(weight.numel() for weight in matrices(model).values())
        changed = sum(bool(mask.any()) for mask in pruner.masks.values())
        context.report(matched=len(zeros), changed=changed, sparsity=sum(zeros.values()) / total)


class Pruner:
    """Prunes a model, and called after each update keeps what is pruned at zero, which momentum and weight decay would move.

    ``ramp``: the number of updates over which the sparsity grows; 0 = :meth:`prune` does it at once. ``masks``: by name, bool
    in the weight's shape, True where it is zero. ``final``: whether the last pruning is done.
    """

    def __init__(self, sparsity: float, *, everywhere: bool, ramp: int) -> None:
        self.masks: dict[str, torch.Tensor] = {}
        self.final = False
        self._sparsity, self._everywhere, self._ramp, self._done = sparsity, everywhere, ramp, 0

    def prune(self, model: nn.Module) -> None:
        """Prunes ``model`` in place to the final sparsity."""
        self._prune(model, self._sparsity)
        self.final = True

    def __call__(self, model: nn.Module) -> None:
        self._done += 1
        self._keep(model)  # first: what the update made of pruned weights must not bring them back
        if self._done == self._ramp:
            self.prune(model)
        elif self._done < self._ramp and self._done % math.ceil(self._ramp / _PRUNINGS) == 0:
            self._prune(model, cubic(self._done / self._ramp, self._sparsity))

    def _prune(self, model: nn.Module, sparsity: float) -> None:
        weights = matrices(model)
        if self._everywhere:
            flat = [weight.abs().flatten() for weight in weights.values()]
            for magnitudes in flat:
                magnitudes[magnitudes.argmax()] = math.inf  # each layer keeps one: without any, nothing passes it
            joint = torch.split(smallest(torch.cat(flat), sparsity), [len(magnitudes) for magnitudes in flat])
            self.masks = {name: mask.view(weights[name].shape) for name, mask in zip(weights, joint, strict=True)}
        else:
            self.masks = {name: smallest(weight, sparsity) for name, weight in weights.items()}
        self._keep(model)

    def _keep(self, model: nn.Module) -> None:
        for name, mask in self.masks.items():
            model.get_parameter(name).data.masked_fill_(mask, 0)


def matrices(model: nn.Module) -> Mapping[str, torch.Tensor]:
    """The weights that may be pruned, by name: of all parameters those with two axes or more, without gradients."""
    return {name: weight.detach() for name, weight in model.named_parameters() if weight.ndim > 1}


def smallest(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    """True for the share ``sparsity`` of the values of ``weight``, the smallest magnitudes, of equals the first; bool, in its
    shape. At least one is False. What is zero already is among them as far as they go."""
    kept = channels(weight.numel(), 1 - sparsity)
    order = weight.abs().flatten().argsort(stable=True)
    mask = torch.zeros(weight.numel(), dtype=torch.bool)
    mask[order[: weight.numel() - kept]] = True
    return mask.view(weight.shape)


def cubic(progress: float, sparsity: float) -> float:
    """The sparsity after the share ``progress`` of the prunings, from none to ``sparsity``, fast at first, as long as there is
    much to choose from: Zhu and Gupta, arXiv 1710.01878, equation 1 with an initial sparsity of 0."""
    return sparsity * (1 - (1 - progress) ** 3)
