"""A piece's values as the arrays of the store: put together, cast, and looked at for missing ones.

What cannot be is refused with its row and column. Threads do this, each for a piece.
"""

from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ooc.conversion.casting import Place, cast_values, float_times
from ooc.conversion.outputs import Layout, Output
from ooc.conversion.source import (
    CATEGORY,
    HASH,
    NO_CATEGORY,
    NO_TIME,
    NUMBER,
    OTHER,
    TEXT,
    TIME,
    Entries,
    Texts,
    Values,
)
from ooc.conversion.sparse import SparseValues
from ooc.conversion.stacking import stack
from ooc.conversion.text_hash import bits_of, hash_texts
from ooc.core.errors import DataError
from ooc.store.conventions import decode
from ooc.store.roles import FEATURES
from ooc.stream.missing_values import MissingRule, rows_that_lack


@dataclass
class Assembled:
    """A piece as it is written.

    Attributes
    ----------
    first, read
        Number of its first row in the source, and how many rows were read.
    rows
        Places, among those that were read, of the rows that are left; None for all.
    arrays
        Values of the rows that are left, by output; codes of texts are still the piece's own.
    lacking
        Which of the rows that were read lack a value, by column, where some do.
    sketches
        How many different texts columns have that were hashed, see `ooc.conversion.text_hash`.
    """

    first: int
    read: int
    rows: np.ndarray | None
    arrays: dict[str, Entries]
    lacking: dict[str, np.ndarray] = field(default_factory=dict)
    sketches: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Rows that are left."""
        return self.read if self.rows is None else len(self.rows)


def assemble(
    layout: Layout, values: Values, first: int, skip: int, rule: MissingRule, place: Place
) -> Assembled:
    """Make the arrays of a piece; its first `skip` rows were written before.

    Raises
    ------
    DataError
        If a value is missing and the rule does not say what becomes of it, or a number does not
        fit the type that it is to have.
    """
    if skip:
        values = {name: _cut(each, slice(skip, None)) for name, each in values.items()}
        first += skip
        whole = place

        def place(row: int) -> str:
            return whole(skip + row)

    piece = Assembled(first, _length(values[layout.names[0]]), None, {})
    absent: np.ndarray | None = None
    if hashed := _hashed(layout, values, piece.sketches):
        values = ChainMap(hashed, values)  # type: ignore[arg-type]
    for output in layout.outputs:
        made, may_lack = _make(output, values, piece.read, place)
        lacks = _lacks(output, made) if may_lack else None
        if lacks is not None:
            found = _by_column(output, made, lacks)
            piece.lacking |= found
            fills = rule.name == "fill" and output.role == FEATURES
            if output.role and (rule.name == "raise" or (rule.name == "fill" and not fills)):
                _refuse(found, rule, place)
            if output.role and rule.name == "drop":
                absent = lacks if absent is None else absent | lacks
            if fills:
                made = _filled(made, rule.number)
        piece.arrays[output.name] = made
    if absent is not None:
        piece.rows = rows = np.flatnonzero(~absent)
        piece.arrays = {name: _cut(each, rows) for name, each in piece.arrays.items()}
    for output in layout.outputs:
        made = piece.arrays[output.name]
        if (
            output.kind not in (NUMBER, HASH)
            or isinstance(made, Texts)
            or made.dtype == output.dtype
        ):
            continue
        left = piece.rows
        at = place if left is None else partial(_place_of_left, place, left)
        piece.arrays[output.name] = _cast_any(made, output, output.dtype, at)
    return piece


def _hashed(layout: Layout, values: Values, sketches: dict[str, np.ndarray]) -> Values:
    """Return as numbers the texts that are to be hashed; as floats, NaN for none, for features."""
    found: dict[str, np.ndarray] = {}
    for output in layout.outputs:
        for column in output.hashed:
            texts = values[column.name]
            assert isinstance(texts, Texts)
            numbers, sketches[column.name] = hash_texts(texts, bits_of(output.dtype))
            if output.role and (absent := numbers < 0).any():
                numbers = numbers.astype(np.float64)
                numbers[absent] = np.nan
            found[column.name] = numbers
    return found


def _place_of_left(place: Place, left: np.ndarray, row: int) -> str:
    return place(int(left[row]))


def _filled(values: Entries, number: float) -> Entries:
    """Return features with a number in place of missing ones."""
    if isinstance(values, SparseValues):
        return values.filled(number)
    assert isinstance(values, np.ndarray)
    values[np.isnan(values)] = number
    return values


def _cast_any(
    values: np.ndarray | SparseValues, output: Output, dtype: np.dtype, place: Place
) -> np.ndarray | SparseValues:
    """Cast dense values, or those that sparse rows have."""
    if isinstance(values, np.ndarray):
        return cast_values(values, dtype, output.parts, place)
    rows = values

    def place_of_value(number: int) -> str:
        return place(rows.row_of(number))

    return rows.with_data(cast_values(rows.data, dtype, output.parts[:1], place_of_value))


def _length(values: Entries) -> int:
    return len(values.codes if isinstance(values, Texts) else values)


def _cut(values: Entries, rows: slice | np.ndarray) -> Entries:
    if isinstance(values, Texts):
        return Texts(values.codes[rows], values.values)
    if isinstance(values, SparseValues):
        if isinstance(rows, slice):
            return values.cut(rows.start or 0, len(values) if rows.stop is None else rows.stop)
        return values.take(rows)
    return values[rows]


def _make(output: Output, values: Values, rows: int, place: Place) -> tuple[Entries, bool]:
    """Return an output's values, and whether one may be missing."""
    if output.stacked and not output.is_sparse:
        return stack(output, values, rows, place)
    return _make_alone(output, values, place), True


