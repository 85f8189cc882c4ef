"""Structured pruning of PyTorch networks: what is left has the shape of a narrow network and the outputs of a masked one."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import benchmark_torch
import numpy as np
import pytest
import torch
from benchmark_torch._models import build, channels
from benchmark_torch._prune import PruneStructured, hidden_sizes, prune
from benchmark_torch._train import Torch, fresh
from torch import nn

from benchmark import Context, NotApplicable

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]

NETWORKS = {"nodule-shape": "cnn", "watch-imu": "cnn1d", "german-credit": "mlp"}
STRUCTURED = {"sparsity": 0.5, "importance": "l1", "rounds": 1, "round_to": 1, "finetune": 0.5}
NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d)


def used(model: Any, seed: int = 0) -> Any:
    """``model`` with statistics, scales and shifts as after some training, all of them different."""
    rng = np.random.default_rng(seed)
    ranges = {"running_mean": (-0.1, 0.1), "running_var": (0.05, 0.2), "weight": (0.5, 1.5), "bias": (-0.2, 0.2)}
    for layer in model:
        if isinstance(layer, NORMALISATIONS):
            for name, (low, high) in ranges.items():
                values = getattr(layer, name)
                values.data.copy_(torch.tensor(rng.uniform(low, high, len(values))))
    return model


def masked(model: Any, share: float) -> Any:
    """A copy of ``model`` whose weakest hidden channels give zero: the reference that pruning must equal."""
    model = copy.deepcopy(model)
    layers = list(model)
    weighted = [index for index, layer in enumerate(layers) if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear)]
    for index in weighted[:-1]:
        layer, behind = layers[index : index + 2]
        norms = layer.weight.detach().abs().flatten(1).sum(1).numpy()
        mask = torch.tensor(norms >= np.sort(norms)[-max(1, round(len(norms) * share))])
        # Zero after the normalisation where there is one: a channel that is zero before it need not be so behind it.
        module = behind if isinstance(behind, NORMALISATIONS) else layer
        for values in (module.weight, module.bias):
            values.data[~mask] = 0
    return model


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("task", NETWORKS)
def test_outputs_are_those_of_a_masked_copy(task: str, sparsity: float, make_context: MakeContext) -> None:
    context, _ = make_context(task, NETWORKS[task])
    model = used(fresh(context))
    whole, reference = copy.deepcopy(model), masked(model, 1 - sparsity)
    prune(model, sparsity, context.task.input_shape)
    x = context.validation.x[:64]
    outputs = benchmark_torch.predict(model, x)
    np.testing.assert_allclose(outputs, benchmark_torch.predict(reference, x), rtol=1e-5, atol=1e-5)
    assert np.array_equal(outputs, benchmark_torch.predict(whole, x)) == (sparsity == 0)


@pytest.mark.parametrize("task", NETWORKS)
def test_shape_is_that_of_a_narrow_network(task: str, make_context: MakeContext) -> None:
    context, _ = make_context(task, NETWORKS[task])
    for width in (0.5, 0.25):
        pruned, narrow = fresh(context), fresh(context, width)
        prune(pruned, 1 - width, context.task.input_shape)
        assert str(pruned) == str(narrow)  # layers and all their settings
        sizes = [{name: tensor.shape for name, tensor in model.state_dict().items()} for model in (pruned, narrow)]
        assert sizes[0] == sizes[1]


def test_strongest_channels_by_sum_of_absolute_weights() -> None:
    """Sums 2, 3.5, 2, 0.5, 2. By sums of squares or the largest weight the third would come before the first."""
    weight = torch.tensor([[1.0, 1.0], [-3.0, 0.5], [2.0, 0.0], [0.0, -0.5], [2.0, 0.0]])
    kept = []
    for sparsity in (0.0, 0.4, 0.6, 0.95):
        model: Any = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 2)).eval()
        model[0].weight.data.copy_(weight)
        model[0].bias.data.copy_(torch.arange(5.0))  # names the channels
        prune(model, sparsity, (2,))
        kept.append(model[0].bias.tolist())
    assert kept == [[0, 1, 2, 3, 4], [0, 1, 2], [0, 1], [1]]


def test_sizes_left() -> None:
    model = build("cnn1d", (6, 128), 7).eval()
    assert hidden_sizes(model) == [32, 48, 64]
    prune(model, 0.7, (6, 128))
    assert hidden_sizes(model) == [10, 14, 19]
    for _ in range(2):  # a convolution of one channel must not be taken for a depthwise one
        prune(model, 0.95, (6, 128))
        assert hidden_sizes(model) == [1, 1, 1]
    assert model(torch.zeros(4, 6, 128)).shape == (4, 7)
    assert [channels(3, 0.5), channels(5, 0.5), channels(1, 0.1)] == [2, 2, 1]  # halves go to the even number


def test_one_channel_between_wider_layers() -> None:
    model: Any = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 3), nn.Conv2d(1, 6, 3), nn.Flatten()).eval()
    prune(model, 0.5, (3, 8, 8))
    assert [len(model[index].weight) for index in (0, 2, 3)] == [2, 1, 6]
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 6 * 2 * 2)


class Residual(nn.Module):
    """Two convolutions whose outputs are added, then a depthwise one: all three keep the same channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.depthwise, self.output = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).relu()
        x = self.depthwise(x + self.second(x).relu())
        return self.output(x.mean((2, 3)))  # type: ignore[no-any-return]  # modules return Any


