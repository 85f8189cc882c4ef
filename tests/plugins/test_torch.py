"""The PyTorch back end: networks, training, checkpoints and the ONNX export, on the embedded tasks."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import benchmark_torch
import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
import pytest
import torch
from benchmark_torch._controls import Longer, Narrow
from benchmark_torch._distil import Distil, distillation
from benchmark_torch._models import build
from benchmark_torch._train import Torch, cross_entropy, fresh, shifted
from numpy.typing import NDArray
from torch import nn

from benchmark import Context, NotApplicable

Floats: TypeAlias = NDArray[np.float32]
MakeContext: TypeAlias = Callable[..., tuple[Context, Any]]

NETWORKS = {"nodule-shape": "cnn", "watch-imu": "cnn1d", "german-credit": "mlp"}
TRAINING = {"updates": 10, "batch": 32, "lr": 3e-3}


def arrays(model: nn.Module) -> dict[str, NDArray[Any]]:
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


def equal(one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def ever_better(context: Context) -> Context:
    """The context, with a score that never stops a training early."""
    count = itertools.count()
    return dataclasses.replace(context, score=lambda outputs: float(next(count)))


@pytest.fixture
def credit(make_context: MakeContext) -> tuple[Context, Any]:
    return make_context("german-credit", "mlp", training={"updates": 60, "batch": 64, "lr": 1e-2})


# Weights, biases, scales and shifts: convolution 3 * 3 * C * 16 + 32, 9 * 16 * 32 + 64, 9 * 32 * 64 + 128, linear 64 * K + K.
@pytest.mark.parametrize(
    ("architecture", "shape", "classes", "width", "count"),
    [
        ("cnn", (1, 28, 28), 10, 1.0, 24_058),
        ("cnn", (3, 32, 32), 2, 1.0, 23_826),
        ("cnn", (1, 28, 28), 10, 0.5, 72 + 16 + 1152 + 32 + 4608 + 64 + 330),
        ("cnn1d", (6, 128), 7, 1.0, 5 * (6 * 32 + 32 * 48 + 48 * 64) + 2 * 144 + 65 * 7),
        ("cnn1d", (6, 128), 7, 0.5, 5 * (6 * 16 + 16 * 24 + 24 * 32) + 2 * 72 + 33 * 7),
        ("mlp", (60,), 2, 1.0, 61 * 64 + 65 * 32 + 33 * 2),
        ("mlp", (60,), 2, 0.001, 61 + 2 + 4),
    ],
)
def test_parameter_counts(architecture: str, shape: tuple[int, ...], classes: int, width: float, count: int) -> None:
    model = build(architecture, shape, classes, width)
    assert parameters(model) == count
    assert benchmark_torch.predict(model, np.zeros((3, *shape), np.float32)).shape == (3, classes)


def test_pooling_means_over_all_positions() -> None:
    """Also where two halvings leave a remainder: 30 -> 15 -> 7."""
    torch.manual_seed(0)
    model = build("cnn", (1, 30, 29), 3).eval()
    features, x = model[:-3], torch.rand(2, 1, 30, 29)
    expected = model[-1](features(x).mean((2, 3)))
    torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-6)


def test_class_weights_reach_the_loss(credit: tuple[Context, Any]) -> None:
    """The first loss logged is that of an untrained network: the mean weighted by class, as torch's own functions give it."""
    context, journal = credit
    context = dataclasses.replace(
        context,
        task=dataclasses.replace(context.task, class_weight=(1.0, 5.0)),
        training={"updates": 1, "batch": len(context.train), "lr": 1e-3},
    )
    model: Any = fresh(context)
    model[-1].bias.data.copy_(torch.tensor([1.0, -1.0]))  # class 1 fares worse
    logits = torch.tensor(benchmark_torch.predict(model, context.train.x))
    y = torch.tensor(np.asarray(context.train.y))
    losses = nn.functional.cross_entropy(logits, y, reduction="none").numpy()
    expected = np.average(losses, weights=np.where(context.train.y == 1, 5.0, 1.0))
    benchmark_torch.fit(model, context)
    assert journal.curve[0]["loss"] == pytest.approx(expected, rel=1e-5)
    assert expected - losses.mean() > 0.1


