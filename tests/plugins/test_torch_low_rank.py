"""Low-rank factors: the best approximation, only where it is smaller, and a network that every other pass can take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import benchmark_torch
import numpy as np
import pytest
import torch
from benchmark_torch._low_rank import LowRank, factorable, factors, rank, smaller
from benchmark_torch._magnitude import PruneMagnitude
from benchmark_torch._prune import PruneStructured
from benchmark_torch._train import Torch, fresh
from torch import nn

from benchmark import Context, NotApplicable
from benchmark.measure import graph

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]

STRUCTURED = {"sparsity": 0.5, "importance": "l1", "rounds": 1, "round_to": 1, "finetune": 0.5}
TRAINING = {"updates": 20, "batch": 32, "lr": 1e-2}


def params(**changes: Any) -> dict[str, Any]:
    return {"keep": 0.9, "by": "energy", "finetune": 0.0, **changes}


def trained(task: str, name: str, make_context: MakeContext) -> Path:
    context, _ = make_context(task, name, training=TRAINING)
    Torch().train(context)
    return context.output


def parameters(model: nn.Module) -> int:
    return sum(one.numel() for one in model.parameters())


def test_break_even_is_where_the_case_says(make_context: MakeContext) -> None:
    """Case C-10: 512 x 1000 shrinks at rank 338 (511,056 weights) and would grow at 339 (512,568)."""
    layer = nn.Linear(1000, 512)
    assert smaller(layer, 338)
    assert not smaller(layer, 339)
    assert parameters(factors(layer, 338)) - 512 == 511_056
    assert rank(layer, 338 / 512, by_energy=False) == 338
    for kept, changed, weights in ((338, 1, 511_056), (339, 0, 512_000)):
        source, _ = make_context("german-credit", "mlp")
        benchmark_torch.save(nn.Sequential(layer), source.output)
        context, journal = make_context("german-credit", "mlp", params=params(keep=kept / 512, by="rank"), input=source.output)
        LowRank().compress(context)
        assert journal.layers == {"matched": 1, "changed": changed}
        assert parameters(benchmark_torch.load(context.output)) - 512 == weights


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(20, 30), (20,)),
        (nn.Conv1d(6, 16, 5, stride=2, padding=2, bias=False), (6, 32)),
        (nn.Conv2d(6, 16, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2)), (6, 14, 20)),
    ],
    ids=["linear", "conv1d", "conv2d"],
)
def test_factors_are_the_nearest_of_their_rank(layer: Any, shape: tuple[int, ...]) -> None:
    """Eckart and Young: the squared error is the sum of the squared singular values that are left out; numpy's."""
    matrix = layer.weight.detach().numpy().reshape(len(layer.weight), -1)
    values = np.linalg.svd(matrix, compute_uv=False)
    for kept in (1, 5, len(values)):
        pair = factors(layer, kept)
        first, second = (part.get_parameter("weight").detach().numpy() for part in pair)
        product = second.reshape(len(second), -1) @ first.reshape(len(first), -1)
        assert np.sum((product - matrix) ** 2) == pytest.approx(np.sum(values[kept:] ** 2), rel=1e-3, abs=1e-9)
    x = torch.randn(3, *shape)
    torch.testing.assert_close(pair(x), layer(x), rtol=1e-4, atol=1e-5)  # of full rank: strides, padding, bias


def test_energy_is_the_share_of_squared_singular_values() -> None:
    layer = nn.Linear(4, 4, bias=False)
    layer.weight.data = torch.diag(torch.tensor([4.0, 2.0, 2.0, 1.0]))  # squares 16, 4, 4, 1: 25
    for keep, kept in ((0.0, 1), (0.64, 1), (0.641, 2), (0.8, 2), (0.9, 3), (0.96, 3), (0.97, 4), (1.0, 4)):
        assert rank(layer, keep, by_energy=True) == kept, keep


NETWORKS = [
    ("nodule-shape", "resnet-8"),
    ("nodule-shape", "mobilenet-v2"),
    ("nodule-shape", "squeezenet"),
    ("german-credit", "resmlp"),
]