def test_layers_that_share_channels_lose_the_same_ones() -> None:
    torch.manual_seed(0)
    model = Residual().eval()
    layers: list[Any] = [model.first, model.second, model.depthwise]
    for layer in layers:
        layer.bias.data.copy_(torch.arange(16.0))  # names the channels
    prune(model, 0.5, (3, 32, 32))
    assert hidden_sizes(model) == [8, 8, 8]
    kept = [layer.bias.tolist() for layer in layers]
    assert kept[0] == kept[1] == kept[2]
    assert len(set(kept[0])) == 8
    assert benchmark_torch.predict(model, np.zeros((2, 3, 32, 32), np.float32)).shape == (2, 2)


def test_pass_fine_tunes_and_leaves_its_input_alone(make_context: MakeContext) -> None:
    training = {"updates": 10, "batch": 32, "lr": 3e-3}
    source, _ = make_context("watch-imu", "cnn1d", training=training)
    Torch().train(source)
    before = digests(source.output)
    params = {**STRUCTURED, "sparsity": 0.5, "finetune": 0.5}
    context, journal = make_context("watch-imu", "cnn1d", training=training, params=params, input=source.output)
    PruneStructured().compress(context)
    assert digests(source.output) == before
    assert journal.layers == {"matched": 3, "changed": 3}
    assert journal.training["updates"] == 5
    model = benchmark_torch.load(context.output)
    assert hidden_sizes(model) == [16, 24, 32]
    best = max(point["score"] for point in journal.curve)
    assert context.score(benchmark_torch.predict(model, context.validation.x)) == best


def test_rounds_end_in_the_same_shape(make_context: MakeContext) -> None:
    training = {"updates": 20, "batch": 32, "lr": 3e-3}
    source, _ = make_context("watch-imu", "cnn1d", training=training)
    Torch().train(source)
    found = []
    for rounds in (1, 3, 3):
        params = {**STRUCTURED, "sparsity": 0.7, "rounds": rounds, "importance": "taylor"}
        context, journal = make_context("watch-imu", "cnn1d", training=training, params=params, input=source.output)
        PruneStructured().compress(context)
        model = benchmark_torch.load(context.output)
        assert hidden_sizes(model) == [channels(size, 1 - 0.7) for size in (32, 48, 64)]
        found.append((context.output / "model.pt").read_bytes())
        steps = [int(point["step"]) for point in journal.curve]
        assert steps == sorted(set(steps))  # one curve, not three on top of each other
        assert journal.training["updates"] == steps[-1] == (10 if rounds == 1 else 9)
    assert found[0] != found[1] == found[2]


@pytest.mark.parametrize(
    ("sparsity", "sizes"), [(0.5, [16, 24, 32]), (0.7, [16, 16, 24]), (0.95, [8, 8, 8]), (0.0, [32, 48, 64])]
)
def test_channels_left_are_a_multiple(sparsity: float, sizes: list[int]) -> None:
    model = build("cnn1d", (6, 128), 7).eval()
    prune(model, sparsity, (6, 128), round_to=8)
    assert hidden_sizes(model) == sizes


