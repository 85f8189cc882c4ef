"""FLAML on real tables: what it chose is what is exported, two searches are one, and the clock ends them."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import benchmark_sklearn
import numpy as np
import onnx
import pytest
from benchmark_onnx import predictor
from numpy.typing import NDArray

from benchmark import Context, NotApplicable

flaml = pytest.importorskip("benchmark_flaml._automl", reason="its extra is not installed: pip install pocketbench[flaml]")

Floats: TypeAlias = NDArray[np.float32]
MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]

ALL = "lgbm,rf,extra_tree,lrl1"
FEW = {"iterations": 12, "seconds": 60.0, "estimators": ALL}
CLASSES = {
    "lgbm": "LGBMClassifier",
    "rf": "RandomForestClassifier",
    "extra_tree": "ExtraTreesClassifier",
    "lrl1": "LogisticRegression",
    "xgboost": "XGBClassifier",
}

# What solvers of logistic regression say where they stop before they have converged, as FLAML lets them.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def _no_alarm_left() -> Iterator[None]:
    """Whatever happens in a search, the process is left as it was."""
    before = signal.getsignal(signal.SIGALRM)
    yield
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.fixture
def contexts(make_context: MakeContext) -> MakeContext:
    """As ``make_context``, on german-credit by default."""

    def make(task: str = "german-credit", **settings: Any) -> tuple[Context, Any]:
        return make_context(task, "automl", output_kind="probabilities", **{"params": FEW, **settings})

    return make


def export(context: Context, folder: Path) -> onnx.ModelProto:
    folder.mkdir()
    flaml.Flaml().export(dataclasses.replace(context, input=context.output, output=folder), "onnx")
    return onnx.load(folder / "model.onnx")


def shipped(artifact: onnx.ModelProto, x: Floats) -> Floats:
    return predictor(artifact.SerializeToString(), 1).predict(x)


def of_three_classes(context: Context) -> Context:
    """The same rows, those of the good ones whose first value is high as a third class; each split has some of them."""
    splits = {}
    for name in ("train", "validation"):
        split = getattr(context, name)
        y = np.where((split.y == 0) & (split.x[:, 0] > np.median(context.train.x[:, 0])), 2, split.y)
        splits[name] = dataclasses.replace(split, y=y)
        assert set(y) == {0, 1, 2}
    score = lambda outputs: float((outputs.argmax(axis=1) == splits["validation"].y).mean())  # noqa: E731  # a Context has functions
    return dataclasses.replace(
        context, **splits, score=score, task=dataclasses.replace(context.task, classes=("good", "bad", "high"))
    )


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("estimator", ALL.split(","))
def test_what_is_exported_is_what_flaml_fitted(
    contexts: MakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, estimator: str, classes: int
) -> None:
    """As FLAML's own predict_proba says it, which is kept here for each model that it judged."""
    context, journal = contexts(params={**FEW, "estimators": estimator})
    context = context if classes == 2 else of_three_classes(context)
    said: list[Floats] = []
    loss = flaml._Search.loss

    def spy(search: Any, x: Floats, y: Any, estimator: Any, *others: Any, **more: Any) -> Any:
        said.append(estimator.predict_proba(x))
        return loss(search, x, y, estimator, *others, **more)

    monkeypatch.setattr(flaml._Search, "loss", spy)
    flaml.Flaml().train(context)
    scores = [context.score(np.asarray(outputs, np.float32)) for outputs in said]
    own = said[scores.index(max(scores))]
    assert [point["step"] for point in journal.curve] == list(range(1, 13))
    assert [point["score"] for point in journal.curve] == list(np.maximum.accumulate(scores))
    assert all(later["seconds"] > before["seconds"] for before, later in zip(journal.curve, journal.curve[1:], strict=False))
    assert journal.training == {"updates": 12, "stopped_by": "updates"}

    model = benchmark_sklearn.load(context.output)
    assert type(model.classifier).__name__ == CLASSES[estimator]
    artifact = export(context, tmp_path / "onnx")
    onnx.checker.check_model(artifact, full_check=True)
    for value, name, width in (
        (artifact.graph.input, "input", context.task.input_shape[0]),
        (artifact.graph.output, "output", classes),
    ):
        (only,) = value
        assert only.name == name
        assert [dim.dim_param or dim.dim_value for dim in only.type.tensor_type.shape.dim] == ["N", width]
    assert (artifact.producer_name, artifact.doc_string, list(artifact.metadata_props)) == ("", "", [])
    np.testing.assert_allclose(shipped(artifact, context.validation.x), own, atol=1e-5)
    np.testing.assert_allclose(shipped(artifact, context.validation.x[:1]), own[:1], atol=1e-5)


