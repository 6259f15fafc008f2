"""The compiled part of the pair: both networks, and the gradient of the penalty.

Both networks have two hidden layers of leaky rectifiers. With weights W1 W2 w3 and slopes s1 s2 (of
rectifiers, 1 or `LEAK`) the critic's own slope by its inputs is g = W1' s1 W2' s2 w3, products
by s1 and s2 entry by entry. A penalty with derivative q by g (0 for conditions) then has, with
p1 = s1 (W1 q) and p2 = s2 (W2 p1), the gradient d1 q' by W1, d2 p1' by W2 and p2 by w3, where
d2 = s2 w3 and d1 = s1 (W2' d2) are what an ordinary backward pass has, too: slopes of rectifiers
are constant wherever they are defined, and biases do not matter.

So real, made and mixed points lie one below the other in the same arrays. Each product is one
call of BLAS for all of them: for the mixed points, q and p1 take the place of inputs and of the
first layer's outputs before the products that give the gradients.
"""

import math

import numpy as np

from ooc.core.compiler import exact_kernel, lean_kernel, lean_sums, like, view_at
from ooc.kernels.counters import BAD_TARGET, NOT_FINITE, OK
from ooc.kernels.share import BAD, Numbers, Output, Share
from pipelines.protein_interfaces.row_kernels import (
    CONDITIONS,
    SIZE,
    fill_codes,
    fill_conditions,
    fill_coordinates,
    mix_points,
)

LEAK = 0.2
CRITIC_TURN = 0
CRITIC, PENALTY, GENERATOR = range(3)
# The model's integers: units of a hidden layer, entries of a code, then where edges begin. Its
# reals: what the penalty is multiplied with, then shifts, factors and edges.
HIDDEN, LATENT, OWN_INTEGERS = range(3)
OWN_REALS = 1


