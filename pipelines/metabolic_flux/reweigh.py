"""States drawn again by their weights: what a density that is known puts right.

The states of a condition are to be uniform, and the density q with which a network generates a
state can be estimated: by codes from its encoder, times the volume that mirror coordinates stretch.
Drawn again with weights 1/q (sampling-importance-resampling, Rubin 1987), states are uniform as
their number grows. How many of them are worth as much as uniform ones, the effective share, tells
how near the network was.
"""

from dataclasses import dataclass

import numpy as np

from ooc.core.random_keys import Purpose, generator
from pipelines.metabolic_flux.generate import Generator, from_network
from pipelines.metabolic_flux.inputs import KNOTS, LEAST_SLACK, REACH
from pipelines.metabolic_flux.mirror import Faces
from pipelines.metabolic_flux.model import FluxAutoencoder

CODES = 32  # of each state, by which its density is estimated (Burda and others 2016)
# States that are made for each one that is kept.
CANDIDATES = 6


@dataclass(frozen=True)
class Weighted:
    """States of one condition (rows, R), and the weights with which they are drawn again."""

    states: np.ndarray
    weights: np.ndarray

    @property
    def effective(self) -> float:
        """Share of the states that are worth as much as uniform ones (Kish 1965)."""
        return float(self.weights.sum() ** 2 / (self.weights**2).sum() / len(self.weights))


def reweighted(model: FluxAutoencoder, parameters: np.ndarray) -> Generator:
    """Return what generates `CANDIDATES` times as many states, and keeps some by their weights."""
    draw = from_network(model, parameters)

    def again(condition: np.ndarray, seed: int) -> np.ndarray:
        found = np.empty((len(condition), model.problem.frame.centres.shape[1]))
        for each in np.unique(condition):
            of_it = np.flatnonzero(condition == each)
            made = weighted(model, parameters, draw, int(each), CANDIDATES * len(of_it), seed)
            found[of_it] = made.states[chosen(made.weights, len(of_it), seed)]
        return found

    return again


def effective_share(model: FluxAutoencoder, parameters: np.ndarray, rows: int, seed: int) -> float:
    """Return the mean effective share of so many states of each condition."""
    draw = from_network(model, parameters)
    shares = [
        weighted(model, parameters, draw, number, rows, seed).effective
        for number in range(model.problem.frame.conditions)
    ]
    return float(np.mean(shares))


def weighted(
    model: FluxAutoencoder,
    parameters: np.ndarray,
    draw: Generator,
    condition: int,
    rows: int,
    seed: int,
) -> Weighted:
    """Generate states of one condition and weigh them by one over their density."""
    numbers = np.full(rows, condition)
    states = draw(numbers, seed + condition)
    faces = model.problem.faces
    assert faces is not None and model.form == "mirror", "only there is the density known"
    used = model.problem.frame.is_used[condition]
    logs = log_density(model, parameters, states, numbers, seed)
    logs = logs + log_stretch(faces, states, condition, used)
    return Weighted(states, np.exp(-(logs - logs.min())))


def log_density(
    model: FluxAutoencoder,
    parameters: np.ndarray,
    states: np.ndarray,
    condition: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Return the logarithm of the density of states in the network's own inputs, (rows,) nats.

    It is the mean over codes from the encoder of p(t | z) p(z) / q(z | t), whose logarithm is the
    evidence lower bound of importance-weighted autoencoders.
    """
    posterior, inputs = model.encode_with_inputs(parameters, states, condition)
    means, logs = np.split(posterior.astype(np.float64), 2, axis=1)
    deviations, used = model.deviations(parameters), model.problem.frame.is_used[condition]
    random = generator(seed, Purpose.HELD_OUT_DATA, index=2)
    found = np.full(len(states), -np.inf)
    for _ in range(CODES):
        noise = random.standard_normal(means.shape)
        codes = means + np.exp(0.5 * logs) * noise
        away = (model.decode(parameters, codes, condition) - inputs) / deviations
        each = used * (-0.5 * away**2 - np.log(deviations) - 0.5 * np.log(2 * np.pi))
        ratio = 0.5 * (noise**2 + logs - codes**2).sum(axis=1)
        found = np.logaddexp(found, each.sum(axis=1) + ratio)
    return found - np.log(CODES)


def log_stretch(
    faces: Faces, states: np.ndarray, condition: int, is_used: np.ndarray
) -> np.ndarray:
    """Return the logarithm of the determinant of the scores' derivative by coordinates, (rows,).

    The gradient of the barrier has the Hessian sum a a^T / slack for a derivative; then come the
    constant factor, which is left out, and the slopes of the normal scores.
    """
    slacks = np.maximum(faces.slacks(states, condition), LEAST_SLACK)
    normals = faces.normals[condition][: slacks.shape[1]][:, is_used]
    hessian = np.einsum("fi,rf,fj->rij", normals, 1 / slacks, normals, optimize=True)
    found = np.linalg.slogdet(hessian)[1]
    eta = faces.mirrored(states, condition) - faces.shifts[condition]
    standard = eta @ np.linalg.pinv(faces.factors[condition]).T
    for column in np.flatnonzero(is_used):
        knots = faces.knots[condition, column]
        low = np.clip(np.searchsorted(knots, standard[:, column], "right") - 1, 0, KNOTS - 2)
        found = found + np.log(2 * REACH / (KNOTS - 1) / np.diff(knots)[low])
    return found


def chosen(weights: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return places drawn by weights with evenly spaced draws, (count,) (systematic resampling).

    Examples
    --------
    >>> chosen(np.array([0.0, 1.0, 0.0, 1.0]), 4, 0).tolist()
    [1, 1, 3, 3]
    """
    first = generator(seed, Purpose.DRAWS).random()
    whole = np.cumsum(weights) / weights.sum()
    found = np.searchsorted(whole, (np.arange(count) + first) / count)
    return np.minimum(found, len(weights) - 1)