def test_rows_at_a_threshold_go_the_same_way(contexts: MakeContext, tmp_path: Path) -> None:
    """A threshold of LightGBM may lie between two neighbours among float32 values: the one nearest to it may be either."""
    from lightgbm import LGBMClassifier

    three = np.float32(1) + np.arange(3, dtype=np.float32) * np.finfo(np.float32).eps
    x = np.concatenate([np.repeat(three * scale, 50) for scale in np.array([1, 1e8, -3], np.float32)])[:, None]
    y = np.tile(np.repeat([0, 1, 0], 50), 3)
    classifier = LGBMClassifier(n_estimators=30, min_child_samples=2, min_data_in_bin=1, max_bin=1023, verbose=-1, n_jobs=1).fit(
        x, y
    )
    own = np.asarray(classifier.predict_proba(x))
    assert (own.argmax(axis=1) == y).all()
    context, _ = contexts()
    benchmark_sklearn.save(benchmark_sklearn.Model(classifier, (1,), 2), context.output)
    np.testing.assert_allclose(shipped(export(context, tmp_path / "onnx"), x), own, atol=1e-5)


def test_equal_seeds_give_equal_bytes(contexts: MakeContext, tmp_path: Path) -> None:
    artifacts = []
    for number, seed in enumerate((0, 0, 1)):
        context, _ = contexts(seed=seed)
        flaml.Flaml().train(context)
        artifacts.append(export(context, tmp_path / str(number)).SerializeToString())
    assert artifacts[0] == artifacts[1] != artifacts[2]


@pytest.mark.parametrize("estimator", ALL.split(","))
def test_the_seed_is_also_that_of_each_model(contexts: MakeContext, estimator: str) -> None:
    context, _ = contexts(seed=7, params={**FEW, "estimators": estimator, "iterations": 2})
    flaml.Flaml().train(context)
    classifier = benchmark_sklearn.load(context.output).classifier
    assert {"random_seed": 7}.items() <= classifier.get_params().items() or classifier.random_state == 7
    assert classifier.get_params().get("n_jobs", 1) in (1, None)


# What FLAML maximises is the task's metric


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "roc_auc"])
def test_what_is_kept_is_the_best_by_the_tasks_own_metric(contexts: MakeContext, metric: str) -> None:
    from sklearn import metrics  # type: ignore[import-untyped]  # no types

    from benchmark.measure import quality

    context, journal = contexts()
    y = context.validation.y
    context = dataclasses.replace(context, score=lambda outputs: quality.score(outputs, y, metric, "probabilities"))
    flaml.Flaml().train(context)
    outputs = benchmark_sklearn.predict(benchmark_sklearn.load(context.output), context.validation.x)
    told = outputs[:, 1] if metric == "roc_auc" else outputs.argmax(axis=1)
    reference = {
        "accuracy": metrics.accuracy_score,
        "balanced_accuracy": metrics.balanced_accuracy_score,
        "roc_auc": metrics.roc_auc_score,
    }[metric]
    assert journal.curve[-1]["score"] == pytest.approx(reference(y, told), abs=1e-12)
    assert journal.curve[-1]["score"] > journal.curve[0]["score"]


def test_class_weights_count(contexts: MakeContext) -> None:
    chosen = []
    for weight in (None, (1.0, 50.0)):
        context, _ = contexts(params={**FEW, "estimators": "lgbm"})
        context = dataclasses.replace(context, task=dataclasses.replace(context.task, class_weight=weight))
        flaml.Flaml().train(context)
        outputs = benchmark_sklearn.predict(benchmark_sklearn.load(context.output), context.validation.x)
        chosen.append(outputs[:, 1].mean())
    assert chosen[0] < 0.4
    assert chosen[1] > 0.8


