"""A plugin with an argument that has a default, which it would see whatever it was given."""

from benchmark import CompressorSpec, hookimpl


@hookimpl
def benchmark_compressors(seed: int = 5) -> list[CompressorSpec]:
    return [
        CompressorSpec(
            name="default-argument",
            target="pocketbench_default_argument:Pass",
            summary="Never runs.",
            stage="model",
            backend="torch",
        )
    ]
