"""Sorted rows: by label, and by a feature that drifts from the first row to the last."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ooc.core.random_keys import Purpose, generator
from pipelines.common.dataset import Columns, Dataset, Draw, Fields, open_or_make, write

FEATURES = 32
DRIFT = 1.5
CURVE = 1.5
FIELDS: Fields = {"X": ("float32", (FEATURES,)), "y": ("uint8", ())}


class Truth:
    """Data that are logistic but for a curve along the first feature, which a linear model lacks.

    The best line through a curve is another one in each part of it: what is learned from the last
    part of drifting data is wrong for the whole.
    """

    def __init__(self, seed: int) -> None:
        rng = generator(seed, Purpose.TRUTH)
        weights = rng.standard_normal(FEATURES)
        self.weights = (1.5 * weights / np.linalg.norm(weights)).astype(np.float32)
        self.weights[0] = 0.0

    def labels(self, rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
        """Draw the labels of rows."""
        odds = np.einsum("nf,f->n", x, self.weights) + CURVE * (x[:, 0] ** 2 - 0.8)
        return (rng.random(len(x)) < 1 / (1 + np.exp(-odds))).astype(np.uint8)


def by_drift(truth: Truth, seed: int, total: int) -> Draw:
    """Return what draws rows whose first feature drifts from first to last row."""

    def draw(number: int, first: int, rows: int) -> Columns:
        rng = generator(seed, Purpose.DATA, index=number)
        x = rng.standard_normal((rows, FEATURES), dtype=np.float32)
        x[:, 0] = 0.2 * x[:, 0] + 2 * DRIFT * ((first + np.arange(rows)) / total - 0.5)
        return {"X": x, "y": truth.labels(rng, x)}

    return draw


def by_label(truth: Truth, seed: int, total: int) -> Draw:
    """Return what draws rows with label 0 in the first half and 1 in the second."""

    def draw(number: int, first: int, rows: int) -> Columns:
        rng = generator(seed, Purpose.DATA, index=number)
        wanted = (2 * (first + np.arange(rows)) >= total).astype(np.uint8)
        x = np.empty((rows, FEATURES), np.float32)
        missing = np.arange(rows)
        while len(missing):
            drawn = rng.standard_normal((len(missing), FEATURES), dtype=np.float32)
            fits = truth.labels(rng, drawn) == wanted[missing]
            x[missing[fits]] = drawn[fits]
            missing = missing[~fits]
        return {"X": x, "y": wanted}

    return draw


KINDS: dict[str, Callable[[Truth, int, int], Draw]] = {"label": by_label, "drift": by_drift}


def open_sorted(path: Path, kind: str, rows: int, seed: int, chunk_bytes: int) -> Dataset:
    """Open a sorted dataset, made first if it is not there."""
    expected = {"rows": rows, "seed": seed, "kind": kind}
    draw = KINDS[kind](Truth(seed), seed, rows)
    return open_or_make(
        path,
        expected,
        lambda report: write(
            path, FIELDS, expected, rows, draw, report=report, chunk_bytes=chunk_bytes
        ),
    )


def draw_held_out(kind: str, rows: int, seed: int) -> Columns:
    """Draw rows of the same truth that nobody trains on."""
    return KINDS[kind](Truth(seed), seed + 1, rows)(0, 0, rows)
