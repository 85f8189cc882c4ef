"""Distillation into a tree: small, quick, and readable."""

from __future__ import annotations

import dataclasses

from sklearn.tree import DecisionTreeClassifier  # type: ignore[import-untyped]  # no types

from benchmark import Context
from benchmark_sklearn._train import fit, load, predict, save


class Distil:
    """Fits a decision tree of at most ``leaves`` leaves to the reference's labels of the training rows (Craven and Shavlik 1996,
    "Extracting tree-structured representations of trained networks", asks the teacher in the same way)."""

    def compress(self, context: Context) -> None:
        """Fits and saves the tree."""
        assert context.reference is not None
        labels = predict(load(context.reference), context.train.x).argmax(axis=1)
        taught = dataclasses.replace(context, train=dataclasses.replace(context.train, y=labels))
        tree = DecisionTreeClassifier(max_leaf_nodes=context.params["leaves"], min_samples_leaf=5, random_state=context.seed)
        save(fit(tree, taught), context.output)
