"""Size and identity of an artifact: every file in its folder, whatever a plugin says of it."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path

NAMES = 1024
"""Characters that the names of an artifact's files may have in all."""


def artifact_files(folder: Path) -> list[Path]:
    """All files below ``folder``, sorted by their path in it. Raises ValueError, naming the entry, where there is no file,
    anything but files and folders, or more than :data:`NAMES` characters of names: a link could point to bytes that
    are not charged, and names could hold some."""
    entries = sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix())
    for path in (folder, *entries):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ValueError(f"{path} is not a regular file or folder")
    files = [path for path in entries if path.is_file()]
    if not files:
        raise ValueError(f"{folder} holds no file")
    if (characters := sum(len(path.relative_to(folder).as_posix()) for path in files)) > NAMES:
        raise ValueError(f"the names in {folder} have {characters} characters, more than {NAMES}")
    return files


def artifact_bytes(folder: Path) -> int:
    """Bytes of all files, as stored. Raises as :func:`artifact_files` does."""
    return sum(path.stat().st_size for path in artifact_files(folder))


def deflate_bytes(folder: Path) -> int:
    """Bytes of all files, each compressed with zlib at level 9: what a download may cost. Raises as :func:`artifact_files`."""
    return sum(len(zlib.compress(path.read_bytes(), level=9)) for path in artifact_files(folder))


def artifact_digest(folder: Path) -> str:
    """The artifact's content address: sha256, in hex, over each file's path in the folder and its content, each after its
    length, so that no two artifacts read alike. Times, modes and empty folders do not enter. Raises as :func:`artifact_files`."""
    digest = hashlib.sha256()
    for path in artifact_files(folder):
        for part in (os.fsencode(path.relative_to(folder).as_posix()), path.read_bytes()):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()
