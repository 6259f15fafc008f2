"""Shares of a batch that are worked off apart: one lane's in a worker, the step where they meet.

Both are parts of the compiled loop, so that they do, bit for bit, what it does by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ooc.core.compile_child import Compilation
from ooc.core.compiler import kernel_for
from ooc.kernels.counters import OK
from ooc.kernels.lane_loop import end_lane_step, keep_shares, make_room, run_shares
from ooc.kernels.work import WORK
from ooc.models.contract import Model
from ooc.models.loop import WindowLoop
from ooc.models.train_state import TrainState, at_rest


@dataclass(frozen=True)
class Place:
    """Where in a run a share is worked off.

    Attributes
    ----------
    step, batch_size
        The step, counted from 0, and the rows of its batch.
    before
        Rows of the batch that come before the share's.
    """

    step: int
    batch_size: int
    before: int


@dataclass(frozen=True)
class ShareSums:
    """What came of a share, for each of M models.

    Attributes
    ----------
    rows
        Rows of the share.
    gradients
        (M, P) in the type of the parameters, sums over the rows.
    terms
        (M, terms) float64, sums over the rows.
    statuses, bad_rows
        (M,) int64, of `ooc.kernels.counters`, and the first row of the share that is to blame.
    """

    rows: int
    gradients: np.ndarray
    terms: np.ndarray
    statuses: np.ndarray
    bad_rows: np.ndarray


def resting_state(model: Model, parameters: np.ndarray) -> TrainState:
    """Return that of M models, (M, P), whose gradients are wanted, and nothing else."""
    one, models = at_rest(model, parameters[0]), len(parameters)
    return replace(
        one,
        parameters=parameters,
        state=np.zeros((models, *one.state.shape[1:])),
        settings=np.tile(one.settings, (models, 1)),
        active=np.ones(models, np.bool_),
        totals=np.zeros((models, one.totals.shape[1])),
    )


def work_off(loop: WindowLoop, start: int, stop: int, place: Place) -> ShareSums:
    """Return what comes of the share of the bound rows ``order[start : stop]``.

    They are views of the loop's memory, and hold until the next share is worked off.
    """
    loop.batch_size = place.batch_size
    loop.bind_batch()
    begin_batch(loop, place.step)
    return add_share(loop, start, stop, place.before)[1]


def begin_batch(loop: WindowLoop, step: int) -> None:
    """Begin the batch of a step, as if no row of it had been seen."""
    for name in ("in_batch", "used", "folded", "even_rows"):
        loop.work[name] = 0
    loop.work["step"] = step


def add_share(loop: WindowLoop, start: int, stop: int, before: int) -> tuple[int, ShareSums]:
    """Work off a share of the batch at hand, whose rows are bound: it is the batch's next part.

    Returns
    -------
    status, sums
        Whether the share is a part of the batch, `OK`; and views of the loop's memory, which hold
        until the next share or step.
    """
    work, arrays = loop.work, loop.scratch
    arrays["lane_ends"][0] = stop
    work["start"], work["before"] = start, before
    with loop.in_one_thread():
        status = run_shares(work, loop.one, 1)
    # A share that cannot be used is left in its slot, and is not counted.
    slot = int(work["used"][0]) - (status == OK)
    work["in_batch"] += stop - start
    return int(status), ShareSums(
        stop - start,
        arrays["gradients"][:, slot],
        arrays["slot_terms"][:, slot],
        arrays["statuses"][:, slot],
        arrays["reports"][:, slot, 0],
    )


@dataclass(frozen=True)
class Refusal:
    """Why a share cannot be used: its number, a status, and the row in it, or -1 for none."""

    status: int
    share: int = -1
    row: int = -1


def take_shares(loop: WindowLoop, shares: Sequence[ShareSums]) -> Refusal | None:
    """Take shares, in this order, for the next parts of the batch at hand."""
    work, arrays, done = loop.work, loop.scratch, 0
    while done < len(shares):
        room = int(make_room(work, loop.one))
        taken, used = shares[done : done + room], int(work["used"][0])
        arrays["lane_ends"][: len(taken)] = np.cumsum([each.rows for each in taken])
        for slot, each in enumerate(taken, used):
            arrays["gradients"][:, slot] = each.gradients
            arrays["slot_terms"][:, slot] = each.terms
            arrays["statuses"][:, slot] = each.statuses
            arrays["reports"][:, slot, 0] = each.bad_rows
        work["shares"], work["first_share"], work["start"] = len(taken), 0, 0
        status, share, row = keep_shares(work, loop.one)
        if status != OK:
            return Refusal(int(status), done + int(share), int(row))
        work["in_batch"] += sum(each.rows for each in taken)
        done += len(taken)
    return None


def end_step(loop: WindowLoop) -> Refusal | None:
    """Take the step of the batch whose shares were all taken."""
    status = int(end_lane_step(loop.work, loop.one))
    return None if status == OK else Refusal(status)


def share_kernels(dtype: np.dtype) -> list[Compilation]:
    """Return the compilations that shares need which are worked off apart."""
    work, one = np.zeros(1, WORK), np.dtype(dtype).type(1)
    given = ((run_shares, (1,)), (make_room, ()), (keep_shares, ()), (end_lane_step, ()))
    return [kernel_for(function, work, one, *more) for function, more in given]
