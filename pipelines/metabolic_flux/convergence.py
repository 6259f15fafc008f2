"""Have chains converged: split potential scale reduction, and effective sample size."""

import numpy as np


def split_psrf(chains: np.ndarray) -> np.ndarray:
    """Return the potential scale reduction factor of chains cut in halves.

    1 where halves and chains agree (Gelman and others 2013, section 11.4).

    Parameters
    ----------
    chains
        (chains, draws, quantities).

    Returns
    -------
    numpy.ndarray
        (quantities,) float64.

    Examples
    --------
    >>> still = np.random.default_rng(0).normal(size=(4, 1000, 1))
    >>> moved = still + np.arange(4).reshape(4, 1, 1)
    >>> bool(split_psrf(still)[0] < 1.01), bool(split_psrf(moved)[0] > 1.4)
    (True, True)
    """
    halves = _halves(chains)
    draws = halves.shape[1]
    between = draws * halves.mean(axis=1).var(axis=0, ddof=1)
    within = halves.var(axis=1, ddof=1).mean(axis=0)
    found: np.ndarray = np.sqrt(((draws - 1) / draws * within + between / draws) / within)
    return found


def effective_size(chains: np.ndarray) -> np.ndarray:
    """Return how many independent draws tell a mean as well as all draws of the chains do.

    Autocorrelations over half-chains are added up to the first pair whose sum is negative, pairs
    made monotone (Geyer 1992; Gelman and others 2013, section 11.5).

    Returns
    -------
    numpy.ndarray
        (quantities,) float64, for chains (chains, draws, quantities).
    """
    halves = _halves(chains)
    count, draws = halves.shape[:2]
    within = halves.var(axis=1, ddof=1).mean(axis=0)
    means = halves.mean(axis=1)
    total = (draws - 1) / draws * within + means.var(axis=0, ddof=1)
    spectrum = np.fft.rfft(halves - means[:, None], 2 * draws, axis=1)
    lagged = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :draws].mean(axis=0) / draws
    correlation = 1 - (within - lagged) / total
    correlation[0] = 1.0
    pairs = correlation[0 : draws // 2 * 2 : 2] + correlation[1 : draws // 2 * 2 : 2]
    kept = np.cumprod(pairs > 0, axis=0).astype(bool)
    sums = np.where(kept, np.minimum.accumulate(pairs, axis=0), 0.0).sum(axis=0)
    found: np.ndarray = count * draws / np.maximum(2 * sums - 1, 1 / np.log10(count * draws))
    return found


def _halves(chains: np.ndarray) -> np.ndarray:
    half = chains.shape[1] // 2
    return np.concatenate([chains[:, :half], chains[:, half : 2 * half]])
