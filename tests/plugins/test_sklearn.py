"""The classical models on real data: what is trained is what is exported, row by row."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import benchmark_sklearn
import numpy as np
import onnx
import pytest
from benchmark_onnx._runtime import OnnxRuntime
from benchmark_sklearn._distil import Distil, soft_rows
from benchmark_sklearn._models import candidates
from benchmark_sklearn._train import Sklearn
from numpy.typing import NDArray
from sklearn.datasets import load_wine  # type: ignore[import-untyped]  # it ships no types
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # it ships no types
from sklearn.tree import DecisionTreeClassifier  # type: ignore[import-untyped]  # it ships no types

from benchmark import Context, Split

Floats: TypeAlias = NDArray[np.float32]
MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]


@pytest.fixture
def contexts(make_context: MakeContext) -> Callable[..., tuple[Context, Any]]:
    """As ``make_context``, but with every ``step``-th training row only."""

    def make(task: str, architecture: str, step: int = 1, **settings: Any) -> tuple[Context, Any]:
        context, journal = make_context(task, architecture, output_kind="probabilities", **settings)
        return dataclasses.replace(context, train=rows(context.train, np.arange(0, len(context.train), step))), journal

    return make


def rows(split: Split, chosen: NDArray[Any]) -> Split:
    return Split(x=split.x[chosen], y=split.y[chosen], units=split.units[chosen])


def export(context: Context, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    Sklearn().export(dataclasses.replace(context, input=context.output, output=folder), "onnx")
    return folder / "model.onnx"


def shipped(path: Path, x: Floats) -> Floats:
    return OnnxRuntime().load(path.parent, 1).predict(x)


# every architecture on every modality it has

CELLS = [
    ("german-credit", "logistic", 1, 0.75, 1_000),
    ("german-credit", "tree", 1, 0.65, 4_000),
    ("german-credit", "forest", 1, 0.75, 64_000),
    ("german-credit", "boosting", 1, 0.73, 32_000),
    ("mnist-10k", "logistic", 10, 0.84, 32_000),
    ("mnist-10k", "tree", 10, 0.6, 16_000),
    ("mnist-10k", "forest", 10, 0.82, 256_000),
    ("nodule-shape", "logistic", 4, 0.5, 25_000),
    ("nodule-shape", "tree", 4, 0.53, 16_000),
    ("nodule-shape", "forest", 4, 0.65, 128_000),
    ("watch-imu", "logistic", 20, 0.35, 22_000),
    ("watch-imu", "tree", 20, 0.3, 8_000),
    ("watch-imu", "forest", 20, 0.45, 128_000),
]
"""Task, architecture, every which training row, least validation score, most bytes."""


@pytest.mark.parametrize(("task", "architecture", "step", "least", "most"), CELLS)
def test_what_is_exported_is_what_was_trained(
    contexts: MakeContext, tmp_path: Path, task: str, architecture: str, step: int, least: float, most: int
) -> None:
    context, journal = contexts(task, architecture, step)
    Sklearn().train(context)
    model = benchmark_sklearn.load(context.output)
    x, classes = context.validation.x, len(context.task.classes)
    outputs = benchmark_sklearn.predict(model, x)
    assert outputs.dtype == np.float32
    assert outputs.shape == (len(x), classes)
    np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-6)
    assert context.score(outputs) == max(point["score"] for point in journal.curve) >= least
    assert journal.training["updates"] in [point["updates"] for point in journal.curve]
    assert journal.training["stopped_by"] in ("updates", "early")

    path = export(context, tmp_path / "onnx")
    assert path.stat().st_size <= most
    assert path.parent.joinpath("model.onnx").read_bytes() == export(context, tmp_path / "again").read_bytes()
    artifact = onnx.load(path)
    onnx.checker.check_model(artifact, full_check=True)
    for value, name, shape in (
        (artifact.graph.input, "input", context.task.input_shape),
        (artifact.graph.output, "output", (classes,)),
    ):
        (only,) = value
        assert only.name == name
        assert [dim.dim_param or dim.dim_value for dim in only.type.tensor_type.shape.dim] == ["N", *shape]
    np.testing.assert_allclose(shipped(path, x), outputs, atol=1e-5)
    np.testing.assert_allclose(shipped(path, x[:1]), outputs[:1], atol=1e-5)
    top = np.sort(outputs, axis=1)[:, -2:]
    clear = top[:, 1] - top[:, 0] > 1e-5  # a forest's float32 sum may break a tie that its float64 mean leaves
    np.testing.assert_array_equal(shipped(path, x)[clear].argmax(axis=1), outputs[clear].argmax(axis=1))


@pytest.mark.parametrize("architecture", ["logistic", "tree", "forest", "boosting"])
def test_equal_seeds_give_equal_bytes(contexts: MakeContext, tmp_path: Path, architecture: str) -> None:
    files = []
    for number, seed in enumerate((0, 0, 1)):
        context, _ = contexts("german-credit", architecture, seed=seed)
        Sklearn().train(context)
        files.append(export(context, tmp_path / str(number)).read_bytes())
    assert files[0] == files[1]
    assert (files[0] != files[2]) == (architecture != "logistic")


# choosing on validation


def test_training_stops_when_validation_no_longer_improves(contexts: MakeContext) -> None:
    context, journal = contexts("german-credit", "boosting")
    Sklearn().train(context)
    scores = [point["score"] for point in journal.curve]
    best = scores.index(max(scores))
    assert journal.training["stopped_by"] == "early"
    assert len(scores) == best + 3 < 6
    assert journal.training["updates"] == journal.curve[best]["updates"] == (10, 20, 40, 80)[best]
    assert len(benchmark_sklearn.load(context.output).classifier.estimators_) == journal.training["updates"]


def test_the_first_of_equal_candidates_wins(contexts: MakeContext) -> None:
    context, journal = contexts("german-credit", "tree")
    Sklearn().train(dataclasses.replace(context, score=lambda outputs: 0.5))
    assert len(journal.curve) == 3
    assert benchmark_sklearn.load(context.output).classifier.get_n_leaves() == 8


def test_a_deadline_keeps_what_there_is(contexts: MakeContext) -> None:
    context, journal = contexts("german-credit", "forest", seconds=0)
    Sklearn().train(context)
    assert len(journal.curve) == 1
    assert journal.training == {"updates": 20, "stopped_by": "deadline"}
    assert context.score(benchmark_sklearn.predict(benchmark_sklearn.load(context.output), context.validation.x)) > 0.7


# single traits


@pytest.mark.parametrize("architecture", ["logistic", "tree", "forest"])
def test_a_class_that_training_rows_lack_keeps_its_column(contexts: MakeContext, tmp_path: Path, architecture: str) -> None:
    context, _ = contexts("mnist-10k", architecture, 20)
    context = dataclasses.replace(context, train=rows(context.train, np.flatnonzero(context.train.y != 3)))
    model = benchmark_sklearn.fit(next(candidates(architecture, 0)), context)
    benchmark_sklearn.save(model, context.output)
    outputs = benchmark_sklearn.predict(model, context.validation.x)
    assert outputs.shape == (1000, 10)
    assert not outputs[:, 3].any()
    fours = context.validation.y == 4
    assert np.mean(outputs[fours].argmax(axis=1) == 4) > 0.5
    np.testing.assert_allclose(shipped(export(context, tmp_path / "onnx"), context.validation.x), outputs, atol=1e-5)


@pytest.mark.parametrize("architecture", ["logistic", "tree", "forest", "boosting"])
def test_class_weights_of_the_task_count(contexts: MakeContext, architecture: str) -> None:
    context, _ = contexts("german-credit", architecture)
    weighted = dataclasses.replace(context, task=dataclasses.replace(context.task, class_weight=(1.0, 5.0)))
    plain, costly = (
        benchmark_sklearn.predict(benchmark_sklearn.fit(next(candidates(architecture, 0)), one), context.validation.x)
        for one in (context, weighted)
    )
    assert plain[:, 1].mean() == pytest.approx(0.3, abs=0.03)
    assert costly[:, 1].mean() > plain[:, 1].mean() + 0.1


@pytest.mark.parametrize("architecture", ["logistic", "tree", "forest", "boosting"])
def test_tables_of_three_classes_and_raw_units(contexts: MakeContext, tmp_path: Path, architecture: str) -> None:
    """Wine: 13 columns, of which one is near 1,000 and another below 1 (proline, hue)."""
    x, y = load_wine(return_X_y=True)
    wine = Split(x=x.astype(np.float32), y=y.astype(np.int64), units=np.arange(len(y)))
    context, _ = contexts("german-credit", architecture)
    task = dataclasses.replace(context.task, classes=("a", "b", "c"), input_shape=(13,))
    test = np.arange(0, len(y), 4)
    context = dataclasses.replace(context, task=task, train=rows(wine, np.setdiff1d(wine.units, test)))
    model = benchmark_sklearn.fit(list(candidates(architecture, 0))[2], context)
    benchmark_sklearn.save(model, context.output)
    outputs = benchmark_sklearn.predict(model, wine.x)
    assert np.mean(outputs[test].argmax(axis=1) == y[test]) > 0.85
    np.testing.assert_allclose(shipped(export(context, tmp_path / "onnx"), wine.x), outputs, atol=1e-5)


def test_logistic_weights_absorb_the_standardisation(contexts: MakeContext) -> None:
    """Another unit of a channel changes neither the outputs nor how long the solver takes."""
    context, journal = contexts("watch-imu", "logistic", 20)
    unit = np.array([1000, 1, 1, 0.001, 1, 1], np.float32)[:, None]
    other = dataclasses.replace(context, train=dataclasses.replace(context.train, x=context.train.x * unit))
    model = benchmark_sklearn.fit(LogisticRegression(C=1e-3, max_iter=200), context)
    iterations = journal.training["updates"]
    scaled = benchmark_sklearn.fit(LogisticRegression(C=1e-3, max_iter=200), other)
    assert journal.training["updates"] == pytest.approx(iterations, abs=10)
    x = context.validation.x[:100]
    np.testing.assert_allclose(benchmark_sklearn.predict(scaled, x * unit), benchmark_sklearn.predict(model, x), atol=1e-3)


def test_a_constant_column_gets_no_weight(contexts: MakeContext) -> None:
    context, _ = contexts("german-credit", "logistic")
    x = context.train.x.copy()
    x[:, 2] = 0.1  # its float64 mean differs from it by rounding
    model = benchmark_sklearn.fit(
        LogisticRegression(C=1e-2), dataclasses.replace(context, train=dataclasses.replace(context.train, x=x))
    )
    assert abs(model.classifier.coef_[0, 2]) < 1e-6 < np.abs(model.classifier.coef_).max()


def test_a_tree_parts_rows_alike_on_its_thresholds(contexts: MakeContext, tmp_path: Path) -> None:
    """Every threshold, rounded to float32, as an input, and its neighbours on either side."""
    context, _ = contexts("mnist-10k", "tree", 10)
    tree = DecisionTreeClassifier(random_state=0)
    model = benchmark_sklearn.fit(tree, context)
    benchmark_sklearn.save(model, context.output)
    inner = np.flatnonzero(tree.tree_.children_left >= 0)
    exact = tree.tree_.threshold[inner].astype(np.float32)
    values = np.stack([np.nextafter(exact, np.float32(-1)), exact, np.nextafter(exact, np.float32(2))], axis=1)
    x = np.repeat(context.train.x[: len(inner)].reshape(-1, 1, 784), 3, axis=1)
    x[np.arange(len(x)), :, tree.tree_.feature[inner][: len(x)]] = values[: len(x)]
    x = x.reshape(-1, 1, 28, 28)
    outputs = benchmark_sklearn.predict(model, x)
    np.testing.assert_array_equal(shipped(export(context, tmp_path / "onnx"), x), outputs)


# distil


@pytest.mark.parametrize("architecture", ["logistic", "forest", "boosting"])
def test_a_tree_learns_what_the_reference_says(architecture: str, contexts: MakeContext, tmp_path: Path) -> None:
    source, _ = contexts("german-credit", architecture)
    Sklearn().train(source)
    context, journal = contexts("german-credit", architecture, params={"leaves": 16}, reference=source.output)
    Distil().compress(context)
    tree, x = benchmark_sklearn.load(context.output), np.asarray(context.train.x)
    assert tree.classifier.get_n_leaves() <= 16
    taught, own = (benchmark_sklearn.predict(model, x).argmax(1) for model in (benchmark_sklearn.load(source.output), tree))
    assert np.mean(own == taught) > np.mean(own == context.train.y)  # not the labels of the rows
    assert np.mean(own == taught) > 0.85
    assert journal.training["updates"] == 1
    np.testing.assert_allclose(shipped(export(context, tmp_path / "onnx"), x), benchmark_sklearn.predict(tree, x), atol=1e-6)


def test_a_teacher_of_one_label_teaches_its_probabilities(contexts: MakeContext) -> None:
    """The best tree for its labels is a constant."""
    source, _ = contexts("german-credit", "logistic")
    train, validation = source.train, source.validation
    weak = benchmark_sklearn.fit(LogisticRegression(C=1e-4), source)
    taught = benchmark_sklearn.predict(weak, np.asarray(train.x))
    assert len(set(taught.argmax(1))) == 1
    benchmark_sklearn.save(weak, source.output)
    context, _ = contexts("german-credit", "logistic", params={"leaves": 16}, reference=source.output)
    Distil().compress(context)
    tree = benchmark_sklearn.load(context.output)
    assert context.score(benchmark_sklearn.predict(tree, validation.x)) > 0.65
    learnt = benchmark_sklearn.predict(tree, np.asarray(train.x))
    leaves = tree.classifier.apply(np.asarray(train.x))
    for leaf in set(leaves):
        np.testing.assert_allclose(
            learnt[leaves == leaf], taught[leaves == leaf].mean(0)[None].repeat(sum(leaves == leaf), 0), atol=1e-6
        )


def test_a_row_is_split_among_its_classes() -> None:
    p = np.array([[0.75, 0.25, 0.0], [0.004, 0.004, 0.992], [1.0, 0.0, 0.0]], np.float32)
    chosen, labels, weights = soft_rows(p)
    assert chosen.tolist() == [0, 0, 1, 2]
    assert labels.tolist() == [0, 1, 2, 0]
    np.testing.assert_allclose(weights, [0.75, 0.25, 1.0, 1.0])
    many, names, _ = soft_rows(np.full((1, 300), 1 / 300, np.float32))
    assert many.tolist() == [0] * 300
    assert names.tolist() == list(range(300))
