"""A program as a folder to build on: C, a header, a golden input and output, and a check that runs on any machine with gcc."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark_mcu import _board
from benchmark_mcu._board import Built, Run
from benchmark_mcu._c import Program

_HEADER = """/* One row in, {classes} outputs out; values in the order of the model's input, {shape}.
   {state}
   On a Cortex-M4F: {flash} bytes of flash, and {ram} bytes of RAM with both buffers and the stack. */
#ifndef MODEL_H
#define MODEL_H

#ifdef __cplusplus
extern "C" {{
#endif

#define MODEL_INPUTS {inputs}
#define MODEL_OUTPUTS {classes}
#define MODEL_ARENA_BYTES {arena}

void model(const float input{dims}, float output[1][{classes}]);

#ifdef __cplusplus
}}
#endif
#endif
"""
_CHECK = """/* Runs the model on the golden rows; ends with 1 where an output is not what the emulated Cortex-M4F gave. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden.h"
#include "model.h"

int main(void) {{
    int wrong = 0;
    for (int row = 0; row < GOLDEN_ROWS; ++row) {{
        float output[1][MODEL_OUTPUTS];
        model((const void *)golden_input[row], output);
        for (int k = 0; k < MODEL_OUTPUTS; ++k)
            wrong += {differs};
    }}
    printf("%d of %d outputs differ{how}\\n", wrong, GOLDEN_ROWS * MODEL_OUTPUTS);
    return wrong > 0;
}}
"""
_EXACT = "memcmp(&output[0][k], &golden_output[row][k], sizeof(float)) != 0"
_CLOSE = "!(fabsf(output[0][k] - golden_output[row][k]) <= 1e-4f + 1e-4f * fabsf(golden_output[row][k]))"
_MAKEFILE = """# `make check` builds the model for this machine and compares it with the golden outputs.
CC = gcc
CFLAGS = {flags}

check: golden_check
\t./golden_check

golden_check: check.c {sources} model.h golden.h
\t$(CC) $(CFLAGS) -o $@ check.c {sources} -lm

clean:
\trm -f golden_check

.PHONY: check clean
"""
_README = """The model as C
==============
{sources}: the model; no heap, no files, no libraries but libm
golden.h, check.c, Makefile: `make check` compares {rows} rows with what an emulated Cortex-M4F gave{how}
preprocessing.json: how a row is made of raw values; `classes`, in the order of the outputs, which are what `outputs` says
monitor.json: what later rows are to be compared with
MODEL_CARD.md: scores, cost, origin

For a board, here a Cortex-M4F; one such model in a program, as names are not prefixed:

    arm-none-eabi-gcc {core} {flags} -c {compiled}

Of these flags -fno-strict-aliasing is needed, since values of several types share one arena, and -ffp-contract=off, where it
stands, for the same bits.
"""


def write(program: Program, built: Built, ran: Run, x: NDArray[np.float32], output: Path) -> None:
    """Writes the folder. ``built``, ``ran``: the program on a Cortex-M4F, and what it gave for rows ``x``, float32 (N, ...)."""
    for name, text in program.sources.items():
        _write(output / name, text)
    compiled = " ".join(program.sources)
    flags = " ".join(_board.flags(program))
    shape = (1, *program.input_shape)
    header = _HEADER.format(
        classes=program.classes,
        shape=" x ".join(map(str, shape)),
        arena=program.arena_bytes,
        state=f"Not reentrant: what lies between operators is in one static arena of {program.arena_bytes} bytes."
        if program.arena_bytes
        else "It has no state.",
        flash=built.flash_bytes,
        ram=built.static_bytes + ran.stack_bytes,
        inputs=prod(shape),
        dims="".join(f"[{size}]" for size in shape),
    )
    _write(output / "model.h", header)
    golden = [_array("golden_input", x.reshape(len(x), -1)), _array("golden_output", ran.outputs)]
    _write(output / "golden.h", "\n".join([f"#define GOLDEN_ROWS {len(x)}", *golden, ""]))
    how = ", bit for bit" if program.exact else " by more than 1e-4"
    _write(output / "check.c", _CHECK.format(differs=_EXACT if program.exact else _CLOSE, how="" if program.exact else how))
    _write(output / "Makefile", _MAKEFILE.format(flags=flags, sources=compiled))
    readme = _README.format(
        sources=", ".join([*program.sources, "model.h"]),
        rows=len(x),
        how=how if program.exact else ", to 1e-4",
        core=" ".join(built.core.flags),
        flags=flags,
        compiled=compiled,
    )
    _write(output / "README.txt", readme)


def _array(name: str, values: NDArray[Any]) -> str:
    rows = ",\n".join(f"    {{{', '.join(float(value).hex() + 'f' for value in row)}}}" for row in values)
    return f"static const float {name}[{len(values)}][{values.shape[1]}] = {{\n{rows}\n}};"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
