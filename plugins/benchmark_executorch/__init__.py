"""ExecuTorch: its runtime, for the ``.pte`` files that a back end exports.

A file, ``model.pte``, has one method ``forward`` from float32 (1, ...) in the task's layout to float32 (1, K).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from benchmark import RuntimeSpec, hookimpl

if TYPE_CHECKING:
    from benchmark_executorch._runtime import ExecuTorch

__all__ = ["ExecuTorch"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("benchmark_executorch._runtime"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@hookimpl
def benchmark_runtimes() -> Iterable[RuntimeSpec]:
    yield RuntimeSpec(
        name="executorch",
        target="benchmark_executorch._runtime:ExecuTorch",
        summary="ExecuTorch on the CPU, with XNNPACK.",
        formats=("pte",),
        requires={"executorch": "executorch", "torch": "torch", "numpy": "numpy"},
        extra="executorch",
    )
