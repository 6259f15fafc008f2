"""The linear family's window loop with the tiles of a batch shared among threads.

The tiles and the order of their sums are those of the serial loop, so that not one bit depends
on how many threads there are, or on which loop runs. Only the thread that calls it enters
parallel code; readers never do.
"""

import numpy as np
from numba import get_thread_id, prange

from ooc.compiled import parallel_kernel
from ooc.kernels.linear import (
    BAD_ROW,
    IN_BATCH,
    IN_TILE,
    LOSS_SUM,
    OK,
    ROWS,
    STEP,
    add_gradient,
    loss_tile,
    score_tile,
    train_window,
)
from ooc.kernels.rows import gather
from ooc.optim import update


@parallel_kernel
def add_tiles(
    features: np.ndarray,
    half: bool,
    targets: np.ndarray,
    weights: np.ndarray,
    order: np.ndarray,
    start: int,
    stop: int,
    scale: float,
    loss_code: int,
    intercept: bool,
    parameters: np.ndarray,
    tiles: np.ndarray,
    tiles_targets: np.ndarray,
    tiles_weights: np.ndarray,
    scores: np.ndarray,
    partials: np.ndarray,
    gradients: np.ndarray,
    losses: np.ndarray,
    failures: np.ndarray,
) -> None:
    """Work off the tiles of rows ``order[start:stop]``, one gradient and loss for each tile.

    Parameters
    ----------
    tiles, tiles_targets, tiles_weights, scores, partials
        Scratch of each thread, along axis 0.
    gradients, losses
        (tiles, parameters) and (tiles,) float64, filled.
    failures
        (tiles, 2) int64: a status and the place in `order` of the row that it is for.
    """
    rows = tiles.shape[1]
    for number in prange(-(-(stop - start) // rows)):
        thread = get_thread_id()
        tile, first = tiles[thread], start + number * rows
        count = min(rows, stop - first)
        gather(features, half, order, first, count, scale, tile, 0)
        for r in range(count):
            tiles_targets[thread, r] = targets[order[first + r]]
            if weights.size > 0:
                tiles_weights[thread, r] = weights[order[first + r]]
        score_tile(tile, count, parameters, intercept, scores[thread])
        status, row, loss = loss_tile(
            scores[thread], tiles_targets[thread], tiles_weights[thread], count, loss_code
        )
        failures[number, 0], failures[number, 1] = status, first + row
        gradients[number, :] = 0.0
        if status == OK:
            add_gradient(
                tile, scores[thread], count, intercept, partials[thread], gradients[number]
            )
        losses[number] = loss


@parallel_kernel
def train_window_parallel(
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
    scale: float,
    loss_code: int,
    intercept: bool,
    parameters: np.ndarray,
    settings: np.ndarray,
    penalised: np.ndarray,
    state: np.ndarray,
    tiles: np.ndarray,
    tiles_targets: np.ndarray,
    tiles_weights: np.ndarray,
    tile_ids: np.ndarray,
    scores: np.ndarray,
    partials: np.ndarray,
    gradient: np.ndarray,
    counters: np.ndarray,
    totals: np.ndarray,
    gradients: np.ndarray,
    losses: np.ndarray,
    failures: np.ndarray,
) -> int:
    """Do what `ooc.kernels.linear.train_window` does, whole batches in parallel.

    A batch that began in the window before, and the one that will end in the window after, are
    left to the serial loop. Tiles are worked off in groups of as many as `gradients` has room for.
    """
    rows, group = tiles.shape[1], gradients.shape[0] * tiles.shape[1]
    carried = counters[IN_BATCH] + counters[IN_TILE]
    position = start
    if carried > 0:
        position = min(order.size, start + batch_size - carried)
    whole_stop = position + (order.size - position) // batch_size * batch_size
    # The first and the last call of the serial loop, around the whole batches.
    for part in range(2):
        if part == 1:
            while position < whole_stop:
                loss_sum = 0.0
                for first in range(position, position + batch_size, group):
                    stop = min(first + group, position + batch_size)
                    add_tiles(
                        features,
                        half,
                        targets,
                        weights,
                        order,
                        first,
                        stop,
                        scale,
                        loss_code,
                        intercept,
                        parameters,
                        tiles,
                        tiles_targets,
                        tiles_weights,
                        scores,
                        partials,
                        gradients,
                        losses,
                        failures,
                    )
                    for number in range(-(-(stop - first) // rows)):
                        if failures[number, 0] != OK:
                            place = order[failures[number, 1]]
                            counters[BAD_ROW] = (
                                block_starts[place // block_rows] + place % block_rows
                            )
                            gradient[:] = 0.0
                            return failures[number, 0]
                        for i in range(gradient.size):
                            gradient[i] += gradients[number, i]
                        loss_sum += losses[number]
                for i in range(gradient.size):
                    gradient[i] /= batch_size
                update(parameters, gradient, state, settings, counters[STEP], penalised)
                gradient[:] = 0.0
                counters[STEP] += 1
                counters[ROWS] += batch_size
                totals[LOSS_SUM] += loss_sum
                position += batch_size
        first, last = (start, position) if part == 0 else (position, order.size)
        ends = flush and last == order.size
        if first < last or ends:
            status = train_window(
                features,
                half,
                targets,
                weights,
                order[:last],
                first,
                block_starts,
                block_rows,
                ends,
                batch_size,
                scale,
                loss_code,
                intercept,
                parameters,
                settings,
                penalised,
                state,
                tiles[0],
                tiles_targets[0],
                tiles_weights[0],
                tile_ids,
                scores[0],
                partials[0],
                gradient,
                counters,
                totals,
            )
            if status != OK:
                return status
    return OK
