"""What is verified, as it was read, and what of it has been put right."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.data import Prepared
from benchmark.folders import Layout
from benchmark.plan import Cell
from benchmark.registry import Registry
from benchmark.store import StepResult, Store

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Fold:
    """A fold as it was prepared here. ``arrays``: labels, units, groups and baselines, as the store has them."""

    prepared: Prepared
    folder: Path
    arrays: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Subject:
    """A results folder. ``store``: a copy of its store, in which what is found to be wrong is put right, so that rows and tables
    can be made from it. ``registry``: what is installed here, with the tasks of the folder's suite."""

    layout: Layout
    store: Store
    registry: Registry
    cells: Sequence[Cell]
    results: dict[str, StepResult]

    def put_right(self, id_: str, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Writes into the copy of the store what was found, so that rows and tables show what it changes."""
        result = self.results[id_]
        self.results[id_] = dataclasses.replace(result, facts={**result.facts, **facts})
        self.store.record(self.results[id_], arrays)

    def evaluated(self) -> dict[str, Cell]:
        """Evaluate step -> the first cell with that, of those that have scores."""
        found: dict[str, Cell] = {}
        for cell in self.cells:
            if cell.evaluate in self.results and self.results[cell.evaluate].outcome == "ok":
                found.setdefault(cell.evaluate, cell)
        return found

    def shipped(self, cell: Cell) -> str:
        """The artifact of a cell, empty where it has none."""
        made = self.results.get(cell.chain[-1][1]) if cell.chain else None
        return str(made.facts.get("artifact") or "") if made else ""
