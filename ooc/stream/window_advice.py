"""Which window mixes well enough, predicted from a sample of blocks before a run."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ooc.core.sizes import format_size
from ooc.kernels.rows import gather_rows, tile_rows
from ooc.store.dataset import Dataset
from ooc.stream.block_sizes import FEWEST_SPARSE_BLOCKS
from ooc.stream.block_statistics import Column, block_statistics
from ooc.stream.mixing_theory import inflation, smallest_window
from ooc.stream.plan import SAMPLED_BLOCKS, Plan, memory_for_window, window_bytes

LIMIT = 1.05
FEWEST_BLOCKS = 64
# Below this a window's own costs are felt: its graph, its permutation, its first requests. A sparse
# row is fetched from anywhere in its window, and sooner where that is no larger than a cache.
SMALLEST_WINDOW, SMALLEST_SPARSE_WINDOW = 64 * 2**20, 24 * 2**20
# The share is taken to be this many standard errors larger than estimated.
CAUTION = 2.0
MEASURED_SECONDS = 0.1
MOST_MEASURED_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Advice:
    """What a sample of blocks says about a plan's window.

    Attributes
    ----------
    worst
        The label or feature whose blocks differ most.
    inflation
        Predicted for the plan's own window; aimed at is the limit.
    needed_blocks, memory
        Smallest window that reaches the limit, of those that divide the epoch evenly, and the
        budget in which it fits.
    chunk_rows
        Rows of a chunk with which the plan's window would reach the limit, its blocks being as
        different as now; None where not even one row would.
    of_targets
        Whether the targets alone were looked at, as is done of sparse rows.
    """

    worst: Column
    limit: float
    inflation: float
    needed_blocks: int
    memory: int
    chunk_rows: int | None
    of_targets: bool = False

    @property
    def enough(self) -> bool:
        """Whether the plan's window reaches the limit."""
        return self.inflation <= self.limit

    def to_json(self) -> dict[str, Any]:
        """Return the numbers, JSON-ready."""
        return {
            "predicted_inflation": self.inflation,
            "worst_column": self.worst.name,
            "between_share": self.worst.between_share,
            "between_share_error": self.worst.error,
            "needed_blocks_per_window": self.needed_blocks,
            "memory_for_needed_window_bytes": self.memory,
            "chunk_rows_for_this_window": self.chunk_rows,
        }


def chosen_blocks(advice: Advice, plan: Plan) -> int:
    """Return the blocks of the window to take: as few as mix well, but not so few as to be slow."""
    smallest = SMALLEST_SPARSE_WINDOW if advice.of_targets else SMALLEST_WINDOW
    return max(advice.needed_blocks, -(-smallest // window_bytes(plan, 1)))


def advise(dataset: Dataset, plan: Plan, limit: float = LIMIT, io: str = "auto") -> Advice:
    """Read a sample of blocks and hold the plan's window against what it says.

    Inflation of the variance of batch means up to `limit` is good enough. Of sparse rows it is that
    of the targets, which there must be: no sample of wide rows says much of a column that few have.

    Examples
    --------
    >>> import ooc
    >>> dataset = ooc.open(example_dataset)
    >>> advice = advise(dataset, ooc.Loader(dataset, 50, memory="512MiB", window="fit").plan)
    >>> advice.enough, advice.needed_blocks
    (True, 1)
    """
    order, of_targets = plan.order, dataset.arrays[dataset.features].is_sparse
    if of_targets:
        assert dataset.target is not None, "there are targets to look at"
        dataset = replace(dataset, features=dataset.target)
    worst = block_statistics(
        dataset, order.block_rows, SAMPLED_BLOCKS, io=io, most_bytes=plan.moment_bytes
    ).worst()
    fewest = smallest_window(_share(worst), order.rows, order.block_rows, plan.batch_size, limit)
    least = FEWEST_SPARSE_BLOCKS if of_targets else FEWEST_BLOCKS
    fewest = max(fewest, min(least, order.blocks))
    # Windows are of one size: as many of them as there can be that are not smaller than this.
    needed = -(-order.blocks // (order.blocks // fewest))
    predicted = _inflation(worst, plan, order.blocks_per_window)
    memory = memory_for_window(plan, needed)
    halved = [order.block_rows >> times for times in range(order.block_rows.bit_length())]
    window_rows = order.blocks_per_window * order.block_rows
    mixing = (
        rows
        for rows in halved
        if _inflation(worst, plan, max(window_rows // rows, 1), rows) <= limit
    )
    return Advice(worst, limit, predicted, needed, memory, next(mixing, None), of_targets)


def _share(worst: Column) -> float:
    """Return the share of variance between blocks, a little larger than estimated."""
    return min(1.0, worst.between_share + CAUTION * worst.error)


def _inflation(worst: Column, plan: Plan, blocks: int, block_rows: int | None = None) -> float:
    rows = block_rows or plan.order.block_rows
    return inflation(_share(worst), plan.order.rows, rows, blocks, plan.batch_size)


@dataclass(frozen=True)
class WindowChoice:
    """One line of the trade: a window, its inflation, and how fast rows are gathered from it."""

    blocks: int
    bytes: int
    inflation: float
    bytes_per_second: float


def measured_trade(dataset: Dataset, plan: Plan, advice: Advice) -> list[WindowChoice]:
    """Measure how fast this machine gathers rows from windows of several sizes.

    Rows are as wide as the dataset's features, in random order, as in training. Windows beyond
    128 MiB are as slow as that, and are not measured: memory is the plan's.
    """
    order = plan.order
    sizes = {order.blocks_per_window, min(advice.needed_blocks, order.blocks)}
    sizes |= {max(2, order.blocks_per_window // part) for part in (4, 16)}
    values = max(1, dataset.arrays[dataset.features].row_bytes // 4)
    choices = []
    for blocks in sorted(sizes):
        rows = max(1, min(blocks * order.block_rows, MOST_MEASURED_BYTES // (4 * values)))
        predicted, rate = _inflation(advice.worst, plan, blocks), _gather_rate(rows, values)
        choices.append(WindowChoice(blocks, window_bytes(plan, blocks), predicted, rate))
    return choices


def trade_table(choices: Sequence[WindowChoice]) -> dict[str, str]:
    """Return the trade for people."""
    return {
        f"{choice.blocks:,} blocks, {format_size(choice.bytes)}": f"inflation "
        f"{choice.inflation:.3f}, rows gathered at {choice.bytes_per_second / 1e9:.1f} GB/s"
        for choice in choices
    }


def _gather_rate(rows: int, values: int) -> float:
    window = np.full((rows, values), 0.5, np.float32)  # touched: pages of zeros are one page
    order = np.random.Generator(np.random.SFC64(0)).permutation(rows).astype(np.int32)
    tile = np.empty((tile_rows(values), values), np.float32)
    step = min(len(tile), rows)
    gather_rows(window, order[:step], tile[:step])
    done, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < MEASURED_SECONDS:
        for start in range(0, rows - step + 1, step):
            gather_rows(window, order[start : start + step], tile[:step])
        done += (rows // step) * step * 4 * values
    return done / (time.perf_counter() - begun)
