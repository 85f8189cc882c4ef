"""The exports."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import onnx
import torch
from benchmark_onnx import fold, integer_biases, strip
from torch import nn

from benchmark import NotApplicable
from benchmark_torch._blocks import Rounded
from benchmark_torch._train import load

PTE = "model.pte"


def export(checkpoint: Path, input_shape: tuple[int, ...], format_: str, output: Path) -> None:
    """Writes a checkpoint in one of the back end's formats. Raises NotApplicable for a form that a pass made for another one."""
    if (checkpoint / PTE).exists():
        if format_ != "pte":
            raise NotApplicable("int8-xnnpack makes programs for ExecuTorch alone: export as pte")
        shutil.copyfile(checkpoint / PTE, output / PTE)
        return
    model = load(checkpoint)
    if format_ == "onnx":
        onnx.save(to_onnx(model, input_shape), output / "model.onnx")
        return
    if isinstance(model, Rounded):
        raise NotApplicable("qat-int8 rounds as ONNX's integer operators do: export as onnx")
    if format_ == "tflite":
        _in_a_process_of_its_own(checkpoint, input_shape, output / "model.tflite")
    elif format_ == "pte":
        from benchmark_torch._pte import to_pte

        (output / PTE).write_bytes(to_pte(model, input_shape))
    else:
        from benchmark_torch._runtime import write_module, write_program

        if format_ == "torch":
            write_module(model, output)
        else:
            write_program(model, input_shape, output)


def _in_a_process_of_its_own(checkpoint: Path, input_shape: tuple[int, ...], file: Path) -> None:
    """The export to tflite, for which litert-torch imports JAX: whatever else this process does is done without that."""
    command = [sys.executable, "-m", "benchmark_torch._tflite", str(checkpoint), str(file), *map(str, input_shape)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        print(done.stderr, file=sys.stderr)
        raise RuntimeError(f"litert-torch: {said[-1]}")


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
