"""The searchers that learn nothing."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from benchmark import Proposal, Space, Tried


class Defaults:
    """Code of the searcher ``defaults``."""

    def propose(self, space: Space, history: Sequence[Tried], seconds_left: float) -> Proposal | None:
        """The next of ``space.starts``."""
        return space.starts[len(history)] if len(history) < len(space.starts) else None


class Chance:
    """Code of the searcher ``random``."""

    def propose(self, space: Space, history: Sequence[Tried], seconds_left: float) -> Proposal | None:
        """The next of ``space.starts``, then anything."""
        if len(history) < len(space.starts):
            return space.starts[len(history)]
        return space.draw(Random(f"{space.seed} {len(history)}"))
