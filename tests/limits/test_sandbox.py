"""What a job sees and can do inside its namespaces, from real processes. Skipped where the kernel refuses namespaces."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmark.limits.sandbox import Sandbox, available

pytestmark = pytest.mark.skipif(not available(), reason="the kernel refuses namespaces here")

INSIDE = """
import json, os, sys
from pathlib import Path
from benchmark.limits.sandbox import Sandbox, enter
enter(Sandbox(**json.loads(sys.argv[1])))
"""


def inside(sandbox: Sandbox, code: str) -> subprocess.CompletedProcess[str]:
    """Runs ``code`` in a sandbox."""
    command = [sys.executable, "-c", INSIDE + code, json.dumps(asdict(sandbox))]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Sandbox]:
    """A folder with a space in its name, and a sandbox in which its ``secret`` and ``store`` are hidden."""
    root = tmp_path / "a place"
    for name in ("secret/own", "secret/data", "secret/other", "open"):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_text(name, encoding="utf-8")
    (root / "store").write_text("labels", encoding="utf-8")
    hidden = [str(root / "secret"), str(root / "store")]
    return root, Sandbox(hidden, [str(root / "secret" / "data")], [str(root / "secret" / "own")])


def test_what_is_hidden_readable_and_writable(place: tuple[Path, Sandbox]) -> None:
    root, sandbox = place
    code = f"""
root = Path({str(root)!r})
print(sorted(path.relative_to(root).as_posix() for path in root.rglob("*")), (root / "store").read_text() == "")
for name in ("secret/own", "secret/data", "open", "secret"):
    try:
        (root / name / "new").write_text("new")
        print(name, "written")
    except OSError as error:
        print(name, error.strerror)
"""
    run = inside(sandbox, code)
    assert (run.returncode, run.stderr) == (0, "")
    seen = ["open", "open/file", "secret", "secret/data", "secret/data/file", "secret/own", "secret/own/file", "store"]
    refused = "Read-only file system"
    assert run.stdout.splitlines() == [
        f"{seen} True",
        "secret/own written",
        f"secret/data {refused}",
        f"open {refused}",
        f"secret {refused}",
    ]
    assert (root / "secret" / "own" / "new").read_text(encoding="utf-8") == "new"
    assert (root / "store").read_text(encoding="utf-8") == "labels"


def test_there_is_no_network(place: tuple[Path, Sandbox]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
        subprocess.run([sys.executable, "-c", code], check=True)  # from outside it can be reached
        run = inside(place[1], code)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == "OSError: [Errno 101] Network is unreachable"


def test_mounts_cannot_be_undone(place: tuple[Path, Sandbox]) -> None:
    root, sandbox = place
    code = f"import ctypes; print(ctypes.CDLL(None).umount2({str(root / 'store').encode()!r}, 2))"
    assert inside(sandbox, code).stdout == "-1\n"


def test_no_other_process_is_seen(place: tuple[Path, Sandbox]) -> None:
    code = "print(os.getpid(), sorted(int(name) for name in os.listdir('/proc') if name.isdecimal()))"
    assert inside(place[1], code).stdout == "2 [1, 2]\n"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit(7)", 7),
        ("os._exit(255)", 255),
        ("os.kill(os.getpid(), 11)", -signal.SIGSEGV),
        ("os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("os.abort()", -signal.SIGABRT),
    ],
)
def test_it_ends_as_what_is_inside_ends(place: tuple[Path, Sandbox], code: str, expected: int) -> None:
    assert inside(place[1], code).returncode == expected


def test_everything_inside_dies_with_the_process_outside(place: tuple[Path, Sandbox]) -> None:
    root, sandbox = place
    mark = str(root / "secret" / "own")
    code = f"""
import subprocess, time
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(99)"
child = subprocess.Popen([sys.executable, "-c", deaf, {mark!r}], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print("ready", flush=True)
time.sleep(99)
"""
    command = [sys.executable, "-c", INSIDE + code, json.dumps(asdict(sandbox))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as outside:
        assert outside.stdout is not None
        assert outside.stdout.readline() == "ready\n"
        assert len(_living(mark)) >= 3
        outside.kill()
    deadline = time.monotonic() + 5
    while _living(mark):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _living(mark: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "cmdline").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        except OSError:
            continue
    return found
