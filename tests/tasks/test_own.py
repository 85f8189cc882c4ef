"""Tasks out of the user's own file: each decision is a note, each fault one line that names file, column and row."""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow has no type hints
import pytest
from benchmark_own._splits import split
from benchmark_own._task import OwnData
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyarrow import parquet
from sklearn.model_selection import StratifiedKFold  # type: ignore[import-untyped]  # scikit-learn has no type hints

from benchmark import Split, TaskData, TaskSpec, UserError, data

Cells: TypeAlias = Sequence[object]
ROWS = 60
Y = ("no", "yes", "yes") * 20
NUMBERS = tuple(float(v) for v in np.random.default_rng(0).normal(size=ROWS).round(3))
TEXTS = tuple("ABCD"[v] for v in np.random.default_rng(1).integers(0, 4, ROWS))


def own(path: Path, **options: Any) -> OwnData:
    """The task of a file as the host makes it."""
    drop = json.dumps(options.pop("drop", []))
    fixed = {"target": "y", "unit": "", "folds": 2, "modality": "tabular"}
    return OwnData(file=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest(), drop=drop, **{**fixed, **options})


Table: TypeAlias = Callable[..., OwnData]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """``table({"a": cells, ...}, folds=2, ...)``: the task of a file x.csv with these columns and, unless it is given, ``y``."""

    def make(columns: Mapping[str, Cells], separator: str = ",", **options: Any) -> OwnData:
        cells = {**columns, "y": columns.get("y", Y)}
        path = tmp_path / "x.csv"
        pd.DataFrame({name: list(map(str, one)) for name, one in cells.items()}).to_csv(path, index=False, sep=separator)
        return own(path, **options)

    return make


Raw: TypeAlias = Callable[..., OwnData]


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    """``raw(content, "x.csv", ...)``: the task of a file of these bytes."""

    def make(content: bytes, name: str = "x.csv", **options: Any) -> OwnData:
        (tmp_path / name).write_bytes(content)
        return own(tmp_path / name, **options)

    return make


@pytest.fixture
def arrays(tmp_path: Path) -> Raw:
    """``arrays(modality, x=..., y=..., ...)``: the task of a file x.npz with these arrays; other options in ``options``."""

    def make(kind: str, options: Mapping[str, Any] | None = None, **content: Any) -> OwnData:
        np.savez(tmp_path / "x.npz", **content)
        return own(tmp_path / "x.npz", modality=kind, **(options or {}))

    return make


def replaced(cells: Iterable[object], **new: object) -> list[object]:
    """Cells with ``_3="x"`` instead of the one in row 3, counted from 1."""
    return [new.get(f"_{row}", cell) for row, cell in enumerate(cells, 1)]


def splits(task: TaskData) -> tuple[Split, Split, Split]:
    return task.train, task.validation, task.test


def whole(task: TaskData) -> dict[int, list[float]]:
    """Unit -> row, of all splits: without units, the place in the file -> the row of x."""
    return {int(unit): row.tolist() for one in splits(task) for unit, row in zip(one.units, one.x, strict=True)}


def codes(task: TaskData, column: str) -> NDArray[np.float64]:
    """The outputs that come of a column, of all rows in the order of the file."""
    outputs = task.preprocessing["outputs"]
    chosen = [place for place, name in enumerate(outputs) if name.split("=")[0] == column]
    rows = whole(task)
    return np.array([[rows[row][place] for place in chosen] for row in sorted(rows)])


def fault(task: OwnData, fold: int = 0) -> str:
    """What is wrong with a file: one line."""
    with pytest.raises(UserError) as caught:
        task.load(fold)
    text = str(caught.value)
    assert text.startswith(("x.csv: ", "x.parquet: ", "x.npz: "))
    assert "\n" not in text
    assert len(text) < 400
    return text


def test_a_file_of_everyday_trouble(raw: Raw) -> None:
    """Text target, column without a value, unseen category, Latin-1 bytes, numbers as text, codes, a constant column: each has
    its line."""
    plain = table_bytes(ROWS)
    notes = raw(plain.encode("latin-1")).load(0).notes
    assert notes == (
        "x.csv: read as Windows-1252: row 2, column city, is not UTF-8",
        "5 columns in use; numbers: age, size; text: zip, city, same",
        "missing cells: age 1",
        "column zip: text, though values look like whole numbers (leading zeros)",
        "column none: left out, no value in any row",
        "column name: left out, a text that differs in every row",
        "classes: no (0), yes (1); class 1 is the positive one (yes)",
        "column same: left out, one value in the training rows",
    )
    # The rows of the test part with a city of their own.
    tested = raw(plain.encode("latin-1")).load(0).test.units
    unseen = raw(table_bytes(ROWS, moved=int(tested[0])).encode("latin-1")).load(0).notes[-1]
    assert unseen == (
        "cells of validation and test rows in a category that no training row has, all codes 0: "
        f"city 1 (row {tested[0] + 1}: 'Århus')"
    )


def table_bytes(rows: int, moved: int = -1) -> str:
    """A CSV text; the place of the row whose city is no other's."""
    lines = ["age,size,zip,city,same,none,name,y"]
    for row in range(rows):
        city = "Århus" if row == moved else ("Bonn", "Köln", "Ulm", "Bonn", "Köln")[row % 5]
        age = "NA" if row == 6 else 20 + row * 7 % 31
        lines.append(f"{age},{NUMBERS[row]},0{row * 3 % 4},{city},same,,n{row},{Y[row]}")
    return "\n".join(lines) + "\n"


def test_a_column_that_tells_the_target(table: Table) -> None:
    """One line, with the value and what to write."""
    paid = [{"no": "open", "yes": "paid"}[one] for one in Y]
    columns = {"a": NUMBERS, "status": replaced(paid, _1="", _2="")}
    text = "x.csv: column 'status' tells the target 'y' exactly (row 3: 'paid' is always 'yes'): leave it out by "
    assert fault(table(columns)) == text + 'drop = ["status"]'
    assert fault(table({**columns, "b": TEXTS}, drop=["b"])) == text + 'drop = ["b", "status"]'
    late = {**columns, "y": replaced(Y, _1="", _3="")}  # rows are counted as in the file, also where some are left out
    assert "(row 4: 'open' is always 'no')" in fault(table(late))
    assert table(columns, drop=["status"]).load(0).train.x.shape[1] == 1
    assert table({**columns, "status": replaced(paid, _1="paid")}).load(0).train.x.shape[1] == 3


@pytest.mark.parametrize(
    ("cells", "example"),
    [
        pytest.param(
            [{"no": 10, "yes": 20 + row % 3}[one] for row, one in enumerate(Y)], "row 1: '10' is always 'no'", id="numbers"
        ),
        pytest.param([{"no": "", "yes": "2020"}[one] for one in Y], "row 1: an empty cell is always 'no'", id="empty cells"),
    ],
)
def test_other_ways_to_tell_the_target(table: Table, cells: Cells, example: str) -> None:
    assert fault(table({"a": NUMBERS, "b": cells})) == (
        f"x.csv: column 'b' tells the target 'y' exactly ({example}): leave it out by drop = [\"b\"]"
    )


