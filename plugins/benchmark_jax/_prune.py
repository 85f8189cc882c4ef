"""Structured pruning: whole channels go, so the network that is left is a plain smaller one."""

from __future__ import annotations

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from benchmark import Context, NotApplicable
from benchmark_jax._models import Chain, channels, halve, max_pool, mean, relu
from benchmark_jax._train import fit, load, save

Kept: TypeAlias = NDArray[np.intp] | slice

_CHANNELWISE = (relu, halve, max_pool, mean)  # each keeps channels apart and in order


class PruneStructured:
    """Removes the share ``sparsity`` of the channels of every hidden layer, the ones with the smallest sum of absolute weights
    (Li et al., arXiv 1608.08710), and fine-tunes what is left for ``finetune`` of the reference's updates."""

    def compress(self, context: Context) -> None:
        """Prunes ``context.input``. Raises NotApplicable for a network that is no plain chain of layers."""
        assert context.input is not None
        model = load(context.input)
        pruned = prune(model, float(context.params["sparsity"]))
        before, after = hidden_sizes(model), hidden_sizes(pruned)
        if context.params["finetune"]:
            fit(pruned, context, share=float(context.params["finetune"]))
        save(pruned, context.output)
        context.report(matched=len(before), changed=sum(a < b for a, b in zip(after, before, strict=True)))


def prune(model: nnx.Module, sparsity: float) -> Chain:
    """A copy of ``model`` that has max(1, round(n * (1 - sparsity))) of the n channels of each hidden layer, with their weights.

    Its outputs are those of ``model`` with the removed channels set to zero where the next layer reads them. The output layer
    keeps all its units.
    Raises NotApplicable where removing a channel is not the same as removing rows and columns of the next weights.
    """
    layers = _layers(model)
    last = max(index for index, layer in enumerate(layers) if isinstance(layer, nnx.Conv | nnx.Linear))
    kept: Kept = slice(None)
    pruned = []
    for index, layer in enumerate(layers):
        match layer:
            case nnx.Conv() | nnx.Linear():
                inputs, kept = kept, slice(None) if index == last else strongest(layer, 1 - sparsity)
                layer = _weights(layer, inputs, kept)
            case nnx.BatchNorm():
                layer = _normalisation(layer, kept)
        pruned.append(layer)
    return Chain(pruned)


def strongest(layer: nnx.Conv | nnx.Linear, share: float) -> NDArray[np.intp]:
    """Indices, ascending, of the ``share`` of a layer's output channels with the largest L1 norm; of equals, the first."""
    kernel = np.abs(np.asarray(layer.kernel[...], np.float64))
    norms = kernel.reshape(-1, kernel.shape[-1]).sum(axis=0)
    order = np.argsort(-norms, kind="stable")
    return np.sort(order[: channels(len(norms), share)])


def hidden_sizes(model: nnx.Module) -> list[int]:
    """Output channels of the layers that have weights, without the last one. Raises NotApplicable as :func:`prune` does."""
    return [layer.out_features for layer in _layers(model) if isinstance(layer, nnx.Conv | nnx.Linear)][:-1]


def _layers(model: nnx.Module) -> list[Any]:
    """The layers of ``model`` in order, if each is one that pruning knows."""
    if not isinstance(model, Chain):
        raise NotApplicable(f"{type(model).__name__} is not a plain chain of layers")
    layers = list(model.layers)
    for number, layer in enumerate(layers):
        if isinstance(layer, nnx.Conv) and (layer.feature_group_count != 1 or layer.mask is not None):
            raise NotApplicable(f"layer {number} is a convolution with groups or a mask")
        if not isinstance(layer, nnx.Conv | nnx.Linear | nnx.BatchNorm) and layer not in _CHANNELWISE:
            name = getattr(layer, "__name__", type(layer).__name__)
            raise NotApplicable(f"layer {number} ({name}) is not known to keep channels apart")
    if sum(isinstance(layer, nnx.Conv | nnx.Linear) for layer in layers) < 2:
        raise NotApplicable("the network has no hidden layer")
    return layers


def _weights(layer: nnx.Conv | nnx.Linear, inputs: Kept, outputs: Kept) -> nnx.Conv | nnx.Linear:
    smaller = nnx.clone(layer)
    # By numpy: JAX would compile every selection.
    kernel = np.asarray(layer.kernel[...])[..., inputs, :][..., outputs]
    smaller.kernel = nnx.Param(jnp.asarray(kernel))
    if layer.bias is not None:
        smaller.bias = nnx.Param(jnp.asarray(np.asarray(layer.bias[...])[outputs]))
    smaller.in_features, smaller.out_features = kernel.shape[-2:]
    if isinstance(smaller, nnx.Conv):
        smaller.kernel_shape = kernel.shape
    return smaller


def _normalisation(layer: nnx.BatchNorm, kept: Kept) -> nnx.BatchNorm:
    smaller = nnx.clone(layer)
    state = nnx.state(layer)
    nnx.update(smaller, jax.tree.map(lambda values: jnp.asarray(np.asarray(values)[kept]), state))
    smaller.num_features = smaller.mean.shape[0]
    return smaller
