"""Compiles a program for an emulated board, and runs it there."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from importlib import resources
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark import NotApplicable
from benchmark_mcu._c import Program

FLASH = RAM = 4 * 1024**2  # of the boards that are emulated; board/board.ld says so to the linker
_FRAME = 64 * 1024  # the largest stack frame: a larger one could jump over what watches the stack
_OPTIMISED = ("-O2", "-std=gnu11", "-ffunction-sections", "-fdata-sections", "-fno-strict-aliasing")
# Frames are watched up to that size; and no float64 may be left, for which a Cortex-M4F has no instructions.
_REFUSED = (f"-Werror=frame-larger-than={_FRAME}", "-Werror=double-promotion", "-Werror=unsuffixed-float-constants")
_SHIFT = 7  # an instruction takes 2 ** 7 ns of the emulator's time, and a tick of the board's timer 40 ns
_TICK_NS = 40
_OVERFLOW = 2**32 - 1


@dataclass(frozen=True)
class Core:
    """A processor core, how gcc is told of it, and the board of QEMU that has it."""

    name: str
    flags: tuple[str, ...]
    machine: str


M4 = Core("Cortex-M4F", ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"), "mps2-an386")
M7 = Core("Cortex-M7", ("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-d16"), "mps2-an500")


@dataclass(frozen=True)
class Built:
    """A program for a core. ``flash_bytes``, ``static_bytes`` (RAM): of the model alone, what the harness needs without it taken
    away; the buffers of its input and output are counted as RAM."""

    core: Core
    image: Path
    classes: int
    flash_bytes: int
    static_bytes: int


@dataclass(frozen=True)
class Run:
    """What a program gave. ``outputs``: float32 (N, K); ``instructions``: int64 (N), of each row; ``stack_bytes``: of the
    first row."""

    outputs: NDArray[np.float32]
    instructions: NDArray[np.int64]
    stack_bytes: int


def flags(program: Program) -> tuple[str, ...]:
    """What gcc is given for a model, whatever the processor."""
    return (*_OPTIMISED, "-ffp-contract=off") if program.exact else _OPTIMISED


def versions() -> dict[str, str]:
    """The compiler and the emulator, as they say themselves."""
    tools = {"compiler": "arm-none-eabi-gcc", "emulator": "qemu-system-arm"}
    return {name: _call([tool, "--version"]).splitlines()[0] for name, tool in tools.items()}


def build(program: Program, core: Core, folder: Path) -> Built:
    """Compiles and links a program in ``folder``, beside a stub that does nothing. Raises NotApplicable, with the figures, where
    it does not fit the board."""
    folder.mkdir(parents=True)
    sizes = (f"-DINPUT={prod(program.input_shape)}", f"-DCLASSES={program.classes}")
    board = Path(str(resources.files("benchmark_mcu") / "board"))
    # Without that option gcc would make calls of memset and memcpy of the loops that start the board.
    harness = [
        _object(board / f"{name}.c", core, folder, *sizes, "-fno-tree-loop-distribute-patterns") for name in ("start", "app")
    ]
    stub = _object(board / "stub.c", core, folder, *sizes)
    objects = []
    for name, text in program.sources.items():
        (folder / name).write_text(text, encoding="utf-8")
        objects.append(_object(folder / name, core, folder, *flags(program), *_REFUSED))
    script = board / "board.ld"
    (flash, static), (own_flash, own_static) = (
        _link([*harness, *parts], core, script, folder / f"{name}.elf") for name, parts in (("model", objects), ("stub", [stub]))
    )
    buffers = 4 * (prod(program.input_shape) + program.classes)
    return Built(
        core=core,
        image=folder / "model.elf",
        classes=program.classes,
        flash_bytes=flash - own_flash,
        static_bytes=static - own_static + buffers,
    )


def _object(source: Path, core: Core, folder: Path, *more: str) -> Path:
    made = folder / f"{source.stem}.o"
    try:
        _call([*_gcc(core), *more, "-c", str(source), "-o", str(made)])
    except RuntimeError as error:
        if found := re.search(r"frame size of (\d+) bytes", str(error)):
            raise NotApplicable(
                f"a stack frame of {int(found[1]):,} bytes is more than the {_FRAME:,} that are watched"
            ) from None
        raise
    return made


def _gcc(core: Core) -> list[str]:
    return ["arm-none-eabi-gcc", *core.flags, *_OPTIMISED]


def _link(objects: list[Path], core: Core, script: Path, image: Path) -> tuple[int, int]:
    """The bytes in flash and in RAM of what was linked."""
    command = [*_gcc(core), "-nostartfiles", "-specs=nano.specs", "-T", str(script), "-Wl,--gc-sections"]
    try:
        _call([*command, *map(str, objects), "-lm", "-o", str(image)])
    except RuntimeError as error:
        if over := re.search(r"region .(FLASH|RAM). overflowed by (\d+) bytes", str(error)):
            needed, there = (FLASH if over[1] == "FLASH" else RAM) + int(over[2]), FLASH if over[1] == "FLASH" else RAM
            raise NotApplicable(f"it needs {needed:,} bytes of {over[1]}, and the emulated board has {there:,}") from None
        raise
    text, data, bss = map(int, _call(["arm-none-eabi-size", str(image)]).splitlines()[1].split()[:3])
    if data + bss > RAM - 2 * _FRAME:
        raise NotApplicable(f"it needs {data + bss:,} bytes of RAM and a stack, and the emulated board has {RAM:,}")
    return text + data, data + bss


def _call(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line or "overflowed" in line] or ["no message"]
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {'; '.join(lines)[:2000]}")
    return done.stdout


def run(built: Built, x: NDArray[np.float32], folder: Path) -> Run:
    """Runs a program on rows ``x``, float32 (N, ...), one after another. Raises NotApplicable where a row takes more instructions
    than the board's timer can count, and RuntimeError where the stack ran into other data
    (which stops no such processor, and spoils its results) or the emulator did not end well."""
    np.ascontiguousarray(x, "<f4").tofile(folder / "in.bin")
    options = ["-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native"]
    command = ["qemu-system-arm", "-M", built.core.machine, "-icount", f"shift={_SHIFT}", *options, "-kernel", str(built.image)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    words = np.fromfile(folder / "out.bin", "<u4") if (folder / "out.bin").exists() else np.zeros(0, "<u4")
    if done.returncode or len(words) != len(x) * (built.classes + 1) + 1:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[0]
        raise RuntimeError(f"{built.core.machine} did not end well: exit code {done.returncode}: {said}")
    if words[-1] == _OVERFLOW:
        raise RuntimeError(f"the stack ran out of the {RAM:,} bytes of RAM that the emulated board has")
    rows = words[:-1].reshape(len(x), built.classes + 1)
    if (rows[:, -1] == _OVERFLOW).any():
        most = (2**32 - 1) * _TICK_NS // 2**_SHIFT
        raise NotApplicable(f"it takes more than the {most:,} instructions that the emulated board's timer can count")
    outputs = np.ascontiguousarray(rows[:, :-1]).view("<f4").astype(np.float32)
    instructions = np.round(rows[:, -1].astype(np.float64) * _TICK_NS / 2**_SHIFT).astype(np.int64)
    return Run(outputs, instructions, int(words[-1]))