def test_training_repeats_bit_for_bit_and_keeps_the_best(make_context: MakeContext) -> None:
    runs = []
    for _ in range(2):
        context, journal = make_context("watch-imu", "cnn1d", training=TRAINING)
        Torch().train(context)
        model = benchmark_torch.load(context.output)
        runs.append((arrays(model), journal.curve, (context.output / "model.pt").read_bytes()))
        scores = [point["score"] for point in journal.curve]
        assert context.score(benchmark_torch.predict(model, context.validation.x)) == max(scores) > 1 / 7
        assert [point["step"] for point in journal.curve] == list(range(1, 11))
        assert journal.training == {"updates": 10, "stopped_by": "updates"}
        torch.rand(3)  # draws elsewhere in the process must not matter
    assert runs[0][1:] == runs[1][1:]
    assert equal(runs[0][0], runs[1][0])


def test_images_repeat_bit_for_bit_and_keep_plain_strides(make_context: MakeContext) -> None:
    runs = []
    for _ in range(2):
        context, _ = make_context("nodule-shape", "cnn", training={**TRAINING, "updates": 3})
        model = fresh(context)
        benchmark_torch.fit(model, context)
        runs.append(arrays(model))
        assert all(parameter.is_contiguous() for parameter in model.parameters())
    assert equal(*runs)


def test_seeds_differ_in_weights_and_in_batches(make_context: MakeContext) -> None:
    contexts = [make_context("german-credit", "mlp", training=TRAINING, seed=seed)[0] for seed in (0, 1)]
    start = fresh(contexts[0])
    assert not equal(arrays(start), arrays(fresh(contexts[1])))
    trained = []
    for context in contexts:
        model = copy.deepcopy(start)
        benchmark_torch.fit(model, context)
        trained.append(arrays(model))
    assert not equal(*trained)


def test_training_learns(credit: tuple[Context, Any]) -> None:
    context, journal = credit
    benchmark_torch.fit(fresh(context), context)
    assert max(point["score"] for point in journal.curve) > 0.7
    assert journal.curve[-1]["loss"] < 0.9 * journal.curve[0]["loss"]


def test_deadline_keeps_the_best(credit: tuple[Context, Any]) -> None:
    context, journal = credit
    left = iter([10.0] * 15)
    model = fresh(context)
    benchmark_torch.fit(model, dataclasses.replace(context, remaining=lambda: next(left, 0.0)))
    assert journal.training == {"updates": 16, "stopped_by": "deadline"}
    assert journal.curve[-1]["step"] == 16
    best = max(point["score"] for point in journal.curve)
    assert context.score(benchmark_torch.predict(model, context.validation.x)) == best


def test_early_stop_after_ten_scorings_without_a_better_one(credit: tuple[Context, Any]) -> None:
    """The state kept is the second of those scored, whatever the loss says."""
    context, journal = credit
    scores = iter([0.5, 0.6, *[0.6] * 18])
    outputs: list[Floats] = []

    def score(values: Floats) -> float:
        outputs.append(values)
        return next(scores)

    model = fresh(context)
    benchmark_torch.fit(model, dataclasses.replace(context, score=score))
    assert journal.training == {"updates": 36, "stopped_by": "early"}
    assert len(outputs) == 12
    assert np.array_equal(benchmark_torch.predict(model, context.validation.x), outputs[1])


def test_undefined_scores_keep_the_last_state(credit: tuple[Context, Any]) -> None:
    context, journal = credit
    outputs: list[Floats] = []

    def score(values: Floats) -> float:
        outputs.append(values)
        return float("nan")

    model = fresh(context)
    benchmark_torch.fit(model, dataclasses.replace(context, score=score))
    assert (journal.training["stopped_by"], len(outputs)) == ("updates", 20)
    assert np.array_equal(benchmark_torch.predict(model, context.validation.x), outputs[-1])


def test_share_counts_updates(make_context: MakeContext) -> None:
    for share, updates in ((0.5, 5), (0.0, 1)):
        context, journal = make_context("german-credit", "mlp", training=TRAINING)
        benchmark_torch.fit(fresh(context), ever_better(context), share=share)
        assert journal.training["updates"] == updates


