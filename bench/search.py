"""Searches of results folders, searcher against searcher: how much of what could be had they found, and where their time went.

``python bench/search.py RESULTS [RESULTS ...]``: Markdown tables, a row for each task, back end, device tier and total time and
each searcher there, last over all of them. A folder more adds tasks, back ends, tiers, totals, searchers or seeds.

``hypervolume``: the share of the room that is dominated by the proposals inside the tier's limits, as the search saw them. The
room has a dimension for the score on the task's own validation rows (which each proposal has, also of a search that
cross-validates), from that of the task's trivial predictor (where it has none the constant one) to 1,
and one for each limit of the tier, from 0 to the limit: artifact bytes and p90 latency, where the tier limits both and
nothing else. So the reference point is the limits and the baseline's score, which suite and data fix before any search, and
values are from 0 to 1 and comparable between searches of one row. The measure is that of Zitzler and Thiele (1998,
doi:10.1007/BFb0056872).

``val``: the score by which winners were chosen, the mean over searches that have one; of a small task that was cross-validated
the mean over its folds. Both of these favour whoever tries more, as chance does. ``test``: the winner's score on test rows, which
chose nothing. ``inside``: the share of searches whose winner keeps the limits as its row has them, which is measured again, alone
on the machine. ``≥ defaults``: the share whose ``val`` is at least that of ``defaults`` with the same seed, fold, tier and total;
searchers that begin with the same recipes can only be below where these took the whole time.

Differences are paired by seed and fold, with a 95 % t interval over seeds of the mean over folds; "–" for one seed. Over all rows
the t interval is over units of a task and back end, each the mean over its tiers, totals, seeds and folds, and the last column
counts tasks by the sign of their mean difference of hypervolume. It speaks for other tasks only as far as these few are a sample.

Shares of time are of the sum over the searches: training and passes, exports, starts of processes (with imports, and those of the
searcher itself), and the rest, in which evaluation on validation rows and proposing are known apart.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from benchmark import ranking
from benchmark.budget import LIMITS, DeviceTier
from benchmark.folders import Layout
from benchmark.leaderboard import searches
from benchmark.measure import quality
from benchmark.plan import PLACE, Cell, stored_cells
from benchmark.search import PARTS, Log, tried, winner
from benchmark.store import Store, open_store

Table: TypeAlias = pd.DataFrame

GROUP = ["task", "back end", "tier", "seconds"]
CLUSTER = ["task", "back end"]
SHOWN = ("hypervolume", "val", "test")
BASELINES = ("random", "defaults")
DASH = "–"


def hypervolume(points: NDArray[np.float64]) -> float:
    """The volume of the union of the boxes between each point and (1, ..., 1), of points (n, d) that are better the smaller they
    are, in each dimension from 0 to 1: what they dominate (Zitzler and Thiele 1998, doi:10.1007/BFb0056872). Exact, by slicing
    along the last dimension (While et al. 2006, "A faster algorithm for calculating hypervolume",
    doi:10.1109/TEVC.2005.851275)."""
    inside = points[(points < 1).all(axis=1)]
    if not len(inside):
        return 0.0
    if inside.shape[1] == 1:
        return float(1 - inside.min())
    ordered = inside[np.argsort(inside[:, -1], kind="stable")]
    heights = np.diff(np.append(ordered[:, -1], 1.0))
    return sum(float(height) * hypervolume(ordered[: n + 1, :-1]) for n, height in enumerate(heights) if height > 0)


def places(log: Log, tier: DeviceTier | None, baseline: float) -> NDArray[np.float64]:
    """The proposals inside the limits that no other dominates, (n, 1 + limits), as :func:`hypervolume` takes them: 1 less
    the share of the way from the baseline's score on the task's validation rows to 1, then each measured value as a share of its
    limit, in the order of :data:`LIMITS`."""
    limits = [(limit.column, most * limit.scale) for limit in LIMITS if tier and (most := limit.of(tier)) is not None]
    models = [one for one in log.entries if tried(one, tier).fits and baseline < 1]
    rows = [[(1 - one.scores[0]) / (1 - baseline), *(one.measured[column] / most for column, most in limits)] for one in models]
    if not rows:
        return np.empty((0, 1 + len(limits)))
    return np.array(rows)[ranking.front(rows)]


def baseline(cell: Cell, store: Store) -> float:
    """The validation score of the task's trivial predictor; of the constant one where it has none or it is undefined."""
    y = store.array(cell.prepare, "validation_y")
    for name in ("trivial", "constant"):
        try:
            outputs = store.array(cell.prepare, f"{name}_validation")
        except KeyError:
            continue
        if math.isfinite(score := quality.score(outputs, y, cell.metrics[0], "probabilities")):
            return score
    raise SystemExit(f"{cell.task}: no baseline has a validation score")


def read(root: Path) -> Iterator[dict[str, Any]]:
    """A row for each search of a results folder that ended well; of the others a line on the standard error."""
    try:
        text = (root / "rows.json").read_text(encoding="utf-8")
    except OSError as error:
        raise SystemExit(f"{root}: no finished run has written its rows here: {error.strerror}") from None
    by_place = {tuple(row[name] for name in PLACE): row for row in json.loads(text)}
    with closing(open_store(Layout(root).store)) as store:
        known = {one.cell: one for one in searches(store)}
        for cell in stored_cells(store):
            row = by_place[tuple(getattr(cell, name) for name in PLACE)]
            if cell.search and cell not in known:
                print(f"{root}: left out: {cell.label}: {row['outcome']} ({row['reason']})", file=sys.stderr)
        for cell, one in known.items():
            row = by_place[tuple(getattr(cell, name) for name in PLACE)]
            best = winner(one.log.entries, cell.chosen)
            parts = {name: sum(entry.parts[name] for entry in one.log.entries) for name in PARTS}
            parts["start"] += one.log.starting
            yield {
                "task": cell.task,
                "back end": cell.backend,
                "runtime": cell.runtime,
                "tier": one.tier.name if one.tier else DASH,
                "seconds": one.seconds,
                "searcher": one.searcher,
                "seed": cell.seed,
                "fold": cell.fold,
                "hypervolume": hypervolume(places(one.log, one.tier, baseline(cell, store))),
                "val": best.score if best else math.nan,
                "test": math.nan if row["score"] is None else row["score"],
                "proposals": len(one.log.entries),
                "inside": row["outcome"] == "ok" and (one.tier is None or one.tier.name in row["tiers"]),
                "spent": one.log.spent,
                "proposing": one.log.asking,
                **parts,
            }


