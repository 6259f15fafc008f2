"""A worker's answers to steps in compiled code, as long as nothing else is asked for.

It never holds the interpreter's lock. What is anything else is left where it is, for those who
know: a message in msgpack, a share of a window that is not at hand, a line that is gone.
"""

import numpy as np

from ooc.cluster.line import BUFFER, DESCRIPTOR
from ooc.cluster.line_kernels import (
    ANSWER,
    CAN_READ,
    CAN_WRITE,
    LOOK,
    NO_SIGNAL,
    PLACE,
    POLL,
    PREFIX,
    QUESTION,
    SEND,
    SHARE,
    STEP_BIT,
    call_poll,
    call_transfer,
    copy_bytes,
    drop,
    fill_up,
    receive,
    share_bytes,
    step_bytes,
)
from ooc.core.compiler import array_at, lean_kernel
from ooc.kernels.counters import OK
from ooc.kernels.lane_loop import run_shares
from ooc.kernels.share import BAD

# Columns of a worker's lanes: the address of the lane's record (0: none is open), and the epoch and
# window whose rows are bound to it.
WORK, EPOCH, WINDOW = range(3)
# How often a line is looked at that is ready, and gives nothing.
_MOST_TRIES = 1000


@lean_kernel
def answer_steps(calls, line, lanes, template, answer, counted, one):  # type: ignore[no-untyped-def]
    """Answer questions for what comes of shares, until something else is asked for.

    Parameters
    ----------
    calls, line
        int64, see the names of their places in `ooc.cluster.line` and `ooc.cluster.line_kernels`.
    lanes
        (lanes, 3) int64; all have one parameter vector.
    template
        A record of work, of which nothing is read.
    answer
        Bytes, to work with.
    counted
        (1,) int64: questions that were answered, to be added to.
    one
        A parameter.
    """
    waiting = 0
    polled = array_at(calls[PLACE], (2,), np.int64(0))
    while True:
        whole = step_bytes(line)
        if whole < 0:
            return
        if whole == 0:
            polled[0] = line[DESCRIPTOR] | (CAN_READ << 32)
            if call_poll(calls[POLL], (calls[PLACE], np.int64(1), np.int64(LOOK))) <= 0:
                return
            waiting += 1
            # One that is ready, and gives nothing again and again, is for others to look at.
            if waiting > _MOST_TRIES or receive(calls, line) == 0:
                return
            continue
        waiting = 0
        size = _answer(line, whole, lanes, template, answer, one)
        if size == 0:
            return
        drop(line, whole)
        sent = 0
        while sent < size:
            count = call_transfer(
                calls[SEND],
                (line[DESCRIPTOR], answer.ctypes.data + sent, size - sent, np.int64(NO_SIGNAL)),
            )
            if count < 0:
                polled[0] = line[DESCRIPTOR] | (CAN_WRITE << 32)
                call_poll(calls[POLL], (calls[PLACE], np.int64(1), np.int64(LOOK)))
                if (polled[0] >> 48) & ~CAN_WRITE:
                    return  # it is gone, which the next to look will see
                continue
            sent += count
        counted[0] += 1


@lean_kernel
def _answer(line, whole, lanes, template, answer, one):  # type: ignore[no-untyped-def]
    """Work off the shares of a question, and write the answer; return its bytes, 0 if it cannot."""
    question = line[BUFFER] + PREFIX
    step = array_at(question, (2,), np.int64(0))
    counts = array_at(question + 16, (2,), np.int32(0))
    models, count = np.int64(counts[0]), np.int64(counts[1])
    if models <= 0 or count <= 0 or whole < PREFIX + QUESTION + SHARE * count + fill_up(models):
        return np.int64(0)
    shares = array_at(question + QUESTION, (count, 6), np.int32(0))
    for number in range(count):
        lane = shares[number, 0]
        if lane < 0 or lane >= len(lanes) or lanes[lane, WORK] == 0:
            return np.int64(0)
        work = array_at(lanes[lane, WORK], (1,), template[0])
        w = work[0]
        start, stop = shares[number, 3], shares[number, 4]
        if (
            lanes[lane, EPOCH] != shares[number, 1]
            or lanes[lane, WINDOW] != shares[number, 2]
            or w.models != models
            or w.batch_size != step[1]
            or not 0 <= start < stop <= w.rows
        ):
            return np.int64(0)
    work = array_at(lanes[shares[0, 0], WORK], (1,), template[0])
    w = work[0]
    active = question + QUESTION + SHARE * count
    parameters, vector = active + fill_up(models), models * w.size * w.item
    per_share = share_bytes(w)
    size = PREFIX + ANSWER + count * per_share
    if parameters + vector != line[BUFFER] + whole or size > len(answer):
        return np.int64(0)
    copy_bytes(parameters, w.parameters, vector)
    at = np.int64(answer.ctypes.data)
    head = array_at(at, (4,), np.int64(0))
    head[0] = STEP_BIT | (size - PREFIX)
    counts = array_at(at + PREFIX, (2,), np.int32(0))
    counts[0], counts[1] = count, models
    head[2], head[3] = w.terms, w.gradient_size * w.item
    at += PREFIX + ANSWER
    for number in range(count):
        work = array_at(lanes[shares[number, 0], WORK], (1,), template[0])
        copy_bytes(active, work[0].active, models)
        _run(work, step[0], shares[number], one)
        _write_sums(work, shares[number, 4] - shares[number, 3], at, one)
        at += per_share
    return size


@lean_kernel
def _run(work, step, share, one):  # type: ignore[no-untyped-def]
    """Work off a share as the only one of its batch; its slot is the one that is told of."""
    w = work[0]
    w.in_batch, w.used, w.folded, w.even_rows, w.step = 0, 0, 0, 0, step
    array_at(w.lane_ends, (w.lanes,), np.int64(0))[0] = share[4]
    w.start, w.before = share[3], share[5]
    status = run_shares(work, one, 1)
    w.slot = w.used - (status == OK)
    w.in_batch += share[4] - share[3]


@lean_kernel
def _write_sums(work, rows, at, one):  # type: ignore[no-untyped-def]
    """Write what came of a share to an address, as an answer has it."""
    w = work[0]
    terms = array_at(w.slot_terms, (w.models, w.slots, w.terms), np.float64(0))
    statuses = array_at(w.statuses, (w.models, w.slots), np.int64(0))
    reports = array_at(w.reports, (w.models, w.slots, 2), np.int64(0))
    told = array_at(at, (w.models, w.terms), np.float64(0))
    numbers = array_at(at + 8 * w.models * w.terms, (2 + 2 * w.models,), np.int32(0))
    numbers[0], numbers[1] = rows, 0
    to = at + 8 * w.models * w.terms + 8 * (1 + w.models)
    size = w.gradient_size * w.item
    for m in range(w.models):
        for k in range(w.terms):
            told[m, k] = terms[m, w.slot, k]
        numbers[2 + m] = statuses[m, w.slot]
        numbers[2 + w.models + m] = reports[m, w.slot, BAD]
        copy_bytes(w.gradients + (m * w.slots + w.slot) * size, to + m * size, size)
