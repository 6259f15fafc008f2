"""A model's kernel bound to the compiled window loop: its numbers, its memory, its position."""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from ooc.core.blas import one_thread
from ooc.core.compiler import part
from ooc.core.sliding import values_between
from ooc.kernels import work as record
from ooc.kernels.columns import UNTOUCHED, merge_columns, step_columns
from ooc.kernels.counters import NEVER
from ooc.kernels.jobs import run_jobs, run_jobs_in_parallel
from ooc.kernels.lane_loop import run_lane_at, run_lane_window
from ooc.kernels.lazy_steps import step_lazily
from ooc.kernels.row_steps import leave_rows, step_rows
from ooc.kernels.rows import gather_integers_part, gather_part
from ooc.kernels.share import TOUCHED, accumulate_of, gather_integers_of, source_of
from ooc.kernels.shares import run_share, run_share_at
from ooc.kernels.sparse import gather_extents
from ooc.kernels.steps import fold, run_piece, take_steps
from ooc.kernels.touched import merge_touched, step_touched
from ooc.kernels.window_loop import run_window
from ooc.models import scratch
from ooc.models.contract import Layout, Model
from ooc.models.declarations import Kernel, phases_of, terms_of
from ooc.models.step_kernels import kernel_for_steps
from ooc.models.train_state import TrainState, update_addresses
from ooc.optim import Optimizer, lazy
from ooc.optim.step import real_of
from ooc.store.dataset import Dataset
from ooc.store.sparse_rows import SparseRows, copied

SPIN_COUNT = "3000"  # some tens of microseconds


@dataclass(frozen=True)
class Rows:
    """The rows of a window, in the order in which they are visited.

    Attributes
    ----------
    arrays
        By name, (rows, ...): a row's values lie side by side, and rows may overlap.
    order
        (rows,) int32.
    block_starts, block_rows
        Row of the dataset at which each block of the window starts, and rows of a block.
    block_lanes
        (blocks,) int64, the lane of each block, where there are several.
    """

    arrays: Mapping[str, np.ndarray]
    order: np.ndarray
    block_starts: np.ndarray
    block_rows: int
    block_lanes: np.ndarray | None = None


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


def _number(name: str) -> Any:
    """Return a property: a number of the loop's record."""
    return property(lambda loop: int(loop.work[name][0]))


