"""The bytes of an NPZ file -> its arrays, and images and sequences in the layout and range of a network."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmark import UserError
from benchmark_own._columns import LARGEST, Column
from benchmark_own._splits import Rows
from benchmark_own._words import counted, listed, nearest, plain, shown

Modality: TypeAlias = Literal["image", "sequence", "tabular"]
INPUTS = "x"
"""The array of an NPZ file that holds the inputs."""
_BROKEN = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading an NPZ file raises where it is damaged, or something else."""
_FITTING: dict[int, tuple[Modality, ...]] = {2: ("tabular",), 3: ("sequence", "image"), 4: ("image",)}
"""Axes of ``x`` -> what it can be."""
_CHANNELS = (1, 3, 4)


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


def read_npz(content: bytes, name: str, target: str, unit: str, modality: str) -> Arrays:
    """The arrays ``x``, which must be what ``modality`` says, ``target`` and, unless it is empty, ``unit`` of an NPZ file. Raises
    UserError, naming the array."""
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
        hint = " (texts: save them as array.astype(str))" if "Object arrays" in str(error) else ""
        raise UserError(f"{name}: is no NPZ file of plain arrays: {error}{hint}") from None
    x = arrays[INPUTS]
    if x.dtype.kind not in "biuf":
        raise UserError(f"{name}: array {shown(INPUTS)} has dtype {x.dtype}: numbers are needed")
    if not x.size:
        raise UserError(f"{name}: array {shown(INPUTS)} is empty: its shape is {x.shape}")
    if x.ndim not in _FITTING:
        raise UserError(f"{name}: array {shown(INPUTS)} has shape {x.shape}: tables have 2 axes, sequences 3, images 3 or 4")
    if modality not in _FITTING[x.ndim]:
        what = f"array {shown(INPUTS)} with {x.ndim} axes is {' or '.join(_FITTING[x.ndim])}"
        raise UserError(f"{name}: {what}, not {shown(modality)}: change modality")
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


def signal(x: NDArray[Any], kind: str, rows: Rows, train: Rows, name: str) -> Signal:
    """The layout and range of images or sequences, the range by the places ``train`` in them; ``rows``: places in the file.
    Raises UserError, naming the row, for a value that is no number that float32 can hold."""
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
    if kind == "image" and x[train].min() >= 0 and x[train].max() <= 1:
        scale = 1.0
        notes.append("images left as they are: the values of all training rows lie in 0 to 1")
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
