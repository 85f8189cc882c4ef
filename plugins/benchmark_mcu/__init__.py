"""Microcontrollers without a board: ONNX files as C, compiled for Cortex-M4F and M7 and run by an emulator.

What is had exactly so: flash, RAM, instructions of one input, and the outputs themselves. What is not: time, and what a vendor's
kernels would make of the same network. ``docs/microcontrollers.md`` says what a number means.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmark import RuntimeSpec, hookimpl

_INSTALL = "apt-get install --no-install-recommends qemu-system-arm gcc-arm-none-eabi libnewlib-arm-none-eabi"


@hookimpl
def benchmark_runtimes() -> Iterable[RuntimeSpec]:
    yield RuntimeSpec(
        name="mcu",
        target="benchmark_mcu._runtime:Microcontroller",
        summary="ONNX files as C on an emulated microcontroller (Cortex-M4F, M7): flash, RAM and instructions, no time.",
        formats=("onnx",),
        requires={
            "emx_onnx_cgen": "emx-onnx-cgen",
            "onnx": "onnx",
            "onnxruntime": "onnxruntime",
            "numpy": "numpy",
            "benchmark_onnx": None,
        },
        extra="mcu",
        tools={"qemu-system-arm": _INSTALL, "arm-none-eabi-gcc": _INSTALL},
        emulates="Cortex-M4F and M7",
        rows=200,
        writes=("c",),
    )
