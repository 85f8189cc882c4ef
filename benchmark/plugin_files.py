"""Plugins that are single files, not installed: found by their name as any module is, in the host and in its jobs."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from benchmark.errors import UserError


class _Finder:
    """Finds the modules of plugin files (a finder of :data:`sys.meta_path`)."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_file_location(name, self._files[name]) if name in self._files else None


def modules(files: Sequence[Path]) -> dict[str, str]:
    """Module name -> absolute path of plugin files. Raises UserError for one that cannot be a module beside the others."""
    found: dict[str, str] = {}
    for file in files:
        name = file.stem
        if file.suffix != ".py" or not file.is_file():
            raise UserError(f"plugin file {file}: there is no such file, or its name does not end in .py")
        if not name.isidentifier():
            raise UserError(f"plugin file {file}: {name!r} cannot be the name of a module: use letters, digits and '_'")
        if name in found or not _is_free(name, file):
            raise UserError(f"plugin file {file}: there is another module {name!r}; give the file another name")
        found[name] = str(file.absolute())
    return found


def _is_free(name: str, file: Path) -> bool:
    """Whether no other module has the name; a file in the working directory is found by Python itself."""
    spec = importlib.util.find_spec(name)
    return spec is None or (spec.has_location and spec.origin is not None and file.samefile(spec.origin))


def install(files: Mapping[str, str]) -> None:
    """Makes modules importable in this process by the names that :func:`modules` gave them."""
    if files:
        sys.meta_path.append(_Finder(files))
