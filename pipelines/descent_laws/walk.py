"""Walks by `ooc.Trainer`, watched step by step, and what is kept of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import ooc
from ooc.core.compiler import kernel
from ooc.models import Model
from ooc.models.contract import BatchLike, Statistics
from ooc.models.declarations import Prepared
from ooc.optim import Optimizer
from ooc.runs.run import Run
from pipelines.common.dataset import Dataset

MEMORY = "1GiB"

# What is told of a run: the parameters, a view that changes, after a number of steps.
Observer = Callable[[np.ndarray, int], None]


@dataclass(frozen=True)
class Watched:
    """A model whose parameters are shown to an observer whenever its gradient is asked for.

    Attributes
    ----------
    model
        The model that is trained.
    observer
        Called with the parameters and the number of steps that they have taken.
    """

    model: Model
    observer: Observer
    # Each step is seen where batches are cut in Python.
    kernel: ClassVar[None] = None

    def prepare(self, statistics: Statistics) -> Prepared:
        """Ask nothing of the rows."""
        return Prepared(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def loss_and_grad(
        self, parameters: np.ndarray, batch: BatchLike, out_grad: np.ndarray
    ) -> float:
        """Show the parameters, then do what the model does."""
        self.observer(parameters, batch.step)
        return self.model.loss_and_grad(parameters, batch, out_grad)


def walk(
    model: Model,
    optimizer: Optimizer,
    dataset: Dataset,
    batch_size: int,
    epochs: int,
    observer: Observer,
    seed: int = 0,
    sampling: str = "replacement",
    shuffle: str = "blocks",
    window: int | None = None,
) -> Run:
    """Train with `ooc.Trainer` and show every step to an observer, the last one included."""
    watched = Watched(model, observer)
    trainer = ooc.Trainer(
        watched,
        optimizer,
        batch_size,
        memory=MEMORY,
        seed=seed,
        shuffle=shuffle,
        sampling=sampling,
        window=window,
    )
    run = trainer.fit(dataset, epochs, report=False)
    observer(run.parameters, run.results["steps"])
    return run


class SecondMoments:
    """Averages w^2 of each walker over steps.

    Parameters
    ----------
    walkers
        W.
    first, every
        First step that counts, and which ones after it.
    """

    def __init__(self, walkers: int, first: int, every: int = 1) -> None:
        self.steps = 0
        self._first, self._every = first, every
        self._sums = np.zeros(walkers)

    def __call__(self, parameters: np.ndarray, step: int) -> None:
        """Count a step."""
        if step >= self._first and step % self._every == 0:
            add_squares(parameters, self._sums)
            self.steps += 1

    @property
    def means(self) -> np.ndarray:
        """(W,) mean of w^2."""
        return self._sums / self.steps


class Curve:
    """Keeps the mean over walkers of h w^2 / 2 every so many steps.

    Parameters
    ----------
    every
        Steps between two points.
    curvature
        h.
    """

    def __init__(self, every: int, curvature: float = 1.0) -> None:
        self.values: list[float] = []
        self._every, self._curvature = every, curvature

    def __call__(self, parameters: np.ndarray, step: int) -> None:
        """Keep a point."""
        if step % self._every == 0:
            squares = np.square(parameters, dtype=np.float64)
            self.values.append(0.5 * self._curvature * float(squares.mean()))


@kernel
def add_squares(places: np.ndarray, sums: np.ndarray) -> None:
    """Add w^2 of each walker to float64 sums."""
    for j in range(places.size):
        sums[j] += np.float64(places[j]) * places[j]
