"""One of two plugins whose passes have the same identity."""

from benchmark import CompressorSpec, hookimpl


@hookimpl
def benchmark_compressors() -> list[CompressorSpec]:
    return [
        CompressorSpec(name=name, target="pocketbench_twin_b:Pass", summary="Never runs.", stage="model", backend="torch")
        for name in ("twin", "twin-b")
    ]