class WindowLoop:
    """Takes the steps of windows with one model's kernel, for one descent or several.

    Parameters
    ----------
    columns
        Where the arrays go in a share.
    train_state
        What is updated in place.
    largest_batch
        What `batch_size` may be changed to at most.
    threads
        Threads that may work on shares.
    piece
        Parameters that are updated as one.
    updates
        (M, phases) int64, addresses of the updates, if they are not those of the methods.
    lanes
        Of how many lanes a window's rows are.

    Attributes
    ----------
    batch_size
        B of the batches that have not begun yet; it may be changed between calls.
    parallel
        Whether shares are worked off on several threads; no bit depends on it.
    scratch
        The loop's memory, by name.
    step, rows
        Steps taken since the run began, and rows that this loop has used.
    place
        The first place of the window that is not used yet.
    carried
        Sparse rows of a window before that wait for the rest of their share.
    bad_row
        The row of the dataset that cannot be used; -1 where no single one is to blame.
    """

    step, rows, place, bad_row = map(_number, ("step", "used_rows", "place", "bad_row"))

    def __init__(
        self,
        model: Model,
        layout: Layout,
        kernel: Kernel,
        columns: Sequence[scratch.Column],
        train_state: TrainState,
        batch_size: int,
        largest_batch: int = 0,
        threads: int = 1,
        piece: int = scratch.PIECE,
        updates: np.ndarray | None = None,
        lanes: int = 1,
    ) -> None:
        self.batch_size, self.parallel = batch_size, False
        self.kernel, self.columns = kernel, columns
        dtype, models, phases = train_state.parameters.dtype, len(train_state), phases_of(model)
        self.one, standard = dtype.type(1), kernel.standard.rounded(dtype)
        of_targets = kernel.target_standard.rounded(dtype)
        most = max(batch_size, largest_batch)
        self.sizes = sizes = scratch.sizes_of(layout, kernel, most, models, dtype.itemsize, lanes)
        self.threads = min(threads, sizes.threads)
        names = [phase.name for phase in phases]
        pieces, decay = scratch.pieces_of(layout, names, kernel.decay, piece)
        if kernel.is_by_columns:  # whose steps are taken all at once
            pieces, decay = pieces[:0], decay[:0]
        self._gathers = [
            part(gather_extents, gather_integers_of(source_of(column.dtype)))
            if column.are_extents
            else gather_integers_part(column.dtype)
            if column.place == record.INTEGERS
            else gather_part(column.dtype, dtype)
            for column in columns
        ]
        loop = (sizes, models, dtype, self.threads, piece)
        shapes = scratch.scratch_of(model, layout, kernel, columns, *loop)
        # What a kernel leaves out of a gradient, such as parts of another phase, is zero.
        self.scratch = {name: np.zeros(shape, kind) for name, (shape, kind) in shapes.items()}
        self._held: dict[str, np.ndarray] = {
            **self.scratch,
            "updates": update_addresses(model, train_state) if updates is None else updates,
            "reals": np.ascontiguousarray(kernel.reals, np.float64),
            "integers": np.ascontiguousarray(kernel.integers, np.int64),
            **standard._asdict(),
            **{f"target_{name}": values for name, values in of_targets._asdict().items()},
            "turns": turns_of([phase.steps for phase in phases]),
            "pieces": pieces,
            "decay": decay,
            "penalised": layout.penalised(),
            "arrays": np.zeros((len(columns), 6), np.int64),
            "ones": np.ones(1, dtype),
        }
        for name in ("parameters", "state", "settings", "active", "totals"):
            self._held[name] = getattr(train_state, name)
        if kernel.is_lazy:
            self._held["integers"] = begin_lazily(self._held["integers"], layout, train_state)
        self.work = np.zeros(1, record.WORK)
        for name, array in self._held.items():
            assert array.flags.c_contiguous, f"{name} is contiguous"
            self.work[name] = array.ctypes.data
        tiles = scratch.TILES.items()
        whole, (first, rows, width) = record.whole_of(real_of(dtype)), layout.touched_place
        self._set(
            array_count=len(columns), mean=1, seed=-1,
            accumulate=part(kernel.accumulate, accumulate_of(real_of(dtype))).address,
            run_share=part(run_share, record.run_share_of(real_of(dtype))).address,
            take_steps=part(take_steps, whole).address,
            run_share_at=part(
                run_lane_at if sizes.lanes else run_share_at, record.job_of(real_of(dtype))
            ).address,
            run_piece=part(run_piece, record.job_of(real_of(dtype))).address,
            cycle=len(self._held["turns"]), phases=len(phases), piece_count=len(pieces),
            real_count=len(kernel.reals), integer_count=len(self._held["integers"]),
            shift_count=standard.shift.size, factor_count=standard.factor.size,
            target_shift_count=of_targets.shift.size, target_factor_count=of_targets.factor.size,
            touched_first=first, touched_rows=rows, touched_width=width,
            models=models, size=layout.size, state_rows=train_state.state.shape[1],
            terms=len(terms_of(model)), threads=self.threads,
            own_size=self.scratch["own"].shape[1], gradient_size=sizes.gradient,
            slots=sizes.slots, capacity=sizes.capacity, longest=piece,
            gradient_count=self.scratch["gradient"].size,
            place_count=self.scratch["places"].shape[1],
            item=dtype.itemsize, most_rows=sizes.share_rows,
            lanes=sizes.lanes, lane_slots=sizes.lane_slots,
            **{f"{name}_width": scratch.width_of(columns, place) for name, place in tiles},
        )  # fmt: skip
        if scratch.folds(sizes):
            self._set(fold=part(fold, whole).address)
        if layout.touched is not None:
            self._set(
                merge_touched=part(merge_touched, whole).address,
                step_touched=part(step_touched, whole).address,
            )
        if kernel.is_by_columns:
            self.scratch["gradient"][:] = UNTOUCHED
            step = step_columns if not kernel.by_rows else step_rows
            self._set(
                merge_touched=part(leave_rows if kernel.by_rows else merge_columns, whole).address,
                step_touched=part(step_lazily if kernel.is_lazy else step, whole).address,
            )
        self._drivers = {False: driver(dtype, False)}
        self.carried: SparseRows | None = None

    @property
    def goes_parallel(self) -> bool:
        """Whether shares may go to several threads: they are as large as they get, or worth it."""
        is_large, kernel = self.sizes.share_rows == self.kernel.most_rows, self.kernel
        return self.threads > 1 and (is_large or kernel.eager or kernel.tries_threads)

    @property
    def is_for_threads(self) -> bool:
        """Whether several threads are faster in any case: batches are of several large shares."""
        is_cut = self.batch_size > self.kernel.share_rows(self.batch_size)
        return self.goes_parallel and self.kernel.eager and is_cut

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
        self._set(in_batch=0, in_share=0, used=0, folded=0, even_rows=0)

    def run(self, rows: Rows, flush: bool, last_step: int = NEVER, place: int | None = None) -> int:
        """Take the steps that some rows complete, see `ooc.kernels.window_loop.run_window`.

        Parameters
        ----------
        flush
            Whether the epoch's last, shorter batch is to be taken.
        last_step
            Number of steps at which to return.
        place
            Where in the order to begin; by default where it came to before.
        """
        sparse = self.bind(rows, last_step, flush)
        self._set(place=self.place if place is None else place)
        take = run_lane_window if self.sizes.lanes else run_window
        with self.in_one_thread():
            status = int(take(self.work, self.one))
        for given, start in sparse:
            self._carry(given, start)
        return status

    def bind(
        self, rows: Rows, last_step: int = NEVER, flush: bool = False
    ) -> list[tuple[SparseRows, int]]:
        """Say which rows the next steps are taken on; return those that are sparse, and where."""
        table, sparse = self._held["arrays"], list[tuple[SparseRows, int]]()
        for line, column, gather in zip(table, self.columns, self._gathers, strict=True):
            array = rows.arrays[column.name]
            if isinstance(array, SparseRows):
                sparse.append((array, column.start))
                array = array.extents
            line[:4] = gather.address, array.ctypes.data, column.values, column.place
            line[4:] = column.start, values_between(array)
        self.bind_batch()
        self._set(
            order=rows.order.ctypes.data, rows=rows.order.size, flush=flush,
            block_starts=rows.block_starts.ctypes.data, block_rows=rows.block_rows,
            last_step=last_step,
        )  # fmt: skip
        if rows.block_lanes is not None:
            self._set(block_lanes=rows.block_lanes.ctypes.data)
        return sparse

    def bind_batch(self) -> None:
        """Say how large batches are that have not begun, and who does the jobs at hand."""
        parallel = self.parallel and self.threads > 1
        if parallel not in self._drivers:
            self._drivers[parallel] = driver(self.one.dtype, parallel)
        if parallel:
            numba.set_num_threads(self.threads)
        self._set(
            batch_size=self.batch_size, share_rows=self.kernel.share_rows(self.batch_size),
            run_jobs=self._drivers[parallel],
        )  # fmt: skip

    def in_one_thread(self) -> AbstractContextManager[object]:
        """Hold BLAS, where the kernel calls it, to one thread: its own are for the shares."""
        return one_thread() if self.kernel.uses_blas else nullcontext()

    def _carry(self, rows: SparseRows, start: int) -> None:
        """Copy the non-zeros of rows that wait for the rest of their share: windows come and go."""
        work = self.work[0]
        columns = slice(start, start + rows.extents.shape[1])
        places = [self.scratch["numbers"][0, : work["in_share"], columns]]
        if self.kernel.is_by_columns:  # whose gradient is added up when the batch is whole
            for touched, report in zip(
                self.scratch["touched"], self.scratch["reports"], strict=True
            ):
                for slot in range(work["used"]):
                    whole = touched[slot].reshape(-1, rows.extents.shape[1])
                    places.append(whole[: report[slot, TOUCHED]])
        carried = copied(np.concatenate(places), rows)
        if len(carried):
            self.carried = carried
            for place in places:
                place[...] = carried.extents[: len(place)]
                carried = carried[len(place) :]

    def _set(self, **numbers: int) -> None:
        for name, number in numbers.items():
            self.work[name] = number


