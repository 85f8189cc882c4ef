"""Whether printed latency intervals hold: an int8 network is measured 60 times from scratch against its float reference.

How many of the 95 % intervals of the ratio hold the median of all runs, and how far do the ratios spread?"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from benchmark import leaderboard, runner
from benchmark.folders import Layout
from benchmark.registry import discover
from benchmark.store import StepResult, open_store
from benchmark.suite import parse

RUNS = 60
SUITE = """
[suite]
name = "pair"
tasks = ["mnist-10k"]
backends = ["torch"]
[train]
updates = 30
[[recipe]]
passes = ["int8-static"]
"""


class Quiet(runner.Progress):
    """Notes the latency steps, so that they can be forgotten and run again."""

    def __init__(self) -> None:
        self.latency: set[str] = set()

    def finished(self, result: StepResult) -> None:
        """Remembers what measures latency."""
        if result.kind == "latency":
            self.latency.add(result.id)


def main() -> None:
    """Prints how many intervals hold the median of all runs, and how far the ratios spread."""
    suite, registry, quiet = parse(SUITE, "pair"), discover(), Quiet()
    ratios: list[float] = []
    intervals: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as name:
        layout = Layout(Path(name))
        for _ in range(RUNS):
            runner.run(suite, registry, layout, quiet)
            store = open_store(layout.store)
            (row,) = (row for row in leaderboard.rows(store) if row["recipe"] == "int8-static")
            ratios.append(row["latency_ratio"])
            intervals.append((row["latency_ratio_low"], row["latency_ratio_high"]))
            store.forget(quiet.latency)
            store.close()
            for id_ in quiet.latency:  # else it would be read again from there
                (layout.step(id_) / "result.json").unlink(missing_ok=True)
    median = statistics.median(ratios)
    held = sum(low <= median <= high for low, high in intervals)
    spreads = [max(ratios[i : i + 10]) / min(ratios[i : i + 10]) for i in range(0, RUNS, 10)]
    print(f"ratio int8 to float: median {median:.3f} of {RUNS} runs, {min(ratios):.3f} to {max(ratios):.3f}")
    print(f"95 % intervals that hold that median: {held} of {RUNS}")
    print(f"spread of 10 runs in a row, greatest to least: {', '.join(f'{spread:.3f}' for spread in spreads)}")


if __name__ == "__main__":
    main()
