"""Where the arrays of a model go in a share, and the memory that the window loop works in."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ooc.kernels.work import FEATURES, FURTHER, INTEGERS, TARGETS, WEIGHTS
from ooc.models.contract import Layout, Model
from ooc.models.declarations import Kernel, arrays_of, dtype_of, needs_of, phases_of, terms_of
from ooc.store.dataset import Dataset
from ooc.store.sparse import EXTENT_BYTES

# Parameters that are updated as one piece: with their moments they stay in a core's cache.
PIECE = 4096
MOST_THREADS = 8
# Gradients of shares that are kept side by side until the step, in bytes, and at least so many.
MOST_SLOT_BYTES = 8 * 2**20
FEWEST_SLOTS = 4
# What a share holds, by its name in the record of the loop.
TILES = {
    "features": FEATURES,
    "targets": TARGETS,
    "further": FURTHER,
    "weights": WEIGHTS,
    "numbers": INTEGERS,
}


@dataclass(frozen=True)
class Column:
    """Where an array, of so many values a row, goes in a share: see `ooc.kernels.work.PLACE`.

    `are_extents` tells that the values of a row are where its non-zeros are.
    """

    name: str
    dtype: np.dtype
    values: int
    place: int
    start: int = 0
    are_extents: bool = False


def is_sparse(rows: Any) -> bool:
    """Tell whether rows, or what describes them, are sparse."""
    return bool(getattr(rows, "is_sparse", False))


def columns_of(
    model: Model, arrays: Mapping[str, Any], roles: tuple[str, str | None, str | None]
) -> tuple[Column, ...]:
    """Return where the arrays of a model go; they have a dtype and a shape, rows first."""
    features, target, weight = roles
    needs = needs_of(model)
    # Of sparse rows it is their extents that are gathered.
    are_integers = needs.features == "integers" or is_sparse(arrays[features])
    wanted = {
        FEATURES: () if are_integers else (features,),
        TARGETS: (target,) if model.needs_target else (),
        WEIGHTS: (weight,) if weight in arrays else (),
        FURTHER: needs.further,
        INTEGERS: (features, *needs.integers) if are_integers else needs.integers,
    }
    columns = []
    for place, names in wanted.items():
        start = 0
        for name in names:
            if name is not None:
                dtype, values = arrays[name].dtype, math.prod(arrays[name].shape[1:])
                sparse = is_sparse(arrays[name])
                if sparse:
                    dtype, values = np.dtype(np.int64), EXTENT_BYTES // 8
                columns.append(Column(name, dtype, values, place, start, sparse))
                start += values
    return tuple(columns)


def dataset_columns(model: Model, dataset: Dataset) -> tuple[Column, ...]:
    """Return where the arrays of a dataset go that a model needs."""
    arrays = {name: dataset.arrays[name] for name in arrays_of(model, dataset)}
    return columns_of(model, arrays, dataset.roles)


def width_of(columns: Sequence[Column], place: int) -> int:
    """Return the values of a row that go to one place of a share."""
    return sum(column.values for column in columns if column.place == place)


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
    lanes, lane_slots
        Lanes whose shares are worked off by themselves, and slots for them; 0 where none are.
    lane_rows
        Rows of a batch that are sorted by lanes.
    """

    share_rows: int
    shares: int
    slots: int
    threads: int
    gradient: int
    capacity: int
    lanes: int = 0
    lane_slots: int = 0
    lane_rows: int = 0


def has_lanes(layout: Layout, kernel: Kernel, lanes: int) -> bool:
    """Tell whether a share holds the rows of one lane; not where steps touch but some columns."""
    return lanes > 1 and layout.touched is None and not kernel.is_by_columns


