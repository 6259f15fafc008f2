"""The linear family: a whole window of mini-batch steps, of one model or several, in one call.

Several models ride on the same batches: a tile is gathered once, and every model in turn scores
it and takes its gradient. Each does exactly what it would do alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.kernels.counters import (
    BAD_ROW,
    BATCH_LOSS,
    IN_BATCH,
    IN_TILE,
    LOSS_SUM,
    NOT_FINITE,
    OK,
    PLACE,
    ROWS,
    STEP,
)
from ooc.kernels.linear import (
    Problem,
    add_gradient,
    rows_of_first_half,
    score_tile,
    weighted_loss,
)
from ooc.kernels.noise_totals import add_noise
from ooc.kernels.rows import gather, standardise
from ooc.optim import update


class Rows(NamedTuple):
    """The rows of a window.

    Attributes
    ----------
    features, half
        (rows, F) of any real dtype, see `ooc.kernels.rows.as_rows`.
    targets, weights
        (rows,) float32; `weights` may be empty.
    order
        The order in which they are visited.
    block_starts, block_rows
        Row of the dataset at which each block of the window starts, to name a bad row.
    """

    features: np.ndarray
    half: bool
    targets: np.ndarray
    weights: np.ndarray
    order: np.ndarray
    block_starts: np.ndarray
    block_rows: int


class Candidates(NamedTuple):
    """M models that are trained on the same batches, each with parameters of its own.

    Attributes
    ----------
    parameters
        (M, P) float32, updated in place.
    state
        (M, slots, P) float64, updated in place.
    settings
        (M, settings) float64, see `ooc.optim`.
    penalised
        (P,) bool, whether penalties are for an entry.
    active
        (M,) bool; a model that is not active is left alone.
    halves, gradient
        (M, 2, P) and (P,) float64 scratch that lives as long as the run.
    totals
        (M, TOTALS) float64, see `ooc.kernels.counters`.
    """

    parameters: np.ndarray
    state: np.ndarray
    settings: np.ndarray
    penalised: np.ndarray
    active: np.ndarray
    halves: np.ndarray
    gradient: np.ndarray
    totals: np.ndarray


class Tile(NamedTuple):
    """Scratch for the rows that are worked on; it lives as long as the run.

    Attributes
    ----------
    values
        (tile rows, F) float32.
    targets, weights
        (tile rows,) float32; `weights` is empty where rows have none.
    ids
        (tile rows,) int64, places in the window, and rows of the dataset when it ends.
    scores
        (tile rows, K) float32.
    partials
        (2, F) float32.
    told
        (3,) float64, what a loss of the user's own returns.
    """

    values: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    ids: np.ndarray
    scores: np.ndarray
    partials: np.ndarray
    told: np.ndarray


@exact_kernel
def train_window(
    rows: Rows,
    start: int,
    stop: int,
    flush: bool,
    batch_size: int,
    last_step: int,
    problem: Problem,
    own_loss: Callable[..., None],
    candidates: Candidates,
    tile: Tile,
    counters: np.ndarray,
) -> int:
    """Take every step that the rows of one window complete, up to a given one.

    A batch may begin in one window and end in the next: its rows so far are in the gradients and
    in the tile, and are carried over. With `flush` the epoch's last, shorter batch is taken.

    Parameters
    ----------
    rows
        The window.
    start, stop
        Places in its order to begin and to end at.
    last_step
        Number of steps at which to return, even if the window has more.
    own_loss
        A loss of the user's own, or `ooc.kernels.linear.no_own_loss`.
    counters
        (COUNTERS,) int64, progress that lives as long as the run; ``counters[PLACE]`` is where
        it came to.

    Returns
    -------
    int
        `OK`, or why the row ``counters[BAD_ROW]`` cannot be used; the parameters are then those
        before its batch. A model whose loss is not finite is left behind while others go on.
    """
    in_batch, in_tile = counters[IN_BATCH], counters[IN_TILE]
    carried = in_tile
    position = start
    tile_rows = tile.values.shape[0]
    # Where nothing of the last window could be read, what was carried over is still a batch.
    while counters[STEP] < last_step and (position < stop or (flush and in_batch + in_tile > 0)):
        count = min(stop - position, batch_size - in_batch - in_tile, tile_rows - in_tile)
        gather(
            rows.features, rows.half, rows.order, position, count, problem.scale, tile.values,
            in_tile,
        )  # fmt: skip
        standardise(tile.values, in_tile, in_tile + count, problem.mean, problem.inverse)
        load_targets(rows, position, count, tile, in_tile)
        position += count
        in_tile += count
        ends_batch = in_batch + in_tile == batch_size or (flush and position == stop)
        if in_tile == tile_rows or ends_batch:
            status, row = add_tile(problem, own_loss, candidates, tile, in_tile, in_batch)
            if status != OK:
                number_rows(tile.ids, carried, in_tile, rows.block_starts, rows.block_rows)
                counters[BAD_ROW] = tile.ids[row]
                counters[IN_TILE] = in_tile
                return status
            in_batch += in_tile
            in_tile = 0
            carried = 0
        if ends_batch:
            take_steps(candidates, in_batch, counters[STEP])
            counters[STEP] += 1
            counters[ROWS] += in_batch
            in_batch = 0
    number_rows(tile.ids, carried, in_tile, rows.block_starts, rows.block_rows)
    counters[IN_BATCH], counters[IN_TILE], counters[PLACE] = in_batch, in_tile, position
    return OK


@exact_kernel
def load_targets(rows: Rows, position: int, count: int, tile: Tile, filled: int) -> None:
    """Copy targets, weights and places of the next rows to the tile."""
    for r in range(count):
        row = rows.order[position + r]
        tile.targets[filled + r] = rows.targets[row]
        tile.ids[filled + r] = row
    if rows.weights.size > 0:
        for r in range(count):
            tile.weights[filled + r] = rows.weights[rows.order[position + r]]


@exact_kernel
def add_tile(
    problem: Problem,
    own_loss: Callable[..., None],
    candidates: Candidates,
    tile: Tile,
    count: int,
    before: int,
) -> tuple[int, int]:
    """Add the tile's gradient and loss to those of the batch, for every active model.

    Returns
    -------
    status, row
        `OK`, or a row of the tile that no model can use.
    """
    models = candidates.active.size
    status, row, going_on = OK, -1, False
    for m in range(models):
        if not candidates.active[m]:
            continue
        score_tile(tile.values, count, candidates.parameters[m], problem.intercept, tile.scores)
        status, row, value = weighted_loss(
            tile.scores, tile.targets, tile.weights, count, problem, own_loss, tile.told
        )
        if status == NOT_FINITE and models > 1:
            candidates.active[m] = False
            continue
        if status != OK:
            return status, row
        going_on = True
        add_gradient(
            tile.values, tile.scores, count, before, problem.intercept, tile.partials,
            candidates.halves[m],
        )  # fmt: skip
        candidates.totals[m, BATCH_LOSS] += value
    return (OK, -1) if going_on else (status, row)


@exact_kernel
def take_steps(candidates: Candidates, count: int, step: int) -> None:
    """Take the step of every active model with the mean gradient of a batch of `count` rows."""
    for m in range(candidates.active.size):
        if candidates.active[m]:
            take_step(
                candidates.parameters[m],
                candidates.halves[m],
                candidates.gradient,
                candidates.state[m],
                candidates.settings[m],
                candidates.penalised,
                candidates.totals[m],
                count,
                step,
            )


@exact_kernel
def take_step(
    parameters: np.ndarray,
    halves: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    penalised: np.ndarray,
    totals: np.ndarray,
    count: int,
    step: int,
) -> None:
    """Take one step with the sums over a batch's halves, which are zeroed; note loss and noise."""
    first = rows_of_first_half(count)
    second = count - first
    if first > 0 and second > 0:
        signal, noise = 0.0, 0.0
        for i in range(gradient.size):
            one, other = halves[0, i] / first, halves[1, i] / second
            signal += one * other
            noise += (one - other) * (one - other)
        noise /= 1.0 / first + 1.0 / second
        add_noise(totals, signal, noise)
    for i in range(gradient.size):
        gradient[i] = (halves[0, i] + halves[1, i]) / count
    update(parameters, gradient, state, settings, step, penalised)
    halves[:] = 0.0
    totals[LOSS_SUM] += totals[BATCH_LOSS]
    totals[BATCH_LOSS] = 0.0


@exact_kernel
def number_rows(
    ids: np.ndarray, first: int, last: int, block_starts: np.ndarray, block_rows: int
) -> None:
    """Turn positions in the window into rows of the dataset."""
    for r in range(first, last):
        ids[r] = block_starts[ids[r] // block_rows] + ids[r] % block_rows
