"""The host's side: starts the rendering child, unless what it would render stands there already."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmark.errors import USER_MISTAKE, UserError
from benchmark.plan import stored_cells
from benchmark.registry import files_digest
from benchmark.store import open_store

FILES = (
    *("leaderboard.md", "leaderboard.csv", "leaderboard.json", "leaderboard.tex", "macros.tex", "references.bib"),
    *("rows.csv", "rows.json"),
)
PAGE = "report/index.html"
_KEY = ".rendered"


def render(root: Path) -> Path:
    """Renders the results folder ``root``; returns the Markdown leaderboard. Skipped when neither the results nor the code nor
    what was written has changed."""
    key = _key(root)
    stamp = root / _KEY
    if not (
        all((root / name).exists() for name in (*FILES, PAGE))
        and stamp.exists()
        and stamp.read_text(encoding="ascii") == f"{key} {_written(root)}"
    ):
        _child(root)
        stamp.write_text(f"{key} {_written(root)}", encoding="ascii")
    return root / FILES[0]


def draw(root: Path) -> int:
    """Draws the plots of the results folder ``root``, into its folder ``plots``; returns how many files they are."""
    _child(root, "plots")
    return len(list((root / "plots").iterdir()))


def _child(root: Path, *what: str) -> None:
    command = [sys.executable, "-m", "benchmark.render", str(root), *what]
    # Its products of matrices are small: threads that wait for one another take longer, twice as long where a core is busy.
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    child = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=alone, check=False)
    if child.returncode == USER_MISTAKE:
        raise UserError(child.stderr)
    sys.stderr.write(child.stderr)
    child.check_returncode()


def _written(root: Path) -> str:
    """Digest of the files: others read them, so that one that was edited or cut must not stand."""
    return hashlib.sha256(b"".join(hashlib.sha256((root / name).read_bytes()).digest() for name in FILES)).hexdigest()


def _key(root: Path) -> str:
    """Digest of what the files depend on: the grid, the results of its steps, and the code."""
    store = open_store(root / "store.sqlite")
    try:
        ids = {id_ for cell in stored_cells(store) for id_ in cell.steps()}
        ended = sorted((one.id, one.outcome, one.finished_utc) for one in store.results(ids).values())
        package = Path(__file__).parent.parent
        code = files_digest(package, [*package.rglob("*.py"), *(package / "render" / "report").iterdir()])
        return hashlib.sha256(json.dumps([store.cells(), ended, store.meta("suite"), code]).encode()).hexdigest()
    finally:
        store.close()
