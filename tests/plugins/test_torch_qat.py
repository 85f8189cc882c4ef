"""Quantization-aware training of PyTorch networks: what is trained is what is saved, and that is what ships, in integers."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import benchmark_torch
import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
import pytest
import torch
from benchmark_onnx import integer_biases
from benchmark_onnx._int8 import Int8Static
from benchmark_torch._blocks import Sum
from benchmark_torch._export import to_onnx
from benchmark_torch._magnitude import Pruner, matrices
from benchmark_torch._qat import Freezer, Prepared, QatInt8
from benchmark_torch._train import Torch, fresh
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from benchmark import Context, NotApplicable

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]

TRAINING = {"updates": 20, "batch": 32, "lr": 1e-2}
NETWORKS = [("nodule-shape", "cnn"), ("watch-imu", "cnn1d"), ("german-credit", "mlp")]


def quantized(source: Path, make_context: MakeContext, task: str, name: str) -> tuple[Context, Any]:
    context, journal = make_context(task, name, training=TRAINING, params={"finetune": 0.5}, input=source)
    QatInt8().compress(context)
    return context, journal


def run(path: Path, x: NDArray[np.float32], optimised: Path | None = None) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimised:
        options.optimized_model_filepath = str(optimised)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs: NDArray[np.float32] = session.run(None, {"input": np.ascontiguousarray(x)})[0]
    return outputs


@pytest.mark.parametrize(("task", "name"), NETWORKS)
def test_what_is_trained_ships_in_integers(task: str, name: str, make_context: MakeContext, tmp_path: Path) -> None:
    """Cases C-07, C-08 and C-09. The network was pruned before; one checkpoint is made twice, and exported by another process."""
    reference, _ = make_context(task, name, training=TRAINING)
    model = fresh(reference)
    pruner = Pruner(0.5, everywhere=False, ramp=0)
    pruner.prune(model)
    benchmark_torch.fit(model, reference)
    benchmark_torch.save(model, reference.output)
    context, journal = quantized(reference.output, make_context, task, name)
    layers = len(matrices(model))
    assert journal.layers == {"matched": layers, "changed": layers}
    assert journal.training["updates"] <= 10

    x = np.asarray(context.validation.x)
    loaded = benchmark_torch.load(context.output)
    outputs = benchmark_torch.predict(loaded, x)
    assert context.score(outputs) == max(point["score"] for point in journal.curve)
    after = dict(loaded.named_parameters())
    for key, mask in pruner.masks.items():
        weight = after[f"graph.{key}"]
        assert not weight[mask].any()
        assert weight[~mask].all()

    there, _ = make_context(task, name, input=context.output)
    if name != "cnn1d":
        onnx.save(to_onnx(loaded, x.shape[1:]), there.output / "model.onnx")
    else:
        code = (
            "import sys, pathlib, numpy, onnx, benchmark_torch; from benchmark_torch._export import to_onnx\n"
            "folder, x, out = map(pathlib.Path, sys.argv[1:])\n"
            "model, x = benchmark_torch.load(folder), numpy.load(x)\n"
            "numpy.save(out / 'outputs.npy', benchmark_torch.predict(model, x))\n"
            "onnx.save(to_onnx(model, x.shape[1:]), out / 'model.onnx')"
        )
        np.save(tmp_path / "x.npy", x)
        subprocess.run([sys.executable, "-c", code, context.output, tmp_path / "x.npy", there.output], check=True)
        assert np.array_equal(np.load(there.output / "outputs.npy"), outputs)
        again, _ = quantized(reference.output, make_context, task, name)
        assert (again.output / "model.pt").read_bytes() == (context.output / "model.pt").read_bytes()

    path = there.output / "model.onnx"
    shipped = run(path, x, tmp_path / "optimised.onnx")
    assert abs(context.score(shipped) - context.score(outputs)) <= 0.01
    assert np.abs(shipped - outputs).mean() < 0.05 * outputs.std()
    # ONNX Runtime finds nothing that it must compute in float.
    kinds = {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}
    integer = {"QLinearConv", "QLinearAveragePool", "QGemm", "NhwcMaxPool", "Reshape", "Transpose"}
    assert kinds <= integer | {"QuantizeLinear", "DequantizeLinear"}
    graph = onnx.load(path).graph
    assert not any(node.op_type == "BatchNormalization" for node in graph.node)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = [array for array in arrays.values() if array.ndim > 1]
    assert sorted(array.shape for array in weights) == sorted(tuple(weight.shape) for weight in matrices(model).values())
    assert all(array.dtype == np.int8 and np.abs(array.astype(int)).max() <= 64 for array in weights)  # case C-09
    zeros = sum(int(mask.sum()) for mask in pruner.masks.values())
    assert sum(int((array == 0).sum()) for array in weights) >= zeros
    steps = [arrays[node.input[1]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert all(step.size == 1 for step in steps)
    assert {arrays[node.input[2]].dtype for node in graph.node if node.op_type == "QuantizeLinear"} == {np.dtype(np.uint8)}

    if name == "cnn":
        return
    # As small as what is quantized afterwards, which cannot be done to this one.
    float_, _ = make_context(task, name, input=reference.output)
    Torch().export(float_, "onnx")
    static, _ = make_context(task, name, params={"calibration_rows": 32, "calibration": "minmax"}, input=float_.output)
    Int8Static().compress(static)
    assert path.stat().st_size < 1.05 * (static.output / "model.onnx").stat().st_size
    with pytest.raises(NotApplicable, match="the model is quantized already"):
        Int8Static().compress(dataclasses.replace(static, input=there.output))


def test_modes_change_nothing_but_what_they_are_about() -> None:
    """Case C-08. A normalisation whose eps counts, since its inputs hardly vary."""
    torch.manual_seed(0)
    normalisation = nn.BatchNorm1d(8, eps=1e-3, momentum=0.2)
    layers = (nn.Conv1d(2, 8, 3, bias=False), normalisation, nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(48, 3))
    normalisation.get_buffer("running_var").fill_(1e-3)
    source, x = nn.Sequential(*layers), 0.03 * torch.randn(64, 2, 8)
    model = Prepared(source, (2, 8))
    for _ in range(20):
        model.train()(x)
        model.eval()(x)
    arguments = {node.target: node.args for node in model.graph.graph.nodes}
    assert arguments[torch.ops.aten.batch_norm.default][5:8] == (False, 0.2, 1e-3)
    assert arguments[torch.ops.aten.dropout.default][1:] == (0.1, False)
    state = copy.deepcopy(model.state_dict())
    outputs = model(x)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())  # looking moves no range
    for _ in range(20):
        source.train()(x)
    assert torch.allclose(state["graph.1.running_mean"], normalisation.get_buffer("running_mean"), atol=1e-3)
    assert torch.allclose(state["graph.1.running_var"], normalisation.get_buffer("running_var"), rtol=0.05)
    expected = source.eval()(x)
    shipped = model.shipped()
    normalisation.eps = 1e-5
    wrong = (source(x) - expected).abs().mean()
    assert (outputs - expected).abs().mean() < 0.1 * wrong
    assert (shipped(x) - outputs).abs().mean() < 0.05 * wrong
    assert torch.equal(model(x), outputs)  # shipping left it as it is

    freezer = Freezer(3)
    for frozen in (False, False, True, True):
        freezer(model)
        assert model.frozen == frozen
        before = copy.deepcopy(model.state_dict())
        assert not torch.equal(model.train()(2 * x), model(2 * x))  # dropout goes on
        moved = {name for name, value in model.state_dict().items() if not torch.equal(before[name], value)}
        assert ("graph.1.running_mean" in moved) != frozen
        assert any(name.endswith("max_val") for name in moved) != frozen


def test_ranges_stay_with_their_values() -> None:
    """A shortcut with weights but no normalisation beside a body that has one: torchao numbers these in another order."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv1d(4, 8, 3, padding=1, bias=False), nn.BatchNorm1d(8))
    layers = (
        nn.Conv1d(2, 4, 3, bias=False),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        Sum(body, nn.Conv1d(4, 8, 1)),
        nn.ReLU(),
        nn.Flatten(),
    )
    model, x = Prepared(nn.Sequential(*layers, nn.Linear(48, 3)), (2, 8)), torch.randn(64, 2, 8)
    for _ in range(20):
        model.train()(x)
    outputs = model.eval()(x)
    assert (model.shipped()(x) - outputs).abs().mean() < 0.01 * outputs.std()


