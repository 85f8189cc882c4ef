"""A task: malignant or benign tumour from 30 measurements of cell nuclei, the table that comes with scikit-learn."""

from benchmark import Split, TaskData, TaskSpec, hookimpl


@hookimpl
def benchmark_tasks() -> list[TaskSpec]:
    spec = TaskSpec(
        name="breast-cancer",
        target="pocketbench_breast_cancer:BreastCancer",
        summary="Malignant (1) or benign (0): 569 tumours, 30 columns.",
        requires={"sklearn": "scikit-learn", "numpy": "numpy"},
        version="1",
        modality="tabular",
        metrics=("roc_auc", "accuracy"),
        margin=0.02,
        unit="row",
        folds=5,
        licence="CC BY 4.0",
        citation="Wolberg et al.: Breast Cancer Wisconsin (Diagnostic). UCI, 1993. doi:10.24432/C5DW2B",
    )
    return [spec]


class BreastCancer:
    def load(self, fold: int) -> TaskData:
        import numpy as np  # here, since the host process imports this module too
        from sklearn.datasets import load_breast_cancer  # type: ignore[import-untyped]  # scikit-learn has no type hints
        from sklearn.model_selection import StratifiedKFold  # type: ignore[import-untyped]  # as above

        x, benign = load_breast_cancer(return_X_y=True)
        y = 1 - benign.astype(np.int64)
        rest, test = list(StratifiedKFold(5, shuffle=True, random_state=0).split(x, y))[fold]
        train, validation = next(StratifiedKFold(5, shuffle=True, random_state=fold).split(x[rest], y[rest]))
        parts = rest[train], rest[validation], test
        mean, scale = x[parts[0]].mean(axis=0), x[parts[0]].std(axis=0)
        splits = [Split(((x[rows] - mean) / scale).astype(np.float32), y[rows], rows) for rows in parts]
        preprocessing = {"means": mean.tolist(), "scales": scale.tolist()}
        return TaskData(splits[0], splits[1], splits[2], ("benign", "malignant"), preprocessing)
