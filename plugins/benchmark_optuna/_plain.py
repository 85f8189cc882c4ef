"""The searchers that learn nothing."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from benchmark import Proposal, Space, Tried

_ATTEMPTS = 100


class Defaults:
    """Code of the searcher ``defaults``."""

    def propose(self, space: Space, history: Sequence[Tried], seconds_left: float) -> Proposal | None:
        """The next of ``space.starts``."""
        return space.starts[len(history)] if len(history) < len(space.starts) else None


class Chance:
    """Code of the searcher ``random``."""

    def propose(self, space: Space, history: Sequence[Tried], seconds_left: float) -> Proposal | None:
        """The next of ``space.starts``, then anything that is not known to be skipped."""
        if len(history) < len(space.starts):
            return space.starts[len(history)]
        random = Random(f"{space.seed} {len(history)}")
        drawn = (space.draw(random) for _ in range(_ATTEMPTS))
        return next((one for one in drawn if not any(tried.rules_out(one) for tried in history)), space.draw(random))
