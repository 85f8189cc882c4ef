"""A back end for networks that are LightningModules: Lightning's own Trainer fits them, and ONNX is what ships."""

import copy
from typing import Any

from benchmark import BackendSpec, Context, Param, hookimpl

LIBRARIES = ("lightning", "torch", "onnxscript", "onnx")


@hookimpl
def benchmark_backends() -> list[BackendSpec]:
    spec = BackendSpec(
        name="lightning",
        target="pocketbench_lightning:Lightning",
        summary="A LightningModule, trained by Lightning's Trainer.",
        architectures={"image": ("mlp",), "sequence": ("mlp",), "tabular": ("mlp",)},
        exports=("onnx",),
        output="logits",
        params=(Param("updates", 1500, low=1), Param("batch", 64, low=1), Param("lr", 1e-3, low=0.0)),
        requires=dict([*zip(LIBRARIES, LIBRARIES, strict=True), ("benchmark_torch", None), ("benchmark_onnx", None)]),
    )
    return [spec]


class Lightning:
    def train(self, context: Context) -> None:
        import lightning  # here, since the host process imports this module too
        import torch
        from benchmark_torch import predict, save
        from torch.utils.data import DataLoader, TensorDataset

        class Mlp(lightning.LightningModule):  # one of yours would stand in a module of its own, and stay as it is
            def __init__(self) -> None:
                super().__init__()
                first, last = torch.nn.LazyLinear(32), torch.nn.Linear(32, len(context.task.classes))
                self.network = torch.nn.Sequential(torch.nn.Flatten(), first, torch.nn.ReLU(), last)
                self.network(torch.zeros(1, *context.task.input_shape))

            def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
                return torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1])

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.AdamW(self.parameters(), lr=float(context.training["lr"]))

        class Host(lightning.Callback):  # keeps the best state, and the deadline
            best: tuple[float, Any] = (-1.0, None)

            def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
                trainer.should_stop = late = context.remaining() <= 0
                if late or trainer.global_step in (updates, *range(0, updates, max(1, updates // 20))):
                    score = context.score(predict(module.network, context.validation.x))
                    context.log(trainer.global_step, score=score)
                    self.best = max(self.best, (score, copy.deepcopy(module.state_dict())), key=lambda one: one[0])

        lightning.seed_everything(context.seed, verbose=False)
        torch.set_num_threads(context.threads)
        updates, module, host = int(context.training["updates"]), Mlp(), Host()
        rows = TensorDataset(torch.tensor(context.train.x), torch.tensor(context.train.y))
        off: Any = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        trainer = lightning.Trainer(accelerator="cpu", max_steps=updates, deterministic=True, callbacks=[host], **off)
        trainer.fit(module, DataLoader(rows, int(context.training["batch"]), shuffle=True))
        module.load_state_dict(host.best[1])
        save(module.network, context.output)
        context.trained(updates=trainer.global_step, stopped_by="updates" if trainer.global_step == updates else "deadline")

    def export(self, context: Context, format: str) -> None:
        import onnx
        import torch
        from benchmark_onnx import fold
        from benchmark_torch import load

        assert context.input is not None
        example, rows = torch.zeros(2, *context.task.input_shape), ({0: torch.export.Dim("N")},)
        names: Any = {"input_names": ["input"], "output_names": ["output"]}
        program = torch.onnx.export(load(context.input), (example,), dynamo=True, dynamic_shapes=rows, verbose=False, **names)
        assert program is not None  # it is None only where a file is asked for
        onnx.save(fold(program.model_proto), context.output / "model.onnx")
