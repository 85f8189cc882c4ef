"""Training, prediction and checkpoints of JAX networks."""

from __future__ import annotations

import functools
import json
import math
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import flax
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import optax  # type: ignore[import-untyped]  # it ships no types
from flax import nnx
from numpy.typing import NDArray

from benchmark import Context
from benchmark_jax._models import Chain, build, view

Floats: TypeAlias = NDArray[np.float32]
Loss: TypeAlias = Callable[[Any, jax.Array, jax.Array], jax.Array]
AfterStep: TypeAlias = Callable[[nnx.Module], None]

_WEIGHT_DECAY = 0.05
_WARM_UP = 0.05  # share of the updates
_SCORINGS = 20
_PATIENCE = 10  # scorings without a better one, after which training stops
_ROWS = 256  # predicted at a time


class Jax:
    """The back end."""

    def train(self, context: Context) -> None:
        """Trains ``context.architecture`` from scratch and saves the best state by validation score."""
        model = fresh(context)
        fit(model, context)
        save(model, context.output)

    def export(self, context: Context, format: str) -> None:
        """Writes the checkpoint ``context.input`` as ``model.onnx``: one input, one output of logits, any number of rows."""
        from benchmark_jax._export import to_onnx  # a second of imports that training does not need

        assert context.input is not None
        onnx.save(to_onnx(load(context.input), context.task.input_shape), context.output / "model.onnx")


def fresh(context: Context, width: float = 1.0) -> Chain:
    """An untrained network of ``context.architecture`` for this task and seed, its hidden channels multiplied by ``width``."""
    return build(context.architecture, context.task.input_shape, len(context.task.classes), context.seed, width)


