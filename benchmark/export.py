"""What ``recommend`` chose, as a folder to build on: the model, its constants, a check, a script, and what to watch."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from benchmark import data, folders
from benchmark.errors import UserError, of_the_disk
from benchmark.folders import Layout
from benchmark.jobs import Jobs
from benchmark.measure import quality
from benchmark.measure.outputs import sample
from benchmark.measure.size import artifact_files
from benchmark.plan import PLACE, Cell, stored_cells
from benchmark.recommend import Answer
from benchmark.registry import Provider, Registry, nearest
from benchmark.render.card import model_card
from benchmark.specs import RuntimeSpec
from benchmark.store import Store, open_store

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ONNX = "onnx"
_GOLDEN = 8  # rows
_BINS = 20

_INFER = '''"""``python infer.py`` checks the model on golden.npz; ``python infer.py rows.npy`` tells of rows (N, {shape})."""
import json, os, sys
from pathlib import Path
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported
import numpy as np
import onnxruntime
here = Path(__file__).parent
classes = json.loads((here / "preprocessing.json").read_text(encoding="utf-8"))["classes"]
session = onnxruntime.InferenceSession(str(here / {model!r}), providers=["CPUExecutionProvider"])
golden = np.load(here / "golden.npz")
rows = np.load(sys.argv[1]) if len(sys.argv) > 1 else golden["x"]
if rows.shape[1:] != golden["x"].shape[1:]:
    sys.exit(f"{{sys.argv[1]}}: rows of shape {{rows.shape[1:]}}, not {{golden['x'].shape[1:]}}")
name = session.get_inputs()[0].name
outputs = np.concatenate([session.run(None, {{name: row[None].astype(np.float32)}})[0] for row in rows])
p = {probabilities}
for row in p / p.sum(axis=1, keepdims=True):
    print(classes[row.argmax()], f"{{row.max():.4f}}")
if len(sys.argv) == 1 and not np.allclose(outputs, golden["outputs"], rtol=1e-4, atol=1e-5):
    sys.exit("the outputs are not those of golden.npz: another model, or another processor")
'''
_PROBABILITIES = {"logits": "np.exp(outputs - outputs.max(axis=1, keepdims=True))", "probabilities": "outputs"}


def export(answer: Answer, root: Path, output: Path, baselines: Mapping[str, float], form: str, registry: Registry) -> None:
    """Writes the new folder ``output`` for the answer's best method of the results folder ``root``. ``baselines``: test scores of
    the task's baselines. ``form``: ``onnx``, or one that an installed runtime writes.

    - as ``onnx`` the files of the artifact, unchanged; only ONNX, which numpy and onnxruntime run alone; ``infer.py`` and
      ``golden.npz``: ``x`` float32 (8, ...), the first validation rows, and the ``outputs`` float32 (8, K) stored for them.
    - in another form what the runtime makes of the artifact, with a check of its own on these rows.
    - ``preprocessing.json``: ``classes``, ``input_shape``, what the outputs are, and the task's constants.
    - ``monitor.json`` (:func:`monitor`) and ``MODEL_CARD.md``.

    Raises UserError, one line, where nothing was chosen, something of it is missing or damaged, or the folder cannot be written.
    """
    new_folder(output)
    if answer.best is None:
        raise UserError(f"results folder {root}: nothing of task {answer.task} fits: nothing to export")
    row = answer.best.to_ship
    store = open_store(root / "store.sqlite")
    part = _new_beside(output)
    try:
        cell, layout = _cell(store, row), Layout(root)
        prepared, artifact = layout.step(cell.prepare) / "output", layout.artifact(row["artifact"])
        if not folders.holds(artifact, row["artifact"]):
            raise UserError(f"{artifact}: it is missing or not what was measured; the same run makes it again")
        files = artifact_files(artifact)
        models = [path.relative_to(artifact).as_posix() for path in files if path.suffix == ".onnx"]
        if len(models) != 1:
            raise UserError(f"{artifact}: runtime {row['runtime']}: only artifacts of one ONNX file can be exported")
        if not (prepared / "preprocessing.json").exists():
            raise UserError(f"{prepared}: the prepared data is gone; the same run makes it again")
        facts = store.results([cell.prepare])[cell.prepare].facts
        constants = {
            "classes": facts["classes"],
            "input_shape": facts["input_shape"],
            "outputs": cell.output,
            "constants": json.loads((prepared / "preprocessing.json").read_text(encoding="utf-8")),
        }
        _write(part / "preprocessing.json", constants)
        validation, outputs = data.load_split(prepared / data.FIT, "validation"), store.array(cell.evaluate, "validation")
        rows = sample(len(validation), store.results([cell.evaluate])[cell.evaluate].ingredients.get("rows"))
        golden = np.asarray(validation.x[rows[:_GOLDEN]])
        if form == _ONNX:
            for path in files:
                target = part / path.relative_to(artifact)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            np.savez(part / "golden.npz", x=golden, outputs=outputs[:_GOLDEN])
            shape = ", ".join(map(str, facts["input_shape"]))
            script = _INFER.format(shape=shape, model=models[0], probabilities=_PROBABILITIES[cell.output])
            (part / "infer.py").write_text(script, encoding="utf-8")
        else:
            _written(writer(registry, form), layout, row["artifact"], form, golden, part, registry)
        _write(part / "monitor.json", monitor(data.load_split(prepared / data.FIT, "train"), outputs, cell, facts["classes"]))
        card = model_card(answer, row, store.meta("suite"), facts, baselines)
        if form != _ONNX:
            card += f"\n## The files here\n\n- The ONNX file that all this is of, as {form}; README.txt says what they give.\n"
        (part / "MODEL_CARD.md").write_text(card, encoding="utf-8")
        if output.exists():
            output.rmdir()
        part.rename(output)
    except OSError as error:
        raise of_the_disk(output, error) or UserError(f"{output}: {error.strerror}") from None
    finally:
        store.close()
        shutil.rmtree(part, ignore_errors=True)


def writer(registry: Registry, form: str) -> Provider:
    """The installed runtime that writes ONNX artifacts in a form. Raises UserError, with what installs one."""
    specs = {name: cast(RuntimeSpec, one.spec) for name, one in registry.runtimes.items()}
    found = [registry.runtimes[name] for name, spec in specs.items() if form in spec.writes and _ONNX in spec.formats]
    if not found:
        known = {_ONNX, *(one for spec in specs.values() for one in spec.writes)}
        raise UserError(f"--format: no installed runtime writes {form!r}{nearest(form, known)}")
    if found[0].missing:
        raise UserError(f"--format {form}: {found[0].path} {found[0].hint}")
    return found[0]


def _written(provider: Provider, layout: Layout, digest: str, form: str, x: Any, output: Path, registry: Registry) -> None:
    """Has a runtime write an artifact into ``output``, in a process of its own. Raises UserError with what it said."""
    with tempfile.TemporaryDirectory(prefix=f"{folders.TEMPORARY}export-") as work:
        jobs = Jobs(Path(work), registry.files)
        (rows := Path(work) / "rows").mkdir()
        np.save(rows / "x.npy", x)
        step = jobs.of_artifact("write", "write", provider, layout, digest, {"data": str(rows)}, {"form": form}, 1)
        report = jobs.run([step], [rows])["write"]
        if report is None or report.outcome != "ok":
            raise UserError(f"{provider.path}: {report.reason if report else 'it ended without a result'}")
        shutil.copytree(jobs.step("write") / "output", output, dirs_exist_ok=True)


def _new_beside(output: Path) -> Path:
    """An empty folder of our own in the one that ``output`` is to be in."""
    try:
        if not output.parent.exists():
            output.parent.mkdir(parents=True)
        part = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
        part.chmod(0o755)  # it is given to others
    except OSError as error:
        raise of_the_disk(output, error) or UserError(f"{output}: {error.strerror}") from None
    return part


def new_folder(output: Path) -> None:
    """Raises UserError where something is in the way of a new folder."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output}: it is there already: name a new folder")