def test_a_copy_of_many_classes_is_found_in_few_rows(table: Table) -> None:
    """12 classes in 60 rows: 5 rows each, but as many values as classes, one to one."""
    y = [row % 12 for row in range(ROWS)]
    assert "column 'b' tells the target" in fault(table({"a": NUMBERS, "b": [7 - 2 * one for one in y], "y": y}))
    assert table({"a": NUMBERS, "b": [one // 2 for one in y], "y": y}).load(0).classes[-1] == "11"


def test_a_value_that_is_rare_tells_nothing(table: Table) -> None:
    """20 values of 3 rows each, each with one class, can be chance."""
    y = [("no", "yes", "yes")[row // 3 % 3] for row in range(ROWS)]
    assert table({"a": NUMBERS, "b": [f"b{row // 3}" for row in range(ROWS)], "y": y}).load(0).train.x.shape[1] > 2


def test_an_identifier_that_tells_the_target_is_a_unit(table: Table) -> None:
    """Left out only, the rows of one patient would be on both sides of a split."""
    patients = [f"{one}{row // 3 % 2}" for row, one in enumerate(Y)]
    assert fault(table({"a": NUMBERS, "PatientID": patients})).endswith(
        'by drop = ["PatientID"], or set unit = "PatientID" if its rows belong together'
    )


# What a cell is


@pytest.mark.parametrize("empty", ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "?", "inf", "-Infinity", "1e999"])
def test_empty_cells_of_numbers_become_the_median_of_training_rows(table: Table, empty: str) -> None:
    task = table({"a": replaced(NUMBERS, _5=empty, _9=empty)}).load(0)
    assert "missing cells: a 2" in task.notes
    fitted = task.preprocessing
    train = [NUMBERS[row] for row in task.train.units if row not in (4, 8)]
    assert fitted["imputed"]["a"] == np.median(train)
    expected = np.float32((fitted["imputed"]["a"] - fitted["means"]["a"]) / fitted["scales"]["a"])
    assert codes(task, "a")[[4, 8]].ravel().tolist() == [expected, expected]


def test_an_empty_cell_of_texts_is_a_category_and_none_is_not_empty(table: Table) -> None:
    cells = [("?", "none", "x")[row % 3 if row % 2 else 0] for row in range(ROWS)]
    task = table({"a": cells}).load(0)
    assert task.preprocessing["categories"] == {"a": ["missing", "none", "x"]}


def test_a_few_texts_among_numbers_count_as_missing(table: Table) -> None:
    """3 of 60 cells are 5 %: numbers. 4 are more: text."""
    task = table({"a": replaced(NUMBERS, _4="old", _17="very old", _18="old")}).load(0)
    assert "cells that are no number, in columns of numbers, count as missing: a 3 (row 4: 'old')" in task.notes
    assert "missing cells: a 3" in task.notes
    assert task.preprocessing["imputed"].keys() == {"a"}
    numbers = [v * 7 % 4 for v in range(ROWS)]
    text = table({"a": replaced(numbers, _4="old", _17="very old", _18="old", _19="old")}).load(0)
    assert text.preprocessing["categories"]["a"][:2] == ["0", "1"]
    note = "read as text, each value a category, since too many cells are no number (empty ones would do): a 4 (row 4: 'old')"
    assert note in text.notes


def test_a_column_of_dates_is_pointed_out(table: Table) -> None:
    note = "column a: looks like dates; each one is a category, so drop it or make it a number, such as days since the first"
    for form in ("2024-03-{:02}", "{:02}.03.2024", "3/{}/24", "2024-03-{:02}T10:00:00Z"):
        assert note in table({"a": [form.format(1 + v % 7) for v in range(ROWS)]}).load(0).notes
    assert note not in table({"a": [f"10-{1 + v % 7}" for v in range(ROWS)]}).load(0).notes


def test_a_column_that_nearly_tells_the_target_is_pointed_out(table: Table) -> None:
    """A number and a category, each right in 98 of 100 rows: not refused, as a good feature can be so good."""
    rows = 400
    y = ["yes" if v % 3 else "no" for v in range(rows)]
    wrong = [v % 50 == 0 for v in range(rows)]
    says = [(one == "yes") != odd for one, odd in zip(y, wrong, strict=True)]
    columns = {
        "paid": [int(one) + 0.1 * (v % 7) for v, one in enumerate(says)],
        "told": says,
        "b": [v * 7 % 11 for v in range(rows)],
    }
    (note,) = [one for one in table({**columns, "y": y}).load(0).notes if one.startswith("known before the target?")]
    alone = "known before the target? alone it gives the class of most training rows (mean over classes): paid 9"
    assert note.startswith(alone)
    assert ", told 9" in note
    assert "b " not in note.partition(": ")[2]
    weaker = [v % 8 == 0 for v in range(rows)]
    less = [(one == "yes") != odd for one, odd in zip(y, weaker, strict=True)]
    assert "known before" not in " ".join(table({"told": less, "b": columns["b"], "y": y}).load(0).notes)


@pytest.mark.parametrize(
    ("cell", "kind"), [("07", "categories"), ("-01", "categories"), ("0.7", "means"), ("0", "means"), ("70", "means")]
)
def test_a_leading_zero_makes_codes(table: Table, cell: str, kind: str) -> None:
    task = table({"a": replaced((v % 7 + 1 for v in range(ROWS)), _8=cell)}).load(0)
    assert "a" in task.preprocessing[kind]
    assert ("column a: text, though values look like whole numbers (leading zeros)" in task.notes) == (kind == "categories")


@pytest.mark.parametrize("cell", ["1_000", "0x10", "1,5", "٣", "--1", "1e", "e5", ".", "12 "])
def test_what_is_no_number(table: Table, cell: str) -> None:
    """Python would read some of these as one; spaces at the end are none of the cell's."""
    found = "count as missing: a 1 (row 8:" in " ".join(table({"a": replaced(NUMBERS, _8=cell)}).load(0).notes)
    assert found == (cell != "12 ")


def test_truth_values_are_categories(table: Table) -> None:
    task = table({"a": [str(one > 0) for one in NUMBERS]}).load(0)
    assert task.preprocessing["categories"] == {"a": ["False", "True"]}


def test_what_tells_rows_apart_is_left_out(table: Table) -> None:
    """Names and numbers of rows: in a sorted file the number alone would tell the class."""
    columns = {"name": [f"n{row}" for row in range(ROWS)], "row": range(7, 7 + ROWS), "twice": ["a", *TEXTS[1:]], "a": NUMBERS}
    task = table(columns).load(0)
    assert task.preprocessing["dropped"] == {"name": "a text that differs in every row", "row": "it counts the rows"}
    assert "column row: left out, it counts the rows" in task.notes
    assert fault(table({"name": columns["name"]})) == (
        "x.csv: no column is left to learn from; column name: left out, a text that differs in every row"
    )


def test_a_decimal_comma(table: Table) -> None:
    """Where a semicolon separates: the European way."""
    task = table({"a": [str(one).replace(".", ",") for one in NUMBERS], "b": TEXTS}, separator=";").load(0)
    assert {"x.csv: separated by ';'", "column a: numbers, with a comma for the decimal point"} <= set(task.notes)
    points = table({"a": NUMBERS, "b": TEXTS}).load(0)
    assert task.train.x.tobytes() == points.train.x.tobytes()
    assert not [note for note in points.notes if "separated" in note or "comma" in note]


def test_the_most_frequent_categories_have_codes(table: Table) -> None:
    cells = [f"c{row % 70:02}" for row in range(600)]
    task = table({"a": cells, "y": [*Y] * 10}).load(0)
    assert len(task.preprocessing["categories"]["a"]) == 50
    (note,) = [one for one in task.notes if "most frequent" in one]
    covered = int(task.train.x.sum())
    assert note == (
        f"of the categories of a column the 50 most frequent have codes: a {len({cells[row] for row in task.train.units})} "
        f"(in {covered} of {len(task.train)} rows)"
    )


def test_a_column_that_is_constant_in_the_training_rows(table: Table) -> None:
    parts = [table({"a": NUMBERS}).load(fold) for fold in (0, 1)]
    row = min(set(parts[0].test.units.tolist()) & set(parts[1].train.units.tolist()))
    columns = {"a": NUMBERS, "b": [5.0] * ROWS, "c": ["x"] * ROWS}
    moved = {**columns, "b": replaced(columns["b"], **{f"_{row + 1}": 6.0})}
    for one in (columns, moved):
        task = table(one).load(0)
        assert task.preprocessing["dropped"] == dict.fromkeys("bc", "one value in the training rows")
        assert "columns b, c: left out, one value in the training rows" in task.notes
    assert "b" in table(moved).load(1).preprocessing["means"]
    assert fault(table({"b": columns["b"]})) == (
        "x.csv: no column is left to learn from: each has one value in the training rows"
    )


def test_d04_a_new_category_a_column_without_values_and_one_with_gaps(table: Table) -> None:
    """Rows out = rows in: the category that training lacks has all codes 0, and a note with where it first is."""
    letters: list[object] = ["AB"[v % 2] for v in range(ROWS)]
    tested = sorted(int(row) for row in table({"letter": letters}).load(0).test.units)[:2]
    letters = replaced(letters, **{f"_{row + 1}": "C" for row in tested})
    gaps = [NUMBERS[row] if row % 10 > 2 else "" for row in range(ROWS)]
    task = table({"letter": letters, "empty": [""] * ROWS, "gaps": gaps}).load(0)
    assert sorted(whole(task)) == list(range(ROWS))
    assert task.preprocessing["dropped"] == {"empty": "no value in any row"}
    assert task.preprocessing["categories"] == {"letter": ["A", "B"]}
    found = codes(task, "letter")
    assert np.flatnonzero(found.sum(axis=1) == 0).tolist() == tested
    assert f"that no training row has, all codes 0: letter 2 (row {tested[0] + 1}: 'C')" in task.notes[-1]
    assert "missing cells: gaps 18" in task.notes


def test_a_value_too_far_away(table: Table) -> None:
    (row,) = table({"a": NUMBERS}).load(0).test.units[:1]
    tiny = [one * 1e-20 for one in NUMBERS]
    assert fault(table({"a": replaced(tiny, **{f"_{row + 1}": 1e38})})) == (
        f"x.csv: column 'a', row {row + 1}: is too far from the training rows for float32"
    )


# What a CSV file is


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"a,y\n1,u\n2,v,w\n", "row 2 has 3 cells, the header 2", id="a cell too many"),
        pytest.param(b"a,b,y\n1,2,u\n3\n", "row 2 has 1 cell, the header 3", id="a cell too few"),
        pytest.param(b'a,y\n1,u\n"2,v\n', "row 2: unexpected end of data", id="open quote"),
        pytest.param(b'a,y\n"1"2,u\n', "row 1: ',' expected after '\"'", id="text after a quote"),
        pytest.param(b'"a,y\n1,u\n', "header: unexpected end of data", id="open quote in the header"),
        pytest.param(b"a,b, a,y\n1,2,3,u\n", "header: columns 1 and 3 are both called 'a'", id="two of a name"),
        pytest.param(
            b",a,y\n0,1,u\n",
            "header: column 1 has no name (an index that pandas wrote? save with index=False)",
            id="no name",
        ),
        pytest.param(b"a,y\n", "has no rows below its header", id="no rows"),
        pytest.param(b"\n \n", "is empty: there is no header", id="empty"),
        pytest.param("a,y\n1,u\n".encode("utf-16"), "is UTF-16: save it as UTF-8", id="UTF-16"),
        pytest.param(b"a,y\n1,u\n\0,v\n", "line 3 holds a NUL byte, so it is no text: save it as a CSV file in UTF-8", id="NUL"),
    ],
)
def test_what_is_no_csv(raw: Raw, content: bytes, message: str) -> None:
    assert fault(raw(content)) == f"x.csv: {message}"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_what_separates(raw: Raw, separator: str) -> None:
    """Found in the header, outside quotes, and said unless it is a comma; in the rows the others are text."""
    name = "a" + 5 * "".join(one for one in ",;|\t" if one != separator) + "a"
    rows = [f'{NUMBERS[row]}{separator}"{TEXTS[row]},;|\t{TEXTS[row]}"{separator}{Y[row]}' for row in range(ROWS)]
    task = raw("\r\n".join([f'"{name}"{separator}b{separator}y', *rows]).encode()).load(0)
    assert task.preprocessing["categories"]["b"][0] == "A,;|\tA"
    assert task.preprocessing["columns"] == [name, "b"]
    said = [note for note in task.notes if "separated" in note]
    assert said == ({",": [], "\t": ["x.csv: separated by tabs"]}.get(separator, [f"x.csv: separated by '{separator}'"]))


def test_byte_order_marks_blank_lines_and_spaces(raw: Raw) -> None:
    """The row numbers count what holds cells."""
    rows = [f"{NUMBERS[row]} , {TEXTS[row]},{Y[row]}" for row in range(ROWS)]
    text = "\n".join(["a,b , y", *rows[:9], "", *rows[9:], "", ""])
    task = raw(b"\xef\xbb\xbf" + text.encode()).load(0)
    assert task.preprocessing["columns"] == ["a", "b"]
    assert {"x.csv: 2 blank lines skipped", "spaces at the ends of cells removed: a"} <= set(task.notes)
    assert task.preprocessing["categories"]["b"] == ["A", "B", "C", "D"]
    assert not [note for note in task.notes if "read as" in note]
    broken = "\n".join(["a,b , y", *rows[:9], "", "1", *rows[9:]])
    assert fault(raw(broken.encode())) == "x.csv: row 10 has 1 cell, the header 3"


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"b": [b"K\xf6ln" if row > 2 else "Ulm" for row in range(ROWS)]}, "read as Windows-1252: row 4, column b, is not UTF-8"),
        ({"b": [b"\x81" if row > 2 else "Ulm" for row in range(ROWS)]}, "read as Latin-1: row 4, column b, is not UTF-8"),
        ({b"gr\xf6\xdfe": TEXTS}, "read as Windows-1252: the name of column 2 is not UTF-8"),
    ],
)
def test_bytes_that_are_not_utf8(raw: Raw, changed: dict[Any, Cells], note: str) -> None:
    columns: dict[Any, Cells] = {"a": NUMBERS, **changed, "y": Y}
    rows = zip(*columns.values(), strict=True)
    lines = [b",".join(one if isinstance(one, bytes) else str(one).encode() for one in row) for row in (columns, *rows)]
    task = raw(b"\n".join(lines)).load(0)
    assert task.notes[0] == f"x.csv: {note}"
    names = [*task.preprocessing["columns"], *task.preprocessing["categories"].get("b", [])]
    assert {"größe", "Köln", "\x81"} & set(names)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "label"}, "there is no column 'label'; there is alpha, beta, y"),
        ({"unit": "alpah"}, "there is no column 'alpah'; did you mean 'alpha'?"),
        ({"drop": ["beta", "ypsilon"]}, "there is no column 'ypsilon'; there is alpha, beta, y"),
    ],
)
def test_names_that_the_file_lacks(table: Table, options: dict[str, Any], message: str) -> None:
    assert fault(table({"alpha": NUMBERS, "beta": TEXTS}, **options)) == f"x.csv: {message}"


