"""Biases of quantized layers as integers."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper


def integer_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model``, changed in place: float biases of Conv and Gemm whose input and weight are integers become int32, in steps of
    the product of both scales, in which integer kernels sum (Jacob et al., arXiv 1712.05877, equation 11). ONNX Runtime computes
    a Gemm with a float bias in float.

    A channel whose weights are so small that its bias would not fit gets a larger scale. By then they are below a thousandth of a
    thousandth of the bias, or zero, as in a pruned channel.
    """
    graph, nodes = model.graph, []
    constants = {tensor.name: tensor for tensor in graph.initializer}
    made = {node.output[0]: node for node in graph.node}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm") and len(node.input) == 3 and node.input[2] in constants:
            x, weight = (made.get(name, node) for name in node.input[:2])
            if x.op_type == weight.op_type == "DequantizeLinear" and weight.input[0] in constants:
                names = (x.input[1], weight.input[1], weight.input[0], node.input[2])
                x_scale, scale, values, bias = (numpy_helper.to_array(constants[name]) for name in names)
                fitting = np.maximum(scale, np.float32(2.0**-30) * abs(bias) / x_scale)
                ratio = (scale / fitting).reshape(-1, *[1] * (values.ndim - 1))
                smaller = np.rint(values * ratio).astype(np.int8)
                constants[weight.input[0]].CopyFrom(numpy_helper.from_array(smaller, weight.input[0]))
                constants[weight.input[1]].CopyFrom(numpy_helper.from_array(fitting, weight.input[1]))
                step, name = x_scale * fitting, node.output[0]
                graph.initializer.append(numpy_helper.from_array(np.rint(bias / step).astype(np.int32), f"{name}_bias"))
                graph.initializer.append(numpy_helper.from_array(step, f"{name}_step"))
                nodes.append(helper.make_node("DequantizeLinear", [f"{name}_bias", f"{name}_step"], [f"{name}_float"], axis=0))
                node.input[2] = f"{name}_float"
        nodes.append(node)
    ordered = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(ordered)
    return model
