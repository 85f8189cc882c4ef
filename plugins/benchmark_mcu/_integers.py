"""Quantize-dequantize pairs -> integer operators: what a microcontroller computes with, the same on every machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx
from benchmark_onnx import strip
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from benchmark import NotApplicable

_MICROSOFT = "com.microsoft"  # ONNX Runtime's own operators, for what the standard has no integer form of
_VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity")
_BIAS_TOLERANCE = 1e-4  # relative: a bias rounded with another scale than input times weight is rounded anew


class _Quantized(NamedTuple):
    """Names of quantised values, their scale and their zero point."""

    values: str
    scale: str
    zero: str


def to_integers(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with each operator between DequantizeLinear and QuantizeLinear as one on integers: QLinearConv, QLinearMatMul and
    MaxPool of the standard, and QGemm, QLinearAdd, QLinearMul, QLinearConcat, QLinearAveragePool and QLinearGlobalAveragePool of
    ONNX Runtime (its ContribOperators page). A Gemm whose result nobody quantises gives float32. Activations and clips before a
    QuantizeLinear become clips of the integers, and none where rounding saturates there anyway. What has no such form stays in
    float32 between its pair. Outputs differ from those of the pairs by rounding: a step of an inner value's scale. Raises
    NotApplicable for an operator set before 13."""
    rewriter = _Rewriter(model)
    rewriter.rewrite()
    return strip(rewriter.model)


