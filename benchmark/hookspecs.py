"""The hooks. All run in the host process, never in a child, and only return declarations: no heavy import belongs in them.

A plugin is a module named by an entry point in group ``benchmark``::

    from benchmark import CompressorSpec, hookimpl

    @hookimpl
    def benchmark_compressors():
        return [CompressorSpec(name="zero", stage="model", backend="torch", target="zero_pass:Zero", summary="Zeroes all.")]

Each hook is called once, when plugins are discovered. One that raises, or whose specs clash, is reported with its
distribution and version; everything else works on.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from benchmark.specs import BackendSpec, CompressorSpec, RuntimeSpec, SearcherSpec, TaskSpec

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
