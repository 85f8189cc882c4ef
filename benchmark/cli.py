"""The command line: arguments, progress, exit codes. Heavy modules are imported by the command that needs them."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import benchmark
from benchmark import data_command
from benchmark.budget import DEVICES, DeviceTier
from benchmark.errors import USER_MISTAKE, UserError
from benchmark.registry import Provider, Registry, did_you_mean, discover, nearest
from benchmark.specs import TaskSpec

if TYPE_CHECKING:
    from rich.progress import Progress as RichBar
    from rich.progress import TaskID

    from benchmark.folders import Layout
    from benchmark.plan import Plan
    from benchmark.recommend import Answer
    from benchmark.runner import Ended, Progress
    from benchmark.store import StepResult
    from benchmark.suite import Suite
    from benchmark.warm import Earlier

Number = TypeVar("Number", int, float)
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code: 0 ran (failed cells are rows), 1 a plugin is broken (``--list``), a file is
    damaged (``data verify``), results could not be verified (``verify``), or a cell failed or a plugin is broken (``--strict``),
    2 the user's mistake, 130 interrupted."""
    parser = _parser()
    given = sys.argv[1:] if arguments is None else list(arguments)
    _refuse_unknown(parser, given)
    try:
        options = parser.parse_args(given)
    except argparse.ArgumentError as error:
        parser.error(_with_nearest(str(error), parser))
    if not (options.list or options.suite or options.command):
        parser.error("say --suite, --list, recommend, export, leaderboard, explain, compare, data, verify or bundle")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show a character must not end a run
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end children as Ctrl-C does
    try:
        registry = discover(options.plugin or ())
        if not registry.providers() and not registry.broken:
            raise UserError("no plugins found: run pip install -e .")
        if options.list:
            return _list(registry)
        if options.command == "recommend":
            return _recommend(options)
        if options.command == "export":
            return _export(options, registry)
        if options.command == "leaderboard":
            return _leaderboard(options, registry)
        if options.command == "compare":
            return _compare(options)
        for broken in registry.broken:
            print(f"warning: {broken}", file=sys.stderr)
        if options.command == "explain":
            return _explain(options, registry)
        if options.command == "data":
            return data_command.run(options, registry)
        if options.command == "verify":
            return _verify(options, registry)
        if options.command == "bundle":
            return _bundle(options)
        return _run(options, registry)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_MISTAKE
    except BrokenPipeError:  # who reads what is printed has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python fails again when it ends
        return 1
    except KeyboardInterrupt:
        print("interrupted: everything finished is kept; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmark",
        description="Benchmarks of small models under fixed hardware budgets.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("--version", action="version", version=f"pocketbench {benchmark.__version__}")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="show the plugins that were found")
    what.add_argument("--suite", metavar="NAME|FILE", help="run a suite: one that comes with PocketBench, or a TOML file")
    _add_grid(parser)
    _add_plugin(parser)
    _add_track(parser)
    parser.add_argument("--fresh", action="store_true", help="run every step again")
    parser.add_argument("--dry-run", action="store_true", help="show what would run, be reused or be skipped, and why")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a cell failed or a plugin is broken")
    enforced = "refuse to run where a limit cannot be enforced"
    parser.add_argument("--require-enforced", action="store_true", help=enforced)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="other commands")
    recommend = commands.add_parser("recommend", help="which file to ship on a device, and why", allow_abbrev=False)
    export = commands.add_parser("export", help="write what recommend chooses as a folder to build on", allow_abbrev=False)
    for command in (recommend, export):
        command.add_argument("--task", metavar="NAME", required=True)
        command.add_argument("--bytes", metavar="SIZE", help='at most so large, as in "64 KiB"')
        command.add_argument("--latency", metavar="TIME", help='p90 at most so long, as in "1 ms"')
        command.add_argument("--flash", metavar="SIZE", help="of a microcontroller, at most so large")
        command.add_argument("--ram", metavar="SIZE", help="of a microcontroller, at most so large")
        command.add_argument(
            "--device", metavar="NAME", help="what a device of the suite allows, or one of: " + ", ".join(DEVICES)
        )
        command.add_argument("--results", metavar="DIR", type=Path, default=Path("results/edge"), help="default: results/edge")
    export.add_argument("output", metavar="FOLDER", type=Path, help="a new folder")
    export.add_argument("--format", metavar="NAME", default="onnx", help="onnx, or what a runtime writes: c; default: onnx")
    leaderboard = commands.add_parser("leaderboard", help="make the tables of a run again, and print them", allow_abbrev=False)
    leaderboard.add_argument("results", metavar="DIR", type=Path, help="its results folder")
    _add_track(leaderboard, default=argparse.SUPPRESS)
    leaderboard.add_argument("--plots", action="store_true", help="also draw plots for a paper, into DIR/plots")
    explain = commands.add_parser("explain", help="why a cell would run again, or be reused", allow_abbrev=False)
    explain.add_argument("cell", metavar="CELL", help="a part of its name as --dry-run prints it")
    explain.add_argument("--suite", metavar="NAME|FILE", default="edge", help="default: edge")
    _add_grid(explain)
    compare = commands.add_parser("compare", help="what changed beyond noise between two results folders", allow_abbrev=False)
    for name in ("A", "B"):
        compare.add_argument(name.lower(), metavar=name, type=Path, help="a results folder")
    data_command.add_parser(commands)
    verify = commands.add_parser("verify", help="whether results, or a bundle, are what they say", allow_abbrev=False)
    verify.add_argument("path", metavar="DIR|FILE.zip", type=Path, help="a results folder, or a bundle of one")
    bundle = commands.add_parser("bundle", help="results as one file, for others to verify", allow_abbrev=False)
    bundle.add_argument("results", metavar="DIR", type=Path, help="a results folder")
    bundle.add_argument("--output", metavar="FILE.zip", type=Path, help="default: beside the folder, with its name")
    for command in commands.choices.values():
        _add_plugin(command, default=argparse.SUPPRESS)  # what stands before the command is kept
    return parser


