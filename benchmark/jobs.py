"""Steps of the worker outside a run: to prepare data again, to look at artifacts and run them, to write them in another form."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark import folders, limits
from benchmark.budget import BuildLimits
from benchmark.folders import Layout
from benchmark.limits import sandbox
from benchmark.measure import size
from benchmark.plan import Step
from benchmark.registry import Provider
from benchmark.step_report import FILE, StepReport, read_report

_SECONDS = 120.0  # for a step, beside what all of them need to start
_DATA_BYTES = 8 * 1024**3


@dataclass(frozen=True)
class Jobs:
    """Runs steps in folders below ``work``. ``plugin_files``: plugins that are single files, module -> path."""

    work: Path
    plugin_files: Mapping[str, str]

    def step(self, key: str) -> Path:
        """The folder of a step."""
        return self.work / "steps" / key

    def of_artifact(
        self,
        key: str,
        kind: str,
        provider: Provider | None,
        layout: Layout,
        digest: str,
        inputs: Mapping[str, str],
        settings: Mapping[str, Any],
        threads: int,
    ) -> dict[str, Any]:
        """A step of the worker that reads an artifact, of which it gets a copy: of the bytes that were hashed, and no other."""
        copy = self.work / "artifacts" / digest
        if not copy.exists():
            source = layout.artifact(digest)
            for path in size.artifact_files(source):
                (target := copy / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        return {
            "id": key,
            "kind": kind,
            "target": provider.spec.target if provider else "",
            "inputs": {"artifact": str(copy), **inputs},
            "settings": settings,
            "threads": threads,
            "libraries": sorted(provider.requires) if provider else [],
        }

    def run(self, steps: Sequence[dict[str, Any]], inputs: Collection[Path] = ()) -> dict[str, StepReport | None]:
        """Runs steps of the worker in as few processes as that needs: one that ends badly ends its process, and the next goes on.
        Returns the report of each, None where there is none. ``inputs``: folders that they may read beside the artifacts."""
        reports: dict[str, StepReport | None] = {}
        waiting = list(steps)
        while waiting:
            self._start(waiting, inputs)
            while waiting:
                step = waiting.pop(0)
                reports[step["id"]] = report = read_report(self.step(step["id"]), step["kind"])
                if report is None or report.outcome != "ok":
                    break
        return reports

    def _start(self, steps: Sequence[dict[str, Any]], inputs: Collection[Path]) -> None:
        for step in steps:
            folder = self.step(step["id"])
            folders.remove(folder)
            (folder / "output").mkdir(parents=True)
        (temporary := self.work / "temporary").mkdir(exist_ok=True)
        confined = steps[0]["kind"] != "prepare" and sandbox.available()
        readable = [self.work / "artifacts", *inputs]
        writable = [*(self.step(step["id"]) for step in steps), temporary]
        inside = limits.Sandbox([str(self.work)], [str(one) for one in readable], [str(one) for one in writable])
        job = {
            "host": os.getpid(),
            "file_bytes": BuildLimits().file_bytes,
            "data_bytes": _DATA_BYTES if steps[0]["kind"] != "prepare" else None,
            "sandbox": dataclasses.asdict(inside) if confined else None,
            "plugin_files": self.plugin_files,
            "started": time.monotonic(),
            "steps": [{**step, "folder": str(self.step(step["id"])), "seconds": _SECONDS, "how": {}} for step in steps],
        }
        first = self.step(steps[0]["id"])
        (first / "job.json").write_text(json.dumps(job, allow_nan=False), encoding="utf-8")
        with (first / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmark.worker", str(first / "job.json")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=limits.child_environment(max(step["threads"] for step in steps), temporary, steps[0]["id"][:16]),
                start_new_session=True,
            )
            try:
                self._watch(process, steps)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _watch(self, process: subprocess.Popen[bytes], steps: Sequence[dict[str, Any]]) -> None:
        """Waits for a job, as long as each of its steps ends in time."""
        for step in steps:
            since = time.monotonic()
            while not (self.step(step["id"]) / FILE).exists():
                left = since + _SECONDS - time.monotonic()
                if left <= 0:
                    return
                with suppress(subprocess.TimeoutExpired):
                    process.wait(min(left, 0.05))
                    return
        with suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS)


def of_preparation(step: Step) -> dict[str, Any]:
    """A prepare step as the worker is told of it."""
    return {
        "id": step.id,
        "kind": step.kind,
        "target": step.target,
        "inputs": {},
        "settings": step.settings,
        "threads": 1,
        "libraries": step.libraries,
    }


def key_of(*parts: str) -> str:
    """The name of a step that is made of these."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
