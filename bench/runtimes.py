"""Which runtime to use for which size: the floor and the time of each network on each runtime of a results folder.

``python bench/runtimes.py RESULTS``: a Markdown row for each task, back end, network and recipe, a column for each runtime:
the p50 in µs, bytes, and the ratio to ONNX Runtime's time for the reference of the same network, with its 95 % interval over
the measuring processes. First the floors, of each runtime's identity model; last each runtime's ratios of int8 to float32,
measured in turns in the same processes.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from benchmark.folders import Layout
from benchmark.plan import Cell, stored_cells
from benchmark.statistics import ratio_interval
from benchmark.store import Store, open_store

if TYPE_CHECKING:
    from numpy.typing import NDArray

Key: TypeAlias = tuple[str, str, str, str]
ANCHOR = "onnxruntime"


def medians(cell: Cell, role: str, store: Store) -> NDArray[np.float64]:
    """Medians of calls in µs, (processes, rounds)."""
    samples = np.stack([store.array(id_, role) for id_ in cell.latency]) / 1e3
    found: NDArray[np.float64] = np.median(samples, axis=2)
    return found


def ratio(own: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    """The ratio of two times and its interval."""
    processes = min(len(own), len(other))
    value, low, high = ratio_interval(own[:processes], other[:processes])
    return f"× {value:.2f}" if low is None or high is None else f"× {value:.2f} [{low:.2f}, {high:.2f}]"


def main(root: Path) -> None:
    rows: dict[tuple[Any, ...], Any] = {}
    for row in json.loads((root / "rows.json").read_text(encoding="utf-8")):
        if row["outcome"] == "ok":
            rows[row["task"], row["backend"], row["architecture"], row["recipe"], row["runtime"]] = row
    with closing(open_store(Layout(root).store)) as store:
        cells = {
            (cell.task, cell.backend, cell.architecture, cell.recipe, cell.runtime): cell
            for cell in stored_cells(store)
            if (cell.task, cell.backend, cell.architecture, cell.recipe, cell.runtime) in rows
        }
        runtimes = list(dict.fromkeys(cell.runtime for cell in cells.values()))
        floors: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        for cell in cells.values():
            floors[cell.runtime].append(medians(cell, "floor", store))
        floor = {name: np.concatenate(found) for name, found in floors.items()}
        print(f"| task | network | recipe | {' | '.join(runtimes)} |")
        print(f"|---|---|---|{'---|' * len(runtimes)}")
        told = " | ".join(f"{np.median(floor[name]):.1f}, {ratio(floor[name], floor[ANCHOR])}" for name in runtimes)
        print(f"| identity | | | {told} |")
        for task, backend, network, recipe in dict.fromkeys(key[:4] for key in cells):
            anchor = cells.get((task, backend, network, "reference", ANCHOR))
            columns = []
            for name in runtimes:
                key = (task, backend, network, recipe, name)
                if key not in cells or anchor is None:
                    columns.append("–")
                    continue
                against = ratio(medians(cells[key], "artifact", store), medians(anchor, "artifact", store))
                columns.append(f"{rows[key]['latency_p50_us']:.1f}, {rows[key]['artifact_bytes']:,} B, {against}")
            print(f"| {task} | {backend} {network} | `{recipe}` | {' | '.join(columns)} |")
    print()
    print("| task | network | recipe | runtime | time ÷ that of its own float32 file |")
    print("|---|---|---|---|---|")
    for (task, backend, network, recipe, name), row in rows.items():
        if recipe != "reference" and row["latency_ratio"] is not None:
            low, high = row["latency_ratio_low"], row["latency_ratio_high"]
            print(f"| {task} | {backend} {network} | `{recipe}` | {name} | {row['latency_ratio']:.2f} [{low:.2f}, {high:.2f}] |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
