"""Int8 quantization of an ONNX file, whatever back end it came from."""

from __future__ import annotations

import contextlib
import functools
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import NDArray
from onnx import TensorProto
from onnxruntime.quantization import (  # type: ignore[import-untyped]  # it ships no types
    QDQQuantizer,
    QuantType,
    TensorData,
    quantize_dynamic,
)
from onnxruntime.quantization.calibrate import HistogramCollector  # type: ignore[import-untyped]  # it ships no types

from benchmark import Context, NotApplicable, calibration_rows
from benchmark_onnx._graph import fold, strip

_Values: TypeAlias = dict[str, NDArray[np.float32]]
_Ranges: TypeAlias = dict[str, TensorData]

_PRODUCTS = ("Gemm", "MatMul")
_WEIGHTED = ("Conv", *_PRODUCTS)
_PERCENTILE = 99.99
_BINS = 1024  # of a histogram of activations
# What ONNX Runtime computes on integers; anything else between them stays float. Softmax, although it could, stays float
# too: with 256 steps of probability many rows would tie, which ranking metrics punish.
_INTEGER = (
    *_WEIGHTED, "Add", "Mul", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Pad",
    "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice",
)  # fmt: skip


class Int8Static:
    """Weights as int8 per output channel, activations as uint8 per tensor, in QDQ form (Jacob et al., arXiv 1712.05877).

    Weights use 7 of the 8 bits, -64 to 64. Processors without VNNI add pairs of products in 16 bits, and a pair of full
    ones saturates there (255 * 127 * 2 > 32,767), so that one file would give different answers on different machines;
    255 * 64 * 2 = 32,640 fits. Ranges of activations are found on ``calibration_rows`` training rows, by ``calibration``:
    ``minmax``, the smallest and the largest value; ``percentile``, what holds the middle 99.99 % of all values;
    ``entropy``, the cut whose 8-bit histogram diverges least from the whole one (Migacz, GTC 2017, 8-bit inference with
    TensorRT). The last two give up outliers for finer steps. The outputs of ``Gemm`` and ``MatMul`` are not rounded to 8
    bits: ONNX Runtime's integer kernels return float there at no cost, and logits keep their order.
    """

    def compress(self, context: Context) -> None:
        """Reads ``model.onnx`` from ``context.input`` and writes ``model.onnx`` into ``context.output``.

        Raises NotApplicable if the model has no Conv, Gemm or MatMul with a float weight, or is quantized already.
        """
        assert context.input is not None
        model = fold(_unquantized(context.input))
        matched = _count(model.graph, TensorProto.FLOAT, _WEIGHTED)
        if not matched:
            raise NotApplicable(f"the model has no {', '.join(_WEIGHTED[:-1])} or {_WEIGHTED[-1]} with a float weight")
        x, drawn = calibration_rows(context)
        model = _quantize(model, _RANGES[str(context.params["calibration"])](_activations(model, x, context.threads)))
        onnx.save(model, context.output / "model.onnx")
        context.report(
            matched=matched,
            changed=_count(model.graph, TensorProto.INT8, _WEIGHTED),
            **drawn,
        )


class Int8Dynamic:
    """The weights of matrix products as int8 per output channel, of 7 bits as in :class:`Int8Static`. Each call finds the
    range of a product's input and rounds it to uint8 (``DynamicQuantizeLinear``), so that no calibration is needed;
    convolutions, which this makes slow on ONNX Runtime, stay float.
    """

    def compress(self, context: Context) -> None:
        """Reads ``model.onnx`` from ``context.input`` and writes ``model.onnx`` into ``context.output``.

        Raises NotApplicable if the model has no Gemm or MatMul with a float weight, or is quantized already.
        """
        assert context.input is not None
        model = fold(_unquantized(context.input))
        matched = _count(model.graph, TensorProto.FLOAT, _PRODUCTS)
        if not matched:
            raise NotApplicable("the model has no Gemm or MatMul with a float weight")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            onnx.helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})  # it is, by fold: no warning
            quantize_dynamic(
                model, path, op_types_to_quantize=["MatMul"], per_channel=True, reduce_range=True, weight_type=QuantType.QInt8
            )
            model = strip(onnx.load(path))
        onnx.save(model, context.output / "model.onnx")
        context.report(matched=matched, changed=sum(node.op_type == "MatMulInteger" for node in model.graph.node))