@pytest.mark.parametrize(("task", "name"), NETWORKS)
def test_layers_inside_blocks_are_replaced(task: str, name: str, make_context: MakeContext) -> None:
    context, _ = make_context(task, name)
    model = fresh(context).eval()
    benchmark_torch.save(model, context.output)
    target, journal = make_context(task, name, params=params(keep=0.25, by="rank"), input=context.output)
    LowRank().compress(target)
    found = benchmark_torch.load(target.output)
    assert journal.layers["matched"] == len(factorable(model))
    assert 0 < journal.layers["changed"] <= journal.layers["matched"]
    assert parameters(found) < 0.7 * parameters(model)
    assert benchmark_torch.predict(found, target.validation.x[:4]).shape == (4, len(target.task.classes))


def test_fine_tuning_is_repeatable_and_the_export_has_fewer_macs(make_context: MakeContext) -> None:
    source = trained("watch-imu", "cnn1d", make_context)
    runs = []
    for _ in range(2):
        context, journal = make_context(
            "watch-imu", "cnn1d", training=TRAINING, params=params(keep=0.5, finetune=0.5), input=source
        )
        LowRank().compress(context)
        runs.append((context.output / "model.pt").read_bytes())
    assert runs[0] == runs[1]
    assert journal.training["updates"] == 10
    facts = []
    for folder in (source, context.output):
        exported, _ = make_context("watch-imu", "cnn1d", input=folder)
        Torch().export(exported, "onnx")
        facts.append(graph.facts(exported.output))
    before, after = facts
    assert before is not None and after is not None  # noqa: PT018  # one statement for mypy
    assert before.macs is not None and after.macs is not None  # noqa: PT018  # as above
    assert after.macs < 0.7 * before.macs
    assert after.parameters < 0.7 * before.parameters
    # One node more for each; the normalisations are merged still.
    assert after.nodes == before.nodes + journal.layers["changed"]
    assert "BatchNormalization" not in after.operators


def test_nothing_that_would_grow_is_touched(make_context: MakeContext) -> None:
    source = trained("german-credit", "mlp", make_context)
    context, journal = make_context(
        "german-credit", "mlp", training=TRAINING, params=params(keep=1.0, finetune=1.0), input=source
    )
    LowRank().compress(context)
    assert journal.layers == {"matched": 3, "changed": 0}
    assert journal.training == {}
    assert (context.output / "model.pt").read_bytes() == (source / "model.pt").read_bytes()


def test_other_passes_take_it_in_any_order(make_context: MakeContext) -> None:
    passes: dict[str, tuple[Any, dict[str, Any]]] = {
        "low-rank": (LowRank, params(keep=0.4, by="rank", finetune=0.1)),
        "structured": (PruneStructured, {**STRUCTURED, "sparsity": 0.5, "finetune": 0.1}),
        "magnitude": (PruneMagnitude, {"sparsity": 0.8, "scope": "layer", "schedule": "one-shot", "finetune": 0.1}),
    }
    source = trained("nodule-shape", "cnn", make_context)
    for order in (("low-rank", "structured", "magnitude"), ("magnitude", "structured", "low-rank"), ("structured", "low-rank")):
        folder, sizes = source, [parameters(benchmark_torch.load(source))]
        for name in order:
            code, given = passes[name]
            context, journal = make_context("nodule-shape", "cnn", training=TRAINING, params=given, input=folder)
            code().compress(context)
            assert journal.layers["changed"] > 0, (order, name)
            folder = context.output
            sizes.append(parameters(benchmark_torch.load(folder)))
        assert sizes[-1] < sizes[0] / 3
        outputs = benchmark_torch.predict(benchmark_torch.load(folder), context.validation.x[:8])
        assert np.isfinite(outputs).all()


def test_not_applicable_without_such_layers(make_context: MakeContext) -> None:
    source, _ = make_context("german-credit", "mlp")
    benchmark_torch.save(nn.Sequential(nn.Unflatten(1, (60, 1)), nn.Conv1d(60, 60, 1, groups=60), nn.Flatten()), source.output)
    context, _ = make_context("german-credit", "mlp", params=params(), input=source.output)
    with pytest.raises(NotApplicable, match="no fully connected layer or plain convolution"):
        LowRank().compress(context)
    assert not list(context.output.iterdir())
