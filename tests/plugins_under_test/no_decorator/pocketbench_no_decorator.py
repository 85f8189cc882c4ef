"""A plugin whose author forgot ``@hookimpl``."""

from benchmark import CompressorSpec


def benchmark_compressors() -> list[CompressorSpec]:
    return [
        CompressorSpec(
            name="no-decorator", target="pocketbench_no_decorator:Pass", summary="Never runs.", stage="model", backend="torch"
        )
    ]
