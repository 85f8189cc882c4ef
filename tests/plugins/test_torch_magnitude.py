"""Magnitude pruning of PyTorch networks: the right weights, as many as asked for, exactly zero in what is shipped."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import benchmark_torch
import numpy as np
import onnx
import pytest
import torch
from benchmark_torch._magnitude import PruneMagnitude, Pruner, cubic, matrices, smallest
from benchmark_torch._models import build
from benchmark_torch._train import Torch, fresh
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn
from torch.nn.utils import prune

from benchmark import Context, NotApplicable

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]

TRAINING = {"updates": 40, "batch": 32, "lr": 1e-2}
SIZES = {"0.weight": 60 * 64, "2.weight": 64 * 32, "4.weight": 32 * 2}
TOTAL = sum(SIZES.values())


def params(**changes: Any) -> dict[str, Any]:
    return {"sparsity": 0.9, "scope": "global", "schedule": "one-shot", "finetune": 0.5, **changes}


@pytest.fixture
def source(make_context: MakeContext) -> Path:
    """A checkpoint that was trained for a while."""
    context, _ = make_context("german-credit", "mlp", training=TRAINING)
    Torch().train(context)
    return context.output


def arrays(folder: Path) -> dict[str, NDArray[Any]]:
    return {name: tensor.numpy() for name, tensor in benchmark_torch.load(folder).state_dict().items()}


def zeros(model: nn.Module) -> int:
    return sum(int((weight == 0).sum()) for weight in matrices(model).values())


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_smallest_weights_go_and_nothing_else_changes(scope: str, source: Path, make_context: MakeContext) -> None:
    context, journal = make_context("german-credit", "mlp", params=params(scope=scope, finetune=0.0), input=source)
    PruneMagnitude().compress(context)
    before, after = arrays(source), arrays(context.output)
    zero = {name: after[name] == 0 for name in SIZES}
    groups = [list(SIZES)] if scope == "global" else [[name] for name in SIZES]
    for names in groups:
        old, gone = (np.concatenate([part[name].ravel() for name in names]) for part in (before, zero))
        assert gone.sum() == old.size - round(0.1 * old.size)
        assert abs(old[gone]).max() <= abs(old[~gone]).min()
    for name, old in before.items():
        kept = ~zero[name] if name in zero else np.full(old.shape, True)
        assert np.array_equal(after[name][kept], old[kept])
    # Which of the layers a weight is from matters to one of the scopes.
    shares = [zero[name].mean() for name in SIZES]
    assert (max(shares) - min(shares) > 0.02) == (scope == "global")
    claim = sum(int(one.sum()) for one in zero.values()) / TOTAL
    assert journal.layers == {"matched": 3, "changed": 3, "sparsity": claim}
    assert journal.training == {}


@pytest.mark.parametrize("schedule", ["one-shot", "cubic"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_zeros_are_exact_after_fine_tuning(scope: str, schedule: str, source: Path, make_context: MakeContext) -> None:
    """Case C-07: recounted at the end, the sparsity is that asked for. Twice the same file."""
    runs = []
    for _ in range(2):
        context, journal = make_context(
            "german-credit", "mlp", training=TRAINING, params=params(scope=scope, schedule=schedule), input=source
        )
        PruneMagnitude().compress(context)
        runs.append((context.output / "model.pt").read_bytes())
        torch.rand(3)  # draws elsewhere in the process must not matter
    assert runs[0] == runs[1]
    assert journal.training["updates"] <= 20
    assert journal.training["stopped_by"] in ("updates", "early")
    before, after = arrays(source), arrays(context.output)
    found = {name: int((after[name] == 0).sum()) for name in SIZES}
    if scope == "layer":
        assert found == {name: size - round(0.1 * size) for name, size in SIZES.items()}
    assert sum(found.values()) == (TOTAL - round(0.1 * TOTAL) if scope == "global" else sum(found.values()))
    assert journal.layers == {"matched": 3, "changed": 3, "sparsity": sum(found.values()) / TOTAL}
    assert all((after[name] != before[name]).mean() > 0.9 for name in before)  # the others were trained on
    assert not any((after[name] == 0).any() for name in ("0.bias", "2.bias", "4.bias"))
    if schedule == "one-shot" and scope == "layer":  # fine-tuning changes none of what was chosen
        for name in SIZES:
            gone = after[name] == 0
            assert abs(before[name][gone]).max() <= abs(before[name][~gone]).min()


def test_the_cubic_schedule_is_that_of_the_paper() -> None:
    assert [cubic(done / 4, 0.9) for done in range(5)] == pytest.approx([0, 0.5203125, 0.7875, 0.8859375, 0.9])


@pytest.mark.parametrize("everywhere", [True, False])
def test_sparsity_grows_and_nothing_comes_back(everywhere: bool) -> None:
    """Between two calls all weights move, the pruned ones too and much further, as by a large momentum."""
    torch.manual_seed(0)
    model, pruner = build("mlp", (60,), 2), Pruner(0.8, everywhere=everywhere, ramp=8)
    counts, before = [0], dict[str, torch.Tensor]()
    for done in range(1, 13):
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.ndim > 1:
                    weight.add_(torch.where(weight == 0, 5.0, 0.001))
                    assert name not in before or weight[before[name]].min() >= 5
        pruner(model)
        counts.append(zeros(model))
        assert pruner.final == (done >= 8)
        assert all(bool(pruner.masks[name][mask].all()) for name, mask in before.items())
        before = dict(pruner.masks)
    assert counts[1:9] == pytest.approx([TOTAL * cubic(done / 8, 0.8) for done in range(1, 9)], abs=1.5)
    sizes = [TOTAL] if everywhere else SIZES.values()
    assert counts[8:] == [sum(size - round(size * 0.2) for size in sizes)] * 5


def test_a_long_ramp_is_climbed_in_few_steps() -> None:
    model, pruner = build("mlp", (60,), 2), Pruner(0.8, everywhere=True, ramp=120)
    counts = []
    for _ in range(125):
        pruner(model)
        counts.append(zeros(model))
    every_third = [TOTAL - round(TOTAL * (1 - cubic(done // 3 / 40, 0.8))) for done in range(1, 121)]
    assert counts == every_third + [every_third[-1]] * 5


def test_only_states_of_the_final_sparsity_are_chosen(source: Path, make_context: MakeContext) -> None:
    """Every state is worse than the one before; of those that are pruned to the end the first is kept."""
    context, journal = make_context("german-credit", "mlp", training=TRAINING, params=params(schedule="cubic"), input=source)
    outputs: list[NDArray[np.float32]] = []

    def score(values: NDArray[np.float32]) -> float:
        outputs.append(values)
        return -float(len(outputs))

    PruneMagnitude().compress(dataclasses.replace(context, score=score))
    scores = [point["score"] for point in journal.curve]
    assert [math.isnan(one) for one in scores] == [True] * 9 + [False] * 11
    assert journal.training == {"updates": 20, "stopped_by": "updates"}
    assert len(outputs) == 11
    model = benchmark_torch.load(context.output)
    assert zeros(model) == TOTAL - round(0.1 * TOTAL)
    assert np.array_equal(benchmark_torch.predict(model, context.validation.x), outputs[0])


def test_a_deadline_leaves_no_sparsity_out(source: Path, make_context: MakeContext) -> None:
    context, journal = make_context("german-credit", "mlp", training=TRAINING, params=params(schedule="cubic"), input=source)
    left = iter([10.0] * 3)
    PruneMagnitude().compress(dataclasses.replace(context, remaining=lambda: next(left, 0.0)))
    assert journal.training == {"updates": 4, "stopped_by": "deadline"}
    assert zeros(benchmark_torch.load(context.output)) == TOTAL - round(0.1 * TOTAL)


@pytest.mark.parametrize(("task", "name"), [("nodule-shape", "cnn"), ("watch-imu", "cnn1d"), ("german-credit", "mlp")])
def test_training_on_keeps_a_pruned_network_pruned(task: str, name: str, make_context: MakeContext) -> None:
    """Case C-07, whatever pass comes next: it knows nothing of the mask, and has momentum and weight decay of its own."""
    context, _ = make_context(task, name, training={**TRAINING, "updates": 12})
    model = fresh(context)
    Pruner(0.7, everywhere=False, ramp=0).prune(model)
    gone = {key: (weight == 0).clone() for key, weight in matrices(model).items()}
    before = {key: weight.clone() for key, weight in matrices(model).items()}
    benchmark_torch.fit(model, context)
    for key, weight in matrices(model).items():
        assert torch.equal(weight == 0, gone[key])
        assert (weight != before[key])[~gone[key]].float().mean() > 0.9


def test_momentum_alone_brings_weights_back() -> None:
    """Case C-07 with its numbers: SGD at 0.1 with momentum 0.9, a step with gradient 1, five of ten weights zeroed, and a step
    whose gradient is masked. Unguarded they end at -0.09."""
    ends = []
    for guarded in (False, True):
        model = nn.Sequential(nn.Linear(10, 1, bias=False))
        weight = model.get_parameter("0.weight")
        weight.data.fill_(1.0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        pruner = Pruner(0.5, everywhere=True, ramp=0)
        pruner.prune(model)
        gone = pruner.masks["0.weight"]
        weight.grad = (~gone).float()
        optimizer.step()
        if guarded:
            pruner(model)
        ends.append(weight.detach()[gone])
    assert ends[0].tolist() == pytest.approx([-0.09] * 5)
    assert ends[1].tolist() == [0.0] * 5


def test_a_checkpoint_holds_no_mask(make_context: MakeContext) -> None:
    """Case C-01: a layer 1000 x 1000 takes 4.0 MB before and after; torch's own pruning stores weight and mask, 8.0 MB."""
    source, _ = make_context("german-credit", "mlp")
    layer = nn.Linear(1000, 1000)
    benchmark_torch.save(nn.Sequential(layer), source.output)
    context, _ = make_context("german-credit", "mlp", params=params(finetune=0.0), input=source.output)
    PruneMagnitude().compress(context)
    masked, _ = make_context("german-credit", "mlp")
    prune.l1_unstructured(layer, "weight", amount=0.9)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    benchmark_torch.save(nn.Sequential(layer), masked.output)
    dense, pruned, twice = ((one.output / "model.pt").stat().st_size for one in (source, context, masked))
    assert dense == pruned == pytest.approx(4 * 1_001_000, rel=1e-3)
    assert twice > dense + 3_900_000
    assert zeros(benchmark_torch.load(context.output)) == 900_000


