"""A stranger's back end, trained in milliseconds: ridge regression on one-hot labels, exported to ONNX; and two passes."""

from __future__ import annotations

import numpy as np

from benchmark import BackendSpec, CompressorSpec, Context, NotApplicable, Param, hookimpl


@hookimpl
def benchmark_backends() -> list[BackendSpec]:
    return [
        BackendSpec(
            name="linear",
            target="pocketbench_linear:Linear",
            summary="Ridge regression in numpy.",
            requires={"numpy": "numpy", "onnx": "onnx"},
            architectures={"tabular": ("ridge",), "image": ("ridge",)},
            exports=("onnx",),
            output="logits",
            params=(Param("l2", 1.0, low=0.0),),
        )
    ]


@hookimpl
def benchmark_compressors() -> list[CompressorSpec]:
    return [
        CompressorSpec(
            name="keep-largest",
            target="pocketbench_linear:KeepLargest",
            summary="Keeps the weights of largest magnitude, sets the others to zero.",
            stage="model",
            backend="linear",
            params=(Param("share", 0.5, low=0.0, high=1.0),),
        ),
        CompressorSpec(
            name="only-images",
            target="pocketbench_linear:OnlyImages",
            summary="Applies to nothing but images.",
            stage="model",
            backend="linear",
        ),
    ]


class Linear:
    def train(self, context: Context) -> None:
        x = context.train.x.reshape(len(context.train), -1).astype(np.float64)
        x = np.hstack([x, np.ones((len(x), 1))])
        target = np.eye(len(context.task.classes))[context.train.y]
        ridge = float(context.params["l2"]) * np.eye(x.shape[1])
        weights = np.linalg.solve(x.T @ x + ridge, x.T @ target).astype(np.float32)
        np.savez(context.output / "weights.npz", weights=weights)
        validation = context.validation.x.reshape(len(context.validation), -1)
        context.log(1, score=context.score(validation @ weights[:-1] + weights[-1]))
        context.trained(updates=1, stopped_by="updates")

    def export(self, context: Context, format: str) -> None:
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        assert context.input is not None
        weights = np.load(context.input / "weights.npz")["weights"]
        shape: list[str | int | None] = ["N", *context.task.input_shape]
        graph = helper.make_graph(
            [
                helper.make_node("Flatten", ["input"], ["flat"]),
                helper.make_node("Gemm", ["flat", "weights", "bias"], ["output"]),
            ],
            "model",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", weights.shape[1]])],
            [numpy_helper.from_array(weights[:-1], "weights"), numpy_helper.from_array(weights[-1], "bias")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.save(model, context.output / "model.onnx")


class KeepLargest:
    def compress(self, context: Context) -> None:
        assert context.input is not None
        weights = np.load(context.input / "weights.npz")["weights"]
        least = np.quantile(np.abs(weights), 1 - float(context.params["share"]))
        kept = np.where(np.abs(weights) >= least, weights, np.float32(0))
        np.savez(context.output / "weights.npz", weights=kept)
        context.report(matched=1, changed=int((kept != weights).any()), sparsity=float(np.mean(kept == 0)))


class OnlyImages:
    def compress(self, context: Context) -> None:
        if context.task.modality != "image":
            raise NotApplicable("it only works on images")
        raise ValueError("not written yet")
