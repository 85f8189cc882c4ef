"""Rebuilds ``watch_imu.npz.xz`` bit for bit from the wheel of the Python package ``seglearn`` 1.2.5 (see SOURCE.md).

::

    pip download --no-deps --only-binary :all: seglearn==1.2.5
    python make_data.py seglearn-1.2.5-py3-none-any.whl
"""

from __future__ import annotations

import hashlib
import io
import lzma
import sys
import zipfile
from pathlib import Path

import numpy as np

ARCHIVE_SHA256 = "ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd"
OUTPUT = Path(__file__).parent / "watch_imu.npz.xz"
STEPS = np.array([2e-4, 2e-4, 2e-4, 1e-3, 1e-3, 1e-3])  # g, rad/s: the range fits 16 bits, the error is half a step


def main(archive: Path) -> None:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != ARCHIVE_SHA256:
        sys.exit(f"{archive}: expected sha256 {ARCHIVE_SHA256}, found {found}")
    with zipfile.ZipFile(archive) as wheel:
        content = wheel.read("seglearn/data/watch_dataset.npy")
    # The package ships a pickle; unpickling runs code, which is acceptable only because the archive's hash was just checked.
    data = np.load(io.BytesIO(content), allow_pickle=True).item()
    buffer = io.BytesIO()
    np.savez(
        buffer,
        samples=np.ascontiguousarray(np.rint(np.concatenate(data["X"]) / STEPS).T, dtype=np.int16),
        lengths=np.array([len(recording) for recording in data["X"]], np.uint16),
        subjects=np.asarray(data["subject"], np.uint8),
        exercises=np.asarray(data["y"], np.uint8),
    )
    # Differences between neighbours in time (two bytes apart) compress better.
    filters = [
        {"id": lzma.FILTER_DELTA, "dist": 2},
        {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME},
    ]
    OUTPUT.write_bytes(lzma.compress(buffer.getvalue(), filters=filters))
    print(hashlib.sha256(OUTPUT.read_bytes()).hexdigest(), OUTPUT.name, OUTPUT.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
