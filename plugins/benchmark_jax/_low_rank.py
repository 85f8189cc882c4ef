"""Low rank: a layer becomes two thinner ones, whose product is the nearest matrix of that rank."""

from __future__ import annotations

from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from benchmark import Context, NotApplicable
from benchmark_jax._blocks import Concatenation, Sum, rebuilt
from benchmark_jax._models import channels
from benchmark_jax._train import fit, load, save

Weighted: TypeAlias = nnx.Conv | nnx.Linear


class LowRank:
    """Replaces layers by two of lower rank (Denton et al., arXiv 1404.0736; for convolutions Zhang et al., arXiv 1505.06798), and
    fine-tunes them for ``finetune`` of the reference's updates.

    ``by`` = ``energy``: each layer keeps the smallest rank that holds the share ``keep`` of its squared singular values;
    ``rank``: that share of its full rank. Left as they are: layers that would not get smaller, grouped convolutions, and what is
    inside modules other than chains, sums and concatenations. What magnitude pruning has set to zero does not stay zero: prune
    afterwards.
    """

    def compress(self, context: Context) -> None:
        """Factorises ``context.input``. Raises NotApplicable for a network without such layers."""
        assert context.input is not None
        model = load(context.input)
        matched = len(factorable(model))
        if not matched:
            raise NotApplicable("the network has no fully connected layer or plain convolution")
        keep, by_energy = float(context.params["keep"]), context.params["by"] == "energy"
        model, changed = factorised(model, keep, by_energy=by_energy)
        if changed and context.params["finetune"]:
            fit(model, context, share=float(context.params["finetune"]))
        save(model, context.output)
        context.report(matched=matched, changed=changed)


def factorable(model: Any) -> list[Weighted]:
    """The layers that can be factorised, in order."""
    match model:
        case nnx.Sequential():
            return [found for layer in model.layers for found in factorable(layer)]
        case Sum() | Concatenation():
            return [*factorable(model.one), *factorable(model.other)]
        case nnx.Linear():
            return [model]
        case nnx.Conv() if model.feature_group_count == 1 and model.mask is None:
            return [model]
    return []


def factorised(model: Any, keep: float, *, by_energy: bool) -> tuple[Any, int]:
    """``model`` with two layers for each of :func:`factorable` that gets smaller by it, and how many did; other layers are those
    of ``model``."""
    changed = []

    def thinner(layer: Any) -> Any:
        if factorable(layer) and smaller(layer, kept := rank(layer, keep, by_energy=by_energy)):
            changed.append(layer)
            return factors(layer, kept)
        return layer

    return rebuilt(model, thinner), len(changed)


def rank(layer: Weighted, keep: float, *, by_energy: bool) -> int:
    """The rank at which ``layer`` keeps the share ``keep`` of the sum of its squared singular values, or of its full rank."""
    values = np.linalg.svd(_matrix(layer), compute_uv=False)
    if not by_energy:
        return channels(len(values), keep)
    energy = np.cumsum(values**2)
    return min(len(values), 1 + int((energy < keep * energy[-1]).sum()))


def smaller(layer: Weighted, kept: int) -> bool:
    """Whether two factors of this rank have fewer weights than the layer: r (m + n) < m n."""
    rows, columns = _matrix(layer).shape
    return bool(kept * (rows + columns) < rows * columns)


def factors(layer: Weighted, kept: int) -> nnx.Sequential:
    """Two layers for one: of a convolution one of its window into ``kept`` channels and one of width 1 out of them. Their
    product is the best approximation of this rank (Eckart and Young, 1936); each takes the square root of the singular values."""
    left, values, right = np.linalg.svd(_matrix(layer), full_matrices=False)
    root = np.sqrt(values[:kept])
    first, second = left[:, :kept] * root, root[:, None] * right[:kept]
    one, other = nnx.clone(layer), nnx.clone(layer)
    one.use_bias, one.bias = False, None
    one.out_features = other.in_features = kept
    shapes = [(*layer.kernel.shape[:-1], kept), (kept, layer.out_features)]
    if isinstance(one, nnx.Conv) and isinstance(other, nnx.Conv):
        window = (1,) * (layer.kernel.ndim - 2)
        shapes[1] = (*window, kept, layer.out_features)
        one.kernel_shape, other.kernel_shape = shapes
        other.kernel_size, other.strides, other.padding = window, 1, "VALID"
        other.input_dilation = other.kernel_dilation = 1
    for part, weight, shape in zip((one, other), (first, second), shapes, strict=True):
        part.kernel = nnx.Param(jnp.asarray(weight.reshape(shape), jnp.float32))
    return nnx.Sequential(one, other)


def _matrix(layer: Weighted) -> NDArray[np.float64]:
    """The weight as float64 (window x inputs, outputs)."""
    return np.asarray(layer.kernel[...], np.float64).reshape(-1, layer.out_features)
