"""A back end on a library that is not installed here: no fault of the plugin."""

from benchmark import BackendSpec, hookimpl


@hookimpl
def benchmark_backends() -> list[BackendSpec]:
    return [
        BackendSpec(
            name="missing-backend",
            target="pocketbench_missing_backend:Backend",
            summary="Never runs.",
            requires={"library_of_nobody": "library-of-nobody"},
            architectures={"tabular": ("net",)},
            exports=("onnx",),
            output="logits",
        )
    ]
