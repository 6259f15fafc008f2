"""New states: from a trained network, and from Gaussians that stand beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ooc.core.random_keys import Purpose, generator
from pipelines.metabolic_flux.inputs import KNOTS, REACH
from pipelines.metabolic_flux.model import FluxAutoencoder, Problem

# Gaussians of a mixture of codes at most, and what is added to their variances.
COMPONENTS, LEAST_VARIANCE = 4, 1e-3
GRID = np.linspace(-REACH, REACH, KNOTS)

# (rows of a condition's number, seed) -> (rows, R) float64 states
Generator = Callable[[np.ndarray, int], np.ndarray]


def states_of_outputs(
    problem: Problem, form: str, outputs: np.ndarray, condition: np.ndarray
) -> np.ndarray:
    """Return the states (rows, R) float64 that a network's outputs (rows, K) stand for."""
    if form == "fluxes":
        scales = np.where(problem.frame.is_moving, problem.scales, 0.0)
        return problem.frame.centres[condition] + scales[condition] * outputs.astype(np.float64)
    if form == "null space":
        return problem.frame.fluxes(outputs, condition)
    assert problem.faces is not None, "the model was made with them"
    found = np.empty(outputs.shape)
    for each in np.unique(condition):
        of_it, used = condition == each, problem.frame.is_used[each]
        found[of_it] = problem.faces.coordinates(outputs[of_it], int(each), used)
    return problem.frame.fluxes(found, condition)


def from_network(model: FluxAutoencoder, parameters: np.ndarray) -> Generator:
    """Return what draws codes from the prior, and states from the decoder's density.

    Where nothing but the network keeps S v = 0, its noise would not: then the density's mean is
    taken.
    """
    deviations = model.deviations(parameters)

    def draw(condition: np.ndarray, seed: int) -> np.ndarray:
        random = generator(seed, Purpose.HELD_OUT_DATA)
        codes = random.standard_normal((len(condition), model.codes))
        outputs = model.decode(parameters, codes, condition).astype(np.float64)
        if model.form != "fluxes":
            outputs += deviations * random.standard_normal(outputs.shape)
        return states_of_outputs(model.problem, model.form, outputs, condition)

    return draw


def from_mixture(
    model: FluxAutoencoder, parameters: np.ndarray, samples: Sequence[np.ndarray], seed: int
) -> Generator:
    """Return what draws codes from a mixture of Gaussians in each condition, not from the prior.

    Codes of states, all together, seldom lie as the prior says: a mixture that is fitted to them by
    scikit-learn is nearer (an ex-post density, Ghosh and others 2020).

    Parameters
    ----------
    samples
        Of each condition (rows, R) states that the network learned from, or such.
    """
    from sklearn.mixture import GaussianMixture

    deviations, random = model.deviations(parameters), generator(seed, Purpose.DRAWS, index=3)
    fitted = []
    for number, states in enumerate(samples):
        found = model.encode(parameters, states, np.full(len(states), number)).astype(np.float64)
        means, logs = np.split(found, 2, axis=1)
        codes = means + np.exp(0.5 * logs) * random.standard_normal(means.shape)
        # A component has to be told from its own states.
        parts = max(1, min(COMPONENTS, len(codes) // (4 * model.codes)))
        mixture = GaussianMixture(parts, random_state=seed % 2**32, reg_covar=LEAST_VARIANCE)
        fitted.append(mixture.fit(codes))

    def draw(condition: np.ndarray, seed: int) -> np.ndarray:
        random = generator(seed, Purpose.HELD_OUT_DATA, index=4)
        codes = np.empty((len(condition), model.codes))
        for number in np.unique(condition):
            of_it, mixture = np.flatnonzero(condition == number), fitted[number]
            parts = random.choice(len(mixture.weights_), len(of_it), p=mixture.weights_)
            for part in np.unique(parts):
                rows = of_it[parts == part]
                factor = np.linalg.cholesky(mixture.covariances_[part])
                noise = random.standard_normal((len(rows), model.codes))
                codes[rows] = mixture.means_[part] + noise @ factor.T
        outputs = model.decode(parameters, codes, condition).astype(np.float64)
        if model.form != "fluxes":
            outputs += deviations * random.standard_normal(outputs.shape)
        return states_of_outputs(model.problem, model.form, outputs, condition)

    return draw


@dataclass(frozen=True)
class _Normal:
    mean: np.ndarray
    factor: np.ndarray


def gaussian(problem: Problem, samples: Sequence[np.ndarray], mirrored: bool = False) -> Generator:
    """Return what draws from a Gaussian of each condition, in the null space or mirror coordinates.

    Parameters
    ----------
    samples
        Of each condition (rows, R) states that mean and covariance are taken of.
    """
    fitted = []
    for number, states in enumerate(samples):
        if mirrored and problem.faces is not None:
            values = problem.faces.mirrored(states, number)
            values = (values - problem.faces.shifts[number]) @ np.linalg.pinv(
                problem.faces.factors[number]
            ).T
            values = np.column_stack(
                [
                    np.interp(column, knots, GRID)
                    for knots, column in zip(problem.faces.knots[number], values.T, strict=True)
                ]
            )
        else:
            values = problem.frame.coordinates(states, np.full(len(states), number))
        spread = np.linalg.eigh(np.cov(values.T))
        factor = spread.eigenvectors * np.sqrt(np.maximum(spread.eigenvalues, 0))
        fitted.append(_Normal(values.mean(axis=0), factor))

    def draw(condition: np.ndarray, seed: int) -> np.ndarray:
        random = generator(seed, Purpose.HELD_OUT_DATA, index=1)
        outputs = random.standard_normal((len(condition), problem.frame.dimensions))
        for number, normal in enumerate(fitted):
            of_it = condition == number
            outputs[of_it] = normal.mean + outputs[of_it] @ normal.factor.T
        form = "mirror" if mirrored else "null space"
        return states_of_outputs(problem, form, outputs, condition)

    return draw
