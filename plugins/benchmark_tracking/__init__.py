"""Trackers: cells of a run as runs of TensorBoard, MLflow or Weights & Biases, all in files and without a network.

Each is a module of its own, with an entry point and an extra of the same name: ``--track mlflow`` needs ``pocketbench[mlflow]``.
"""
