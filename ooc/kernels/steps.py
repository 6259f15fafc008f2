"""From the gradients of a batch's shares to a step: added up in order, piece by piece.

Shares of even number are added up apart from those of odd number: both are gradients of the same
mean over other rows, and tell signal from noise. Where a batch has more shares than slots, they are
folded into sums. Every sum is float64, and its order depends on the batch and the model alone.
"""

import math

import numpy as np

from ooc.core.compiler import array_at, lean_kernel
from ooc.kernels import counters
from ooc.kernels import work as record
from ooc.optim.penalties import clip_scale
from ooc.optim.settings import CLIP, SETTINGS, rate_at
from ooc.optim.step import step_piece


def fold(work: np.ndarray, one: np.floating) -> int:
    """Add the slots to the sums of every active model, in their order, and free them."""
    w, real = work[0], np.float64(0)
    terms = array_at(w.slot_terms, (w.models, w.slots, w.terms), real)
    term_sums = array_at(w.term_sums, (w.models, w.terms), real)
    active = array_at(w.active, (w.models,), np.bool_(True))
    for m in range(w.models):
        if active[m]:
            for slot in range(w.used):
                number, place = w.folded + slot, (m * w.slots + slot) * w.gradient_size
                half = array_at(w.sums + 8 * (2 * m + number % 2) * w.size, (w.size,), real)
                gradient = array_at(w.gradients + place * w.item, (w.size,), one)
                for i in range(w.size):
                    half[i] = (half[i] if number > 1 else 0.0) + gradient[i]
                for k in range(w.terms):
                    before = term_sums[m, k] if number > 0 else 0.0
                    term_sums[m, k] = before + terms[m, slot, k]
    w.folded += w.used
    w.used = 0
    return counters.OK


@lean_kernel
def note_halves(one: np.ndarray, other: np.ndarray, note: np.ndarray) -> None:
    """Set the product of the halves of a piece, and the square of each.

    There are three sums of each kind in a fixed order, so that an addition need not wait for the
    one before.
    """
    dots, ones, others = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    whole = one.size // 3 * 3
    for i in range(0, whole, 3):
        a, b, c = one[i], one[i + 1], one[i + 2]
        x, y, z = other[i], other[i + 1], other[i + 2]
        dots = (dots[0] + a * x, dots[1] + b * y, dots[2] + c * z)
        ones = (ones[0] + a * a, ones[1] + b * b, ones[2] + c * c)
        others = (others[0] + x * x, others[1] + y * y, others[2] + z * z)
    note[record.DOT] = dots[0] + dots[1] + dots[2]
    note[record.ONE] = ones[0] + ones[1] + ones[2]
    note[record.OTHER] = others[0] + others[1] + others[2]
    for i in range(whole, one.size):
        note[record.DOT] += one[i] * other[i]
        note[record.ONE] += one[i] * one[i]
        note[record.OTHER] += other[i] * other[i]


def run_piece(work: np.ndarray, one: np.floating, thread: int, piece: int) -> int:
    """Add up a piece of a model's gradient, take the optimizer's step with it, or do both.

    Nothing is done for a piece of another phase than the one whose turn it is.
    """
    w, real = work[0], np.float64(0)
    pieces = array_at(w.pieces, (w.piece_count, 3), np.int64(0))
    start, stop = pieces[piece, record.START], pieces[piece, record.STOP]
    m, phase, size = w.model, w.turn, stop - start
    if pieces[piece, record.PHASE] != phase:
        return counters.OK
    gradient = array_at(w.gradient + 8 * start, (size,), real)
    parameters = array_at(w.parameters + (m * w.size + start) * w.item, (size,), one)
    if w.adds != 0:
        halves = w.halves + 16 * thread * w.longest
        first = array_at(halves, (size,), real)
        second = array_at(halves + 8 * w.longest, (size,), real)
        for half in range(2):
            folded = array_at(w.sums + 8 * ((2 * m + half) * w.size + start), (size,), real)
            total = first if half == 0 else second
            for i in range(size):
                total[i] = folded[i] if w.folded > half else 0.0
        for slot in range(w.used):
            place = (m * w.slots + slot) * w.gradient_size + start
            share = array_at(w.gradients + place * w.item, (size,), one)
            total = first if (w.folded + slot) % 2 == 0 else second
            for i in range(size):
                total[i] += share[i]
        note = array_at(w.notes + 32 * piece, (4,), real)
        if w.folded + w.used > 1:
            note_halves(first, second, note)
        factor = 1.0 / w.in_batch if w.mean != 0 else 1.0
        decay, penalty, bad = array_at(w.decay, (w.piece_count,), real)[piece], 0.0, 0
        for i in range(size):
            value = (first[i] + second[i]) * factor
            gradient[i] = value
            # A product with 0 is not 0 where anything is not finite; counts need no order.
            bad += value * 0.0 != 0.0
        if decay > 0:
            weight = decay if w.mean != 0 else decay * w.in_batch
            for i in range(size):
                value = np.float64(parameters[i])
                gradient[i] += weight * value
                penalty += value * value
        note[record.PENALTY] = 0.5 * decay * penalty if bad == 0 else math.nan
    if w.moves != 0:
        step_with(work, start, parameters, gradient)
    return counters.OK


