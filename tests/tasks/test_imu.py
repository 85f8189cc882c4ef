"""watch-imu: recordings, windows, subjects kept apart, scaling and the baseline."""

from __future__ import annotations

import dataclasses

import benchmark_imu._task as task
import numpy as np
import pytest
from benchmark_imu._task import STEPS, STRIDE, WINDOW, WatchImu, read, split, windows


def test_recordings_are_the_published_ones() -> None:
    data = read()
    assert data.samples.shape == (6, 244_102)
    assert data.lengths.sum() == 244_102
    assert (data.lengths.min(), data.lengths.max()) == (947, 2618)
    # Each of ten subjects did each of seven exercises twice (left and right).
    pairs, times = np.unique(np.stack([data.subjects, data.exercises]), axis=1, return_counts=True)
    assert pairs.shape == (2, 70)
    assert set(times.tolist()) == {2}
    # First published sample: ax -1.083608, ay -0.018609, az -0.027260, wx 0.411410, wy -1.603097, wz -2.488642.
    np.testing.assert_allclose(
        data.samples[:, 0] * STEPS, [-1.083608, -0.018609, -0.02726, 0.41141, -1.603097, -2.488642], atol=5.1e-4
    )


def test_windows_stay_within_a_recording() -> None:
    starts, owners = windows(np.array([1280, 127, 128, 200]), np.array([0, 1, 2, 3]))
    assert np.bincount(owners).tolist() == [19, 0, 1, 2]
    assert starts.tolist() == [*range(0, 1216, 64), 1407, 1535, 1599]


def test_no_subject_and_no_raw_sample_is_in_two_splits() -> None:  # case D-05
    data = read()
    for fold in range(5):
        parts = split(data.subjects, fold)
        subjects = [set(data.subjects[part].tolist()) for part in parts]
        assert subjects[2] == {2 * fold + 1, 2 * fold + 2}
        assert subjects[1] == {(2 * fold + 2) % 10 + 1, (2 * fold + 3) % 10 + 1}
        assert subjects[0] == set(range(1, 11)) - subjects[1] - subjects[2]
        samples = [set((windows(data.lengths, part)[0][:, None] + np.arange(WINDOW)).ravel().tolist()) for part in parts]
        assert not samples[0] & samples[1]
        assert not samples[0] & samples[2]
        assert not samples[1] & samples[2]


def test_windows_hold_the_samples_of_their_recording() -> None:
    raw, data = read(), WatchImu().load(2)
    means, scales = (np.array(data.preprocessing[key])[:, None] for key in ("means", "scales"))
    recording = int(data.test.units[0])
    begin = int(raw.lengths[:recording].sum())
    for place in range(3):
        samples = raw.samples[:, begin + place * STRIDE :][:, :WINDOW] * np.array(STEPS)[:, None]
        np.testing.assert_allclose(data.test.x[place] * scales + means, samples, atol=1e-5)
    assert (data.test.y == raw.exercises[data.test.units]).all()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [2084, 777, 744]


def test_test_windows_are_grouped_by_subject() -> None:
    data, raw = WatchImu().load(3), read()
    assert list(data.groups["subject"]) == [f"subject {raw.subjects[recording]}" for recording in data.test.units]
    assert set(data.groups["subject"]) == {"subject 7", "subject 8"}


def test_constants_come_from_training_subjects_only(monkeypatch: pytest.MonkeyPatch) -> None:
    before, data = WatchImu().load(0), read()
    np.testing.assert_allclose(before.train.x.mean(axis=(0, 2), dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(before.train.x.std(axis=(0, 2), dtype=np.float64), 1, atol=1e-6)
    others = np.repeat(data.subjects <= 4, data.lengths)  # test: subjects 1 and 2, validation: 3 and 4
    changed = np.where(others, data.samples // 2, data.samples)
    monkeypatch.setattr(task, "read", lambda: dataclasses.replace(data, samples=changed))
    after = WatchImu().load(0)
    assert after.preprocessing == before.preprocessing
    assert after.train.x.tobytes() == before.train.x.tobytes()
    assert after.test.x.tobytes() != before.test.x.tobytes()


def test_movement_alone_is_a_weak_predictor() -> None:
    data = WatchImu().load(0)
    accuracy = (WatchImu().trivial(data.train, data.test.x).argmax(axis=1) == data.test.y).mean()
    assert accuracy == pytest.approx(0.341, abs=0.01)  # the largest class has .168
