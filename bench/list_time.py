"""Start-up of ``python -m benchmark --list``, beside a bare interpreter, in turns: medians and their ratio."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 5


def seconds(*arguments: str) -> float:
    """Wall time of one process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Prints the medians."""
    commands = {"bare interpreter": ("-c", "pass"), "--list": ("-m", "benchmark", "--list")}
    for command in commands.values():
        seconds(*command)  # warms the file cache
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            times[name].append(seconds(*command))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        print(f"{name}: {median:.3f} s (median of {RUNS}; {min(times[name]):.3f} to {max(times[name]):.3f})")
    print(f"ratio: {medians['--list'] / medians['bare interpreter']:.1f}")


if __name__ == "__main__":
    main()
