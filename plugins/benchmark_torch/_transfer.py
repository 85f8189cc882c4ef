"""Transfer: a network that starts from what it learned elsewhere."""

from __future__ import annotations

from torch import nn

from benchmark import Context, NotApplicable
from benchmark_torch._train import fit, fresh, load, save

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
        held = {"frozen": layers[:-1], "partial": layers[: len(layers) // 2], "full": []}[str(context.params["learn"])]
        for layer in held:
            # What could not be taken over has nothing worth keeping.
            layer.requires_grad_(layer not in started)
        fit(model, context, share=float(context.params["finetune"]))
        model.requires_grad_(True)  # passes behind this one train everything
        save(model, context.output)
        context.report(matched=len(layers), changed=len(started), held=sum(layer in started for layer in held))


def weighted(model: nn.Sequential) -> list[nn.Module]:
    """The layers and blocks of ``model`` that have weights, in order."""
    return [layer for layer in model if any(True for _ in layer.parameters())]


def adopted(model: nn.Sequential, source: nn.Module) -> list[nn.Module]:
    """Gives each of :func:`weighted` but the last the state of its counterpart in ``source``, a network of the same architecture,
    where all shapes agree; returns those."""
    assert isinstance(source, nn.Sequential)
    found = []
    for own, other in list(zip(weighted(model), weighted(source), strict=True))[:-1]:
        state = other.state_dict()
        if {name: value.shape for name, value in own.state_dict().items()} == {
            name: value.shape for name, value in state.items()
        }:
            own.load_state_dict(state)
            found.append(own)
    return found
