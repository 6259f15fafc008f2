"""Rows that overlap in memory: row i is the values from i times a stride on, and none is copied."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided


def sliding_rows(values: np.ndarray, rows: int, length: int, stride: int) -> np.ndarray:
    """Return (rows, length, ...): row i views ``values[i * stride : i * stride + length]``.

    Examples
    --------
    >>> sliding_rows(np.arange(8), 3, 4, 2).tolist()
    [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]
    """
    needed = (rows - 1) * stride + length if rows else 0
    if needed > len(values):
        raise ValueError(f"{rows} rows need {needed} values, and there are {len(values)}")
    step = values.strides[0]
    strides = (stride * step, step, *values.strides[1:])
    return as_strided(values, (rows, length, *values.shape[1:]), strides)


def values_behind(rows: np.ndarray) -> np.ndarray:
    """Return the values that rows view, each of them once: flat, and to be written to.

    Examples
    --------
    >>> values_behind(sliding_rows(np.arange(8), 3, 4, 2)).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    >>> values_behind(np.eye(2)).tolist()
    [1.0, 0.0, 0.0, 1.0]
    """
    if rows.flags.c_contiguous:
        return rows.reshape(-1)
    bytes_ = (len(rows) - 1) * rows.strides[0] + rows[0].nbytes
    return as_strided(rows, (bytes_ // rows.itemsize,), (rows.itemsize,))


def values_between(rows: np.ndarray) -> int:
    """Return how many values lie between the first of a row and the first of the next.

    Raises
    ------
    ValueError
        If a row's own values do not lie side by side.
    """
    if rows.flags.c_contiguous:
        return int(np.prod(rows.shape[1:]))
    step, rest = divmod(rows.strides[0], rows.itemsize)
    if rest or step < 0 or (len(rows) and not rows[0].flags.c_contiguous):
        raise ValueError(f"the values of a row lie apart, with strides {rows.strides}")
    return step


def rows_at(rows: Any, places: np.ndarray) -> Any:
    """Return a copy of the rows at some places, side by side."""
    # Of rows that overlap, `take` would copy all first; of others it is faster.
    if isinstance(rows, np.ndarray) and not rows.flags.c_contiguous:
        return rows[places]
    return rows.take(places, axis=0)
