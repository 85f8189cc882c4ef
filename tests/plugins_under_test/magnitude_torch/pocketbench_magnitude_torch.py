"""Magnitude pruning for PyTorch: the smallest weights become zero and stay zero while the others are trained on."""

from benchmark import CompressorSpec, Context, Param, hookimpl


@hookimpl
def benchmark_compressors() -> list[CompressorSpec]:
    spec = CompressorSpec(
        name="prune-smallest",
        target="pocketbench_magnitude_torch:PruneSmallest",
        summary="The smallest weights of each layer set to zero, the others fine-tuned.",
        stage="model",
        backend="torch",
        params=(Param("sparsity", 0.9, low=0.0, high=1.0),),
        requires={"torch": "torch", "benchmark_torch": None},
    )
    return [spec]


class PruneSmallest:
    def compress(self, context: Context) -> None:
        import torch  # here, since the host process imports this module too
        from benchmark_torch import fit, load, save

        assert context.input is not None
        model, sparsity = load(context.input), float(context.params["sparsity"])
        weights = {name: weight for name, weight in model.named_parameters() if weight.ndim > 1}  # vectors stay whole
        ranks = {name: w.abs().flatten().argsort(stable=True).argsort().view(w.shape) for name, w in weights.items()}
        pruned = {name: rank < round(sparsity * rank.numel()) for name, rank in ranks.items()}

        def mask(model: torch.nn.Module) -> None:
            for name, zero in pruned.items():
                model.get_parameter(name).data.masked_fill_(zero, 0)

        mask(model)
        fit(model, context, share=0.5, after_step=mask)
        save(model, context.output)
        zeros = sum(int(zero.sum()) for zero in pruned.values())
        changed = sum(bool(zero.any()) for zero in pruned.values())
        context.report(matched=len(weights), changed=changed, sparsity=zeros / sum(zero.numel() for zero in pruned.values()))
