"""The published networks in JAX: sizes as in PyTorch and as published, and what their export computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import benchmark_jax
import benchmark_torch
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
import pytest
from benchmark_jax._blocks import halve_upwards, max_pool_3, shifted_products
from benchmark_jax._models import build, view
from benchmark_jax._stablehlo import JaxRuntime
from benchmark_jax._train import Jax, fresh
from flax import nnx

from benchmark import Context, NotApplicable

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]

TASKS = {"image": "nodule-shape", "sequence": "watch-imu", "tabular": "german-credit"}
(SPEC,) = benchmark_jax.benchmark_backends()
CHANNELS = 64 + 2 * (16 + 128 + 32 + 256 + 48 + 384 + 64 + 512)
NETWORKS = [(TASKS[modality], name) for modality, names in SPEC.architectures.items() for name in names[1:]]


def test_names_params_and_defaults_are_those_of_pytorch() -> None:
    (other,) = benchmark_torch.benchmark_backends()
    assert (SPEC.architectures, SPEC.params) == (other.architectures, other.params)
    passes = {spec.name: spec for spec in benchmark_torch.benchmark_compressors()}
    own = list(benchmark_jax.benchmark_compressors())
    assert {spec.name for spec in own} == set(passes) - {"int8-xnnpack"}  # for ExecuTorch, which JAX has no way to
    for spec in own:
        twin = passes[spec.name]
        for field in ("params", "stage", "anywhere", "last", "exports", "uses_reference", "uses_task", "summary"):
            assert getattr(spec, field) == getattr(twin, field)


# The same figures as in the tests of PyTorch's networks, where it is said whence they are.
@pytest.mark.parametrize(
    ("name", "shape", "classes", "count"),
    [
        ("lenet-300-100", (1, 28, 28), 10, 266_610),
        ("lenet-5", (1, 28, 28), 10, 431_080),
        ("squeezenet", (3, 32, 32), 1000, 1_235_496 + CHANNELS),
        ("mobilenet-v2", (3, 32, 32), 1000, 3_504_872),
        ("mobilenet-v2", (3, 32, 32), 10, 2_236_682),
        ("resnet-8", (3, 32, 32), 10, 78_666 - 480 - 240),
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
        ("efficientnet-lite0", (1, 28, 28), 10, 3_383_818 - 2 * 9 * 32),
    ],
)
def test_sizes_are_as_published(name: str, shape: tuple[int, ...], classes: int, count: int) -> None:
    model = view(build(name, shape, classes, seed=0), training=False)
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))) == count
    call: Any = model
    assert jax.eval_shape(lambda x: call(x), jnp.zeros((3, *shape))).shape == (3, classes)


def test_small_images_do_not_fit_lenet_5() -> None:
    with pytest.raises(NotApplicable, match="16 x 16 or more, these are 15 x 28"):
        build("lenet-5", (1, 15, 28), 2, seed=0)


@pytest.mark.parametrize("shape", [(2, 28, 28, 3), (2, 7, 5, 1), (2, 9, 4)])
def test_halve_upwards_pools_as_max_pool_3_does(shape: tuple[int, ...]) -> None:
    x = jnp.asarray(np.random.default_rng(0).random(shape), jnp.float32)
    assert np.array_equal(halve_upwards(x), max_pool_3(x))
    assert halve_upwards(x).shape[1:-1] == tuple(-(-size // 2) for size in shape[1:-1])


@pytest.mark.parametrize("padding", ["SAME", "VALID", "edges"])
@pytest.mark.parametrize(
    ("shape", "window", "stride"), [((2, 9, 8, 6), (3, 3), 2), ((2, 9, 8, 1), (5, 5), 1), ((2, 11, 4), (5,), 2)]
)
def test_shifted_products_are_a_depthwise_convolution(
    shape: tuple[int, ...], window: tuple[int, ...], stride: int, padding: str
) -> None:
    """Beside XLA's own, values and gradients."""
    rng = np.random.default_rng(0)
    x, kernel = (jnp.asarray(rng.normal(size=size), jnp.float32) for size in (shape, (*window, 1, shape[-1])))
    strides, edges = (stride,) * len(window), tuple((size // 2, size // 2) for size in window) if padding == "edges" else padding
    layout = ("NHWC", "HWIO", "NHWC") if len(window) == 2 else ("NWC", "WIO", "NWC")
    settings: dict[str, Any] = {"dimension_numbers": layout, "feature_group_count": shape[-1]}

    def results(convolution: Any) -> Any:
        outputs = convolution(x, kernel, strides, edges, **settings)
        gradients = jax.grad(lambda x, kernel: (convolution(x, kernel, strides, edges, **settings) ** 2).sum(), (0, 1))(x, kernel)
        return outputs, gradients

    one, other = results(shifted_products), results(jax.lax.conv_general_dilated)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4), one, other)


def test_what_is_no_depthwise_convolution_is_refused() -> None:
    layer = nnx.Conv(
        4, 4, (3,), kernel_dilation=2, feature_group_count=4, conv_general_dilated=shifted_products, rngs=nnx.Rngs(0)
    )
    with pytest.raises(ValueError, match="depthwise convolutions without dilation"):
        layer(jnp.zeros((1, 9, 4)))


def settled(model: Any, context: Context) -> Any:
    """``model`` with the statistics that a long training would leave: untrained, deep networks give constants without."""
    for _, layer in nnx.iter_modules(model):
        if isinstance(layer, nnx.BatchNorm):
            layer.momentum = 0.0
    learner: Any = view(model, training=True)

    @nnx.jit
    def run(learner: Any, x: jax.Array) -> Any:
        return learner(x)

    run(learner, jnp.asarray(context.train.x[:64]))
    return view(learner, training=False)


@pytest.mark.filterwarnings(r"ignore:'\.value' access is now deprecated:DeprecationWarning")  # inside jax2onnx
@pytest.mark.parametrize(("task", "name"), NETWORKS)
def test_export_is_the_network(task: str, name: str, make_context: MakeContext) -> None:
    context, _ = make_context(task, name)
    model = fresh(context)
    if name != "efficientnet-lite0":  # which has the statistics of a long training
        model = settled(model, context)
    benchmark_jax.save(model, context.output)
    target, _ = make_context(task, name, input=context.output)
    Jax().export(target, "onnx")
    path = target.output / "model.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = context.train.x[:256]
    expected = benchmark_jax.predict(benchmark_jax.load(context.output), x)
    assert np.std(expected, axis=0).min() > 1e-3
    # Fifty normalisations of hardly trained layers make more of a rounding, as they do in PyTorch.
    tolerance = 1e-4 if name in ("mobilenet-v2", "efficientnet-lite0") else 1e-5
    for rows in (1, len(x)):
        outputs = session.run(None, {"input": x[:rows]})[0]
        np.testing.assert_allclose(outputs, expected[:rows], rtol=1e-5, atol=tolerance)
    other, _ = make_context(task, name, input=context.output)
    Jax().export(other, "stablehlo")
    np.testing.assert_allclose(JaxRuntime().load(other.output, 1).predict(x), expected, rtol=1e-5, atol=tolerance)
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert "BatchNormalization" not in operators  # each is merged into the layer before it
    assert name == "efficientnet-lite0" or "Transpose" not in operators
    weights = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert path.stat().st_size <= 4 * weights + 160 * len(operators) + 4096
