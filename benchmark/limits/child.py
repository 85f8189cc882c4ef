"""The child's side: the environment it starts in, and what it takes from itself before a plugin's code runs."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

from benchmark import official
from benchmark.limits.guard import JOB

_PR_SET_PDEATHSIG = 1
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NPROC")
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "TZ", "SSL_CERT_FILE")
_KEPT_PREFIXES = ("BENCHMARK_", "POCKETBENCH_")
_PROXIES = ("_proxy", "_PROXY")


def child_environment(threads: int, temporary: Path, job: str) -> dict[str, str]:
    """What a job needs to find its programs, and nothing else of the host's environment: libraries compute something else for
    many a variable, and no id knows of them. Thread counts, hash seed, encoding and temporary folder are fixed, and libraries
    are told to report to nobody. ``job``: its name, see :data:`guard.JOB`."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES) or name.endswith(_PROXIES)
    }
    environment.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    # A job changes its working directory, where a relative name would mean another folder.
    environment |= {
        name: os.path.abspath(environment[name]) for name in (official.MIRROR, official.CACHE) if environment.get(name)
    }
    environment.update(PYTHONHASHSEED="0", PYTHONUTF8="1", PYTHONUNBUFFERED="1", LC_ALL="C.UTF-8", TMPDIR=str(temporary))
    # From 1.29 on ONNX Runtime reports to its makers from a thread of its own: that would be measured, and is nobody's business.
    environment["ORT_DISABLE_TELEMETRY"] = "1"
    environment[JOB] = job
    return environment


def die_with_parent() -> None:
    """The kernel kills this process when its parent ends, however that ends (Linux)."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


def confine(host: int, file_bytes: int, data_bytes: int | None) -> None:
    """Called first thing in a child. The kernel kills it when process ``host`` ends, however that ends; it leaves no core dump,
    writes no file larger than ``file_bytes``, and has at most ``data_bytes`` of private memory, touched or not."""
    die_with_parent()
    if os.getppid() != host:  # the host ended before the call above
        os.kill(os.getpid(), signal.SIGKILL)
    with suppress(OSError):  # where memory runs out around the host, a job gives way, not the host
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: file_bytes, resource.RLIMIT_DATA: data_bytes}
    for name, value in limits.items():
        if value is not None:
            hard = resource.getrlimit(name)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(name, (value, value))
