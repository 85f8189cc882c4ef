"""The models that may be chosen from, small ones first."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier  # type: ignore[import-untyped]  # no types
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # no types
from sklearn.tree import DecisionTreeClassifier  # type: ignore[import-untyped]  # no types

from benchmark import NotApplicable


def candidates(architecture: str, seed: int, capacity: int = 0) -> Iterator[Any]:
    """Those of :func:`_candidates`, or the one that is number ``capacity`` of them, counted from 1. Raises NotApplicable where
    there are not so many."""
    every = _candidates(architecture, seed)
    if not capacity:
        return every
    one = next(itertools.islice(every, capacity - 1, None), None)
    if one is None:
        raise NotApplicable(f"{architecture} has no capacity {capacity}")
    return iter([one])


def _candidates(architecture: str, seed: int) -> Iterator[Any]:
    """Unfitted scikit-learn classifiers of one architecture, each freer to fit the training rows than the one before.

    The number of leaves bounds the artifact: a forest of ten classes stays below 256 KiB.
    """
    match architecture:
        case "logistic":
            for strength in (1e-4, 1e-3, 1e-2, 1e-1):
                yield LogisticRegression(C=strength, max_iter=2000)
        case "tree":
            for leaves in (8, 32, 128, 512):
                yield DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=5, random_state=seed)
        case "forest":
            for leaves in (12, 25, 50, 100):
                yield RandomForestClassifier(20, max_leaf_nodes=leaves, random_state=seed)
        case "boosting":
            # Stochastic gradient boosting (Friedman 2002, doi:10.1016/S0167-9473(01)00065-2).
            for trees in (10, 20, 40, 80, 160, 320):
                yield GradientBoostingClassifier(
                    n_estimators=trees, max_depth=3, max_features="sqrt", subsample=0.5, random_state=seed
                )
        case _:
            raise ValueError(f"unknown architecture {architecture!r}")
