"""What a leaderboard says, built once for every format: sections of paragraphs, grids and lists. All rounding happens here."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmark.budget import DeviceTier, format_bytes
from benchmark.leaderboard import (
    CLAIM_MARGIN,
    CONTROL,
    NOISY,
    NOISY_WAITING,
    THREADS_MARGIN,
    Difference,
    Entry,
    Group,
    Row,
    Table,
    disputed,
)
from benchmark.overall import DEFAULT, Overall, Standing, overall
from benchmark.plan import PLACE
from benchmark.render import answers
from benchmark.render.style import DASH, Grid, Part, Section, Style, bounded, listed, named, number, plural, score_decimals, span
from benchmark.statistics import DRAWS, MIN_SEEDS, MIN_UNITS
from benchmark.suite import read_searched
from benchmark.warm import SEARCHED

_COLUMNS = 4  # groups that have a column each
_LONG = re.compile(r"(?<![\w.])(\d+)\.\d{3,}(?:e[-+]?\d+)?(?![\w.])")
"""A parameter with more decimals than a table bears."""


def document(tables: Sequence[Table], rows: Sequence[Row], suite: Mapping[str, Any], style: Style) -> list[Section]:
    """The leaderboard of a run: what to ship first, then a table a task, then how to read them. ``suite``: what the store keeps
    of the suite."""
    head = Section(style.say("PocketBench: suite {suite}", suite=suite["name"]), tuple(_about(rows, tables, suite, style)))
    tiers = [DeviceTier(**tier) for tier in suite["tiers"]]
    ship = [answers.section(tables, rows, tiers, style)] if tiers and tables else []
    of_tasks = [part for table in tables for part in _of_task(table, suite, style)]
    over_tasks = [_overall(found, style)] if (found := overall(tables)) else []
    return [head, *ship, *of_tasks, *over_tasks, _legend(tables, suite, style)]


def _about(rows: Sequence[Row], tables: Sequence[Table], suite: Mapping[str, Any], style: Style) -> list[str]:
    build = suite["build"]
    cpus = ", ".join(sorted({row["cpu_model"] for row in rows if row["cpu_model"]})) or "no machine yet"
    emulated = {row["runtime"] for row in rows if row["flash_bytes"] is not None}
    timed = {row["runtime"] for row in rows} - emulated
    where = "Latency on {cpus} by {runtimes}: another device has another." if timed or not emulated else ""
    where += (" " if where else "") + "Nothing is timed on {emulated}, which is emulated." if emulated else ""
    lines = [
        style.say(
            "Built within {seconds:g} s and {memory} a step on {cores} core(s); memory held by {how}. " + where,
            seconds=build["seconds"],
            cores=build["cores"],
            memory=format_bytes(build["memory"]),
            how=_enforced_by(rows),
            cpus=cpus,
            runtimes=", ".join(sorted(timed)) or "no runtime yet",
            emulated=", ".join(sorted(emulated)),
        )
    ]
    if made := _made(rows, style):
        lines.append(made if "bundle" not in suite else f"{made} {style.say('Results bundle: sha256 {it}.', it=suite['bundle'])}")
    screened = [table.task for table in tables if len(suite["seeds"]) * len(table.folds) == 1]
    if screened:
        which = "" if len(screened) == len(tables) else " of {tasks}"
        text = f"One seed and one fold{which}: a screening run. No interval covers training: another seed gives other scores."
        lines.append(style.say(text, tasks=", ".join(screened)))
    return lines


def _made(rows: Sequence[Row], style: Style) -> str:
    """With what the rows were made, and when; the rest is in rows.csv. Empty where nothing has run."""
    versions = sorted({version for row in rows if (version := (row["versions"] or {}).get("pocketbench"))})
    times = sorted(row["finished_utc"] for row in rows if row["finished_utc"])
    if not versions or not times:
        return ""
    values = {"python": ", ".join(sorted({row["python"] for row in rows if row["python"]}))}
    commits = sorted({row["git_commit"] for row in rows if row["git_commit"]})
    when = f"{times[0]:.19} to {times[-1]:.19}" if times[0] != times[-1] else f"{times[0]:.19}"
    text = f"Made by PocketBench {{versions}}{' ({commits})' if commits else ''} with Python {{python}}, {{when}} UTC; "
    text += "other versions are in rows.csv."
    return style.say(text, versions=", ".join(versions), commits=", ".join(commits), when=when, **values)


def _enforced_by(rows: Sequence[Row]) -> str:
    """What held the builds to their memory: the limit by which mechanisms differ."""
    how = {row["limits"]["memory"]["mechanism"] for row in rows if row["limits"] and "memory" in row["limits"]}
    return ", ".join(sorted(how)) or "nothing yet"


# One task


def _of_task(table: Table, suite: Mapping[str, Any], style: Style) -> Iterator[Section]:
    """How well its methods do, what they cost, a table for each sensitive column, then what searches chose: the tables before
    that go on from one another."""
    runtimes = len({row["runtime"] for row in [*(row for entry in table.entries for row in entry.rows), *table.others]}) > 1
    digits = score_decimals(table.scores())
    yield _scores(table, suite, runtimes, digits, style)
    if table.entries:
        yield _costs(table, runtimes, digits, style)
    if emulated := [entry for entry in table.entries if entry.has(*answers.ON_DEVICE)]:
        yield _on_device(table.task, emulated, runtimes, digits, style)
    for column in dict.fromkeys(column for entry in table.entries for column in entry.groups):
        yield _by_group(column, table, runtimes, digits, style)
    if rows := _searches(table, suite):
        yield _chosen(table, rows, runtimes, style)


def _scores(table: Table, suite: Mapping[str, Any], runtimes: bool, digits: int, style: Style) -> Section:
    caption = style.say(
        "{metric} on {evaluations:,} {tested} ({units:,} {unit}); seeds {seeds}, folds {folds}; margin {margin:g}.",
        metric=table.metric,
        evaluations=table.evaluations,
        tested="test rows" if len(table.folds) == 1 else "evaluations",
        units=table.units,
        unit=plural(table.unit),
        seeds=listed(suite["seeds"]),
        folds=listed(table.folds),
        margin=table.margin,
    )
    reading = style.text(
        "Sorted by test score; what to ship was chosen by val. Methods share the rank of the best from which they are not told "
        "apart; those of rank 1 are bold."
    )
    parts: list[Part] = [caption, reading + _covered(table, style) + _resolution(table, digits, style)]
    parts.append(
        _score_grid(table, runtimes, digits, style) if table.entries else style.text("No method has finished all its cells.")
    )
    parts += filter(
        None, [_deviations(table, style), _remarks(table.entries, runtimes, style), _late(table.entries, runtimes, style)]
    )
    parts += filter(None, [_too_many_threads(table.entries, runtimes, style), _disputed(table.entries, runtimes, style)])
    if table.baselines:
        ordered = sorted(table.baselines.items(), key=lambda item: -item[1])
        scores = ", ".join(f"{name} {score:.{digits}f}" for name, score in ordered)
        parts.append(style.say("Baselines, not ranked: {scores}.", scores=scores))
        to_beat = max(table.baselines.values())
        beaten = [named(one.rows[0], runtime=runtimes) for one in table.entries if one.score is not None and one.score <= to_beat]
        if beaten:
            parts.append(style.say("No better here than the best of them: {beaten}.", beaten=", ".join(beaten)))
    if table.published:
        parts += [
            style.text("Published for these test rows, not run here:"),
            tuple(_published(one, style) for one in table.published),
        ]
    if table.notes:
        parts += [style.text("Of the data:"), tuple(map(style.name, table.notes))]
    if table.others:
        parts += [style.text("Not ranked:"), _others(table.others, runtimes, style)]
    return Section(style.name(table.task), tuple(parts))


def _costs(table: Table, runtimes: bool, digits: int, style: Style) -> Section:
    caption = style.text("What the methods of the table above cost, in its order.")
    timed = _is_timed([table])
    emulated = any(entry.has("flash_bytes") for entry in table.entries)
    text = "Front: no other method of this table has as good a validation score at as few bytes (B)"
    text += ", or at as little memory on the device and as short a p90 (D)" if timed else ""
    text += ", or in as little flash and RAM (M)" if emulated else ""
    front = style.text(f"{text}, of those for which these are known.")
    title = style.say("{task}: cost", task=table.task)
    return Section(title, (caption, front, _cost_grid(table.entries, runtimes, digits, timed, style)))


def _on_device(task: str, entries: Sequence[Entry], runtimes: bool, digits: int, style: Style) -> Section:
    """What is known of the methods on a device that nobody needs to have."""
    names = ["back end", "model", "recipe", *(["runtime"] if runtimes else []), "tiers"]
    counts = [name for name in answers.ON_DEVICE if any(entry.has(name) for entry in entries)]
    agreeing = any(entry.has("label_agreement") for entry in entries)

    def line(entry: Entry) -> tuple[str, ...]:
        agreement = entry.mean("label_agreement")
        shown = [number(entry.score, f".{digits}f"), *(number(entry.median(name), ",.0f") for name in counts)]
        shown += [number(None if agreement is None else 100 * agreement, ".1f")] if agreeing else []
        return (*_names(entry, runtimes, style), style.name(" ".join(entry.tiers)) or style.text(DASH), *map(style.text, shown))

    headers = [*names, "score ↑", *(f"{answers.ON_DEVICE[name]} ↓" for name in counts), *(["agree % ↑"] if agreeing else [])]
    text = "In the order of the table above. "
    if any(entry.has("ram_bytes") for entry in entries):
        text += "RAM: with the buffers of one input and one output. "
    if any(entry.has("instructions_m4") for entry in entries):
        text += "Instructions: of plain C without a vendor's kernels, for one input; compare them at equal precision only, and "
        text += "never call them a latency. agree: rows with the label that ONNX Runtime gives to the same file. "
    if any(entry.has("arena_bytes") for entry in entries):
        text += (
            "Arena: the least that TensorFlow Lite Micro runs the file in, on a machine of 64 bits, whose structures are most of "
        )
        text += "it for a small network; the score is that of the runtime itself. "
    grid = Grid(
        headers=tuple(map(style.text, headers)),
        lines=tuple(map(line, entries)),
        align="l" * len(names) + "r" * (len(headers) - len(names)),
        refs=_refs(entries),
        key=2,
    )
    tools = sorted(
        {f"{name} {value}" for entry in entries for row in entry.rows for name, value in (row["device"] or {}).items()}
    )
    made = (style.say("Made with: {tools}.", tools="; ".join(tools)),) if tools else ()
    return Section(style.say("{task}: on a microcontroller", task=task), (style.text(text.strip()), grid, *made))


def _covered(table: Table, style: Style) -> str:
    """What the intervals of a table cover, and what they are conditional on; empty where there is none."""
    found = [entry.interval for entry in table.entries if entry.interval]
    if not found:
        return ""
    units, fewest, dropped = plural(table.unit), min(one.units for one in found), max(one.dropped for one in found)
    if all(one.over_seeds for one in found):
        text = " [95 %]: over the choice of {units} and over training seeds"
    else:
        text = " [95 %]: over the choice of {units} only, conditional on the trained models (fewer than {seeds} seeds)"
    if fewest < MIN_UNITS:
        text += "; conditional on these {fewest} {units} (fewer than {least})"
    if dropped:
        text += "; without up to {dropped:,} of {draws:,} draws, in which {metric} is undefined"
    draws = found[0].draws + found[0].dropped
    values = {"units": units, "seeds": MIN_SEEDS, "fewest": fewest, "least": MIN_UNITS, "dropped": dropped, "draws": draws}
    return style.say(f"{text}.", **values, metric=table.metric)


def _resolution(table: Table, digits: int, style: Style) -> str:
    """About which difference the table can tell; empty with fewer than two methods."""
    if table.resolution is None:
        return ""
    text = (
        " Resolution: about {resolution} (half the width of the paired 95 % interval between the best method and another, "
        "the median of them); a smaller difference is told from none only where two methods err on nearly the same rows, and "
        "ranks, which compare all methods at once, ask for more."
    )
    return style.say(text, resolution=f"{table.resolution:.{digits}f}")


def _published(one: Mapping[str, Any], style: Style) -> str:
    scores = ", ".join(f"{metric} {score:.3f}" for metric, score in one["scores"].items())
    return style.say("{method}: {scores} ({source})", method=one["method"], scores=scores, source=one["source"])


def _by_group(column: str, table: Table, runtimes: bool, digits: int, style: Style) -> Section:
    """The scores of the groups of a sensitive column, in the order of the task's table. Many groups are summed up by their mean
    and the worst of them."""
    entries = [(entry, entry.groups[column]) for entry in table.entries if column in entry.groups]
    counts = {name: group.n for name, group in entries[0][1].groups.items()}
    many = len(counts) > _COLUMNS
    few = any(group.units < MIN_UNITS for _, found in entries for group in found.groups.values())
    caption = style.say(
        "{metric} of the test rows of each group ({counts}), in the order of the table above.",
        counts=", ".join(f"{name}: {count:,}" for name, count in counts.items()),
        metric=table.metric,
    )
    text = "The gap is between the two groups furthest apart, and of small groups it is large by chance. "
    text += "–: undefined, as where all rows of a group are of one class."
    if few and not many:
        text += " Some groups have fewer than {least} {units}: their intervals are conditional on these."
    reading = style.say(text, least=MIN_UNITS, units=plural(table.unit))
    lines = tuple(
        (
            style.name(named(entry.rows[0], runtime=runtimes)),
            *(
                _summary(found.groups, digits, style)
                if many
                else (style.text(bounded(one.score, one.low, one.high, digits)) for one in found.groups.values())
            ),
            style.text(number(found.gap, f".{digits}f")),
        )
        for entry, found in entries
    )
    columns = ["mean of groups ↑", "worst group ↑"] if many else [f"{name} ↑" for name in counts]
    headers = (style.text("method"), *map(style.name, columns), style.text("gap ↓"))
    title = style.say("{task} by {column}", task=table.task, column=column)
    return Section(title, (caption, reading, Grid(headers, lines, "l" + "r" * (len(columns) + 1))))


def chosen_title(task: str, style: Style) -> str:
    """Of the section on a task's searches."""
    return style.say("{task}: what the searches chose", task=task)


