"""Suite files: TOML -> :class:`Suite` and back. Every mistake is one line naming the file and the key."""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
import json
import re
import sys
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from benchmark import limits
from benchmark.budget import LIMITS, BuildLimits, DeviceTier, format_bytes, parse_bytes
from benchmark.errors import UserError
from benchmark.registry import nearest
from benchmark.specs import MODALITIES, RANKING_METRICS, Scalar

REFERENCE = "reference"
ALL = "all"
_PASS = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\((.*)\))?\s*")
_BETWEEN = re.compile(r" \+ (?=[A-Za-z0-9])")
_SUITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class PassCall:
    """One pass of a recipe, with the parameters that were given."""

    name: str
    params: tuple[tuple[str, Scalar], ...] = ()

    def __str__(self) -> str:
        if not self.params:
            return self.name
        return f"{self.name}({', '.join(f'{_key(key)}={_literal(value)}' for key, value in self.params)})"


@dataclass(frozen=True)
class Recipe:
    """A sequence of passes; the empty one is written ``reference``."""

    passes: tuple[PassCall, ...] = ()

    def __str__(self) -> str:
        return " + ".join(map(str, self.passes)) or REFERENCE


@dataclass(frozen=True)
class MeasureOptions:
    """How latency is sampled: fresh ``processes`` a cell, interleaved ``rounds`` in each, ``calls`` a round."""

    processes: int = 3
    rounds: int = 3
    calls: int = 300


@dataclass(frozen=True)
class OwnTask:
    """A task that is a file of the user's: CSV, Parquet or NPZ. ``target``: the column or array of labels. ``unit``: that of what
    rows belong to, empty where each is its own. ``drop``: columns to leave out. ``modality``: needed for NPZ alone."""

    file: str
    target: str
    metric: str
    unit: str = ""
    folds: int = 5
    margin: float = 0.02
    drop: tuple[str, ...] = ()
    modality: str = "tabular"


@dataclass(frozen=True)
class SearchOptions:
    """Searches beside the recipes: each of the ``searchers`` (a name, with parameters where it is given some) has each of the
    totals of ``seconds`` for each device tier of ``tiers`` (of a suite without tiers there is one search without limits).
    ``starts``: the recipes that each begins with. ``architectures``: back end -> names to search among; where it is empty all
    back ends search among all that they have for a modality, else those that it does not name do not search. ``passes``: names
    of those that take part, empty for all. ``folds``: of the cross-validation of small tasks; 1 for their own validation rows
    alone. ``only``: names of the searches that are run, empty for all."""

    searchers: tuple[PassCall, ...]
    seconds: tuple[float, ...]
    starts: tuple[Recipe, ...]
    tiers: tuple[str, ...] = ()
    architectures: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    passes: tuple[str, ...] = ()
    folds: int = 1
    only: tuple[str, ...] = ()

    def searches(self) -> tuple[tuple[PassCall, float, str], ...]:
        """The searches that are run: searcher, total and tier ("" for none)."""
        every = itertools.product(self.searchers, self.seconds, self.tiers or ("",))
        return tuple(one for one in every if not self.only or searched(*one) in self.only)

    def names(self) -> tuple[str, ...]:
        """How the searches are called where a recipe stands in other rows."""
        return tuple(searched(*one) for one in self.searches())


def searched(searcher: PassCall, seconds: float, tier: str, warm: str = "") -> str:
    """The name of a search: its searcher with all that it was given, as in ``optuna(seconds=60, tier="S")``. ``warm``: the suite
    whose run it begins with."""
    texts = {name: text for name, text in (("tier", tier), ("warm", warm)) if text}
    given = {**dict(searcher.params), "seconds": int(seconds) if seconds.is_integer() else seconds, **texts}
    return str(PassCall(searcher.name, tuple(sorted(given.items()))))


