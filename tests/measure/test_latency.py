"""What the timed loop sees: complete outputs, real rows, no cold start, and predictors taking turns. Real sleeps give lower
bounds only; everything exact runs on a clock that the stubs wind."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # it ships no types

from benchmark.measure import latency

OUTPUT = np.zeros((1, 2), np.float32)
MS = 1_000_000
Floats = NDArray[np.float32]


class Clock:
    """Stands for the time module: time passes only when a stub says so."""

    def __init__(self) -> None:
        self.now = 0

    def perf_counter_ns(self) -> int:
        return self.now


class Stub:
    """A predictor whose call number ``i`` (from 0) with row ``x`` takes ``cost(i, x)`` nanoseconds of ``clock``."""

    def __init__(self, clock: Clock, cost: Callable[[int, Floats], int]) -> None:
        self.clock, self.cost, self.seen = clock, cost, list[Floats]()

    def predict(self, x: Floats) -> Floats:
        self.clock.now += self.cost(len(self.seen), x)
        self.seen.append(x)
        return OUTPUT


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    wound = Clock()
    monkeypatch.setattr(latency, "time", wound)
    return wound


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    yield
    gc.enable()


def digits(count: int) -> list[Floats]:
    """Real rows, all different, each (1, 64)."""
    x = np.unique(load_digits().data.astype(np.float32), axis=0)[:count]
    return [x[i : i + 1] for i in range(count)]


def positions(seen: Sequence[Floats], rows: Sequence[Floats]) -> list[int]:
    """Which of ``rows`` each call was given: the very arrays, not equal ones."""
    index = {id(row): i for i, row in enumerate(rows)}
    return [index[id(x)] for x in seen]


# M-01: queued work


class Queued:
    """An output that is finished only when somebody reads it, as that of a device is."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Floats:
        time.sleep(0.05)
        return OUTPUT


def test_an_output_still_being_computed_is_waited_for() -> None:
    stub: Any = SimpleNamespace(predict=lambda x: Queued())
    rows = digits(2)
    assert latency.first_call(stub, rows[0]) >= 50 * MS
    samples = latency.sample({"queued": stub}, rows, rounds=2, calls=3, seed=0)["queued"]
    assert samples.shape == (2, 3)
    assert (samples >= 50 * MS).all()


# M-02: cold start


def test_only_the_first_call_sees_a_cold_start(clock: Clock) -> None:
    stub = Stub(clock, lambda i, x: 500 * MS if i == 0 else 2 * MS)
    rows = digits(3)
    assert latency.first_call(stub, rows[0]) == 500 * MS
    assert len(stub.seen) == 1
    samples = latency.sample({"cold": stub}, rows, rounds=1, calls=9, seed=0)["cold"]
    assert samples.mean() == np.median(samples) == samples.max() == 2 * MS


def test_a_real_cold_start_is_in_the_first_call() -> None:
    sleeps = iter([0.5])
    stub: Any = SimpleNamespace(predict=lambda x: (time.sleep(next(sleeps, 0)), OUTPUT)[1])
    assert latency.first_call(stub, digits(1)[0]) >= 500 * MS


# M-06: real rows


def test_time_that_depends_on_content_is_that_of_the_real_rows(clock: Clock) -> None:
    stub = Stub(clock, lambda i, x: 5 * MS if x.any() else 1 * MS)
    rows = digits(7)
    assert (latency.sample({"real": stub}, rows, rounds=2, calls=10, seed=0)["real"] == 5 * MS).all()
    assert positions(stub.seen, rows) == [i % 7 for i in range(20)]  # goes on where the round before ended


def test_a_sample_is_that_of_its_row(clock: Clock) -> None:
    rows = digits(64)
    stub = Stub(clock, lambda i, x: int(x.sum()))
    samples = latency.sample({"sum": stub}, rows, rounds=3, calls=64, seed=0)["sum"]
    assert samples.tolist() == [[int(row.sum()) for row in rows]] * 3


# Turns


def turns(seed: int, rounds: int = 12, calls: int = 5) -> list[list[str]]:
    """The order of the predictors in each round; checks that a turn is never interrupted and that all meet the same rows."""
    told: list[str] = []
    rows = digits(4)

    def recorder(name: str) -> Stub:
        return Stub(Clock(), lambda i, x: told.append(name) or 0)  # type: ignore[func-returns-value]  # None, so 0

    stubs = {name: recorder(name) for name in ("artifact", "anchor", "floor")}
    samples = latency.sample(stubs, rows, rounds, calls, seed)
    assert list(samples) == ["artifact", "anchor", "floor"]
    for name, stub in stubs.items():
        assert samples[name].shape == (rounds, calls)
        assert samples[name].dtype == np.int64
        assert positions(stub.seen, rows) == [i % 4 for i in range(rounds * calls)]
    order = []
    for start in range(0, len(told), 3 * calls):
        runs = [(name, len(list(group))) for name, group in groupby(told[start : start + 3 * calls])]
        assert sorted(runs) == [("anchor", calls), ("artifact", calls), ("floor", calls)]
        order.append([name for name, _ in runs])
    assert len(order) == rounds
    return order


def test_predictors_take_turns_in_a_random_order_that_the_seed_fixes() -> None:
    assert turns(0) == turns(0)
    assert turns(0) != turns(1)
    assert {order[0] for order in turns(0)} == {"artifact", "anchor", "floor"}  # nobody is always first


# Warm-up


@pytest.mark.parametrize(
    ("blocks", "calls"),
    [
        ([100], 40),  # steady from the start
        ([100, 104], 40),  # within 5 %
        ([100, 90, 90], 60),  # settles one block later
        ([1000, 500, 250, 240], 80),
        ([100, 110] * 5, 200),  # never settles
    ],
)
def test_warm_up_ends_when_the_median_settles(clock: Clock, blocks: list[int], calls: int) -> None:
    stub = Stub(clock, lambda i, x: blocks[min(i // 20, len(blocks) - 1)])
    assert latency.warm_up(stub, digits(3)) == calls
    assert len(stub.seen) == calls


def test_warm_up_goes_through_all_rows_in_turn(clock: Clock) -> None:
    rows = digits(8)
    stub = Stub(clock, lambda i, x: 100)
    latency.warm_up(stub, rows)
    assert positions(stub.seen, rows) == [i % 8 for i in range(40)]


# The garbage collector


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_rests_while_sampling(enabled: bool) -> None:
    states: list[bool] = []

    def predict(x: Floats) -> Floats:
        states.append(gc.isenabled())
        return OUTPUT

    stub: Any = SimpleNamespace(predict=predict)
    (gc.enable if enabled else gc.disable)()
    latency.sample({"stub": stub}, digits(1), rounds=2, calls=2, seed=0)
    assert gc.isenabled() == enabled
    assert states == [False] * 4


def test_the_garbage_collector_is_back_after_an_exception() -> None:
    stub: Any = SimpleNamespace(predict=lambda x: 1 / 0)
    gc.enable()
    with pytest.raises(ZeroDivisionError):
        latency.sample({"stub": stub}, digits(1), rounds=1, calls=1, seed=0)
    assert gc.isenabled()
