"""Whether figures of emulated microcontrollers repeat, and outputs are those of ONNX Runtime.

``python bench/mcu.py RESULTS``: for each reference and each ``int8-static`` of the network back ends that a results folder ships
a Markdown row: flash, RAM and instructions, three times, on 200 test rows and twice on 20 while both cores are kept busy, which
must not change them; the largest difference of an output from that of ONNX Runtime without graph optimisation, for the file as it
is and for its integer form; and the share of labels equal to those of the file.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
from benchmark_mcu._integers import to_integers
from benchmark_mcu._runtime import Microcontroller
from benchmark_onnx import fold

from benchmark import data
from benchmark.folders import Layout
from benchmark.measure.outputs import sample
from benchmark.plan import stored_cells
from benchmark.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

ROWS = 200
COUNTED = 20  # of these, which all figures are of
FIGURES = ("flash_bytes", "ram_bytes", "instructions_m4", "instructions_m7")


def expected(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Outputs of ONNX Runtime without graph optimisation."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: x})[-1]
    return outputs


def _spin() -> None:
    while True:
        pass


@contextmanager
def busy() -> Iterator[None]:
    """Two processes that never rest."""
    processes = [multiprocessing.get_context("spawn").Process(target=_spin, daemon=True) for _ in range(2)]
    for one in processes:
        one.start()
    yield
    for one in processes:
        one.kill()


def figures(artifact: Path, x: NDArray[np.float32]) -> tuple[NDArray[np.float32], tuple[Any, ...]]:
    """Outputs of the M4, and what is counted."""
    predictor: Any = Microcontroller().load(artifact, 1)
    outputs = predictor.predict(x)
    told = predictor.device()
    return outputs, tuple(told[name] for name in FIGURES)


def main(root: Path) -> None:
    layout = Layout(root)
    rows = {
        (row["task"], row["backend"], row["architecture"], row["recipe"]): row
        for row in json.loads((root / "rows.json").read_text(encoding="utf-8"))
    }
    print("| task | network | recipe | flash | RAM | M4 | M7 | equal in 3 runs | off by, float | off by, integers | labels |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    with closing(open_store(layout.store)) as store:
        cells = [one for one in stored_cells(store) if one.recipe in ("reference", "int8-static") and one.output == "logits"]
    for cell in cells:
        row = rows[cell.task, cell.backend, cell.architecture, cell.recipe]
        if row["outcome"] != "ok":
            continue
        artifact = layout.artifact(row["artifact"])
        inputs = np.load(layout.step(cell.prepare) / "output" / data.INPUTS / "test_x.npy", mmap_mode="r")
        x = np.ascontiguousarray(inputs[sample(len(inputs), ROWS)])
        outputs, first = figures(artifact, x)
        with busy():
            others = [figures(artifact, x[sample(len(x), COUNTED)])[1] for _ in range(2)]
        (path,) = artifact.glob("*.onnx")
        model = onnx.load(path)
        theirs, integers = expected(model, x), expected(to_integers(fold(model)), x)
        apart, exact = (float(np.abs(outputs - one).max()) for one in (theirs, integers))
        labels = float((outputs.argmax(1) == theirs.argmax(1)).mean())
        same = "yes" if others == [first, first] else f"no: {others}"
        name = f"{cell.backend} {cell.architecture}"
        counts = " | ".join(f"{count:,}" for count in first)
        print(
            f"| {cell.task} | {name} | {cell.recipe} | {counts} | {same} | {apart:.2g} | {exact:.2g} | {labels:.1%} |", flush=True
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
