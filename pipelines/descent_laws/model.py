"""Many walkers in one model: each parameter goes its own way over data of its own.

A walker's data are one column of the features. All walkers take the same batches, but from
columns that are uncorrelated, so that a run of W walkers is worth about W runs. The trainer knows
nothing of it: it sees a model with W parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import ooc
from ooc.core.compiler import kernel
from ooc.core.random_keys import Purpose, generator
from ooc.models.contract import BatchLike, Layout, Measured, Model
from ooc.optim import Optimizer
from ooc.runs.run import Run
from ooc.store.dataset import Dataset
from ooc.store.writer import Columns

MEMORY = "1GiB"

# What is told of a run: the parameters, a view that changes, after a number of steps.
Observer = Callable[[np.ndarray, int], None]


@dataclass(frozen=True)
class Walkers:
    """What models of walkers share.

    Attributes
    ----------
    start
        First places, one for all walkers or one for each.
    """

    start: float | np.ndarray = 0.0

    name = "walkers"
    needs_target = False

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return one place for each walker."""
        return Layout({"places": row_shape})

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return the first places."""
        return np.full(layout.size, self.start, np.float32)

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Accept any target: none is used."""

    def loss_and_grad(
        self, parameters: np.ndarray, batch: BatchLike, out_grad: np.ndarray
    ) -> float:
        """Return the loss summed over walkers; fill `out_grad` with the gradient of each."""
        raise NotImplementedError

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        """Return the sum of losses over a batch."""
        rows = len(batch.rows)
        loss = self.loss_and_grad(parameters, batch, np.empty(parameters.size))
        return Measured(rows * loss, rows, np.nan, rows)

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return the places, the same for each row."""
        return {"places": np.broadcast_to(parameters, features.shape)}

    def to_config(self) -> dict[str, Any]:
        """Return the model's name; such runs are not saved."""
        return {"name": self.name}


@dataclass(frozen=True)
class Quadratic(Walkers):
    """Rows of f(w) = h (w - x)^2 / 2, x from the walker's column.

    Attributes
    ----------
    curvatures
        (W,) float64 h of each walker.
    """

    curvatures: np.ndarray = field(kw_only=True)
    name = "quadratic"

    def loss_and_grad(
        self, parameters: np.ndarray, batch: BatchLike, out_grad: np.ndarray
    ) -> float:
        """Return the loss summed over walkers; fill `out_grad` with the gradient of each."""
        return quadratic(parameters, batch.features, self.curvatures, out_grad)


@dataclass(frozen=True)
class DoubleWell(Walkers):
    """Rows of f(w) = V(w) + x w, where V has two wells and x, from the column, averages to zero.

    On either side of the barrier at 0 there is a well V(w) = depth ((w/place)^2 - 1)^2 - depth.

    Attributes
    ----------
    places, depths
        Distance of each well's bottom from the barrier and its depth, left and right.
    """

    places: tuple[float, float] = (1.0, 1.0)
    depths: tuple[float, float] = (1.0, 1.0)
    name = "double-well"

    def loss_and_grad(
        self, parameters: np.ndarray, batch: BatchLike, out_grad: np.ndarray
    ) -> float:
        """Return the loss summed over walkers; fill `out_grad` with the gradient of each."""
        return double_well(parameters, batch.features, self.places, self.depths, out_grad)

    def energy(self, w: np.ndarray) -> np.ndarray:
        """Return V, which is also the mean loss over all rows."""
        right = np.asarray(w) >= 0
        place, depth = (np.where(right, *reversed(pair)) for pair in (self.places, self.depths))
        return depth * (((w / place) ** 2 - 1) ** 2 - 1)


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
        MEMORY,
        seed,
        shuffle,
        sampling=sampling,
        window=window,
    )
    run = trainer.fit(dataset, epochs)
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


def columns(rows: int, walkers: int, seed: int) -> np.ndarray:
    """Draw (rows, walkers) float32 whose columns have mean 0, variance 1 and no correlation.

    All three hold for the rows at hand, up to rounding, so that closed forms for a finite
    population hold as they are. Walkers must be fewer than rows.
    """
    drawn = generator(seed, Purpose.DATA).standard_normal((rows, walkers))
    drawn -= drawn.mean(axis=0)
    # Cholesky's factor takes the correlations out; it costs a product, where QR costs many.
    factor = np.linalg.cholesky(drawn.T @ drawn / rows)
    return np.linalg.solve(factor, drawn.T).T.astype(np.float32)


def write_rows(path: Path, arrays: Columns, block_rows: int | None = None) -> Dataset:
    """Write arrays as a dataset of blocks, by default of a single one, and open it."""
    fields = {name: (values.dtype.name, values.shape[1:]) for name, values in arrays.items()}
    rows = len(next(iter(arrays.values())))
    widest = max(values[:1].nbytes for values in arrays.values())
    chunk_bytes = (block_rows or rows) * widest
    with ooc.create(path, fields, chunk_bytes=chunk_bytes, shard_bytes=chunk_bytes) as writer:
        writer.append(arrays)
    return ooc.open(path)


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Return the mean of independent values and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size))


@kernel
def quadratic(
    places: np.ndarray, rows: np.ndarray, curvatures: np.ndarray, gradient: np.ndarray
) -> float:
    """Fill `gradient` (W,) float64 with h (w - mean of x); return the summed mean loss."""
    gradient[:] = 0.0
    loss = 0.0
    for i in range(len(rows)):
        for j in range(places.size):
            distance = places[j] - np.float64(rows[i, j])
            gradient[j] += distance
            loss += 0.5 * curvatures[j] * distance * distance
    for j in range(places.size):
        gradient[j] *= curvatures[j] / len(rows)
    return loss / len(rows)


@kernel
def double_well(
    places: np.ndarray,
    rows: np.ndarray,
    bottoms: tuple[float, float],
    depths: tuple[float, float],
    gradient: np.ndarray,
) -> float:
    """Fill `gradient` (W,) float64 with V'(w) + mean of x; return the summed mean loss."""
    gradient[:] = 0.0
    for i in range(len(rows)):
        for j in range(places.size):
            gradient[j] += rows[i, j]
    loss = 0.0
    for j in range(places.size):
        w = np.float64(places[j])
        right = w >= 0
        bottom = bottoms[1] if right else bottoms[0]
        depth = depths[1] if right else depths[0]
        inside = (w / bottom) ** 2 - 1.0
        tilt = gradient[j] / len(rows)
        loss += depth * (inside * inside - 1.0) + tilt * w
        gradient[j] = 4.0 * depth * inside * w / bottom**2 + tilt
    return loss


@kernel
def add_squares(places: np.ndarray, sums: np.ndarray) -> None:
    """Add w^2 of each walker to float64 sums."""
    for j in range(places.size):
        sums[j] += np.float64(places[j]) * places[j]
