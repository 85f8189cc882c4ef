"""Every command that the documents print works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
DOCUMENTS = ("README.md", "CONTRIBUTING.md", *PAGES)


def commands(document: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def test_ci_runs_the_test_command() -> None:
    _, test = (line for line in commands("README.md") if "pip install" in line)
    assert test in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert commands("CONTRIBUTING.md") == [test]


def test_the_install_command_names_what_there_is() -> None:
    install, _ = (line for line in commands("README.md") if "pip install" in line)
    pip, _, run = install.partition(" && ")
    assert pip == 'python -m pip install -c constraints.txt -e ".[all]"'
    assert (ROOT / "constraints.txt").exists()
    assert run == "python -m benchmark --suite edge"


BENCHMARK_COMMANDS = sorted(
    # test_smoke tries recommend, which needs a run
    {one for line in commands("README.md") for one in line.split(" && ") if " benchmark " in one and " recommend " not in one}
)


@pytest.mark.parametrize("line", BENCHMARK_COMMANDS)
def test_benchmark_commands(line: str, command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    arguments = shlex.split(line)[3:]
    if "--suite" in arguments and "--dry-run" not in arguments:
        arguments.append("--dry-run")  # the grid is planned in full; test_smoke runs one
    run = command(*arguments)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert ("pneumonia-mnist" if "data" in arguments else "mnist-10k") in run.stdout


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_pages(page: str, command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Suites are planned in full; what reads the results of a run of hours must be there and say how it is called."""
    for line in commands(page):
        arguments = shlex.split(line)
        if arguments[:3] == ["python", "-m", "benchmark"]:
            run = command(*arguments[3:], "--dry-run")
            assert (run.returncode, run.stderr) == (0, "")
        else:
            assert arguments[0] == "python"
            assert f"``python {arguments[1]} " in (ROOT / arguments[1]).read_text(encoding="utf-8")


def tomls(text: str) -> dict[str, str]:
    """The TOML files in a document, by their first table."""
    found = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    return {one.partition("]")[0].removeprefix("["): one for one in found}


CUSTOMERS = "household,age,plan,closed_on,left\n" + "".join(
    f"{i // 2},{20 + 37 * i % 50},{'basic' if i % 3 else 'full'},{'2024' if i % 4 == 0 else ''},{'yes' if i % 4 == 0 else 'no'}\n"
    for i in range(240)
)


def test_the_readmes_own_data_runs(command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    (tmp_path / "churn.toml").write_text(tomls((ROOT / "README.md").read_text(encoding="utf-8"))["suite"], encoding="utf-8")
    (tmp_path / "customers.csv").write_text(CUSTOMERS, encoding="utf-8")
    run = command("--suite", "churn.toml", "--backend", "sklearn", "--results", "here")
    assert run.returncode == 0, run.stderr
    assert "2 cells: 1 ok, 1 skipped" in run.stdout  # a tree has no weights to round
    board = (tmp_path / "here" / "leaderboard.md").read_text(encoding="utf-8")
    assert "(24 households)" in board  # of 120, in one fold of five
    assert "- classes: no (0), yes (1)" in board
    assert "gateway" in board
    # Without the line that leaves it out, the column that tells the target stops the task.
    (tmp_path / "leaky.toml").write_text(
        (tmp_path / "churn.toml").read_text(encoding="utf-8").replace("drop =", "# drop ="), encoding="utf-8"
    )
    leaky = command("--suite", "leaky.toml", "--backend", "sklearn", "--results", "there")
    assert "customers.csv: column 'closed_on' tells the target 'left' exactly" in leaky.stdout


def test_the_plugin_in_the_readme_is_the_one_under_test() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    folder = ROOT / "tests" / "plugins_under_test" / "magnitude_torch"
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    project = tomls(text)["build-system"]
    assert code == (folder / "pocketbench_magnitude_torch.py").read_text(encoding="utf-8")
    assert project == (folder / "pyproject.toml").read_text(encoding="utf-8")


def test_the_conformance_test_in_contributing_runs(site: Callable[..., Path], tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "test_rules.py").write_text(code, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_rules.py"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site("linear")), os.environ.get("PYTHONPATH", "")])}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "1 passed" in run.stdout, run.stdout + run.stderr
