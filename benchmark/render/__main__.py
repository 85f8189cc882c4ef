"""The rendering child: ``python -m benchmark.render RESULTS_FOLDER``. Reads the store, writes the files."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmark import leaderboard
from benchmark.render.latex import to_latex
from benchmark.render.markdown import to_markdown
from benchmark.render.tabular import to_csv, to_json
from benchmark.store import open_store


def main(folder: str) -> int:
    """Renders a results folder. Each file is complete before it takes its name."""
    root = Path(folder)
    store = open_store(root / "store.sqlite")
    try:
        rows = leaderboard.rows(store)
        tables, suite = leaderboard.tables(store, rows), store.meta("suite")
        texts = {
            "rows.csv": to_csv(rows),
            "rows.json": to_json(rows),
            "leaderboard.tex": to_latex(tables, rows, suite),
            "leaderboard.md": to_markdown(tables, rows, suite),
        }
    finally:
        store.close()
    for name, text in texts.items():
        part = root / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        part.rename(root / name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
