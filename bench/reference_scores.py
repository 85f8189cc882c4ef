"""Reference scores of a results folder as means over seeds, with paired intervals against the baselines.

``python bench/reference_scores.py RESULTS`` after ``--suite edge --recipe reference --seeds 3 --results RESULTS``.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import defaultdict
from pathlib import Path

from benchmark.leaderboard import scored
from benchmark.plan import Cell, stored_cells
from benchmark.statistics import Interval, Scored, paired_difference
from benchmark.store import Store, open_store


def trivial(cells: list[Cell], store: Store) -> list[Scored]:
    """The task's trivial predictor on the rows of the same cells."""
    return [
        dataclasses.replace(scored(cell, store), outputs=store.array(cell.prepare, "trivial_test"), kind="probabilities")
        for cell in cells
    ]


def show(interval: Interval | None) -> str:
    """An interval of a difference."""
    return "undefined" if interval is None else f"[{interval.low:+.3f}, {interval.high:+.3f}]"


def main(folder: str) -> None:
    """Prints one line a method and task."""
    store = open_store(Path(folder) / "store.sqlite")
    methods: dict[tuple[str, str, str], list[Cell]] = defaultdict(list)
    for cell in stored_cells(store):
        if cell.recipe == "reference" and not cell.skipped:
            methods[cell.task, cell.backend, cell.architecture].append(cell)
    for (task, backend, architecture), cells in methods.items():
        metric = cells[0].metrics[0]
        results = store.results(cell.evaluate for cell in cells)
        scores = {
            split: [results[cell.evaluate].facts["scores"][split]["values"][metric] for cell in cells]
            for split in ("validation", "test")
        }
        own = [scored(cell, store) for cell in cells]
        line = f"{task} {backend} {architecture}: {metric} {sum(scores['test']) / len(cells):.4f} over {len(cells)} seeds"
        line += f" (validation {sum(scores['validation']) / len(cells):.4f})"
        line += f"; against trivial {show(paired_difference(own, trivial(cells, store), metric))}"
        logistic = methods.get((task, "sklearn", "logistic"), [])
        if logistic and backend != "sklearn":
            other = [scored(cell, store) for cell in logistic]
            line += f"; against sklearn logistic {show(paired_difference(own, other, metric))}"
        print(line)
    store.close()


if __name__ == "__main__":
    main(sys.argv[1])
