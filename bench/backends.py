"""Two back ends of a results folder, method by method: what ships, and how well it does.

``python bench/backends.py RESULTS [ONE OTHER]``, torch and jax where none are named: a Markdown row for each task, network and
recipe that both have on one runtime. Of what ships the medians over seeds and folds: MACs, the share of parameters that are zero
and bytes of ``ONE``, and how many times as large those of ``OTHER`` are. Of the test scores the mean, and the mean difference
over seeds with its 90 % t-interval; ``yes`` where this lies within the task's margin: then the two are equivalent by two
one-sided tests at 5 % (Schuirmann, 1987), for these rows; ``no`` where it lies outside, ``open`` where it does neither.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import pandas as pd
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from benchmark import TaskSpec
from benchmark.registry import discover

Table: TypeAlias = pd.DataFrame

_METHOD = ["task", "architecture", "recipe", "runtime"]
_REPEAT = ["seed", "fold"]


def sizes(one: Table, other: Table) -> list[str]:
    """MACs, zeros and bytes of what ships."""
    own, others = (side[["macs", "zeros", "artifact_bytes"]].astype(float).median() for side in (one, other))
    ratio = others / own
    return [
        f"{own.macs:,.0f} × {ratio.macs:.3f}",
        f"{own.zeros:.1%} {others.zeros:.1%}",
        f"{own.artifact_bytes:,.0f} × {ratio.artifact_bytes:.3f}",
    ]


def scores(one: Table, other: Table, margin: float) -> list[str]:
    """Means, difference and verdict."""
    both = pd.DataFrame({"one": one.set_index(_REPEAT).score, "other": other.set_index(_REPEAT).score}).dropna()
    differences = (both.other - both.one).groupby("seed").mean().to_numpy()
    means = [f"{both.one.mean():.4f}", f"{both.other.mean():.4f}", f"{differences.mean():+.4f}"]
    if len(differences) < 2:
        return [*means, "–", "one seed"]
    half = stats.t.ppf(0.95, len(differences) - 1) * differences.std(ddof=1) / math.sqrt(len(differences))
    low, high = differences.mean() - half, differences.mean() + half
    verdict = "yes" if max(-low, high) < margin else "no" if max(low, -high) > margin else "open"
    return [*means, f"[{low:+.4f}, {high:+.4f}]", f"{verdict} ({margin:g})"]


def main(folder: str, one: str = "torch", other: str = "jax") -> None:
    """Prints the table."""
    registry = discover()
    rows: list[dict[str, Any]] = json.loads((Path(folder) / "rows.json").read_text(encoding="utf-8"))
    table = pd.DataFrame([row for row in rows if row["outcome"] == "ok"])
    table["zeros"] = 1 - table.nonzero_parameters.astype(float) / table.parameters.astype(float)
    margins = {task: cast(TaskSpec, registry.get("task", task).spec).margin for task in set(table.task)}
    sides = [dict(list(table[table.backend == name].groupby(_METHOD, sort=False))) for name in (one, other)]
    heads = [*("task", "network", "recipe", "runtime"), *("MACs", "zeros", "bytes", "seeds"), one, other]
    heads += ["difference", "[90 %]", "equal?"]
    print("| " + " | ".join(heads) + " |")
    print("|---" * len(heads) + "|")
    for method, found in sides[0].items():
        if method in sides[1]:
            seeds = str(len(np.unique(found.seed)))
            columns = [*sizes(found, sides[1][method]), seeds, *scores(found, sides[1][method], margins[method[0]])]
            print("| " + " | ".join([*map(str, method), *columns]) + " |")


if __name__ == "__main__":
    main(*sys.argv[1:])
