"""Does it fit? A dataset, a batch size and a budget become a frozen plan, or an error, before I/O.

The window is a function of the data's layout, the model and the budget, never of how many
readers serve it: three slabs share one half of what is free, and the readers get what the other
half holds; what they leave of it may hold one more slab.
"""

import gc
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ooc.core.errors import InputError, TooSmallError
from ooc.core.process import allowed_bytes, give_back_freed, resident_bytes
from ooc.core.sizes import format_size, parse_size
from ooc.core.summary import Summary
from ooc.store.chunks import scratch_bytes
from ooc.store.dataset import Dataset
from ooc.store.remote import connections_bytes
from ooc.store.sparse import EXTENT_BYTES
from ooc.stream.block_sizes import (
    amplification_of,
    batch_bytes,
    check_units,
    choose_block_rows,
    heaviest_blocks,
)
from ooc.stream.block_statistics import MOST_BYTES, sample_bytes
from ooc.stream.missing_values import OVERLAPPING_ROW_BYTES, ROW_BYTES
from ooc.stream.options import StreamOptions
from ooc.stream.order import Order

MIB = 2**20
# The interpreter, the imports, loaded kernels, thread stacks and the allocator's slack, as measured
# in a fresh process by tests/test_memory_bound.py; kernels are compiled elsewhere.
RESERVED_BYTES = 192 * MIB
# What an ordinary process holds before its first run, before a loader's without a trainer, and
# after one; and in which steps it counts what is held beyond that.
BEFORE_RUN_BYTES, BEFORE_LOADER_BYTES = 152 * MIB, 136 * MIB
AFTER_RUN_BYTES, HELD_STEP, HELD_NOISE = RESERVED_BYTES + 16 * MIB, 16 * MIB, 11 * MIB
# What was held beyond it when this process first asked, if it has.
_HELD_AT_FIRST: list[int] = []
# One window in use and two on their way share what windows may take; where there is room for one
# more beside all readers, none of them waits for the one in use. Two slabs are enough to run.
MOST_SLABS, USUAL_SLABS, FEWEST_SLABS = 4, 3, 2
# A larger window mixes better and gathers slower: beyond the caches a random row costs more, and
# memory that is touched for the first time costs most of all.
LARGEST_WINDOW = 96 * MIB
# What the window advice looks at.
SAMPLED_BLOCKS = 64
# Reading blocks in the kernel, not on a core: a few threads more than cores keep the disk busy.
FEWEST_READERS, MOST_READERS = 6, 16


@dataclass(frozen=True)
class Demand:
    """What a run needs beside the stream's windows.

    Attributes
    ----------
    model_bytes
        Parameters, optimizer state and scratch of the model.
    batch_copies
        Copies of a batch that are alive at once; 0 where a kernel reads the window itself.
    largest_batch
        Rows of a batch at most, where a trainer changes its size; its memory is the trainer's.
    held_bytes
        What the process held before the run, see `held_bytes`; a loader measures it for None.
    saved_bytes
        What is copied where a run is saved or returned.
    """

    model_bytes: int = 0
    batch_copies: int = 2
    largest_batch: int = 0
    held_bytes: int | None = None
    saved_bytes: int = 0


NO_DEMAND = Demand()
Planned = TypeVar("Planned")


