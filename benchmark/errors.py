"""The two kinds of error that a user may see without a traceback. Everything else is a bug and keeps its traceback."""

from __future__ import annotations

import errno
from pathlib import Path

USER_MISTAKE = 2
"""The exit code after a :class:`UserError`."""


def one_line(text: str) -> str:
    """A text as it may stand in a row and on a terminal: on one line, encodable, without control characters, and not endless."""
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return "".join(one if one.isprintable() else "?" for one in line)[:500]


def described(error: BaseException) -> str:
    """The type and message of a stranger's exception, whose own ``__str__`` may raise too, on one line."""
    try:
        text = one_line(str(error))
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class UserError(Exception):
    """The user's mistake: one line naming the file, key or name at fault. The command ends with exit code 2."""

    def __str__(self) -> str:
        return one_line(super().__str__())  # names in it come from files and may hold line breaks


class NotApplicable(Exception):
    """Raised by a pass or back end that cannot work on what it was given; the cell ends as ``skipped`` with this reason."""


def of_the_disk(root: Path, error: OSError) -> UserError | None:
    """What to tell the user where the disk of the results folder ``root`` is full or fails; None for errors that are bugs."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
        return None
    kept = "everything finished is kept; the same command goes on from here"
    return UserError(f"results folder {root}: {error.strerror}: {kept}")
