"""The ONNX export."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import onnx
import torch
from benchmark_onnx import fold, strip
from onnx import helper, numpy_helper
from torch import nn

from benchmark_torch._blocks import Rounded


def to_onnx(model: nn.Module, input_shape: tuple[int, ...]) -> onnx.ModelProto:
    """``model`` in evaluation mode as one ONNX graph: ``input`` float32 (N, *input_shape) -> ``output`` float32 (N, K)."""
    # Two rows, since a batch of one would be taken for a constant; plain zeros, whose strides say nothing about the layout.
    example = torch.zeros(2, *input_shape)
    # It reports operators of torchvision that it cannot register.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
        warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*", category=FutureWarning)
        program = torch.onnx.export(
            model.shipped() if isinstance(model, Rounded) else model.eval(),
            (example,),
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None  # it is None only where a file is asked for
    if isinstance(model, Rounded):
        return strip(integer_biases(program.model_proto))  # nothing to fold: constants are what is to stay as it is
    return fold(program.model_proto)


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
