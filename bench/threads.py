"""CPU time over wall time of each back end's training and of the runtime, under a budget of one thread and with the pin off.

On one pinned core any number of threads looks like one. The last line is a training that is told to take two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmark import limits, runner
from benchmark.registry import discover
from benchmark.store import StepResult
from benchmark.suite import parse

SUITE = """
[suite]
name = "threads"
tasks = ["mnist-10k"]
backends = ["torch", "jax", "sklearn"]
architectures = {sklearn = ["forest"]}
[train]
updates = 10
"""
UPDATES = 1000
"""Long enough that imports and compiling are a small part."""


class Quiet:
    """Keeps the results."""

    def __init__(self) -> None:
        self.results: list[StepResult] = []

    def stage(self, name: str, to_run: int, reused: int) -> None:
        """Says nothing."""

    def started(self, label: str) -> None:
        """Says nothing."""

    def finished(self, result: StepResult) -> None:
        """Keeps it."""
        self.results.append(result)

    def blocked(self, steps: int) -> None:
        """Says nothing."""


def again(layout: runner.Layout, result: StepResult, artifact: str, threads: int) -> float:
    """Runs a finished step once more, alone and on every core; CPU time over wall time."""
    job_file = layout.step(result.id) / "job.json"
    if not job_file.exists():  # it rode in the job of the step before it
        (job_file,) = (path for path in layout.root.glob("steps/*/job.json") if result.id in path.read_text(encoding="utf-8"))
    job: dict[str, Any] = json.loads(job_file.read_text(encoding="utf-8"))
    (step,) = (one for one in job["steps"] if one["id"] == result.id)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "output").mkdir()
        step |= {"folder": name, "threads": threads, "seconds": 600}
        if "artifact" in step["inputs"]:
            step["inputs"]["artifact"] = str(layout.artifact(artifact).absolute())
        for given in (step["settings"].get(key) or {} for key in ("training", "params")):
            if "updates" in given:
                given["updates"] = UPDATES
        job |= {"host": os.getpid(), "sandbox": None, "steps": [step], "started": time.monotonic()}
        (Path(name) / "job.json").write_text(json.dumps(job), encoding="utf-8")
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmark.worker", f"{name}/job.json"],
            env=limits.child_environment(threads, Path(name), "threads"),
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        told = json.loads((Path(name) / "worker.json").read_text(encoding="utf-8"))
        if status or told["outcome"] != "ok":
            raise RuntimeError(f"{result.label}: {told}")
        return (usage.ru_utime + usage.ru_stime) / wall


def main() -> None:
    """Prints the ratios."""
    quiet = Quiet()
    with tempfile.TemporaryDirectory() as name:
        layout = runner.Layout(Path(name))
        runner.run(parse(SUITE, "threads"), discover(), layout, quiet)
        artifacts = {one.label.partition(": ")[0]: one.facts["artifact"] for one in quiet.results if one.kind == "export"}
        for result in quiet.results:
            if result.kind in ("train", "evaluate"):
                artifact = artifacts[result.label.partition(": ")[0]]
                print(f"{result.label}: CPU time / wall {again(layout, result, artifact, 1):.2f}", flush=True)
        (torch,) = (one for one in quiet.results if one.kind == "train" and " torch " in one.label)
        print(f"{torch.label}, told to take 2 threads: CPU time / wall {again(layout, torch, '', 2):.2f}")


if __name__ == "__main__":
    main()
