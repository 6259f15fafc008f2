"""Columns of a table become the rows of one array."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from ooc.conversion.arrow_memory import arrow_kernels
from ooc.conversion.casting import Place, cast_values, float_times
from ooc.conversion.interleave import interleave, interleaving_kernels
from ooc.conversion.outputs import Output, Part
from ooc.conversion.source import TIME, Values
from ooc.core.compile_child import Compilation
from ooc.store.conventions import decode

# Columns in another type than their source's that are held before they are laid beside others.
MOST_HELD = 16


@runtime_checkable
class Addressed(Protocol):
    """Values of a piece of which some columns are in memory as a dtype's numbers."""

    def addresses(self, names: Sequence[str], dtype: np.dtype) -> np.ndarray:
        """Return where values of columns begin, one after the other, (names,) int64; 0 elsewhere.

        They stay there for as long as this object does.
        """


def stack(output: Output, values: Values, rows: int, place: Place) -> tuple[np.ndarray, bool]:
    """Return an output's columns beside each other, (rows, entries), and whether some may be NaN.

    Raises
    ------
    DataError
        If a number does not fit the type.
    """
    out = np.empty((rows, *output.shape), output.dtype_of_pieces)
    wide = [part for part in output.parts if part.column.shape]
    has_nan = bool(wide)
    for first, addresses in _runs(output.parts, values, out, place):
        has_nan |= interleave(np.array(addresses, np.int64), first, out)
    return out, has_nan


def stacking_kernels(outputs: Iterable[Output]) -> list[Compilation]:
    """Return the compilations that outputs need."""
    dtypes = {each.dtype_of_pieces for each in outputs if each.stacked and not each.is_sparse}
    kernels = [kernel for dtype in dtypes for kernel in interleaving_kernels(dtype)]
    return [*kernels, *arrow_kernels()] if kernels else []


def _runs(
    parts: Sequence[Part], values: Values, out: np.ndarray, place: Place
) -> Iterator[tuple[int, list[int]]]:
    """Yield the places of columns that follow each other, and their addresses until the next.

    Parts that are several columns are written to `out` on the way.
    """
    begin, first, run = 0, 0, list[int]()
    held: list[np.ndarray] = []
    known = _addresses(parts, values, out.dtype)
    if known.all():
        yield 0, known.tolist()
        return
    for part, address in zip(parts, known.tolist(), strict=True):
        if not address:
            found = _numbers(part, values, out.dtype, place)
            if not part.column.shape:
                held.append(np.ascontiguousarray(found, out.dtype))
                address = held[-1].__array_interface__["data"][0]
            else:
                flat = found.reshape(len(out), -1)
                chosen = flat if part.entries is None else flat[:, part.entries]
                out[:, begin : begin + part.width] = chosen
        begin += part.width
        if address:
            run.append(address)
        if run and (not address or len(held) == MOST_HELD):
            yield first, run
            run = []
            held.clear()
        if not run:
            first = begin
    if run:
        yield first, run


def _addresses(parts: Sequence[Part], values: Values, dtype: np.dtype) -> np.ndarray:
    """Return the addresses of columns that are there as they are to be, 0 for the others."""
    if not isinstance(values, Addressed):
        return np.zeros(len(parts), np.int64)
    return values.addresses([part.column.name for part in parts], dtype)


def _numbers(part: Part, values: Values, dtype: np.dtype, place: Place) -> np.ndarray:
    """Return a column's numbers, of the dtype or one that it holds safely."""
    found = values[part.column.name]
    assert isinstance(found, np.ndarray)
    if part.column.kind == TIME:
        found = float_times(found)
    elif part.column.conventions is not None:
        found = decode(part.column.conventions, np.ascontiguousarray(found))
    return cast_values(found, dtype, [part], place, copy=False)
