"""Points of a problem: drawn in its geometry, and drawn again where residuals are large."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ooc
from ooc.models.pinn import PINN
from ooc.store.dataset import Dataset
from pipelines.common.dataset import Columns, Fields
from pipelines.pinn.problem import Problem

CANDIDATES = 8  # for each point that is drawn again


@dataclass(frozen=True)
class Points:
    """Points, (rows, D) float64, tags, (rows,) int64, and normals, (rows, D)."""

    places: np.ndarray
    tags: np.ndarray
    normals: np.ndarray

    def write(self, path: Path, dtype: str = "float64") -> Dataset:
        """Write them as a dataset to a path that is not there, and open it."""
        with ooc.create(path, fields_of(self.places.shape[1], dtype), {}) as writer:
            writer.append(self.columns(dtype))
        return ooc.open(path)

    def columns(self, dtype: str, rows: np.ndarray | slice = slice(None)) -> Columns:
        """Return some of them as arrays of a dataset."""
        arrays = {"X": self.places, "normal": self.normals, "tag": self.tags}
        fields = fields_of(self.places.shape[1], dtype)
        return {name: each[rows].astype(fields[name][0]) for name, each in arrays.items()}

    def of(self, tag: int) -> "Points":
        """Return those of one tag."""
        which = self.tags == tag
        return Points(self.places[which], self.tags[which], self.normals[which])


def fields_of(dimensions: int, dtype: str) -> Fields:
    """Return the arrays of a dataset of points: dtypes, and shapes of a row."""
    width = (dimensions,)
    return {"X": (dtype, width), "normal": (dtype, width), "tag": ("int16", ())}


def joined(parts: list[Points]) -> Points:
    """Return points of several tags as one."""
    return Points(
        np.concatenate([each.places for each in parts]),
        np.concatenate([each.tags for each in parts]),
        np.concatenate([each.normals for each in parts]),
    )


def draw(problem: Problem, rng: np.random.Generator) -> Points:
    """Draw points inside and on each piece of the boundary that has a condition."""
    inside = problem.geometry.draw_inside(problem.points, rng)
    return joined([_inside(inside), *draw_boundary(problem, rng)])


def draw_boundary(problem: Problem, rng: np.random.Generator) -> list[Points]:
    """Draw points on each piece of the boundary that has a condition."""
    geometry, found = problem.geometry, []
    count = problem.edge_points
    edges = geometry.draw_boundary(count, rng)
    for tag, name in enumerate(problem.conditions, start=1):
        places = edges[name]
        tags = np.full(len(places), tag, np.int64)
        found.append(Points(places, tags, geometry.normals(places)))
    return found


def draw_again(
    problem: Problem, model: PINN, parameters: np.ndarray, rng: np.random.Generator
) -> Points:
    """Draw points inside with a density that grows with the residual there.

    Of candidates that are uniform a point is taken with probability proportional to r/mean(r) + 1,
    r the length of its residuals (RAD: Wu, Zhu, Tan, Kartha and Lu 2023, with k = c = 1).
    """
    places = problem.geometry.draw_inside(CANDIDATES * problem.points, rng)
    size = np.sqrt(sum_of_squares(problem, model, parameters, places))
    likely = size / max(size.mean(), 1e-300) + 1.0
    chosen = rng.choice(len(places), problem.points, replace=False, p=likely / likely.sum())
    return joined([_inside(places[chosen]), *draw_boundary(problem, rng)])


def sum_of_squares(
    problem: Problem, model: PINN, parameters: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """Return the sum of the squared residuals inside, at each point."""
    found = np.zeros(len(places))
    for law in problem.inside:
        found += np.sum(model.evaluate(law, parameters, places) ** 2, axis=0)
    return found


def _inside(places: np.ndarray) -> Points:
    return Points(places, np.zeros(len(places), np.int64), np.zeros_like(places))
