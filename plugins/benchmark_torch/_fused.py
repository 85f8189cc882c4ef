"""A network as the graph that other tools convert."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import fx, nn
from torchao.quantization.pt2e.utils import _fuse_conv_bn_, _fuse_linear_bn_  # type: ignore[import-untyped]  # it ships no types


def fused(model: nn.Module, input_shape: tuple[int, ...]) -> fx.GraphModule:
    """A copy of ``model`` in evaluation mode as a graph, float32 (N, *input_shape) -> float32 (N, K), normalisations merged into
    the layers before them: converters leave those behind convolutions of sequences and behind linear layers as they are."""
    graph = program(copy.deepcopy(model).eval(), input_shape).module(check_guards=False)
    assert isinstance(graph, fx.GraphModule)
    _fuse_conv_bn_(graph)
    _fuse_linear_bn_(graph)
    used = {node.target for node in graph.graph.nodes if node.op == "get_attr"}
    for name in [name for name, _ in (*graph.named_parameters(), *graph.named_buffers()) if name not in used]:
        place, _, last = name.rpartition(".")
        delattr(graph.get_submodule(place), last)  # of a merged normalisation: a file would carry it
    for module in graph.modules():
        module.training = False  # its own eval() raises
    return graph


def program(model: nn.Module, input_shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    """``model`` exported for any number of rows."""
    # Two rows, since a batch of one would be taken for a constant; plain zeros, whose strides say nothing about the layout.
    rows, batch = torch.zeros(2, *input_shape), {0: torch.export.Dim("N")}
    with quiet():
        return torch.export.export(model, (rows,), dynamic_shapes=(batch,))


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps warnings of what exporters do themselves out of the log of a step."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
