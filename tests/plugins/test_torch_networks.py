"""The published networks: sizes as published, what the export computes, and every pass of the back end on each of them."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import benchmark_torch
import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
import pytest
import torch
from benchmark_torch._blocks import Concatenation
from benchmark_torch._controls import Narrow
from benchmark_torch._distil import Distil
from benchmark_torch._models import build
from benchmark_torch._prune import PruneStructured, hidden_sizes, prune
from benchmark_torch._train import Torch, fresh
from torch import nn

from benchmark import Context, NotApplicable

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]

STRUCTURED = {"sparsity": 0.5, "importance": "l1", "rounds": 1, "round_to": 1, "finetune": 0.5}

TASKS = {"image": "nodule-shape", "sequence": "watch-imu", "tabular": "german-credit"}
TRAINING = {"updates": 2, "batch": 16, "lr": 1e-3}
(SPEC,) = benchmark_torch.benchmark_backends()
PRETRAINED = "efficientnet-lite0"
CHANNELS = 64 + 2 * (16 + 128 + 32 + 256 + 48 + 384 + 64 + 512)
"""Of squeezenet's hidden layers: each has a scale and a shift, where the published network has a bias."""
# Without the default network of each modality, which has tests of its own.
NETWORKS = [(TASKS[modality], name) for modality, names in SPEC.architectures.items() for name in names[1:]]

per_network = pytest.mark.parametrize(("task", "name"), NETWORKS)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def ever_better(context: Context) -> Context:
    """The context, with a score that never stops a training early."""
    count = itertools.count()
    return dataclasses.replace(context, score=lambda outputs: float(next(count)))


@pytest.fixture
def trained(make_context: MakeContext) -> Callable[[str, str], Context]:
    """``trained(task, network)``: the Context of a training that is over."""

    def train(task: str, name: str) -> Context:
        context, journal = make_context(task, name, training=TRAINING)
        Torch().train(context)
        assert journal.training == {"updates": 2, "stopped_by": "updates"}
        return context

    return train


def test_defaults_are_what_they_were() -> None:
    assert {modality: names[0] for modality, names in SPEC.architectures.items()} == {
        "image": "cnn",
        "sequence": "cnn1d",
        "tabular": "mlp",
    }


@pytest.mark.parametrize(
    ("name", "shape", "classes", "count"),
    [
        ("lenet-300-100", (1, 28, 28), 10, 266_610),  # 267k in Han et al., arXiv 1506.02626
        ("lenet-5", (1, 28, 28), 10, 431_080),  # 431k there
        ("squeezenet", (3, 32, 32), 1000, 1_235_496 + CHANNELS),  # torchvision's squeezenet1_1
        ("mobilenet-v2", (3, 32, 32), 1000, 3_504_872),  # torchvision's mobilenet_v2
        ("mobilenet-v2", (3, 32, 32), 10, 2_236_682),
        # MLPerf Tiny, less twice 240 statistics that Keras counts and 240 biases that normalisations cancel.
        ("resnet-8", (3, 32, 32), 10, 78_666 - 480 - 240),
        # MLPerf Tiny, less 1152 statistics, 9 * 64 biases, and 31 of the 40 weights of each first window.
        ("ds-cnn", (1, 49, 10), 12, 24_908 - 1152 - 9 * 64 - 31 * 64),
        ("smallnet", (1, 28, 28), 10, 785 * 64 + 65 * 32 + 33 * 10),
        ("smallnet", (6, 128), 7, 769 * 64 + 65 * 32 + 33 * 7),
        ("smallnet", (60,), 2, 61 * 64 + 65 * 32 + 33 * 2),
        ("ds-cnn", (6, 128), 7, 5 * 6 * 64 + 128 + 4 * (5 * 64 + 64 * 64 + 256) + 65 * 7),
        (
            "resnet-8",
            (6, 128),
            7,
            5 * (6 * 16 + 2 * 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64) + 2 * 240 + 17 * 32 + 33 * 64 + 65 * 7,
        ),
        ("resmlp", (60,), 2, 61 * 64 + 2 * (64 * 128 + 256 + 129 * 64) + 65 * 2),
    ],
)
def test_sizes_are_as_published(name: str, shape: tuple[int, ...], classes: int, count: int) -> None:
    model = build(name, shape, classes)
    assert parameters(model) == count
    assert all(module.training for module in model.modules())
    states = [value for key, value in model.state_dict().items() if key.endswith("running_mean")]
    assert not any(value.any() for value in states)  # measuring the window has left no trace
    assert benchmark_torch.predict(model, np.zeros((3, *shape), np.float32)).shape == (3, classes)


@pytest.mark.parametrize(
    ("name", "shape", "positions"),
    [
        ("ds-cnn", (1, 28, 28), (14, 14)),
        ("ds-cnn", (6, 128), (64,)),
        ("resnet-8", (3, 32, 30), (8, 8)),
        ("mobilenet-v2", (3, 32, 32), (2, 2)),
        ("squeezenet", (1, 28, 28), (4, 4)),
        ("squeezenet", (1, 1, 5), (1, 1)),
    ],
)
def test_the_mean_is_over_all_positions(name: str, shape: tuple[int, ...], positions: tuple[int, ...]) -> None:
    model = build(name, shape, 3).eval()
    x = torch.rand(2, *shape)
    features = model[:-3](x)
    assert features.shape[2:] == positions
    torch.testing.assert_close(model(x), model[-1](features.flatten(2).mean(2)), rtol=1e-4, atol=1e-6)


def test_small_images_do_not_fit_lenet_5() -> None:
    assert hidden_sizes(build("lenet-5", (1, 16, 16), 2, 0.5)) == [10, 25, 250]
    with pytest.raises(NotApplicable, match="16 x 16 or more, these are 15 x 28"):
        build("lenet-5", (1, 15, 28), 2)


