"""german-credit: the table, its folds, what a device needs, and the baseline."""

from __future__ import annotations

import numpy as np
import pytest
from benchmark_credit._task import CHECKING, GermanCredit, read

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


def test_test_customers_are_grouped_by_age() -> None:
    data = GermanCredit().load(3)
    ages = read()[0]["age"].iloc[data.test.units]
    assert list(data.groups) == ["age"]
    assert [name == "<= 25" for name in data.groups["age"]] == (ages <= 25).tolist()
    assert set(data.groups["age"]) == {"<= 25", "> 25"}


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


def test_the_checking_account_alone_ranks_customers() -> None:
    scores = []
    for fold in range(5):
        data = GermanCredit().load(fold)
        outputs = GermanCredit().trivial(data.train, data.test.x)
        scores.append(quality.score(outputs, data.test.y, "roc_auc", "probabilities"))
    assert np.mean(scores) == pytest.approx(0.707, abs=0.005)
