"""What a paper needs beside the tables: numbers for its running text, and the references of what was run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmark.leaderboard import Entry, Table
from benchmark.render.latex import escape
from benchmark.render.style import bounded, number, score_decimals

_MACROS = r"""% \pocketbench{key}: a number of the tables, for running text. \input this file in the preamble.
\newcommand{\pocketbench}[1]{\ifcsname pocketbench@\detokenize{#1}\endcsname\csname pocketbench@\detokenize{#1}\endcsname\else
  \PackageError{pocketbench}{no number \detokenize{#1}}{The known ones are in the file that defines this command.}\fi}"""


def to_macros(tables: Sequence[Table]) -> str:
    r"""LaTeX that defines ``\pocketbench{key}`` for numbers as the tables round them. A key is made of letters, digits, ``-`` and
    ``/``; names that come to the same letters are told apart by a number."""
    lines, seen = [_MACROS], dict[str, int]()
    for table in tables:
        digits = score_decimals(table.intervals())
        for entry in table.entries:
            first = entry.rows[0]
            parts = (table.task, first["backend"], first["architecture"], first["recipe"], first["runtime"])
            key = "/".join(map(_slug, parts))
            seen[key] = seen.get(key, 0) + 1
            key += f"/{seen[key]}" if seen[key] > 1 else ""
            for column, text in _numbers(entry, digits):
                lines.append(rf"\expandafter\def\csname pocketbench@{key}/{column}\endcsname{{{escape(text)}}}")
    return "\n".join(lines) + "\n"


def _numbers(entry: Entry, digits: int) -> Iterator[tuple[str, str]]:
    interval, reference = entry.interval, entry.reference
    yield "score", number(entry.score, f".{digits}f")
    if interval:
        yield "interval", bounded(entry.score, interval.low, interval.high, digits).partition(" ")[2]
    if reference:
        yield "difference", bounded(reference.mean, reference.low, reference.high, digits, sign="+")
        yield "verdict", reference.verdict
    yield "bytes", number(entry.median("artifact_bytes"), ",.0f")
    yield "ratio", number(entry.median("size_ratio"), ".2f")
    yield "p50", number(entry.median("latency_p50_us"), ".1f")
    yield "p90", number(entry.median("latency_p90_us"), ".1f")
    if entry.rank is not None:
        yield "rank", str(entry.rank)


def to_bibtex(suite: Mapping[str, Any]) -> str:
    """BibTeX entries of PocketBench, and of the tasks and passes of a run. ``suite``: what the store keeps of the suite."""
    entries = [
        "@software{pocketbench,\n  author = {{The PocketBench developers}},\n"
        "  title = {{PocketBench: benchmarks of small models under fixed hardware budgets}},\n  license = {Apache-2.0}\n}"
    ]
    taken = {"pocketbench"}
    for name, citation in suite.get("citations", {}).items():
        slug = _slug(name)
        key = next(one for one in (slug, *(f"{slug}-{n}" for n in range(2, 10_000))) if one not in taken)
        taken.add(key)
        entries.append(_entry(key, name, citation))
    return "\n\n".join(entries) + "\n"


def _entry(key: str, name: str, citation: str) -> str:
    """A citation is a sentence; what of it has a field of its own is put there too."""
    fields = {"key": escape(name), "note": escape(citation)}
    if doi := re.search(r"doi:\s*(10\.\S+?)[.,;]?(?:\s|$)", citation):
        fields["doi"] = doi[1]
    if years := re.findall(r"\b(?:19|20)\d\d\b", citation):
        fields["year"] = years[-1]
    return "\n".join([f"@misc{{{key},", ",\n".join(f"  {field} = {{{value}}}" for field, value in fields.items()), "}"])


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-") or "x"