def _make_alone(output: Output, values: Values, place: Place) -> Entries:
    """Return the values of an output that is one column, or of one sparse matrix."""
    dtype = output.dtype_of_pieces
    if output.is_sparse:
        matrix = values[output.column.name]
        assert isinstance(matrix, SparseValues)
        if output.places is not None:
            matrix = matrix.columns(output.places, output.shape[0])
        return _cast_any(matrix, output, dtype, place)
    found = values[output.column.name]
    if not isinstance(found, np.ndarray) or output.kind in (TEXT, CATEGORY, OTHER):
        return found
    if output.kind == TIME:
        return found if output.dtype.kind == "i" else float_times(found).astype(output.dtype)
    if output.stored:
        return found
    if output.column.conventions is not None:
        found = decode(output.column.conventions, np.ascontiguousarray(found))
    return cast_values(found, dtype, output.parts, place)


def _lacks(output: Output, values: Entries) -> np.ndarray | None:
    """Tell of each row whether it lacks a value; None if no row does."""
    if isinstance(values, Texts):
        found = values.codes == NO_CATEGORY
    elif isinstance(values, SparseValues):
        return values.lacking()
    elif output.kind == CATEGORY or (output.kind == HASH and not output.role):
        found = values == NO_CATEGORY
    elif output.kind == TIME and values.dtype.kind == "i":
        found = values == NO_TIME
    elif output.kind == OTHER:
        return None
    else:
        seen = _seen(output, values)
        return rows_that_lack(seen) if seen.dtype.kind == "f" else None
    return found if found.any() else None


def _seen(output: Output, values: np.ndarray) -> np.ndarray:
    """Return numbers as those who read the store see them."""
    conventions = output.column.conventions
    if output.stored and conventions is not None and conventions.declares_missing:
        return decode(conventions, np.ascontiguousarray(values))
    return values


def _by_column(output: Output, values: Entries, lacks: np.ndarray) -> dict[str, np.ndarray]:
    """Tell by column which rows lack a value."""
    if not output.stacked or not isinstance(values, np.ndarray):
        return {output.column.name: lacks}
    found, entry, places = {}, 0, np.flatnonzero(lacks)
    absent = np.isnan(values[places])
    for part in output.parts:
        inside = absent[:, entry : entry + part.width].any(axis=1)
        if inside.any():
            rows = np.zeros(len(lacks), bool)
            rows[places[inside]] = True
            found[part.column.name] = rows
        entry += part.width
    return found


def _refuse(found: dict[str, np.ndarray], rule: MissingRule, place: Place) -> None:
    """Name the first row that lacks a value."""
    name, rows = min(found.items(), key=lambda each: int(np.argmax(each[1])))
    row = int(np.argmax(rows))
    if rule.name == "raise":
        todo = (
            "say what becomes of such rows with --missing-values: drop leaves them out, keep keeps "
            "them as missing, fill:NUMBER puts a number there"
        )
    else:
        todo = "a number is put in place of features alone; leave such rows out with drop"
    raise DataError(f"{place(row)}: column {name} has no value; {todo}")


class Categories:
    """Texts of a column over all pieces, as codes by first appearance."""

    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        self.name, self.known = name, {value: code for code, value in enumerate(known)}

    def codes(self, texts: Texts) -> np.ndarray:
        """Return a piece's codes as those of the whole column; new texts get the next ones."""
        # The last entry of both is for -1.
        used = np.zeros(len(texts.values) + 1, bool)
        used[texts.codes] = True
        table = np.full(len(texts.values) + 1, NO_CATEGORY, np.int32)
        for code in np.flatnonzero(used[:-1]).tolist():
            table[code] = self.known.setdefault(texts.values[code], len(self.known))
        return table[texts.codes]

    @property
    def order(self) -> np.ndarray:
        """For each code its place among the sorted texts."""
        places = {value: place for place, value in enumerate(sorted(self.known))}
        return np.array([places[value] for value in self.known], np.int32)
