"""Gradients of batches, added up to batches of many sizes at once, with running means and spreads.

Each batch size is a level, made of the full batches of a smaller one that divides it; the first
is made of the batches that come. All sums are float64 and have a fixed order.
"""

import numpy as np

from ooc.core.compiler import exact_kernel, kernel
from ooc.optim.settings import FIRST, SECOND, Piece

# Columns of the levels: rows of a batch, the level that it is made of (-1: none), rows in the batch
# at hand, and full batches so far.
SIZE, SOURCE, FILLED, BATCHES = range(4)
# Columns of the sums: squared distances from the mean so far, their squares, and squared norms.
SPREAD, SPREAD_SQUARED, SQUARED_NORM = range(3)
# A level's entries in the rest of the state, beside its vectors: those of levels and of sums.
ENTRIES = 7


def note_gradient(piece: Piece, settings: np.ndarray, rate: float, step: int) -> int:
    """Note the summed gradient of a batch, in place of a step with it.

    Parameters
    ----------
    piece
        All of the gradient, (P,): the loop that calls cuts no pieces. State, (rows, P): for each
        of L levels a vector of sums over the batch at hand, then one of means; a vector of sums
        over all rows; and, in the rest, what `levels_and_sums` returns.
    settings
        ``settings[FIRST]`` is L; ``settings[SECOND]`` is above 0 where the batch is the shorter
        rest of an epoch, which completes nothing.
    """
    state, gradient, count = piece.state, piece.gradient, np.int64(settings[FIRST])
    rest = state[2 * count + 1 :].reshape((state.shape[0] - 2 * count - 1) * state.shape[1])
    levels = rest[: 4 * count].reshape((count, 4))
    sums = rest[4 * count : ENTRIES * count].reshape((count, 3))
    partial, means, total = state[:count], state[count : 2 * count], state[2 * count]
    for j in range(gradient.size):
        partial[0, j] += gradient[j]
    if settings[SECOND] <= 0:
        levels[0, FILLED] = levels[0, SIZE]
        complete(levels, partial, means, sums, total)
    return 0


def levels_and_sums(state: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return views of a state: (L, 4) levels, see `SIZE`, and (L, 3) sums, see `SPREAD`."""
    rest = state[2 * count + 1 :].reshape(-1)
    levels = rest[: 4 * count].reshape((count, 4))
    return levels, rest[4 * count : ENTRIES * count].reshape((count, 3))


def state_rows(count: int, parameters: int) -> int:
    """Return the vectors of a state of so many levels."""
    return 2 * count + 1 + -(-ENTRIES * count // parameters)


@exact_kernel
def complete(
    levels: np.ndarray, partial: np.ndarray, means: np.ndarray, sums: np.ndarray, total: np.ndarray
) -> None:
    """Close a batch of the first level, and every larger one that it completes.

    `levels` (L, 4) and `sums` (L, 3) are those of `levels_and_sums`, sizes ascending; `partial` and
    `means` (L, P) and `total` (P,) are the vectors of the state, see `note_gradient`.
    """
    for j in range(total.size):
        total[j] += partial[0, j]
    for i in range(len(levels)):
        source = np.int64(levels[i, SOURCE])
        if source >= 0:
            # Only a level that was completed just now has all its rows.
            if levels[source, FILLED] != levels[source, SIZE]:
                continue
            for j in range(total.size):
                partial[i, j] += partial[source, j]
            levels[i, FILLED] += levels[source, SIZE]
        if levels[i, FILLED] == levels[i, SIZE]:
            levels[i, BATCHES] += 1
            spread, norm = move_mean(partial[i], levels[i, SIZE], means[i], levels[i, BATCHES])
            sums[i, SPREAD] += spread
            sums[i, SPREAD_SQUARED] += spread * spread
            sums[i, SQUARED_NORM] += norm
    for i in range(len(levels)):
        if levels[i, FILLED] == levels[i, SIZE]:
            partial[i] = 0.0
            levels[i, FILLED] = 0


@kernel
def move_mean(partial: np.ndarray, size: int, mean: np.ndarray, count: int) -> tuple[float, float]:
    """Move the mean on to `count` batches (Welford 1962); return what it adds, and ``|g|^2``.

    The terms are (n-1)/n |g - mean of those before|^2. Their mean is the variance, and for
    independent batches they are uncorrelated, so that their own spread gives its error.

    Examples
    --------
    >>> mean = np.array([1.0])
    >>> move_mean(np.array([6.0]), 2, mean, 2), mean
    ((2.0, 9.0), array([2.]))
    """
    spread, norm = 0.0, 0.0
    for j in range(mean.size):
        value = partial[j] / size
        difference = value - mean[j]
        mean[j] += difference / count
        spread += difference * (value - mean[j])
        norm += value * value
    return spread, norm
