"""Generated datasets whose truth is known: linear, logistic and softmax data of any size.

Every chunk is a function of (seed, chunk), so that any number of threads writes the same bits.
The target is drawn first and the features given the target; a dataset sorted by target is then
as easy to generate out of core as one in random order. Classes are Gaussian with one covariance,
whose exact posterior is logistic or softmax regression.

Features lie on a grid of 1/256, as those of an instrument do: stored, they take half the space.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ooc.core.errors import InputError
from ooc.core.random_keys import Purpose, generator
from ooc.kernels.losses import logistic, squared
from ooc.metrics import Report, silent
from ooc.store.writer import Columns, Field, create
from ooc.synthetic.fill import fill

GRID = 256
NOISE = 0.5
# Distance between the means of two classes, in standard deviations.
SEPARATION = 2.0
ORDERS = ("random", "sorted")


@dataclass(frozen=True)
class Recipe:
    """What to generate.

    Attributes
    ----------
    kind
        An entry of `KINDS`.
    rows, features
        N and F.
    classes
        K for softmax; the other kinds ignore it.
    order
        "random", or "sorted" by target: the worst case for a reader that does not shuffle.
    seed
        Truth and rows are functions of it.
    held_out
        Rows of the same truth that are never among those of the dataset without this.
    """

    kind: str
    rows: int
    features: int = 128
    classes: int = 10
    order: str = "random"
    seed: int = 0
    held_out: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"no kind is called {self.kind!r}; choose one of: {', '.join(KINDS)}")
        if self.order not in ORDERS:
            raise InputError(f"order is one of {', '.join(ORDERS)}, not {self.order!r}")
        if self.rows < 1 or self.features < 1:
            raise InputError(
                f"rows and features must be positive, not {self.rows}, {self.features}"
            )
        if self.kind == "softmax" and self.classes < 2:
            raise InputError(f"softmax needs at least 2 classes, not {self.classes}")


class Kind(Protocol):
    """Draws targets and features of one kind, and knows the best possible predictions."""

    def __init__(self, recipe: Recipe) -> None: ...

    target_dtype: str

    def draw(self, rng: np.random.Generator, first: int, rows: int) -> Columns:
        """Draw the rows from `first` on: "X" (rows, F) float32 and "y" (rows,)."""

    def best(self, columns: Columns) -> tuple[float, float]:
        """Return the sums of loss and of right labels that the truth itself reaches."""

    def truth(self) -> dict[str, Any]:
        """Return the true coefficients and intercept, JSON-ready."""


class LinearKind:
    """y = w x + b + noise, features standard normal."""

    target_dtype = "float32"

    def __init__(self, recipe: Recipe) -> None:
        rng = generator(recipe.seed, Purpose.TRUTH)
        weights = rng.standard_normal(recipe.features)
        self._weights = (weights / np.linalg.norm(weights)).astype(np.float32)
        self._intercept = 0.5
        self._recipe = recipe

    def draw(self, rng: np.random.Generator, first: int, rows: int) -> Columns:
        """Draw rows; sorted ones from successive quantiles of the target's distribution."""
        x = rng.standard_normal((rows, self._recipe.features), dtype=np.float32)
        noise = NOISE * rng.standard_normal(rows)
        y = _products(x, self._weights[None])[:, 0] + noise
        if self._recipe.order == "sorted":
            variance = 1.0 + NOISE**2
            quantile = (first + np.arange(rows) + rng.random(rows)) / self._recipe.rows
            wanted = np.sqrt(variance) * _normal_quantile(quantile)
            # A Gaussian x given y is any x, moved along w by what its y lacks.
            x += np.outer((wanted - y) / variance, self._weights).astype(np.float32)
            y = wanted
        return {"X": _on_grid(x), "y": (y + self._intercept).astype(np.float32)}

    def best(self, columns: Columns) -> tuple[float, float]:
        """Return the loss sum of the true coefficients."""
        predictions = _products(columns["X"], self._weights[None])[:, 0] + self._intercept
        pairs = zip(predictions.tolist(), columns["y"].tolist(), strict=True)
        return sum(squared(prediction, target)[0] for prediction, target in pairs), np.nan

    def truth(self) -> dict[str, Any]:
        """Return the true coefficients and intercept."""
        return {"coefficients": [self._weights.tolist()], "intercept": [self._intercept]}


