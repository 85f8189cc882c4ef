"""What verifying has found, a line each, and how its lines are worded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmark.errors import described, one_line

_CLOSE = 1e-9  # sums are taken in another order on other machines
SHOWN = 60
"""Characters of a value."""


@dataclass
class Findings:
    """``differences``: what is not as it says. ``unchecked``: what could not be checked, and why. ``checked``: what was.
    ``tell``: is told what is done, as it may take minutes."""

    tell: Callable[[str], None]
    differences: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)

    def differ(self, line: str) -> None:
        """Something is not as it says."""
        self.differences.append(one_line(line))

    def changed(self, where: str, what: str, stands: object, found: object) -> None:
        """A value is not what was found."""
        self.differ(f"{where}: {what}: {short(stands)} stands there, {short(found)} was found")

    def cannot(self, line: str) -> None:
        """Something could not be checked."""
        self.unchecked.append(one_line(line))

    def did(self, line: str) -> None:
        """Something was checked, whatever came of it."""
        self.checked.append(line)

    @contextmanager
    def guarded(self, what: str) -> Iterator[None]:
        """What is read here was written by others, who may have put anything in any place: whatever goes wrong is a finding."""
        try:
            yield
        except Exception as error:
            self.differ(f"{what}: cannot be read: {described(error)}")


def leaves(stands: Any, found: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """What differs between two JSON values: where, and the two. Numbers may differ as sums in another order do."""
    if isinstance(stands, dict) and isinstance(found, dict):
        for name in dict.fromkeys((*stands, *found)):
            yield from leaves(stands.get(name), found.get(name), f"{path}.{name}")
    elif type(stands) in (int, float) and type(found) in (int, float):
        if not math.isclose(stands, found, rel_tol=_CLOSE, abs_tol=_CLOSE):
            yield path, stands, found
    elif isinstance(stands, list) and isinstance(found, list) and len(stands) == len(found):
        for place, (one, other) in enumerate(zip(stands, found, strict=True)):
            yield from leaves(one, other, f"{path}[{place}]")
    elif stands != found or type(stands) is not type(found):
        yield path, stands, found


def count(number: int, what: str) -> str:
    """A number of things."""
    return f"{number:,} {what if number == 1 else f'{what}s'}"


def short(value: object) -> str:
    """A value as a line shows it."""
    text = "nothing" if value is None or value == "" else str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
