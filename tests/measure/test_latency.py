"""What is timed, on which rows, and in which order. The clock of most tests advances only when a predictor says so."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmark.measure import latency

MS = 1_000_000


class Clock:
    """Nanoseconds that pass only by ``work``."""

    def __init__(self) -> None:
        self.now = 5_000 * MS

    def __call__(self) -> int:
        return self.now

    def work(self, nanoseconds: int) -> None:
        self.now += nanoseconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter_ns", clock)
    return clock


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    """A failed test must not leave the collector off for the others."""
    gc.enable()
    yield
    gc.enable()


class Known:
    """Takes these times, one a call, and remembers the first number of each row it was given."""

    def __init__(self, clock: Clock, times: Iterable[int]) -> None:
        self.clock = clock
        self.times = iter(times)
        self.seen: list[int] = []

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        self.seen.append(int(x.flat[0]))
        self.clock.work(next(self.times))
        return np.zeros((1, 2), np.float32)


def numbered(n: int) -> list[NDArray[np.float32]]:
    return [np.full((1, 3), i, np.float32) for i in range(n)]


# What a sample holds


class Queued:
    """An output whose work is done when somebody reads it, as on a device."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.float32]:
        time.sleep(0.05)
        return np.zeros((1, 2), np.float32)


class Queueing:
    def predict(self, x: NDArray[np.float32]) -> Any:
        return Queued()


def test_work_that_is_only_queued_is_timed() -> None:  # case M-01, by the real clock
    assert latency.first_call(Queueing(), numbered(1)[0]) >= 50 * MS
    samples = latency.sample({"queueing": Queueing()}, numbered(2), rounds=2, calls=2, seed=0)
    assert samples["queueing"].min() >= 50 * MS


def test_the_first_call_is_in_its_own_number_and_in_no_sample(clock: Clock) -> None:  # case M-02
    predictor = Known(clock, itertools.chain([500 * MS], itertools.repeat(2 * MS)))
    assert latency.first_call(predictor, numbered(1)[0]) == 500 * MS
    assert latency.warm_up(predictor, numbered(3)) == 40
    samples = latency.sample({"one": predictor}, numbered(3), rounds=3, calls=3, seed=0)["one"]
    assert samples.tolist() == [[2 * MS] * 3] * 3  # with the first call in, the mean of ten would be 51.8 ms


def test_loading_is_timed_and_told_where_and_how(clock: Clock, tmp_path: Path) -> None:
    predictor = Known(clock, [])

    class Runtime:
        def load(self, folder: Path, threads: int) -> Known:
            assert (folder, threads) == (tmp_path, 3)
            clock.work(30 * MS)
            return predictor

    assert latency.load(Runtime(), tmp_path, 3) == (predictor, 30 * MS)


def test_real_rows_are_timed_not_zeros(clock: Clock, tmp_path: Path) -> None:  # case M-06
    class FastOnZeros:
        def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
            clock.work(5 * MS if x.all() else 1 * MS)
            return np.zeros((1, 2), np.float32)

    np.save(tmp_path / "test_x.npy", np.random.default_rng(0).uniform(1, 2, (300, 3)).astype(np.float32))
    rows = latency.rows(np.load(tmp_path / "test_x.npy", mmap_mode="r"))
    assert latency.first_call(FastOnZeros(), rows[0]) == 5 * MS
    samples = latency.sample({"one": FastOnZeros()}, rows, rounds=2, calls=100, seed=0)["one"]
    assert (samples == 5 * MS).all()


def test_each_time_lies_at_its_round_and_call_under_its_predictor(clock: Clock) -> None:
    predictors = {name: Known(clock, itertools.count(start)) for name, start in (("b", 1000), ("a", 2000), ("c", 3000))}
    samples = latency.sample(predictors, numbered(5), rounds=3, calls=4, seed=0)
    assert list(samples) == ["b", "a", "c"]
    for name, start in (("b", 1000), ("a", 2000), ("c", 3000)):
        np.testing.assert_array_equal(samples[name], start + np.arange(12).reshape(3, 4))
        assert samples[name].dtype == np.int64


# Warm-up


def windows(times: Sequence[int]) -> Iterator[int]:
    """Each time 20 calls long; the last one for ever."""
    return itertools.chain.from_iterable(itertools.repeat(t, 20) for t in [*times, *[times[-1]] * 10])


@pytest.mark.parametrize(
    ("times", "calls"),
    [
        ([1000], 40),
        ([1000, 950, 1], 40),  # within 5 %
        ([1000, 1050, 1], 40),
        ([1000, 949, 949], 60),  # not within
        ([1000, 1051, 1051], 60),
        ([1000, 900, 810, 729, 729], 100),
        ([1000, 1000, 1], 40),  # settled early stays settled
        ([1 << (20 - i) for i in range(12)], 200),  # never settles
        ([1 << i for i in range(12)], 200),
        ([*(1 << (20 - i) for i in range(9)), 1 << 12], 200),  # the last two windows agree
    ],
)
def test_warm_up_ends_when_the_median_has_settled(clock: Clock, times: list[int], calls: int) -> None:
    predictor = Known(clock, windows(times))
    assert latency.warm_up(predictor, numbered(64)) == calls
    assert len(predictor.seen) == calls


