"""Tables as Markdown, readable as plain text too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from benchmark.leaderboard import NOISY, Entry, Row, Table
from benchmark.statistics import MIN_SEEDS, MIN_UNITS

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
        lines.append("One seed and one fold: a screening run. A difference inside the intervals says nothing.")
    return "\n".join(lines)


def _table(table: Table, suite: Mapping[str, Any]) -> str:
    tested = "test rows" if len(suite["folds"]) == 1 else "evaluations"
    caption = (
        f"{table.metric} on {table.evaluations:,} {tested} ({table.units:,} {_escape(_plural(table.unit))}); "
        f"seeds {_listed(suite['seeds'])}, folds {_listed(suite['folds'])}. Best mean score first."
    )
    rows = [*(row for entry in table.entries for row in entry.rows), *table.others]
    runtimes = len({row["runtime"] for row in rows}) > 1
    parts = [f"## {table.task}", caption + _covered(table)]
    parts.append(_grid(table.entries, runtimes) if table.entries else "No method has finished all its cells.")
    parts += filter(None, [_deviations(table), _remarks(table.entries)])
    if table.baselines:
        named = ", ".join(f"{name} {score:.3f}" for name, score in sorted(table.baselines.items(), key=lambda item: -item[1]))
        parts.append(f"Baselines, not ranked: {named}.")
    if table.others:
        parts.append(_others(table.others, runtimes))
    return "\n\n".join(parts)


def _covered(table: Table) -> str:
    """What the intervals of a table cover, and what they are conditional on; empty where there is none."""
    found = [entry.interval for entry in table.entries if entry.interval]
    if not found:
        return ""
    units, fewest, dropped = _escape(_plural(table.unit)), min(one.units for one in found), max(one.dropped for one in found)
    if all(one.over_seeds for one in found):
        text = f" [95 %]: over the choice of {units} and over training seeds"
    else:
        text = f" [95 %]: over the choice of {units} only, conditional on the trained models (fewer than {MIN_SEEDS} seeds)"
    if fewest < MIN_UNITS:
        text += f"; conditional on these {fewest} {units} (fewer than {MIN_UNITS})"
    if dropped:
        draws = found[0].draws + found[0].dropped
        text += f"; without up to {dropped:,} of {draws:,} draws, in which {table.metric} is undefined"
    return f"{text}."


def _grid(entries: Sequence[Entry], runtimes: bool) -> str:
    several = any(len(entry.rows) > 1 for entry in entries)
    names = ["back end", "model", "recipe", *(["runtime"] if runtimes else [])]
    numbers = ["score ↑ [95 %]", "val ↑", "bytes ↓", "size ÷ ↑", "MACs ↓", "p50 µs ↓", "p90 µs ↓"]
    numbers += ["time × ↓, min–max" if several else "time × ↓ [95 %]", "RSS MB ↓"]
    return tabulate(
        [_line(entry, runtimes) for entry in entries],
        headers=[*names, *numbers, "tiers"],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=[*("left" for _ in names), *("right" for _ in numbers), "left"],
    )


def _line(entry: Entry, runtimes: bool) -> list[str]:
    first = entry.rows[0]
    low, high = (entry.interval.low, entry.interval.high) if entry.interval else (None, None)
    noisy = " ~" if any(row["noisy"] for row in entry.rows) else ""
    p50 = entry.median("latency_p50_us")
    tiers = [name for name in first["tiers"] if all(name in row["tiers"] for row in entry.rows)]
    return [
        *(_escape(first[name]) for name in ("backend", "architecture", "recipe", *(["runtime"] if runtimes else []))),
        _bounded(entry.score, low, high, 3),
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
    """With its interval for one row; for several the median and their range, as the ends of intervals have no mean."""
    first, ratio = entry.rows[0], entry.median("latency_ratio")
    if ratio is None:
        return _DASH
    if len(entry.rows) == 1:
        text = _bounded(ratio, first["latency_ratio_low"], first["latency_ratio_high"], 2)
    else:
        text, span = f"{ratio:.2f}", _span((row["latency_ratio"] for row in entry.rows), 2)
        text = text if text == span else f"{text}, {span}"
    floor, p50 = entry.median("floor_us"), entry.median("latency_p50_us")
    return f"({text})" if floor is not None and p50 is not None and floor > p50 / 2 else text


def _deviations(table: Table) -> str:
    """The two sources of a score's variation, as ranges over the methods; empty with one seed."""
    found = [entry.deviations for entry in table.entries if entry.deviations]
    if not found:
        return ""
    over_units, over_seeds = ([value for value in values if value is not None] for values in zip(*found, strict=True))
    seeds = _span(over_seeds, 3) if over_seeds else f"not estimated from fewer than {MIN_SEEDS} seeds"
    return (
        f"Standard deviations, least to greatest of the methods: of the mean score over the choice of "
        f"{_escape(_plural(table.unit))} {_span(over_units, 3)}; of a single training over seeds {seeds}."
    )


