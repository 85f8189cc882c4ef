"""ExecuTorch on the CPU, set up for one small model at a time."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

# The module below ``portable_lib``, which needs torch loaded. That one also imports the whole exporter: 3 to 5 seconds and
# 130 MB, of which running needs nothing.
from executorch.extension.pybindings import _C  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import NDArray
from torch import nn

from benchmark import Predictor

Floats: TypeAlias = NDArray[np.float32]

FILE = "model.pte"


class ExecuTorch:
    """Runs the ``model.pte`` of an artifact."""

    def load(self, folder: Path, threads: int) -> Predictor:
        """Loads the artifact in ``folder``: one method, ``forward``, for one row at a time."""
        # By default it starts half as many threads as there are cores; this is for all models of the process.
        _C._unsafe_reset_threadpool(threads)
        return _Predictor(_C._load_for_executorch(str(folder / FILE)))

    def identity(self, folder: Path, input_shape: tuple[int, ...]) -> None:
        """Writes the floor: a program whose ``predict`` returns its input, float32 (N, ...)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what these libraries do themselves
            from executorch.exir import to_edge_transform_and_lower  # type: ignore[import-untyped]  # as above

            program = torch.export.export(_Same(), (torch.zeros(1, *input_shape),))
            content = to_edge_transform_and_lower(program).to_executorch().buffer
        (folder / FILE).write_bytes(content)


class _Same(nn.Module):
    """A copy of its input, since a program may not return what it was given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clone()


class _Predictor:
    """A loaded model. Its output lies in memory that the next call overwrites; numpy copies that faster than ExecuTorch does."""

    def __init__(self, module: Any) -> None:
        self._module, self._forward = module, module.forward

    def predict(self, x: Floats) -> Floats:
        """float32 (N, ...) -> float32 (N, K), row by row: the file's memory is planned for one."""
        if len(x) == 1:
            return self._row(x)
        return np.concatenate([self._row(x[i : i + 1]) for i in range(len(x))])

    def _row(self, x: Floats) -> Floats:
        output: Floats = self._forward((torch.from_numpy(x),), False)[0].numpy().copy()
        return output
