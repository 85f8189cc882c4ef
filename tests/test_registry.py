"""Discovery with tiny plugins, installed as pip would leave them: what is wrong with one is said, and no other is touched."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import benchmark
from benchmark import RuntimeSpec, UserError
from benchmark.registry import (
    Broken,
    Provider,
    Registry,
    _resolved,
    discover,
    files_digest,
    ingredients,
    nearest,
    package_digest,
    tool_version,
)
from benchmark.specs import TrackerSpec

OURS = f"pocketbench {benchmark.__version__}"
_numbers = itertools.count()

IMPORTS = "from benchmark import BackendSpec, CompressorSpec, Param, RuntimeSpec, TaskSpec, hookimpl\n"
GOOD = (
    IMPORTS
    + """
@hookimpl
def benchmark_compressors():
    return [CompressorSpec(name="NAME", target="MODULE:X", summary="S.", stage="model", backend="torch")]
"""
)

Install = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """``install("name", source)``: a distribution of that name, version 1.0, whose module has a fresh name. MODULE in the
    source and in the entry point stands for that name, NAME for the distribution's. Gives the module's name."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(name: str, source: str, *, point: str = "MODULE", metadata: bool = True) -> str:
        module = f"pocketbench_under_test_{next(_numbers)}"
        (tmp_path / f"{module}.py").write_text(source.replace("MODULE", module).replace("NAME", name), encoding="utf-8")
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        if metadata:
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[benchmark]\nplug = {point.replace('MODULE', module)}\n", encoding="utf-8")
        importlib.invalidate_caches()
        return module

    return add


def brought_by(registry: Registry, name: str) -> list[str]:
    return [provider.path for provider in registry.providers() if provider.distribution == name]


def broken_by(registry: Registry, name: str) -> list[Broken]:
    return [broken for broken in registry.broken if broken.distribution == name]


def provider_of(registry: Registry, name: str) -> Provider:
    (provider,) = [provider for provider in registry.providers() if provider.distribution == name]
    return provider


TRACKER = IMPORTS + "@hookimpl\ndef benchmark_cell_finished(cell, row):\n    'Looks.\\n\\n    More.'\n"
HOOK = IMPORTS + "@hookimpl\ndef benchmark_compressors(ARGUMENTS):\n"
SPEC = 'CompressorSpec(name="bad", target="MODULE:X", summary="S.", stage="model", backend="torch")'

