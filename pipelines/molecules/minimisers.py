"""Local minimisation in compiled code: limited-memory BFGS, and nonlinear conjugate gradient.

Both take a cluster downhill to a gradient norm, and a cluster's whole minimisation is one call.
"""

import numpy as np

from ooc.core.compiler import kernel
from pipelines.molecules.energy import energy_and_gradient

# Pairs of steps and gradient changes that L-BFGS remembers.
MEMORY = 5
# No coordinate moves by more in one step: a quasi-Newton step from overlapping atoms is too long.
LONGEST = 0.15
# Epsilon that an energy may rise: below it, differences of energies are rounding.
RISE = 1e-10
# The first step, by the gradient; and the least of a step by its change of gradient that tells of
# a positive curvature.
FIRST_SCALE, FLATTEST = 0.005, 1e-13


@kernel
def _dot(a: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@kernel
def _largest(a: np.ndarray) -> float:
    largest = 0.0
    for i in range(a.size):
        largest = max(largest, abs(a[i]))
    return largest


@kernel
def minimise_lbfgs(positions: np.ndarray, tolerance: float, most: int) -> tuple[float, float, int]:
    """Minimise by L-BFGS, in place; return (energy, gradient norm, evaluations).

    The two-loop recursion of Nocedal ("Updating quasi-Newton matrices with limited storage",
    1980), steps bounded in length and halved or so until the energy falls.

    Parameters
    ----------
    positions
        (3, atoms) float64.
    tolerance
        Euclidean norm of the gradient at which to stop, in epsilon/sigma.
    most
        Evaluations after which to stop; the norm returned then tells.
    """
    size = positions.size
    here, trial_positions = positions.reshape(-1), np.empty_like(positions)
    trial = trial_positions.reshape(-1)
    gradient_rows, new_rows = np.empty_like(positions), np.empty_like(positions)
    gradient, new, direction = gradient_rows.reshape(-1), new_rows.reshape(-1), np.empty(size)
    steps, changes = np.empty((MEMORY, size)), np.empty((MEMORY, size))
    weights, factors = np.empty(MEMORY), np.empty(MEMORY)
    stored, newest = 0, -1
    energy, evaluations = energy_and_gradient(positions, gradient_rows), 1
    norm = np.sqrt(_dot(gradient, gradient))
    while norm >= tolerance and evaluations < most:
        scale = 1.0 if stored else FIRST_SCALE
        for i in range(size):
            direction[i] = -scale * gradient[i]
        for back in range(stored):
            k = (newest - back) % MEMORY
            factors[k] = weights[k] * _dot(steps[k], direction)
            for i in range(size):
                direction[i] -= factors[k] * changes[k, i]
        if stored:
            scale = 1.0 / (weights[newest] * _dot(changes[newest], changes[newest]))
            for i in range(size):
                direction[i] *= scale
        for back in range(stored - 1, -1, -1):
            k = (newest - back) % MEMORY
            factor = factors[k] - weights[k] * _dot(changes[k], direction)
            for i in range(size):
                direction[i] += factor * steps[k, i]
        slope, length = _dot(direction, gradient), min(1.0, LONGEST / _largest(direction))
        accepted = False
        if slope < 0.0:
            for _ in range(10):
                for i in range(size):
                    trial[i] = here[i] + length * direction[i]
                new_energy = energy_and_gradient(trial_positions, new_rows)
                evaluations += 1
                change = new_energy - energy
                accepted = change <= 1e-4 * length * slope + RISE
                if accepted:
                    break
                best = -0.5 * slope * length / (change - slope * length)
                length *= min(0.5, max(0.1, best))
        if not accepted:
            if stored == 0:
                break
            stored, newest = 0, -1
            continue
        newest = (newest + 1) % MEMORY
        for i in range(size):
            steps[newest, i] = trial[i] - here[i]
            changes[newest, i] = new[i] - gradient[i]
            here[i] = trial[i]
            gradient[i] = new[i]
        energy, norm = new_energy, np.sqrt(_dot(gradient, gradient))
        curvature = _dot(steps[newest], changes[newest])
        if curvature > FLATTEST * _dot(changes[newest], changes[newest]):
            weights[newest] = 1.0 / curvature
            stored = min(stored + 1, MEMORY)
        else:
            stored, newest = 0, -1
    return energy, norm, evaluations


@kernel
def minimise_cg(positions: np.ndarray, tolerance: float, most: int) -> tuple[float, float, int]:
    """Minimise by nonlinear conjugate gradient; parameters and results of `minimise_lbfgs`.

    Polak and Ribiere's directions, begun anew where they would not be downhill (the "PR+" of
    Gilbert and Nocedal, 1992). Along each, secant steps on the slope, inside the bracket once
    there is one, until it is a tenth of what it was.
    """
    size = positions.size
    here, trial_positions = positions.reshape(-1), np.empty_like(positions)
    trial = trial_positions.reshape(-1)
    gradient_rows, new_rows = np.empty_like(positions), np.empty_like(positions)
    gradient, new, direction = gradient_rows.reshape(-1), new_rows.reshape(-1), np.empty(size)
    energy, evaluations = energy_and_gradient(positions, gradient_rows), 1
    square = _dot(gradient, gradient)
    for i in range(size):
        direction[i] = -gradient[i]
    length, last_slope, steepest = FIRST_SCALE, -square, True
    while np.sqrt(square) >= tolerance and evaluations < most:
        slope = _dot(direction, gradient)
        if slope >= 0.0:
            for i in range(size):
                direction[i] = -gradient[i]
            slope, steepest = -square, True
        # A line is searched at first where the curvature of the last would put its minimum.
        length *= last_slope / slope
        last_slope = slope
        longest = LONGEST / _largest(direction)
        length = min(length, longest)
        low, low_slope, high = 0.0, slope, np.inf
        new_energy, accepted = energy, False
        for _ in range(20):
            for i in range(size):
                trial[i] = here[i] + length * direction[i]
            new_energy = energy_and_gradient(trial_positions, new_rows)
            evaluations += 1
            new_slope = _dot(direction, new)
            falls = new_energy <= energy + 1e-4 * length * slope + RISE
            accepted = falls and (abs(new_slope) <= -0.1 * slope or length == longest)
            if accepted:
                break
            if falls and new_slope < 0.0:
                secant = (length * low_slope - low * new_slope) / (low_slope - new_slope)
                low, low_slope = length, new_slope
                if high < np.inf:
                    length = secant if low < secant < high else 0.5 * (low + high)
                else:
                    wide = 4.0 * length
                    length = min(longest, secant if length < secant < wide else wide)
            else:
                secant = length
                if new_slope > 0.0:
                    secant = (length * low_slope - low * new_slope) / (low_slope - new_slope)
                high = length
                tenth = 0.1 * (high - low)
                length = min(high - tenth, max(low + tenth, secant))
        if not accepted:
            # Along this direction rounding hides the slope; steepest descent is the last try.
            if steepest:
                break
            for i in range(size):
                direction[i] = -gradient[i]
            length, last_slope, steepest = FIRST_SCALE, -square, True
            continue
        new_square = _dot(new, new)
        beta = max(0.0, (new_square - _dot(new, gradient)) / square)
        for i in range(size):
            here[i] = trial[i]
            gradient[i] = new[i]
            direction[i] = beta * direction[i] - new[i]
        energy, square, steepest = new_energy, new_square, False
    return energy, np.sqrt(square), evaluations
