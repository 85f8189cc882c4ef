"""What a spec refuses when it is made: each mistake once, with the reason that its author reads in ``--list``."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest

from benchmark import BackendSpec, CompressorSpec, Needs, Param, RuntimeSpec, TaskSpec, UserError
from benchmark.specs import Scalar

Make = Callable[..., Any]


def task(**changes: Any) -> TaskSpec:
    values: dict[str, Any] = {
        "name": "digits",
        "target": "digits:Digits",
        "summary": "Digits.",
        "version": "1",
        "modality": "image",
        "metrics": ("accuracy", "log_loss"),
        "margin": 0.01,
        "unit": "row",
        "folds": 5,
        "licence": "CC0-1.0",
        "citation": "none",
    }
    return TaskSpec(**{**values, **changes})


def backend(**changes: Any) -> BackendSpec:
    values: dict[str, Any] = {
        "name": "torch",
        "target": "torch_plugin:Torch",
        "summary": "Networks.",
        "architectures": {"image": ("cnn", "mlp")},
        "exports": ("onnx",),
        "output": "logits",
    }
    return BackendSpec(**{**values, **changes})


def model_pass(**changes: Any) -> CompressorSpec:
    values: dict[str, Any] = {
        "name": "prune",
        "target": "prune:Prune",
        "summary": "Prunes.",
        "stage": "model",
        "backend": "torch",
    }
    return CompressorSpec(**{**values, **changes})


def artifact_pass(**changes: Any) -> CompressorSpec:
    values: dict[str, Any] = {
        "name": "int8",
        "target": "int8:Int8",
        "summary": "Quantizes.",
        "stage": "artifact",
        "accepts": ("onnx",),
        "produces": "onnx",
    }
    return CompressorSpec(**{**values, **changes})


def runtime(**changes: Any) -> RuntimeSpec:
    values: dict[str, Any] = {"name": "ort", "target": "ort:Runtime", "summary": "Runs.", "formats": ("onnx",)}
    return RuntimeSpec(**{**values, **changes})


EVERY_KIND = (task, backend, model_pass, artifact_pass, runtime)


@pytest.mark.parametrize(
    ("param", "allowed"),
    [
        (Param("sparsity", 0.5, low=0.0, high=1.0), [0.0, 0.25, 1.0, 0, 1]),  # an int where a float is meant, both ends
        (Param("updates", 1500, low=1), [1, 10**9]),
        (Param("updates", 1500), [-1, 0]),
        (Param("per_channel", True), [True, False]),
        (Param("scheme", "minmax", choices=("minmax", "entropy")), ["minmax", "entropy"]),
        (Param("bits", 8, choices=(4, 8)), [4, 8]),
        (Param("label", "x"), ["", "None", "1"]),
    ],
)
def test_allowed_values(param: Param, allowed: list[Scalar]) -> None:
    assert [param.refuses(value) for value in allowed] == [""] * len(allowed)


@pytest.mark.parametrize(
    ("param", "value", "reason"),
    [
        (Param("sparsity", 0.5, low=0.0, high=1.0), 1.5, "1.5 is above 1"),
        (Param("sparsity", 0.5, low=0.0, high=1.0), -1, "-1 is below 0"),
        (Param("sparsity", 0.5, low=0.0, high=1.0), float("nan"), "nan is not a finite number"),
        (Param("sparsity", 0.5), float("inf"), "inf is not a finite number"),
        (Param("sparsity", 0.5), "0.5", "'0.5' is not of type float"),
        (Param("sparsity", 0.5), True, "True is not of type float"),
        (Param("sparsity", 0.5), None, "None is not of type float"),
        (Param("updates", 1500, low=1), 0, "0 is below 1"),
        (Param("updates", 1500, low=1), 10.0, "10.0 is not of type int"),
        (Param("updates", 1500, low=1), True, "True is not of type int"),
        (Param("per_channel", True), 1, "1 is not of type bool"),
        (Param("per_channel", True), "true", "'true' is not of type bool"),
        (Param("scheme", "minmax", choices=("minmax", "entropy")), "mse", "'mse' is not one of 'minmax', 'entropy'"),
        (Param("scheme", "minmax"), 1, "1 is not of type str"),
        (Param("bits", 8, choices=(4, 8)), 5, "5 is not one of 4, 8"),
    ],
)
def test_refused_values(param: Param, value: object, reason: str) -> None:
    assert param.refuses(value) == reason


def test_an_integer_that_no_float_can_hold_is_refused() -> None:
    assert Param("lr", 0.1).refuses(10**400).endswith("is not a finite number")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Param("learning rate", 0.1), "parameter name 'learning rate' is not an identifier"),
        (lambda: Param("", 0.1), "parameter name '' is not an identifier"),
        (lambda: Param("lr", 2.0, high=1.0), "parameter lr: default 2.0 is above 1"),
        (lambda: Param("lr", -1.0, low=0.0), "parameter lr: default -1.0 is below 0"),
        (lambda: Param("lr", float("nan")), "parameter lr: default nan is not a finite number"),
        (lambda: Param("scheme", "mse", choices=("minmax",)), "parameter scheme: default 'mse' is not one of 'minmax'"),
    ],
)
def test_a_parameter_that_cannot_be(make: Callable[[], Param], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize("make", EVERY_KIND)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "name '': use letters, digits, '-', '_' and '.'"),
        ({"name": "a b"}, "name 'a b': use letters, digits, '-', '_' and '.'"),
        ({"name": "a/b"}, "name 'a/b': use letters, digits, '-', '_' and '.'"),
        ({"name": "-a"}, "name '-a': use letters, digits, '-', '_' and '.'"),
        ({"name": "a|b\n"}, "name 'a|b\\n': use letters, digits, '-', '_' and '.'"),
        ({"name": "x", "target": "module"}, "x: target 'module' is not of the form 'module:attribute'"),
        ({"name": "x", "target": ":Class"}, "x: target ':Class' is not of the form 'module:attribute'"),
        ({"name": "x", "target": "module:a.b"}, "x: target 'module:a.b' is not of the form 'module:attribute'"),
        ({"name": "x", "requires": {"a.b": "a"}}, "x: requires 'a.b': write the import name of a top-level package"),
        ({"name": "x", "requires": ("numpy",)}, "x: requires must map import names to distributions"),
    ],
)
def test_what_no_spec_may_be(make: Make, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make(**changes)


@pytest.mark.parametrize("name", ["none", "None", "NA", "007", "1e5", "a_b.c-d"])
def test_names_that_look_like_values_are_names(name: str) -> None:
    assert [make(name=name).name for make in EVERY_KIND] == [name] * len(EVERY_KIND)


FORMATS = "onnx, tflite, pte, torch, pt2, stablehlo, packed"
METRICS = "accuracy, balanced_accuracy, roc_auc, log_loss, brier, recall_5_1"


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (task, {"modality": "audio"}, "digits: modality 'audio' is not one of image, sequence, tabular"),
        (task, {"metrics": ("accuracy", "f1")}, f"digits: unknown metric 'f1'; known: {METRICS}"),
        (task, {"metrics": "accuracy"}, f"digits: unknown metric 'a'; known: {METRICS}"),
        (task, {"metrics": ()}, "digits: the first metric must be one of accuracy, balanced_accuracy, roc_auc"),
        (
            task,
            {"metrics": ("log_loss", "accuracy")},
            "digits: the first metric must be one of accuracy, balanced_accuracy, roc_auc",
        ),
        (task, {"folds": 0}, "digits: folds and margin must be above zero"),
        (task, {"margin": 0.0}, "digits: folds and margin must be above zero"),
        (task, {"margin": float("nan")}, "digits: folds and margin must be above zero"),
        (backend, {"exports": ("onnx", "h5")}, f"torch: unknown format 'h5'; known: {FORMATS}"),
        (backend, {"exports": ()}, "torch: a back end must export at least one format"),
        (backend, {"output": "softmax"}, "torch: output 'softmax' is not one of logits, probabilities"),
        (backend, {"architectures": {"audio": ("cnn",)}}, "torch: unknown modality 'audio'; known: image, sequence, tabular"),
        (backend, {"architectures": {"image": ()}}, "torch: a modality without architectures; leave it out"),
        (backend, {"params": (Param("lr", 0.1), Param("lr", 0.2))}, "torch: two parameters are called lr"),
        (model_pass, {"stage": "before"}, "prune: stage 'before' is not one of start, model, artifact"),
        (model_pass, {"backend": None}, "prune: start and model passes name a backend, artifact passes do not"),
        (model_pass, {"backend": ""}, "prune: backend '': use letters, digits, '-', '_' and '.'"),
        (
            model_pass,
            {"accepts": ("onnx",), "produces": "onnx"},
            "prune: artifact passes, and only they, name the formats they accept and produce",
        ),
        (model_pass, {"accepts": ("onnx",)}, "prune: artifact passes, and only they, name the formats they accept and produce"),
        (model_pass, {"anywhere": True}, "prune: anywhere is said of start passes alone"),
        (
            model_pass,
            {"uses_task": "from_task"},
            "prune: uses_task 'from_task' must be a parameter of type str of a pass on checkpoints",
        ),
        (
            model_pass,
            {"uses_task": "a", "params": (Param("a", 1),)},
            "prune: uses_task 'a' must be a parameter of type str of a pass on checkpoints",
        ),
        (model_pass, {"params": (Param("n", 1), Param("n", 2))}, "prune: two parameters are called n"),
        (artifact_pass, {"backend": "torch"}, "int8: start and model passes name a backend, artifact passes do not"),
        (artifact_pass, {"produces": None}, "int8: artifact passes, and only they, name the formats they accept and produce"),
        (artifact_pass, {"accepts": ()}, "int8: artifact passes, and only they, name the formats they accept and produce"),
        (artifact_pass, {"accepts": ("onnx", "h5")}, f"int8: unknown format 'h5'; known: {FORMATS}"),
        (artifact_pass, {"last": True}, "int8: last is about passes on checkpoints, and this one works on artifacts"),
        (artifact_pass, {"produces": "h5"}, f"int8: unknown format 'h5'; known: {FORMATS}"),
        (artifact_pass, {"exports": ("onnx",)}, "int8: exports are those of a checkpoint, and this one works on artifacts"),
        (artifact_pass, {"exports": ("h5",)}, f"int8: unknown format 'h5'; known: {FORMATS}"),
        (runtime, {"formats": ()}, "ort: a runtime must load at least one format"),
        (runtime, {"rows": 99}, "ort: rows must be at least 100: a score of fewer tells little"),
        (runtime, {"tools": {"gcc": ""}}, "ort: tools must map programs to the commands that install them"),
        (backend, {"needs": {"h5": Needs(requires={})}}, "torch: needs 'h5', a format that it does not export"),
        (runtime, {"formats": ("h5",)}, f"ort: unknown format 'h5'; known: {FORMATS}"),
    ],
)
def test_what_a_kind_of_spec_may_not_be(make: Make, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make(**changes)


def test_specs_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        task().name = "other"  # type: ignore[misc]  # the point of the test


def test_a_users_mistake_is_one_line_whatever_is_in_it() -> None:
    assert str(UserError("no 'a\nb\r\nc\x85d\u2028e'  here")) == "no 'a b c d e' here"
