"""Data prepared again by the tasks that are installed here, against what a store says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark import data
from benchmark.data import Prepared
from benchmark.errors import UserError, described
from benchmark.jobs import Jobs, of_preparation
from benchmark.plan import plan_preparation
from benchmark.registry import Registry
from benchmark.suite import Suite
from benchmark.verify.findings import Findings, count
from benchmark.verify.subject import Fold, Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray


def prepare_again(subject: Subject, jobs: Jobs, findings: Findings) -> dict[tuple[str, int], Fold]:
    """Prepares each fold of the results, by the tasks that are installed here; returns those that could be."""
    folds: dict[tuple[str, int], Fold] = {}
    wanted = dict.fromkeys((cell.task, cell.fold, cell.prepare) for cell in subject.cells if cell.prepare)
    for task, fold, id_ in wanted:
        where = f"{task} · fold {fold}"
        if id_ not in subject.results or subject.results[id_].outcome != "ok":
            continue  # there is nothing to compare with, and its cells have no score
        findings.tell(f"{where}: prepare again")
        try:
            found = _prepare_fold(task, fold, subject.registry, jobs)
        except (UserError, OSError, ValueError) as error:
            findings.cannot(f"{where}: its data, and with it all scores: {error}")
            continue
        except Exception as error:  # whatever tasks and suites of others come to
            findings.cannot(f"{where}: its data, and with it all scores: {described(error)}")
            continue
        folds[task, fold] = found
        with findings.guarded(f"{where}: what store.sqlite has of the data"):
            _compare_fold(where, id_, found, subject, findings)
    if folds:
        findings.did(f"data of {count(len(folds), 'fold')} prepared again")
    return folds


def _prepare_fold(task: str, fold: int, registry: Registry, jobs: Jobs) -> Fold:
    suite = Suite(name="verify", tasks=(task,), backends=(), recipes=(), folds=(fold,))
    step = plan_preparation(suite, registry).get((task, fold))
    if step is None:
        raise UserError(f"task {task} {registry.tasks[task].hint}")
    report = jobs.run([of_preparation(step)])[step.id]
    if report is None or report.outcome != "ok":
        raise UserError(f"it was not prepared: {report.reason if report else 'the process ended, or took too long'}")
    folder = jobs.step(step.id) / "output"
    prepared = Prepared.of(report.facts)
    return Fold(prepared, folder, {**data.load_truth(folder), **data.baselines(folder, len(prepared.classes))})


def _compare_fold(where: str, id_: str, fold: Fold, subject: Subject, findings: Findings) -> None:
    facts, right = subject.results[id_].facts, {}
    for name in ("fingerprint", "input_shape", "classes", "notes"):
        value = getattr(fold.prepared, name)
        value = list(value) if isinstance(value, tuple) else value
        if facts.get(name) != value:
            findings.changed(where, f"{name} in store.sqlite", facts.get(name), value)
            right[name] = value
    wrong = False
    for name, array in fold.arrays.items():
        try:
            stored = subject.store.array(id_, name)
        except KeyError:
            wrong = True
            findings.differ(f"{where}: {name}: it is missing in store.sqlite")
            continue
        if equal(stored, array):
            continue
        wrong = True
        if stored.shape != array.shape:
            findings.changed(where, f"shape of {name} in store.sqlite", stored.shape, array.shape)
        else:
            rows = (stored != array).reshape(len(array), -1).any(axis=1)
            findings.differ(f"{where}: {name}: {int(rows.sum())} of {len(array)} rows in store.sqlite are not those of the task")
    if right or wrong:
        subject.put_right(id_, right, dict(fold.arrays))


def equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether arrays are equal; floats as far as another machine's sums are."""
    if one.shape != other.shape or one.dtype.kind != other.dtype.kind:
        return False
    return bool(np.allclose(one, other, rtol=0, atol=1e-6) if one.dtype.kind == "f" else np.array_equal(one, other))
