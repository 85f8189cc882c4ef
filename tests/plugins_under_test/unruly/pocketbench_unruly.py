"""A softmax regression in numpy and an honest pass on it; and passes and back ends of which each breaks a rule of the kit."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import BackendSpec, CompressorSpec, Context, NotApplicable, Param, Predictor, RuntimeSpec, hookimpl

Weights = Any  # float32 (D + 1, K)
SHARE, WAY, LOUD = Param("share", 0.5, low=0.0, high=1.0), Param("way", "near", choices=("near", "far")), Param("loud", False)
ON_MODELS = (
    ("honest", "Honest"),
    ("ignores-its-seed", "IgnoresItsSeed"),
    ("never-the-same", "NeverTheSame"),
    ("fails-with-other-seeds", "FailsWithOtherSeeds"),
    ("edits-what-it-reads", "EditsWhatItReads"),
    ("needs-its-place", "NeedsItsPlace"),
    ("other-elsewhere", "OtherElsewhere"),
    ("two-threads", "TwoThreads"),
    ("refuses-no-share", "RefusesNoShare"),
    ("refuses-both", "RefusesBoth"),
    ("says-nothing", "SaysNothing"),
    ("boasts", "Boasts"),
    ("raises", "Raises"),
    ("ends", "Ends"),
    ("hangs", "Hangs"),
    ("links", "Links"),
    ("never-applies", "NeverApplies"),
    ("nan", "Nan"),
)
ON_ARTIFACTS = (
    ("leaves-training-on", "LeavesTrainingOn", "onnx"),
    ("sees-its-batch", "SeesItsBatch", "onnx"),
    ("points", "Points", "pte"),
)


@hookimpl
def benchmark_backends() -> list[BackendSpec]:
    return [
        BackendSpec(
            name=name,
            target=f"pocketbench_unruly:{attribute}",
            summary="Softmax regression.",
            requires={"numpy": "numpy", "onnx": "onnx"},
            architectures={"tabular": ("softmax",)},
            exports=("onnx",),
            output="logits",
            params=(Param("updates", 100, low=1), Param("lr", 0.1, low=0.0)),
        )
        for name, attribute in (("plain", "Plain"), ("stubborn", "Stubborn"), ("hopeless", "Hopeless"))
    ]


@hookimpl
def benchmark_compressors() -> list[CompressorSpec]:
    on_models = [
        CompressorSpec(
            name=name,
            target=f"pocketbench_unruly:{attribute}",
            summary="A pass of the zoo.",
            stage="model",
            backend=backend,
            uses_reference=True,
            params=(SHARE, WAY, LOUD, Param("depth", 4, low=1)),
        )
        for backend, name, attribute in (*(("plain", *one) for one in ON_MODELS), ("hopeless", *ON_MODELS[0]))
    ]
    on_artifacts = [
        CompressorSpec(
            name=name,
            target=f"pocketbench_unruly:{attribute}",
            summary="A pass of the zoo.",
            stage="artifact",
            accepts=("onnx",),
            produces=produces,
        )
        for name, attribute, produces in ON_ARTIFACTS
    ]
    return [*on_models, *on_artifacts]


@hookimpl
def benchmark_runtimes() -> list[RuntimeSpec]:
    return [RuntimeSpec(name="follows", target="pocketbench_unruly:Follows", summary="Follows a pointer.", formats=("pte",))]


def load(folder: Path) -> Weights:
    return np.load(folder / "weights.npz")["weights"]


def save(weights: Weights, folder: Path, **more: Any) -> None:
    np.savez(folder / "weights.npz", weights=weights, **more)


def fit(weights: Weights, context: Context, rng: np.random.Generator) -> Weights:
    x, y = np.asarray(context.train.x), np.eye(weights.shape[1], dtype=np.float32)[context.train.y]
    for _ in range(int(context.training["updates"])):
        rows = rng.choice(len(x), 32)
        outputs = np.exp(x[rows] @ weights[:-1] + weights[-1])
        error = outputs / outputs.sum(1, keepdims=True) - y[rows]
        rate = np.float32(context.training["lr"]) / 32
        weights = weights - rate * np.vstack([x[rows].T @ error, error.sum(0)])
    context.trained(updates=int(context.training["updates"]), stopped_by="updates")
    return weights.astype(np.float32)


class Plain:
    def train(self, context: Context) -> None:
        self._train(context, context.seed)

    def _train(self, context: Context, seed: int) -> None:
        start = np.zeros((context.task.input_shape[0] + 1, len(context.task.classes)), np.float32)
        save(fit(start, context, np.random.default_rng(seed)), context.output)

    def export(self, context: Context, format: str) -> None:
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        assert context.input is not None
        stored = np.load(context.input / "weights.npz")
        beside = Path(str(stored["beside"])) if "beside" in stored else None
        weights = np.load(beside) if beside and (beside.exists() or "weights" not in stored) else stored["weights"]
        graph = helper.make_graph(
            [helper.make_node("Gemm", ["input", "weights", "bias"], ["output"])],
            "model",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *context.task.input_shape])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", weights.shape[1]])],
            [numpy_helper.from_array(weights[:-1], "weights"), numpy_helper.from_array(weights[-1], "bias")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.save(model, context.output / "model.onnx")


class Stubborn(Plain):
    """Ignores its seed, refuses a learning rate of zero, and its export marks the checkpoint."""

    def train(self, context: Context) -> None:
        if not context.params["lr"]:
            raise ValueError("it learns nothing")
        self._train(context, 0)

    def export(self, context: Context, format: str) -> None:
        super().export(context, format)
        assert context.input is not None
        (context.input / "exported.txt").touch()


class Hopeless(Plain):
    def train(self, context: Context) -> None:
        raise ValueError("it cannot learn")


class Honest:
    """Fine-tunes. Has nothing to do where the share is 1, which it may say."""

    def compress(self, context: Context) -> None:
        if context.params["share"] == 1:
            raise NotApplicable("nothing is left out")
        save(self.made(context), context.output)
        self.report(context)

    def made(self, context: Context) -> Weights:
        assert context.input is not None
        return fit(load(context.input), context, np.random.default_rng(context.seed))

    def report(self, context: Context) -> None:
        context.report(matched=1, changed=1)


class IgnoresItsSeed(Honest):
    def made(self, context: Context) -> Weights:
        assert context.input is not None
        return fit(load(context.input), context, np.random.default_rng(0))


class NeverTheSame(Honest):
    def made(self, context: Context) -> Weights:
        assert context.input is not None
        return fit(load(context.input), context, np.random.default_rng())


class FailsWithOtherSeeds(Honest):
    def made(self, context: Context) -> Weights:
        if context.seed:
            raise ValueError("it only knows seed 0")
        return super().made(context)


class EditsWhatItReads(Honest):
    def compress(self, context: Context) -> None:
        super().compress(context)
        assert context.input is not None
        assert context.reference is not None
        (context.input / "mine.txt").touch()
        (context.reference / "weights.npz").unlink()
        with Path(context.train.x.filename).open("ab") as file:  # type: ignore[attr-defined]  # a memory map has one
            file.write(b"0")


class NeedsItsPlace(Honest):
    def compress(self, context: Context) -> None:
        np.save(context.output / "kept.npy", self.made(context))
        np.savez(context.output / "weights.npz", beside=str(context.output / "kept.npy"))
        self.report(context)


class OtherElsewhere(Honest):
    def compress(self, context: Context) -> None:
        weights = self.made(context)
        np.save(context.output / "kept.npy", weights)
        save(np.zeros_like(weights), context.output, beside=str(context.output / "kept.npy"))
        self.report(context)


class TwoThreads(Honest):
    def made(self, context: Context) -> Weights:
        end = time.monotonic() + 0.5

        def work() -> None:
            while time.monotonic() < end:
                hashlib.sha256(bytes(5_000_000)).digest()  # it lets go of the interpreter's lock

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return super().made(context)


class RefusesNoShare(Honest):
    def made(self, context: Context) -> Weights:
        if not context.params["share"]:
            raise ValueError("some share is needed")
        return super().made(context)


class RefusesBoth(Honest):
    def made(self, context: Context) -> Weights:
        if context.params["way"] == "far" and context.params["loud"]:
            raise ValueError("either of them")
        return super().made(context)


class SaysNothing(Honest):
    def report(self, context: Context) -> None:
        pass


class Boasts(Honest):
    def report(self, context: Context) -> None:
        context.report(matched=1, changed=2)


class Raises:
    def compress(self, context: Context) -> None:
        raise ValueError("always")


class Ends:
    def compress(self, context: Context) -> None:
        os._exit(3)


class Hangs:
    def compress(self, context: Context) -> None:
        time.sleep(600)


class Links(Honest):
    def compress(self, context: Context) -> None:
        super().compress(context)
        (context.output / "weights.npz").rename(context.output / "kept.npz")
        (context.output / "weights.npz").symlink_to("kept.npz")


class NeverApplies:
    def compress(self, context: Context) -> None:
        raise NotApplicable("not to this")


class Nan(Honest):
    def made(self, context: Context) -> Weights:
        return super().made(context) * np.float32("nan")


class LeavesTrainingOn:
    """As an exporter leaves a dropout that was not put into evaluation mode."""

    nodes: tuple[tuple[str, tuple[str, ...], str], ...] = (("Dropout", ("raw", "ratio", "training"), "output"),)

    def compress(self, context: Context) -> None:
        import onnx
        from onnx import helper, numpy_helper

        assert context.input is not None
        model = onnx.load(context.input / "model.onnx")
        model.graph.node[-1].output[0] = "raw"
        for operator, inputs, output in self.nodes:
            model.graph.node.append(helper.make_node(operator, inputs, [output]))
        values = {"ratio": np.float32(0.5), "training": np.bool_(True), "axes": np.array([0])}
        model.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in values.items())
        onnx.save(model, context.output / "model.onnx")
        context.report(matched=1, changed=1)


class SeesItsBatch(LeavesTrainingOn):
    """As a normalisation in training mode."""

    nodes = (("ReduceMean", ("raw", "axes"), "mean"), ("Sub", ("raw", "mean"), "output"))


class Points:
    """Its artifact is the name of a file outside."""

    def compress(self, context: Context) -> None:
        assert context.input is not None
        beside = context.output.parent / "beside"
        beside.touch()
        (context.output / "model.pte").write_text("beside", encoding="utf-8")
        context.report(matched=1, changed=1)


class Follows:
    def load(self, folder: Path, threads: int) -> Predictor:
        return _There((folder.parent / (folder / "model.pte").read_text(encoding="utf-8")).exists())


class _There:
    def __init__(self, there: bool) -> None:
        self.there = there

    def predict(self, x: Any) -> Any:
        return np.tile(np.array([self.there, not self.there], np.float32), (len(x), 1))