def _remarks(entries: Sequence[Entry]) -> str:
    """Why scores of ranked rows are undefined, or what they are restricted to; empty where nothing must be said."""
    reasons = dict.fromkeys(row["reason"] for entry in entries for row in entry.rows if row["reason"])
    return f"Undefined or restricted: {_escape('; '.join(reasons))}." if reasons else ""


def _others(rows: Sequence[Row], runtimes: bool) -> str:
    """Cells that are not ranked: one line a method and reason, skipped ones one line a back end and reason."""
    skipped: dict[tuple[str, str], int] = defaultdict(int)
    others: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row["outcome"] == "skipped":
            skipped[row["backend"], row["reason"]] += 1
        elif row["outcome"] == "ok":
            others[_name(row, runtimes), "ok, but other seeds or folds of it are not"].append(row)
        else:
            others[_name(row, runtimes), f"{row['outcome']} ({_escape(row['reason'])})"].append(row)
    lines = [f"{name}, {_where(group)}: {what}" for (name, what), group in others.items()]
    lines += [f"{_escape(backend)}: {count} skipped ({_escape(reason)})" for (backend, reason), count in skipped.items()]
    return "Not ranked:\n\n" + "\n".join(f"- {line}" for line in lines)


def _name(row: Row, runtimes: bool) -> str:
    runtime = f" on {row['runtime']}" if runtimes else ""
    return _escape(f"{row['backend']} {row['architecture']} {row['recipe']}{runtime}")


def _where(rows: Sequence[Row]) -> str:
    if len(rows) > 1:
        return f"{len(rows)} seeds and folds"
    return f"seed {rows[0]['seed']}, fold {rows[0]['fold']}"


def _legend(suite: Mapping[str, Any]) -> str:
    measure, folds = suite["measure"], len(suite["folds"])
    if len(suite["seeds"]) * folds > 1:
        ratio = "The median over seeds and folds, then the least and the greatest; no interval."
    else:
        ratio = "[95 %]: over the processes." if measure["processes"] > 1 else "One process: no interval."
    lines = [
        "score: of the test rows, at batch 1, from the file that ships; the mean over seeds and folds. [95 %]: percentile "
        "bootstrap, 1,000 draws. val: validation, the only score that anything was chosen by. The other columns: medians over "
        "seeds and folds.",
        "bytes: all files of the artifact. size ÷: bytes of the uncompressed reference (same back end, model, seed) ÷ these "
        "bytes. MACs: multiply-adds for one input.",
        f"p50, p90: one input, {suite['build']['cores']} thread(s), {measure['processes']} process(es) × {measure['rounds']} "
        f"round(s) × {measure['calls']} calls, quantiles by linear interpolation. time ×: time ÷ that of the reference, "
        f"measured in turns in the same processes; below 1 is faster. {ratio} In brackets: more than half of the time is the "
        f"runtime's own floor. ~: noisy, rounds spread by more than {NOISY:.0%}.",
        "RSS: peak memory of a process that holds the runtime and this model alone. –: undefined or not measured.",
    ]
    if folds > 1:
        lines.insert(0, "evaluations: test rows of each fold, summed over folds; repeated folds test a row more than once.")
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


def _span(values: Iterable[float], digits: int) -> str:
    """The least and the greatest value; one number where they look alike, a dash where there is none."""
    ends = [f"{value:.{digits}f}" for value in sorted(values)]
    return "–".join(dict.fromkeys((ends[0], ends[-1]))) if ends else _DASH


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
