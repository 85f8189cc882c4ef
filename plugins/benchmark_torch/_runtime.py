"""PyTorch itself as a runtime: the module as it is, and the program that ``torch.export`` makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmark import Predictor
from benchmark_torch._fused import fused, program, quiet

Floats: TypeAlias = NDArray[np.float32]

EAGER = "model.pt"
PROGRAM = "model.pt2"
_NOTES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")  # with paths of the machine


def write_module(model: nn.Module, folder: Path) -> None:
    """Writes ``model`` in evaluation mode as ``model.pt``, pickled."""
    torch.save(model.eval(), folder / EAGER)


def write_program(model: nn.Module, input_shape: tuple[int, ...], folder: Path) -> None:
    """Writes ``model`` in evaluation mode as ``model.pt2``, float32 (N, *input_shape) -> float32 (N, K), for any N."""
    exported = program(fused(model, input_shape), input_shape)
    for node in exported.graph.nodes:
        for note in _NOTES:
            node.meta.pop(note, None)
    exported.example_inputs = None
    with quiet():
        torch.export.save(exported, folder / PROGRAM)


class TorchEager:
    """Runs a pickled module, ``model.pt``, operator by operator."""

    def load(self, folder: Path, threads: int) -> Predictor:
        """Loads the artifact in ``folder``. It is unpickled: load only what your own run wrote."""
        torch.set_num_threads(threads)
        model: nn.Module = torch.load(folder / EAGER, weights_only=False)
        return _Predictor(model.eval())

    def identity(self, folder: Path, input_shape: tuple[int, ...]) -> None:
        """Writes the floor: a module whose ``predict`` returns its input, float32 (N, ...)."""
        write_module(nn.Identity(), folder)


class TorchExport:
    """Runs an exported program, ``model.pt2``, operator by operator."""

    def load(self, folder: Path, threads: int) -> Predictor:
        """Loads the artifact in ``folder``, for any number of rows."""
        torch.set_num_threads(threads)
        with quiet():
            # Without its check of the inputs' shape, which takes longer than a small network.
            return _Predictor(torch.export.load(folder / PROGRAM).module(check_guards=False))

    def identity(self, folder: Path, input_shape: tuple[int, ...]) -> None:
        """Writes the floor: a program whose ``predict`` returns its input, float32 (N, ...)."""
        write_program(_Same(), input_shape, folder)


class _Same(nn.Module):
    """``nn.Identity``, of which no program can be made: one that returns its very input has no operator."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(x.shape)


class _Predictor:
    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def predict(self, x: Floats) -> Floats:
        """float32 (N, ...) -> float32 (N, K)."""
        with torch.inference_mode():
            output: Floats = self._model(torch.from_numpy(x)).numpy()
        return output