WRONG = {
    "raises ImportError": (
        "raise ImportError(\"No module named 'left_pad'\")",
        "ImportError: No module named 'left_pad'",
    ),
    "imports what is not there": (
        "import left_pad_of_nobody",
        "ModuleNotFoundError: No module named 'left_pad_of_nobody'",
    ),
    "is no Python": ("def x(:\n", "SyntaxError: invalid syntax (MODULE.py, line 1)"),
    "exits": ("import sys\nsys.exit(3)", "SystemExit: 3"),
    "exits in silence": ("raise SystemExit", "SystemExit"),
    "raises over several lines": ("raise RuntimeError('a\\n  b')", "RuntimeError: a b"),
    "is empty": ("", "ValueError: it implements no hook: decorate them with benchmark.hookimpl"),
    "has no decorator": (
        GOOD.replace("@hookimpl", ""),
        "ValueError: it implements no hook: decorate them with benchmark.hookimpl",
    ),
    "has another project's decorator": (
        GOOD.replace("@hookimpl", "import pluggy\n@pluggy.HookimplMarker('pytest')"),
        "ValueError: it implements no hook: decorate them with benchmark.hookimpl",
    ),
    "misspells a hook": (
        GOOD.replace("benchmark_compressors", "benchmark_compresors"),
        "PluginValidationError: unknown hook 'benchmark_compresors' in plugin <module 'MODULE' from 'FOLDER/MODULE.py'>",
    ),
    "wants an argument": (
        HOOK.replace("ARGUMENTS", "config") + f"    return [{SPEC}]\n",
        "PluginValidationError: Plugin 'plug' for hook 'benchmark_compressors' hookimpl definition: "
        "benchmark_compressors(config) Argument(s) {'config'} are declared in the hookimpl but can not be found in the hookspec",
    ),
    "has an argument with a default": (
        HOOK.replace("ARGUMENTS", "seed=5") + f"    return [{SPEC}]\n",
        "ValueError: benchmark_compressors: unexpected argument 'seed'",
    ),
    "takes anything": (
        HOOK.replace("ARGUMENTS", "**options") + f"    return [{SPEC}]\n",
        "ValueError: benchmark_compressors: unexpected argument 'options'",
    ),
    "raises in its hook": (
        HOOK.replace("ARGUMENTS", "") + "    raise KeyError('torch')\n",
        "KeyError: 'torch'",
    ),
    "raises half way": (
        HOOK.replace("ARGUMENTS", "") + f"    yield {SPEC}\n    raise RuntimeError('half way')\n",
        "RuntimeError: half way",
    ),
    "exits in its hook": (HOOK.replace("ARGUMENTS", "") + "    raise SystemExit('bye')\n", "SystemExit: bye"),
    "gives nothing": (HOOK.replace("ARGUMENTS", "") + "    pass\n", "TypeError: 'NoneType' object is not iterable"),
    "gives something else": (
        HOOK.replace("ARGUMENTS", "") + "    return [{'name': 'bad'}]\n",
        "TypeError: benchmark_compressors gave a dict, not a CompressorSpec",
    ),
    "gives a class": (
        HOOK.replace("ARGUMENTS", "") + "    return [CompressorSpec]\n",
        "TypeError: benchmark_compressors gave a type, not a CompressorSpec",
    ),
    "gives another hook's spec": (
        HOOK.replace("ARGUMENTS", "").replace("compressors", "tasks") + f"    return [{SPEC}]\n",
        "TypeError: benchmark_tasks gave a CompressorSpec, not a TaskSpec",
    ),
    "gives a spec that cannot be": (
        HOOK.replace("ARGUMENTS", "") + f"    return [{SPEC.replace('bad', 'b d')}]\n",
        "ValueError: name 'b d': use letters, digits, '-', '_' and '.'",
    ),
    "has its code nowhere": (
        HOOK.replace("ARGUMENTS", "") + f"    return [{SPEC.replace('MODULE', 'package_of_nobody.code')}]\n",
        "ValueError: bad: target 'package_of_nobody.code:X': there is no package 'package_of_nobody'",
    ),
    "says what it needs, and not what for": (
        IMPORTS + "from benchmark import Needs\n@hookimpl\ndef benchmark_tracker_needs():\n    return Needs(requires={})\n",
        "ValueError: it implements benchmark_tracker_needs without benchmark_cell_finished",
    ),
    "needs something else": (
        TRACKER + "@hookimpl\ndef benchmark_tracker_needs():\n    return {'requires': {}}\n",
        "TypeError: benchmark_tracker_needs gave a dict, not a Needs",
    ),
    "observes by another argument": (
        TRACKER.replace("row", "rows"),
        "PluginValidationError: Plugin 'plug' for hook 'benchmark_cell_finished' hookimpl definition: "
        "benchmark_cell_finished(cell, rows) "
        "Argument(s) {'rows'} are declared in the hookimpl but can not be found in the hookspec",
    ),
    "observes with a default": (
        TRACKER.replace("row", "row=None"),
        "ValueError: benchmark_cell_finished: unexpected argument 'row'",
    ),
    "requires a submodule": (
        HOOK.replace("ARGUMENTS", "") + f"    return [{SPEC[:-1]}, requires={{'package_of_nobody.sub': 'nobody'}})]\n",
        "ValueError: bad: requires 'package_of_nobody.sub': write the import name of a top-level package",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_broken_plugin_is_reported_and_the_others_work(  # cases H-01, H-02, H-03
    install: Install, tmp_path: Path, fault: str
) -> None:
    source, reason = WRONG[fault]
    install("a-good", GOOD)
    module = install("bad", source)
    install("z-good", GOOD)
    registry = discover()
    (broken,) = broken_by(registry, "bad")
    reason = reason.replace("MODULE", module).replace("FOLDER", str(tmp_path))
    assert broken == Broken("plug", "bad", "1.0", reason)
    assert str(broken) == f"plugin plug of bad 1.0: {reason}"
    assert brought_by(registry, "bad") == []
    assert brought_by(registry, "a-good") == ["compressor/torch/a-good"]
    assert brought_by(registry, "z-good") == ["compressor/torch/z-good"]
    assert {"task/mnist-10k", "task/german-credit", "runtime/onnxruntime"} <= set(brought_by(registry, "pocketbench"))


def test_an_entry_point_to_what_a_module_lacks(install: Install) -> None:
    module = install("bad", GOOD, point="MODULE:plugin")
    (broken,) = broken_by(discover(), "bad")
    assert broken.reason == f"AttributeError: module '{module}' has no attribute 'plugin'"


def test_an_object_of_a_module_may_be_the_plugin(install: Install) -> None:
    hook = GOOD.partition("@hookimpl")[2].replace("()", "(self)").replace("\n", "\n    ")
    install("object", f"{IMPORTS}class Plugin:\n    @hookimpl{hook}\nplugin = Plugin()\n", point="MODULE:plugin")
    registry = discover()
    assert brought_by(registry, "object") == ["compressor/torch/object"]
    assert broken_by(registry, "object") == []


def test_a_half_removed_distribution_is_reported(install: Install) -> None:
    install("gone", "import what_was_removed", metadata=False)
    install("z-good", GOOD)
    registry = discover()
    assert broken_by(registry, "unknown") == [
        Broken("plug", "unknown", "unknown", "ModuleNotFoundError: No module named 'what_was_removed'")
    ]
    assert brought_by(registry, "z-good") == ["compressor/torch/z-good"]


@pytest.mark.parametrize("where", ["raise KeyboardInterrupt", HOOK.replace("ARGUMENTS", "") + "    raise KeyboardInterrupt\n"])
def test_ctrl_c_passes_through(install: Install, where: str) -> None:
    install("slow", where)
    with pytest.raises(KeyboardInterrupt):
        discover()


# Clashes

TWO = (
    IMPORTS
    + """
@hookimpl
def benchmark_compressors():
    for name in ("shared", "NAME"):
        yield CompressorSpec(name=name, target="MODULE:X", summary="S.", stage="model", backend="torch")
"""
)


def test_of_two_equal_identities_the_first_distributions_is_kept(install: Install) -> None:
    install("b-second", TWO)  # installed first: the order of the folder does not count
    install("a-first", TWO)
    registry = discover()
    assert brought_by(registry, "a-first") == ["compressor/torch/a-first", "compressor/torch/shared"]
    assert brought_by(registry, "b-second") == ["compressor/torch/b-second"]
    assert broken_by(registry, "b-second") == [
        Broken("plug", "b-second", "1.0", "compressor/torch/shared is already provided by a-first 1.0")
    ]


def test_nobody_replaces_ours(install: Install) -> None:
    source = """
@hookimpl
def benchmark_runtimes():
    return [RuntimeSpec(name=name, target="MODULE:X", summary="S.", formats=("onnx",)) for name in ("onnxruntime", "other")]
"""
    install("aaa", IMPORTS + source)
    registry = discover()
    assert registry.runtimes["onnxruntime"].distribution == "pocketbench"
    assert brought_by(registry, "aaa") == ["runtime/other"]
    assert broken_by(registry, "aaa") == [Broken("plug", "aaa", "1.0", f"runtime/onnxruntime is already provided by {OURS}")]


def test_equal_names_of_two_back_ends_or_stages_do_not_clash(install: Install) -> None:
    source = """
@hookimpl
def benchmark_compressors():
    for backend in ("torch", "jax"):
        yield CompressorSpec(name="same", target="MODULE:X", summary="S.", stage="model", backend=backend)
    yield CompressorSpec(name="same", target="MODULE:X", summary="S.", stage="artifact", accepts=("onnx",), produces="onnx")
"""
    install("same", IMPORTS + source)
    registry = discover()
    assert brought_by(registry, "same") == ["compressor/jax/same", "compressor/same", "compressor/torch/same"]
    for backend, path in (("torch", "compressor/torch/same"), ("jax", "compressor/jax/same"), ("sklearn", "compressor/same")):
        found = registry.compressor(backend, "same")
        assert found is not None
        assert found.path == path


def test_a_tracker_has_the_name_of_its_entry_point_and_two_of_one_name_clash(install: Install) -> None:
    needs = "@hookimpl\ndef benchmark_tracker_needs():\n    return Needs(requires={'left_of_nobody': 'left-pad'}, extra='pad')\n"
    module = install("a-first", f"from benchmark import Needs\n{TRACKER}{needs}")
    install("b-second", TRACKER + GOOD.removeprefix(IMPORTS))
    registry = discover()
    tracker = registry.get("tracker", "plug")
    assert (tracker.path, tracker.distribution, tracker.spec.summary) == ("tracker/plug", "a-first", "Looks.")
    assert (tracker.spec.target, tracker.hint) == (
        f"{module}:benchmark_cell_finished",
        "needs left-pad: pip install 'a-first[pad]'",
    )
    assert brought_by(registry, "b-second") == ["compressor/torch/b-second"]
    assert broken_by(registry, "b-second") == [
        Broken("plug", "b-second", "1.0", "tracker/plug is already provided by a-first 1.0")
    ]


def test_an_observer_may_leave_out_an_argument(install: Install) -> None:
    install("short", TRACKER.replace("cell, row", "row") + "    row['seen'] = True\n")
    spec = discover().trackers["plug"].spec
    assert isinstance(spec, TrackerSpec)
    row: dict[str, bool] = {}
    spec.observe(cell=None, row=row)
    assert row == {"seen": True}


# What is missing


@pytest.mark.parametrize(
    ("arguments", "missing", "hint"),
    [
        ('requires={"numpy": "numpy"}', (), ""),
        (
            'requires={"left_of_nobody": "left-pad", "numpy": "numpy"}',
            ("left_of_nobody",),
            "needs left-pad: pip install left-pad",
        ),
        (
            'requires={"right_of_nobody": "right-pad", "left_of_nobody": "left-pad", "up_of_nobody": "left-pad"}',
            ("right_of_nobody", "left_of_nobody", "up_of_nobody"),
            "needs left-pad, right-pad: pip install left-pad right-pad",
        ),
        (
            'requires={"left_of_nobody": "left-pad"}, extra="pad"',
            ("left_of_nobody",),
            "needs left-pad: pip install 'needy[pad]'",
        ),
    ],
)
def test_a_missing_requirement_is_a_hint_and_no_fault(
    install: Install, arguments: str, missing: tuple[str, ...], hint: str
) -> None:
    install("needy", GOOD.replace('backend="torch"', f'backend="torch", {arguments}'))
    registry = discover()
    provider = provider_of(registry, "needy")
    assert (provider.missing, provider.hint) == (missing, hint)
    assert broken_by(registry, "needy") == []


def test_a_package_of_ours_stands_for_what_its_back_end_requires(install: Install) -> None:
    backend = 'BackendSpec(name="own", target="MODULE:X", summary="S.", architectures={}, exports=("onnx",), output="logits",'
    back = install(
        "back", IMPORTS + f"@hookimpl\ndef benchmark_backends():\n    return [{backend} requires={{'numpy': 'numpy'}})]\n"
    )
    named = f"requires={{'{back}': None, 'scipy': 'scipy'}}"
    install("front", HOOK.replace("ARGUMENTS", "") + f"    return [{SPEC[:-1]}, {named})]\n")
    provider = provider_of(discover(), "front")
    assert provider.requires == {back: None, "scipy": "scipy", "numpy": "numpy"}
    assert set(ingredients(provider)["requires"]) == {back, "scipy", "numpy"}

    # What a back end lacks, its passes lack.
    (folder,) = {Path(importlib.import_module(back).__file__ or "").parent}
    source = folder / f"{back}.py"
    source.write_text(
        source.read_text(encoding="utf-8").replace("'numpy': 'numpy'", "'numpy_of_nobody': 'nobody'"), encoding="utf-8"
    )
    importlib.reload(importlib.import_module(back))
    assert provider_of(discover(), "front").hint == "needs nobody: pip install nobody"


def test_discovery_imports_the_plugin_and_nothing_that_it_names(install: Install) -> None:
    module = install(
        "lazy", GOOD.replace("MODULE:X", "lazy_code_of_it:X").replace('"torch"', '"torch", requires={"sqlite3": None}')
    )
    (Path(sys.path[0]) / "lazy_code_of_it.py").write_text("raise AssertionError('imported')", encoding="utf-8")
    importlib.invalidate_caches()
    assert brought_by(discover(), "lazy") == ["compressor/torch/lazy"]
    assert module in sys.modules
    assert "lazy_code_of_it" not in sys.modules


def test_everything_is_found_again_in_the_same_order(install: Install) -> None:
    install("bad", "raise ImportError('no')")
    install("also-bad", "raise ImportError('no')")
    install("good", GOOD)
    first, second = discover(), discover()
    assert first == second
    assert [provider.path for provider in first.providers()] == sorted(provider.path for provider in first.providers())
    assert [one.distribution for one in first.broken if one.distribution != "pocketbench"] == ["also-bad", "bad"]


# Names


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("mnist", ["mnist-10k", "german-credit"], "; did you mean 'mnist-10k'?"),
        ("x", ["b", "a"], "; known: a, b"),
        ("x", [], "; there is none"),
    ],
)
def test_nearest(name: str, known: list[str], expected: str) -> None:
    assert nearest(name, known) == expected


