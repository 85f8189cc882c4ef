"""Searchers: the suite's own recipes, chance, and Optuna (Akiba et al., arXiv 1907.10902). All begin with the suite's recipes."""

from __future__ import annotations

from benchmark import Param, SearcherSpec, hookimpl

__all__: list[str] = []


@hookimpl
def benchmark_searchers() -> list[SearcherSpec]:
    return [
        SearcherSpec(
            name="defaults",
            target="benchmark_optuna._plain:Defaults",
            summary="The suite's recipes, in their order, and nothing else: what a search has to beat.",
        ),
        SearcherSpec(
            name="random",
            target="benchmark_optuna._plain:Chance",
            summary="Architectures, passes and parameters by chance.",
        ),
        SearcherSpec(
            name="optuna",
            target="benchmark_optuna._optuna:Optuna",
            summary="Optuna: TPE or NSGA-II under the device's limits, trainings lengthened by successive halving.",
            params=(Param("sampler", "tpe", choices=("tpe", "nsga2")), Param("halving", True)),
            requires={"optuna": "optuna"},
            extra="optuna",
        ),
    ]
