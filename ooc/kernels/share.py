"""What the parts of the window loop hand each other: shares of batches, numbers, signatures.

The type of the parameters, float32 or float64, is that of every float array here.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types

from ooc.core.compiler import by_address


class Share(NamedTuple):
    """Rows of one batch that are worked on together, gathered and side by side.

    Attributes
    ----------
    features, targets, further
        (rows, F), (rows, T) and (rows, ...): the features, the targets, and all other float arrays
        that the model asked for, one beside the other.
    weights
        (rows,), or (0,) where rows have none.
    integers
        (rows, ...) int64, arrays that stay integers.
    first
        Place of the first row in its batch.
    step, seed
        The step's number, and a seed of its own.
    turn
        The phase whose turn it is; 0 where a model has but one.
    """

    features: np.ndarray
    targets: np.ndarray
    further: np.ndarray
    weights: np.ndarray
    integers: np.ndarray
    first: int
    step: int
    seed: int
    turn: int


class Numbers(NamedTuple):
    """A model's own numbers, float64 and int64, in whatever order its `accumulate` reads them."""

    reals: np.ndarray
    integers: np.ndarray


class Output(NamedTuple):
    """Where `accumulate` leaves what comes of a share.

    Attributes
    ----------
    gradient
        (P,), or as long as the kernel says: filled with the sums over the rows.
    terms
        (terms,) float64: filled with the sums over the rows; they add up to the loss.
    touched
        (capacity,) int64: rows of the touched part, each once; empty where there is no such part.
    report
        (2,) int64: the first row of the share that cannot be used, and how many rows were touched.
    """

    gradient: np.ndarray
    terms: np.ndarray
    touched: np.ndarray
    report: np.ndarray


# Entries of a report.
BAD, TOUCHED = range(2)


class Standard(NamedTuple):
    """What happens to a feature on its way to a share: (x - shift) times factor.

    Attributes
    ----------
    shift
        (F,) float64, subtracted in the precision that the array has; empty for 0.
    low
        The same as parameters are.
    factor
        (F,), or (1,) for all features.
    """

    shift: np.ndarray
    low: np.ndarray
    factor: np.ndarray


class Taken(NamedTuple):
    """Which rows of an array are gathered, and where they go in a tile (tile rows, columns).

    Attributes
    ----------
    order, start, rows
        Places of rows, (window rows,) int32: those of ``order[start : start + rows]``.
    values, step
        Of a row, and values from the first of one to the first of the next.
    filled, column
        The first row of the tile that is written, and its first column.
    """

    order: np.ndarray
    start: int
    rows: int
    values: int
    step: int
    filled: int
    column: int


class PointLoss(NamedTuple):
    """What a loss over a share needs beside scores and targets.

    Attributes
    ----------
    pair
        Address of the pointwise (value, derivative); 0 where the loss has none.
    rule
        Which targets it takes, see `ooc.kernels.losses`.
    constant
        What the loss calls its own.
    class_weights
        (classes,) float64, what losses of each label are multiplied with; empty for ones.
    """

    pair: int
    rule: int
    constant: float
    class_weights: np.ndarray


_I64, _F64 = types.int64, types.float64


def _named(parts: tuple[Any, ...], kind: Any) -> Any:
    """Return Numba's type of a named tuple, which depends on whether its parts are of one type."""
    if len(set(parts)) == 1:
        return types.NamedUniTuple(parts[0], len(parts), kind)
    return types.NamedTuple(parts, kind)


NUMBERS = _named((_F64[::1], _I64[::1]), Numbers)
POINT_LOSS = _named((_I64, _I64, _F64, _F64[::1]), PointLoss)
TAKEN = _named((types.int32[::1], _I64, _I64, _I64, _I64, _I64, _I64), Taken)


def share_of(real: Any) -> Any:
    """Return Numba's type of a `Share`."""
    matrix, integers = real[:, ::1], _I64[:, ::1]
    parts = (matrix, matrix, matrix, real[::1], integers, _I64, _I64, _I64, _I64)
    return _named(parts, Share)


def accumulate_of(real: Any) -> Any:
    """Return the signature of a model's `accumulate`.

    It takes the share, all parameters, the model's numbers and scratch of its own, and returns a
    status of `ooc.kernels.counters`.
    """
    output = _named((real[::1], _F64[::1], _I64[::1], _I64[::1]), Output)
    return _I64(share_of(real), real[::1], NUMBERS, real[::1], output)


def gather_of(real: Any, source: Any = None) -> Any:
    """Return the signature of a gather from an array of this type, see `ooc.kernels.rows`."""
    standard = _named((_F64[::1], real[::1], real[::1]), Standard)
    pointer = _I64 if source is None else types.CPointer(source)
    return _I64(pointer, TAKEN, standard, real[:, ::1])


def gather_integers_of(source: Any = None) -> Any:
    """Return the signature of a gather of integers from an array of this type."""
    pointer = _I64 if source is None else types.CPointer(source)
    return _I64(pointer, TAKEN, _I64[:, ::1])


def loss_of(real: Any) -> Any:
    """Return the signature of a loss over a share, see `ooc.kernels.losses`."""
    return _I64(real[:, ::1], real[:, ::1], real[::1], POINT_LOSS, _F64[::1], _I64[::1])


PAIR = types.UniTuple(_F64, 2)(_F64, _F64, _F64)

call_accumulate = by_address(lambda given: accumulate_of(given[1].dtype))
call_gather = by_address(lambda given: gather_of(given[3].dtype))
call_gather_integers = by_address(lambda given: gather_integers_of())
call_loss = by_address(lambda given: loss_of(given[0].dtype))
call_pair = by_address(lambda given: PAIR)


def source_of(dtype: Any) -> Any:
    """Return Numba's type of a stored array; halves travel as their bits, truths as bytes."""
    stored: dict[str, Any] = {"float16": np.uint16, "bool": np.uint8}
    return numba.from_dtype(np.dtype(stored.get(np.dtype(dtype).name, dtype)))
