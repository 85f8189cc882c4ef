"""The ONNX file of a network that rounds: its integers, and explicit conversions between them (QDQ)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from benchmark_onnx import integer_biases, strip
from flax import nnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from benchmark_jax._rounding import LEVELS, FakeQuant

_FAR = 1e30  # beyond every value of a network


class Markers:
    """Gives for each range a function that changes nothing and can be found in an export."""

    def __init__(self) -> None:
        self.ranges: list[FakeQuant] = []

    def __call__(self, found: FakeQuant) -> nnx.Module:
        if not any(found is one for one in self.ranges):
            self.ranges.append(found)
        return _Marker(next(number for number, one in enumerate(self.ranges, 1) if one is found))


class _Marker(nnx.Module):
    """Clips at a bound that tells its number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.clip(x, -self.number * _FAR, self.number * _FAR)


def in_integers(model: onnx.ModelProto, marks: Markers, layers: int) -> onnx.ModelProto:
    """``model``, an export of what ``marks`` has marked, with uint8 instead of each mark, and int8 weights and int32 biases where
    such values go in: of all ``layers``. Raises RuntimeError where it finds another number of them, or lacks a mark."""
    graph = model.graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    grids = [tuple(np.asarray(value) for value in found.grid()) for found in marks.ranges]
    nodes: list[onnx.NodeProto] = []
    integers: set[str] = set()  # values that are on a grid
    found, quantized = set[int](), 0

    def constant(value: NDArray[np.generic], name: str) -> str:
        graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    for node in graph.node:
        bound = float(arrays.get(node.input[-1], 0)) if node.op_type == "Clip" else 0.0
        if bound >= _FAR / 2:
            number = round(bound / _FAR) - 1
            found.add(number)
            step, zero = grids[number]
            (result,) = node.output
            grid = constant(step, f"{result} step"), constant(zero.astype(np.uint8), f"{result} zero")
            nodes.append(helper.make_node("QuantizeLinear", [node.input[0], *grid], [f"{result} integers"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"{result} integers", *grid], [result]))
            integers.add(result)
            continue
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[0] in integers and node.input[1] in arrays:
            weight = arrays[node.input[1]]
            if node.op_type == "Gemm":  # with (outputs, inputs), as ONNX Runtime's integer kernel wants it
                settings = {one.name: helper.get_attribute_value(one) for one in node.attribute}
                weight = weight if settings.get("transB") else weight.T
                node.ClearField("attribute")
                node.attribute.extend(
                    helper.make_attribute(name, value) for name, value in sorted({**settings, "transB": 1}.items())
                )
            axis = weight.ndim - 1 if node.op_type == "MatMul" else 0
            largest = np.abs(weight).max(axis=tuple(one for one in range(weight.ndim) if one != axis), keepdims=True)
            step = np.where(largest > 0, largest / LEVELS, 1).astype(np.float32)
            name = f"{node.output[0]} weight"
            # They are multiples of the step already, but for the last bit.
            inputs = [
                constant(np.rint(weight / step).astype(np.int8), f"{name} integers"),
                constant(step.ravel(), f"{name} step"),
            ]
            if node.op_type != "Conv":  # ONNX Runtime computes a product on integers only where it is told that zero is zero
                inputs.append(constant(np.zeros(step.size, np.int8), f"{name} zero"))
            nodes.append(helper.make_node("DequantizeLinear", inputs, [name], axis=axis))
            node.input[1] = name
            quantized += 1
        nodes.append(node)
    if (quantized, len(found)) != (layers, len(grids)):
        raise RuntimeError(
            f"the export has int8 weights in {quantized} of {layers} layers, and rounds in {len(found)} of {len(grids)} ranges"
        )
    ordered = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(ordered)
    return strip(integer_biases(model))
