"""The least logistic loss that a store allows, found by Newton's method over streamed sums.

A pass adds up loss, gradient and Hessian of the mean loss in float64, batch by batch. The first
point is the optimum of a sample, so that one or two passes over the store do.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

import ooc
from ooc.store.dataset import Dataset
from ooc.store.fingerprint import fingerprint

BATCH_ROWS = 8192
# Newton's decrement is about how far the loss is above its least; this share of it is enough.
TOLERANCE = 1e-7
MOST_PASSES = 20


@dataclass(frozen=True)
class Optimum:
    """Where the mean loss over a store is least.

    Attributes
    ----------
    parameters
        Coefficients and, last, the intercept.
    loss
        The mean loss there.
    above
        Newton's decrement there: about how far `loss` is above the least one.
    passes
        How many passes over the store it took.
    """

    parameters: tuple[float, ...]
    loss: float
    above: float
    passes: int


Batches = Iterable[tuple[np.ndarray, np.ndarray]]


def minimise(batches: Batches, parameters: np.ndarray) -> Optimum:
    """Go down from a point until Newton's decrement is small.

    Parameters
    ----------
    batches
        Features (rows, F) and labels (rows,), again at each pass.
    parameters
        (F + 1,) float64, where to begin.

    Raises
    ------
    ArithmeticError
        If it does not get there, as on classes that a plane separates.
    """
    for done in range(1, MOST_PASSES + 1):
        loss, gradient, hessian = _sums(batches, parameters)
        step = cho_solve(cho_factor(hessian), gradient)
        above = 0.5 * float(gradient @ step)
        if above <= TOLERANCE * loss:
            return Optimum(tuple(parameters.tolist()), loss, above, done)
        parameters = parameters - step
    raise ArithmeticError(f"Newton's method is not at the optimum after {MOST_PASSES} passes")


def _sums(batches: Batches, parameters: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    size = parameters.size
    loss, rows, gradient, hessian = 0.0, 0, np.zeros(size), np.zeros((size, size))
    for features, labels in batches:
        x = np.ones((len(labels), size), np.float32)
        x[:, :-1] = features
        scores = x @ parameters
        odds = expit(scores)
        loss += float(np.sum(np.logaddexp(0.0, scores) - labels * scores))
        gradient += (odds - labels) @ x
        # The Hessian leads the way alone; float32 products are near enough.
        hessian += (x * (odds * (1.0 - odds)).astype(np.float32)[:, None]).T @ x
        rows += len(labels)
    return loss / rows, gradient / rows, hessian / rows


def optimum_of(store: Path, sample: tuple[np.ndarray, np.ndarray]) -> Optimum:
    """Return the optimum of a store, from the note beside it if it is of the same rows.

    Parameters
    ----------
    store
        A dataset with labels 0 and 1.
    sample
        Some of its rows, to begin with.
    """
    note, dataset = store.with_suffix(".optimum.json"), ooc.open(store)
    names = (dataset.features, str(dataset.target))
    marks: Any = json.loads(json.dumps(fingerprint(dataset, names, "auto")))
    if note.exists():
        known = json.loads(note.read_text())
        if known["fingerprint"] == marks:
            found = known["optimum"]
            return Optimum(**{**found, "parameters": tuple(found["parameters"])})
    begin = minimise([sample], np.zeros(sample[0].shape[1] + 1))
    found = minimise(_Stream(dataset), np.array(begin.parameters))
    note.write_text(json.dumps({"fingerprint": marks, "optimum": asdict(found)}, indent=1))
    return found


class _Stream:
    """The store's rows in order, batch by batch, as often as they are asked for."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        loader = ooc.Loader(self._dataset, BATCH_ROWS, memory="1GiB", shuffle="none")
        return ((batch.features, np.asarray(batch.target)) for batch in loader)
