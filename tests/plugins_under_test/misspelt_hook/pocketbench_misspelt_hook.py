"""A plugin with one s too few."""

from benchmark import CompressorSpec, hookimpl


@hookimpl
def benchmark_compresors() -> list[CompressorSpec]:
    return [
        CompressorSpec(
            name="misspelt-hook", target="pocketbench_misspelt_hook:Pass", summary="Never runs.", stage="model", backend="torch"
        )
    ]