# The clock


def test_the_clock_ends_a_search_and_what_there_is_ships(contexts: MakeContext, tmp_path: Path) -> None:
    context, journal = contexts(params={**FEW, "iterations": 10**6, "seconds": 1.0})
    flaml.Flaml().train(context)
    assert journal.training["stopped_by"] == "deadline"
    assert journal.training["updates"] == len(journal.curve) < 10**6
    best = journal.curve[-1]["score"]
    assert context.score(shipped(export(context, tmp_path / "onnx"), context.validation.x)) == pytest.approx(best, abs=1e-3)


def test_a_step_without_time_ships_the_first_model(contexts: MakeContext) -> None:
    context, journal = contexts(seconds=0)
    flaml.Flaml().train(context)
    assert journal.training == {"updates": 1, "stopped_by": "deadline"}
    assert (context.output / "model.pkl").exists()


def test_a_trial_that_takes_too_long_is_interrupted(contexts: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two forests without a limit to their trees, of which the second would take hours."""
    from flaml.automl.model import RandomForestEstimator

    fit: Any = RandomForestEstimator.fit
    fitted = list[int]()

    def slow(estimator: Any, *given: Any, **more: Any) -> Any:
        estimator.params["n_estimators"] = (4, 10**6)[len(fitted)]
        fitted.append(1)
        return fit(estimator, *given, **more)

    monkeypatch.setattr(RandomForestEstimator, "fit", slow)
    context, journal = contexts(params={**FEW, "estimators": "rf", "seconds": 2.0})
    flaml.Flaml().train(context)
    assert (len(fitted), journal.training) == (2, {"updates": 1, "stopped_by": "deadline"})


# What it cannot do


def test_a_model_that_no_converter_knows_is_not_applicable(contexts: MakeContext, tmp_path: Path) -> None:
    context, _ = contexts(params={**FEW, "estimators": "xgboost"})
    flaml.Flaml().train(context)
    with pytest.raises(NotApplicable) as caught:
        export(context, tmp_path / "onnx")
    assert str(caught.value) == "FLAML chose XGBClassifier, which skl2onnx cannot export"


def test_an_estimator_that_flaml_does_not_know_is_an_error(contexts: MakeContext) -> None:
    context, _ = contexts(params={**FEW, "estimators": "lgbm, forest"})
    with pytest.raises(ValueError, match="forest"):
        flaml.Flaml().train(context)


# As a suite runs it

SUITE = """
[suite]
name = "automl"
tasks = ["german-credit", "nodule-shape"]
backends = ["flaml", "sklearn"]
architectures = {{ sklearn = ["logistic"] }}
[train.flaml]
iterations = 12
estimators = "{estimators}"
[measure]
processes = 1
rounds = 1
calls = 7
"""


def test_a_suite(command: Callable[..., Any], rows: Callable[[Path], list[dict[str, str]]], tmp_path: Path) -> None:
    for estimators in (ALL, "xgboost"):
        (tmp_path / "automl.toml").write_text(SUITE.format(estimators=estimators), encoding="utf-8")
        run = command("--suite", "automl.toml", "--results", estimators[:4])
        assert (run.returncode, run.stderr) == (0, "")
    found = {(row["task"], row["backend"]): row for row in rows(tmp_path / ALL[:4])}
    row = found["german-credit", "flaml"]
    assert (row["outcome"], row["reason"], row["architecture"]) == ("ok", "", "automl")
    assert (row["updates"], row["stopped_by"]) == ("12", "updates")
    assert float(row["score"]) > 0.65
    assert int(row["artifact_bytes"]) > 0
    assert found["german-credit", "sklearn"]["outcome"] == "ok"
    assert found["nodule-shape", "flaml"]["outcome"] == "skipped"
    (row,) = (row for row in rows(tmp_path / "xgbo") if (row["task"], row["backend"]) == ("german-credit", "flaml"))
    assert (row["outcome"], row["reason"]) == ("skipped", "export: FLAML chose XGBClassifier, which skl2onnx cannot export")
