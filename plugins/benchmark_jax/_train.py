"""Training, prediction and checkpoints of JAX networks."""

from __future__ import annotations

import functools
import itertools
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

from benchmark import Context, NotApplicable
from benchmark_jax._masks import stay_zero, zeros
from benchmark_jax._merge import merged
from benchmark_jax._models import build, view
from benchmark_jax._stablehlo import write_stablehlo

Floats: TypeAlias = NDArray[np.float32]
Loss: TypeAlias = Callable[[Any, jax.Array, jax.Array], jax.Array]
AfterStep: TypeAlias = Callable[[nnx.Module], None]
Augmentation: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]

_WEIGHT_DECAY = 0.05
_WARM_UP = 0.05  # share of the updates
_SCORINGS = 20
_PATIENCE = 10  # scorings without a better one, after which training stops
_ROWS = 256  # predicted at a time
_CHUNK = 100  # updates in one call, at most: between calls the deadline is looked at


class Jax:
    """The back end."""

    def train(self, context: Context) -> None:
        """Trains ``context.architecture`` from scratch and saves the best state by validation score."""
        model = fresh(context)
        fit(model, context)
        save(model, context.output)

    def export(self, context: Context, format: str) -> None:
        """Writes the checkpoint ``context.input`` as ``model.onnx``, ``model.stablehlo`` or ``model.tflite``: one input, one
        output of logits; any number of rows, but for tflite, which takes one at a time."""
        from benchmark_jax._rounding import Prepared  # qwix, which training does not need

        assert context.input is not None
        model: Any = load(context.input)
        if format != "onnx" and isinstance(model, Prepared):
            raise NotApplicable("qat-int8 rounds as ONNX's integer operators do: export as onnx")
        if format == "stablehlo":
            write_stablehlo(merged(model), context.task.input_shape, context.output)
            return
        if format == "tflite":
            from benchmark_jax._tflite import network, to_tflite

            content = to_tflite(network(model), context.task.input_shape)
            (context.output / "model.tflite").write_bytes(content)
            return
        from benchmark_jax._export import to_onnx  # a second of imports that nothing else needs

        onnx.save(to_onnx(model, context.task.input_shape), context.output / "model.onnx")


def fresh(context: Context, width: float = 1.0) -> nnx.Sequential:
    """An untrained network of ``context.architecture`` for this task and seed, its hidden channels multiplied by ``width``."""
    return build(context.architecture, context.task.input_shape, len(context.task.classes), context.seed, width)


