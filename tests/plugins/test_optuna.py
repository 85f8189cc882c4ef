"""Optuna as a searcher: what it proposes can be, follows from the history alone, and learns from it."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from benchmark_optuna._optuna import Optuna, _told, promoted
from benchmark_optuna._plain import Chance, Defaults
from optuna.samplers import NSGAIISampler

from benchmark import Param, Proposal, Space, Tried
from benchmark.protocols import SearcherCode

PASSES = {
    "prune": (Param("sparsity", 0.5, low=0.0, high=1.0),),
    "int8": (Param("calibration", "minmax", choices=("minmax", "entropy")),),
    "round": (Param("digits", 2, low=0, high=6),),
}
ORDERS = ((), ("prune",), ("int8",), ("round",), ("prune", "int8"), ("prune", "round"))


def space(sampler: str = "tpe", *, halving: bool = False, seed: int = 0, updates: int | None = 100) -> Space:
    return Space(
        architectures=("cnn", "mlp"),
        orders=ORDERS,
        ranges=PASSES,
        training=(Param("lr", 1e-2, low=1e-4, high=1.0, scale="log"),),
        updates=updates,
        limits={"bytes": 1000},
        starts=(Proposal("cnn"), Proposal("cnn", (("int8", {}),))),
        seed=seed,
        params={"sampler": sampler, "halving": halving},
    )


def outcome_of(proposal: Proposal) -> Tried:
    """A made-up world: pruning to one half is best, and what is not pruned is too large."""
    passes = dict(proposal.passes)
    sparsity = float(passes.get("prune", {}).get("sparsity", 0.0))
    score = 0.9 - (sparsity - 0.5) ** 2 - 0.1 * (proposal.architecture == "mlp")
    return Tried(proposal, "ok", score, {"bytes": 0.2 - sparsity}, 1.0)


def search(code: SearcherCode, where: Space, n: int, world: Callable[[Proposal], Tried] = outcome_of) -> list[Tried]:
    history: list[Tried] = []
    while len(history) < n and (proposal := code.propose(where, history, 1.0)):
        history.append(world(proposal))
    return history


@pytest.mark.parametrize("code", [Defaults(), Chance(), Optuna()], ids=lambda code: type(code).__name__)
def test_the_starts_come_first(code: SearcherCode) -> None:
    assert [one.proposal for one in search(code, space(), 2)] == list(space().starts)


def test_defaults_ends_with_them() -> None:
    assert len(search(Defaults(), space(), 10)) == 2


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
@pytest.mark.parametrize("halving", [False, True])
def test_the_same_history_leads_to_the_same_proposal_and_all_can_be(sampler: str, halving: bool) -> None:
    where = space(sampler, halving=halving)
    history = search(Optuna(), where, 16)
    for place, one in enumerate(history):
        assert Optuna().propose(where, history[:place], 5.0) == one.proposal
        assert tuple(name for name, _ in one.proposal.passes) in ORDERS
        for name, given in one.proposal.passes:
            assert not [param for param in PASSES[name] if param.name in given and param.refuses(given[param.name])]
    other = search(Optuna(), dataclasses.replace(where, seed=1), 16)
    assert [one.proposal for one in other] != [one.proposal for one in history]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_nothing_is_proposed_twice(sampler: str) -> None:
    history = search(Optuna(), space(sampler), 30)
    assert len({repr(one.proposal.to_json()) for one in history}) == 30


def test_tpe_finds_more_than_chance() -> None:
    """In the made-up world, with 40 proposals and five seeds."""

    def best(code: SearcherCode, seed: int) -> float:
        return max(one.score or 0.0 for one in search(code, space(seed=seed), 40) if one.fits)

    tpe, chance = ([best(code, seed) for seed in range(5)] for code in (Optuna(), Chance()))
    assert statistics.mean(tpe) > statistics.mean(chance)
    assert statistics.mean(tpe) > 0.89


def test_tpe_learns_where_the_limits_are() -> None:
    late = search(Optuna(), space(), 60)[30:]
    by_chance = [outcome_of(space().draw(Random(seed))) for seed in range(300)]
    assert statistics.mean(one.fits for one in late) > 1.5 * statistics.mean(one.fits for one in by_chance)


def test_it_stays_away_from_what_fails() -> None:
    def world(proposal: Proposal) -> Tried:
        fails = any(name == "round" for name, _ in proposal.passes)
        return Tried(proposal, "failed", None, {}, 1.0) if fails else outcome_of(proposal)

    late = search(Optuna(), space(), 60, world)[30:]
    assert statistics.mean(one.outcome == "failed" for one in late) < 0.25


@pytest.mark.parametrize("code", [Chance(), Optuna()], ids=lambda code: type(code).__name__)
def test_what_was_refused_once_is_not_proposed_again(code: SearcherCode) -> None:
    """A pass that does not apply costs one proposal for each architecture and what may stand before it."""

    def world(proposal: Proposal) -> Tried:
        names = tuple(name for name, _ in proposal.passes)
        if "round" in names:
            return Tried(proposal, "skipped", None, {}, 1.0, refused=names[: names.index("round") + 1])
        return outcome_of(proposal)

    history = search(code, space(), 40, world)
    refused = [(one.proposal.architecture, one.refused) for one in history if one.refused]
    assert len(refused) == len(set(refused)) <= 4


def test_trainings_begin_short_and_the_better_half_goes_on() -> None:
    """Asynchronous successive halving: a quarter, a half, and all of the updates."""
    where = space(halving=True)
    history = search(Optuna(), where, 40)[2:]
    lengths = [int(one.proposal.training.get("updates", 100)) for one in history]
    assert set(lengths) == {25, 50, 100}
    assert lengths[0] == 25
    assert lengths.count(25) > lengths.count(50) > lengths.count(100) > 0
    seen: set[str] = set()
    for one, length in zip(history, lengths, strict=True):
        key = repr((one.proposal.architecture, one.proposal.passes, one.proposal.training.get("lr")))
        assert (key in seen) == (length > 25)
        seen.add(key)


def test_only_what_keeps_the_limits_is_trained_longer() -> None:
    where = space(halving=True)

    def short(sparsity: float, score: float) -> Tried:
        proposal = Proposal("cnn", (("prune", {"sparsity": sparsity}),), {"lr": 0.01, "updates": 25})
        return dataclasses.replace(outcome_of(proposal), score=score)

    large, small, worse, worst = short(0.1, 0.99), short(0.6, 0.8), short(0.7, 0.7), short(0.8, 0.6)
    longer = promoted(where, [large, small, worse, worst])
    assert longer == Proposal("cnn", (("prune", {"sparsity": 0.6}),), {"lr": 0.01, "updates": 50})
    assert promoted(where, [large]) is None
    done = dataclasses.replace(small, proposal=longer)
    assert promoted(where, [large, small, worse, worst, done]) == Proposal(
        "cnn", (("prune", {"sparsity": 0.7}),), {"lr": 0.01, "updates": 50}
    )


def test_a_back_end_without_a_length_of_training_is_not_halved() -> None:
    history = search(Optuna(), space(halving=True, updates=None), 10)
    assert all("updates" not in one.proposal.training for one in history)


def test_nsga_2_goes_on_from_generation_to_generation() -> None:
    where = space("nsga2")
    study = _told(where, search(Optuna(), where, 35))
    assert isinstance(study.sampler, NSGAIISampler)
    generations = Counter(study.sampler.get_trial_generation(study, trial) for trial in study.trials)
    assert generations[0] == generations[1] == generations[2] == 10


def test_a_proposal_that_came_to_the_file_of_another_is_no_failure() -> None:
    """A start without parameters and a drawn one with the defaults are the same point: told twice, with the same score."""
    start = Tried(Proposal("cnn", (("int8", {}),)), "ok", 0.8, {"bytes": -0.5}, 1.0)
    twin = Tried(Proposal("cnn", (("int8", {"calibration": "minmax"}),), {"lr": 1e-2}), "no_op", 0.8, {"bytes": -0.5}, 1.0)
    trials = _told(space(), [start, twin]).trials
    assert [trial.value for trial in trials] == [0.8]


def test_a_start_outside_the_space_teaches_nothing_and_ends_nothing() -> None:
    foreign = Proposal("resnet-8", (("int8", {}),))  # a network of the suite that the search has not
    ordered = Proposal("cnn", (("int8", {}), ("round", {})))
    where = dataclasses.replace(space(), starts=(foreign, ordered, Proposal("cnn")))
    history = search(Optuna(), where, 8)
    assert len(history) == 8
    assert {one.proposal.architecture for one in history[3:]} <= {"cnn", "mlp"}
    assert len(_told(where, history[:3]).trials) == 1


def test_a_sampler_draws_something_else_after_something_else_was_tried() -> None:
    """Its random numbers are those of how much was tried, not the same again and again."""
    drawn = [search(Optuna(), space(), n)[-1].proposal.architecture for n in range(3, 13)]
    assert set(drawn) == {"cnn", "mlp"}
    counts = Counter(len(one.proposal.passes) for seed in range(10) for one in search(Optuna(), space(seed=seed), 10)[2:])
    assert counts[0] > counts[2]  # half of all recipes end at once, as those that are drawn by chance
