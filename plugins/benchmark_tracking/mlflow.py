"""``--track mlflow``: one run a cell, in an SQLite file.

To look at them (this needs all of MLflow): ``mlflow ui --backend-store-uri sqlite:///results/X/tracking/mlflow/mlflow.db``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from benchmark import FinishedCell, Needs, hookimpl
from benchmark_tracking import _cells

_METRICS_AT_ONCE = 1000  # MLflow takes no more
_CELL = "pocketbench.cell"  # the tag by which the run of a cell is found again


@hookimpl
def benchmark_tracker_needs() -> Needs:
    return Needs(requires={"mlflow": "mlflow-skinny", "sqlalchemy": "SQLAlchemy", "alembic": "alembic"}, extra="mlflow")


@hookimpl
def benchmark_cell_finished(cell: FinishedCell, row: Mapping[str, Any]) -> None:
    """MLflow runs in an SQLite file, one a cell."""
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}  # read when it is imported
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    client = MlflowClient(tracking_uri=f"sqlite:///{cell.output}/mlflow.db")
    found = client.get_experiment_by_name(cell.suite)
    experiment = found.experiment_id if found else client.create_experiment(cell.suite, (cell.output / "artifacts").as_uri())
    for old in client.search_runs([experiment], f"tags.`{_CELL}` = '{_cells.identity(cell)}'"):
        client.delete_run(old.info.run_id)  # it stays, marked as deleted
    at = round(_cells.ended(row) * 1000)
    run = client.create_run(experiment, start_time=at, tags={_CELL: _cells.identity(cell)}, run_name=cell.label).info.run_id
    metrics = [Metric(name, value, at, 0) for name, value in _cells.numbers(row).items()]
    for name, points in _cells.curves(cell):
        metrics += [Metric(f"{name}/{key}", value, at, step) for step, point in points for key, value in point.items()]
    for start in range(0, len(metrics), _METRICS_AT_ONCE):
        client.log_batch(run, metrics=metrics[start : start + _METRICS_AT_ONCE])
    params = [Param(name, str(value)) for name, value in _cells.settings(cell).items()]
    client.log_batch(run, params=params, tags=[RunTag(name, value) for name, value in _cells.texts(row).items()])
    client.set_terminated(run, "FINISHED" if cell.outcome in ("ok", "skipped") else "FAILED", end_time=at)