def _searches(table: Table, suite: Mapping[str, Any]) -> list[Row]:
    """The rows of a task's searches that could run. Those that had the same limits and the same time stand together."""
    tiers = ["", *(tier["name"] for tier in suite["tiers"])]

    def place(row: Row) -> tuple[Any, ...]:
        searcher, seconds, tier = read_searched(row["recipe"])
        return row["backend"], row["runtime"], tiers.index(tier), seconds, str(searcher), row["fold"], row["seed"]

    every = [*(row for entry in table.entries for row in entry.rows), *table.others]
    return sorted((row for row in every if row["architecture"] == SEARCHED and row["outcome"] != "skipped"), key=place)


def _chosen(table: Table, rows: Sequence[Row], runtimes: bool, style: Style) -> Section:
    """A line for each search, also for one that found nothing."""
    repeats = [name for name in ("seed", "fold") if len({row[name] for row in rows}) > 1]
    names = ["back end", "search", *(["runtime"] if runtimes else [])]
    means = any(row["search_score"] is not None for row in rows)
    numbers = ["proposals", "search s", *(["cv ↑"] if means else []), "val ↑", "bytes ↓"]

    def line(row: Row) -> tuple[str, ...]:
        values = [
            number(row["n_proposals"], ","),
            number(row["search_seconds"], ",.1f"),
            # What chose: small differences of it count.
            *(number(row[name], ".3f") for name in (*(["search_score"] if means else []), "val_score")),
            number(row["artifact_bytes"], ",.0f"),
        ]
        called = [row[name] for name in ("backend", "recipe", *(["runtime"] if runtimes else []))]
        repeat = [style.text(str(row[name])) for name in repeats]
        return (*map(style.name, called), *repeat, _what_won(row, style), *map(style.text, values))

    by = "mean score over the inner folds of a cross-validation (cv)" if means else "validation score"
    caption = style.text(f"Of each search the model with the best {by} among those inside its limits.")
    text = (
        "Test scores chose nothing; those of what was chosen are in the table of the task. Numbers of a recipe have three digits "
    )
    text += "here and all in the column chosen of rows.csv."
    headers = (*names, *repeats, "chosen", *numbers)
    grid = Grid(
        headers=tuple(map(style.text, headers)),
        lines=tuple(map(line, rows)),
        align="l" * len(names) + "r" * len(repeats) + "l" + "r" * len(numbers),
        refs=tuple(tuple(row[name] for name in PLACE) for row in rows),
        key=1,
        wraps=(1, headers.index("chosen")),
    )
    return Section(chosen_title(table.task, style), (caption, style.text(text), grid))


