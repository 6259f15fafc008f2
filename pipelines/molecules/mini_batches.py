"""The wrong tool: descent on mini-batches of pair terms, and the floor at which it must stall.

The energy is a sum over pairs. B of P pairs, drawn without replacement and scaled by P/B, give an
unbiased gradient - whose noise stays when the gradient goes: at a minimum the forces of the pairs
cancel, but none of them is zero. With a learning rate lr, curvature h and noise variance s along a
normal mode, the energy stays lr s / (2 (2 - lr h)) above the minimum (Mandt, Hoffman and Blei,
"Stochastic gradient descent as approximate Bayesian inference", 2017): lr tr(S) / 4 for small lr.
"""

from dataclasses import dataclass

import numpy as np

from ooc.core.compiler import kernel
from ooc.core.random_keys import Purpose, key
from pipelines.molecules.energy import LOOSE, draw_start, energy_and_gradient, uniform
from pipelines.molecules.minimisers import LONGEST, minimise_cg, minimise_lbfgs

SGD, ADAM = 0, 1
BATCH_PAIRS = 8
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Way:
    """One way to go downhill: its label, optimizer, rate, and steps after which the rate halves."""

    label: str
    optimizer: int
    rate: float
    half_after: float = np.inf


WAYS = (
    Way("SGD, rate 1e-4", SGD, 1e-4),
    Way("SGD, rate 1e-5", SGD, 1e-5),
    Way("SGD, rate 1e-4 / (1 + t/10,000)", SGD, 1e-4, 1e4),
    Way("Adam, rate 1e-3", ADAM, 1e-3),
)


@dataclass(frozen=True)
class Trace:
    """How one way went.

    Attributes
    ----------
    work
        (points,) pairs evaluated so far: n (n - 1) / 2 for a full gradient, B for a batch.
    energy, gradient_norm
        (points,) above the minimum at which the way ends, and of the full gradient; measuring
        them counts as no work.
    settled
        Mean energy above the minimum over the last half of the work, or the last one.
    floor
        Energy at which theory says that it stalls, or 0.
    noise_norm
        Root mean square of the batch's gradient noise at the minimum, or 0.
    needed
        Pairs after which theory expects a full gradient norm of 1e-8, or 0: never.
    """

    label: str
    work: np.ndarray
    energy: np.ndarray
    gradient_norm: np.ndarray
    settled: float
    floor: float = 0.0
    noise_norm: float = 0.0
    needed: float = 0.0


@kernel
def batch_gradient(
    positions: np.ndarray, pairs: np.ndarray, batch: int, state: np.ndarray, gradient: np.ndarray
) -> None:
    """Fill `gradient` with an unbiased estimate from `batch` pairs without replacement.

    Parameters
    ----------
    pairs
        (P, 2) int64, all pairs in any order; the drawn ones are moved to the front.
    """
    count = len(pairs)
    for axis in range(3):
        for i in range(positions.shape[1]):
            gradient[axis, i] = 0.0
    for k in range(batch):
        drawn = k + np.int64(uniform(state) * (count - k))
        for end in range(2):
            pairs[k, end], pairs[drawn, end] = pairs[drawn, end], pairs[k, end]
        i, j, square = pairs[k, 0], pairs[k, 1], 0.0
        for axis in range(3):
            square += (positions[axis, i] - positions[axis, j]) ** 2
        inverse = 1.0 / square
        sixth = inverse * inverse * inverse
        force = 24.0 * count / batch * sixth * (1.0 - 2.0 * sixth) * inverse
        for axis in range(3):
            along = force * (positions[axis, i] - positions[axis, j])
            gradient[axis, i] += along
            gradient[axis, j] -= along


@kernel
def _descend(
    positions: np.ndarray,
    pairs: np.ndarray,
    batch: int,
    key: int,
    optimizer: int,
    rate: float,
    half_after: float,
    record_at: np.ndarray,
    out: np.ndarray,
) -> None:
    """Take steps; fill `out` (points, 2) with energies and gradient norms after `record_at`."""
    state = np.empty(1, np.uint64)
    state[0] = key
    gradient = np.empty_like(positions)
    first, second = np.zeros_like(positions), np.zeros_like(positions)
    step = 0
    for point in range(record_at.size):
        while step < record_at[point]:
            batch_gradient(positions, pairs, batch, state, gradient)
            step += 1
            now = rate / (1.0 + step / half_after)
            for axis in range(3):
                for i in range(positions.shape[1]):
                    change = gradient[axis, i]
                    if optimizer == ADAM:
                        first[axis, i] += (1.0 - _BETA1) * (change - first[axis, i])
                        second[axis, i] += (1.0 - _BETA2) * (change * change - second[axis, i])
                        change = first[axis, i] / (1.0 - _BETA1**step)
                        change /= np.sqrt(second[axis, i] / (1.0 - _BETA2**step)) + _EPSILON
                    positions[axis, i] -= min(LONGEST, max(-LONGEST, now * change))
        out[point, 0] = energy_and_gradient(positions, gradient)
        square = 0.0
        for axis in range(3):
            for i in range(positions.shape[1]):
                square += gradient[axis, i] ** 2
        out[point, 1] = np.sqrt(square)


def all_pairs(atoms: int) -> np.ndarray:
    """Return (P, 2) int64: each pair of atoms once."""
    return np.stack(np.triu_indices(atoms, 1), axis=1)