def test_unknown_names_say_the_nearest(install: Install) -> None:
    install("squeeze", GOOD)
    registry = discover()
    assert registry.get("task", "mnist-10k").path == "task/mnist-10k"
    with pytest.raises(UserError, match=r"^unknown task 'mnist10k'; did you mean 'mnist-10k'\?$"):
        registry.get("task", "mnist10k")
    with pytest.raises(UserError, match=r"^unknown runtime 'onnx-runtime'; did you mean 'onnxruntime'\?$"):
        registry.get("runtime", "onnx-runtime")
    assert registry.compressor("jax", "squeeze") is None
    assert [provider.path for provider in registry.compressors_named("squeeze")] == ["compressor/torch/squeeze"]
    with pytest.raises(UserError, match=r"^unknown pass 'squeez'; did you mean 'squeeze'\? \(not installed: --plugin FILE.py\)$"):
        registry.compressors_named("squeez")


# Digests


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package of two modules and a data file, with a fresh name."""
    root = tmp_path / f"pocketbench_under_test_{next(_numbers)}"
    (root / "sub").mkdir(parents=True)
    (root / "__init__.py").write_text("raise AssertionError('imported')\n", encoding="utf-8")
    (root / "sub" / "code.py").write_text("x = 1\n", encoding="utf-8")
    (root / "data.csv").write_text("1,2\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return root


def test_files_count_and_what_python_makes_of_them_does_not(package: Path) -> None:
    before = package_digest(package.name)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"x")
    (package / "__pycache__" / "left.py").write_text("x", encoding="utf-8")
    (package / "sub" / "code.py").touch()
    assert package_digest(package.name) == before
    assert package.name not in sys.modules
    (package / "sub" / "code.py").write_text("x = 2\n", encoding="utf-8")
    edited = package_digest(package.name)
    (package / "sub" / "code.py").rename(package / "sub" / "other.py")
    renamed = package_digest(package.name)
    (package / "sub" / "new.py").touch()
    added = package_digest(package.name)
    (package / "kernel.c").write_text("int x;", encoding="utf-8")
    assert len({before, edited, renamed, added, package_digest(package.name)}) == 5


def test_programs_that_a_plugin_runs_are_named_where_they_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cross-gcc").write_text("#!/bin/sh\necho 'cross-gcc 12.2'\necho more\n", encoding="utf-8")
    (tmp_path / "cross-gcc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    install = "apt-get install cross"
    tools = {"cross-gcc": install, "no-such-emulator": install}
    spec = RuntimeSpec(name="r", target="json:loads", summary="", formats=("onnx",), tools=tools)
    (lacking,) = _resolved([Provider("runtime", spec, "d", "1")])
    assert lacking.missing == ("no-such-emulator",)
    assert lacking.hint == f"needs no-such-emulator: {install}"
    spec = dataclasses.replace(spec, tools={"cross-gcc": install}, extra="mcu", requires={"no_such": "no-such"})
    (complete,) = _resolved([Provider("runtime", spec, "d", "1")])
    assert complete.hint == "needs no-such: pip install 'd[mcu]'"
    there = dataclasses.replace(complete, requires={}, missing=())
    assert ingredients(there)["tools"] == {"cross-gcc": "cross-gcc 12.2"}
    with pytest.raises(UserError, match="no-such-emulator --version says nothing"):
        tool_version("no-such-emulator")


def test_a_module_is_its_file(install: Install, tmp_path: Path) -> None:
    module = install("one", "x = 1\n")
    before = package_digest(module)
    (tmp_path / "neighbour.py").write_text("x", encoding="utf-8")
    assert package_digest(module) == before
    (tmp_path / f"{module}.py").write_text("x = 2\n", encoding="utf-8")
    assert package_digest(module) != before


def test_all_folders_of_a_namespace_package_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"pocketbench_under_test_{next(_numbers)}"
    for site in ("one", "two"):
        (tmp_path / site / name / site).mkdir(parents=True)
        (tmp_path / site / name / site / "code.py").write_text("x = 1\n", encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path / site)
    importlib.invalidate_caches()
    digests = {package_digest(name)}
    for site in ("one", "two"):
        (tmp_path / site / name / site / "code.py").write_text("x = 2\n", encoding="utf-8")
        digests.add(package_digest(name))
    assert len(digests) == 3


def test_a_package_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"^package 'package_of_nobody' is not installed$"):
        package_digest("package_of_nobody")


def test_digest_keeps_names_and_contents_apart(tmp_path: Path) -> None:
    def digest(**files: str) -> str:
        for path in tmp_path.iterdir():
            path.unlink()
        for name, text in files.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        return files_digest(tmp_path, tmp_path.iterdir())

    first = digest(a="1", b="2")
    assert digest(b="2", a="1") == first
    assert (
        len({first, digest(a="12", b=""), digest(a="", b="12"), digest(a="1", c="2"), digest(a="2", b="1"), digest(a="1b2")}) == 6
    )


TASK = (
    IMPORTS
    + """
