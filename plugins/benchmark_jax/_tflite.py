"""The TensorFlow Lite export, by LiteRT's own converter and without TensorFlow."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmark import UserError
from benchmark_jax._blocks import halve, halve_upwards, max_pool_3, mean, shifted_products
from benchmark_jax._merge import merged

_CONVERTER = "0.5.0"


def network(model: nnx.Module) -> nnx.Module:
    """``model`` as it is to be converted: in evaluation mode, normalisations merged, each layer the operator that TensorFlow Lite
    has for it."""
    return merged(model, _OPERATORS)


def to_tflite(function: Callable[[jax.Array], jax.Array], input_shape: tuple[int, ...]) -> bytes:
    """``function``, float32 (1, *input_shape) -> float32 (1, K), as a ``.tflite`` file for one row at a time, its weights inside.

    Raises UserError for another litert-converter than the one that this was written for: nothing of what it takes is public.
    """
    if (version := importlib.metadata.version("litert-converter")) != _CONVERTER:
        raise UserError(f"litert-converter {version}: the export of JAX to tflite works with litert-converter=={_CONVERTER} only")
    from litert_converter.mlir import ir, passmanager  # type: ignore[import-untyped]  # it ships no types
    from litert_converter.mlir._mlir_libs import converter_api_ext as api  # type: ignore[import-untyped]  # as above

    shape = jax.ShapeDtypeStruct((1, *input_shape), np.float32)  # type: ignore[no-untyped-call]  # jax has gaps
    lowered: Any = jax.jit(function).lower(shape).compiler_ir("stablehlo")
    # As text, without debug information: JAX and the converter each have an MLIR of their own, and the paths and lines of the
    # code that traces the program are nobody's business.
    text = lowered.operation.get_asm(enable_debug_info=False, large_elements_limit=None)
    context = ir.Context()
    api.prepare_mlir_context(context)
    with context, ir.Location.unknown():
        module = ir.Module.parse(text)
        api.set_signature(module.operation, "serving_default", ["input"], ["output"])
        module = api.merge_modules([module])  # which is what gives the module the form that the passes expect
        settings = api.ConvertToTFLConfig()
        settings.model_origin_framework = "JAX"
        settings.enable_x64 = False
        settings.canonicalizing_inf_as_min_max_float = False
        api.run_convert_to_tfl_passes(module, passmanager.PassManager(), settings)
        model: bytes = api.export_flatbuffer_to_bytes(module.operation)
    return model


def _halve(x: jax.Array) -> jax.Array:
    """Max-pooling by 2. Sequences as images of one line: TensorFlow Lite has no pooling along one axis."""
    if x.ndim == 3:
        return _pooled(x[:, None], (1, 2))[:, 0]
    return _pooled(x, (2, 2))


def _halve_upwards(x: jax.Array) -> jax.Array:
    assert x.ndim == 4  # no network pools sequences so
    return max_pool_3(x)


def _pooled(x: jax.Array, window: tuple[int, int]) -> jax.Array:
    pooled: jax.Array = nnx.max_pool(x, window_shape=window, strides=window)  # type: ignore[no-untyped-call]  # flax has gaps
    return pooled


def _mean(x: jax.Array) -> jax.Array:
    """The mean of each channel, (N, C), without the transpose that ONNX wants."""
    return jnp.mean(x, axis=tuple(range(1, x.ndim - 1))) if x.ndim > 2 else x


_OPERATORS: dict[Any, Any] = {
    halve: _halve,
    halve_upwards: _halve_upwards,
    mean: _mean,
    shifted_products: jax.lax.conv_general_dilated,
}
"""What stands for each of these in a file."""
