"""Task ``occupancy``: is somebody in an office, from temperature, humidity, light and carbon dioxide; fetched."""

from __future__ import annotations

from benchmark import DataFile, Published, TaskSpec, hookimpl

ARCHIVE = DataFile(
    name="occupancy/occupancy_detection.zip",
    checksum="sha256:4ae3f46aa98eedff564a9f6924d1635173e2fd2c816004342a9be93076d3a81a",
    url="https://archive.ics.uci.edu/static/public/357/occupancy+detection.zip",
)
SOURCES = (
    (ARCHIVE,),
    # What a mirror may have instead: the three files of the archive.
    (
        DataFile(
            name="occupancy/datatraining.txt",
            checksum="sha256:b2c4d0ce2b9e4e453c476f7125ef31aeec2d1f5c7f5572d0e80de3df6521ab56",
        ),
        DataFile(
            name="occupancy/datatest.txt",
            checksum="sha256:1b92c7c1b2838963464fa891a610cf3c5db4becb7189189b29b330107a584c7f",
        ),
        DataFile(
            name="occupancy/datatest2.txt",
            checksum="sha256:d026d1bd5aeccd4aff4f3b3710d48e40613bd5fc370db7e61bbdcaa50d985095",
        ),
    ),
)


@hookimpl
def benchmark_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="occupancy",
            summary="An office, empty (0) or occupied (1), from five measurements a minute. Light alone is nearly unbeatable.",
            target="benchmark_occupancy._task:Occupancy",
            requires={"numpy": "numpy", "pandas": "pandas", "sklearn": "scikit-learn"},
            version="1",
            modality="tabular",
            metrics=("accuracy", "roc_auc"),
            margin=0.01,
            unit="hour",
            folds=2,
            licence="CC BY 4.0 (UCI data set 357)",
            citation="Candanedo, Feldheim: Accurate occupancy detection of an office room from light, temperature, humidity and "
            "CO2 measurements using statistical learning models. Energy and Buildings 112, 2016. "
            "doi:10.1016/j.enbuild.2015.11.071",
            sources=SOURCES,
            published=(
                Published(
                    fold=0,
                    method="linear discriminant, temperature alone",
                    scores={"accuracy": 0.85},
                    source="doi:10.1016/j.enbuild.2015.11.071, abstract",
                ),
                Published(
                    fold=1,
                    method="linear discriminant, temperature alone",
                    scores={"accuracy": 0.83},
                    source="doi:10.1016/j.enbuild.2015.11.071, abstract",
                ),
            ),
        )
    ]
