"""The laws' closed forms against independent ones, walkers and what is observed of them."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import solve_discrete_lyapunov

import ooc
from ooc.models import Model
from ooc.stream.batch import Batch
from pipelines.common import checks
from pipelines.descent_laws import escape_times
from pipelines.descent_laws.data import columns, write_rows
from pipelines.descent_laws.laws import near, within
from pipelines.descent_laws.model import DoubleWell, Quadratic
from pipelines.descent_laws.sorted_rows import expected_bias
from pipelines.descent_laws.stationary_variance import (
    heavy_ball_variance,
    reshuffled_variance,
    sgd_variance,
)
from pipelines.descent_laws.walk import walk


@given(st.floats(0.01, 1.9), st.integers(1, 64), st.floats(0, 0.95))
def test_heavy_ball_is_the_solution_of_its_lyapunov_equation(x: float, b: int, mu: float) -> None:
    """(w, v) goes on by a matrix, with noise x/sqrt(B) in w and 1/sqrt(B) in v; h = 1."""
    step = np.array([[1 - x, -x * mu], [1, mu]])
    noise = np.array([[-x], [1.0]])
    covariance = solve_discrete_lyapunov(step, noise @ noise.T / b)
    assert heavy_ball_variance(x, b, mu) == pytest.approx(covariance[0, 0], rel=1e-6)
    assert heavy_ball_variance(x, b, 0) == pytest.approx(sgd_variance(x, b))


@pytest.mark.parametrize(("rows", "batch"), [(4, 1), (6, 2), (6, 3)])
def test_reshuffled_variance_is_that_of_all_permutations(rows: int, batch: int) -> None:
    x, values = 0.3, np.arange(rows) ** 1.5
    values = (values - values.mean()) / values.std()
    steps = rows // batch
    ends = []
    for order in itertools.permutations(values):
        means = np.array(order).reshape(steps, batch).mean(axis=1)
        ends.append(x * (1 - x) ** np.arange(steps)[::-1] @ means)
    expected = np.mean(np.square(ends)) / (1 - (1 - x) ** (2 * steps))
    assert reshuffled_variance(x, rows, batch) == pytest.approx(expected)


def test_reshuffling_has_the_known_ratios() -> None:
    for x, ratio in ((0.5, 0.85535), (0.05, 0.0796547), (0.005, 8.39835e-4)):
        assert reshuffled_variance(x, 160, 8) / sgd_variance(x, 8) == pytest.approx(ratio, rel=1e-5)


@given(st.floats(0.01, 0.5), st.integers(1, 20))
def test_the_bias_of_sorted_rows_is_where_epochs_lead(x: float, half: int) -> None:
    w = 0.0
    for _ in range(2000 // half):
        for target in [-1] * half + [1] * half:
            w -= x * (w - target)
    assert expected_bias(x, 2 * half) == pytest.approx(w)


def test_escape_times_follow_arrhenius() -> None:
    """Between two low temperatures the logarithm grows by the depth over the temperature."""
    first, second = (escape_times.escape_time(DoubleWell(), 1 / cold) for cold in (12, 13))
    assert np.log(second / first) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    "model",
    [
        Quadratic(curvatures=np.array([0.5, 2.0, 1.0, 3.0])),
        DoubleWell(),
        DoubleWell(places=(0.6, 1.5), depths=(1.2, 0.8)),
    ],
)
def test_gradients_are_slopes_of_losses(model: Model, rng: np.random.Generator) -> None:
    x = rng.standard_normal((7, 4)).astype(np.float32)
    batch = Batch({"X": x}, np.arange(7), 0, 0, ("X", None, None))
    places = np.array([-1.2, -0.3, 0.4, 1.1], np.float32)
    gradient, other = np.empty(4), np.empty(4)
    assert isinstance(model, Model)
    model.loss_and_grad(places, batch, gradient)
    for i in range(4):
        up, down = places.copy(), places.copy()
        up[i] += 2**-7
        down[i] -= 2**-7
        slope = model.loss_and_grad(up, batch, other) - model.loss_and_grad(down, batch, other)
        assert gradient[i] == pytest.approx(64 * slope, rel=1e-3, abs=1e-3)


def test_the_double_wells_mean_loss_is_its_energy() -> None:
    model = DoubleWell(places=(0.6, 1.5), depths=(1.2, 0.8))
    batch = Batch({"X": np.zeros((2, 3), np.float32)}, np.arange(2), 0, 0, ("X", None, None))
    places = np.array([-0.6, 0.7, 1.5], np.float32)
    loss = model.loss_and_grad(places, batch, np.empty(3))
    assert loss == pytest.approx(model.energy(places).sum())
    assert model.energy(np.array([-0.6, 1.5, 0])) == pytest.approx([-1.2, -0.8, 0])


@given(st.integers(3, 200), st.integers(1, 20), st.integers(0, 2**20))
def test_columns_are_standardised_and_uncorrelated(rows: int, walkers: int, seed: int) -> None:
    if walkers > rows // 2:
        return
    drawn = columns(rows, walkers, seed).astype(np.float64)
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(drawn.T @ drawn / rows, np.eye(walkers), atol=1e-4)


def test_hops_are_counted_from_bottom_to_bottom(rng: np.random.Generator) -> None:
    """A walker that comes back from the barrier has not escaped."""
    phases = np.cumsum(rng.standard_normal((3000, 5)) / 4, axis=0)
    paths = (1.5 * np.sin(phases)).astype(np.float32)
    observer = escape_times.Hops(5)
    count, sides = 0, [-1] * 5
    for step, places in enumerate(paths):
        observer(places, step)
        for j, place in enumerate(places):
            if place * sides[j] <= -1:
                sides[j] = -sides[j]
                count += 1
    assert count > 20
    assert observer.count == count


def test_an_observer_sees_every_step_of_the_trainer(tmp_path: Path) -> None:
    """The last one, too; and the steps are those of the update rule."""
    rows = columns(20, 2, seed=0)
    dataset = write_rows(tmp_path / "a.zarr", {"X": rows})
    seen: list[tuple[int, float]] = []
    run = walk(
        Quadratic(1.0, curvatures=np.ones(2)),
        ooc.optim.sgd(0.25),
        dataset,
        20,
        3,
        lambda places, step: seen.append((step, float(places[0]))),
        sampling="once",
    )
    assert [step for step, _ in seen] == [0, 1, 2, 3]
    assert [place for _, place in seen] == pytest.approx([1, 0.75, 0.75**2, 0.75**3], abs=1e-6)
    assert seen[-1][1] == run.parameters[0]


def test_a_law_holds_its_value_to_its_closed_form() -> None:
    law = within("a", "x/2", 2.0, 2.1, 0.5, 0.06)
    assert law.check == checks.Check("a", 2.1, "2 ± 6%", True, "x/2; standard error 0.5")
    assert law.to_json()["expected"] == 2.0
    assert not within("a", "x", 1.0, float("nan"), 0.0, 0.5).check.met
    assert not near("a", "x", 1.0, float("nan"), 0.0, 0.5).check.met
