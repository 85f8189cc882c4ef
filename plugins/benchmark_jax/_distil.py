"""Distillation: a small network learns what the reference says of each row, beside the row's label."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import optax  # type: ignore[import-untyped]  # it ships no types
from flax import nnx

from benchmark import Context, NotApplicable
from benchmark_jax import _ARCHITECTURES, _WIDTH
from benchmark_jax._train import Loss, cross_entropy, fit, fresh, load, save

Hard: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]


class Distil:
    """Trains with the reference as teacher: as the first pass of a recipe a fresh network of ``width`` times the hidden
    channels, of the architecture ``student`` or without one of the reference's, as long as ``narrow``; behind other passes
    what they made, for ``finetune`` of the reference's updates."""

    def compress(self, context: Context) -> None:
        """Trains and saves the student. Raises NotApplicable for a ``width`` or ``student`` behind other passes, which made one,
        and for a ``student`` that takes no rows of this modality."""
        assert context.reference is not None
        name = str(context.params["student"])
        params = {name: float(value) for name, value in context.params.items() if name != "student"}
        if context.input is not None and (name or params["width"] != _WIDTH.default):
            raise NotApplicable(
                "student and width are those of a fresh network; behind other passes distil trains what they made"
            )
        if name and name not in _ARCHITECTURES[context.task.modality]:
            raise NotApplicable(f"{name} is no network for {context.task.modality} tasks")
        fresh_of = dataclasses.replace(context, architecture=name or context.architecture)
        hard = cross_entropy(context.task.class_weight)
        loss = distillation(load(context.reference), hard, params["temperature"], params["soft"])
        student: nnx.Module = fresh(fresh_of, params["width"]) if context.input is None else load(context.input)
        fit(student, context, share=params["finetune"] + (context.input is None), loss=loss)
        save(student, context.output)


def distillation(teacher: Any, hard: Hard, temperature: float, soft: float) -> Loss:
    """``(1 - soft) * hard(logits, labels) + soft * temperature ** 2 * KL(teacher || student)``, both softened by ``temperature``:
    Hinton et al., arXiv 1503.02531. The square keeps the size of the soft gradients, whatever the temperature. The mean over rows
    of the sum over classes: a mean over elements would be too small by the number of classes. ``teacher`` must not train; with
    ``soft`` = 0 it is not asked, and the student learns alone."""

    def loss(model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        if not soft:
            return hard(model(x), y)
        target = jax.lax.stop_gradient(jax.nn.log_softmax(teacher(x) / temperature))
        outputs = model(x)
        divergences = optax.losses.kl_divergence_with_log_targets(jax.nn.log_softmax(outputs / temperature), target)
        value: jax.Array = (1 - soft) * hard(outputs, y) + soft * temperature**2 * divergences.mean()
        return value

    return loss
