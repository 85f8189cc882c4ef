"""mnist-10k: counts, content, folds and baseline. What all embedded tasks share is in test_embedded.py."""

from __future__ import annotations

import numpy as np
import pytest
from benchmark_mnist._task import Mnist10k, read


def test_the_images_are_the_first_ten_thousand_of_mnist() -> None:
    images, labels = read()
    assert images.shape == (10_000, 28, 28)
    # Class counts and mean pixel of the first 10,000 official training images.
    assert np.bincount(labels).tolist() == [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]
    assert images.mean(dtype=np.float64) == pytest.approx(33.437066, abs=1e-6)


def test_the_first_rows_hold_every_digit() -> None:
    """Whoever calibrates or measures on the first rows of a split must not see zeros only."""
    test = Mnist10k().load(0).test
    assert set(test.y[:64].tolist()) == set(range(10))


@pytest.mark.parametrize("fold", range(5))
def test_splits_are_stratified(fold: int) -> None:
    data = Mnist10k().load(fold)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [7000, 1000, 2000]
    for split in (data.train, data.validation, data.test):
        shares = np.bincount(split.y) / len(split)
        assert shares == pytest.approx(np.array([1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]) / 10_000, abs=1e-3)


def test_pixels_are_divided_by_white() -> None:
    data = Mnist10k().load(0)
    images, _ = read()
    (mean,), (scale,) = data.preprocessing["means"], data.preprocessing["scales"]
    np.testing.assert_allclose(data.test.x[:, 0], (images[data.test.units] - mean) / scale, atol=1e-7)
    assert (data.test.x.min(), data.test.x.max()) == (0.0, 1.0)


def test_ink_alone_is_a_weak_predictor() -> None:
    data = Mnist10k().load(0)
    accuracy = (Mnist10k().trivial(data.train, data.test.x).argmax(axis=1) == data.test.y).mean()
    assert accuracy == pytest.approx(0.234, abs=0.01)  # the largest class has .113
