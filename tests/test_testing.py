"""The conformance kit: every built-in keeps every rule, and each rule is broken by a plugin that was made to break it."""

from __future__ import annotations

import functools
import re
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from benchmark import BackendSpec, CompressorSpec, Param, UserError
from benchmark.budget import BuildLimits
from benchmark.plan import plan
from benchmark.registry import OWN, discover
from benchmark.testing import check_backend, check_compressor, check_runtime, crowded, findings, variants

REGISTRY = discover()
ARTIFACTS_OF = "torch"
"""The back end whose artifacts those passes are tried on that take any back end's."""
DRAWS_NOTHING = ("compressor/sklearn/distil",)  # a tree, whose seed decides between equal splits: of probabilities none are
ARCHITECTURES = {"sklearn": "forest"}  # its first one, a logistic regression, draws nothing
ZOO = Path(__file__).parent / "plugins_under_test" / "unruly" / "pocketbench_unruly.py"
HOSTILE = Path(__file__).parent / "plugins_under_test" / "hostile" / "pocketbench_hostile.py"


def built_ins() -> dict[str, dict[str, str]]:
    """Back end -> path of each plugin that is checked with it -> the pass's name, empty for the back end itself."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for one in REGISTRY.providers():
        if one.distribution == OWN and isinstance(one.spec, BackendSpec):
            found[one.spec.name][one.path] = ""
        elif one.distribution == OWN and isinstance(one.spec, CompressorSpec):
            found[one.spec.backend or ARTIFACTS_OF][one.path] = one.spec.name
    return found


@functools.cache
def of_built_ins(backend: str) -> dict[str, list[str]]:
    names = [name for name in built_ins()[backend].values() if name]
    return findings(backend, names, architecture=ARCHITECTURES.get(backend, ""))


@pytest.mark.parametrize(
    ("backend", "path"),
    [
        pytest.param(backend, path, marks=pytest.mark.xdist_group(f"testing-{backend}"), id=path)
        for backend, paths in built_ins().items()
        for path in paths
    ],
)
def test_every_built_in_keeps_every_rule(backend: str, path: str) -> None:
    seedless = [f"{path}: seed: seeds 0 and 1 made the same artifact"] if path in DRAWS_NOTHING else []
    assert of_built_ins(backend)[path] == seedless


NO_RESULT = "its process ended with exit code 3 and left no result"
BROKEN = {
    "honest": "",
    "ignores-its-seed": "seed: seeds 0 and 1 made the same artifact",
    "never-the-same": "same bytes: two processes made two artifacts with one seed",
    "fails-with-other-seeds": "runs: pass with seed 1: failed: ValueError: it only knows seed 0",
    "edits-what-it-reads": "inputs: it changed its data and input and reference",
    "needs-its-place": "reload: the checkpoint cannot be exported in another process: FileNotFoundError",
    "other-elsewhere": "reload: the checkpoint became another artifact in another process",
    "two-threads": "threads: ",  # how many: see below
    "refuses-no-share": "parameters: share=0.0: failed: ValueError: some share is needed",
    "refuses-both": "parameters: way='far', loud=True: failed: ValueError: either of them",
    "says-nothing": "layers: it reported no matched and changed layers",
    "boasts": "layers: it matched 1 and changed 2",
    "raises": "runs: pass with seed 0: failed: ValueError: always",
    "ends": f"runs: pass with seed 0: no_result: {NO_RESULT}",
    "links": "runs: pass with seed 0: invalid: ",
    "never-applies": "runs: pass with seed 0: skipped: not to this",
    "nan": "runs: outputs are NaN or infinite in 128 of 128 rows",
    "leaves-training-on": "rows: a second pass over the same rows gave other outputs",
    "sees-its-batch": "rows: labels of ",
    "points": "reload: the artifact gave other outputs in another process",
}


@functools.cache
def of_the_zoo() -> dict[str, list[str]]:
    return findings("plain", BROKEN, files=[ZOO])


@pytest.mark.xdist_group("testing-zoo")
@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_a_rule_is_caught_and_named(name: str) -> None:
    (path,) = {f"compressor/plain/{name}", f"compressor/{name}"} & of_the_zoo().keys()
    lines = of_the_zoo()[path]
    assert len(lines) == bool(BROKEN[name]), lines
    assert all(line.startswith(f"{path}: {BROKEN[name]}") and "\n" not in line for line in lines), lines


@pytest.mark.xdist_group("testing-zoo")
def test_busy_threads_are_counted() -> None:
    (line,) = of_the_zoo()["compressor/plain/two-threads"]
    ((busy, looks, of),) = re.findall(r"threads: (\d+) were busy in (\d+) of (\d+) looks, 1 may be$", line)
    assert int(busy) == 2
    assert int(of) / 3 < int(looks) <= int(of)


def test_a_pool_that_is_started_once_is_not_work() -> None:
    """A burst in one look of twelve was once taken for 2.2 threads in the mean."""
    assert crowded([0] + [1] * 10 + [16]) == ""
    assert crowded([1, 2, 2, 1, 4, 2]) == "2 were busy in 4 of 6 looks, 1 may be"


@pytest.mark.xdist_group("testing-zoo")
def test_an_honest_back_end_beside_them_is_not_blamed() -> None:
    assert of_the_zoo()["backend/plain"] == []
    assert len(of_the_zoo()) == len(BROKEN) + 1


def test_a_back_end_is_refused_with_a_line_for_each_rule() -> None:
    with pytest.raises(AssertionError) as caught:
        check_backend("stubborn", files=[ZOO])
    assert str(caught.value).splitlines() == [
        "backend/stubborn: seed: seeds 0 and 1 made the same artifact",
        "backend/stubborn: inputs: it changed its input",
        "backend/stubborn: parameters: lr=0.0: failed: ValueError: it learns nothing",
    ]


def test_a_pass_cannot_be_tried_where_its_back_end_fails() -> None:
    with pytest.raises(AssertionError, match=r"^backend/hopeless: runs: train with seed 0: failed: ValueError: it cannot learn$"):
        check_compressor("honest", backend="hopeless", files=[ZOO])


def test_a_pass_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.testing._BUILD", BuildLimits(seconds=10))
    with pytest.raises(AssertionError, match=r"^compressor/plain/hangs: runs: .*: it took more seconds than a step has$"):
        check_compressor("hangs", backend="plain", files=[ZOO])


def test_a_plan_that_takes_any_parameter_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one call alone; what it draws does not matter to a pass of which that is said."""
    monkeypatch.setattr("benchmark.testing.plan", lambda suite, *others: plan(suite, *others) if others[1] else None)
    with pytest.raises(AssertionError) as caught:
        check_compressor("ignores-its-seed", backend="plain", draws=False, files=[ZOO])
    path = "compressor/plain/ignores-its-seed"
    assert str(caught.value) == f"{path}: unknown parameter: a plan with no_such_parameter is no error that names it"


