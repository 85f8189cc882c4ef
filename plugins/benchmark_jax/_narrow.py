"""The control of every method that makes a network smaller: a small one from the start."""

from __future__ import annotations

from benchmark import Context
from benchmark_jax._train import fit, fresh, save


class Narrow:
    """A fresh network of ``width`` times the hidden channels, which gets as many updates as a reference that is then fine-tuned
    for the share ``finetune``: what pruning adds is what it has beyond this one."""

    def compress(self, context: Context) -> None:
        """Trains and saves it."""
        model = fresh(context, float(context.params["width"]))
        fit(model, context, share=1 + float(context.params["finetune"]))
        save(model, context.output)
