"""The ExecuTorch exports, for its XNNPACK kernels; its portable ones take a hundred times as long."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmark_torch._fused import fused, quiet


def to_pte(model: nn.Module, input_shape: tuple[int, ...]) -> bytes:
    """``model`` in evaluation mode as a ``.pte`` file for one row at a time: float32 (1, *input_shape) -> float32 (1, K)."""
    return _lowered(fused(model, input_shape), input_shape)


def to_pte_int8(model: nn.Module, input_shape: tuple[int, ...], rows: NDArray[np.float32]) -> tuple[bytes, int]:
    """As :func:`to_pte` with weights rounded to int8 per output channel and activations to int8 per tensor, in the ranges that
    the calibration ``rows``, float32 (N, *input_shape), give; and how many weights were. Input and output stay float32."""
    with quiet(), _silenced():
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (  # type: ignore[import-untyped]  # no types
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e  # type: ignore[import-untyped]  # no types

        quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
        prepared = prepare_pt2e(fused(model, input_shape), quantizer)
        with torch.no_grad():
            for start in range(len(rows)):
                prepared(torch.tensor(rows[start : start + 1]))
        converted = convert_pt2e(prepared)
        changed = sum("dequantize_per_channel" in str(node.target) for node in converted.graph.nodes)
        return _lowered(converted, input_shape), changed


def _lowered(graph: nn.Module, input_shape: tuple[int, ...]) -> bytes:
    with quiet(), _silenced():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner  # type: ignore[import-untyped]  # no types
        from executorch.exir import to_edge_transform_and_lower  # type: ignore[import-untyped]  # as above

        program = torch.export.export(graph, (torch.zeros(1, *input_shape),))
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        return bytes(edge.to_executorch().buffer)


@contextmanager
def _silenced() -> Iterator[None]:
    """Keeps what these libraries print and log out of the log of a step."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
