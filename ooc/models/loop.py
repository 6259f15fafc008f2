"""A model's kernel bound to the compiled window loop: its numbers, its scratch, its position."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from ooc.core.compiler import part
from ooc.kernels import counters
from ooc.kernels import work as places
from ooc.kernels.counters import NEVER
from ooc.kernels.rows import gather_integers_part, gather_part
from ooc.kernels.share import accumulate_of
from ooc.kernels.shares import run_share, run_shares, run_shares_in_parallel
from ooc.kernels.steps import fold, run_piece, run_pieces, run_pieces_in_parallel, take_steps
from ooc.kernels.touched import merge_touched, step_touched
from ooc.kernels.window_loop import run_window
from ooc.kernels.work import WORK
from ooc.models.contract import BatchLike, Layout, Model
from ooc.models.declarations import (
    Kernel,
    dtype_of,
    needs_of,
    phases_of,
    terms_of,
)
from ooc.optim.settings import SETTINGS
from ooc.optim.step import real_of, update_of

# Parameters that are updated as one piece: with their moments they stay in a core's cache.
PIECE = 4096
MOST_THREADS = 8
# Gradients of shares that are kept side by side until the step, in bytes, and at least so many.
MOST_SLOT_BYTES = 8 * 2**20
FEWEST_SLOTS = 4


@dataclass(frozen=True)
class Column:
    """Where the rows of one array go in a share.

    Attributes
    ----------
    name, dtype, values
        The array, its type, and how many values a row has.
    place, start
        See `ooc.kernels.work.PLACE`.
    """

    name: str
    dtype: np.dtype
    values: int
    place: int
    start: int = 0


def columns_of(
    model: Model,
    arrays: Mapping[str, tuple[np.dtype, int]],
    roles: tuple[str, str | None, str | None],
) -> tuple[Column, ...]:
    """Return where the arrays of a model go, from their types and values a row, and the roles."""
    features, target, weight = roles
    needs, columns = needs_of(model), []
    integers = needs.integers
    if needs.features == "integers":
        integers = (features, *integers)
    else:
        columns.append(Column(features, *arrays[features], places.FEATURES))
    if model.needs_target and target is not None:
        columns.append(Column(target, *arrays[target], places.TARGETS))
    if weight is not None and weight in arrays:
        columns.append(Column(weight, *arrays[weight], places.WEIGHTS))
    for names, place in ((needs.further, places.FURTHER), (integers, places.INTEGERS)):
        start = 0
        for name in names:
            columns.append(Column(name, *arrays[name], place, start))
            start += arrays[name][1]
    return tuple(columns)


def width_of(columns: Sequence[Column], place: int) -> int:
    """Return the values of a row that go to one place of a share."""
    return sum(column.values for column in columns if column.place == place)


@dataclass(frozen=True)
class Vectors:
    """What M descents of one model are made of; a loop updates it in place.

    Attributes
    ----------
    parameters
        (M, P).
    state
        (M, slots, P) float64.
    settings
        (M, phases * settings) float64, see `ooc.optim.settings`.
    penalised
        (P,) bool, whether penalties are for an entry.
    active
        (M,) bool; a descent that is not active is left alone.
    totals
        (M, TOTALS + terms) float64, see `ooc.kernels.counters`.
    """

    parameters: np.ndarray
    state: np.ndarray
    settings: np.ndarray
    penalised: np.ndarray
    active: np.ndarray
    totals: np.ndarray


@dataclass(frozen=True)
class Rows:
    """The rows of a window, in the order in which they are visited.

    Attributes
    ----------
    arrays
        By name, (rows, ...), contiguous.
    order
        (rows,) int32.
    block_starts, block_rows
        Row of the dataset at which each block of the window starts, and rows of a block.
    """

    arrays: Mapping[str, np.ndarray]
    order: np.ndarray
    block_starts: np.ndarray
    block_rows: int


@dataclass(frozen=True)
class Sizes:
    """How large the loop's scratch is: a function of batch and model, never of threads.

    Attributes
    ----------
    share_rows, shares
        Rows of the largest share, and most shares of a batch.
    slots
        Gradients of shares that are kept side by side.
    threads
        Most threads that have a share at once.
    gradient
        Values of one share's gradient.
    capacity
        Rows of the touched part that a share touches at most.
    """

    share_rows: int
    shares: int
    slots: int
    threads: int
    gradient: int
    capacity: int


def sizes_of(layout: Layout, kernel: Kernel, batch_size: int, models: int, itemsize: int) -> Sizes:
    """Return the sizes for batches of up to this many rows."""
    share_rows = kernel.share_rows(batch_size)
    shares = max(-(-batch_size // share_rows), min(kernel.shares, -(-batch_size // 4)))
    dense, capacity, width = layout.size, 0, 0
    if layout.touched is not None:
        dense = layout.spans()[layout.touched][0]
        width = layout.shapes[layout.touched][1]
        capacity = share_rows * kernel.touched_values
    gradient = dense + capacity * width
    slots = shares
    if layout.touched is None:
        room = MOST_SLOT_BYTES // (models * gradient * itemsize)
        slots = min(shares, max(room, FEWEST_SLOTS))
    return Sizes(share_rows, shares, slots, min(MOST_THREADS, slots), gradient, capacity)


def loop_bytes(
    model: Model,
    layout: Layout,
    kernel: Kernel,
    columns: Sequence[Column],
    batch_size: int,
    models: int = 1,
    dtype: Any = None,
) -> int:
    """Return the bytes of a loop's scratch for batches of up to this many rows.

    `dtype` is that of the parameters, if it is not the model's own.
    """
    item = np.dtype(dtype or dtype_of(model)).itemsize
    sizes = sizes_of(layout, kernel, batch_size, models, item)
    integers = width_of(columns, places.INTEGERS)
    values = sum(column.values for column in columns) - integers + kernel.own_values
    threads = sizes.threads * (sizes.share_rows * (item * values + 8 * integers) + 16 * PIECE)
    threads += 8 * sizes.share_rows
    terms = len(terms_of(model))
    slots = models * sizes.slots * (item * sizes.gradient + 8 * (terms + sizes.capacity + 3))
    folded = models * 16 * layout.size if sizes.shares > sizes.slots else 0
    touched = sizes.slots * sizes.capacity
    merged = 8 * touched + (16 << (2 * touched).bit_length()) + 8 * sizes.slots * sizes.gradient
    pieces = 64 * (layout.size // PIECE + 2 * len(layout.shapes) + 1)
    return threads + slots + folded + (merged if sizes.capacity else 8 * layout.size) + pieces


def pieces_of(
    layout: Layout, phases: Sequence[str], decay: Mapping[str, float], piece: int = PIECE
) -> tuple[np.ndarray, np.ndarray]:
    """Cut what is trained into pieces: their table, and the decay of each.

    Neighbouring parts of the same phase and decay are cut as one.

    Examples
    --------
    >>> layout = Layout({"coefficients": (1, 5000), "intercept": (1,)})
    >>> pieces_of(layout, ["all"], {})[0].tolist()
    [[0, 4096, 0], [4096, 5001, 0]]
    """
    runs: list[list[Any]] = []
    for name, (start, stop) in layout.spans().items():
        if name in layout.fixed or name == layout.touched:
            continue
        kind = (list(phases).index(layout.groups.get(name, phases[0])), decay.get(name, 0.0))
        if runs and runs[-1][1] == start and runs[-1][2] == kind:
            runs[-1][1] = stop
        else:
            runs.append([start, stop, kind])
    cuts = [
        (first, min(first + piece, stop), *kind)
        for start, stop, kind in runs
        for first in range(start, stop, piece)
    ]
    table = np.array([cut[:3] for cut in cuts], np.int64).reshape(-1, 3)
    return table, np.array([cut[3] for cut in cuts], np.float64)


def turns_of(steps: Sequence[int]) -> np.ndarray:
    """Return the table of turns of phases with these steps.

    Examples
    --------
    >>> turns_of([2, 1]).tolist()
    [[0, 0, 2], [0, 1, 2], [1, 0, 1]]
    """
    return np.array(
        [(phase, before, each) for phase, each in enumerate(steps) for before in range(each)],
        np.int64,
    )


def update_nothing(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    rate: float,
    step: int,
    penalised: np.ndarray,
    first: int,
) -> int:
    """Leave the parameters as they are: what is wanted is the gradient."""
    return 0


class WindowLoop:
    """Takes the steps of windows with one model's kernel, for one descent or several.

    Parameters
    ----------
    model, layout, kernel, columns
        What is trained, and where its arrays go.
    vectors
        What is updated in place.
    updates
        (M, phases) int64, addresses of the optimizers' updates.
    batch_size, largest_batch
        B of the batches that have not begun yet, and what it may be changed to at most.
    threads
        Threads that may work on shares.
    piece
        Parameters that are updated as one.

    Attributes
    ----------
    batch_size
        B of the batches that have not begun yet; it may be changed between calls.
    parallel
        Whether shares are worked off on several threads; no bit depends on it.
    scratch
        The loop's memory, by name.
    """

    def __init__(
        self,
        model: Model,
        layout: Layout,
        kernel: Kernel,
        columns: Sequence[Column],
        vectors: Vectors,
        updates: np.ndarray,
        batch_size: int,
        largest_batch: int = 0,
        threads: int = 1,
        piece: int = PIECE,
    ) -> None:
        self.batch_size, self.parallel, self.kernel = batch_size, False, kernel
        self._piece = piece
        self.layout, self.columns, self._vectors = layout, columns, vectors
        dtype, self._one = vectors.parameters.dtype, vectors.parameters.dtype.type(1)
        largest, models = max(batch_size, largest_batch), len(vectors.active)
        self.sizes = sizes_of(layout, kernel, largest, models, dtype.itemsize)
        self.threads, phases = min(threads, self.sizes.threads), phases_of(model)
        pieces, decay = pieces_of(layout, [phase.name for phase in phases], kernel.decay, piece)
        turns, standard = turns_of([phase.steps for phase in phases]), kernel.standard
        self._gathers = [
            gather_integers_part(column.dtype)
            if column.place == places.INTEGERS
            else gather_part(column.dtype, dtype)
            for column in columns
        ]
        self._drivers = {False: drivers(dtype, False)}
        self.scratch = self._make_scratch(dtype, models, len(terms_of(model)), len(pieces))
        self._kept: dict[str, np.ndarray] = {
            **self.scratch,
            "updates": updates,
            "reals": np.ascontiguousarray(kernel.reals, np.float64),
            "integers": np.ascontiguousarray(kernel.integers, np.int64),
            "shift": standard.shift,
            "low": standard.shift.astype(dtype),
            "factor": standard.factor.astype(dtype),
            "turns": turns,
            "pieces": pieces,
            "decay": decay,
            "parameters": vectors.parameters,
            "state": vectors.state,
            "settings": vectors.settings,
            "penalised": vectors.penalised,
            "active": vectors.active,
            "totals": vectors.totals,
            "arrays": np.zeros((len(columns), 5), np.int64),
            "ones": np.ones(1, dtype),
        }
        self.work = np.zeros(1, WORK)
        for name, array in self._kept.items():
            assert array.flags.c_contiguous, f"{name} is contiguous"
            self.work[name] = array.ctypes.data
        sizes, first = self.sizes, layout.spans().get(layout.touched or "", (0, 0))[0]
        touched = (0, 0) if layout.touched is None else layout.shapes[layout.touched]
        self._set(
            array_count=len(columns), mean=1, seed=-1,
            accumulate=part(kernel.accumulate, accumulate_of(real_of(dtype))).address,
            run_share=part(run_share, places.run_share_of(real_of(dtype))).address,
            take_steps=part(take_steps, places.whole_of(real_of(dtype))).address,
            run_piece=part(run_piece, places.run_piece_of(real_of(dtype))).address,
            cycle=len(turns), phases=len(phases), piece_count=len(pieces),
            real_count=len(kernel.reals), integer_count=len(kernel.integers),
            shift_count=standard.shift.size, factor_count=standard.factor.size,
            touched_first=first, touched_rows=touched[0], touched_width=touched[1],
            models=models, size=layout.size, state_rows=vectors.state.shape[1],
            terms=len(terms_of(model)), threads=self.threads,
            feature_width=width_of(columns, places.FEATURES),
            target_width=width_of(columns, places.TARGETS),
            further_width=width_of(columns, places.FURTHER),
            weight_width=width_of(columns, places.WEIGHTS),
            number_width=width_of(columns, places.INTEGERS),
            own_size=self.scratch["own"].shape[1], gradient_size=sizes.gradient,
            slots=sizes.slots, capacity=sizes.capacity, longest=piece,
            gradient_count=self.scratch["gradient"].size,
            place_count=self.scratch["places"].shape[1],
            item=dtype.itemsize, most_rows=sizes.share_rows,
        )  # fmt: skip
        if sizes.shares > sizes.slots:
            self._set(fold=part(fold, places.whole_of(real_of(dtype))).address)
        if layout.touched is not None:
            self._set(
                merge_touched=part(merge_touched, places.whole_of(real_of(dtype))).address,
                step_touched=part(step_touched, places.whole_of(real_of(dtype))).address,
            )

    @property
    def goes_parallel(self) -> bool:
        """Whether shares may go to several threads: they are as large as they get, or eager."""
        is_large = self.sizes.share_rows == self.kernel.most_rows
        return self.threads > 1 and (is_large or self.kernel.eager)

    @property
    def step(self) -> int:
        """Steps taken since the run began."""
        return int(self.work["step"][0])

    @property
    def rows(self) -> int:
        """Rows used by the steps of this loop."""
        return int(self.work["used_rows"][0])

    @property
    def place(self) -> int:
        """The first place of the window that is not used yet."""
        return int(self.work["place"][0])

    @property
    def bad_row(self) -> int:
        """The row of the dataset that cannot be used; -1 where no single one is to blame."""
        return int(self.work["bad_row"][0])

    @property
    def waiting(self) -> np.ndarray:
        """Rows of the dataset that wait for the rest of their share, or that the last one had."""
        return self.scratch["ids"][: max(int(self.work["in_share"][0]), 1)]

    @property
    def gradient(self) -> np.ndarray:
        """What the last step was told, (P,) float64: scratch."""
        return self.scratch["gradient"]

    def begin(self, step: int = 0, run_key: int = 0, seed: int = -1, mean: bool = True) -> None:
        """Begin at a step, as if no row of its batch had been seen.

        Parameters
        ----------
        run_key, seed
            From which each step has its seed, or the seed of every step where it is not -1.
        mean
            Whether a step is told the mean gradient over its rows; else the sum.
        """
        key = int(np.uint64(run_key).astype(np.int64))
        self._set(step=step, run_key=key, seed=seed, mean=mean)
        self._set(in_batch=0, in_share=0, used=0, folded=0)

    def run(self, rows: Rows, flush: bool, last_step: int = NEVER, place: int | None = None) -> int:
        """Take the steps that some rows complete, see `ooc.kernels.window_loop.run_window`.

        Parameters
        ----------
        rows
            Of a window.
        flush
            Whether the epoch's last, shorter batch is to be taken.
        last_step
            Number of steps at which to return.
        place
            Where in the order to begin; by default where it came to before.
        """
        table = self._kept["arrays"]
        for line, column, gather in zip(table, self.columns, self._gathers, strict=True):
            array = rows.arrays[column.name]
            assert array.flags.c_contiguous, "a window's arrays are contiguous"
            line[:] = gather.address, array.ctypes.data, column.values, column.place, column.start
        parallel = self.parallel and self.threads > 1
        if parallel not in self._drivers:
            self._drivers[parallel] = drivers(self._one.dtype, parallel)
        if parallel:
            numba.set_num_threads(self.threads)
        shares, pieces = self._drivers[parallel]
        self._set(
            order=rows.order.ctypes.data, rows=rows.order.size, flush=flush,
            block_starts=rows.block_starts.ctypes.data, block_rows=rows.block_rows,
            batch_size=self.batch_size, share_rows=self.kernel.share_rows(self.batch_size),
            last_step=last_step, run_shares=shares, run_pieces=pieces,
        )  # fmt: skip
        if place is not None:
            self._set(place=place)
        return int(run_window(self.work, self._one))

    def _set(self, **numbers: int) -> None:
        for name, number in numbers.items():
            self.work[name] = number

    def _make_scratch(
        self, dtype: np.dtype, models: int, terms: int, pieces: int
    ) -> dict[str, np.ndarray]:
        sizes, columns, size = self.sizes, self.columns, self.layout.size
        threads, rows = max(1, self.threads), sizes.share_rows
        folds, merged = sizes.shares > sizes.slots, sizes.slots * sizes.capacity
        dense, width = size, 0
        if self.layout.touched is not None:
            dense = self.layout.spans()[self.layout.touched][0]
            width = self.layout.shapes[self.layout.touched][1]

        def tile(place: int, kind: Any = dtype) -> np.ndarray:
            return np.empty((threads, rows, width_of(columns, place)), kind)

        return {
            "features": tile(places.FEATURES),
            "targets": tile(places.TARGETS),
            "further": tile(places.FURTHER),
            "weights": tile(places.WEIGHTS),
            "numbers": tile(places.INTEGERS, np.int64),
            "own": np.empty((threads, rows * self.kernel.own_values), dtype),
            # What a kernel leaves out, such as parts of another phase, is zero.
            "gradients": np.zeros((models, sizes.slots, sizes.gradient), dtype),
            "slot_terms": np.zeros((models, sizes.slots, terms)),
            "touched": np.empty((models, sizes.slots, sizes.capacity), np.int64),
            "reports": np.zeros((models, sizes.slots, 2), np.int64),
            "statuses": np.zeros((models, sizes.slots), np.int64),
            "sums": np.zeros((models, 2, size if folds else 0)),
            "term_sums": np.zeros((models, terms)),
            "gradient": np.zeros(dense + merged * width),
            "halves": np.empty((threads, 2, self._piece)),
            "notes": np.zeros((pieces, 4)),
            "ids": np.zeros(rows, np.int64),
            "merged": np.empty(merged, np.int64),
            "places": np.empty((2, 1 << (2 * merged).bit_length() if merged else 0), np.int64),
        }


def drivers(dtype: Any, parallel: bool) -> tuple[int, int]:
    """Return the addresses of what works off shares, and pieces."""
    whole = places.whole_of(real_of(dtype))
    if parallel:
        return (
            part(run_shares_in_parallel, whole, parallel=True).address,
            part(run_pieces_in_parallel, whole, parallel=True).address,
        )
    return part(run_shares, whole).address, part(run_pieces, whole).address


def parallel_threads(cores: int) -> int:
    """Return the threads that a loop may use on so many cores."""
    return min(cores, MOST_THREADS, numba.get_num_threads())


def batch_gradient(
    model: Model, kernel: Kernel, parameters: np.ndarray, batch: BatchLike, out_grad: np.ndarray
) -> tuple[int, int, float]:
    """Fill a batch's mean gradient by the model's own kernel: the loop, without a step.

    Returns
    -------
    status, row, loss
        `OK` and the loss summed over the rows, or the row of the dataset that cannot be used.
    """
    layout, count = model.layout(batch.features.shape[1:]), len(batch.rows)
    dtype = dtype_of(model)
    found = {
        name: (values.dtype, int(np.prod(values.shape[1:], dtype=np.int64)))
        for name, values in batch.arrays.items()
    }
    columns = columns_of(model, found, batch.roles)
    phases = phases_of(model)
    vectors = Vectors(
        np.ascontiguousarray(parameters, dtype).reshape(1, -1),
        np.zeros((1, 0, layout.size)),
        np.zeros((1, len(phases) * SETTINGS)),
        layout.penalised(),
        np.ones(1, np.bool_),
        np.zeros((1, counters.TOTALS + len(terms_of(model)))),
    )
    updates = np.full((1, len(phases)), nothing_address(dtype), np.int64)
    loop = WindowLoop(model, layout, kernel, columns, vectors, updates, count)
    loop.begin(batch.step, seed=batch.seed)
    arrays = {column.name: np.ascontiguousarray(batch.arrays[column.name]) for column in columns}
    rows = Rows(arrays, np.arange(count, dtype=np.int32), np.zeros(1, np.int64), count)
    status = loop.run(rows, flush=True, place=0)
    if status == counters.OK:
        _spread(layout, loop, out_grad)
    row = int(batch.rows[loop.bad_row]) if status != counters.OK and loop.bad_row >= 0 else -1
    return status, row, float(vectors.totals[0, counters.LOSS_SUM])


def nothing_address(dtype: Any) -> int:
    """Return the address of the update that leaves parameters as they are."""
    return int(part(update_nothing, update_of(real_of(dtype))).address)


def _spread(layout: Layout, loop: WindowLoop, out: np.ndarray) -> None:
    """Write the gradient to the whole vector, touched rows to their places."""
    if layout.touched is None:
        out[:] = loop.gradient
        return
    start, stop = layout.spans()[layout.touched]
    width = layout.shapes[layout.touched][1]
    out[:start], out[start:stop] = loop.gradient[:start], 0.0
    table = out[start:stop].reshape(-1, width)
    for row, values in touched_rows(loop, start, width):
        table[row] = values


def touched_rows(loop: WindowLoop, start: int, width: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the rows of the touched part that the last step's batch touched, with gradients."""
    values = loop.gradient[start:].reshape(-1, width)
    names, reports = loop.scratch["touched"][0], loop.scratch["reports"][0]
    seen: dict[int, int] = {}
    for slot in range(loop.sizes.slots):
        for row in names[slot, : reports[slot, 1]].tolist():
            seen.setdefault(row, len(seen))
    for row, number in seen.items():
        yield row, values[number]
