"""Published runs: their tables are those that their records give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark import bundle
from benchmark.folders import Layout
from benchmark.render.child import FILES, render

PUBLISHED = Path(__file__).parent.parent / "results" / "published"
RECORDS = sorted(PUBLISHED.glob("*/record.zip"))


def test_there_are_published_runs() -> None:
    assert RECORDS


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.parent.name)
def test_the_tables_are_what_is_made_of_the_record(record: Path, tmp_path: Path) -> None:
    """Where this fails because tables are written otherwise now: ``python bench/publish.py``."""
    bundle.extract(record, tmp_path / "new")
    bundle.restore(tmp_path / "new", Layout(tmp_path / "new").store)
    render(tmp_path / "new")
    names = [name for name in FILES if name != "rows.json"]  # rows.csv says the same
    assert {name for name in FILES if (record.parent / name).exists()} == set(names)
    for name in names:
        assert (record.parent / name).read_bytes() == (tmp_path / "new" / name).read_bytes(), name


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.parent.name)
def test_it_was_made_by_a_commit_of_ours_and_every_cell_has_ended(record: Path) -> None:
    text = (record.parent / "leaderboard.md").read_text(encoding="utf-8")
    assert re.search(r"Made by PocketBench \S+ \([0-9a-f]{40}\) with Python", text)  # of no tree with changes
    assert "no_result" not in (record.parent / "rows.csv").read_text(encoding="utf-8")