def test_single_slow_calls_do_not_prolong_the_warm_up(clock: Clock) -> None:
    spiked = Known(clock, itertools.cycle([1000] * 11 + [90_000] * 9))  # 9 of each 20 calls
    assert latency.warm_up(spiked, numbered(3)) == 40
    grown = Known(clock, [1000] * 20 + [900_000] * 9 + [1000] * 11)  # the mean of the second 20 is 400 times that of the first
    assert latency.warm_up(grown, numbered(3)) == 40


@pytest.mark.parametrize("n", [1, 3, 64])
def test_warm_up_takes_the_rows_in_turn(clock: Clock, n: int) -> None:
    predictor = Known(clock, itertools.chain(windows([1000, 500, 250, 125]), itertools.repeat(125)))
    assert latency.warm_up(predictor, numbered(n)) == 100
    assert predictor.seen == [i % n for i in range(100)]


# Rounds


class Named:
    """Writes its name, and whether the collector is on, into a log that all share."""

    def __init__(self, name: str, log: list[tuple[str, bool]]) -> None:
        self.name = name
        self.log = log

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        self.log.append((self.name, gc.isenabled()))
        return np.zeros((1, 2), np.float32)


def orders(seed: int, rounds: int = 20, calls: int = 4) -> list[list[str]]:
    """The order of the predictors in each round."""
    log: list[tuple[str, bool]] = []
    latency.sample({name: Named(name, log) for name in "xyz"}, numbered(2), rounds, calls, seed)
    names = [name for name, _ in log]
    blocks = [names[i : i + calls] for i in range(0, len(names), calls)]
    assert len(blocks) == 3 * rounds
    assert all(len(set(block)) == 1 for block in blocks)  # a predictor's calls of a round follow each other
    firsts = [block[0] for block in blocks]
    return [firsts[i : i + 3] for i in range(0, len(firsts), 3)]


def test_each_round_has_each_predictor_once_in_an_order_of_its_own() -> None:
    found = orders(seed=7)
    assert all(sorted(order) == ["x", "y", "z"] for order in found)
    assert {order[0] for order in found} == {order[1] for order in found} == {order[2] for order in found} == {"x", "y", "z"}


def test_the_order_follows_the_seed_alone() -> None:
    np.random.seed(1)
    first = orders(seed=7)
    np.random.seed(2)
    assert orders(seed=7) == first
    assert orders(seed=8) != first


def test_all_predictors_are_given_the_same_rows_and_all_of_them(clock: Clock) -> None:
    predictors = {name: Known(clock, itertools.repeat(1)) for name in "xyz"}
    latency.sample(predictors, numbered(64), rounds=3, calls=50, seed=0)
    for predictor in predictors.values():
        assert predictor.seen == [i % 64 for i in range(150)]


# The garbage collector


def test_the_collector_rests_while_sampling_and_works_again_afterwards() -> None:
    log: list[tuple[str, bool]] = []
    latency.sample({"a": Named("a", log), "b": Named("b", log)}, numbered(2), rounds=2, calls=3, seed=0)
    assert [on for _, on in log] == [False] * 12
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    latency.sample({"a": Named("a", [])}, numbered(2), rounds=1, calls=1, seed=0)
    assert not gc.isenabled()


def test_the_collector_works_again_after_a_predictor_raised() -> None:
    class Raising(Named):
        def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
            super().predict(x)
            if len(self.log) == 2:
                raise RuntimeError("second call")
            return np.zeros((1, 2), np.float32)

    log: list[tuple[str, bool]] = []
    with pytest.raises(RuntimeError, match="second call"):
        latency.sample({"a": Raising("a", log)}, numbered(2), rounds=2, calls=3, seed=0)
    assert [on for _, on in log] == [False, False]
    assert gc.isenabled()


# The rows


@pytest.mark.parametrize("n", [1, 2, 10, 63, 64, 65, 100, 127, 128, 129, 1000, 4321])
def test_rows_are_different_ones_spread_over_all(n: int) -> None:
    x = np.repeat(np.arange(n, dtype=np.float32), 6).reshape(n, 2, 3)
    rows = latency.rows(x)
    assert all(row.shape == (1, 2, 3) and row.dtype == np.float32 and (row == row.flat[0]).all() for row in rows)
    picked = [int(row.flat[0]) for row in rows]
    assert len(set(picked)) == len(picked) >= min(n, latency.MIN_ROWS) == min(n, 64)
    edges = [-1, *sorted(picked), n]
    assert max(after - before for before, after in itertools.pairwise(edges)) <= -(-n // min(n, 64)) + 1


def test_rows_are_in_memory_and_their_own(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((100, 3), np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r+")
    rows = latency.rows(mapped)
    mapped[:] = 7
    mapped.flush()
    assert all(type(row) is np.ndarray and row.flags.owndata for row in rows)
    assert np.concatenate(rows).tolist() == [[1.0] * 3] * len(rows)
