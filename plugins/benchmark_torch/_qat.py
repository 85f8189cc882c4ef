"""Quantization-aware training: the network learns with its weights and activations rounded as its int8 file will round them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import torch
from torch import fx, nn
from torchao.quantization.pt2e import (  # type: ignore[import-untyped]  # it ships no types
    FakeQuantize,
    FusedMovingAvgObsFakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    disable_observer,
    enable_observer,
)
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e, prepare_qat_pt2e  # type: ignore[import-untyped]  # as above
from torchao.quantization.pt2e.quantizer import (  # type: ignore[import-untyped]  # as above
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)
from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY  # type: ignore[import-untyped]  # as above
from torchao.quantization.pt2e.utils import _fuse_linear_bn_  # type: ignore[import-untyped]  # as above

from benchmark import Context, NotApplicable
from benchmark_torch._blocks import Rounded
from benchmark_torch._train import fit, load, planned, save

State: TypeAlias = Mapping[str, torch.Tensor]
Node: TypeAlias = Any  # fx.Node, whose arguments may be of a dozen types

_FREEZE = 0.75  # of the updates, after which ranges and batch normalisation's statistics stay as they are

_aten = torch.ops.aten
_LINEAR = {_aten.linear.default}
_WEIGHTED = {_aten.conv1d.default, _aten.conv2d.default, _aten.conv1d.padding, _aten.conv2d.padding, *_LINEAR}
_NORMALISATION = {_aten.batch_norm.default}
_DROPOUT = {_aten.dropout.default}
_ACTIVATION = {_aten.relu.default, _aten.relu_.default, _aten.hardtanh.default, _aten.hardtanh_.default}
# What they return is among what they are given.
_CHOOSING = {_aten.max_pool1d.default, _aten.max_pool2d.default, _aten.flatten.using_ints, _aten.view.default}
_COMPUTING = {_aten.add.Tensor, _aten.cat.default, _aten.avg_pool1d.default, _aten.avg_pool2d.default}
_INTEGER = _WEIGHTED | _ACTIVATION | _CHOOSING | _COMPUTING
_ORIGIN = "pocketbench_origin"  # of a node's meta, which outlives what torchao makes of its graph

_WEIGHT = QuantizationSpec(
    dtype=torch.int8,
    # The range that the weights have now.
    observer_or_fake_quant_ctr=FakeQuantize.with_args(observer=MovingAveragePerChannelMinMaxObserver, averaging_constant=1.0),
    quant_min=-64,
    quant_max=64,
    qscheme=torch.per_channel_symmetric,
    ch_axis=0,
)
_ACTIVATIONS = QuantizationSpec(
    dtype=torch.uint8,
    observer_or_fake_quant_ctr=FusedMovingAvgObsFakeQuantize.with_args(observer=MovingAverageMinMaxObserver),
    quant_min=0,
    quant_max=255,
    qscheme=torch.per_tensor_affine,
)


class QatInt8:
    """Trains ``context.input`` on for ``finetune`` of the reference's updates, at least one, with weights rounded to int8 per
    output channel, -64 to 64 as in ``int8-static``, and activations to uint8 per tensor. Gradients pass the rounding as if it
    were not there, and what is rounded are weights with batch normalisation merged into them (Jacob et al., arXiv 1712.05877).
    In the last quarter ranges and its statistics stay as they are (Krishnamoorthi, arXiv 1806.08342).
    """

    def compress(self, context: Context) -> None:
        """Quantizes ``context.input``. Raises NotApplicable for a network without convolution or linear layer."""
        assert context.input is not None
        model = Prepared(load(context.input), context.task.input_shape)
        if not model.matched:
            raise NotApplicable("the network has no convolution and no linear layer")
        share = float(context.params["finetune"])
        freezer = Freezer(round(_FREEZE * planned(context, share)))
        fit(model, context, share=share, after_step=freezer)
        model.frozen = True
        save(model, context.output)
        context.report(matched=model.matched, changed=model.matched)


class Freezer:
    """Called after each update, freezes a :class:`Prepared` after so many."""

    def __init__(self, updates: int) -> None:
        self._left = updates

    def __call__(self, model: nn.Module) -> None:
        self._left -= 1
        if self._left <= 0:
            assert isinstance(model, Prepared)
            model.frozen = True


class Prepared(Rounded):
    """``source`` as a graph that rounds weights and activations, float32 (N, *input_shape) -> float32 (N, K).

    In training mode ranges follow what passes, and batch normalisation and dropout do what they do in training, unless it is
    ``frozen``: then ranges and statistics stay. Neither a prepared graph nor an export of it can be pickled, so what is
    pickled is ``source``, from which the same graph is made again, and its state.
    """

    def __init__(self, source: nn.Module, input_shape: tuple[int, ...], state: State | None = None) -> None:
        super().__init__()
        self._made_of = source, input_shape  # in a tuple: not a module of this one
        self.frozen = False
        self._mode: tuple[bool, bool] | None = None
        self._rounding = _Rounding()
        self.graph = _prepare(source, input_shape, self._rounding)
        if state is not None:
            self.graph.load_state_dict(state)
        self.train(source.training)

    @property
    def matched(self) -> int:
        """How many layers have weights that are rounded."""
        return self._rounding.matched

    def __reduce__(self) -> tuple[Any, ...]:
        return Prepared, (*self._made_of, self.graph.state_dict()), {"training": self.training, "frozen": self.frozen}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32 (N, *input_shape) -> logits, float32 (N, K)."""
        self._switch(training=self.training, learning=self.training and not self.frozen)
        return self.graph(x)  # type: ignore[no-any-return]  # modules return Any

    def train(self, mode: bool = True) -> Prepared:
        """The mode is acted on in ``forward``: torchao's own switch would give each normalisation torch's default eps."""
        self.training = mode
        return self

    def shipped(self) -> fx.GraphModule:
        """A copy in evaluation mode with int8 weights and explicit conversions between them, batch normalisation merged.

        It is made of an export of its own, as for quantization without training: what convert_pt2e has for training takes 15
        seconds, and merges with the default eps whatever the network says.
        """
        state = self.graph.state_dict()
        exported = _exported(*self._made_of)
        exported.load_state_dict({name: state.get(name, value) for name, value in exported.state_dict().items()})
        rounding = _Rounding()
        prepared = prepare_pt2e(exported, rounding)
        for place, module in rounding.places.items():
            module.load_state_dict(self._rounding.places[place].state_dict())
        graph: fx.GraphModule = convert_pt2e(prepared)
        for module in graph.modules():
            module.training = False
        return graph

    def _switch(self, *, training: bool, learning: bool) -> fx.GraphModule:
        if self._mode != (training, learning):
            self._mode = training, learning
            self.graph.apply(enable_observer if learning else disable_observer)
            for node in self.graph.graph.nodes:
                if node.target in _NORMALISATION:
                    node.update_arg(5, learning)
                elif node.target in _DROPOUT:
                    node.update_arg(2, training)
            self.graph.recompile()
        return self.graph


