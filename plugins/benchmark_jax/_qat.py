"""Quantization-aware training: the network learns with its weights and activations rounded as its int8 file will round them."""

from __future__ import annotations

from typing import Any

from benchmark import Context, NotApplicable
from benchmark_jax._rounding import Prepared
from benchmark_jax._train import fit, load, planned, save

_FREEZE = 0.75  # of the updates, after which ranges and batch normalisation's statistics stay as they are


class QatInt8:
    """Trains ``context.input`` on for ``finetune`` of the reference's updates, at least one, with weights rounded to int8 per
    output channel, -64 to 64 as in ``int8-static``, depthwise ones too, and activations to uint8 per tensor. Gradients pass the
    rounding as if it were not there. Merging a normalisation into a layer multiplies each output channel by a number, and so
    leaves its integers as they are: what is rounded are the weights that ship (Jacob et al., arXiv 1712.05877). In the last
    quarter ranges and its statistics stay as they are (Krishnamoorthi, arXiv 1806.08342).
    """

    def compress(self, context: Context) -> None:
        """Quantizes ``context.input``. Raises NotApplicable for a network without convolution or fully connected layer in a
        chain."""
        assert context.input is not None
        share = float(context.params["finetune"])
        model = Prepared(load(context.input), round(_FREEZE * planned(context, share)))
        if not model.matched:
            raise NotApplicable("the network has no convolution and no linear layer")
        fit(model, context, share=share, after_step=counted)
        save(model, context.output)
        context.report(matched=model.matched, changed=model.matched)


def counted(model: Any) -> None:
    """Tells a :class:`Prepared` that an update is made."""
    model.left[...] -= 1
