"""For scripts that time the host: a back end that does nothing, and how a module becomes an installed plugin for a while."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BACKEND = """
from benchmark import BackendSpec, CompressorSpec, Param, hookimpl

@hookimpl
def benchmark_backends():
    return [BackendSpec(name="idle", target=f"{__name__}:Idle", summary="Nothing.", architectures={"tabular": ("none",)},
                        exports=("onnx",), output="logits")]

class Idle:
    def train(self, context):
        (context.output / "model").write_text("model", encoding="utf-8")

    def export(self, context, format):
        (context.output / "model.onnx").write_text("model", encoding="utf-8")  # it cannot be measured, and is not meant to be
"""


@contextmanager
def installed(name: str, source: str) -> Iterator[Path]:
    """A folder that is gone afterwards, in which a plugin of this name lies as pip would leave it, found by this process and its
    children."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[benchmark]\n{name} = {name}\n", encoding="utf-8")
        sys.path.insert(0, place)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [place, os.environ.get("PYTHONPATH")]))
        yield folder
