"""The child's entry point: runs the steps of one job and writes what each produced. Calls no hook and starts nothing.

``python -m benchmark.worker JOB.json``. The job is written by the runner; each step's folder gets ``worker.json`` when that step
has ended, ``curve.csv`` when it trained, and its product in ``output/`` or its arrays in ``arrays.npz``.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmark import limits, plugin_files
from benchmark.errors import NotApplicable, UserError, described, one_line
from benchmark.limits import disturbances
from benchmark.measure import memory

_ESTIMATE_CALLS = 100  # of a model in a search
_SAVING_SHARE = 0.1  # of the time limit, kept for saving what was trained


def main(job_file: str) -> int:
    """Runs the job; returns the exit code: 0 also when a step failed, since that is a result."""
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    limits.confine(job["host"], job["file_bytes"], job["data_bytes"])
    if job["sandbox"]:
        limits.enter(limits.Sandbox(**job["sandbox"]))
    plugin_files.install(job["plugin_files"])
    started = job["started"]
    for step in job["steps"]:
        folder = Path(step["folder"])
        result: dict[str, Any] = {"outcome": "ok", "reason": "", "facts": {}}
        try:
            _seed(step["settings"].get("seed", 0), step["libraries"])
            result["facts"] = _RUN[step["kind"]](
                {**step, "began": started}, folder, started + step["seconds"] * (1 - _SAVING_SHARE)
            )
        except NotApplicable as error:
            result.update(outcome="skipped", reason=one_line(str(error)) or "not applicable")
        except UserError as error:
            result.update(outcome="failed", reason=one_line(str(error)))
        except MemoryError as error:
            _print_traceback()
            result.update(outcome="out_of_memory", reason=described(error))
        except Exception as error:  # a plugin may raise anything; the traceback goes to the log, the line into the row
            _print_traceback()
            result.update(outcome="failed", reason=described(error))
        now = time.monotonic()
        observed = {"seconds": now - started, "memory": memory.peak_memory(), "cores": len(os.sched_getaffinity(0))}
        result.update(observed=observed, how=step["how"])
        _tell(folder, result)
        if result["outcome"] != "ok":
            break  # the rest of the job needs what this step did not make
        started = now
    return 0


def _print_traceback() -> None:
    with suppress(OSError):  # the log is a file, and the disk may be full
        traceback.print_exc()


def _tell(folder: Path, result: dict[str, Any]) -> None:
    """Writes how a step ended. Where the disk is full it has failed, and what it made gives way to these few bytes."""
    try:
        _write(folder / "worker.json", json.dumps(result, allow_nan=False))
    except OSError as error:
        shutil.rmtree(folder / "output", ignore_errors=True)
        (folder / "arrays.npz").unlink(missing_ok=True)
        if result["outcome"] == "ok":
            result.update(outcome="failed", reason=described(error))
        elif str(error.strerror) not in result["reason"]:  # numpy and others do not say what kept them from writing
            result.update(reason=f"{result['reason']} ({error.strerror})")
        _write(folder / "worker.json", json.dumps(result, allow_nan=False))


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.rename(path)


def _seed(seed: int, libraries: Collection[str]) -> None:
    """Seeds every global generator that the step's code may fall back to, as scikit-learn does to numpy's. JAX has none."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)
    if "torch" in libraries:
        importlib.import_module("torch").manual_seed(seed)


def _code(target: str, /, **options: Any) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)(**options)


def _leave_checkout() -> None:
    """Imports that come by way of the working directory are done; what the plugin writes by relative name goes astray here."""
    os.chdir(tempfile.gettempdir())


# What each kind of step does: (step, its folder, monotonic time by which it should save) -> facts


def _prepare(step: Mapping[str, Any], folder: Path, deadline: float) -> dict[str, Any]:
    from benchmark.data import prepare
    from benchmark.specs import TaskSpec

    spec = TaskSpec(**step["settings"]["spec"])
    code = _code(step["target"], **spec.options)
    _leave_checkout()
    prepared = prepare(code, spec, step["settings"]["fold"], folder / "output")
    return dataclasses.asdict(prepared)