def fit(
    model: nnx.Module,
    context: Context,
    *,
    share: float = 1.0,
    loss: Loss | None = None,
    after_step: AfterStep | None = None,
) -> None:
    """Trains ``model`` in place on ``context.train`` for ``share`` of ``context.training["updates"]`` updates, at least one.

    AdamW (Loshchilov and Hutter, arXiv 1711.05101), a linear warm-up of 5 % of the updates, then a cosine to zero. About 20
    times ``context.score`` judges the validation rows; the best state is what ``model`` ends with. Training ends sooner
    after 10 scorings in a row without a better one (``early``), or when ``context.remaining()`` runs out (``deadline``).
    Equal contexts give bit-equal models, unless a deadline struck.

    ``loss(model, x, y)`` -> float32 (): the mean loss of a batch, instead of cross-entropy; x is float32 in the task's layout,
    y int32 (N,), ``model`` is in training mode. ``after_step(model)`` may change weights in place after each update (to
    keep a mask, for example). Both are traced by JAX once and then compiled, so they must be pure but for ``model``.
    """
    updates = max(1, round(share * int(context.training["updates"])))
    x, y = jnp.asarray(np.asarray(context.train.x)), jnp.asarray(np.asarray(context.train.y, np.int32))
    rule = optax.adamw(_schedule(float(context.training["lr"]), updates), weight_decay=_WEIGHT_DECAY)
    learner = view(model, training=True)
    graph, state = nnx.split((learner, nnx.Optimizer(learner, rule, wrt=nnx.Param)))
    batch = min(int(context.training["batch"]), len(y))

    started = time.perf_counter()
    hard = cross_entropy(context.task.class_weight)
    update = functools.partial(_update, graph, loss or (lambda model, x, y: hard(model(x), y)), after_step)
    # One compiled update, called from Python: inside lax.scan XLA's CPU compiler leaves the gradients of convolutions to naive
    # loops, 10 to 40 times as slow, and a call costs a fraction of a millisecond.
    run = jax.jit(update).lower(state, x, y, np.arange(batch, dtype=np.int32)).compile()
    predict(model, context.validation.x[:1])
    compile_seconds = time.perf_counter() - started

    interval = max(1, updates // _SCORINGS)
    best, best_score, since_best, losses = state, -math.inf, 0, []
    for done, rows in zip(range(1, updates + 1), _batches(len(y), batch, context.seed), strict=False):
        state, value = run(state, x, y, rows)
        losses.append(float(value))  # waits for the update, so that the clock is right
        late = context.remaining() <= 0
        if done % interval and done < updates and not late:
            continue
        score = context.score(predict(nnx.merge(graph, state)[0], context.validation.x))
        context.log(done, loss=math.fsum(losses) / len(losses), score=score)
        losses.clear()
        since_best += 1
        if not score <= best_score:  # a score that is undefined (NaN) is no reason to keep an older state
            best, best_score, since_best = state, score, 0
        if late or since_best == _PATIENCE:
            break
    nnx.update(model, best[0])
    stopped_by = "updates" if done == updates else "early" if since_best == _PATIENCE else "deadline"
    context.trained(updates=done, stopped_by=stopped_by, compile_seconds=compile_seconds)


def predict(model: nnx.Module, x: Floats) -> Floats:
    """Logits, float32 (N, K), for rows ``x`` in the task's layout, float32 (N, ...), N >= 1. Always in evaluation mode, and
    ``model`` is left in the mode it is in."""
    graph, state = nnx.split(view(model, training=False))
    # Full parts only: every other number of rows would be compiled anew.
    padded = np.pad(x, [(0, -len(x) % _ROWS), *[(0, 0)] * (x.ndim - 1)])
    parts = [_outputs(graph, state, part) for part in np.split(padded, len(padded) // _ROWS)]
    return np.concatenate(parts)[: len(x)]


def save(model: nnx.Module, folder: Path) -> None:
    """Writes ``model`` as a checkpoint: ``model.pickle``, the nnx graph and its state as numpy arrays, and ``meta.json``."""
    graph, state = nnx.split(model)
    (folder / "model.pickle").write_bytes(pickle.dumps((graph, jax.tree.map(np.asarray, state))))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    meta = {"parameters": parameters, "jax": jax.__version__, "flax": flax.__version__}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def load(folder: Path) -> nnx.Module:
    """The model of a checkpoint, in evaluation mode. It is unpickled: load only what your own run wrote."""
    graph, state = pickle.loads((folder / "model.pickle").read_bytes())
    model = nnx.merge(graph, jax.tree.map(jnp.asarray, state))
    return view(model, training=False)


@functools.partial(jax.jit, static_argnums=0)
def _outputs(graph: Any, state: Any, x: jax.Array) -> Any:
    return nnx.merge(graph, state)(x)


def _update(
    graph: Any, loss: Loss, after_step: AfterStep | None, state: Any, x: jax.Array, y: jax.Array, rows: jax.Array
) -> tuple[Any, jax.Array]:
    """One update on these rows of ``x`` and ``y``; returns the new state and the loss before it. ``graph`` and ``state`` are the
    nnx split of (model, optimizer)."""
    model, optimizer = nnx.merge(graph, state)
    value, gradient = nnx.value_and_grad(loss)(model, x[rows], y[rows])
    optimizer.update(model, gradient)
    if after_step is not None:
        after_step(model)
    return nnx.state((model, optimizer)), value


def cross_entropy(class_weight: tuple[float, ...] | None) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The function of logits (N, K) and labels (N,) that gives their mean cross-entropy, each row weighted by its class."""
    weight = None if class_weight is None else jnp.asarray(class_weight, jnp.float32)

    def mean(outputs: jax.Array, y: jax.Array) -> jax.Array:
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, y)
        return jnp.average(losses, weights=None if weight is None else weight[y])

    return mean


def _schedule(rate: float, updates: int) -> optax.Schedule:
    """From ``rate`` / warm-up up to ``rate``, then down to zero as a cosine (arXiv 1608.03983)."""
    warm_up = max(1, round(_WARM_UP * updates))
    return optax.warmup_cosine_decay_schedule(rate / warm_up, rate, warm_up, max(updates, warm_up + 1))


def _batches(rows: int, size: int, seed: int) -> Iterator[NDArray[np.int32]]:
    """Row numbers (size,), without end: epoch after epoch in new random order, each without its last incomplete batch."""
    rng = np.random.default_rng([seed, 1])  # not the draws that made the weights
    while True:
        yield from np.split(rng.permutation(rows)[: rows - rows % size].astype(np.int32), rows // size)
