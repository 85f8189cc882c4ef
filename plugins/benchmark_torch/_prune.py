"""Structured pruning: whole channels go, so the network that is left is a plain smaller one."""

from __future__ import annotations

import torch
import torch_pruning  # type: ignore[import-untyped]  # it ships no types
from torch import nn

from benchmark import Context, NotApplicable
from benchmark_torch._models import channels
from benchmark_torch._train import fit, load, save

_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)


class PruneStructured:
    """Removes the share ``sparsity`` of the channels of every hidden layer, the ones with the smallest sum of absolute weights
    (Li et al., arXiv 1608.08710), and fine-tunes what is left for ``finetune`` of the reference's updates."""

    def compress(self, context: Context) -> None:
        """Prunes ``context.input``. Raises NotApplicable for a network without hidden layers."""
        assert context.input is not None
        model = load(context.input)
        before = hidden_sizes(model)
        prune(model, float(context.params["sparsity"]), context.task.input_shape)
        after = hidden_sizes(model)
        if context.params["finetune"]:
            fit(model, context, share=float(context.params["finetune"]))
        save(model, context.output)
        context.report(matched=len(before), changed=sum(a < b for a, b in zip(after, before, strict=True)))


def prune(model: nn.Module, sparsity: float, input_shape: tuple[int, ...]) -> None:
    """Leaves, in place, max(1, round(n * (1 - sparsity))) of the n channels of each hidden layer, with their weights.

    Its outputs are those of the whole network with the removed channels' outputs set to zero. The output layer, the last one
    registered, keeps all its units. Which weights go together is torch-pruning's work (Fang et al., arXiv 2301.12900); where
    layers share channels, as around a residual sum, all lose the ones that it ranks last by one layer's weights.
    """
    weighted = _weighted(model)
    if len(weighted) < 2:
        raise NotApplicable("the network has no hidden layer")
    graph = torch_pruning.DependencyGraph().build_dependency(model, torch.zeros(2, *input_shape))
    norm = torch_pruning.importance.MagnitudeImportance(p=1, group_reduction="first", normalizer=None)
    # All choices first: pruning one layer removes inputs of the next, which must not change what is strong there.
    groups = graph.get_all_groups(ignored_layers=weighted[-1:], root_module_types=_WEIGHTED)
    for group, indices in [(group, _weakest(norm(group), sparsity)) for group in groups]:
        if indices:
            group.prune(idxs=indices)


def hidden_sizes(model: nn.Module) -> list[int]:
    """Output channels of the layers that have weights, without the last one."""
    return [len(layer.weight) for layer in _weighted(model)[:-1]]


def _weighted(model: nn.Module) -> list[nn.Conv1d | nn.Conv2d | nn.Linear]:
    return [module for module in model.modules() if isinstance(module, _WEIGHTED)]


def _weakest(norms: torch.Tensor, sparsity: float) -> list[int]:
    """Indices of the channels to remove: those with the smallest norm; of equals, the last."""
    order = torch.sort(norms, descending=True, stable=True).indices
    return sorted(order[channels(len(norms), 1 - sparsity) :].tolist())
