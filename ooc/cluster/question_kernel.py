"""A client's steps over lines in compiled code: questions, answers, and steps taken with them.

It never holds the interpreter's lock, and goes on as long as nothing but answers comes.
"""

import numpy as np

from ooc.cluster.line import BUFFER, DESCRIPTOR
from ooc.cluster.line_kernels import (
    ANSWER,
    CAN_READ,
    CAN_WRITE,
    CLOCK,
    LOOK,
    NO_SIGNAL,
    PLACE,
    POLL,
    PREFIX,
    QUESTION,
    SEND,
    SHARE,
    STEP_BIT,
    call_clock,
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
from ooc.kernels.lane_loop import end_lane_step, keep_shares, make_room
from ooc.kernels.share import BAD

# Columns of a client's questions: bytes of the question's head and of the whole question, 0 where
# none is asked; bytes that were sent; and whether the answer is there.
HEAD, WHOLE, SENT, STANDS = range(4)
# Where a question stands: it is waited for, was answered, or cannot be here.
WAITED, ANSWERED, LEFT = range(3)
# Places of a client's numbers: the window's epoch and index, whether the last, shorter batch is
# taken at its end, the last step; parts of batches that were taken, whether the next one's
# questions stand, rows of the batch at hand; what a refusal says: the lane, its status and the row;
# bytes sent and received, and nanoseconds of waiting.
(OF_EPOCH, OF_WINDOW, FLUSH, LAST_STEP, TAKEN, IS_ASKED, IN_BATCH, LANE, STATUS, ROW) = range(10)
BYTES_SENT, BYTES_RECEIVED, WAITED_FOR = range(10, 13)
NUMBERS = 13
# Why a client's steps end: all parts of batches were taken, or the last step; a signal came, or
# nothing for a while; a question is left; a share was refused; a loss is not finite.
DONE, INTERRUPTED, BROKEN, REFUSED, DIVERGED = range(5)
# More of a message comes: a flag of send(2) of Linux; and its clock that only goes on.
_MORE, _MONOTONIC = 0x8000, 1


@lean_kernel
def take_common_steps(calls, lines, served, spans, heads, asked, numbers, work, one):  # type: ignore[no-untyped-def]
    """Take steps with what comes of shares that workers serve; return why that ends.

    Where a question is left, its batch has no part of what others answered: it is asked again.

    Parameters
    ----------
    calls
        int64, see the names of their places in `ooc.cluster.line_kernels`.
    lines
        (workers,) int64, addresses of the numbers of lines.
    served
        (lanes,) int64, which of them serves each lane.
    spans
        (parts + 1, lanes) int64: rows of each lane before each part of a batch, and before the end.
    heads
        (workers, room) bytes, to work with, each for a length and a question without parameters.
    asked
        (workers, 4) int64, to work with.
    numbers
        (`NUMBERS`,) int64.
    work
        The client's own record, and `one` a parameter.
    """
    w = work[0]
    while numbers[TAKEN] < len(spans) - 1 and w.step < numbers[LAST_STEP]:
        part = numbers[TAKEN]
        if not numbers[IS_ASKED]:
            _write_questions(served, spans, heads, asked, numbers, work)
            numbers[IS_ASKED] = 1
        begun = _now(calls)
        waits = _exchange(calls, lines, heads, asked, work)
        numbers[WAITED_FOR] += _now(calls) - begun
        if waits:
            return INTERRUPTED
        if not _are_answered(lines, served, spans, part, asked, work):
            _drop_answers(lines, asked, numbers)
            return BROKEN
        status = _take_answers(lines, served, spans, asked, numbers, work, one)
        _drop_answers(lines, asked, numbers)
        if status != OK:
            return REFUSED
        rows = 0
        for lane in range(len(served)):
            rows += spans[part + 1, lane] - spans[part, lane]
        numbers[IN_BATCH] += rows
        w.in_batch += rows
        numbers[TAKEN] += 1
        is_last = numbers[FLUSH] != 0 and numbers[TAKEN] == len(spans) - 1
        if numbers[IN_BATCH] == w.batch_size or is_last:
            if end_lane_step(work, one) != OK:
                return DIVERGED
            numbers[IN_BATCH] = 0
    return DONE


@lean_kernel
def _now(calls):  # type: ignore[no-untyped-def]
    """Return nanoseconds of a clock that only goes on."""
    place = calls[PLACE]
    call_clock(calls[CLOCK], (np.int64(_MONOTONIC), place))
    read = array_at(place, (2,), np.int64(0))
    return read[0] * 1_000_000_000 + read[1]


@lean_kernel
def _write_questions(served, spans, heads, asked, numbers, work):  # type: ignore[no-untyped-def]
    """Write the heads of a batch's questions, each with the shares that its worker serves."""
    w, part = work[0], numbers[TAKEN]
    for worker in range(len(asked)):
        count, before = 0, numbers[IN_BATCH]
        at = heads[worker].ctypes.data
        shares = array_at(at + PREFIX + QUESTION, (len(served), 6), np.int32(0))
        for lane in range(len(served)):
            start, stop = spans[part, lane], spans[part + 1, lane]
            if served[lane] == worker and stop > start:
                shares[count, 0] = lane
                shares[count, 1], shares[count, 2] = numbers[OF_EPOCH], numbers[OF_WINDOW]
                shares[count, 3], shares[count, 4], shares[count, 5] = start, stop, before
                count += 1
            before += stop - start
        head = PREFIX + QUESTION + SHARE * count + fill_up(w.models)
        whole = head + w.models * w.size * w.item
        words = array_at(at, (3,), np.int64(0))
        words[0], words[1], words[2] = STEP_BIT | (whole - PREFIX), w.step, w.batch_size
        counts = array_at(at + PREFIX + 16, (2,), np.int32(0))
        counts[0], counts[1] = w.models, count
        copy_bytes(w.active, at + head - fill_up(w.models), w.models)
        asked[worker, HEAD], asked[worker, SENT] = head, 0
        asked[worker, WHOLE] = whole if count else 0
        asked[worker, STANDS] = WAITED if count else ANSWERED


@lean_kernel
def _exchange(calls, lines, heads, asked, work):  # type: ignore[no-untyped-def]
    """Send questions, and receive answers; return how many are waited for still."""
    workers = len(asked)
    polled = array_at(calls[PLACE], (workers,), np.int64(0))
    for worker in range(workers):
        if asked[worker, STANDS] == WAITED:
            _send_question(calls, lines[worker], heads[worker], asked[worker], work)
    while True:
        waiting = 0
        for worker in range(workers):
            line = array_at(lines[worker], (4,), np.int64(0))
            polled[worker] = np.int64(0xFFFFFFFF)  # which is -1: nothing is asked of it
            if asked[worker, STANDS] == WAITED:
                is_sent = asked[worker, SENT] == asked[worker, WHOLE]
                events = CAN_READ if is_sent else CAN_READ | CAN_WRITE
                polled[worker] = line[DESCRIPTOR] | (events << 32)
                waiting += 1
        if waiting == 0:
            return waiting
        place = calls[PLACE]
        if call_poll(calls[POLL], (place, np.int64(workers), np.int64(LOOK))) <= 0:
            return waiting
        for worker in range(workers):
            came = polled[worker] >> 48
            if asked[worker, STANDS] != WAITED or came == 0:
                continue
            if came & CAN_WRITE:
                _send_question(calls, lines[worker], heads[worker], asked[worker], work)
            if came & ~CAN_WRITE:
                line = array_at(lines[worker], (4,), np.int64(0))
                count = receive(calls, line)
                is_gone = count == 0 or (count < 0 and came & ~(CAN_READ | CAN_WRITE))
                whole = step_bytes(line)
                if whole > 0 and asked[worker, SENT] == asked[worker, WHOLE]:
                    asked[worker, STANDS] = ANSWERED
                elif whole != 0 or is_gone:
                    asked[worker, STANDS] = LEFT


@lean_kernel
def _send_question(calls, address, head, asked, work):  # type: ignore[no-untyped-def]
    """Send what goes of the rest of a question."""
    w, line = work[0], array_at(address, (4,), np.int64(0))
    while asked[SENT] < asked[WHOLE]:
        is_head = asked[SENT] < asked[HEAD]
        source = head.ctypes.data if is_head else w.parameters - asked[HEAD]
        left = (asked[HEAD] if is_head else asked[WHOLE]) - asked[SENT]
        flags = NO_SIGNAL | _MORE if is_head else NO_SIGNAL
        count = call_transfer(
            calls[SEND], (line[DESCRIPTOR], source + asked[SENT], left, np.int64(flags))
        )
        # One that is gone says so where its answer is waited for.
        if count <= 0:
            return
        asked[SENT] += count


@lean_kernel
def _are_answered(lines, served, spans, part, asked, work):  # type: ignore[no-untyped-def]
    """Tell whether all answers are there, and of the shares that were asked for."""
    w = work[0]
    gradients, per_share = w.gradient_size * w.item, share_bytes(w)
    for worker in range(len(asked)):
        if asked[worker, WHOLE] == 0:
            continue
        if asked[worker, STANDS] != ANSWERED:
            return False
        count = 0
        for lane in range(len(served)):
            count += served[lane] == worker and spans[part + 1, lane] > spans[part, lane]
        line = array_at(lines[worker], (4,), np.int64(0))
        words = array_at(line[BUFFER], (4,), np.int64(0))
        counts = array_at(line[BUFFER] + PREFIX, (2,), np.int32(0))
        if (
            step_bytes(line) != PREFIX + ANSWER + count * per_share
            or counts[0] != count
            or counts[1] != w.models
            or words[2] != w.terms
            or words[3] != gradients
        ):
            asked[worker, STANDS] = LEFT
            return False
    return True


@lean_kernel
def _take_answers(lines, served, spans, asked, numbers, work, one):  # type: ignore[no-untyped-def]
    """Take shares, in the order of their lanes, for the next parts of the batch at hand."""
    w, part, size = work[0], numbers[TAKEN], work[0].gradient_size * work[0].item
    per_share = share_bytes(w)
    statuses = array_at(w.statuses, (w.models, w.slots), np.int64(0))
    reports = array_at(w.reports, (w.models, w.slots, 2), np.int64(0))
    terms = array_at(w.slot_terms, (w.models, w.slots, w.terms), np.float64(0))
    ends = array_at(w.lane_ends, (w.lanes,), np.int64(0))
    for worker in range(len(asked)):
        asked[worker, SENT] = PREFIX + ANSWER
    for lane in range(len(served)):
        rows = spans[part + 1, lane] - spans[part, lane]
        if rows == 0:
            continue
        worker = served[lane]
        at = array_at(lines[worker], (4,), np.int64(0))[BUFFER] + asked[worker, SENT]
        asked[worker, SENT] += per_share
        make_room(work, one)
        told = array_at(at, (w.models, w.terms), np.float64(0))
        told_numbers = array_at(at + 8 * w.models * w.terms, (2 + 2 * w.models,), np.int32(0))
        source = at + 8 * w.models * w.terms + 8 * (1 + w.models)
        for m in range(w.models):
            for k in range(w.terms):
                terms[m, w.used, k] = told[m, k]
            statuses[m, w.used] = told_numbers[2 + m]
            reports[m, w.used, BAD] = told_numbers[2 + w.models + m]
            copy_bytes(source + m * size, w.gradients + (m * w.slots + w.used) * size, size)
        ends[0], w.shares, w.first_share, w.start = rows, 1, 0, 0
        status, _, row = keep_shares(work, one)
        if status != OK:
            numbers[LANE], numbers[STATUS], numbers[ROW] = lane, status, row
            return status
    return OK


@lean_kernel
def _drop_answers(lines, asked, numbers):  # type: ignore[no-untyped-def]
    """Take the answers that are there out of their buffers; the next batch asks anew."""
    numbers[IS_ASKED] = 0
    for worker in range(len(asked)):
        if asked[worker, WHOLE] and asked[worker, STANDS] == ANSWERED:
            line = array_at(lines[worker], (4,), np.int64(0))
            whole = step_bytes(line)
            numbers[BYTES_SENT] += asked[worker, WHOLE]
            numbers[BYTES_RECEIVED] += whole
            drop(line, whole)
