"""Generated datasets whose truth is known. A kind is one class and one entry of `KINDS`.

Features are drawn given the target, so that data sorted by target are as easy to generate.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ooc.core.errors import InputError
from ooc.core.numbers import check_counts, entry_of
from ooc.core.progress import Report, silent
from ooc.core.random_keys import Purpose, generator
from ooc.store.addresses import StorageOptions
from ooc.store.compression import FAST_WRITE
from ooc.store.fields import Field
from ooc.store.writer import Columns, create
from ooc.synthetic.fill import fill
from ooc.synthetic.normals import FINE, GRID, Fill, fill_rounded

NOISE = 0.5
# Distance between the means of two classes, in standard deviations.
SEPARATION = 2.0
ORDERS = ("random", "sorted")
# Fewer bytes of features take less time than a compiler that is imported.
MANY_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Recipe:
    """What to generate.

    Attributes
    ----------
    classes
        K of a kind whose classes can be chosen; by default what the kind declares.
    order
        "random", or "sorted" by target: the worst case for a reader that does not shuffle.
    held_out
        Rows of the same truth that are never among those of the dataset without this.
    """

    kind: str
    rows: int
    features: int = 128
    classes: int | None = None
    order: str = "random"
    seed: int = 0
    held_out: bool = False

    def __post_init__(self) -> None:
        usual = entry_of("kind", KINDS, self.kind).usual_classes
        if self.order not in ORDERS:
            raise InputError(f"order is one of {', '.join(ORDERS)}, not {self.order!r}")
        check_counts(rows=self.rows, features=self.features)
        if self.classes is None:
            object.__setattr__(self, "classes", usual)
        elif usual is None:
            able = ", ".join(name for name, kind in KINDS.items() if kind.usual_classes)
            raise InputError(f"{self.kind} has no choice of classes; choose one of: {able}")
        elif self.classes < 2:
            raise InputError(f"{self.kind} needs at least 2 classes, not {self.classes}")


class Kind(ABC):
    """Draws targets and features of one kind, and knows the best possible predictions."""

    target_dtype: ClassVar[str] = "float32"
    # K where a recipe does not choose it, None where there is no choice.
    usual_classes: ClassVar[int | None] = None
    # Draws features; the compiled one where they are many, to the same bits.
    fill: Fill = staticmethod(fill_rounded)

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @abstractmethod
    def model(self) -> Mapping[str, Any]:
        """Return the config of the model, with its loss, that can reach the truth."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, first: int, rows: int) -> Columns:
        """Draw the rows from `first` on: "X" (rows, F) float32 and "y" (rows,)."""

    @abstractmethod
    def best(self, columns: Columns) -> tuple[float, float]:
        """Return the sums of loss and of right labels, or NaN, that the truth itself reaches."""

    @abstractmethod
    def truth(self) -> dict[str, Any]:
        """Return the parameters of that model by the names of its layout, JSON-ready."""


class _Linear(Kind):
    """y = w x + b + noise, features standard normal."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        weights = generator(recipe.seed, Purpose.TRUTH).standard_normal(recipe.features)
        self._weights = (weights / np.linalg.norm(weights)).astype(np.float32)
        self._intercept = 0.5

    def model(self) -> Mapping[str, Any]:
        return {"name": "linear", "loss": "squared"}

    def draw(self, rng: np.random.Generator, first: int, rows: int) -> Columns:
        """Draw rows; sorted ones from successive quantiles of the target's distribution."""
        x = np.empty((rows, self.recipe.features), np.float32)
        zeros = np.zeros((1, self.recipe.features), np.float32)
        self.fill(_seed(rng), zeros, np.zeros(rows, np.int64), FINE, x)
        noise = NOISE * rng.standard_normal(rows)
        y = _products(x, self._weights[None])[:, 0] + noise
        if self.recipe.order == "sorted":
            from scipy.special import ndtri  # heavy, and only sorted linear data need it

            variance = 1.0 + NOISE**2
            quantile = (first + np.arange(rows) + rng.random(rows)) / self.recipe.rows
            wanted = np.sqrt(variance) * ndtri(quantile)
            # A Gaussian x given y is any x, moved along w by what its y lacks.
            x += np.outer((wanted - y) / variance, self._weights).astype(np.float32)
            y = wanted
        return {"X": _on_grid(x), "y": (y + self._intercept).astype(np.float32)}

    def best(self, columns: Columns) -> tuple[float, float]:
        predictions = _products(columns["X"], self._weights[None])[:, 0] + self._intercept
        return 0.5 * float(((predictions - columns["y"]) ** 2).sum()), np.nan

    def truth(self) -> dict[str, Any]:
        return {"coefficients": [self._weights.tolist()], "intercept": [self._intercept]}