def test_a_network_without_weights_is_refused(make_context: MakeContext) -> None:
    source, _ = make_context("german-credit", "mlp")
    benchmark_torch.save(nn.Sequential(nn.ReLU()), source.output)
    context, _ = make_context("german-credit", "mlp", training=TRAINING, params={"finetune": 0.5}, input=source.output)
    with pytest.raises(NotApplicable, match="the network has no convolution and no linear layer"):
        QatInt8().compress(context)


def test_a_bias_that_int32_cannot_hold_gets_larger_steps() -> None:
    """A pruned channel, whose scale is whatever the smallest is, and a plain one."""
    arrays: dict[str, Any] = {
        "x_scale": np.float32(0.01),
        "zero": np.uint8(0),
        "weight": np.array([[0, 0], [64, -3]], np.int8),
        "scale": np.array([1e-9, 0.01], np.float32),
        "bias": np.array([3.0, -0.5], np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "x_scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "x_scale", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["weight", "scale"], ["w"], axis=0),
        helper.make_node("Gemm", ["x", "w", "bias"], ["output"], transB=1),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in ("input", "output")]
    graph = helper.make_graph(
        nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    x = np.array([[0.5, 1.0]], np.float32)
    outputs = []
    for one in (model, integer_biases(onnx.ModelProto.FromString(model.SerializeToString()))):
        onnx.checker.check_model(one, full_check=True)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(one.SerializeToString(), options, providers=["CPUExecutionProvider"])
        outputs.append(session.run(None, {"input": x})[0])
    assert outputs[0] == pytest.approx(np.array([[3.0, 0.5 * 0.64 - 1.0 * 0.03 - 0.5]]), abs=1e-6)
    assert outputs[1] == pytest.approx(outputs[0], abs=1e-4)
