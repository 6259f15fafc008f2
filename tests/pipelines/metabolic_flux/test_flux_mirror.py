"""Mirror coordinates are the gradient of the barrier, and every one of them is a state."""

import numpy as np
import pytest
from flux_states import small_problem

from pipelines.metabolic_flux.design import design, is_feasible
from pipelines.metabolic_flux.environment import conditions_of
from pipelines.metabolic_flux.generate import (
    from_mixture,
    from_network,
    gaussian,
    states_of_outputs,
)
from pipelines.metabolic_flux.mirror import unscored
from pipelines.metabolic_flux.model import FluxAutoencoder
from pipelines.metabolic_flux.reweigh import chosen, log_stretch
from pipelines.metabolic_flux.scores import distances, separability


def barrier(place: np.ndarray) -> float:
    problem, _ = small_problem()
    states = problem.frame.fluxes(place[None], np.array([0]))
    slacks = problem.faces.slacks(states, 0)
    return float((slacks * (np.log(slacks) - 1)).sum())


@pytest.mark.slow
def test_they_are_the_gradient_of_the_barrier() -> None:
    problem, states = small_problem()
    place = problem.frame.coordinates(states[0][:1], np.array([0]))[0]
    found = problem.faces.mirrored(states[0][:1], 0)[0]
    for k, step in enumerate(1e-5 * np.eye(len(place))):
        slope = (barrier(place + step) - barrier(place - step)) / 2e-5
        assert found[k] == pytest.approx(slope, rel=1e-4, abs=1e-6)


@pytest.mark.slow
def test_any_output_is_a_state_inside_all_bounds() -> None:
    problem, _ = small_problem()
    random, condition = np.random.default_rng(0), np.repeat([0, 1], 50)
    outputs = 3 * random.standard_normal((100, problem.frame.dimensions))
    states = states_of_outputs(problem, "mirror", outputs, condition)
    for number in range(2):
        feasible = is_feasible(problem.network, problem.frame, states[condition == number], number)
        assert feasible.all()


def test_the_stretch_is_the_determinant_of_the_derivative() -> None:
    problem, states = small_problem()
    frame, used = problem.frame, problem.frame.is_used[0]
    condition = np.zeros(1, np.int64)

    def scores(place: np.ndarray) -> np.ndarray:
        state = frame.fluxes(place[None], condition)
        eta = problem.faces.mirrored(state, 0) - problem.faces.shifts[0]
        standard = (eta @ np.linalg.pinv(problem.faces.factors[0]).T)[0]
        grid = np.linspace(-3, 3, 25)
        return np.array(
            [np.interp(t, k, grid) for t, k in zip(standard, problem.faces.knots[0], strict=True)]
        )[used]

    # States with all scores between the outermost knots, where np.interp is the score.
    differences = []
    for state in states[0][:40]:
        place = frame.coordinates(state[None], condition)[0]
        if np.abs(scores(place)).max() > 2.9:
            continue
        steps = 1e-7 * np.eye(len(place))[used]
        slopes = [(scores(place + h) - scores(place - h)) / 2e-7 for h in steps]
        expected = np.linalg.slogdet(np.array(slopes))[1]
        differences.append(log_stretch(problem.faces, state[None], 0, used)[0] - expected)
    # But for the constant factor.
    assert len(differences) > 5
    assert np.ptp(differences) < 1e-2


def test_scores_and_values_are_inverse() -> None:
    from pipelines.metabolic_flux.inputs import score

    knots = np.sort(np.random.default_rng(0).standard_normal(25)) * 2
    values = np.linspace(-7, 7, 41)
    again = unscored(knots, np.array([score(knots, value) for value in values]))
    np.testing.assert_allclose(again, values, atol=1e-9)


def test_resampling_follows_the_weights() -> None:
    weights = np.array([1.0, 0.0, 3.0])
    assert np.bincount(chosen(weights, 400, 0), minlength=3).tolist() == [100, 0, 300]


def test_a_gaussian_leaves_bounds_and_is_told_from_states() -> None:
    problem, states = small_problem()
    condition = np.repeat([0, 1], 600)
    real = np.concatenate([each[:600] for each in states])
    made = gaussian(problem, states)(condition, 0)
    assert np.abs(made @ problem.network.stoichiometry.T).max() < 1e-9
    assert (made < problem.frame.lower[condition] - 1e-6).any()
    assert separability(real, made, condition) > 0.8
    again = np.concatenate([each[600:1200] for each in states])
    assert separability(real, again, condition) < 0.6
    assert distances(real, again).max() < distances(real, made).max()


@pytest.mark.slow
def test_codes_of_a_mixture_make_states_that_are_nearer_than_those_of_the_prior() -> None:
    problem, states = small_problem()
    # Untrained it is a Gaussian's model, and codes lie as states do: not as the prior says.
    model = FluxAutoencoder(problem, codes=problem.frame.dimensions, hidden=(8,))
    layout = model.layout((states[0].shape[1],))
    parameters = model.init(layout, np.random.default_rng(0))
    condition = np.repeat([0, 1], 1000)
    real = np.concatenate([each[-1000:] for each in states])
    learned = [each[:-1000] for each in states]
    make = from_mixture(model, parameters, learned, 0)
    made, prior = make(condition, 1), from_network(model, parameters)(condition, 1)
    assert np.array_equal(made, make(condition, 1))
    assert np.abs(made @ problem.network.stoichiometry.T).max() < 1e-9
    assert (made >= problem.frame.lower[condition] - 1e-6).all()
    assert (made <= problem.frame.upper[condition] + 1e-6).all()
    assert separability(real, made, condition) < separability(real, prior, condition)


@pytest.mark.slow
def test_a_design_is_feasible_and_below_the_optimum() -> None:
    problem, states = small_problem()
    conditions = tuple(conditions_of(problem.network, 2))
    product = problem.network.place("leave1")
    draw = gaussian(problem, states, mirrored=True)
    found = design(problem.network, problem.frame, conditions, draw, product, 0.1, 200, 0)
    assert {each.condition for each in found} == {each.name for each in conditions}
    for each in found:
        assert each.feasible == 1.0
        if each.growing > 0:
            assert 0 <= each.product <= each.bound + 1e-6
