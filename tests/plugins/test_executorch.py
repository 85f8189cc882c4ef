"""ExecuTorch files of torch networks and their runtime, and torch itself as one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from benchmark_executorch._runtime import ExecuTorch
from benchmark_torch import _models
from benchmark_torch._pte import to_pte, to_pte_int8
from benchmark_torch._runtime import TorchEager, TorchExport, write_module, write_program
from benchmark_torch._train import predict
from executorch.extension.pybindings import _C  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import NDArray
from torch import nn

Floats: TypeAlias = NDArray[np.float32]
LoadTask: TypeAlias = Callable[[str, int], tuple[Any, Any]]


@pytest.fixture
def made(load_task: LoadTask) -> Callable[[str, str], tuple[nn.Module, Floats, Floats]]:
    """An untrained network in training mode, whose normalisations have seen rows; 40 rows of its task, and what it gives."""

    def make(task: str, name: str) -> tuple[nn.Module, Floats, Floats]:
        _, data = load_task(task, 0)
        x = data.train.x[np.sort(np.random.default_rng(0).choice(len(data.train), 40, replace=False))]
        torch.manual_seed(0)
        model = _models.build(name, x.shape[1:], len(data.classes))
        with torch.no_grad():
            for _ in range(3):
                model(torch.tensor(x))
        return model, x, predict(model, x)

    return make


def artifact(folder: Path, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.pte").write_bytes(content)
    return folder


@pytest.mark.parametrize(("task", "name"), [("nodule-shape", "cnn"), ("german-credit", "resmlp")])
def test_the_file_is_the_network(task: str, name: str, made: Any, tmp_path: Path) -> None:
    model, x, expected = made(task, name)
    content = to_pte(model, x.shape[1:])
    predictor = ExecuTorch().load(artifact(tmp_path, content), 1)
    for rows in (1, 7, 40):
        outputs = predictor.predict(x[:rows])
        assert type(outputs) is np.ndarray
        assert (outputs.dtype.name, outputs.shape) == ("float32", expected[:rows].shape)
        np.testing.assert_allclose(outputs, expected[:rows], rtol=1e-5, atol=1e-5)
    first, other = predictor.predict(x[:1]), predictor.predict(x[1:2])
    np.testing.assert_allclose(np.concatenate([first, other]), expected[:2], rtol=1e-5, atol=1e-5)  # copies, not one buffer
    if name == "resmlp":  # the quicker one
        assert to_pte(model, x.shape[1:]) == content
    assert b".py" not in content
    assert model.training  # exported was a copy
    assert len(content) < 4 * sum(one.numel() for one in model.parameters()) + 14_000
    assert b"XnnpackBackend" in content


def test_int8(made: Any, tmp_path: Path) -> None:
    model, x, expected = made("nodule-shape", "cnn")
    content, changed = to_pte_int8(model, x.shape[1:], x)
    assert changed == sum(isinstance(one, nn.Conv2d | nn.Linear) for one in model.modules())
    outputs = ExecuTorch().load(artifact(tmp_path, content), 1).predict(x)
    assert outputs.dtype == np.float32
    assert not np.allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(outputs - expected).max() < 0.1 * np.ptp(expected)
    assert np.mean(outputs.argmax(1) == expected.argmax(1)) >= 0.9
    assert len(content) < 0.5 * 4 * sum(one.numel() for one in model.parameters())


@pytest.mark.parametrize("runtime", [ExecuTorch, TorchEager, TorchExport])
def test_its_floor_returns_what_it_is_given(runtime: Any, tmp_path: Path) -> None:
    runtime().identity(tmp_path, (3, 4))
    x = np.random.default_rng(0).random((2, 3, 4), np.float32)
    assert np.array_equal(runtime().load(tmp_path, 1).predict(x), x)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 6_000


@pytest.mark.parametrize("runtime", [ExecuTorch, TorchEager, TorchExport])
def test_it_runs_on_as_many_threads_as_it_is_told(runtime: Any, tmp_path: Path) -> None:
    runtime().identity(tmp_path, (3,))
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            runtime().load(tmp_path, threads)
            assert (_C._threadpool_get_thread_count() if runtime is ExecuTorch else torch.get_num_threads()) == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("task", "name"), [("watch-imu", "cnn1d"), ("german-credit", "resmlp")])
def test_torch_runs_its_own_files(task: str, name: str, made: Any, tmp_path: Path) -> None:
    model, x, expected = made(task, name)
    files = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        folder.mkdir()
        write_program(model, x.shape[1:], folder)
        assert model.training  # exported was a copy
        write_module(model, folder)
        files.append({path.name: path.read_bytes() for path in folder.iterdir()})
        model.train()
    assert files[0] == files[1]
    assert sorted(files[0]) == ["model.pt", "model.pt2"]
    assert all(b".py" not in content and str(tmp_path).encode() not in content for content in files[0].values())
    for runtime in (TorchEager(), TorchExport()):
        predictor = runtime.load(tmp_path / "one", 1)
        for rows in (1, 7, 40):
            outputs = predictor.predict(x[:rows])
            assert type(outputs) is np.ndarray
            assert outputs.dtype == np.float32
            np.testing.assert_allclose(outputs, expected[:rows], rtol=1e-5, atol=1e-5)
