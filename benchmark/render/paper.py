"""What a paper needs beside the tables: numbers for its running text, and the references of what was run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmark import __version__
from benchmark.leaderboard import Entry, Table
from benchmark.plan import METHOD
from benchmark.render.latex import escape, slug, unique
from benchmark.render.style import bounded, number, score_decimals

_MACROS = r"""% \pocketbench{key}: a number of the tables, for running text. \input this file in the preamble.
\newcommand{\pocketbench}[1]{\ifcsname pocketbench@\detokenize{#1}\endcsname\csname pocketbench@\detokenize{#1}\endcsname\else
  \PackageError{pocketbench}{no number \detokenize{#1}}{The known ones are in the file that defines this command.}\fi}"""

_SOFTWARE = """@misc{pocketbench,
  author = {{The PocketBench developers}},
  title = {{PocketBench: benchmarks of small models under fixed hardware budgets}},
  note = {Version %s, suite %s}
}"""


def to_macros(tables: Sequence[Table]) -> str:
    r"""LaTeX that defines ``\pocketbench{task/back end/model/recipe/runtime/column}`` for numbers as the tables round them. Names
    are lower-case letters, digits and hyphens in it; methods that come to the same are told apart by a number."""
    named = [(table, entry) for table in tables for entry in table.entries]
    keys = unique("/".join(slug(part) for part in (table.task, *_parts(entry))) for table, entry in named)
    lines = [_MACROS]
    for key, (table, entry) in zip(keys, named, strict=True):
        for column, text in _numbers(entry, score_decimals(table.scores()), score_decimals(table.differences())):
            lines.append(rf"\expandafter\def\csname pocketbench@{key}/{column}\endcsname{{{escape(text)}}}")
    return "\n".join(lines) + "\n"


def _parts(entry: Entry) -> list[str]:
    return [entry.rows[0][name] for name in METHOD]


def _numbers(entry: Entry, digits: int, finer: int) -> Iterator[tuple[str, str]]:
    interval, reference = entry.interval, entry.reference
    yield "score", number(entry.score, f".{digits}f")
    if interval:
        yield "interval", bounded(entry.score, interval.low, interval.high, digits).partition(" ")[2]
    if reference:
        yield "difference", bounded(reference.mean, reference.low, reference.high, finer, sign="+")
        yield "verdict", reference.verdict
    yield "bytes", number(entry.median("artifact_bytes"), ",.0f")
    yield "ratio", number(entry.median("size_ratio"), ".2f")
    yield "p50", number(entry.median("latency_p50_us"), ".1f")
    yield "p90", number(entry.median("latency_p90_us"), ".1f")
    if entry.rank is not None:
        yield "rank", str(entry.rank)


def to_bibtex(suite: Mapping[str, Any]) -> str:
    """BibTeX entries of PocketBench, and of the tasks and passes of a run. ``suite``: what the store keeps of the suite."""
    of_passes: dict[str, str] = {}  # two passes may rest on one paper
    for name, texts in suite.get("methods", {}).items():
        for text in texts:
            of_passes.setdefault(text, name)
    cited = [*suite.get("citations", {}).items(), *((name, text) for text, name in of_passes.items())]
    _, *keys = unique(["pocketbench", *(slug(name) for name, _ in cited)])
    return (
        "\n\n".join(
            [
                _SOFTWARE % (escape(__version__), escape(suite["name"])),
                *(_entry(key, *one) for key, one in zip(keys, cited, strict=True)),
            ]
        )
        + "\n"
    )


def _entry(key: str, name: str, citation: str) -> str:
    """A citation is a sentence; what of it has a field of its own is put there too."""
    fields = {"key": escape(name), "note": escape(citation)}
    if doi := re.search(r"doi:\s*(10\.\S+?)[.,;]?(?:\s|$)", citation):
        fields["doi"] = doi[1]
    return "\n".join([f"@misc{{{key},", ",\n".join(f"  {field} = {{{value}}}" for field, value in fields.items()), "}"])
