"""The record of a run: what is written is what is read, whoever reads meanwhile and however the writer ends."""

from __future__ import annotations

import dataclasses
import errno
import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmark import UserError
from benchmark.store import SCHEMA_VERSION, StepResult, Store, open_store

RESULT = StepResult(
    id="a1",
    kind="train",
    label="digits · fold 0: train",
    outcome="ok",
    reason="",
    seconds=1.25,
    finished_utc="2026-01-02T03:04:05+00:00",
    facts={"updates": 30, "versions": {"numpy": "2.1"}},
    limits={"memory": {"limit": 1024, "mechanism": "not enforced here", "observed": None}},
    ingredients={"seed": 0, "lr": 0.1},
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "store.sqlite")
    yield opened
    opened.close()


# Round trips

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FACTS = st.dictionaries(st.text(), VALUES, max_size=4)
RESULTS = st.builds(
    StepResult,
    id=st.text(),
    kind=st.text(),
    label=st.text(),
    outcome=st.sampled_from(["ok", "failed", "timeout", "out_of_memory", "crashed", "no_result", "no_op", "skipped", "invalid"]),
    reason=st.text(),
    seconds=st.floats(0, 1e9),
    finished_utc=st.text(),
    facts=FACTS,
    limits=FACTS,
    ingredients=FACTS,
)
DTYPES = ["<f4", ">f4", "<f8", "<f2", "<i8", ">i2", "|u1", "|b1", "<c8", "<U3", "|S2", "<M8[s]"]
ARRAYS = hnp.arrays(
    st.sampled_from(list(map(np.dtype, DTYPES))), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
)
THOROUGH = settings(max_examples=40, deadline=None, derandomize=True, database=None)


