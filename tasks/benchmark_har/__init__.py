"""Task ``uci-har``: six activities seen by a smartphone's accelerometer and gyroscope, fetched."""

from __future__ import annotations

from benchmark import DataFile, Published, TaskSpec, hookimpl

ARCHIVE = DataFile(
    name="uci_har/human_activity_recognition_using_smartphones.zip",
    checksum="sha256:c00b803081a5c797cd5e4b83700a9810b38d53d9d84e01917e090e1fdbc81031",
    url="https://archive.ics.uci.edu/static/public/240/human+activity+recognition+using+smartphones.zip",
)


@hookimpl
def benchmark_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="uci-har",
            summary="Six activities from a smartphone at the waist (9 channels, 50 Hz, windows of 2.56 s); test on new subjects.",
            target="benchmark_har._task:UciHar",
            requires={"numpy": "numpy", "sklearn": "scikit-learn"},
            version="1",
            modality="sequence",
            metrics=("accuracy", "balanced_accuracy"),
            margin=0.02,
            unit="subject",
            folds=1,
            licence="no commercial use, says the README of the data (UCI data set 240); fetched, never shipped",
            citation="Anguita, Ghio, Oneto, Parra, Reyes-Ortiz: A public domain dataset for human activity recognition using "
            "smartphones. ESANN 2013. The README asks to cite: the same, Human activity recognition on smartphones using a "
            "multiclass hardware-friendly support vector machine. IWAAL 2012. doi:10.1007/978-3-642-35395-6_30",
            sources=((ARCHIVE,),),
            published=(
                Published(
                    method="support vector machine on 561 features made by hand",
                    scores={"accuracy": 0.96},
                    source="Anguita et al., ESANN 2013, table 4",
                ),
            ),
        )
    ]