# The target


def test_rows_without_a_target_are_left_out(table: Table) -> None:
    task = table({"a": NUMBERS, "y": replaced(Y, _7="", _20="NA")}).load(0)
    assert sorted(whole(task)) == [row for row in range(ROWS) if row not in (6, 19)]
    assert "2 rows without a target left out (the first: row 7)" in task.notes
    tested = next(int(row) for row in task.test.units if row > 20)
    cells = replaced(TEXTS, **{f"_{tested + 1}": "E"})  # rows are counted as in the file
    note = table({"a": NUMBERS, "b": cells, "y": replaced(Y, _7="", _20="NA")}).load(0).notes[-1]
    assert note.endswith(f"b 1 (row {tested + 1}: 'E')")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["10", "2", "-1"], ("-1", "2", "10")),
        (["1", "1.0", "3"], ("1", "3")),
        (["0.5", "2", "1e1"], ("0.5", "2", "10")),
        (["10", "2", "x"], ("10", "2", "x")),
        (["010", "2", "1"], ("010", "1", "2")),
        (["True", "False", "True"], ("False", "True")),
        (["b", "B", "é"], ("B", "b", "é")),
    ],
)
def test_the_order_of_classes(table: Table, labels: list[str], classes: tuple[str, ...]) -> None:
    task = table({"a": NUMBERS, "y": labels * 20}).load(0)
    assert task.classes == classes
    (note,) = [note for note in task.notes if note.startswith("classes: ")]
    assert note.startswith("classes: " + ", ".join(f"{name} ({place})" for place, name in enumerate(classes)))
    assert note.endswith(f"; class 1 is the positive one ({classes[1]})") == (len(classes) == 2)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param([""] * ROWS, "no row has a value; a task needs two classes", id="none"),
        pytest.param(["u", ""] * 30, "all 30 rows with a value say 'u'; a task needs two classes", id="one"),
        pytest.param(
            [v % 31 for v in range(ROWS)],
            "31 different values in 60 rows, as '0' in row 1: it looks like a quantity or an identifier, and PocketBench "
            "predicts classes",
            id="an identifier",
        ),
        pytest.param(
            [(v % 21 + 1) / 2 for v in range(ROWS)],
            "21 different values in 60 rows, as '0.5' in row 1: it looks like a quantity or an identifier, and PocketBench "
            "predicts classes",
            id="a quantity",
        ),
    ],
)
def test_what_is_no_target(table: Table, labels: Cells, message: str) -> None:
    assert fault(table({"a": NUMBERS, "y": labels})) == f"x.csv: column 'y': {message}"