def noise_covariance(positions: np.ndarray, batch: int) -> np.ndarray:
    """Return the covariance (3 atoms, 3 atoms) of `batch_gradient` at these positions."""
    atoms = positions.shape[1]
    pairs = all_pairs(atoms)
    count, terms = len(pairs), np.zeros((len(pairs), 3, atoms))
    apart = positions[:, pairs[:, 0]] - positions[:, pairs[:, 1]]
    square = np.sum(apart**2, axis=0)
    force = 24 * (square**-4 - 2 * square**-7) * apart
    terms[np.arange(count), :, pairs[:, 0]] = force.T
    terms[np.arange(count), :, pairs[:, 1]] = -force.T
    centred = (terms - terms.mean(axis=0)).reshape(count, -1)
    without_replacement = (count - batch) / (count - 1)
    covariance: np.ndarray = count / batch * without_replacement * centred.T @ centred
    return covariance


def hessian(positions: np.ndarray, width: float = 1e-5) -> np.ndarray:
    """Return second derivatives (3 atoms, 3 atoms) by central differences of the gradient."""
    ends = np.empty((positions.size, 2, *positions.shape))
    for row, sides in enumerate(ends):
        for side, sign in enumerate((1, -1)):
            moved = positions.copy()
            moved.reshape(-1)[row] += sign * width
            energy_and_gradient(moved, sides[side])
    slopes = (ends[:, 0] - ends[:, 1]).reshape(positions.size, -1) / (2 * width)
    symmetric: np.ndarray = 0.5 * (slopes + slopes.T)
    return symmetric


def sgd_floor(positions: np.ndarray, batch: int, rate: float) -> float:
    """Return the mean energy above a minimum at which SGD of a constant rate stalls.

    The noise is taken as it is at the minimum itself, and the energy as a parabola: both hold for
    small rates. It is infinite where the rate is too large for the curvature.
    """
    curvatures, modes = np.linalg.eigh(hessian(positions))
    noise = np.einsum("im,ij,jm->m", modes, noise_covariance(positions, batch), modes)
    margin = 2 - rate * curvatures
    return float(np.sum(rate * noise / (2 * margin))) if margin.min() > 0 else np.inf


def pairs_needed(positions: np.ndarray, batch: int, way: Way, norm: float = 1e-8) -> float:
    """Return the pairs after which SGD with a falling rate has a full gradient of this norm.

    At a small rate lr the square of the norm is lr tr(H S) / 2 on average, and the rate after t
    steps is about `rate * half_after / t`.
    """
    strength = np.sum(hessian(positions) * noise_covariance(positions, batch)) / 2
    return float(batch * way.rate * way.half_after * strength / norm**2)


def start_of(atoms: int, seed: int, index: int = 0) -> np.ndarray:
    """Return a random start (3, atoms) float64."""
    positions = np.empty((3, atoms))
    random = key(seed, Purpose.PARAMETERS, epoch=atoms, index=index)
    draw_start(np.full(1, random, np.uint64), LOOSE, positions)
    return positions


def trace_batches(way: Way, start: np.ndarray, steps: int, seed: int, points: int = 400) -> Trace:
    """Descend on mini-batches from a start, and measure on the way."""
    positions, pairs = start.copy(), all_pairs(start.shape[1])
    shown = np.unique(np.geomspace(1, steps, points).astype(np.int64))
    last_half = np.linspace(steps / 2, steps, points).astype(np.int64)
    record_at = np.union1d(shown, last_half)
    out = np.empty((len(record_at), 2))
    random = key(seed, Purpose.BATCH)
    _descend(
        *(positions, pairs, BATCH_PAIRS, random, way.optimizer, way.rate, way.half_after),
        *(record_at, out),
    )
    energy, *_ = minimise_lbfgs(positions, 1e-8, 10_000)
    floor = needed = 0.0
    if way.optimizer == SGD and way.half_after == np.inf:
        floor = sgd_floor(positions, BATCH_PAIRS, way.rate)
    elif way.optimizer == SGD:
        needed = pairs_needed(positions, BATCH_PAIRS, way)
    noise = float(np.sqrt(np.trace(noise_covariance(positions, BATCH_PAIRS))))
    settled = float(out[np.isin(record_at, last_half), 0].mean() - energy)
    above, norms = (out[np.isin(record_at, shown)] - [energy, 0]).T
    work = BATCH_PAIRS * shown
    return Trace(way.label, work, above, norms, settled, floor, noise, needed)


def trace_full(method: str, start: np.ndarray, tolerance: float = 1e-8) -> Trace:
    """Minimise with full gradients ("L-BFGS" or "CG"), and measure after each evaluation.

    A minimiser that is stopped after k evaluations goes the way of one that is not: the trace is
    made by stopping it ever later.
    """
    minimise = {"L-BFGS": minimise_lbfgs, "CG": minimise_cg}[method]
    rows: list[tuple[int, float, float]] = []
    most, norm = 1, np.inf
    while norm >= tolerance and most < 10_000:
        energy, norm, evaluations = minimise(start.copy(), tolerance, most)
        if not rows or rows[-1][0] < evaluations:
            rows.append((evaluations, energy, norm))
        most = max(most, evaluations) + 1
    evaluations, energies, norms = np.array(rows).T
    pairs = start.shape[1] * (start.shape[1] - 1) // 2
    # The last energy is the minimum itself, down to rounding.
    above = np.maximum(energies - energies.min(), 1e-16)
    work = evaluations * pairs
    return Trace(f"{method}, all pairs", work, above, norms, float(above[-1]))
