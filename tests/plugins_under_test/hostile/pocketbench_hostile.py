"""A zoo: passes that do what no pass should, on checkpoints of the ``linear`` back end and on ONNX artifacts."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmark import CompressorSpec, Context, RuntimeSpec, hookimpl

MODEL = {"stage": "model", "backend": "linear", "requires": {"numpy": "numpy"}}
ON_MODELS = (
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
    ("exits-politely", "ExitsPolitely", "Calls sys.exit(0)."),
    ("recurses", "Recurses", "Recurses for ever."),
    ("hogs-suddenly", "HogsSuddenly", "Takes far too much memory at once."),
    ("hogs-slowly", "HogsSlowly", "Takes ever more memory, in a child."),
    ("spins", "Spins", "Never ends, and is busy."),
    ("forks", "Forks", "Starts processes without end."),
    ("leaves", "Leaves", "Leaves a deaf process in a session of its own, and ends well."),
    ("prints", "Prints", "Prints 200 MB, then raises."),
    ("fills", "Fills", "Writes a file without end."),
    ("scatters", "Scatters", "Writes small files without end."),
    ("takes-two-threads", "TakesTwoThreads", "Works in two threads where one is allowed."),
    ("upsets", "Upsets", "Changes folder, environment and seeds, then ends well."),
    ("edits", "Edits", "Ruins its input, then ends well."),
    ("changes-later", "ChangesLater", "Lets a process change its output after it has ended."),
    ("writes-outside", "WritesOutside", "Writes into the host's package, the results folder and the home folder."),
    ("calls-home", "CallsHome", "Opens a connection."),
    ("lingers", "Lingers", "Ends well, but for a thread that never does."),
    ("looks-around", "LooksAround", "Looks for labels in other results."),
    ("says-what-no-text-can", "SaysWhatNoTextCan", "Claims half a character."),
    ("leaves-arrays", "LeavesArrays", "Leaves a damaged file of the name of the host's."),
    ("forges-nonsense", "ForgesNonsense", "Tells the host of its own end, wrongly."),
    ("pipes-its-result", "PipesItsResult", "Puts a pipe where the host reads how it ended."),
    ("pipes-its-log", "PipesItsLog", "Puts a pipe in the place of its log."),
    ("links-its-log", "LinksItsLog", "Puts a link to a file of the host's in the place of its log."),
    ("links-its-result", "LinksItsResult", "Puts a link to a file of the host's where the host writes."),
    ("links-its-output", "LinksItsOutput", "Puts a link to a folder of the host's in the place of its output."),
    ("links-to-labels", "LinksToLabels", "Gives the prepared fold, labels and all, to the next pass."),
    ("blocks-its-result", "BlocksItsResult", "Puts a folder where the host writes."),
    ("tells-nan", "TellsNan", "Tells the host what is no JSON."),
    ("nests", "Nests", "Tells the host lists in lists without end."),
    ("claims-too-much", "ClaimsTooMuch", "Claims a number of 401 digits."),
    ("removes-its-output", "RemovesItsOutput", "Says that it has ended well, and has no output."),
    ("digs", "Digs", "Makes 1,500 folders within one another."),
    ("holds-unlinked", "HoldsUnlinked", "Writes into files that have no name any more."),
    ("shares-memory", "SharesMemory", "Leaves a piece of System V shared memory."),
    ("takes-rights", "TakesRights", "Makes itself a namespace, a higher priority and a line in the kernel's log."),
    ("turns-its-clock", "TurnsItsClock", "Stops the clock for two seconds."),
    ("lies", "Lies", "Says that it made the model ten times smaller."),
)
ARTIFACT = {"stage": "artifact", "accepts": ("onnx",), "produces": "onnx", "requires": {"onnx": "onnx"}}
ON_ARTIFACTS = (
    ("wrong-shape", "WrongShape", "Gives every output twice."),
    ("wrong-dtype", "WrongDtype", "Gives outputs in double precision."),
    ("batch-dependent", "BatchDependent", "Takes the mean over the batch from each output."),
    ("links-artifact", "LinksArtifact", "Gives back a link to its input's file."),
    ("empties", "Empties", "Makes an artifact without a byte."),
    ("reads-beside", "ReadsBeside", "Keeps its weights in a file outside the artifact."),
)


@hookimpl
def benchmark_compressors() -> list[CompressorSpec]:
    drawing: dict[str, Any] = {**MODEL, "requires": {"benchmark_torch": None, "jax": "jax"}}  # and by that torch
    draws = ("draws", "Draws", "Honest: draws from every global generator that there is, and from a key of JAX.")
    kinds: tuple[tuple[dict[str, Any], tuple[tuple[str, str, str], ...]], ...]
    kinds = ((MODEL, ON_MODELS), (ARTIFACT, ON_ARTIFACTS), (drawing, (draws,)))
    return [
        CompressorSpec(name=name, target=f"pocketbench_hostile:{attribute}", summary=summary, **kind)
        for kind, members in kinds
        for name, attribute, summary in members
    ]


@hookimpl
def benchmark_runtimes() -> list[RuntimeSpec]:
    requires = {"onnxruntime": "onnxruntime"}
    return [
        RuntimeSpec(name=name, target=f"pocketbench_hostile:{attribute}", summary=summary, formats=("onnx",), requires=requires)
        for name, attribute, summary in (
            ("sleeps-on-real-rows", "Sleeps", "Is quick with zeros."),
            ("ruins", "Ruins", "Ruins the artifact that it is given, after it has loaded it."),
        )
    ]


def _copy(context: Context) -> None:
    assert context.input is not None
    shutil.copytree(context.input, context.output, dirs_exist_ok=True)


class Draws:
    def compress(self, context: Context) -> None:
        import random

        import jax
        import numpy as np
        import torch

        Changes().compress(context)
        key = jax.random.key(context.seed)
        drawn = {
            "python": random.random(),
            "numpy": np.random.random(),
            "torch": float(torch.rand(())),
            "jax": float(jax.random.uniform(key)),
        }
        context.report(matched=1, changed=1, **drawn)


class Raises:
    def compress(self, context: Context) -> None:
        raise RuntimeError("this pass\nalways raises")


class Exits:
    def compress(self, context: Context) -> None:
        os._exit(0)


class Hangs:
    def compress(self, context: Context) -> None:
        deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(3600)"
        # The output folder is there to be found by: a number would be one of the job's own namespace.
        child = subprocess.Popen([sys.executable, "-c", deaf, str(context.output)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        print("a grandchild waits", flush=True)
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


class ExitsPolitely:
    def compress(self, context: Context) -> None:
        sys.exit(0)


class Recurses:
    def compress(self, context: Context) -> None:
        self.compress(context)


class HogsSuddenly:
    def compress(self, context: Context) -> None:
        import numpy as np

        np.ones(400_000_000, np.uint8).sum()
        _copy(context)


class HogsSlowly:
    def compress(self, context: Context) -> None:
        code = "import time\nx = []\nwhile True: x.append(bytearray(5_000_000)); time.sleep(0.005)"
        subprocess.run([sys.executable, "-c", code], check=False)
        _copy(context)  # as if nothing had happened


class Spins:
    def compress(self, context: Context) -> None:
        while True:
            pass


class Forks:
    def compress(self, context: Context) -> None:
        while True:
            try:
                if os.fork() == 0:
                    time.sleep(3600)
            except BlockingIOError:
                time.sleep(0.01)


class Leaves:
    def compress(self, context: Context) -> None:
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"
        subprocess.Popen([sys.executable, "-c", code, str(context.output)], start_new_session=True)
        Changes().compress(context)


class Prints:
    def compress(self, context: Context) -> None:
        line = "x" * 99
        for _ in range(200):
            print("\n".join([line] * 10_000))
            time.sleep(0.01)
        raise RuntimeError("it has said everything")


class Fills:
    def compress(self, context: Context) -> None:
        with (context.output / "weights.npz").open("wb") as file:
            while True:
                file.write(bytes(1_000_000))


class Scatters:
    def compress(self, context: Context) -> None:
        for number in itertools.count():
            (context.output / str(number)).write_bytes(bytes(1_000_000))


class TakesTwoThreads:
    def compress(self, context: Context) -> None:
        import hashlib  # it lets go of the interpreter's lock
        import threading

        Changes().compress(context)
        work = bytes(50_000_000)
        threads = [threading.Thread(target=lambda: [hashlib.sha256(work) for _ in range(40)]) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Upsets:
    def compress(self, context: Context) -> None:
        import numpy as np

        os.chdir("/")
        os.environ["OMP_NUM_THREADS"] = "64"
        os.environ["PYTHONHASHSEED"] = "7"
        np.random.seed(7)
        Changes().compress(context)


class Changes:
    """An honest pass."""

    def compress(self, context: Context) -> None:
        import numpy as np

        assert context.input is not None
        weights = np.load(context.input / "weights.npz")["weights"]
        np.savez(context.output / "weights.npz", weights=weights * np.float32(0.5))


class Edits:
    def compress(self, context: Context) -> None:
        Changes().compress(context)
        assert context.input is not None
        for path in context.input.iterdir():
            os.chmod(path, 0o600)
            path.write_bytes(b"ruined")


class ChangesLater:
    def compress(self, context: Context) -> None:
        Changes().compress(context)
        path = context.output / "weights.npz"
        code = f"import time\nfor _ in range(600):\n time.sleep(0.1); open({str(path)!r}, 'ab').write(b'x')"
        subprocess.Popen([sys.executable, "-c", code, str(path)], start_new_session=True)


class WritesOutside:
    def compress(self, context: Context) -> None:
        Changes().compress(context)
        host = Path(str(sys.modules["benchmark"].__file__)).parent
        places = (host / "pwned", context.output.parents[2] / "pwned", Path.home() / "pwned")
        refused = 0
        for place in places:
            try:
                place.write_text("pwned", encoding="utf-8")
            except OSError:
                refused += 1
        raise RuntimeError(f"{refused} of {len(places)} writes were refused")


class CallsHome:
    def compress(self, context: Context) -> None:
        import socket

        socket.create_connection(("127.0.0.1", int(os.environ["BENCHMARK_ZOO_PORT"])), timeout=5)


class Lingers:
    def compress(self, context: Context) -> None:
        import threading

        Changes().compress(context)
        threading.Thread(target=time.sleep, args=(3600,)).start()


class LooksAround:
    def compress(self, context: Context) -> None:
        places = context.output.parents[3].rglob("*")
        told = [path for path in places if path.name in ("test_y.npy", "store.sqlite") or path.suffix in (".html", ".zip")]
        found = [path for path in told if path.stat().st_size]
        raise RuntimeError(f"it found {len(found)}")


class SaysWhatNoTextCan:
    def compress(self, context: Context) -> None:
        Changes().compress(context)
        context.report(matched=1, changed=1, note=os.fsdecode(b"caf\xe9"))


class LeavesArrays:
    def compress(self, context: Context) -> None:
        Changes().compress(context)
        (context.output.parent / "arrays.npz").write_bytes(b"")


class ForgesNonsense:
    def compress(self, context: Context) -> None:
        Changes().compress(context)
        told = {"outcome": "ok", "reason": "", "facts": {}, "how": {}, "observed": {"seconds": 1.0, "memory": "much"}}
        (context.output.parent / "worker.json").write_text(json.dumps(told), encoding="utf-8")
        os._exit(0)


def _tell(context: Context, text: str) -> None:
    """Says in the worker's place how the step has ended, and ends."""
    (context.output.parent / "worker.json").write_text(text, encoding="utf-8")
    os._exit(0)