def _exported(source: nn.Module, input_shape: tuple[int, ...]) -> fx.GraphModule:
    """A copy of ``source`` as a graph in evaluation mode. Normalisation behind a linear layer, which torchao does not merge after
    training, is merged now."""
    # Two rows, since a batch of one would be taken for a constant.
    rows, batch = torch.zeros(2, *input_shape), {0: torch.export.Dim("N")}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*", category=FutureWarning)
        program = torch.export.export(copy.deepcopy(source).eval(), (rows,), dynamic_shapes=(batch,))
        graph = program.module(check_guards=False)
    _fuse_linear_bn_(graph)
    for node in graph.graph.nodes:
        # A layer is one with the normalisation behind it.
        behind = [user for user in node.users if user.target in _NORMALISATION and len(node.users) == 1]
        node.meta[_ORIGIN] = (behind or [node])[0].name
    return graph


def _prepare(source: nn.Module, input_shape: tuple[int, ...], rounding: _Rounding) -> fx.GraphModule:
    """``source`` in evaluation mode as a graph that rounds."""
    graph = _exported(source, input_shape)
    constants = {node.args[3].target: node.args[6:8] for node in _normalisations(graph)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*", category=FutureWarning)
        prepared: fx.GraphModule = prepare_qat_pt2e(graph, rounding)
    # Normalisations that are simulated as merged have torch's default momentum and eps now.
    for node in _normalisations(prepared):
        mean, variance = node.args[3:5]
        momentum, eps = constants[mean.target]
        node.args = (*node.args[:6], momentum, eps, *node.args[8:])
        for reader in list(variance.users):
            if reader.target == _aten.add.Tensor:
                reader.args = (variance, eps)
    prepared.recompile()
    return prepared


def _normalisations(graph: fx.GraphModule) -> list[Node]:
    return [node for node in graph.graph.nodes if node.target in _NORMALISATION]


def _is_rounded(node: Node) -> bool:
    """Whether the value that a node returns is rounded."""
    value = node.meta.get("val")
    if node.op == "get_attr" or node.target in _DROPOUT or not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return False
    readers = {user.target for user in _readers(node)}
    if node.target in _LINEAR:
        return bool(readers & _WEIGHTED)
    if node.target not in _CHOOSING and len(readers) == 1 and readers <= _NORMALISATION | _ACTIVATION:
        return False
    return bool(readers & _INTEGER)


def _readers(node: Node) -> Iterator[Node]:
    """What reads a value, through dropout, which an export leaves out."""
    for user in node.users:
        yield from _readers(user) if user.target in _DROPOUT else [user]


class _Rounding(Quantizer):  # type: ignore[misc]  # Any to mypy, as it ships no types
    """Says which values of a graph are rounded, so that ONNX Runtime computes on integers: the weights of convolutions and linear
    layers, and each value that one of ``_INTEGER`` reads, but between layer, normalisation and activation. Linear layers return
    float: what is rounded behind them is only what another layer with weights reads.

    ``matched``: how many layers have such weights. ``places``: the modules that round, by the origin of the node whose output
    they round and None, or of the node whose argument they round and its number. Their names do not do: torchao numbers them, for
    training in another order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.matched = 0
        self.places: dict[tuple[str, int | None], nn.Module] = {}

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        """Annotates and returns ``model``."""
        node: Node
        for node in model.graph.nodes:
            inputs: dict[Node, QuantizationSpec] = {}
            if node.target in _WEIGHTED and node.args[1].op == "get_attr":
                if node.target not in _LINEAR:
                    inputs[node.args[0]] = _ACTIVATIONS  # rounded once, if already; prepare_qat_pt2e wants it said
                inputs[node.args[1]] = _WEIGHT
                self.matched += 1
            output: QuantizationSpec | SharedQuantizationSpec | None = None
            if _is_rounded(node):
                output = _ACTIVATIONS
                if node.target in _CHOOSING and _is_rounded(node.args[0]):
                    output = SharedQuantizationSpec(node.args[0])
            if inputs or output:
                node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(input_qspec_map=inputs, output_qspec=output, _annotated=True)
        return model

    def prepare_obs_or_fq_callback(self, model: fx.GraphModule, edge_or_node_to_obs_or_fq: Mapping[Node, nn.Module]) -> None:
        """Notes the modules, which torchao has made by now."""
        for place, module in edge_or_node_to_obs_or_fq.items():
            value, reader = place if isinstance(place, tuple) else (None, place)
            self.places[reader.meta[_ORIGIN], None if value is None else reader.args.index(value)] = module

    def validate(self, model: fx.GraphModule) -> None:
        """Everything is allowed."""
