"""Dense networks: a whole window of mini-batch steps in one compiled call.

A batch is divided into shares of rows. Each share goes forward and backward on its own, with a
gradient of its own, and the gradients are added up in the order of the shares, in float64. What
a share is depends on the batch and the network alone, so that no bit depends on how many threads
serve the shares - as long as BLAS itself uses one thread, which `ooc.blas` sees to.

Widths, activations, dropout and heads are data: another network compiles nothing.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import prange

from ooc.compiled import exact_kernel, kernel, parallel_kernel
from ooc.kernels import dense
from ooc.kernels.dropout import drop, step_seed
from ooc.kernels.heads import head_loss
from ooc.kernels.linear import (
    BAD_ROW,
    IN_BATCH,
    LOSS_SUM,
    NOT_FINITE,
    OK,
    ROWS,
    STEP,
)
from ooc.kernels.rows import gather
from ooc.optim import update

SHARE_ROWS = 128
MOST_SHARES = 8
# Fewer multiplications than this in a share, and two threads take longer than one.
SHARE_WORK = 4_000_000
LARGEST_SQUARE = np.finfo(np.float32).max
# Parameters that are updated as one piece.
PIECE = 16_384


class Network(NamedTuple):
    """What a network computes, as the kernels want it.

    Attributes
    ----------
    widths
        (layers + 1,) int64: inputs, units of each layer.
    activations
        (layers,) int64 codes of `ooc.kernels.activations`.
    dropout
        (layers,) float64, the share of each layer's outputs that is dropped in training.
    loss_code
        Of `ooc.losses`, or `SOFTMAX`.
    reconstructs
        Whether the inputs are the targets.
    weight_decay
        Half of it times the sum of squared weights is added to the loss.
    scale
        Factor for every feature.
    """

    widths: np.ndarray
    activations: np.ndarray
    dropout: np.ndarray
    loss_code: int
    reconstructs: bool
    weight_decay: float
    scale: float


class Scratch(NamedTuple):
    """Memory that lives as long as a run; `make_scratch` makes it.

    Attributes
    ----------
    inputs, targets, weights, ids
        The batch: (B, F), (B, T), (B,) or (0,) float32, and (B,) int64 places in the window.
    outputs, slopes
        Of all layers one after the other, each (B, units), flat float32.
    gradients
        (shares, parameters) float32.
    losses, failures
        (shares,) float64, and (shares, 2) int64: a status and its row in the batch.
    pieces
        (pieces, 3) int64: start and stop of parameters, and whether they decay.
    penalties
        (pieces,) float64: what each piece adds to the loss; NaN if its gradient is not finite.
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    ids: np.ndarray
    outputs: np.ndarray
    slopes: np.ndarray
    gradients: np.ndarray
    losses: np.ndarray
    failures: np.ndarray
    pieces: np.ndarray
    penalties: np.ndarray


def parameter_count(widths: np.ndarray) -> int:
    """Return the weights and biases of all layers."""
    return int(((widths[:-1] + 1) * widths[1:]).sum())


def scratch_bytes(network: Network, batch_size: int, targets: int) -> int:
    """Return the bytes of `make_scratch`."""
    widths, parameters = network.widths, parameter_count(network.widths)
    row = 4 * (int(widths[0]) + targets + 1 + 2 * int(widths[1:].sum())) + 8
    pieces = len(_pieces(widths))
    return batch_size * row + 4 * _most_shares(batch_size, parameters) * parameters + 32 * pieces


def make_scratch(network: Network, batch_size: int, targets: int, weighted: bool) -> Scratch:
    """Allocate all that steps of up to `batch_size` rows need."""
    widths, parameters = network.widths, parameter_count(network.widths)
    shares, units = _most_shares(batch_size, parameters), int(widths[1:].sum())
    pieces = _pieces(widths)
    return Scratch(
        inputs=np.empty((batch_size, int(widths[0])), np.float32),
        targets=np.empty((batch_size, targets), np.float32),
        weights=np.empty(batch_size if weighted else 0, np.float32),
        ids=np.empty(batch_size, np.int64),
        outputs=np.empty(batch_size * units, np.float32),
        slopes=np.empty(batch_size * units, np.float32),
        gradients=np.empty((shares, parameters), np.float32),
        losses=np.empty(shares),
        failures=np.empty((shares, 2), np.int64),
        pieces=pieces,
        penalties=np.empty(len(pieces)),
    )


def _pieces(widths: np.ndarray) -> np.ndarray:
    """Cut the parameters into pieces that are updated on their own: start, stop, decays."""
    pieces, start = [], 0
    for inputs, units in zip(widths[:-1].tolist(), widths[1:].tolist(), strict=True):
        for size, decays in ((inputs * units, 1), (units, 0)):
            stop = start + size
            pieces += [[a, min(a + PIECE, stop), decays] for a in range(start, stop, PIECE)]
            start = stop
    return np.array(pieces, np.int64)


