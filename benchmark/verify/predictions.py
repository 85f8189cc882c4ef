"""Predictions: scored again by labels prepared here, and given again by the artifacts."""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from benchmark import data, folders, limits
from benchmark.jobs import Jobs, key_of
from benchmark.limits import sandbox
from benchmark.measure import outputs, quality
from benchmark.plan import Cell
from benchmark.registry import Provider, ingredients
from benchmark.specs import BackendSpec, RuntimeSpec, TaskSpec
from benchmark.verify.findings import Findings, count, leaves
from benchmark.verify.prepared import equal
from benchmark.verify.subject import SPLITS, Fold, Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

Folds: TypeAlias = Mapping[tuple[str, int], Fold]
_ROUNDING = 1e-3  # of the range of a model's outputs: what the same arithmetic in another order comes to
_MOST_BYTES = 256 * 1024**2


def score_again(subject: Subject, folds: Folds, findings: Findings) -> None:
    """Scores stored predictions by the labels of the data prepared here."""
    scored = 0
    for id_, cell in subject.evaluated().items():
        with findings.guarded(f"{cell.label}: its predictions in store.sqlite"):
            scored += _score(id_, cell, subject, folds, findings)
    findings.did(f"predictions of {count(scored, 'evaluation')} scored again")


def _score(id_: str, cell: Cell, subject: Subject, folds: Folds, findings: Findings) -> bool:
    fold = folds.get((cell.task, cell.fold))
    if fold is None:
        return False
    facts, right = subject.results[id_].facts, {}
    spec = cast(TaskSpec, subject.registry.tasks[cell.task].spec)
    predictions = {split: subject.store.array(id_, split) for split in SPLITS}
    for split, given in predictions.items():
        y = _labels(id_, split, fold, subject)
        if reason := quality.check(given, len(y), len(fold.prepared.classes)):
            findings.differ(f"{cell.label}: {split} predictions in store.sqlite: {reason}")
            continue
        right[split] = _scores(given, y, cell, subject)
    wrong = False
    for split, scores in right.items():
        for path, stands, here in leaves(facts["scores"][split], scores):
            wrong = True
            name = path.removeprefix(".values.").removeprefix(".")
            column = {("test", spec.metrics[0]): "score", ("validation", spec.metrics[0]): "val_score"}.get((split, name))
            findings.changed(cell.label, f"{column or split} ({name}) in store.sqlite", stands, here)
    if wrong:
        subject.put_right(id_, {"scores": {**facts["scores"], **right}}, predictions)
    return True


def _labels(id_: str, split: str, fold: Fold, subject: Subject) -> NDArray[Any]:
    """The labels of the rows that an evaluation ran."""
    y = fold.arrays[f"{split}_y"]
    labels: NDArray[Any] = y[outputs.sample(len(y), subject.results[id_].ingredients.get("rows"))]
    return labels


def _scores(given: NDArray[np.float32], y: NDArray[Any], cell: Cell, subject: Subject) -> dict[str, dict[str, Any]]:
    """Scores of predictions by the metrics and the kind of outputs that are declared here."""
    spec = cast(TaskSpec, subject.registry.tasks[cell.task].spec)
    backend = subject.registry.backends.get(cell.backend)
    kind = cast(BackendSpec, backend.spec).output if backend else cell.output
    found = quality.evaluate(given, y, spec.metrics, cast(Any, kind))
    return {"values": dict(found.values), "reasons": dict(found.reasons)}