@lean_kernel
def step_with(work: np.ndarray, first: int, parameters: np.ndarray, gradient: np.ndarray) -> None:
    """Take the optimizer's step with parameters that begin at `first` in the whole vector."""
    w, real = work[0], np.float64(0)
    m, phase = w.model, w.turn
    step_piece(
        array_at(w.updates, (w.models, w.phases), np.int64(0))[m, phase],
        parameters,
        gradient,
        array_at(w.state + 8 * m * w.state_rows * w.size, (w.state_rows, w.size), real),
        array_at(w.settings + 8 * (m * w.phases + phase) * SETTINGS, (SETTINGS,), real),
        w.rate,
        w.own_step,
        array_at(w.penalised, (w.size,), np.bool_(True)),
        first,
        w.scale,
    )


def take_steps(work: np.ndarray, one: np.floating) -> int:
    """Take the step of every active model; one that is not finite is left behind by others."""
    w, real = work[0], np.float64(0)
    turn = array_at(w.turns + 24 * (w.step % w.cycle), (3,), np.int64(0))
    w.turn = turn[record.OF_PHASE]
    w.own_step = w.step // w.cycle * turn[record.EACH] + turn[record.BEFORE]
    gradient = array_at(w.gradient, (w.gradient_count,), real)
    notes = array_at(w.notes, (w.piece_count, 4), real)
    active = array_at(w.active, (w.models,), np.bool_(True))
    status, going_on = counters.OK, False
    for m in range(w.models):
        if not active[m]:
            continue
        own = array_at(w.settings + 8 * (m * w.phases + w.turn) * SETTINGS, (SETTINGS,), real)
        w.model, w.rate, w.scale, w.touched_count = m, rate_at(own, w.own_step), 1.0, 0
        for piece in range(w.piece_count):
            for k in range(4):
                notes[piece, k] = 0.0
        clips = own[CLIP] > 0
        if clips and w.phases > 1:
            for i in range(gradient.size):
                gradient[i] = 0.0
        if w.merge_touched != 0:
            w.touched_count = record.call_whole(w.merge_touched, (work, one))
        # Clipping needs all of the gradient before any step: pieces are added up, then stepped
        # with.
        w.adds, w.moves = 1, 0 if clips else 1
        w.job, w.jobs = w.run_piece, w.piece_count
        record.call_whole(w.run_jobs, (work, one))
        if clips:
            w.scale, w.adds, w.moves = clip_scale(gradient, own), 0, 1
            record.call_whole(w.run_jobs, (work, one))
        if w.touched_count > 0:
            record.call_whole(w.step_touched, (work, one))
        found = note_step(work, notes)
        if found != counters.OK:
            status, active[m] = found, w.models == 1
        going_on = going_on or found == counters.OK
    return counters.OK if going_on else status


@lean_kernel
def note_step(work: np.ndarray, notes: np.ndarray) -> int:
    """Add a step's loss, terms and noise to a model's totals; tell if all is finite."""
    w, real, m = work[0], np.float64(0), work[0].model
    entries = counters.TOTALS + w.terms
    totals = array_at(w.totals + 8 * m * entries, (entries,), real)
    terms = array_at(w.slot_terms + 8 * m * w.slots * w.terms, (w.slots, w.terms), real)
    dot, one, other, loss, rows = 0.0, 0.0, 0.0, 0.0, w.in_batch
    for piece in range(w.piece_count):
        dot += notes[piece, record.DOT]
        one += notes[piece, record.ONE]
        other += notes[piece, record.OTHER]
        loss += notes[piece, record.PENALTY]
    loss *= rows
    for k in range(w.terms):
        term = 0.0
        if w.folded > 0:
            term = array_at(w.term_sums, (w.models, w.terms), real)[m, k]
        for slot in range(w.used):
            term += terms[slot, k]
        totals[counters.TOTALS + k] += term
        loss += term
    totals[counters.LOSS_SUM] += loss
    shares = w.folded + w.used
    if shares > 1 and w.piece_count > 0:
        last = rows - (shares - 1) * w.share_rows
        first = (shares + 1) // 2 * w.share_rows
        if shares % 2 == 1:
            first -= w.share_rows - last
        if w.lanes > 0:
            first = w.even_rows
        second = rows - first
        signal = dot / first / second
        noise = one / first / first - 2.0 * signal + other / second / second
        noise /= 1.0 / first + 1.0 / second
        totals[counters.HALVED] += 1.0
        totals[counters.SIGNAL] += signal
        totals[counters.SIGNAL_SQUARES] += signal * signal
        totals[counters.NOISE] += noise
        totals[counters.NOISE_SQUARES] += noise * noise
        totals[counters.SIGNAL_NOISE] += signal * noise
    return counters.OK if math.isfinite(loss) else counters.NOT_FINITE
