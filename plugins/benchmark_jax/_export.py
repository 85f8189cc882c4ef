"""The ONNX export."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import jax
import jax2onnx  # type: ignore[import-untyped]  # it ships no types
import onnx
from benchmark_onnx import fold
from flax import nnx

from benchmark_jax._blocks import OPERATORS
from benchmark_jax._integers import Markers, in_integers
from benchmark_jax._merge import merged
from benchmark_jax._rounding import Prepared, unrounded


def to_onnx(model: nnx.Module, input_shape: tuple[int, ...]) -> onnx.ModelProto:
    """``model`` in evaluation mode as one ONNX graph: ``input`` float32 (N, *input_shape) -> ``output`` float32 (N, K)."""
    if isinstance(model, Prepared):
        marks = Markers()
        return in_integers(to_onnx(unrounded(model.network, marks), input_shape), marks, model.matched)
    jax.eval_shape(_import_equinox_converters)
    shape = [("N", *input_shape)]
    return fold(jax2onnx.to_onnx(merged(model, OPERATORS), shape, input_names=["input"], output_names=["output"]))


def _import_equinox_converters() -> None:
    """Imports a part of what jax2onnx imports at its first conversion: its converters for Equinox.

    These build layers for jax2onnx's own tests, which takes 7 s of compiling. Under ``jax.eval_shape`` they are only traced, in
    a fraction of a second; nothing of ours uses them.
    """
    folder = Path(jax2onnx.__file__).parent / "plugins" / "equinox"
    for module in pkgutil.walk_packages([str(folder)], "jax2onnx.plugins.equinox."):
        importlib.import_module(module.name)
