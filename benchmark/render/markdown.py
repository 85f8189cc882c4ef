"""Tables as Markdown, readable as plain text too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from benchmark.leaderboard import NOISY, Entry, Row, Table

_HEADERS = (
    *("back end", "model", "recipe", "score ↑ [95 %]", "val ↑", "bytes ↓", "size ÷ ↑", "MACs ↓"),
    *("p50 µs ↓", "p90 µs ↓", "time × ↓ [95 %]", "RSS MB ↓", "tiers"),
)
_DASH = "–"


def to_markdown(tables: Sequence[Table], rows: Sequence[Row], suite: Mapping[str, Any]) -> str:
    """The leaderboard of a run. ``suite``: what the store keeps of the suite."""
    parts = [f"# PocketBench: suite {suite['name']}", _about(rows, suite)]
    parts += [_table(table, suite) for table in tables]
    parts.append(_legend(suite))
    return "\n\n".join(parts) + "\n"


def _about(rows: Sequence[Row], suite: Mapping[str, Any]) -> str:
    build = suite["build"]
    cpus = sorted({row["cpu_model"] for row in rows if row["cpu_model"]})
    lines = [
        f"Built within {build['seconds']:g} s a step on {build['cores']} core(s), enforced; memory "
        f"({build['memory'] / 1024**2:g} MiB) observed, not enforced. Latency on {_escape(', '.join(cpus)) or 'no machine yet'}."
    ]
    if len(suite["seeds"]) * len(suite["folds"]) == 1:
        lines.append(
            "One seed and one fold: a screening run. The intervals below cover the choice of test rows only, not training: "
            "a difference inside them says nothing."
        )
    return "\n".join(lines)


def _table(table: Table, suite: Mapping[str, Any]) -> str:
    caption = (
        f"{table.metric} on {table.test_rows} test rows ({table.units} {_escape(_plural(table.unit))}); "
        f"seeds {_listed(suite['seeds'])}, folds {_listed(suite['folds'])}. Best mean score first."
    )
    parts = [f"## {table.task}", caption]
    if table.entries:
        lines = [_line(entry) for entry in table.entries]
        parts.append(tabulate(lines, headers=_HEADERS, tablefmt="pipe", disable_numparse=True, colalign=_ALIGN))
    else:
        parts.append("No method has finished all its cells.")
    if table.baselines:
        named = ", ".join(f"{name} {score:.3f}" for name, score in sorted(table.baselines.items(), key=lambda item: -item[1]))
        parts.append(f"Baselines, not ranked: {named}.")
    if table.others:
        parts.append(_others(table.others))
    return "\n\n".join(parts)


_ALIGN = ("left", "left", "left", *("right",) * 9, "left")


def _line(entry: Entry) -> list[str]:
    first = entry.rows[0]
    noisy = " ~" if any(row["noisy"] for row in entry.rows) else ""
    p50 = entry.median("latency_p50_us")
    tiers = [name for name in first["tiers"] if all(name in row["tiers"] for row in entry.rows)]
    return [
        _escape(first["backend"]),
        _escape(first["architecture"]),
        _escape(first["recipe"]),
        _bounded(entry.score, entry.low, entry.high, 3),
        _number(entry.mean("val_score"), ".3f"),
        _number(entry.median("artifact_bytes"), ",.0f"),
        _number(entry.median("size_ratio"), ".2f"),
        _number(entry.median("macs"), ",.0f"),
        _number(p50, ".1f") + (noisy if p50 is not None else ""),
        _number(entry.median("latency_p90_us"), ".1f"),
        _ratio(entry),
        _number(_mega(entry.median("rss_bytes")), ".1f"),
        _escape(" ".join(tiers)) or _DASH,
    ]


def _ratio(entry: Entry) -> str:
    ratio = entry.median("latency_ratio")
    low, high = entry.median("latency_ratio_low"), entry.median("latency_ratio_high")
    floor, p50 = entry.median("floor_us"), entry.median("latency_p50_us")
    text = _bounded(ratio, low, high, 2)
    if floor is not None and p50 is not None and floor > p50 / 2:
        return f"({text})"
    return text


def _others(rows: Sequence[Row]) -> str:
    """Cells that are not ranked: one line each, skipped ones folded to one line per back end and reason."""
    skipped: dict[tuple[str, str], list[Row]] = defaultdict(list)
    lines = []
    for row in rows:
        if row["outcome"] == "skipped":
            skipped[row["backend"], row["reason"]].append(row)
        elif row["outcome"] == "ok":
            lines.append(f"{_name(row)}: ok, but other seeds or folds of it are not")
        else:
            lines.append(f"{_name(row)}: {row['outcome']} ({_escape(row['reason'])})")
    lines += [f"{_escape(backend)}: {len(group)} skipped ({_escape(reason)})" for (backend, reason), group in skipped.items()]
    return "Not ranked:\n\n" + "\n".join(f"- {line}" for line in lines)


def _name(row: Row) -> str:
    return _escape(f"{row['backend']} {row['architecture']} {row['recipe']}, seed {row['seed']}, fold {row['fold']}")


def _legend(suite: Mapping[str, Any]) -> str:
    measure = suite["measure"]
    lines = [
        "score: of the test rows, at batch 1, from the file that ships; the mean over seeds and folds. [95 %]: percentile "
        "bootstrap over the task's units, 1,000 draws. val: validation, the only score that anything was chosen by.",
        "bytes: all files of the artifact. size ÷: bytes of the uncompressed reference (same back end, model, seed) ÷ these "
        "bytes. MACs: multiply-adds for one input.",
        f"p50, p90: one input, {suite['build']['cores']} thread(s), {measure['processes']} process(es) × {measure['rounds']} "
        f"round(s) × {measure['calls']} calls, quantiles by linear interpolation. time ×: time ÷ that of the reference, "
        "measured in turns in the same processes; below 1 is faster. "
        + ("[95 %]: over the processes. " if measure["processes"] > 1 else "One process: no interval. ")
        + "In brackets: more than half of the time is the runtime's own floor. ~: noisy, rounds spread by more than "
        f"{NOISY:.0%}.",
        "RSS: peak memory of a process that holds the runtime and this model alone. –: undefined or not measured.",
    ]
    for tier in suite["tiers"]:
        limits = []
        if tier["bytes"] is not None:
            limits.append(f"≤ {tier['bytes'] / 1024:g} KiB")
        if tier["latency_p90"] is not None:
            limits.append(f"p90 ≤ {tier['latency_p90'] * 1e3:g} ms")
        lines.append(f"tier {_escape(tier['name'])}: {', '.join(limits) or 'no limit'}")
    return "## How to read the tables\n\n" + "\n".join(f"- {line}" for line in lines)


def _number(value: float | None, form: str) -> str:
    return _DASH if value is None else format(value, form)


def _bounded(value: float | None, low: float | None, high: float | None, digits: int) -> str:
    text = _number(value, f".{digits}f")
    return text if low is None or high is None else f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


def _mega(value: float | None) -> float | None:
    return None if value is None else value / 1e6


def _plural(unit: str) -> str:
    return unit if unit.endswith("s") else f"{unit}s"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _escape(text: str) -> str:
    """A name as text of a Markdown table cell, whatever is in it."""
    for character in "\\|`*_<>[]~&$":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())
