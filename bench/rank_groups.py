"""How often equal methods share one rank, and how often a better one is alone at the top, simulated.

``python bench/rank_groups.py``: for each share of rows on which two methods agree, 400 draws of 20 methods of accuracy 0.8 on 250
rows. ``one group``: all 20 equal, all of one rank. ``alone``: one of them is better by so many standard errors of a score, of the
paired difference, or among two methods only by so many of the paired difference, and has rank 1 for itself.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from benchmark import ranking

_ROWS, _P, _DRAWS, _REPEATS = 250, 0.8, 1000, 400


def methods(count: int, agree: float, better: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Whether each method is right on each row; the first on a share ``better`` of all rows more."""
    own = 1 - math.sqrt(1 - (1 - agree) / (2 * _P * (1 - _P)))
    right = np.where(rng.random((count, _ROWS)) < own, rng.random((count, _ROWS)) < _P, rng.random(_ROWS) < _P)
    right[0] |= rng.random(_ROWS) < better / (1 - _P)
    return right.astype(np.float64)


def main() -> None:
    """Prints the table."""
    rng = np.random.default_rng(0)
    weights = rng.multinomial(_ROWS, np.full(_ROWS, 1 / _ROWS), size=_DRAWS).T / _ROWS
    of_score = math.sqrt(_P * (1 - _P) / _ROWS)
    print("agree   one group   alone of 20, 3 of a score   alone of 20, 3 of a difference   alone of 2, 3 of a difference")
    for agree in (0.8, 0.9, 0.95, 0.98):
        # The rows on which the better one is better disagree too: d² rows² = 9 (disagreeing rows + d rows).
        of_difference = (9 + math.sqrt(81 + 36 * _ROWS * (1 - agree))) / (2 * _ROWS)
        shares = []
        for count, better in ((20, 0.0), (20, 3 * of_score), (20, of_difference), (2, of_difference)):
            found = []
            for _ in range(_REPEATS):
                right = methods(count, agree, better, rng)
                ranks = ranking.ranks(right.mean(axis=1), right @ weights)
                found.append(ranks.count(1) == (1 if better else count) and ranks[0] == 1)
            shares.append(sum(found) / _REPEATS)
        print("{:5.0%}   {:9.0%}   {:25.0%}   {:30.0%}   {:29.0%}".format(agree, *shares), flush=True)


if __name__ == "__main__":
    main()