def _most_shares(batch_size: int, parameters: int) -> int:
    """Return the most shares of batches up to this size."""
    return max(1, min(MOST_SHARES, -(-batch_size // SHARE_ROWS)))


@exact_kernel
def share_rows(rows: int, parameters: int) -> int:
    """Return the rows of a share, a function of the batch's rows and the network alone."""
    least = max(SHARE_ROWS, SHARE_WORK // parameters)
    return max(least, -(-rows // MOST_SHARES))


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
def update_pieces(
    network: Network,
    scratch: Scratch,
    parameters: np.ndarray,
    first: int,
    last: int,
    shares: int,
    rows: int,
    gradient: np.ndarray,
    optimizer_code: int,
    constants: np.ndarray,
    state: np.ndarray,
    step: int,
) -> None:
    """Add up pieces `first` to `last` of the gradient, and take the optimizer's step with each."""
    for piece in range(first, last):
        add_piece(network, scratch, parameters, piece, shares, rows, gradient)
        start, stop, _ = scratch.pieces[piece]
        update(
            optimizer_code,
            parameters[start:stop],
            gradient[start:stop],
            state[:, start:stop],
            constants,
            step,
        )


@parallel_kernel
def update_pieces_in_parallel(
    network: Network,
    scratch: Scratch,
    parameters: np.ndarray,
    pieces: int,
    shares: int,
    rows: int,
    gradient: np.ndarray,
    optimizer_code: int,
    constants: np.ndarray,
    state: np.ndarray,
    step: int,
) -> None:
    """Run `update_pieces`, the pieces shared among Numba's threads."""
    for place in prange(pieces):
        piece = int(np.int64(place))
        update_pieces(
            network,
            scratch,
            parameters,
            piece,
            piece + 1,
            shares,
            rows,
            gradient,
            optimizer_code,
            constants,
            state,
            step,
        )


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
    size = share_rows(rows, parameters.size)
    shares = -(-rows // size)
    if shares == 1:
        share_gradient(network, scratch, parameters, 0, 0, rows, seed)
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


@exact_kernel
def take_step(
    network: Network,
    scratch: Scratch,
    parameters: np.ndarray,
    rows: int,
    seed: np.int64,
    gradient: np.ndarray,
    optimizer_code: int,
    constants: np.ndarray,
    state: np.ndarray,
    step: int,
) -> tuple[int, int, float]:
    """Do as `batch_gradient`, and take the optimizer's step with each piece of the gradient."""
    shares, status, row, total = run_shares(network, scratch, parameters, rows, seed)
    if status != OK:
        return status, row, total
    pieces = scratch.pieces.shape[0]
    if shares == 1:
        update_pieces(
            network,
            scratch,
            parameters,
            0,
            pieces,
            shares,
            rows,
            gradient,
            optimizer_code,
            constants,
            state,
            step,
        )
    else:
        update_pieces_in_parallel(
            network,
            scratch,
            parameters,
            pieces,
            shares,
            rows,
            gradient,
            optimizer_code,
            constants,
            state,
            step,
        )
    total += rows * scratch.penalties.sum()
    return (OK, -1, total) if math.isfinite(total) else (NOT_FINITE, 0, total)


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
def train_window(
    network: Network,
    scratch: Scratch,
    features: np.ndarray,
    half: bool,
    targets: np.ndarray,
    weights: np.ndarray,
    order: np.ndarray,
    start: int,
    block_starts: np.ndarray,
    block_rows: int,
    flush: bool,
    run_key: np.uint64,
    parameters: np.ndarray,
    gradient: np.ndarray,
    optimizer_code: int,
    constants: np.ndarray,
    state: np.ndarray,
    counters: np.ndarray,
    totals: np.ndarray,
) -> int:
    """Take every step that the rows of one window complete.

    A batch may begin in one window and end in the next: its rows so far lie in the scratch. With
    `flush` the epoch's last, shorter batch is taken.

    Parameters
    ----------
    features, half
        (rows, F) of any real dtype, see `ooc.kernels.rows.as_rows`.
    targets, weights
        (rows, T) and (rows,) float32; either may be empty.
    order, start, block_starts, block_rows
        Order of the rows, the first place in it, and the row of the dataset at which each block
        of the window starts.
    run_key
        ``ooc.rng.prefix(seed, Purpose.BATCH)``, from which each step has its seed.
    gradient
        (parameters,) float64 scratch.
    counters, totals
        Progress that lives as long as the run, as in `ooc.kernels.linear`.

    Returns
    -------
    int
        `OK`, or why the row in place ``counters[BAD_ROW]`` of the batch cannot be used; the
        parameters are then those before its batch.
    """
    in_batch, position, batch_size = counters[IN_BATCH], start, scratch.inputs.shape[0]
    # Where nothing of the last window could be read, what was carried over is still a batch.
    while position < order.size or (flush and in_batch > 0):
        count = min(order.size - position, batch_size - in_batch)
        load_rows(
            scratch,
            features,
            half,
            targets,
            weights,
            order,
            position,
            count,
            block_starts,
            block_rows,
            network.scale,
            in_batch,
        )
        position += count
        in_batch += count
        if in_batch < batch_size and not (flush and position == order.size):
            continue
        step = counters[STEP]
        seed = step_seed(run_key, step)
        status, row, loss = take_step(
            network,
            scratch,
            parameters,
            in_batch,
            seed,
            gradient,
            optimizer_code,
            constants,
            state,
            step,
        )
        if status != OK:
            counters[BAD_ROW] = row
            return status
        totals[LOSS_SUM] += loss
        counters[STEP] += 1
        counters[ROWS] += in_batch
        in_batch = 0
    counters[IN_BATCH] = in_batch
    return OK
