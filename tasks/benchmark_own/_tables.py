"""The bytes of a CSV or Parquet file -> its columns. Strict: a row with a cell too few is an error, not a guess."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow has no type hints
from pyarrow import parquet

from benchmark import UserError
from benchmark_own._columns import Column
from benchmark_own._words import counted, listed, plain, shown

_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Table:
    """``columns``: name -> column, all of the same length, at least one row. ``decimal_comma``: whether a comma can be the
    decimal point, because it does not separate cells."""

    columns: Mapping[str, Column]
    decimal_comma: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Records:
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    delimiter: str
    blank: int


def read_csv(content: bytes, name: str) -> Table:
    """The table in a CSV file of UTF-8, else of Windows-1252 or Latin-1. Raises UserError, naming row and column."""
    text, notes = _decoded(content, name)
    records = _records(text, name)
    if records.delimiter != ",":
        notes.append(f"{name}: separated by {'tabs' if records.delimiter == chr(9) else shown(records.delimiter)}")
    if records.blank:
        notes.append(f"{name}: {counted(records.blank, 'blank line')} skipped")
    columns, trimmed = {}, []
    for column, cells in zip(records.header, zip(*records.rows, strict=True), strict=True):
        stripped = tuple(cell.strip() for cell in cells)
        trimmed += [plain(column)] if stripped != cells else []
        columns[column] = Column("cells", stripped)
    if trimmed:
        notes.append(f"spaces at the ends of cells removed: {listed(trimmed)}")
    return Table(columns=columns, decimal_comma=records.delimiter != ",", notes=tuple(notes))


def _decoded(content: bytes, name: str) -> tuple[str, list[str]]:
    """The text, and a note where it is not UTF-8."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError(f"{name}: is UTF-16: save it as UTF-8")
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise UserError(f"{name}: line {line} holds a NUL byte, so it is no text: save it as a CSV file in UTF-8")
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode("utf-8"), []
    except UnicodeDecodeError:
        pass
    try:
        text, encoding = content.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError:
        text, encoding = content.decode("latin-1"), "Latin-1"
    # Bytes that are no UTF-8 become lone surrogates here, so that the cells say where they are.
    records = _records(content.decode("utf-8", "surrogateescape"), name)
    cells = ((row, place) for row, one in enumerate([records.header, *records.rows]) for place in _odd(one))
    row, place = next(cells)
    where = f"row {row}, column {plain(_records(text, name).header[place])}," if row else f"the name of column {place + 1}"
    return text, [f"{name}: read as {encoding}: {where} is not UTF-8"]


def _odd(cells: Sequence[str]) -> list[int]:
    """The places of cells that hold a lone surrogate."""
    return [place for place, cell in enumerate(cells) if any("\udc80" <= one <= "\udcff" for one in cell)]


def _records(text: str, name: str) -> _Records:
    delimiter = _delimiter(text)
    header: list[str] = []
    rows: list[list[str]] = []
    blank = 0
    try:
        for record in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True):
            if len(record) < 2 and not "".join(record).strip():
                blank += 1
            elif not header:
                header = _header(record, name)
            elif len(record) != len(header):
                raise UserError(f"{name}: row {len(rows) + 1} has {counted(len(record), 'cell')}, the header {len(header)}")
            else:
                rows.append(record)
    except csv.Error as error:
        raise UserError(f"{name}: {f'row {len(rows) + 1}' if header else 'header'}: {error}") from None
    if not header:
        raise UserError(f"{name}: is empty: there is no header")
    if not rows:
        raise UserError(f"{name}: has no rows below its header")
    return _Records(header, rows, delimiter, blank)


def _delimiter(text: str) -> str:
    """What separates the names in the first line, outside quotes; a comma where nothing does."""
    line = re.sub(r'"[^"]*"?', "", text.lstrip("\r\n")[:100_000]).split("\n")[0].split("\r")[0]
    return max(_DELIMITERS, key=line.count)  # of equals the first


def _header(names: Sequence[str], name: str) -> list[str]:
    """The names without spaces around them. Raises UserError where one is empty or there twice."""
    stripped = [one.strip() for one in names]
    for place, one in enumerate(stripped, 1):
        if not one:
            raise UserError(f"{name}: header: column {place} has no name (an index that pandas wrote? save with index=False)")
        if (before := stripped.index(one) + 1) < place:
            raise UserError(f"{name}: header: columns {before} and {place} are both called {shown(one)}")
    return stripped


def read_parquet(content: bytes, name: str) -> Table:
    """The table in a Parquet file. Its types decide: text stays text, a category is one. Raises UserError."""
    try:
        # Not read_table: its threads can outlast the interpreter, which then aborts, and two columns of a name confuse it.
        table = parquet.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{name}: is no Parquet file that can be read: {error}") from None
    names = _header(table.column_names, name)
    if not table.num_rows:
        raise UserError(f"{name}: has no rows")
    return Table({column: _typed(column, values) for column, values in zip(names, table.columns, strict=True)}, False, ())


def _typed(name: str, values: pa.ChunkedArray) -> Column:
    kind, types = values.type, pa.types
    if name.startswith("__index_level_"):
        return Column("other", (), "an index that pandas wrote")
    if types.is_dictionary(kind):
        decoded = values.cast(kind.value_type).to_pylist()
        return Column("texts", [None if one is None else str(one).strip() for one in decoded])
    if types.is_boolean(kind):
        return Column("booleans", values.to_pylist())
    if types.is_integer(kind) and not values.null_count:
        return Column("numbers", values.to_numpy())
    if types.is_integer(kind):
        whole = values.to_pylist()
        if max(abs(one or 0) for one in whole) > 2**53:  # float64 would make several of them one
            return Column("cells", ["" if one is None else str(one) for one in whole])
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return Column("numbers", values.cast(pa.float64(), safe=False).to_numpy())
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return Column("texts", [None if one is None else one.strip() for one in values.to_pylist()])
    if types.is_null(kind):
        return Column("texts", [None] * len(values))
    return Column("other", (), f"{'a time' if types.is_temporal(kind) else plain(str(kind))}, neither numbers nor text")
