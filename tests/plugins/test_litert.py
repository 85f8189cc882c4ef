"""LiteRT: its runtime, the exports of torch and jax to its files, int8 and the arena of a microcontroller."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import benchmark_jax
import benchmark_litert
import jax
import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema  # type: ignore[import-untyped]  # it ships no types
from ai_edge_quantizer import quantizer, recipe_manager  # type: ignore[import-untyped]  # as above
from ai_edge_quantizer.algorithm_manager import AlgorithmName  # type: ignore[import-untyped]  # as above
from ai_edge_quantizer.qtyping import TFLOperationName  # type: ignore[import-untyped]  # as above
from benchmark_jax import _models as jax_models
from benchmark_jax._blocks import channels_last, max_pool, mean
from benchmark_jax._tflite import network, to_tflite
from benchmark_litert._int8 import Int8Litert
from benchmark_litert._runtime import LiteRt, opened
from benchmark_torch import _models as torch_models
from benchmark_torch._tflite import to_tflite as torch_to_tflite
from benchmark_torch._train import predict as torch_predict
from numpy.typing import NDArray

from benchmark import Context, NotApplicable, UserError

Floats: TypeAlias = NDArray[np.float32]
MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]
LoadTask: TypeAlias = Callable[[str, int], tuple[Any, Any]]

NETWORKS = [
    ("nodule-shape", "cnn"),
    ("nodule-shape", "squeezenet"),
    ("watch-imu", "cnn1d"),
    ("german-credit", "resmlp"),
]


def artifact(folder: Path, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.tflite").write_bytes(content)
    return folder


def made_by_jax(name: str, task: Any, seed: int = 0) -> tuple[Any, bytes]:
    """An untrained network and its file."""
    model = jax_models.build(name, task.train.x.shape[1:], len(task.classes), seed)
    return model, to_tflite(network(model), task.train.x.shape[1:])


@pytest.mark.parametrize(("task", "name"), NETWORKS)
def test_the_file_of_a_jax_network_is_the_network(task: str, name: str, load_task: LoadTask, tmp_path: Path) -> None:
    _, data = load_task(task, 0)
    model, content = made_by_jax(name, data)
    x = data.train.x[:40]
    expected = benchmark_jax.predict(model, x)
    predictor = LiteRt().load(artifact(tmp_path, content), 1)
    for rows in (1, 7, 40):
        outputs = predictor.predict(x[:rows])
        assert type(outputs) is np.ndarray
        assert (outputs.dtype.name, outputs.shape) == ("float32", expected[:rows].shape)
        np.testing.assert_allclose(outputs, expected[:rows], rtol=1e-5, atol=1e-5)
    assert made_by_jax(name, data)[1] == content
    assert b".py" not in content
    assert not any(
        "STABLEHLO" in one["op_name"] for one in opened(content, 1)._get_ops_details()
    )  # these are slow and stay float


@pytest.mark.parametrize(("task", "name"), [("nodule-shape", "ds-cnn"), ("watch-imu", "cnn1d")])
def test_the_file_of_a_torch_network_is_the_network(task: str, name: str, load_task: LoadTask, tmp_path: Path) -> None:
    _, data = load_task(task, 0)
    x = data.train.x[:40]
    torch.manual_seed(0)
    model = torch_models.build(name, x.shape[1:], len(data.classes))
    with torch.no_grad():
        for _ in range(3):
            model(torch.tensor(x))  # normalisations get statistics that differ from those that they begin with
    expected = torch_predict(model, x)
    content = torch_to_tflite(model, x.shape[1:])
    np.testing.assert_allclose(LiteRt().load(artifact(tmp_path, content), 1).predict(x), expected, rtol=1e-5, atol=1e-5)
    assert torch_to_tflite(model, x.shape[1:]) == content
    assert b".py" not in content
    assert model.training  # converted was a copy
    weights = 4 * sum(one.numel() for one in model.parameters())
    assert len(content) < weights + 12_000


def test_outputs_are_copies(load_task: LoadTask, tmp_path: Path) -> None:
    _, data = load_task("german-credit", 0)
    predictor = LiteRt().load(artifact(tmp_path, made_by_jax("mlp", data)[1]), 1)
    first = predictor.predict(data.train.x[:1])
    before = first.copy()
    assert not np.array_equal(predictor.predict(data.train.x[1:2]), before)
    assert np.array_equal(first, before)


def test_its_floor_returns_what_it_is_given(tmp_path: Path) -> None:
    LiteRt().identity(tmp_path, (3, 4))
    x = np.random.default_rng(0).random((2, 3, 4), np.float32)
    assert np.array_equal(LiteRt().load(tmp_path, 1).predict(x), x)
    assert (tmp_path / "model.tflite").stat().st_size < 256


def test_another_converter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.6.0")
    with pytest.raises(UserError, match=r"^litert-converter 0\.6\.0: .* litert-converter==0\.5\.0 only$"):
        to_tflite(lambda x: x, (2,))


@pytest.mark.parametrize(
    ("task", "name", "layers"), [("nodule-shape", "cnn", 4), ("nodule-shape", "lenet-5", 4), ("german-credit", "mlp", 3)]
)
def test_int8(task: str, name: str, layers: int, make_context: MakeContext, load_task: LoadTask, tmp_path: Path) -> None:
    _, data = load_task(task, 0)
    _, content = made_by_jax(name, data)
    source = artifact(tmp_path / "source", content)
    outputs = []
    for _ in range(2):
        context, journal = make_context(task, name, input=source, params={"calibration_rows": 256})
        Int8Litert().compress(context)
        outputs.append((context.output / "model.tflite").read_bytes())
    small = outputs[0]
    assert small == outputs[1]
    assert (journal.layers["matched"], journal.layers["changed"]) == (layers, layers)
    assert len(small) < 0.6 * len(content)
    x = data.validation.x[:200]
    given, made = (LiteRt().load(folder, 1).predict(x) for folder in (source, context.output))
    assert not np.array_equal(given, made)
    assert np.quantile(np.abs(given - made), 0.95) < 0.02 * np.ptp(given)  # rows beyond all ranges differ by more
    assert np.corrcoef((given[:, 1] - given[:, 0]), (made[:, 1] - made[:, 0]))[0, 1] > 0.98
    again, _ = make_context(task, name, input=context.output, params={"calibration_rows": 64})
    with pytest.raises(NotApplicable, match="float weight"):
        Int8Litert().compress(again)
    arena, _ = benchmark_litert.arena_bytes(small)
    assert arena is not None
    assert arena < 60_000  # the weights lie where tflite-micro finds them, in the file
    # Its convolutions and products compute on integers.
    whole = schema.ModelT.InitFromPackedBuf(small, 0)
    types = [
        graph.tensors[one].type for graph in whole.subgraphs for operator in graph.operators[1:-1] for one in operator.outputs
    ]
    assert set(types) == {schema.TensorType.INT8}


def test_integers_at_both_ends_give_the_same(load_task: LoadTask, tmp_path: Path) -> None:
    _, data = load_task("german-credit", 0)
    _, content = made_by_jax("mlp", data)
    x = data.train.x[:64]
    files = []
    for inside in (True, False):
        manager = recipe_manager.RecipeManager()
        manager.add_static_config(".*", TFLOperationName.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
        if inside:
            for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
                manager.add_quantization_config(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
        work = quantizer.Quantizer(bytearray(content), manager.get_quantization_recipe())
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            ranges = work.calibrate({"serving_default": [{"input": x[i : i + 1]} for i in range(64)]}, num_threads=1)
            files.append(bytes(work.quantize(ranges, enable_progress_report=False).quantized_model))
    assert [opened(one, 1).get_input_details()[0]["dtype"] for one in files] == [np.float32, np.int8]
    one, other = (LiteRt().load(artifact(tmp_path, content), 1).predict(x) for content in files)
    assert other.dtype == np.float32
    np.testing.assert_allclose(other, one, atol=0.02 * float(np.ptp(one)))  # the middle of two steps is rounded in two ways
    assert np.mean(other == one) > 0.9


def test_arena(load_task: LoadTask, make_context: MakeContext, tmp_path: Path) -> None:
    _, data = load_task("nodule-shape", 0)
    _, content = made_by_jax("cnn", data)
    context, _ = make_context("nodule-shape", "cnn", input=artifact(tmp_path, content), params={"calibration_rows": 16})
    Int8Litert().compress(context)
    floats, reason = benchmark_litert.arena_bytes(content)
    integers, _ = benchmark_litert.arena_bytes((context.output / "model.tflite").read_bytes())
    assert reason == ""
    assert floats is not None
    assert integers is not None
    pixels = int(np.prod(data.train.x.shape[2:]))
    assert (
        4 * 16 * pixels < floats < 4 * 24 * pixels
    )  # the first convolution: 16 channels, and a quarter of that behind its pooling
    assert 0.2 < integers / floats < 0.4


def test_no_arena_where_an_operator_is_unknown() -> None:
    def pooled(x: jax.Array) -> jax.Array:
        return mean(max_pool(channels_last(x)))

    size, reason = benchmark_litert.arena_bytes(to_tflite(pooled, (3, 16)))
    assert size is None
    assert "STABLEHLO_REDUCE_WINDOW" in reason


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="int32"):
        LiteRt().load(artifact(tmp_path, to_tflite(lambda x: x.astype(np.int32), (4,))), 1)