def test_after_step_keeps_a_mask_exactly(make_context: MakeContext) -> None:
    """Momentum and weight decay would move masked weights off zero if only the gradient were masked."""
    context, _ = make_context("german-credit", "mlp", training=TRAINING)
    model = fresh(context)
    mask = torch.tensor(np.random.default_rng(0).random((64, 60)) < 0.5)

    def keep(model: Any) -> None:
        with torch.no_grad():
            model[0].weight.mul_(mask)

    before = arrays(model)["0.weight"]
    benchmark_torch.fit(model, context, after_step=keep)
    after = arrays(model)["0.weight"]
    assert np.array_equal(after == 0, ~mask.numpy())
    assert np.all((after != before)[mask.numpy()])


def test_own_loss_is_what_is_trained(make_context: MakeContext) -> None:
    context, journal = make_context("watch-imu", "cnn1d", training={**TRAINING, "updates": 2})
    seen = []

    def loss(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        seen.append((x.shape, y.dtype, model.training))
        outputs: torch.Tensor = model(x)
        return 3.0 + 0.0 * outputs.sum()

    model = fresh(context)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    benchmark_torch.fit(model, context, loss=loss)
    assert seen == [((32, 6, 128), torch.int64, True)] * 2
    assert [point["loss"] for point in journal.curve] == [3.0, 3.0]
    # No gradient is left, so that weight decay alone acts: all weights shrink by the same factor, none is moved elsewhere.
    shrunk = torch.cat([(parameter / before[name]).flatten() for name, parameter in model.named_parameters() if name != "9.bias"])
    shrunk = shrunk[torch.isfinite(shrunk)]  # shifts start at zero
    torch.testing.assert_close(shrunk, torch.full_like(shrunk, shrunk[0].item()), rtol=1e-5, atol=0.0)
    assert 0.99 < shrunk[0].item() < 1


class Restless(nn.Module):
    """Everything that behaves differently in training: dropout, and statistics of the batch. Its inputs are centred on 5."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.output = nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.drop(self.norm(x + 5)).mean(2))  # type: ignore[no-any-return]  # modules return Any


def test_prediction_is_in_evaluation_mode_and_changes_nothing(make_context: MakeContext) -> None:  # case M-04
    context, _ = make_context("watch-imu", "cnn1d")
    model = Restless().train()
    before = arrays(model)
    x = context.validation.x[:33]
    together = benchmark_torch.predict(model, x)
    one_by_one = np.concatenate([benchmark_torch.predict(model, x[row : row + 1]) for row in range(33)])
    assert together.dtype == np.float32
    assert together.shape == (33, 7)
    np.testing.assert_allclose(one_by_one, together, rtol=1e-5, atol=1e-6)  # a sum's order depends on the batch size
    assert np.array_equal(one_by_one.argmax(1), together.argmax(1))
    assert np.array_equal(benchmark_torch.predict(model, x), together)
    np.testing.assert_allclose(benchmark_torch.predict(model, np.tile(x, (9, 1, 1)))[-33:], together, rtol=1e-5, atol=1e-6)
    assert equal(before, arrays(model))
    assert before["norm.num_batches_tracked"] == 0


def test_checkpoint_round_trip(make_context: MakeContext, tmp_path: Path) -> None:
    """Neither gradients nor the optimizer's state are in it: they would double the file."""
    context, _ = make_context("nodule-shape", "cnn", training={**TRAINING, "updates": 1})
    model = fresh(context)
    benchmark_torch.fit(model, context)
    model.train()
    benchmark_torch.save(model, tmp_path)
    loaded = benchmark_torch.load(tmp_path)
    assert equal(arrays(model), arrays(loaded))
    assert not any(module.training for module in loaded.modules())
    assert {path.name for path in tmp_path.iterdir()} >= {"model.pt", "meta.json"}
    assert json.loads((tmp_path / "meta.json").read_text(encoding="utf-8"))["parameters"] == 23_826
    assert (tmp_path / "model.pt").stat().st_size < 4 * 23_826 + 20_000


@pytest.mark.parametrize("task", NETWORKS)
def test_export_equals_the_model(task: str, make_context: MakeContext) -> None:
    context, _ = make_context(task, NETWORKS[task], training=TRAINING)
    Torch().train(context)
    target, _ = make_context(task, NETWORKS[task], input=context.output)
    Torch().export(target, "onnx")
    (path,) = target.output.iterdir()  # no weights in a second file
    assert path.name == "model.onnx"

    graph = onnx.load(path).graph
    operators = [node.op_type for node in graph.node]
    assert "BatchNormalization" not in operators
    assert operators.count("Conv") == (0 if task == "german-credit" else 3)
    model = benchmark_torch.load(context.output)
    assert path.stat().st_size <= 4 * parameters(model) + 160 * len(operators) + 4096
    weights = sum(int(np.prod(tensor.dims)) for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT)
    scales = sum(len(module.weight) for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d))
    assert weights == parameters(model) - scales  # merged into the convolutions, whose biases the shifts became

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (one,), (other,) = session.get_inputs(), session.get_outputs()
    shape = [one.name, one.type, one.shape[1:], other.name, other.type, other.shape[1:]]
    classes = len(context.task.classes)
    assert shape == ["input", "tensor(float)", [*context.task.input_shape], "output", "tensor(float)", [classes]]
    assert isinstance(one.shape[0], str)
    assert one.shape[0] == other.shape[0]
    x = context.train.x[:256]
    expected = benchmark_torch.predict(model, x)
    assert np.std(expected) > 0.01
    for rows in (1, 7, 256):
        outputs = session.run(None, {"input": x[:rows]})[0]
        np.testing.assert_allclose(outputs, expected[:rows], rtol=1e-5, atol=1e-5)


