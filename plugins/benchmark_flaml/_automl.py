"""The search by FLAML, and the ONNX export of what it chose."""

from __future__ import annotations

import re
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from benchmark_sklearn import Model, load, predict, save, to_onnx
from flaml.automl import AutoML
from lightgbm import LGBMClassifier
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm  # type: ignore[import-untyped]  # no types
from skl2onnx import update_registered_converter  # type: ignore[import-untyped]  # no types
from skl2onnx.common.exceptions import (  # type: ignore[import-untyped]  # no types
    MissingConverter,
    MissingShapeCalculator,
)
from skl2onnx.common.shape_calculator import (  # type: ignore[import-untyped]  # no types
    calculate_linear_classifier_output_shapes,
)

from benchmark import Context, NotApplicable

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEEDED = ("lgbm", "rf", "extra_tree", "lrl1", "lrl2")
"""Estimators that FLAML gives one seed of its own, whatever the search has, unless it is told another."""
_REPEATABLE = {"deterministic": True, "force_row_wise": True}
"""For LightGBM, which else tries out which of two ways of summing is faster."""


class _OutOfTime(BaseException):
    """The clock struck. No Exception: a trial of FLAML may take one for a bad configuration."""


class Flaml:
    """Code of the back end ``flaml``."""

    def train(self, context: Context) -> None:
        """Saves the best on validation of ``iterations`` models, fitted to training rows alone, a checkpoint as of ``sklearn``.

        FLAML is given no time budget, since with one it chooses what to try next by how long trials took, and no two searches are
        equal. It is told how many to try, and interrupted after ``seconds``, or where the step has no more: equal contexts give
        equal models unless the clock struck.
        """
        search = _Search(context)
        x, y = np.asarray(context.train.x), np.asarray(context.train.y)
        weight = context.task.class_weight
        names = str(context.params["estimators"]).replace(" ", "").split(",")
        stopped_by = "updates"
        try:
            with search.interrupted():
                AutoML().fit(  # type: ignore[no-untyped-call]  # its arguments have no types
                    x,
                    y,
                    X_val=np.asarray(context.validation.x),
                    y_val=np.asarray(context.validation.y),
                    sample_weight=None if weight is None else np.take(weight, y),
                    task="classification",
                    metric=search.loss,
                    estimator_list=names,
                    max_iter=search.iterations,
                    time_budget=-1,
                    seed=context.seed,
                    custom_hp={name: _fixed(name, context.seed) for name in names},
                    n_jobs=context.threads,
                    skip_transform=True,  # rows are numbers already, and what it would do to them were not in the artifact
                    verbose=0,
                )
        except _OutOfTime:
            stopped_by = "deadline"
        if search.best is None:
            raise RuntimeError(f"FLAML fitted no model of {', '.join(names)}")
        save(search.best, context.output)
        if stopped_by == "updates" and search.done < search.iterations:
            stopped_by = "early"  # each search has seen all that it has
        context.trained(updates=search.done, stopped_by=stopped_by)

    def export(self, context: Context, format: str) -> None:
        """Writes the checkpoint as ``model.onnx``: float32 (N, D) to probabilities, float32 (N, K)."""
        assert context.input is not None
        model = load(context.input)
        update_registered_converter(
            LGBMClassifier,
            "LightGbmLGBMClassifier",
            calculate_linear_classifier_output_shapes,
            convert_lightgbm,
            options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
        )
        if isinstance(model.classifier, LGBMClassifier):
            _round_thresholds(model.classifier)
        try:
            artifact = to_onnx(model)
        except (MissingConverter, MissingShapeCalculator):
            raise NotApplicable(f"FLAML chose {type(model.classifier).__name__}, which skl2onnx cannot export") from None
        onnx.save(artifact, context.output / "model.onnx")


def _fixed(estimator: str, seed: int) -> dict[str, dict[str, object]]:
    """Its parameters that are not searched, as FLAML's ``custom_hp`` has them."""
    fixed: dict[str, object] = {"random_seed": seed} if estimator in _SEEDED else {}
    fixed |= _REPEATABLE if estimator == "lgbm" else {}
    return {name: {"domain": value} for name, value in fixed.items()}


@dataclass
class _Search:
    """What was seen of a search: how many models, and the best one."""

    context: Context
    started: float = field(default_factory=time.monotonic)
    done: int = 0
    best: Model | None = None
    best_score: float = -np.inf
    _judging: bool = False

    @property
    def iterations(self) -> int:
        return int(self.context.params["iterations"])

    @property
    def left(self) -> float:
        """Seconds until it should end."""
        used = time.monotonic() - self.started
        return min(float(self.context.params["seconds"]) - used, self.context.remaining())

    def loss(self, x: Any, y: Any, estimator: Any, *others: Any, **more: Any) -> tuple[float, dict[str, float]]:
        """What FLAML minimises: 1 less the task's own metric, of what would ship rather than of FLAML's wrapper."""
        self._judging = True
        task = self.context.task
        model = Model(estimator.model, task.input_shape, len(task.classes))
        score = self.context.score(predict(model, x))
        self.done += 1
        if self.best is None or not score <= self.best_score:  # as one that is undefined (NaN) is to be replaced
            self.best, self.best_score = model, score
        self.context.log(self.done, score=self.best_score, seconds=time.monotonic() - self.started)
        self._judging = False
        if self.left <= 0:
            raise _OutOfTime
        return 1 - score, {}

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """Within it a trial ends when the time is up, unless it is the first one: something is to ship."""

        def ring(_: int, frame: FrameType | None) -> None:
            lost = any(one.f_code.co_name == "__del__" for one, _ in traceback.walk_stack(frame))
            if self.best is not None and not self._judging and not lost:
                raise _OutOfTime

        before = signal.signal(signal.SIGALRM, ring)
        # Again every second: what is raised in a destructor, or in a function that C calls, is lost.
        signal.setitimer(signal.ITIMER_REAL, max(self.left, 1e-3), 1.0)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def _round_thresholds(classifier: LGBMClassifier) -> None:
    """Rounds the thresholds of its trees down to float32, in place. That parts no float32 rows in another way, while the nearest
    float32, which the file would hold, may be above a threshold: a row that lies there would go left instead of right."""

    def rounded(line: re.Match[str]) -> str:
        exact: NDArray[np.float64] = np.array(line[1].split(), np.float64)
        below = exact.astype(np.float32)
        below = np.where(below > exact, np.nextafter(below, np.float32(-np.inf)), below)
        return "threshold=" + " ".join(repr(float(value)) for value in below)

    text = re.sub(r"^threshold=(.+)$", rounded, classifier.booster_.model_to_string(), flags=re.MULTILINE)
    # Lengths of the trees' texts are no longer what they were; without them it looks for the trees itself.
    classifier.booster_.model_from_string(re.sub(r"^tree_sizes=.*\n", "", text, flags=re.MULTILINE))
