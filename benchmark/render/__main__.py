"""The rendering child: ``python -m benchmark.render RESULTS_FOLDER [plots]``. Reads the store, writes the files, or the plots."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmark import bundle, leaderboard
from benchmark.errors import USER_MISTAKE, UserError, of_the_disk
from benchmark.folders import Layout
from benchmark.plan import stored_cells
from benchmark.render.html import write_report
from benchmark.render.latex import to_latex
from benchmark.render.markdown import to_markdown
from benchmark.render.paper import to_bibtex, to_macros
from benchmark.render.tabular import methods_to_csv, methods_to_json, proposals_to_csv, to_csv, to_json
from benchmark.store import open_store


def main(folder: str) -> int:
    """Renders a results folder. Each file is complete before it takes its name."""
    root = Path(folder)
    store = open_store(root / "store.sqlite")
    try:
        drawn: leaderboard.Drawn = {}
        rows = leaderboard.rows(store, drawn)
        tables, suite = leaderboard.tables(store, rows, drawn), {**store.meta("suite"), "bundle": bundle.digest(root)}
        texts = {
            "rows.csv": to_csv(rows),
            "rows.json": to_json(rows),
            "leaderboard.csv": methods_to_csv(tables),
            "leaderboard.json": methods_to_json(tables),
            "leaderboard.tex": to_latex(tables, rows, suite),
            "macros.tex": to_macros(tables),
            "references.bib": to_bibtex(suite),
            "leaderboard.md": to_markdown(tables, rows, suite),
        }
        try:
            for name, text in texts.items():
                _write(root / name, text)
            if searches := leaderboard.searches(store):
                _write(root / "searches.csv", proposals_to_csv(searches))
            else:
                (root / "searches.csv").unlink(missing_ok=True)
            part = root / "report.part"
            shutil.rmtree(part, ignore_errors=True)
            write_report(store, rows, tables, suite, Layout(root), part)
            shutil.rmtree(root / "report", ignore_errors=True)
            part.rename(root / "report")
        except OSError as error:
            raise of_the_disk(root, error) or error from None
    finally:
        store.close()
    return 0


def plot(folder: str) -> int:
    """Draws the plots of a results folder."""
    from benchmark.render.plots import write_plots  # half a second of imports that tables do not need

    root = Path(folder)
    store = open_store(root / "store.sqlite")
    try:
        drawn: leaderboard.Drawn = {}
        rows = leaderboard.rows(store, drawn)
        part = root / "plots.part"
        shutil.rmtree(part, ignore_errors=True)
        tables, searches = leaderboard.tables(store, rows, drawn), leaderboard.searches(store)
        write_plots(tables, stored_cells(store), Layout(root), part, searches)
        shutil.rmtree(root / "plots", ignore_errors=True)
        part.rename(root / "plots")
    except OSError as error:
        raise of_the_disk(root, error) or error from None
    finally:
        store.close()
    return 0


def _write(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)  # a part that a full disk took is of no use


if __name__ == "__main__":
    try:
        sys.exit(plot(sys.argv[1]) if sys.argv[2:] == ["plots"] else main(sys.argv[1]))
    except UserError as mistake:
        print(mistake, file=sys.stderr)
        sys.exit(USER_MISTAKE)
