"""Training, prediction, checkpoints and the ONNX export of scikit-learn classifiers."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx
import skl2onnx  # type: ignore[import-untyped]  # no types
import sklearn  # type: ignore[import-untyped]  # no types
from benchmark_onnx import fold
from onnx import TensorProto, helper, numpy_helper
from skl2onnx.common.data_types import FloatTensorType  # type: ignore[import-untyped]  # no types
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # no types

from benchmark import Context
from benchmark_sklearn._models import candidates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float32]

_PATIENCE = 2


@dataclass(frozen=True)
class Model:
    """A fitted scikit-learn classifier of flattened rows, and what it does not know of its task: the shape of a row, and
    the number of classes, since some may be missing in the training rows."""

    classifier: Any
    input_shape: tuple[int, ...]
    classes: int


class Sklearn:
    """Code of the back end ``sklearn``."""

    def train(self, context: Context) -> None:
        """Saves the best on validation of the architecture's candidates, which are tried until two in a row are no better; with
        ``capacity`` the one of that number, the smallest being 1.

        ``updates`` is the number of its trees, or of its solver's iterations.
        """
        best, best_score, since_best, stopped_by = None, -math.inf, 0, "updates"
        seconds = context.remaining()
        capacity = int(context.training.get("capacity", 0))
        for number, classifier in enumerate(candidates(context.architecture, context.seed, capacity)):
            # A candidate takes about as long as all before it together, so it needs half of the time.
            if best is not None and context.remaining() < seconds / 2:
                stopped_by = "deadline"
                break
            model = fit(classifier, context)
            score = context.score(predict(model, context.validation.x))
            context.log(number, updates=_updates(classifier), score=score)
            since_best += 1
            if best is None or score > best_score:
                best, best_score, since_best = model, score, 0
            if since_best == _PATIENCE:
                stopped_by = "early"
                break
        assert best is not None
        save(best, context.output)
        context.trained(updates=_updates(best.classifier), stopped_by=stopped_by)

    def export(self, context: Context, format: str) -> None:
        """Writes the checkpoint as ``model.onnx``: float32 (N, ...) in the task's layout to probabilities, float32 (N, K)."""
        assert context.input is not None
        onnx.save(to_onnx(load(context.input)), context.output / "model.onnx")


def fit(classifier: Any, context: Context, weights: NDArray[np.float64] | None = None) -> Model:
    """Fits an unfitted scikit-learn classifier, in place, to the flattened training rows. ``weights``: of these rows, (N,); by
    default the task's class weights.

    Rows are float32, so that a tree's thresholds part them as the float32 artifact does. A logistic regression is fitted to
    standardised rows, but keeps the weights that do the same for rows as they are.
    """
    x, y = np.asarray(context.train.x), np.asarray(context.train.y)
    if weights is None and context.task.class_weight is not None:
        weights = np.take(context.task.class_weight, y)
    if isinstance(classifier, LogisticRegression):
        _fit_standardised(classifier, x, y, weights)
    else:
        classifier.fit(_flat(x), y, sample_weight=weights)
    context.trained(updates=_updates(classifier), stopped_by="updates")
    return Model(classifier, context.task.input_shape, len(context.task.classes))


def predict(model: Model, x: Floats) -> Floats:
    """Probabilities, float32 (N, K), of rows float32 (N, ...); 0 for a class that the training rows lack."""
    outputs = np.zeros((len(x), model.classes), np.float32)
    outputs[:, model.classifier.classes_] = model.classifier.predict_proba(_flat(x))
    return outputs


def save(model: Model, folder: Path) -> None:
    """Writes a checkpoint, ``model.pkl`` and ``meta.json``, into ``folder``."""
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    meta = {"classifier": type(model.classifier).__name__, "scikit-learn": sklearn.__version__}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def load(folder: Path) -> Model:
    """Reads a checkpoint that ``save`` wrote. Unpickling runs what the file says: load none that you do not trust."""
    model = pickle.loads((folder / "model.pkl").read_bytes())
    assert isinstance(model, Model)
    return model


def to_onnx(model: Model) -> onnx.ModelProto:
    """The classifier by skl2onnx, between a node that flattens its input and one that gives each class its column: ``input``
    float32 (N, ...) -> ``output``, probabilities, float32 (N, K). Raises what skl2onnx raises where it knows no converter."""
    present, flat = model.classifier.classes_, len(model.input_shape) == 1
    converted = skl2onnx.convert_sklearn(
        model.classifier,
        initial_types=[("flat", FloatTensorType([None, math.prod(model.input_shape)]))],
        options={"zipmap": False},
        target_opset={"": 17, "ai.onnx.ml": 3},
        black_op={"LinearClassifier"},  # a plain Gemm instead: int8-static knows it
    )
    graph = converted.graph
    _, scores = graph.output  # the label goes, and with it the nodes that only it needs
    if len(present) == model.classes:
        last = helper.make_node("Identity", [scores.name], ["output"])
    else:
        columns = np.eye(model.classes, dtype=np.float32)[present]
        graph.initializer.append(numpy_helper.from_array(columns, "columns"))
        last = helper.make_node("MatMul", [scores.name, "columns"], ["output"])
    graph.node.insert(0, helper.make_node("Identity" if flat else "Flatten", ["input"], ["flat"]))
    graph.node.append(last)
    for node in graph.node:
        _trim(node)
    del graph.input[:], graph.output[:]
    graph.input.append(helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *model.input_shape]))
    graph.output.append(helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", model.classes]))
    return fold(converted)


def _flat(x: Floats) -> Floats:
    return np.asarray(x, np.float32).reshape(len(x), -1)


def _updates(classifier: Any) -> int:
    if isinstance(classifier, LogisticRegression):
        return int(classifier.n_iter_.max())
    return len(getattr(classifier, "estimators_", [classifier]))


def _fit_standardised(
    classifier: LogisticRegression, x: Floats, y: NDArray[np.int64], weights: NDArray[np.float64] | None
) -> None:
    """Mean 0 and deviation 1 for each channel (axis 1: a table's columns), not for each pixel: those that are hardly ever on
    would get weights so large that int8 has no steps left for the others (mnist-10k: accuracy .91, then .77)."""
    axes = (0, *range(2, x.ndim))
    mean, deviation = x.mean(axes, np.float64), x.std(axes, np.float64)
    deviation[deviation <= np.finfo(np.float32).eps * np.abs(mean)] = 1  # a constant, up to rounding
    columns = math.prod(x.shape[2:])
    mean, deviation = np.repeat(mean, columns), np.repeat(deviation, columns)
    classifier.fit((_flat(x) - mean) / deviation, y, sample_weight=weights)
    classifier.coef_ /= deviation
    classifier.intercept_ -= classifier.coef_ @ mean


def _trim(node: onnx.NodeProto) -> None:
    """Drops from a tree ensemble what is the default (how missing values go, and hit rates, which nothing reads) and, with
    more than two classes, the weights that are 0: half of the file. Two classes have one weight a leaf, 0 or not."""
    fields = {attribute.name: attribute for attribute in node.attribute}
    for name in ("nodes_hitrates", "nodes_missing_value_tracks_true"):
        if name in fields:
            node.attribute.remove(fields[name])
    if node.op_type == "TreeEnsembleClassifier" and len(fields["classlabels_int64s"].ints) > 2:
        kept = np.flatnonzero(fields["class_weights"].floats)
        for name, field in (
            ("class_ids", "ints"),
            ("class_nodeids", "ints"),
            ("class_treeids", "ints"),
            ("class_weights", "floats"),
        ):
            values = getattr(fields[name], field)
            values[:] = [values[index] for index in kept]
