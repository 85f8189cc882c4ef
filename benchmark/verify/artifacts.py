"""Artifacts: their files by their hashes, and what is read from these."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from benchmark import bundle
from benchmark.folders import Layout
from benchmark.jobs import Jobs, key_of
from benchmark.measure import size
from benchmark.registry import Provider, Registry
from benchmark.runner import machine
from benchmark.store import StepResult
from benchmark.verify.findings import Findings, count, short
from benchmark.verify.subject import Subject

_FACTS = (
    "bytes",
    "parameters",
    "nonzero_parameters",
    "macs",
    "dtypes",
    "resident_weight_bytes",
    "activation_peak_bytes",
    "program",
)
"""What is read from an artifact's files, in the step ``inspect``."""
_DEFLATE = 0.05  # by so much releases of zlib may differ


def hash_all(layout: Layout, findings: Findings) -> None:
    """Where no store says which artifacts there should be: those that are there."""
    sound = 0
    for folder in sorted((layout.root / "artifacts").glob("*")):
        sound += _is_sound(layout, folder.name, f"artifacts/{folder.name}", findings)
    findings.did(f"{count(sound, 'artifact')} hashed")


def check_artifacts(subject: Subject, findings: Findings) -> set[str]:
    """Hashes the artifacts of the results; returns those that are what their names say."""
    sound = set[str]()
    owners = _owners(subject, findings)
    for digest, owner in owners.items():
        if not bundle.HASH.fullmatch(digest):
            findings.differ(f"{owner}: artifact: {short(digest)!r} is no hash")
        elif not subject.layout.artifact(digest).exists():
            findings.cannot(f"{owner}: artifact {digest} is not there: its bytes, and what it gives")
        else:
            sound |= {digest} if _is_sound(subject.layout, digest, owner, findings) else set()
    findings.did(f"{len(sound)} of {count(len(owners), 'artifact')} hashed")
    return sound


def _is_sound(layout: Layout, digest: str, where: str, findings: Findings) -> bool:
    """Whether the files of an artifact have the hash that its name says."""
    try:
        found = size.artifact_digest(layout.artifact(digest))
    except (OSError, ValueError) as error:
        findings.differ(f"{where}: artifact {digest}: {error}")
        return False
    if found != digest:
        findings.changed(where, "artifact", digest, found)
    return found == digest


def _owners(subject: Subject, findings: Findings) -> dict[str, str]:
    """Artifact -> the first cell that ships it, else the step that made it."""
    found: dict[str, str] = {}
    for cell in subject.cells:
        with findings.guarded(f"{cell.label}: its artifact"):
            if digest := subject.shipped(cell):
                found.setdefault(digest, cell.label)
    for result in subject.results.values():
        if made := result.facts.get("artifact"):
            found.setdefault(str(made), result.label)
    return found


def inspect_again(subject: Subject, sound: Collection[str], jobs: Jobs, findings: Findings) -> None:
    """Reads sizes and what a graph holds from the files again, in a child."""
    told: dict[str, dict[str, Any]] = {}
    steps: dict[str, str] = {}
    for result in subject.results.values():
        made = subject.results.get(str(result.ingredients.get("artifact")))
        digest = str(made.facts.get("artifact")) if made else ""
        if result.kind != "inspect" or result.outcome != "ok" or digest not in sound:
            continue
        decoder = _decoder(result, subject.registry)
        if isinstance(decoder, str):
            findings.cannot(f"{result.label}: {decoder}")
            continue
        with findings.guarded(f"{result.label}: artifact {digest}"):
            key = key_of("inspect", digest, decoder.spec.target if decoder else "")
            # A store of an earlier version does not say; there only what a runtime decoded is no ONNX.
            format_ = result.ingredients.get("format", "" if decoder else "onnx")
            told[key] = jobs.of_artifact(key, "inspect", decoder, subject.layout, digest, {}, {"format": format_}, 1)
            steps[result.id] = key
    findings.tell(f"{count(len(told), 'artifact')}: inspect again")
    reports = jobs.run(list(told.values()))
    for id_, key in steps.items():
        result, report = subject.results[id_], reports[key]
        if report is None or report.outcome != "ok":
            findings.cannot(f"{result.label}: {report.reason if report else 'the process ended, or took too long'}")
            continue
        with findings.guarded(f"{result.label}: what store.sqlite has of it"):
            _compare_facts(result, report.facts, subject, findings)


def _decoder(result: StepResult, registry: Registry) -> Provider | str | None:
    """The runtime that decoded an artifact to inspect it, None where none had to; or why it cannot be used here."""
    name = result.ingredients.get("provider")
    found = [one for one in registry.runtimes.values() if one.identity == name]
    if name is None:
        return None
    return (found[0].hint or found[0]) if found else f"{name} is not installed"


def _compare_facts(result: StepResult, facts: Mapping[str, Any], subject: Subject, findings: Findings) -> None:
    owner = next((cell.label for cell in subject.cells if cell.inspect == result.id), result.label)
    other_code = result.ingredients.get("measure") != machine().measure_digest
    right = {}
    for name in _FACTS:
        stands, found = result.facts.get(name), facts.get(name)
        if stands == found:
            continue
        right[name] = found
        column = "artifact_bytes" if name == "bytes" else name
        if other_code and name != "bytes":
            findings.cannot(f"{owner}: {column}: {short(stands)} stands there, {short(found)} here (another version reads files)")
        else:
            findings.changed(owner, f"{column} in store.sqlite", stands, found)
    deflate, found = result.facts.get("deflate_bytes"), facts["deflate_bytes"]
    if not isinstance(deflate, int) or abs(deflate - found) > _DEFLATE * found:
        findings.changed(owner, "deflate_bytes in store.sqlite", deflate, found)
        right["deflate_bytes"] = found
    if right:
        subject.put_right(result.id, right, {})