def test_a_matrix_of_zeros_is_trained(make_context: MakeContext) -> None:
    """As the last layer of many networks is when training begins."""
    context, _ = make_context("german-credit", "mlp", training=TRAINING)
    model = fresh(context)
    nn.init.zeros_(model.get_parameter("4.weight"))
    benchmark_torch.fit(model, context)
    assert (model.get_parameter("4.weight") != 0).all()


def test_each_layer_keeps_a_weight() -> None:
    """A layer without any would cut the network in two: its outputs would be the same for all inputs."""
    torch.manual_seed(0)
    model = build("mlp", (60,), 2)
    model.get_parameter("2.weight").data.mul_(1e-6)
    Pruner(0.95, everywhere=True, ramp=0).prune(model)
    assert int((model.get_parameter("2.weight") != 0).sum()) == 1
    assert zeros(model) == TOTAL - round(TOTAL * 0.05)


def test_of_equals_the_first_go_and_one_stays() -> None:
    weight = torch.tensor([[1.0, -1.0, 0.0], [-3.0, 1.0, 2.0]])
    assert smallest(weight, 0.5).tolist() == [[True, True, True], [False, False, False]]
    assert smallest(weight, 0.0).sum() == 0
    assert smallest(weight, 0.999).tolist() == [[True, True, True], [False, True, True]]


