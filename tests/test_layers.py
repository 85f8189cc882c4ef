"""The structure that the design fixes: the host's layer order, and built-ins that use nothing but public names."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchmark
from benchmark.own import with_own
from benchmark.registry import Provider, discover
from benchmark.specs import BackendSpec
from benchmark.suite import OwnTask

HOST = Path(benchmark.__file__).parent
ORDER = (
    *(
        "errors",
        "budget",
        "specs",
        "space",
        "protocols",
        "calibration",
        "hookspecs",
        "plugin_files",
        "official",
        "data",
        "limits",
        "measure",
        "worker",
    ),
    *("store", "registry", "suite", "own", "search", "warm", "plan", "search_plan", "folders", "bundle", "step_report", "jobs"),
    *("searching", "runner", "explain", "forecast"),
    *("statistics", "ranking", "recommend", "leaderboard", "compare", "overall", "render", "export", "verify", "tracking"),
    *("data_command", "testing", "cli", "__main__"),
)
"""The modules of the host, bottom up. Each imports only from those above it in this list."""


def _imports(path: Path) -> Iterator[str]:
    """Absolute names that a file imports, everywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _layer(path: Path) -> str:
    return path.relative_to(HOST).parts[0].removesuffix(".py")


def _host_files() -> list[Path]:
    return [path for path in sorted(HOST.rglob("*.py")) if path != HOST / "__init__.py"]


def test_every_module_has_a_place_in_the_order() -> None:
    assert {_layer(path) for path in _host_files()} == set(ORDER)


@pytest.mark.parametrize("path", _host_files(), ids=lambda path: path.relative_to(HOST).as_posix())
def test_imports_only_from_lower_layers(path: Path) -> None:
    own = ORDER.index(_layer(path))
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] == "benchmark" and len(parts) > 1 and parts[1] in ORDER:
            assert ORDER.index(parts[1]) <= own, f"{path.name} imports {name}"


def _packages() -> dict[str, list[Provider]]:
    packages: dict[str, list[Provider]] = {}
    own = {"mine": OwnTask(file=__file__, target="y", metric="accuracy")}  # any file: nothing looks into it
    for provider in with_own(discover(), own).providers():
        if provider.distribution == "pocketbench":
            packages.setdefault(provider.spec.target.partition(".")[0].partition(":")[0], []).append(provider)
    return packages


def test_all_built_ins_are_there() -> None:
    assert set(_packages()) == {
        *("benchmark_torch", "benchmark_jax", "benchmark_sklearn", "benchmark_onnx", "benchmark_mcu", "benchmark_pack"),
        *("benchmark_litert", "benchmark_executorch", "benchmark_optuna", "benchmark_tracking", "benchmark_flaml"),
        *("benchmark_mnist", "benchmark_nodule", "benchmark_credit", "benchmark_imu"),
        *("benchmark_medmnist", "benchmark_occupancy", "benchmark_har", "benchmark_own"),
    }
    assert not [broken for broken in discover().broken if broken.distribution == "pocketbench"]


@pytest.mark.parametrize("package", sorted(_packages()))
def test_built_ins_use_only_public_names(package: str) -> None:
    providers = _packages()[package]
    friends = {name for one in providers for name, distribution in one.spec.requires.items() if distribution is None}
    public = {name: set(importlib.import_module(name).__all__) for name in {"benchmark", *friends}}
    file = importlib.import_module(package).__file__
    assert file is not None
    root = Path(file).parent
    for path in (one for one in root.rglob("*.py") if one.parent.name != "data"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                ours = [alias.name for alias in node.names if alias.name.partition(".")[0].startswith("benchmark")]
                assert all(name.partition(".")[0] == package for name in ours), f"{path.name}: import {ours}"
            elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0].startswith("benchmark"):
                module = node.module or ""
                if module.partition(".")[0] == package:
                    continue
                assert module in public, f"{path.name}: from {module} import ... is neither public nor required"
                hidden = {alias.name for alias in node.names} - public[module]
                assert not hidden, f"{path.name}: {module} does not publish {hidden}"


def _entry_points() -> list[str]:
    return sorted(one.value for one in importlib.metadata.entry_points(group="benchmark") if one.value.startswith("benchmark_"))


@pytest.mark.parametrize("module", _entry_points())
def test_modules_of_plugins_import_only_the_host(module: str) -> None:
    """What an entry point names is imported by the host process: it may cost nothing."""
    package, _, tracker = module.partition(".")
    allowed = {"__future__", "benchmark", "collections", "dataclasses", "functools", "importlib", "typing", package}
    if tracker:  # the hook itself is in there, and what it needs of Python the host has loaded
        allowed |= {"hashlib", "os", "pathlib", "shutil"}
    file = importlib.import_module(module).__file__
    assert file is not None
    top = ast.parse(Path(file).read_text(encoding="utf-8")).body
    names = {
        name.partition(".")[0]
        for node in top
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert names <= allowed, names - allowed


@pytest.mark.parametrize("package", sorted(_packages()))
def test_every_provider_names_what_it_requires(package: str) -> None:
    """Versions of these enter the ids of steps, so a missing one would let a stale result be reused."""
    providers = _packages()[package]
    declared = {name for one in providers for name in one.spec.requires}
    exports = [one.spec.needs for one in providers if isinstance(one.spec, BackendSpec)]
    declared |= {name for needs in exports for one in needs.values() for name in one.requires}
    file = importlib.import_module(package).__file__
    assert file is not None
    imported = {
        name.partition(".")[0]
        for path in Path(file).parent.rglob("*.py")
        if path.parent.name != "data"
        for name in _imports(path)
    }
    needed = imported - set(sys.stdlib_module_names) - {"benchmark", package}
    assert needed <= declared, needed - declared
