"""RAM of int8 networks on the emulated microcontroller, beside what TensorFlow Lite Micro needs for the same network."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import benchmark_litert
import onnx
import pytest
from benchmark_jax import _models
from benchmark_jax._export import to_onnx
from benchmark_jax._tflite import network, to_tflite
from benchmark_litert._int8 import Int8Litert
from benchmark_mcu._runtime import Microcontroller
from benchmark_onnx._int8 import Int8Static

from benchmark import Context

SLACK = 2048  # bytes


@pytest.mark.filterwarnings(r"ignore:'\.value' access is now deprecated:DeprecationWarning")  # inside jax2onnx
@pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None or shutil.which("arm-none-eabi-gcc") is None,
    reason="no cross compiler or emulator here: apt-get install what benchmark_mcu names",
)
@pytest.mark.parametrize(
    ("task", "name"),
    [("german-credit", "mlp"), ("mnist-10k", "cnn"), ("mnist-10k", "ds-cnn"), ("mnist-10k", "resnet-8"), ("watch-imu", "cnn1d")],
)
def test_planned_ram_is_within_that_of_tensorflow_lite_micro(
    task: str,
    name: str,
    make_context: Callable[..., tuple[Context, Any]],
    load_task: Callable[[str, int], tuple[Any, Any]],
    tmp_path: Path,
) -> None:
    _, data = load_task(task, 0)
    shape = data.train.x.shape[1:]
    model: Any = _models.build(name, shape, len(data.classes), 0)
    for folder in ("onnx", "tflite"):
        (tmp_path / folder).mkdir()
    onnx.save(to_onnx(model, shape), tmp_path / "onnx" / "model.onnx")
    (tmp_path / "tflite" / "model.tflite").write_bytes(to_tflite(network(model), shape))
    params = {"calibration_rows": 32}
    here, _ = make_context(task, name, input=tmp_path / "onnx", params={**params, "calibration": "minmax"})
    Int8Static().compress(here)
    there, _ = make_context(task, name, input=tmp_path / "tflite", params=params)
    Int8Litert().compress(there)
    arena, reason = benchmark_litert.arena_bytes((there.output / "model.tflite").read_bytes())
    assert arena is not None, reason
    predictor: Any = Microcontroller().load(here.output, 1)
    predictor.predict(data.train.x[:2])
    told = predictor.device()
    assert told["ram_bytes"] <= arena + SLACK
    assert told["flash_bytes"] < sum(path.stat().st_size for path in here.output.iterdir()) + 12_000
