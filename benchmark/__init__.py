"""PocketBench: benchmarks of small models under fixed hardware budgets. This module is the whole API for plugins."""

from __future__ import annotations

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
]