class _Rewriter:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto.FromString(model.SerializeToString())
        graph = self.model.graph
        old = any(one.domain in ("", "ai.onnx") and one.version < 13 for one in self.model.opset_import)
        if old and any(node.op_type == "QuantizeLinear" for node in self.model.graph.node):
            raise NotApplicable("an ONNX file of an operator set before 13 cannot be rewritten to integers: export it anew")
        inferred = onnx.shape_inference.infer_shapes(self.model).graph
        values = (*inferred.input, *inferred.value_info, *inferred.output)
        self.ranks = {one.name: len(one.type.tensor_type.shape.dim) for one in values if one.type.tensor_type.HasField("shape")}
        self.constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self.producer = {name: node for node in graph.node for name in node.output}
        self.readers = Counter(name for node in graph.node for name in node.input)
        self.readers.update(value.name for value in graph.output)
        self.reader = {name: node for node in graph.node for name in node.input}  # the only one, where there is one
        self.done: set[str] = set()  # outputs of nodes that became part of an earlier one
        self.same: dict[str, str] = {}  # value -> the quantised one that it is, bit for bit

    def rewrite(self) -> None:
        graph = self.model.graph
        nodes = list[onnx.NodeProto]()
        for node in graph.node:
            if node.output[0] in self.done:
                continue
            replacement = self._integer(node)
            nodes.extend([node] if replacement is None else replacement)
        for node in nodes:
            node.input[:] = [self.same.get(name, name) for name in node.input]
        del graph.node[:]
        graph.node.extend(nodes)
        self.model.opset_import.append(helper.make_opsetid(_MICROSOFT, 1))

    # What stands around a node

    def _dequantized(self, name: str) -> _Quantized | None:
        """The quantised values that ``name`` is made from."""
        node = self.producer.get(name)
        if node is None or node.op_type != "DequantizeLinear":
            return None
        zero = node.input[2] if len(node.input) > 2 else ""
        return _Quantized(node.input[0], node.input[1], zero)

    def _activation(self, name: str) -> _Quantized | None:
        found = self._dequantized(name)
        return None if found is None or found.values in self.constants or not found.zero else found

    def _weight(self, name: str, axis: int) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[Any]] | None:
        """Constant integers, their scales (C) or (), and their zero points, of the weights' type; () where all are 0. ``axis``:
        the one that scales must run along where there are several."""
        found = self._dequantized(name)
        if found is None or found.values not in self.constants:
            return None
        values = self.constants[found.values]
        attributes = {one.name: one.i for one in self.producer[name].attribute}
        along = attributes.get("axis", 1) % max(values.ndim, 1)
        if attributes.get("block_size", 0) or (self.constants[found.scale].ndim and along != axis):
            return None
        zero = self.constants[found.zero] if found.zero else np.zeros((), values.dtype)
        zero = zero if zero.any() else np.zeros((), values.dtype)
        return values, self.constants[found.scale], zero.astype(values.dtype)

    def _quantizer(self, name: str) -> tuple[_Quantized, list[onnx.NodeProto]] | None:
        """What ``name``, read by nobody else, is quantised to, through activations that only clip; and the nodes up to there."""
        passed = list[onnx.NodeProto]()
        while self.readers[name] == 1 and name in self.reader:
            node = self.reader[name]
            passed.append(node)
            if node.op_type == "QuantizeLinear":
                return (_Quantized(node.output[0], node.input[1], node.input[2]), passed) if len(node.input) > 2 else None
            if node.op_type not in ("Relu", "Clip") or any(one not in self.constants for one in node.input[1:] if one):
                return None
            name = node.output[0]
        return None

    def _add(self, value: NDArray[Any]) -> str:
        """The name of a new constant."""
        name = f"integers_{len(self.constants)}"
        self.constants[name] = value
        self.model.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    # What takes a node's place

    def _integer(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        rules: dict[str, Callable[[onnx.NodeProto], list[onnx.NodeProto] | None]] = {
            "Conv": self._conv,
            "Gemm": self._gemm,
            "MatMul": self._matmul,
            "Add": self._binary,
            "Mul": self._binary,
            "Concat": self._concat,
            "AveragePool": self._pool,
            "GlobalAveragePool": self._pool,
            "ReduceMean": self._mean,
            "MaxPool": self._same_scale,
            "QuantizeLinear": self._again,
            **dict.fromkeys(_VIEWS, self._same_scale),
        }
        return rules[node.op_type](node) if node.op_type in rules and node.domain in ("", "ai.onnx") else None

    def _into(self, node: onnx.NodeProto, make: Callable[[_Quantized, str], list[onnx.NodeProto]]) -> list[onnx.NodeProto] | None:
        """What ``make`` gives for the quantised output of a node and the name that it has to fill, with the clips behind it."""
        found = self._quantizer(node.output[0])
        if found is None:
            return None
        target, passed = found
        low, high = self._bounds(target, passed[:-1])
        self.done.update(one.output[0] for one in passed)
        if low is None and high is None:
            return make(target, target.values)
        inner = f"{target.values}_unclipped"
        bounds = ["" if bound is None else self._add(bound) for bound in (low, high)]
        return [*make(target, inner), helper.make_node("Clip", [inner, *bounds], [target.values])]

    def _bounds(self, target: _Quantized, clips: list[onnx.NodeProto]) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
        """The smallest and the largest integer that clips let pass, None where the type ends there anyway."""
        zero = self.constants[target.zero]
        scale, limits = float(self.constants[target.scale]), np.iinfo(zero.dtype)
        lowest, highest = limits.min, limits.max
        for node in clips:
            ends = [0.0, None] if node.op_type == "Relu" else [self._scalar(node, 1), self._scalar(node, 2)]
            if ends[0] is not None:
                lowest = max(lowest, round(ends[0] / scale) + int(zero))
            if ends[1] is not None:
                highest = min(highest, round(ends[1] / scale) + int(zero))
        low = None if lowest == limits.min else np.array(lowest, zero.dtype)
        return low, None if highest == limits.max else np.array(highest, zero.dtype)

    def _scalar(self, node: onnx.NodeProto, place: int) -> float | None:
        return float(self.constants[node.input[place]]) if len(node.input) > place and node.input[place] else None

    def _bias(self, name: str, x: _Quantized, weight_scale: NDArray[np.float32]) -> NDArray[np.int32] | None:
        """A bias as int32 with the scale of products of input and weight; None where it is none, or does not fit."""
        scale = (self.constants[x.scale] * weight_scale).astype(np.float64)
        found = self._weight(name, 0)
        if found is None and name not in self.constants:
            return None
        if found is None:
            values = self.constants[name].astype(np.float64)
        elif np.allclose(found[1], scale, rtol=_BIAS_TOLERANCE, atol=0) and found[0].dtype == np.int32:
            return found[0]
        else:
            values = found[0].astype(np.float64) * found[1]
        rounded = np.round(values / scale)
        return rounded.astype(np.int32) if (np.abs(rounded) <= np.iinfo(np.int32).max).all() else None

    def _conv(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        x, weight = self._activation(node.input[0]), self._weight(node.input[1], 0)
        if x is None or weight is None:
            return None
        values, scale, zero = weight
        bias = []
        if len(node.input) > 2:
            rounded = self._bias(node.input[2], x, scale)
            if rounded is None:
                return None
            bias = [self._add(rounded)]
        inputs = [*x, *map(self._add, (values, scale, zero))]
        return self._into(node, lambda y, name: [_like(node, "QLinearConv", [*inputs, y.scale, y.zero, *bias], name)])

    def _gemm(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0 and not attributes.get("transA", 0)
        x, weight = self._activation(node.input[0]), self._weight(node.input[1], 0 if attributes.get("transB", 0) else 1)
        if not plain or x is None or weight is None:
            return None
        values, scale, zero = weight
        if zero.size != scale.size:
            zero = np.zeros(scale.shape, values.dtype)  # QGemm wants one a column
        bias = self._bias(node.input[2], x, scale) if len(node.input) > 2 else None
        if bias is None and len(node.input) > 2:
            return None
        inputs = [*x, *map(self._add, (values, scale, zero)), "" if bias is None else self._add(bias)]
        transposed = {"transB": attributes.get("transB", 0)}

        def gemm(end: list[str], name: str) -> list[onnx.NodeProto]:
            return [helper.make_node("QGemm", [*inputs, *end], [name], domain=_MICROSOFT, **transposed)]

        found = self._into(node, lambda y, name: gemm([y.scale, y.zero], name))
        return gemm(["", ""], node.output[0]) if found is None else found

    def _matmul(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        x, weight = self._activation(node.input[0]), self._weight(node.input[1], -1)
        if x is None or weight is None or weight[1].size > 1:  # the generator of C takes one scale here
            return None
        inputs = [*x, *map(self._add, weight)]
        return self._into(node, lambda y, name: [helper.make_node("QLinearMatMul", [*inputs, y.scale, y.zero], [name])])

    def _binary(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        both = [self._activation(name) for name in node.input]
        if None in both:
            return None
        inputs = [name for one in both if one for name in one]
        kind = f"QLinear{node.op_type}"
        return self._into(node, lambda y, name: [helper.make_node(kind, [*inputs, y.scale, y.zero], [name], domain=_MICROSOFT)])

    def _concat(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        parts = [self._activation(name) for name in node.input]
        if None in parts:
            return None
        inputs = [name for one in parts if one for name in (one.values, one.scale, one.zero)]
        return self._into(node, lambda y, name: [_like(node, "QLinearConcat", [y.scale, y.zero, *inputs], name, _MICROSOFT)])

    def _pool(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        x = self._activation(node.input[0])
        if x is None:
            return None
        kind = f"QLinear{node.op_type}"
        return self._into(node, lambda y, name: [_like(node, kind, [*x, y.scale, y.zero], name, _MICROSOFT)])

    def _mean(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """A mean over all axes but the first two."""
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        given = self.constants.get(node.input[1]) if len(node.input) > 1 else attributes.get("axes", [])
        rank = self.ranks.get(node.input[0], 0)
        axes = [] if given is None or not rank else sorted(axis % rank for axis in np.asarray(given).tolist())
        x = self._activation(node.input[0])
        if x is None or rank < 3 or axes != list(range(2, rank)):
            return None

        def mean(y: _Quantized, name: str) -> list[onnx.NodeProto]:
            flat = [] if attributes.get("keepdims", 1) else [helper.make_node("Flatten", [f"{name}_kept"], [name], axis=1)]
            inner = f"{name}_kept" if flat else name
            pool = helper.make_node("QLinearGlobalAveragePool", [*x, y.scale, y.zero], [inner], domain=_MICROSOFT)
            return [pool, *flat]

        return self._into(node, mean)

    def _again(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """A value quantised as it was already, which exporters leave where a layer does nothing in inference."""
        x = self._activation(node.input[0])
        if x is None or len(node.input) < 3 or not self._agree(x, _Quantized(node.output[0], *node.input[1:3])):
            return None
        self.same[node.output[0]] = self.same.get(x.values, x.values)
        return []

    def _agree(self, x: _Quantized, y: _Quantized) -> bool:
        """Whether two quantisations are one: scale, zero point, and its type, which is that of the values."""
        pairs = [(self.constants[one], self.constants[other]) for one, other in zip(x[1:], y[1:], strict=True)]
        return all(one.dtype == other.dtype and np.array_equal(one, other) for one, other in pairs)

    def _same_scale(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """A view or a maximum, which integers go through as they are where both sides have one scale and zero point."""
        x, found = self._activation(node.input[0]), self._quantizer(node.output[0])
        if x is None or found is None or not self._agree(x, found[0]):
            return None
        return self._into(node, lambda _, name: [_like(node, node.op_type, [x.values, *node.input[1:]], name)])


def _like(node: onnx.NodeProto, kind: str, inputs: list[str], output: str, domain: str = "") -> onnx.NodeProto:
    """A node of another kind with the attributes of ``node``."""
    made = helper.make_node(kind, inputs, [output], domain=domain)
    made.attribute.extend(node.attribute)
    return made