TOLD = '{"outcome": "ok", "reason": "", "facts": FACTS, "how": {}, "observed": {"seconds": 0.1}}'


class PipesItsResult:
    def compress(self, context: Context) -> None:
        os.mkfifo(context.output.parent / "worker.json")
        os._exit(0)


class PipesItsLog:
    def compress(self, context: Context) -> None:
        (context.output.parent / "log.txt").unlink()
        os.mkfifo(context.output.parent / "log.txt")
        raise RuntimeError("read that")


class LinksItsLog:
    def compress(self, context: Context) -> None:
        Changes().compress(context)
        (context.output.parent / "log.txt").unlink()
        (context.output.parent / "log.txt").symlink_to(os.environ["BENCHMARK_ZOO_VICTIM"])
        time.sleep(0.5)


class LinksItsResult:
    def compress(self, context: Context) -> None:
        Changes().compress(context)
        (context.output.parent / "result.json").symlink_to(os.environ["BENCHMARK_ZOO_VICTIM"])


class LinksItsOutput:
    def compress(self, context: Context) -> None:
        context.output.rmdir()
        context.output.symlink_to(Path(os.environ["BENCHMARK_ZOO_VICTIM"]).parent)
        raise RuntimeError("remove that")


class LinksToLabels:
    def compress(self, context: Context) -> None:
        (fold,) = {path.resolve().parent for path in context.output.parents[1].glob("*/output/fit")}
        context.output.rmdir()
        context.output.symlink_to(fold)
        _tell(context, TOLD.replace("FACTS", "{}"))


