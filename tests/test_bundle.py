"""A bundle: equal bytes for equal content, the same store after unpacking, and nothing unpacked that should not be."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import stat
import subprocess
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import UserError, bundle
from benchmark.measure import size
from benchmark.plan import Cell
from benchmark.store import StepResult, Store, open_store

CELL = Cell(
    *("small", "blobs", "tabular", ("accuracy",), 0.02, "row", 0, "linear", "ridge", "reference", "onnxruntime", 0, "logits"),
    prepare="p" * 64,
    chain=(("train", "t" * 64), ("export", "x" * 64)),
    evaluate="e" * 64,
)
ARRAYS = {
    "p" * 64: {"test_y": np.arange(5), "group_sex/age": np.array(["ä", "近い", "", "b", "c"])},
    "e" * 64: {"test": np.linspace(0, 1, 10, dtype=np.float32).reshape(5, 2), "validation": np.zeros((0, 2), np.float32)},
}


def result(id_: str, **changes: Any) -> StepResult:
    values: dict[str, Any] = {"kind": "pass", "label": f"step {id_[0]}", "outcome": "ok", "reason": "", "seconds": 0.1 + 0.2}
    values |= {"finished_utc": "2026-01-01T00:00:00+00:00", "facts": {"z": 1, "a": [1.5, "\udcff"]}, "ingredients": {"lr": 1e-3}}
    return StepResult(**{"id": id_, **values, **changes})


def results_of(digest: str) -> list[StepResult]:
    exported = result("x" * 64, facts={"artifact": digest})
    return [result("p" * 64), result("t" * 64), exported, result("e" * 64, ingredients={"host_class": "cafe"})]


def fill(store: Store, steps: list[StepResult]) -> None:
    for step in steps:
        store.record(step, ARRAYS.get(step.id))
    store.set_meta("host_class:cafe", {"cpu_model": "Some CPU"})
    store.replace_grid({"name": "small", "tiers": []}, [asdict(CELL)])


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """``make(name)``: a results folder of one cell; ``backwards``: as written in another order, with leftovers."""

    def folder(name: str, *, backwards: bool = False) -> Path:
        root = tmp_path / name / "results"
        (root / "artifacts" / "new" / "weights").mkdir(parents=True)
        files = {"model.onnx": b"graph", "weights/w.bin": b"weights"}
        for file in sorted(files, reverse=backwards):
            (root / "artifacts" / "new" / file).write_bytes(files[file])
        digest = size.artifact_digest(root / "artifacts" / "new")
        (root / "artifacts" / "new").rename(root / "artifacts" / digest)
        for text in ("suite.toml", "rows.csv"):
            (root / text).write_text(f"{text}\n", encoding="utf-8")
        with closing(open_store(root / "store.sqlite")) as store:
            steps = results_of(digest)
            if backwards:
                store.record(result("o" * 64), {"old": np.ones(3)})  # of an earlier grid
                store.set_meta("host_class:dead", {"cpu_model": "One that no step of the grid ran on"})
                fill(store, [replace(one, reason="an earlier try") for one in steps])
                (root / "notes.txt").write_text("mine", encoding="utf-8")
                (root / "rows.csv").chmod(0o600)
            fill(store, steps[::-1] if backwards else steps)
        return root

    return folder


def pack(root: Path, output: Path) -> str:
    return bundle.pack(root, output, ("rows.csv", "leaderboard.md"))


def test_equal_content_is_equal_bytes(make: Callable[..., Path], tmp_path: Path) -> None:
    one, other = make("one"), make("other", backwards=True)
    assert pack(one, tmp_path / "one.zip") == pack(other, tmp_path / "other.zip") == bundle.digest(one)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()
    with closing(open_store(other / "store.sqlite")) as store:
        store.record(result("t" * 64, seconds=1.0))
    assert pack(other, tmp_path / "other.zip") == bundle.digest(other) != bundle.digest(one)


def test_the_digest_is_that_of_the_store_in_it_and_covers_every_array(make: Callable[..., Path], tmp_path: Path) -> None:
    root = make("one")
    digest = pack(root, tmp_path / "one.zip")
    with zipfile.ZipFile(tmp_path / "one.zip") as packed:
        names = packed.namelist()
        assert hashlib.sha256(packed.read("store.jsonl")).hexdigest() == digest
        arrays = [name for name in names if name.startswith("arrays/")]
        for name in arrays:
            assert name == f"arrays/{hashlib.sha256(packed.read(name)).hexdigest()}.npy"
        loaded = [np.load(io.BytesIO(packed.read(name)), allow_pickle=False) for name in arrays]
        assert {member.compress_type for member in packed.infolist()} == {zipfile.ZIP_STORED}
    assert names == sorted(names)
    assert [name for name in names if "/" not in name] == ["rows.csv", "store.jsonl", "suite.toml"]
    expected = [array for of_step in ARRAYS.values() for array in of_step.values()]
    for array in expected:
        assert any(one.dtype == array.dtype and np.array_equal(one, array) for one in loaded)
    assert len(arrays) == len(expected)
    changed = np.arange(5)[::-1].copy()
    with closing(sqlite3.connect(root / "store.sqlite")) as connection, connection:
        connection.execute("UPDATE arrays SET data = ? WHERE name = 'test_y'", (changed.tobytes(),))
    assert bundle.digest(root) != digest


def test_numpy_writes_the_same_array(make: Callable[..., Path]) -> None:
    for array in (one for of_step in ARRAYS.values() for one in of_step.values()):
        ours = bundle._npy(array.dtype.str, array.shape, array.tobytes())
        assert len(ours) - array.nbytes == 128  # as aligned as numpy's own
        assert np.array_equal(np.load(io.BytesIO(ours), allow_pickle=False), array)


def unpack(path: Path, root: Path) -> None:
    """Makes a results folder of a bundle."""
    bundle.extract(path, root)
    bundle.restore(root, root / "store.sqlite")
    shutil.rmtree(root / "arrays")
    (root / bundle.STORE).unlink()


def test_unpacked_it_is_the_same_store(make: Callable[..., Path], tmp_path: Path) -> None:
    root = make("one", backwards=True)
    digest = pack(root, tmp_path / "one.zip")
    unpack(tmp_path / "one.zip", tmp_path / "new")
    assert bundle.digest(tmp_path / "new") == digest
    pack(tmp_path / "new", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "one.zip").read_bytes()
    (artifact,) = (tmp_path / "new" / "artifacts").iterdir()
    assert (artifact / "weights" / "w.bin").read_bytes() == b"weights"
    with closing(open_store(tmp_path / "new" / "store.sqlite")) as store:
        assert store.results(["t" * 64])["t" * 64] == result("t" * 64)
        assert list(store.results(["t" * 64])["t" * 64].facts) == ["z", "a"]  # rows are texts of them
        assert store.results(["o" * 64]) == {}
        assert list(store.array("p" * 64, "group_sex/age")) == ["ä", "近い", "", "b", "c"]
        assert store.cells() == [json.loads(json.dumps(asdict(CELL)))]
    assert sorted(path.name for path in (tmp_path / "new").iterdir() if "store" not in path.name) == [
        *("artifacts", "rows.csv", "suite.toml")
    ]


# What is not to be unpacked


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], compress: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compress) as packed:
        for member, content in members:
            packed.writestr(member, content)
    return path


def link() -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("rows.csv")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("../evil.txt", "'../evil.txt' would not lie in the folder"),
        ("/evil.txt", "'/evil.txt' would not lie in the folder"),
        ("artifacts/a/../../../evil.txt", "'artifacts/a/../../../evil.txt' would not lie in the folder"),
        ("artifacts\\..\\evil.txt", r"'artifacts\\..\\evil.txt' would not lie in the folder"),
        ("a\nb", r"'a\nb' would not lie in the folder"),
        (link(), "'rows.csv' is a link or a device"),
    ],
)
def test_paths_that_leave_the_folder_are_refused(member: str | zipfile.ZipInfo, said: str, tmp_path: Path) -> None:
    path = zipped(tmp_path / "evil.zip", ("suite.toml", b"fine"), (member, b"/etc/passwd"))
    with pytest.raises(UserError) as caught:
        unpack(path, tmp_path / "a" / "new")
    assert str(caught.value) == f"{path}: not unpacked: {said}"
    assert list((tmp_path / "a" / "new").iterdir()) == []
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "evil.zip"]


def test_a_bomb_is_refused(tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    path = zipped(tmp_path / "bomb.zip", ("suite.toml", bytes(50_000_000)), compress=zipfile.ZIP_DEFLATED)
    packed = path.stat().st_size
    run = command("verify", "bomb.zip")
    said = f"error: bomb.zip: not unpacked: it would unpack to 50,000,000 bytes in 1 files, from a file of {packed:,}\n"
    assert (run.returncode, run.stdout, run.stderr) == (2, "", said)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = zipped(tmp_path / "twice.zip", ("rows.csv", b"1"), ("rows.csv", b"2"))
    with pytest.raises(UserError, match=r"twice\.zip: not unpacked: two of its files have one name$"):
        unpack(path, tmp_path / "new")


def test_what_lies_there_already_is_kept(make: Callable[..., Path], tmp_path: Path) -> None:
    root = make("one")
    pack(root, tmp_path / "one.zip")
    before = (root / "store.sqlite").read_bytes()
    with pytest.raises(UserError, match=r"it is not empty, so no bundle is unpacked there$"):
        unpack(tmp_path / "one.zip", root)
    assert (root / "store.sqlite").read_bytes() == before


def repacked(path: Path, change: Callable[[str, bytes], bytes]) -> Path:
    with zipfile.ZipFile(path) as packed:
        members = [(name, change(name, packed.read(name))) for name in packed.namelist()]
    return zipped(path.with_name("changed.zip"), *members)


@pytest.mark.parametrize(
    ("member", "change", "said"),
    [
        ("store.jsonl", lambda content: content.replace(b'_version": 1}', b'_version": 7}'), "written by version 7 of the store"),
        ("store.jsonl", lambda content: content[:-20], ", line 8: cannot be used: "),
        (
            "store.jsonl",
            lambda content: content + b'{"step": {"id": "x"}, "arrays": {}}\n',
            ", line 9: cannot be used: TypeError",
        ),
        ("store.jsonl", lambda content: content + b"[" * 100_000, ", line 9: cannot be used: "),
        ("arrays/", lambda content: content[:-1] + b"x", r"arrays/[0-9a-f]{64}\.npy is damaged$"),
    ],
    ids=["newer", "cut", "half a step", "deep", "array"],
)
def test_a_damaged_or_newer_bundle_is_one_line(
    member: str, change: Callable[[bytes], bytes], said: str, make: Callable[..., Path], tmp_path: Path
) -> None:
    pack(make("one"), tmp_path / "one.zip")
    path = repacked(tmp_path / "one.zip", lambda name, content: change(content) if name.startswith(member) else content)
    with pytest.raises(UserError, match=said) as caught:
        unpack(path, tmp_path / "new")
    assert "\n" not in str(caught.value)


def test_an_array_of_objects_is_not_unpickled(make: Callable[..., Path], tmp_path: Path) -> None:
    root = tmp_path / "new"
    pack(make("one"), tmp_path / "one.zip")
    bundle.extract(tmp_path / "one.zip", root)
    content = io.BytesIO()
    np.save(content, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    (root / "arrays" / f"{digest}.npy").write_bytes(content.getvalue())
    step = {"step": asdict(result("e" * 64)), "arrays": {"test": digest}}
    with (root / "store.jsonl").open("a", encoding="ascii") as file:
        file.write(f"{json.dumps(step)}\n")
    with pytest.raises(UserError, match="line 9: cannot be used: ValueError: Object arrays cannot be loaded"):
        bundle.restore(root, root / "store.sqlite")


def archive() -> bytes:
    content = io.BytesIO()
    np.savez(content, a=np.zeros(3))
    return content.getvalue()


@pytest.mark.parametrize("content", [archive(), b"PK\x03\x04 and nothing else", b"", b"\x93NUMPY\x01\x00\x02\x00{}"])
def test_what_is_no_array_is_one_line(content: bytes, make: Callable[..., Path], tmp_path: Path) -> None:
    root = tmp_path / "new"
    pack(make("one"), tmp_path / "one.zip")
    bundle.extract(tmp_path / "one.zip", root)
    digest = hashlib.sha256(content).hexdigest()
    (root / "arrays" / f"{digest}.npy").write_bytes(content)
    step = {"step": asdict(result("e" * 64)), "arrays": {"test": digest}}
    with (root / "store.jsonl").open("a", encoding="ascii") as file:
        file.write(f"{json.dumps(step)}\n")
    with pytest.raises(UserError, match="line 9: cannot be used: ") as caught:
        bundle.restore(root, root / "store.sqlite")
    assert "\n" not in str(caught.value)


def test_a_zip_of_another_packing_or_with_a_damaged_name_is_one_line(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", ("rows.csv", b"1" * 1000), compress=zipfile.ZIP_LZMA)
    with pytest.raises(UserError, match=r"x\.zip: not unpacked: 'rows\.csv' is neither stored nor deflated$"):
        bundle.extract(path, tmp_path / "a")
    content = zipped(tmp_path / "y.zip", ("röws.csv", b"1")).read_bytes()
    (tmp_path / "y.zip").write_bytes(content.replace("ö".encode(), b"\xff\xff"))
    with pytest.raises(UserError, match=r"y\.zip: not a bundle that can be read: ") as caught:
        bundle.extract(tmp_path / "y.zip", tmp_path / "b")
    assert "\n" not in str(caught.value)


def test_no_run_is_one_line(tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    run = command("bundle", "nothing")
    assert run.returncode == 2
    assert run.stderr == "error: results folder nothing: no run has written into it yet\n"
    assert list(tmp_path.iterdir()) == []
