"""Minutes: how far a channel's mean is from what the means of the other channels let expect.

Thermal modes move all channels together by ten times what a drift of one does in a quarter of an
hour, and by other amounts than in any training data. What they do to the channels relative to each
other is linear, and is judged linearly: a drift of one channel is looked for along the direction in
which it moves the means, in the metric of what training saw (a matched filter; the same as what is
left of a channel after regression on the others). Directions in which training moved much count
little. A channel that drifts is left out of what others are expected by, from its alarm to its end.
"""

import numpy as np

FOLDS, ROUNDS = 8, 3
TRIM = 5.0  # deviations: training units beyond are faults, and not fitted


def directions(channels: int) -> np.ndarray:
    """Return what a drift of each channel does to all relative means, (channels, channels).

    Examples
    --------
    >>> directions(2)
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """
    found: np.ndarray = np.eye(channels) - 1 / channels
    return found


def deviations(
    beyond: np.ndarray, precision: np.ndarray, moves: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """Return each channel's drift in standard deviations, (..., channels).

    Parameters
    ----------
    beyond
        (..., channels) means less their level.
    precision
        Inverse of their covariance.
    moves
        A row a channel: what its drift does to the means.
    out
        (channels,) bool: those that may be anywhere; they are 0.
    """
    if out is not None and out.any():
        gone = precision @ moves[out].T
        precision = precision - gone @ np.linalg.pinv(moves[out] @ gone) @ gone.T
    filtered = moves @ precision
    power = np.einsum("ci,ci->c", filtered, moves)
    usable = power > 1e-9 * power.max()
    if out is not None:
        usable &= ~out
    found: np.ndarray = np.where(
        usable, beyond @ filtered.T / np.sqrt(np.where(usable, power, 1)), 0
    )
    return found


def scores(
    beyond: np.ndarray,
    precision: np.ndarray,
    moves: np.ndarray,
    limits: np.ndarray,
    known: np.ndarray,
) -> np.ndarray:
    """Return how many times the limit each channel drifts, (channels,), on the clearer scale.

    Channels that are known to drift are left out of what others are judged by, and so is the one
    that then drifts most, until none is over its limit: what it did to others goes with it.

    Parameters
    ----------
    beyond
        (scales, channels), see `deviations`.
    limits
        (scales,) deviations.
    known
        (channels,) bool.
    """

    def judged(out: np.ndarray) -> np.ndarray:
        each = np.abs(deviations(beyond, precision, moves, out))
        found: np.ndarray = (each / limits[:, None]).max(axis=0)
        return found

    found, out = np.zeros(beyond.shape[1]), known.copy()
    for channel in np.flatnonzero(known):
        out[channel] = False
        found[channel] = judged(out)[channel]
        out[channel] = True
    # Channels can be told from each other while most of them are as they were.
    while 2 * out.sum() < len(out):
        rest = judged(out)
        highest = int(rest.argmax())
        if rest[highest] < 1:
            return np.where(out, found, rest)
        found[highest], out[highest] = rest[highest], True
    return found


def fit(series: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit to the means (units, scales, channels) of training data; NaN where there are none yet.

    Returns
    -------
    level
        (channels,).
    precision
        (channels, channels), of the first scale.
    spreads
        (scales,) standard deviations of what `deviations` gives on parts of the training data that
        the rest has not seen: more than 1, as the data see slow modes but a few times.
    """
    first = series[:, 0]
    moves, known = directions(first.shape[1]), np.isfinite(first).all(axis=1)
    kept = known
    for _ in range(ROUNDS):
        level, precision = _fit(first[kept])
        highest = np.abs(deviations(first - level, precision, moves)).max(axis=1)
        kept = known & (highest < TRIM)
    level, precision = _fit(first[kept])
    squares, counts = np.zeros(series.shape[1]), np.zeros(series.shape[1])
    for fold in np.array_split(np.flatnonzero(kept), FOLDS):
        others = kept.copy()
        others[fold] = False
        own_level, own_precision = _fit(first[others])
        for scale in range(series.shape[1]):
            unseen = deviations(series[fold, scale] - own_level, own_precision, moves)
            squares[scale] += np.nansum(unseen**2)
            counts[scale] += np.isfinite(unseen).sum()
    # Where a scale is longer than the training data, the first has to do.
    spreads = np.sqrt(np.where(counts > 0, squares / np.maximum(counts, 1), squares[0] / counts[0]))
    return level, precision, spreads


def _fit(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return level and precision; no direction is taken to be calmer than the middle one."""
    level = means.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(means - level, rowvar=False))
    values = np.maximum(values, np.median(values))
    return level, (vectors / values) @ vectors.T
