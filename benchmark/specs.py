"""What plugins declare. A spec is frozen and import-free: it names its code as ``"module:attribute"``, which is only
imported in a child process, so that listing hundreds of plugins costs nothing."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Scalar: TypeAlias = bool | int | float | str
Modality: TypeAlias = Literal["image", "sequence", "tabular"]
Stage: TypeAlias = Literal["start", "model", "artifact"]
Output: TypeAlias = Literal["logits", "probabilities"]

MODALITIES: tuple[Modality, ...] = ("image", "sequence", "tabular")
STAGES: tuple[Stage, ...] = ("start", "model", "artifact")
OUTPUTS: tuple[Output, ...] = ("logits", "probabilities")
FORMATS = ("onnx", "tflite", "pte", "torch", "pt2", "stablehlo", "packed")
METRICS = ("accuracy", "balanced_accuracy", "roc_auc", "log_loss", "brier", "recall_5_1")
"""The closed list of metrics; ``measure.quality`` computes them. A task's first one ranks, so it must grow with quality."""
RANKING_METRICS = ("accuracy", "balanced_accuracy", "roc_auc")
DEVICE_COUNTS = ("flash_bytes", "ram_bytes", "arena_bytes", "instructions_m4", "instructions_m7")
"""What a ``Predictor`` may tell of a device in whole numbers; each is a column."""

SEARCH_PARAMS = ("seconds", "tier", "warm")
"""What names a search beside its searcher and that one's parameters."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
_CHECKSUM = re.compile(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Param:
    """A parameter of a back end or pass, with its default and, where it has one, its range or its choices. ``modalities``: of the
    tasks on which a search varies it, where on others it changes nothing."""

    name: str
    default: Scalar
    low: float | None = None
    high: float | None = None
    scale: Literal["linear", "log"] = "linear"
    choices: tuple[Scalar, ...] = ()
    modalities: tuple[Modality, ...] = MODALITIES

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"parameter name {self.name!r} is not an identifier")
        if reason := self.refuses(self.default):
            raise ValueError(f"parameter {self.name}: default {reason}")
        if self.scale == "log" and self.low is not None and self.high is not None and not self.low > 0:
            raise ValueError(f"parameter {self.name}: a logarithmic range begins above 0")

    @property
    def options(self) -> tuple[Scalar, ...]:
        """The values of one that has not a range but few of them."""
        return (False, True) if isinstance(self.default, bool) else self.choices

    @property
    def varies(self) -> bool:
        """Whether a search may choose its value: it has choices, or both ends of a range."""
        return bool(self.options) or (self.low is not None and self.high is not None)

    def refuses(self, value: object) -> str:
        """Why ``value`` is not allowed, or an empty string. An int is accepted where the default is a float."""
        kinds: tuple[type, ...] = (int, float) if isinstance(self.default, float) else (type(self.default),)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            return f"{value!r} is not of type {type(self.default).__name__}"
        if self.choices and value not in self.choices:
            return f"{value!r} is not one of {', '.join(map(repr, self.choices))}"
        if isinstance(value, int | float) and not isinstance(value, bool):
            if not abs(value) <= sys.float_info.max:
                return f"{value!r} is not a finite number"
            if self.low is not None and not value >= self.low:
                return f"{value!r} is below {self.low:g}"
            if self.high is not None and not value <= self.high:
                return f"{value!r} is above {self.high:g}"
        return ""


@dataclass(frozen=True, kw_only=True)
class _Spec:
    """What all specs share.

    ``target``: the code, ``"module:attribute"``. ``requires``: import name -> distribution that provides it, or None for
    one of PocketBench's own plugin packages; their versions enter the ids of the steps. ``extra``: the extra of the
    plugin's own distribution that installs them, for the hint shown when one is missing. ``tools``: programs that it runs ->
    the command that installs each; what they print for ``--version`` enters ids too.
    """

    name: str
    target: str
    summary: str
    requires: Mapping[str, str | None] = field(default_factory=dict)
    extra: str = ""
    tools: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r}: use letters, digits, '-', '_' and '.'")
        if not _TARGET.fullmatch(self.target):
            raise ValueError(f"{self.name}: target {self.target!r} is not of the form 'module:attribute'")
        if not isinstance(self.requires, Mapping):
            raise ValueError(f"{self.name}: requires must map import names to distributions")
        if odd := [module for module in self.requires if not module.isidentifier()]:
            # Looking for "a.b" would import a.
            raise ValueError(f"{self.name}: requires {odd[0]!r}: write the import name of a top-level package")
        if not isinstance(self.tools, Mapping) or not all(isinstance(one, str) and one for one in self.tools.values()):
            raise ValueError(f"{self.name}: tools must map programs to the commands that install them")


def _check_params(name: str, params: tuple[Param, ...]) -> None:
    names = [param.name for param in params]
    if twice := [one for one in names if names.count(one) > 1]:
        raise ValueError(f"{name}: two parameters are called {twice[0]}")


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A data file that is not shipped. ``name``: its path below a mirror or the cache, with slashes. ``checksum``:
    ``md5:<hex>`` or ``sha256:<hex>`` of its content, or with ``unpacked`` of what gzip makes of it (compressed again, the
    same data is other bytes). ``url``: its official address; empty for what only a mirror has."""

    name: str
    checksum: str
    url: str = ""
    unpacked: bool = False

    def __post_init__(self) -> None:
        if not _FILE_NAME.fullmatch(self.name):
            raise ValueError(f"data file {self.name!r}: use letters, digits, '-', '_', '.' and slashes between them")
        if not _CHECKSUM.fullmatch(self.checksum):
            raise ValueError(f"data file {self.name}: checksum {self.checksum!r} is neither md5:<hex> nor sha256:<hex>")


