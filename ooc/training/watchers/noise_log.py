"""Gradient noise while training: the noise scale and the temperature, with their intervals.

Each step tells of the gradient's signal and noise, from the two halves of its batch (see
`ooc.kernels.counters`). Between two lines of a history their means are estimates, and their
spread over the steps says how good they are.
"""

import math
from typing import NamedTuple

import numpy as np

from ooc.kernels.counters import HALVED, NOISE, NOISE_SQUARES, SIGNAL, SIGNAL_NOISE, SIGNAL_SQUARES
from ooc.optim.settings import REACH, rate_at

# Of the normal distribution: 95 percent lie within so many standard deviations.
Z = 1.959963984540054
FEWEST_BATCHES = 8


def noise_entries(
    before: np.ndarray,
    now: np.ndarray,
    batch_size: int,
    settings: np.ndarray,
    step: int,
    trained: int,
) -> dict[str, float]:
    """Return what a history line says of noise since the line before.

    - "noise_scale" is B_simple = tr(S) / |G|^2 in rows (McCandlish, Kaplan, Amodei et al. 2018,
      arXiv:1812.06162, equation 2.9): the mean of tr(S) over the mean of |G|^2. Its interval,
      "noise_scale_low" to "noise_scale_high", is Fieller's (1954), for a ratio whose denominator
      may be near zero. Where zero is not excluded, only "noise_scale_low" is there.
    - "temperature" is lr tr(S) / (2 B P): twice the mean energy of each of the P parameters that
      are trained, once SGD is stationary in a quadratic valley, for a rate that is small against
      1/curvature. With a momentum, lr / (1 - momentum) is the rate. Where each parameter has a
      rate of its own (Adam and its kin) there is no temperature.

    Intervals hold 95 percent, steps taken as independent. An L2 penalty is no part of G. Keys
    without an estimate are absent: where batches cannot be halved, or there are fewer than 8.

    Parameters
    ----------
    before, now
        (TOTALS,) float64, totals at the line before and now.
    batch_size
        B.
    settings, step
        Of the optimizer, see `ooc.optim`, and the step that was taken last, counted from 0.
    trained
        P, parameters that training changes.

    Examples
    --------
    >>> from ooc.kernels.counters import TOTALS
    >>> from ooc.optim import sgd
    >>> now = np.zeros(TOTALS)
    >>> now[[HALVED, SIGNAL, SIGNAL_SQUARES]] = 100, 50.0, 25.25
    >>> now[[NOISE, NOISE_SQUARES, SIGNAL_NOISE]] = 400.0, 1616.0, 200.0
    >>> told = noise_entries(np.zeros(TOTALS), now, 8, sgd(0.1).settings(), 99, trained=2)
    >>> {key: round(value, 4) for key, value in told.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'temperature': 0.0125, 'temperature_low': 0.0123, 'temperature_high': 0.0127,
     'noise_scale_low': 7.7802, 'noise_scale': 8.0, 'noise_scale_high': 8.226}
    """
    means = _means(now - before)
    if means is None:
        return {}
    told, rate = _ratio_entries(means), effective_rate(settings, step)
    if rate is None:
        return told
    factor, error = rate / (2 * batch_size * trained), Z * math.sqrt(means.of_noise)
    return {
        "temperature": factor * means.noise,
        "temperature_low": factor * max(means.noise - error, 0.0),
        "temperature_high": factor * (means.noise + error),
    } | told


def noise_scale_bound(since: np.ndarray) -> float:
    """Return the lower end of the noise scale's interval, in rows; 0 without an estimate.

    Parameters
    ----------
    since
        (TOTALS,) float64, what totals have grown by.
    """
    means = _means(since)
    return 0.0 if means is None else _ratio_entries(means).get("noise_scale_low", 0.0)


def effective_rate(settings: np.ndarray, step: int) -> float | None:
    """Return the rate of plain SGD that walks as far; None where parameters differ in theirs.

    Examples
    --------
    >>> from ooc.optim import adam, momentum
    >>> round(effective_rate(momentum(0.1, momentum=0.75).settings(), 0), 6)
    0.4
    >>> effective_rate(adam(0.1).settings(), 0) is None
    True
    """
    reach = float(settings[REACH])
    return float(rate_at(settings, step)) * reach if reach > 0 else None


class _Means(NamedTuple):
    """Mean signal and noise of some steps; variances of both means, and their covariance."""

    signal: float
    noise: float
    of_signal: float
    of_noise: float
    of_both: float


def _means(since: np.ndarray) -> _Means | None:
    totals = since.tolist()
    count = totals[HALVED]
    if count < FEWEST_BATCHES:
        return None
    signal, noise = totals[SIGNAL] / count, totals[NOISE] / count
    means = _Means(
        signal,
        noise,
        max(totals[SIGNAL_SQUARES] / count - signal**2, 0.0) / (count - 1),
        max(totals[NOISE_SQUARES] / count - noise**2, 0.0) / (count - 1),
        (totals[SIGNAL_NOISE] / count - signal * noise) / (count - 1),
    )
    return means if all(map(math.isfinite, means)) else None


def _ratio_entries(means: _Means) -> dict[str, float]:
    """Return Fieller's interval of noise / signal: where (noise - r signal)^2 < z^2 variance."""
    signal, noise, of_signal, of_noise, of_both = means
    a = signal**2 - Z**2 * of_signal
    b = signal * noise - Z**2 * of_both
    c = noise**2 - Z**2 * of_noise
    inside = b * b - a * c
    if inside < 0:
        return {}  # nothing is excluded
    root = math.sqrt(inside)
    if a > 0 and signal > 0:
        low, high = max((b - root) / a, 0.0), (b + root) / a
        ends = {"noise_scale_low": low, "noise_scale": noise / signal}
        return {**ends, "noise_scale_high": high}
    # The signal may be zero or, as an estimate, below it: the ratio is above the positive root.
    divisor = b + root
    return {"noise_scale_low": c / divisor} if c > 0 and divisor > 0 else {}
