"""``python -m benchmark data``: which tasks use official files, where these are, fetching them ahead, and checking them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import cast
from urllib.parse import urlsplit

from benchmark import official
from benchmark.errors import UserError
from benchmark.registry import Registry
from benchmark.specs import TaskSpec


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``data`` and what it can do to the command line."""
    data = commands.add_parser("data", help="official files of tasks: where they are, fetch, verify", allow_abbrev=False)
    actions = data.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="the tasks that use official files, and where these are")
    fetch = actions.add_parser("fetch", help="fetch what is not here, and print where it is")
    fetch.add_argument("tasks", metavar="TASK", nargs="+")
    verify = actions.add_parser("verify", help="check what is here; exit with 1 when a file is damaged")
    verify.add_argument("tasks", metavar="TASK", nargs="*", help="default: all that use official files")
    path = actions.add_parser("path", help="print the folder of what is fetched, or where the files of a task are")
    path.add_argument("tasks", metavar="TASK", nargs="*")


def run(options: argparse.Namespace, registry: Registry) -> int:
    """Runs ``data``; returns the exit code."""
    if options.action == "list":
        return _list(_specs(registry.tasks, registry))
    specs = _specs(options.tasks, registry)
    for name in options.tasks:
        if name not in [spec.name for spec in specs]:
            print(f"task {name} ships with its package", file=sys.stderr)
    if options.action == "fetch":
        return _fetch(specs)
    if options.action == "verify":
        return _verify(specs if options.tasks else _specs(registry.tasks, registry))
    if not options.tasks:
        print(official.cache())
    return _path(specs)


def _specs(names: Iterable[str], registry: Registry) -> list[TaskSpec]:
    """Those of the tasks that use official files. Raises UserError for a name that no task has."""
    specs = [cast(TaskSpec, registry.get("task", name).spec) for name in dict.fromkeys(names)]
    return [spec for spec in specs if spec.sources]


def _list(specs: list[TaskSpec]) -> int:
    rows = [(spec.name, _place(spec), _hosts(spec), spec.licence) for spec in specs]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, [*widths, 0], strict=True)).rstrip())
    return 0


def _place(spec: TaskSpec) -> str:
    folder = official.located(spec.sources)[1]
    if folder is None:
        return "not here"
    return "mirror" if folder == official.mirror() else "cache"


def _hosts(spec: TaskSpec) -> str:
    hosts = {urlsplit(file.url).hostname or "" for files in spec.sources for file in files}
    return ", ".join(sorted(hosts - {""})) or "no official address"


def _fetch(specs: list[TaskSpec]) -> int:
    for spec in specs:
        with progress() as tell:
            paths = official.fetch(spec.sources, tell)
        for path in paths.values():
            print(path)
    return 0


def _verify(specs: list[TaskSpec]) -> int:
    damaged = False
    for spec in specs:
        folders = official.places()
        for file in dict.fromkeys(file for files in spec.sources for file in files):
            for path in (folder / file.name for folder in folders):
                if path.exists():
                    damage = official.fault(path, file)
                    damaged |= bool(damage)
                    print(f"{spec.name}: {path}: {f'damaged: {damage}' if damage else 'ok'}")
        if not official.located(spec.sources)[1]:
            print(f"{spec.name}: {', '.join(_missing(spec))}: not here")
    return 1 if damaged else 0


def _missing(spec: TaskSpec) -> list[str]:
    folders = official.places()
    return [file.name for file in official.chosen(spec.sources) if not any((folder / file.name).exists() for folder in folders)]


def _path(specs: list[TaskSpec]) -> int:
    for spec in specs:
        files, folder = official.located(spec.sources)
        if folder is None:
            raise UserError(f"task {spec.name}: its files are not here: python -m benchmark data fetch {spec.name}")
        for file in files:
            print(folder / file.name)
    return 0


@contextmanager
def progress() -> Iterator[official.Tell | None]:
    """What shows transfers as bars on stderr; None off a terminal. Nothing is shown where nothing is transferred."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name)
            bars.update(tasks[name], completed=done, total=total or None)

        yield tell
