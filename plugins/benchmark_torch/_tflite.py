"""The TensorFlow Lite export, by litert-torch.

``python -m benchmark_torch._tflite CHECKPOINT FILE SIZE...``, the sizes being those of a row: a process of its own, since
importing litert-torch imports JAX, with which it lowers most operators.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from benchmark_torch._fused import fused, quiet
from benchmark_torch._train import load


def to_tflite(model: nn.Module, input_shape: tuple[int, ...]) -> bytes:
    """``model`` in evaluation mode as a ``.tflite`` file for one row at a time: float32 (1, *input_shape) -> float32 (1, K)."""
    with quiet():
        import litert_torch  # type: ignore[import-untyped]  # it ships no types; seconds, and only here
        from litert_torch import progress

        progress.config.show_progress = False
        converted = litert_torch.convert(fused(model, input_shape), (torch.zeros(1, *input_shape),))
        content: bytes = converted.model_content()
    return content


if __name__ == "__main__":
    torch.set_num_threads(1)
    Path(sys.argv[2]).write_bytes(to_tflite(load(Path(sys.argv[1])), tuple(map(int, sys.argv[3:]))))
