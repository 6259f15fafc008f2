"""The flux space of a network: which fluxes are fixed, a null space of the rest, and its rounding.

Un-rounded walks are refused by construction: every walk takes a `Space`, whose coordinates have
been rounded until the states that walks draw have a covariance near the identity.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve, cholesky, null_space, solve_triangular
from scipy.optimize import linprog
from scipy.sparse import block_array, csr_array, eye_array

from ooc.core.errors import InputError
from ooc.core.random_keys import Purpose, key
from pipelines.metabolic_flux.directions import Directions, directions_of, sparse_null_space
from pipelines.metabolic_flux.hit_and_run import NEVER, walk, walk_both
from pipelines.metabolic_flux.network import Network
from pipelines.metabolic_flux.programs import maximise

# A flux whose range is less is fixed; how far inside its bounds a state is looked for.
FIXED, INSIDE = 1e-6, 0.05
# Rounds of covariance, and the ratio of its largest to its least eigenvalue that is good enough.
# A ratio below the last one that falls no more is the noise of a covariance in many dimensions.
ROUNDS, ROUND_ENOUGH, NOISE = 20, 4.0, 50.0
_STEPS = 60  # of Newton's method
# Dimensions from which on a covariance of walks costs too many states: such a space is rounded by
# its bounds, and walked along sparse directions, too, in so many sweeps for one along rounded ones.
LARGE, SPARSE_SWEEPS = 200, 5
# Of a large space: kept states and sweeps of each round, and the least slack, in mmol/gDW/h.
_LARGE_ROWS, _LARGE_SWEEPS, _LEAST = (150, 150, 400), (80, 8, 8), 1e-9


@dataclass(frozen=True)
class Space:
    """States v = centre + y basis, y (D,), that keep bounds; S v = 0 for every y.

    Attributes
    ----------
    network
        With the bounds of the condition.
    centre
        (R,) float64, a state inside all bounds.
    basis
        (D, R) float64, rounded: states have about covariance 1 in y.
    is_fixed
        (R,) bool, fluxes that are the same in all states.
    roundness
        Largest to least eigenvalue of the covariance in the round before last; of a large space
        largest to least variance of coordinates, before each was divided by its deviation.
    directions
        Sparse ones, of a large space, that it is walked along, too; None otherwise.
    """

    network: Network
    centre: np.ndarray
    basis: np.ndarray
    is_fixed: np.ndarray
    roundness: float
    directions: Directions | None = None

    @property
    def dimensions(self) -> int:
        """D, of the states."""
        return len(self.basis)

    def coordinates(self, fluxes: np.ndarray) -> np.ndarray:
        """Return y of states (rows, R), (rows, D)."""
        return (fluxes - self.centre) @ np.linalg.pinv(self.basis)


@dataclass(frozen=True)
class Chain:
    """Where a chain is, and what it draws from."""

    coordinates: np.ndarray
    fluxes: np.ndarray
    seed: int
    drawn: int = 0


def space_of(network: Network, seed: int) -> Space:
    """Return the rounded flux space of a network.

    It begins at the analytic centre with the ellipsoid of its barrier, and takes the covariance of
    walks for a better one until it changes no more.

    Raises
    ------
    InputError
        If no state keeps all bounds, or there is but one.
    """
    inside, is_fixed = interior(network)
    free = ~is_fixed
    kernel = np.zeros((len(inside), 0))
    if free.sum() - len(network.metabolites) >= LARGE:
        return _large(network, inside, is_fixed, seed)
    if free.any():
        within = null_space(network.stoichiometry[:, free])
        kernel = np.zeros((len(inside), within.shape[1]))
        kernel[free] = within
    if kernel.shape[1] == 0:
        raise InputError(f"{network.name} has but one state: there is nothing to draw from")
    kernel = kernel.T.copy()
    centre, hessian = analytic_centre(inside, kernel, network, is_fixed)
    basis = _whitened(kernel, np.linalg.inv(hessian))
    space = Space(network, centre, basis, is_fixed, np.inf)
    last = np.inf
    for number in range(ROUNDS):
        states = walk_from(space, key(seed, Purpose.DRAWS, index=number), _rows(space), 4)[0]
        kept = states[len(states) // 4 :]
        covariance = np.atleast_2d(np.cov(kept.T))
        values = np.linalg.eigvalsh(covariance)
        ratio = float(values[-1] / values[0])
        # The mean of states that keep all bounds keeps them, too: the next chain begins there.
        space = replace(
            space, centre=space.centre + kept.mean(axis=0) @ space.basis,
            basis=_whitened(space.basis, covariance), roundness=ratio,
        )  # fmt: skip
        if ratio < ROUND_ENOUGH or (ratio < NOISE and ratio > 0.8 * last):
            break
        last = ratio
    return space


def _large(network: Network, inside: np.ndarray, is_fixed: np.ndarray, seed: int) -> Space:
    """Return a large space, rounded by the barrier of its bounds at the mean of a walk.

    Where states fill a space like shares fill a simplex, a slack's deviation is about its mean: the
    inverse Hessian of the barrier there is nearly the covariance, and has none of the noise that
    few states leave in one of many dimensions. Coordinates are principal ones, largest first.
    """
    within = sparse_null_space(network.stoichiometry[:, ~is_fixed])
    kernel = np.zeros((len(within), len(inside)))
    kernel[:, ~is_fixed] = within
    directions = directions_of(kernel, inside, network.lower, network.upper)
    space = Space(network, inside, kernel, is_fixed, np.inf, directions)
    for number, (rows, sweeps) in enumerate(zip(_LARGE_ROWS, _LARGE_SWEEPS, strict=True)):
        centre = space.centre
        if number:
            space = replace(space, basis=_by_barrier(kernel, directions, centre))
        own = key(seed, Purpose.DRAWS, index=number)
        # Before there is a rounded basis sparse directions are alone.
        states = walk_from(space, own, rows, sweeps, dense=None if number else 0)[0]
        kept = states[rows // 4 :]
        space = replace(space, centre=centre + kept.mean(axis=0) @ space.basis)
    deviations = kept.std(axis=0)
    return replace(
        space, basis=deviations[:, None] * space.basis,
        roundness=float((deviations.max() / deviations.min()) ** 2),
    )  # fmt: skip


def _by_barrier(kernel: np.ndarray, directions: Directions, centre: np.ndarray) -> np.ndarray:
    """Return principal directions (D, R) of the ellipsoid of the barrier, by their length."""
    chosen = directions.chosen
    low = np.maximum(centre[chosen] - directions.lower, _LEAST)
    high = np.maximum(directions.upper - centre[chosen], _LEAST)
    across = kernel[:, chosen]
    hessian = (across * (1 / low**2 + 1 / high**2)) @ across.T
    whitened = solve_triangular(cholesky(hessian, lower=True), kernel, lower=True)
    left = np.linalg.eigh(whitened @ whitened.T).eigenvectors[:, ::-1]
    found: np.ndarray = left.T @ whitened
    return found


def interior(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Return a state inside all bounds that are not met always, (R,), and which fluxes are fixed.

    One program looks for a state that keeps off as many bounds as can be; a flux that it leaves at
    a bound is fixed if its range, by two more programs, is nothing.

    Raises
    ------
    InputError
        If no state keeps all bounds.
    """
    count = len(network.reactions)
    balance = csr_array(network.stoichiometry)
    one = eye_array(count)
    apart = np.minimum(INSIDE, (network.upper - network.lower) / 4)
    found = linprog(
        np.concatenate([np.zeros(count), -1 / np.maximum(apart, FIXED)]),
        A_eq=block_array([[balance, csr_array((balance.shape[0], count))]]),
        b_eq=np.zeros(balance.shape[0]),
        A_ub=block_array([[-one, one], [one, one]]),
        b_ub=np.concatenate([-network.lower, network.upper]),
        bounds=np.column_stack(
            [np.concatenate([network.lower, np.zeros(count)]),
             np.concatenate([network.upper, apart])]
        ),
        method="highs",
    )  # fmt: skip
    if found.x is None:
        raise InputError(
            f"{network.name} has no state that keeps all bounds: {found.message} Widen the bounds "
            "of uptake, or leave the condition out"
        )
    states = [found.x[:count]]
    is_fixed = network.upper - network.lower < FIXED
    for place in np.flatnonzero((found.x[count:] < FIXED) & ~is_fixed):
        ends = [maximise(network, int(place), sign) for sign in (-1.0, 1.0)]
        if ends[1].value - ends[0].value < FIXED:
            is_fixed[place] = True
        else:
            states += [end.fluxes for end in ends]
    inside = np.mean(states, axis=0)
    return _balanced(network, inside, is_fixed), is_fixed


