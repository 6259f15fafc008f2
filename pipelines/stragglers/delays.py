"""How slow machines are: draws of three kinds, and the order statistics that theory expects."""

from collections.abc import Callable

import numpy as np
from scipy.integrate import quad
from scipy.special import betaincinv, log_ndtr, ndtri

from ooc.core.random_keys import Purpose, generator

SIGMA = 1.0  # of the logarithm of lognormal delays
SHAPE = 2.5  # of Pareto delays: the variance is finite, the third moment is not

# What exceeds a delay of mean 1 with these probabilities.
Quantile = Callable[[np.ndarray], np.ndarray]


def _lognormal(above: np.ndarray) -> np.ndarray:
    return np.exp(-SIGMA * ndtri(above) - SIGMA**2 / 2)


def _pareto(above: np.ndarray) -> np.ndarray:
    return (SHAPE - 1) / SHAPE * above ** (-1 / SHAPE)


KINDS: dict[str, Quantile] = {
    "even": lambda above: np.ones_like(above),
    "exponential": lambda above: -np.log(above),
    "lognormal": _lognormal,
    "Pareto": _pareto,
}


def draw_slowness(kind: str, seed: int, steps: int, machines: int, slow: float = 1) -> np.ndarray:
    """Draw (steps, machines) float64: how many times a step's share takes a machine its mean.

    Parameters
    ----------
    kind
        Of `KINDS`; all have mean 1.
    slow
        How many times slower the first machine is than the others.

    Examples
    --------
    >>> draw_slowness("even", 0, 2, 3, slow=10)
    array([[10.,  1.,  1.],
           [10.,  1.,  1.]])
    """
    uniform = generator(seed, Purpose.DATA, machines).random((steps, machines))
    found = KINDS[kind](1 - uniform)  # in (0, 1]: never 0
    found[:, 0] *= slow
    return found


def expected_order_statistic(kind: str, machines: int, needed: int) -> float:
    """Return the expected time until `needed` of so many machines are done.

    An order statistic of uniform draws has a Beta distribution, over whose quantiles the delay's
    are integrated (David and Nagaraja, Order Statistics, 2003, section 3.1).

    Examples
    --------
    >>> round(expected_order_statistic("exponential", 100, 96), 3)
    3.104
    """

    def of(probability: float) -> float:
        above = betaincinv(machines - needed + 1, needed, probability)
        return float(KINDS[kind](np.asarray(above)))

    return float(quad(of, 0, 1, limit=500)[0])


def harmonic_difference(machines: int, spare: int) -> float:
    """Return H_n - H_k, what `machines - spare` of them take with exponential delays.

    Examples
    --------
    >>> round(harmonic_difference(100, 4), 3), round(harmonic_difference(100, 0), 3)
    (3.104, 5.187)
    """
    return float(np.sum(1 / np.arange(spare + 1, machines + 1)))


def expected_maximum(kind: str, machines: int, slow: float) -> float:
    """Return the expected time until all are done, the first of which is so many times slower."""

    def unfinished(time: float) -> float:
        return -np.expm1((machines - 1) * _log_share(kind, time) + _log_share(kind, time / slow))

    whole, _ = quad(lambda log: unfinished(np.exp(log)) * np.exp(log), -30, 30, limit=2000)
    return float(whole)


def _log_share(kind: str, time: float) -> float:
    """Return the logarithm of the share of delays up to a time."""
    with np.errstate(divide="ignore"):
        match kind:
            case "exponential":
                return float(np.log(-np.expm1(-time)))
            case "lognormal":
                return float(log_ndtr(np.log(time) / SIGMA + SIGMA / 2))
            case "Pareto":
                above = min(1.0, ((SHAPE - 1) / SHAPE / time) ** SHAPE)
                return float(np.log1p(-above))
    raise ValueError(f"{kind} has no distribution here")
