"""A plugin whose generator gives one good spec, then raises."""

from collections.abc import Iterator

from benchmark import CompressorSpec, hookimpl


@hookimpl
def benchmark_compressors() -> Iterator[CompressorSpec]:
    yield CompressorSpec(
        name="half-way", target="pocketbench_half_way:Pass", summary="Never runs.", stage="model", backend="torch"
    )
    raise RuntimeError("no second one")
