"""The packed format: lossless on every back end's export, small where pruning and clustering made it so, and never misread."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import pytest
from benchmark_jax._train import Jax
from benchmark_onnx import OnnxRuntime, strip
from benchmark_onnx._int8 import Int8Static
from benchmark_onnx._weights import Cluster
from benchmark_pack._format import decode, encode
from benchmark_pack._pack import Pack, Packed
from benchmark_sklearn._train import Sklearn
from benchmark_torch._train import Torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmark import Context

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]
BACKENDS: dict[str, tuple[Any, str, str]] = {
    "torch": (Torch, "mlp", "logits"),
    "jax": (Jax, "mlp", "logits"),
    "sklearn": (Sklearn, "forest", "probabilities"),
}


def exported(name: str, make_context: MakeContext) -> Path:
    code, architecture, kind = BACKENDS[name]
    training = {"updates": 5, "batch": 32, "lr": 1e-2}
    trained, _ = make_context("german-credit", architecture, output_kind=kind, training=training, params=training)
    code().train(trained)
    context, _ = make_context("german-credit", architecture, output_kind=kind, input=trained.output)
    code().export(context, "onnx")
    return context.output


def model_of(*weights: NDArray[Any]) -> onnx.ModelProto:
    """A model that stores the weights; what it does with them is of no matter here."""
    tensors = [numpy_helper.from_array(value, f"w{i}") for i, value in enumerate(weights)]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["input"], ["output"])],
        "model",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ("N", 2))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ("N", 2))],
        tensors,
    )
    return helper.make_model(graph)


def same(model: onnx.ModelProto) -> int:
    """The bytes of the file, after it was seen to be lossless and always the same."""
    file, _ = encode(model)
    back = decode(file)
    assert back == model
    assert back.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)
    assert encode(back)[0] == file
    return len(file)


@pytest.mark.filterwarnings(r"ignore:'\.value' access is now deprecated:DeprecationWarning")  # inside jax2onnx
@pytest.mark.parametrize("name", BACKENDS)
def test_it_is_lossless_on_each_back_end(name: str, make_context: MakeContext) -> None:
    source = exported(name, make_context)
    context, journal = make_context("german-credit", BACKENDS[name][1], input=source)
    Pack().compress(context)
    assert [path.name for path in context.output.iterdir()] == ["model.packed"]
    stripped = strip(onnx.load(source / "model.onnx"))
    assert onnx.ModelProto.FromString(Packed().onnx(context.output)) == stripped
    assert journal.layers["matched"] == len(stripped.graph.initializer)
    large = sum(math.prod(one.dims) >= 8 for one in stripped.graph.initializer)
    assert journal.layers["changed"] == large
    assert large == (0 if name == "sklearn" else 5)
    x = context.validation.x
    expected = OnnxRuntime().load(source, 1).predict(x)
    np.testing.assert_array_equal(Packed().load(context.output, 1).predict(x), expected)
    np.testing.assert_array_equal(Packed().load(source, 1).predict(x), expected)  # ONNX files too


def test_pruned_and_clustered_weights_take_little_more_than_their_entropy(make_context: MakeContext) -> None:
    """A layer 784-300 with 4 % of its weights, of 16 values; the entropy is Shannon's, of the places and of the codes."""
    rng = np.random.default_rng(0)
    weight = np.where(rng.random((784, 300)) < 0.04, rng.normal(size=(784, 300)), 0).astype(np.float32)
    source, _ = make_context("mnist-10k", "cnn")
    nodes = [helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["output"])]
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ("N", 1, 28, 28))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ("N", 300))],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), source.output / "model.onnx")
    cluster, _ = make_context("mnist-10k", "cnn", input=source.output, params={"bits": 4})
    Cluster().compress(cluster)
    context, journal = make_context("mnist-10k", "cnn", input=cluster.output)
    Pack().compress(context)
    assert journal.layers == {"matched": 1, "changed": 1}
    (stored,) = (numpy_helper.to_array(one) for one in onnx.load(cluster.output / "model.onnx").graph.initializer)
    share = np.mean(stored != 0)
    places = weight.size * -(share * math.log2(share) + (1 - share) * math.log2(1 - share)) / 8
    _, counts = np.unique(stored[stored != 0], return_counts=True)
    codes = -(counts * np.log2(counts / counts.sum())).sum() / 8
    size = (context.output / "model.packed").stat().st_size
    assert places + codes < size < 1.06 * (places + codes) + 250  # the graph, the codebook
    assert size < (cluster.output / "model.onnx").stat().st_size / 60
    np.testing.assert_array_equal(
        Packed().load(context.output, 1).predict(context.validation.x[:50]),
        OnnxRuntime().load(cluster.output, 1).predict(context.validation.x[:50]),
    )


def test_an_int8_file_becomes_smaller_too(make_context: MakeContext) -> None:
    source = exported("torch", make_context)
    quantized, _ = make_context("german-credit", "mlp", input=source, params={"calibration_rows": 64, "calibration": "minmax"})
    Int8Static().compress(quantized)
    context, _ = make_context("german-credit", "mlp", input=quantized.output)
    Pack().compress(context)
    assert (context.output / "model.packed").stat().st_size < 0.95 * (quantized.output / "model.onnx").stat().st_size
    x = context.validation.x
    expected = OnnxRuntime().load(quantized.output, 1).predict(x)
    np.testing.assert_array_equal(Packed().load(context.output, 1).predict(x), expected)


ANY = [np.float32, np.float64, np.float16, np.int8, np.uint8, np.int16, np.int32, np.int64, np.bool_]


