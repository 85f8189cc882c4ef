"""CPU time over wall time, and busy threads, of each back end's training and of the runtime under a budget of one thread, with
the pin off: on one pinned core CPU time tells one thread from many by nothing. The last line is a training that is told to
take two."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmark import limits, runner
from benchmark.budget import BuildLimits
from benchmark.folders import Layout
from benchmark.limits import observe
from benchmark.registry import discover
from benchmark.store import StepResult
from benchmark.suite import parse

SUITE = """
[suite]
name = "threads"
tasks = ["mnist-10k"]
backends = ["torch", "jax", "sklearn"]
runtimes = ["onnxruntime", "jax"]
architectures = {sklearn = ["forest"]}
[train]
updates = 10
"""
UPDATES = 1000
"""Long enough that imports and compiling are a small part."""


class Quiet(runner.Progress):
    """Keeps the results."""

    def __init__(self) -> None:
        self.results: list[StepResult] = []

    def finished(self, result: StepResult) -> None:
        """Keeps it."""
        self.results.append(result)


def again(layout: Layout, result: StepResult, threads: int = 1, updates: int = UPDATES) -> tuple[float, float]:
    """Runs a finished step once more, alone and on every core. CPU time over wall time, and how many of its threads were busy in
    the mean of all looks."""
    job_file = layout.step(result.id) / "job.json"
    if not job_file.exists():  # it rode in the job of the step before it
        (job_file,) = (path for path in layout.root.glob("steps/*/job.json") if result.id in path.read_text(encoding="utf-8"))
    job: dict[str, Any] = json.loads(job_file.read_text(encoding="utf-8"))
    (step,) = (one for one in job["steps"] if one["id"] == result.id)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "output").mkdir()
        inputs = {role: str(_found(layout, Path(path))) for role, path in step["inputs"].items()}
        step |= {"folder": name, "threads": threads, "seconds": 600, "inputs": inputs}
        for given in (step["settings"].get(key) or {} for key in ("training", "params")):
            if "updates" in given:
                given["updates"] = updates
        job |= {"host": os.getpid(), "sandbox": None, "steps": [step], "started": time.monotonic()}
        (Path(name) / "job.json").write_text(json.dumps(job), encoding="utf-8")
        guard = limits.choose("watchdog").guard("threads", BuildLimits(), limits.available_cores())
        start, before, busy = time.perf_counter(), _cpu_of_children(), list[int]()
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmark.worker", f"{name}/job.json"],
            env=limits.child_environment(threads, Path(name), "threads"),
        )
        while process.poll() is None:
            guard.watch(process.pid)
            busy.append(observe.runnable_threads(guard.members()))
            time.sleep(0.02)
        ratio = (_cpu_of_children() - before) / (time.perf_counter() - start)
        told = json.loads((Path(name) / "worker.json").read_text(encoding="utf-8"))
        if process.returncode or told["outcome"] != "ok":
            raise RuntimeError(f"{result.label}: {told}")
        return ratio, statistics.mean(busy)


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _found(layout: Layout, path: Path) -> Path:
    """An input of a finished step; a copy of it, which has gone since, bore the name's beginning."""
    kept = [*layout.root.glob(f"artifacts/{path.name}*"), *layout.root.glob(f"steps/{path.name}*/output")]
    return path if path.exists() else kept[0].absolute()


def main() -> None:
    """Prints the ratios."""
    quiet = Quiet()
    with tempfile.TemporaryDirectory() as name:
        layout = Layout(Path(name))
        runner.run(parse(SUITE, "threads"), discover(), layout, quiet)
        for result in quiet.results:
            if result.kind in ("train", "evaluate"):
                ratio, busy = again(layout, result)
                print(f"{result.label}: CPU time / wall {ratio:.2f}, busy threads {busy:.2f}", flush=True)
        (torch,) = (one for one in quiet.results if one.kind == "train" and " torch " in one.label)
        ratio, busy = again(layout, torch, 2)
        print(f"{torch.label}, told to take 2 threads: CPU time / wall {ratio:.2f}, busy threads {busy:.2f}")


if __name__ == "__main__":
    main()
