"""Collision events in the shape of the HIGGS dataset, drawn from densities that are known.

28 features: 21 of what a detector measures - a lepton, missing energy and four jets - and 7
invariant masses that are functions of them (the columns of Baldi, Sadowski and Whiteson 2014). In
signal, pairs of particles come from resonances: their directions and momenta depend on each other.
Every density has a closed form, so that the likelihood ratio of an event is known, and with it the
best that any classifier can do (Neyman and Pearson 1933).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ooc.core.progress import Report, silent
from ooc.core.random_keys import Purpose, generator
from pipelines.common.dataset import Columns, write

LOW_LEVEL = (
    *("lepton pT", "lepton eta", "lepton phi", "missing energy", "missing energy phi"),
    *(f"jet {jet} {what}" for jet in (1, 2, 3, 4) for what in ("pT", "eta", "phi", "b-tag")),
)
HIGH_LEVEL = ("m_jj", "m_jjj", "m_lv", "m_jlv", "m_bb", "m_wbb", "m_wwbb")
FEATURES = (*LOW_LEVEL, *HIGH_LEVEL)
SIGNAL_SHARE = 0.53
PRIOR = float(np.log(SIGNAL_SHARE / (1 - SIGNAL_SHARE)))

# Columns of the transverse momenta, the pseudorapidities and the azimuths, by particle: lepton,
# missing energy (without eta), jets 1 to 4.
PT = np.array([0, 3, 5, 9, 13, 17])
ETA = np.array([1, 6, 10, 14, 18])
PHI = np.array([2, 4, 7, 11, 15, 19])
TAG = np.array([8, 12, 16, 20])
# Pairs of particles, first and second place in PHI, that a resonance decays to in signal.
PAIRS = ((0, 1), (2, 3), (4, 5))
# Particles that make up each mass.
MASSES = ((2, 3), (2, 3, 4), (0, 1), (0, 1, 2), (4, 5), (2, 4, 5), (0, 1, 2, 3, 4, 5))
TAG_VALUES = np.array([0.0, 1.0, 2.0])


def _covariance(spread: float, size: int, pairs: Mapping[tuple[int, int], float]) -> np.ndarray:
    matrix = np.eye(size)
    for (a, b), correlation in pairs.items():
        matrix[a, b] = matrix[b, a] = correlation
    return spread**2 * matrix


# Of background, then signal: means and covariances of log pT and of eta; concentration and mean
# angle of each pair's azimuths (0: independent); shares of b-tags, for jets 1 and 2, then 3 and 4.
LOG_PT_MEAN = np.array([[0, 0, 0, 0, 0, 0], [0.05, 0.1, 0.05, 0.0, 0.1, 0.05]]) - 0.125
LOG_PT = np.stack(
    [
        _covariance(0.5, 6, {(2, 3): 0.4, (4, 5): 0.4}),
        _covariance(0.5, 6, {(2, 3): -0.3, (4, 5): -0.3, (0, 1): -0.2}),
    ]
)
ETA_COVARIANCE = np.stack(
    [
        _covariance(1.0, 5, {}),
        _covariance(0.9, 5, {(1, 2): 0.4, (3, 4): 0.45}),
    ]
)
CONCENTRATION = np.array([[0.5, 0.0, 0.0], [2.0, 2.5, 2.5]])
ANGLE = np.array([[np.pi, np.pi, np.pi], [2.1, 1.7, 1.6]])
TAG_SHARES = np.array(
    [[[0.55, 0.25, 0.20], [0.55, 0.25, 0.20]], [[0.55, 0.25, 0.20], [0.45, 0.27, 0.28]]]
)


def draw_events(rng: np.random.Generator, rows: int) -> Columns:
    """Draw events: "X" (rows, 28) float32, "y" (rows,) uint8, 1 for signal."""
    signal = rng.random(rows) < SIGNAL_SHARE
    x = np.empty((rows, len(FEATURES)))
    for kind, which in enumerate((~signal, signal)):
        x[which, : len(LOW_LEVEL)] = _draw_kind(rng, kind, int(which.sum()))
    low = x[:, : len(LOW_LEVEL)].astype(np.float32).astype(np.float64)
    x[:, len(LOW_LEVEL) :] = masses(low)
    return {"X": x.astype(np.float32), "y": signal.astype(np.uint8)}


def _draw_kind(rng: np.random.Generator, kind: int, rows: int) -> np.ndarray:
    low = np.empty((rows, len(LOW_LEVEL)))
    pt = rng.standard_normal((rows, 6)) @ np.linalg.cholesky(LOG_PT[kind]).T
    low[:, PT] = np.exp(pt + LOG_PT_MEAN[kind])
    low[:, ETA] = rng.standard_normal((rows, 5)) @ np.linalg.cholesky(ETA_COVARIANCE[kind]).T
    for pair, (first, second) in enumerate(PAIRS):
        start = rng.uniform(-np.pi, np.pi, rows)
        turn = rng.vonmises(ANGLE[kind, pair] - np.pi, CONCENTRATION[kind, pair], rows) + np.pi
        sign = rng.choice([-1.0, 1.0], rows)
        low[:, PHI[first]] = start
        low[:, PHI[second]] = _wrapped(start + sign * turn)
    for jet, column in enumerate(TAG):
        edges = np.cumsum(TAG_SHARES[kind, jet // 2])[:2]
        low[:, column] = TAG_VALUES[np.searchsorted(edges, rng.random(rows), side="right")]
    return low


def masses(low: np.ndarray) -> np.ndarray:
    """Return the invariant masses of the groups of massless particles, (rows, 7).

    Missing energy has no measured eta, and counts as transverse.
    """
    pt, phi = low[:, PT], low[:, PHI]
    eta = np.zeros_like(pt)
    eta[:, [0, 2, 3, 4, 5]] = low[:, ETA]
    momentum = np.stack([pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    squares = []
    for particles in MASSES:
        energy, *space = momentum[:, :, list(particles)].sum(axis=2)
        squares.append(energy**2 - sum(part**2 for part in space))
    return np.sqrt(np.maximum(np.stack(squares, axis=1), 0.0))


def log_likelihood_ratio(x: np.ndarray) -> np.ndarray:
    """Return log p(x | signal) - log p(x | background) of events (rows, 28), exactly.

    The masses are functions of the other features: they do not change it.
    """
    from scipy.special import i0, logsumexp

    low = x[:, : len(LOW_LEVEL)].astype(np.float64)
    log_density = []
    for kind in (0, 1):
        total = _log_normal(np.log(low[:, PT]) - LOG_PT_MEAN[kind], LOG_PT[kind])
        total += _log_normal(low[:, ETA], ETA_COVARIANCE[kind])
        for pair, (first, second) in enumerate(PAIRS):
            turn = low[:, PHI[second]] - low[:, PHI[first]]
            kappa, angle = CONCENTRATION[kind, pair], ANGLE[kind, pair]
            both = kappa * np.cos(np.stack([turn - angle, turn + angle]))
            total += logsumexp(both, axis=0) - np.log(2 * i0(kappa))
        for jet, column in enumerate(TAG):
            total += np.log(TAG_SHARES[kind, jet // 2])[low[:, column].astype(int)]
        log_density.append(total)
    return log_density[1] - log_density[0]


def write_events(
    path: Path, rows: int, seed: int, held_out: bool = False, report: Report = silent
) -> None:
    """Write a dataset of events, chunk by chunk, the same bits on any number of threads."""
    purpose = Purpose.HELD_OUT_DATA if held_out else Purpose.DATA

    def draw(number: int, first: int, count: int) -> Columns:
        return draw_events(generator(seed, purpose, index=number), count)

    attributes = {"seed": seed, "rows": rows, "features": list(FEATURES)}
    fields = {"X": ("float32", (len(FEATURES),)), "y": ("uint8", ())}
    write(path, fields, attributes, rows, draw, report=report)


def _log_normal(x: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    inverse = np.linalg.inv(covariance)
    quadratic: np.ndarray = -0.5 * np.einsum("ni,ij,nj->n", x, inverse, x, optimize=True)
    return quadratic - 0.5 * np.linalg.slogdet(covariance)[1]


def _wrapped(angle: np.ndarray) -> np.ndarray:
    wrapped: np.ndarray = (angle + np.pi) % (2 * np.pi) - np.pi
    return wrapped
