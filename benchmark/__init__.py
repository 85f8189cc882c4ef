"""PocketBench: benchmarks of small models under fixed hardware budgets. This module is the whole API for plugins."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from benchmark.errors import NotApplicable, UserError
from benchmark.protocols import (
    BackendCode,
    CompressorCode,
    Context,
    FinishedCell,
    Predictor,
    RuntimeCode,
    SearcherCode,
    Split,
    TaskCode,
    TaskData,
    TaskInfo,
)
from benchmark.space import Proposal, Space, Tried
from benchmark.specs import BackendSpec, CompressorSpec, DataFile, Needs, Param, Published, RuntimeSpec, SearcherSpec, TaskSpec

if TYPE_CHECKING:
    from benchmark.calibration import calibration_rows
    from benchmark.data import read_verified
    from benchmark.hookspecs import hookimpl
    from benchmark.official import fetch

__version__ = "0.1.0"

__all__ = [
    "BackendCode",
    "BackendSpec",
    "CompressorCode",
    "CompressorSpec",
    "Context",
    "DataFile",
    "FinishedCell",
    "Needs",
    "NotApplicable",
    "Param",
    "Predictor",
    "Proposal",
    "Published",
    "RuntimeCode",
    "RuntimeSpec",
    "SearcherCode",
    "SearcherSpec",
    "Space",
    "Split",
    "TaskCode",
    "TaskData",
    "TaskInfo",
    "TaskSpec",
    "Tried",
    "UserError",
    "calibration_rows",
    "fetch",
    "hookimpl",
    "read_verified",
]

_LAZY = {
    "calibration_rows": "benchmark.calibration",
    "fetch": "benchmark.official",
    "hookimpl": "benchmark.hookspecs",
    "read_verified": "benchmark.data",
}


def __getattr__(name: str) -> Any:
    """Loads on first use what needs a library: this module is imported by every plugin and every child."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