def read_searched(name: str) -> tuple[PassCall, float, str]:
    """The inverse of :func:`searched`: (searcher, seconds, tier), where a warm start is a parameter of the searcher."""
    call = parse_pass(name)
    own = {key: value for key, value in call.params if key not in ("seconds", "tier")}
    given = dict(call.params)
    return PassCall(call.name, tuple(own.items())), float(given["seconds"]), str(given.get("tier", ""))


@dataclass(frozen=True)
class Suite:
    """A grid of cells. ``recipes``: the reference first. ``architectures``: back end -> names (absent: the default one of each
    modality). ``folds``: None for all that a task has. ``training``: back end or ``""`` for all -> training parameters, at least
    one each. ``search``: the searches, if any. ``own``: the tasks that are files of the user's, by name."""

    name: str
    tasks: tuple[str, ...]
    backends: tuple[str, ...]
    recipes: tuple[Recipe, ...]
    runtimes: tuple[str, ...] = ("onnxruntime",)
    architectures: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    folds: tuple[int, ...] | None = (0,)
    training: Mapping[str, Mapping[str, Scalar]] = dataclasses.field(default_factory=dict)
    build: BuildLimits = dataclasses.field(default_factory=BuildLimits)
    tiers: tuple[DeviceTier, ...] = ()
    measure: MeasureOptions = dataclasses.field(default_factory=MeasureOptions)
    search: SearchOptions | None = None
    own: Mapping[str, OwnTask] = dataclasses.field(default_factory=dict)

    def select(
        self,
        *,
        tasks: Sequence[str] = ("*",),
        backends: Sequence[str] = ("*",),
        recipes: Sequence[str] = ("*",),
        seeds: int | None = None,
        folds: int | None = None,
    ) -> Suite:
        """The part of the grid whose names match any of the globs; ``reference`` is always kept. ``seeds``, ``folds``: use
        0 .. n-1."""
        searches = self.search.names() if self.search else ()
        chosen = _matching("recipe", (*map(str, self.recipes), *searches), recipes)
        kept = _matching("backend", self.backends, backends)
        kept_tasks = _matching("task", self.tasks, tasks)
        return dataclasses.replace(
            self,
            tasks=kept_tasks,
            own={name: task for name, task in self.own.items() if name in kept_tasks},
            backends=kept,
            architectures={name: value for name, value in self.architectures.items() if name in kept},
            training={name: value for name, value in self.training.items() if name in ("", *kept)},
            recipes=tuple(one for one in self.recipes if not one.passes or str(one) in chosen),
            search=self._search(set(chosen)),
            seeds=self.seeds if seeds is None else tuple(range(seeds)),
            folds=self.folds if folds is None else tuple(range(folds)),
        )

    def _search(self, chosen: Collection[str]) -> SearchOptions | None:
        """The searches whose names are among the chosen ones."""
        only = tuple(name for name in self.search.names() if name in chosen) if self.search else ()
        if self.search is None or not only:
            return None
        return self.search if only == self.search.names() else dataclasses.replace(self.search, only=only)


def _matching(what: str, names: tuple[str, ...], patterns: Sequence[str]) -> tuple[str, ...]:
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise UserError(f"no {what} of the suite matches {pattern!r}{nearest(pattern, names)}")
    return tuple(name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns))


def parse_pass(text: str) -> PassCall:
    """``name`` or ``name(a=1, b="x")``, the arguments as in a TOML inline table; raises UserError."""
    match = _PASS.fullmatch(text)
    if match is None:
        raise UserError(f"{text!r} is not a pass: write name or name(parameter=value, ...)")
    if match[1] == REFERENCE:
        raise UserError(f"{text!r} is no pass: every suite has the recipe without passes, which is called {REFERENCE}")
    if match[2] is None:
        return PassCall(match[1])
    try:
        params = tomllib.loads(f"params = {{ {match[2]} }}")["params"]
    except (ValueError, RecursionError):
        raise UserError(f'{text!r} is not a pass: its arguments must be TOML values, as in name(a=1, b="x")') from None
    return PassCall(match[1], tuple(sorted((key, _scalar(value, f"{text!r}: parameter {key}")) for key, value in params.items())))


