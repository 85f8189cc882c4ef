"""Magnitude pruning: single weights become zero and stay zero. The network keeps its shape, and its file its size."""

from __future__ import annotations

import jax
import numpy as np
from flax import nnx

from benchmark import Context, NotApplicable
from benchmark_jax._masks import masked, prune_gradually, smallest
from benchmark_jax._train import fit, load, planned, save


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
        if not any(weight.ndim > 1 for weight in jax.tree.leaves(nnx.state(model, nnx.Param))):
            raise NotApplicable("the network has no weight matrices")
        share, sparsity = float(context.params["finetune"]), float(context.params["sparsity"])
        everywhere = context.params["scope"] == "global"
        gradual = share and context.params["schedule"] == "cubic"
        if gradual:
            ramp = max(1, planned(context, share) // 2)
            pruning = prune_gradually(sparsity, ramp, everywhere=everywhere)
            fit(model, context, share=share, transformation=pruning, earliest=ramp)
        # Behind a gradual pruning this changes nothing, unless the deadline came first.
        prune(model, sparsity, everywhere=everywhere)
        if share and not gradual:
            fit(model, context, share=share)
        save(model, context.output)
        weights = [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)) if leaf.ndim > 1]
        zeros = [int((weight == 0).sum()) for weight in weights]
        changed = sum(count > 0 for count in zeros)
        context.report(matched=len(weights), changed=changed, sparsity=sum(zeros) / sum(weight.size for weight in weights))


def prune(model: nnx.Module, sparsity: float, *, everywhere: bool) -> None:
    """Prunes ``model`` in place, as :func:`smallest` chooses."""
    weights = nnx.state(model, nnx.Param)
    nnx.update(model, masked(weights, smallest(weights, sparsity, everywhere=everywhere)))