def _what_won(row: Row, style: Style) -> str:
    """What a search chose, or why there is nothing."""
    reason = " ".join(row["reason"].split())
    if row["chosen"] is None:
        if row["n_proposals"] is None:
            return style.say("{outcome} ({reason})", outcome=row["outcome"], reason=reason)
        return style.say("nothing: {reason}", reason=reason)
    chosen = _LONG.sub(lambda found: f"{float(found[0]):.{max(3, len(found[1]))}g}", row["chosen"])
    if row["outcome"] == "ok":
        return style.name(chosen)
    return style.say("{chosen}, which ended as {outcome} ({reason})", chosen=chosen, outcome=row["outcome"], reason=reason)


def _summary(groups: Mapping[str, Group], digits: int, style: Style) -> tuple[str, str]:
    """The mean over groups and the worst one; dashes where one is undefined."""
    scores = {name: one.score for name, one in groups.items() if one.score is not None}
    if len(scores) < len(groups):
        return style.text(DASH), style.text(DASH)
    worst = min(scores, key=scores.__getitem__)
    mean = number(sum(scores.values()) / len(scores), f".{digits}f")
    # No interval: the group was picked by the rows that it would be made of.
    return style.text(mean), style.say("{score} ({name})", score=number(scores[worst], f".{digits}f"), name=worst)


