"""Seconds of training for a perceptron 784-64-32-10 on digits, one core: a plain DataLoader loop, a plain loop over rows in
memory, and the back ends' ``fit``. As many batches, the same schedule, in turns; accuracies are of the test rows. No way's
time has imports in it.

``python bench/training_speed.py [TASK]``: ``mnist-10k`` unless told ``mnist``, which needs the official files.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import Context, Split, TaskInfo
from benchmark.measure import quality

UPDATES, BATCH, LR, ROUNDS = 8000, 32, 3e-3, 3
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC"), "1")


def rows(task: str) -> dict[str, Split]:
    """The three splits of fold 0, each image as a row of 784."""
    (spec,) = (one for one in importlib.import_module("benchmark_mnist").benchmark_tasks() if one.name == task)
    module, _, name = spec.target.partition(":")
    data = getattr(importlib.import_module(module), name)(**spec.options).load(0)
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return {key: dataclasses.replace(one, x=np.ascontiguousarray(one.x.reshape(len(one), -1))) for key, one in splits.items()}


def context(splits: dict[str, Split], folder: Path, told: dict[str, Any]) -> Context:
    """What a back end is given; what it tells goes into ``told``."""
    return Context(
        task=TaskInfo("digits", "tabular", ("accuracy",), (784,), tuple("0123456789")),
        train=splits["train"],
        validation=splits["validation"],
        architecture="mlp",
        params={},
        training={"updates": UPDATES, "batch": BATCH, "lr": LR, "shift": 0},
        output_kind="logits",
        seed=0,
        threads=1,
        input=None,
        reference=None,
        source=None,
        output=folder,
        remaining=lambda: 600.0,
        score=lambda outputs: quality.score(outputs, splits["validation"].y, "accuracy", "logits"),
        log=lambda *_, **__: None,
        trained=lambda **facts: told.update(facts),
        report=lambda **_: None,
    )


def backend(name: str) -> Callable[[dict[str, Split]], dict[str, Any]]:
    """Trains by the back end's ``fit``, which also scores the validation rows 20 times."""

    def run(splits: dict[str, Split]) -> dict[str, Any]:
        module = importlib.import_module(f"benchmark_{name}")
        fresh = importlib.import_module(f"benchmark_{name}._train").fresh
        told: dict[str, Any] = {}
        with tempfile.TemporaryDirectory() as folder:
            given = context(splits, Path(folder), told)
            model = fresh(given)
            start = time.perf_counter()
            module.fit(model, given)
            seconds = time.perf_counter() - start
        outputs = module.predict(model, splits["test"].x)
        return {"seconds": seconds, "outputs": outputs.argmax(axis=1).tolist(), **told}

    return run


def plain(*, loader: bool) -> Callable[[dict[str, Split]], dict[str, Any]]:
    """The loop of most tutorials, with the schedule that the back ends have."""

    def run(splits: dict[str, Split]) -> dict[str, Any]:
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        torch.set_num_threads(1)
        torch.manual_seed(0)
        layers = [torch.nn.Linear(784, 64), torch.nn.ReLU(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)]
        model, loss = torch.nn.Sequential(*layers), torch.nn.CrossEntropyLoss()
        x, y = torch.tensor(splits["train"].x), torch.tensor(splits["train"].y)
        done, start = 0, time.perf_counter()
        optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, UPDATES, pct_start=0.05)
        while done < UPDATES:
            in_memory = ((x[part], y[part]) for part in torch.split(torch.randperm(len(y)), BATCH))
            for inputs, labels in DataLoader(TensorDataset(x, y), BATCH, shuffle=True) if loader else in_memory:
                optimizer.zero_grad()
                loss(model(inputs), labels).backward()
                optimizer.step()
                schedule.step()
                if (done := done + 1) == UPDATES:
                    break
        seconds = time.perf_counter() - start
        with torch.inference_mode():
            outputs = model(torch.tensor(splits["test"].x)).argmax(dim=1)
        return {"seconds": seconds, "outputs": outputs.tolist(), "updates": done}

    return run


WAYS = {
    "PyTorch, DataLoader": plain(loader=True),
    "PyTorch, rows in memory": plain(loader=False),
    "back end torch": backend("torch"),
    "back end jax": backend("jax"),
}


def one(way: str, task: str) -> None:
    """Trains in this process and prints the result as JSON."""
    splits = rows(task)
    if "torch" in way.lower():
        import torch

        torch.optim.AdamW([torch.zeros(1)])  # the first optimizer imports torch's compiler, which takes a second
    result = WAYS[way](splits)
    result["accuracy"] = float(np.mean(np.array(result.pop("outputs")) == splits["test"].y))
    print(json.dumps(result))


def main(task: str) -> None:
    """Prints a line a way: seconds, and how many times as fast as the DataLoader loop, the median of what each turn gave."""
    turns: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    core = str(min(os.sched_getaffinity(0)))
    for _ in range(ROUNDS):
        for way, results in turns.items():
            command = ["taskset", "-c", core, sys.executable, __file__, task, way]
            run = subprocess.run(command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=True)
            results.append(json.loads(run.stdout.splitlines()[-1]))
    loop = [result["seconds"] for result in turns["PyTorch, DataLoader"]]
    print(f"{task}, {UPDATES} updates of {BATCH} rows; a back end that stops early is given its time for {UPDATES}")
    for way, results in turns.items():
        seconds = [result["seconds"] * UPDATES / result["updates"] for result in results]
        ratio = statistics.median(before / after for before, after in zip(loop, seconds, strict=True))
        line = f"{way:24} {statistics.median(seconds):6.2f} s  {ratio:5.2f} x  accuracy {results[0]['accuracy']:.4f}"
        if "compile_seconds" in results[0]:
            rest = [after - result["compile_seconds"] for after, result in zip(seconds, results, strict=True)]
            ratio = statistics.median(before / after for before, after in zip(loop, rest, strict=True))
            line += f"; without compilation {statistics.median(rest):.2f} s, {ratio:.2f} x"
        print(line)


if __name__ == "__main__":
    task, *way = sys.argv[1:] or ["mnist-10k"]
    one(way[0], task) if way else main(task)