def test_a_layer_of_fewer_channels_than_the_multiple_keeps_them() -> None:
    model = build("cnn1d", (6, 128), 7).eval()
    prune(model, 0.9, (6, 128), round_to=40)
    assert hidden_sizes(model) == [32, 40, 40]


def test_importance_by_group_looks_at_what_reads_a_channel_too() -> None:
    """Of channel 0 nobody reads anything, and its own weights are the largest: l1 keeps it, group-norm does not."""
    kept = {}
    for by in ("l1", "group-norm"):
        torch.manual_seed(0)
        model: Any = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
        model[0].weight.data[0], model[2].weight.data[:, 0] = 0.6, 0
        model[0].bias.data.copy_(torch.arange(6.0))  # names the channels
        norms = (model[0].weight.data ** 2).sum(1) + (model[2].weight.data ** 2).sum(0)
        expected = {int(index) for index in norms.argsort(descending=True)[:3]}
        prune(model, 0.5, (4,), by=by)
        kept[by] = {int(value) for value in model[0].bias.tolist()}
    assert 0 in kept["l1"]
    assert kept["group-norm"] == expected
    assert kept["l1"] != kept["group-norm"]


def test_taylor_keeps_what_the_loss_depends_on(make_context: MakeContext) -> None:
    """Half of the channels have the larger weights and are never active: their gradients are zero."""
    source, _ = make_context("german-credit", "mlp")
    model: Any = fresh(source)
    dead = torch.arange(64) % 2 == 0
    model[0].weight.data[dead] *= 3
    model[0].bias.data[dead] = -1000
    model[0].bias.data[~dead] = 1.0
    benchmark_torch.save(model, source.output)
    for by, alive in (("taylor", 32), ("l1", 0)):
        params = {**STRUCTURED, "importance": by, "finetune": 0.0}
        context, _ = make_context("german-credit", "mlp", params=params, input=source.output)
        PruneStructured().compress(context)
        pruned: Any = benchmark_torch.load(context.output)
        assert int((pruned[0].bias == 1.0).sum()) == alive
        assert all(parameter.grad is None for parameter in pruned.parameters())


def test_nothing_removed_and_no_fine_tuning_is_the_same_network(make_context: MakeContext) -> None:
    source, _ = make_context("german-credit", "mlp")
    model = fresh(source)
    benchmark_torch.save(model, source.output)
    context, journal = make_context(
        "german-credit", "mlp", params={**STRUCTURED, "sparsity": 0.0, "finetune": 0.0}, input=source.output
    )
    PruneStructured().compress(context)
    assert journal.layers == {"matched": 2, "changed": 0}
    assert journal.training == {}
    x = source.validation.x
    assert np.array_equal(benchmark_torch.predict(benchmark_torch.load(context.output), x), benchmark_torch.predict(model, x))


def test_not_applicable_without_a_hidden_layer(make_context: MakeContext, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    benchmark_torch.save(nn.Sequential(nn.Linear(60, 2)), folder)
    context, _ = make_context("german-credit", "mlp", params={**STRUCTURED, "sparsity": 0.5, "finetune": 0.5}, input=folder)
    with pytest.raises(NotApplicable, match="no hidden layer"):
        PruneStructured().compress(context)
    assert not list(context.output.iterdir())


def test_pruned_network_exports(make_context: MakeContext) -> None:
    source, _ = make_context("watch-imu", "cnn1d")
    benchmark_torch.save(used(fresh(source)), source.output)
    params = {**STRUCTURED, "sparsity": 0.5, "finetune": 0.0}
    context, _ = make_context("watch-imu", "cnn1d", params=params, input=source.output)
    PruneStructured().compress(context)
    sizes = []
    for folder in (source.output, context.output):
        target, _ = make_context("watch-imu", "cnn1d", input=folder)
        Torch().export(target, "onnx")
        sizes.append((target.output / "model.onnx").stat().st_size)
    assert sizes[1] < 0.35 * sizes[0]