@lean_kernel
def rectify(biases: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> None:
    """Replace products (rows, units) by leaky rectifiers of them, and fill their slopes."""
    one, leak = like(1.0, biases[0]), like(LEAK, biases[0])
    for r in range(values.shape[0]):
        for j in range(values.shape[1]):
            value = values[r, j] + biases[j]
            slope = one if value > 0 else leak
            values[r, j], slopes[r, j] = value * slope, slope


@lean_kernel
def multiply(values: np.ndarray, slopes: np.ndarray) -> None:
    """Multiply entry by entry, in place."""
    for r in range(values.shape[0]):
        for j in range(values.shape[1]):
            values[r, j] *= slopes[r, j]


@lean_sums
def add_columns(values: np.ndarray, rows: int, out: np.ndarray) -> None:
    """Fill `out` with sums over the first rows."""
    for j in range(values.shape[1]):
        out[j] = 0.0
    for r in range(rows):
        for j in range(values.shape[1]):
            out[j] += values[r, j]


@exact_kernel
def generate(
    codes: np.ndarray,
    weights: np.ndarray,
    hidden: int,
    outputs: np.ndarray,
    slopes: np.ndarray,
    made: np.ndarray,
    spare: np.ndarray,
) -> None:
    """Fill `made` (rows, 59) from codes beside conditions (rows, U).

    Parameters
    ----------
    weights
        V1 (hidden, U), its biases, V2 (hidden, hidden), its biases, V3 (59, hidden), V (59, U) of
        the codes as they are, and the biases of both.
    outputs, slopes
        Of the hidden layers, (2, rows, hidden), filled.
    spare
        (rows, 59), overwritten.
    """
    width, h = codes.shape[1], hidden
    first, second = h * width, h * width + h
    third, direct = second + h * h + h, second + h * h + h + SIZE * h
    np.dot(codes, view_at(weights, 0, (h, width)).T, out=outputs[0])
    rectify(view_at(weights, first, (h,)), outputs[0], slopes[0])
    np.dot(outputs[0], view_at(weights, second, (h, h)).T, out=outputs[1])
    rectify(view_at(weights, second + h * h, (h,)), outputs[1], slopes[1])
    np.dot(outputs[1], view_at(weights, third, (SIZE, h)).T, out=made)
    np.dot(codes, view_at(weights, direct, (SIZE, width)).T, out=spare)
    biases = direct + SIZE * width
    for r in range(made.shape[0]):
        for j in range(SIZE):
            made[r, j] += spare[r, j] + weights[biases + j]


@exact_kernel
def teach_generator(
    codes: np.ndarray,
    weights: np.ndarray,
    hidden: int,
    outputs: np.ndarray,
    slopes: np.ndarray,
    delta: np.ndarray,
    gradient: np.ndarray,
) -> None:
    """Fill the generator's gradient; `delta` (rows, 59) is that by what it made.

    The layers' outputs are overwritten by the derivatives by them.
    """
    rows, width, h = codes.shape[0], codes.shape[1], hidden
    first, second = h * width, h * width + h
    third, direct = second + h * h + h, second + h * h + h + SIZE * h
    np.dot(delta.T, codes, out=view_at(gradient, direct, (SIZE, width)))
    add_columns(delta, rows, view_at(gradient, direct + SIZE * width, (SIZE,)))
    np.dot(delta.T, outputs[1], out=view_at(gradient, third, (SIZE, h)))
    np.dot(delta, view_at(weights, third, (SIZE, h)), out=outputs[1])
    multiply(outputs[1], slopes[1])
    np.dot(outputs[1].T, outputs[0], out=view_at(gradient, second, (h, h)))
    add_columns(outputs[1], rows, view_at(gradient, second + h * h, (h,)))
    np.dot(outputs[1], view_at(weights, second, (h, h)), out=outputs[0])
    multiply(outputs[0], slopes[0])
    np.dot(outputs[0].T, codes, out=view_at(gradient, 0, (h, width)))
    add_columns(outputs[0], rows, view_at(gradient, first, (h,)))


@exact_kernel
def criticise(
    points: np.ndarray,
    weights: np.ndarray,
    hidden: int,
    outputs: np.ndarray,
    slopes: np.ndarray,
    told: np.ndarray,
) -> None:
    """Fill `told` (rows,) with the critic's numbers of points beside conditions (rows, X).

    Parameters
    ----------
    weights
        W1 (hidden, X), its biases, W2 (hidden, hidden), its biases, w3 (hidden).
    outputs, slopes
        Of the hidden layers, (2, rows, hidden), filled.
    """
    width, h = points.shape[1], hidden
    second = h * width + h
    np.dot(points, view_at(weights, 0, (h, width)).T, out=outputs[0])
    rectify(view_at(weights, h * width, (h,)), outputs[0], slopes[0])
    np.dot(outputs[0], view_at(weights, second, (h, h)).T, out=outputs[1])
    rectify(view_at(weights, second + h * h, (h,)), outputs[1], slopes[1])
    np.dot(outputs[1], view_at(weights, second + h * h + h, (h,)), out=told)


@exact_kernel
def fill_deltas(
    weights: np.ndarray, width: int, hidden: int, slopes: np.ndarray, deltas: np.ndarray
) -> None:
    """Fill the derivatives of the critic's numbers by both layers' sums, (2, rows, hidden)."""
    h, second = hidden, hidden * width + hidden
    last = view_at(weights, second + h * h + h, (h,))
    for r in range(slopes.shape[1]):
        for j in range(h):
            deltas[1, r, j] = last[j] * slopes[1, r, j]
    np.dot(deltas[1], view_at(weights, second, (h, h)), out=deltas[0])
    multiply(deltas[0], slopes[0])


@exact_kernel
def fill_slopes(deltas: np.ndarray, weights: np.ndarray, slopes: np.ndarray) -> None:
    """Fill the critic's slopes (rows, X) from the derivatives by the first layer's sums."""
    np.dot(deltas, weights, out=slopes)


@lean_sums
def penalise(slopes: np.ndarray, factor: float) -> float:
    """Replace the critic's slopes (rows, X) by the derivatives by them of factor (|g| - 1)^2.

    Those by conditions, behind the 59 coordinates, do not count, and are set to 0. Returns the sum
    of the penalties.
    """
    total = 0.0
    for r in range(slopes.shape[0]):
        square = slopes.dtype.type(0)
        for j in range(SIZE):
            square += slopes[r, j] * slopes[r, j]
        norm = math.sqrt(np.float64(square))
        excess = norm - 1.0
        total += factor * excess * excess
        scale = slopes.dtype.type(2.0 * factor * excess / norm if norm > 0 else norm)
        for j in range(SIZE):
            slopes[r, j] *= scale
        for j in range(SIZE, slopes.shape[1]):
            slopes[r, j] = 0.0
    return total


@exact_kernel
def teach_critic(
    points: np.ndarray,
    weights: np.ndarray,
    hidden: int,
    outputs: np.ndarray,
    slopes: np.ndarray,
    deltas: np.ndarray,
    factor: float,
    gradient: np.ndarray,
) -> float:
    """Fill the critic's gradient; return the sum of the penalties.

    Parameters
    ----------
    points
        Of R rows real, made and mixed ones, (3 R, X); the mixed ones are overwritten.
    outputs, slopes, deltas
        (2, 3 R, hidden), of `criticise` and `fill_deltas`; overwritten.
    """
    rows, width, h = points.shape[0] // 3, points.shape[1], hidden
    second = h * width + h
    third, mixed = second + h * h + h, 2 * rows
    # d1 W1 of mixed points is the critic's slope there; in its place comes the derivative q by it.
    fill_slopes(deltas[0, mixed:], view_at(weights, 0, (h, width)), points[mixed:])
    penalty = penalise(points[mixed:], factor)
    np.dot(points[mixed:], view_at(weights, 0, (h, width)).T, out=outputs[0, mixed:])
    multiply(outputs[0, mixed:], slopes[0, mixed:])
    np.dot(outputs[0, mixed:], view_at(weights, second, (h, h)).T, out=outputs[1, mixed:])
    multiply(outputs[1, mixed:], slopes[1, mixed:])
    # Real points count with -1.
    last = view_at(gradient, third, (h,))
    for j in range(h):
        last[j] = 0.0
    for r in range(3 * rows):
        sign = -1.0 if r < rows else 1.0
        for j in range(h):
            last[j] += sign * outputs[1, r, j]
    for r in range(rows):
        for j in range(h):
            deltas[0, r, j] = -deltas[0, r, j]
            deltas[1, r, j] = -deltas[1, r, j]
    np.dot(deltas[1].T, outputs[0], out=view_at(gradient, second, (h, h)))
    add_columns(deltas[1], mixed, view_at(gradient, second + h * h, (h,)))
    np.dot(deltas[0].T, points, out=view_at(gradient, 0, (h, width)))
    add_columns(deltas[0], mixed, view_at(gradient, h * width, (h,)))
    return penalty


def accumulate(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Fill loss and gradient of a share, of the network whose turn it is.

    See `ooc.kernels.share.accumulate_of`, and `own_values` for the scratch of a row.
    """
    rows, h, latent = share.features.shape[0], numbers.integers[HIDDEN], numbers.integers[LATENT]
    width, wide = SIZE + CONDITIONS, latent + CONDITIONS
    critic = (width + h + 3) * h
    points, place = view_at(own, 0, (3 * rows, width)), 3 * rows * width
    outputs = view_at(own, place, (2, 3 * rows, h))
    slopes = view_at(own, place + 6 * rows * h, (2, 3 * rows, h))
    deltas = view_at(own, place + 12 * rows * h, (2, 3 * rows, h))
    place += 18 * rows * h
    own_outputs = view_at(own, place, (2, rows, h))
    own_slopes = view_at(own, place + 2 * rows * h, (2, rows, h))
    place += 4 * rows * h
    codes, told = view_at(own, place, (rows, wide)), view_at(own, place + rows * wide, (3 * rows,))
    made = view_at(own, place + rows * wide + 3 * rows, (rows, SIZE))
    cells = Numbers(numbers.reals[OWN_REALS:], numbers.integers[OWN_INTEGERS:])
    bad = fill_coordinates(share.features, cells, share.seed, share.first, points[:rows])
    if bad >= 0:
        output.report[BAD] = bad
        return NOT_FINITE
    bad = fill_conditions(share, SIZE, points[:rows])
    if bad >= 0:
        output.report[BAD] = bad
        return BAD_TARGET
    fill_codes(share.seed, share.first, codes[:, :latent])
    generator = parameters[critic:]
    for r in range(rows):
        for k in range(CONDITIONS):
            codes[r, latent + k] = points[r, SIZE + k]
    spare = view_at(own, 2 * rows * width, (rows, SIZE))
    generate(codes, generator, h, own_outputs, own_slopes, made, spare)
    for r in range(rows):
        for j in range(SIZE):
            points[rows + r, j] = made[r, j]
        for k in range(SIZE, width):
            points[rows + r, k] = points[r, k]
    for k in range(3):
        output.terms[k] = 0.0
    if share.turn == CRITIC_TURN:
        mix_points(share.seed, share.first, points)
        criticise(points, parameters, h, outputs, slopes, told)
        for r in range(rows):
            output.terms[CRITIC] += np.float64(told[rows + r]) - np.float64(told[r])
        fill_deltas(parameters, width, h, slopes, deltas)
        output.terms[PENALTY] = teach_critic(
            points, parameters, h, outputs, slopes, deltas, numbers.reals[0], output.gradient
        )
        return OK
    # Of what the critic works with, made points alone, from the beginning of its scratch on.
    place = 3 * rows * width
    outputs = view_at(own, place, (2, rows, h))
    slopes = view_at(own, place + 2 * rows * h, (2, rows, h))
    deltas = view_at(own, place + 4 * rows * h, (2, rows, h))
    criticise(points[rows : 2 * rows], parameters, h, outputs, slopes, told[:rows])
    fill_deltas(parameters, width, h, slopes, deltas)
    fill_slopes(deltas[0], view_at(parameters, 0, (h, width)), points[2 * rows :])
    for r in range(rows):
        output.terms[GENERATOR] -= np.float64(told[r])
        for j in range(SIZE):
            made[r, j] = -points[2 * rows + r, j]
    teach_generator(codes, generator, h, own_outputs, own_slopes, made, output.gradient[critic:])
    return OK


def own_values(hidden: int, latent: int) -> int:
    """Return the values of scratch that `accumulate` uses for a row.

    Three points with conditions; outputs, slopes and deltas of both layers for each; the
    generator's outputs and slopes; a code with its condition; three numbers; and a made point.
    """
    points = 3 * (SIZE + CONDITIONS)
    return points + 22 * hidden + latent + CONDITIONS + 3 + SIZE