def begin_lazily(integers: np.ndarray, layout: Layout, train_state: TrainState) -> np.ndarray:
    """Return the integers of a kernel with where the state is that it reads, which is begun."""
    parameters, state = train_state.parameters, train_state.state
    for method, own in zip(train_state.methods, state, strict=False):
        if method.optimizer is not None and method.optimizer.is_lazy:
            lazy.begin(own, layout.penalised())
    where = [parameters.ctypes.data, state.ctypes.data, state.shape[1]]
    return np.concatenate([integers, np.array(where, np.int64)])


def make_loop(
    model: Model,
    dataset: Dataset,
    train_state: TrainState,
    batch_size: int,
    largest_batch: int = 0,
    piece: int = scratch.PIECE,
    updates: np.ndarray | None = None,
    optimizers: Sequence[Optimizer | None] | None = None,
    lanes: int = 1,
) -> WindowLoop:
    """Bind a model's kernel, and a dataset's arrays, to the window loop.

    `optimizers` are those that it is made for, by default those of the train state.
    """
    layout = model.layout(dataset.row_shape)
    if optimizers is None:
        optimizers = [method.optimizer for method in train_state.methods]
    most = max(batch_size, largest_batch)
    kernel = kernel_for_steps(model, dataset, optimizers, most, train_state.parameters[0])
    assert kernel is not None, f"{model.name} has a kernel"
    columns = scratch.dataset_columns(model, dataset)
    # A thread that has no share left is to sleep, not to spin for milliseconds: readers, and
    # others on this machine, need its core. OpenMP reads it as it is loaded, at the first step.
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    threads = parallel_threads(len(os.sched_getaffinity(0)))
    return WindowLoop(
        model, layout, kernel, columns, train_state,
        batch_size, largest_batch, threads, piece, updates, lanes,
    )  # fmt: skip


def driver(dtype: Any, parallel: bool) -> int:
    """Return the address of what does the jobs at hand, shares or pieces."""
    options = {"parallel": True} if parallel else {}
    function = run_jobs_in_parallel if parallel else run_jobs
    return int(part(function, record.whole_of(real_of(dtype)), **options).address)


def parallel_threads(cores: int) -> int:
    """Return the threads that a loop may use on so many cores."""
    return min(cores, scratch.MOST_THREADS, numba.get_num_threads())