def gather(roots: Sequence[Path]) -> Table:
    """All searches, with ``not below``: whether the winner scores as much as that of ``defaults``, NaN where there is none."""
    table = pd.DataFrame([row for root in roots for row in read(root)])
    if not len(table):
        raise SystemExit("no search has ended well")
    if table.runtime.nunique() > 1:
        table["back end"] += " on " + table.runtime
    key = [*GROUP, "seed", "fold"]
    if (twice := table.duplicated([*key, "searcher"])).any():
        raise SystemExit(f"more than once: {table[twice].iloc[0][[*key, 'searcher']].to_dict()}")
    defaults = table[table.searcher == "defaults"][[*key, "val"]].rename(columns={"val": "theirs"})
    table = table.merge(defaults.assign(paired=True), on=key, how="left")
    as_good = table.val.fillna(-math.inf) >= table.theirs.fillna(-math.inf)
    table["not below"] = as_good.astype(float).where(table.paired.notna())
    return table.drop(columns=["theirs", "paired"])


def differences(table: Table, one: str, other: str, column: str, unit: Sequence[str]) -> NDArray[np.float64]:
    """What ``one`` has of a column more than ``other`` on the same seed and fold, the mean for each unit."""
    wide = table.pivot(index=[*GROUP, "seed", "fold"], columns="searcher", values=column)
    if not {one, other} <= set(wide.columns):
        return np.empty(0)
    apart = (wide[one] - wide[other]).dropna()
    return apart.groupby(list(unit)).mean().to_numpy(np.float64)


def interval(values: NDArray[np.float64], level: float = 0.95) -> tuple[float, float] | None:
    """The t interval of the mean of values (n,); None for fewer than two."""
    if len(values) < 2:
        return None
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    mean = float(values.mean())
    return mean - half, mean + half


def told(values: NDArray[np.float64], seeds: int) -> str:
    """A mean difference, its interval where there are several seeds, and of how many units it is."""
    if not len(values):
        return DASH
    ends = interval(values) if seeds > 1 else None
    return f"{values.mean():+.4f} {f'[{ends[0]:+.4f}, {ends[1]:+.4f}]' if ends else DASH} ({len(values)})"


def _line(cells: Sequence[str]) -> None:
    print(f"| {' | '.join(cells)} |")


def _head(names: Sequence[str]) -> None:
    _line(names)
    print("|---" * len(names) + "|")


def _percent(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:.0%}"


def _groups(table: Table) -> Iterator[tuple[list[str], Table]]:
    """(cells that name it, its searches) of each group, then of all together where there are several."""
    grouped = list(table.groupby(GROUP, sort=False))
    for key, members in grouped:
        yield [*map(str, key[:3]), f"{key[3]:g}"], members
    if len(grouped) > 1:
        yield ["all", "", "", ""], table


def main(*folders: str) -> None:
    """Prints the tables."""
    table = gather([Path(folder) for folder in folders])
    searchers = sorted(set(table.searcher))
    _head([*GROUP, "searcher", "searches", *SHOWN, "proposals", "inside", "≥ defaults"])
    for named, members in _groups(table):
        for name, mine in members.groupby("searcher"):
            means = mine[[*SHOWN, "proposals", "inside", "not below"]].astype(float).mean()
            values = [DASH if math.isnan(means[column]) else f"{means[column]:.4f}" for column in SHOWN]
            last = [f"{means.proposals:.1f}", _percent(means.inside), _percent(means["not below"])]
            _line([*named, str(name), str(len(mine)), *values, *last])
    print()
    _head([*GROUP, "difference", *(f"{column} [95 %] (units)" for column in SHOWN), "tasks won, lost"])
    for named, members in _groups(table):
        unit, seeds = CLUSTER if named[0] == "all" else ["seed"], members.seed.nunique()
        for one in searchers:
            for other in BASELINES:
                if one not in BASELINES and {one, other} <= set(members.searcher):
                    columns = [told(differences(members, one, other, column, unit), seeds) for column in SHOWN]
                    tasks = differences(members, one, other, SHOWN[0], ["task"])
                    _line([*named, f"{one} − {other}", *columns, f"{(tasks > 0).sum()}, {(tasks < 0).sum()}"])
    print()
    _head(
        [
            *GROUP,
            "searcher",
            "seconds spent",
            "training",
            "export",
            "process start",
            "rest",
            "of it evaluation",
            "of it proposing",
        ]
    )
    for named, members in _groups(table):
        for name, mine in members.groupby("searcher"):
            sums = mine[["spent", "training", "export", "start", "evaluation", "proposing"]].sum()
            rest = sums.spent - sums.training - sums.export - sums.start
            shares = [sums.training, sums.export, sums.start, rest, sums.evaluation, sums.proposing]
            _line([*named, str(name), f"{mine.spent.mean():.1f}", *(f"{value / sums.spent:.1%}" for value in shares)])


if __name__ == "__main__":
    main(*sys.argv[1:])
