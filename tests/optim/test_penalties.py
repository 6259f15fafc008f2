"""Penalties reach the solutions of scikit-learn, with the same zeros; clipping bounds a step."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import ElasticNet, Ridge

from ooc.optim import OPTIMIZERS, Optimizer, sgd
from ooc.optim.penalties import clip_scale, soft_threshold
from ooc.optim.schedules import cosine

ROWS, FEATURES, STEPS = 60, 12, 3000
RATES = {
    "sgd": 0.2,
    "averaged": 0.2,
    "momentum": 0.05,
    "nesterov": 0.05,
    "adagrad": 0.3,
    "rmsprop": 0.02,
    "adam": 0.05,
    "adamw": 0.05,
}


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Rows of correlated features, of which four matter."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((ROWS, FEATURES)) @ (
        np.eye(FEATURES) + 0.2 * rng.standard_normal((FEATURES, FEATURES))
    )
    coefficients = np.zeros(FEATURES)
    coefficients[[1, 4, 5, 9]] = [2.0, -1.0, 0.5, -3.0]
    return x, x @ coefficients + 2.0 + 0.5 * rng.standard_normal(ROWS)


def solve(optimizer: Optimizer) -> np.ndarray:
    """Descend along the whole gradient; the last parameter is an intercept without penalty."""
    x, y = problem()
    design = np.column_stack([x, np.ones(ROWS)])
    parameters = np.zeros(FEATURES + 1, np.float32)
    penalised = np.arange(FEATURES + 1) < FEATURES
    state = optimizer.init(FEATURES + 1)
    for step in range(STEPS):
        gradient = design.T @ (design @ parameters - y) / ROWS
        optimizer.update(parameters, gradient, state, step, penalised)
    return parameters


def without_decay(name: str) -> dict[str, float]:
    return {"weight_decay": 0.0} if name == "adamw" else {}


@pytest.mark.slow
@pytest.mark.parametrize("l2", [0.0, 0.2])
@pytest.mark.parametrize("name", RATES)
def test_an_l1_penalty_finds_the_zeros_of_scikit_learn(name: str, l2: float) -> None:
    """Lasso, and elastic net: the same coefficients, and zeros that are exactly zero."""
    l1 = 0.3
    own = {"l1": l1, "l2": l2, "schedule": cosine(STEPS), **without_decay(name)}
    found = solve(OPTIMIZERS[name](RATES.get(name, 0.05), **own))
    expected = ElasticNet(alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), tol=1e-10).fit(*problem())
    assert 3 <= np.count_nonzero(expected.coef_) <= 9
    assert np.array_equal(found[:-1] == 0, expected.coef_ == 0)
    solution = [*expected.coef_, expected.intercept_]
    np.testing.assert_allclose(found, solution, rtol=1e-3, atol=1e-3)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adam"])
def test_an_l2_penalty_finds_the_solution_of_scikit_learn(name: str) -> None:
    found = solve(OPTIMIZERS[name](RATES[name], l2=0.2, schedule=cosine(STEPS)))
    expected = Ridge(alpha=0.2 * ROWS).fit(*problem())
    solution = [*expected.coef_, expected.intercept_]
    np.testing.assert_allclose(found, solution, rtol=1e-3, atol=1e-3)


@given(value=st.floats(-1e6, 1e6), threshold=st.floats(0, 1e6), other=st.floats(-1e6, 1e6))
def test_the_soft_threshold_is_the_proximal_map(
    value: float, threshold: float, other: float
) -> None:
    """No other point has a smaller ``(w - value)^2/2 + threshold |w|``."""

    def cost(w: float) -> float:
        return 0.5 * (w - value) ** 2 + threshold * abs(w)

    found = soft_threshold(value, threshold)
    assert cost(found) <= cost(other) * (1 + 1e-12)
    assert abs(found) <= abs(value)
    assert math.isnan(soft_threshold(math.nan, threshold))


@given(values=st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=30), limit=st.floats(0.01, 1e9))
def test_a_clipped_gradient_is_at_most_as_long_as_the_limit(
    values: list[float], limit: float
) -> None:
    gradient = np.array(values)
    scale = clip_scale(gradient, sgd(0.1, clip_norm=limit).settings())
    norm = float(np.linalg.norm(gradient))
    assert scale == pytest.approx(min(1.0, limit / norm) if norm else 1.0, rel=1e-12)
    assert np.linalg.norm(scale * gradient) <= limit * (1 + 1e-12)
    assert clip_scale(gradient, sgd(0.1).settings()) == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_a_norm_that_is_not_finite_is_not_clipped_to_nothing(value: float) -> None:
    gradient = np.array([1.0, value, 2.0, 3.0, 4.0])
    assert math.isnan(clip_scale(gradient, sgd(0.1, clip_norm=1.0).settings()))