@THOROUGH
@given(RESULTS, st.dictionaries(st.text(), ARRAYS, max_size=3))
def test_what_is_recorded_is_read_again(result: StepResult, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.sqlite"
        writer = open_store(path)
        writer.record(result, arrays)
        writer.close()
        reader = open_store(path)
        assert reader.results([result.id]) == {result.id: result}
        for name, array in arrays.items():
            again = reader.array(result.id, name)
            assert (again.dtype, again.shape, again.tobytes()) == (array.dtype, array.shape, array.tobytes())
        reader.close()


@THOROUGH
@given(RESULTS)
def test_a_result_survives_its_json(result: StepResult) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    assert StepResult(**json.loads(result.to_json(), parse_constant=refuse)) == result


@pytest.mark.parametrize("array", [np.arange(24).reshape(4, 6)[::2, ::3], np.asfortranarray(np.arange(6.0).reshape(2, 3))])
def test_arrays_in_any_memory_order(store: Store, array: np.ndarray[Any, Any]) -> None:
    store.record(RESULT, {"x": array})
    assert store.array("a1", "x").tolist() == array.tolist()


def test_numbers_come_back_to_the_last_bit(store: Store) -> None:
    exact = [0.1 + 0.2, 1e-320, 1.7976931348623157e308, 2**63, -(10**40)]
    store.record(dataclasses.replace(RESULT, seconds=0.1 + 0.2, facts={"numbers": exact}))
    found = store.results(["a1"])["a1"]
    assert found.seconds == 0.1 + 0.2
    assert found.facts["numbers"] == exact
    assert [type(one) for one in found.facts["numbers"]] == [float, float, float, int, int]


def test_the_same_id_is_replaced_with_its_arrays(store: Store) -> None:
    store.record(RESULT, {"old": np.ones(2), "both": np.ones(2)})
    store.record(dataclasses.replace(RESULT, id="other"), {"old": np.full(2, 7)})
    again = dataclasses.replace(RESULT, outcome="failed", reason="boom", facts={})
    store.record(again, {"both": np.zeros(3)})
    assert store.results(["a1"]) == {"a1": again}
    assert store.array("a1", "both").tolist() == [0, 0, 0]
    assert store.array("other", "old").tolist() == [7, 7]
    with pytest.raises(KeyError, match="a1: old"):
        store.array("a1", "old")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("field", ["facts", "limits", "ingredients"])
def test_what_json_cannot_say_is_refused_and_changes_nothing(store: Store, field: str, bad: float) -> None:
    store.record(RESULT, {"x": np.ones(2)})
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        store.record(StepResult(**{**dataclasses.asdict(RESULT), field: {"value": bad}}), {"x": np.zeros(2)})
    assert store.results(["a1"]) == {"a1": RESULT}
    assert store.array("a1", "x").tolist() == [1, 1]


def test_only_what_was_asked_for_and_is_there(store: Store) -> None:
    for id_ in "abc":
        store.record(dataclasses.replace(RESULT, id=id_))
    assert list(store.results(["c", "nowhere", "a"])) == ["c", "a"]
    assert store.results([]) == {}


def test_the_grid_is_the_last_runs_in_its_order(store: Store) -> None:
    assert store.cells() == []
    store.replace_grid({}, [{"task": "z"}, {"task": "a"}, {"task": "m"}])
    store.replace_grid({}, [{"task": "ü\n", "chain": [["train", "1"]]}, {"task": "a"}])
    assert store.cells() == [{"task": "ü\n", "chain": [["train", "1"]]}, {"task": "a"}]


def test_meta(store: Store) -> None:
    store.set_meta("suite", {"seeds": [0]})
    store.set_meta("suite", {"seeds": [0, 1]})
    assert store.meta("suite") == {"seeds": [0, 1]}
    with pytest.raises(KeyError, match="nothing"):
        store.meta("nothing")


# A disk that is full or fails


def test_a_full_disk_is_an_error_of_the_system_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = open_store(path)
    store.record(RESULT, {"x": np.ones(2)})
    store.replace_grid({"seeds": [0]}, [{"task": "a"}])
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")  # what SQLite then says is what it says of a full disk
    big = dataclasses.replace(RESULT, facts={"big": "x" * 100_000})
    writes: list[Callable[[], None]] = [
        lambda: store.record(big, {"x": np.zeros(2)}),
        lambda: store.replace_grid({}, [{"task": "x" * 100_000}]),
        lambda: store.set_meta("suite", "x" * 100_000),
    ]
    for write in writes:
        with pytest.raises(OSError, match="No space left on device") as caught:
            write()
        assert caught.value.errno == errno.ENOSPC
    assert store.results(["a1"]) == {"a1": RESULT}
    assert store.array("a1", "x").tolist() == [1, 1]
    assert store.cells() == [{"task": "a"}]
    assert store.meta("suite") == {"seeds": [0]}
    store.close()
    again = open_store(path)  # there is space again
    again.record(big)
    assert again.results(["a1"]) == {"a1": big}
    again.close()


REMEDY = "where a run wrote it, delete it: finished steps are read again from their folders"


FAILING = """
import resource, signal, sys
from pathlib import Path
from benchmark.store import StepResult, open_store

store = open_store(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    store.record(StepResult("id", "train", "label", "ok", "", 0.5, "now", {"text": "x" * 400_000}))
except OSError as error:
    print(error)
print(store.results(["id"]))
"""


def test_a_write_that_the_system_refuses_is_an_error_of_the_system(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FAILING, str(tmp_path / "store.sqlite")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("[Errno 5] Input/output error\n{}\n", "")


# Files that are no store


def message(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        open_store(path)
    return str(caught.value)


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    open_store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (str(SCHEMA_VERSION + 1),))
    connection.close()
    assert message(path) == f"{path}: written by version {SCHEMA_VERSION + 1} of the store, this is version {SCHEMA_VERSION}"


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    before = path.read_bytes()
    assert message(path) == f"{path}: cannot be used as a results store: no such table: meta; {REMEDY}"
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_text("task,score\n" * 100, encoding="utf-8")
    assert message(path) == f"{path}: cannot be used as a results store: file is not a database; {REMEDY}"


def test_a_database_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    open_store(path).close()
    path.write_bytes(path.read_bytes()[:5000])
    assert message(path).startswith(f"{path}: cannot be used as a results store: ")


def test_a_folder_and_a_missing_folder(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere" / "store.sqlite"):
        assert message(path) == f"{path}: cannot be used as a results store: unable to open database file"


# Several at once

WRITER = """
import dataclasses, sys
from pathlib import Path
import numpy as np
from benchmark.store import StepResult, open_store

store = open_store(Path(sys.argv[1]))
for i in range(int(sys.argv[2])):
    facts = {"text": "x" * (i * 37 % 5000), "i": i}
    store.record(StepResult(f"id{i}", "train", "label", "ok", "", 0.5, "now", facts), {"x": np.full(i, i, np.int64)})
    store.set_meta("last", i)
    print(i, flush=True)
"""


def writer(path: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(count)], stdout=subprocess.PIPE, text=True)


def written(store: Store, count: int) -> list[int]:
    """The numbers below ``count`` whose results are there; each must be whole."""
    numbers = []
    for id_, result in store.results(f"id{i}" for i in range(count)).items():
        i = result.facts["i"]
        assert id_ == f"id{i}"
        assert result.facts["text"] == "x" * (i * 37 % 5000)
        assert store.array(id_, "x").tolist() == [i] * i
        numbers.append(i)
    return numbers


def test_a_reader_never_fails_while_a_writer_commits(tmp_path: Path) -> None:  # case H-08
    path = tmp_path / "store.sqlite"
    process = writer(path, 200)
    assert process.stdout is not None
    process.stdout.readline()
    seen, ended = [], False
    while not ended:
        ended = process.poll() is not None
        reader = open_store(path)
        seen.append(len(written(reader, 200)))
        reader.close()
    assert process.stdout.read().split()[-1] == "199"
    assert process.wait() == 0
    process.stdout.close()
    assert seen == sorted(seen)
    assert seen[0] >= 1
    assert seen[-1] == 200


@pytest.mark.parametrize("after", [0, 41, 118])
def test_kill_9_leaves_every_committed_result_readable(tmp_path: Path, after: int) -> None:  # case H-09
    path = tmp_path / "store.sqlite"
    process = writer(path, 10**6)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == after:
            break
    process.kill()
    told = [after, *map(int, process.stdout.read().split())]  # lines on their way when the signal came
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    store = open_store(path)
    kept = written(store, told[-1] + 10)
    assert kept in (list(range(told[-1] + 1)), list(range(told[-1] + 2)))  # one more may be committed and not yet told
    store.record(RESULT)  # and the file can be written on
    assert store.results(["a1"]) == {"a1": RESULT}
    store.close()
    checked = sqlite3.connect(path)
    assert checked.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    checked.close()


def test_many_may_create_the_same_file(tmp_path: Path) -> None:
    def use(i: int) -> None:
        opened = open_store(tmp_path / "store.sqlite")
        opened.set_meta(f"key{i}", i)
        opened.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    store = open_store(tmp_path / "store.sqlite")
    assert [store.meta(f"key{i}") for i in range(8)] == list(range(8))
    store.close()
