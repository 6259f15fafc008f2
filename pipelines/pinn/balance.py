"""How much each term of the loss weighs: as much as makes all of them learn at the same pace.

Under gradient descent a term's residuals r shrink at a pace that is proportional to |dr/dw|^2 at
its points, whose mean is the trace of its neural tangent kernel. A term's weight is the sum of all
paces over its own (Wang, Yu and Perdikaris 2022), divided by the least such weight; and because a
batch holds as many points of a tag as there are, it is divided by the tag's share of all points.
The pace of a term is the median over points, not the mean, which a shock or a corner would decide.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ooc.core.random_keys import Purpose, generator
from ooc.models.compiled import batch_gradient
from ooc.models.pinn import PINN
from pipelines.pinn.points import Points

SAMPLE = 24  # points of each term whose gradients are taken


@dataclass(frozen=True)
class _Batch:
    """One point, as a batch."""

    arrays: Mapping[str, np.ndarray]
    roles: tuple[str, str | None, str | None] = ("X", None, None)
    rows: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    target: np.ndarray | None = None
    weight: np.ndarray | None = None
    step: int = 0
    seed: int = 0

    @property
    def features(self) -> np.ndarray:
        """(1, D)."""
        return self.arrays["X"]


def weights(model: PINN, parameters: np.ndarray, points: Points, seed: int) -> tuple[float, ...]:
    """Return the weight of each term at these parameters."""
    traces = np.array(
        [
            _trace(model, parameters, points.of(tag), term, seed)
            for term, tag in enumerate(model.term_tags)
        ]
    )
    pace = traces.sum() / np.maximum(traces, 1e-12 * traces.max())
    shares = np.array([np.mean(points.tags == tag) for tag in model.term_tags])
    return tuple((pace / pace.min() / shares).tolist())


def _trace(model: PINN, parameters: np.ndarray, points: Points, term: int, seed: int) -> float:
    """Return the median of |dr/dw|^2 over some points of a term."""
    alone = model.with_weights(np.eye(len(model.terms))[term].tolist())
    layout = model.layout(points.places.shape[1:])
    kernel = alone.kernel(layout, parameters, is_linear=True)
    rng = generator(seed, Purpose.PARAMETERS, index=term)
    chosen = rng.permutation(len(points.tags))[:SAMPLE]
    gradient, squares = np.empty(layout.size), list[float]()
    for row in chosen:
        one = slice(row, row + 1)
        arrays = {"X": points.places[one], "tag": points.tags[one]}
        if model.compiled.uses_normals:
            arrays["normal"] = points.normals[one]
        batch_gradient(alone, kernel, parameters, _Batch(arrays), gradient)
        squares.append(float(gradient @ gradient))
    return float(np.median(squares))
