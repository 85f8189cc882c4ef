"""Namespaces: what a job cannot see it cannot read, spoil or outlive. Where the kernel refuses them, rows say so.

Inside there is no network, every file is read-only but for the job's own folders, the steps of others and the store cannot be
seen, shared memory of the system is the job's own, and its processes end with its first one (namespaces(7), mount_setattr(2),
open_tree(2)). It is in a user namespace and cannot make another, so that root has no capability outside it. What is not closed:
sockets and pipes with a name outside /run.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmark.limits.child import die_with_parent

_NEWNS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
_MS_PRIVATE, _MS_REC, _MS_BIND = 1 << 18, 1 << 14, 1 << 12
_PR_CAPBSET_DROP = 24
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same on every architecture
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_CLONE_TREE, _EMPTY_SOURCE, _READ_ONLY = 1, 4, 1
_KEPT_CAPABILITIES = (0, 1)
"""CAP_CHOWN and CAP_DAC_OVERRIDE: what root needs to read and write its own folders."""
_LAST_CAPABILITY = 63
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SOCKETS = "/run"  # where the sockets of the machine's services lie, which a read-only mount does not close
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
    # In a user namespace of its own a job could mount its control groups once more, and write to them.
    Path("/proc/sys/user/max_user_namespaces").write_text("0", encoding="ascii")
    kept = {path: _clone(libc, path) for path in (*sandbox.readable, *sandbox.writable)}
    _few_devices(libc)
    for path in (*([] if holds_python(_SOCKETS, kept) else [_SOCKETS]), *sandbox.hidden):
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


def holds_python(folder: str, kept: Iterable[str] = ()) -> bool:
    """Whether the interpreter, what it imports or something that is kept lies in a folder, so that it cannot be hidden."""
    needed = (*kept, sys.prefix, sys.base_prefix, *filter(None, sys.path))
    return any(os.path.realpath(path).startswith(f"{os.path.realpath(folder)}/") for path in needed)


def _unshare(libc: ctypes.CDLL) -> None:
    """A user namespace too, for root: in it there is no capability outside. Everybody stays who they are, as far as that can be
    said inside: root keeps all users, others are alone."""
    user, group, pid = os.geteuid(), os.getegid(), os.getpid()
    if user:
        maps = {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
    else:
        maps = {name: _same(Path(f"/proc/self/{name}").read_text(encoding="ascii")) for name in ("uid_map", "gid_map")}
    reading, writing = os.pipe()
    helper = os.fork()
    if not helper:  # only who is outside may map more than itself
        os.close(writing)
        if user or not os.read(reading, 1):
            os._exit(0)
        _write_maps(pid, maps)
        os._exit(0)
    os.close(reading)
    _call(libc.unshare(_NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUSER), "unshare")
    if user:
        _write_maps(pid, maps)
    else:
        os.write(writing, b"x")
    os.close(writing)
    if os.waitpid(helper, 0)[1]:
        raise OSError(errno.EPERM, "uid_map")


def _same(table: str) -> str:
    """A map of ids to themselves, for those that a table of /proc has on its inside."""
    ranges = [line.split() for line in table.splitlines()]
    return "".join(f"{inside} {inside} {count}\n" for inside, _, count in ranges)


def _write_maps(pid: int, maps: Mapping[str, str]) -> None:
    for name, text in maps.items():
        Path(f"/proc/{pid}/{name}").write_text(text, encoding="ascii")


def _few_devices(libc: ctypes.CDLL) -> None:
    """Puts a /dev in place in which there is nothing that changes the machine: devices work on read-only mounts, too."""
    nodes = {path: _clone(libc, path) for path in _DEVICES if os.path.exists(path)}
    _mount(libc, "tmpfs", "/dev", 0, kind=b"tmpfs")
    os.mkdir("/dev/shm")
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"/dev/{name}")
    for path, tree in nodes.items():
        Path(path).touch()
        _call(libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(path), _EMPTY_SOURCE), f"mount {path}")
        os.close(tree)


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
    dropped = [number for number in range(_LAST_CAPABILITY + 1) if number not in _KEPT_CAPABILITIES]
    for number in dropped:
        libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)  # refused for numbers that this kernel does not have
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then their upper halves
    _call(libc.capget(header, sets), "capget")
    for number in dropped:
        for kind in range(3):
            sets[3 * (number // 32) + kind] &= ~(1 << (number % 32)) & 0xFFFFFFFF
    _call(libc.capset(header, sets), "capset")
