"""Dense networks: a whole window of mini-batch steps in one compiled call.

The pieces of the parameters are updated side by side where the batch has several shares. An
optimizer sees one entry at a time, so that no bit depends on the pieces. Where gradients are
clipped, their norm is needed first: the pieces are then gone through twice.
"""

import math

import numpy as np
from numba import prange

from ooc.core.compiler import exact_kernel, parallel_kernel
from ooc.kernels.counters import (
    BAD_ROW,
    IN_BATCH,
    LOSS_SUM,
    NOT_FINITE,
    OK,
    PLACE,
    ROWS,
    STEP,
)
from ooc.kernels.dropout import step_seed
from ooc.kernels.network import add_piece, load_rows, note_halves, run_shares
from ooc.kernels.network_memory import Network, Scratch
from ooc.optim import CLIP, clip_scale, update_piece


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
    settings: np.ndarray,
    penalised: np.ndarray,
    state: np.ndarray,
    step: int,
    adds: bool,
    steps: bool,
    scale: float,
) -> None:
    """Go through pieces `first` to `last` of the gradient.

    Parameters
    ----------
    adds, steps
        Whether each piece is added up, and whether the optimizer's step is taken with it.
    scale
        See `ooc.optim.clip_scale`.
    """
    for piece in range(first, last):
        if adds:
            add_piece(network, scratch, parameters, piece, shares, rows, gradient)
        if steps:
            start, stop, _ = scratch.pieces[piece]
            update_piece(
                parameters[start:stop],
                gradient[start:stop],
                state,
                settings,
                step,
                penalised,
                start,
                scale,
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
    settings: np.ndarray,
    penalised: np.ndarray,
    state: np.ndarray,
    step: int,
    adds: bool,
    steps: bool,
    scale: float,
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
            settings,
            penalised,
            state,
            step,
            adds,
            steps,
            scale,
        )


@exact_kernel
def take_step(
    network: Network,
    scratch: Scratch,
    parameters: np.ndarray,
    rows: int,
    seed: np.int64,
    gradient: np.ndarray,
    settings: np.ndarray,
    penalised: np.ndarray,
    state: np.ndarray,
    step: int,
) -> tuple[int, int, float]:
    """Do as `batch_gradient`, and take the optimizer's step with each piece of the gradient."""
    shares, status, row, total = run_shares(network, scratch, parameters, rows, seed)
    if status != OK:
        return status, row, total
    pieces, scale, clips = scratch.pieces.shape[0], 1.0, settings[CLIP] > 0
    # A plain 0 would be a type of its own, and all that follows would be compiled for it, too.
    first = int(np.int64(0))
    # Clipping needs all of the gradient before any step: pieces are added up, then stepped with.
    for phase in range(2 if clips else 1):
        adds, steps = phase == 0, phase == 1 or not clips
        if phase == 1:
            scale = clip_scale(gradient, settings)
        if shares == 1:
            update_pieces(
                network,
                scratch,
                parameters,
                first,
                pieces,
                shares,
                rows,
                gradient,
                settings,
                penalised,
                state,
                step,
                adds,
                steps,
                scale,
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
                settings,
                penalised,
                state,
                step,
                adds,
                steps,
                scale,
            )
    total += rows * scratch.penalties.sum()
    return (OK, -1, total) if math.isfinite(total) else (NOT_FINITE, 0, total)


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
    batch_size: int,
    last_step: int,
    run_key: np.uint64,
    parameters: np.ndarray,
    gradient: np.ndarray,
    settings: np.ndarray,
    penalised: np.ndarray,
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
    batch_size, last_step
        Rows of a step, and the number of steps at which to return.
    run_key
        ``ooc.core.random_keys.prefix(seed, Purpose.BATCH)``, from which each step has its seed.
    gradient
        (parameters,) float64 scratch.
    counters, totals
        Progress that lives as long as the run, see `ooc.kernels.counters`.

    Returns
    -------
    int
        `OK`, or why the row in place ``counters[BAD_ROW]`` of the batch cannot be used; the
        parameters are then those before its batch.
    """
    in_batch, position = counters[IN_BATCH], start
    # Where nothing of the last window could be read, what was carried over is still a batch.
    while counters[STEP] < last_step and (position < order.size or (flush and in_batch > 0)):
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
            settings,
            penalised,
            state,
            step,
        )
        if status != OK:
            counters[BAD_ROW] = row
            counters[IN_BATCH] = in_batch
            return status
        totals[LOSS_SUM] += loss
        note_halves(network, scratch, in_batch, totals)
        counters[STEP] += 1
        counters[ROWS] += in_batch
        in_batch = 0
    counters[IN_BATCH], counters[PLACE] = in_batch, position
    return OK
