"""Two methods of a results folder on the same rows, folds and seeds: the mean difference of their test scores with its interval.

``python bench/paired_recipes.py RESULTS METHOD METHOD ...``: the first against each of the others, a Markdown row a task. A
method is a recipe, or where a suite has several networks ``NETWORK · RECIPE``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmark.leaderboard import scored
from benchmark.plan import Cell, stored_cells
from benchmark.statistics import paired_difference
from benchmark.store import Store, open_store


def mean(cells: list[Cell], store: Store) -> float:
    """The mean test score of the ranking metric."""
    results = store.results(cell.evaluate for cell in cells)
    scores = [results[cell.evaluate].facts["scores"]["test"]["values"][cell.metrics[0]] for cell in cells]
    return float(sum(scores) / len(scores))


def of(method: str, cells: list[Cell]) -> list[Cell]:
    """The cells of a method."""
    return [cell for cell in cells if method in (cell.recipe, f"{cell.architecture} · {cell.recipe}")]


def main(folder: str, first: str, *others: str) -> None:
    """Prints the table."""
    store = open_store(Path(folder) / "store.sqlite")
    cells = [cell for cell in stored_cells(store) if not cell.skipped]
    print(
        f"| task | back end | metric | seeds × folds | {first} | "
        + " | ".join(f"{one} | difference [95 %]" for one in others)
        + " |"
    )
    print("|---" * (5 + 2 * len(others)) + "|")
    for task, backend in dict.fromkeys((cell.task, cell.backend) for cell in cells):
        same = [cell for cell in cells if (cell.task, cell.backend) == (task, backend)]
        groups = {name: of(name, same) for name in (first, *others)}
        if not all(groups.values()):
            continue
        metric, own = same[0].metrics[0], groups[first]
        repeats = " × ".join(str(len({getattr(cell, name) for cell in own})) for name in ("seed", "fold"))
        columns = [task, backend, metric, repeats, f"{mean(own, store):.4f}"]
        for other in others:
            interval = paired_difference(
                [scored(cell, store) for cell in own], [scored(cell, store) for cell in groups[other]], metric
            )
            by = "undefined" if interval is None else f"[{interval.low:+.4f}, {interval.high:+.4f}]"
            columns += [
                f"{mean(groups[other], store):.4f}",
                f"{mean(own, store) - mean(groups[other], store):+.4f} {by}",
            ]
        print("| " + " | ".join(columns) + " |")
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