def _refs(entries: Sequence[Entry]) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(entry.rows[0][name] for name in PLACE) for entry in entries)


def _names(entry: Entry, runtimes: bool, style: Style) -> list[str]:
    names = ("backend", "architecture", "recipe", *(["runtime"] if runtimes else []))
    return [style.name(entry.rows[0][name]) for name in names]


def _score_grid(table: Table, runtimes: bool, digits: int, style: Style) -> Grid:
    entries, finer = table.entries, score_decimals(table.differences())
    referred, compared = any(entry.reference for entry in entries), any(entry.control for entry in entries)
    names = ["back end", "model", "recipe", *(["runtime"] if runtimes else [])]
    numbers = ["score ↑ [95 %]", *(["− reference ↑ [95 %]", "verdict"] if referred else [])]
    costs = {"bytes ↓": ("artifact_bytes", ",.0f"), "p90 µs ↓": ("latency_p90_us", ".1f")}
    costs |= {"flash ↓": ("flash_bytes", ",.0f"), "RAM ↓": ("ram_bytes", ",.0f")}
    costs = {name: cost for name, cost in costs.items() if any(entry.has(cost[0]) for entry in entries)}
    numbers += [*([f"− {CONTROL} ↑ [95 %]"] if compared else []), "val ↑", "flips % ↓", *costs]

    def line(entry: Entry) -> tuple[str, ...]:
        low, high = (entry.interval.low, entry.interval.high) if entry.interval else (None, None)
        flips = entry.mean("flips")
        values = [
            bounded(entry.score, low, high, digits),
            *([_against(entry.reference, finer), entry.reference.verdict if entry.reference else DASH] if referred else []),
            *([_against(entry.control, finer)] if compared else []),
            number(entry.mean("val_score"), f".{digits}f"),
            "< 0.1" if flips is not None and 0 < flips < 0.0005 else number(None if flips is None else flips * 100, ".1f"),
            *(number(entry.median(column), form) for column, form in costs.values()),
        ]
        rank = DASH if entry.rank is None else str(entry.rank)
        return (style.text(rank), *_names(entry, runtimes, style), *map(style.text, values))

    bold = (0, len(names), len(names) + 1)  # the rank, the recipe or its runtime, the score
    headers = ["rank", *names, *numbers]
    against = [name for name in numbers if name.startswith("−")]
    return Grid(
        headers=tuple(map(style.text, headers)),
        lines=tuple(map(line, entries)),
        align="r" + "l" * len(names) + "".join("l" if name == "verdict" else "r" for name in numbers),
        bold=frozenset((i, j) for i, entry in enumerate(entries) if entry.rank == 1 for j in bold),
        refs=_refs(entries),
        key=3,
        leaves=(
            ("", _places(headers, ["rank", *names, numbers[0], "val ↑", *costs])),
            ("differences", _places(headers, [*names, *against, "verdict", "flips % ↓"])),
        ),
    )


