"""The controls are fair: pruned, narrow and distilled networks ship in one shape, whichever back end made them."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from benchmark import Context
from benchmark.measure import graph

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]
TRAINING = {"updates": 2, "batch": 32, "lr": 1e-2}
PASSES: dict[str, dict[str, str | float]] = {
    "_prune:PruneStructured": {
        "sparsity": 0.5,
        "importance": "l1",
        "rounds": 1,
        "round_to": 1,
        "finetune": 0.0,  # fine-tuning changes no shape, and takes time
    },
    "_controls:Narrow": {"width": 0.5, "finetune": 0.5},
    "_distil:Distil": {"student": "", "width": 0.5, "temperature": 4.0, "soft": 0.5, "finetune": 0.5},
}


def shipped(backend: Any, context: Context, folder: Path) -> tuple[int | None, int | None]:
    """Parameters and MACs of the export of a checkpoint."""
    folder.mkdir()
    backend.export(dataclasses.replace(context, input=context.output, output=folder), "onnx")
    facts = graph.facts(folder)
    assert facts is not None
    return facts.parameters, facts.macs


@pytest.mark.filterwarnings(r"ignore:'\.value' access is now deprecated:DeprecationWarning")  # inside jax2onnx
@pytest.mark.parametrize(
    ("task", "architecture", "expected"),
    [
        ("nodule-shape", "cnn", (9 * (3 * 8 + 8 * 16 + 16 * 32) + 56 + 33 * 2, 811_072)),
        ("watch-imu", "cnn1d", (5 * (6 * 16 + 16 * 24 + 24 * 32) + 72 + 33 * 7, 153_824)),
        ("german-credit", "mlp", (61 * 32 + 33 * 16 + 17 * 2, 60 * 32 + 32 * 16 + 16 * 2)),
    ],
)
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_three_ways_to_one_shape(
    name: str, task: str, architecture: str, expected: tuple[int, int], make_context: MakeContext, tmp_path: Path
) -> None:
    backend = getattr(importlib.import_module(f"benchmark_{name}._train"), name.title())()
    reference, _ = make_context(task, architecture, training=TRAINING)
    backend.train(reference)
    found = {}
    for target, params in PASSES.items():
        module, _, attribute = target.partition(":")
        code = getattr(importlib.import_module(f"benchmark_{name}.{module}"), attribute)()
        pruned = reference.output if attribute == "PruneStructured" else None
        context, _ = make_context(task, architecture, training=TRAINING, params=params, input=pruned, reference=reference.output)
        code.compress(context)
        found[attribute] = shipped(backend, context, tmp_path / attribute)
    assert set(found.values()) == {expected}