def fit(
    model: nnx.Module,
    context: Context,
    *,
    share: float = 1.0,
    loss: Loss | None = None,
    after_step: AfterStep | None = None,
    transformation: optax.GradientTransformation | None = None,
    earliest: int = 1,
) -> None:
    """Trains ``model`` in place on ``context.train`` for ``share`` of ``context.training["updates"]`` updates, at least one.

    AdamW (Loshchilov and Hutter, arXiv 1711.05101), a linear warm-up of 5 % of the updates, then a cosine to zero. Each time a
    row is drawn it is moved by up to ``context.training["shift"]`` pixels or time steps (:func:`shifted`), and lies in any of its
    positions where ``context.training["turn"]`` says so (:func:`turned`). About 20 times ``context.score`` judges the validation
    rows; the best state is what ``model`` ends with, of those after at least ``earliest`` updates: earlier ones are not scored.
    Training ends sooner after 10 scorings in a row without a better one (``early``), or when ``context.remaining()`` runs out
    (``deadline``). Equal contexts give bit-equal models, unless a deadline struck.

    What is exactly zero in a weight matrix when training begins stays so after every update, momentum and weight decay or not: a
    pruned network stays pruned, whatever pass comes next. A matrix of nothing but zeros is taken for one that is yet to learn.
    Only variables of the type ``nnx.Param`` learn.

    ``loss(model, x, y)`` -> float32 (): the mean loss of a batch, instead of cross-entropy; x is float32 in the task's layout,
    y int32 (N,), ``model`` is in training mode. ``transformation`` sees and may change each update last. ``after_step(model)``
    may change weights in place after each update. All are traced by JAX once and then compiled, so they must be pure but for
    ``model``.
    """
    updates = planned(context, share)
    # As they are where JAX can use them so: its arrays are never written to.
    x, y = (jax.device_put(np.asarray(one), may_alias=True) for one in (context.train.x, np.asarray(context.train.y, np.int32)))
    learner = view(model, training=True)
    masks = zeros(nnx.state(learner, nnx.Param))
    rule = optax.chain(
        optax.adamw(_schedule(float(context.training["lr"]), updates), weight_decay=_WEIGHT_DECAY),
        *([] if masks is None else [stay_zero(masks)]),
        *([] if transformation is None else [transformation]),
    )
    batch = min(int(context.training["batch"]), len(y))
    interval = max(1, updates // _SCORINGS)

    started = time.perf_counter()
    # Compiled as one: by itself each moment of each weight's shape is a program of its own.
    optimizer = nnx.jit(lambda learner: nnx.Optimizer(learner, rule, wrt=nnx.Param))(learner)
    graph, state = nnx.split((learner, optimizer))
    hard = cross_entropy(context.task.class_weight)
    update = functools.partial(
        _update,
        graph,
        loss or (lambda model, x, y: hard(model(x), y)),
        after_step,
        _augmentation(context),
    )
    run, most = _compiled(update, state, x, y, np.zeros((min(interval, _CHUNK), batch), np.int32))
    predict(model, context.validation.x[:1])
    compile_seconds = time.perf_counter() - started

    batches = _batches(len(y), batch, context.seed)
    best, best_score, since_best, losses, done = state, -math.inf, 0, list[float](), 0
    while done < updates:
        count = min(most, interval - done % interval, updates - done)
        rows = np.zeros((most, batch), np.int32)
        rows[:count] = list(itertools.islice(batches, count))
        state, value = run(state, x, y, rows, count, done)
        losses.append(float(value))  # waits for the updates, so that the clock is right
        done += count
        late = context.remaining() <= 0
        if done % interval and done < updates and not late:
            continue
        score = context.score(predict(nnx.merge(graph, state)[0], context.validation.x)) if done >= earliest else math.nan
        context.log(done, loss=math.fsum(losses) / ((done - 1) % interval + 1), score=score)
        losses.clear()
        since_best += 1
        if not score <= best_score:  # a score that is undefined (NaN) is no reason to keep an older state
            best, best_score, since_best = state, score, 0
        if late or since_best == _PATIENCE:
            break
    nnx.update(model, best[0])
    stopped_by = "updates" if done == updates else "early" if since_best == _PATIENCE else "deadline"
    context.trained(updates=done, stopped_by=stopped_by, compile_seconds=compile_seconds)


def planned(context: Context, share: float) -> int:
    """The updates that :func:`fit` runs for ``share`` unless it stops early: at least one."""
    return max(1, round(share * int(context.training["updates"])))


def shifted(x: jax.Array, most: int, key: jax.Array) -> jax.Array:
    """Rows float32 (N, C, H, W) or (N, C, T), each moved by a number of places from -``most`` to ``most`` along each axis but the
    channels', zeros where nothing comes from. Rows of tables (N, D) are returned as they are."""
    for axis, part in zip(range(2, x.ndim), jax.random.split(key, x.ndim), strict=False):
        edges = [(most, most) if one == axis else (0, 0) for one in range(x.ndim)]
        starts = jax.random.randint(part, (len(x),), 0, 2 * most + 1)
        cut = functools.partial(jax.lax.dynamic_slice_in_dim, slice_size=x.shape[axis], axis=axis - 1)
        x = jax.vmap(cut)(jnp.pad(x, edges), starts)
    return x


def turned(x: jax.Array, key: jax.Array) -> jax.Array:
    """Images float32 (N, C, H, W), each in one of the 8 positions in which a square can lie, at random: mirrored, turned by
    quarters, both or neither; those that are not square in one of 4. Other rows are returned as they are."""
    if x.ndim != 4:
        return x
    changes: list[Callable[[jax.Array], jax.Array]] = [lambda x: jnp.flip(x, 2), lambda x: jnp.flip(x, 3)]
    if x.shape[2] == x.shape[3]:
        changes.append(lambda x: jnp.swapaxes(x, 2, 3))
    for change, part in zip(changes, jax.random.split(key, len(changes)), strict=True):
        x = jnp.where(jax.random.bernoulli(part, shape=(len(x), 1, 1, 1)), change(x), x)
    return x


def predict(model: nnx.Module, x: Floats) -> Floats:
    """Logits, float32 (N, K), for rows ``x`` in the task's layout, float32 (N, ...), N >= 1. Always in evaluation mode, and
    ``model`` is left in the mode it is in."""
    graph, state = nnx.split(view(model, training=False))
    parts = [x[start : start + _ROWS] for start in range(0, len(x), _ROWS)]
    # Full parts only: every other number of rows would be compiled anew.
    parts[-1] = np.pad(parts[-1], [(0, _ROWS - len(parts[-1])), *[(0, 0)] * (x.ndim - 1)])
    return np.concatenate([_outputs(graph, state, part) for part in parts])[: len(x)]


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
    graph: Any,
    loss: Loss,
    after_step: AfterStep | None,
    augmented: Augmentation,
    state: Any,
    x: jax.Array,
    y: jax.Array,
    rows: jax.Array,
    done: jax.Array,
) -> tuple[Any, jax.Array]:
    """One update on these rows of ``x`` and ``y``, after ``done`` others; returns the new state and the loss before it. ``graph``
    and ``state`` are the nnx split of (model, optimizer)."""
    model, optimizer = nnx.merge(graph, state)
    value, gradient = nnx.value_and_grad(loss)(model, augmented(x[rows], done), y[rows])
    optimizer.update(model, gradient)
    if after_step is not None:
        after_step(model)
    return nnx.state((model, optimizer)), value


