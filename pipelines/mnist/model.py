"""The models that learn digits out of core, and how well one reads those held out."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ooc
from pipelines.common.arguments import widths
from pipelines.common.dataset import Dataset, progress
from pipelines.mnist.data import CLASSES, SCALE

NAMES = ("softmax", "mlp")


@dataclass(frozen=True)
class Score:
    """How well the held-out digits are read by one way of learning."""

    name: str
    learned_from: str
    seconds: float
    loss: float
    accuracy: float


@dataclass(frozen=True)
class Learned:
    """What training out of core came to.

    Attributes
    ----------
    predictions
        (rows,) the digit that each held-out one is read as.
    rows_per_second, steps, memory_peak
        Of training.
    """

    score: Score
    predictions: np.ndarray
    rows_per_second: float
    steps: int
    memory_peak: int


def make_model(name: str, hidden: str, dropout: float) -> ooc.models.Model:
    """Return softmax, or a multilayer perceptron, for bytes of grey."""
    if name == "softmax":
        return ooc.models.Softmax(classes=CLASSES, scale=SCALE)
    return ooc.models.MLP(
        hidden=widths(hidden), dropout=dropout, head="multiclass", outputs=CLASSES, scale=SCALE
    )


def learn(
    trainer: ooc.Trainer, expanded: Dataset, unseen: Dataset, epochs: int, run_folder: Path
) -> Learned:
    """Train anew out of core, and read the digits that are held out."""
    name, memory = trainer.model.name, trainer.stream.memory
    shutil.rmtree(run_folder, ignore_errors=True)
    with progress("train") as report:
        trained = trainer.fit(expanded, epochs, run_folder, report)
    with progress("evaluate") as report:
        measured = trained.evaluate(unseen, memory, report)
    results = trained.results
    numbers = (results["seconds"], measured["loss"], measured["accuracy"])
    return Learned(
        Score(f"ooc {name}", f"{expanded.rows:,} rows out of core", *numbers),
        trained.predict(unseen, memory=memory),
        results["rows_per_second"],
        results["steps"],
        results["memory_peak_bytes"],
    )