def _refuse_unknown(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Ends with a line that names an option that no command has: argparse would blame what follows it."""
    known = {name for one in (parser, *_commands(parser).values()) for name in one._option_string_actions}
    for argument in arguments:
        name = argument.partition("=")[0]
        if argument == "--":
            return
        if name.startswith("--") and name not in known:
            parser.error(f"unknown option {name}{did_you_mean(name, known)}")


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return next(dict(one.choices) for one in parser._actions if isinstance(one, argparse._SubParsersAction))


def _with_nearest(message: str, parser: argparse.ArgumentParser) -> str:
    """argparse's message, for an unknown command with the one that may be meant instead of all."""
    found = re.search(r"^argument COMMAND: invalid choice: '(.*)' \(choose", message)
    return f"unknown command {found[1]!r}{nearest(found[1], _commands(parser))}" if found else message


def _add_plugin(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    text = "also load a plugin that is a single file, not installed; may be repeated"
    parser.add_argument("--plugin", metavar="FILE.py", type=Path, action="append", help=text, default=default)


def _add_track(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    text = "afterwards tell this tracker of the cells that are new or have changed; may be repeated"
    parser.add_argument("--track", metavar="NAME", action="append", help=text, default=default)


def _add_grid(parser: argparse.ArgumentParser) -> None:
    for option, what in (("--task", "tasks"), ("--backend", "back ends"), ("--recipe", "recipes (and the reference)")):
        parser.add_argument(option, metavar="GLOB", action="append", help=f"only {what} whose name matches; may be repeated")
    parser.add_argument("--seeds", metavar="N", type=_count, help="seeds 0 to N-1 instead of the suite's")
    parser.add_argument("--folds", metavar="N", type=_count, help="folds 0 to N-1 instead of the suite's")
    parser.add_argument("--jobs", metavar="N", type=_count, help="build jobs at once; default: as many as there are cores for")
    parser.add_argument("--results", metavar="DIR", type=Path, help="results folder; default: results/<suite>")
    warm = "searches also begin with what did best on other tasks in this results folder"
    parser.add_argument("--warm-start", metavar="DIR", type=Path, help=warm)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _list(registry: Registry) -> int:
    rows = [
        (one.path, one.spec.summary, f"{one.distribution} {one.version}", f"unavailable: {one.hint}" if one.missing else "")
        for one in registry.providers()
    ]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, [*widths, 0], strict=True)).rstrip())
    for broken in registry.broken:
        print(broken, file=sys.stderr)
    return 1 if registry.broken else 0


