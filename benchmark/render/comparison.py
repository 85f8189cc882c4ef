"""What ``compare`` prints: a line that says it all, then what changed by task, what could not be compared, and how to read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, get_args

from tabulate import tabulate

from benchmark.compare import (
    EQUIVALENT,
    SIZES,
    Compared,
    Comparison,
    Ended,
    Method,
    ScoreChange,
    Side,
    TaskComparison,
    TimeChange,
    Verdict,
)
from benchmark.errors import one_line
from benchmark.render.style import DASH, bounded, named, number, plural, score_decimals
from benchmark.statistics import DRAWS, MIN_SEEDS, MIN_UNITS

_Line: TypeAlias = Sequence[str]
_Name: TypeAlias = Callable[[Method], str]
_NAMED = 5  # methods that are named in one line
_LINES = 12  # of differences in what steps depend on
_KINDS = ("no longer ok", "gone", "not ok, otherwise than before", "new", "ok now")  # worst first


def report(found: Comparison) -> str:
    """Markdown, readable as plain text too."""
    name = _namer(found)
    changed = sorted((one for one in found.tasks if _worse(one) or _changed(one)), key=lambda one: -_worse(one))
    parts = [verdict(found), "\n".join(f"- {_side(which, side)}" for which, side in (("A", found.a), ("B", found.b)))]
    for task in changed:
        parts += [f"## {_text(task.task)}", *_task(task, name)]
    if unchanged := [one for one in found.tasks if one not in changed and one.methods]:
        parts += ["## Unchanged", _list(f"{_text(one.task)}: {_methods(one.methods)}" for one in unchanged)]
    if apart := list(_apart(found, name)):
        parts += ["## Not compared", _list(apart)]
    parts += ["## What could explain it", _list(_explanations(found, name)), "## How to read this", _list(_legend(found))]
    return "\n\n".join(parts)


def verdict(found: Comparison) -> str:
    """One line: how many methods changed beyond noise, in size, and in how they ended."""
    methods = [one for task in found.tasks for one in task.methods]
    if not methods:
        parts = ["No method could be compared"]
    else:
        scores = sum(_beyond_score(one) for one in methods)
        times = sum(_beyond_time(one) for one in methods)
        beyond = sum(_beyond_score(one) or _beyond_time(one) for one in methods)
        what = f" (score {scores}, time {times})" if beyond else ""
        parts = [f"{beyond} of {_methods(methods)} {'differs' if beyond == 1 else 'differ'} beyond noise{what}"]
        if sized := sum(bool(one.sizes) for one in methods):
            parts.append(f"{sized} {'has' if sized == 1 else 'have'} another size")
        if same := sum(one.same for one in methods):
            parts.append(f"{same} {'gives' if same == 1 else 'give'} the same predictions")
    return "; ".join([*parts, *(f"{count} {'is' if count == 1 else 'are'} {way}" for way, count in _ways(found.tasks).items())])


def _ways(tasks: Iterable[TaskComparison]) -> dict[str, int]:
    """In how many methods cells ended otherwise, by the way, the worst first."""
    counted = Counter(way for task in tasks for _, way in {(one.method, _kind(one)) for one in task.ended})
    return {way: counted[way] for way in _KINDS if way in counted}


def _kind(one: Ended) -> str:
    if not one.b:
        return "gone"
    if not one.a:
        return "new"
    if one.a == "ok":
        return "no longer ok"
    return "ok now" if one.b == "ok" else "not ok, otherwise than before"


def _beyond_score(one: Compared) -> bool:
    return one.score is not None and one.score.beyond


def _beyond_time(one: Compared) -> bool:
    return one.time is not None and one.time.beyond


def _changed(task: TaskComparison) -> bool:
    return bool(task.ended) or any(one.score or one.sizes or _beyond_time(one) for one in task.methods)


def _worse(task: TaskComparison) -> int:
    """How much of a task became worse."""
    found = sum(_kind(one) in ("gone", "no longer ok") for one in task.ended)
    for one in task.methods:
        found += one.score is not None and one.score.beyond and one.score.b < one.score.a
        found += one.time is not None and one.time.verdict == "slower"
        found += any(b > a for a, b in one.sizes.values() if a is not None and b is not None)
    return found


def _side(name: str, side: Side) -> str:
    versions = ", ".join(side.versions) or "of unknown version"
    machines = ", ".join(side.machines) or "no machine"
    finished = f"last finished {side.finished_utc or DASH}"
    what = f"suite {_text(side.suite)}, {side.cells:,} cells that are not skipped, {finished}"
    return f"{name}: {_text(str(side.root))}: {what}, pocketbench {versions}, on {_text(machines)}"


# One task


def _task(task: TaskComparison, name: _Name) -> Iterator[str]:
    if task.ended:
        yield "Ended otherwise:"
        yield _list(_end(one, name) for one in sorted(task.ended, key=lambda one: _KINDS.index(_kind(one))))
    scores = {one.method: one.score for one in task.methods if one.score}
    if task.methods:
        yield _score_line(task, list(scores.values()))
    if scores:
        yield _score_grid(scores, task, name)
    if sized := [one for one in task.methods if one.sizes]:
        yield f"Size: {len(sized)} of {_methods(task.methods)} changed; B ÷ A in brackets."
        yield _grid(
            ("method", *SIZES.values()), [_size_line(one, name) for one in sorted(sized, key=_growth, reverse=True)], "lrrr"
        )
    times = {one.method: one.time for one in task.methods if one.time}
    if times or any(one.raw_p50_us for one in task.methods):
        yield _time_line(times, task.methods, name)
    if beyond := [one for one in task.methods if one.time and one.time.beyond]:
        yield _time_grid(beyond, name)


def _end(one: Ended, name: _Name) -> str:
    cells = f", {one.cells} cells" if one.cells > 1 else ""
    reason = f" ({_text(one.reason)})" if one.reason else ""
    kind = _kind(one)
    if kind == "gone":
        return f"gone: {name(one.method)} (was {one.a}{cells}){reason}"
    if kind == "new":
        return f"new: {name(one.method)} ({one.b}{cells}){reason}"
    return f"{one.a} → {one.b}: {name(one.method)}{cells}{reason}"


def _score_line(task: TaskComparison, scores: Sequence[ScoreChange]) -> str:
    beyond = sum(one.beyond for one in scores)
    few = sum(one.p is None for one in scores)
    parts = [f"{beyond} of {_methods(task.methods)} {'differs' if beyond == 1 else 'differ'} beyond noise"]
    if within := len(scores) - beyond - few:
        parts.append(f"{within} within noise")
    if few:
        parts.append(f"{few} on {task.units} {plural(task.unit)}, too few to tell")
    if same := sum(one.same for one in task.methods):
        parts.append(f"{same} with the same predictions, bit for bit")
    tested = f"{task.metric} ↑, {task.units:,} {plural(task.unit)}"
    return f"Score ({tested}): {', '.join(parts)}."


def _score_grid(scores: Mapping[Method, ScoreChange], task: TaskComparison, name: _Name) -> str:
    digits = score_decimals(one.interval for one in scores.values())
    ordered = sorted(scores.items(), key=lambda item: (not item[1].beyond, item[1].b - item[1].a))

    def line(method: Method, one: ScoreChange) -> _Line:
        low, high = (one.interval.low, one.interval.high) if one.interval else (None, None)
        noise = "beyond" if one.beyond else f"{task.units} {plural(task.unit)}" if one.p is None else "within"
        return (
            name(method),
            number(one.a, f".{digits}f"),
            number(one.b, f".{digits}f"),
            bounded(one.b - one.a, low, high, digits, sign="+"),
            _p(one.p),
            noise,
            f"{one.flips:,} of {one.rows:,}",
        )

    headers = ("method", "A", "B", "B − A [95 %]", "p", "noise", "flips")
    return _grid(headers, [line(*item) for item in ordered], "lrrrrlr")


def _p(p: float | None) -> str:
    return "<0.001" if p is not None and p < 0.001 else number(p, ".3f")


def _growth(one: Compared) -> float:
    """The largest ratio of a size in B to that in A."""
    return max((b / a for a, b in one.sizes.values() if a and b is not None), default=1.0)


def _size_line(one: Compared, name: _Name) -> _Line:
    return (name(one.method), *(_size(one.sizes[fact]) if fact in one.sizes else "same" for fact in SIZES))


def _size(values: tuple[float | None, float | None]) -> str:
    a, b = values
    ratio = f" (× {b / a:.4g})" if a and b is not None else ""
    return f"{number(a, ',.0f')} → {number(b, ',.0f')}{ratio}"


def _time_line(times: Mapping[Method, TimeChange], methods: Sequence[Compared], name: _Name) -> str:
    counted = Counter(one.verdict for one in times.values())
    found = ", ".join(f"{counted[one]} {one}" for one in get_args(Verdict) if counted[one]) or "nothing could be compared"
    raw = [
        f"{name(one.method)} {number(one.raw_p50_us[0], '.1f')} → {number(one.raw_p50_us[1], '.1f')}"
        for one in methods
        if one.raw_p50_us and one.method.recipe == "reference" and one.raw_p50_us[0] != one.raw_p50_us[1]
    ]
    told = f" Raw p50 of references, µs, relative to nothing: {'; '.join(raw)}." if raw else ""
    return f"Time relative to the reference: {found}.{told}"


def _time_grid(methods: Iterable[Compared], name: _Name) -> str:
    def line(one: Compared, time: TimeChange) -> _Line:
        raw = [number(value, ".1f") for value in one.raw_p50_us or (None, None)]
        return (name(one.method), bounded(time.ratio, time.low, time.high, 2), _p(time.p), time.verdict, *raw)

    changed = sorted(((one, one.time) for one in methods if one.time), key=lambda item: -item[1].ratio)
    headers = ("method", "time B ÷ A [95 %]", "p", "verdict", "raw p50 A, µs", "raw p50 B, µs")
    return _grid(headers, [line(*item) for item in changed], "lrrlrr")


# The rest


def _apart(found: Comparison, name: _Name) -> Iterator[str]:
    for side, only in (("A", found.only_a), ("B", found.only_b)):
        for other, count in only.items():
            yield f"{_text(other)}: in {side} only ({_count(count)})"
    for task in found.tasks:
        for reason, methods in task.apart.items():
            names = ", ".join(map(name, methods)) if len(methods) <= _NAMED else _count(len(methods))
            yield f"{_text(task.task)}: {_text(reason)}: {names}"


def _explanations(found: Comparison, name: _Name) -> Iterator[str]:
    lines = list(found.ingredients.items())
    for line, count in lines[:_LINES]:
        yield f"{_text(line)} ({count:,} of {found.steps:,} steps)"
    if len(lines) > _LINES:
        yield f"{len(lines) - _LINES} further differences"
    if not found.steps:
        yield "the two have no step in common"
    elif not lines:
        yield f"of {found.steps:,} steps that both have: the same code, versions, parameters, limits, data and machine"
    if unexplained := [one.method for task in found.tasks for one in task.methods if one.unexplained]:
        names = ", ".join(f"{_text(one.task)} {name(one)}" for one in unexplained[:_NAMED])
        more = f" and {len(unexplained) - _NAMED} more" if len(unexplained) > _NAMED else ""
        yield f"not by that: {names}{more}: other predictions, though all that they depend on is the same"
    if found.a.late or found.b.late:
        late = f"{found.a.late} in A, {found.b.late} in B"
        yield f"trainings that the deadline stopped, so that their results depend on the machine's load: {late}"


def _legend(found: Comparison) -> Iterator[str]:
    yield (
        "Methods are matched by task, back end, architecture, recipe and runtime, and compared over the folds and seeds that "
        "both have. Differences are B less A, ratios B ÷ A."
    )
    yield (
        f"[95 %]: of a score by the paired bootstrap over the task's units ({DRAWS:,} draws), of a time by Welch's over "
        "processes; each is of its method alone."
    )
    yield (
        "p, beyond and within noise: of all methods of a task together. Of scores that did not change any is called beyond noise "
        "in at most about 5 of 100 comparisons (step-down max-|t|, Westfall and Young), and of times likewise (Holm). On fewer "
        f"than {MIN_UNITS} units no score is: its interval is conditional on these."
    )
    if any(task.over_seeds for task in found.tasks):
        yield f"With at least {MIN_SEEDS} seeds a fold noise covers training too; with fewer only the choice of test rows."
    else:
        seeds = f"with fewer than {MIN_SEEDS} seeds a fold there is no interval over these"
        yield f"Noise is the choice of test rows, not training: {seeds}."
    yield "flips: test rows whose label is another one, over all folds and seeds."
    yield "Size: exact, so any change is one: bytes of all files, parameters, MACs; means over folds and seeds."
    yield (
        "Time: what the method takes ÷ what its reference takes in the same processes, of B ÷ of A; above 1 is slower. "
        f"equivalent: the whole interval lies within ±{EQUIVALENT * 100:g} %; else faster or slower where it excludes 1 and p is "
        "at most 0.05. Raw p50: on one host class, and with all in it that the machine did beside."
    )


def _methods(methods: Sequence[Compared]) -> str:
    return _count(len(methods))


def _count(methods: int) -> str:
    return f"{methods:,} {'method' if methods == 1 else 'methods'}"


def _namer(found: Comparison) -> _Name:
    """How methods are named: with their runtime where there are several."""
    methods = [one.method for task in found.tasks for one in task.methods]
    methods += [one.method for task in found.tasks for one in task.ended]
    methods += [one for task in found.tasks for names in task.apart.values() for one in names]
    several = len({one.runtime for one in methods}) > 1
    return lambda method: _text(named(method._asdict(), runtime=several))


def _text(text: str) -> str:
    """What people have named, on one line and inside a table."""
    return one_line(text).replace("|", "\\|")


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _grid(headers: Sequence[str], lines: Iterable[_Line], align: str) -> str:
    sides = ["left" if side == "l" else "right" for side in align]
    return tabulate(list(lines), headers=headers, tablefmt="pipe", disable_numparse=True, colalign=sides)