def _against(difference: Difference | None, digits: int) -> str:
    return bounded(difference.mean, difference.low, difference.high, digits, sign="+") if difference else DASH


def _cost_grid(entries: Sequence[Entry], runtimes: bool, digits: int, timed: bool, style: Style) -> Grid:
    several = any(len(entry.rows) > 1 for entry in entries)
    names = ["back end", "model", "recipe", *(["runtime"] if runtimes else [])]
    numbers = ["score ↑", "bytes ↓", "size ÷ ↑", "MACs ↓", "device bytes ↓"]
    times = ["RSS MB ↓", "p50 µs ↓", "p90 µs ↓", "time × ↓, min–max" if several else "time × ↓ [95 %]"] if timed else []
    numbers += times

    def line(entry: Entry) -> tuple[str, ...]:
        rss = entry.median("rss_bytes")
        values = [
            number(entry.score, f".{digits}f"),
            number(entry.median("artifact_bytes"), ",.0f"),
            number(entry.median("size_ratio"), ".2f"),
            number(entry.median("macs"), ",.0f"),
            number(entry.device_bytes, ",.0f"),
        ]
        if timed:
            values += [
                number(None if rss is None else rss / 1e6, ".1f"),
                number(entry.median("latency_p50_us"), ".1f"),
                number(entry.median("latency_p90_us"), ".1f"),
                _ratio(entry) + (" ~" if any(row["noisy"] for row in entry.rows) else ""),
            ]
        front = "".join(name[0].upper() for name in entry.fronts) or DASH
        fitting = style.name(" ".join(entry.tiers)) or style.text(DASH)
        return (*_names(entry, runtimes, style), style.text(front), fitting, *map(style.text, values))

    headers = [*names, "front", "tiers", *numbers]  # what is chosen by first: a screen is not wide
    return Grid(
        headers=tuple(map(style.text, headers)),
        lines=tuple(map(line, entries)),
        align="l" * len(names) + "ll" + "r" * len(numbers),
        refs=_refs(entries),
        key=2,
        leaves=(
            ("", _places(headers, [*names, *(name for name in numbers if name not in times[1:]), "front"])),
            ("time" if timed else "tiers", _places(headers, [*names, *times[1:], "tiers"])),
        ),
    )


