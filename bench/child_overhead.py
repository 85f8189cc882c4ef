"""What the host costs a job: 100 passes that do nothing, from the start of the child to its result in the store, beside a bare
interpreter and one that imports numpy, which every job does, and no-op cells of asv and benchopt where they are installed. In
turns with them, in one run; medians and ratios.

A cell of another tool is the time from one no-op to its next, so no start or end of the tool is in it. asv starts a process for
each, which imports numpy too. benchopt runs all in its own process and asks git, and nvidia-smi where there is one, about each.
Neither limits a cell's cores or memory, nor has stored its result before the next. A cell here has a second job, to measure."""

from __future__ import annotations

import importlib.util
import itertools
import os
import site
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from idle import BACKEND, installed

from benchmark import runner
from benchmark.folders import Layout
from benchmark.registry import discover
from benchmark.store import StepResult
from benchmark.suite import parse

CELLS = 100
TURN = 20
"""So many cells of another tool in one go, then so many jobs: what slows the machine for a while slows them all."""
PASS = """
@hookimpl
def benchmark_compressors():
    return [CompressorSpec(name="rest", target="idling:Rest", summary="Nothing.", stage="model", backend="idle",
                           params=(Param("n", 0, low=0),))]

class Rest:
    def compress(self, context):
        Idle().train(context)
"""

STAMP = 'import os, time; print(time.perf_counter(), file=open(os.environ["STAMPS"], "a"))'
OTHERS = {
    "asv": {
        "asv.conf.json": '{"version": 1, "repo": ".", "environment_type": "existing", "pythons": ["same"]}',
        "benchmarks/__init__.py": "",
        "benchmarks/idle.py": "".join(f"def time_{i}():\n    {STAMP}\n" for i in range(TURN + 1)),
    },
    "benchopt": {
        "objective.py": """
from benchopt import BaseObjective
class Objective(BaseObjective):
    name = "idle"
    def set_data(self, x): pass
    def get_objective(self): return {}
    def evaluate_result(self, x): return {"value": x}
    def get_one_result(self): return {"x": 0}
""",
        "datasets/idle.py": """
from benchopt import BaseDataset
class Dataset(BaseDataset):
    name = "idle"
    def get_data(self): return {"x": 0}
""",
        "solvers/idle.py": f"""
from benchopt import BaseSolver
class Solver(BaseSolver):
    name = "idle"
    sampling_strategy = "run_once"
    parameters = {{"n": {[*range(TURN + 1)]}}}
    def set_objective(self): pass
    def run(self, _): {STAMP}
    def get_result(self): return {{"x": 0}}
""",
    },
}
"""The files of other tools, whose cells only stamp the time."""
COMMANDS = {
    # quick: each is called once, the least that gives a number. spawn: a process for each, which was not always the default.
    "asv": (("machine", "--yes"), ("run", "--quick", "--launch-method", "spawn")),
    "benchopt": (("run", ".", "--no-cache", "--no-plot", "--n-repetitions", "1"),),
}


def cells(tool: str) -> list[float]:
    """Seconds from each no-op cell of an installed tool to its next."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in OTHERS[tool].items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        # asv writes to the home folder, so it gets another; what is installed in the user's is still to be found.
        env = os.environ | {"STAMPS": f"{name}/stamps", "HOME": name, "PYTHONUSERBASE": site.getuserbase()}
        for command in COMMANDS[tool]:
            subprocess.run([sys.executable, "-m", tool, *command], cwd=name, env=env, stdout=subprocess.DEVNULL, check=True)
        stamps = [float(line) for line in (folder / "stamps").read_text(encoding="utf-8").splitlines()]
    if len(stamps) != TURN + 1:
        raise RuntimeError(f"{tool}: {len(stamps)} cells of {TURN + 1}")
    return [end - start for start, end in itertools.pairwise(stamps)]


class Clock(runner.Progress):
    """Wall time of each pass's job, with what rides in it."""

    def __init__(self) -> None:
        self.jobs: list[float] = []
        self.bare: dict[str, list[float]] = {"bare interpreter": [], "import numpy": []}
        self.others: dict[str, list[float]] = {tool: [] for tool in OTHERS if importlib.util.find_spec(tool)}
        self._since = 0.0

    def started(self, label: str) -> None:
        """The first step of a job."""
        if label.endswith(": rest"):
            if len(self.jobs) % TURN == 0:
                for tool, seconds in self.others.items():
                    seconds += cells(tool)
            for name, code in (("bare interpreter", "pass"), ("import numpy", "import numpy")):
                start = time.perf_counter()
                subprocess.run([sys.executable, "-c", code], check=True)
                self.bare[name].append(time.perf_counter() - start)
            self._since = time.perf_counter()

    def finished(self, result: StepResult) -> None:
        """The export is the last step of a pass's job."""
        if "rest" in result.label and result.kind == "export":
            self.jobs.append(time.perf_counter() - self._since)


def main() -> None:
    """Prints the medians."""
    with installed("idling", BACKEND + PASS) as folder:
        recipes = "".join(f'[[recipe]]\npasses = ["rest(n={i})"]\n' for i in range(CELLS))
        text = f'[suite]\nname = "idle"\ntasks = ["german-credit"]\nbackends = ["idle"]\n{recipes}'
        clock = Clock()
        runner.run(parse(text, "idle"), discover(), Layout(folder / "results"), clock, jobs=1)
    job = statistics.median(clock.jobs)
    print(f"no-op job: {job:.3f} s (median of {len(clock.jobs)}; {min(clock.jobs):.3f} to {max(clock.jobs):.3f})")
    others = {f"{tool} {metadata.version(tool)}, no-op cell": seconds for tool, seconds in clock.others.items()}
    for what, seconds in (clock.bare | others).items():
        median = statistics.median(seconds)
        print(f"{what}: {median:.3f} s; the job takes {job / median:.1f} times as long, {job - median:.3f} s more")
    for tool in OTHERS:
        if tool not in clock.others:
            print(f"{tool}: not installed (pip install {tool})")


if __name__ == "__main__":
    main()
