"""``--track wandb``: one offline run of Weights & Biases a cell.

To send them: ``wandb sync results/X/tracking/wandb/wandb/offline-run-*``. W&B dates runs and points by its own clock; when a cell
ended is in the run's config, ``finished_utc``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

from benchmark import FinishedCell, Needs, hookimpl
from benchmark_tracking import _cells

_PLACES = ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR")


@hookimpl
def benchmark_tracker_needs() -> Needs:
    return Needs(requires={"wandb": "wandb"}, extra="wandb")


@hookimpl
def benchmark_cell_finished(cell: FinishedCell, row: Mapping[str, Any]) -> None:
    """Offline runs of Weights & Biases, one a cell."""
    os.environ |= {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
    os.environ |= dict.fromkeys(_PLACES, str(cell.output))  # else it writes into the home folder too
    import wandb

    id_ = _cells.identity(cell)
    for old in (cell.output / "wandb").glob(f"offline-run-*-{id_}"):
        shutil.rmtree(old)  # of this cell, as it was told before
    quiet = wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
    run = wandb.init(
        project="pocketbench",
        id=id_,
        name=cell.label,
        group=cell.suite,
        config={**_cells.settings(cell), **_cells.texts(row)},
        settings=quiet,
    )
    for name, points in _cells.curves(cell):
        run.define_metric(f"{name}/step", hidden=True)
        run.define_metric(f"{name}/*", step_metric=f"{name}/step")
        for step, point in points:
            run.log({f"{name}/step": step, **{f"{name}/{key}": value for key, value in point.items()}})
    run.summary.update(_cells.numbers(row))
    run.finish()
