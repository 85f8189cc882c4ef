"""Structured pruning: whole channels go, so the network that is left is a plain smaller one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch_pruning  # type: ignore[import-untyped]  # it ships no types
from torch import nn
from torch_pruning import importance

from benchmark import Context, NotApplicable
from benchmark_torch._models import channels
from benchmark_torch._train import cross_entropy, fit, load, save

_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)


_IMPORTANCE: Mapping[str, Callable[[Any], torch.Tensor]] = {
    "l1": importance.MagnitudeImportance(p=1, group_reduction="first", normalizer=None),
    "group-norm": importance.GroupMagnitudeImportance(p=2, normalizer=None),
    "taylor": importance.GroupTaylorImportance(normalizer=None),
}
_ROWS = 256  # whose loss gives the gradients for taylor


class PruneStructured:
    """Removes the share ``sparsity`` of the channels of every hidden layer, the least important ones, and fine-tunes what is
    left for ``finetune`` of the reference's updates; in ``rounds``, each of which removes and fine-tunes its part.

    ``importance`` of a channel: ``l1``, the sum of absolute weights that make it (Li et al., arXiv 1608.08710); ``group-norm``,
    of the squares of all weights that make or read it, the mean over layers (Fang et al., arXiv 2301.12900); ``taylor``, of those
    weights times their gradients on 256 training rows (Molchanov et al., CVPR 2019). ``round_to``: the channels that are left
    are a multiple of it, upwards, where the layer has so many: kernels like fours and eights.
    """

    def compress(self, context: Context) -> None:
        """Prunes ``context.input``. Raises NotApplicable for a network without hidden layers."""
        assert context.input is not None
        model, params = load(context.input), context.params
        before = hidden_sizes(model)
        sizes: dict[nn.Module, int] = {layer: len(layer.weight) for layer in _weighted(model)}
        rounds, share = int(params["rounds"]), float(params["finetune"])
        told: list[dict[str, Any]] = []
        for done in range(1, rounds + 1):
            if params["importance"] == "taylor":
                _find_gradients(model, context)
            prune(
                model,
                float(params["sparsity"]) * done / rounds,
                context.task.input_shape,
                by=str(params["importance"]),
                round_to=int(params["round_to"]),
                sizes=sizes,
            )
            model.zero_grad()
            if share:
                fit(model, _part(context, told), share=share / rounds)
        if told:
            context.trained(updates=sum(one["updates"] for one in told), stopped_by=told[-1]["stopped_by"])
        save(model, context.output)
        after = hidden_sizes(model)
        context.report(matched=len(before), changed=sum(a < b for a, b in zip(after, before, strict=True)))


def _part(context: Context, told: list[dict[str, Any]]) -> Context:
    """The context of one of several trainings: its curve goes on where the last one's ended, and its end is noted in ``told``."""
    before = sum(one["updates"] for one in told)
    return dataclasses.replace(
        context,
        log=lambda step, **numbers: context.log(before + step, **numbers),
        trained=lambda **facts: told.append(facts),
    )


def _find_gradients(model: nn.Module, context: Context) -> None:
    """Leaves at each weight the gradient of the mean loss of some training rows."""
    rows = np.sort(np.random.default_rng(context.seed).permutation(len(context.train))[:_ROWS])
    x, y = torch.tensor(context.train.x[rows]), torch.tensor(context.train.y[rows])
    cross_entropy(context.task.class_weight)(model.eval()(x), y).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped


def prune(
    model: nn.Module,
    sparsity: float,
    input_shape: tuple[int, ...],
    *,
    by: str = "l1",
    round_to: int = 1,
    sizes: Mapping[nn.Module, int] | None = None,
) -> None:
    """Leaves, in place, max(1, round(n * (1 - sparsity))) of the n channels of each hidden layer, with their weights.

    Its outputs are those of the whole network with the removed channels' outputs set to zero. The output layer, the last one
    registered, keeps all its units. Which weights go together is torch-pruning's work (Fang et al., arXiv 2301.12900); where
    layers share channels, as around a residual sum, all lose the ones that it ranks last by one layer's weights. ``sizes``:
    n by layer, where it has been pruned already.
    """
    weighted = _weighted(model)
    if len(weighted) < 2:
        raise NotApplicable("the network has no hidden layer")
    graph = torch_pruning.DependencyGraph().build_dependency(model, torch.zeros(2, *input_shape))
    # All choices first: pruning one layer removes inputs of the next, which must not change what is strong there.
    chosen = []
    for group in graph.get_all_groups(ignored_layers=weighted[-1:], root_module_types=_WEIGHTED):
        norms, root = _IMPORTANCE[by](group), group[0].dep.target.module
        size = len(norms) if sizes is None else sizes[root]
        kept = -(-channels(size, 1 - sparsity) // round_to) * round_to
        chosen.append((group, _weakest(norms, kept)))
    for group, indices in chosen:
        if indices:
            group.prune(idxs=indices)


def hidden_sizes(model: nn.Module) -> list[int]:
    """Output channels of the layers that have weights, without the last one."""
    return [len(layer.weight) for layer in _weighted(model)[:-1]]


def _weighted(model: nn.Module) -> list[nn.Conv1d | nn.Conv2d | nn.Linear]:
    return [module for module in model.modules() if isinstance(module, _WEIGHTED)]


def _weakest(norms: torch.Tensor, kept: int) -> list[int]:
    """Indices of the channels to remove: all but ``kept``, those with the smallest norm; of equals, the last."""
    order = torch.sort(norms, descending=True, stable=True).indices
    return sorted(order[kept:].tolist())
