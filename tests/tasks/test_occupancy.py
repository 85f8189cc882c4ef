"""occupancy: the three official files, alone and in their archive; hours kept apart, scaling and the baseline."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import benchmark_occupancy._task as task
import numpy as np
import pandas as pd
import pytest
from benchmark_occupancy import ARCHIVE, SOURCES
from benchmark_occupancy._task import LIGHT, TESTS, TRAIN, Occupancy, read, split

from benchmark import UserError, official
from benchmark.measure import quality

official_files = pytest.mark.skipif(
    official.located(SOURCES)[1] is None,
    reason=f"neither {official.MIRROR} nor the cache has the official files of occupancy",
)
HEADER = '"date","Temperature","Humidity","Light","CO2","HumidityRatio","Occupancy"'
ROWS = (
    '"140","2015-02-02 14:59:00",23.7,26.272,585.2,749.2,0.00476416302416414,1',
    '"141","2015-02-02 14:59:59",23.718,26.29,578.4,760.4,0.00477266099212519,1',
    '"142","2015-02-02 15:01:00",23.73,26.23,572.666666666667,769.666666666667,0.00476515255246541,0',
)


def archive(folder: Path, **texts: str) -> dict[str, Path]:
    path = folder / "occupancy_detection.zip"
    with zipfile.ZipFile(path, "w") as written:
        for name, text in texts.items():
            written.writestr(f"{name}.txt", text)
    return {ARCHIVE.name: path}


def test_a_row_is_what_its_line_says(tmp_path: Path) -> None:
    table = read(archive(tmp_path, datatest="\n".join([HEADER, *ROWS])), "datatest.txt")
    assert table.iloc[0, :5].tolist() == [23.7, 26.272, 585.2, 749.2, 0.00476416302416414]
    assert table["Occupancy"].tolist() == [1, 1, 0]
    hours = pd.to_datetime(["2015-02-02 14:00", "2015-02-02 14:00", "2015-02-02 15:00"])
    assert table["hour"].tolist() == ((hours - pd.Timestamp(0)) // pd.Timedelta(hours=1)).tolist()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            (HEADER.replace('"CO2",', ""), *ROWS),
            "the columns of datatest.txt are date, Temperature, Humidity, Light, HumidityRatio, Occupancy, "
            "expected date, Temperature, Humidity, Light, CO2, HumidityRatio, Occupancy",
        ),
        ((HEADER, *reversed(ROWS)), "rows of datatest.txt are not in the order of time, or cells are empty"),
        ((HEADER, ROWS[0].replace("749.2", "")), "rows of datatest.txt are not in the order of time, or cells are empty"),
    ],
)
def test_other_contents_are_refused(lines: tuple[str, ...], message: str, tmp_path: Path) -> None:
    files = archive(tmp_path, datatest="\n".join(lines))
    with pytest.raises(UserError) as caught:
        read(files, "datatest.txt")
    assert str(caught.value) == f"{files[ARCHIVE.name]}: {message}"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    files = archive(tmp_path, datatest="")
    with pytest.raises(UserError) as caught:
        read(files, "datatest2.txt")
    assert str(caught.value) == f"{files[ARCHIVE.name]}: it holds 0 files datatest2.txt, expected one"


def test_validation_begins_with_a_full_hour() -> None:
    assert split(np.array([1, 1, 1, 2, 2, 2, 3, 3, 3, 4])) == 9  # four fifths would end within hour 3
    assert split(np.array([1, 1, 2, 2, 3, 3, 4, 4, 5, 5])) == 8


@official_files
def test_the_archive_gives_the_same_tables(tmp_path: Path) -> None:
    """Whichever source is there: its three files, put into an archive, are read alike."""
    files = official.fetch(SOURCES)
    names = (TRAIN, *TESTS)
    if ARCHIVE.name in files:
        with zipfile.ZipFile(files[ARCHIVE.name]) as packed:
            packed.extractall(tmp_path)
        other = {f"occupancy/{name}": next(tmp_path.rglob(name)) for name in names}
    else:
        other = archive(tmp_path, **{name[: -len(".txt")]: files[f"occupancy/{name}"].read_text() for name in names})
    for name in names:
        assert read(files, name).equals(read(other, name))


@official_files
@pytest.mark.parametrize(("fold", "tested", "hours"), [(0, [1693, 972], 45), (1, [7703, 2049], 164)])
def test_the_official_split_is_kept_and_no_hour_is_in_two(fold: int, tested: list[int], hours: int) -> None:
    data = Occupancy().load(fold)
    splits = (data.train, data.validation, data.test)
    assert [np.bincount(part.y).tolist() for part in splits] == [[5408, 1141], [1006, 588], tested]
    units = [set(part.units.tolist()) for part in splits]
    assert not units[0] & units[1]
    assert not units[0] & units[2]
    assert not units[1] & units[2]
    assert len(units[2]) == hours
    assert f"{hours} hours are tested" in data.notes[0]
    # Validation is the end of the training rows, in the order of time: 2015-02-09 07:00 and later.
    assert data.train.units.max() < data.validation.units.min()
    assert np.datetime64(int(data.validation.units[0]), "h") == np.datetime64("2015-02-09T07")
    for part in splits:
        assert part.x.shape == (len(part), 5)
        assert [str(values.dtype) for values in (part.x, part.y, part.units)] == ["float32", "int64", "int64"]
        assert part.x.flags.c_contiguous
    first = np.array(
        [
            [23.7, 26.272, 585.2, 749.2, 0.00476416302416414],
            [21.76, 31.1333333333333, 437.333333333333, 1029.66666666667, 0.005021],
        ]
    )
    means, scales = (np.array(data.preprocessing[key]) for key in ("means", "scales"))
    np.testing.assert_allclose(data.test.x[0] * scales + means, first[fold], rtol=1e-4)


@official_files
def test_constants_come_from_training_rows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Occupancy().load(0)
    np.testing.assert_allclose(before.train.x.mean(axis=0, dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(before.train.x.std(axis=0, dtype=np.float64), 1, atol=1e-6)
    assert json.loads(json.dumps(before.preprocessing)) == before.preprocessing

    def changed(files: dict[str, Path], name: str) -> pd.DataFrame:
        table = read(files, name)
        table.loc[table["hour"] >= before.validation.units[0] if name == TRAIN else table.index, "Light"] = 0.0
        return table

    monkeypatch.setattr(task, "read", changed)
    after = Occupancy().load(0)
    assert after.preprocessing == before.preprocessing
    assert after.train.x.tobytes() == before.train.x.tobytes()
    assert (after.test.x[:, LIGHT] < 0).all()


@official_files
@pytest.mark.parametrize(("fold", "accuracy", "auc"), [(0, 0.979, 0.990), (1, 0.993, 0.996)])
def test_light_alone_is_nearly_unbeatable(fold: int, accuracy: float, auc: float) -> None:
    data = Occupancy().load(fold)
    outputs = Occupancy().trivial(data.train, data.test.x)
    assert quality.score(outputs, data.test.y, "accuracy", "probabilities") == pytest.approx(accuracy, abs=0.002)
    assert quality.score(outputs, data.test.y, "roc_auc", "probabilities") == pytest.approx(auc, abs=0.002)


def test_a_fold_that_does_not_exist_is_refused() -> None:
    for fold in (-1, 2):
        with pytest.raises(ValueError, match=f"fold {fold}: occupancy has folds 0 to 1"):
            Occupancy().load(fold)
