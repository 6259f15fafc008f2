"""Coordinate hit-and-run in rounded coordinates, compiled: uniform draws from a polytope.

A state is v = centre + y B with rounded coordinates y (Haraldsdottir and others 2017). A step draws
one coordinate anew, uniform between the two points where a bound is met; coordinates take turns.
"""

import numpy as np

from ooc.core.compiler import lean_sums
from ooc.core.hashing import GOLDEN, mix

_UNIT = 1.0 / 2**53
# What stands for one over 0: a flux that a coordinate does not move never ends a step.
NEVER = 1e300
# Kept states after which fluxes are computed from coordinates again, free of added-up rounding.
REFRESH = 32


@lean_sums
def _interval(
    fluxes: np.ndarray,
    inverse: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    least: np.ndarray,
    most: np.ndarray,
) -> tuple[float, float]:
    """Return how far a coordinate may move down and up; `least` and `most`, (8,), are scratch."""
    count = fluxes.size
    for k in range(8):
        least[k], most[k] = -NEVER, NEVER
    whole = count // 8 * 8
    for first in range(0, whole, 8):
        for k in range(8):
            one = (lower[first + k] - fluxes[first + k]) * inverse[first + k]
            other = (upper[first + k] - fluxes[first + k]) * inverse[first + k]
            down = one if one < other else other
            up = other if one < other else one
            least[k] = down if down > least[k] else least[k]
            most[k] = up if up < most[k] else most[k]
    for j in range(whole, count):
        one = (lower[j] - fluxes[j]) * inverse[j]
        other = (upper[j] - fluxes[j]) * inverse[j]
        least[0] = max(least[0], min(one, other))
        most[0] = min(most[0], max(one, other))
    for k in range(1, 8):
        least[0] = max(least[0], least[k])
        most[0] = min(most[0], most[k])
    return least[0], most[0]


@lean_sums
def _move(down: float, up: float, key: int, drawn: int) -> float:
    """Return the draw of this number, uniform from `down` to `up`."""
    uniform = np.float64(mix(key + np.uint64(drawn) * GOLDEN) >> np.uint64(11)) * _UNIT
    # Rounding may leave a flux a hair outside; it then moves back, or stays.
    return down + uniform * (up - down) if up > down else 0.0


@lean_sums
def _fill_fluxes(
    coordinates: np.ndarray, basis: np.ndarray, centre: np.ndarray, fluxes: np.ndarray
) -> None:
    """Fill fluxes with centre + coordinates basis."""
    dimensions, count = basis.shape
    for j in range(count):
        fluxes[j] = centre[j]
    for k in range(dimensions):
        for j in range(count):
            fluxes[j] += coordinates[k] * basis[k, j]


@lean_sums
def walk(
    basis: np.ndarray,
    inverses: np.ndarray,
    centre: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    coordinates: np.ndarray,
    fluxes: np.ndarray,
    sweeps: int,
    seed: int,
    drawn: int,
    out: np.ndarray,
    scratch: np.ndarray,
) -> int:
    """Walk one chain and keep a state after every few sweeps over all coordinates.

    Parameters
    ----------
    basis, inverses
        (D, R) float64: how a coordinate moves each flux, and one over it, `NEVER` for 0.
    centre, lower, upper
        (R,) float64.
    coordinates, fluxes
        (D,) and (R,) float64: where the chain is; changed in place.
    sweeps
        Between kept states.
    seed, drawn
        Of the chain, and how many numbers it drew before.
    out
        (kept, D) float64: filled with the coordinates of kept states.
    scratch
        (16,) float64.

    Returns
    -------
    int
        How many numbers it has drawn.
    """
    dimensions, reactions = basis.shape
    key = mix(np.uint64(seed) + GOLDEN)
    least, most = scratch[:8], scratch[8:]
    for row in range(out.shape[0]):
        for _ in range(sweeps):
            for k in range(dimensions):
                down, up = _interval(fluxes, inverses[k], lower, upper, least, most)
                drawn += 1
                move = _move(down, up, key, drawn)
                coordinates[k] += move
                for j in range(reactions):
                    fluxes[j] += move * basis[k, j]
        if row % REFRESH == 0:
            _fill_fluxes(coordinates, basis, centre, fluxes)
        for k in range(dimensions):
            out[row, k] = coordinates[k]
    return drawn


@lean_sums
def walk_along(
    pointers: np.ndarray,
    places: np.ndarray,
    values: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    fluxes: np.ndarray,
    key: int,
    drawn: int,
) -> int:
    """Walk once along each sparse direction, see `pipelines.metabolic_flux.directions`.

    `fluxes`, (C,), are changed in place. Returns how many numbers the chain has drawn.
    """
    for k in range(pointers.size - 1):
        down, up = -NEVER, NEVER
        for e in range(pointers[k], pointers[k + 1]):
            j, inverse = places[e], 1.0 / values[e]
            one, other = (lower[j] - fluxes[j]) * inverse, (upper[j] - fluxes[j]) * inverse
            down, up = max(down, min(one, other)), min(up, max(one, other))
        drawn += 1
        move = _move(down, up, key, drawn)
        for e in range(pointers[k], pointers[k + 1]):
            fluxes[places[e]] += move * values[e]
    return drawn


@lean_sums
def walk_both(
    pointers: np.ndarray,
    places: np.ndarray,
    values: np.ndarray,
    basis: np.ndarray,
    inverses: np.ndarray,
    backward: np.ndarray,
    dense: int,
    centre: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    fluxes: np.ndarray,
    sparse_sweeps: int,
    dense_sweeps: int,
    seed: int,
    drawn: int,
    out: np.ndarray,
    scratch: np.ndarray,
) -> int:
    """Walk one chain along sparse directions and the first rounded ones by turns.

    Parameters
    ----------
    pointers, places, values
        Of `walk_along`.
    basis, inverses
        (D, C) float64 of `walk`, for the C chosen fluxes.
    backward
        (D, C) float64: y = backward (v - centre).
    dense
        How many rounded directions there are walked along.
    centre, lower, upper, fluxes
        (C,) float64; fluxes are changed in place.
    sparse_sweeps, dense_sweeps
        Between kept states.
    seed, drawn, out, scratch
        Of `walk`.

    Returns
    -------
    int
        How many numbers it has drawn.
    """
    dimensions, count = basis.shape
    key = mix(np.uint64(seed) + GOLDEN)
    least, most = scratch[:8], scratch[8:]
    for row in range(out.shape[0]):
        for _ in range(sparse_sweeps):
            drawn = walk_along(pointers, places, values, lower, upper, fluxes, key, drawn)
        for _ in range(dense_sweeps):
            for k in range(dense):
                down, up = _interval(fluxes, inverses[k], lower, upper, least, most)
                drawn += 1
                move = _move(down, up, key, drawn)
                for j in range(count):
                    fluxes[j] += move * basis[k, j]
        # Through coordinates fluxes come back without added-up rounding.
        for k in range(dimensions):
            total = 0.0
            for j in range(count):
                total += backward[k, j] * (fluxes[j] - centre[j])
            out[row, k] = total
        _fill_fluxes(out[row], basis, centre, fluxes)
    return drawn
