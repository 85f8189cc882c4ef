"""The files of a run, on a real disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmark import folders


def test_bytes_of_counts_all_that_there_is_and_what_is_small_as_a_block(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "large").write_bytes(bytes(10_000))
    (tmp_path / "sub" / "small").write_bytes(b"x")
    (tmp_path / "link").symlink_to("/usr")
    assert folders.bytes_of(tmp_path) == 10_000 + 3 * 4096
    assert folders.bytes_of(tmp_path / "gone") == 0


def test_a_long_log_is_cut_to_its_end_while_it_is_written(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with log.open("ab") as writer:
        writer.write(b"a" * 2**20)
        writer.flush()
        folders.bound(log)
        assert log.stat().st_size == 2**20  # not longer than allowed
        writer.write(b"the end")
        writer.flush()
        folders.bound(log)
        writer.write(b" and more")
    content = log.read_bytes()
    assert content.startswith(b"[the beginning was cut]\n")
    assert content.endswith(b"athe end and more")
    assert len(content) == len(b"[the beginning was cut]\n") + 2**16 + len(b" and more")


def test_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert folders.last_lines(log) == []
    log.write_bytes(b"".join(b"line %d\n" % i for i in range(20)) + b"\xff\tend")
    assert folders.last_lines(log) == [*(f"line {i}" for i in range(11, 20)), "\ufffd end"]


def test_only_temporary_folders_of_hosts_that_are_gone_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gone, mine, others = (
        "pocketbench-job-4194399-abcdefgh",
        f"pocketbench-job-{os.getpid()}-abcdefgh",
        "pocketbench-job-notes-abcdefgh",
    )
    for name in (gone, mine, others):
        (tmp_path / name).mkdir()
    folders.sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine, others])


def test_a_folder_that_cannot_be_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "one" / "two").mkdir(parents=True)
    (tmp_path / "one" / "two" / "file").write_bytes(b"")
    (tmp_path / "one" / "two").chmod(0o500)
    folders.remove(tmp_path / "one")
    assert not (tmp_path / "one").exists()


def test_what_cannot_be_copied_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    folders.check_tree(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is not a regular file or folder that can be read"):
        folders.check_tree(tmp_path)
