"""The hooks. Those that only return declarations run in the host process, never in a child: no heavy import belongs in them.

A plugin is a module named by an entry point in group ``benchmark``::

    from benchmark import CompressorSpec, hookimpl

    @hookimpl
    def benchmark_compressors():
        return [CompressorSpec(name="zero", stage="model", backend="torch", target="zero_pass:Zero", summary="Zeroes all.")]

Each of them is called once, when plugins are discovered. One that raises, or whose specs clash, is reported with its
distribution and version; everything else works on.

``benchmark_cell_finished`` is an observer: a plugin that implements it is a tracker, which ``--track NAME`` chooses by the name
of its entry point (of a single file: of its module). A whole one, as a file ``lines.py``::

    from benchmark import hookimpl

    @hookimpl
    def benchmark_cell_finished(cell, row):
        "One line a cell, in a text file."
        with (cell.output / "cells.txt").open("a", encoding="utf-8") as file:
            file.write(f"{cell.label}: {cell.outcome}, {row['metric']} {row['score']}\\n")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pluggy

from benchmark.protocols import FinishedCell
from benchmark.specs import BackendSpec, CompressorSpec, Needs, RuntimeSpec, SearcherSpec, TaskSpec

PROJECT = "benchmark"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def benchmark_tasks() -> Iterable[TaskSpec]:
    """Tasks this plugin brings."""
    return ()


@hookspec
def benchmark_backends() -> Iterable[BackendSpec]:
    """Back ends this plugin brings."""
    return ()


@hookspec
def benchmark_compressors() -> Iterable[CompressorSpec]:
    """Passes this plugin brings."""
    return ()


@hookspec
def benchmark_runtimes() -> Iterable[RuntimeSpec]:
    """Runtimes this plugin brings."""
    return ()


@hookspec
def benchmark_searchers() -> Iterable[SearcherSpec]:
    """Searchers this plugin brings."""
    return ()


@hookspec
def benchmark_tracker_needs() -> Needs:
    """What a plugin that implements :func:`benchmark_cell_finished` requires, where that is anything. What is not installed is
    said by ``--list``, and by ``--track`` before anything runs."""
    return Needs(requires={})


@hookspec
def benchmark_cell_finished(cell: FinishedCell, row: Mapping[str, Any]) -> None:
    """Tells the tracker that ``--track`` names of a cell that has ended, well or not. The first line of its docstring is what
    ``--list`` says of it.

    When: after a run, or ``leaderboard``, has made its tables, once for each cell whose row is new or is not the one that was
    told before, in the order of the grid. ``row``: its object of rows.json, unrounded, read-only; undefined values are None.

    Where: in a process that the host starts for this tracker alone, with ``cell.output`` as working directory. Libraries of
    trackers are heavy and start threads, so import them in here. What it prints goes to ``log.txt`` in ``cell.output``;
    ``log.txt`` and ``told.jsonl`` there are the host's.

    Errors: when it returns, the cell counts as told. One that raises leaves the cell untold, to be told by the next command, and
    the remaining cells are told. A process that ends early, or is killed since for five minutes no call returned, leaves the
    remaining ones. Either is a line of warning with the plugin's distribution and version; rows and exit codes stay as they are.
    """