def parse_recipe(text: str) -> Recipe:
    """``reference``, or passes with `` + `` between them, as :class:`Recipe` is printed; raises UserError."""
    return Recipe() if text == REFERENCE else Recipe(tuple(map(parse_pass, _BETWEEN.split(text))))


def shipped() -> dict[str, Path]:
    """The suites that come with PocketBench, by name."""
    folder = Path(str(resources.files("benchmark") / "suites"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load(name_or_path: str) -> Suite:
    """A shipped suite by name, or a suite file by path (anything with a slash or ending in ``.toml``); raises UserError, also
    where this machine has fewer cores than it asks for."""
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        path = Path(name_or_path)
    else:
        known = shipped()
        if name_or_path not in known:
            raise UserError(f"unknown suite {name_or_path!r}{nearest(name_or_path, known)}")
        path = known[name_or_path]
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    suite = parse(text, str(path))
    limits.check_cores(suite.build.cores)
    # A file is looked for beside the suite that names it.
    own = {name: dataclasses.replace(task, file=str((path.parent / task.file).resolve())) for name, task in suite.own.items()}
    for name, task in own.items():
        if not Path(task.file).is_file():
            raise UserError(f"{path}: task.{name}.file: there is no file {task.file}")
    return dataclasses.replace(suite, own=own)


def parse(text: str, source: str) -> Suite:
    """The suite in a TOML text; ``source`` names it in errors. Raises UserError."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # beside its own error, of numbers of 4,300 digits and of deep nesting
        raise UserError(f"{source}: not valid TOML: {error}") from None
    try:
        return _suite(document)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def dump(suite: Suite) -> str:
    """The suite as a TOML text that :func:`parse` reads into an equal one. Every key is there, also those left at defaults."""
    return "\n".join(_lines(suite)).lstrip() + "\n"


def _lines(suite: Suite) -> Iterator[str]:
    yield from _section("[suite]", {"name": suite.name, "tasks": suite.tasks, "backends": suite.backends})
    yield from _section(
        "", {"runtimes": suite.runtimes, "seeds": suite.seeds, "folds": ALL if suite.folds is None else suite.folds}
    )
    if suite.architectures:
        yield from _section("[suite.architectures]", suite.architectures)
    for backend, params in suite.training.items():
        yield from _section(f"[train.{_key(backend)}]" if backend else "[train]", params)
    build = suite.build
    limited: dict[str, Scalar] = {
        "cores": build.cores,
        "memory": format_bytes(build.memory),
        "seconds": float(build.seconds),
        "cpu_seconds": float(build.cpu),
        "processes": build.processes,
        "file_bytes": format_bytes(build.file_bytes),
    }
    if build.cpu_seconds is None:
        del limited["cpu_seconds"]  # it follows the others
    yield from _section("[budget.build]", limited)
    for tier in suite.tiers:
        texts = {limit.name: limit.format(value) for limit in LIMITS if (value := limit.of(tier)) is not None}
        yield from _section("[[budget.device]]", {"name": tier.name, **texts})
    yield from _section("[measure]", dataclasses.asdict(suite.measure))
    if suite.search:
        search = suite.search
        yield from _section("[search]", {"searchers": tuple(map(str, search.searchers)), "seconds": search.seconds})
        yield from _section("", {"folds": search.folds})
        lists = {"starts": tuple(map(str, search.starts)), "tiers": search.tiers, "passes": search.passes, "only": search.only}
        yield from _section("", {key: value for key, value in lists.items() if value})
        if search.architectures:
            yield from _section("[search.architectures]", search.architectures)
    for name, task in suite.own.items():
        # As in a file, a key with nothing in it is left out.
        yield from _section(f"[task.{_key(name)}]", {key: value for key, value in dataclasses.asdict(task).items() if value})
    for recipe in suite.recipes:
        if recipe.passes:
            yield from _section("[[recipe]]", {"passes": tuple(map(str, recipe.passes))})


def _section(head: str, values: Mapping[str, Scalar | Sequence[Scalar]]) -> Iterator[str]:
    yield from ["", head] if head else []
    for key, value in values.items():
        text = _literal(value) if isinstance(value, Scalar) else f"[{', '.join(map(_literal, value))}]"
        yield f"{_key(key)} = {text}"


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _literal(name)


def _literal(value: Scalar) -> str:
    """A scalar as TOML, which is JSON but for a character that JSON leaves as it is and TOML forbids."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _suite(document: Mapping[str, Any]) -> Suite:
    _known(document, {"suite", "train", "budget", "measure", "recipe", "search", "task"}, "")
    head = _table(document, "suite", "")
    _known(head, {"name", "tasks", "backends", "architectures", "runtimes", "seeds", "folds"}, "suite.")
    name = _get(head, "name", "suite.", _text)
    if not _SUITE_NAME.fullmatch(name):
        raise UserError(f"suite.name: {name!r} must be made of letters, digits, '-' and '_'")
    budget = _table(document, "budget", "")
    _known(budget, {"build", "device"}, "budget.")
    search = _table(document, "search", "")
    backends = _get(head, "backends", "suite.", _texts)
    architectures = _table(head, "architectures", "suite.")
    _known(architectures, backends, "suite.architectures.")
    tiers = [_tier(entry, f"budget.device[{i}].") for i, entry in enumerate(_tables(budget, "device", "budget."))]
    if len({tier.name for tier in tiers}) < len(tiers):
        raise UserError("budget.device must name each tier once")
    recipes = [_recipe(entry, f"recipe[{i}].") for i, entry in enumerate(_tables(document, "recipe", ""))]
    every = tuple({str(one): one for one in [Recipe(), *recipes]}.values())  # 1, 1.0 and true are equal, and not the same
    optional: dict[str, Any] = {
        key: _get(head, key, "suite.", check)
        for key, check in (("runtimes", _texts), ("seeds", _indices), ("folds", _folds))
        if key in head
    }
    tasks = _get(head, "tasks", "suite.", _texts)
    entries = _table(document, "task", "")
    if idle := [key for key in entries if key not in tasks]:
        raise UserError(f"task.{idle[0]} is not among suite.tasks: {', '.join(tasks)}")
    return Suite(
        name=name,
        tasks=tasks,
        own={key: _own(_table(entries, key, "task."), f"task.{key}.") for key in entries},
        backends=backends,
        architectures={key: _texts(value, f"suite.architectures.{key}") for key, value in architectures.items()},
        recipes=every,
        training=_training(_table(document, "train", ""), backends),
        build=_build(_table(budget, "build", "budget.")),
        tiers=tuple(tiers),
        measure=_measure(_table(document, "measure", "")),
        search=_searches(search, backends, [tier.name for tier in tiers], every) if "search" in document else None,
        **optional,
    )


def _recipe(entry: Mapping[str, Any], where: str) -> Recipe:
    _known(entry, {"passes"}, where)
    passes = _get(entry, "passes", where, _texts_or_none)
    try:
        return Recipe(tuple(map(parse_pass, passes)))
    except UserError as error:
        raise UserError(f"{where}passes: {error}") from None


def _training(entry: Mapping[str, Any], backends: Collection[str]) -> dict[str, dict[str, Scalar]]:
    _known({key: value for key, value in entry.items() if isinstance(value, Mapping)}, backends, "train.")
    training: dict[str, dict[str, Scalar]] = {"": {}}
    for key, value in entry.items():
        if isinstance(value, Mapping):
            training[key] = {name: _scalar(inner, f"train.{key}.{name}") for name, inner in value.items()}
        else:
            training[""][key] = _scalar(value, f"train.{key}")
    return {key: params for key, params in training.items() if params}


def _searches(
    entry: Mapping[str, Any], backends: Collection[str], tiers: Sequence[str], recipes: tuple[Recipe, ...]
) -> SearchOptions:
    _known(entry, {"searchers", "seconds", "starts", "tiers", "architectures", "passes", "folds", "only"}, "search.")
    architectures = _table(entry, "architectures", "search.")
    _known(architectures, backends, "search.architectures.")
    wanted = _get(entry, "tiers", "search.", _texts) if "tiers" in entry else tuple(tiers)
    if unknown := [one for one in wanted if one not in tiers]:
        raise UserError(f"search.tiers: the suite has no tier {unknown[0]!r}{nearest(unknown[0], tiers)}")
    searchers = []
    for text in _get(entry, "searchers", "search.", _texts):
        try:
            searchers.append(parse_pass(text))
        except UserError:
            raise UserError(f"search.searchers: {text!r} is not a searcher: write name or name(parameter=value, ...)") from None
    options = SearchOptions(
        searchers=tuple(searchers),
        seconds=_get(entry, "seconds", "search.", _durations),
        starts=_starts(_get(entry, "starts", "search.", _texts)) if "starts" in entry else recipes,
        tiers=wanted,
        architectures={key: _texts(value, f"search.architectures.{key}") for key, value in architectures.items()},
        passes=_get(entry, "passes", "search.", _texts) if "passes" in entry else (),
        folds=_get(entry, "folds", "search.", _parts) if "folds" in entry else 1,
    )
    only = _get(entry, "only", "search.", _texts) if "only" in entry else ()
    if unknown := [one for one in only if one not in options.names()]:
        raise UserError(f"search.only: there is no search {unknown[0]!r}{nearest(unknown[0], options.names())}")
    return dataclasses.replace(options, only=only)


def _starts(texts: Sequence[str]) -> tuple[Recipe, ...]:
    try:
        return tuple(map(parse_recipe, texts))
    except UserError as error:
        raise UserError(f"search.starts: {error}") from None


def _build(entry: Mapping[str, Any]) -> BuildLimits:
    checks: dict[str, Callable[[Any, str], Any]] = {
        "cores": _positive,
        "memory": _quantity(parse_bytes),
        "seconds": _above_zero,
        "cpu_seconds": _above_zero,
        "processes": _positive,
        "file_bytes": _quantity(parse_bytes),
    }
    _known(entry, checks, "budget.build.")
    return BuildLimits(**{key: _get(entry, key, "budget.build.", check) for key, check in checks.items() if key in entry})


def _tier(entry: Mapping[str, Any], where: str) -> DeviceTier:
    checks = {limit.name: _quantity(limit.parse) for limit in LIMITS}
    _known(entry, {"name", *checks}, where)
    limits = {key: _get(entry, key, where, check) for key, check in checks.items() if key in entry}
    return DeviceTier(name=_get(entry, "name", where, _text), **limits)


def _own(entry: Mapping[str, Any], where: str) -> OwnTask:
    checks: dict[str, Callable[[Any, str], Any]] = {
        "file": _text,
        "target": _text,
        "metric": _one_of(RANKING_METRICS),
        "unit": _text,
        "folds": _positive,
        "margin": _above_zero,
        "drop": _texts,
        "modality": _one_of(MODALITIES),
    }
    _known(entry, checks, where)
    suffix = Path(_get(entry, "file", where, _text)).suffix.lower()
    if suffix not in (".csv", ".parquet", ".npz"):
        raise UserError(f"{where}file must end in .csv, .parquet or .npz, not {suffix or 'nothing'!r}")
    needed = ["target", "metric", *(["modality"] if suffix == ".npz" else [])]
    values = {key: _get(entry, key, where, check) for key, check in checks.items() if key in entry or key in needed}
    own = OwnTask(**values)
    if own.folds < 2:
        raise UserError(f"{where}folds must be at least 2")
    if suffix != ".npz" and own.modality != "tabular":
        raise UserError(f"{where}modality: a {suffix} file holds a table, so it cannot be {own.modality!r}")
    if own.unit == own.target or own.target in own.drop or own.unit in own.drop:
        raise UserError(f"{where}target, unit and drop must name different columns")
    return own


def _measure(entry: Mapping[str, Any]) -> MeasureOptions:
    _known(entry, {"processes", "rounds", "calls"}, "measure.")
    return MeasureOptions(**{key: _get(entry, key, "measure.", _positive) for key in entry})


# The checks below take a value and the key it stands at, and return it or raise UserError naming the key.


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # TOML can say numbers and nestings that Python does not print
        return "this value"


def _known(entry: Mapping[str, Any], keys: Collection[str], where: str) -> None:
    for key in entry:
        if key not in keys:
            raise UserError(f"unknown key {where}{key}{nearest(key, keys)}")


def _get(entry: Mapping[str, Any], key: str, where: str, check: Callable[[Any, str], Any]) -> Any:
    if key not in entry:
        raise UserError(f"{where}{key} is missing")
    return check(entry[key], f"{where}{key}")


def _table(entry: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    value = entry.get(key, {})
    if not isinstance(value, Mapping):
        raise UserError(f"{where}{key} must be a table")
    return value


def _tables(entry: Mapping[str, Any], key: str, where: str) -> Sequence[Mapping[str, Any]]:
    value = entry.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise UserError(f"{where}{key} must be an array of tables: [[{where}{key}]]")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise UserError(f"{where} must be a text, not {_shown(value)}")
    return value


def _texts_or_none(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UserError(f"{where} must be an array of texts, not {_shown(value)}")
    return tuple(_text(item, where) for item in value)


def _texts(value: Any, where: str) -> tuple[str, ...]:
    texts = _texts_or_none(value, where)
    if not texts or len(set(texts)) < len(texts):
        raise UserError(f"{where} must name at least one, and each once")
    return texts


def _indices(value: Any, where: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or not all(type(item) is int and 0 <= item < 2**32 for item in value):
        raise UserError(f"{where} must be an array of whole numbers from 0 to 2**32 - 1, not {_shown(value)}")
    if len(set(value)) < len(value):
        raise UserError(f"{where} must name each number once")
    return tuple(value)


def _folds(value: Any, where: str) -> tuple[int, ...] | None:
    return None if value == ALL else _indices(value, where)


def _one_of(choices: Collection[str]) -> Callable[[Any, str], str]:
    def check(value: Any, where: str) -> str:
        if value not in choices:
            raise UserError(f"{where} must be one of {', '.join(choices)}, not {_shown(value)}")
        return str(value)

    return check


def _positive(value: Any, where: str) -> int:
    if type(value) is not int or not 1 <= value < 2**32:
        raise UserError(f"{where} must be a whole number from 1 to 2**32 - 1, not {_shown(value)}")
    return value


def _parts(value: Any, where: str) -> int:
    if type(value) is not int or not 1 <= value <= 20:
        raise UserError(f"{where} must be a whole number from 1 (no cross-validation) to 20, not {_shown(value)}")
    return value


def _above_zero(value: Any, where: str) -> float:
    if type(value) not in (int, float) or not 0 < value <= sys.float_info.max:
        raise UserError(f"{where} must be a number above 0, not {_shown(value)}")
    return float(value)


def _durations(value: Any, where: str) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise UserError(f"{where} must be an array of numbers above 0, not {_shown(value)}")
    seconds = tuple(_above_zero(one, where) for one in value)
    if len(set(seconds)) < len(seconds):
        raise UserError(f"{where} must name each number once")
    return seconds


def _scalar(value: Any, where: str) -> Scalar:
    if not isinstance(value, str) and not (isinstance(value, int | float) and abs(value) <= sys.float_info.max):
        raise UserError(f"{where} must be a finite number, a text or a truth value, not {_shown(value)}")
    return value


def _quantity(parse_quantity: Callable[[str], Any]) -> Callable[[Any, str], Any]:
    def check(value: Any, where: str) -> Any:
        text = _text(value, where)
        try:
            return parse_quantity(text)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None

    return check
