"""Smaller ONNX files with the same outputs: ``strip`` and ``fold``."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
from onnx import numpy_helper


def strip(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` without the bytes that no output depends on: a new model with bit-equal outputs.

    Removed: doc strings, metadata, shapes of inner values, node names, who produced it, nodes and initializers that no
    output needs, equal copies of an initializer (a shared weight is stored once), imports of operator sets that no node is
    from. Inner values get short names, so that size does not depend on how wordy an exporter is; inputs and outputs keep
    theirs. Tensors are stored as raw bytes; weights in external files must have been loaded (``onnx.load`` does). Equal
    models give equal bytes, and ``strip`` of the result changes nothing.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for field in ("producer_name", "producer_version", "domain", "model_version"):
        model.ClearField(field)
    for message in _messages(model):
        for field in ("doc_string", "metadata_props"):
            if field in message.DESCRIPTOR.fields_by_name:
                message.ClearField(field)
        match message:
            case onnx.NodeProto():
                message.ClearField("name")
            case onnx.AttributeProto() if message.HasField("t"):
                message.t.ClearField("name")
            case onnx.GraphProto() | onnx.FunctionProto():
                message.ClearField("value_info")
            case onnx.TensorProto() if not message.HasField("raw_data") and message.data_type != onnx.TensorProto.STRING:
                message.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(message), message.name))
    graph = model.graph
    graph.name = "model"
    graph.ClearField("quantization_annotation")
    _drop_dead_nodes(graph)
    _merge_initializers(graph)
    _shorten_names(graph)
    used = {"", *(node.domain for node in _nodes(model))}
    # skl2onnx imports some twice.
    _keep(model.opset_import, list({entry.domain: entry for entry in model.opset_import if entry.domain in used}.values()))
    return model


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with constants computed, batch normalisation merged into convolutions and no-ops gone; then ``strip``.

    This is ONNX Runtime's offline optimisation at its basic level, whose rewrites stay inside the standard ONNX operators
    (https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html). Outputs are equal up to float32
    rounding; inputs, outputs and a dynamic batch axis stay as they are.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return strip(onnx.load(path))


def _messages(message: Any) -> Iterator[Any]:
    """``message`` and every message inside it, outer ones first."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in (value,) if hasattr(value, "ListFields") else value:
                yield from _messages(child)


def _nodes(message: Any) -> list[onnx.NodeProto]:
    """All nodes inside ``message``, those of subgraphs too."""
    return [inner for inner in _messages(message) if isinstance(inner, onnx.NodeProto)]


def _keep(repeated: Any, values: list[Any]) -> None:
    """Replaces what a repeated field holds by ``values``, which may be some of it."""
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del repeated[:]
    repeated.extend(copies)


def _drop_dead_nodes(graph: onnx.GraphProto) -> None:
    needed = {value.name for value in graph.output}
    alive = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            alive.append(node)
            # Subgraphs read values of this graph. Names are unique over a graph and its subgraphs, so theirs do no harm.
            needed.update(name for inner in _nodes(node) for name in inner.input)
    _keep(graph.node, alive[::-1])


def _merge_initializers(graph: onnx.GraphProto) -> None:
    """Leaves one of several equal initializers, and none that nobody reads."""
    fixed = {value.name for value in (*graph.input, *graph.output)}
    first: dict[tuple[object, ...], str] = {}
    merged: dict[str, str] = {}
    for tensor in graph.initializer:
        if tensor.name not in fixed:
            content = (tensor.data_type, *tensor.dims, tensor.raw_data, *tensor.string_data)
            merged[tensor.name] = first.setdefault(content, tensor.name)
    read = set(fixed)
    for node in _nodes(graph):
        node.input[:] = [merged.get(name, name) for name in node.input]
        read.update(node.input)
    _keep(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in read])


def _shorten_names(graph: onnx.GraphProto) -> None:
    """Numbers all values but inputs and outputs in the order in which nodes mention them, and sorts initializers likewise."""
    new: dict[str, str] = {value.name: value.name for value in (*graph.input, *graph.output)} | {"": ""}
    fixed = frozenset(new)
    numbers = (name for name in map(str, itertools.count()) if name not in fixed)

    def short(name: str) -> str:
        if name not in new:
            new[name] = next(numbers)
        return new[name]

    for node in _nodes(graph):
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
    for inner in _messages(graph):
        if isinstance(inner, onnx.GraphProto):
            sparse = (tensor.values for tensor in inner.sparse_initializer)
            for value in (*inner.initializer, *inner.input, *inner.output, *sparse):
                value.name = short(value.name)
    position = {name: index for index, name in enumerate(new.values())}
    _keep(graph.initializer, sorted(graph.initializer, key=lambda tensor: position[tensor.name]))
