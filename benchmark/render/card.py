"""The model card of an exported file (Mitchell et al. 2019, doi:10.1145/3287560.3287596)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.budget import format_bytes
from benchmark.recommend import Answer, Row
from benchmark.render.answers import costs, limits, remarks, title
from benchmark.render.markdown import escape
from benchmark.render.style import bounded, number, score_decimals
from benchmark.statistics import Interval

_EXPLAINED = {
    "log_loss": " (lower is better)",
    "brier": " (lower is better)",
    "recall_5_1": " (recall of the second class, called where a missed one costs five times as much as a false alarm)",
}


def model_card(
    answer: Answer, row: Row, suite: Mapping[str, Any], facts: Mapping[str, Any], baselines: Mapping[str, float]
) -> str:
    """The card of the row's file, Markdown. ``facts``: of the prepare step; ``suite``: what the store keeps of the suite;
    ``baselines``: test scores of the task's baselines."""
    assert answer.best is not None
    parts = [
        f"# {escape(title(answer.best, answer))} for {escape(answer.task)}",
        _items("What it is", _what(answer, row, facts)),
        _items("Scores", _scores(row)),
        _items("Groups", _groups(row)),
        _items("Size and speed", _costs(row)),
        _items("How it was built", _built(row)),
        _items("Data", _data(row, suite, facts)),
        _items("Known weaknesses", _weaknesses(answer, row, baselines)),
        _items("Provenance", _provenance(row)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _items(heading: str, lines: Iterator[str]) -> str:
    items = "\n".join(f"- {line}" for line in lines)
    return f"## {heading}\n\n{items}" if items else ""


def _what(answer: Answer, row: Row, facts: Mapping[str, Any]) -> Iterator[str]:
    shape = " × ".join(map(str, facts["input_shape"]))
    yield f"input: float32, N × {shape}, prepared as preprocessing.json says"
    yield f"classes: {', '.join(map(escape, facts['classes']))}"
    chosen = f"chosen by validation {row['metric']} {number(row['val_score'], '.4f')}"
    yield f"{chosen}, the best of {answer.among} that keep: {limits(answer.tier)}"
    yield "meant for the task that it was trained on; what else it is used for has not been tested"


def _scores(row: Row) -> Iterator[str]:
    known = row["score_low"] is not None
    interval = Interval(row["score_low"], row["score_high"], 0, 0, 0, False) if known else None
    digits = score_decimals([interval])
    score = bounded(row["score"], row["score_low"], row["score_high"], digits)
    yield f"test {row['metric']}: {score} (95 %, over units of the test rows)"
    for name, value in (row["metrics"] or {}).items():
        if name != row["metric"]:
            yield f"test {name}: {number(value, '.4f')}{_EXPLAINED.get(name, '')}"
    if row["reference_verdict"]:
        ends = (row["reference_difference"], row["reference_difference_low"], row["reference_difference_high"])
        yield f"against the uncompressed model: {bounded(*ends, digits, sign='+')}, {row['reference_verdict']}"


def _groups(row: Row) -> Iterator[str]:
    for column, found in (row["groups"] or {}).items():
        for name, group in found["groups"].items():
            score = bounded(group["score"], group["low"], group["high"], 3)
            yield f"{escape(column)} {escape(name)}: {score}, {group['n']} rows"
        yield f"largest gap by {escape(column)}: {number(found['gap'], '.3f')}"


def _costs(row: Row) -> Iterator[str]:
    yield f"{row['artifact_bytes']:,} bytes in all files" + (f", of {', '.join(row['dtypes'])}" if row["dtypes"] else "")
    yield f"multiply-adds for one input: {number(row['macs'], ',.0f')}"
    for name, text in costs(row):
        yield f"{name}: {escape(text)}" + ("; another device has another" if name == "latency" else "")
    if row["tiers"]:
        yield f"devices of the suite that it fits: {', '.join(map(escape, row['tiers']))}"


def _built(row: Row) -> Iterator[str]:
    network = f"{escape(row['backend'])} {escape(row['architecture'])}"
    yield f"recipe {escape(row['recipe'])} on {network}, seed {row['seed']}, fold {row['fold']}"
    if row.get("chosen"):
        yield f"what that search found: {escape(row['chosen'])} (the best of {row['n_proposals']} proposals by validation)"
    seconds = number(row["total_build_seconds"], ",.0f")
    yield f"{seconds} s of building, references and teachers included; stopped by: {row['stopped_by'] or 'its end'}"
    for name, one in (row["limits"] or {}).items():
        observed = "not observed" if one["observed"] is None else f"at most {_amount(name, one['observed'])} observed"
        what = f"limit of {name.replace('_', ' ')}: {_amount(name, one['limit'])}"
        yield f"{what}; enforcement: {escape(one['mechanism'])}; {observed}"


def _amount(name: str, value: Any) -> str:
    if not isinstance(value, int | float):
        return escape(str(value))
    return format_bytes(int(value)) if name in ("memory", "file_bytes") else f"{value:g}"


def _data(row: Row, suite: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"source: {escape(suite.get('citations', {}).get(row['task'], 'not recorded'))}"
    yield f"licence: {escape(suite.get('licences', {}).get(row['task'], 'not recorded'))}"
    yield from map(escape, facts.get("notes", ()))


def _weaknesses(answer: Answer, row: Row, baselines: Mapping[str, float]) -> Iterator[str]:
    if answer.best:
        yield from map(escape, remarks(answer.best, baselines))
    if len(answer.best.rows if answer.best else ()) == 1:
        yield "one training on one split: another seed gives another model, and how different a one is not known"
    if row["score_low"] is not None:
        yield f"the test score is known to ± {number((row['score_high'] - row['score_low']) / 2, '.3f')} only"
    for column, found in (row["groups"] or {}).items():
        scores = {name: group["score"] for name, group in found["groups"].items() if group["score"] is not None}
        if len(scores) > 1:
            worst = min(scores, key=scores.__getitem__)
            yield f"of the groups by {escape(column)} it does worst on {escape(worst)}: {scores[worst]:.3f}"
    if "int8" in row["recipe"]:
        yield "it computes on 8-bit integers: other processors may give slightly other outputs"
    if row["stopped_by"] == "deadline":
        yield "its training was stopped by the time limit"
    yield "nothing says how it does on rows that differ from those of the task; monitor.json is what to compare them with"


def _provenance(row: Row) -> Iterator[str]:
    yield f"artifact: sha256 {row['artifact']}"
    yield f"data: fingerprint {row['data_fingerprint']}"
    yield f"finished: {row['finished_utc']}"
    yield f"Python {row['python']}; " + ", ".join(
        f"{escape(name)} {escape(one)}" for name, one in (row["versions"] or {}).items()
    )
    if row["git_commit"]:
        yield f"commit {escape(row['git_commit'])}"
