"""What a file holds, before it is loaded."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias, cast

import numpy as np

from benchmark import UserError
from benchmark_own._words import shown

Modality: TypeAlias = Literal["image", "sequence", "tabular"]
INPUTS = "x"
"""The array of an NPZ file that holds the inputs."""
BROKEN = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading an NPZ file raises where it is damaged, or something else."""

_FITTING: dict[int, tuple[Modality, ...]] = {2: ("tabular",), 3: ("sequence", "image"), 4: ("image",)}
"""Axes of ``x`` -> what it can be, the default first."""
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def modality(path: Path, asked: str = "") -> Modality:
    """What a file holds: a table, or in an NPZ file what the shape of ``x`` says. ``asked`` wins where it fits. Reads at most a
    header. Raises UserError for what does not fit, and for a file that cannot be read or is of no known kind."""
    suffix = path.suffix.lower()
    if suffix in (".csv", ".parquet"):
        return _fitting(path.name, f"a {suffix} file", ("tabular",), asked)
    if suffix != ".npz":
        raise UserError(f"{path.name}: must end in .csv, .parquet or .npz")
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{INPUTS}.npy") as file:
            shape = _HEADERS[np.lib.format.read_magic(file)](file)[0]
    except KeyError:
        raise UserError(f"{path.name}: has no array {shown(INPUTS)}") from None
    except BROKEN as error:
        raise UserError(f"{path.name}: is no NPZ file that can be read: {error}") from None
    return fitting(path.name, shape, asked)


def fitting(name: str, shape: Sequence[int], asked: str) -> Modality:
    """What an ``x`` of this shape is. Raises UserError where it is not what was ``asked`` for, if anything was."""
    if len(shape) not in _FITTING:
        raise UserError(f"{name}: array {shown(INPUTS)} has shape {shape}: tables have 2 axes, sequences 3, images 3 or 4")
    return _fitting(name, f"array {shown(INPUTS)} with {len(shape)} axes", _FITTING[len(shape)], asked)


def _fitting(name: str, what: str, possible: tuple[Modality, ...], asked: str) -> Modality:
    if asked and asked not in possible:
        raise UserError(f"{name}: {what} is {' or '.join(possible)}, not {shown(asked)}: change modality")
    return cast(Modality, asked) or possible[0]
