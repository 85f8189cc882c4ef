"""Metrics against scikit-learn, and the outputs and labels for which there is no number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn import metrics as reference  # type: ignore[import-untyped]  # it ships no types
from sklearn.datasets import load_breast_cancer, load_digits  # type: ignore[import-untyped]  # it ships no types

from benchmark.measure import quality
from benchmark.specs import METRICS

SETTINGS = settings(deadline=None, database=None, derandomize=True, max_examples=60)
"""Seeded, and no example is kept between runs."""
Case = tuple[NDArray[np.float32], NDArray[np.int64]]


@st.composite
def cases(draw: st.DrawFn, classes: st.SearchStrategy[int]) -> Case:
    """Logits on a grid of quarters, so that ties and saturation are common, and labels that may lack a class."""
    rows, k = draw(st.integers(1, 40)), draw(classes)
    outputs = draw(arrays(np.int64, (rows, k), elements=st.integers(-12, 12))) / 4
    return outputs.astype(np.float32), draw(arrays(np.int64, rows, elements=st.integers(0, k - 1)))


def close(values: dict[str, float | None], rel: float = 1e-9) -> dict[str, Any]:
    return {name: value if value is None else pytest.approx(value, rel=rel) for name, value in values.items()}


def expected(outputs: NDArray[np.float32], y: NDArray[Any]) -> dict[str, float | None]:
    """What scikit-learn makes of logits."""
    classes = outputs.shape[1]
    p = np.exp(outputs.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    label = outputs.argmax(axis=1)
    # Rounded, as equal rows of the softmax may differ in the last bit where they are ties by right.
    scores = np.round(p, 12) if classes > 2 else np.round(np.stack([-p[:, 1], p[:, 1]], axis=1), 12)
    present = np.unique(y)
    aucs = [reference.roc_auc_score(y == k, scores[:, k]) for k in range(classes) if k in present] if len(present) > 1 else []
    return {
        "accuracy": reference.accuracy_score(y, label),
        "balanced_accuracy": reference.recall_score(y, label, labels=present, average="macro"),
        "roc_auc": float(np.mean(aucs)) if aucs else None,
        "log_loss": reference.log_loss(y, p, labels=range(classes)),
        "brier": reference.brier_score_loss(y, p if classes > 2 else p[:, 1], labels=range(classes)),
        "recall_5_1": reference.recall_score(y, p[:, 1] >= 1 / 6) if classes == 2 and 1 in present else None,
    }


@SETTINGS
@given(cases(st.integers(2, 5)))
def test_logits_agree_with_scikit_learn(case: Case) -> None:
    outputs, y = case
    result = quality.evaluate(outputs, y, METRICS, "logits")
    assert result.values == close(expected(outputs, y))
    assert all(result.reasons[name] for name, value in result.values.items() if value is None)


@SETTINGS
@given(cases(st.integers(2, 5)))
def test_probabilities_agree_with_scikit_learn(case: Case) -> None:
    logits, y = case
    outputs = np.asarray(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), dtype=np.float32)
    values = quality.evaluate(outputs, y, METRICS, "probabilities").values
    wanted = expected(logits, y)
    del wanted["roc_auc"]  # rounding to float32 decides what is a tie here; the next test has exact values
    assert {name: values[name] for name in wanted} == close(wanted, rel=1e-5)


@SETTINGS
@given(
    arrays(np.float32, (30, 3), elements=st.integers(0, 4).map(lambda i: i / 4)), arrays(np.int64, 30, elements=st.integers(0, 2))
)
def test_auc_of_probabilities_counts_ties_as_one_half(outputs: NDArray[np.float32], y: NDArray[np.int64]) -> None:
    pairs: list[float] = []
    for k in np.unique(y) if len(np.unique(y)) > 1 else []:
        above, below = outputs[y == k, k], outputs[y != k, k]
        pairs.append(float(np.mean((above[:, None] > below) + 0.5 * (above[:, None] == below))))
    assert quality.evaluate(outputs, y, ["roc_auc"], "probabilities").values["roc_auc"] == (
        pytest.approx(np.mean(pairs)) if pairs else None
    )


@pytest.mark.parametrize("load", [load_breast_cancer, load_digits])
def test_real_data_agrees_with_scikit_learn(load: Any) -> None:
    x, y = load(return_X_y=True)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9)
    means = np.stack([x[::2][y[::2] == k].mean(axis=0) for k in np.unique(y)])
    x, y = x[1::2], y[1::2]
    outputs = (-((x[:, None] - means) ** 2).mean(axis=2)).astype(np.float32)
    values = quality.evaluate(outputs, y, METRICS, "logits").values
    assert values == close(expected(outputs, y))
    assert values["accuracy"] is not None
    assert 0.85 < values["accuracy"] < 1


def test_overconfident_logits_do_not_become_ties() -> None:
    # Each softmax saturates at exactly 1 for class 0, though the rows of class 0 are the surer ones.
    outputs = np.array([[90, 0, 0], [80, 0, 0], [70, 0, 0], [60, 0, 0]], dtype=np.float32)
    assert (quality.probabilities(outputs, "logits")[:, 0] == 1).all()
    result = quality.evaluate(outputs, np.array([0, 0, 1, 1]), ["roc_auc"], "logits")
    assert result.values["roc_auc"] == 1.0
    assert result.reasons["roc_auc"] == "mean over 2 of 3 classes"


def test_labels_ties_go_to_the_lowest_index() -> None:
    labels = quality.labels(np.array([[1, 1, 0], [0, 2, 2], [0, 0, 0]], dtype=np.float32))
    assert labels.tolist() == [0, 1, 0]
    assert labels.dtype == np.int64


def test_constant_scorer_gets_the_majority_share_and_half() -> None:  # case L-06
    y = np.array([0] * 70 + [1] * 30)
    outputs = np.full((100, 2), 0.25, dtype=np.float32)
    assert quality.score(outputs, y, "accuracy", "logits") == 0.7
    assert quality.score(outputs, y, "roc_auc", "logits") == 0.5
    assert quality.score(outputs, y, "balanced_accuracy", "logits") == 0.5
    assert quality.score(np.zeros((100, 3), np.float32), y, "roc_auc", "logits") == 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_output_is_caught(bad: float) -> None:  # case L-06: argmax takes a NaN for the largest
    outputs = np.zeros((100, 2), dtype=np.float32)
    outputs[41, 1] = bad
    assert quality.check(outputs, 100, 2) == "outputs are NaN or infinite in 1 of 100 rows"
    with pytest.raises(ValueError, match="in 1 of 100 rows"):
        quality.score(outputs, np.zeros(100, dtype=np.int64), "accuracy", "logits")


def test_one_class_is_undefined_with_a_reason_and_accuracy_still_given() -> None:  # case D-01
    outputs = np.array([[0, 1], [2, 0], [0, 3]], dtype=np.float32)
    result = quality.evaluate(outputs, np.ones(3, dtype=np.int64), METRICS, "logits")
    assert result.values["accuracy"] == pytest.approx(2 / 3)
    assert result.values["roc_auc"] is None
    assert result.reasons["roc_auc"] == "all 3 rows are of class 1"
    assert result.reasons["balanced_accuracy"] == "mean over 1 of 2 classes"
    assert math.isnan(quality.score(outputs, np.ones(3, dtype=np.int64), "roc_auc", "logits"))
    assert (
        quality.evaluate(outputs, np.zeros(3, dtype=np.int64), METRICS, "logits").reasons["recall_5_1"] == "no row is of class 1"
    )


def test_absent_class_is_left_out_of_means_and_said() -> None:  # case D-01
    outputs = np.array([[3, 0, 0], [0, 3, 0], [0, 0, 3], [2, 1, 0]], dtype=np.float32)
    result = quality.evaluate(outputs, np.array([0, 1, 1, 0]), METRICS, "logits")
    assert result.values["balanced_accuracy"] == 0.75
    assert result.values["roc_auc"] == pytest.approx((1 + 2.5 / 4) / 2)  # row 2 ties with row 0 and loses to row 3
    assert result.reasons == {
        "balanced_accuracy": "mean over 2 of 3 classes",
        "roc_auc": "mean over 2 of 3 classes",
        "recall_5_1": "defined for 2 classes, not for 3",
    }


def test_recall_at_five_to_one_takes_the_threshold_itself() -> None:
    # Exact in binary: divided by their sum of 1.03125, the first row's probabilities are 5/6 and 1/6.
    outputs = np.array([[55 / 64, 11 / 64], [56 / 64, 10 / 64], [0, 1]], dtype=np.float32)
    assert quality.score(outputs, np.ones(3, dtype=np.int64), "recall_5_1", "probabilities") == pytest.approx(2 / 3)


@pytest.mark.parametrize("outputs", [np.ones((4, 2)), np.full((4, 2), 0.4), np.array([[1.5, -0.5]] * 4)])
def test_outputs_that_are_no_probabilities_win_nothing(outputs: NDArray[np.float64]) -> None:
    # All ones would have the perfect log loss of 0, were they taken as they are.
    result = quality.evaluate(outputs.astype(np.float32), np.array([0, 1, 0, 1]), METRICS, "probabilities")
    assert result.values["accuracy"] == 0.5
    for metric in ("log_loss", "brier", "recall_5_1"):
        assert result.values[metric] is None
        assert result.reasons[metric] == "outputs declared as probabilities leave [0, 1] or do not sum to 1"


def test_rounded_probabilities_are_normalised() -> None:
    assert quality.probabilities(np.array([[0.51, 0.51]], dtype=np.float32), "probabilities").tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ([[0.0, 1.0]], "outputs are a list, not a numpy array"),
        (np.zeros((3, 2)), "outputs are float64, not float32"),
        (np.zeros((3, 1), np.float32), "outputs have shape (3, 1), not (3, 2)"),
        (np.zeros((2, 2), np.float32), "outputs have shape (2, 2), not (3, 2)"),
        (np.zeros((3, 2), np.float32), ""),
    ],
)
def test_check_names_what_is_wrong(outputs: object, reason: str) -> None:
    assert quality.check(outputs, 3, 2) == reason


@pytest.mark.parametrize(
    ("outputs", "y", "message"),
    [
        (np.zeros((3, 1), np.float32), [0, 0, 0], "at least 2"),
        (np.zeros((3, 2), np.float32), [0, 1], "shape"),
        (np.zeros(3, np.float32), [0, 1, 0], "shape"),
        (np.zeros((3, 2), np.float32), [0, 1, 2], "labels reach from 0 to 2"),
        (np.zeros((3, 2), np.float32), [0, -1, 1], "labels reach from -1 to 1"),
        (np.zeros((3, 2), np.float32), [[0], [1], [1]], r"\(3, 1\), not \(N,\)"),  # case D-09: labels (N, 1) broadcast to N x N
        (np.zeros((0, 2), np.float32), [], "at least one row"),
    ],
)
def test_what_does_not_fit_is_refused(outputs: NDArray[np.float32], y: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quality.evaluate(outputs, np.array(y, dtype=np.int64), ["accuracy"], "logits")


def test_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown metric 'f1'; known: accuracy"):
        quality.score(np.zeros((2, 2), np.float32), np.array([0, 1]), "f1", "logits")