class SoftmaxKind:
    """Balanced Gaussian classes: log-odds of class k are mu_k x - mu_k^2 / 2."""

    target_dtype = "int64"

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._means = self._class_means()
        self._offsets = -0.5 * np.einsum("kf,kf->k", self._means, self._means)

    def draw(self, rng: np.random.Generator, first: int, rows: int) -> Columns:
        """Draw rows; sorted ones hold their label's share of the dataset."""
        classes = len(self._means)
        if self._recipe.order == "sorted":
            y = (first + np.arange(rows)) * classes // self._recipe.rows
        else:
            y = rng.integers(0, classes, rows)
        x = rng.standard_normal((rows, self._recipe.features), dtype=np.float32)
        x += self._means[y]
        return {"X": _on_grid(x), "y": y}

    def best(self, columns: Columns) -> tuple[float, float]:
        """Return the loss sum and the right labels of the exact posterior."""
        scores = _products(columns["X"], self._means) + self._offsets
        y = columns["y"]
        largest = scores.max(axis=1)
        partition = np.log(np.exp(scores - largest[:, None]).sum(axis=1)) + largest
        losses = partition - scores[np.arange(len(y)), y]
        return float(losses.sum()), float((scores.argmax(axis=1) == y).sum())

    def truth(self) -> dict[str, Any]:
        """Return the true coefficients and intercepts of each class."""
        return {"coefficients": self._means.tolist(), "intercept": self._offsets.tolist()}

    def _class_means(self) -> np.ndarray:
        rng = generator(self._recipe.seed, Purpose.TRUTH)
        means = rng.standard_normal((self._recipe.classes, self._recipe.features))
        norms = np.linalg.norm(means, axis=1, keepdims=True)
        return (means / norms * SEPARATION / np.sqrt(2)).astype(np.float32)


class LogisticKind(SoftmaxKind):
    """Two Gaussian classes, whose log-odds are (mu_1 - mu_0) x plus an intercept."""

    def best(self, columns: Columns) -> tuple[float, float]:
        """Return the loss sum and the right labels of the exact posterior."""
        coefficients = (self._means[1] - self._means[0])[None]
        odds = _products(columns["X"], coefficients)[:, 0] + self._offsets[1] - self._offsets[0]
        pairs = zip(odds.tolist(), columns["y"].tolist(), strict=True)
        correct = ((odds > 0) == columns["y"]).sum()
        return sum(logistic(score, float(label))[0] for score, label in pairs), float(correct)

    def truth(self) -> dict[str, Any]:
        """Return the true coefficients and intercept of the log-odds."""
        return {
            "coefficients": [(self._means[1] - self._means[0]).tolist()],
            "intercept": [float(self._offsets[1] - self._offsets[0])],
        }

    def _class_means(self) -> np.ndarray:
        rng = generator(self._recipe.seed, Purpose.TRUTH)
        direction = rng.standard_normal(self._recipe.features)
        half = direction / np.linalg.norm(direction) * SEPARATION / 2
        # The classes are not centred on the origin, so that the true intercept is not zero.
        return np.stack([-0.5 * half, 1.5 * half]).astype(np.float32)


KINDS: dict[str, type[Kind]] = {
    "linear": LinearKind,
    "logistic": LogisticKind,
    "softmax": SoftmaxKind,
}


def make(
    path: str | Path,
    recipe: Recipe,
    threads: int | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Generate a dataset, chunk by chunk, in parallel.

    Parameters
    ----------
    path
        A local folder that does not exist yet.
    recipe
        What to generate.
    threads
        Threads that generate and write, by default one a core; the bits do not depend on them.
    report
        Called as chunks are done.

    Returns
    -------
    dict
        "rows", "seconds", and loss and accuracy of the truth on these very rows, which the
        dataset's attributes keep, too.

    Raises
    ------
    InputError
        If the path exists or cannot be written to, or the disk is too small: before any work.
    """
    kind = KINDS[recipe.kind](recipe)
    fields = {"X": Field("float32", (recipe.features,)), "y": Field(kind.target_dtype)}
    attributes: dict[str, Any] = {"generator": {**vars(recipe), "truth": kind.truth()}}
    if recipe.kind == "softmax":
        attributes["classes"] = recipe.classes
    begun = time.perf_counter()
    purpose = Purpose.HELD_OUT_DATA if recipe.held_out else Purpose.DATA
    with create(path, fields, attributes) as writer:
        best = np.zeros((-(-recipe.rows // writer.chunk_rows), 2))

        def draw(number: int, first: int, rows: int) -> Columns:
            columns = kind.draw(generator(recipe.seed, purpose, index=number), first, rows)
            best[number] = kind.best(columns)
            return columns

        fill(writer, recipe.rows, draw, threads, report)
        loss, correct = (best.sum(axis=0) / recipe.rows).tolist()
        truth = {"loss": loss, "accuracy": None if np.isnan(correct) else correct}
        writer.attributes["generator"]["best"] = truth
    seconds = time.perf_counter() - begun
    return {"rows": recipe.rows, "seconds": seconds, **truth}


def _products(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return x weights^T, (rows, K) float64, by sums whose order no thread count changes."""
    return np.einsum("nf,kf->nk", x, weights).astype(np.float64)


def _on_grid(x: np.ndarray) -> np.ndarray:
    x *= GRID
    np.rint(x, out=x)
    x *= 1.0 / GRID
    return x


def _normal_quantile(probability: np.ndarray) -> np.ndarray:
    """Invert the standard normal distribution function."""
    from scipy.special import ndtri  # heavy, and only sorted linear data need it

    quantile: np.ndarray = ndtri(probability)
    return quantile