def test_a_hundred_classes_are_the_most(table: Table) -> None:
    rows = np.random.default_rng(0).normal(size=404)
    assert len(table({"a": rows, "y": [v % 100 for v in range(404)]}).load(0).classes) == 100
    assert "101 different values in 404 rows" in fault(table({"a": rows, "y": [v % 101 for v in range(404)]}))


@pytest.mark.parametrize(("folds", "needed"), [(2, 4), (5, 7)])
def test_d01_a_class_is_in_all_splits_or_the_file_is_refused(table: Table, folds: int, needed: int) -> None:
    """With one row less than needed some fold could lack the class in some split."""
    enough = [*Y[:-needed], *["rare"] * needed]
    for fold in range(folds):
        assert [set(one.y.tolist()) for one in splits(table({"a": NUMBERS, "y": enough}, folds=folds).load(fold))] == [
            {0, 1, 2}
        ] * 3
    lacking = replaced(enough, **{f"_{ROWS - needed + 1}": "no"})
    assert fault(table({"a": NUMBERS, "y": lacking}, folds=folds)) == (
        f"x.csv: column 'y', row {ROWS - needed + 2}: class 'rare' has {needed - 1} rows, {folds} folds need {needed} "
        "of each class: leave it out, merge it with another, or set fewer folds"
    )


LABELS = st.integers(2, 4).flatmap(
    lambda count: st.tuples(
        st.just(count),
        st.lists(st.integers(0, count - 1), min_size=10, max_size=25).map(lambda more: [*list(range(count)) * 4, *more]),
        st.lists(st.integers(-(10**6), 10**6), min_size=count, max_size=count, unique=True).map(sorted),
    )
)


@settings(max_examples=25, deadline=None)
@given(LABELS, st.sampled_from(["whole", "digits", "float", "text", "bool"]), st.sampled_from(["csv", "parquet", "npz"]))
def test_the_coding_of_labels_does_not_matter(labels: tuple[int, list[int], list[int]], coding: str, suffix: str) -> None:
    """In the same order they give the same arrays to the last bit, whatever the file; only the names of the classes differ."""
    count, ranks, names = labels
    codings: dict[str, list[Any]] = {
        "whole": names,
        "digits": [str(one) for one in names],
        "float": [one / 8 for one in names],
        "text": [f"{'abcd'[place]}{one}" for place, one in enumerate(names)],
        "bool": [False, True],
    }
    coded = [codings[coding][rank] for rank in ranks] if coding != "bool" or count == 2 else [names[rank] for rank in ranks]
    x = np.random.default_rng(len(ranks)).normal(size=(len(ranks), 2)).round(4)
    with tempfile.TemporaryDirectory() as folder:
        task = write(Path(folder) / f"x.{suffix}", x, coded).load(1)
        base = write(Path(folder) / "base.csv", x, ranks).load(1)
    assert task.classes != base.classes or names == list(range(count))
    assert len(task.classes) == count
    for one, other in zip(splits(task), splits(base), strict=True):
        assert one.x.tobytes() == other.x.tobytes()
        assert one.y.tobytes() == other.y.tobytes()
        assert one.units.tobytes() == other.units.tobytes()


def write(path: Path, x: NDArray[np.float64], y: Sequence[object]) -> OwnData:
    frame = pd.DataFrame({"0": x[:, 0], "1": x[:, 1], "y": list(y)})
    if path.suffix == ".npz":
        np.savez(path, x=x, y=np.array(y))
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return own(path)


# Units, folds and rows in two splits


def test_units_stay_together(table: Table) -> None:
    """Ids are the same in every fold; the column is no feature; each unit is tested once."""
    units = [f"p{row * 7 % 19:02}" for row in range(ROWS)]
    place = {one: index for index, one in enumerate(sorted(set(units)))}
    tested: list[int] = []
    for fold in range(3):
        task = table({"a": NUMBERS, "p": units}, unit="p", folds=3).load(fold)
        found = [set(one.units.tolist()) for one in splits(task)]
        assert not found[0] & found[1] | found[0] & found[2] | found[1] & found[2]
        assert task.preprocessing["columns"] == ["a"]
        assert "unit p: 19 units, none in two splits" in task.notes
        tested += sorted(found[2])
        fitted = task.preprocessing
        for one in splits(task):
            for unit, value in zip(one.units, one.x[:, 0], strict=True):
                near = [abs((NUMBERS[row] - fitted["means"]["a"]) / fitted["scales"]["a"] - value) < 1e-6 for row in range(ROWS)]
                assert place[units[near.index(True)]] == unit
    assert sorted(tested) == list(range(19))


