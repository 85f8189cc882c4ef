"""Outputs as they are collected: in order, twice, and against a batch (cases M-04, L-06)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmark.measure import outputs, quality
from benchmark.measure.outputs import Collected

Floats = NDArray[np.float32]


class Stub:
    """A predictor made of a function; remembers the rows of each call."""

    def __init__(self, function: Callable[[Floats], Any]) -> None:
        self.function = function
        self.calls: list[list[float]] = []

    def predict(self, x: Floats) -> Any:
        self.calls.append(x[:, 0].tolist())
        return self.function(x)


def inputs(n: int) -> Floats:
    """Distinct rows, of alternating sign."""
    return (np.arange(1, n + 1) * np.where(np.arange(n) % 2, -1, 1)).astype(np.float32).reshape(n, 1)


def signs(x: Floats) -> Floats:
    """Class 0 for positive rows, class 1 for negative ones."""
    return np.concatenate([x, -x], axis=1)


def refusal(collected: Collected) -> str:
    return outputs.refusal(collected.repeatable, collected.batch_rows, collected.batch_label_changes)


# What is collected


@pytest.mark.parametrize("n", [1, 31, 32, 33, 64, 70])
def test_each_row_alone_twice_and_then_in_batches_of_32(n: int) -> None:
    predictor, x = Stub(signs), inputs(n)
    collected = outputs.collect(predictor, x)
    np.testing.assert_array_equal(collected.outputs, signs(x))
    assert collected.outputs.dtype == np.float32
    assert collected.outputs.shape == (n, 2)
    assert (collected.repeatable, collected.batch_rows, collected.batch_label_changes) == (True, n, 0)
    assert refusal(collected) == ""
    values = x[:, 0].tolist()
    alone = [[value] for value in values]
    assert predictor.calls == [*alone, *alone, *(values[i : i + 32] for i in range(0, n, 32))]


def test_outputs_are_those_at_batch_1() -> None:
    collected = outputs.collect(Stub(lambda x: signs(x) if len(x) == 1 else signs(x) + 1000), inputs(40))
    np.testing.assert_array_equal(collected.outputs, signs(inputs(40)))
    assert refusal(collected) == ""  # the labels are the same


def test_a_runtime_may_use_one_buffer_for_all_its_outputs() -> None:
    buffer = np.zeros((32, 2), np.float32)

    def predict(x: Floats) -> Floats:
        buffer[: len(x)] = signs(x)
        return buffer[: len(x)]

    collected = outputs.collect(Stub(predict), inputs(70))
    np.testing.assert_array_equal(collected.outputs, signs(inputs(70)))
    assert (collected.repeatable, collected.batch_label_changes) == (True, 0)


def test_outputs_still_being_computed_are_waited_for() -> None:
    class Lazy:
        def __init__(self, x: Floats) -> None:
            self.x = x

        def __array__(self, dtype: Any = None, copy: bool | None = None) -> Floats:
            return signs(self.x)

    collected = outputs.collect(Stub(Lazy), inputs(40))
    assert type(collected.outputs) is np.ndarray
    np.testing.assert_array_equal(collected.outputs, signs(inputs(40)))


def test_a_nan_is_collected_and_left_to_the_check() -> None:  # case L-06
    x = inputs(40)
    collected = outputs.collect(Stub(lambda x: np.where(x == 5, np.float32(np.nan), signs(x))), x)
    assert np.argwhere(np.isnan(collected.outputs)).tolist() == [[4, 0], [4, 1]]
    assert collected.repeatable
    assert refusal(collected) == ""
    assert quality.check(collected.outputs, 40, 2) == "outputs are NaN or infinite in 1 of 40 rows"


def test_float64_outputs_are_not_made_valid_by_collecting() -> None:
    collected = outputs.collect(Stub(lambda x: signs(x).astype(np.float64)), inputs(40))
    assert quality.check(collected.outputs, 40, 2) == "outputs are float64, not float32"


def test_constant_outputs_earn_the_majority_share() -> None:  # case L-06
    collected = outputs.collect(Stub(lambda x: np.full((len(x), 2), 0.25, np.float32)), inputs(40))
    assert refusal(collected) == ""
    y = np.array([0] * 28 + [1] * 12)
    assert quality.score(collected.outputs, y, "accuracy", "logits") == 0.7
    assert quality.score(collected.outputs, y, "roc_auc", "logits") == 0.5


# What is refused


def test_normalising_over_the_batch_is_refused() -> None:  # case M-04: batch normalisation left in training mode
    x = np.where(np.arange(70) % 2, -1, 1).astype(np.float32).reshape(70, 1)
    collected = outputs.collect(Stub(lambda x: signs(x - x.mean(axis=0))), x)
    # Alone, each row is its own mean: all labels 0. In a batch of as many 1 as -1, half of them are 1.
    assert collected == Collected(collected.outputs, True, 70, 35)
    assert not collected.outputs.any()
    assert "35 of 70 rows" in refusal(collected)


@pytest.mark.parametrize(("size", "changes"), [(32, 64), (6, 6)])
def test_both_full_batches_and_the_last_short_one_are_compared(size: int, changes: int) -> None:
    collected = outputs.collect(Stub(lambda x: -signs(x) if len(x) == size else signs(x)), inputs(70))
    assert (collected.batch_rows, collected.batch_label_changes) == (70, changes)
    assert f"{changes} of 70 rows" in refusal(collected)


def test_random_outputs_are_refused() -> None:  # case M-04: dropout left on
    rng = np.random.default_rng(0)
    collected = outputs.collect(Stub(lambda x: signs(x) * (rng.random(x.shape) < 0.5).astype(np.float32)), inputs(70))
    assert not collected.repeatable
    assert "second pass" in refusal(collected)


@pytest.mark.parametrize("call", [40, 41, 80])
def test_one_bit_in_one_row_of_the_second_pass_is_refused(call: int) -> None:
    def predict(x: Floats) -> Floats:
        made = signs(x)
        if len(predictor.calls) == call:  # of the 80 calls at batch 1
            made[0, 0] = np.nextafter(made[0, 0], np.float32(np.inf))
        return made

    predictor = Stub(predict)
    collected = outputs.collect(predictor, inputs(40))
    assert not collected.repeatable
    assert "second pass" in refusal(collected)


def test_a_nan_that_comes_in_the_second_pass_is_refused() -> None:
    predictor = Stub(lambda x: signs(x) * np.float32(np.nan if len(predictor.calls) == 60 else 1))
    assert not outputs.collect(predictor, inputs(40)).repeatable


def test_a_runtime_that_takes_no_batches_is_accepted() -> None:
    def one_only(x: Floats) -> Floats:
        if len(x) > 1:
            raise RuntimeError("invalid dimension: got 32, expected 1")
        return signs(x)

    collected = outputs.collect(Stub(one_only), inputs(70))
    np.testing.assert_array_equal(collected.outputs, signs(inputs(70)))
    assert (collected.repeatable, collected.batch_rows, collected.batch_label_changes) == (True, 0, 0)
    assert refusal(collected) == ""


def test_an_error_at_batch_1_is_not_taken_for_missing_batches() -> None:
    def failing(x: Floats) -> Floats:
        if x[0, 0] == 5:
            raise RuntimeError("row 5")
        return signs(x)

    with pytest.raises(RuntimeError, match="row 5"):
        outputs.collect(Stub(failing), inputs(70))


@pytest.mark.parametrize(
    ("rows", "changes", "refused"),
    [(0, 0, False), (100, 1, False), (100, 2, True), (99, 1, True), (199, 1, False), (199, 2, True), (2900, 29, False)],
)
def test_one_label_in_a_hundred_may_change_and_no_more(rows: int, changes: int, refused: bool) -> None:
    reason = outputs.refusal(True, rows, changes)
    assert bool(reason) == refused
    assert not refused or f"{changes} of {rows} rows" in reason


def test_outputs_that_do_not_repeat_are_refused_whatever_the_batches_say() -> None:
    assert outputs.refusal(False, 0, 0) == outputs.refusal(False, 100, 0) == outputs.refusal(False, 100, 50) != ""


@pytest.mark.parametrize(
    ("n", "rows", "expected"), [(6, 3, [0, 2, 4]), (5, 2, [0, 2]), (3, 200, [0, 1, 2]), (2000, 200, None), (0, 200, [])]
)
def test_a_sample_is_evenly_spaced_and_never_longer_than_what_there_is(n: int, rows: int, expected: list[int] | None) -> None:
    found = outputs.sample(n, rows)
    assert found.tolist() == (list(range(0, n, n // rows)) if expected is None else expected)
    assert len(set(found.tolist())) == len(found) == min(n, rows)
    assert outputs.sample(n, None).tolist() == list(range(n))


def test_an_emulated_device_gets_all_rows_once_and_a_few_again() -> None:
    stub = Stub(signs)
    found = outputs.collect_emulated(stub, inputs(40))
    assert [len(call) for call in stub.calls] == [40, outputs.AGAIN]
    assert np.array_equal(found.outputs, signs(inputs(40)))
    assert refusal(found) == ""
    count = iter(range(10))
    drifting = outputs.collect_emulated(Stub(lambda x: signs(x) + next(count)), inputs(40))
    assert refusal(drifting) == "a second pass over the same rows gave other outputs"