@dataclass(frozen=True, repr=False)
class Plan(Summary):
    """How an epoch runs within its budget.

    Attributes
    ----------
    batch_size
        B, rows of a step.
    slabs
        Windows in memory at once: the one in use, and those that are read.
    terms
        What the process will hold, in bytes, by what it is for.
    budget
        Bytes that it may hold.
    amplification
        Decoded bytes over used bytes: above 1 where chunks are larger than blocks.
    row_bytes
        Decoded bytes that one row of all arrays used adds to the rows before it.
    moment_bytes
        What the moments of a sample of blocks may take, before the slabs are there.
    """

    order: Order
    batch_size: int
    readers: int
    slabs: int
    terms: Mapping[str, int]
    budget: int
    amplification: float
    row_bytes: int
    largest_batch: int
    moment_bytes: int

    @property
    def projected(self) -> int:
        """Bytes that the process will hold at most."""
        return sum(self.terms.values())

    @property
    def steps(self) -> int:
        """m, steps of an epoch in batches of the first size: every batch is full but the last."""
        return -(-self.order.epoch_rows // self.batch_size)

    def facts(self) -> dict[str, str]:
        """Return what a prompt shows: steps, window and memory."""
        order = self.order
        return {
            "rows": f"{order.epoch_rows:,}",
            "steps": f"{self.steps:,} of {self.batch_size:,} rows",
            "window": f"{order.window_rows:,} rows in {order.blocks_per_window:,} blocks",
            "memory": f"{format_size(self.projected)} of {format_size(self.budget)}",
        }

    def to_json(self) -> dict[str, object]:
        """Return the plan's numbers under the keys of the command line's JSON."""
        of_blocks = ("blocks", "block_rows", "blocks_per_window", "window_rows", "windows")
        return {
            "rows": self.order.epoch_rows,
            "batch_size": self.batch_size,
            "steps": self.steps,
            **{name: getattr(self.order, name) for name in ("shuffle", "seed", *of_blocks)},
            "readers": self.readers,
            "read_amplification": round(self.amplification, 3),
            "memory_budget_bytes": self.budget,
            "memory_projected_bytes": self.projected,
            "memory_terms": dict(self.terms),
        }


def held_bytes(ours: int = 0, before: int = BEFORE_RUN_BYTES) -> int:
    """Return what this process holds beside this package: other libraries, arrays of its user.

    Only what exceeds an ordinary process counts, in whole steps: noise makes no difference. `ours`
    is what is in memory already, and among a plan's terms, and `before` what an ordinary process
    holds before its first run. Ask before kernels are loaded. What was freed is given back first.
    """
    give_back_freed()
    held = resident_bytes() - ours
    # The limits leave room for noise, which is not of what is held where something is.
    first, later = (
        -(-(held - ordinary + HELD_NOISE) // HELD_STEP) * HELD_STEP if held > ordinary else 0
        for ordinary in (before, AFTER_RUN_BYTES)
    )
    if not _HELD_AT_FIRST:
        _HELD_AT_FIRST.append(first)
    return max(later, min(first, _HELD_AT_FIRST[0]))


def held_after_run(ours: int) -> int:
    """Return `held_bytes` of a process that has trained, less what nobody holds any more.

    A run that is over may wait for the garbage collector, which is asked where that matters. Not
    for workers: what is garbage there may belong to their event loop.
    """
    found = held_bytes(ours)
    if found:
        gc.collect()
        found = held_bytes(ours)
    return found


def budget_of(memory: str | int) -> int:
    """Read a budget; refuse one above what the machine or a memory control group allows."""
    budget, allowed = parse_size(memory), allowed_bytes()
    if budget > allowed:
        raise InputError(
            f"the budget of {format_size(budget)} is more than the {format_size(allowed)} that "
            f"this process may use; set the memory to {format_size(allowed)} or less"
        )
    return budget


def make_plan(
    dataset: Dataset,
    batch_size: int,
    names: Sequence[str],
    stream: StreamOptions,
    demand: Demand = NO_DEMAND,
    transfers: bool = False,
) -> Plan:
    """Plan an epoch: pure arithmetic, nothing is read.

    Parameters
    ----------
    names
        Arrays that travel in the batches.
    stream
        A window of "auto" is as large as there is room for; fewer readers are used if they do
        not fit.
    transfers
        Whether blocks are read by other processes, so that one more window is on its way.

    Raises
    ------
    InputError
        If the batch is larger than the dataset.
    TooSmallError
        If nothing fits the budget: with both numbers.
    """
    given = (dataset, batch_size, names, stream, demand, transfers)
    return fitted(lambda budget: _fit(*given, budget), parse_size(stream.memory))


def fitted(plan: Callable[[int], Planned], budget: int) -> Planned:
    """Return what is planned for a budget; a refusal names one that is enough.

    Raises
    ------
    TooSmallError
        In place of the planner's, whose `needed` need not be enough: with more memory a plan
        may choose what needs more.
    """
    needed, refused = budget, None
    while True:
        try:
            planned = plan(needed)
        except TooSmallError as error:
            needed, refused = -(-error.needed // MIB) * MIB, error
            continue
        if refused is None:
            return planned
        rest = str(refused).partition(" is below the ")[2]
        message = f"the budget of {format_size(budget)} is below the {rest}"
        raise TooSmallError(message, needed)


def _fit(
    dataset: Dataset,
    batch_size: int,
    names: Sequence[str],
    stream: StreamOptions,
    demand: Demand,
    transfers: bool,
    budget: int,
) -> Plan:
    """Fit an epoch into a budget."""
    specs, rows = dataset.specs(tuple(names)), dataset.stored_rows
    shuffle, lanes, most_blocks = stream.shuffle, stream.lanes, stream.blocks
    sampled = stream.sampling != "once"
    row_bytes = sum(spec.kept_row_bytes for spec in specs)
    dense = [spec for spec in specs if not spec.is_sparse]
    # Beside its values a row has its place in the order. Sides of a split keep a flag and, for a
    # moment, a key of each row; draws a weight, its sum and a place.
    slab_row_bytes = sum(spec.kept_row_bytes for spec in dense) + EXTENT_BYTES * (
        len(specs) - len(dense)
    )
    slab_row_bytes += 4 + 10 * (dataset.selection is not None) + 24 * sampled
    overlap = max(spec.overlap for spec in specs)
    beside_row = OVERLAPPING_ROW_BYTES if overlap else ROW_BYTES
    slab_row_bytes += beside_row * any(spec.declares_missing for spec in specs)
    fixed = {
        "reserved": RESERVED_BYTES,
        "batch": demand.batch_copies * batch_bytes(specs, batch_size),
        "model": demand.model_bytes,
        "index": sum(spec.index_bytes for spec in specs),
    }
    chunk_rows = dataset.arrays[dataset.features].chunks[0]
    one_reader = max(scratch_bytes(spec, chunk_rows) for spec in specs)
    free = budget - sum(fixed.values()) - one_reader
    room = max(free, 0) // 2 // USUAL_SLABS
    usual = min(room, LARGEST_WINDOW)
    chosen = stream.block_rows or choose_block_rows(specs, rows, chunk_rows, row_bytes, usual)
    block_rows = min(chosen, rows)
    blocks = -(-rows // block_rows)
    # Behind a block there is room for rows that overlap.
    block_places = block_rows + overlap
    _check_sizes(batch_size, dataset.rows, stream, blocks)
    check_units(specs, block_rows, rows)
    heaviest = heaviest_blocks(specs, block_rows)
    fewest = max(min(blocks, 1 if shuffle == "none" else 2), lanes)
    # A window that was asked for may be larger than usual, if there is room for it.
    wanted_bytes = room if most_blocks else usual
    most = wanted_bytes // (block_places * slab_row_bytes)
    if heaviest is not None:
        # As many blocks of each lane may be a few more than there are.
        nonzeros = np.pad(heaviest, (0, lanes - 1), "edge")
        all_sizes = nonzeros + np.arange(1, blocks + lanes) * (block_places * slab_row_bytes)
        most = int(np.searchsorted(all_sizes, wanted_bytes, "right"))
    most = max(most, fewest)
    most = min(most, most_blocks or most)
    # Windows are of one size: a small last one would mix badly, just before the epoch's end.
    even = -(-blocks // -(-blocks // most))
    shared = -(-even // lanes) * lanes
    per_window = max(shared if shared <= most else shared - lanes, lanes)
    order = Order(rows, block_rows, per_window, shuffle, stream.seed, lanes)

    window_total = (order.blocks_per_window * block_places + overlap) * slab_row_bytes
    if heaviest is not None:
        window_total += int(heaviest[: order.blocks_per_window][-1])
    scratch = max(scratch_bytes(spec, block_rows) for spec in specs)
    # The window stays the same whatever else the process holds: the half that is left gives way.
    held = demand.held_bytes or 0
    beside = {
        "held": held,
        "saving": demand.saved_bytes // MIB * MIB,
        "connections": connections_bytes(dataset.saved_path),
    }
    fixed |= {name: size for name, size in beside.items() if size}
    wanted = stream.readers or min(MOST_READERS, max(FEWEST_READERS, os.cpu_count() or 1))
    more: dict[str, int] = {}
    if sampled or dataset.selection is not None:
        more["table of blocks"] = 32 * blocks
    if transfers:
        more["transfer"] = window_total
    spare = budget - sum(fixed.values())
    slabs = FEWEST_SLABS
    if MOST_SLABS * window_total + wanted * scratch + sum(more.values()) <= spare:
        slabs = MOST_SLABS
    elif USUAL_SLABS * window_total + scratch <= spare:
        slabs = USUAL_SLABS
    taken = {**fixed, "slabs": slabs * window_total, **more}
    # Before all that is there, a sample of blocks is looked at, one block of one array at a time.
    sample = (block_places + overlap) * max((s.kept_row_bytes for s in dense), default=0) + scratch
    values = max((spec.telling_places for spec in dense), default=1)
    wished = min(sample_bytes(values, blocks, SAMPLED_BLOCKS), MOST_BYTES)
    standing = fixed["reserved"] + fixed["index"]
    moments = max(0, min(wished, budget - standing - held - sample))
    early = (standing + held + sample + moments) * (shuffle != "none")
    least = {**taken, "readers": scratch}
    needed = sum(least.values())
    if needed > budget:
        shown = ", ".join(f"{name} {format_size(size)}" for name, size in least.items() if size)
        raise TooSmallError(
            f"the budget of {format_size(budget)} is below the {format_size(needed)} that this "
            f"run needs ({shown}); raise the memory to "
            f"{math.ceil(needed / MIB)}MiB, lower the batch size, or store smaller chunks",
            needed,
        )
    used = min(wanted, (budget - sum(taken.values())) // scratch)
    terms = {**taken, "readers": used * scratch}
    if early > sum(terms.values()):
        terms["statistics"] = early - sum(terms.values())
    amplification = amplification_of(specs, block_rows, rows)
    largest = max(batch_size, demand.largest_batch)
    sizes = (amplification, row_bytes, largest, moments)
    return Plan(order, batch_size, used, slabs, terms, budget, *sizes)


def window_bytes(plan: Plan, blocks: int) -> int:
    """Return the bytes of a window of this many blocks."""
    return blocks * (plan.terms["slabs"] // plan.slabs // plan.order.blocks_per_window)


def memory_for_window(plan: Plan, blocks: int) -> int:
    """Return a budget, in whole MiB, in which a window of this many blocks fits."""
    readers = plan.terms["readers"]
    rest = plan.projected - plan.terms["slabs"] - readers
    needed = rest + readers // plan.readers + 2 * USUAL_SLABS * window_bytes(plan, blocks)
    return -(-needed // MIB) * MIB


def _check_sizes(batch_size: int, rows: int, stream: StreamOptions, blocks: int) -> None:
    lanes, window, mixes = stream.lanes, stream.blocks, stream.shuffle != "none"
    problem = None
    if batch_size < 1:
        problem = f"the batch size must be at least 1, not {batch_size}"
    elif batch_size > rows:
        problem = (
            f"a batch of {batch_size} rows is larger than the dataset of {rows} rows; "
            f"lower the batch size to {rows} or less"
        )
    elif not 1 <= lanes <= blocks:
        problem = (
            f"lanes must be at least 1 and at most the {blocks} blocks of the data, not {lanes}"
        )
    elif lanes > 1 and not mixes:
        problem = f"{lanes} lanes take turns, so that rows do not come as stored; use one"
    elif window is not None and mixes and window < min(2, blocks):
        problem = f"a window of {window} blocks mixes nothing; it needs at least 2 blocks"
    elif window is not None and window < lanes:
        problem = (
            f"a window of {window} blocks is too small for {lanes} lanes; take {lanes} blocks "
            "or more"
        )
    if problem is not None:
        raise InputError(problem)