def test_nothing_asked_for_is_nothing_changed(source: Path, make_context: MakeContext) -> None:
    context, journal = make_context("german-credit", "mlp", params=params(sparsity=0.0, finetune=0.0), input=source)
    PruneMagnitude().compress(context)
    assert journal.layers == {"matched": 3, "changed": 0, "sparsity": 0.0}


def test_not_applicable_to_vectors_alone(make_context: MakeContext, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    benchmark_torch.save(nn.Sequential(nn.BatchNorm1d(60)), folder)
    context, _ = make_context("german-credit", "mlp", params=params(), input=folder)
    with pytest.raises(NotApplicable, match="no weight matrices"):
        PruneMagnitude().compress(context)
    assert not list(context.output.iterdir())


(SPEC,) = benchmark_torch.benchmark_backends()
TASKS = {"image": "nodule-shape", "sequence": "watch-imu", "tabular": "german-credit"}


@pytest.mark.parametrize(
    ("task", "name"), [(TASKS[modality], name) for modality, names in SPEC.architectures.items() for name in names]
)
def test_every_network(task: str, name: str, make_context: MakeContext) -> None:
    context, journal = make_context(task, name, params=params(finetune=0.0))
    model = fresh(context)
    benchmark_torch.save(model, context.output)
    target, journal = make_context(task, name, params=params(scope="layer", finetune=0.0), input=context.output)
    PruneMagnitude().compress(target)
    pruned = benchmark_torch.load(target.output)
    sizes = [weight.numel() for weight in matrices(pruned).values()]
    assert zeros(pruned) == sum(size - max(1, round(size * (1 - 0.9))) for size in sizes)
    assert journal.layers["matched"] == journal.layers["changed"] == len(sizes)
    assert np.isfinite(benchmark_torch.predict(pruned, context.train.x[:8])).all()


def test_zeros_are_in_the_artifact_which_is_no_smaller(make_context: MakeContext) -> None:
    """Cases C-01 and C-02. Convolutions with normalisations too: merging scales a weight, and leaves a zero what it is."""
    training = {"updates": 4, "batch": 32, "lr": 1e-2}
    source, _ = make_context("watch-imu", "resnet-8", training=training)
    Torch().train(source)
    pruned, _ = make_context("watch-imu", "resnet-8", training=training, params=params(), input=source.output)
    PruneMagnitude().compress(pruned)
    sizes = []
    for folder in (source.output, pruned.output):
        target, _ = make_context("watch-imu", "resnet-8", input=folder)
        Torch().export(target, "onnx")
        sizes.append((target.output / "model.onnx").stat().st_size)
    assert sizes[0] == sizes[1]
    weights = [numpy_helper.to_array(one) for one in onnx.load(target.output / "model.onnx").graph.initializer]
    assert sum(int((one == 0).sum()) for one in weights if one.ndim > 1) == zeros(benchmark_torch.load(pruned.output))