def _split(step: Mapping[str, Any], folder: Path, deadline: float) -> dict[str, Any]:
    from benchmark.data import split

    settings = step["settings"]
    return dataclasses.asdict(split(Path(step["inputs"]["data"]), settings["part"], settings["parts"], folder / "output"))


class _Journal:
    """Keeps what a step tells the host through its Context. The curve is written as it grows, so a killed step leaves it."""

    def __init__(self, curve: Path) -> None:
        self._curve = curve
        self._columns: list[str] = []
        self.facts: dict[str, Any] = {}

    def log(self, step: int, **numbers: float) -> None:
        row = {"step": int(step), **{name: float(value) for name, value in numbers.items()}}
        new = not self._columns
        self._columns = self._columns or list(row)
        if list(row) != self._columns:
            raise ValueError(f"log: the columns were {', '.join(self._columns)}, now {', '.join(row)}")
        with self._curve.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            if new:
                writer.writeheader()
            writer.writerow(row)

    def trained(self, *, updates: int, stopped_by: str, compile_seconds: float | None = None) -> None:
        if stopped_by not in ("updates", "early", "deadline"):
            raise ValueError(f"trained: stopped_by must be updates, early or deadline, not {stopped_by!r}")
        self.facts.update(updates=int(updates), stopped_by=stopped_by)
        if compile_seconds is not None:
            self.facts["compile_seconds"] = float(compile_seconds)

    def report(self, *, matched: int, changed: int, **claims: Any) -> None:
        plain = {name: value.item() if hasattr(value, "item") else value for name, value in claims.items()}
        try:
            json.dumps(plain, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError(f"report: claims must be finite numbers and texts, not {plain!r}") from None
        self.facts.update(matched=int(matched), changed=int(changed), claims=plain)


def _build(run: Callable[[Any, Any, Mapping[str, Any]], None]) -> Callable[[Mapping[str, Any], Path, float], dict[str, Any]]:
    """A train, pass or export: makes its Context, runs the plugin's code, gives what it told."""

    def step_of_build(step: Mapping[str, Any], folder: Path, deadline: float) -> dict[str, Any]:
        from benchmark import data
        from benchmark.measure import quality
        from benchmark.protocols import Context

        settings, fit = step["settings"], Path(step["inputs"]["data"])
        info = data.load_info(fit)
        validation = data.load_split(fit, "validation")
        journal = _Journal(folder / "curve.csv")
        context = Context(
            task=info,
            train=data.load_split(fit, "train"),
            validation=validation,
            architecture=settings["architecture"],
            params=settings["params"],
            training=settings["training"],
            output_kind=settings["output_kind"],
            seed=settings["seed"],
            threads=step["threads"],
            input=_path(step, "input"),
            reference=_path(step, "reference"),
            source=_path(step, "source"),
            output=folder / "output",
            remaining=lambda: deadline - time.monotonic(),
            score=lambda outputs: quality.score(outputs, validation.y, info.metrics[0], settings["output_kind"]),
            log=journal.log,
            trained=journal.trained,
            report=journal.report,
        )
        code = _code(step["target"])
        _leave_checkout()
        starting = _since(step)
        run(code, context, settings)
        if not any(context.output.iterdir()):
            raise ValueError("it left its output folder empty")
        return {**journal.facts, "start_seconds": starting}

    return step_of_build


def _since(step: Mapping[str, Any]) -> float:
    """Seconds since a step began, which for the first of a job is before its process was started."""
    return time.monotonic() - float(step["began"])


def _path(step: Mapping[str, Any], role: str) -> Path | None:
    return Path(step["inputs"][role]) if role in step["inputs"] else None


def _identity(step: Mapping[str, Any], folder: Path, deadline: float) -> dict[str, Any]:
    code = _code(step["target"])
    _leave_checkout()
    if hasattr(code, "identity"):  # optional: without it there is no floor to compare with
        code.identity(folder / "output", tuple(step["settings"]["input_shape"]))
    return {}


def _inspect(step: Mapping[str, Any], folder: Path, deadline: float) -> dict[str, Any]:
    from benchmark.measure import graph, size

    artifact = Path(step["inputs"]["artifact"])
    facts = graph.facts(artifact) if step["settings"]["format"] == "onnx" else None
    if step["target"] and hasattr(code := _code(step["target"]), "onnx"):  # the format is one that this runtime decodes
        _leave_checkout()
        with tempfile.TemporaryDirectory() as decoded:
            (Path(decoded) / "model.onnx").write_bytes(code.onnx(artifact))
            facts = graph.facts(Path(decoded))
    return {
        "bytes": size.artifact_bytes(artifact),
        "deflate_bytes": size.deflate_bytes(artifact),
        # Of a format that nobody here reads, equal bytes are one program.
        **(dataclasses.asdict(facts) if facts else {"program": size.artifact_digest(artifact)}),
    }


def _evaluate(step: Mapping[str, Any], folder: Path, deadline: float) -> dict[str, Any]:
    """Outputs for validation and test rows, judged by the host, which has the labels."""
    import numpy as np

    from benchmark.measure import outputs

    predictor = _code(step["target"]).load(Path(step["inputs"]["artifact"]), step["threads"])
    _leave_checkout()
    inputs, settings = Path(step["inputs"]["data"]), step["settings"]
    collected = {}
    for split in ("validation", "test"):
        x = np.load(inputs / f"{split}_x.npy", mmap_mode="r")
        x = x[outputs.sample(len(x), settings["rows"])]
        collected[split] = outputs.collect_emulated(predictor, x) if settings["emulates"] else outputs.collect(predictor, x)
    arrays: dict[str, Any] = {split: one.outputs for split, one in collected.items()}
    np.savez(folder / "arrays.npz", **arrays)
    return {
        **({"device": dict(predictor.device())} if hasattr(predictor, "device") else {}),
        "repeatable": all(one.repeatable for one in collected.values()),
        "batch_rows": sum(one.batch_rows for one in collected.values()),
        "batch_label_changes": sum(one.batch_label_changes for one in collected.values()),
    }


def _validate(step: Mapping[str, Any], folder: Path, deadline: float) -> dict[str, Any]:
    """Outputs for validation rows alone, and what a search is to know of time and memory: seen once, beside other work, and with
    the process that also computes the outputs, so that it is no measurement."""
    import numpy as np

    from benchmark.measure import latency, outputs

    settings, facts = step["settings"], dict[str, Any]()
    code, starting = _code(step["target"]), _since(step)
    predictor = code.load(Path(step["inputs"]["artifact"]), step["threads"])
    _leave_checkout()
    x = np.load(Path(step["inputs"]["data"]) / "validation_x.npy", mmap_mode="r")
    x = x[outputs.sample(len(x), settings["rows"])]
    if not settings["emulates"]:
        rows = latency.rows(x)
        facts["rss_bytes"] = memory.after_calls(predictor, rows)
        latency.warm_up(predictor, rows)
        facts["latency_p90_us"] = float(np.quantile(latency.sample({"": predictor}, rows, 1, _ESTIMATE_CALLS, 0)[""], 0.9)) / 1e3
    collected = outputs.collect_emulated(predictor, x) if settings["emulates"] else outputs.collect(predictor, x)
    np.savez(folder / "arrays.npz", validation=collected.outputs)
    return {
        **facts,
        "repeatable": collected.repeatable,
        "batch_rows": collected.batch_rows,
        "batch_label_changes": collected.batch_label_changes,
        **({"device": dict(predictor.device())} if hasattr(predictor, "device") else {}),
        "start_seconds": starting,
    }


def _propose(step: Mapping[str, Any], folder: Path, deadline: float) -> dict[str, Any]:
    from benchmark.space import Proposal, Space, Tried

    settings = step["settings"]
    history = [
        Tried(**{**one, "proposal": Proposal.from_json(one["proposal"]), "refused": tuple(one["refused"])})
        for one in settings["history"]
    ]
    code, starting = _code(step["target"]), _since(step)
    _leave_checkout()
    proposal = code.propose(Space.from_json(settings["space"]), history, settings["seconds_left"])
    if proposal is not None and not isinstance(proposal, Proposal):
        raise TypeError(f"it proposed a {type(proposal).__name__}, not a Proposal")
    return {"proposal": None if proposal is None else proposal.to_json(), "start_seconds": starting}


def _latency(step: Mapping[str, Any], folder: Path, deadline: float) -> dict[str, Any]:
    import numpy as np

    from benchmark.measure import latency

    began = disturbances.counters()
    settings, runtime, rows = step["settings"], _code(step["target"]), _test_rows(step)
    paths = {role: step["inputs"][role] for role in ("artifact", "anchor", "floor") if role in step["inputs"]}
    if paths.get("anchor") == paths["artifact"]:
        del paths["anchor"]  # the reference itself: its ratio is 1 by definition
    predictors, facts = dict[str, Any](), dict[str, Any]()
    for role, path in paths.items():
        predictors[role], facts[f"{role}_load_ns"] = latency.load(runtime, Path(path), step["threads"])
        facts[f"{role}_first_call_ns"] = latency.first_call(predictors[role], rows[0])
    _leave_checkout()
    for role, predictor in predictors.items():
        facts[f"{role}_warm_up_calls"] = latency.warm_up(predictor, rows)
    before = disturbances.counters()
    samples: dict[str, Any] = latency.sample(predictors, rows, settings["rounds"], settings["calls"], settings["process"])
    now = disturbances.counters()
    timed = disturbances.since(before, now)
    facts["disturbances"] = {**disturbances.since(began, now), "timed_seconds": timed["seconds"]}
    if "waiting_seconds" in timed:  # before the timed loop nothing was in a hurry
        facts["disturbances"]["waiting_seconds"] = timed["waiting_seconds"]
    np.savez(folder / "arrays.npz", **samples)
    return facts


def _memory(step: Mapping[str, Any], folder: Path, deadline: float) -> dict[str, Any]:
    """Peak memory with nothing but the candidate loaded; the rows are read one by one, so the data set is no part of it."""
    if "artifact" not in step["inputs"]:
        return {}  # a runtime without an identity model has no floor
    rows = _test_rows(step)
    predictor = _code(step["target"]).load(Path(step["inputs"]["artifact"]), step["threads"])
    _leave_checkout()
    return {"rss_bytes": memory.after_calls(predictor, rows)}


def _test_rows(step: Mapping[str, Any]) -> list[Any]:
    import numpy as np

    from benchmark.measure import latency

    return latency.rows(np.load(Path(step["inputs"]["data"]) / "test_x.npy", mmap_mode="r"))


def _write_form(step: Mapping[str, Any], folder: Path, deadline: float) -> dict[str, Any]:
    import numpy as np

    code = _code(step["target"])
    _leave_checkout()
    x = np.load(Path(step["inputs"]["data"]) / "x.npy")
    code.write(Path(step["inputs"]["artifact"]), step["settings"]["form"], x, folder / "output")
    return {}


_RUN: dict[str, Callable[[Mapping[str, Any], Path, float], dict[str, Any]]] = {
    "prepare": _prepare,
    "split": _split,
    "train": _build(lambda code, context, settings: code.train(context)),
    "pass": _build(lambda code, context, settings: code.compress(context)),
    "export": _build(lambda code, context, settings: code.export(context, settings["format"])),
    "identity": _identity,
    "inspect": _inspect,
    "evaluate": _evaluate,
    "latency": _latency,
    "memory": _memory,
    "write": _write_form,
    "propose": _propose,
    "validate": _validate,
}

if __name__ == "__main__":
    code = main(sys.argv[1])
    with suppress(OSError):  # as above
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)  # everything is written, and what libraries do when Python ends takes torch more than half a second
