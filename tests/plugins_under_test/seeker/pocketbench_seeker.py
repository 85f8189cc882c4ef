"""A stranger's searcher, which climbs, and two passes: one joins searches by declaring a range, the other takes its time."""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from contextlib import suppress
from random import Random

import numpy as np
import onnx
from onnx import numpy_helper

from benchmark import CompressorSpec, Context, Param, Proposal, SearcherSpec, Space, Tried, UserError, hookimpl


class Climb:
    def propose(self, space: Space, history: Sequence[Tried], seconds_left: float) -> Proposal | None:
        """Keeps the best so far and draws one of its parameters again; at first, and where there is none, anything."""
        random = Random(f"{space.seed} {len(history)}")
        fitting = [one for one in history if one.fits]
        if len(history) < len(space.starts):
            return space.starts[len(history)]
        best = max(fitting, key=lambda one: one.score or 0.0, default=None)
        other = space.draw(random)
        if best is None or not best.proposal.passes or random.random() < 0.5:
            return other
        fresh = dict(other.passes)
        passes = tuple((name, {**given, **fresh.get(name, {})}) for name, given in best.proposal.passes)
        return Proposal(best.proposal.architecture, passes, best.proposal.training)


class Wrong:
    def propose(self, space: Space, history: Sequence[Tried], seconds_left: float) -> Proposal | None:
        """Proposes what cannot be, each in its own way."""
        return {
            "architecture": Proposal("rige"),
            "order": Proposal(space.architectures[0], (("round-weights", {}), ("round-weights", {}))),
            "parameter": Proposal(space.architectures[0], (("round-weights", {"decimal": 2}),)),
            "value": Proposal(space.architectures[0], (("round-weights", {"decimals": 20}),)),
            "training": Proposal(space.architectures[0], (), {"l3": 1.0}),
        }[str(space.params["how"])]


class Spy:
    def propose(self, space: Space, history: Sequence[Tried], seconds_left: float) -> Proposal | None:
        """Looks for test rows where the task's own code has them."""
        with suppress(ImportError, OSError, UserError):
            labels = importlib.import_module("benchmark_credit._task").GermanCredit().load(0).test.y
            raise RuntimeError(f"it read {len(labels)} labels of test rows")
        return space.starts[len(history)] if len(history) < len(space.starts) else None


class Breaks:
    def propose(self, space: Space, history: Sequence[Tried], seconds_left: float) -> Proposal | None:
        """Fails after two proposals."""
        if len(history) == 2:
            raise RuntimeError("it has no idea")
        return Proposal("ridge", (("round-weights", {"decimals": 3 + len(history)}),))


class RoundWeights:
    def compress(self, context: Context) -> None:
        rounded(context, int(context.params["decimals"]))


class Nap:
    def compress(self, context: Context) -> None:
        time.sleep(float(context.params["seconds"]))
        rounded(context, 3)


def rounded(context: Context, decimals: int) -> None:
    """Writes the model with rounded weights."""
    assert context.input is not None
    model = onnx.load(context.input / "model.onnx")
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(values.round(decimals), tensor.name))
    onnx.save(model, context.output / "model.onnx")
    context.report(matched=1, changed=1)


@hookimpl
def benchmark_searchers() -> list[SearcherSpec]:
    hows = ("architecture", "order", "parameter", "value", "training")
    return [
        SearcherSpec(name="climb", target="pocketbench_seeker:Climb", summary="Climbs."),
        SearcherSpec(name="spy", target="pocketbench_seeker:Spy", summary="Spies."),
        SearcherSpec(name="breaks", target="pocketbench_seeker:Breaks", summary="Breaks."),
        SearcherSpec(
            name="wrong",
            target="pocketbench_seeker:Wrong",
            summary="Errs.",
            params=(Param("how", "order", choices=hows),),
        ),
    ]


@hookimpl
def benchmark_compressors() -> list[CompressorSpec]:
    needs = {"numpy": "numpy", "onnx": "onnx"}
    return [
        CompressorSpec(
            name="round-weights",
            target="pocketbench_seeker:RoundWeights",
            summary="Rounds.",
            stage="artifact",
            accepts=("onnx",),
            produces="onnx",
            params=(Param("decimals", 2, low=0, high=6),),
            requires=needs,
        ),
        CompressorSpec(
            name="nap",
            target="pocketbench_seeker:Nap",
            summary="Sleeps, then rounds.",
            stage="artifact",
            accepts=("onnx",),
            produces="onnx",
            params=(Param("seconds", 5.0, low=0.0),),
            requires=needs,
        ),
    ]
