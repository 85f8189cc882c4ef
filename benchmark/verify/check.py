"""A results folder or a bundle -> what of it was checked, what differs, and what could not be checked."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmark import bundle, folders
from benchmark.errors import UserError
from benchmark.folders import Layout
from benchmark.jobs import Jobs
from benchmark.leaderboard import Row
from benchmark.plan import Cell, stored_cells
from benchmark.registry import Registry
from benchmark.store import StepResult
from benchmark.verify.artifacts import check_artifacts, hash_all, inspect_again
from benchmark.verify.findings import Findings, count
from benchmark.verify.lineage import check_grid
from benchmark.verify.opened import check_types, open_copy, read_suite
from benchmark.verify.predictions import run_again, score_again
from benchmark.verify.prepared import prepare_again
from benchmark.verify.subject import Subject
from benchmark.verify.tables import check_rows, check_tables, compare_rows, read_text, records

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Verdict:
    """``differences``: what is not as it says. ``unchecked``: what could not be checked, and why. ``checked``: what was. One line
    each."""

    differences: tuple[str, ...]
    unchecked: tuple[str, ...]
    checked: tuple[str, ...]

    @property
    def verified(self) -> bool:
        return not (self.differences or self.unchecked)


def report(path: Path, registry: Registry) -> int:
    """Verifies and prints what was found; returns the exit code: 0 verified, 1 something differs or could not be checked."""
    verdict = verify(path, registry, lambda text: print(text, file=sys.stderr, flush=True))
    for kind, lines in (("differs", verdict.differences), ("not checked", verdict.unchecked), ("checked", verdict.checked)):
        for line in lines:
            print(f"{kind}: {line}")
    if verdict.verified:
        print("verified")
        return 0
    found = [f"{len(verdict.differences)} differ"] * bool(verdict.differences)
    found += [f"{len(verdict.unchecked)} could not be checked"] * bool(verdict.unchecked)
    print(f"not verified: {', '.join(found)}")
    return 1


def verify(path: Path, registry: Registry, tell: Tell = lambda _: None) -> Verdict:
    """Checks a results folder or a bundle. ``tell``: is told what is done, as it may take minutes. Raises UserError where there
    are no results, and for a zip that is not to be unpacked."""
    with tempfile.TemporaryDirectory(prefix=f"{folders.TEMPORARY}{os.getpid()}-") as work:
        root, name = path, str(path)
        if not path.is_dir():
            if not path.is_file():
                raise UserError(f"{path}: there is no such folder or file")
            bundle.extract(path, root := Path(work) / "bundle")
        if not any((root / one).is_file() for one in ("store.sqlite", bundle.STORE)):
            raise UserError(f"{name}: no results are there: neither store.sqlite nor {bundle.STORE}")
        found = Findings(tell)
        _check(Layout(root), Path(work), registry, found)
        return Verdict(*(tuple(dict.fromkeys(one)) for one in (found.differences, found.unchecked, found.checked)))


def _check(layout: Layout, work: Path, registry: Registry, findings: Findings) -> None:
    """Each part goes on where an earlier one found something wrong."""
    (clean := work / "clean").mkdir()
    try:
        store = open_copy(layout, clean, work / "new.sqlite")
    except UserError as error:
        findings.differ(str(error).replace(f"{clean}{os.sep}", "").replace(f"{layout.root}{os.sep}", ""))
        _without_store(layout, findings)
        return
    with closing(store):
        cells, results = list[Cell](), dict[str, StepResult]()
        with findings.guarded("store.sqlite: the grid"):
            stored = stored_cells(store)
            found = store.results(dict.fromkeys(id_ for cell in stored for id_ in cell.steps()))
            check_types(stored, found.values())
            cells, results = stored, found
        suite, registry = read_suite(layout, registry, findings)
        subject, jobs = Subject(layout, store, registry, cells, results), Jobs(work, registry.files)
        folds = prepare_again(subject, jobs, findings)
        with findings.guarded("store.sqlite: its steps"):
            check_grid(subject, suite, folds, findings)
        sound = check_artifacts(subject, findings)
        inspect_again(subject, sound, jobs, findings)
        score_again(subject, folds, findings)
        run_again(subject, folds, sound, jobs, findings)
    with findings.guarded("rows and tables"):
        check_tables(layout, clean, findings)


def _without_store(layout: Layout, findings: Findings) -> None:
    """What can be checked all the same: artifacts, and rows against each other."""
    findings.cannot("data, predictions, scores and tables: the store cannot be used")
    hash_all(layout, findings)
    with findings.guarded("rows.json"):
        rows: list[Row] = records(read_text(layout, "rows.json"), "rows.json")
        compare_rows("rows.json", rows, rows, False, findings)
        check_rows(layout, rows, ("rows.csv",), False, findings)
        findings.did(f"{count(len(rows), 'row')} of rows.json compared with rows.csv")
