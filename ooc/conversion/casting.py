"""Values in another type that holds them; one that it does not hold is refused with its row."""

from collections.abc import Callable, Sequence

import numpy as np

from ooc.conversion.outputs import Part
from ooc.conversion.source import NO_TIME, Column
from ooc.core.errors import DataError

Place = Callable[[int], str]


def float_times(values: np.ndarray) -> np.ndarray:
    """Return times as floats, NaN where there is none."""
    found = values.astype(np.float64)
    found[values == NO_TIME] = np.nan
    return found


def _column_at(parts: Sequence[Part], entry: int) -> Column:
    """Return the column of a row's entry."""
    for part in parts:
        if entry < part.width:
            return part.column
        entry -= part.width
    return parts[-1].column


def cast_values(
    values: np.ndarray, dtype: np.dtype, parts: Sequence[Part], place: Place, copy: bool = True
) -> np.ndarray:
    """Return values of a type that holds them; refuse, with its row, one that it does not hold."""
    if values.dtype == dtype:
        return values
    kinds = values.dtype.kind + dtype.kind
    # NumPy takes float64 for safe for whole numbers of 64 bits, of which it rounds large ones.
    rounds = kinds in ("if", "uf") and values.dtype.itemsize == 8
    if np.can_cast(values.dtype, dtype, "safe") and not rounds:
        return values.astype(dtype) if copy else values
    with np.errstate(over="ignore", invalid="ignore"):
        if kinds == "ff":
            cast = values.astype(dtype)
            bad = np.isinf(cast) & np.isfinite(values) if np.isinf(cast).any() else None
        elif kinds[1] == "f" and len(values):
            # Whole numbers that lie between the type's own, such as identifiers.
            exact = 2 ** (np.finfo(dtype).nmant + 1)
            cast, bad = values.astype(dtype), None
            if int(values.max()) > exact or int(values.min()) < -exact:
                bad = cast.astype(np.float64).astype(values.dtype) != values
        else:
            cast = values.astype(dtype)
            back = cast.astype(np.float64) if values.dtype.kind == "f" else cast
            bad = back != values
            if kinds in ("iu", "ui"):
                bad |= (cast < 0) != (values < 0)
    if bad is not None and bad.any():
        entry = int(np.argmax(bad))
        row = entry // max(1, bad[:1].size)
        value = values.reshape(-1)[entry]
        entry %= max(1, bad[:1].size)
        column = _column_at(parts, entry)
        todo = "give a --dtype that can, or leave the column out"
        if column.whole:
            todo = "its first values are whole, and so are all of a target's to be: correct it"
        why = f"holds {value}, which {dtype} cannot hold; {todo}"
        if value != value:
            why = f"has no value, which {dtype} cannot keep; give --missing-values drop"
        raise DataError(f"{place(row)}: column {column.name} {why}")
    return cast
