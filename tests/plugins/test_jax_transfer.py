"""JAX networks that start from what others learned: published weights, another task's network, and layers that stay as they
are."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import benchmark_jax
import jax
import numpy as np
import pytest
from benchmark_jax._models import build
from benchmark_jax._train import Jax, fresh
from benchmark_jax._transfer import Transfer, adopted, weighted
from flax import nnx

from benchmark import Context, NotApplicable

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]
TRAINING = {"updates": 3, "batch": 16, "lr": 1e-2}
LEARN = {"source": "", "learn": "full", "finetune": 1.0}


def arrays(module: nnx.Module) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(nnx.state(module))]


def test_efficientnet_has_the_weights_of_pytorch_s(tmp_path: Path) -> None:
    """PyTorch's, which is tested beside the published one, in a process of its own."""
    code = (
        "import sys, numpy, torch; from benchmark_torch._models import build\n"
        "x = torch.tensor(numpy.load(sys.argv[1])); model = build('efficientnet-lite0', x.shape[1:], 7).eval()\n"
        "with torch.inference_mode(): numpy.save(sys.argv[1], model[:-1](x))"
    )
    shape = (1, 40, 64)  # grey, and enlarged along one side
    x = np.random.default_rng(0).random((4, *shape), np.float32)
    np.save(tmp_path / "x.npy", x)
    subprocess.run([sys.executable, "-c", code, tmp_path / "x.npy"], check=True)
    expected = np.load(tmp_path / "x.npy")
    whole = build("efficientnet-lite0", shape, 7, seed=0)
    features = benchmark_jax.predict(nnx.Sequential(*whole.layers[:-1]), x)
    assert expected.shape == features.shape == (4, 1280)
    assert expected.std() > 0.1
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("learn", "held"), [("frozen", 6), ("partial", 3), ("full", 0)])
def test_held_layers_stay_and_the_others_learn(learn: str, held: int, make_context: MakeContext) -> None:
    source, _ = make_context("nodule-shape", "cnn", training={**TRAINING, "updates": 20})
    Jax().train(source)
    params = {**LEARN, "source": "elsewhere", "learn": learn}
    context, journal = make_context("nodule-shape", "cnn", training=TRAINING, params=params, source=source.output, fold=1)
    Transfer().compress(context)
    before, after = (weighted(benchmark_jax.load(folder)) for folder in (source.output, context.output))
    same = [arrays(one) == arrays(other) for one, other in zip(before, after, strict=True)]
    assert same == [index < held for index in range(7)]  # statistics of normalisations too
    assert journal.layers == {"matched": 7, "changed": 6, "held": held}
    assert journal.training["updates"] == 3
    # What comes behind it trains everything.
    behind, _ = make_context("nodule-shape", "cnn", training=TRAINING)
    model = benchmark_jax.load(context.output)
    benchmark_jax.fit(model, behind)
    assert not any(arrays(one) == arrays(other) for one, other in zip(weighted(model), after, strict=True))


def test_blocks_are_held_whole(make_context: MakeContext) -> None:
    source, _ = make_context("nodule-shape", "resnet-8", training=TRAINING)
    Jax().train(source)
    params = {**LEARN, "source": "elsewhere", "learn": "frozen"}
    context, journal = make_context("nodule-shape", "resnet-8", training=TRAINING, params=params, source=source.output, fold=1)
    Transfer().compress(context)
    before, after = (weighted(benchmark_jax.load(folder)) for folder in (source.output, context.output))
    assert [arrays(one) == arrays(other) for one, other in zip(before, after, strict=True)] == [True] * 5 + [False]
    assert journal.layers == {"matched": 6, "changed": 5, "held": 5}


def test_what_has_another_shape_starts_afresh(make_context: MakeContext) -> None:
    context, _ = make_context("nodule-shape", "cnn")
    grey = build("cnn", (1, 28, 28), 10, seed=5)
    model, untouched = fresh(context), fresh(context)
    assert all(one is other for one, other in zip(adopted(model, grey), weighted(model)[1:-1], strict=True))
    states = [[arrays(layer) for layer in weighted(network)] for network in (model, untouched, grey)]
    for index, (own, fresh_one, source) in enumerate(zip(*states, strict=True)):
        assert own == (fresh_one if index in (0, 6) else source)


def test_a_layer_that_starts_afresh_is_not_held(make_context: MakeContext) -> None:
    source, _ = make_context("mnist-10k", "cnn", training=TRAINING)
    Jax().train(source)
    params = {**LEARN, "source": "mnist-10k", "learn": "frozen"}
    context, journal = make_context("nodule-shape", "cnn", training=TRAINING, params=params, source=source.output)
    Transfer().compress(context)
    assert journal.layers == {"matched": 7, "changed": 5, "held": 5}
    assert arrays(weighted(benchmark_jax.load(context.output))[0]) != arrays(weighted(fresh(context))[0])


def test_there_must_be_something_to_start_from(make_context: MakeContext) -> None:
    context, _ = make_context("nodule-shape", "cnn", training=TRAINING, params=LEARN)
    with pytest.raises(NotApplicable, match="cnn has no published weights: name a task as source"):
        Transfer().compress(context)
    source, _ = make_context("german-credit", "smallnet", training=TRAINING)
    benchmark_jax.save(build("smallnet", (60,), 2, seed=0, width=0.5), source.output)
    params = {**LEARN, "source": "german-credit"}
    context, _ = make_context("german-credit", "smallnet", training=TRAINING, params=params, source=source.output)
    with pytest.raises(NotApplicable, match="no layer of smallnet for german-credit has the shape of one here"):
        Transfer().compress(context)


def test_published_weights_can_be_held(make_context: MakeContext) -> None:
    params = {**LEARN, "learn": "frozen"}
    context, journal = make_context("nodule-shape", "efficientnet-lite0", training=TRAINING, params=params)
    few = dataclasses.replace(context, validation=dataclasses.replace(context.validation, x=context.validation.x[:8]))
    Transfer().compress(dataclasses.replace(few, score=lambda outputs: 0.5))
    after, published = weighted(benchmark_jax.load(context.output)), weighted(fresh(context))
    same = [arrays(one) == arrays(other) for one, other in zip(after, published, strict=True)]
    assert same == [True] * (len(same) - 1) + [False]
    assert journal.layers["matched"] == journal.layers["held"] + 1
