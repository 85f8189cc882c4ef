"""A plugin that makes its own marker, for a project of another name: that of the distribution, not that of the hooks."""

import pluggy

from benchmark import CompressorSpec

hookimpl = pluggy.HookimplMarker("pocketbench")


@hookimpl
def benchmark_compressors() -> list[CompressorSpec]:
    return [
        CompressorSpec(
            name="other-marker", target="pocketbench_other_marker:Pass", summary="Never runs.", stage="model", backend="torch"
        )
    ]
