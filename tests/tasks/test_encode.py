"""benchmark_own.encode: tables with gaps, new categories and useless columns -> arrays, by what the training rows teach."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from benchmark_credit._task import read
from benchmark_own import encode


def test_constants_come_from_training_rows_only() -> None:
    table, _ = read()
    train, other = table[:600], table[600:].copy()
    (encoded, _), fitted = encode(train, other)
    assert fitted["means"]["age"] == pytest.approx(train["age"].mean())
    assert fitted["scales"]["age"] == pytest.approx(train["age"].std(ddof=0))
    assert fitted["imputed"]["amount"] == train["amount"].median()
    other["age"] = 1000
    other["purpose"] = "yacht"
    (again, changed), refitted = encode(train, other)
    assert refitted == fitted
    assert again.tobytes() == encoded.tobytes()
    assert (changed[:, fitted["outputs"].index("age")] > 50).all()


def test_unknown_category_and_gaps() -> None:  # case D-04
    """A category that training lacks, a column without values, and one with gaps: every row is encoded, nothing raises."""
    rows = 10
    train = pd.DataFrame(
        {
            "letter": ["A", "B"] * 5,
            "nothing": [np.nan] * rows,
            "gaps": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 70.0, np.nan, np.nan, np.nan],
            "words": ["x", None, "x", "y", "x", "y", "x", "x", None, None],
        }
    )
    test = pd.DataFrame(
        {"letter": ["C", "A", None], "nothing": [1.0, np.nan, 2.0], "gaps": [np.nan, "lots", 4.0], "words": ["z", None, "y"]}
    )
    (fitted_rows, encoded), preprocessing = encode(train, test)
    assert preprocessing["outputs"] == ["gaps", "letter=A", "letter=B", "words=missing", "words=x", "words=y"]
    assert preprocessing["dropped"] == {"nothing": "no value in the training rows"}
    assert preprocessing["imputed"] == {"gaps": 4.0}
    assert fitted_rows.shape == (10, 6)
    # Training column after imputation: 1 2 3 4 5 6 70 4 4 4, mean 10.3.
    four = (4 - 10.3) / preprocessing["scales"]["gaps"]
    np.testing.assert_allclose(encoded, [[four, 0, 0, 0, 0, 0], [four, 1, 0, 1, 0, 0], [four, 0, 0, 0, 0, 1]], atol=1e-6)


def test_a_column_that_is_empty_only_in_test_is_encoded() -> None:
    table, _ = read()
    test = table[800:].copy()
    test["purpose"] = np.nan
    test["age"] = np.nan
    (_, encoded), fitted = encode(table[:800], test)
    assert encoded.shape == (200, 60)
    outputs = fitted["outputs"]
    assert not encoded[:, [i for i, name in enumerate(outputs) if name.startswith("purpose=")]].any()
    expected = (fitted["imputed"]["age"] - fitted["means"]["age"]) / fitted["scales"]["age"]
    np.testing.assert_allclose(encoded[:, outputs.index("age")], expected, atol=1e-6)


def test_a_column_with_one_value_is_dropped() -> None:
    """An empty cell is a category beside the others, but for numbers it is the median: one value is all there is."""
    train = pd.DataFrame(
        {"a": ["x", "x", "x"], "b": ["x", None, "x"], "c": [1.0, 1.0, 1.0], "d": [2.0, np.nan, 2.0], "e": [1, 2, 3]}
    )
    other = pd.DataFrame({"a": ["y"], "b": ["x"], "c": [3.0], "d": [4.0], "e": [2]})
    (_, encoded), fitted = encode(train, other)
    assert fitted["dropped"] == dict.fromkeys("acd", "one value in the training rows")
    assert fitted["outputs"] == ["e", "b=missing", "b=x"]
    assert encoded.tolist() == [[0.0, 0.0, 1.0]]


def test_the_most_frequent_categories_have_codes() -> None:
    """40 letters twice and 30 once: all of the former, and of the latter the first by name, whatever the order of the rows."""
    names = [*(f"twice{i:02}" for i in range(40)), *(f"once{i:02}" for i in range(30))]
    cells = [*names[:40], *names[::-1]]
    (encoded, rare), fitted = encode(pd.DataFrame({"a": cells}), pd.DataFrame({"a": ["once09", "once10"]}))
    assert fitted["categories"]["a"] == [*names[40:50], *names[:40]]
    assert encoded.shape == (110, 50)
    assert encoded.sum() == 90
    assert rare.sum(axis=1).tolist() == [1, 0]
    assert encode(pd.DataFrame({"a": cells[::-1]}))[1] == fitted


@pytest.mark.parametrize("columns", [{"a": [1.0, 2.0, 3.0]}, {"b": ["x", "y", "x"]}, {"c": [1.0, 1.0, 1.0]}])
def test_one_kind_of_column_is_enough(columns: dict[str, list[float] | list[str]]) -> None:
    (encoded,), fitted = encode(pd.DataFrame(columns))
    assert encoded.shape == (3, len(fitted["outputs"]))
    assert len(fitted["outputs"]) == {"a": 1, "b": 2, "c": 0}[next(iter(columns))]
    assert set(fitted) == {"how", "columns", "dropped", "imputed", "means", "scales", "categories", "outputs"}
