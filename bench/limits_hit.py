"""How soon what breaks a limit is ended, under each mechanism that this machine offers: wall time, CPU time, and memory for
numpy, torch and jax with a limit of what the library needs idle and 300 MB. And by how much a run outlasts its steps."""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from idle import BACKEND, installed

from benchmark import runner
from benchmark.folders import Layout
from benchmark.limits.guard import mechanisms
from benchmark.registry import Registry, discover
from benchmark.store import StepResult
from benchmark.suite import parse

MB = 1_000_000
SECONDS = 5
PASSES = """
import time

@hookimpl
def benchmark_compressors():
    taking = (Param("library", "numpy", choices=("numpy", "torch", "jax")), Param("mb", 0, low=0))
    for name, params in (("rests", ()), ("hangs", ()), ("spins", ()), ("takes", taking)):
        yield CompressorSpec(name=name, target=f"greedy:{name.title()}", summary="Greedy.", stage="model", backend="idle",
                             params=params)

class Rests:
    def compress(self, context):
        Idle().train(context)

class Hangs:
    def compress(self, context):
        time.sleep(3600)

class Spins:
    def compress(self, context):
        while True:
            pass

class Takes:
    def compress(self, context):
        library, size = context.params["library"], context.params["mb"] * 1_000_000
        if library == "numpy":
            import numpy
            take = lambda: numpy.ones(size, numpy.uint8)
        elif library == "torch":
            import torch
            take = lambda: torch.ones(size, dtype=torch.uint8)
        else:
            import jax
            jax.jit(lambda x: x + 1)(1.0).block_until_ready()
            take = lambda: jax.numpy.ones(size, "uint8").block_until_ready()
        print(time.monotonic(), flush=True)
        kept = take()
        time.sleep(0.3)
        Idle().train(context)
"""


class Clock(runner.Progress):
    """Keeps the results, and when the processes of each were gone."""

    def __init__(self, layout: Layout) -> None:
        self.results: list[tuple[StepResult, float]] = []
        self._layout = layout

    def finished(self, result: StepResult) -> None:
        """Keeps it."""
        job = self._layout.step(result.id) / "job.json"  # that of a step that rides in a job lies elsewhere
        started = json.loads(job.read_text(encoding="utf-8"))["started"] if job.exists() else 0.0
        self.results.append((result, started + result.seconds))


def run(
    registry: Registry, mechanism: str, budget: str, recipes: Iterable[str]
) -> tuple[list[tuple[StepResult, float]], float, int]:
    """Runs recipes of one pass each, one job at a time: their passes' results in order and when their processes were gone, the
    seconds by which the run took longer than its steps, and the number of its cells."""
    text = f'[suite]\nname = "greedy"\ntasks = ["german-credit"]\nbackends = ["idle"]\n[budget.build]\n{budget}\n'
    text += "".join(f"[[recipe]]\npasses = ['{recipe}']\n" for recipe in recipes)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(layout := Layout(Path(folder)))
        ended = runner.run(parse(text, "greedy"), registry, layout, clock, jobs=1, mechanism=mechanism)
    longer = time.monotonic() - start - sum(result.seconds for result, _ in clock.results)
    return [(one, when) for one, when in clock.results if one.kind == "pass"], longer, len(ended.cells)


def times(registry: Registry, mechanism: str) -> None:
    """Prints how late limits of time strike, and how much longer than its steps a run took."""
    passes, longer, cells = run(registry, mechanism, f"seconds = {SECONDS}", ("rests", "hangs"))
    print(f"{mechanism}: wall time of {SECONDS} s hit after {passes[-1][0].seconds:.2f} s")
    print(f"{mechanism}: the run took {longer / cells:.2f} s a cell longer than its steps")
    passes, _, _ = run(registry, mechanism, f"seconds = 60\ncpu_seconds = {SECONDS}", ("spins",))
    used = passes[0][0].limits["cpu_seconds"]["observed"]
    print(f"{mechanism}: CPU time of {SECONDS} s hit after {used:.2f} s", flush=True)


def memory(registry: Registry, mechanism: str, library: str) -> None:
    """Prints what +200 MB and +400 MB end as, and how soon after it was asked for the latter is gone."""
    idle = 0
    for _ in range(2):  # files that nobody had read before are charged to the first
        passes, _, _ = run(registry, mechanism, 'seconds = 60\nmemory = "4 GB"', (f'takes(library="{library}")',))
        idle = passes[0][0].limits["memory"]["observed"]
    budget = f'seconds = 60\nmemory = "{idle // MB + 300} MB"'
    passes, _, _ = run(registry, mechanism, budget, [f'takes(library="{library}", mb={mb})' for mb in (200, 400)])
    (lives, _), (dies, when) = passes
    late = when - float(dies.facts["last_lines"][-1])
    ends = f"+200 MB {lives.outcome}; +400 MB {dies.outcome}, gone after {late:.2f} s"
    print(f"{mechanism}, {library}: idle {idle / MB:.0f} MB; {ends}", flush=True)


def main() -> None:
    """Prints all."""
    with installed("greedy", BACKEND + PASSES):
        registry = discover()
        for mechanism in mechanisms():
            times(registry, mechanism)
            for library in ("numpy", "torch", "jax"):
                if importlib.util.find_spec(library):
                    memory(registry, mechanism, library)


if __name__ == "__main__":
    main()
