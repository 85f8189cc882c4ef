"""Structured pruning: whole channels go, so the network that is left is a plain smaller one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from benchmark import Context, NotApplicable
from benchmark_jax._blocks import CHANNELWISE, Concatenation, Enlarged, Rescaled, Sum, flatten
from benchmark_jax._models import channels
from benchmark_jax._train import cross_entropy, fit, load, save

Channels: TypeAlias = NDArray[np.intp]
"""For each channel of a value the number of the channel that it is; the network's input has -1."""
Weighted: TypeAlias = nnx.Conv | nnx.Linear

_ROWS = 256  # whose loss gives the gradients for taylor


class PruneStructured:
    """Removes the share ``sparsity`` of the channels of every hidden layer, the least important ones, and fine-tunes what is
    left for ``finetune`` of the reference's updates; in ``rounds``, each of which removes and fine-tunes its part.

    ``importance`` of a channel: ``l1``, the sum of absolute weights that make it (Li et al., arXiv 1608.08710); ``group-norm``,
    of the squares of all weights that make or read it (Fang et al., arXiv 2301.12900); ``taylor``, of those weights times their
    gradients on 256 training rows (Molchanov et al., CVPR 2019). ``round_to``: the channels that are left are a multiple of it,
    upwards, where the layer has so many: kernels like fours and eights.
    """

    def compress(self, context: Context) -> None:
        """Prunes ``context.input``. Raises NotApplicable for a network without hidden layers, or with parts that :func:`walk`
        does not know."""
        assert context.input is not None
        model, params = load(context.input), context.params
        before = hidden_sizes(model)
        rounds, share = int(params["rounds"]), float(params["finetune"])
        told: list[dict[str, Any]] = []
        for done in range(1, rounds + 1):
            by = str(params["importance"])
            model = prune(
                model,
                float(params["sparsity"]) * done / rounds,
                by=by,
                round_to=int(params["round_to"]),
                sizes=before,
                gradients=gradients(model, context) if by == "taylor" else None,
            )
            if share:
                fit(model, _part(context, told), share=share / rounds)
        if told:
            sums = {name: sum(one[name] for one in told) for name in ("updates", "compile_seconds")}
            context.trained(**sums, stopped_by=told[-1]["stopped_by"])
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


def gradients(model: nnx.Module, context: Context) -> nnx.Module:
    """A copy of ``model`` with the gradients of the mean loss of some training rows in the places of its parameters."""
    rows = np.sort(np.random.default_rng(context.seed).permutation(len(context.train))[:_ROWS])
    x, y = jnp.asarray(context.train.x[rows]), jnp.asarray(context.train.y[rows], jnp.int32)
    hard = cross_entropy(context.task.class_weight)
    found = nnx.jit(nnx.grad(lambda model: hard(model(x), y)))(model)
    copy = nnx.clone(model)
    nnx.update(copy, found)
    return copy


@dataclass(frozen=True, eq=False)
class Use:
    """A layer, and which channels it reads and makes."""

    layer: Any
    reads: Channels
    makes: Channels


