"""Shares of a batch: gathered into a thread's scratch, and handed to the model by its address."""

import numpy as np

from ooc.core.compiler import array_at, view_at
from ooc.kernels import work as record
from ooc.kernels.counters import OK
from ooc.kernels.dropout import step_seed
from ooc.kernels.share import (
    Numbers,
    Output,
    Share,
    Standard,
    Taken,
    call_accumulate,
    call_gather,
    call_gather_integers,
)


def run_share(
    work: np.ndarray,
    one: np.floating,
    thread: int,
    start: int,
    count: int,
    filled: int,
    slot: int,
    before: int,
    is_whole: bool,
) -> int:
    """Gather rows for a share and, if that makes it whole, let the models fill its slot.

    Parameters
    ----------
    thread
        Whose scratch is used.
    start, count, filled
        Rows ``order[start : start + count]`` come after `filled` others.
    slot, before
        Where it goes, and how many rows of the batch come before its own.
    is_whole
        Whether no more rows come.
    """
    w, integer, real = work[0], np.int64(0), np.float64(0)
    first, rows, width = thread * w.most_rows, filled + count, w.weights_width
    features = array_at(
        w.features + first * w.features_width * w.item, (rows, w.features_width), one
    )
    targets = array_at(w.targets + first * w.targets_width * w.item, (rows, w.targets_width), one)
    further = array_at(w.further + first * w.further_width * w.item, (rows, w.further_width), one)
    weights = array_at(w.weights + first * width * w.item, (rows, width), one)
    numbers = array_at(w.numbers + first * w.numbers_width * 8, (rows, w.numbers_width), integer)
    order = array_at(w.order, (w.rows,), np.int32(0))
    standard = Standard(
        array_at(w.shift, (w.shift_count,), real),
        array_at(w.low, (w.shift_count,), one),
        array_at(w.factor, (w.factor_count,), one),
    )
    of_targets = Standard(
        array_at(w.target_shift, (w.target_shift_count,), real),
        array_at(w.target_low, (w.target_shift_count,), one),
        array_at(w.target_factor, (w.target_factor_count,), one),
    )
    plain = Standard(array_at(0, (0,), real), array_at(0, (0,), one), array_at(w.ones, (1,), one))
    arrays = array_at(w.arrays, (w.array_count, 6), integer)
    for number in range(w.array_count):
        gather, source = arrays[number, record.GATHER], arrays[number, record.SOURCE]
        values, column = arrays[number, record.VALUES], arrays[number, record.COLUMN]
        place = arrays[number, record.PLACE]
        taken = Taken(order, start, count, values, arrays[number, record.STEP], filled, column)
        if place == record.INTEGERS:
            call_gather_integers(gather, (source, taken, numbers))
            continue
        tile, moved = weights, plain
        if place == record.FEATURES:
            tile, moved = features, standard
        elif place == record.TARGETS:
            tile, moved = targets, of_targets
        elif place == record.FURTHER:
            tile = further
        call_gather(gather, (source, taken, moved, tile))
    if not is_whole:
        return OK
    turns = array_at(w.turns, (w.cycle, 3), integer)
    share = Share(
        features,
        targets,
        further,
        view_at(weights, 0, (rows * w.weights_width,)),
        numbers,
        int(np.int64(before)),
        w.step,
        int(step_seed(np.uint64(w.run_key), w.step)) if w.seed < 0 else int(w.seed),
        turns[w.step % w.cycle, record.OF_PHASE],
    )
    own = array_at(w.own + thread * w.own_size * w.item, (w.own_size,), one)
    said = Numbers(
        array_at(w.reals, (w.real_count,), real), array_at(w.integers, (w.integer_count,), integer)
    )
    active = array_at(w.active, (w.models,), np.bool_(True))
    statuses = array_at(w.statuses, (w.models, w.slots), integer)
    for m in range(w.models):
        if active[m]:
            place = m * w.slots + slot
            output = Output(
                array_at(w.gradients + place * w.gradient_size * w.item, (w.gradient_size,), one),
                array_at(w.slot_terms + place * w.terms * 8, (w.terms,), real),
                array_at(w.touched + place * w.capacity * 8, (w.capacity,), integer),
                array_at(w.reports + place * 16, (2,), integer),
            )
            parameters = array_at(w.parameters + m * w.size * w.item, (w.size,), one)
            given = (share, parameters, said, own, output)
            statuses[m, slot] = call_accumulate(w.accumulate, given)
    return OK


def run_share_at(work: np.ndarray, one: np.floating, thread: int, number: int) -> int:
    """Work off one of the shares at hand, in a thread's scratch."""
    w = work[0]
    start = w.start + number * w.share_rows
    count = min(w.share_rows, w.stop - start)
    slot, before = w.slot + number, w.before + number * w.share_rows
    given = (work, one, thread, start, count, np.int64(0), slot, before, True)
    return record.call_run_share(w.run_share, given)
