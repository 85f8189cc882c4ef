"""The plan as a pure function: ids, sharing, skips, order, and the verdict on a cell."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from benchmark.budget import BuildLimits, DeviceTier
from benchmark.data import Prepared
from benchmark.errors import UserError
from benchmark.plan import Cell, Machine, Plan, blocked, judge, plan
from benchmark.registry import Registry, discover
from benchmark.specs import BackendSpec, CompressorSpec, DataFile, Needs, Published, RuntimeSpec
from benchmark.store import Outcome, StepResult
from benchmark.suite import MeasureOptions, Recipe, Suite, parse_pass

PREPARED = {("german-credit", 0): Prepared("f" * 64, (60,), ("good", "bad"), 640)}
MACHINE = Machine(host_class="here", measure_digest="m", build_digest="b", onnx="1")
CHAIN = ("keep-largest(share=0.3)", "int8-static")


@pytest.fixture
def registry(site: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.syspath_prepend(site("linear"))
    yield discover()
    sys.modules.pop("pocketbench_linear", None)


def suite(*recipes: tuple[str, ...], **changes: object) -> Suite:
    whole = Suite(
        name="small",
        tasks=("german-credit",),
        backends=("linear",),
        recipes=(Recipe(), *(Recipe(tuple(map(parse_pass, recipe))) for recipe in recipes)),
    )
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]  # any field may be given


def only(whole: Plan, recipe: str) -> Cell:
    (cell,) = (cell for cell in whole.cells if cell.recipe == recipe)
    return cell


def kinds(whole: Plan, ids: set[str]) -> list[str]:
    return sorted(whole.steps[id_].kind for id_ in ids)


def test_all_folds_of_a_task_and_those_that_are_not_prepared_stay_apart(registry: Registry) -> None:
    whole = plan(suite(folds=None), registry, PREPARED, MACHINE)
    assert [cell.fold for cell in whole.cells] == list(range(25))
    trained = [dict(cell.chain)["train"] for cell in whole.cells]
    assert len(set(trained)) == 25  # none is prepared but the first, and yet each has steps of its own
    assert trained[0] == dict(plan(suite(), registry, PREPARED, MACHINE).cells[0].chain)["train"]


def test_what_a_task_is_made_of_is_part_of_its_preparation(registry: Registry) -> None:
    def prepare(**changes: Any) -> str:
        provider = registry.tasks["german-credit"]
        changed = dataclasses.replace(provider, spec=dataclasses.replace(provider.spec, **changes))
        tasks = {**registry.tasks, "german-credit": changed}
        whole = plan(suite(), dataclasses.replace(registry, tasks=tasks), PREPARED, MACHINE)
        return whole.cells[0].prepare

    file = DataFile(name="x.csv", checksum="md5:" + "0" * 32, url="http://127.0.0.1/x.csv")
    other = dataclasses.replace(file, checksum="md5:" + "1" * 32)
    published = (Published(method="someone's", scores={"accuracy": 0.5}, source="somewhere"),)
    ids = [
        prepare(),
        prepare(options={"a": 1}),
        prepare(options={"a": 2}),
        prepare(sources=((file,),)),
        prepare(sources=((other,),)),
    ]
    assert len(set(ids)) == 5
    elsewhere = dataclasses.replace(file, url="http://127.0.0.2/x.csv")
    assert prepare(sources=((elsewhere,),)) == ids[3]  # the same bytes
    assert prepare(published=published) == ids[0]
    assert prepare(metrics=("accuracy",)) not in ids  # by which a training would stop


def test_steps_stand_after_their_inputs_and_prefixes_are_shared(registry: Registry) -> None:
    whole = plan(suite(CHAIN[:1], CHAIN[1:], CHAIN), registry, PREPARED, MACHINE)
    seen: set[str] = set()
    for id_, step in whole.steps.items():
        assert set(step.inputs.values()) <= seen
        assert not step.rides or step.rides in seen
        seen.add(id_)
    assert kinds(whole, seen).count("train") == 1
    assert kinds(whole, seen).count("pass") == 3  # the pruning is shared; int8 of the reference and of the pruned one
    assert kinds(whole, seen).count("export") == 2
    chain = [name for name, _ in only(whole, " + ".join(CHAIN)).chain]
    assert chain == ["train", "keep-largest", "export", "int8-static"]


def test_ids_do_not_depend_on_what_else_is_in_the_suite(registry: Registry) -> None:
    alone = plan(suite(CHAIN[:1]), registry, PREPARED, MACHINE)
    more = plan(suite(CHAIN[1:], CHAIN[:1], CHAIN), registry, PREPARED, MACHINE)
    assert set(alone.steps) <= set(more.steps)
    assert only(alone, CHAIN[0]) == only(more, CHAIN[0])


@pytest.mark.parametrize(
    ("change", "rerun"),
    [
        ({"tiers": (DeviceTier("S", bytes=1),)}, set()),
        ({"name": "other"}, set()),
        ({"measure": MeasureOptions(processes=3, rounds=4)}, {"latency"}),
        ({"build": BuildLimits(seconds=30.0)}, {"train", "export", "pass", "inspect", "evaluate", "latency", "memory"}),
        ({"training": {"linear": {"l2": 2.0}}}, {"train", "export", "pass", "inspect", "evaluate", "latency", "memory"}),
        ({"training": {"linear": {"l2": 1.0}}}, set()),  # its default, said aloud
        ({"seeds": (1,)}, {"train", "export", "pass", "inspect", "evaluate", "latency", "memory"}),
    ],
)
def test_a_change_touches_exactly_what_depends_on_it(change: dict[str, object], rerun: set[str], registry: Registry) -> None:
    before = plan(suite(CHAIN), registry, PREPARED, MACHINE)
    after = plan(suite(CHAIN, **change), registry, PREPARED, MACHINE)
    assert {after.steps[id_].kind for id_ in after.steps.keys() - before.steps.keys()} == rerun


def test_code_that_builds_enters_what_is_built_and_so_all_that_follows(registry: Registry) -> None:
    before = set(plan(suite(CHAIN), registry, PREPARED, MACHINE).steps)
    after = plan(suite(CHAIN), registry, PREPARED, Machine("here", "m", "changed", "1"))
    assert {after.steps[id_].kind for id_ in before & after.steps.keys()} == {"prepare", "identity", "memory"}


def test_code_that_measures_and_the_machine_enter_measurements_only(registry: Registry) -> None:
    before = set(plan(suite(CHAIN), registry, PREPARED, MACHINE).steps)
    for machine, kinds_of in (
        (Machine("elsewhere", "m", "b", "1"), {"evaluate", "latency", "memory"}),
        (Machine("here", "changed", "b", "1"), {"inspect", "evaluate", "latency", "memory"}),
    ):
        after = plan(suite(CHAIN), registry, PREPARED, machine)
        assert {after.steps[id_].kind for id_ in after.steps.keys() - before} == kinds_of


@pytest.mark.parametrize("change", [{"class_weight": (1.0, 5.0)}, {"metrics": ("accuracy", "roc_auc")}])
def test_what_a_training_is_told_of_its_task_enters_its_id(change: dict[str, Any], registry: Registry) -> None:
    """Two tasks of equal arrays share a training only if all else that it can see is equal."""
    task = registry.tasks["german-credit"]
    other = dataclasses.replace(task, spec=dataclasses.replace(task.spec, **change))
    changed = dataclasses.replace(registry, tasks={**registry.tasks, "german-credit": other})
    before, after = plan(suite(CHAIN), registry, PREPARED, MACHINE), plan(suite(CHAIN), changed, PREPARED, MACHINE)
    assert not {"train", "pass", "export"} & {after.steps[id_].kind for id_ in after.steps.keys() & before.steps.keys()}


def test_the_names_of_the_classes_enter_too(registry: Registry) -> None:
    other = {key: dataclasses.replace(value, classes=("bad", "good")) for key, value in PREPARED.items()}
    before, after = plan(suite(), registry, PREPARED, MACHINE), plan(suite(), registry, other, MACHINE)
    assert kinds(after, after.steps.keys() & before.steps.keys()) == ["identity", "memory", "prepare"]


def test_a_runtime_that_cannot_load_the_reference_has_no_anchor(registry: Registry) -> None:
    pack, runtime = registry.compressors[None, "int8-static"], registry.runtimes["onnxruntime"]
    packs = dataclasses.replace(pack, spec=dataclasses.replace(cast(CompressorSpec, pack.spec), produces="packed"))
    packed = dataclasses.replace(runtime, spec=dataclasses.replace(cast(RuntimeSpec, runtime.spec), formats=("packed",)))
    changed = dataclasses.replace(
        registry,
        compressors={**registry.compressors, (None, "int8-static"): packs},
        runtimes={**registry.runtimes, "onnxruntime": packed},
    )
    whole = plan(suite(CHAIN[1:]), changed, PREPARED, MACHINE)
    cell = only(whole, "int8-static")
    assert only(whole, "reference").skipped.startswith("no format that linear exports")
    assert cell.skipped == cell.reference_evaluate == ""
    assert cell.reference_inspect  # sizes can be compared
    assert {role for id_ in cell.latency for role in whole.steps[id_].inputs} == {"artifact", "floor", "data"}
    whole = plan(suite(CHAIN[1:]), registry, PREPARED, MACHINE)
    assert {role for id_ in only(whole, "int8-static").latency for role in whole.steps[id_].inputs} >= {"anchor"}


def test_the_anchor_is_what_the_runtime_itself_loads(registry: Registry) -> None:
    convert, runtime = registry.compressors[None, "int8-static"], registry.runtimes["onnxruntime"]
    linear = registry.backends["linear"]
    spec = dataclasses.replace(cast(CompressorSpec, convert.spec), name="to-tflite", produces="tflite", params=())
    tflite = dataclasses.replace(runtime, spec=dataclasses.replace(cast(RuntimeSpec, runtime.spec), formats=("tflite",)))
    exports = dataclasses.replace(cast(BackendSpec, linear.spec), exports=("onnx", "tflite"))
    changed = dataclasses.replace(
        registry,
        backends={**registry.backends, "linear": dataclasses.replace(linear, spec=exports)},
        compressors={**registry.compressors, (None, "to-tflite"): dataclasses.replace(convert, spec=spec)},
        runtimes={**registry.runtimes, "onnxruntime": tflite},
    )
    whole = plan(suite(("to-tflite",)), changed, PREPARED, MACHINE)
    reference, cell = only(whole, "reference"), only(whole, "to-tflite")
    exported = reference.chain[-1][1]
    assert cell.chain[1][1] != exported  # it starts from the other format
    assert cell.reference_evaluate == reference.evaluate
    assert cell.reference_inspect == reference.inspect
    assert {whole.steps[id_].inputs["anchor"] for id_ in cell.latency} == {exported}


def test_a_format_whose_exporter_is_missing_is_skipped_with_what_installs_it(registry: Registry) -> None:
    linear, runtime = registry.backends["linear"], registry.runtimes["onnxruntime"]

    def planned(module: str) -> Plan:
        needs = {"tflite": Needs(requires={module: "numpy"}, extra="lite")}
        spec = dataclasses.replace(cast(BackendSpec, linear.spec), exports=("onnx", "tflite"), needs=needs)
        tflite = dataclasses.replace(runtime, spec=dataclasses.replace(cast(RuntimeSpec, runtime.spec), formats=("tflite",)))
        changed = dataclasses.replace(
            registry,
            backends={**registry.backends, "linear": dataclasses.replace(linear, spec=spec)},
            runtimes={
                **registry.runtimes,
                "lite": dataclasses.replace(tflite, spec=dataclasses.replace(tflite.spec, name="lite")),
            },
        )
        return plan(suite(runtimes=("onnxruntime", "lite")), changed, PREPARED, MACHINE)

    onnx, lite = planned("no_such_exporter").cells
    assert (onnx.skipped, lite.skipped) == (
        "",
        f"backend/linear as tflite needs numpy: pip install '{linear.distribution}[lite]'",
    )
    whole = planned("numpy")
    onnx, lite = whole.cells
    assert not lite.skipped
    exports = {whole.steps[cell.chain[-1][1]].settings["format"]: whole.steps[cell.chain[-1][1]] for cell in (onnx, lite)}
    assert "numpy" in exports["tflite"].ingredients["requires"]


def test_what_a_pass_makes_is_exported_as_it_can_be(registry: Registry) -> None:
    linear, runtime, keep = (
        registry.backends["linear"],
        registry.runtimes["onnxruntime"],
        registry.compressors["linear", "keep-largest"],
    )
    spec = dataclasses.replace(cast(BackendSpec, linear.spec), exports=("onnx", "tflite"))
    lite = dataclasses.replace(cast(RuntimeSpec, runtime.spec), name="lite", formats=("tflite",))
    bound = dataclasses.replace(cast(CompressorSpec, keep.spec), exports=("tflite",))
    changed = dataclasses.replace(
        registry,
        backends={**registry.backends, "linear": dataclasses.replace(linear, spec=spec)},
        compressors={**registry.compressors, ("linear", "keep-largest"): dataclasses.replace(keep, spec=bound)},
        runtimes={**registry.runtimes, "lite": dataclasses.replace(runtime, spec=lite)},
    )
    whole = plan(suite(CHAIN[:1], runtimes=("onnxruntime", "lite")), changed, PREPARED, MACHINE)
    skipped = {(cell.runtime, cell.recipe.partition("(")[0]): cell.skipped for cell in whole.cells}
    assert skipped["onnxruntime", "keep-largest"] == "no format that linear exports, these passes map and onnxruntime loads"
    assert not any(skipped[name, "reference"] for name in ("onnxruntime", "lite"))
    assert not skipped["lite", "keep-largest"]


def test_nothing_is_timed_on_an_emulated_device(registry: Registry) -> None:
    runtime = registry.runtimes["onnxruntime"]
    spec = dataclasses.replace(cast(RuntimeSpec, runtime.spec), emulates="a microcontroller", rows=100)
    changed = dataclasses.replace(
        registry, runtimes={**registry.runtimes, "onnxruntime": dataclasses.replace(runtime, spec=spec)}
    )
    whole = plan(suite(), changed, PREPARED, MACHINE)
    assert {step.kind for step in whole.steps.values()} == {"prepare", "train", "export", "inspect", "evaluate"}
    cell = only(whole, "reference")
    assert (cell.latency, cell.memory, cell.floor_memory) == ((), "", "")
    assert whole.steps[cell.evaluate].settings["rows"] == 100
    assert judge(cell, ended(whole)) == ("ok", "")


def test_data_enters_all_but_preparing_and_the_identity_model(registry: Registry) -> None:
    before = set(plan(suite(), registry, PREPARED, MACHINE).steps)
    other = {key: dataclasses.replace(value, fingerprint="0" * 64) for key, value in PREPARED.items()}
    after = plan(suite(), registry, other, MACHINE)
    assert kinds(after, after.steps.keys() & before) == ["identity", "prepare"]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"tasks": ("german-kredit",)}, "unknown task 'german-kredit'; did you mean 'german-credit'?"),
        ({"backends": ("liner",)}, "unknown backend 'liner'; did you mean 'linear'?"),
        ({"folds": (25,)}, "task german-credit has no fold 25: it has 25, from 0 on"),
        ({"architectures": {"linear": ("rigde",)}}, "unknown architecture 'rigde' of linear; did you mean 'ridge'?"),
        ({"training": {"": {"update": 1}}}, "[train]: unknown parameter 'update'; did you mean 'updates'?"),
        ({"training": {"linear": {"l2": -1.0}}}, "[train] of linear: l2: -1.0 is below 0"),
        (
            {"recipes": (Recipe((parse_pass("keep-smallest"),)),)},
            "unknown pass 'keep-smallest'; did you mean 'keep-largest'? (not installed: --plugin FILE.py)",
        ),
        ({"recipes": (Recipe((parse_pass("keep-largest(share=2)"),)),)}, "pass keep-largest: share: 2 is above 1"),
        (
            {"recipes": (Recipe((parse_pass("int8-static"), parse_pass("keep-largest"))),)},
            "recipe int8-static + keep-largest: keep-largest works on a checkpoint, so it must come before passes on artifacts",
        ),
    ],
)
def test_mistakes_are_one_line(changes: dict[str, object], line: str, registry: Registry) -> None:
    with pytest.raises(UserError) as caught:
        plan(suite(**changes), registry, PREPARED, MACHINE)
    assert str(caught.value) == line


def test_combinations_that_do_not_exist_are_skipped_with_a_reason(registry: Registry) -> None:
    whole = plan(suite(("narrow",), tasks=("watch-imu", "german-credit")), registry, PREPARED, MACHINE)
    assert [(cell.task, cell.recipe, cell.skipped) for cell in whole.cells] == [
        ("watch-imu", "reference", "no architecture for sequence tasks in linear"),
        ("watch-imu", "narrow", "no such pass for linear: narrow"),
        ("german-credit", "reference", ""),
        ("german-credit", "narrow", "no such pass for linear: narrow"),
    ]
    assert whole.cells[1].steps() == ()


def test_a_missing_extra_is_a_skip_with_the_hint(registry: Registry) -> None:
    provider = dataclasses.replace(registry.backends["linear"], missing=("onnx",))
    lacking = dataclasses.replace(registry, backends={**registry.backends, "linear": provider})
    (cell,) = plan(suite(), lacking, PREPARED, MACHINE).cells
    assert cell.skipped == "backend/linear needs onnx: pip install onnx"


# The verdict


def ended(plan_: Plan, changes: dict[str, tuple[Outcome, str]] | None = None) -> dict[str, StepResult]:
    results = {}
    for id_, step in plan_.steps.items():
        facts = {"program": id_, "bytes": 100} if step.kind == "inspect" else {}
        outcome, reason = (changes or {}).get(id_, ("ok", ""))
        results[id_] = StepResult(id_, step.kind, step.label, outcome, reason, 1.0, "2026-01-01T00:00:00+00:00", facts)
    return results


def test_a_cell_takes_the_outcome_of_the_first_step_that_failed(registry: Registry) -> None:
    whole = plan(suite(CHAIN), registry, PREPARED, MACHINE)
    cell = only(whole, " + ".join(CHAIN))
    assert judge(cell, ended(whole)) == ("ok", "")
    later, earlier = cell.latency[0], cell.chain[1][1]
    verdict = judge(cell, ended(whole, {later: ("timeout", "slow"), earlier: ("crashed", "killed by SIGSEGV")}))
    assert verdict == ("crashed", "keep-largest: killed by SIGSEGV")
    assert judge(cell, ended(whole, {later: ("timeout", "slow")})) == ("timeout", "latency: slow")
    assert judge(cell, ended(whole, {cell.prepare: ("failed", "no data")})) == ("failed", "prepare: no data")
    results = ended(whole)
    del results[cell.evaluate]
    assert judge(cell, results) == (None, "")


def test_what_waits_for_a_step_that_did_not_end_well_is_blocked(registry: Registry) -> None:
    whole = plan(suite(CHAIN), registry, PREPARED, MACHINE)
    cell = only(whole, " + ".join(CHAIN))
    assert blocked(whole.steps, {}) == set()
    everything = ended(whole)
    assert blocked(whole.steps, everything) == set()
    first, *later = (id_ for _, id_ in cell.chain)
    before = {id_: everything[id_] for id_ in (cell.prepare, first)}
    failing = {**before, later[0]: dataclasses.replace(everything[later[0]], outcome="skipped")}
    found = blocked(whole.steps, failing)
    assert {*later[1:], cell.inspect, cell.evaluate, *cell.latency, cell.memory} <= found
    assert not found & {*failing, only(whole, "reference").evaluate}


def test_no_op_is_judged_for_each_pass(registry: Registry) -> None:
    whole = plan(suite(CHAIN), registry, PREPARED, MACHINE)
    cell = only(whole, " + ".join(CHAIN))
    pruning, quantizing = cell.compared
    for one in (pruning, quantizing):
        results = ended(whole)
        before = results[one.before]
        results[one.after] = dataclasses.replace(results[one.after], facts=before.facts)
        assert judge(cell, results) == ("no_op", f"{one.name}: the artifact has the same constants and operators as without it")
        # 1 % smaller is something, even if the program is the same
        results[one.after] = dataclasses.replace(results[one.after], facts={**before.facts, "bytes": 99})
        assert judge(cell, results) == ("ok", "")
    results = ended(whole)
    results[pruning.step] = dataclasses.replace(results[pruning.step], facts={"matched": 0, "changed": 0})
    assert judge(cell, results) == ("no_op", "keep-largest: it matched no layer")


def test_a_start_pass_needs_its_teacher_and_is_not_charged_with_its_export(registry: Registry) -> None:
    recipes = (Recipe(), Recipe((parse_pass("distil"),)))
    whole = plan(dataclasses.replace(suite(), backends=("sklearn",), recipes=recipes), registry, PREPARED, MACHINE)
    reference, taught = whole.cells
    (train, _) = reference.chain
    assert reference.teachers == ()
    assert taught.teachers == (("reference: train", train[1]),)
    assert [name for name, _ in taught.chain] == ["distil", "export"]
    distil = whole.steps[taught.chain[0][1]]
    assert distil.inputs == {"reference": train[1], "data": taught.prepare}
    failed = ended(whole, {train[1]: ("timeout", "slow")})
    for id_ in taught.steps():
        if id_ not in (train[1], taught.prepare):
            del failed[id_]  # what needs the teacher never ran
    assert judge(taught, failed) == ("timeout", "reference: train: slow")


def test_a_start_pass_that_may_stand_anywhere_is_a_model_pass_behind_another(registry: Registry) -> None:
    order = ("prune-structured", "distil", "int8-static")
    whole = plan(dataclasses.replace(suite(order), backends=("jax", "sklearn")), registry, PREPARED, MACHINE)
    (cell,) = (one for one in whole.cells if one.backend == "jax" and one.recipe == " + ".join(order))
    assert not cell.skipped
    chain = dict(cell.chain)
    assert list(chain) == ["train", *order[:2], "export", order[2]]
    distil = whole.steps[chain["distil"]]
    assert distil.inputs == {"input": chain["prune-structured"], "reference": chain["train"], "data": cell.prepare}
    assert distil.settings["stage"] == "model"
    assert [one.name for one in cell.compared] == list(order)  # as other model passes it can be a no_op
    # Another back end's pass of this name replaces training alone.
    provider = registry.compressors["jax", "prune-structured"]
    assert isinstance(provider.spec, CompressorSpec)
    other = dataclasses.replace(provider, spec=dataclasses.replace(provider.spec, backend="sklearn"))
    compressors = {**registry.compressors, ("sklearn", "prune-structured"): other}
    registry = dataclasses.replace(registry, compressors=compressors)
    whole = plan(dataclasses.replace(suite(order), backends=("jax", "sklearn")), registry, PREPARED, MACHINE)
    reasons = {one.skipped for one in whole.cells if one.backend == "sklearn" and one.recipe == " + ".join(order)}
    assert reasons == {"distil replaces training, so it must come first in sklearn"}


def test_an_artifact_pass_that_looks_at_the_reference_is_charged_with_its_training_and_export(registry: Registry) -> None:
    provider = registry.compressors[None, "int8-static"]
    assert isinstance(provider.spec, CompressorSpec)
    looks = dataclasses.replace(provider, spec=dataclasses.replace(provider.spec, uses_reference=True))
    registry = dataclasses.replace(registry, compressors={**registry.compressors, (None, "int8-static"): looks})
    whole = plan(suite(CHAIN), registry, PREPARED, MACHINE)
    cell, reference = only(whole, " + ".join(CHAIN)), only(whole, "reference")
    assert cell.teachers == (("reference: export", reference.chain[-1][1]),)  # the training is in the chain


def test_no_model_pass_stands_behind_one_that_must_be_the_last(registry: Registry) -> None:
    """Such recipes are rows with a reason, those before and behind them in the suite are planned, and so are artifact passes."""
    provider = registry.compressors["linear", "keep-largest"]
    assert isinstance(provider.spec, CompressorSpec)
    last = dataclasses.replace(provider, spec=dataclasses.replace(provider.spec, last=True))
    registry = dataclasses.replace(registry, compressors={**registry.compressors, ("linear", "keep-largest"): last})
    broken = [("keep-largest", "only-images"), ("keep-largest", "keep-largest", "int8-static")]
    whole = plan(suite(*broken, ("only-images", *CHAIN)), registry, PREPARED, MACHINE)
    assert [cell.skipped for cell in whole.cells] == [
        "",
        "keep-largest must be the last pass on checkpoints, so only-images cannot follow it",
        "keep-largest must be the last pass on checkpoints, so keep-largest cannot follow it",
        "",
    ]
    assert [bool(cell.chain) for cell in whole.cells] == [True, False, False, True]


def transferred(*sources: str, **changes: object) -> Suite:
    recipes = [(f'transfer(source="{source}")', "prune-structured") for source in sources]
    return suite(*recipes, **{"tasks": ("nodule-shape",), "backends": ("torch",), **changes})


def test_a_pass_is_given_the_reference_of_another_task(registry: Registry) -> None:
    """Of its fold 0, whichever folds the suite asks for, and whether the task is one of the suite or not."""
    known = {("nodule-shape", 3): PREPARED["german-credit", 0], ("mnist-10k", 0): PREPARED["german-credit", 0]}
    for tasks in (("nodule-shape",), ("nodule-shape", "mnist-10k")):
        whole = plan(transferred("mnist-10k", tasks=tasks, folds=(3,)), registry, known, MACHINE)
        cell = next(one for one in whole.cells if one.task == "nodule-shape" and one.recipe.startswith("transfer"))
        step = whole.steps[dict(cell.chain)["transfer"]]
        train = whole.steps[step.inputs["source"]]
        assert step.inputs == {"source": train.id, "data": cell.prepare}
        assert (train.kind, train.label) == ("train", "mnist-10k · fold 0 · torch cnn · seed 0 · reference: train")
        assert whole.steps[train.inputs["data"]].label == "mnist-10k · fold 0: prepare"
        # If they fail this row says so, and their time is part of its own.
        assert cell.teachers == (("mnist-10k: prepare", train.inputs["data"]), ("mnist-10k: train", train.id))
        assert [one.task for one in whole.cells] == [task for task in tasks for _ in range(2)]
        order = list(whole.steps)
        assert order.index(train.inputs["data"]) < order.index(train.id) < order.index(step.id)
    changed = {**known, ("mnist-10k", 0): dataclasses.replace(known["mnist-10k", 0], fingerprint="e" * 64)}
    other = plan(transferred("mnist-10k", folds=(3,)), registry, changed, MACHINE)
    assert dict(only(other, cell.recipe).chain)["transfer"] != step.id


def test_what_is_no_source_for_a_task_is_a_row_with_a_reason(registry: Registry) -> None:
    whole = plan(transferred("nodule-shape", "watch-imu", ""), registry, {}, MACHINE)
    assert [cell.skipped for cell in whole.cells] == [
        "",
        "nodule-shape is the task itself, and no source for it",
        "a network for sequence tasks (watch-imu) is no source for image tasks",
        "",
    ]
    assert not whole.cells[-1].teachers  # of published weights
    for task, source in (("mnist-10k", "mnist"), ("mnist", "mnist-10k")):
        skipped = plan(transferred(source, tasks=(task,)), registry, {}, MACHINE).cells[1].skipped
        assert skipped == f"{source} is no source for {task}: they share rows, and test rows would have been trained on"
    with pytest.raises(UserError, match="unknown task 'mnist-10'; did you mean 'mnist-10k'"):
        plan(transferred("mnist-10"), registry, {}, MACHINE)


def test_a_source_that_cannot_be_had_is_a_reason(registry: Registry) -> None:
    absent = dataclasses.replace(registry.tasks["mnist-10k"], missing=("numpy",))
    registry = dataclasses.replace(registry, tasks={**registry.tasks, "mnist-10k": absent})
    cell = plan(transferred("mnist-10k"), registry, {}, MACHINE).cells[1]
    assert cell.skipped == f"task/mnist-10k {absent.hint}"