class _Softmax(Kind):
    """Balanced Gaussian classes: log-odds of class k are mu_k x - mu_k^2 / 2."""

    target_dtype = "int64"
    usual_classes: ClassVar[int | None] = 10

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self._means = self._class_means(generator(recipe.seed, Purpose.TRUTH)).astype(np.float32)
        self._offsets = -0.5 * np.einsum("kf,kf->k", self._means, self._means)

    def _class_means(self, rng: np.random.Generator) -> np.ndarray:
        means = rng.standard_normal((self.recipe.classes or 0, self.recipe.features))
        norms = np.linalg.norm(means, axis=1, keepdims=True)
        return means / norms * SEPARATION / np.sqrt(2)

    def model(self) -> Mapping[str, Any]:
        return {"name": "softmax", "classes": self.recipe.classes}

    def draw(self, rng: np.random.Generator, first: int, rows: int) -> Columns:
        """Draw rows; sorted ones hold their label's share of the dataset."""
        classes = len(self._means)
        if self.recipe.order == "sorted":
            y = (first + np.arange(rows)) * classes // self.recipe.rows
        else:
            y = rng.integers(0, classes, rows)
        x = np.empty((rows, self.recipe.features), np.float32)
        self.fill(_seed(rng), self._means, y, GRID, x)
        return {"X": x, "y": y}

    def best(self, columns: Columns) -> tuple[float, float]:
        """Return the loss sum and the right labels of the exact posterior."""
        scores, y = _products(columns["X"], self._means) + self._offsets, columns["y"]
        largest = scores.max(axis=1)
        partition = np.log(np.exp(scores - largest[:, None]).sum(axis=1)) + largest
        losses = partition - scores[np.arange(len(y)), y]
        return float(losses.sum()), float((scores.argmax(axis=1) == y).sum())

    def truth(self) -> dict[str, Any]:
        return {"coefficients": self._means.tolist(), "intercept": self._offsets.tolist()}


class _Logistic(_Softmax):
    """Two Gaussian classes, whose log-odds are (mu_1 - mu_0) x plus an intercept."""

    usual_classes = None

    def _class_means(self, rng: np.random.Generator) -> np.ndarray:
        direction = rng.standard_normal(self.recipe.features)
        half = direction / np.linalg.norm(direction) * SEPARATION / 2
        # The classes are not centred on the origin, so that the true intercept is not zero.
        return np.stack([-0.5 * half, 1.5 * half])

    def model(self) -> Mapping[str, Any]:
        return {"name": "logistic"}

    def truth(self) -> dict[str, Any]:
        return {
            "coefficients": [(self._means[1] - self._means[0]).tolist()],
            "intercept": [float(self._offsets[1] - self._offsets[0])],
        }


KINDS: dict[str, type[Kind]] = {"linear": _Linear, "logistic": _Logistic, "softmax": _Softmax}


def make(
    path: str | Path,
    recipe: Recipe,
    threads: int | None = None,
    report: Report = silent,
    storage_options: StorageOptions | None = None,
    compression: str = FAST_WRITE,
) -> dict[str, Any]:
    """Generate a dataset in a new local folder or at a URL, chunk by chunk, in parallel.

    Threads are by default one a core; the bits do not depend on them. `compression` is one of
    `ooc.store.compression.COMPRESSIONS`.

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
    if 4 * recipe.rows * recipe.features >= MANY_BYTES:
        from ooc.core.compile_child import load_kernels
        from ooc.synthetic.normal_kernel import fill_compiled, normal_kernels

        load_kernels(normal_kernels(), report)
        kind.fill = fill_compiled
    fields = {"X": Field("float32", (recipe.features,)), "y": Field(kind.target_dtype)}
    generated = {**vars(recipe), "model": kind.model(), "truth": kind.truth()}
    noted = {} if recipe.classes is None else {"classes": recipe.classes}
    attributes: dict[str, Any] = {"generator": generated, **noted}
    begun = time.perf_counter()
    purpose = Purpose.HELD_OUT_DATA if recipe.held_out else Purpose.DATA
    how: dict[str, Any] = {"storage_options": storage_options, "compression": compression}
    with create(path, fields, attributes, **how) as writer:
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


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**63))


def _products(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return x weights^T, (rows, K) float64, by sums whose order no thread count changes."""
    return np.einsum("nf,kf->nk", x, weights).astype(np.float64)


def _on_grid(x: np.ndarray) -> np.ndarray:
    x *= GRID
    np.rint(x, out=x)
    x *= 1.0 / GRID
    return x
