"""PocketBench: benchmarks of small models under fixed hardware budgets. This module is the whole API for plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmark.errors import NotApplicable, UserError
from benchmark.hookspecs import hookimpl
from benchmark.protocols import (
    BackendCode,
    CompressorCode,
    Context,
    Predictor,
    RuntimeCode,
    Split,
    TaskCode,
    TaskData,
    TaskInfo,
)
from benchmark.specs import BackendSpec, CompressorSpec, Param, RuntimeSpec, TaskSpec

if TYPE_CHECKING:
    from benchmark.data import read_verified

__version__ = "0.1.0"

__all__ = [
    "BackendCode",
    "BackendSpec",
    "CompressorCode",
    "CompressorSpec",
    "Context",
    "NotApplicable",
    "Param",
    "Predictor",
    "RuntimeCode",
    "RuntimeSpec",
    "Split",
    "TaskCode",
    "TaskData",
    "TaskInfo",
    "TaskSpec",
    "UserError",
    "hookimpl",
    "read_verified",
]


def __getattr__(name: str) -> Any:
    """Loads on first use what needs numpy: this module is imported by every plugin, in the host process too."""
    if name == "read_verified":
        from benchmark.data import read_verified

        return read_verified
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
