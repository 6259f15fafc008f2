"""All that the window loop works with, as one record of numbers, addresses and sizes.

One record in place of fifty arrays: functions of few arguments compile in a fraction of the time.
`ooc.models.loop` fills it, and owns the memory that it points to.
"""

from typing import Any

import numba
import numpy as np
from numba import types

from ooc.core.compiler import by_address

# Where an array's rows go in a share.
FEATURES, TARGETS, WEIGHTS, FURTHER, INTEGERS = range(5)
# Columns of the table of arrays, int64: address of the gather, of the first value, values of a
# row, where rows go, the column at which they begin there, and values from row to row.
GATHER, SOURCE, VALUES, PLACE, COLUMN, STEP = range(6)
# Columns of the table of pieces, int64: first parameter, the one after the last, and the phase
# that changes them.
START, STOP, PHASE = range(3)
# Columns of the table of turns, int64, one a step of the cycle: the phase, how many of its steps
# come before in the cycle, and how many a cycle has.
OF_PHASE, BEFORE, EACH = range(3)
# Entries of a piece's notes, float64: what it adds to the product of both halves' gradients, to
# the square of each, and to the loss: NaN if its gradient is not finite.
DOT, ONE, OTHER, PENALTY = range(4)

_FIELDS = """
arrays array_count order rows block_starts block_rows flush
batch_size share_rows last_step run_key seed mean
run_share run_share_at run_piece run_jobs take_steps fold merge_touched step_touched
accumulate updates turns cycle phases pieces piece_count decay
reals real_count integers integer_count shift low factor shift_count factor_count
target_shift target_low target_factor target_shift_count target_factor_count
touched_first touched_rows touched_width
models parameters size state state_rows settings penalised active totals terms
threads features features_width targets targets_width further further_width
weights weights_width numbers numbers_width own own_size
gradients gradient_size slots slot_terms touched capacity reports statuses
sums term_sums gradient gradient_count halves longest notes ids merged places place_count ones
start stop slot before shares job jobs item most_rows
step in_batch in_share used folded used_rows bad_row place
model turn own_step adds moves touched_count
lanes lane_slots block_lanes lane_order lane_ends lane_sums first_share even_rows
"""
# The window: table of its arrays, order of its rows (int32), the row of the dataset at which each
# block starts, rows of a block, and whether the epoch's last, shorter batch is taken at the end.
# How rows become batches: B, rows of a share, the number of steps at which to return, the key of
# the run's seeds or one seed for all steps (else -1), and whether a step is told a mean or a sum.
# What is called by address: parts of the loop, the model's `accumulate`, and (M, phases) updates.
# What the model declares: turns, pieces and the decay of each (float64), its own numbers, how
# features and targets come to it (see `ooc.kernels.share.Standard`), and its touched part.
# What is trained, M models on the same batches: parameters (M, P), state (M, slots, P) and
# settings (M, phases * SETTINGS), float64, penalised (P,) and active (M,), bool, and totals (M,
# TOTALS + terms), float64.
# Scratch: for each thread what a share holds, and the model's own; for each model and slot what
# came of a share: gradient, terms, touched rows, report and status; sums (M, 2, P) and (M, terms)
# of shares that had to leave their slots; the last step's gradient; for each thread both halves of
# a piece; notes (pieces, 4); rows of the dataset that wait for the rest of their share; and what
# touched rows are merged in.
# Shares at hand: rows start to stop of the order, the first slot, rows of the batch before them,
# and how many they are. Jobs at hand: the address of what does one, and how many; then bytes of a
# parameter, and rows that the scratch of a share has.
# Progress that lives as long as the run: steps taken; rows of the batch in whole shares, and in
# the share that is being filled; shares of the batch in slots, and folded before; rows of all
# batches; the row that cannot be used; and the first place of the window not used yet.
# The step at hand: its model, its phase and its number in that, whether pieces are added up, and
# whether parameters move, and how many rows of the touched part were touched; then the learning
# rate, and what the gradient is multiplied with, see `ooc.optim.penalties.clip_scale`.
# Lanes, see `ooc.kernels.lane_loop`: how many they are (0 where shares know of none), slots that
# their shares may take, the lane of each block of the window, (blocks,) int64; scratch: places of
# a batch lane by lane (int32), the end of each share (lanes,), and float64 sums (threads, M, P);
# the first share at hand, and the rows of the batch's shares of even number.
WORK = np.dtype(
    [*((name, np.int64) for name in _FIELDS.split()), ("rate", np.float64), ("scale", np.float64)]
)
WORK_TYPE = numba.from_dtype(WORK)[::1]

_I64 = types.int64


def run_share_of(real: Any) -> Any:
    """Return the signature of `ooc.kernels.shares.run_share`."""
    return _I64(WORK_TYPE, real, _I64, _I64, _I64, _I64, _I64, _I64, types.boolean)


def job_of(real: Any) -> Any:
    """Return the signature of a job of thread and number, as `ooc.kernels.steps.run_piece` is."""
    return _I64(WORK_TYPE, real, _I64, _I64)


def whole_of(real: Any) -> Any:
    """Return the signature of all other parts: the record says what they need to know."""
    return _I64(WORK_TYPE, real)


call_run_share = by_address(lambda given: run_share_of(given[1]))
call_job = by_address(lambda given: job_of(given[1]))
call_whole = by_address(lambda given: whole_of(given[1]))