def run_again(subject: Subject, folds: Folds, sound: Collection[str], jobs: Jobs, findings: Findings) -> None:
    """Runs artifacts on the data prepared here: what was stored must be what they give for these very rows in this order."""
    told: dict[str, dict[str, Any]] = {}
    run: dict[str, tuple[str, Cell, Provider]] = {}
    for id_, cell in subject.evaluated().items():
        with findings.guarded(f"{cell.label}: how it was evaluated"):
            fold, digest = folds.get((cell.task, cell.fold)), subject.shipped(cell)
            runtime = subject.registry.runtimes.get(cell.runtime)
            if fold is None or digest not in sound:
                continue  # said already
            if runtime is None or runtime.missing:
                why = runtime.hint if runtime else "is not installed"
                findings.cannot(f"{cell.label}: what its artifact gives: runtime {cell.runtime} {why}")
                continue
            threads = subject.results[id_].ingredients.get("threads")
            threads = threads if isinstance(threads, int) and 1 <= threads <= len(limits.available_cores()) else 1
            key = key_of("evaluate", digest, cell.runtime, cell.task, str(cell.fold), str(threads))
            spec = cast(RuntimeSpec, runtime.spec)
            settings = {
                "output_kind": cell.output,
                "metrics": list(cell.metrics),
                "rows": spec.rows,
                "emulates": spec.emulates,
            }
            inputs = {"data": str(fold.folder / data.INPUTS)}
            told[key] = jobs.of_artifact(key, "evaluate", runtime, subject.layout, digest, inputs, settings, threads)
            run[id_] = key, cell, runtime
    findings.tell(f"{count(len(told), 'evaluation')}: run again")
    reports = jobs.run(list(told.values()), [fold.folder / data.INPUTS for fold in folds.values()])
    done = 0
    for id_, (key, cell, runtime) in run.items():
        report = reports[key]
        if report is None or report.outcome != "ok":
            why = report.reason if report else "the process ended, or took too long"
            findings.cannot(f"{cell.label}: what its artifact gives: {why}")
            continue
        with findings.guarded(f"{cell.label}: what its artifact gives"):
            _compare_outputs(id_, cell, runtime, _loaded(jobs.step(key) / "arrays.npz"), subject, folds, findings)
            done += 1
    cells = sum(cell.evaluate in run for cell in subject.cells)
    where = "" if sandbox.available() else ", without a sandbox, as this kernel makes no namespaces"
    findings.did(f"artifacts of {cells} of {count(len(subject.cells), 'cell')} run again, in {count(done, 'evaluation')}{where}")


def _compare_outputs(
    id_: str,
    cell: Cell,
    runtime: Provider,
    given: Mapping[str, NDArray[Any]],
    subject: Subject,
    folds: Folds,
    findings: Findings,
) -> None:
    """Rows within rounding and with the same labels; then the scores too, since no tolerance of rows keeps others from being
    made within it."""
    stored = {split: subject.store.array(id_, split) for split in SPLITS}
    told = subject.results[id_].ingredients
    same = told.get("host_class") == limits.host_class().id and all(
        told.get(name) == value for name, value in ingredients(runtime).items()
    )
    for split in SPLITS:
        theirs, ours = stored[split], given[split]
        where = f"{cell.label}: {split} predictions in store.sqlite"
        if theirs.shape != ours.shape:
            other = " (they are those of another split)" * any(equal(theirs, one) for one in given.values())
            findings.changed(where, "shape", theirs.shape, f"{ours.shape}{other}")
            continue
        span = float(np.median(np.ptp(ours, axis=1))) or float(np.ptp(ours)) or 1.0  # of a row: one of it may lie far out
        apart = ~(np.abs(theirs - ours) <= _ROUNDING * span).all(axis=1)
        labels = int((quality.labels(theirs) != quality.labels(ours)).sum())
        if not apart.any() and not labels:
            y = _labels(id_, split, folds[cell.task, cell.fold], subject)
            stated, found = (_scores(one, y, cell, subject)["values"] for one in (theirs, ours))
            for name in stated.keys() & found.keys():
                if not math.isclose(stated[name], found[name], rel_tol=_ROUNDING, abs_tol=_ROUNDING):
                    findings.changed(where, name, stated[name], found[name])
            continue
        permuted = np.array_equal(np.sort(theirs, axis=0), np.sort(ours, axis=0))
        how = "; they are its rows in another order" * permuted + "; they are its classes in another order" * (
            not permuted and np.allclose(np.sort(theirs, axis=1), np.sort(ours, axis=1), atol=_ROUNDING * span)
        )
        line = f"{where}: {int(apart.sum())} of {len(ours)} rows are not what its artifact gives ({labels} labels differ{how})"
        if same or labels > outputs.BATCH_LIMIT * len(ours):
            findings.differ(line)
        else:
            findings.cannot(f"{line}: another machine or version of {cell.runtime} may round otherwise")


def _loaded(path: Path) -> dict[str, NDArray[Any]]:
    """What an evaluation left. Raises OSError and ValueError."""
    with np.load(io.BytesIO(folders.read_own(path, _MOST_BYTES)), allow_pickle=False) as stored:
        arrays = dict(stored)
    if sorted(arrays) != sorted(SPLITS) or not all(one.ndim == 2 and one.dtype == np.float32 for one in arrays.values()):
        raise ValueError("it left no outputs")
    return arrays
