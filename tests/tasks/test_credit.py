"""german-credit: the table, its folds, the encoding of tables with gaps and new categories, and the baseline."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from benchmark_credit._task import CHECKING, GermanCredit, encode, read

from benchmark.measure import quality


def test_the_table_is_the_published_one() -> None:
    table, bad = read()
    assert table.shape == (1000, 20)
    assert int(bad.sum()) == 300
    # First row of UCI's german.data: A11 6 A34 A43 1169 A65 A75 4 A93 A101 4 A121 67 A143 A152 2 A173 1 A192 A201 1
    first = table.iloc[0]
    assert first[["duration", "amount", "installment_rate", "residence", "age"]].tolist() == [6, 1169, 4, 4, 67]
    assert first[["checking", "purpose", "guarantors"]].tolist() == ["... < 0 DM", "radio/television", "none"]
    # Codes A91 + A92, A93, A94 of german.data: the column that newer releases of the package hold shuffled.
    assert table["personal_status"].value_counts().tolist() == [548, 360, 92]
    assert int(((table["personal_status"] == "male : single") & (bad == 1)).sum()) == 146


@pytest.mark.parametrize("fold", [0, 7, 24])
def test_parts_hold_the_same_share_of_bad_risks(fold: int) -> None:
    data = GermanCredit().load(fold)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [640, 160, 200]
    assert [int(split.y.sum()) for split in (data.train, data.validation, data.test)] == [192, 48, 60]
    assert data.classes[1] == "bad"


def test_preprocessing_is_enough_to_encode_a_customer() -> None:
    """A device has the JSON only: rebuild the test rows from it, cell by cell."""
    data = GermanCredit().load(3)
    table, _ = read()
    fitted = data.preprocessing
    assert fitted["columns"] == list(table)
    for row, x in zip(data.test.units[:20], data.test.x, strict=False):
        customer = table.iloc[row]
        numbers = [(customer[column] - mean) / fitted["scales"][column] for column, mean in fitted["means"].items()]
        codes = [float(customer[column] == value) for column, values in fitted["categories"].items() for value in values]
        np.testing.assert_allclose(x, numbers + codes, atol=1e-6)
    assert len(fitted["outputs"]) == data.test.x.shape[1]
    assert all(name.startswith("checking=") for name in fitted["outputs"][CHECKING])
    assert not fitted["outputs"][CHECKING.stop].startswith("checking=")


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


def test_unknown_category_and_gaps() -> None:
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


def test_the_checking_account_alone_ranks_customers() -> None:
    scores = []
    for fold in range(5):
        data = GermanCredit().load(fold)
        outputs = GermanCredit().trivial(data.train, data.test.x)
        scores.append(quality.score(outputs, data.test.y, "roc_auc", "probabilities"))
    assert np.mean(scores) == pytest.approx(0.707, abs=0.005)
