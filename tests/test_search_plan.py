"""The plan of searches as a pure function: what a proposal is tried on, and with which steps."""

from __future__ import annotations

import dataclasses

import pytest

from benchmark import Proposal
from benchmark.data import Prepared
from benchmark.plan import Machine
from benchmark.registry import Registry, discover
from benchmark.search_plan import SMALL, Search, Searches, plan
from benchmark.specs import TaskSpec
from benchmark.suite import PassCall, Recipe, SearchOptions, Suite

MACHINE = Machine("here", "m", "b", "1")
STARTS = (Recipe(), Recipe((PassCall("transfer", (("source", "mnist-10k"),)),)))
TRANSFERRED = Proposal("cnn", (("transfer", {"source": "mnist-10k"}),))


def searches(registry: Registry, rows: int = 300, folds: int = 3) -> tuple[Searches, Search]:
    """One search on a task of so many training rows, which begins with a transfer from a larger task."""
    suite = Suite(
        name="small",
        tasks=("nodule-shape", "mnist-10k"),
        backends=("torch",),
        recipes=STARTS,
        architectures={"torch": ("cnn",)},
        search=SearchOptions((PassCall("random"),), (60.0,), STARTS, folds=folds),
    )
    known = {
        ("nodule-shape", 0): Prepared("n", (1, 28, 28), ("a", "b"), rows),
        ("mnist-10k", 0): Prepared("m", (1, 28, 28), tuple("0123456789"), 8000),
    }
    whole = plan(suite, registry, known, MACHINE)
    return whole, next(one for one in whole.known.values() if one.task == "nodule-shape")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return discover()


@pytest.mark.parametrize(("rows", "folds", "expected"), [(SMALL - 1, 3, 3), (SMALL, 3, 1), (1, 1, 1)])
def test_only_small_tasks_are_cross_validated(registry: Registry, rows: int, folds: int, expected: int) -> None:
    whole, search = searches(registry, rows, folds)
    assert search.folds == expected
    assert [step.kind for step in whole.data(search)] == ["prepare"] + ["split"] * (expected - 1)


def test_a_network_is_transferred_from_the_whole_source_on_every_fold(registry: Registry) -> None:
    whole, search = searches(registry)
    assert TRANSFERRED in search.space.starts
    sources = set()
    for part in range(3):
        steps = {step.id: step for step in whole.proposed(search, TRANSFERRED, part).all}
        (transfer,) = (step for step in steps.values() if step.label.endswith(": transfer"))
        (source,) = (one for one in transfer.inputs.values() if one in steps and steps[one].kind == "train")
        sources.add(source)
        assert steps[source].inputs["data"] == whole.grid.preparation["mnist-10k", 0].id
        assert transfer.inputs["data"] == whole.data(search)[part].id
    assert len(sources) == 1


@pytest.mark.parametrize("change", [{"metrics": ("accuracy",)}, {"class_weight": "balanced"}])
def test_what_a_task_tells_is_in_the_ids_of_its_splits(registry: Registry, change: dict[str, object]) -> None:
    """A split holds what its trainings are told of the task: another metric must make another one."""
    provider = registry.tasks["nodule-shape"]
    assert isinstance(provider.spec, TaskSpec)
    spec = dataclasses.replace(provider.spec, **change)  # type: ignore[arg-type]  # any field may be given
    changed = dataclasses.replace(registry, tasks={**registry.tasks, "nodule-shape": dataclasses.replace(provider, spec=spec)})
    ids = [{step.id for step in whole.data(search)[1:]} for whole, search in map(searches, (registry, changed))]
    assert not ids[0] & ids[1]
    again, search = searches(registry)
    assert {step.id for step in again.data(search)[1:]} == ids[0]
