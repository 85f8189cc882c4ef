"""Magnitude pruning for JAX: the smallest weights become zero and stay zero while the others are trained on."""

from benchmark import CompressorSpec, Context, Param, hookimpl


@hookimpl
def benchmark_compressors() -> list[CompressorSpec]:
    spec = CompressorSpec(
        name="prune-smallest",
        target="pocketbench_magnitude_jax:PruneSmallest",
        summary="The smallest weights of each layer set to zero, the others fine-tuned.",
        stage="model",
        backend="jax",
        params=(Param("sparsity", 0.9, low=0.0, high=1.0),),
        requires={"jax": "jax", "flax": "flax", "benchmark_jax": None},
    )
    return [spec]


class PruneSmallest:
    def compress(self, context: Context) -> None:
        import jax  # here, since the host process imports this module too
        from benchmark_jax import fit, load, save
        from flax import nnx

        assert context.input is not None
        model, sparsity = load(context.input), float(context.params["sparsity"])
        ranks = jax.tree.map(lambda w: abs(w).ravel().argsort().argsort().reshape(w.shape), nnx.state(model, nnx.Param))
        pruned = jax.tree.map(lambda rank: rank < (rank.ndim > 1) * round(sparsity * rank.size), ranks)  # vectors stay whole

        def mask(model: nnx.Module) -> None:
            nnx.update(model, jax.tree.map(lambda w, zero: jax.numpy.where(zero, 0, w), nnx.state(model, nnx.Param), pruned))

        mask(model)
        fit(model, context, share=0.5, after_step=mask)
        save(model, context.output)
        layers = [zero for zero in jax.tree.leaves(pruned) if zero.ndim > 1]
        zeros = sum(int(zero.sum()) for zero in layers)
        changed = sum(bool(zero.any()) for zero in layers)
        context.report(matched=len(layers), changed=changed, sparsity=zeros / sum(zero.size for zero in layers))