@pytest.mark.parametrize(
    ("backend", "name", "reason"),
    [
        ("nowhere", "honest", "unknown backend 'nowhere'"),
        ("plain", "onest", "unknown pass 'onest'; did you mean 'honest'?"),
        ("stubborn", "honest", "no such pass for stubborn: honest"),
    ],
)
def test_names_of_nothing(backend: str, name: str, reason: str) -> None:
    with pytest.raises(UserError, match=f"^{reason.replace('?', '.')}"):
        check_compressor(name, backend=backend, files=[ZOO])


def test_every_choice_and_end_is_in_one_set_of_values() -> None:
    params = (
        Param("share", 0.5, low=0, high=1),
        Param("rows", 8, low=1.5),
        Param("way", "a", choices=("a", "b", "c")),
        Param("loud", False),
        Param("name", "free"),
        Param("bits", 8, low=8, high=16),
    )
    assert variants(params) == [
        (("way", "b"), ("loud", True)),
        (("way", "c"),),
        (("share", 0.0), ("rows", 2)),
        (("share", 1.0), ("bits", 16)),
    ]
    assert all(isinstance(value, float) for one in variants(params) for name, value in one if name == "share")


RUNTIMES = {
    "onnxruntime": "sklearn",
    "packed": "sklearn",
    "mcu": "sklearn",
    "litert": "jax",
    "jax": "jax",
    "executorch": "torch",
    "torch-eager": "torch",
    "torch-export": "torch",
}
"""Runtimes and the back end whose reference each is tried on."""


def test_every_runtime_of_ours_is_tried() -> None:
    ours = {one.spec.name for one in REGISTRY.providers() if one.distribution == OWN and one.kind == "runtime"}
    assert ours == set(RUNTIMES)


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_keeps_the_rules(name: str) -> None:
    if name == "mcu" and not (shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc")):
        pytest.skip("no cross compiler or emulator here: apt-get install what benchmark_mcu names")
    check_runtime(name, backend=RUNTIMES[name])


def test_a_runtime_that_ruins_what_it_loads_is_caught() -> None:
    with pytest.raises(AssertionError, match=r"^runtime/ruins: inputs: it changed its artifact$"):
        check_runtime("ruins", backend="sklearn", files=[HOSTILE])
    with pytest.raises(UserError, match=r"^runtime/executorch: no format that sklearn exports"):
        check_runtime("executorch", backend="sklearn")
