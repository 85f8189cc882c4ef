"""A plugin that wants an argument which its hook does not have."""

from benchmark import CompressorSpec, hookimpl


@hookimpl
def benchmark_compressors(config: dict[str, str]) -> list[CompressorSpec]:
    return [
        CompressorSpec(
            name="unknown-argument",
            target="pocketbench_unknown_argument:Pass",
            summary="Never runs.",
            stage="model",
            backend="torch",
        )
    ]
