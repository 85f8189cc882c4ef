"""Units: what a text is worth, how a value is written, and that whatever is no quantity is refused in one line."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import UserError
from benchmark.budget import format_bytes, format_seconds, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 B", 1),
        ("64 KiB", 65_536),
        ("64KiB", 65_536),
        (" 64  KiB ", 65_536),
        ("64 KB", 64_000),
        ("1.5 KiB", 1536),
        ("1.001 KB", 1001),  # 1.001 * 1000 is 1000.9999999999999
        ("1 MiB", 1_048_576),
        ("2 MB", 2_000_000),
        ("1 GiB", 1_073_741_824),
        ("3 GB", 3_000_000_000),
    ],
)
def test_bytes(text: str, expected: int) -> None:
    size = parse_bytes(text)
    assert size == expected
    assert type(size) is int


@pytest.mark.parametrize(
    ("text", "expected"),
    [("250 us", 250e-6), ("250 µs", 250e-6), ("1 ms", 1e-3), ("0.5 s", 0.5), ("5s", 5.0), ("2 min", 120.0), ("1.5 h", 5400.0)],
)
def test_seconds(text: str, expected: float) -> None:
    assert parse_seconds(text) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    "text",
    ["", "64", "KiB", "64 kib", "64 Kb", "-1 KiB", "+1 KiB", "1e3 B", "1,5 KiB", "1. KiB", ".5 KiB", "5 ms", "1 KiB x", "inf B"],
)
def test_no_size(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_bytes(text)
    assert str(caught.value) == f"{text!r} is not a size: write a number and one of B, KB, MB, GB, KiB, MiB, GiB"


@pytest.mark.parametrize("text", ["", "5", "ms", "5 Ms", "-5 ms", "5 KiB", "5 ms 3", "1:30 min"])
def test_no_duration(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_seconds(text)
    assert str(caught.value) == f"{text!r} is not a duration: write a number and one of us, µs, ms, s, min, h"


@pytest.mark.parametrize("number", ["0", "0.0", "9" * 400])
def test_zero_and_infinity(number: str) -> None:
    with pytest.raises(UserError, match="is not a size: it must be above zero and finite"):
        parse_bytes(f"{number} KiB")
    with pytest.raises(UserError, match="is not a duration: it must be above zero and finite"):
        parse_seconds(f"{number} s")


def test_less_than_a_byte_is_no_size() -> None:
    with pytest.raises(UserError, match=r"'0\.4 B' is not a size: it is less than one byte"):
        parse_bytes("0.4 B")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (1, "1 B"),
        (1000, "1 KB"),
        (1024, "1 KiB"),
        (1536, "1536 B"),
        (64 * 1024, "64 KiB"),
        (3 * 1024**3, "3 GiB"),
        (10**9, "1 GB"),
    ],
)
def test_bytes_are_written_in_the_largest_unit_that_holds_them(size: int, expected: str) -> None:
    assert format_bytes(size) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.001, "1 ms"), (0.00025, "250 us"), (0.0015, "1.5 ms"), (5.0, "5 s"), (600.0, "600 s"), (1e-7, "0.0000001 s")],
)
def test_seconds_are_written_as_people_do(seconds: float, expected: str) -> None:
    assert format_seconds(seconds) == expected


EVERY = settings(max_examples=200, deadline=None, derandomize=True, database=None)


@EVERY
@given(st.integers(1, 2**53) | st.integers(0, 900).map(lambda power: 2 ** (53 + power)))
def test_bytes_are_read_as_they_were_written(size: int) -> None:
    assert parse_bytes(format_bytes(size)) == size


@EVERY
@given(st.floats(min_value=0, exclude_min=True, max_value=sys.float_info.max))
def test_seconds_are_read_as_they_were_written_to_the_last_bit(seconds: float) -> None:
    assert parse_seconds(format_seconds(seconds)) == seconds


@pytest.mark.parametrize("text", ["100 us", "1.1 ms", "0.3 s", "70 us"])
def test_what_a_suite_says_is_said_again_as_it_is(text: str) -> None:
    assert format_seconds(parse_seconds(text)) in (text, "300 ms", "1100 us")
