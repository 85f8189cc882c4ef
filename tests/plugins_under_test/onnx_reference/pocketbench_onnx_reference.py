"""A runtime: the evaluator with which ONNX defines its operators. It is written in numpy: slow, and right."""

from pathlib import Path
from typing import Any, NamedTuple

from benchmark import Predictor, RuntimeSpec, hookimpl


@hookimpl
def benchmark_runtimes() -> list[RuntimeSpec]:
    spec = RuntimeSpec(
        name="onnx-reference",
        target="pocketbench_onnx_reference:OnnxReference",
        summary="ONNX's reference evaluator, in numpy.",
        formats=("onnx",),
        requires={"onnx": "onnx", "numpy": "numpy"},
    )
    return [spec]


class OnnxReference:
    def load(self, folder: Path, threads: int) -> Predictor:
        from onnx.reference import ReferenceEvaluator  # here, since the host process imports this module too

        (path,) = folder.glob("*.onnx")
        return Evaluator(ReferenceEvaluator(str(path)))

    def identity(self, folder: Path, input_shape: tuple[int, ...]) -> None:
        import onnx.parser

        tensor = f"float[N,{','.join(map(str, input_shape))}]"
        text = f'<ir_version: 8, opset_import: ["": 17]> model ({tensor} x) => ({tensor} y) {{ y = Identity(x) }}'
        onnx.save(onnx.parser.parse_model(text), folder / "model.onnx")


class Evaluator(NamedTuple):
    model: Any

    def predict(self, x: Any) -> Any:
        return self.model.run(None, {self.model.input_names[0]: x})[0]
