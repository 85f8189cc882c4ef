"""A back end and a pass that write down everything they can reach from what they are given."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import BackendSpec, CompressorSpec, Context, hookimpl


@hookimpl
def benchmark_backends() -> list[BackendSpec]:
    return [
        BackendSpec(
            name="spy",
            target="pocketbench_spy:Spy",
            summary="Writes down what it can reach.",
            requires={"numpy": "numpy"},
            architectures={"tabular": ("notes",)},
            exports=("onnx",),
            output="logits",
        )
    ]


@hookimpl
def benchmark_compressors() -> list[CompressorSpec]:
    return [
        CompressorSpec(
            name="spy",
            target="pocketbench_spy:Spy",
            summary="Writes down what it can reach.",
            stage="model",
            backend="spy",
            uses_reference=True,
            requires={"numpy": "numpy"},
        )
    ]


class Spy:
    def train(self, context: Context) -> None:
        notes(context)

    def export(self, context: Context, format: str) -> None:
        notes(context)

    def compress(self, context: Context) -> None:
        notes(context)


def notes(context: Context) -> None:
    arrays, folders = list(reachable(context, set())), set()
    for array in arrays:
        name = getattr(array, "filename", None)
        if name:
            folders.add(Path(name).parent)
    folders |= {path for path in (context.input, context.reference) if path}
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    written = {
        "arrays": len(arrays),
        "files": sorted(map(str, files)),
        "rows": sorted({row for array in [*arrays, *map(load, files)] for row in rows(array)}),
    }
    (context.output / "notes.json").write_text(json.dumps(written), encoding="utf-8")


def reachable(value: Any, seen: set[int]) -> Iterator[np.ndarray[Any, Any]]:
    """Every array in fields, mappings, sequences, and in what the functions among them close over."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        yield value
        return
    inside: list[Any] = []
    if dataclasses.is_dataclass(value):
        inside += [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, dict):
        inside += value.values()
    if isinstance(value, (list, tuple)):
        inside += value
    if getattr(value, "__closure__", None):
        inside += [cell.cell_contents for cell in value.__closure__]
    if getattr(value, "__self__", None) is not None:
        inside += vars(value.__self__).values() if hasattr(value.__self__, "__dict__") else []
    for item in inside:
        yield from reachable(item, seen)


def load(path: Path) -> np.ndarray[Any, Any]:
    return np.load(path) if path.suffix == ".npy" else np.frombuffer(path.read_bytes(), np.uint8)


def rows(array: np.ndarray[Any, Any]) -> Iterator[str]:
    if array.ndim < 2:
        return
    for row in array:
        yield hashlib.sha256(np.ascontiguousarray(row).tobytes()).hexdigest()