@dataclass(frozen=True, kw_only=True)
class Published:
    """A result that others published for the same test rows: of ``fold``, or where it is None of all. ``scores``: metric ->
    value. ``source``: where to look it up."""

    method: str
    scores: Mapping[str, float]
    source: str
    fold: int | None = None

    def __post_init__(self) -> None:
        if unknown := [metric for metric in self.scores if metric not in METRICS]:
            raise ValueError(f"published result of {self.method}: unknown metric {unknown[0]!r}; known: {', '.join(METRICS)}")


@dataclass(frozen=True, kw_only=True)
class TaskSpec(_Spec):
    """A task: data, metric and the unit of resampling. Code: a class satisfying :class:`benchmark.TaskCode`.

    ``metrics``: names from the closed list, the ranking one first. ``margin``: the non-inferiority margin of the ranking
    metric, fixed before any result. ``unit``: what is resampled (``"row"``, ``"patient"``). ``folds``: how many there are.
    ``class_weight``: a weight per class, or None. ``sensitive``: names of sensitive columns, whose groups are scored apart.
    ``options``: what the class is made with, as keyword arguments, so that one class can serve several tasks. ``sources``: sets
    of data files of which any one will do, the official one first (see :func:`benchmark.fetch`). ``published``: results to
    print beside ours. ``shares_rows``: names of tasks that hold some of the same rows: a network trained on one of them may have
    seen this one's test rows, so none is transferred between them.
    """

    version: str
    modality: Modality
    metrics: tuple[str, ...]
    margin: float
    unit: str
    folds: int
    licence: str
    citation: str
    class_weight: tuple[float, ...] | None = None
    sensitive: tuple[str, ...] = ()
    options: Mapping[str, Scalar] = field(default_factory=dict)
    sources: tuple[tuple[DataFile, ...], ...] = ()
    published: tuple[Published, ...] = ()
    shares_rows: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.modality not in MODALITIES:
            raise ValueError(f"{self.name}: modality {self.modality!r} is not one of {', '.join(MODALITIES)}")
        if unknown := [metric for metric in self.metrics if metric not in METRICS]:
            raise ValueError(f"{self.name}: unknown metric {unknown[0]!r}; known: {', '.join(METRICS)}")
        if not self.metrics or self.metrics[0] not in RANKING_METRICS:
            raise ValueError(f"{self.name}: the first metric must be one of {', '.join(RANKING_METRICS)}")
        if odd := [name for name in self.sensitive if not _NAME.fullmatch(name)]:
            raise ValueError(f"{self.name}: sensitive column {odd[0]!r}: use letters, digits, '-', '_' and '.'")
        if self.folds < 1 or not self.margin > 0:
            raise ValueError(f"{self.name}: folds and margin must be above zero")


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What an export to one format requires beside its back end, or what a tracker requires: ``requires`` and ``extra`` as those
    of a spec."""

    requires: Mapping[str, str]
    extra: str = ""


@dataclass(frozen=True, kw_only=True)
class BackendSpec(_Spec):
    """A back end: trains references and exports checkpoints. Code: a class satisfying :class:`benchmark.BackendCode`.

    ``architectures``: modality -> names, the default one first. ``exports``: formats it can write, the default one first.
    ``needs``: format -> what only its export requires. ``output``: what its artifacts return. ``params``: the training
    parameters, which every pass of this back end sees as ``context.training``; ``updates`` (optimizer steps) must be among them
    where training has a length.
    """

    architectures: Mapping[Modality, tuple[str, ...]]
    exports: tuple[str, ...]
    output: Output
    params: tuple[Param, ...] = ()
    needs: Mapping[str, Needs] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [name for name in self.needs if name not in self.exports]:
            raise ValueError(f"{self.name}: needs {unknown[0]!r}, a format that it does not export")
        if unknown := [name for name in self.exports if name not in FORMATS]:
            raise ValueError(f"{self.name}: unknown format {unknown[0]!r}; known: {', '.join(FORMATS)}")
        if not self.exports:
            raise ValueError(f"{self.name}: a back end must export at least one format")
        if self.output not in OUTPUTS:
            raise ValueError(f"{self.name}: output {self.output!r} is not one of {', '.join(OUTPUTS)}")
        if unknown := [name for name in self.architectures if name not in MODALITIES]:
            raise ValueError(f"{self.name}: unknown modality {unknown[0]!r}; known: {', '.join(MODALITIES)}")
        if not all(self.architectures.values()):
            raise ValueError(f"{self.name}: a modality without architectures; leave it out")
        _check_params(self.name, self.params)


@dataclass(frozen=True, kw_only=True)
class CompressorSpec(_Spec):
    """A pass. Code: a class satisfying :class:`benchmark.CompressorCode`.

    ``stage``: ``start`` replaces the training of the reference by one of its own, ``model`` maps a checkpoint to a
    checkpoint (both belong to one ``backend``), ``artifact`` maps an artifact in one of the formats ``accepts`` to one in
    the format ``produces``, whatever back end it came from. ``uses_reference``: it is given the reference as teacher.
    ``uses_task``: the name of a parameter of type str that names a task, of whose fold 0 it is given the reference as
    ``context.source``; none where the parameter is empty.
    ``anywhere``: a start pass that may also stand behind others on checkpoints; there it is a model pass, given their checkpoint.
    ``last``: what it saves is no checkpoint that other model passes could change, so none may follow it in a recipe.
    ``exports``: of a pass on checkpoints the only formats that what it saves can be exported to; empty for all of its back end's.
    ``citations``: whom to cite for it, a sentence each, with a doi or an arXiv number.
    """

    stage: Stage
    backend: str | None = None
    accepts: tuple[str, ...] = ()
    produces: str | None = None
    uses_reference: bool = False
    uses_task: str = ""
    anywhere: bool = False
    last: bool = False
    exports: tuple[str, ...] = ()
    params: tuple[Param, ...] = ()
    citations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stage not in STAGES:
            raise ValueError(f"{self.name}: stage {self.stage!r} is not one of {', '.join(STAGES)}")
        if (self.stage == "artifact") != (self.backend is None):
            raise ValueError(f"{self.name}: start and model passes name a backend, artifact passes do not")
        if self.anywhere and self.stage != "start":
            raise ValueError(f"{self.name}: anywhere is said of start passes alone")
        if self.backend is not None and not _NAME.fullmatch(self.backend):
            raise ValueError(f"{self.name}: backend {self.backend!r}: use letters, digits, '-', '_' and '.'")
        if any((self.stage == "artifact") != bool(formats) for formats in (self.accepts, self.produces)):
            raise ValueError(f"{self.name}: artifact passes, and only they, name the formats they accept and produce")
        if unknown := [name for name in (*self.accepts, self.produces) if name and name not in FORMATS]:
            raise ValueError(f"{self.name}: unknown format {unknown[0]!r}; known: {', '.join(FORMATS)}")
        if unknown := [name for name in self.exports if name not in FORMATS]:
            raise ValueError(f"{self.name}: unknown format {unknown[0]!r}; known: {', '.join(FORMATS)}")
        if self.exports and self.stage == "artifact":
            raise ValueError(f"{self.name}: exports are those of a checkpoint, and this one works on artifacts")
        if self.last and self.stage == "artifact":
            raise ValueError(f"{self.name}: last is about passes on checkpoints, and this one works on artifacts")
        texts = [param.name for param in self.params if isinstance(param.default, str)]
        if self.uses_task and (self.stage == "artifact" or self.uses_task not in texts):
            raise ValueError(
                f"{self.name}: uses_task {self.uses_task!r} must be a parameter of type str of a pass on checkpoints"
            )
        _check_params(self.name, self.params)

    def stage_at(self, position: int) -> Stage:
        """Its stage as the pass at this position of a recipe, counted from 0."""
        return "model" if self.anywhere and position else self.stage


@dataclass(frozen=True, kw_only=True)
class RuntimeSpec(_Spec):
    """A runtime: loads artifacts of some formats and predicts. Code: a class satisfying :class:`benchmark.RuntimeCode`.

    ``emulates``: the device that it stands for. How long it takes here, and in how much memory, says nothing of that device, so
    neither is measured; what is known of it instead, its ``Predictor`` tells (``device``). ``rows``: validation and test rows
    that it is scored on, where all of them would take too long: so many evenly spaced ones, at least 100. ``writes``: names of
    the forms in which it can write an artifact for somebody to build on, such as ``"c"``.
    """

    formats: tuple[str, ...]
    emulates: str = ""
    rows: int | None = None
    writes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.formats:
            raise ValueError(f"{self.name}: a runtime must load at least one format")
        if self.rows is not None and self.rows < 100:
            raise ValueError(f"{self.name}: rows must be at least 100: a score of fewer tells little")
        if unknown := [name for name in self.formats if name not in FORMATS]:
            raise ValueError(f"{self.name}: unknown format {unknown[0]!r}; known: {', '.join(FORMATS)}")


@dataclass(frozen=True, kw_only=True)
class SearcherSpec(_Spec):
    """A searcher: proposes models until time is over. Code: a class satisfying :class:`benchmark.SearcherCode`. ``params``: what
    a suite may give it, as in ``optuna(sampler="nsga2")``."""

    params: tuple[Param, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_params(self.name, self.params)
        if taken := [param.name for param in self.params if param.name in SEARCH_PARAMS]:
            raise ValueError(f"{self.name}: parameter {taken[0]} is the search's own, by which its rows are named")


@dataclass(frozen=True, kw_only=True)
class TrackerSpec(_Spec):
    """A tracker, as the registry declares it of a plugin that implements ``benchmark_cell_finished``. ``observe``: calls it with
    ``cell`` and ``row``."""

    observe: Callable[..., object] = field(compare=False)


Spec: TypeAlias = TaskSpec | BackendSpec | CompressorSpec | RuntimeSpec | SearcherSpec | TrackerSpec