def settled(model: nn.Module, context: Context) -> nn.Module:
    """``model`` with the statistics that a long training would leave: after two updates, deep networks give constants without."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.tensor(context.train.x[:64]))
    return model.eval()


@per_network
def test_checkpoint_and_export_are_the_trained_network(
    task: str, name: str, trained: Callable[[str, str], Context], make_context: MakeContext
) -> None:
    context = trained(task, name)
    model = benchmark_torch.load(context.output)
    if name != PRETRAINED:  # which has the statistics of a long training
        model = settled(model, context)
    assert parameters(model) == parameters(fresh(context))
    benchmark_torch.save(model, context.output)
    target, _ = make_context(task, name, input=context.output)
    Torch().export(target, "onnx")
    session = onnxruntime.InferenceSession(target.output / "model.onnx", providers=["CPUExecutionProvider"])
    x = context.train.x[:64]
    expected = benchmark_torch.predict(model, x)
    assert np.std(expected, axis=0).min() > 1e-3
    # Fifty normalisations of hardly trained layers make more of a rounding; after 60 updates it is 1e-6 here too.
    tolerance = 1e-4 if name in ("mobilenet-v2", PRETRAINED) else 1e-5
    for rows in (1, 64):
        outputs = session.run(None, {"input": x[:rows]})[0]
        np.testing.assert_allclose(outputs, expected[:rows], rtol=1e-5, atol=tolerance)
    operators = {node.op_type for node in onnx.load(target.output / "model.onnx").graph.node}
    assert "BatchNormalization" not in operators  # each is merged into the layer before it


def test_a_process_that_has_imported_nothing_loads_a_checkpoint(tmp_path: Path) -> None:
    """Also one without PocketBench's networks in ``__main__``: the file names the modules that it needs."""
    benchmark_torch.save(build("resnet-8", (6, 128), 7), tmp_path)
    code = "import sys, torch; print(len(torch.load(sys.argv[1], weights_only=False).state_dict()))"
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "model.pt"], capture_output=True, text=True, check=True)
    assert run.stdout == f"{7 + 7 * 5 + 2 * 2 + 2}\n"  # seven convolutions and normalisations, two shortcuts, the output layer


@pytest.mark.parametrize("width", [0.5, 0.3])
@per_network
def test_pruned_shape_is_that_of_a_narrow_network(task: str, name: str, width: float, make_context: MakeContext) -> None:
    context, _ = make_context(task, name)
    pruned, narrow = fresh(context), fresh(context, width)
    assert parameters(narrow) < parameters(pruned)
    prune(pruned, 1 - width, context.task.input_shape)
    assert str(pruned) == str(narrow)  # layers and all their settings
    sizes = [{name: tensor.shape for name, tensor in model.state_dict().items()} for model in (pruned, narrow)]
    assert sizes[0] == sizes[1]


def within(wide: nn.Module, narrow: nn.Module) -> None:
    """Gives ``wide`` the weights of ``narrow`` in its first channels, and zeros elsewhere."""
    joint = {2 * len(next(module.one.parameters())) for module in wide.modules() if isinstance(module, Concatenation)}
    for value, inner in zip(wide.state_dict().values(), narrow.state_dict().values(), strict=True):
        value.zero_()
        if not value.ndim:
            continue
        places = [np.arange(size) for size in inner.shape]
        if value.ndim > 1 and value.shape[1] in joint:  # behind a concatenation: the first channels of each half
            half = inner.shape[1] // 2
            places[1] = np.concatenate([np.arange(half), value.shape[1] // 2 + np.arange(half)])
        value[tuple(torch.tensor(place) for place in np.ix_(*places))] = inner


@per_network
def test_pruning_finds_the_narrow_network_in_a_wide_one(task: str, name: str, make_context: MakeContext) -> None:
    context, _ = make_context(task, name)
    wide, narrow = fresh(context).eval(), fresh(context, 0.5).eval()
    x = context.train.x[:16]
    within(wide, narrow)
    expected = benchmark_torch.predict(narrow, x)
    np.testing.assert_allclose(benchmark_torch.predict(wide, x), expected, rtol=1e-4, atol=1e-5)
    prune(wide, 0.5, context.task.input_shape)
    assert all(torch.equal(value, narrow.state_dict()[key]) for key, value in wide.state_dict().items())
    np.testing.assert_array_equal(benchmark_torch.predict(wide, x), expected)


@per_network
def test_passes(task: str, name: str, trained: Callable[[str, str], Context], make_context: MakeContext) -> None:
    reference = trained(task, name)
    found = {}
    for code, params in (
        (Narrow(), {"width": 0.5, "finetune": 0.5}),
        (Distil(), {"student": "", "width": 0.5, "temperature": 4.0, "soft": 0.5, "finetune": 0.5}),
        (PruneStructured(), {**STRUCTURED, "sparsity": 0.5, "finetune": 0.5}),
    ):
        pruned = reference.output if isinstance(code, PruneStructured) else None
        context, journal = make_context(task, name, training=TRAINING, params=params, input=pruned, reference=reference.output)
        code.compress(ever_better(context))
        assert journal.training["updates"] == (1 if isinstance(code, PruneStructured) else 3)
        model = benchmark_torch.load(context.output)
        found[type(code).__name__] = parameters(model)
        assert np.isfinite(benchmark_torch.predict(model, context.train.x[:16])).all()
    assert len(set(found.values())) == 1
    layers = len(hidden_sizes(fresh(reference)))
    assert journal.layers == {"matched": layers, "changed": layers}
