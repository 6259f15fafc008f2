"""Many walkers in one model: each parameter goes its own way over data of its own.

A walker's data are one column of the features. All walkers take the same batches, but from
columns that are uncorrelated, so that a run of W walkers is worth about W runs. The trainer knows
nothing of it: it sees a model with W parameters.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ooc.core.compiler import kernel
from ooc.models import Layout
from ooc.models.contract import BatchLike, Measured


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

    def scratch_bytes(self, layout: Layout, rows: int) -> int:
        """Return what a batch's differences and their products take."""
        return 32 * rows * layout.size

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
