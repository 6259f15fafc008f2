"""Window loops over arrays in memory: windows of any length, blocks from all over the dataset."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ooc.kernels.counters import NEVER, OK
from ooc.models.contract import Model
from ooc.models.declarations import kernel_of
from ooc.models.loop import Rows, WindowLoop
from ooc.models.scratch import PIECE, columns_of
from ooc.models.train_state import TrainState, start
from ooc.optim import Optimizer

BLOCK = 10


@dataclass(frozen=True)
class Stream:
    """A dataset's arrays, and the windows of an epoch: each some blocks, in an order of its own."""

    arrays: Mapping[str, np.ndarray]
    windows: tuple[tuple[np.ndarray, np.ndarray], ...]  # block starts, order

    @property
    def visited(self) -> np.ndarray:
        """Rows of the dataset in the order in which they are visited."""
        parts = [starts[order // BLOCK] + order % BLOCK for starts, order in self.windows]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def rows(self, number: int) -> Rows:
        starts, order = self.windows[number]
        stored = (starts[:, None] + np.arange(BLOCK)).ravel()
        stored = stored[stored < len(self.arrays["X"])]
        held = {name: np.ascontiguousarray(array[stored]) for name, array in self.arrays.items()}
        return Rows(held, order, starts.astype(np.int64), BLOCK)


def stream_of(arrays: Mapping[str, np.ndarray], cuts: Sequence[int] = (), seed: int = 0) -> Stream:
    """Shuffle blocks, cut them into windows before these blocks, and shuffle each window's rows."""
    rng, rows = np.random.default_rng(seed), len(arrays["X"])
    whole = rows // BLOCK
    starts = rng.permutation(whole) * BLOCK
    if rows % BLOCK:  # the dataset's shorter last block is its last one here
        starts = np.append(starts, whole * BLOCK)
    edges, windows = [0, *sorted(cuts), len(starts)], []
    for first, last in itertools.pairwise(edges):
        held = starts[first:last]
        count = sum(min(BLOCK, rows - int(begin)) for begin in held)
        windows.append((held, rng.permutation(count).astype(np.int32)))
    return Stream(arrays, tuple(windows))


def recut(stream: Stream, places: Sequence[int]) -> Stream:
    """Return the same rows in the same order, cut into windows before these places."""
    visited = stream.visited
    assert np.all(visited >= 0), "rows of the dataset"
    edges, windows = [0, *sorted(places), len(visited)], []
    for first, last in itertools.pairwise(edges):
        wanted = visited[first:last]
        starts = np.unique(wanted // BLOCK) * BLOCK
        order = np.searchsorted(starts, wanted // BLOCK * BLOCK) * BLOCK + wanted % BLOCK
        windows.append((starts.astype(np.int64), order.astype(np.int32)))
    return Stream(stream.arrays, tuple(windows))


def loop_of(
    model: Model,
    arrays: Mapping[str, np.ndarray],
    train_state: TrainState,
    batch: int,
    threads: int = 1,
    piece: int = PIECE,
    lanes: int = 1,
    **changes: Any,
) -> WindowLoop:
    """Bind a model to the loop; `changes` are for its kernel."""
    layout = model.layout(arrays["X"].shape[1:])
    kernel = kernel_of(model, layout, train_state.parameters[0])
    assert kernel is not None
    columns = columns_of(model, arrays, ("X", "y" if "y" in arrays else None, "w"))
    return WindowLoop(
        model,
        layout,
        replace(kernel, **changes),
        columns,
        train_state,
        batch,
        threads=threads,
        piece=piece,
        lanes=lanes,
    )


def descend(
    model: Model,
    stream: Stream,
    optimizers: Sequence[Optimizer],
    first: np.ndarray,
    batch: int = 64,
    stops: Sequence[int] = (),
    flush: bool = True,
    parallel: bool = False,
    **how: Any,
) -> tuple[TrainState, WindowLoop]:
    """Take the steps of an epoch, stopping at these numbers of steps on the way."""
    train_state = start(optimizers, first, model)
    loop = loop_of(model, stream.arrays, train_state, batch, 2 if parallel else 1, **how)
    loop.parallel = parallel
    loop.begin(run_key=5)
    for number in range(len(stream.windows)):
        rows, place = stream.rows(number), 0
        is_last = flush and number == len(stream.windows) - 1
        while True:
            stop = min((stop for stop in stops if stop > loop.step), default=NEVER)
            assert loop.run(rows, is_last, stop, place) == OK
            assert loop.step <= stop
            if loop.step < stop:
                assert loop.place == rows.order.size
                break
            place = None
    return train_state, loop
