"""The answer to "which file do I ship?": the first table of a leaderboard, and what ``recommend`` prints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmark.budget import LIMITS, DeviceTier, Limit
from benchmark.leaderboard import Entry, Table
from benchmark.plan import METHOD
from benchmark.recommend import Answer, Method, Rejected, Row, answer
from benchmark.render.style import DASH, Grid, Part, Section, Style, bounded, named, number, score_decimals

ON_DEVICE = {
    "flash_bytes": "flash",
    "ram_bytes": "RAM",
    "arena_bytes": "arena",
    "instructions_m4": "instructions M4",
    "instructions_m7": "instructions M7",
}
"""How what is known of a device is called, by column."""
_HEADERS = ("task", "device", "ship this", "score ↑ [95 %]", "verdict", "val ↑")
_COSTS = {
    "bytes ↓": ("artifact_bytes", ",.0f"),
    "p90 µs ↓": ("latency_p90_us", ".1f"),
    "flash ↓": ("flash_bytes", ",.0f"),
    "RAM ↓": ("ram_bytes", ",.0f"),
}


def section(tables: Sequence[Table], rows: Sequence[Row], tiers: Sequence[DeviceTier], style: Style) -> Section:
    """The answer table: the method to ship for each task and device."""
    entries = {_key(one.rows[0]): one for table in tables for one in table.entries}
    found = [answer(table.task, [row for row in rows if row["task"] == table.task], tier) for table in tables for tier in tiers]
    parts: list[Part] = [
        style.text(
            "For each task and device the method with the best validation score among those whose every file keeps the device's "
            "limits; test scores chose nothing."
        ),
        tuple(_tier(tier, style) for tier in tiers),
        style.text(
            "verdict: its test score against its reference's. The evidence is that method's line in the task's table below, and "
            "its row in rows.csv, which names the artifact."
        ),
        _grid(found, entries, style),
    ]
    baselines = {table.task: table.baselines for table in tables}
    devices: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for one in found:
        if one.best:
            for remark in remarks(one.best, baselines[one.task]):
                devices[one.task, title(one.best, one), remark].append(one.tier.name)
    noted = [
        style.say("{task} ({names}), {method}: {remark}", task=task, names=", ".join(names), method=method, remark=remark)
        for (task, method, remark), names in devices.items()
    ]
    if noted:
        parts += [style.text("To be noted:"), tuple(noted)]
    if files := tuple(dict.fromkeys(_file(one, one.best.to_ship, style) for one in found if one.best)):
        parts += [style.text("The files, in the results folder; each folder is named by the hash of what it holds:"), files]
    return Section(style.text("What to ship"), tuple(parts))


def _file(one: Answer, row: Row, style: Style) -> str:
    method = named(row, runtime=one.runtimes)
    found = f", found by a search: {row['chosen']}" if row.get("chosen") else ""
    return style.say(
        "{task}, {method}: artifacts/{digest}/{found}", task=one.task, method=method, digest=row["artifact"], found=found
    )


def _grid(found: Sequence[Answer], entries: Mapping[tuple[str, ...], Entry], style: Style) -> Grid:
    columns = [column for column, _ in _COSTS.values()]
    known = {column for one in found if one.best for column in columns if one.best.largest(column) is not None}
    costs = {name: cost for name, cost in _COSTS.items() if cost[0] in known or not known}
    width = len(_HEADERS) + len(costs)
    return Grid(
        tuple(map(style.text, (*_HEADERS, *costs, "best of", "runner-up"))),
        tuple(_line(one, entries, costs, style) for one in found),
        "lllrlr" + "r" * len(costs) + "rl",
        leaves=(("", tuple(range(width))), ("runner-up", (0, 1, width, width + 1))),
    )


def _line(
    one: Answer, entries: Mapping[tuple[str, ...], Entry], costs: Mapping[str, tuple[str, str]], style: Style
) -> tuple[str, ...]:
    head = (style.name(one.task), style.name(one.tier.name))
    if one.best is None:
        why = style.say("{what}: {why}", what=nothing(one), why=reason(one.rejected[0], one)) if one.rejected else nothing(one)
        return (*head, why, *(style.text(DASH) for _ in range(len(_HEADERS) - 3 + len(costs) + 2)))
    best = entries[_key(one.best.rows[0])]
    interval = best.interval
    digits = score_decimals([interval])
    second = DASH
    if one.runner_up is not None:
        rank = entries[_key(one.runner_up.rows[0])].rank
        tied = ", of one rank" if rank is not None and rank == best.rank else ""
        second = f"{title(one.runner_up, one)} (val {number(one.runner_up.val_score, '.3f')}{tied})"
    return (
        *head,
        style.name(title(one.best, one)),
        style.text(bounded(best.score, interval.low if interval else None, interval.high if interval else None, digits)),
        style.text(best.reference.verdict if best.reference else DASH),
        style.text(number(one.best.val_score, ".3f")),  # it chose: small differences of it count
        *(style.text(number(one.best.largest(column), form)) for column, form in costs.values()),
        style.text(str(one.among)),
        style.name(second),
    )


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in ("task", *METHOD))


def nothing(one: Answer) -> str:
    """Why there is no method to ship, in words."""
    unfinished = all(rejected.why == "outcome" for rejected in one.rejected)
    return "no method has ended well" if unfinished else "nothing fits"


def title(method: Method, one: Answer) -> str:
    """How a method is named in an answer."""
    return named(method.rows[0], runtime=one.runtimes)


def remarks(method: Method, baselines: Mapping[str, float]) -> list[str]:
    """What should be known before a method is shipped: that a predictor that costs nothing is as good, and what its rows say."""
    scores = [row["score"] for row in method.rows]
    found = []
    if None not in scores and baselines:
        score, (name, to_beat) = sum(scores) / len(scores), max(baselines.items(), key=lambda item: item[1])
        if score <= to_beat:
            found.append(
                f"no better than the task's baseline {name}: test {method.rows[0]['metric']} {score:.3f}, not above {to_beat:.3f}"
            )
    return [*found, *dict.fromkeys(" ".join(row["reason"].split()) for row in method.rows if row["reason"])]


def method_score(method: Method) -> str:
    """The mean test score of a method, with its interval where it is one row's."""
    scores = [row["score"] for row in method.rows]
    if None in scores:
        return DASH
    low, high = (method.rows[0][name] if len(scores) == 1 else None for name in ("score_low", "score_high"))
    return bounded(sum(scores) / len(scores), low, high, 3)


