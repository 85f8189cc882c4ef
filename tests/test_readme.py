"""Every command that the documents print works."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md")


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
    assert "mnist-10k" in run.stdout


def test_the_plugin_in_the_readme_is_the_one_under_test() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    folder = ROOT / "tests" / "plugins_under_test" / "magnitude_torch"
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (project,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert code == (folder / "pocketbench_magnitude_torch.py").read_text(encoding="utf-8")
    assert project == (folder / "pyproject.toml").read_text(encoding="utf-8")
