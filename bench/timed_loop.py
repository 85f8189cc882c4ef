"""What the timed loop itself adds to a call: a predictor that does nothing, timed by it, beside the same calls timed as one."""

from __future__ import annotations

import statistics
import time
from typing import cast

import numpy as np

from benchmark.measure import latency
from benchmark.protocols import Predictor

ROUNDS, CALLS = 30, 2000


class Idle:
    """Gives back what it is given."""

    def predict(self, x: object) -> object:
        """Nothing is computed."""
        return x


def main() -> None:
    """Prints the medians over rounds, in turns."""
    idle = cast(Predictor, Idle())
    rows = [np.zeros((1, 60), np.float32) for _ in range(64)]
    reported, whole = [], []
    for _ in range(ROUNDS):
        samples = latency.sample({"idle": idle}, rows, 1, CALLS, 0)["idle"]
        reported.append(float(np.median(samples)) / 1e3)
        predict, asarray = idle.predict, np.asarray
        start = time.perf_counter_ns()
        for call in range(CALLS):
            asarray(predict(rows[call % len(rows)]))
        whole.append((time.perf_counter_ns() - start) / CALLS / 1e3)
    print(f"reported for a call that does nothing: {statistics.median(reported):.3f} µs")
    print(f"the same call in a plain loop, loop included: {statistics.median(whole):.3f} µs")
    print(f"added by the clock: {statistics.median(reported) - statistics.median(whole):+.3f} µs")


if __name__ == "__main__":
    main()
