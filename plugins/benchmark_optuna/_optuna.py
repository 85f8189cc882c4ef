"""Optuna as a searcher. A study is made anew for each proposal and is told all that was tried, so it needs no file of its own."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import cast

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import BaseTrial, FixedTrial, create_trial

from benchmark import Param, Proposal, Space, Tried

_RUNGS = (4, 2, 1)
"""Of these parts of a training the first is what a new proposal gets, and the next what one gets that did well."""
_ETA = 2  # of this many at a rung one goes on
_ATTEMPTS = 20  # to draw what was not tried
_SUGGESTIONS = 5  # before them by the sampler, which repeats itself, and whose suggestions cost more the more it has seen
_ENOUGH = 10  # trials for TPE to learn from
_POPULATION = 10  # of NSGA-II: a search of minutes has some tens of proposals
_GENERATION = (
    f"{NSGAIISampler.__name__}:generation"  # where it keeps that of a trial: of one that is over it cannot be told later
)
_FAR = 1.0  # beyond every limit: twice of what is allowed
_START = "training."


class Optuna:
    """Code of the searcher ``optuna``. ``sampler``: ``tpe`` (Bergstra et al., NeurIPS 2011; for its constraints Watanabe and
    Hutter, arXiv 2211.14411) maximises the validation score, ``nsga2`` (Deb et al., doi 10.1109/4235.996017) also makes small
    what the device limits. ``halving``: trainings begin short, and the better half of those that kept the limits is run
    again with twice the updates (asynchronous successive halving, Li et al., arXiv 1810.05934)."""

    def propose(self, space: Space, history: Sequence[Tried], seconds_left: float) -> Proposal | None:
        """The next of ``space.starts``; then a longer training of what did well, or what the sampler draws."""
        if len(history) < len(space.starts):
            return space.starts[len(history)]
        halving = bool(space.params["halving"]) and space.updates is not None
        if halving and (longer := promoted(space, history)):
            return longer
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = _told(space, history)
        known = {_key(one.proposal, space) for one in history}

        def is_new(one: Proposal) -> bool:
            return _key(one, space) not in known and not any(tried.rules_out(one) for tried in history)

        by_chance = Random(f"{space.seed} {len(history)}")  # a sampler that is sure of itself draws the same again and again
        suggested = (_suggested(study.ask(), space) for _ in range(_SUGGESTIONS))
        drawn = (space.draw(by_chance) for _ in range(_ATTEMPTS))
        proposal = next(filter(is_new, itertools.chain(suggested, drawn)), None) or space.draw(by_chance)
        if not halving:
            return proposal
        assert space.updates is not None
        return _of_length(proposal, max(1, space.updates // _RUNGS[0]), space)


def promoted(space: Space, history: Sequence[Tried]) -> Proposal | None:
    """What is to be trained longer: of the highest rung that has such a one the best of its better half that did not go on."""
    assert space.updates is not None
    lengths = [max(1, space.updates // part) for part in _RUNGS]
    for length, longer in reversed(list(itertools.pairwise(lengths))):
        here = [one for one in history if _length(one.proposal, space) == length and one.score is not None]
        here.sort(key=lambda one: (not one.fits, -(one.score or 0.0)))
        gone = {_key(one.proposal, space) for one in history if _length(one.proposal, space) > length}
        for one in here[: len(here) // _ETA]:
            if one.fits and _key(one.proposal, space) not in gone:
                return _of_length(one.proposal, longer, space)
    return None


def _length(proposal: Proposal, space: Space) -> int:
    assert space.updates is not None
    return int(proposal.training.get("updates", space.updates))


def _of_length(proposal: Proposal, updates: int, space: Space) -> Proposal:
    training = {name: value for name, value in proposal.training.items() if name != "updates"}
    return dataclasses.replace(proposal, training=training if updates == space.updates else {**training, "updates": updates})


def _key(proposal: Proposal, space: Space) -> str:
    """What tells proposals apart but for the length of their training: with defaults filled in."""
    passes = tuple(
        (name, {**{one.name: one.default for one in space.ranges.get(name, ())}, **given}) for name, given in proposal.passes
    )
    training = {**{one.name: one.default for one in space.training}, **proposal.training}
    training.pop("updates", None)
    return Proposal(proposal.architecture, passes, training).key


def _told(space: Space, history: Sequence[Tried]) -> optuna.Study:
    """A study that knows what was tried: of each model what its longest training came to."""
    many = space.params["sampler"] == "nsga2"
    directions = [StudyDirection.MAXIMIZE, *[StudyDirection.MINIMIZE] * len(space.limits)]
    # As a searcher is made anew for each proposal, so is its generator of random numbers.
    sampler = _sampler(many, Random(f"{space.seed} {len(history)}").getrandbits(32))
    study = optuna.create_study(directions=directions if many else directions[:1], sampler=sampler)
    for one in _comparable(history, space):
        values = _values(one.proposal, space)
        if values is None:
            continue
        fixed = FixedTrial(dict(values))
        _suggested(fixed, space)
        excess = {name: one.excess.get(name, _FAR) for name in space.limits}
        # What came to nothing is told as the worst score that there is: a failed trial would teach the sampler nothing.
        score = 0.0 if one.score is None else one.score
        study.add_trial(
            create_trial(
                values=[score, *excess.values()] if many else [score],
                params=fixed.params,
                distributions=fixed.distributions,
                constraints=excess,
                system_attrs={_GENERATION: len(study.get_trials(deepcopy=False)) // _POPULATION},
            )
        )
    return study


def _comparable(history: Sequence[Tried], space: Space) -> list[Tried]:
    """The longest training of each model; where there are enough of one length, those of the longest such one alone, with what
    came to nothing: a score after a quarter of the updates says little of one after all."""
    longest = list({_key(one.proposal, space): one for one in history}.values())
    if space.updates is None:
        return longest
    for length in sorted({_length(one.proposal, space) for one in longest if one.score is not None}, reverse=True):
        same = [one for one in longest if one.score is None or _length(one.proposal, space) == length]
        if sum(one.score is not None for one in same) >= _ENOUGH:
            return same
    return longest


def _sampler(many: bool, seed: int) -> BaseSampler:
    if many:
        return NSGAIISampler(seed=seed, population_size=_POPULATION)
    return TPESampler(seed=seed, n_startup_trials=_ENOUGH)


def _suggested(trial: BaseTrial, space: Space) -> Proposal:
    """What a trial draws: the passes one after the other, each from those that can follow."""
    architecture = trial.suggest_categorical("architecture", space.architectures)
    training = {one.name: _drawn(trial, f"{_START}{one.name}", one) for one in space.training}
    names: tuple[str, ...] = ()
    while behind := [name for name in space.following(names) if name]:
        # As in Space.draw: first whether the recipe ends here, then what follows.
        if names in space.orders and trial.suggest_categorical(_ending(names), (True, False)):
            break
        names += (trial.suggest_categorical(_after(names), behind),)
    passes = tuple((name, {one.name: _drawn(trial, f"{name}.{one.name}", one) for one in space.ranges[name]}) for name in names)
    return Proposal(architecture, passes, training)


def _after(names: tuple[str, ...]) -> str:
    return f"after {' + '.join(names)}"


def _ending(names: tuple[str, ...]) -> str:
    return f"ends with {' + '.join(names)}"


def _drawn(trial: BaseTrial, name: str, param: Param) -> bool | int | float | str:
    if param.options:
        return cast(bool | int | float | str, trial.suggest_categorical(name, param.options))
    assert param.low is not None
    assert param.high is not None
    log = param.scale == "log"
    if isinstance(param.default, int):
        return trial.suggest_int(name, math.ceil(param.low), math.floor(param.high), log=log)
    return trial.suggest_float(name, param.low, param.high, log=log)


def _values(proposal: Proposal, space: Space) -> Mapping[str, bool | int | float | str] | None:
    """What :func:`_suggested` would have had to draw for a proposal; None for one that it cannot draw, as a recipe of the suite
    may be."""
    names = tuple(name for name, _ in proposal.passes)
    if names not in space.orders or proposal.architecture not in space.architectures:
        return None
    values: dict[str, bool | int | float | str] = {"architecture": proposal.architecture}
    values |= {f"{_START}{one.name}": proposal.training.get(one.name, one.default) for one in space.training}
    for place in range(len(names) + 1):
        before, name = names[:place], names[place] if place < len(names) else ""
        values[_ending(before)] = not name
        if name:
            values[_after(before)] = name
    for name, given in proposal.passes:
        values |= {f"{name}.{one.name}": given.get(one.name, one.default) for one in space.ranges[name]}
    return values
