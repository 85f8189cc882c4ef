"""FLAML as a back end: what an AutoML system makes of a table under the budget that all others have.

FLAML imports xgboost whichever models it may choose from; the extra installs its build without CUDA, 15 MB instead of 1 GB.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmark import BackendSpec, Param, hookimpl


@hookimpl
def benchmark_backends() -> Iterable[BackendSpec]:
    yield BackendSpec(
        name="flaml",
        target="benchmark_flaml._automl:Flaml",
        summary="FLAML's AutoML: boosted trees, forests or logistic regression, whichever validates best.",
        architectures={"tabular": ("automl",)},
        exports=("onnx",),
        output="probabilities",
        params=(
            Param("iterations", 200, low=2),  # FLAML takes one for a wish to train its first model on all rows
            Param("seconds", 60.0, low=1.0),
            Param("estimators", "lgbm,rf,extra_tree,lrl1"),
        ),
        requires={
            "flaml": "FLAML",
            "lightgbm": "lightgbm",
            "xgboost": "xgboost-cpu",
            "onnxmltools": "onnxmltools",
            "skl2onnx": "skl2onnx",
            "onnx": "onnx",
            "numpy": "numpy",
            "benchmark_sklearn": None,
        },
        extra="flaml",
    )
