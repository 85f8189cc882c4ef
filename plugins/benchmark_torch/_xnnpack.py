"""Int8 for ExecuTorch: quantized as its XNNPACK kernels want it, which no other runtime reads."""

from __future__ import annotations

from torch import nn

from benchmark import Context, NotApplicable, calibration_rows
from benchmark_torch._export import PTE
from benchmark_torch._pte import to_pte_int8
from benchmark_torch._train import load


class Int8Xnnpack:
    """Weights as int8 per output channel, activations as int8 per tensor, ranges by the smallest and the largest value that
    ``calibration_rows`` training rows give (Jacob et al., arXiv 1712.05877), by torchao's PT2E."""

    def compress(self, context: Context) -> None:
        """Reads the checkpoint ``context.input`` and writes a program, of which the only export is to pte. Raises NotApplicable
        where there is no convolution and no linear layer."""
        assert context.input is not None
        model = load(context.input)
        matched = sum(isinstance(one, nn.Conv1d | nn.Conv2d | nn.Linear) for one in model.modules())
        if not matched:
            raise NotApplicable("the network has no convolution and no linear layer")
        x, drawn = calibration_rows(context)
        content, changed = to_pte_int8(model, context.task.input_shape, x)
        (context.output / PTE).write_bytes(content)
        context.report(matched=matched, changed=changed, **drawn)
