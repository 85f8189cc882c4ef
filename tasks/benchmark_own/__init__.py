"""A task out of the user's own file: CSV, Parquet or NPZ. A suite names the file and its target; no package is written.

For others: ``encode`` turns tables into arrays with what the training rows alone teach.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark_own._encode import encode

__all__ = ["encode"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("benchmark_own._encode"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
