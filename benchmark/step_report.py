"""What a job reports of its steps: ``worker.json``, read as the word of a stranger, whose code has run in the same process.

Nothing in it can end the host or lead it to another file; texts are made sayable, numbers are finite, and facts are those that a
step of its kind has, each of its type. That they are true is another matter: what ranks a row is measured apart from them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, get_args

from benchmark import folders
from benchmark.errors import one_line
from benchmark.space import Proposal
from benchmark.specs import DEVICE_COUNTS
from benchmark.store import Outcome

FILE = "worker.json"
_MOST_BYTES = 4 * 1024**2
_MOST_DIGITS = 18  # of a whole number, so that it fits into 64 bits
_DEEPEST = 7  # lists and objects within one another
_Check: TypeAlias = Callable[[Any], bool]


@dataclass(frozen=True)
class StepReport:
    """What is known of a step that has ended. ``observed``, ``how``: limit -> what was seen, and what enforced it. ``ended``:
    seconds since 1970."""

    outcome: Outcome
    reason: str
    facts: dict[str, Any]
    observed: Mapping[str, Any]
    how: Mapping[str, str]
    ended: float


def read_report(part: Path, kind: str) -> StepReport | None:
    """What was told of the step of this kind that works in folder ``part``; None where it has not come to the end. What cannot
    be right is ``invalid``."""
    path = part / FILE
    try:
        ended = path.lstat().st_mtime
        content = folders.read_own(path, _MOST_BYTES)
    except OSError:
        return None
    except ValueError as error:
        return _refused(str(error), 0.0, ended)
    seconds = 0.0
    try:
        told = json.loads(content, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
        if _depth(told) > _DEEPEST:
            raise ValueError("it is nested too deeply")
        told = _sayable(told)
        observed = {name: value for name, value in told["observed"].items() if name in ("seconds", "memory", "cores")}
        if not all(_is_number(value) for value in observed.values()):
            raise ValueError("observed values must be numbers")
        seconds = observed["seconds"]
        how = {str(name): str(value) for name, value in told["how"].items()}
        if told["outcome"] not in get_args(Outcome):
            raise ValueError(f"there is no outcome {told['outcome']!r}")
        facts = _facts(kind, told["facts"]) if told["outcome"] == "ok" else {}
        return StepReport(told["outcome"], one_line(str(told["reason"])), facts, observed, how, ended)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return _refused(str(error), seconds, ended)


def _refused(why: str, seconds: float, ended: float) -> StepReport:
    reason = one_line(f"it left a report that no step of its kind leaves: {why}")
    return StepReport("invalid", reason, {}, {"seconds": seconds}, {}, ended)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else float(_refuse(digits))


def _whole(digits: str) -> int:
    return int(digits) if len(digits) <= _MOST_DIGITS else int(_refuse(f"{digits[:_MOST_DIGITS]}..."))


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def _sayable(value: Any) -> Any:
    """A JSON value in whose texts halves of characters, which no file can say, are replaced."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_sayable(key): _sayable(one) for key, one in value.items()}
    return [_sayable(one) for one in value] if isinstance(value, list) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _are_claims(value: Any) -> bool:
    return isinstance(value, dict) and all(one is None or isinstance(one, int | float | str) for one in value.values())


def _is_of_device(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    shares = {name: one for name, one in value.items() if name == "label_agreement"}
    texts = {name: one for name, one in value.items() if name not in (*DEVICE_COUNTS, *shares)}
    return (
        all(_is_count(value[name]) for name in DEVICE_COUNTS if name in value)
        and all(_is_number(one) and 0 <= one <= 1 for one in shares.values())
        and all(map(_is_text, texts.values()))
    )


_LAYERS: dict[str, _Check] = {"matched": _is_count, "changed": _is_count, "claims": _are_claims}
_TRAINED: dict[str, _Check] = {
    "updates": _is_count,
    "stopped_by": lambda value: value in ("updates", "early", "deadline"),
    "compile_seconds": lambda value: _is_number(value) and value >= 0,
}
_TIMED = ("load_ns", "first_call_ns", "warm_up_calls")


@dataclass(frozen=True)
class _Facts:
    """What a step of one kind tells: fact -> its check. ``needed``: none may be missing; ``together``: all or none of them."""

    needed: Mapping[str, _Check] = field(default_factory=dict)
    together: Mapping[str, _Check] = field(default_factory=dict)
    optional: Mapping[str, _Check] = field(default_factory=dict)


def _is_proposal(value: Any) -> bool:
    if value is None:
        return True
    try:
        return Proposal.from_json(value).to_json() == value and all(
            map(_are_claims, [value["training"], *(params for _, params in value["passes"])])
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


_STARTED: dict[str, _Check] = {"start_seconds": lambda value: _is_number(value) and value >= 0}
_BUILT = _Facts(together=_LAYERS, optional={**_TRAINED, **_STARTED})
_TOLD: dict[str, _Check] = {"fingerprint": _is_text, "input_shape": _are_counts, "classes": _are_texts, "notes": _are_texts}
_PREPARED = _Facts(needed={**_TOLD, "rows": _is_count})
_FACTS = {
    "prepare": _PREPARED,
    "split": _PREPARED,
    "train": _BUILT,
    "pass": _BUILT,
    "export": _BUILT,
    "identity": _Facts(),
    "write": _Facts(),
    "evaluate": _Facts(
        needed={"repeatable": _is_bool, "batch_rows": _is_count, "batch_label_changes": _is_count},
        optional={"device": _is_of_device},
    ),
    "latency": _Facts(
        needed={**{f"artifact_{name}": _is_count for name in _TIMED}, "disturbances": _are_numbers},
        optional={f"{role}_{name}": _is_count for role in ("anchor", "floor") for name in _TIMED},
    ),
    "propose": _Facts(needed={"proposal": _is_proposal, **_STARTED}),
    "validate": _Facts(
        needed={"repeatable": _is_bool, "batch_rows": _is_count, "batch_label_changes": _is_count},
        optional={"device": _is_of_device, "rss_bytes": _is_count, "latency_p90_us": _is_number, **_STARTED},
    ),
    "memory": _Facts(optional={"rss_bytes": _is_count}),  # of a runtime's floor there may be none
}


def _facts(kind: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that a step of this kind has. Raises ValueError where one is not what it must be."""
    if kind == "inspect":
        return dict(told)  # of strangers' code only a runtime's runs there, which is trusted
    one = _FACTS[kind]
    known = {**one.needed, **one.together, **one.optional}
    facts = {name: value for name, value in told.items() if name in known}
    needed = one.needed.keys() | (one.together.keys() if one.together.keys() & facts.keys() else set())
    if lacking := needed - facts.keys():
        raise ValueError(f"{min(lacking)} is missing")
    for name, value in facts.items():
        if not known[name](value):
            raise ValueError(f"{name} cannot be {one_line(repr(value))[:80]}")
    return facts
