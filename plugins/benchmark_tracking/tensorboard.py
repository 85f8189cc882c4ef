"""``--track tensorboard``: one run a cell, as event files, in which numbers are float32.

To look at them: ``tensorboard --logdir results/X/tracking/tensorboard``.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark import FinishedCell, Needs, hookimpl
from benchmark_tracking import _cells

_LONGEST = 200  # bytes; a file's name may have 255


@hookimpl
def benchmark_tracker_needs() -> Needs:
    return Needs(requires={"tensorboard": "tensorboard"}, extra="tensorboard")


@hookimpl
def benchmark_cell_finished(cell: FinishedCell, row: Mapping[str, Any]) -> None:
    """TensorBoard event files, one run a cell."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.metadata import create_summary_metadata
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    folder = _folder(cell)
    shutil.rmtree(folder, ignore_errors=True)  # TensorBoard would draw what was told of it before into the same run
    writer, at = EventFileWriter(str(folder)), _cells.ended(row)

    def write(step: int, *values: Summary.Value) -> None:
        writer.add_event(Event(wall_time=at, step=step, summary=Summary(value=values)))

    for name, points in _cells.curves(cell):
        for step, point in points:
            write(step, *(Summary.Value(tag=f"{name}/{key}", simple_value=value) for key, value in point.items()))
    write(0, *(Summary.Value(tag=f"row/{key}", simple_value=value) for key, value in _cells.numbers(row).items()))
    table = _table({**_cells.settings(cell), **_cells.texts(row)})
    text = make_tensor_proto(table.encode())
    write(0, Summary.Value(tag="row", metadata=create_summary_metadata("row", ""), tensor=text))
    writer.close()


def _folder(cell: FinishedCell) -> Path:
    """The folder of a run: the parts of its label."""
    return cell.output.joinpath(*map(_file_name, cell.label.split(" · ")))


def _file_name(part: str) -> str:
    safe = part.replace("/", "_")
    if safe == part and len(part.encode()) <= _LONGEST:
        return part
    return f"{safe.encode()[:_LONGEST].decode(errors='ignore')}-{hashlib.sha256(part.encode()).hexdigest()[:8]}"


def _table(values: Mapping[str, object]) -> str:
    """A Markdown table, which TensorBoard shows as one."""
    lines = [f"| {name} | {str(value).replace('|', chr(92) + '|')} |" for name, value in values.items()]
    return "\n".join(["| column | value |", "|---|---|", *lines])