def reason(rejected: Rejected, one: Answer) -> str:
    """What stands against a method, with its numbers."""
    method, tier = rejected.method, one.tier
    match rejected.why:
        case "outcome":
            row = next(row for row in method.rows if row["outcome"] != "ok")
            text = f"{row['outcome']} ({row['reason']})"
        case "undefined":
            text = "its validation score is undefined"
        case Limit() as limit:
            text = _too_much(limit, method, tier)
        case "rows":
            text = f"scored on {method.rows_tested:,} test rows only, others on more"
        case "validation":
            best = one.best.val_score if one.best else None
            text = f"validation {number(method.val_score, '.4f')}, not better than {number(best, '.4f')}"
    return f"{title(method, one)}: {text}"


def _too_much(limit: Limit, method: Method, tier: DeviceTier) -> str:
    value, allowed = method.largest(limit.column), (limit.of(tier) or 0) * limit.scale
    if value is None:
        return f"its {limit.words.strip() or limit.name} is not known on runtime {method.rows[0]['runtime']}"
    if limit.column.endswith("_us"):
        return f"{limit.words}{number(value, '.1f')} µs, more than {allowed:g}"
    return f"{limit.words}{number(value, ',.0f')} bytes, more than {allowed:,.0f}"


def report(one: Answer, root: Path, baselines: Mapping[str, float]) -> str:
    """What ``recommend`` prints: the file and its proof, the runner-up, and what stopped the smaller ones. ``baselines``: test
    scores of the task's baselines."""
    lines = [f"{one.task}, {limits(one.tier)}: {title(one.best, one) if one.best else nothing(one)}"]
    if one.best:
        row, chosen = one.best.to_ship, number(one.best.val_score, ".4f")
        several = f", mean of {len(one.best.rows)} seeds and folds" if len(one.best.rows) > 1 else ""
        own = f"validation {number(row['val_score'], '.4f')}, test {number(row['score'], '.4f')}"
        lines += [
            f"  file       {root / 'artifacts' / row['artifact']}/ ({row['artifact_bytes']:,} bytes)",
            *([f"             of seed {row['seed']}, fold {row['fold']}: {own}"] if several else []),
            *([f"  model      {row['chosen']}"] if row.get("chosen") else []),
            f"  chosen     by validation {row['metric']} {chosen}{several}, the best of {one.among} that fit",
            f"  score      {method_score(one.best)} on test rows, not looked at for the choice",
            *(f"  {name:11}{text}" for name, text in costs(row)),
        ]
        second = (
            f"{title(one.runner_up, one)}, validation {number(one.runner_up.val_score, '.4f')}" if one.runner_up else "none fits"
        )
        lines.append(f"  runner-up  {second}")
        lines += [f"  note       {remark}" for remark in remarks(one.best, baselines)]
    if one.rejected:
        lines.append("  smaller, and not chosen:" if one.best else "  what stands against each:")
        lines += [f"    {' '.join(reason(rejected, one).split())}" for rejected in one.rejected]
    return "\n".join(lines)


def costs(row: Row) -> Iterator[tuple[str, str]]:
    """What a row's file costs where it runs: what is measured on this machine, and what is known of a device."""
    if row["latency_p50_us"] is not None:
        times = f"p50 {number(row['latency_p50_us'], '.1f')} µs, p90 {number(row['latency_p90_us'], '.1f')} µs for one input"
        yield "latency", f"{times}, on {row['cpu_model'] or 'an unknown CPU'}, {row['runtime']}, {row['threads']} thread(s)"
    counts = {name: title for name, title in ON_DEVICE.items() if row[name] is not None}
    if counts:
        parts = [f"{title} {row[name]:,}{' bytes' if name.endswith('_bytes') else ''}" for name, title in counts.items()]
        agreement = row["label_agreement"]
        agree = "" if agreement is None else f"; {agreement:.1%} of labels as ONNX Runtime's"
        yield "device", ", ".join(parts) + agree


def _tier(tier: DeviceTier, style: Style) -> str:
    return style.say("{name}: {limits}", name=tier.name, limits=limits(tier))


def limits(tier: DeviceTier) -> str:
    """What a device allows, in words."""
    allowed = [(limit, value) for limit in LIMITS if (value := limit.of(tier)) is not None]
    return ", ".join(f"{limit.words}at most {limit.format(value)}" for limit, value in allowed) or "no limit"
