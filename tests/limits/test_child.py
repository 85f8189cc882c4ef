"""What a child starts with and takes from itself, seen from real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import limits


def python(code: str, *arguments: str, env: dict[str, str] | None = None) -> str:
    """What ``code`` prints in a fresh interpreter."""
    run = subprocess.run([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, check=True, env=env)
    return run.stdout.strip()


THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NPROC")


def test_a_child_reads_the_thread_count_from_every_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # the user's own value must not reach a build
    monkeypatch.setenv("PYTHONHASHSEED", "random")
    monkeypatch.setenv("POCKETBENCH_TEST", "kept")
    environment = limits.child_environment(3, Path("/somewhere"), "job")
    code = "import os, sys; print(*(os.environ[name] for name in sys.argv[1:]), sys.flags.utf8_mode)"
    names = (*THREADS, "PYTHONHASHSEED", "POCKETBENCH_TEST", "TMPDIR", "POCKETBENCH_JOB")
    assert python(code, *names, env=environment) == "3 3 3 3 3 0 kept /somewhere job 1"
    assert os.environ["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize(
    "name",
    [
        *("JAX_ENABLE_X64", "XLA_FLAGS", "OMP_SCHEDULE", "PYTHONOPTIMIZE", "LC_NUMERIC", "LANG", "LD_PRELOAD"),
        *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "NPY_DISABLE_CPU_FEATURES", "MALLOC_ARENA_MAX", "WHATEVER_COMES"),
    ],
)
def test_what_changes_results_does_not_reach_a_child(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    assert name not in limits.child_environment(1, Path("/somewhere"), "job")


def test_the_import_path_reaches_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/plugins")
    assert limits.child_environment(1, Path("/somewhere"), "job")["PYTHONPATH"] == "/plugins"


SESSION = """
import os, sys
import onnx, onnxruntime
from onnx import TensorProto, helper
value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", value[:1], value[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
before = len(os.listdir("/proc/self/task"))
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
print(len(os.listdir("/proc/self/task")) - before)
"""


def test_a_runtime_in_a_child_reports_to_nobody(tmp_path: Path) -> None:
    """ONNX Runtime would keep an identifier below HOME, and a thread that sends what is run."""
    environment = limits.child_environment(1, tmp_path, "job") | {"HOME": str(tmp_path / "home")}
    assert python(SESSION, env=environment) == "0"
    assert not (tmp_path / "home").exists()


LIMITED = """
import os, resource, sys
from benchmark.limits import confine
confine(os.getppid(), 10_000, 10_000_000_000)
print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_DATA)[0])
try:
    with open(sys.argv[1], "wb") as file:
        file.write(bytes(10_001))
except OSError as error:
    print(error.strerror)
"""


def test_no_core_dump_and_no_file_beyond_the_limit(tmp_path: Path) -> None:
    assert python(LIMITED, str(tmp_path / "file")).splitlines() == ["(0, 0) 10000000000", "File too large"]
    assert (tmp_path / "file").stat().st_size == 10_000


# The host's death

HOST = """
import subprocess, sys
child = '''
import os, sys, time
from benchmark.limits import confine
confine(int(sys.argv[1]), 2**20, None)
print("ready", flush=True)
time.sleep(20)
print("survived", flush=True)
'''
import os
subprocess.run([sys.executable, "-c", child, str(os.getpid())])
"""


def test_a_child_ends_when_its_host_is_killed() -> None:
    host = subprocess.Popen([sys.executable, "-c", HOST], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    assert host.stdout.readline() == "ready\n"
    host.kill()
    assert host.wait() == -signal.SIGKILL
    assert host.stdout.read() == ""  # the pipe closes with the last process that holds it, which is the child
    host.stdout.close()


def test_a_child_whose_host_is_gone_already_ends_at_once() -> None:
    code = "from benchmark.limits import confine; confine(0, 2**20, None); print('survived')"
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    assert (run.returncode, run.stdout) == (-signal.SIGKILL, "")
