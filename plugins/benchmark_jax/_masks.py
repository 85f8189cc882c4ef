"""Weights that are zero and stay zero: pure functions on pytrees of weights, and gradient transformations for optax.

Weights are float32 leaves; those of two axes or more may be pruned, vectors (biases, normalisations) stay whole. A mask is a tree
of the same structure whose leaves are bool, True where a weight is zero: of a matrix's shape, or () where nothing is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]  # it ships no types

from benchmark_jax._models import channels

Tree: TypeAlias = Any
"""A pytree of arrays."""

_PRUNINGS = 50  # of a gradual schedule, at most: weights get some updates in between to make up for each


def zeros(weights: Tree) -> Tree | None:
    """The mask of what is zero in the matrices that are partly zero; None where none is."""
    found = [np.asarray(weight == 0) if weight.ndim > 1 else np.False_ for weight in map(np.asarray, jax.tree.leaves(weights))]
    masks = [mask if mask.any() and not mask.all() else np.False_ for mask in found]
    return jax.tree.unflatten(jax.tree.structure(weights), map(jnp.asarray, masks)) if any(map(np.any, masks)) else None


def masked(weights: Tree, masks: Tree) -> Tree:
    """``weights`` with zeros where ``masks`` says so."""
    return jax.tree.map(lambda weight, mask: jnp.where(mask, 0, weight), weights, masks)


def smallest(weights: Tree, sparsity: float, *, everywhere: bool) -> Tree:
    """The mask of the share ``sparsity`` of the weights, those of smallest magnitude (Han et al., arXiv 1506.02626), of equals
    the first: of all matrices together (``everywhere``), where each keeps at least one, or of each by itself. What is zero is
    among them as far as they go."""
    sizes = _sizes(weights)
    counts = [sum(sizes)] if everywhere else sizes
    return _smallest(weights, [size - channels(size, 1 - sparsity) for size in counts], everywhere=everywhere)


@functools.partial(jax.jit, static_argnames="everywhere")
def _smallest(weights: Tree, counts: Sequence[jax.Array | int], *, everywhere: bool) -> Tree:
    """As :func:`smallest`, of so many weights: of all, or of each matrix."""
    leaves, structure = jax.tree.flatten(weights)
    matrices = [abs(leaf).ravel() for leaf in leaves if leaf.ndim > 1]
    if everywhere:
        # Each matrix keeps one: without any, nothing passes it.
        whole = jnp.concatenate([values.at[values.argmax()].set(jnp.inf) for values in matrices])
        cuts = np.cumsum([values.size for values in matrices])[:-1]
        masks = iter(jnp.split(_first(whole, counts[0]), cuts))
    else:
        masks = map(_first, matrices, counts)
    return jax.tree.unflatten(
        structure, [next(masks).reshape(leaf.shape) if leaf.ndim > 1 else jnp.asarray(False) for leaf in leaves]
    )


def _first(values: jax.Array, count: jax.Array | int) -> jax.Array:
    """True for the ``count`` smallest of ``values`` (n,), of equals the first."""
    return jnp.zeros(values.size, bool).at[jnp.argsort(values, stable=True)].set(jnp.arange(values.size) < count)


def _sizes(weights: Tree) -> list[int]:
    return [leaf.size for leaf in jax.tree.leaves(weights) if leaf.ndim > 1]


def stay_zero(masks: Tree) -> optax.GradientTransformation:
    """Makes each masked weight exactly zero, whatever moved it: as the last of a chain, behind momentum and weight decay."""

    def update(updates: Tree, state: optax.EmptyState, params: Tree) -> tuple[Tree, optax.EmptyState]:
        # A number plus its negative is zero exactly.
        return jax.tree.map(lambda change, weight, mask: jnp.where(mask, -weight, change), updates, params, masks), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


class Gradual(NamedTuple):
    """The state of :func:`prune_gradually`: updates so far, and the mask."""

    done: jax.Array
    masks: Tree


def prune_gradually(sparsity: float, updates: int, *, everywhere: bool) -> optax.GradientTransformation:
    """Prunes step by step to ``sparsity`` over so many updates, along the cubic schedule, and keeps at zero what is pruned; as
    the last of a chain. At most 50 prunings, each of :func:`smallest` after the update. ``everywhere`` as there."""
    every = math.ceil(updates / _PRUNINGS)
    moments = [*range(every, updates, every), updates]

    def init(params: Tree) -> Gradual:
        masks = jax.tree.map(lambda weight: jnp.zeros(weight.shape if weight.ndim > 1 else (), bool), params)
        return Gradual(jnp.zeros((), jnp.int32), masks)

    def update(changes: Tree, state: Gradual, params: Tree) -> tuple[Tree, Gradual]:
        sizes = _sizes(params)
        counted = [sum(sizes)] if everywhere else sizes
        # Counted before compiling: float32 would be one off.
        wanted = [[size - channels(size, 1 - cubic(moment / updates, sparsity)) for size in counted] for moment in moments]
        done = state.done + 1
        after = masked(jax.tree.map(jnp.add, params, changes), state.masks)
        due = jnp.searchsorted(jnp.asarray(moments), done)
        masks = jax.lax.cond(
            (done <= updates) & (jnp.asarray(moments)[due] == done),
            lambda: _smallest(after, list(jnp.asarray(wanted)[due]), everywhere=everywhere),
            lambda: state.masks,
        )
        return stay_zero(masks).update(changes, optax.EmptyState(), params)[0], Gradual(done, masks)

    return optax.GradientTransformation(init, update)


def cubic(progress: float, sparsity: float) -> float:
    """The sparsity after the share ``progress`` of the prunings, from none to ``sparsity``, fast at first, as long as there is
    much to choose from: Zhu and Gupta, arXiv 1710.01878, equation 1 with an initial sparsity of 0."""
    return sparsity * (1 - (1 - progress) ** 3)
