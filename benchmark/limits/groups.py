"""Where the control groups of a process lie: cgroups(7), proc_pid_mountinfo(5)."""

from __future__ import annotations

from pathlib import Path


def own_groups(process: Path, kind: str) -> dict[str, Path]:
    """Controller -> the folder of the group that a process has for it, where its hierarchy is mounted. ``process``: its folder in
    /proc. ``kind``: ``cgroup``, or ``cgroup2``, which has one hierarchy, under the empty name."""
    mounts, own = _mounts(process, kind), _own(process)
    return {name: _below(mounts[name], own[name]) for name in mounts if name in own}


def _mounts(process: Path, kind: str) -> dict[str, tuple[str, Path]]:
    """Controller (empty in version 2) -> the part of its hierarchy that is mounted, and where."""
    found: dict[str, tuple[str, Path]] = {}
    for line in (process / "mountinfo").read_text(encoding="utf-8").splitlines():
        left, _, right = line.partition(" - ")
        type_, _, options = right.split(" ", 2)
        if type_ == kind:
            root, mounted = left.split()[3:5]
            for controller in options.split(",") if kind == "cgroup" else [""]:
                found.setdefault(controller, (root, Path(mounted)))
    return found


def _own(process: Path) -> dict[str, str]:
    """Controller (empty in version 2) -> the path of this process's group in its hierarchy."""
    found = {}
    for line in (process / "cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _below(mount: tuple[str, Path], path: str) -> Path:
    root, mounted = mount
    return mounted / path.removeprefix(root).lstrip("/") if root != "/" else mounted / path.lstrip("/")
