"""Int8 quantization of a ``.tflite`` file, whatever back end it came from."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections import Counter
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema  # type: ignore[import-untyped]  # it ships no types
from ai_edge_litert.tools import flatbuffer_utils  # type: ignore[import-untyped]  # as above
from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager  # type: ignore[import-untyped]  # as above
from ai_edge_quantizer.algorithm_manager import AlgorithmName  # type: ignore[import-untyped]  # as above
from ai_edge_quantizer.utils import qsv_utils  # type: ignore[import-untyped]  # as above

from benchmark import Context, NotApplicable, calibration_rows
from benchmark_litert._runtime import FILE, opened

_ANY = ".*"
_WEIGHTED = {
    getattr(schema.BuiltinOperator, name)
    for name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL")
}


class Int8Litert:
    """Weights as int8 per output channel, activations as int8 per tensor, ranges by the smallest and the largest value that
    ``calibration_rows`` training rows give (Jacob et al., arXiv 1712.05877).

    Input and output stay float32, converted by an operator of the graph: 300 bytes more than with int8 at both ends, the same
    outputs, and 5 us less a call than when a caller in Python rounds the rows, which for a small model is most of the call.
    """

    def compress(self, context: Context) -> None:
        """Reads ``model.tflite`` from ``context.input`` and writes ``model.tflite`` into ``context.output``.

        Raises NotApplicable if no convolution or matrix product has a float weight.
        """
        assert context.input is not None
        model = (context.input / FILE).read_bytes()
        matched = _weights(model)[schema.TensorType.FLOAT32]
        if not matched:
            raise NotApplicable("the model has no convolution or matrix product with a float weight")
        x, drawn = calibration_rows(context)
        small = _quantized(model, x, context.threads)
        (context.output / FILE).write_bytes(small)
        context.report(
            matched=matched,
            changed=_weights(small)[schema.TensorType.INT8],
            **drawn,
        )


def _quantized(model: bytes, x: Any, threads: int) -> bytes:
    recipe = recipe_manager.RecipeManager()
    operations = qtyping.TFLOperationName
    recipe.add_static_config(regex=_ANY, operation_name=operations.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
    for end in (operations.INPUT, operations.OUTPUT):
        recipe.add_quantization_config(regex=_ANY, operation_name=end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    ((signature, names),) = opened(model, threads).get_signature_list().items()
    rows = [{names["inputs"][0]: x[i : i + 1]} for i in range(len(x))]
    # It draws progress bars, and its interpreter warns of the memory that calibration takes.
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors.*", category=UserWarning)
        # By its own calibrate() a range is a moving average of those of single rows, which cuts off what few rows reach.
        ranges = calibrator.Calibrator(model, num_threads=threads, qsv_update_func=qsv_utils.min_max_update)
        ranges.calibrate({signature: rows}, recipe)
        work = quantizer.Quantizer(bytearray(model), recipe.get_quantization_recipe())
        return _whole(bytes(work.quantize(ranges.get_model_qsvs(), enable_progress_report=False).quantized_model))


def _whole(model: bytes) -> bytes:
    """``model`` with all constants inside its flatbuffer. The quantizer puts the large ones behind it, where tflite-micro does
    not find them: it takes them for values to be computed."""
    whole = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    for buffer in whole.buffers:
        if buffer.size:
            buffer.data = np.frombuffer(model, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return bytes(flatbuffer_utils.convert_object_to_bytearray(whole))


def _weights(model: bytes) -> Counter[int]:
    """How many convolutions and matrix products have a constant weight of each ``TensorType``."""
    whole = schema.ModelT.InitFromPackedBuf(model, 0)
    found: Counter[int] = Counter()
    for graph in whole.subgraphs:
        for operator in graph.operators:
            code = whole.operatorCodes[operator.opcodeIndex]
            # Operators below 127 stand in the field that was there first.
            if max(code.builtinCode, code.deprecatedBuiltinCode) in _WEIGHTED:
                weight = graph.tensors[operator.inputs[1]]
                if whole.buffers[weight.buffer].data is not None:
                    found[weight.type] += 1
    return found
