"""Distillation into a tree: small, quick, and readable."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from sklearn.tree import DecisionTreeClassifier  # type: ignore[import-untyped]  # no types

from benchmark import Context
from benchmark_sklearn._train import fit, load, predict, save

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float32]

_ROWS = 5  # in a leaf, at least
_RARE = 0.01


class Distil:
    """Fits a decision tree of at most ``leaves`` leaves to the reference's probabilities of the training rows.

    Craven and Shavlik 1996, "Extracting tree-structured representations of trained networks", asks the teacher in the same way;
    probabilities instead of its labels are those of Hinton et al., arXiv 1503.02531: a teacher that gives all rows one label
    would teach nothing else.
    """

    def compress(self, context: Context) -> None:
        """Fits and saves the tree."""
        assert context.reference is not None
        p = predict(load(context.reference), context.train.x)
        rows, labels, weights = soft_rows(p)
        train = dataclasses.replace(context.train, x=np.asarray(context.train.x)[rows], y=labels, units=context.train.units[rows])
        tree = DecisionTreeClassifier(
            max_leaf_nodes=context.params["leaves"], min_weight_fraction_leaf=min(0.5, _ROWS / len(p)), random_state=context.seed
        )
        save(fit(tree, dataclasses.replace(context, train=train), weights), context.output)


def soft_rows(p: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Probabilities (N, K) as ``rows``, ``labels`` and ``weights`` (M,): a row once for each class that is not too rare for it,
    weighted by that class's probability. The Gini impurity of labels so weighted is that of the mean probabilities. The
    weights of a row sum to 1."""
    kept = p >= np.minimum(_RARE, p.max(axis=1, keepdims=True))
    weights = np.where(kept, p, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    rows, labels = np.nonzero(kept)
    return rows, labels, weights[rows, labels]
