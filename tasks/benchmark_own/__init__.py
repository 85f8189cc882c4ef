"""A task out of the user's own file: CSV, Parquet or NPZ. A suite names the file and its target; no package is written.

For others: ``encode`` turns tables into arrays with what the training rows alone teach; ``modality`` says what a file holds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark_own._encode import encode
    from benchmark_own._modality import modality

__all__ = ["encode", "modality"]

_LAZY = {"encode": "benchmark_own._encode", "modality": "benchmark_own._modality"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