def _is_timed(tables: Sequence[Table]) -> bool:
    """Whether there is more in tables than what an emulated device ran."""
    entries = [entry for table in tables for entry in table.entries]
    measured = any(entry.has("latency_p50_us", "latency_p90_us", "rss_bytes") for entry in entries)
    return measured or not any(entry.has("flash_bytes") for entry in entries)


def _places(headers: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    return tuple(place for place, name in enumerate(headers) if name in wanted)


def _ratio(entry: Entry) -> str:
    """With its interval for one row; for several the median and their range, as the ends of intervals have no mean."""
    first, ratio = entry.rows[0], entry.median("latency_ratio")
    if ratio is None:
        return DASH
    if len(entry.rows) == 1:
        text = bounded(ratio, first["latency_ratio_low"], first["latency_ratio_high"], 2)
    else:
        text, ends = f"{ratio:.2f}", span((row["latency_ratio"] for row in entry.rows), 2)
        text = text if text == ends else f"{text}, {ends}"
    floor, p50 = entry.median("floor_us"), entry.median("latency_p50_us")
    return f"({text})" if floor is not None and p50 is not None and floor > p50 / 2 else text


def _deviations(table: Table, style: Style) -> str:
    """The two sources of a score's variation, as ranges over the methods; empty with one seed."""
    found = [entry.deviations for entry in table.entries if entry.deviations]
    if not found:
        return ""
    over_units, over_seeds = ([value for value in values if value is not None] for values in zip(*found, strict=True))
    return style.say(
        "Standard deviations, least to greatest of the methods: of the mean score over the choice of {unit} {units}; of a single "
        "training over seeds {seeds}.",
        unit=plural(table.unit),
        units=span(over_units, 3),
        seeds=span(over_seeds, 3) if over_seeds else f"not estimated from fewer than {MIN_SEEDS} seeds",
    )


def _remarks(entries: Sequence[Entry], runtimes: bool, style: Style) -> str:
    """Why scores of ranked rows are undefined, or what they are restricted to, and of which methods; empty where nothing must
    be said."""
    methods: dict[str, dict[str, None]] = defaultdict(dict)
    for entry in entries:
        for row in entry.rows:
            for reason in filter(None, row["reason"].split("; ")):
                methods[reason][" ".join(named(row, runtime=runtimes).split())] = None
    remarks = [reason if len(names) == len(entries) > 1 else f"{', '.join(names)}: {reason}" for reason, names in methods.items()]
    return style.say("To be noted: {remarks}.", remarks="; ".join(remarks)) if remarks else ""


def _late(entries: Sequence[Entry], runtimes: bool, style: Style) -> str:
    """The methods that a busy machine may have cut short; empty where there is none."""
    late = [named(one.rows[0], runtime=runtimes) for one in entries if any(row["stopped_by"] == "deadline" for row in one.rows)]
    return style.say("Training stopped by its deadline, so another run may differ: {late}.", late=", ".join(late)) if late else ""


def _too_many_threads(entries: Sequence[Entry], runtimes: bool, style: Style) -> str:
    """The methods that kept more threads busy than they were to; empty where there is none."""
    found = []
    for entry in entries:
        most = max(entry.rows, key=lambda row: row["threads_observed"] or 0)
        if (most["threads_observed"] or 0) > most["threads"] + THREADS_MARGIN:
            found.append(f"{named(most, runtime=runtimes)} ({most['threads_observed']:.1f} of {most['threads']})")
    return (
        style.say("More threads busy than allowed, all on the cores allowed: {found}.", found=", ".join(found)) if found else ""
    )


def _disputed(entries: Sequence[Entry], runtimes: bool, style: Style) -> str:
    """What passes said of themselves and the files do not bear out; empty where there is nothing."""
    claims = [
        f"{named(row, runtime=runtimes)}: {name} {claimed:.4g}, measured {measured:.4g}"
        for row in (entry.rows[0] for entry in entries)
        for name, (claimed, measured) in disputed(row).items()
    ]
    text = "Claims of passes, more than {margin:.0%} from what was measured: {claims}."
    return style.say(text, margin=CLAIM_MARGIN, claims="; ".join(claims)) if claims else ""


def _others(rows: Sequence[Row], runtimes: bool, style: Style) -> tuple[str, ...]:
    """Cells that are not ranked: one line a method and reason, skipped ones one line a back end and reason."""
    skipped: dict[tuple[str, str], int] = defaultdict(int)
    others: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row["outcome"] == "skipped":
            skipped[row["backend"], row["reason"]] += 1
        elif row["outcome"] == "ok":
            others[named(row, runtime=runtimes), "ok, but other seeds or folds of it are not"].append(row)
        else:
            others[named(row, runtime=runtimes), f"{row['outcome']} ({' '.join(row['reason'].split())})"].append(row)
    lines = [
        style.say("{name}, {where}: {what}", name=" ".join(name.split()), where=_where(group), what=what)
        for (name, what), group in others.items()
    ]
    for (backend, reason_), count in skipped.items():
        lines.append(style.say("{backend}: {count} skipped ({reason})", backend=backend, count=count, reason=reason_))
    return tuple(lines)


def _where(rows: Sequence[Row]) -> str:
    if len(rows) > 1:
        return f"{len(rows)} seeds and folds"
    return f"seed {rows[0]['seed']}, fold {rows[0]['fold']}"


# Over tasks


def _overall(found: Overall, style: Style) -> Section:
    """The order over tasks. Each task has one column, and what is missing there a dash."""
    runtimes = len({one.name.runtime for one in found.standings}) > 1
    caption = style.text("Normalised scores: 0 is the task's trivial baseline, 1 its best reference; the mean over back ends.")
    reading = style.say(
        "place: by the mean over tasks. It says nothing of whether two methods differ; on each task, ranks do. coverage: tasks "
        "and back ends on which a method is, of those on which its model is. One that lacks any has no mean and no place (strict "
        "view), and in the column imputed the constant predictor's score there. spread: the largest difference between two back "
        "ends on a task. W/T/L: wins, ties and losses against all other methods, counted by task: a win is a better rank there. "
        "The model {default} is the single one that each of its back ends has on a task.",
        default=DEFAULT,
    )
    if found.left_out:
        text = " Without {tasks}, where no reference beats the baseline."
        reading += style.say(text, tasks=", ".join(found.left_out))
    headers = ["place", "model", "recipe", *(["runtime"] if runtimes else []), "back ends"]
    numbers = ["mean ↑", "imputed ↑", "coverage", "spread ↓", "W/T/L"]

    def line(one: Standing) -> tuple[str, ...]:
        names = [one.name.architecture, one.name.recipe, *([one.name.runtime] if runtimes else []), ", ".join(one.backends)]
        values = [number(one.mean, ".2f"), number(one.imputed, ".2f"), "/".join(map(str, one.cells))]
        values += [number(one.spread, ".2f"), "/".join(map(str, one.total))]
        values += [number(one.scores.get(task), ".2f") for task in found.tasks]
        place = DASH if one.place is None else str(one.place)
        return (style.text(place), *map(style.name, names), *map(style.text, values))

    width = len(headers) + len(numbers)
    return Section(
        style.text("All tasks"),
        (
            caption,
            reading,
            Grid(
                headers=(*map(style.text, [*headers, *numbers]), *(style.name(f"{task} ↑") for task in found.tasks)),
                lines=tuple(map(line, found.standings)),
                align="r" + "l" * (len(headers) - 1) + "r" * (len(numbers) + len(found.tasks)),
                leaves=(
                    ("", tuple(range(width))),
                    ("by task", (*range(len(headers)), *range(width, width + len(found.tasks)))),
                ),
            ),
        ),
    )


def _legend(tables: Sequence[Table], suite: Mapping[str, Any], style: Style) -> Section:
    measure, folds = suite["measure"], {len(table.folds) for table in tables} or {1}
    ratios = []
    if len(suite["seeds"]) * min(folds) == 1:
        ratios.append("[95 %]: over the processes." if measure["processes"] > 1 else "One process: no interval.")
    if len(suite["seeds"]) * max(folds) > 1:
        ratios.append("Of several seeds or folds the median, then the least and the greatest; no interval.")
    ratio = " ".join(ratios)
    timing = (
        f"p50, p90: one input, {suite['build']['cores']} thread(s), {measure['processes']} process(es) × {measure['rounds']} "
        f"round(s) × {measure['calls']} calls, quantiles by linear interpolation. time ×: time ÷ that of the reference, "
        f"measured in turns in the same processes; below 1 is faster. {ratio} In brackets: more than half of the time is the "
        f"runtime's own floor. ~: noisy, rounds spread by more than {NOISY:.0%}, or the process waited for its core for more "
        f"than {NOISY_WAITING:.0%} of the time."
    )
    rss = "RSS: peak memory of a process that holds the runtime and this model alone."
    lines = [
        "score: of the test rows, at batch 1, from the file that ships; the mean over seeds and folds. [95 %]: percentile "
        f"bootstrap, {DRAWS:,} draws. val: validation, the only score that anything was chosen by. Scores and flips are means "
        "over seeds and folds, the other columns medians. Scores have the decimals that their narrowest interval bears, and so "
        "have differences.",
        "rank: a method shares that of the best method above it from which no difference was found; neighbours of two ranks need "
        "not differ (step-down comparison of all pairs by Ryan, Einot, Gabriel and Welsch, on the same rows, 5 % for all of a "
        "task together). Ranks are of unrounded scores.",
        "− reference: the score less that of the uncompressed model of the same back end, model and seed, on the same rows. "
        "verdict: better (its interval lies above 0), non-inferior (above minus the margin), inferior (below minus the margin) "
        "or undecided. flips: test rows whose label is not the reference's.",
        f"− {CONTROL}: the score less that of a recipe {CONTROL} (of several the one nearest in bytes), on the same rows: a "
        "smaller network trained from scratch, by default for as many planned updates as a reference and a pass's fine-tuning "
        "together; recipes that do not train on had fewer.",
        "bytes: all files of the artifact. size ÷: bytes of the uncompressed reference (same back end, model, seed) ÷ these "
        "bytes. MACs: multiply-adds for one input. device bytes: weights as they are held, and the peak of activations.",
        *([timing, rss] if _is_timed(tables) else []),
        "best of: how many methods keep the device's limits. constant: a predictor that gives the class frequencies of the "
        "training rows. trivial: the task's own rule of one feature.",
        "–: undefined or not measured.",
    ]
    if chosen := [row for table in tables for row in _searches(table, suite)]:
        crossed = any(row["search_score"] is not None for row in chosen)
        lines.insert(
            -1,
            "chosen: a search proposes models, which are trained, exported and run on validation rows, until its time is over or "
            "it has none left. proposals: how many it tried, with those that came to nothing. search s: seconds of its time that "
            "went by; what was there already is charged at what it once took."
            + (
                " cv: the mean validation score over the inner folds of a cross-validation, by which models were chosen that had "
                "been tried on all of them; val is that of the first, the task's own validation rows."
                if crossed
                else ""
            ),
        )
    if max(folds) > 1:
        lines.insert(0, "evaluations: test rows of each fold, summed over folds; repeated folds test a row more than once.")
    return Section(style.text("How to read the tables"), (tuple(map(style.text, lines)),))