@hookimpl
def benchmark_tasks():
    return [TaskSpec(name="NAME", target="PACKAGE.sub.code:X", summary="S.", version="1", modality="tabular", unit="row", folds=1,
                     metrics=("accuracy",), margin=0.01, licence="CC0-1.0", citation="none", requires={"numpy": "numpy"})]
"""
)


def test_what_lies_beside_code_is_part_of_it(install: Install, package: Path) -> None:
    install("a-task", TASK.replace("PACKAGE", package.name))
    install("a-pass", GOOD.replace("MODULE:X", f"{package.name}.sub.code:X"))
    task, compressor = (provider_of(discover(), name) for name in ("a-task", "a-pass"))
    before = ingredients(task), ingredients(compressor)
    assert before[0]["provider"] == "a-task:task/a-task"
    assert before[0]["requires"] == {"numpy": importlib.metadata.version("numpy")}
    (package / "data.csv").write_text("1,3\n", encoding="utf-8")
    assert ingredients(task)["code"] != before[0]["code"]
    assert ingredients(compressor)["code"] != before[1]["code"]
    (package / "sub" / "code.py").write_text("x = 2\n", encoding="utf-8")
    assert ingredients(compressor)["code"] != before[1]["code"]


def test_code_of_ours_that_a_plugin_requires_counts(install: Install, package: Path) -> None:
    install("friend", GOOD.replace('"torch"', f'"torch", requires={{"{package.name}": None}}'))
    provider = provider_of(discover(), "friend")
    assert ingredients(provider)["requires"] == {package.name: package_digest(package.name)}


def test_a_distribution_that_is_not_installed_is_named(install: Install) -> None:
    install("wrong", GOOD.replace('"torch"', '"torch", requires={"numpy": "numpy-of-nobody"}'))
    with pytest.raises(UserError) as caught:
        ingredients(provider_of(discover(), "wrong"))
    expected = "wrong:compressor/torch/wrong requires numpy of 'numpy-of-nobody', which is not installed"
    assert str(caught.value) == expected
