"""How far models are above the least loss, from a sample of rows, and when they come near it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from peers.store import arrays_of
from scipy.special import expit

SAMPLE_ROWS = 2**16
SAMPLE_RUN = 2**10
MODELS_AT_ONCE = 16


def sample_of(store: Path, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return features and labels of runs of rows from random places of a store."""
    features, labels = arrays_of(store)
    runs = features.shape[0] // SAMPLE_RUN
    wanted = min(SAMPLE_ROWS // SAMPLE_RUN, runs)
    chosen = np.sort(np.random.default_rng(seed).choice(runs, wanted, replace=False)) * SAMPLE_RUN
    parts = [slice(start, start + SAMPLE_RUN) for start in chosen.tolist()]
    return (
        np.concatenate([features[part] for part in parts]),
        np.concatenate([labels[part] for part in parts]),
    )


class Excess(NamedTuple):
    """How far a model's loss is above the least, and the standard error of that."""

    loss: float
    error: float


def excesses(
    features: np.ndarray, optimum: np.ndarray, models: Sequence[Sequence[float]]
) -> list[Excess]:
    """Return how far each model's mean loss over a store is above the least one.

    Over all rows the gradient at the optimum is zero, so that the mean over rows of what a loss
    exceeds its tangent there, ``f(s) - f(s*) - f'(s*) (s - s*)`` with scores s, is the excess
    itself. Its standard deviation is of the order of its mean, where that of a loss is a thousand
    times as large, and no label enters it: a sample of rows is enough.

    Parameters
    ----------
    features
        (rows, F) float32, the sample.
    optimum
        (F + 1,) float64, the optimum of the whole store.
    models
        Parameters of each model, F + 1.
    """
    x = np.ones((len(features), optimum.size), np.float32)
    x[:, :-1] = features
    # Differences from the optimum go through float32 products, not models: they are small.
    best = x @ optimum
    loss, odds = np.logaddexp(0.0, best), expit(best)
    found = []
    for first in range(0, len(models), MODELS_AT_ONCE):
        ahead = np.array(models[first : first + MODELS_AT_ONCE], np.float64) - optimum
        for moved in (ahead.astype(np.float32) @ x.T).astype(np.float64):
            above = np.logaddexp(0.0, best + moved) - loss - odds * moved
            found.append(Excess(float(above.mean()), float(above.std() / np.sqrt(above.size))))
    return found


@dataclass(frozen=True)
class Reached:
    """When a run came near the optimum, to stay there until its end.

    Attributes
    ----------
    seconds, rows
        So far, when it did; None if it never did.
    first_rows
        When it was near for the first time; None if it never was.
    last
        Excess of the last model that was noted.
    error
        Standard error of the excess at the first that stays, or of the last.
    """

    seconds: float | None
    rows: int | None
    first_rows: int | None
    last: float
    error: float


def reached(
    snapshots: Sequence[tuple[float, int, Sequence[float]]],
    found: Sequence[Excess],
    tolerance: float,
) -> Reached:
    """Find the first model from which on every excess is within a tolerance."""
    near = [excess.loss <= tolerance for excess in found]
    first = near.index(True) if any(near) else None
    if not near[-1]:
        rows = None if first is None else snapshots[first][1]
        return Reached(None, None, rows, found[-1].loss, found[-1].error)
    stays = len(near) - (near[::-1].index(False) if not all(near) else len(near))
    seconds, rows, _ = snapshots[stays]
    return Reached(
        seconds, rows, snapshots[near.index(True)][1], found[-1].loss, found[stays].error
    )