def walk(model: nnx.Module) -> tuple[list[Use], Channels]:
    """The layers of ``model`` in order, with the channels that each reads and makes; and the channels of its output. Channels
    that a sum adds are one: they must go together.

    Knows ``nnx.Sequential``, convolutions, plain or depthwise, fully connected layers, batch normalisation, and what is in
    ``_blocks``. Raises NotApplicable for others: removing a channel there may not be the same as removing rows and columns of the
    weights that read it.
    """
    uses: list[Use] = []
    same: dict[int, int] = {}

    def one(channel: int) -> int:
        while channel in same:
            channel = same[channel]
        return channel

    def through(layer: Any, x: Channels | None) -> Channels | None:
        """``x`` is None for the input, whose channels nobody removes."""
        match layer:
            case nnx.Sequential():
                for inner in layer.layers:
                    x = through(inner, x)
                return x
            case Sum():
                first, second = through(layer.one, x), through(layer.other, x)
                if first is None or second is None:
                    raise NotApplicable("a sum of the input's channels")
                for left, right in zip(map(one, first.tolist()), map(one, second.tolist()), strict=True):
                    if left != right:
                        # The smaller number is that of the layer that comes first, and -1 of the input.
                        same[max(left, right)] = min(left, right)
                return first
            case Concatenation():
                parts = through(layer.one, x), through(layer.other, x)
                if parts[0] is None or parts[1] is None:
                    raise NotApplicable("a concatenation of the input's channels")
                return np.concatenate([part for part in parts if part is not None])
            case nnx.BatchNorm():
                if x is None:
                    raise NotApplicable("a normalisation of the input's channels")
                uses.append(Use(layer, x, x))
                return x
            case nnx.Conv() | nnx.Linear():
                inputs = np.full(layer.in_features, -1) if x is None else np.repeat(x, layer.in_features // len(x))
                if isinstance(layer, nnx.Conv) and layer.mask is not None:
                    raise NotApplicable("a convolution with a mask")
                if isinstance(layer, nnx.Conv) and layer.feature_group_count > 1:
                    if not layer.feature_group_count == layer.in_features == layer.out_features:
                        raise NotApplicable("a convolution with groups of several channels")
                    outputs = inputs
                else:
                    start = sum(use.layer.out_features for use in uses if isinstance(use.layer, Weighted))
                    outputs = np.arange(start, start + layer.out_features)
                uses.append(Use(layer, inputs, outputs))
                return outputs
            case Rescaled() | Enlarged():
                return x
            case _ if layer in (*CHANNELWISE, flatten):
                return x
        name = getattr(layer, "__name__", type(layer).__name__)
        raise NotApplicable(f"{name} is not known to keep channels apart")

    output = through(model, None)
    joint = np.vectorize(one, otypes=[np.intp])
    if output is None or sum(isinstance(use.layer, Weighted) and not _depthwise(use.layer) for use in uses) < 2:
        raise NotApplicable("the network has no hidden layer")
    return [Use(use.layer, joint(use.reads), joint(use.makes)) for use in uses], joint(output)


def prune(
    model: nnx.Module,
    sparsity: float,
    *,
    by: str = "l1",
    round_to: int = 1,
    sizes: list[int] | None = None,
    gradients: nnx.Module | None = None,
) -> nnx.Module:
    """A copy of ``model`` that has max(1, round(n * (1 - sparsity))) of the n channels of each hidden layer, with their weights.

    Its outputs are those of ``model`` with the removed channels' outputs set to zero. The output layer keeps all its units.
    Where layers share channels, as around a residual sum, all lose the same ones: ``l1`` ranks them by the first one's weights.
    ``sizes``: n by layer, as :func:`hidden_sizes` gives them, where it has been pruned already. ``gradients``: see there, for
    ``taylor``. Raises NotApplicable as :func:`walk` does.
    """
    pruned = nnx.clone(model)
    uses, output = walk(pruned)
    scores = importance(uses, by, None if gradients is None else walk(gradients)[0])
    weighted = [use for use in uses if isinstance(use.layer, Weighted)]
    full = sizes or hidden_sizes(model)
    removed: set[int] = set()
    ranked = {-1, *output.tolist()}  # those that stay
    for use, size in zip(weighted, full, strict=False):
        own = use.makes
        if own[0] in ranked:  # with the layer that it shares them with
            continue
        ranked.update(own.tolist())
        kept = -(-channels(size, 1 - sparsity) // round_to) * round_to
        order = own[np.argsort([-scores[channel] for channel in own.tolist()], kind="stable")]
        removed.update(order[kept:].tolist())
    gone = np.array(sorted(removed), np.intp)
    for use in uses:
        _narrow(use.layer, ~np.isin(use.reads, gone), ~np.isin(use.makes, gone))
    return pruned


def importance(uses: list[Use], by: str, gradients: list[Use] | None) -> Mapping[int, float]:
    """The importance of each channel, as :class:`PruneStructured` tells; of ``gradients`` for ``taylor``, the walk over them."""
    found: dict[int, float] = {}

    def add(ids: Channels, values: NDArray[np.float64]) -> None:
        for channel, value in zip(ids.tolist(), values.tolist(), strict=True):
            found[channel] = found.get(channel, 0.0) + value

    size: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]] = {
        "l1": lambda weight, _: abs(weight),
        "group-norm": lambda weight, _: weight**2,
        "taylor": lambda weight, gradient: abs(weight * gradient),
    }[by]
    for use, other in zip(uses, gradients or uses, strict=True):
        if isinstance(use.layer, nnx.BatchNorm):
            if by != "l1" and use.layer.scale is not None:
                add(use.makes, size(*(np.asarray(one.layer.scale[...], np.float64) for one in (use, other))))
        elif not _depthwise(use.layer):
            sizes = size(*(np.asarray(one.layer.kernel[...], np.float64) for one in (use, other)))
            if by != "l1" or use.makes[0] not in found:
                add(use.makes, sizes.reshape(-1, sizes.shape[-1]).sum(0))
            if by != "l1":
                add(use.reads, np.moveaxis(sizes, -2, 0).reshape(sizes.shape[-2], -1).sum(1))
    return found


def hidden_sizes(model: nnx.Module) -> list[int]:
    """Output channels of the layers that have weights, without the last one. Raises NotApplicable as :func:`walk` does."""
    return [use.layer.out_features for use in walk(model)[0] if isinstance(use.layer, Weighted)][:-1]


def _depthwise(layer: Weighted) -> bool:
    return isinstance(layer, nnx.Conv) and layer.feature_group_count > 1


def _narrow(layer: Any, inputs: NDArray[np.bool_], outputs: NDArray[np.bool_]) -> None:
    """Leaves these inputs and outputs of ``layer``, in place. By numpy: JAX would compile every selection."""
    if isinstance(layer, nnx.BatchNorm):
        for name in ("scale", "bias", "mean", "var"):
            if (values := getattr(layer, name)) is not None:
                setattr(layer, name, type(values)(jnp.asarray(np.asarray(values[...])[outputs])))
        layer.num_features = int(outputs.sum())
        return
    kernel = np.asarray(layer.kernel[...])[..., outputs]
    if _depthwise(layer):
        layer.feature_group_count = int(outputs.sum())
    else:
        kernel = kernel[..., inputs, :]
    layer.kernel = nnx.Param(jnp.asarray(kernel))
    if layer.bias is not None:
        layer.bias = nnx.Param(jnp.asarray(np.asarray(layer.bias[...])[outputs]))
    layer.in_features, layer.out_features = int(inputs.sum()), int(outputs.sum())
    if isinstance(layer, nnx.Conv):
        layer.kernel_shape = kernel.shape
