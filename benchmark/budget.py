"""Build limits, device tiers, and the units they are written in."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from benchmark.errors import UserError

_BYTES = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-zµ]+)\s*")


def _parse(text: str, units: dict[str, float] | dict[str, int], what: str) -> float:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units:
        raise UserError(f"{text!r} is not a {what}: write a number and one of {', '.join(units)}")
    value = float(Decimal(match[1]) * Decimal(str(units[match[2]])))  # 100 us are 0.0001 s to the last bit
    if not 0 < value < math.inf:
        raise UserError(f"{text!r} is not a {what}: it must be above zero and finite")
    return value


def parse_bytes(text: str) -> int:
    """Bytes in a text such as ``"64 KiB"``, rounded to whole ones; raises UserError."""
    size = round(_parse(text, _BYTES, "size"))
    if size < 1:
        raise UserError(f"{text!r} is not a size: it is less than one byte")
    return size


def parse_seconds(text: str) -> float:
    """Seconds in a text such as ``"5 ms"``; raises UserError."""
    return _parse(text, _SECONDS, "duration")


def format_bytes(size: int) -> str:
    """The text that :func:`parse_bytes` reads as ``size``, in the largest unit of which it is a whole number."""
    units = sorted(_BYTES, key=_BYTES.__getitem__, reverse=True)
    return next(f"{size // _BYTES[unit]} {unit}" for unit in units if size % _BYTES[unit] == 0)


def format_seconds(seconds: float) -> str:
    """The text that :func:`parse_seconds` reads as ``seconds``, to the last bit."""
    shortest = Decimal(repr(seconds))
    for unit, digits in (("s", 0), ("ms", 3), ("us", 6)):
        text = f"{shortest.scaleb(digits).normalize():f} {unit}"
        if seconds >= _SECONDS[unit] and parse_seconds(text) == seconds:
            return text
    return f"{shortest:f} s"


@dataclass(frozen=True)
class BuildLimits:
    """What one step may use, with every process it starts. Part of every build step's id. ``seconds``: wall time;
    ``cpu_seconds``: over all cores, None for cores × seconds; ``memory`` in bytes, swap included; ``processes``: with threads;
    ``file_bytes``: of all files that it writes."""

    cores: int = 1
    memory: int = 1024**3
    seconds: float = 60.0
    cpu_seconds: float | None = None
    processes: int = 256
    file_bytes: int = 1024**3

    @property
    def cpu(self) -> float:
        """The limit of CPU seconds."""
        return self.cores * self.seconds if self.cpu_seconds is None else self.cpu_seconds


@dataclass(frozen=True)
class DeviceTier:
    """What a device can hold; a verdict applied when rows are read, so changing it reruns nothing. None: no limit. ``bytes``: of
    the artifact; ``latency_p90``: seconds; ``memory``: of the process that runs it; ``flash``, ``ram``: of a microcontroller."""

    name: str
    bytes: int | None = None
    latency_p90: float | None = None
    memory: int | None = None
    flash: int | None = None
    ram: int | None = None


@dataclass(frozen=True)
class Limit:
    """A limit of a device tier. ``name``: the field and the suite's key. ``column``: of rows, what it limits; ``scale``: how many
    of the column's units one of the limit's is. ``words``: what the limited thing is called before its value."""

    name: str
    column: str
    words: str
    parse: Callable[[str], float]
    format: Callable[[Any], str]
    scale: float = 1

    def of(self, tier: DeviceTier) -> float | None:
        """What a tier allows, in the limit's unit."""
        value: float | None = getattr(tier, self.name)
        return value

    def kept(self, tier: DeviceTier, row: Mapping[str, Any]) -> bool:
        """Whether a row keeps this limit of a tier. A value that is not known keeps none."""
        limit = self.of(tier)
        return limit is None or ((value := row[self.column]) is not None and value <= limit * self.scale)


LIMITS = (
    Limit("bytes", "artifact_bytes", "", parse_bytes, format_bytes),
    Limit("latency_p90", "latency_p90_us", "p90 ", parse_seconds, format_seconds, scale=1e6),
    Limit("memory", "rss_bytes", "memory ", parse_bytes, format_bytes),
    Limit("flash", "flash_bytes", "flash ", parse_bytes, format_bytes),
    Limit("ram", "ram_bytes", "RAM ", parse_bytes, format_bytes),
)
"""All limits of a device tier, in the order in which they are written."""
DEVICES = {
    tier.name: tier
    for tier in (
        DeviceTier("cortex-m4-64k", flash=64 * 1024, ram=16 * 1024),
        DeviceTier("cortex-m4-256k", flash=256 * 1024, ram=64 * 1024),
        DeviceTier("cortex-m4-1m", flash=1024 * 1024, ram=256 * 1024),
    )
}
"""Classes of microcontrollers, named by their flash."""
