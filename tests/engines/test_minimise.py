"""SciPy request for one point at a time: the points that it asks for when it is left alone."""

import numpy as np
import pytest
from scipy.optimize import minimize

from ooc.engines.minimise import PRECISION, REACHED, Request, replay
from ooc.optim import Method, cg, lbfgs


def logistic(rng: np.random.Generator, widest: float = 20):
    """Return a badly scaled objective of 12 parameters with its gradient."""
    x = rng.standard_normal((300, 12)) * np.geomspace(1, widest, 12)
    y = (rng.random(300) < 0.5) * 1.0

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        scores = x @ w
        value = np.mean(np.logaddexp(0, scores) - y * scores) + 0.005 * w @ w
        return value, x.T @ (1 / (1 + np.exp(-scores)) - y) / 300 + 0.01 * w

    return objective


def descend(method: Method, objective, start: np.ndarray, units=None, most: int = 400):
    values: list[float] = []
    gradients: list[np.ndarray] = []
    points: list[np.ndarray] = []

    def ask() -> Request:
        return replay(method.full, start, np.array(values), np.array(gradients), units)

    request = ask()
    while request.point is not None and len(points) < most:
        value, gradient = objective(request.point)
        points.append(request.point)
        values.append(value)
        gradients.append(gradient)
        request = ask()
    return request, points, gradients


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "name", "options"),
    [(lbfgs(memory=5), "L-BFGS-B", {"maxcor": 5, "ftol": 0.0}), (cg(), "CG", {})],
    ids=["lbfgs", "cg"],
)
def test_it_asks_for_the_points_of_an_uninterrupted_run(
    rng: np.random.Generator, method: Method, name: str, options: dict[str, float]
) -> None:
    objective, seen = logistic(rng), []

    def watched(w: np.ndarray) -> tuple[float, np.ndarray]:
        seen.append(w.copy())
        return objective(w)

    minimize(
        watched, np.zeros(12), jac=True, method=name,
        options={"gtol": 1e-7, "maxiter": 1000, **options},
    )  # fmt: skip
    request, points, gradients = descend(method, objective, np.zeros(12))
    assert request.ended == REACHED
    assert len(points) > 12
    assert np.array_equal(np.array(points), np.array(seen[: len(points)]))
    assert np.linalg.norm(gradients[request.number]) <= 1e-6
    assert np.array_equal(request.iterate, points[request.number])


@pytest.mark.parametrize("method", [lbfgs(tolerance=1e-300), cg(tolerance=1e-300)])
def test_it_ends_where_rounding_hides_the_descent(rng: np.random.Generator, method: Method) -> None:
    request, _, gradients = descend(method, logistic(rng, 4), np.zeros(12))
    assert request.ended == PRECISION
    assert np.linalg.norm(gradients[request.number]) < 1e-6


def test_units_make_a_badly_scaled_problem_a_good_one(rng: np.random.Generator) -> None:
    scales = np.geomspace(1e-2, 1e3, 30)

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        return 0.5 * float(scales**2 @ (w - 1) ** 2), scales**2 * (w - 1)

    start = np.ones(30) + rng.standard_normal(30) / scales
    plain = descend(lbfgs(), objective, start, most=40)[1]
    request, scaled, _ = descend(lbfgs(), objective, start, units=1 / scales)
    # The curvature is 1 in these units: the first step is Newton's.
    assert (len(scaled), request.ended) == (2, REACHED)
    assert len(plain) > 30


def test_a_minimum_is_left_at_once() -> None:
    request = replay(lbfgs().full, np.ones(3), np.zeros(1), np.zeros((1, 3)))
    assert (request.point, request.ended, request.number) == (None, REACHED, 0)


@pytest.mark.parametrize("length", [0.1, 10.0])
def test_a_tolerance_is_of_the_gradient_by_the_parameters_in_all_units(
    rng: np.random.Generator, length: float
) -> None:
    """It is not left before, and not gone on with beyond."""
    objective = logistic(rng, 4)
    turned = length * np.linalg.qr(rng.standard_normal((12, 12)))[0]
    for units in (np.full(12, length), turned):
        request, _, gradients = descend(lbfgs(tolerance=1e-4), objective, np.zeros(12), units)
        assert request.ended == REACHED
        assert np.linalg.norm(gradients[request.number]) <= 1e-4
        assert min(np.linalg.norm(gradients[: request.number], axis=1)) > 1e-4