def test_a_row_without_a_unit(table: Table) -> None:
    units = [row % 20 for row in range(ROWS)]
    assert fault(table({"a": NUMBERS, "p": replaced(units, _8="NA")}, unit="p")) == (
        "x.csv: column 'p', row 8: has no value, so it is unknown what the row belongs to"
    )


def test_d01_a_class_of_too_few_units(table: Table) -> None:
    """Of 20 rows of one class and three units, one unit each would have to be in every split of every fold."""
    units = [row // 3 % 3 if one == "no" else 10 + row for row, one in enumerate(Y)]
    assert fault(table({"a": NUMBERS, "p": units}, unit="p")).startswith(
        "x.csv: column 'y', row 1: class 'no' has 3 units, 2 folds need 4 of each class: "
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 11)), min_size=20, max_size=60), st.integers(2, 4), st.data())
def test_d01_big_units_leave_no_class_out_in_silence(rows: list[tuple[int, int]], folds: int, draw: st.DataObject) -> None:
    """Either all splits have all classes and no unit is in two, or the error names the fold and the class."""
    y, units = np.array([*rows, *((row % 3, 20 + row) for row in range(12))]).T
    fold = draw.draw(st.integers(0, folds - 1))
    try:
        parts, said = split(y, units, folds, fold, ("u", "v", "w"), "x.csv"), ""
    except UserError as error:
        parts, said = None, str(error)
    if parts is None:
        where = r"(the \w+ part|what is left beside the test part)"
        assert re.match(rf"x\.csv: fold {fold}: {where} has \d+ rows? of class '[uvw]', \d needed: ", said)
        return
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(y)))
    assert [set(y[part].tolist()) for part in parts] == [{0, 1, 2}] * 3
    assert sum(len(set(units[part].tolist())) for part in parts) == len(set(units.tolist()))


