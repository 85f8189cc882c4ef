"""Discovers plugins, each on its own, so that a broken one is reported and the rest work. The only user of pluggy's manager."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import shlex
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

import pluggy

from benchmark import hookspecs, plugin_files
from benchmark.errors import UserError, described, one_line
from benchmark.specs import BackendSpec, CompressorSpec, Needs, RuntimeSpec, SearcherSpec, Spec, TaskSpec, TrackerSpec

Kind: TypeAlias = Literal["task", "backend", "compressor", "runtime", "searcher", "tracker"]
GROUP = "benchmark"
OWN = "pocketbench"
_HOOKS: dict[str, tuple[Kind, type[Spec]]] = {
    "benchmark_tasks": ("task", TaskSpec),
    "benchmark_backends": ("backend", BackendSpec),
    "benchmark_compressors": ("compressor", CompressorSpec),
    "benchmark_runtimes": ("runtime", RuntimeSpec),
    "benchmark_searchers": ("searcher", SearcherSpec),
}
_OBSERVER, _NEEDS = "benchmark_cell_finished", "benchmark_tracker_needs"


@dataclass(frozen=True)
class Provider:
    """A spec and the distribution that brought it. ``requires``: what the spec requires, and what the packages of ours that it
    names require in their turn. ``missing``: import names of these, and programs, that are not installed."""

    kind: Kind
    spec: Spec
    distribution: str
    version: str
    requires: Mapping[str, str | None] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """``distribution:kind/backend/name``: what makes two providers the same."""
        return f"{self.distribution}:{self.path}"

    @property
    def path(self) -> str:
        """``kind/backend/name``, without the distribution: two providers with an equal one clash."""
        backend = self.spec.backend if isinstance(self.spec, CompressorSpec) else None
        return "/".join([self.kind, *([backend] if backend else []), self.spec.name])

    @property
    def hint(self) -> str:
        """Why it cannot be used here and what installs what is missing; empty where nothing is."""
        if not self.missing:
            return ""
        lacking = sorted({self.requires[name] or name for name in self.missing if name in self.requires})
        packages = [f"{self.distribution}[{self.spec.extra}]"] if self.spec.extra else lacking
        needed = {f"pip install {shlex.join(packages)}": lacking} if lacking else {}
        for name in self.missing:
            if name not in self.requires:
                needed.setdefault(self.spec.tools[name], []).append(name)
        return "; ".join(f"needs {', '.join(names)}: {command}" for command, names in needed.items())


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be used, or one of its specs that clashes, and why."""

    entry_point: str
    distribution: str
    version: str
    reason: str

    def __str__(self) -> str:
        return f"plugin {self.entry_point} of {self.distribution} {self.version}: {self.reason}"


