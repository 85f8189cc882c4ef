"""Tells trackers of the cells of a run: the host's side, and the process that each tracker has, ``python -m benchmark.tracking``.

Libraries of trackers are heavy, start threads and talk to whom they like, so none is imported by the host. What a tracker was
told is kept beside what it writes: where somebody removes its folder, it is told of everything again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, cast

from benchmark.errors import UserError, described
from benchmark.folders import Layout, open_run
from benchmark.limits.child import die_with_parent
from benchmark.plan import Cell, stored_cells
from benchmark.protocols import FinishedCell
from benchmark.registry import Provider, discover
from benchmark.specs import TrackerSpec

SECONDS = 300.0
"""A tracker may take so long for a cell, and so long to end."""
_TOLD, _LOG = "told.jsonl", "log.txt"  # in the folder of a tracker; the rest of it is the tracker's


@dataclasses.dataclass(frozen=True)
class Tracked:
    """What came of telling a tracker: of how many cells it was told, the folder that it writes into, and a line on what went
    wrong, empty where nothing did."""

    told: int
    output: Path
    problem: str = ""


def track(tracker: Provider, layout: Layout, plugin_files: Mapping[str, str]) -> Tracked:
    """Tells a tracker of all cells of a results folder whose rows it has not been told as they are now. ``plugin_files``: plugins
    that are single files, module -> path. Raises UserError where its folder cannot be written."""
    name = tracker.spec.name
    output = layout.root / "tracking" / name
    try:
        output.mkdir(parents=True, exist_ok=True)
        known = _known(output / _TOLD)
        news = [(cell, row) for cell, row in _finished(layout, output.absolute()) if known.get(_key(cell)) != _digest(row)]
        told, problem = _tell(name, news, output, plugin_files) if news else (0, "")
    except OSError as error:
        raise UserError(f"--track: {output}: {error.strerror}") from None
    if problem:
        whose = f"tracker {name} of {tracker.distribution} {tracker.version}"
        problem = f"{whose}: told of {told} of {len(news)} cells: {problem} ({output / _LOG})"
    return Tracked(told, output, problem)


def _finished(layout: Layout, output: Path) -> Iterator[tuple[FinishedCell, dict[str, Any]]]:
    """The cells of a results folder and their rows."""
    with closing(open_run(layout.root)) as store:
        cells = stored_cells(store)
    rows = json.loads((layout.root / "rows.json").read_text(encoding="utf-8"))
    for cell, row in zip(cells, rows, strict=True):
        yield (
            FinishedCell(
                label=cell.label,
                suite=cell.suite,
                task=cell.task,
                fold=cell.fold,
                backend=cell.backend,
                architecture=cell.architecture,
                recipe=cell.recipe,
                runtime=cell.runtime,
                seed=cell.seed,
                outcome=row["outcome"],
                curves=tuple(_curves(cell, layout)),
                output=output,
            ),
            row,
        )


def _curves(cell: Cell, layout: Layout) -> Iterator[tuple[str, Path]]:
    for name, step in (*cell.chain, *([("search", cell.search)] if cell.search else [])):
        path = (layout.step(step) / "curve.csv").absolute()
        if path.is_file() and not path.is_symlink():  # a step that wrote into its folder itself could make it lead elsewhere
            yield name, path


def _key(cell: FinishedCell) -> str:
    return f"{cell.suite}: {cell.label}"


def _digest(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()


def _known(path: Path) -> dict[str, str]:
    """Cell -> digest of the row that was told last. A line that a power cut damaged counts as not there."""
    known: dict[str, str] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, KeyError, TypeError):
                one = json.loads(line)
                known[one["cell"]] = one["row"]
    return known


def _tell(
    name: str, news: Sequence[tuple[FinishedCell, dict[str, Any]]], output: Path, plugin_files: Mapping[str, str]
) -> tuple[int, str]:
    """Starts the process of a tracker, and writes down of which cells it was told: how many, and what else happened."""
    told, failures = 0, []
    cells = [{**dataclasses.asdict(cell), "output": str(cell.output), "curves": _texts(cell.curves)} for cell, _ in news]
    job = {
        "host": os.getpid(),
        "tracker": name,
        "plugin_files": list(plugin_files.values()),
        "cells": [(cell, row) for cell, (_, row) in zip(cells, news, strict=True)],
    }
    with ExitStack() as files:
        file = files.enter_context(tempfile.TemporaryFile())
        log = files.enter_context((output / _LOG).open("wb"))
        record = files.enter_context((output / _TOLD).open("a", encoding="utf-8"))
        file.write(json.dumps(job).encode())
        file.seek(0)
        command = [sys.executable, "-m", "benchmark.tracking"]
        process = subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
        pipe = files.enter_context(cast("IO[bytes]", process.stdout))
        try:
            for (cell, row), reason in zip(news, _reports(pipe.fileno()), strict=False):  # it may end before it was told of all
                if reason:
                    failures.append(f"{cell.label}: {reason}")
                    continue
                told += 1
                record.write(json.dumps({"cell": _key(cell), "row": _digest(row)}) + "\n")
                record.flush()
            code = process.wait(SECONDS)
            whole = code == 0 and told + len(failures) == len(news)
            ended = "" if whole else f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        except (TimeoutError, subprocess.TimeoutExpired):
            ended = f"killed, since nothing came of it for {SECONDS:g} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with what it started
            process.wait()
    return told, "; ".join([*failures[:1], *filter(None, [ended])])


def _texts(curves: Sequence[tuple[str, Path]]) -> list[tuple[str, str]]:
    return [(step, str(path)) for step, path in curves]


def _reports(pipe: int) -> Iterator[str]:
    """Of each cell why it could not be told, empty where it was, as the process says so, until it ends. Raises TimeoutError where
    it says nothing for too long."""
    rest = b""
    while select.select([pipe], [], [], SECONDS)[0]:
        if not (read := os.read(pipe, 65536)):
            return
        *lines, rest = (rest + read).split(b"\n")
        yield from map(json.loads, lines)
    raise TimeoutError


def main() -> int:
    """The process of a tracker. The job stands on standard input, and what came of each cell goes to what was standard output:
    whatever the tracker and its libraries print is for the log."""
    die_with_parent()
    job = json.load(sys.stdin)
    if os.getppid() != job["host"]:  # it ended before the kernel was asked to tell
        return 1
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as reports:  # what the tracker starts does not inherit it
        os.dup2(2, 1)
        registry = discover([Path(file) for file in job["plugin_files"]])
        spec = cast(TrackerSpec, registry.trackers[job["tracker"]].spec)
        for fields, row in job["cells"]:
            curves = tuple((step, Path(path)) for step, path in fields["curves"])
            cell = FinishedCell(**{**fields, "curves": curves, "output": Path(fields["output"])})
            os.chdir(cell.output)  # what a library writes by a relative name belongs there too
            reason = ""
            try:
                spec.observe(cell=cell, row=MappingProxyType(row))
            except (Exception, SystemExit) as error:  # a plugin may raise anything
                traceback.print_exc()
                reason = described(error)
            print(json.dumps(reason), file=reports, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