def test_narrow_trains_a_small_network_for_both_lengths(make_context: MakeContext) -> None:
    context, journal = make_context("german-credit", "mlp", training=TRAINING, params={"width": 0.5, "finetune": 0.5})
    Narrow().compress(ever_better(context))
    assert journal.training["updates"] == 15
    assert parameters(benchmark_torch.load(context.output)) == 61 * 32 + 33 * 16 + 17 * 2


def test_longer_trains_the_whole_network_for_both_lengths(make_context: MakeContext) -> None:
    context, journal = make_context("german-credit", "mlp", training=TRAINING, params={"finetune": 0.5})
    Longer().compress(ever_better(context))
    assert journal.training["updates"] == 15
    assert parameters(benchmark_torch.load(context.output)) == 61 * 64 + 65 * 32 + 33 * 2


def test_distillation_is_scaled_as_in_the_paper() -> None:
    """Case C-13: student logits (2, 0, 0, 0), teacher (0, 2, 0, 0), temperature 4."""
    student, teacher = torch.tensor([[2.0, 0, 0, 0]] * 3), torch.tensor([[0, 2.0, 0, 0]] * 3)
    x, y = torch.zeros(3, 1), torch.tensor([0, 1, 1])
    hard = [np.log(np.exp(2) + 3) - value for value in (2, 0, 0)]
    for soft in (0.0, 0.25, 1.0):
        loss = distillation(Constant(teacher), cross_entropy(None), 4.0, soft)
        expected = (1 - soft) * np.mean(hard) + soft * 1.116389
        assert float(loss(Constant(student), x, y)) == pytest.approx(expected, abs=1e-5)


def test_only_the_student_learns(make_context: MakeContext) -> None:
    training = {"updates": 60, "batch": 32, "lr": 1e-2}
    source, _ = make_context("watch-imu", "cnn1d", training=training)
    Torch().train(source)
    before = {path.name: path.read_bytes() for path in source.output.iterdir()}
    params: dict[str, str | float] = {"student": "", "width": 0.5, "temperature": 4.0, "soft": 1.0, "finetune": 0.5}
    context, journal = make_context("watch-imu", "cnn1d", training=training, params=params, reference=source.output)
    teacher = benchmark_torch.load(source.output)
    state = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = fresh(context, 0.5)
    benchmark_torch.fit(student, context, loss=distillation(teacher, cross_entropy(None), 4.0, 1.0))
    assert all(torch.equal(value, state[name]) for name, value in teacher.state_dict().items())  # running statistics too
    assert all(parameter.grad is None for parameter in teacher.parameters())

    Distil().compress(ever_better(context))
    assert journal.training["updates"] == 90
    assert {path.name: path.read_bytes() for path in source.output.iterdir()} == before
    distilled = benchmark_torch.load(context.output)
    assert parameters(distilled) == parameters(fresh(context, 0.5))
    # Of labels it saw nothing (soft = 1), and yet it says what its teacher says.
    x = np.asarray(context.train.x)
    taught = benchmark_torch.predict(teacher, x).argmax(1)
    agreement = [np.mean(benchmark_torch.predict(model, x).argmax(1) == taught) for model in (distilled, fresh(context, 0.5))]
    assert agreement[0] > agreement[1] + 0.2


