"""The linear family's window loop with the tiles of a batch shared among threads.

The tiles and the order of their sums are those of the serial loop, so that not one bit depends
on how many threads there are, or on which loop runs. Only the thread that calls it enters
parallel code; readers never do. A loss of the user's own, which is called by its address, is left
to the serial loop.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import get_thread_id, prange

from ooc.core.compiler import exact_kernel, parallel_kernel
from ooc.kernels.counters import (
    BAD_ROW,
    BATCH_LOSS,
    IN_BATCH,
    IN_TILE,
    OK,
    PLACE,
    ROWS,
    STEP,
)
from ooc.kernels.linear import Problem, add_gradient, loss_tile, score_tile
from ooc.kernels.linear_window import Candidates, Rows, Tile, take_step, train_window
from ooc.kernels.rows import gather, standardise


class SharedTiles(NamedTuple):
    """Scratch of the threads, along axis 0, and what comes of each tile of a group.

    Attributes
    ----------
    values, targets, weights, scores, partials
        As in `ooc.kernels.linear_window.Tile`, for each thread.
    halves
        (tiles, 2, P) float64, the gradient of each tile.
    losses
        (tiles,) float64.
    failures
        (tiles, 2) int64: a status, and the place in the order of the row that it is for.
    """

    values: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    scores: np.ndarray
    partials: np.ndarray
    halves: np.ndarray
    losses: np.ndarray
    failures: np.ndarray


def make_shared(tile: Tile, threads: int, group: int, parameters: int) -> SharedTiles:
    """Make the scratch for some threads, and for groups of so many tiles."""
    return SharedTiles(
        values=_for_each(threads, tile.values),
        targets=_for_each(threads, tile.targets),
        weights=_for_each(threads, tile.weights),
        scores=_for_each(threads, tile.scores),
        partials=_for_each(threads, tile.partials),
        halves=np.empty((group, 2, parameters)),
        losses=np.empty(group),
        failures=np.empty((group, 2), np.int64),
    )


def _for_each(threads: int, like: np.ndarray) -> np.ndarray:
    return np.empty((threads, *like.shape), like.dtype)


@exact_kernel
def add_one_tile(
    rows: Rows,
    number: int,
    start: int,
    stop: int,
    before: int,
    problem: Problem,
    parameters: np.ndarray,
    shared: SharedTiles,
    thread: int,
) -> None:
    """Work off one tile of rows ``order[start:stop]`` in a thread's scratch."""
    tile_rows = shared.values.shape[1]
    tile, scores = shared.values[thread], shared.scores[thread]
    targets, weights = shared.targets[thread], shared.weights[thread]
    offset = number * tile_rows
    first = start + offset
    count = min(tile_rows, stop - first)
    gather(rows.features, rows.half, rows.order, first, count, problem.scale, tile, 0)
    standardise(tile, 0, count, problem.mean, problem.inverse)
    for r in range(count):
        targets[r] = rows.targets[rows.order[first + r]]
        if rows.weights.size > 0:
            weights[r] = rows.weights[rows.order[first + r]]
    score_tile(tile, count, parameters, problem.intercept, scores)
    status, row, loss = loss_tile(scores, targets, weights, count, problem)
    shared.failures[number, 0], shared.failures[number, 1] = status, first + row
    shared.halves[number] = 0.0
    if status == OK:
        partials, halves = shared.partials[thread], shared.halves[number]
        add_gradient(tile, scores, count, before + offset, problem.intercept, partials, halves)
    shared.losses[number] = loss


@parallel_kernel
def add_tiles(
    rows: Rows,
    start: int,
    stop: int,
    before: int,
    problem: Problem,
    parameters: np.ndarray,
    shared: SharedTiles,
) -> None:
    """Work off the tiles of rows ``order[start:stop]``, one gradient and loss for each tile.

    `before` are the rows of the batch before them.
    """
    for number in prange(-(-(stop - start) // shared.values.shape[1])):
        thread = int(np.int64(get_thread_id()))
        place = int(np.int64(number))
        add_one_tile(rows, place, start, stop, before, problem, parameters, shared, thread)


@exact_kernel
def train_window_parallel(
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
    shared: SharedTiles,
) -> int:
    """Do what `ooc.kernels.linear_window.train_window` does for one model, batches in parallel.

    A batch that began in the window before, and the one that will end in the window after, are
    left to the serial loop. Tiles are worked off in groups of as many as `shared` has room for.
    """
    group = shared.losses.size * shared.values.shape[1]
    carried = counters[IN_BATCH] + counters[IN_TILE]
    position = start
    if carried > 0:
        position = min(stop, start + batch_size - carried)
        status = train_window(
            rows, start, position, flush and position == stop, batch_size, last_step, problem,
            own_loss, candidates, tile, counters,
        )  # fmt: skip
        if status != OK:
            return status
    while position + batch_size <= stop and counters[STEP] < last_step:
        for first in range(0, batch_size, group):
            last = min(first + group, batch_size)
            add_tiles(
                rows, position + first, position + last, first, problem,
                candidates.parameters[0], shared,
            )  # fmt: skip
            for number in range(-(-(last - first) // shared.values.shape[1])):
                if shared.failures[number, 0] != OK:
                    place = rows.order[shared.failures[number, 1]]
                    block = rows.block_starts[place // rows.block_rows]
                    counters[BAD_ROW] = block + place % rows.block_rows
                    counters[PLACE] = position
                    return shared.failures[number, 0]
                for h in range(2):
                    for i in range(candidates.gradient.size):
                        candidates.halves[0, h, i] += shared.halves[number, h, i]
                candidates.totals[0, BATCH_LOSS] += shared.losses[number]
        take_step(
            candidates.parameters[0],
            candidates.halves[0],
            candidates.gradient,
            candidates.state[0],
            candidates.settings[0],
            candidates.penalised,
            candidates.totals[0],
            batch_size,
            counters[STEP],
        )
        counters[STEP] += 1
        counters[ROWS] += batch_size
        position += batch_size
    counters[PLACE] = position
    if counters[STEP] >= last_step or (position == stop and not flush):
        return OK
    return train_window(
        rows, position, stop, flush, batch_size, last_step, problem, own_loss, candidates, tile,
        counters,
    )  # fmt: skip
