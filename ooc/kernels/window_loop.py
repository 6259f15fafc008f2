"""The one loop over a window's batches: every compiled model, loss and optimizer rides on it.

Several models ride on the same batches: a share is gathered once, and each does exactly what it
would do alone.
"""

import numpy as np

from ooc.core.compiler import array_at, lean_kernel, small_kernel
from ooc.kernels.counters import BAD_TARGET, BAD_WEIGHT, OK
from ooc.kernels.share import BAD
from ooc.kernels.work import call_run_share, call_whole


@small_kernel
def row_at(work: np.ndarray, place: int) -> int:
    """Return the row of the dataset at a place of the window's order."""
    w = work[0]
    row = np.int64(array_at(w.order, (w.rows,), np.int32(0))[place])
    starts = array_at(w.block_starts, (row // w.block_rows + 1,), np.int64(0))
    return starts[row // w.block_rows] + row % w.block_rows


@lean_kernel
def first_failure(work: np.ndarray, shares: int) -> tuple[int, int, int]:
    """Return a status, and slot and row of the share that cannot be used.

    Of several models one whose loss is not finite is left behind while others go on.
    """
    w, integer = work[0], int(np.int64(0))
    active = array_at(w.active, (w.models,), np.bool_(True))
    statuses = array_at(w.statuses, (w.models, w.slots), integer)
    reports = array_at(w.reports, (w.models, w.slots, 2), integer)
    going_on, status, where, row = False, OK, integer, integer
    for m in range(w.models):
        if not active[m]:
            continue
        for slot in range(w.used, w.used + shares):
            found = statuses[m, slot]
            if found != OK:
                status, where, row = found, slot, reports[m, slot, BAD]
                if found in (BAD_TARGET, BAD_WEIGHT) or w.models == 1:
                    return status, where, row
                active[m] = False
                break
        going_on = going_on or active[m]
    return (OK, where, row) if going_on else (status, where, row)


@lean_kernel
def run_window(work: np.ndarray, one: np.floating) -> int:
    """Take every step that the rows of one window complete, up to a given one.

    A batch may begin in one window and end in the next: shares of it that are whole are in their
    slots, and rows of one that is not are in the scratch of the first thread.

    Parameters
    ----------
    work, one
        The record of `ooc.kernels.work`, (1,), and the number 1 in the type of the parameters.

    Returns
    -------
    int
        `OK`, or why the row that the record names cannot be used, -1 for none in particular; the
        parameters are then those before its batch.
    """
    w = work[0]
    ids = array_at(w.ids, (w.most_rows,), np.int64(0))
    while w.step < w.last_step:
        waiting, left = w.in_share, w.rows - w.place
        # Where nothing of the last window could be read, what was carried over is still a batch.
        if left == 0 and (w.flush == 0 or w.in_batch + waiting == 0):
            break
        missing = w.batch_size - w.in_batch - waiting
        available = min(left, missing)
        ends = available == missing or (w.flush != 0 and available == left)
        if w.used == w.slots:
            call_whole(w.fold, (work, one))
        w.shares = available // w.share_rows
        if ends and available % w.share_rows > 0:
            w.shares += 1
        w.shares = min(w.shares, w.slots - w.used)
        w.start = w.place
        if waiting > 0 or w.shares == 0:
            count = min(available, w.share_rows - waiting)
            for r in range(count):
                ids[waiting + r] = row_at(work, w.place + r)
            is_whole = waiting + count == w.share_rows or (ends and count == available)
            w.shares = 1 if is_whole and waiting + count > 0 else 0
            call_run_share(
                w.run_share,
                (work, one, np.int64(0), w.place, count, waiting, w.used, w.in_batch,
                 w.shares == 1),
            )  # fmt: skip
            w.in_share = waiting + count
        else:
            waiting, count = -1, min(available, w.shares * w.share_rows)
            w.stop, w.slot, w.before = w.place + count, w.used, w.in_batch
            w.job, w.jobs = w.run_share_at, w.shares
            call_whole(w.run_jobs, (work, one))
            w.in_share = 0
        status, slot, bad = first_failure(work, w.shares)
        if status != OK:
            inside = w.start + (slot - w.used) * w.share_rows + bad
            w.bad_row = ids[bad] if waiting >= 0 else row_at(work, inside)
            return status
        w.place += count
        w.used += w.shares
        if waiting < 0:
            w.in_batch += count
        elif w.shares == 1:
            w.in_batch += w.in_share
            w.in_share = 0
        if w.in_share > 0 or not (ends and count == available):
            continue
        status = call_whole(w.take_steps, (work, one))
        if status != OK:
            w.bad_row = -1
            return status
        w.step += 1
        w.used_rows += w.in_batch
        w.in_batch, w.used, w.folded = 0, 0, 0
    return OK
