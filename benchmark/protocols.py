"""What the code behind a spec is given, and what it must provide. Nothing here imports numpy: annotations only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from benchmark.space import Proposal, Space, Tried
from benchmark.specs import Modality, Output, Scalar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float32]
    Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Rows of one task and fold, in the task's layout.

    ``x``: float32, (N, C, H, W) for images, (N, C, T) for sequences, (N, D) for tables. ``y``: int64 (N,), class indices.
    ``units``: int64 (N,), the unit that each row belongs to (patient, recording, or the row itself).
    """

    x: Floats
    y: Integers
    units: Integers

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class TaskData:
    """What a task's ``load`` returns for one fold. ``classes``: the class names, in the order of the indices.
    ``preprocessing``: JSON values that a device needs to make an input (columns, categories, means, scales), fitted on
    training rows only. ``groups``: sensitive column -> the group that each test row belongs to, by name; the spec names the
    columns. ``notes``: what was decided about the data, or should be known of it, one line each; shown to the user."""

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskInfo:
    """What a back end or pass may know of the task. ``input_shape`` is that of one row, without the batch axis."""

    name: str
    modality: Modality
    metrics: tuple[str, ...]
    input_shape: tuple[int, ...]
    classes: tuple[str, ...]
    class_weight: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Context:
    """Everything that one train, pass or export is given. There is no test split.

    ``train``, ``validation``: memory-mapped. ``architecture``: name of the network. ``params``: this pass's parameters, for
    ``train`` the back end's, defaults filled in. ``training``: the back end's training parameters, for a pass that trains too
    (empty for exports and artifact passes). ``output_kind``: what the back end's artifacts return. ``threads``: use no more.
    ``input``: read-only folder of the step before, None for ``train`` and start passes. ``reference``: folder of the
    uncompressed model of the same task, fold, back end, architecture and seed, in the same kind as ``input`` (None unless
    the spec says ``uses_reference``). ``source``: folder of the checkpoint of another task's reference, of the same back end,
    architecture and seed (None unless the spec says ``uses_task``, and the recipe which). ``output``: empty folder to fill.

    ``remaining()``: seconds until the step should save and return. ``score(outputs)``: the task's ranking metric of
    (N, K) float32 outputs on the validation rows, higher is better, the only signal for early stopping and choice.
    ``log(step, **numbers)``: a point of the training curve. ``trained(updates=..., stopped_by=..., compile_seconds=...)``:
    how a training ended: ``updates``, ``early`` or ``deadline``. ``report(matched=..., changed=..., **claims)``: how many layers
    a pass looked at and changed; further values are shown as the plugin's claims.
    """

    task: TaskInfo
    train: Split
    validation: Split
    architecture: str
    params: Mapping[str, Scalar]
    training: Mapping[str, Scalar]
    output_kind: Output
    seed: int
    threads: int
    input: Path | None
    reference: Path | None
    source: Path | None
    output: Path
    remaining: Callable[[], float]
    score: Callable[[Floats], float]
    log: Callable[..., None]
    trained: Callable[..., None]
    report: Callable[..., None]


@dataclass(frozen=True)
class FinishedCell:
    """A cell that has ended, as a tracker is told of it. ``label``: how it is named to people, unique within its suite. Up to
    ``outcome``: as the columns of its row. ``curves``: (name of a step, path of its ``curve.csv``), in order, of those steps from
    training to the artifact that logged one; its first column is ``step``, all are numbers. ``output``: an existing folder to
    write into, the same for all cells and kept between runs."""

    label: str
    suite: str
    task: str
    fold: int
    backend: str
    architecture: str
    recipe: str
    runtime: str
    seed: int
    outcome: str
    curves: tuple[tuple[str, Path], ...]
    output: Path


class TaskCode(Protocol):
    """Code behind a TaskSpec. An optional method ``trivial(train: Split, x) -> float32 (N, K)`` is the one-feature
    baseline to beat: probabilities for inputs ``x``, called with validation and test inputs, never with their labels."""

    def load(self, fold: int) -> TaskData:
        """Returns the three splits of ``fold`` (0 <= fold < folds), encoded in the task's layout."""


class BackendCode(Protocol):
    """Code behind a BackendSpec."""

    def train(self, context: Context) -> None:
        """Trains ``context.architecture`` on ``context.train`` and saves a checkpoint into ``context.output``."""

    def export(self, context: Context, format: str) -> None:
        """Writes the checkpoint ``context.input`` as an artifact of ``format`` into ``context.output``."""


class CompressorCode(Protocol):
    """Code behind a CompressorSpec."""

    def compress(self, context: Context) -> None:
        """Reads ``context.input`` (unless it is a start pass) and fills ``context.output``."""


class Predictor(Protocol):
    """A loaded artifact. An optional method ``device() -> Mapping``, called after ``predict`` has seen all its rows, tells what
    is known of it on the device that it is for: some of ``flash_bytes``, ``ram_bytes``, ``arena_bytes`` (whole numbers),
    ``instructions_m4`` and ``instructions_m7`` (of one input), ``label_agreement`` (share of these rows with the label that
    ONNX Runtime gives), and by any other name a text, such as a compiler's version or its flags."""

    def predict(self, x: Floats) -> Floats:
        """Outputs, float32 (N, K), on the host and complete, for inputs float32 (N, ...)."""


class RuntimeCode(Protocol):
    """Code behind a RuntimeSpec. An optional method ``identity(folder, input_shape)`` writes the smallest artifact that
    takes one input of this shape and does nothing of use: its latency and memory are the runtime's floor. One that decodes a
    format to ONNX has a method ``onnx(folder) -> bytes``, which gives that model: what an artifact computes and holds in memory
    is read from it. One whose spec ``writes`` forms has a method ``write(folder, form, x, output)``, which fills the folder
    ``output`` with the artifact in that form and a check of it on the rows ``x``, float32 (N, ...)."""

    def load(self, folder: Path, threads: int) -> Predictor:
        """Loads the artifact in ``folder``, to run with at most ``threads`` threads."""


class SearcherCode(Protocol):
    """Code behind a SearcherSpec. Made anew for each proposal, in a process of its own that sees no data: what it knows is what
    it is given, so that the same history leads to the same proposal."""

    def propose(self, space: Space, history: Sequence[Tried], seconds_left: float) -> Proposal | None:
        """What to try next, given everything that was tried, in order; None to end the search. Draw from ``space.seed`` and
        ``len(history)``; propose ``space.starts`` first."""