def _cell(store: Store, row: Mapping[str, Any]) -> Cell:
    return next(cell for cell in stored_cells(store) if all(getattr(cell, key) == row[key] for key in PLACE))


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def monitor(train: Any, outputs: NDArray[np.float32], cell: Cell, classes: Sequence[str]) -> dict[str, Any]:
    """What later rows are to be compared with, to see whether they have drifted away: histograms of the ``inputs`` of the
    training rows (of tables of each column, of images and sequences of each channel's values), class shares of these rows, and
    of the validation ``outputs`` (N, K) the histogram of the largest probability and the share of each predicted class.

    Each histogram has ``edges`` (B + 1), ``counts`` (B) and ``n``. To compare: the population stability index, the sum over bins
    of ``(q - p) * log(q / p)`` for the shares p here and q of new rows; below 0.1 is little, above 0.25 much (Siddiqi 2006,
    "Credit risk scorecards", chapter 8).
    """
    x = np.asarray(train.x)
    columns = x.T if x.ndim == 2 else np.moveaxis(x, 1, 0)
    p = quality.probabilities(outputs, "logits" if cell.output == "logits" else "probabilities")
    labels = quality.labels(outputs)
    return {
        "inputs": [{"index": index, **_histogram(column.ravel())} for index, column in enumerate(columns)],
        "train_class_shares": {name: float(np.mean(train.y == k)) for k, name in enumerate(classes)},
        "largest_probability": _histogram(p.max(axis=1), (0.0, 1.0)),
        "predicted_class_shares": {name: float(np.mean(labels == k)) for k, name in enumerate(classes)},
        "rows": {"train": len(x), "validation": len(outputs)},
    }


def _histogram(values: NDArray[Any], ends: tuple[float, float] | None = None) -> dict[str, Any]:
    counts, edges = np.histogram(np.asarray(values, np.float64), bins=_BINS, range=ends)
    return {"edges": edges.tolist(), "counts": counts.tolist(), "n": int(counts.sum())}
