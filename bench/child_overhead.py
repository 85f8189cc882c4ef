"""What the host costs a job: 100 passes that do nothing, from the start of the child to its result in the store, beside a bare
interpreter and one that imports numpy, which every job does. In turns with them, in one run; medians and ratios."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmark import runner
from benchmark.folders import Layout
from benchmark.registry import discover
from benchmark.store import StepResult
from benchmark.suite import parse

CELLS = 100
PLUGIN = """
from pathlib import Path
from benchmark import BackendSpec, CompressorSpec, Param, hookimpl

@hookimpl
def benchmark_backends():
    return [BackendSpec(name="idle", target="idle:Idle", summary="Nothing.", architectures={"tabular": ("none",)},
                        exports=("onnx",), output="logits")]

@hookimpl
def benchmark_compressors():
    return [CompressorSpec(name="rest", target="idle:Idle", summary="Nothing.", stage="model", backend="idle",
                           params=(Param("n", 0, low=0),))]

class Idle:
    def train(self, context):
        (context.output / "model").write_text("model", encoding="utf-8")

    compress = train

    def export(self, context, format):
        (context.output / "model.onnx").write_text("model", encoding="utf-8")  # it cannot be measured, and is not meant to be
"""


class Clock:
    """Wall time of each pass's job, with what rides in it."""

    def __init__(self) -> None:
        self.jobs: list[float] = []
        self.bare: dict[str, list[float]] = {"bare interpreter": [], "import numpy": []}
        self._since = 0.0

    def stage(self, name: str, to_run: int, reused: int) -> None:
        """Nothing to note."""

    def started(self, label: str) -> None:
        """The first step of a job."""
        if label.endswith(": rest"):
            for name, code in (("bare interpreter", "pass"), ("import numpy", "import numpy")):
                start = time.perf_counter()
                subprocess.run([sys.executable, "-c", code], check=True)
                self.bare[name].append(time.perf_counter() - start)
            self._since = time.perf_counter()

    def finished(self, result: StepResult) -> None:
        """The export is the last step of a pass's job."""
        if "rest" in result.label and result.kind == "export":
            self.jobs.append(time.perf_counter() - self._since)

    def blocked(self, steps: int) -> None:
        """Nothing to note."""


def main() -> None:
    """Prints the medians."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "idle.py").write_text(PLUGIN, encoding="utf-8")
        info = folder / "idle-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: idle\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text("[benchmark]\nidle = idle\n", encoding="utf-8")
        sys.path.insert(0, name)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [name, os.environ.get("PYTHONPATH")]))
        recipes = "".join(f'[[recipe]]\npasses = ["rest(n={i})"]\n' for i in range(CELLS))
        text = f'[suite]\nname = "idle"\ntasks = ["german-credit"]\nbackends = ["idle"]\n{recipes}'
        clock = Clock()
        runner.run(parse(text, "idle"), discover(), Layout(folder / "results"), clock, jobs=1)
    job = statistics.median(clock.jobs)
    print(f"no-op job: {job:.3f} s (median of {len(clock.jobs)}; {min(clock.jobs):.3f} to {max(clock.jobs):.3f})")
    for what, seconds in clock.bare.items():
        median = statistics.median(seconds)
        print(f"{what}: {median:.3f} s; the job takes {job / median:.1f} times as long, {job - median:.3f} s more")


if __name__ == "__main__":
    main()