def _suite(options: argparse.Namespace, registry: Registry) -> tuple[Suite, Registry, Path, Earlier | None]:
    """The part of the suite that was asked for, all of it checked, the registry with its own tasks, its results folder, and the
    run that its searches start from."""
    from benchmark import runner
    from benchmark import suite as suites
    from benchmark.own import with_own
    from benchmark.search_plan import plan

    whole = suites.load(options.suite)
    suite = whole.select(
        tasks=options.task or ("*",),
        backends=options.backend or ("*",),
        recipes=options.recipe or ("*",),
        seeds=options.seeds,
        folds=options.folds,
    )
    try:
        registry = with_own(registry, whole.own)
        for one in (whole, suite):  # whatever is wrong with the suite is said before anything is started, also in the rest of it
            plan(one, registry, {}, runner.machine())
    except UserError as error:
        raise UserError(f"suite {suite.name}: {error}") from None
    if options.warm_start and not suite.search:
        raise UserError(f"--warm-start: suite {suite.name} has no searches that could start from {options.warm_start}")
    folder = options.results or Path("results") / suite.name
    if options.warm_start and options.warm_start.resolve() == folder.resolve():
        raise UserError(f"--warm-start: {folder} is where this run writes; start from the results of another one")
    return suite, registry, folder, _earlier(options.warm_start) if options.warm_start else None


def _earlier(results: Path) -> Earlier:
    """The run in a results folder, as searches start from it."""
    from benchmark.folders import open_run
    from benchmark.render.child import render
    from benchmark.warm import Earlier

    with contextlib.closing(open_run(results)) as store:
        name = store.meta("suite")["name"]
    render(results)
    return Earlier.of_rows(name, json.loads((results / "rows.json").read_text(encoding="utf-8")))


def _run(options: argparse.Namespace, registry: Registry) -> int:
    from benchmark import runner
    from benchmark.folders import Layout

    trackers = _trackers(options, registry)
    suite, registry, folder, earlier = _suite(options, registry)
    layout = Layout(folder)
    if options.dry_run:
        return _dry_run(suite, registry, layout, earlier, options)
    _fetch(suite, registry, layout)
    with _progress() as progress:
        ended = runner.run(
            suite,
            registry,
            layout,
            progress,
            jobs=options.jobs,
            fresh=options.fresh,
            require_enforced=options.require_enforced,
            earlier=earlier,
        )
    failed = _finish(ended, layout.root)
    _track(trackers, layout, registry)
    if mistakes := {f"task {cell.task}: {reason}" for cell, reason in ended.unprepared() if cell.task in suite.own}:
        raise UserError(f"suite {suite.name}: {'; '.join(sorted(mistakes))}")  # what the suite says of a file is not so
    return 1 if options.strict and (failed or registry.broken) else 0


def _finish(ended: Ended, folder: Path) -> bool:
    """Prints the tables, where there is something in them, and what the run came to; returns whether a cell failed."""
    from benchmark.render.child import render

    tables = render(folder)
    counts = Counter(outcome for _, outcome, _ in ended.cells)
    if len(ended.unprepared()) < len(ended.cells):
        print(tables.read_text(encoding="utf-8"))
    if not counts["ok"]:  # whatever the reason is, it has scrolled away
        for (outcome, reason), count in Counter((outcome, reason) for _, outcome, reason in ended.cells).most_common(3):
            print(f"no cell is ok: {outcome} ({reason}), {count} of {len(ended.cells)}")
    print(f"{len(ended.cells)} cells: {', '.join(f'{count} {outcome}' for outcome, count in sorted(counts.items()))}")
    print(
        f"{ended.steps_run} steps run. Tables and rows: {folder}/leaderboard.md, rows.csv, rows.json; models: {folder}/artifacts/"
    )
    return len(ended.cells) > counts["ok"] + counts["skipped"]


