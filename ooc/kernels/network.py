"""Dense networks: layers composed, forward and backward, and the gradient of a batch.

A batch is divided into shares of rows. Each share goes forward and backward on its own, with a
gradient of its own, and the gradients are added up in the order of the shares, in float64. What
a share is depends on the batch and the network alone, so that no bit depends on how many threads
serve the shares - as long as BLAS itself uses one thread, which `ooc.core.blas` sees to.

Widths, activations, dropout and heads are data: another network compiles nothing.
"""

import math

import numpy as np
from numba import prange

from ooc.core.compiler import exact_kernel, kernel, parallel_kernel
from ooc.kernels import dense
from ooc.kernels.counters import NOT_FINITE, OK
from ooc.kernels.dropout import drop
from ooc.kernels.heads import head_loss
from ooc.kernels.network_memory import Network, Scratch
from ooc.kernels.noise_totals import add_noise
from ooc.kernels.rows import gather

LARGEST_SQUARE = np.finfo(np.float32).max


@exact_kernel
def load_rows(
    scratch: Scratch,
    features: np.ndarray,
    half: bool,
    targets: np.ndarray,
    weights: np.ndarray,
    order: np.ndarray,
    position: int,
    count: int,
    block_starts: np.ndarray,
    block_rows: int,
    scale: float,
    filled: int,
) -> None:
    """Copy rows ``order[position : position + count]`` into the batch, after `filled` others."""
    gather(features, half, order, position, count, scale, scratch.inputs, filled)
    for r in range(count):
        row = order[position + r]
        scratch.ids[filled + r] = block_starts[row // block_rows] + row % block_rows
        for k in range(targets.shape[1]):
            scratch.targets[filled + r, k] = targets[row, k]
        if weights.size:
            scratch.weights[filled + r] = weights[row]


@exact_kernel
def share_rows(network: Network, rows: int) -> int:
    """Return the rows of a share, a function of the batch's rows and the network alone."""
    return max(network.least_share, -(-rows // network.most_shares))


@exact_kernel
def _slopes_of(slopes: np.ndarray, is_last: bool, place: int, rows: int, units: int) -> np.ndarray:
    """Return one layer's slopes; the last layer, which has no activation, has none."""
    count = 0 if is_last else rows
    return slopes[place : place + count * units].reshape(count, units)


@exact_kernel
def forward(
    network: Network,
    parameters: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    slopes: np.ndarray,
    capacity: int,
    first: int,
    last: int,
    seed: np.int64,
    training: bool,
) -> None:
    """Run rows ``first`` to ``last`` of a batch through all layers.

    Parameters
    ----------
    inputs
        (capacity, F) float32.
    outputs, slopes
        As in `Scratch`, for batches of `capacity` rows.
    seed, training
        Of the dropout masks, and whether there are any.
    """
    widths, rows, weight, buffer = network.widths, last - first, 0, 0
    below = inputs[first:last]
    for layer in range(widths.size - 1):
        fan, units = widths[layer], widths[layer + 1]
        place = buffer + first * units
        above = outputs[place : place + rows * units].reshape(rows, units)
        slope = _slopes_of(slopes, layer == widths.size - 2, place, rows, units)
        bias = weight + fan * units
        weights = parameters[weight:bias].reshape(units, fan)
        biases = parameters[bias : bias + units]
        dense.forward(below, weights, biases, network.activations[layer], above, slope)
        if training and network.dropout[layer] > 0:
            drop(seed, layer, first, network.dropout[layer], above, slope)
        below, weight, buffer = above, bias + units, buffer + capacity * units


@exact_kernel
def backward(
    network: Network,
    parameters: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    slopes: np.ndarray,
    capacity: int,
    first: int,
    last: int,
    gradient: np.ndarray,
) -> None:
    """Fill one share's gradient; the last layer's outputs hold the loss's derivatives.

    A layer's outputs are overwritten by the derivatives by them as soon as the layer above
    has its gradient.
    """
    widths, rows, end, buffer = network.widths, last - first, parameters.size, outputs.size
    for layer in range(widths.size - 2, -1, -1):
        fan, units = widths[layer], widths[layer + 1]
        buffer -= capacity * units
        place = buffer + first * units
        delta = outputs[place : place + rows * units].reshape(rows, units)
        slope = _slopes_of(slopes, layer == widths.size - 2, place, rows, units)
        bias = end - units
        start = bias - fan * units
        if layer > 0:
            place = buffer - capacity * fan + first * fan
            below = outputs[place : place + rows * fan].reshape(rows, fan)
        else:
            below = inputs[first:last]
        dense.backward(
            below,
            slope,
            delta,
            gradient[start:bias].reshape(units, fan),
            gradient[bias:end],
        )
        if layer > 0:
            dense.backward_inputs(delta, parameters[start:bias].reshape(units, fan), below)
        end = start


@kernel
def first_overflow(rows: np.ndarray) -> int:
    """Return the first row whose sum of squares is not finite in float32, or -1.

    An activation may hide what is not finite: a ReLU cuts off minus infinity. And where squares
    of features overflow, so do gradients.
    """
    for r in range(rows.shape[0]):
        total = np.float32(0.0)
        for j in range(rows.shape[1]):
            total += rows[r, j] * rows[r, j]
        # Reordered sums would take math.isfinite, x - x == 0, for true.
        if not total <= LARGEST_SQUARE:
            return r
    return -1


@kernel
def nothing_if_finite(values: np.ndarray) -> float:
    """Return 0, or NaN if any value is not finite."""
    total = 0.0
    for i in range(values.size):
        total += values[i] * 0.0
    return total


@exact_kernel
def share_gradient(
    network: Network,
    scratch: Scratch,
    parameters: np.ndarray,
    share: int,
    first: int,
    last: int,
    seed: np.int64,
) -> None:
    """Fill gradient, loss and failure of one share: rows `first` to `last` of the batch."""
    scratch.failures[share, 0] = OK
    scratch.losses[share] = 0.0
    capacity = scratch.inputs.shape[0]
    inputs, outputs, slopes = scratch.inputs, scratch.outputs, scratch.slopes
    bad = first_overflow(inputs[first:last])
    if bad >= 0:
        scratch.failures[share, 0], scratch.failures[share, 1] = NOT_FINITE, first + bad
        return
    forward(network, parameters, inputs, outputs, slopes, capacity, first, last, seed, True)
    units = network.widths[network.widths.size - 1]
    place = outputs.size - (capacity - first) * units
    answers = outputs[place : place + (last - first) * units].reshape(last - first, units)
    targets = inputs if network.reconstructs else scratch.targets
    weights = scratch.weights[first:last] if scratch.weights.size else scratch.weights
    status, row, loss = head_loss(answers, targets[first:last], weights, network.loss_code)
    scratch.losses[share] = loss
    if status != OK:
        scratch.failures[share, 0], scratch.failures[share, 1] = status, first + row
        return
    backward(
        network,
        parameters,
        inputs,
        outputs,
        slopes,
        capacity,
        first,
        last,
        scratch.gradients[share],
    )


@exact_kernel
def halves_at(gradients: np.ndarray, i: int, first: int, shares: int) -> tuple[float, float]:
    """Return entry i of the gradient, over the first shares and over the others; 4 at most."""
    a, b = np.float64(gradients[0, i]), np.float64(gradients[first, i])
    if first == 2:
        a += gradients[1, i]
    if shares == 4:
        b += gradients[3, i]
    return a, b


@exact_kernel
def halves_of_piece(
    gradients: np.ndarray, start: int, stop: int, shares: int, out: np.ndarray
) -> None:
    """Fill `out` (3,) with the product of the gradients of two halves, and the square of each.

    Entries `start` to `stop` count. There are three sums of each kind in a fixed order, so that
    an addition need not wait for the one before.
    """
    first, whole = (shares + 1) // 2, start + (stop - start) // 3 * 3
    dot0, dot1, dot2 = 0.0, 0.0, 0.0
    one0, one1, one2 = 0.0, 0.0, 0.0
    other0, other1, other2 = 0.0, 0.0, 0.0
    for i in range(start, whole, 3):
        a, b = halves_at(gradients, i, first, shares)
        dot0, one0, other0 = dot0 + a * b, one0 + a * a, other0 + b * b
        a, b = halves_at(gradients, i + 1, first, shares)
        dot1, one1, other1 = dot1 + a * b, one1 + a * a, other1 + b * b
        a, b = halves_at(gradients, i + 2, first, shares)
        dot2, one2, other2 = dot2 + a * b, one2 + a * a, other2 + b * b
    for i in range(whole, stop):
        a, b = halves_at(gradients, i, first, shares)
        dot0, one0, other0 = dot0 + a * b, one0 + a * a, other0 + b * b
    out[0] = dot0 + dot1 + dot2
    out[1] = one0 + one1 + one2
    out[2] = other0 + other1 + other2


@exact_kernel
def note_halves(network: Network, scratch: Scratch, rows: int, totals: np.ndarray) -> None:
    """Add the noise of a batch of so many rows to the totals, if it had several shares."""
    size = share_rows(network, rows)
    shares = -(-rows // size)
    if shares == 1:
        return
    first = size * ((shares + 1) // 2)
    second = rows - first
    dot, one, other = 0.0, 0.0, 0.0
    for piece in range(scratch.halves.shape[0]):
        dot += scratch.halves[piece, 0]
        one += scratch.halves[piece, 1]
        other += scratch.halves[piece, 2]
    signal = dot / first / second
    apart = one / first / first - 2.0 * signal + other / second / second
    add_noise(totals, signal, apart / (1.0 / first + 1.0 / second))


@exact_kernel
def add_piece(
    network: Network,
    scratch: Scratch,
    parameters: np.ndarray,
    piece: int,
    shares: int,
    rows: int,
    gradient: np.ndarray,
) -> None:
    """Add the shares' gradients of one piece of the parameters, and what weight decay adds."""
    start, stop, decays = scratch.pieces[piece]
    if shares > 1:
        halves_of_piece(scratch.gradients, start, stop, shares, scratch.halves[piece])
    gradients, decay = scratch.gradients, network.weight_decay if decays else 0.0
    for i in range(start, stop):
        gradient[i] = gradients[0, i]
    for share in range(1, shares):
        for i in range(start, stop):
            gradient[i] += gradients[share, i]
    mean = 1.0 / rows
    for i in range(start, stop):
        gradient[i] *= mean
    penalty = 0.0
    if decay > 0:
        for i in range(start, stop):
            value = np.float64(parameters[i])
            gradient[i] += decay * value
            penalty += value * value
    scratch.penalties[piece] = 0.5 * decay * penalty + nothing_if_finite(gradient[start:stop])


@parallel_kernel
def gradient_of_shares(
    network: Network,
    scratch: Scratch,
    parameters: np.ndarray,
    shares: int,
    size: int,
    rows: int,
    seed: np.int64,
) -> None:
    """Run `share_gradient` for all shares, on as many threads as Numba has."""
    for place in prange(shares):
        share = int(np.int64(place))  # the loop's own is unsigned: all would be compiled once more
        last = min((share + 1) * size, rows)
        share_gradient(network, scratch, parameters, share, share * size, last, seed)


@exact_kernel
def run_shares(
    network: Network, scratch: Scratch, parameters: np.ndarray, rows: int, seed: np.int64
) -> tuple[int, int, int, float]:
    """Fill the gradients of all shares of the batch that lies in the scratch.

    Returns
    -------
    shares, status, row, loss
        How many shares there are; then `OK` and the loss summed over the rows, or the place in
        the batch of the first row that cannot be used.
    """
    size = share_rows(network, rows)
    shares = -(-rows // size)
    if shares == 1:
        # A plain 0 would be a type of its own, for which all would be compiled once more.
        first = int(np.int64(0))
        share_gradient(network, scratch, parameters, first, first, rows, seed)
    else:
        gradient_of_shares(network, scratch, parameters, shares, size, rows, seed)
    total = 0.0
    for share in range(shares):
        if scratch.failures[share, 0] != OK:
            return shares, scratch.failures[share, 0], scratch.failures[share, 1], total
        total += scratch.losses[share]
    return shares, OK, -1, total


@exact_kernel
def batch_gradient(
    network: Network,
    scratch: Scratch,
    parameters: np.ndarray,
    rows: int,
    seed: np.int64,
    gradient: np.ndarray,
) -> tuple[int, int, float]:
    """Compute loss and mean gradient of the batch that lies in the scratch.

    Returns
    -------
    status, row, loss
        As `run_shares`; the loss holds the weights' penalty once for each row.
    """
    shares, status, row, total = run_shares(network, scratch, parameters, rows, seed)
    if status != OK:
        return status, row, total
    for piece in range(scratch.pieces.shape[0]):
        add_piece(network, scratch, parameters, piece, shares, rows, gradient)
    total += rows * scratch.penalties.sum()
    return (OK, -1, total) if math.isfinite(total) else (NOT_FINITE, 0, total)