@pytest.mark.parametrize(
    ("owners", "folds", "missing"),
    [
        (1, 2, {"the test part", "what is left beside the test part"}),
        (2, 2, {"the training part"}),
        (2, 5, {"the validation part", "the test part"}),
    ],
)
def test_folds_that_cannot_have_every_class(owners: int, folds: int, missing: set[str]) -> None:
    """All rows of a class belong to so few units that in each fold one split goes without."""
    y = np.array([0, 1] * 40)
    units = np.where(y == 1, np.arange(80) // 2 % owners, np.arange(80) + 2)
    said = set()
    for fold in range(folds):
        with pytest.raises(UserError) as caught:
            split(y, units, folds, fold, ("u", "v"), "x.csv")
        found = re.fullmatch(rf"x\.csv: fold {fold}: (.*) has 0 rows of class 'v', \d needed: set fewer folds", str(caught.value))
        assert found is not None
        said.add(found[1])
    assert said == missing


def test_parts_are_those_of_scikit_learn(table: Table) -> None:
    for fold in range(3):
        task = table({"a": NUMBERS}, folds=3).load(fold)
        y = np.array(Y)
        rest, test = list(StratifiedKFold(3, shuffle=True, random_state=0).split(y, y))[fold]
        train, validation = next(StratifiedKFold(3, shuffle=True, random_state=fold).split(rest, y[rest]))
        assert [one.units.tolist() for one in splits(task)] == [one.tolist() for one in (rest[train], rest[validation], test)]


@pytest.mark.parametrize("name", ["patient", "Subject-Id", "customerID", "recordings", "visit_id", "ID", "patientid"])
def test_a_column_that_sounds_like_a_unit(table: Table, name: str) -> None:
    note = f"rows of one '{name}' may belong together: if so, set unit"
    columns = {"a": NUMBERS, name: [row % 17 for row in range(ROWS)]}
    assert note in table(columns).load(0).notes
    assert note in table(columns, drop=[name]).load(0).notes  # left out is not the same as kept together
    assert note not in table({**columns, "p": columns[name]}, unit="p").load(0).notes
    assert note not in table({"a": NUMBERS, name: range(0, 2 * ROWS, 2)}).load(0).notes


@pytest.mark.parametrize("name", ["paid", "humid", "sitemap", "userland", "id_type"])
def test_a_column_that_does_not(table: Table, name: str) -> None:
    assert not [note for note in table({"a": NUMBERS, name: [row % 17 for row in range(ROWS)]}).load(0).notes if "belong" in note]


def test_rows_that_are_in_two_splits(table: Table) -> None:
    """Counted as in the file, before encoding; both of a pair in one split are no matter."""
    a = [*NUMBERS[:30], *NUMBERS[:30]]
    y = [*Y[:30], *replaced(Y[30:], _1="yes", _2="no", _3="no", _4="yes")]
    task = table({"a": a, "b": [*TEXTS[:30], *TEXTS[:30]], "y": y}).load(0)
    named = dict(zip(("training", "validation", "test"), splits(task), strict=True))
    expected = []
    for seen, name in (("training", "validation"), ("training", "test"), ("validation", "test")):
        twins = {(row + 30) % ROWS: row for row in named[name].units.tolist()}
        shared = [(twins[row], row) for row in named[seen].units.tolist() if row in twins]
        other = sum(y[one] != y[two] for one, two in shared)
        verb = "is" if len(shared) == 1 else "are"
        expected.append(
            f"{len(shared)} of {len(named[name])} {name} rows {verb} equal to a {seen} row in all columns, {other} of them "
            "with another class"
        )
    assert [note for note in task.notes if "equal to" in note] == expected
    assert not [note for note in table({"a": range(0, 2 * ROWS, 2)}).load(0).notes if "equal to" in note]


def test_folds_are_the_same_again_and_test_each_row_once(table: Table) -> None:
    tested: list[int] = []
    for fold in range(4):
        first, again = (table({"a": NUMBERS, "b": TEXTS}, folds=4).load(fold) for _ in range(2))
        assert [one.x.tobytes() for one in splits(first)] == [one.x.tobytes() for one in splits(again)]
        assert [len(one) for one in splits(first)] == [33, 12, 15]
        tested += first.test.units.tolist()
    assert sorted(tested) == list(range(ROWS))
    with pytest.raises(ValueError, match=r"fold 4: x\.csv has folds 0 to 3"):
        table({"a": NUMBERS}, folds=4).load(4)
    assert fault(table({"a": NUMBERS}, folds=1)) == "x.csv: folds must be at least 2"


# Parquet


def test_the_types_of_a_parquet_file(tmp_path: Path) -> None:
    digits = [str((v + v // 5) % 4) for v in range(ROWS)]
    columns = {
        "whole": pa.array([v * 5 % 13 for v in range(ROWS)]),
        "gaps": pa.array([None if v % 9 == 0 else v * 5 % 11 for v in range(ROWS)]),
        "exact": pa.array([None if v % 9 == 0 else v * 5 % 11 for v in range(ROWS)]).cast(pa.decimal128(24, 2)),
        "truth": pa.array([None if v % 9 == 0 else NUMBERS[v] > 0 for v in range(ROWS)]),
        "digits": pa.array(digits),
        "category": pa.array([str(v * 3 % 5) for v in range(ROWS)]).dictionary_encode(),
        "when": pa.array([datetime.date(2024, 1, 1 + v % 28) for v in range(ROWS)]),
        "pair": pa.array([[v, v] for v in range(ROWS)]),
        "nothing": pa.nulls(ROWS),
        "__index_level_0__": pa.array(range(ROWS, 0, -1)),
        "y": pa.array(Y),
    }
    parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
    task = own(tmp_path / "x.parquet").load(0)
    fitted = task.preprocessing
    assert list(fitted["means"]) == ["whole", "gaps", "exact", "truth"]
    assert fitted["imputed"]["truth"] in (0.0, 1.0)
    assert fitted["categories"] == {"digits": list("0123"), "category": list("01234")}
    assert fitted["dropped"] == {
        "when": "a time, neither numbers nor text",
        "pair": "list<element: int64>, neither numbers nor text",
        "nothing": "no value in any row",
        "__index_level_0__": "an index that pandas wrote",
    }
    assert "columns digits, category: text, as the file says, though all values look like numbers" in task.notes
    assert fault(own(tmp_path / "x.parquet", target="when")) == "x.parquet: column 'when': is a time, neither numbers nor text"


def test_what_is_no_parquet_file(raw: Raw, tmp_path: Path) -> None:
    assert fault(raw(b"a,y\n1,u\n", "x.parquet")).startswith("x.parquet: is no Parquet file that can be read: ")
    parquet.write_table(pa.table({"a": pa.array([], pa.float64()), "y": pa.array([], pa.string())}), tmp_path / "x.parquet")
    assert fault(own(tmp_path / "x.parquet")) == "x.parquet: has no rows"
    pixels = pa.table([pa.array([1.0]), pa.array([1.0])], names=["y", "y"])
    parquet.write_table(pixels, tmp_path / "x.parquet")
    assert fault(own(tmp_path / "x.parquet")) == "x.parquet: header: columns 1 and 2 are both called 'y'"


# NPZ

RNG = np.random.default_rng(0)
LABEL = np.array(Y)


def test_a_table_of_arrays(arrays: Raw) -> None:
    """Its columns have the names 0, 1, ...; NaN is an empty cell."""
    x = RNG.normal(size=(ROWS, 3)).astype(np.float32)
    x[4, 1] = np.nan
    task = arrays("tabular", {"drop": ["2"]}, x=x, y=LABEL, other=x, more=x).load(0)
    assert task.notes[:3] == (
        "x.npz: not used: arrays other, more",
        "2 columns in use; numbers: 0, 1",
        "missing cells: 1 1",
    )
    assert task.preprocessing["dropped"] == {"2": "the suite says so"}
    wide = codes(task, "0")[:, 0] * task.preprocessing["scales"]["0"] + task.preprocessing["means"]["0"]
    np.testing.assert_allclose(wide, x[:, 0], atol=1e-5)
    assert fault(arrays("tabular", {"drop": ["3"]}, x=x, y=LABEL)) == "x.npz: there is no column '3'; there is 0, 1, 2"
    x[:, 2] = LABEL == "yes"
    assert "column '2' tells the target 'y' exactly" in fault(arrays("tabular", x=x, y=LABEL))


@pytest.mark.parametrize(
    ("shape", "kind", "layout", "axes"),
    [
        ((ROWS, 3, 16), "sequence", (3, 16), "NCT"),
        ((ROWS, 8, 6), "image", (1, 8, 6), "NHW"),
        ((ROWS, 3, 8, 6), "image", (3, 8, 6), "NCHW"),
        ((ROWS, 8, 6, 4), "image", (4, 8, 6), "NHWC"),
        ((ROWS, 1, 8, 3), "image", (1, 8, 3), "NCHW"),
        ((ROWS, 8, 5, 6), "image", (8, 5, 6), "NCHW"),
    ],
)
def test_layouts(arrays: Raw, shape: tuple[int, ...], kind: str, layout: tuple[int, ...], axes: str) -> None:
    x = RNG.normal(size=shape) * 4 + 7
    task = arrays(kind, x=x, y=LABEL).load(0)
    assert task.train.x.shape[1:] == layout
    assert task.preprocessing["axes"] == axes
    assert (f"the last axis, of {shape[-1]}, holds the channels of an image" in task.notes) == (axes == "NHWC")
    means, scales = (np.array(task.preprocessing[key]).reshape(-1, *[1] * (len(layout) - 1)) for key in ("means", "scales"))
    for one in splits(task):
        rows = np.moveaxis(x[one.units], -1, 1) if axes == "NHWC" else x[one.units].reshape(len(one), *layout)
        np.testing.assert_allclose(one.x * scales + means, rows, atol=1e-5)
        assert one.x.flags.c_contiguous
    over = tuple(axis for axis in range(task.train.x.ndim) if axis != 1)
    np.testing.assert_allclose(task.train.x.mean(axis=over, dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(task.train.x.std(axis=over, dtype=np.float64), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "scale", "note"),
    [
        (RNG.integers(0, 256, (ROWS, 4, 4)).astype(np.uint8), 255.0, "images of uint8 scaled by 1/255"),
        (
            RNG.integers(0, 2, (ROWS, 4, 4)).astype(np.uint8),
            1.0,
            "images left as they are: the values of all training rows lie in 0 to 1",
        ),
        (RNG.integers(0, 2, (ROWS, 4, 4)) > 0, 1.0, "images left as they are: the values of all training rows lie in 0 to 1"),
        (RNG.random((ROWS, 4, 4)), 1.0, "images left as they are: the values of all training rows lie in 0 to 1"),
    ],
)
def test_ranges_of_images(arrays: Raw, values: NDArray[Any], scale: float, note: str) -> None:
    task = arrays("image", x=values, y=LABEL).load(0)
    assert note in task.notes
    assert (task.preprocessing["means"], task.preprocessing["scales"]) == ([0.0], [scale])
    np.testing.assert_allclose(task.test.x[:, 0], values[task.test.units] / scale, rtol=1e-6)


def test_scales_come_from_training_rows_only(arrays: Raw) -> None:
    x = RNG.normal(size=(ROWS, 2, 9))
    x[:, 1] = 0.1
    before = arrays("sequence", x=x, y=LABEL).load(0)
    assert before.preprocessing["scales"][1] == 1.0  # the deviation of equal values is rounding
    x[before.test.units] *= 3
    after = arrays("sequence", x=x, y=LABEL).load(0)
    assert after.preprocessing == before.preprocessing
    assert after.train.x.tobytes() == before.train.x.tobytes()
    assert after.test.x.tobytes() != before.test.x.tobytes()


def test_sequences_are_scaled_whatever_their_range(arrays: Raw) -> None:
    task = arrays("sequence", x=RNG.random((ROWS, 2, 9)), y=LABEL).load(0)
    np.testing.assert_allclose(task.train.x.mean(axis=(0, 2), dtype=np.float64), 0, atol=1e-6)
    assert "sequences scaled: each channel at mean 0 and deviation 1 over the training rows" in task.notes


@pytest.mark.parametrize(
    "y", [np.array(replaced(np.arange(ROWS) % 3, _4=np.nan, _5=np.inf), float), np.array(replaced(Y, _4="", _5="?"))]
)
def test_labels_of_arrays_can_be_missing(arrays: Raw, y: NDArray[Any]) -> None:
    task = arrays("tabular", x=RNG.normal(size=(ROWS, 2)), y=y).load(0)
    assert sorted(whole(task)) == [row for row in range(ROWS) if row not in (3, 4)]
    assert "2 rows without a target left out (the first: row 4)" in task.notes


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("kind", ["image", "sequence"])
def test_no_value_is_made_up_in_images_and_sequences(arrays: Raw, value: float, kind: str) -> None:
    x = RNG.normal(size=(ROWS, 3, 4))
    x[11, 1, 1] = value
    labels = np.array(replaced(LABEL, _2=""))  # a row that is left out counts as a row of the file
    assert fault(arrays(kind, x=x, y=labels)) == "x.npz: array 'x', row 12: holds NaN, infinity or a number too large for float32"
    x[11, 1, 1], x[1, 1, 1] = 0, value
    assert len(arrays(kind, x=x, y=labels).load(0).train) > 0


def test_d09_labels_of_one_column_are_read_and_of_several_refused(arrays: Raw) -> None:
    """A grey set labelled (N, 1), another with 14 columns of 0 and 1, and images that hold nothing."""
    x = RNG.integers(0, 256, (ROWS, 28, 28)).astype(np.uint8)
    x[[3, 8, 9]] = RNG.integers(0, 256, (3, 1, 1))
    task = arrays("image", x=x, y=RNG.permutation(ROWS)[:, None] % 3).load(0)
    assert task.train.x.shape[1:] == (1, 28, 28)
    assert {"x.npz: array y of shape (60, 1) read as one of (60,)", "3 of 60 images hold one value only"} <= set(task.notes)
    assert fault(arrays("image", x=x, y=RNG.integers(0, 2, (ROWS, 14)))) == (
        "x.npz: array 'y' has 14 columns, so a row can have several labels: one each is needed"
    )


def test_equal_images_in_two_splits(arrays: Raw) -> None:
    x = RNG.random((ROWS, 5, 5))
    first = arrays("image", x=x, y=LABEL).load(0)
    assert not [note for note in first.notes if "equal to" in note]
    row, other = int(first.test.units[0]), int(first.train.units[first.train.y != first.test.y[0]][0])
    x[row] = x[other]
    assert f"1 of {len(first.test)} test rows is equal to a training row in all columns, 1 of them with another class" in (
        arrays("image", x=x, y=LABEL).load(0).notes
    )


def test_units_of_arrays(arrays: Raw) -> None:
    units = np.array([f"s{row % 12}" for row in range(ROWS)])
    task = arrays("sequence", {"unit": "who"}, x=RNG.normal(size=(ROWS, 2, 4)), y=np.arange(ROWS) // 3 % 2, who=units).load(1)
    assert "unit who: 12 units, none in two splits" in task.notes
    assert len({unit for one in splits(task) for unit in one.units.tolist()}) == 12


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ({"x": np.zeros((4, 2))}, {}, "there is no array 'y'; there is x"),
        (
            {"x": np.zeros((4, 2)), "labels": np.zeros(4)},
            {"target": "label"},
            "there is no array 'label'; did you mean 'labels'?",
        ),
        ({"y": np.zeros(4)}, {}, "there is no array 'x'; there is y"),
        ({"x": np.zeros((4, 2)), "y": np.zeros(4)}, {"unit": "p"}, "there is no array 'p'; there is x, y"),
        ({"x": np.zeros((4, 2)), "y": np.zeros(5)}, {}, "array 'y' has shape (5,), 'x' has 4 rows"),
        ({"x": np.zeros((4, 2)), "y": np.zeros(())}, {}, "array 'y' has shape (), 'x' has 4 rows"),
        ({"x": np.array(["a"]), "y": np.zeros(1)}, {}, "array 'x' has dtype <U1: numbers are needed"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, {}, "array 'x' is empty: its shape is (0, 2)"),
        (
            {"x": np.zeros((4, 2)), "y": np.zeros(4)},
            {"target": "x"},
            "array 'x' holds the inputs, so it is neither target nor unit",
        ),
        (
            {"x": np.zeros((4, 2)), "y": np.zeros(4, complex)},
            {},
            "array 'y': is of dtype complex128, neither numbers nor text",
        ),
        (
            {"x": np.zeros(4), "y": np.zeros(4)},
            {},
            "array 'x' has shape (4,): tables have 2 axes, sequences 3, images 3 or 4",
        ),
        (
            {"x": np.zeros((4, 2)), "y": np.zeros(4)},
            {"modality": "image"},
            "array 'x' with 2 axes is tabular, not 'image': change modality",
        ),
        (
            {"x": RNG.normal(size=(ROWS, 2, 4)), "y": LABEL},
            {"modality": "sequence", "drop": ["0"]},
            "array 'x' holds sequences, which have no columns to drop",
        ),
    ],
)
def test_arrays_that_do_not_fit(arrays: Raw, content: dict[str, NDArray[Any]], options: dict[str, Any], message: str) -> None:
    kind = options.pop("modality", "tabular")
    assert fault(arrays(kind, options, **content)) == f"x.npz: {message}"


def test_what_is_no_npz_file(raw: Raw, arrays: Raw) -> None:
    """No object is unpickled, whatever the file claims to be."""
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([{}], dtype=object), y=np.zeros(1))
    lone = io.BytesIO()
    np.save(lone, np.zeros(3))
    for content in (buffer.getvalue(), lone.getvalue(), b"PK\3\4 and nothing else", b"", buffer.getvalue()[:60]):
        assert fault(raw(content, "x.npz")).startswith("x.npz: is no NPZ file of plain arrays: ")
    assert fault(raw(buffer.getvalue(), "x.npz")).endswith(" (texts: save them as array.astype(str))")


@pytest.mark.parametrize(
    ("shape", "kind", "possible"),
    [
        ((12, 2), "sequence", "2 axes is tabular"),
        ((12, 2, 3), "tabular", "3 axes is sequence or image"),
        ((12, 2, 3, 3), "sequence", "4 axes is image"),
    ],
)
def test_an_array_that_is_not_what_the_suite_says(arrays: Raw, shape: tuple[int, ...], kind: str, possible: str) -> None:
    message = fault(arrays(kind, {}, x=np.zeros(shape), y=np.arange(12) % 2))
    assert message == f"x.npz: array 'x' with {possible}, not '{kind}': change modality"


def test_an_array_without_axes_is_refused(arrays: Raw) -> None:
    message = "x.npz: array 'x' has shape (): tables have 2 axes, sequences 3, images 3 or 4"
    assert fault(arrays("image", {}, x=np.array(1.0), y=np.arange(4))) == message


def test_the_range_of_images_is_that_of_the_training_rows(arrays: Raw) -> None:
    """One test image with a pixel of 5 does not change how the others are read."""
    y = np.arange(40) % 2
    x = np.random.default_rng(0).random((40, 4, 4)).astype(np.float32)
    test = arrays("image", {}, x=x, y=y).load(0).test.units
    x[test[0], 0, 0] = 5.0
    data = arrays("image", {}, x=x, y=y).load(0)
    assert data.preprocessing["scales"] == [1.0]
    assert data.test.x[0, 0, 0, 0] == 5.0
    x[data.train.units[0], 0, 0] = 5.0
    assert arrays("image", {}, x=x, y=y).load(0).preprocessing["scales"] != [1.0]


def test_units_are_the_same_however_they_are_written(table: Raw) -> None:
    """A hundred rows of ten customers, whose numbers are written with a point in every other row."""
    names = [f"{i % 10}{'.0' if i % 3 else ''}" for i in range(100)]
    task = table(
        {"a": RNG.normal(size=100).round(3), "who": names, "y": [("no", "yes")[i % 10 // 5] for i in range(100)]}, unit="who"
    )
    data = task.load(0)
    assert "unit who: 10 units, none in two splits" in data.notes
    assert len(np.unique(np.concatenate([data.train.units, data.validation.units, data.test.units]))) == 10


def test_numbers_too_large_for_float64_stay_apart(table: Raw) -> None:
    names = [str(10**19 + i % 2) for i in range(60)]
    data = table({"a": RNG.normal(size=60).round(3), "y": names}).load(0)
    assert data.classes == (str(10**19), str(10**19 + 1))


def test_large_units_of_parquet_with_gaps_stay_apart(raw: Raw) -> None:
    units = [2**60 + i % 12 for i in range(120)]
    frame = pd.DataFrame({"a": RNG.normal(size=120), "u": units, "y": [f"c{i % 12 // 6}" for i in range(120)]})
    frame = frame.astype({"u": "Int64"})
    frame.loc[0, ["u", "y"]] = None  # left out, since it has no target
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    assert "unit u: 12 units, none in two splits" in raw(buffer.getvalue(), "x.parquet", unit="u").load(0).notes


def test_points_in_a_file_of_decimal_commas_are_noted(raw: Raw) -> None:
    rows = "".join(f"{i % 7},{i % 10};1.{100 + i};{'no' if i % 2 else 'yes'}\n" for i in range(60))
    data = raw(f"a;b;y\n{rows}".encode(), "x.csv").load(0)
    assert "column b: numbers, read with a decimal point, though in other columns it is a comma" in data.notes
    # In one column, a point beside commas parts thousands: such a cell is no number that can be read.
    rows = "".join(f"{'1.234' if i == 5 else f'{i % 7},{i % 10}'};{'no' if i % 2 else 'yes'}\n" for i in range(60))
    data = raw(f"a;y\n{rows}".encode(), "x.csv").load(0)
    assert "cells that are no number, in columns of numbers, count as missing: a 1 (row 6: '1.234')" in data.notes


# The whole


@pytest.mark.parametrize("fold", [0, 1])
def test_preprocessing_is_enough_to_encode_a_row(table: Table, fold: int) -> None:
    """A device has the JSON only: rebuild all rows from it, cell by cell."""
    columns: dict[str, Cells] = {
        "a": replaced(NUMBERS, _3="?"),
        "b": replaced(TEXTS, _4="", _5="E"),
        "same": ["s"] * ROWS,
        "name": [f"n{row}" for row in range(ROWS)],
    }
    task = table(columns, drop=["name"]).load(fold)
    fitted = json.loads(json.dumps(task.preprocessing, allow_nan=False))
    assert fitted["classes"] == ["no", "yes"]
    assert fitted["columns"] == list(columns)
    assert fitted["dropped"] == {"name": "the suite says so", "same": "one value in the training rows"}
    for row, x in whole(task).items():
        cells = {name: str(cells[row]) for name, cells in columns.items()}
        numbers = [
            ((fitted["imputed"][name] if cells[name] in fitted["empty"] else float(cells[name])) - mean) / fitted["scales"][name]
            for name, mean in fitted["means"].items()
        ]
        known = [
            float(("missing" if cells[name] in fitted["empty"] else cells[name]) == value)
            for name, values in fitted["categories"].items()
            for value in values
        ]
        np.testing.assert_allclose(x, numbers + known, atol=1e-6)
    assert len(fitted["outputs"]) == task.train.x.shape[1]


def test_a_stump_is_the_baseline(arrays: Raw) -> None:
    """One threshold on one value of the row."""
    x = np.random.default_rng(0).normal(size=(ROWS, 2, 5))
    x[:, 1, 3] += 8 * (LABEL == "yes")
    code = arrays("sequence", x=x, y=LABEL)
    task = code.load(0)
    outputs = code.trivial(task.train, task.test.x)
    assert outputs.dtype == np.float32
    assert (outputs.argmax(axis=1) == task.test.y).mean() > 0.75
    blind = task.test.x.copy()
    blind[:, 1, 3] = 0
    assert len(np.unique(code.trivial(task.train, blind), axis=0)) == 1
    noise = arrays("sequence", x=RNG.normal(size=(ROWS, 2, 5)), y=LABEL).load(0)
    assert len(np.unique(code.trivial(noise.train, noise.train.x), axis=0)) == 2


@pytest.mark.parametrize("kind", ["tabular", "image", "sequence"])
def test_the_host_accepts_it(arrays: Raw, tmp_path: Path, kind: Any) -> None:
    shape = {"tabular": (ROWS, 3), "image": (ROWS, 3, 4, 4), "sequence": (ROWS, 3, 4)}[kind]
    code = arrays(kind, x=RNG.normal(size=shape), y=LABEL)
    spec = TaskSpec(
        name="mine",
        target="benchmark_own._task:OwnData",
        summary="x",
        version="1",
        modality=kind,
        metrics=("accuracy",),
        margin=0.02,
        unit="row",
        folds=2,
        licence="x",
        citation="x",
    )
    (tmp_path / "fold").mkdir()
    prepared = data.prepare(code, spec, 1, tmp_path / "fold")
    assert prepared.classes == ("no", "yes")
    assert (tmp_path / "fold" / "baselines" / "trivial_test.npy").exists()


def test_a_file_that_changed_is_not_read(table: Table, tmp_path: Path) -> None:
    """Made without a look at the file."""
    code = table({"a": NUMBERS})
    (tmp_path / "x.csv").write_text("a,y\n1,u\n")
    with pytest.raises(UserError, match=r"x\.csv: damaged data file: expected sha256"):
        code.load(0)
    (tmp_path / "x.csv").unlink()
    with pytest.raises(UserError, match=r"x\.csv: data file cannot be read"):
        code.load(0)
    assert OwnData(file="/none.csv", sha256="", target="y", unit="", folds=5, drop="[]", modality="tabular")


def test_notes_are_few_and_short_however_wide_the_table(table: Table) -> None:
    kinds: list[Cells] = [
        replaced(NUMBERS, _4="x" * 300, _9=""),
        [f"0{v * 3 % 11}" for v in range(ROWS)],
        [""] * ROWS,
        [f"n{v}\n" for v in range(ROWS)],
        ["same"] * ROWS,
        [f"c{v // 2}" if v % 2 else f"c{v}" for v in range(ROWS)],
    ]
    names = [f"a rather long name of a column with the number {place:03}" for place in range(300)]
    task = table({name: kinds[place % len(kinds)] for place, name in enumerate(names)}).load(0)
    assert len(task.notes) < 12
    assert max(map(len, task.notes)) < 500
    assert all(note.isprintable() for note in task.notes)
    assert "and 46 more" in " ".join(task.notes)


def test_the_package_costs_the_host_nothing() -> None:
    heavy = "{'numpy', 'pandas', 'sklearn', 'pyarrow'}"
    code = f"import sys, benchmark_own; print(sorted({heavy} & set(sys.modules)), benchmark_own.__all__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[] ['encode']"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        __import__("benchmark_own").nothing  # noqa: B018  # looked up for its error
