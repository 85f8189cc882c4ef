"""The space of a search: what can follow what, what is drawn, and that all of it survives JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import Param, Proposal, Space, Tried
from benchmark.space import drawn

PASSES = {
    "prune": (Param("sparsity", 0.5, low=0.1, high=0.9), Param("scope", "global", choices=("global", "layer"))),
    "int8": (),
    "cluster": (Param("bits", 4, low=1, high=8), Param("fast", False)),
}
ORDERS = ((), ("prune",), ("int8",), ("cluster",), ("prune", "int8"), ("prune", "cluster"), ("prune", "cluster", "int8"))
SPACE = Space(
    architectures=("cnn", "mlp"),
    orders=ORDERS,
    ranges=PASSES,
    training=(Param("lr", 1e-2, low=1e-4, high=1.0, scale="log"),),
    updates=100,
    limits={"bytes": 1000},
    starts=(Proposal("cnn"), Proposal("cnn", (("prune", {"sparsity": 0.25}),))),
    seed=3,
    params={"sampler": "tpe"},
)


@pytest.mark.parametrize(
    ("passes", "following"),
    [((), ("", "prune", "int8", "cluster")), (("prune",), ("", "int8", "cluster")), (("prune", "cluster"), ("", "int8"))],
)
def test_what_can_follow(passes: tuple[str, ...], following: tuple[str, ...]) -> None:
    assert SPACE.following(passes) == following


def test_where_nothing_can_follow_a_recipe_ends() -> None:
    assert SPACE.following(("prune", "cluster", "int8")) == ("",)
    assert SPACE.following(("int8",)) == ("",)


@given(st.integers(0, 2**32))
def test_what_is_drawn_is_in_the_space(seed: int) -> None:
    proposal = SPACE.draw(Random(seed))
    assert proposal.architecture in SPACE.architectures
    assert tuple(name for name, _ in proposal.passes) in ORDERS
    for name, values in proposal.passes:
        assert set(values) == {one.name for one in PASSES[name]}
        assert [one.refuses(values[one.name]) for one in PASSES[name]] == [""] * len(values)
    assert 1e-4 <= float(proposal.training["lr"]) <= 1.0
    assert Proposal.from_json(json.loads(json.dumps(proposal.to_json()))) == proposal


def test_every_order_and_architecture_is_drawn_and_half_of_all_have_no_pass() -> None:
    drawn_ = [SPACE.draw(Random(seed)) for seed in range(2000)]
    orders = Counter(tuple(name for name, _ in one.passes) for one in drawn_)
    assert set(orders) == set(ORDERS)
    assert abs(orders[()] / 2000 - 0.5) < 0.05
    assert abs(Counter(one.architecture for one in drawn_)["cnn"] / 2000 - 0.5) < 0.05


def test_equal_seeds_draw_equal_proposals() -> None:
    assert SPACE.draw(Random("3 7")) == SPACE.draw(Random("3 7"))
    assert SPACE.draw(Random("3 7")) != SPACE.draw(Random("3 8"))


def test_a_logarithmic_range_is_uniform_in_its_logarithm() -> None:
    values = [drawn(SPACE.training[0], Random(seed)) for seed in range(2000)]
    assert abs(sum(1e-4 <= float(one) < 1e-2 for one in values) / 2000 - 0.5) < 0.05


@settings(max_examples=50)
@given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 2**32))
def test_whole_numbers_reach_both_ends_and_stay_between(low: int, more: int, seed: int) -> None:
    for scale in ("linear", "log"):
        param = Param("n", low, low=low, high=low + more, scale=scale)
        assert low <= int(drawn(param, Random(seed))) <= low + more
    assert isinstance(drawn(param, Random(seed)), int)


def test_a_space_survives_json() -> None:
    assert Space.from_json(json.loads(json.dumps(SPACE.to_json()))) == SPACE


@pytest.mark.parametrize(
    ("outcome", "score", "excess", "fits"),
    [
        ("ok", 0.9, {"bytes": 0.0}, True),
        ("ok", 0.9, {"bytes": -0.5, "latency_p90": 0.01}, False),
        ("ok", 0.9, {}, True),
        ("ok", None, {"bytes": -0.5}, False),
        ("no_op", 0.9, {"bytes": -0.5}, False),
    ],
)
def test_what_fits(outcome: str, score: float | None, excess: dict[str, float], fits: bool) -> None:
    assert Tried(Proposal("cnn"), outcome, score, excess, 1.0).fits is fits


@pytest.mark.parametrize(
    ("param", "varies"),
    [
        (Param("a", 0.5, low=0.0, high=1.0), True),
        (Param("a", 0.5, low=0.0), False),
        (Param("a", "x", choices=("x", "y")), True),
        (Param("a", "x"), False),
        (Param("a", True), True),
        (Param("a", 3, high=5), False),
    ],
)
def test_a_parameter_takes_part_where_it_declares_a_range_or_choices(param: Param, varies: bool) -> None:
    assert param.varies is varies


def test_a_logarithmic_range_begins_above_zero() -> None:
    with pytest.raises(ValueError, match=r"^parameter lr: a logarithmic range begins above 0$"):
        Param("lr", 0.1, low=0.0, high=1.0, scale="log")


def test_following_agrees_with_the_orders() -> None:
    """Walking along what can follow reaches each order, and nothing else."""
    found: list[tuple[str, ...]] = []
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        names = waiting.pop()
        for name in SPACE.following(names):
            if name:
                waiting.append((*names, name))
            else:
                found.append(names)
    assert sorted(found) == sorted(ORDERS)


@pytest.mark.parametrize(
    ("architecture", "passes", "ruled_out"),
    [
        ("cnn", ("int8",), True),
        ("cnn", ("int8", "cluster"), True),
        ("mlp", ("int8",), False),
        ("cnn", ("cluster", "int8"), False),
        ("cnn", (), False),
    ],
)
def test_what_a_refused_pass_rules_out(architecture: str, passes: tuple[str, ...], ruled_out: bool) -> None:
    first = Proposal("cnn", (("int8", {}), ("prune", {"sparsity": 0.5})))
    skipped = Tried(first, "skipped", None, {}, 1.0, refused=("int8",))
    other = Proposal(architecture, tuple((name, {}) for name in passes))
    assert skipped.rules_out(other) is ruled_out
    assert not dataclasses.replace(skipped, refused=()).rules_out(other)
    assert not dataclasses.replace(skipped, outcome="failed").rules_out(other)


@pytest.mark.parametrize("passes", [("int8",), (("int8", None),), (("int8",),)])
def test_passes_are_pairs(passes: Any) -> None:
    with pytest.raises(ValueError, match=r"^passes must be pairs of a name and its parameters, not "):
        Proposal("cnn", passes)


@pytest.mark.parametrize("value", [np.int64(2), np.float32(0.5), math.nan, math.inf, None, [1]])
def test_values_are_plain(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^bits: .* is none of bool, int, float \(finite\) and str$"):
        Proposal("cnn", (("cluster", {"bits": value}),))
    with pytest.raises(ValueError, match=r"^bits: "):
        Proposal("cnn", (), {"bits": value})
