"""SciPy asked for one point at a time: the points that it asks for when it is left alone."""

import numpy as np
import pytest
from scipy.optimize import minimize

from ooc.engines.minimise import PRECISION, REACHED, Asked, replay
from ooc.optim import FullGradient, cg, lbfgs


def logistic(rng: np.random.Generator):
    """Return a badly scaled objective of 12 parameters with its gradient."""
    x = rng.standard_normal((300, 12)) * np.geomspace(1, 20, 12)
    y = (rng.random(300) < 0.5) * 1.0

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        scores = x @ w
        value = np.mean(np.logaddexp(0, scores) - y * scores) + 0.005 * w @ w
        return value, x.T @ (1 / (1 + np.exp(-scores)) - y) / 300 + 0.01 * w

    return objective


def descend(method: FullGradient, objective, start: np.ndarray, units=None, most: int = 400):
    values: list[float] = []
    gradients: list[np.ndarray] = []
    points: list[np.ndarray] = []

    def ask() -> Asked:
        return replay(method, start, np.array(values), np.array(gradients), units)

    asked = ask()
    while asked.point is not None and len(points) < most:
        value, gradient = objective(asked.point)
        points.append(asked.point)
        values.append(value)
        gradients.append(gradient)
        asked = ask()
    return asked, points, gradients


@pytest.mark.parametrize(
    ("method", "name", "options"),
    [(lbfgs(memory=5), "L-BFGS-B", {"maxcor": 5, "ftol": 0.0}), (cg(), "CG", {})],
    ids=["lbfgs", "cg"],
)
def test_it_asks_for_the_points_of_an_uninterrupted_run(
    rng: np.random.Generator, method: FullGradient, name: str, options: dict[str, float]
) -> None:
    objective, seen = logistic(rng), []

    def watched(w: np.ndarray) -> tuple[float, np.ndarray]:
        seen.append(w.copy())
        return objective(w)

    minimize(
        watched, np.zeros(12), jac=True, method=name,
        options={"gtol": 1e-7, "maxiter": 1000, **options},
    )  # fmt: skip
    asked, points, gradients = descend(method, objective, np.zeros(12))
    assert asked.ended == REACHED
    assert len(points) > 12
    assert np.array_equal(np.array(points), np.array(seen[: len(points)]))
    assert np.linalg.norm(gradients[asked.number]) <= 1e-6
    assert np.array_equal(asked.iterate, points[asked.number])


@pytest.mark.parametrize("method", [lbfgs(tolerance=1e-300), cg(tolerance=1e-300)])
def test_it_ends_where_rounding_hides_the_descent(
    rng: np.random.Generator, method: FullGradient
) -> None:
    asked, _, gradients = descend(method, logistic(rng), np.zeros(12))
    assert asked.ended == PRECISION
    assert np.linalg.norm(gradients[asked.number]) < 1e-6


def test_units_make_a_badly_scaled_problem_a_good_one(rng: np.random.Generator) -> None:
    scales = np.geomspace(1e-2, 1e3, 30)

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        return 0.5 * float(scales**2 @ (w - 1) ** 2), scales**2 * (w - 1)

    start = np.ones(30) + rng.standard_normal(30) / scales
    plain = descend(lbfgs(), objective, start)[1]
    asked, scaled, _ = descend(lbfgs(), objective, start, units=1 / scales)
    # The curvature is 1 in these units: the first step is Newton's.
    assert (len(scaled), asked.ended) == (2, REACHED)
    assert len(plain) > 30


def test_a_minimum_is_left_at_once() -> None:
    asked = replay(lbfgs(), np.ones(3), np.zeros(1), np.zeros((1, 3)))
    assert (asked.point, asked.ended, asked.number) == (None, REACHED, 0)