def _unquantized(folder: Path) -> onnx.ModelProto:
    model = onnx.load(folder / "model.onnx")
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear") for node in model.graph.node):
        raise NotApplicable("the model is quantized already")
    return model


def _count(graph: onnx.GraphProto, weight_type: int, operators: tuple[str, ...]) -> int:
    """How many nodes have a weight stored as ``weight_type``, possibly behind a DequantizeLinear."""
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in types:
            types[node.output[0]] = types[node.input[0]]
    return sum(node.op_type in operators and types.get(node.input[1]) == weight_type for node in graph.node)


def _activations(model: onnx.ModelProto, x: NDArray[np.float32], threads: int, batch: int = 32) -> Iterator[_Values]:
    """The input and every float value that a node computes, by name, over the rows ``x``, ``batch`` at a time.

    ONNX Runtime's own calibrators give the same values, but always start a thread for each core of the machine.
    """
    (name,) = (value.name for value in model.graph.input)
    probe = onnx.ModelProto.FromString(model.SerializeToString())
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=output) for node in probe.graph.node for output in node.output if output)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [name, *(output.name for output in session.get_outputs())]
    for start in range(0, len(x), batch):
        part = x[start : start + batch]
        values = zip(names, [part, *session.run(None, {name: part})], strict=True)
        yield {key: value for key, value in values if value.dtype == np.float32 and value.size}


def _minmax(batches: Iterator[_Values]) -> _Ranges:
    seen: dict[str, list[np.float32]] = {}
    for values in batches:
        for key, value in values.items():
            seen.setdefault(key, []).extend((value.min(), value.max()))
    return {key: TensorData(lowest=np.min(ends), highest=np.max(ends)) for key, ends in seen.items()}


def _by_histogram(method: str, batches: Iterator[_Values]) -> _Ranges:
    """The ranges that ONNX Runtime's collector finds by ``method``; it speaks of it, which is nobody's business."""
    collector = HistogramCollector(
        method, symmetric=False, num_bins=_BINS, num_quantized_bins=128, percentile=_PERCENTILE, scenario="same"
    )
    with contextlib.redirect_stdout(io.StringIO()):
        for values in batches:
            # Without zeros: they are exact whatever the range, and after a ReLU so many that they would hide all others.
            collector.collect({key: value[value != 0] if value.any() else value for key, value in values.items()})
        found = collector.compute_collection_result()
    return {key: TensorData(lowest=low, highest=high) for key, (low, high, *_) in found.items()}


_RANGES: dict[str, Callable[[Iterator[_Values]], _Ranges]] = {
    "minmax": _minmax,
    "entropy": functools.partial(_by_histogram, "entropy"),
    "percentile": functools.partial(_by_histogram, "percentile"),
}


def _quantize(model: onnx.ModelProto, ranges: _Ranges) -> onnx.ModelProto:
    """A quantized copy of ``model``."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    biases = {node.input[2] for node in model.graph.node if node.op_type == "Gemm" and len(node.input) == 3}
    for tensor in model.graph.initializer:
        if tensor.name in biases and len(tensor.dims) == 2 and tensor.dims[0] == 1:
            del tensor.dims[0]  # ONNX also allows (1, N) for the bias, but QDQQuantizer fails on it
    # It copies a bias that several nodes share, and names the copy by adding a number: after "1" may come "19", a value's name.
    constants = {tensor.name: f"constant.{tensor.name}." for tensor in model.graph.initializer}
    for tensor in model.graph.initializer:
        tensor.name = constants[tensor.name]
    for node in model.graph.node:
        node.input[:] = [constants.get(name, name) for name in node.input]
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=True,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=_INTEGER,
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    model = quantizer.model.model
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and types.get(node.input[0]) == TensorProto.INT32:
            del node.input[2:]  # an int32 zero point can only be zero, and is, once for each channel of each bias
    return strip(model)
