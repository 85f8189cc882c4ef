"""Transfer: a network that starts from what it learned elsewhere."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx

from benchmark import Context, NotApplicable
from benchmark_jax._models import hold, release
from benchmark_jax._train import fit, fresh, load, save

_PRETRAINED = ("efficientnet-lite0",)


class Transfer:
    """Starts from the network that the reference of another task (``source``) is, of the same architecture and seed, or without a
    ``source`` from the architecture's published weights; the last layer starts afresh. ``learn``: ``frozen``, the last
    layer alone learns; ``partial``, also the later half of the layers; ``full``, all. Trained for ``finetune`` times the
    reference's updates. Yosinski et al., arXiv 1411.1792."""

    def compress(self, context: Context) -> None:
        """Trains and saves it. Raises NotApplicable where there is nothing to start from."""
        model = fresh(context)
        layers = weighted(model)
        if context.source is not None:
            started = adopted(model, load(context.source))
            if not started:
                raise NotApplicable(
                    f"no layer of {context.architecture} for {context.params['source']} has the shape of one here"
                )
        elif context.architecture in _PRETRAINED:
            started = layers[:-1]
        else:
            raise NotApplicable(f"{context.architecture} has no published weights: name a task as source")
        parts = {"frozen": layers[:-1], "partial": layers[: len(layers) // 2], "full": []}
        # What could not be taken over has nothing worth keeping.
        held = [layer for layer in parts[str(context.params["learn"])] if any(layer is one for one in started)]
        for layer in held:
            hold(layer)
        fit(model, context, share=float(context.params["finetune"]))
        release(model)  # passes behind this one train everything
        save(model, context.output)
        context.report(matched=len(layers), changed=len(started), held=len(held))


def weighted(model: Any) -> list[nnx.Module]:
    """The layers and blocks of a chain, ``model``, that have weights, in order."""
    return [layer for layer in model.layers if isinstance(layer, nnx.Module) and jax.tree.leaves(nnx.state(layer, nnx.Param))]


def adopted(model: nnx.Module, source: nnx.Module) -> list[nnx.Module]:
    """Gives each of :func:`weighted` but the last the state of its counterpart in ``source``, a network of the same architecture,
    where all shapes agree; returns those."""
    found = []
    for own, other in list(zip(weighted(model), weighted(source), strict=True))[:-1]:
        states = nnx.state(own), nnx.state(other)
        shapes = [[leaf.shape for leaf in jax.tree.leaves(state)] for state in states]
        if shapes[0] == shapes[1]:
            nnx.update(own, states[1])
            found.append(own)
    return found
