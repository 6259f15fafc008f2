"""Classifiers of events: the exact one, and those that learn out of core."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ooc
from pipelines.common.dataset import Dataset, progress
from pipelines.particles.data import PRIOR, log_likelihood_ratio

PART_ROWS = 65_536


@dataclass(frozen=True)
class Training:
    """What it took to learn: seconds, rows a second, and the peak of memory in bytes."""

    seconds: float
    rows_per_second: float
    memory_peak: int


@dataclass(frozen=True)
class Classifier:
    """How well one classifier tells held-out signal from background.

    Attributes
    ----------
    log_odds
        (rows,) of signal against background.
    training
        None for the likelihood ratio, which learned nothing.
    """

    name: str
    log_odds: np.ndarray
    auc: float
    loss: float
    training: Training | None = None


def score(
    name: str, log_odds: np.ndarray, labels: np.ndarray, training: Training | None = None
) -> Classifier:
    """Measure the area under the ROC curve and the mean log loss."""
    from sklearn.metrics import roc_auc_score

    scores = log_odds.astype(np.float64)
    loss = float(np.mean(np.logaddexp(0, scores) - scores * labels))
    return Classifier(name, log_odds, float(roc_auc_score(labels, scores)), loss, training)


def best_possible(unseen: Dataset) -> tuple[Classifier, np.ndarray]:
    """Return the likelihood ratio, which no classifier excels, and the labels held out."""
    labels, truth = np.empty(unseen.rows, np.uint8), np.empty(unseen.rows)
    for batch in ooc.Loader(unseen, min(PART_ROWS, unseen.rows), shuffle="none"):
        labels[batch.rows] = batch["y"]
        truth[batch.rows] = log_likelihood_ratio(batch["X"])
    return score("likelihood ratio", truth + PRIOR, labels), labels


def learn(
    trainer: ooc.Trainer,
    events: Dataset,
    unseen: Dataset,
    labels: np.ndarray,
    epochs: int,
    folder: Path,
) -> Classifier:
    """Train a model anew out of core, and measure it on events held out."""
    name = trainer.model.name
    run_folder = folder / f"{name}-run"
    shutil.rmtree(run_folder, ignore_errors=True)
    with progress(f"train {name}") as report:
        run = trainer.fit(events, epochs, run_folder, report)
    probability = run.predict(unseen, "probability", trainer.stream.memory).astype(np.float64)
    probability = np.clip(probability, 1e-7, 1 - 1e-7)
    results = run.results
    training = Training(
        results["seconds"], results["rows_per_second"], results["memory_peak_bytes"]
    )
    return score(f"ooc {name}", np.log(probability / (1 - probability)), labels, training)