@dataclass(frozen=True)
class Registry:
    """Everything that was found, by name. Compressors are keyed by (back end or None, name). ``files``: module -> path of plugins
    that are single files, which jobs have to be told."""

    tasks: Mapping[str, Provider] = field(default_factory=dict)
    backends: Mapping[str, Provider] = field(default_factory=dict)
    compressors: Mapping[tuple[str | None, str], Provider] = field(default_factory=dict)
    runtimes: Mapping[str, Provider] = field(default_factory=dict)
    searchers: Mapping[str, Provider] = field(default_factory=dict)
    trackers: Mapping[str, Provider] = field(default_factory=dict)
    broken: tuple[Broken, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    def providers(self) -> list[Provider]:
        """All providers, sorted by path."""
        groups: tuple[Iterable[Provider], ...] = (
            self.tasks.values(),
            self.backends.values(),
            self.compressors.values(),
            self.runtimes.values(),
            self.searchers.values(),
            self.trackers.values(),
        )
        return sorted((provider for group in groups for provider in group), key=lambda provider: provider.path)

    def get(self, kind: Literal["task", "backend", "runtime", "searcher", "tracker"], name: str) -> Provider:
        """The provider of that kind and name; raises UserError with the nearest name."""
        groups = {
            "task": self.tasks,
            "backend": self.backends,
            "runtime": self.runtimes,
            "searcher": self.searchers,
            "tracker": self.trackers,
        }
        found = groups[kind]
        if name not in found:
            hint = " (not installed: --plugin FILE.py)" if kind == "searcher" else ""
            raise UserError(f"unknown {kind} {name!r}{nearest(name, found)}{hint}")
        return found[name]

    def compressors_named(self, name: str) -> list[Provider]:
        """The passes of that name of all back ends; raises UserError where nobody has one."""
        found = [provider for (_, one), provider in self.compressors.items() if one == name]
        if not found:
            known = nearest(name, {one for _, one in self.compressors})
            raise UserError(f"unknown pass {name!r}{known} (not installed: --plugin FILE.py)")
        return found

    def compressor(self, backend: str, name: str) -> Provider | None:
        """The pass of that name for that back end: one of its own, or an artifact pass. None where it has none."""
        return self.compressors.get((backend, name)) or self.compressors.get((None, name))


def exporting(backend: Provider, format_: str) -> Provider:
    """A back end as what exports to a format, with all that this requires; ``missing`` of it tells what is not installed."""
    needs = cast(BackendSpec, backend.spec).needs.get(format_)
    if needs is None:
        return backend
    lacking = tuple(module for module in needs.requires if importlib.util.find_spec(module) is None)
    spec = dataclasses.replace(backend.spec, extra=needs.extra)
    return dataclasses.replace(
        backend, spec=spec, requires={**backend.requires, **needs.requires}, missing=backend.missing + lacking
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or the list of what there is."""
    known = sorted(known)
    return did_you_mean(name, known) or (f"; known: {', '.join(known)}" if known else "; there is none")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or nothing."""
    found = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def discover(files: Sequence[Path] = ()) -> Registry:
    """Loads every entry point in group ``benchmark``, then the plugin ``files``. Our own come first, then others by distribution
    and name, so that of two equal identities the same one is kept everywhere. Ctrl-C passes through; SystemExit of a plugin
    does not. Raises UserError for a file that cannot be a plugin."""
    found: dict[str, Provider] = {}
    broken: list[Broken] = []
    points = [(_distribution(point), point) for point in importlib.metadata.entry_points(group=GROUP)]
    points.sort(key=lambda item: (item[0][0] != OWN, item[0], item[1].name))
    plugins: list[tuple[str, str, str, Callable[[], object]]] = [(point.name, *named, point.load) for named, point in points]
    modules = plugin_files.modules(files)
    plugin_files.install(modules)
    for module, path in modules.items():
        version = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]
        plugins.append((module, Path(path).name, version, functools.partial(importlib.import_module, module)))
    for point_name, name, version, load in plugins:
        try:
            specs = list(_specs(load(), point_name))
        except (Exception, SystemExit) as error:  # whatever a stranger's module does at import is its own failure, not ours
            broken.append(Broken(point_name, name, version, described(error)))
            continue
        for kind, spec in specs:
            provider = Provider(kind, spec, name, version)
            other = found.setdefault(provider.path, provider)
            if other is not provider:
                reason = f"{provider.path} is already provided by {other.distribution} {other.version}"
                broken.append(Broken(point_name, name, version, reason))
    return dataclasses.replace(_registry(_resolved(found.values()), broken), files=modules)


def with_tasks(registry: Registry, specs: Iterable[TaskSpec], distribution: str, version: str) -> Registry:
    """The registry with tasks of this run added. Raises UserError for a name that a plugin's task has."""
    added = {spec.name: Provider("task", spec, distribution, version, spec.requires) for spec in specs}
    for name in added:
        if name in registry.tasks:
            raise UserError(f"task {name}: {registry.tasks[name].distribution} has a task of that name; choose another")
    return dataclasses.replace(registry, tasks={**registry.tasks, **added})


def _resolved(providers: Collection[Provider]) -> Iterator[Provider]:
    """Providers with all that they require. A package stands for what its back end requires, where it has one, else for what
    all its specs do: a pass that names ``benchmark_torch`` runs on torch, though it may not say so."""
    of_package: dict[str, dict[str, str | None]] = {}
    backends = {_package(one.spec) for one in providers if one.kind == "backend"}
    for one in providers:
        if one.kind == "backend" or _package(one.spec) not in backends:
            of_package.setdefault(_package(one.spec), {}).update(one.spec.requires)
    importable: dict[str, bool] = {}
    for one in providers:
        requires = dict(one.spec.requires)
        for module in (name for name, distribution in one.spec.requires.items() if distribution is None):
            requires = {**of_package.get(module, {}), **requires}
        for module in requires:
            importable.setdefault(module, importlib.util.find_spec(module) is not None)
        missing = [module for module in requires if not importable[module]]
        missing += [tool for tool in one.spec.tools if tool not in requires and shutil.which(tool) is None]
        yield dataclasses.replace(one, requires=requires, missing=tuple(missing))


def _registry(providers: Iterable[Provider], broken: Iterable[Broken]) -> Registry:
    by_kind: dict[Kind, dict[Any, Provider]] = {kind: {} for kind in get_args(Kind)}
    for provider in sorted(providers, key=lambda provider: provider.path):
        spec = provider.spec
        key = (spec.backend, spec.name) if isinstance(spec, CompressorSpec) else spec.name
        by_kind[provider.kind][key] = provider
    return Registry(
        tasks=by_kind["task"],
        backends=by_kind["backend"],
        compressors=by_kind["compressor"],
        runtimes=by_kind["runtime"],
        searchers=by_kind["searcher"],
        trackers=by_kind["tracker"],
        broken=tuple(broken),
    )


def _distribution(point: importlib.metadata.EntryPoint) -> tuple[str, str]:
    assert point.dist is not None  # entry points read from installed metadata always know their distribution
    try:
        named = "Name" in point.dist.metadata
    except OSError:  # of importlib_metadata, which finds distributions wherever a library of a plugin has imported it
        named = False
    # In a half-removed distribution METADATA is gone, the entry points are not.
    return (point.dist.name, point.dist.version) if named else ("unknown", "unknown")


def _specs(module: object, name: str) -> Iterable[tuple[Kind, Spec]]:
    """The specs of one plugin; raises whatever is wrong with it. A manager of its own keeps plugins from touching each other."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(module, name=name)
    manager.check_pending()
    callers = {caller.name: caller for caller in manager.get_hookcallers(module) or ()}
    if not callers:
        raise ValueError("it implements no hook: decorate them with benchmark.hookimpl")
    for caller in callers.values():
        (implementation,) = caller.get_hookimpls()
        for parameter in inspect.signature(implementation.function).parameters:
            if parameter not in implementation.argnames:
                # pluggy never passes an argument that has a default: the plugin would silently see the default.
                raise ValueError(f"{caller.name}: unexpected argument {parameter!r}")
    if _OBSERVER in callers or _NEEDS in callers:
        yield "tracker", _tracker(callers, name)
    for caller in (callers[hook] for hook in _HOOKS if hook in callers):
        kind, wanted = _HOOKS[caller.name]
        for spec in cast(Iterable[object], _function(caller)()):
            if not isinstance(spec, wanted):
                raise TypeError(f"{caller.name} gave a {type(spec).__name__}, not a {wanted.__name__}")
            if importlib.util.find_spec(_package(spec)) is None:
                raise ValueError(f"{spec.name}: target {spec.target!r}: there is no package {_package(spec)!r}")
            yield kind, spec


def _function(caller: pluggy.HookCaller) -> Callable[..., object]:
    """What the only plugin of a manager implements a hook by."""
    (implementation,) = caller.get_hookimpls()
    return implementation.function


def _tracker(callers: Mapping[str, pluggy.HookCaller], name: str) -> TrackerSpec:
    """The tracker that a plugin is. Raises for one that says what it needs, and not what for."""
    if _OBSERVER not in callers:
        raise ValueError(f"it implements {_NEEDS} without {_OBSERVER}")
    needs = _function(callers[_NEEDS])() if _NEEDS in callers else Needs(requires={})
    if not isinstance(needs, Needs):
        raise TypeError(f"{_NEEDS} gave a {type(needs).__name__}, not a {Needs.__name__}")
    function = _function(callers[_OBSERVER])
    summary = (inspect.getdoc(function) or "").partition("\n")[0]
    return TrackerSpec(
        name=name,
        target=f"{function.__module__}:{_OBSERVER}",
        summary=one_line(summary),
        requires=needs.requires,
        extra=needs.extra,
        observe=callers[_OBSERVER],
    )


def _package(spec: Spec) -> str:
    """The top-level package that holds a spec's code."""
    return spec.target.partition(":")[0].partition(".")[0]


def ingredients(provider: Provider) -> dict[str, Any]:
    """What of a provider enters the ids of its steps: identity, the digest of its code, and the versions of what it requires.
    Raises UserError for a distribution or a program that it names and that is not installed."""
    requires = {}
    for module, distribution in sorted(provider.requires.items()):
        try:
            requires[module] = package_digest(module) if distribution is None else importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            raise UserError(f"{provider.identity} requires {module} of {distribution!r}, which is not installed") from None
    found = {"provider": provider.identity, "code": package_digest(_package(provider.spec)), "requires": requires}
    if provider.spec.tools:
        found["tools"] = {tool: tool_version(tool) for tool in sorted(provider.spec.tools)}
    return found


@functools.cache
def tool_version(tool: str) -> str:
    """The first line that a program prints for ``--version``. Raises UserError where it is not there or says nothing."""
    try:
        told = subprocess.run([tool, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout.strip()
        return told.splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        raise UserError(f"{tool} --version says nothing: is it installed?") from None


def package_digest(package: str) -> str:
    """sha256 of all files, since data and templates make results too, of an importable top-level package or module, which is not
    imported."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise UserError(f"package {package!r} is not installed")
    if not spec.submodule_search_locations:
        assert spec.origin is not None  # a found module that is no package has a file
        return files_digest(Path(spec.origin).parent, [Path(spec.origin)])
    digest = hashlib.sha256()
    for root in map(Path, spec.submodule_search_locations):  # a namespace package has several
        files = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        digest.update(files_digest(root, files).encode())
    return digest.hexdigest()


def files_digest(root: Path, files: Iterable[Path]) -> str:
    """sha256 over relative names and contents, in the order of the names."""
    digest = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
