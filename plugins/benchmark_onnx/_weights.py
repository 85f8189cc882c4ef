"""Weights of an ONNX file in fewer bits, or of fewer values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.cluster import KMeans  # type: ignore[import-untyped]  # it ships no types

from benchmark import Context, NotApplicable
from benchmark_onnx._graph import fold, strip

Floats: TypeAlias = NDArray[np.float32]

_LARGEST = float(np.finfo(np.float16).max)
_QUANTIZING = ("QuantizeLinear", "DequantizeLinear", "MatMulInteger", "DynamicQuantizeLinear")


class Float16:
    """Stores weights as float16; a ``Cast`` that a runtime computes once, while loading, makes them float32 again.

    Half the bytes on disk, the same speed and memory as before. Left as they are: weights that float16 cannot hold, those of
    so few elements that the ``Cast`` takes more bytes than it saves, and the scales of quantized values.
    """

    def compress(self, context: Context) -> None:
        """Reads ``model.onnx`` from ``context.input`` and writes ``model.onnx`` into ``context.output``.

        Raises NotApplicable if the model has no float weight."""
        assert context.input is not None
        model = fold(onnx.load(context.input / "model.onnx"))
        weights = _weights(model.graph)
        casts = []
        for name, value in weights.items():
            cast = helper.make_node("Cast", [f"{name} as float16"], [name], to=TensorProto.FLOAT)
            if 2 * value.size > cast.ByteSize() and np.abs(value).max() <= _LARGEST:
                casts.append(cast)
                _tensors(model)[name].CopyFrom(numpy_helper.from_array(value.astype(np.float16), cast.input[0]))
        nodes = [*casts, *model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        onnx.save(strip(model), context.output / "model.onnx")
        context.report(matched=len(weights), changed=len(casts))


class Cluster:
    """Rounds the weights of each layer to ``2 ** bits`` values that k-means finds (Han et al., arXiv 1510.00149, section 3; the
    values are not trained afterwards). Zeros stay zeros, beside these; the values are such that float16 holds them. Biases
    are rounded too, and tensors that have no more values than that are left as they are.

    The file is as large as before: what has few values is for an entropy coder, as ``pack`` is, to make small.
    """

    def compress(self, context: Context) -> None:
        """Reads ``model.onnx`` from ``context.input`` and writes ``model.onnx`` into ``context.output``.

        Raises NotApplicable if the model has no float weight. Claims: ``values``, those that are left, in all layers."""
        assert context.input is not None
        model = fold(onnx.load(context.input / "model.onnx"))
        weights = _weights(model.graph)
        count = 2 ** int(context.params["bits"])
        changed = {name: clustered(value, count, context.seed) for name, value in weights.items()}
        changed = {name: value for name, value in changed.items() if not np.array_equal(value, weights[name])}
        for name, value in changed.items():
            _tensors(model)[name].CopyFrom(numpy_helper.from_array(value, name))
        onnx.save(strip(model), context.output / "model.onnx")
        values = sum(np.unique(changed.get(name, value)).size for name, value in weights.items())
        context.report(matched=len(weights), changed=len(changed), values=values)


def clustered(weight: Floats, count: int, seed: int = 0) -> Floats:
    """``weight`` with each value that is not zero replaced by the nearest of ``count`` centres; float32, in its shape.

    The centres are the best of ten runs of k-means, each rounded to float16. A weight of at most ``count`` values other than
    zero, or one with a value that float16 cannot hold, is returned as it is.
    """
    kept = weight != 0
    values = weight[kept]
    if np.unique(values).size <= count or np.abs(values).max() > _LARGEST:
        return weight
    means = KMeans(count, n_init=10, random_state=seed).fit(values[:, None])
    result = weight.copy()
    result[kept] = means.cluster_centers_[means.labels_, 0].astype(np.float16)
    return result


def _tensors(model: onnx.ModelProto) -> Mapping[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def _weights(graph: onnx.GraphProto) -> Mapping[str, Floats]:
    """The float32 initializers of one axis or more that no quantization reads, by name. Raises NotApplicable without any."""
    scales = {name for node in graph.node if node.op_type in _QUANTIZING for name in node.input}
    found = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT and tensor.dims and tensor.name not in scales
    }
    if not found:
        raise NotApplicable("the model has no float weight")
    return found
