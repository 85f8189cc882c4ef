"""taiwan-credit: the official sheet and its other copy, folds, encoding, groups and baseline."""

from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from benchmark_credit import TAIWAN_SOURCES
from benchmark_credit._taiwan import COLUMNS, LAST_PAYMENT, SHEET, TaiwanCredit, read, split

from benchmark import UserError, official
from benchmark.measure import quality

official_files = pytest.mark.skipif(
    official.located(TAIWAN_SOURCES)[1] is None,
    reason=f"neither {official.MIRROR} nor the cache has the official file of taiwan-credit",
)
INVENTED = Path(__file__).parent / "data" / "credit_cards.xls"  # a sheet like the official one, of four invented customers
HEADER = ",".join(["ID", *(f"X{number}" for number in range(1, 24)), "Y"])
CUSTOMERS = (
    "1,50000,1,2,1,41,0,0,-1,2,0,-2,1200,1100,0,900,850,-30,100,0,900,50,0,10,0",
    "2,180000,2,1,2,25,2,2,2,0,0,0,60000,61000,62000,40000,30500,30000,0,3000,1500,1500,1000,1000,1",
    "3,20000,2,5,0,26,-2,-2,-2,-2,-2,-2,0,0,0,0,0,0,0,0,0,0,0,0,1",
    "4,500000,1,3,3,63,-1,-1,0,0,0,8,320,450,460,470,480,500,450,20,20,20,30,500,0",
)


def as_text(folder: Path, *lines: str) -> Path:
    path = folder / "UCI_Credit_Card.csv.gz"
    path.write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))
    return path


def as_archive(folder: Path, member: str = SHEET) -> Path:
    path = folder / "default_of_credit_card_clients.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(INVENTED, member)
    return path


def test_the_sheet_and_the_text_hold_the_same_table(tmp_path: Path) -> None:
    of_sheet, sheet_labels = read(as_archive(tmp_path))
    of_text, text_labels = read(as_text(tmp_path, HEADER, *CUSTOMERS))
    assert of_sheet.equals(of_text)
    assert tuple(of_sheet) == COLUMNS
    assert {str(kind) for kind in of_sheet.dtypes} == {"int64"}
    assert of_sheet.iloc[2, :5].tolist() == [20000, 2, 5, 0, 26]
    assert sheet_labels.tolist() == text_labels.tolist() == [0, 1, 1, 0]
    assert sheet_labels.dtype == text_labels.dtype == np.int64


def test_the_sheet_names_its_columns_as_we_do() -> None:
    import xlrd  # type: ignore[import-untyped]  # xlrd has no type hints

    header = xlrd.open_workbook(INVENTED).sheet_by_index(0).row_values(1)
    assert header == ["ID", *COLUMNS, "default payment next month"]


def test_an_archive_without_the_sheet_is_refused(tmp_path: Path) -> None:
    path = as_archive(tmp_path, "other.xls")
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: it has no file default of credit card clients.xls"


def test_other_columns_are_refused(tmp_path: Path) -> None:
    path = as_text(tmp_path, HEADER.replace("X6", "PAY_0"), *CUSTOMERS)
    with pytest.raises(UserError, match=r"csv\.gz: after the first, its columns are X1, .*, PAY_0, X7, .*, expected X1, .*, Y$"):
        read(path)


@pytest.mark.parametrize("cell", ["", "unknown", "1.5", "inf"])
def test_cells_without_a_whole_number_are_refused(cell: str, tmp_path: Path) -> None:
    path = as_text(tmp_path, HEADER, *CUSTOMERS[:3], CUSTOMERS[3].replace("63", cell))
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: cells are empty or no whole numbers"


@official_files
def test_the_table_is_the_published_one() -> None:
    (path,) = official.fetch(TAIWAN_SOURCES).values()
    table, labels = read(path)
    assert table.shape == (30_000, 23)
    assert int(labels.sum()) == 6636
    # As the first customer is printed in many a tutorial.
    assert table.iloc[0].tolist() == [
        *(20000, 2, 2, 1, 24, 2, 2, -1, -1, -2, -2),
        *(3913, 3102, 689, 0, 0, 0, 0, 689, 0, 0, 0, 0),
    ]
    assert table["SEX"].value_counts().to_dict() == {2: 18112, 1: 11888}
    assert table["EDUCATION"].value_counts().to_dict() == {2: 14030, 1: 10585, 3: 4917, 5: 280, 4: 123, 6: 51, 0: 14}
    assert table["MARRIAGE"].value_counts().to_dict() == {2: 15964, 1: 13659, 3: 323, 0: 54}


@official_files
def test_folds_are_pinned_and_test_every_customer_once() -> None:
    (path,) = official.fetch(TAIWAN_SOURCES).values()
    labels = read(path)[1]
    digest = hashlib.sha256()
    tested = []
    for fold in range(5):
        parts = split(labels, fold)
        assert [len(rows) for rows in parts] == [19_200, 4_800, 6_000]
        assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(30_000))
        for rows in parts:
            assert rows.dtype == np.int64
            assert labels[rows].mean() == pytest.approx(0.2212, abs=2e-4)
            digest.update(len(rows).to_bytes(8, "little") + rows.astype("<i8").tobytes())
        tested += parts[2].tolist()
    assert sorted(tested) == list(range(30_000))
    assert digest.hexdigest() == "e6c5c6ceb57f4e3f3bb538c439930a12910404f70ec3f718feb558cb4243182f"


@official_files
def test_customers_are_encoded_and_grouped() -> None:
    (path,) = official.fetch(TAIWAN_SOURCES).values()
    table, labels = read(path)
    data = TaiwanCredit().load(2)
    for part in (data.train, data.validation, data.test):
        assert part.x.shape == (len(part), 33)
        assert [str(values.dtype) for values in (part.x, part.y, part.units)] == ["float32", "int64", "int64"]
        assert part.x.flags.c_contiguous
        assert np.array_equal(part.y, labels[part.units])
    fitted = data.preprocessing
    assert json.loads(json.dumps(fitted, allow_nan=False)) == fitted
    assert fitted["outputs"][LAST_PAYMENT] == "PAY_0"
    assert fitted["categories"]["EDUCATION"] == list("0123456")
    assert fitted["means"]["AGE"] == pytest.approx(table["AGE"].iloc[data.train.units].mean())
    tested = table.iloc[data.test.units]
    assert set(data.groups) == {"sex", "age"}
    assert data.groups["sex"] == tuple(np.where(tested["SEX"] == 2, "female", "male").tolist())
    assert data.groups["age"] == tuple(np.where(tested["AGE"] > 25, "> 25", "<= 25").tolist())
    assert [data.groups[column].count(name) for column, name in (("sex", "male"), ("age", "<= 25"))] == [2368, 771]


@official_files
def test_the_last_payment_alone_ranks_customers() -> None:
    scores = []
    for fold in range(5):
        data = TaiwanCredit().load(fold)
        outputs = TaiwanCredit().trivial(data.train, data.test.x)
        scores.append(quality.score(outputs, data.test.y, "roc_auc", "probabilities"))
    assert np.mean(scores) == pytest.approx(0.690, abs=0.005)


def test_a_fold_that_does_not_exist_is_refused() -> None:
    for fold in (-1, 5):
        with pytest.raises(ValueError, match=f"fold {fold}: taiwan-credit has folds 0 to 4"):
            split(np.zeros(10, np.int64), fold)
