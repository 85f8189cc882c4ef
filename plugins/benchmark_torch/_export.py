"""The ONNX export."""

from __future__ import annotations

import logging
import warnings

import onnx
import torch
from benchmark_onnx import fold, integer_biases, strip
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
