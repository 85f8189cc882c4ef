"""The controls of every method that makes a network smaller: the same training, and nothing else done to the network."""

from __future__ import annotations

from benchmark import Context
from benchmark_torch._train import fit, fresh, save


class Longer:
    """The reference's network, which gets as many updates as a reference that is then fine-tuned for the share ``finetune``: what
    a method gains by training on, it has too."""

    def compress(self, context: Context) -> None:
        """Trains and saves it."""
        train(context, width=1.0)


class Narrow:
    """A fresh network of ``width`` times the hidden channels, trained as long as :class:`Longer`: what pruning or distilling adds
    is what it has beyond this one."""

    def compress(self, context: Context) -> None:
        """Trains and saves it."""
        train(context, width=float(context.params["width"]))


def train(context: Context, width: float) -> None:
    """Trains and saves a fresh network for ``1 + finetune`` times the reference's updates."""
    model = fresh(context, width)
    fit(model, context, share=1 + float(context.params["finetune"]))
    save(model, context.output)
