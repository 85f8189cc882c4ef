"""The file format: an ONNX model to bytes, and back bit for bit.

::

    "PKB1" | CRC-32 of all that follows, 4 bytes | lengths of the four sections as varints | the sections

    structure  length of the skeleton as a varint; the skeleton: the serialized model, its packed initializers without their
               bytes; of each initializer, in order, a recipe; the codebooks one after the other
    gaps       for tensors with places: the number of zeros before each value, in bytes; 255 is 255 zeros and no value yet
    codes      for tensors with a codebook: the number of each value in it, in bytes
    values     for tensors without one: the values themselves

A recipe is three varints: flags, entries of the codebook, stored values; for one that is not packed the flags alone, 0. Flags:
1 = packed; 2 = with places: only what is not zero is stored; 4 = the codebook is float16, the tensor float32. Numbers are
little-endian.
Each section is coded by LZMA (https://tukaani.org/xz/), whose range coder learns how frequent each byte is, and takes a few per
cent more than their entropy.
"""

from __future__ import annotations

import lzma
import math
import zlib
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

Bits: TypeAlias = NDArray[Any]  # elements as unsigned integers of their width: equal bits are equal values, and 0 is zero

_MAGIC = b"PKB1"
_PACKED, _PLACES, _HALF = 1, 2, 4
_FEWEST = 8  # elements of a tensor that is packed: the recipe of a smaller one takes more than it saves
_LARGEST_BOOK = 256
_WINDOW = 1 << 20  # bytes that LZMA looks back; as much memory is taken while decoding
_FILTERS = [
    [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": _WINDOW, "lc": lc, "lp": 0, "pb": pb}]
    # The bytes of text depend on the one before them, those of numbers on their place, gaps and codes on nothing.
    for lc, pb in ((3, 0), (0, 0), (0, 0), (0, 2))
]


@dataclass(frozen=True)
class _Tensor:
    """How one is packed. ``book``: its values, ascending, or None: they are stored as they are. ``gaps``: uint8, or None:
    zeros are stored too. ``values``: what is stored, row by row."""

    book: Bits | None
    half: bool
    gaps: NDArray[np.uint8] | None
    values: Bits

    def recipe(self) -> bytes:
        flags = _PACKED | _PLACES * (self.gaps is not None) | _HALF * self.half
        return b"".join(map(_varint, (flags, 0 if self.book is None else len(self.book), len(self.values))))

    def stored_book(self) -> bytes:
        if self.book is None:
            return b""
        return self.book.view(np.float32).astype(np.float16).tobytes() if self.half else self.book.tobytes()

    def codes(self) -> bytes:
        return b"" if self.book is None else np.searchsorted(self.book, self.values).astype(np.uint8).tobytes()

    def raw(self) -> bytes:
        return self.values.tobytes() if self.book is None else b""


def encode(model: onnx.ModelProto) -> tuple[bytes, int]:
    """The file, and how many initializers are packed in it: all but small ones and texts. Weights in external files must have
    been loaded (``onnx.load`` does); what subgraphs store stays in the skeleton."""
    skeleton = onnx.ModelProto.FromString(model.SerializeToString())
    recipes, tensors = b"", list[_Tensor]()
    for initializer in skeleton.graph.initializer:
        bits = _bits(initializer)
        if bits is None:
            recipes += _varint(0)
            continue
        tensors.append(_pack(bits, is_float32=initializer.data_type == onnx.TensorProto.FLOAT))
        recipes += tensors[-1].recipe()
        initializer.ClearField("raw_data")
    text = skeleton.SerializeToString(deterministic=True)
    sections = (
        _varint(len(text)) + text + recipes + b"".join(one.stored_book() for one in tensors),
        b"".join(one.gaps.tobytes() for one in tensors if one.gaps is not None),
        b"".join(one.codes() for one in tensors),
        b"".join(one.raw() for one in tensors),
    )
    coded = [
        lzma.compress(section, lzma.FORMAT_RAW, filters=filters) if section else b""
        for section, filters in zip(sections, _FILTERS, strict=True)
    ]
    content = b"".join(_varint(len(section)) for section in coded) + b"".join(coded)
    return _MAGIC + zlib.crc32(content).to_bytes(4, "little") + content, len(tensors)


def decode(file: bytes) -> onnx.ModelProto:
    """The model that :func:`encode` was given, equal to it. Raises ValueError for bytes that are no such file."""
    content = _Reader(file)
    if content.take(len(_MAGIC)) != _MAGIC:
        raise ValueError("not a packed model: it does not begin with PKB1")
    if int.from_bytes(content.take(4), "little") != zlib.crc32(content.rest()):
        raise ValueError("the packed model is damaged: its checksum is another")
    lengths = [content.varint() for _ in _FILTERS]
    coded = [content.take(length) for length in lengths]
    try:
        sections = [
            lzma.decompress(section, lzma.FORMAT_RAW, filters=filters) if section else b""
            for section, filters in zip(coded, _FILTERS, strict=True)
        ]
    except lzma.LZMAError as error:
        raise ValueError(f"the packed model is damaged: {error}") from error
    structure, *streams = map(_Reader, sections)
    model: onnx.ModelProto = onnx.ModelProto.FromString(structure.take(structure.varint()))
    recipes = []
    for initializer in model.graph.initializer:
        flags = structure.varint()
        if flags:
            recipes.append((initializer, flags, structure.varint(), structure.varint()))
    for initializer, flags, entries, count in recipes:
        initializer.raw_data = _unpack(initializer, flags, entries, count, structure, *streams).tobytes()
    return model


def _bits(initializer: onnx.TensorProto) -> Bits | None:
    """The elements of an initializer that can be packed, else None."""
    if len(initializer.raw_data) < _FEWEST * (width := _width(initializer) or 1):
        return None
    if len(initializer.raw_data) != width * math.prod(initializer.dims):  # two elements a byte, for example
        return None
    return np.frombuffer(initializer.raw_data, f"<u{width}")


def _width(initializer: onnx.TensorProto) -> int:
    """Bytes of an element; 0 for texts."""
    if initializer.data_type == onnx.TensorProto.STRING:
        return 0
    width = onnx.helper.tensor_dtype_to_np_dtype(initializer.data_type).itemsize
    return width if width in (1, 2, 4, 8) else 0


def _pack(bits: Bits, *, is_float32: bool) -> _Tensor:
    zero = bits == 0
    gaps = _gaps(~zero) if 2 * zero.sum() > bits.size else None
    values = bits if gaps is None else bits[~zero]
    book = np.unique(values)
    if bits.itemsize == 1 or len(book) > _LARGEST_BOOK or 2 * len(book) > len(values):  # then a codebook saves nothing
        return _Tensor(None, half=False, gaps=gaps, values=values)
    half = is_float32 and bool(np.array_equal(_single(_float16(book)), book))
    return _Tensor(book, half=half, gaps=gaps, values=values)


def _float16(book: Bits) -> NDArray[np.float16]:
    with np.errstate(over="ignore", invalid="ignore"):  # what float16 cannot hold is seen by what comes back
        return book.view(np.float32).astype(np.float16)


def _single(book: NDArray[np.float16]) -> Bits:
    return book.astype(np.float32).view(np.uint32)


def _gaps(kept: NDArray[np.bool_]) -> NDArray[np.uint8]:
    zeros = np.diff(np.flatnonzero(kept), prepend=-1) - 1
    full, last = np.divmod(zeros, 255)
    ends = np.cumsum(full + 1) - 1
    gaps = np.full(ends[-1] + 1 if len(ends) else 0, 255, np.uint8)
    gaps[ends] = last
    return gaps


def _unpack(
    initializer: onnx.TensorProto,
    flags: int,
    entries: int,
    count: int,
    structure: _Reader,
    gaps: _Reader,
    codes: _Reader,
    raw: _Reader,
) -> Bits:
    width, size = _width(initializer), math.prod(initializer.dims)
    if not width or count > size:
        raise ValueError(f"the packed model is damaged: {count} values for {size} elements")
    if entries:
        stored = structure.take(entries * (2 if flags & _HALF else width))
        book = _single(np.frombuffer(stored, "<f2")) if flags & _HALF else np.frombuffer(stored, f"<u{width}")
        numbers = np.frombuffer(codes.take(count), np.uint8)
        if count and numbers.max() >= entries:
            raise ValueError("the packed model is damaged: a code beyond its codebook")
        values = book[numbers]
    else:
        values = np.frombuffer(raw.take(count * width), f"<u{width}")
    if not flags & _PLACES:
        if count != size:
            raise ValueError(f"the packed model is damaged: {count} values for {size} elements")
        return values
    places = gaps.places(count)
    if count and places[-1] >= size:
        raise ValueError(f"the packed model is damaged: a value beyond {size} elements")
    bits = np.zeros(size, f"<u{width}")
    bits[places] = values
    return bits


class _Reader:
    """Bytes that are read one part after the other."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def take(self, length: int) -> bytes:
        if self._at + length > len(self._content):
            raise ValueError("the packed model is damaged: it ends too early")
        self._at += length
        return self._content[self._at - length : self._at]

    def rest(self) -> bytes:
        return self._content[self._at :]

    def varint(self) -> int:
        number = shift = 0
        while True:
            (byte,) = self.take(1)
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    def places(self, count: int) -> NDArray[np.int64]:
        """Where the next ``count`` values stand."""
        steps = np.frombuffer(self._content, np.uint8, offset=self._at).astype(np.int64)
        ends = np.flatnonzero(steps < 255)[:count]
        if len(ends) < count:
            raise ValueError("the packed model is damaged: it ends too early")
        self._at += int(ends[-1]) + 1 if count else 0
        return np.cumsum(steps)[ends] + np.arange(count)


def _varint(number: int) -> bytes:
    """LEB128: seven bits a byte, the lowest first, the top bit set in all but the last."""
    digits = []
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])
