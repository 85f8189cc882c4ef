"""Tree ensembles as C: tables that are walked from the root, which cost flash and next to no RAM."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from benchmark import NotApplicable

_C = """{head}
{tables}

static float logistic(float x) {{ return 1.0f / (1.0f + expf(-x)); }}

void model(const float input{shape}, float output[1][{classes}]) {{
    const float *x = (const float *)input;
    float score[{columns}] = {{{base}}};
    for (int tree = 0; tree < {trees}; ++tree) {{
        {index} node = root[tree];
        while (feature[node] >= 0)
            node = x[feature[node]] <= threshold[node] ? below[node] : above[node];
        for (int k = 0; k < {columns}; ++k)
            score[k] += leaf[below[node]][k];
    }}
    {end}
}}
"""
_ENDS = {
    ("NONE", True): "output[0][0] = 1.0f - score[0];\n    output[0][1] = score[0];",
    ("LOGISTIC", True): "output[0][0] = logistic(-score[0]);\n    output[0][1] = logistic(score[0]);",
    ("NONE", False): "for (int k = 0; k < {columns}; ++k) output[0][k] = score[k];",
    ("LOGISTIC", False): "for (int k = 0; k < {columns}; ++k) output[0][k] = logistic(score[k]);",
    ("SOFTMAX", False): "float top = score[0], sum = 0.0f;\n"
    "    for (int k = 1; k < {columns}; ++k) top = score[k] > top ? score[k] : top;\n"
    "    for (int k = 0; k < {columns}; ++k) sum += output[0][k] = expf(score[k] - top);\n"
    "    for (int k = 0; k < {columns}; ++k) output[0][k] /= sum;",
}


def ensemble(model: onnx.ModelProto) -> onnx.NodeProto | None:
    """The TreeEnsembleClassifier that a model consists of, behind a Flatten where rows are not vectors; None for others."""
    nodes: list[onnx.NodeProto] = list(model.graph.node)
    *before, last = nodes
    if last.op_type != "TreeEnsembleClassifier" or any(node.op_type != "Flatten" for node in before):
        return None
    return last


def c_source(node: onnx.NodeProto, input_shape: tuple[int, ...], head: str) -> str:
    """C of ``void model(const float input[1]..., float output[1][K])``, all in one file. ``input_shape``: of one row. The rules
    are those of ONNX's TreeEnsembleClassifier, of what scikit-learn's trees become. Raises NotApplicable for others."""
    told: dict[str, Any] = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    modes, transform = set(told["nodes_modes"]), told.get("post_transform", b"NONE").decode()
    if not modes <= {b"BRANCH_LEQ", b"LEAF"}:
        raise NotApplicable(f"trees that decide by {', '.join(sorted(one.decode() for one in modes))} are not turned into C")
    if any(told.get("nodes_missing_value_tracks_true", ())):
        raise NotApplicable("trees in which missing values take the true branch are not turned into C")
    labels = told.get("classlabels_int64s") or told["classlabels_strings"]
    ids = np.array(told["class_ids"])
    single = len(labels) == 2 and len(set(ids.tolist())) == 1  # the score of one class, which that of the other follows from
    if (transform, single) not in _ENDS:
        raise NotApplicable(f"trees with the post transform {transform} are not turned into C")
    if single and (set(ids.tolist()) != {0} or (transform == "NONE" and min(told["class_weights"]) < 0)):
        raise NotApplicable(
            "trees with the scores of one of two classes are turned into C as scikit-learn's are written, no others"
        )
    place = {key: index for index, key in enumerate(zip(told["nodes_treeids"], told["nodes_nodeids"], strict=True))}
    leaves = [index for index, mode in enumerate(told["nodes_modes"]) if mode == b"LEAF"]
    row = {index: number for number, index in enumerate(leaves)}
    columns = 1 if single else len(labels)
    values = np.zeros((len(leaves), columns), np.float32)
    of_leaf = zip(told["class_treeids"], told["class_nodeids"], ids, told["class_weights"], strict=True)
    for tree, number, label, weight in of_leaf:
        values[row[place[tree, number]], 0 if single else label] += np.float32(weight)
    trees = np.array(told["nodes_treeids"])
    feature = np.array([-1 if i in row else told["nodes_featureids"][i] for i in range(len(trees))])
    below = np.array([row[i] if i in row else place[trees[i], told["nodes_truenodeids"][i]] for i in range(len(trees))])
    above = np.array([0 if i in row else place[trees[i], told["nodes_falsenodeids"][i]] for i in range(len(trees))])
    root = np.array([place[tree, 0] for tree in dict.fromkeys(trees.tolist())])
    base = np.array(told.get("base_values") or [0.0] * columns, np.float32)
    index = _unsigned(max(len(trees), len(leaves)))
    tables = [
        _table("int16_t" if feature.max(initial=0) < 2**15 else "int32_t", "feature", feature),
        _table("float", "threshold", np.array(told["nodes_values"], np.float32)),
        _table(index, "below", below),
        _table(index, "above", above),
        _table(index, "root", root),
        _table("float", "leaf", values),
    ]
    return _C.format(
        head=head,
        tables="\n".join(tables),
        shape="".join(f"[{size}]" for size in (1, *input_shape)),
        classes=len(labels),
        columns=columns,
        base=", ".join(map(_literal, base)),
        trees=len(root),
        index=index,
        end=_ENDS[transform, single].format(columns=columns),
    )


def _unsigned(largest: int) -> str:
    return "uint16_t" if largest < 2**16 else "uint32_t"


def _table(kind: str, name: str, values: NDArray[Any]) -> str:
    shape = "".join(f"[{size}]" for size in values.shape)
    return f"static const {kind} {name}{shape} = {{{', '.join(map(_literal, values.ravel()))}}};"


def _literal(value: Any) -> str:
    """An item of a C initializer; floats in hexadecimal, so that not a bit is lost."""
    return float(value).hex() + "f" if isinstance(value, np.floating) else str(int(value))
