"""Each model of this package with rows for it, and how it is trained."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import ooc
from contract.embedding_bag import EmbeddingBag
from contract.second_derivative import SecondDerivative
from contract.variational_autoencoder import VariationalAutoencoder
from contract.wasserstein import WassersteinPair

FIRST_ID = 2**24


@dataclass(frozen=True)
class Case:
    """A small model of one kind.

    Attributes
    ----------
    model, optimizer
        What is trained, and how.
    columns
        Makes so many rows.
    epochs
        So many that a hybrid comes to its full gradient.
    """

    model: Any
    optimizer: Any
    columns: Callable[[int, np.random.Generator], dict[str, np.ndarray]]
    epochs: int = 2


def grid_points(rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return points of 25 Gaussians on a grid."""
    centres = rng.integers(0, 5, (rows, 2)) - 2
    return {"X": (centres + 0.05 * rng.standard_normal((rows, 2))).astype(np.float32)}


def blobs(rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return images of bytes, each a blob somewhere."""
    x, y = rng.uniform(0, 5, (2, rows, 1, 1))
    axis = np.arange(6)
    distance = (axis[:, None] - x) ** 2 + (axis - y) ** 2
    return {"X": np.rint(16 * np.exp(-distance / 4)).astype(np.uint8)}


def tagged_rows(rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return features, labels, and identifiers of which every second one speaks for label 1."""
    ids = FIRST_ID + rng.integers(0, 60, (rows, 4))
    x = rng.standard_normal((rows, 3)).astype(np.float32)
    score = x @ [1.0, -1.0, 0.5] + np.where(ids % 2 == 0, 1.0, -1.0).sum(axis=1)
    return {"X": x, "ids": ids.astype(np.int64), "y": (score > 0).astype(np.int8)}


def solution(x: np.ndarray) -> np.ndarray:
    """Return the u that the equation's points come from."""
    return np.sin(np.pi * x) + 0.3 * np.sin(3 * np.pi * x)


def equation_points(rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return points with u'' inside, and every sixteenth with u at an end."""
    x, boundary = rng.random(rows), np.zeros(rows, np.uint8)
    boundary[::16] = 1
    x[::16] = np.arange(len(x[::16])) % 2
    bend = -(np.pi**2) * (np.sin(np.pi * x) + 2.7 * np.sin(3 * np.pi * x))
    target = np.where(boundary == 1, solution(x), bend)
    order = rng.permutation(rows)
    return {"X": x[order, None], "y": target[order], "boundary": boundary[order]}


CASES = {
    "wasserstein": Case(WassersteinPair(hidden=12), ooc.optim.adam(0.002, beta1=0.0), grid_points),
    "variational_autoencoder": Case(
        VariationalAutoencoder(hidden=12, code=3, scale=1 / 16, warmup=8),
        ooc.optim.adam(0.01),
        blobs,
    ),
    "embedding_bag": Case(EmbeddingBag(rows=256, width=3), ooc.optim.adam(0.02), tagged_rows),
    "second_derivative": Case(
        SecondDerivative(hidden=8), ooc.optim.hybrid(0.01), equation_points, epochs=14
    ),
}