def _fetch(suite: Suite, registry: Registry, layout: Layout) -> None:
    """Fetches official data that this run needs, where it is not here yet: outside any step's limits, and with a progress bar.
    Where that fails the run goes on, and rows of that task will say why."""
    from benchmark import official, runner
    from benchmark.plan import plan_preparation

    preparation = plan_preparation(suite, registry)
    prepared = runner.look_up(layout, preparation.values())
    for name in dict.fromkeys(task for (task, _), step in preparation.items() if step.id not in prepared):
        try:
            with data_command.progress() as tell:
                official.fetch(cast(TaskSpec, registry.tasks[name].spec).sources, tell)
        except UserError as error:
            print(f"warning: task {name}: {error}", file=sys.stderr)


def _planned(
    suite: Suite, registry: Registry, layout: Layout, earlier: Earlier | None
) -> tuple[Plan, set[tuple[str, int]], dict[str, StepResult]]:
    """What a run would do now: the plan, the (task, fold) pairs that are prepared, and the results that it would reuse."""
    from benchmark import runner
    from benchmark.plan import plan_preparation
    from benchmark.search_plan import plan
    from benchmark.searching import outcomes

    preparation = plan_preparation(suite, registry)
    known = runner.prepared_folds(preparation, runner.look_up(layout, preparation.values()))
    searches = plan(suite, registry, known, runner.machine(), earlier=earlier)
    whole = searches.plan
    if searches.known:
        found = outcomes(searches.known, runner.look_up(layout, whole.steps.values()))
        whole = plan(suite, registry, known, runner.machine(), found, earlier).plan
    return whole, set(known), runner.look_up(layout, whole.steps.values())


def _recommend(options: argparse.Namespace) -> int:
    from benchmark.render.answers import report

    answer, baselines = _answer(options)
    print(report(answer, options.results, baselines))
    return 0


def _export(options: argparse.Namespace, registry: Registry) -> int:
    from benchmark.export import export, new_folder, writer
    from benchmark.render.answers import report

    new_folder(options.output)  # before anything is rendered
    if options.format != "onnx":
        writer(registry, options.format)
    answer, baselines = _answer(options)
    export(answer, options.results, options.output, baselines, options.format, registry)
    print(report(answer, options.results, baselines).partition("\n  smaller")[0])
    runs = f"python {options.output}/infer.py runs it" if options.format == "onnx" else "README.txt how it is built"
    print(f"exported to {options.output}/: MODEL_CARD.md says what it is, {runs}")
    return 0


def _answer(options: argparse.Namespace) -> tuple[Answer, dict[str, float]]:
    """The method that suits what was asked for, and the test scores of the task's baselines."""
    from benchmark.budget import parse_bytes, parse_seconds
    from benchmark.folders import open_run
    from benchmark.recommend import answer
    from benchmark.render.child import render

    asked = {
        "bytes": _quantity("--bytes", parse_bytes, options.bytes),
        "latency_p90": _quantity("--latency", parse_seconds, options.latency),
        "flash": _quantity("--flash", parse_bytes, options.flash),
        "ram": _quantity("--ram", parse_bytes, options.ram),
    }
    try:
        with contextlib.closing(open_run(options.results)) as store:
            tiers = DEVICES | {one["name"]: DeviceTier(**one) for one in store.meta("suite")["tiers"]}
    except UserError as error:
        raise UserError(f"{error}; another folder: --results DIR") from None
    if options.device is not None and options.device not in tiers:
        raise UserError(f"--device: unknown device {options.device!r}{nearest(options.device, tiers)}")
    device = tiers[options.device] if options.device else DeviceTier(name="asked for")
    tier = dataclasses.replace(device, **{name: value for name, value in asked.items() if value is not None})
    render(options.results)
    rows = json.loads((options.results / "rows.json").read_text(encoding="utf-8"))
    mine = [row for row in rows if row["task"] == options.task]
    if not mine:
        other = nearest(options.task, {row["task"] for row in rows}) + "; another folder: --results DIR"
        raise UserError(f"results folder {options.results}: no rows of task {options.task!r}{other}")
    tables = json.loads((options.results / "leaderboard.json").read_text(encoding="utf-8"))["tasks"]
    return answer(options.task, mine, tier), next(table["baselines"] for table in tables if table["task"] == options.task)