def analytic_centre(
    inside: np.ndarray, kernel: np.ndarray, network: Network, is_fixed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return where the product of distances from all bounds is largest, and its Hessian.

    Newton's method on the logarithmic barrier (Boyd and Vandenberghe 2004, section 8.5).

    Parameters
    ----------
    inside
        (R,), a state off all bounds that are not met always.
    kernel
        (D, R), the null space.

    Returns
    -------
    centre, hessian
        (R,) and (D, D) float64; the ellipsoid of the Hessian lies within all bounds.
    """
    moving = ~is_fixed & (np.abs(kernel).max(axis=0) > 1e-9)
    across, state = kernel[:, moving], inside.copy()
    lower, upper = network.lower[moving], network.upper[moving]
    for _ in range(_STEPS):
        low, high = state[moving] - lower, upper - state[moving]
        hessian = (across * (1 / low**2 + 1 / high**2)) @ across.T
        slope = across @ (1 / low - 1 / high)
        step = cho_solve(cho_factor(hessian), slope)
        decrement = float(slope @ step)
        change = step @ across
        most = min((low / np.maximum(-change, 1e-300)).min(),
                   (high / np.maximum(change, 1e-300)).min())  # fmt: skip
        state = state + min(1 / (1 + np.sqrt(decrement)), 0.9 * most) * (step @ kernel)
        if decrement < 1e-8:
            break
    low, high = state[moving] - lower, upper - state[moving]
    return state, (across * (1 / low**2 + 1 / high**2)) @ across.T


def aligned(space: Space, order: np.ndarray) -> Space:
    """Return the space with coordinates that follow fluxes, one after the other, in this order.

    Coordinate k moves the k-th of them and those behind, and none before: so coordinates mean the
    same in the spaces of several conditions, and the distribution in them is as round as before.

    Parameters
    ----------
    order
        (D,) places of fluxes that together determine a state.
    """
    turned, triangle = np.linalg.qr(space.basis[:, order])
    signs = np.where(np.diag(triangle) < 0, -1.0, 1.0)
    basis = (turned * signs).T @ space.basis
    # Zero where rounding alone left something.
    basis[np.abs(basis) < 1e-12 * np.abs(basis).max()] = 0.0
    return replace(space, basis=basis)


def start(space: Space, seed: int) -> Chain:
    """Return a chain at the centre of a space."""
    return Chain(np.zeros(space.dimensions), space.centre.copy(), seed)


def walk_from(
    space: Space,
    seed: int,
    rows: int,
    sweeps: int,
    chain: Chain | None = None,
    keep_fluxes: bool = False,
    dense: int | None = None,
) -> tuple[np.ndarray, Chain]:
    """Walk a chain, from the centre by default, and return what it kept and where it is.

    A large space is walked along `dense` rounded directions, by default the larger half of them,
    and along sparse ones.

    Returns
    -------
    kept, chain
        (rows, D) coordinates, or (rows, R) fluxes, float64.
    """
    chain = start(space, seed) if chain is None else chain
    network = space.network
    if space.directions is not None:
        return _walk_large(space, chain, rows, sweeps, keep_fluxes, dense)
    moving = np.abs(space.basis).max(axis=0) > 0
    basis = np.ascontiguousarray(space.basis[:, moving])
    with np.errstate(divide="ignore"):
        inverses = np.where(basis == 0, NEVER, 1 / np.where(basis == 0, 1, basis))
    coordinates, fluxes = chain.coordinates.copy(), chain.fluxes[moving]
    out = np.empty((rows, space.dimensions))
    drawn = walk(
        basis, inverses, space.centre[moving], network.lower[moving], network.upper[moving],
        coordinates, fluxes, sweeps, chain.seed, chain.drawn, out, np.empty(16),
    )  # fmt: skip
    whole = space.centre + coordinates @ space.basis
    kept = space.centre + out @ space.basis if keep_fluxes else out
    return kept, Chain(coordinates, whole, chain.seed, drawn)


def _walk_large(
    space: Space, chain: Chain, rows: int, sweeps: int, keep_fluxes: bool, dense: int | None
) -> tuple[np.ndarray, Chain]:
    own = space.directions
    assert own is not None, "it is large"
    basis = np.ascontiguousarray(space.basis[:, own.chosen])
    with np.errstate(divide="ignore"):
        inverses = np.where(basis == 0, NEVER, 1 / np.where(basis == 0, 1, basis))
    backward = np.ascontiguousarray(np.linalg.pinv(basis).T)
    fluxes, out = chain.fluxes[own.chosen], np.empty((rows, space.dimensions))
    drawn = walk_both(
        own.pointers, own.places, own.values, basis, inverses, backward,
        space.dimensions // 2 if dense is None else dense, space.centre[own.chosen], own.lower,
        own.upper, fluxes, SPARSE_SWEEPS * sweeps, sweeps, chain.seed, chain.drawn, out,
        np.empty(16),
    )  # fmt: skip
    kept = space.centre + out @ space.basis if keep_fluxes else out
    return kept, Chain(out[-1].copy(), space.centre + out[-1] @ space.basis, chain.seed, drawn)


def _rows(space: Space) -> int:
    return max(2000, 4 * space.dimensions)


def _whitened(kernel: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the basis in which coordinates that have a covariance in another have one of 1."""
    found: np.ndarray = cholesky(covariance, lower=True).T @ kernel
    return found


def _balanced(network: Network, state: np.ndarray, is_fixed: np.ndarray) -> np.ndarray:
    """Return the nearest state that is balanced to the last digits, with fixed fluxes as they are.

    A program keeps to its constraints up to 1e-7.
    """
    found, free = state.copy(), ~is_fixed
    matrix = network.stoichiometry[:, free]
    for _ in range(2):
        residual = network.stoichiometry @ found
        found[free] -= np.linalg.lstsq(matrix, residual, rcond=None)[0]
    return found
