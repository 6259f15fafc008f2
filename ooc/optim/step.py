"""One step of any optimizer, called by its address: another optimizer compiles only itself."""

from functools import cache
from typing import Any

import numpy as np
from numba import types

from ooc.core.compiler import by_address, small_kernel
from ooc.optim import average
from ooc.optim.penalties import prepare
from ooc.optim.settings import AHEAD, AVERAGE, DECAY, L2, Piece

_REALS = {"float32": types.float32, "float64": types.float64}


def real_of(dtype: Any) -> Any:
    """Return Numba's type of parameters of this dtype, float32 or float64."""
    return _REALS[np.dtype(dtype).name]


@cache
def update_of(real: Any) -> Any:
    """Return the signature of an update, see `ooc.optim.optimizers`."""
    numbers, place = types.float64[::1], types.int64
    arrays = [real[::1], numbers, types.boolean[::1], types.float64[:, ::1]]
    piece = types.NamedTuple([*arrays, place], Piece)
    return place(piece, numbers, types.float64, place)


call_update = by_address(lambda given: update_of(given[0][0].dtype))


@small_kernel
def step_piece(
    update: int,
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    rate: float,
    step: int,
    penalised: np.ndarray,
    first: int,
    scale: float,
) -> None:
    """Take a step with a piece of the parameters, see `ooc.optim.settings.Piece`.

    `state` and `penalised` are those of the whole vector; `scale` is what the gradient is
    multiplied with, see `clip_scale`.
    """
    mask = penalised[first : first + parameters.size]
    piece = Piece(parameters, gradient, mask, state, first)
    kept, keeps = 1.0 - rate * settings[DECAY], settings[AVERAGE]
    # Without an average it is a view of nothing that is asked for.
    ahead = state[np.int64(settings[AHEAD]) if keeps > 0 else 0 :, first:]
    if keeps > 0:
        average.begin(parameters, ahead)
    if scale != 1.0 or settings[L2] > 0 or kept != 1.0:
        prepare(piece, scale, settings[L2], kept)
    call_update(update, (piece, settings, rate, step))
    if keeps > 0:
        average.end(parameters, ahead, keeps, step)