def _leaderboard(options: argparse.Namespace, registry: Registry) -> int:
    from benchmark.folders import Layout, open_run
    from benchmark.render.child import render

    trackers = _trackers(options, registry)
    open_run(options.results).close()
    print(render(options.results).read_text(encoding="utf-8"))
    if options.plots:
        from benchmark.render.child import draw

        print(f"{draw(options.results)} plots: {options.results}/plots/")
    _track(trackers, Layout(options.results), registry)
    return 0


def _trackers(options: argparse.Namespace, registry: Registry) -> list[Provider]:
    """What ``--track`` names. Raises UserError for what cannot be used, before anything runs."""
    found = []
    for name in dict.fromkeys(options.track or ()):
        try:
            tracker = registry.get("tracker", name)
        except UserError as error:
            broken = [f"--track: {one}" for one in registry.broken if one.entry_point == name]
            raise UserError(broken[0] if broken else f"--track: {error}") from None
        if tracker.missing:
            raise UserError(f"--track: {name} {tracker.hint}")
        found.append(tracker)
    return found


def _track(trackers: Sequence[Provider], layout: Layout, registry: Registry) -> None:
    """Tells trackers of what the results folder holds, and the user how that went."""
    from benchmark import tracking

    for tracker in trackers:
        tracked = tracking.track(tracker, layout, registry.files)
        print(f"{tracker.spec.name}: told of {tracked.told} cells that are new or have changed: {tracked.output}/")
        if tracked.problem:
            print(f"warning: {tracked.problem}", file=sys.stderr)


def _quantity(option: str, parse: Callable[[str], Number], text: str | None) -> Number | None:
    if text is None:
        return None
    try:
        return parse(text)
    except UserError as error:
        raise UserError(f"{option}: {error}") from None


def _compare(options: argparse.Namespace) -> int:
    from benchmark.compare import compare
    from benchmark.render.comparison import report

    print(report(compare(options.a, options.b)))
    return 0


def _verify(options: argparse.Namespace, registry: Registry) -> int:
    from benchmark import verify

    return verify.report(options.path, registry)


def _bundle(options: argparse.Namespace) -> int:
    from benchmark import bundle
    from benchmark.folders import open_run
    from benchmark.render.child import FILES, render

    root: Path = options.results
    open_run(root).close()
    render(root)  # its tables are of the store that they are bundled with
    output: Path = options.output or root.resolve().with_name(f"{root.resolve().name}.zip")
    print(f"{output}: content sha256 {bundle.pack(root, output, FILES)}")
    return 0


def _explain(options: argparse.Namespace, registry: Registry) -> int:
    from benchmark.explain import explain
    from benchmark.folders import Layout
    from benchmark.store import open_store

    suite, registry, folder, earlier = _suite(options, registry)
    layout = Layout(folder)
    whole, _, finished = _planned(suite, registry, layout, earlier)
    cells = [cell for cell in whole.cells if options.cell in cell.label]
    if not cells:
        words = {word for cell in whole.cells for word in re.split(r" · |: | ", cell.label)}
        hint = f"{did_you_mean(options.cell, words)}; --dry-run prints them all, --suite takes another"
        raise UserError(f"no cell of suite {suite.name} has {options.cell!r} in its name{hint}")
    store = open_store(layout.store) if layout.store.exists() else None
    try:
        for cell in cells:
            print("\n".join(explain(cell, whole, finished, store)))
    finally:
        if store:
            store.close()
    return 0