@given(st.data())
def test_whatever_is_stored_comes_back_bit_for_bit(data: st.DataObject) -> None:
    weights = []
    for dtype in data.draw(st.lists(st.sampled_from(ANY), min_size=1, max_size=3)):
        shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9))
        few = data.draw(hnp.arrays(dtype, 5))  # NaN, infinities and -0.0 are among them
        weights.append(data.draw(hnp.arrays(dtype, shape, elements=st.sampled_from(list(few)) | st.just(dtype(0)))))
    same(model_of(*weights))


@pytest.mark.parametrize(
    "weight",
    [
        np.zeros(1000, np.float32),
        np.full(1000, -0.0, np.float32),
        np.r_[np.zeros(255), 1, np.zeros(254), 2, np.zeros(256), 3, np.zeros(1000)].astype(np.float32),
        np.r_[np.zeros(600), np.arange(257), 1].astype(np.float32),  # one value more than a codebook holds
        np.r_[np.tile(np.arange(256), 4)].astype(np.float32),
        np.tile(np.array([70_000, 1e-9, 0.1], np.float32), 50),  # float16 holds none of them
        np.tile(np.array([0.5, np.nan, np.inf, -np.inf], np.float32), 50),
        np.arange(7, dtype=np.float32),
    ],
    ids=["zeros", "negative zeros", "long gaps", "257 values", "256 values", "no half", "not finite", "small"],
)
def test_edges(weight: NDArray[np.float32]) -> None:
    same(model_of(weight))


def test_values_that_float16_holds_take_half_the_codebook() -> None:
    exact = np.tile(np.arange(1, 201, dtype=np.float32) / 256, 10)
    inexact = np.tile(np.random.default_rng(0).random(200).astype(np.float32), 10)
    assert 350 < same(model_of(inexact)) - same(model_of(exact)) < 800


def test_narrow_integers_and_texts_stay_in_the_skeleton() -> None:
    narrow = helper.make_tensor("narrow", TensorProto.INT4, [16], np.arange(8, dtype=np.uint8).tobytes(), raw=True)
    texts = numpy_helper.from_array(np.array(["word"] * 9, object), "texts")
    model = model_of(np.zeros(100, np.float32))
    model.graph.initializer.extend([narrow, texts])
    assert encode(model)[1] == 1
    same(model)


def test_damage_is_an_error_wherever_it_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    file, _ = encode(model_of(np.where(rng.random(500) < 0.1, 1, 0).astype(np.float32), rng.random(100).astype(np.float32)))
    for at in range(len(file)):
        flipped = file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :]
        with pytest.raises(ValueError, match="packed model"):
            decode(flipped)
        with pytest.raises(ValueError, match="packed model"):
            decode(file[:at])
    (tmp_path / "model.packed").write_bytes(file[:-1])
    with pytest.raises(ValueError, match="its checksum is another"):
        Packed().load(tmp_path, 1)


@given(st.binary(max_size=200))
def test_what_only_looks_like_a_file_is_an_error(content: bytes) -> None:
    """The checksum is right, and nothing else."""
    with pytest.raises(ValueError, match="packed model"):
        decode(b"PKB1" + zlib.crc32(content).to_bytes(4, "little") + content)


def test_its_floor_is_that_of_onnx_runtime(tmp_path: Path) -> None:
    Packed().identity(tmp_path, (3,))
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(Packed().load(tmp_path, 1).predict(x), x)


SUITE = """
[suite]
name = "packed"
tasks = ["german-credit"]
backends = ["sklearn"]
architectures = { sklearn = ["logistic"] }
runtimes = ["packed"]
[budget.build]
cores = 1
memory = "1 GiB"
seconds = 60
[measure]
processes = 1
rounds = 1
[[recipe]]
passes = ["int8-dynamic", "pack"]
[[recipe]]
passes = ["cluster(bits=2)", "pack"]
"""


def test_a_run_reads_its_facts_from_what_is_decoded(
    command: Callable[..., Any], rows: Callable[[Path], Any], tmp_path: Path
) -> None:
    """Bytes are those of the file, parameters and memory those of the model that the runtime makes of it."""
    (tmp_path / "packed.toml").write_text(SUITE, encoding="utf-8")
    run = command("--suite", "packed.toml", "--results", "out")
    assert run.returncode == 0, run.stderr
    found = {row["recipe"]: row for row in rows(tmp_path / "out")}
    reference = found["reference"]
    (artifact,) = (tmp_path / "out" / "artifacts" / reference["artifact"]).iterdir()
    assert (artifact.name, reference["outcome"]) == ("model.onnx", "ok")
    for recipe in ("int8-dynamic + pack", "cluster(bits=2) + pack"):
        row = found[recipe]
        assert row["outcome"] == "ok"
        (artifact,) = (tmp_path / "out" / "artifacts" / row["artifact"]).iterdir()
        assert (artifact.name, artifact.stat().st_size) == ("model.packed", int(row["artifact_bytes"]))
        assert row["macs"] == reference["macs"]
        assert float(row["latency_ratio"]) > 0  # its reference runs on the same runtime
        assert abs(float(row["score"]) - float(reference["score"])) < 0.05
    clustered = found["cluster(bits=2) + pack"]
    assert clustered["resident_weight_bytes"] == reference["resident_weight_bytes"]
    assert int(clustered["artifact_bytes"]) < int(reference["artifact_bytes"]) < int(clustered["resident_weight_bytes"]) + 1000
    assert int(found["int8-dynamic + pack"]["resident_weight_bytes"]) < int(reference["resident_weight_bytes"])
