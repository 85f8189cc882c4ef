"""A plugin written for another Python. Checkers can parse it; the compiler refuses it with a SyntaxError."""

from __future__ import pattern_guards  # type: ignore[attr-defined]  # noqa: F407  # no Python has it: that is the fault
