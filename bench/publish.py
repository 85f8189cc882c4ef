"""A run for `results/published/`, which git keeps: ``python bench/publish.py RESULTS NAME`` copies its tables, plots and record.

The record, ``record.zip``, is the bundle without artifacts, deflated: all that tables are made from. ``python bench/publish.py``
alone makes the tables of what is published again, as is due when their texts change; ``tests/test_published.py`` says when.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from benchmark import bundle
from benchmark.folders import Layout
from benchmark.render.child import FILES, draw, render

PUBLISHED = Path(__file__).parent.parent / "results" / "published"
RECORD = "record.zip"
TABLES = tuple(name for name in FILES if name != "rows.json")  # it holds what rows.csv does, in four times the bytes


def rendered(record: Path, folder: Path) -> None:
    """Tables and rows of a record, in the new ``folder``."""
    bundle.extract(record, folder)
    bundle.restore(folder, Layout(folder).store)
    render(folder)


def publish(results: Path, target: Path) -> None:
    """Copies a run into the new folder ``target``."""
    draw(results)
    target.mkdir(parents=True)
    shutil.copytree(results / "plots", target / "plots", ignore=shutil.ignore_patterns("*.svg"))
    with tempfile.TemporaryDirectory() as work:
        lean = Path(work) / "lean"
        lean.mkdir()
        for name in ("store.sqlite", "suite.toml"):
            shutil.copyfile(results / name, lean / name)
        shutil.copyfile(results / "suite.toml", target / "suite.toml")
        bundle.pack(lean, Path(work) / "stored.zip", ())
        with (
            zipfile.ZipFile(Path(work) / "stored.zip") as stored,
            zipfile.ZipFile(target / RECORD, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed,
        ):
            for member in stored.infolist():
                packed.writestr(zipfile.ZipInfo(member.filename, member.date_time), stored.read(member), zipfile.ZIP_DEFLATED)
    refresh(target)


def refresh(target: Path) -> None:
    """Makes the tables of a published run again."""
    with tempfile.TemporaryDirectory() as work:
        rendered(target / RECORD, Path(work) / "again")
        for name in TABLES:
            shutil.copyfile(Path(work) / "again" / name, target / name)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        publish(Path(sys.argv[1]), PUBLISHED / sys.argv[2])
    else:
        for record in sorted(PUBLISHED.glob(f"*/{RECORD}")):
            refresh(record.parent)