def _dry_run(suite: Suite, registry: Registry, layout: Layout, earlier: Earlier | None, options: argparse.Namespace) -> int:
    from benchmark import runner
    from benchmark.forecast import forecast
    from benchmark.plan import MEASURED, blocked, judge, worth_measuring

    whole, known, finished = _planned(suite, registry, layout, earlier)
    finished = {} if options.fresh else finished
    for cell in whole.cells:
        steps = cell.steps()
        missing = [id_ for id_ in steps if id_ not in finished]
        if cell.skipped:
            verdict = f"skip: {cell.skipped}"
        elif (cell.task, cell.fold) not in known:
            verdict = "run: its data is not prepared yet, so its steps' ids are unknown"
        elif (ended := judge(cell, finished))[0] not in (None, "ok"):
            verdict = f"reuse: {ended[0]} ({ended[1]})"
        elif cell.search in missing:
            verdict = "run: a search, whose steps are not known before it is over"
        elif missing:
            verdict = f"run: {len(missing)} of {len(steps)} steps are not finished"
        else:
            verdict = f"reuse: all {len(steps)} steps are finished"
        print(f"{cell.label}: {verdict}")
    print(f"{len(whole.cells)} cells, {len(whole.steps)} different steps")
    worth = worth_measuring(whole, finished)
    open_steps = {id_: step for id_, step in whole.steps.items() if step.kind not in MEASURED or id_ in worth}
    without = blocked(open_steps, finished)
    to_run = [step for id_, step in open_steps.items() if id_ not in finished and id_ not in without]
    print(forecast(to_run, runner.recorded(layout), runner.jobs_at_once(suite, options.jobs)))
    return 0


class _Notes:
    """What steps say of their data, each once: the folds of a task say mostly the same."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def new(self, result: StepResult) -> list[str]:
        notes = [note for note in dict.fromkeys(result.facts.get("notes", ())) if note not in self._said]
        self._said.update(notes)
        return notes


class _Lines:
    """Progress as plain lines, for pipes and logs."""

    def __init__(self) -> None:
        self._total = self._done = 0
        self._notes = _Notes()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def stage(self, name: str, to_run: int, reused: int) -> None:
        self._total, self._done = to_run, 0
        print(f"{name}: {to_run} steps to run, {reused} finished earlier", flush=True)

    def started(self, label: str) -> None:
        """Says nothing: the line comes when the step has ended."""

    def finished(self, result: StepResult) -> None:
        self._done += 1
        print(f"[{self._done}/{self._total}] {_ended(result)}", flush=True)
        for note in self._notes.new(result):
            print(f"    {note}", flush=True)

    def said(self, line: str) -> None:
        print(f"    {line}", flush=True)

    def blocked(self, steps: int) -> None:
        print(_blocked(steps), flush=True)


class _Bar:
    """Progress on a terminal: one live bar a stage; only what did not end well stays as a line."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._bar: RichBar = RichProgress(
            TextColumn("{task.fields[stage]:8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),  # a recipe may hold brackets
        )
        self._task: TaskID | None = None
        self._notes = _Notes()

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def stage(self, name: str, to_run: int, reused: int) -> None:
        note = f"{reused} steps finished earlier" if reused else ""
        self._task = self._bar.add_task(note, total=to_run, stage=name)

    def started(self, label: str) -> None:
        if self._task is not None:
            self._bar.update(self._task, description=label)

    def finished(self, result: StepResult) -> None:
        if self._task is not None:
            self._bar.advance(self._task)
        notes = self._notes.new(result)
        if result.outcome != "ok" or notes:
            self._bar.print(_ended(result), markup=False, highlight=False)
        for note in notes:
            self._bar.print(f"    {note}", markup=False, highlight=False)

    def said(self, line: str) -> None:
        if self._task is not None:
            self._bar.update(self._task, description=line)

    def blocked(self, steps: int) -> None:
        self._bar.print(_blocked(steps))


def _ended(result: StepResult) -> str:
    reason = "" if result.outcome == "ok" else f" {result.outcome} ({result.reason})"
    return f"{result.label}{reason} {result.seconds:.1f} s"


def _blocked(steps: int) -> str:
    return f"{steps} steps are left out: what they need was skipped or failed"


def _progress() -> _Lines | _Bar:
    return _Bar() if sys.stdout.isatty() else _Lines()
