"""Training, prediction, checkpoints and export of PyTorch networks."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmark import Context
from benchmark_torch._models import build

Floats: TypeAlias = NDArray[np.float32]
Loss: TypeAlias = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]

_WEIGHT_DECAY = 0.05
_WARM_UP = 0.05  # share of the updates
_SCORINGS = 20
_PATIENCE = 10  # scorings without a better one, after which training stops
_ROWS = 256  # predicted at a time


class Torch:
    """The back end."""

    def train(self, context: Context) -> None:
        """Trains ``context.architecture`` from scratch and saves the best state by validation score."""
        model = fresh(context)
        fit(model, context)
        save(model, context.output)

    def export(self, context: Context, format: str) -> None:
        """Writes the checkpoint ``context.input`` as one file: one input, one output of logits; any number of rows, but for
        tflite and pte, which take one at a time."""
        from benchmark_torch._export import export  # a second of imports that training does not need

        assert context.input is not None
        torch.set_num_threads(context.threads)
        export(context.input, context.task.input_shape, format, context.output)


def fresh(context: Context, width: float = 1.0) -> nn.Sequential:
    """An untrained network of ``context.architecture`` for this task and seed, its hidden channels multiplied by ``width``."""
    torch.manual_seed(context.seed)
    return build(context.architecture, context.task.input_shape, len(context.task.classes), width)


def fit(
    model: nn.Module,
    context: Context,
    *,
    share: float = 1.0,
    loss: Loss | None = None,
    after_step: Callable[[nn.Module], None] | None = None,
) -> None:
    """Trains ``model`` in place on ``context.train`` for ``share`` of ``context.training["updates"]`` updates, at least one.

    AdamW (Loshchilov and Hutter, arXiv 1711.05101), a linear warm-up of 5 % of the updates, then a cosine to zero. Each time a
    row is drawn it is moved by up to ``context.training["shift"]`` pixels or time steps (:func:`shifted`), and lies in any of its
    positions where ``context.training["turn"]`` says so (:func:`turned`). About 20 times ``context.score`` judges the validation
    rows; the best state is what ``model`` ends with. Training ends sooner after 10 scorings in a row without a better one
    (``early``), or when ``context.remaining()`` runs out (``deadline``). Equal contexts give bit-equal models, unless a
    deadline struck.

    What is exactly zero in a weight matrix when training begins stays so after every update, momentum and weight decay or not: a
    pruned network stays pruned, whatever pass comes next. A matrix of nothing but zeros is taken for one that is yet to learn.
    Parameters that require no gradient stay as they are, and a module that has no others stays in evaluation mode.

    ``loss(model, x, y)`` -> float32 (): the mean loss of a batch, instead of cross-entropy; x is float32 in the task's layout,
    y int64 (N,), ``model`` is in training mode. ``after_step(model)`` may change weights in place after each update (to keep
    a mask, for example).
    """
    torch.set_num_threads(context.threads)
    torch.use_deterministic_algorithms(True)
    # Filling new memory finds bugs in torch itself and takes a tenth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # its stub lacks this name
    torch.manual_seed(context.seed)  # of layers that draw, such as dropout
    updates = planned(context, share)
    # In memory: a data loader spends more time on a batch of this size than the network does.
    x, y = torch.tensor(np.asarray(context.train.x)), torch.tensor(np.asarray(context.train.y))
    most, turn = int(context.training.get("shift", 0)), bool(context.training.get("turn", False))
    generator = torch.Generator().manual_seed(context.seed)
    hard = cross_entropy(context.task.class_weight)
    loss = loss or (lambda model, x, y: hard(model(x), y))
    # Channels last: an update of a two-dimensional network takes about a quarter less time, and no other one changes.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
    pruned = _zeros(model)
    # Fused: an update of a small perceptron takes a third less time.
    lr = float(context.training["lr"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=_WEIGHT_DECAY, fused=True)
    (group,) = optimizer.param_groups
    interval = max(1, updates // _SCORINGS)
    best, best_score, since_best, losses = copy.deepcopy(model.state_dict()), -math.inf, 0, list[float]()
    # Once: predict leaves modes as they are, and every call in this loop counts where an update takes 0.4 ms.
    model.train()
    for module in model.modules():
        learned = [parameter.requires_grad for parameter in module.parameters()]
        if learned and not any(learned):
            module.eval()
    for done, rows in zip(range(1, updates + 1), _batches(len(y), int(context.training["batch"]), context.seed), strict=False):
        drawn = x.index_select(0, rows)
        drawn = shifted(turned(drawn, generator) if turn else drawn, most, generator)
        value = loss(model, drawn, y.index_select(0, rows))
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        group["lr"] = lr * _rate(done - 1, updates)
        optimizer.step()
        for weight, zero in pruned:
            weight.masked_fill_(zero, 0)
        if after_step is not None:
            after_step(model)
        losses.append(value.item())
        late = context.remaining() <= 0
        if done % interval and done < updates and not late:
            continue
        score = context.score(predict(model, context.validation.x))
        context.log(done, loss=math.fsum(losses) / len(losses), score=score)
        losses.clear()
        since_best += 1
        if not score <= best_score:  # a score that is undefined (NaN) is no reason to keep an older state
            best, best_score, since_best = copy.deepcopy(model.state_dict()), score, 0
        if late or since_best == _PATIENCE:
            break
    model.load_state_dict(best)
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as above
    model.eval()
    stopped_by = "updates" if done == updates else "early" if since_best == _PATIENCE else "deadline"
    context.trained(updates=done, stopped_by=stopped_by)


def shifted(x: torch.Tensor, most: int, generator: torch.Generator) -> torch.Tensor:
    """Rows float32 (N, C, H, W) or (N, C, T), each moved by a number of places from -``most`` to ``most`` along each axis but the
    channels', zeros where nothing comes from. Rows of tables (N, D), and all for ``most`` = 0, are returned as they are."""
    if not most:
        return x
    for axis in range(2, x.ndim):
        along = [-1 if i == axis else 1 for i in range(x.ndim)]
        padded = nn.functional.pad(x.transpose(axis, -1), (most, most)).transpose(axis, -1)
        starts = torch.randint(2 * most + 1, (len(x), *[1] * (x.ndim - 1)), generator=generator)
        x = torch.take_along_dim(padded, starts + torch.arange(x.shape[axis]).view(along), axis)
    return x