def sizes_of(
    layout: Layout, kernel: Kernel, batch_size: int, models: int, itemsize: int, lanes: int = 1
) -> Sizes:
    """Return the sizes for batches of up to this many rows."""
    share_rows = kernel.share_rows(batch_size)
    shares = max(-(-batch_size // share_rows), min(kernel.shares, -(-batch_size // 4)))
    dense, _, width = layout.touched_place
    capacity = share_rows * kernel.touched_values if width else 0
    if kernel.is_by_columns:
        # A share leaves the slopes of its rows, and where their non-zeros are.
        values = share_rows * kernel.own_values
        threads = min(MOST_THREADS, shares)
        return Sizes(share_rows, shares, shares, threads, values, share_rows * EXTENT_BYTES // 8)
    gradient = dense + capacity * width
    if has_lanes(layout, kernel, lanes):
        # A batch that spans two windows has two shares of each lane. A thread has a slot of its
        # own for tiles of a share.
        room = MOST_SLOT_BYTES // (models * gradient * itemsize)
        lane_slots, threads = min(2 * lanes, max(room, FEWEST_SLOTS)), min(MOST_THREADS, lanes)
        slots, rows = lane_slots + threads, min(share_rows, batch_size)
        of_lanes = lanes, lane_slots, batch_size
        return Sizes(rows, 2 * lanes, slots, threads, gradient, capacity, *of_lanes)
    slots = shares
    if not width:
        room = MOST_SLOT_BYTES // (models * gradient * itemsize)
        slots = min(shares, max(room, FEWEST_SLOTS))
    return Sizes(share_rows, shares, slots, min(MOST_THREADS, slots), gradient, capacity)


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


def folds(sizes: Sizes) -> bool:
    """Tell whether a batch may have more shares than slots: with lanes it may span many windows."""
    return sizes.lanes > 0 or sizes.shares > sizes.slots


def scratch_of(
    model: Model,
    layout: Layout,
    kernel: Kernel,
    columns: Sequence[Column],
    sizes: Sizes,
    models: int,
    dtype: np.dtype,
    threads: int = MOST_THREADS,
    piece: int = PIECE,
) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Return shape and type of each array of the loop's scratch, by its name in the record."""
    rows, slots, capacity = sizes.share_rows, sizes.slots, sizes.capacity
    threads, terms = min(threads, sizes.threads), len(terms_of(model))
    (dense, _, width), touched = layout.touched_place, slots * capacity
    pieces, _ = pieces_of(layout, [phase.name for phase in phases_of(model)], kernel.decay, piece)
    tiles = {
        name: ((threads, rows, width_of(columns, place)), np.int64 if place == INTEGERS else dtype)
        for name, place in TILES.items()
    }
    own_parts = {
        "gradient": ((dense + touched * width,), np.float64),
        "notes": ((len(pieces), 4), np.float64),
        "merged": ((touched,), np.int64),
        "places": ((2, 1 << (2 * touched).bit_length() if touched else 0), np.int64),
    }
    if kernel.is_by_columns:
        outputs, most = layout.shapes["coefficients"][0], kernel.batch_columns
        own_parts |= {
            "gradient": ((layout.size,), np.float64),
            "merged": ((most * outputs + 1,), np.int64),
        }
    if kernel.by_rows:  # what is added up is the intercepts' gradient alone
        own_parts |= {"gradient": ((outputs,), np.float64), "merged": ((0,), np.int64)}
    return {
        **tiles,
        **own_parts,
        "own": ((threads, rows * kernel.own_values), dtype),
        "gradients": ((models, slots, sizes.gradient), dtype),
        "slot_terms": ((models, slots, terms), np.float64),
        "touched": ((models, slots, capacity), np.int64),
        "reports": ((models, slots, 2), np.int64),
        "statuses": ((models, slots), np.int64),
        "sums": ((models, 2, layout.size if folds(sizes) else 0), np.float64),
        "term_sums": ((models, terms), np.float64),
        "halves": ((threads, 2, piece), np.float64),
        "ids": ((rows,), np.int64),
        "lane_order": ((sizes.lane_rows,), np.int32),
        "lane_ends": ((sizes.lanes,), np.int64),
        "lane_sums": ((threads, models, layout.size if sizes.lanes else 0), np.float64),
    }


def loop_bytes(
    model: Model,
    layout: Layout,
    kernel: Kernel,
    columns: Sequence[Column],
    batch_size: int,
    models: int = 1,
    dtype: Any = None,
    lanes: int = 1,
) -> int:
    """Return the bytes of a loop's scratch for batches of up to this many rows.

    `dtype` is that of the parameters, if it is not the model's own.
    """
    real = np.dtype(dtype or dtype_of(model))
    sizes = sizes_of(layout, kernel, batch_size, models, real.itemsize, lanes)
    arrays = scratch_of(model, layout, kernel, columns, sizes, models, real)
    return sum(math.prod(shape) * np.dtype(kind).itemsize for shape, kind in arrays.values())
