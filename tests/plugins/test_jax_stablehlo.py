"""StableHLO files and JAX as their runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import benchmark_jax
import jax
import numpy as np
import pytest
from benchmark_jax._stablehlo import JaxRuntime
from benchmark_jax._train import Jax
from flax import nnx

from benchmark import Context

MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]

NETWORKS = [
    ("nodule-shape", "cnn"),
    ("watch-imu", "resnet-8"),
    ("german-credit", "resmlp"),
]


@pytest.mark.parametrize(("task", "name"), NETWORKS)
def test_the_file_is_the_network(task: str, name: str, make_context: MakeContext) -> None:
    context, _ = make_context(task, name, training={"updates": 10, "batch": 32, "lr": 3e-3})
    Jax().train(context)
    target, _ = make_context(task, name, input=context.output)
    Jax().export(target, "stablehlo")
    (path,) = target.output.iterdir()
    model = benchmark_jax.load(context.output)
    weights = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert path.name == "model.stablehlo"
    assert path.stat().st_size <= 4 * weights + 14_000  # normalisations are merged, so these are not all there
    x = context.train.x[:256]
    expected = benchmark_jax.predict(model, x)
    assert np.std(expected, axis=0).min() > 1e-3
    predictor = JaxRuntime().load(target.output, 1)
    for rows in (1, 7, 256):
        outputs = predictor.predict(x[:rows])
        assert type(outputs) is np.ndarray
        np.testing.assert_allclose(outputs, expected[:rows], rtol=1e-5, atol=1e-5)
    again, _ = make_context(task, name, input=context.output)
    Jax().export(again, "stablehlo")
    assert (again.output / "model.stablehlo").read_bytes() == path.read_bytes()
    assert b".py" not in path.read_bytes()  # nor where it was written


def test_its_floor_returns_what_it_is_given(tmp_path: Path) -> None:
    JaxRuntime().identity(tmp_path, (3, 4))
    x = np.random.default_rng(0).random((2, 3, 4), np.float32)
    assert np.array_equal(JaxRuntime().load(tmp_path, 1).predict(x), x)


SUITE = """
[suite]
name = "stablehlo"
tasks = ["german-credit"]
backends = ["jax"]
runtimes = ["jax", "onnxruntime"]
[train]
updates = 50
[budget.build]
cores = 1
memory = "2 GiB"
seconds = 60
[measure]
processes = 1
rounds = 1
[[recipe]]
passes = ["prune-structured(sparsity=0.5)"]
[[recipe]]
passes = ["int8-static"]
[[recipe]]
passes = ["prune-structured(sparsity=0.0, finetune=0.0)"]
"""


def test_a_run_ranks_both_files_of_a_network(command: Callable[..., Any], rows: Callable[[Path], Any], tmp_path: Path) -> None:
    """The same network in two formats. What the runtime cannot load is told, not lost."""
    (tmp_path / "suite.toml").write_text(SUITE, encoding="utf-8")
    run = command("--suite", "suite.toml", "--results", "out")
    assert run.returncode == 0, run.stderr
    found = {(row["recipe"], row["runtime"]): row for row in rows(tmp_path / "out")}
    for recipe in ("reference", "prune-structured(sparsity=0.5)"):
        one, other = (found[recipe, runtime] for runtime in ("jax", "onnxruntime"))
        assert (one["outcome"], other["outcome"]) == ("ok", "ok")
        assert abs(float(one["score"]) - float(other["score"])) < 1e-3
        (artifact,) = (tmp_path / "out" / "artifacts" / one["artifact"]).iterdir()
        assert (artifact.name, artifact.stat().st_size) == ("model.stablehlo", int(one["artifact_bytes"]))
        assert all(float(row["rss_bytes"]) > 0.9 * float(row["floor_rss_bytes"]) > 1e7 for row in (one, other))
    for runtime in ("jax", "onnxruntime"):
        assert found["prune-structured(finetune=0.0, sparsity=0.0)", runtime]["outcome"] == "no_op"
    skipped = found["int8-static", "jax"]
    assert (skipped["outcome"], found["int8-static", "onnxruntime"]["outcome"]) == ("skipped", "ok")
    assert "no format that jax exports, these passes map and jax loads" in str(skipped)
