"""Channels that stand still, and what is put in their place before a network sees them.

A network that is shown a frozen channel expects the others wrongly, and it is blind to them as long
as that lasts. What it would expect of the channel, given the others, takes the place of what it
reads: it is looked for by putting in what is expected a few times over.
"""

import numpy as np

from pipelines.beam_current.residuals import Expectation

STILL = 0.02  # of the middle channel's mean square step
PASSES = 2


def steps_of(windows: np.ndarray) -> np.ndarray:
    """Return the mean square of each channel's steps from time to time, (windows, channels)."""
    found: np.ndarray = np.square(np.diff(windows, axis=1)).mean(axis=1)
    return found


def is_still(steps: np.ndarray) -> np.ndarray:
    """Return which channels of a window hardly move beside the others, (windows, channels) bool.

    Examples
    --------
    >>> is_still(np.array([[1.0, 0.9, 0.0], [0.0, 0.0, 0.0]]))
    array([[False, False,  True],
           [False, False, False]])
    """
    found: np.ndarray = steps < STILL * np.median(steps, axis=1, keepdims=True)
    return found


def held(still: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which channels are to be filled in, (windows, channels), and what stood last.

    A channel moves again somewhere in the window after those in which it stood. A window of which
    no channel is left is taken as it is.

    Examples
    --------
    >>> held(np.array([[True, False], [False, False], [False, False]]), np.array([False, False]))[0]
    array([[ True, False],
           [ True, False],
           [False, False]])
    """
    found = still | np.concatenate([before[None], still[:-1]])
    return found & ~found.all(axis=1, keepdims=True), still[-1].copy()


def fill(
    expectation: Expectation, windows: np.ndarray, still: np.ndarray, relative: np.ndarray
) -> np.ndarray:
    """Return windows (windows, times, channels) with expected readings for channels that stand.

    Parameters
    ----------
    still
        (windows, channels) bool, not all channels of any window.
    relative
        (channels,) what each channel was relative to the mean when it was last known.
    """
    some = np.flatnonzero(still.any(axis=1))
    own, which = windows[some].astype(np.float32), still[some][:, None, :]
    usual = (expectation.gains * (1 + relative)).astype(np.float32)
    good = (~which / (~which).sum(axis=2, keepdims=True)).astype(np.float32)
    common = (own / usual * good).sum(axis=2, keepdims=True)
    own = np.where(which, common * usual, own)
    for _ in range(PASSES):
        found = expectation.residuals(own)
        unlike = (found.parts * found.common[:, None]).reshape(own.shape) * expectation.gains
        own = np.where(which, own - unlike, own).astype(np.float32)
    whole = windows.copy()
    whole[some] = own
    return whole
