"""Task ``watch-imu``: seven exercises seen by a smartwatch's accelerometer and gyroscope, shipped with PocketBench."""

from __future__ import annotations

from benchmark import TaskSpec, hookimpl


@hookimpl
def benchmark_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="watch-imu",
            summary="Seven shoulder exercises from a smartwatch (6 channels, 50 Hz, windows of 2.56 s); test on unseen subjects.",
            target="benchmark_imu._task:WatchImu",
            requires={"numpy": "numpy", "sklearn": "scikit-learn"},
            version="1",
            modality="sequence",
            metrics=("accuracy", "balanced_accuracy"),
            margin=0.02,
            unit="recording",
            folds=5,
            sensitive=("subject",),  # what a method is worth is what it does for the person it does worst for
            licence="BSD 3-Clause (Python package seglearn 1.2.5)",
            citation="Burns, Leung, Hardisty, Whyne, Henry, McLachlin: Shoulder physiotherapy exercise recognition: machine "
            "learning the inertial signals from a smartwatch. Physiological Measurement 39(7), 2018. "
            "doi:10.1088/1361-6579/aacfd9, arXiv:1802.01489",
        )
    ]