class BlocksItsResult:
    def compress(self, context: Context) -> None:
        Changes().compress(context)
        (context.output.parent / "result.json").mkdir()


class TellsNan:
    def compress(self, context: Context) -> None:
        Changes().compress(context)
        _tell(context, TOLD.replace("FACTS", '{"updates": NaN}'))


class Nests:
    def compress(self, context: Context) -> None:
        Changes().compress(context)
        _tell(context, "[" * 100_000)


class ClaimsTooMuch:
    def compress(self, context: Context) -> None:
        Changes().compress(context)
        context.report(matched=1, changed=1, size_ratio=10**400)


class RemovesItsOutput:
    def compress(self, context: Context) -> None:
        context.output.rmdir()
        _tell(context, TOLD.replace("FACTS", "{}"))


class Digs:
    def compress(self, context: Context) -> None:
        os.chdir(context.output)
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
        time.sleep(5)


class HoldsUnlinked:
    def compress(self, context: Context) -> None:
        kept = []
        for number in range(8):
            file = (context.output / str(number)).open("wb")
            file.write(bytes(50_000_000))
            (context.output / str(number)).unlink()
            kept.append(file)
        time.sleep(5)
        Changes().compress(context)


class SharesMemory:
    KEY = 0x504F434B

    def compress(self, context: Context) -> None:
        import ctypes

        Changes().compress(context)
        if ctypes.CDLL(None).shmget(self.KEY, 1_000_000, 0o1666) < 0:
            raise RuntimeError("there is none")