def turned(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Images float32 (N, C, H, W), each in one of the 8 positions in which a square can lie, at random: mirrored, turned by
    quarters, both or neither; those that are not square in one of 4. Other rows are returned as they are."""
    if x.ndim != 4:
        return x
    axes: list[tuple[int, int]] = [(2, 2), (3, 3), *([(2, 3)] if x.shape[2] == x.shape[3] else [])]
    for one, other in axes:
        chosen = torch.randint(2, (len(x), 1, 1, 1), generator=generator).bool()
        x = torch.where(chosen, x.flip(one) if one == other else x.transpose(one, other), x)
    return x


def _zeros(model: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The matrices of ``model`` that are partly zero, and where; they share memory with it until its layout changes."""
    matrices = [weight.detach() for weight in model.parameters() if weight.ndim > 1]
    found = [(weight, weight == 0) for weight in matrices]
    return [(weight, zero) for weight, zero in found if zero.any() and not zero.all()]


def planned(context: Context, share: float) -> int:
    """The updates that :func:`fit` runs for ``share`` unless it stops early: at least one."""
    return max(1, round(share * int(context.training["updates"])))


def predict(model: nn.Module, x: Floats) -> Floats:
    """Logits, float32 (N, K), for rows ``x`` in the task's layout, float32 (N, ...), N >= 1. Always in evaluation mode, and every
    module of ``model`` is left in the mode it is in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    with torch.inference_mode():
        outputs = torch.cat([model(part) for part in torch.split(torch.tensor(np.asarray(x)), _ROWS)])
    for module in training:
        module.training = True
    return np.asarray(outputs.numpy(), np.float32)


def save(model: nn.Module, folder: Path) -> None:
    """Writes ``model`` as a checkpoint: ``model.pt``, the pickled module, and ``meta.json``."""
    torch.save(model, folder / "model.pt")
    meta = {"parameters": sum(one.numel() for one in model.parameters()), "torch": torch.__version__}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def load(folder: Path) -> nn.Module:
    """The model of a checkpoint, in evaluation mode. It is unpickled: load only what your own run wrote."""
    model: nn.Module = torch.load(folder / "model.pt", weights_only=False)
    return model.eval()


def cross_entropy(class_weight: tuple[float, ...] | None) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The function of logits (N, K) and labels (N,) that gives their mean cross-entropy, each row weighted by its class."""
    weight = None if class_weight is None else torch.tensor(class_weight)
    return lambda outputs, y: nn.functional.cross_entropy(outputs, y, weight=weight)


def _rate(done: int, updates: int) -> float:
    """The factor of the learning rate after ``done`` updates: linear up to 1, then a cosine down to 0 (arXiv 1608.03983)."""
    warm_up = max(1, round(_WARM_UP * updates))
    if done < warm_up:
        return (done + 1) / warm_up
    return (1 + math.cos(math.pi * (done - warm_up) / max(1, updates - warm_up))) / 2


def _batches(rows: int, size: int, seed: int) -> Iterator[torch.Tensor]:
    """Row numbers, without end: epoch after epoch in new random order, each without its last incomplete batch."""
    generator = torch.Generator().manual_seed(seed)
    size = min(size, rows)
    while True:
        yield from torch.split(torch.randperm(rows, generator=generator)[: rows - rows % size], size)