def _compiled(update: Any, state: Any, x: jax.Array, y: jax.Array, rows: NDArray[np.int32]) -> tuple[Any, int]:
    """The compiled function of (state, x, y, rows (n, batch), count, done) that makes the first ``count`` of ``n`` updates after
    ``done`` others and gives the new state and the sum of the losses; and n.

    Several updates a call where the program allows it: a call costs as much time as an update of a small perceptron. One where it
    convolves: inside loops XLA's CPU compiler leaves the gradients of convolutions to naive code, 10 to 40 times as slow.
    """
    traced = jax.jit(update).trace(state, x, y, rows[0], 0)
    if "conv_general_dilated" in str(traced.jaxpr):
        one = traced.lower().compile()
        return lambda state, x, y, rows, count, done: one(state, x, y, rows[0], done), 1

    def several(state: Any, x: jax.Array, y: jax.Array, rows: jax.Array, count: int, done: int) -> Any:
        def step(index: jax.Array, carried: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
            state, value = update(carried[0], x, y, rows[index], done + index)
            return state, carried[1] + value

        return jax.lax.fori_loop(0, count, step, (state, jnp.float32(0)))

    return jax.jit(several).lower(state, x, y, rows, 1, 0).compile(), len(rows)


def _augmentation(context: Context) -> Augmentation:
    """The function of rows and the number of updates before that gives the rows as they are learned from."""
    most, turn = int(context.training.get("shift", 0)), bool(context.training.get("turn", False))

    def augmented(x: jax.Array, done: jax.Array) -> jax.Array:
        if not most and not turn:
            return x
        one, other = jax.random.split(jax.random.fold_in(jax.random.key(context.seed), done))
        x = turned(x, one) if turn else x
        return shifted(x, most, other) if most else x

    return augmented


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