class TakesRights:
    def compress(self, context: Context) -> None:
        import ctypes

        def unshare() -> None:
            if ctypes.CDLL(None, use_errno=True).unshare(0x10000000):
                raise OSError(ctypes.get_errno(), "unshare")

        ways = (unshare, lambda: os.nice(-10), lambda: Path("/dev/kmsg").write_text("pocketbench", encoding="utf-8"))
        refused = 0
        for way in ways:
            try:
                way()
            except OSError:
                refused += 1
        raise RuntimeError(f"{refused} of {len(ways)} were refused")


class TurnsItsClock:
    def compress(self, context: Context) -> None:
        now = time.monotonic()
        time.sleep(2)
        time.monotonic = lambda: now
        Changes().compress(context)


class Lies:
    def compress(self, context: Context) -> None:
        Changes().compress(context)
        context.report(matched=1, changed=1, size_ratio=10.0)


@contextmanager
def _edited(context: Context) -> Iterator[Any]:
    """The graph of the input's model, whose last node gives ``raw`` instead of the output; it is saved afterwards."""
    import onnx

    assert context.input is not None
    model = onnx.load(context.input / "model.onnx")
    model.graph.node[-1].output[0] = "raw"
    yield model.graph
    onnx.save(model, context.output / "model.onnx")


class WrongShape:
    def compress(self, context: Context) -> None:
        from onnx import helper

        with _edited(context) as graph:
            graph.node.append(helper.make_node("Concat", ["raw", "raw"], ["output"], axis=1))
            graph.output[0].type.tensor_type.shape.dim[1].dim_value *= 2


class WrongDtype:
    def compress(self, context: Context) -> None:
        from onnx import TensorProto, helper

        with _edited(context) as graph:
            graph.node.append(helper.make_node("Cast", ["raw"], ["output"], to=TensorProto.DOUBLE))
            graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


class BatchDependent:
    def compress(self, context: Context) -> None:
        import numpy as np
        from onnx import helper, numpy_helper

        with _edited(context) as graph:
            graph.initializer.append(numpy_helper.from_array(np.array([0]), "axes"))
            graph.node.append(helper.make_node("ReduceMean", ["raw", "axes"], ["mean"]))
            graph.node.append(helper.make_node("Sub", ["raw", "mean"], ["output"]))


class LinksArtifact:
    def compress(self, context: Context) -> None:
        assert context.input is not None
        (context.output / "model.onnx").symlink_to(context.input / "model.onnx")


class Empties:
    def compress(self, context: Context) -> None:
        (context.output / "model.onnx").write_bytes(b"")


class ReadsBeside:
    def compress(self, context: Context) -> None:
        import onnx

        assert context.input is not None
        model = onnx.load(context.input / "model.onnx")
        onnx.save(model, context.output / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
        beside = context.output.parent / "weights.bin"
        (context.output / "weights.bin").rename(beside)
        moved = onnx.load(context.output / "model.onnx", load_external_data=False)
        for tensor in moved.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = str(beside)
        (context.output / "model.onnx").write_bytes(moved.SerializeToString())


class Sleeps:
    def load(self, folder: Path, threads: int) -> Any:
        return Sleeping(_session(folder))


class Sleeping(NamedTuple):
    session: Any

    def predict(self, x: Any) -> Any:
        if x.any():
            time.sleep(0.002)
        return self.session.run(None, {self.session.get_inputs()[0].name: x})[0]


class Ruins:
    def load(self, folder: Path, threads: int) -> Any:
        session = _session(folder)
        for path in folder.iterdir():
            os.chmod(path, 0o600)
            path.write_bytes(b"ruined")
        return Plain(session)


class Plain(NamedTuple):
    session: Any

    def predict(self, x: Any) -> Any:
        return self.session.run(None, {self.session.get_inputs()[0].name: x})[0]


def _session(folder: Path) -> Any:
    import onnxruntime  # type: ignore[import-untyped]  # it ships no types

    return onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
