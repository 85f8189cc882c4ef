"""How long tables, rows and pages take, and how much memory: ``python bench/render_speed.py RESULTS [ROWS ...]``.

First RESULTS as it is, then copies whose grid is repeated, under other seeds, until it has so many rows (10,000 where nothing is
said). Each is rendered once in a process of its own, on one core; the peak is its VmHWM.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

_CHILD = """
import sys, time
started = time.perf_counter()
from benchmark.render.__main__ import main
main(sys.argv[1])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(time.perf_counter() - started, int(peak) / 1024)
"""


def repeated(results: Path, rows: int, folder: Path) -> Path:
    """A copy of a results folder, without its files, whose grid has at least so many rows."""
    folder.mkdir()
    with sqlite3.connect(results / "store.sqlite") as source, sqlite3.connect(folder / "store.sqlite") as copy:
        source.backup(copy)
        cells = [json.loads(text) for (text,) in copy.execute("SELECT cell FROM cells ORDER BY position")]
        seeds = -(-rows // len(cells))
        grid = [json.dumps({**cell, "seed": seed}) for seed in range(seeds) for cell in cells]
        copy.execute("DELETE FROM cells")
        copy.executemany("INSERT INTO cells VALUES (?, ?)", enumerate(grid))
        suite = json.loads(copy.execute("SELECT value FROM meta WHERE key = 'suite'").fetchone()[0])
        copy.execute("UPDATE meta SET value = ? WHERE key = 'suite'", (json.dumps({**suite, "seeds": list(range(seeds))}),))
    return folder


def main(results: str, *rows: str) -> None:
    """Prints a line a grid."""
    with tempfile.TemporaryDirectory() as work:
        shutil.copytree(results, Path(work) / "whole")
        folders = [Path(work) / "whole"]
        folders += [repeated(folders[0], int(count), Path(work) / count) for count in rows or ("10000",)]
        for folder in folders:
            run = subprocess.run(
                [sys.executable, "-c", _CHILD, str(folder)],
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            seconds, peak = map(float, run.stdout.split())
            count = len(json.loads((folder / "rows.json").read_text(encoding="utf-8")))
            print(f"{count:7,} rows: {seconds:6.1f} s, peak {peak:6.0f} MiB", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
