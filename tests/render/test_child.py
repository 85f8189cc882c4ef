"""Starting the rendering child: what a full disk leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.render.child import FILES, render
from benchmark.store import open_store


def empty(root: Path) -> None:
    """The store of a run without cells."""
    store = open_store(root / "store.sqlite")
    measure = {"processes": 1, "rounds": 1, "calls": 7}
    build = {"cores": 1, "memory": 1024**3, "seconds": 60.0}
    store.replace_grid({"name": "none", "seeds": [0], "build": build, "measure": measure, "tiers": []}, [])
    store.close()


def test_what_stands_is_kept_and_what_was_changed_is_made_again(tmp_path: Path) -> None:
    empty(tmp_path)
    render(tmp_path)
    before = {name: ((tmp_path / name).read_bytes(), (tmp_path / name).stat().st_mtime_ns) for name in FILES}
    render(tmp_path)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in FILES} == {name: time for name, (_, time) in before.items()}
    (tmp_path / "rows.json").write_text("[]", encoding="utf-8")
    render(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == {name: text for name, (text, _) in before.items()}
    assert (tmp_path / "rows.csv").stat().st_mtime_ns > before["rows.csv"][1]


def test_a_full_disk_is_one_line_and_the_next_try_renders(tmp_path: Path) -> None:
    empty(tmp_path)
    (tmp_path / "rows.csv.part").symlink_to("/dev/full")  # a device that answers every write with ENOSPC
    with pytest.raises(UserError) as caught:
        render(tmp_path)
    kept = "everything finished is kept; the same command goes on from here"
    assert str(caught.value) == f"results folder {tmp_path}: No space left on device: {kept}"
    assert sorted(path.name for path in tmp_path.iterdir() if "store" not in path.name) == []
    assert render(tmp_path) == tmp_path / "leaderboard.md"
    assert all((tmp_path / name).stat().st_size for name in FILES)
    assert Path("/dev/full").is_char_device()
