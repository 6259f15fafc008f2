"""The loop over a window's batches where several lanes feed them: a lane's rows are one share.

A share holds all rows that one lane gives to a batch from one window, in the lane's own order; the
shares of a batch are added up in the order of their lanes. Whoever has a lane's rows can work off
its share, in this process or in another one, and the step is the same to the last bit. Many rows
are worked off tile by tile, whose gradients are added up in float64 in a fixed order.
"""

import numpy as np

from ooc.core.compiler import array_at, lean_kernel
from ooc.kernels.counters import OK
from ooc.kernels.share import BAD
from ooc.kernels.window_loop import first_failure, row_at
from ooc.kernels.work import call_run_share, call_whole


@lean_kernel
def share_span(work: np.ndarray, number: int) -> tuple[int, int]:
    """Return the first place of a share at hand, and the one after its last."""
    w = work[0]
    ends, share = array_at(w.lane_ends, (w.lanes,), np.int64(0)), w.first_share + number
    return ends[share - 1] if share > 0 else w.start, ends[share]


def run_lane_at(work: np.ndarray, one: np.floating, thread: int, number: int) -> int:
    """Work off one of the shares at hand, in a thread's scratch and, of many rows, in its slot."""
    w, integer, real = work[0], np.int64(0), np.float64(0)
    start, stop = share_span(work, number)
    slot, before = w.slot + number, w.before + start - w.start
    zero = np.int64(0)
    if stop - start <= w.share_rows:
        given = (work, one, thread, start, stop - start, zero, slot, before, True)
        return call_run_share(w.run_share, given)
    active = array_at(w.active, (w.models,), np.bool_(True))
    statuses = array_at(w.statuses, (w.models, w.slots), integer)
    reports = array_at(w.reports, (w.models, w.slots, 2), integer)
    terms = array_at(w.slot_terms, (w.models, w.slots, w.terms), real)
    tile = w.lane_slots + thread
    for first in range(start, stop, w.share_rows):
        count, place = min(w.share_rows, stop - first), before + first - start
        given = (work, one, thread, first, count, zero, tile, place, True)
        call_run_share(w.run_share, given)
        for m in range(w.models):
            if not active[m]:
                continue
            if first == start:
                statuses[m, slot] = OK
            if statuses[m, slot] == OK and statuses[m, tile] != OK:
                statuses[m, slot] = statuses[m, tile]
                reports[m, slot, BAD] = first - start + reports[m, tile, BAD]
            sums = array_at(w.lane_sums + 8 * (thread * w.models + m) * w.size, (w.size,), real)
            source = (m * w.slots + tile) * w.gradient_size
            gradient = array_at(w.gradients + source * w.item, (w.size,), one)
            for i in range(w.size):
                sums[i] = (sums[i] if first > start else 0.0) + gradient[i]
            for k in range(w.terms):
                earlier = terms[m, slot, k] if first > start else 0.0
                terms[m, slot, k] = earlier + terms[m, tile, k]
    for m in range(w.models):
        if active[m]:
            sums = array_at(w.lane_sums + 8 * (thread * w.models + m) * w.size, (w.size,), real)
            target = (m * w.slots + slot) * w.gradient_size
            gradient = array_at(w.gradients + target * w.item, (w.size,), one)
            for i in range(w.size):
                gradient[i] = sums[i]
    return OK


@lean_kernel
def part_lanes(work: np.ndarray, count: int) -> int:
    """Write the next places of the order lane by lane; return how many lanes have any."""
    w = work[0]
    order = array_at(w.order, (w.rows,), np.int32(0))
    parted = array_at(w.lane_order, (count,), np.int32(0))
    ends = array_at(w.lane_ends, (w.lanes,), np.int64(0))
    lanes = array_at(w.block_lanes, (w.rows,), np.int64(0))
    for lane in range(w.lanes):
        ends[lane] = 0
    for i in range(count):
        ends[lanes[order[w.place + i] // w.block_rows]] += 1
    total = 0
    for lane in range(w.lanes):
        rows = ends[lane]
        ends[lane] = total
        total += rows
    for i in range(count):
        lane = lanes[order[w.place + i] // w.block_rows]
        parted[ends[lane]] = order[w.place + i]
        ends[lane] += 1
    shares, last = 0, 0
    for lane in range(w.lanes):
        if ends[lane] > last:
            last = ends[lane]
            ends[shares] = last
            shares += 1
    return shares


@lean_kernel
def make_room(work: np.ndarray, one: np.floating) -> int:
    """Fold the shares of the batch where no slot is left; return how many are free then."""
    w = work[0]
    if w.used == w.lane_slots:
        call_whole(w.fold, (work, one))
    return w.lane_slots - w.used


@lean_kernel
def keep_shares(work: np.ndarray, one: np.floating) -> tuple[int, int, int]:
    """Take the shares at hand, whose slots are filled, for parts of the batch.

    Returns
    -------
    status, share, row
        `OK`, or which of them cannot be used, and the first of its rows that is to blame.
    """
    w = work[0]
    status, slot, bad = first_failure(work, w.shares)
    if status != OK:
        return status, slot - w.used, bad
    for number in range(w.shares):
        start, stop = share_span(work, number)
        if (w.folded + w.used + number) % 2 == 0:
            w.even_rows += stop - start
    w.used += w.shares
    return status, slot, bad


@lean_kernel
def run_shares(work: np.ndarray, one: np.floating, shares: int) -> int:
    """Work off the first shares whose ends are at hand, as many at a time as there are slots."""
    w, done = work[0], 0
    while done < shares:
        w.shares = min(shares - done, make_room(work, one))
        w.first_share, w.slot = done, w.used
        w.job, w.jobs = w.run_share_at, w.shares
        call_whole(w.run_jobs, (work, one))
        status, share, bad = keep_shares(work, one)
        if status != OK:
            w.bad_row = row_at(work, share_span(work, share)[0] + bad)
            return status
        done += w.shares
    return OK


@lean_kernel
def end_lane_step(work: np.ndarray, one: np.floating) -> int:
    """Take the step of a batch whose shares are all in their slots, or folded."""
    w = work[0]
    status = call_whole(w.take_steps, (work, one))
    if status != OK:
        w.bad_row = -1
        return status
    w.step += 1
    w.used_rows += w.in_batch
    w.in_batch, w.used, w.folded, w.even_rows = 0, 0, 0, 0
    return OK


@lean_kernel
def run_lane_window(work: np.ndarray, one: np.floating) -> int:
    """Take every step that the rows of one window complete, as `run_window` does for one lane."""
    w, status = work[0], OK
    while w.step < w.last_step:
        left = w.rows - w.place
        # Where nothing of the last window could be read, what came before is still a batch.
        if left == 0 and (w.flush == 0 or w.in_batch == 0):
            break
        available = min(left, w.batch_size - w.in_batch)
        ends = w.in_batch + available == w.batch_size or (w.flush != 0 and available == left)
        shares, order = part_lanes(work, available), w.order
        w.order, w.start, w.before = w.lane_order, 0, w.in_batch
        status = run_shares(work, one, shares)
        w.order = order
        if status != OK:
            return status
        w.place += available
        w.in_batch += available
        if ends:
            status = end_lane_step(work, one)
            if status != OK:
                return status
    return OK