def test_behind_other_passes_their_network_is_taught(make_context: MakeContext) -> None:
    source, _ = make_context("watch-imu", "cnn1d", training=TRAINING)
    Torch().train(source)
    pruned, _ = make_context("watch-imu", "cnn1d", training=TRAINING)
    benchmark_torch.save(fresh(pruned, 0.25), pruned.output)
    params: dict[str, str | float] = {"student": "", "width": 0.5, "temperature": 4.0, "soft": 0.5, "finetune": 0.5}
    context, journal = make_context(
        "watch-imu", "cnn1d", training=TRAINING, params=params, input=pruned.output, reference=source.output
    )
    Distil().compress(context)
    assert journal.training["updates"] == 5
    before, after = (benchmark_torch.load(folder) for folder in (pruned.output, context.output))
    assert {name: value.shape for name, value in arrays(after).items()} == {
        name: value.shape for name, value in arrays(before).items()
    }
    assert not equal(arrays(after), arrays(before))
    with pytest.raises(NotApplicable, match="student and width are those of a fresh network"):
        Distil().compress(dataclasses.replace(context, params={**params, "width": 0.25}))
    with pytest.raises(NotApplicable, match="student and width are those of a fresh network"):
        Distil().compress(dataclasses.replace(context, params={**params, "student": "cnn1d"}))


def test_a_student_may_be_another_network(make_context: MakeContext) -> None:
    source, _ = make_context("watch-imu", "resnet-8", training=TRAINING)
    Torch().train(source)
    params: dict[str, str | float] = {"student": "cnn1d", "width": 0.75, "temperature": 4.0, "soft": 0.5, "finetune": 0.0}
    context, _ = make_context("watch-imu", "resnet-8", training=TRAINING, params=params, reference=source.output)
    Distil().compress(context)
    student, _ = make_context("watch-imu", "cnn1d")
    assert str(benchmark_torch.load(context.output)) == str(fresh(student, 0.75).eval())
    with pytest.raises(NotApplicable, match="lenet-5 is no network for sequence tasks"):
        Distil().compress(dataclasses.replace(context, params={**params, "student": "lenet-5"}))


class Constant(nn.Module):
    """Gives the same logits whatever comes in."""

    def __init__(self, outputs: torch.Tensor) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outputs


def test_rows_are_moved_each_by_its_own_steps_and_nothing_wraps_around() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(400, 2, 9, 7)
    x[:, 0, 4, 3], x[:, 1, 0, 3] = 1, 2  # the middle of one channel, and the edge of the other
    moved = shifted(x, 2, generator)
    places = moved[:, 0].nonzero()
    assert places.shape == (400, 3)  # none is lost
    steps = {(int(row) - 4, int(column) - 3) for _, row, column in places}
    assert steps == set(itertools.product(range(-2, 3), repeat=2))
    down = places[:, 1] - 4
    edge = moved[:, 1]
    assert torch.equal(edge.sum(dim=(1, 2)) == 2, down >= 0)  # channels move together; what leaves does not come back
    assert torch.equal(shifted(x, 2, torch.Generator().manual_seed(0)), moved)
    ramp = torch.arange(1.0, 6.0).expand(50, 1, 5)
    rows = {tuple(row) for row in shifted(ramp, 1, generator)[:, 0].tolist()}
    assert rows == {(1, 2, 3, 4, 5), (2, 3, 4, 5, 0), (0, 1, 2, 3, 4)}
    table = torch.ones(3, 4)
    assert shifted(table, 3, generator) is table
    assert shifted(x, 0, generator) is x


def test_shift_enters_training(make_context: MakeContext) -> None:
    models = []
    for shift in (0, 0, 1, 1):
        context, _ = make_context("nodule-shape", "cnn", training={**TRAINING, "shift": shift})
        model = fresh(context)
        benchmark_torch.fit(model, context)
        models.append(arrays(model))
    assert equal(models[0], models[1])
    assert equal(models[2], models[3])
    assert not equal(models[0], models[2])
