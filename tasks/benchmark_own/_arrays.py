"""The bytes of an NPZ file -> its arrays, and what a file holds before it is loaded."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from benchmark import UserError
from benchmark_own._columns import LARGEST, Column
from benchmark_own._words import counted, listed, nearest, plain, shown

Modality: TypeAlias = Literal["image", "sequence", "tabular"]
Rows: TypeAlias = NDArray[np.int64]
INPUTS = "x"
_FITTING: dict[int, tuple[Modality, ...]] = {2: ("tabular",), 3: ("sequence", "image"), 4: ("image",)}
"""Axes of ``x`` -> what it can be, the default first."""
_CHANNELS = (1, 3, 4)
_BROKEN = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class Arrays:
    """``x``: (N, ...), of a bool, int or float dtype. ``target``, ``unit``: N values each, no unit where none is asked for."""

    x: NDArray[Any]
    target: Column
    unit: Column | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Signal:
    """Images (N, C, H, W) or sequences (N, C, T), of the dtype of the file. ``axes``: those of the file's array. ``scale``: what
    the values are divided by; None where each channel is to have mean 0 and deviation 1 over the training rows."""

    x: NDArray[Any]
    axes: str
    scale: float | None
    notes: tuple[str, ...]


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
    except _BROKEN as error:
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


def read_npz(content: bytes, name: str, target: str, unit: str) -> Arrays:
    """The arrays ``x``, ``target`` and, unless it is empty, ``unit`` of an NPZ file. Raises UserError, naming the array."""
    if INPUTS in (target, unit):
        raise UserError(f"{name}: array {shown(INPUTS)} holds the inputs, so it is neither target nor unit")
    wanted = [INPUTS, target, *([unit] if unit else [])]
    try:
        if not zipfile.is_zipfile(io.BytesIO(content)):  # numpy reads other files too, and gives something else
            raise zipfile.BadZipFile("it is no archive")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            names = list(file.files)
            if lacking := [one for one in wanted if one not in names]:
                raise UserError(f"{name}: there is no array {shown(lacking[0])}{nearest(lacking[0], names)}")
            arrays = {one: np.asarray(file[one]) for one in wanted}
    except _BROKEN as error:
        raise UserError(f"{name}: is no NPZ file of plain arrays: {error}") from None
    x = arrays[INPUTS]
    if x.dtype.kind not in "biuf":
        raise UserError(f"{name}: array {shown(INPUTS)} has dtype {x.dtype}: numbers are needed")
    if not x.size:
        raise UserError(f"{name}: array {shown(INPUTS)} is empty: its shape is {x.shape}")
    notes = []
    if ignored := [plain(one) for one in names if one not in wanted]:
        notes.append(f"{name}: not used: {'array' if len(ignored) == 1 else 'arrays'} {listed(ignored)}")
    columns = {}
    for one in wanted[1:]:
        values = arrays[one]
        if values.ndim == 2 and values.shape[1] > 1:
            kind = f"{counted(values.shape[1], 'column')}, so a row can have several labels: one each is needed"
            raise UserError(f"{name}: array {shown(one)} has {kind}")
        if values.shape not in ((len(x),), (len(x), 1)):
            raise UserError(f"{name}: array {shown(one)} has shape {values.shape}, {shown(INPUTS)} has {counted(len(x), 'row')}")
        if values.ndim == 2:
            notes.append(f"{name}: array {plain(one)} of shape {values.shape} read as one of {values.shape[:1]}")
        columns[one] = _column(values.reshape(-1))
    return Arrays(x=x, target=columns[target], unit=columns[unit] if unit else None, notes=tuple(notes))


def _column(values: NDArray[Any]) -> Column:
    kind = values.dtype.kind
    if kind == "b":
        return Column("booleans", values.tolist())
    if kind in "iuf":
        return Column("numbers", values)
    if kind == "U":
        return Column("texts", [one.strip() for one in values.tolist()])
    if kind == "S":
        return Column("texts", [one.decode("utf-8", "replace").strip() for one in values.tolist()])
    return Column("other", (), f"of dtype {values.dtype}, neither numbers nor text")


def signal(x: NDArray[Any], kind: Modality, rows: Rows, name: str) -> Signal:
    """The layout and range of images or sequences; ``rows``: their places in the file. Raises UserError, naming the row, for a
    value that is no number that float32 can hold."""
    flat = x.reshape(len(x), -1)
    if x.dtype.kind == "f":
        _refuse([bool((np.abs(row) <= np.float64(LARGEST)).all()) for row in flat], rows, name)
    notes = []
    if constant := int((flat == flat[:, :1]).all(axis=1).sum()):
        notes.append(f"{constant:,} of {counted(len(x), kind)} {'holds' if constant == 1 else 'hold'} one value only")
    axes = "NCHW" if x.ndim == 4 else "NHW" if kind == "image" else "NCT"
    if axes == "NHW":
        x = x[:, None]
    elif axes == "NCHW" and x.shape[3] in _CHANNELS and x.shape[1] not in _CHANNELS:
        axes, x = "NHWC", np.moveaxis(x, 3, 1)
        notes.append(f"the last axis, of {x.shape[1]}, holds the channels of an image")
    scale: float | None = None
    if kind == "image" and x.min() >= 0 and x.max() <= 1:
        scale = 1.0
        notes.append("images left as they are: all values lie in 0 to 1")
    elif kind == "image" and x.dtype == np.uint8:
        scale = 255.0
        notes.append("images of uint8 scaled by 1/255")
    else:
        notes.append(f"{kind}s scaled: each channel at mean 0 and deviation 1 over the training rows")
    return Signal(x=x, axes=axes, scale=scale, notes=tuple(notes))


def scaled(read: Signal, parts: Sequence[Rows], rows: Rows, name: str) -> tuple[list[NDArray[np.float32]], dict[str, Any]]:
    """The float32 arrays of these parts, places in ``read.x`` whose first are the training rows, and what a device needs to make
    them. ``rows``: places in the file. Raises UserError for a row too far from the training rows for float32."""
    channels = range(read.x.shape[1])
    if read.scale is not None:
        means, scales = [0.0 for _ in channels], [read.scale for _ in channels]
    else:
        train = [read.x[parts[0], channel] for channel in channels]
        means = [float(one.mean(dtype=np.float64)) for one in train]
        # The deviation of equal values is rounding, so it must not become a divisor.
        scales = [float(one.std(dtype=np.float64)) if one.min() < one.max() else 1.0 for one in train]
    arrays = []
    for part in parts:
        x = np.empty((len(part), *read.x.shape[1:]), dtype=np.float32)
        with np.errstate(over="ignore"):
            for channel in channels:
                x[:, channel] = (read.x[part, channel] - np.float64(means[channel])) / scales[channel]
        _refuse([bool(np.isfinite(row).all()) for row in x], rows[part], name)
        arrays.append(x)
    columns = [f"channel {channel}" for channel in channels]
    return arrays, {"axes": read.axes, "columns": columns, "means": means, "scales": scales}


def _refuse(sound: Sequence[bool], rows: Rows, name: str) -> None:
    if not all(sound):
        row = rows[sound.index(False)] + 1
        raise UserError(f"{name}: array {shown(INPUTS)}, row {row}: holds NaN, infinity or a number too large for float32")
