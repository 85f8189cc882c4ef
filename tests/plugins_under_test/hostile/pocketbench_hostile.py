"""Passes of the ``linear`` back end that do what no pass should."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

from benchmark import CompressorSpec, Context, hookimpl


@hookimpl
def benchmark_compressors() -> list[CompressorSpec]:
    return [
        CompressorSpec(
            name=name,
            target=f"pocketbench_hostile:{attribute}",
            summary=summary,
            stage="model",
            backend="linear",
            requires={"numpy": "numpy"},
        )
        for name, attribute, summary in (
            ("raises", "Raises", "Raises."),
            ("exits", "Exits", "Ends the process with exit code 0."),
            ("hangs", "Hangs", "Starts a child that ignores SIGTERM, then hangs."),
            ("segfaults", "Segfaults", "Kills itself with SIGSEGV."),
            ("does-nothing", "DoesNothing", "Gives back its input."),
            ("matches-nothing", "MatchesNothing", "Gives back its input and says that it matched no layer."),
            ("changes-nothing", "ChangesNothing", "Makes other weights and says that it changed no layer."),
            ("widens", "Widens", "Lets itself run on every core."),
            ("nan", "Nan", "Makes every weight NaN."),
            ("links", "Links", "Gives back links to its input."),
            ("leaves-nothing", "LeavesNothing", "Writes no file."),
            ("speaks", "Speaks", "Logs, prints and claims."),
        )
    ]


def _copy(context: Context) -> None:
    assert context.input is not None
    shutil.copytree(context.input, context.output, dirs_exist_ok=True)


class Raises:
    def compress(self, context: Context) -> None:
        raise RuntimeError("this pass\nalways raises")


class Exits:
    def compress(self, context: Context) -> None:
        os._exit(0)


class Hangs:
    def compress(self, context: Context) -> None:
        deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(3600)"
        child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        print("grandchild", child.pid, flush=True)
        time.sleep(3600)


class Segfaults:
    def compress(self, context: Context) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class DoesNothing:
    def compress(self, context: Context) -> None:
        _copy(context)


class MatchesNothing:
    def compress(self, context: Context) -> None:
        _copy(context)
        context.report(matched=0, changed=0)


class Nan:
    def compress(self, context: Context) -> None:
        import numpy as np

        assert context.input is not None
        weights = np.load(context.input / "weights.npz")["weights"]
        np.savez(context.output / "weights.npz", weights=np.full_like(weights, np.nan))


class Links:
    def compress(self, context: Context) -> None:
        assert context.input is not None
        (context.output / "weights.npz").symlink_to(context.input / "weights.npz")


class LeavesNothing:
    def compress(self, context: Context) -> None:
        pass


class Speaks:
    def compress(self, context: Context) -> None:
        _copy(context)
        print("a line for the log")
        context.log(1, loss=2.0)
        context.log(2, loss=1.0)
        context.report(matched=1, changed=1, artifact_bytes=1)


class ChangesNothing:
    def compress(self, context: Context) -> None:
        import numpy as np

        assert context.input is not None
        weights = np.load(context.input / "weights.npz")["weights"]
        np.savez(context.output / "weights.npz", weights=weights * np.float32(0.5))
        context.report(matched=1, changed=0)


class Widens:
    def compress(self, context: Context) -> None:
        _copy(context)
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
