"""Namespaces: what a job cannot see it cannot read, spoil or outlive. Where the kernel refuses them, rows say so.

Inside there is no network, every file is read-only but for the job's own folders, the steps of others and the store cannot be
seen, and the job's processes end with its first one (namespaces(7), mount_setattr(2), open_tree(2)). Root gives up the
capabilities by which it could undo that.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmark.limits.child import die_with_parent

_NEWNS, _NEWUSER, _NEWPID, _NEWNET = 0x00020000, 0x10000000, 0x20000000, 0x40000000
_MS_PRIVATE, _MS_REC, _MS_BIND = 1 << 18, 1 << 14, 1 << 12
_PR_CAPBSET_DROP = 24
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same on every architecture
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_CLONE_TREE, _EMPTY_SOURCE, _READ_ONLY = 1, 4, 1
_DROPPED = (2, 12, 16, 17, 18, 19, 21, 22, 24, 25, 27)
"""CAP_DAC_READ_SEARCH, NET_ADMIN, SYS_MODULE, RAWIO, CHROOT, PTRACE, ADMIN, BOOT, RESOURCE, TIME, and MKNOD."""
HOW = {
    "network": "network namespace",
    "test_data": "mount namespace, for these results and those beside them",
    "other_files": "read-only mounts",
}
"""Limit -> what enforces it."""


@dataclass(frozen=True)
class Sandbox:
    """Absolute paths. ``hidden``: folders and files that are empty inside, but for those folders of ``readable`` and ``writable``
    that lie in them."""

    hidden: Sequence[str]
    readable: Sequence[str]
    writable: Sequence[str]


@functools.cache
def available() -> bool:
    """Whether this machine lets a child of this process make itself a sandbox; tries it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "own").mkdir()
        sandbox = Sandbox(hidden=[folder], readable=[], writable=[f"{folder}/own"])
        code = "import json, sys; from benchmark.limits.sandbox import Sandbox, enter; enter(Sandbox(**json.loads(sys.argv[1])))"
        child = subprocess.run(
            [sys.executable, "-c", code, json.dumps(asdict(sandbox))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    return child.returncode == 0


def enter(sandbox: Sandbox) -> None:
    """Returns inside the sandbox, in a grandchild: this process waits there, and ends as the grandchild ends. To be called before
    any thread is started. Raises OSError where the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    _unshare(libc)
    _mount(libc, "none", "/", _MS_REC | _MS_PRIVATE)
    _fork()
    _mount(libc, "proc", "/proc", 0, kind=b"proc")
    kept = {path: _clone(libc, path) for path in (*sandbox.readable, *sandbox.writable)}
    for path in sandbox.hidden:
        if not os.path.exists(path):
            continue  # it lies in one that is hidden already
        if os.path.isdir(path):
            _mount(libc, "tmpfs", path, 0, kind=b"tmpfs")
        else:
            _mount(libc, "/dev/null", path, _MS_BIND)
    for path in kept:
        os.makedirs(path, exist_ok=True)
    _read_only(libc, _AT_FDCWD, b"/", _AT_RECURSIVE)
    if os.path.isdir("/dev/shm"):  # multiprocessing's semaphores
        _mount(libc, "tmpfs", "/dev/shm", 0, kind=b"tmpfs")
        for path in kept:
            os.makedirs(path, exist_ok=True)  # one of them may lie there
    for path, tree in kept.items():
        if path not in sandbox.writable:
            _read_only(libc, tree, b"", _AT_EMPTY_PATH | _AT_RECURSIVE)
        target = os.fsencode(path)
        _call(libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, target, _EMPTY_SOURCE), f"mount {path}")
        os.close(tree)
    _drop_capabilities(libc)


def _call(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _mount(libc: ctypes.CDLL, source: str, target: str, flags: int, kind: bytes | None = None) -> None:
    _call(libc.mount(source.encode(), os.fsencode(target), kind, ctypes.c_ulong(flags), None), f"mount {target}")


def _unshare(libc: ctypes.CDLL) -> None:
    wanted = _NEWNS | _NEWPID | _NEWNET
    if os.geteuid() == 0:
        _call(libc.unshare(wanted), "unshare")
        return
    user, group = os.geteuid(), os.getegid()
    _call(libc.unshare(wanted | _NEWUSER), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path(f"/proc/self/{name}").write_text(text, encoding="ascii")


def _fork() -> None:
    """Goes on in a grandchild. Between it and this process stands the first process of the new process namespace: it collects
    what loses its parent, and when it ends the kernel ends all the others. The first process itself ignores signals, so it
    cannot be the one that works."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        with open(reading, "rb") as pipe:
            told = pipe.read()
        _end_as(int(told) if told else signal.SIGKILL)
    os.close(reading)
    die_with_parent()
    worker = os.fork()
    if worker:
        pid, status = os.wait()
        while pid != worker:
            pid, status = os.wait()
        os.write(writing, str(status).encode())
        os._exit(0)
    os.close(writing)


def _end_as(status: int) -> None:
    """Ends this process as another one has ended."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


def _clone(libc: ctypes.CDLL, path: str) -> int:
    flags = _CLONE_TREE | os.O_CLOEXEC | _AT_RECURSIVE
    return _call(libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags), f"open_tree {path}")


def _read_only(libc: ctypes.CDLL, folder: int, path: bytes, flags: int) -> None:
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY, 0, 0, 0)  # struct mount_attr: set, clear, propagation, user namespace
    _call(libc.syscall(_MOUNT_SETATTR, folder, path, flags, attributes, ctypes.sizeof(attributes)), "mount_setattr")


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    for number in _DROPPED:
        _call(libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "prctl")
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then their upper halves
    _call(libc.capget(header, sets), "capget")
    for number in _DROPPED:
        for kind in range(3):
            sets[3 * (number // 32) + kind] &= ~(1 << (number % 32)) & 0xFFFFFFFF
    _call(libc.capset(header, sets), "capset")
