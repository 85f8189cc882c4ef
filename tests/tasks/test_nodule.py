"""nodule-shape: counts, patients, the geometry of the images and the baseline."""

from __future__ import annotations

import numpy as np
import pytest
from benchmark_nodule._task import NoduleShape, read
from benchmark_nodule.data.make_data import Annotation, Outline, image, inside, nodules

from benchmark.measure import quality


def square(centre: tuple[float, float], half: float, z: float = 0.0, inside: bool = True) -> Outline:
    corners = np.array([(-half, -half), (half, -half), (half, half), (-half, half)])
    return Outline(inside, z, np.array(centre) + corners)


def test_counts() -> None:
    images, labels, patients = read()
    assert images.shape == (1646, 3, 32, 32)
    assert int(labels.sum()) == 897  # 54 % round
    assert len(np.unique(patients)) == 746
    assert (images.min(), images.max()) == (0.0, 1.0)
    # The middle slice is chosen at the common centre: somebody drew in it, in all nodules.
    assert (images[:, 1].sum(axis=(1, 2)) > 0).all()


def test_patients_are_dealt_to_the_folds_in_turn() -> None:
    _, _, patients = read()
    order = np.unique(patients)
    counts = []
    for fold in range(5):
        data = NoduleShape().load(fold)
        assert np.unique(data.test.units).tolist() == order[fold::5].tolist()
        assert np.unique(data.validation.units).tolist() == order[(fold + 1) % 5 :: 5].tolist()
        counts.append((len(data.train), len(data.validation), len(data.test), int(data.test.y.sum())))
    # The share of round ones runs from .49 to .61: patients are not stratified.
    assert counts == [
        (1006, 313, 327, 166),
        (998, 335, 313, 190),
        (977, 334, 335, 178),
        (975, 337, 334, 165),
        (982, 327, 337, 198),
    ]


@pytest.mark.parametrize("fold", [0, 4])
def test_few_training_rows_are_some_of_all(fold: int) -> None:
    few, whole = NoduleShape(training_rows=300).load(fold), NoduleShape().load(fold)
    assert len(few.train) == 300
    assert 0.4 < few.train.y.mean() < 0.65  # not the first of a sorted file
    known = {row.tobytes() for row in whole.train.x}
    assert all(row.tobytes() in known for row in few.train.x)
    for one, other in ((few.validation, whole.validation), (few.test, whole.test)):
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.units, other.units)
    assert not set(few.train.units) & {*few.validation.units, *few.test.units}
    np.testing.assert_array_equal(few.train.x, NoduleShape(training_rows=300).load(fold).train.x)


def test_inside_follows_the_even_odd_rule() -> None:
    # A square of side 4 with a notch cut into its right side, down to (2, 2).
    polygon = np.array([(0, 0), (4, 0), (2, 2), (4, 4), (0, 4)], np.float64)
    points = np.array([(1, 2), (3, 0.5), (3, 2), (3.5, 3.8), (-1, 2), (1, 5)], np.float64)
    assert inside(points, polygon).tolist() == [True, True, False, True, False, False]


def test_near_annotations_are_one_nodule() -> None:
    """Squares of half side 3 have mean radius 3 sqrt 2 = 4.24: centroids up to 5.24 mm apart belong together."""
    places = [0.0, 5.2, 10.4, 15.7]  # the first three are a chain, the last is 5.3 mm from it
    groups = nodules([Annotation(4, [square((x, 0), 3)]) for x in places])
    assert [len(group) for group in groups] == [3, 1]
    assert len(nodules([Annotation(4, [square((0, 0), 3)])])) == 1


def test_image_counts_readers_and_points() -> None:
    """One reader drew a square of 8 mm in two slices, the other one of 4 mm, with a hole of 2 mm, in the middle slice."""
    first = Annotation(4, [square((50, 70), 4, z=0), square((50, 70), 4, z=2.5)])
    second = Annotation(4, [square((50, 70), 2, z=0), square((50, 70), 1, z=0, inside=False)])
    below, middle, above = image([first, second], slices=[-2.5, 0.0, 2.5]).astype(int)
    assert below.sum() == 0
    assert middle.sum() == (64 + 16 - 4) * 4
    assert above.sum() == 64 * 4
    assert middle[16].tolist() == [0] * 12 + [4] * 2 + [8] + [4] * 2 + [8] + [4] * 2 + [0] * 12
    # At the last slice of a scan there is nothing above.
    assert image([first, second], slices=[-2.5, 0.0]).sum(axis=(1, 2)).tolist() == [0, 304, 0]


def test_area_alone_is_a_weak_predictor() -> None:
    data = NoduleShape().load(0)
    outputs = NoduleShape().trivial(data.train, data.test.x)
    assert quality.score(outputs, data.test.y, "roc_auc", "probabilities") == pytest.approx(0.595, abs=0.005)
