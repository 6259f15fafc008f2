"""Several arrays side by side, or some columns of one, described as one array of features.

A row has the numbers of each part, flattened, one part after the other. Readers decode each part by
its own conventions, and no chunk that holds none of the wanted columns.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ooc.store.spec import ArraySpec

Move = tuple[slice | np.ndarray, slice | np.ndarray]
# Runs of columns that are copied one by one; more are copied by their places.
MOST_RUNS = 16


@dataclass(frozen=True)
class Part:
    """An array of the store, and the places of a row that are taken of it: None for all."""

    spec: ArraySpec
    columns: tuple[int, ...] | None = None

    @property
    def width(self) -> int:
        """Numbers that are taken of a row."""
        return self.stored_width if self.columns is None else len(self.columns)

    @property
    def stored_width(self) -> int:
        """Numbers that a row has in the store."""
        return math.prod(self.spec.shape[1:])

    def to_json(self) -> dict[str, Any]:
        """Return what is known of it, JSON-ready."""
        columns = {} if self.columns is None else {"columns": list(self.columns)}
        return {**self.spec.to_json(), **columns}


class Stripe(NamedTuple):
    """A run of a part's columns in whole chunks along axis 1, which is read as one.

    Attributes
    ----------
    part
        The array that is stored.
    spec
        The stripe of it: of as many rows, and fewer columns.
    across
        First place along axis 1, and the one behind the last; None where rows are read whole.
    moves
        From which places of a flattened row of the stripe to which of the joined row.
    """

    part: ArraySpec
    spec: ArraySpec
    across: tuple[int, int] | None
    moves: tuple[Move, ...]


@dataclass(frozen=True)
class JoinedSpec(ArraySpec):
    """What the readers and the plan need to know of joined features.

    Attributes
    ----------
    dtype
        That of the parts where all have one; else float32 where it holds all numbers of all their
        types, and float64 where not.
    chunks
        The rows of a chunk of the part with the largest rows, and all columns.
    parts
        The arrays that are stored, each with its columns, in the order of a row's numbers.
    """

    parts: tuple[Part, ...] = ()

    is_joined: ClassVar[bool] = True

    @property
    def declares_missing(self) -> bool:
        """Whether some values of any part may be missing."""
        return any(part.spec.declares_missing for part in self.parts)

    @cached_property
    def stripes(self) -> tuple[Stripe, ...]:
        """What is read: stripes of parts, in the order of parts."""
        found, begin = [], 0
        for part in self.parts:
            found += _stripes(part, begin)
            begin += part.width
        return tuple(found)

    @property
    def taken_row_bytes(self) -> int:
        """Bytes of the wanted columns, each of its part's type."""
        return sum(part.width * part.spec.dtype.itemsize for part in self.parts)

    @property
    def read_row_bytes(self) -> int:
        """Bytes of all columns of chunks that hold any of the wanted ones."""
        return sum(stripe.spec.row_bytes for stripe in self.stripes)

    @property
    def index_bytes(self) -> int:
        """Bytes of the indices of shards, which readers keep."""
        return sum(part.spec.index_bytes for part in self.parts)

    @property
    def stored_chunks(self) -> int:
        """Chunks of all parts that are read."""
        return sum(stripe.spec.stored_chunks for stripe in self.stripes)

    def decoded_bytes(self, start: int, stop: int) -> int:
        """Return the bytes that are decoded to read rows start to stop: whole chunks of parts."""
        return sum(stripe.spec.decoded_bytes(start, stop) for stripe in self.stripes)

    def undecoded(self) -> "JoinedSpec":
        """Return it of parts as they are stored, whatever their attributes declare."""
        parts = tuple(replace(part, spec=part.spec.undecoded()) for part in self.parts)
        return joined(self.name, parts)

    def describe(self) -> str:
        """Say in one line what it is."""
        return f"{super().describe()}; made of {', '.join(map(_describe, self.parts))}"

    def stored_at(self, place: int) -> tuple[ArraySpec, int]:
        """Return the part that has the number at a place of a row, and its place in that."""
        for part in self.parts:
            if place < part.width:
                return part.spec, place if part.columns is None else part.columns[place]
            place -= part.width
        raise IndexError(f"a row has {self.shape[1]} numbers")

    def number_name(self, place: int) -> str:
        """Return what the number at a place of a row is called: by its part, and its place there.

        Examples
        --------
        >>> a = ArraySpec("a", (9,), np.dtype("int16"), (4,), None)
        >>> b = ArraySpec("b", (9, 5), np.dtype("int16"), (3, 5), None)
        >>> two = joined("a,b[4,0]", [Part(a), Part(b, (4, 0))])
        >>> [two.number_name(place) for place in range(3)]
        ['a', 'b[4]', 'b[0]']
        """
        part, own = self.stored_at(place)
        return part.name if math.prod(part.shape[1:]) == 1 else f"{part.name}[{own}]"

    def to_json(self) -> dict[str, Any]:
        """Return what is known of it, JSON-ready."""
        parts = {part.spec.name: part.to_json() for part in self.parts}
        return {**super().to_json(), "parts": parts}


def joined_features(dataset: Any) -> ArraySpec | None:
    """Return a dataset's features where they are made of several arrays, or of some columns."""
    spec = dataset.arrays.get(dataset.features)
    return spec if isinstance(spec, JoinedSpec) else None


def stored_number(holder: Any, array: str | None, place: int) -> tuple[str, int]:
    """Return the array that stores the number at a place of a row, and its place there.

    `holder` is a window or a batch, which know what their features are made of.

    Examples
    --------
    >>> stored_number(None, "X", 3)
    ('X', 3)
    """
    spec: ArraySpec | None = getattr(holder, "joined", None)
    if spec is None or spec.name != array:
        return array or "", place
    part, own = spec.stored_at(place)
    return part.name, own


def joined(name: str, parts: Sequence[Part]) -> JoinedSpec:
    """Describe parts of the same rows as one array.

    Examples
    --------
    >>> a = ArraySpec("a", (9,), np.dtype("int16"), (4,), None)
    >>> b = ArraySpec("b", (9, 5), np.dtype("float32"), (3, 5), None)
    >>> found = joined("a,b[4,0]", [Part(a), Part(b, (4, 0))])
    >>> found.shape, found.dtype, found.chunks
    ((9, 3), dtype('float32'), (3, 3))
    """
    (rows,) = {part.spec.shape[0] for part in parts}
    width = sum(part.width for part in parts)
    largest = max(parts, key=lambda part: part.spec.row_bytes)
    chunks = (min(largest.spec.chunks[0], max(rows, 1)), width)
    dtype = common_dtype([part.spec.dtype for part in parts])
    return JoinedSpec(name, (rows, width), dtype, chunks, None, parts=tuple(parts))


def common_dtype(dtypes: Sequence[np.dtype]) -> np.dtype:
    """Return the type of numbers of several types side by side.

    Examples
    --------
    >>> types = [np.dtype(name) for name in ("uint8", "float32", "int32")]
    >>> common_dtype(types[:1]), common_dtype(types[:2]), common_dtype(types)
    (dtype('uint8'), dtype('float32'), dtype('float64'))
    """
    if len(set(dtypes)) == 1:
        return dtypes[0]
    small = all(np.result_type(dtype, np.float32) == np.float32 for dtype in dtypes)
    return np.dtype(np.float32 if small else np.float64)


def joined_names(
    spec: JoinedSpec, names_of: Callable[[str, int], Sequence[str]]
) -> tuple[str, ...]:
    """Return one name for each number of a row.

    A column is called as its store calls it, and else by its array and place: ``X_pca[3]``; an
    array of one number a row by its own name. What two columns are called goes with their arrays.

    Parameters
    ----------
    names_of
        Returns the names of all columns of an array, of so many, or none.
    """
    last = [part.spec.name.rpartition("/")[2] for part in spec.parts]
    times = Counter(last)
    found: list[tuple[str, str]] = []
    for part, short in zip(spec.parts, last, strict=True):
        name = short if times[short] == 1 else part.spec.name
        width = part.stored_width
        own = names_of(part.spec.name, width)
        places = range(width) if part.columns is None else part.columns
        for place in places:
            full = name if width == 1 and not own else f"{name}[{own[place] if own else place}]"
            found.append((own[place] if own else full, full))
    counts = Counter(name for name, _ in found)
    names = tuple(name if counts[name] == 1 else full for name, full in found)
    return names if len(set(names)) == len(names) else ()


def alone(spec: ArraySpec) -> tuple[ArraySpec, ...]:
    """Return each part as features of its own; an array that has none is its own part."""
    if not isinstance(spec, JoinedSpec):
        return (spec,)
    return tuple(
        part.spec if part.columns is None else joined(part.spec.name, [part]) for part in spec.parts
    )


def stored_names(spec: ArraySpec) -> tuple[str, ...]:
    """Return the names of the arrays of the store that an array is made of: its own, if it is one.

    Examples
    --------
    >>> stored_names(ArraySpec("X", (9, 3), np.dtype("float32"), (9, 3), None))
    ('X',)
    """
    if not isinstance(spec, JoinedSpec):
        return (spec.name,)
    return tuple(part.spec.name for part in spec.parts)


def _describe(part: Part) -> str:
    taken = "" if part.columns is None else f"{part.width} of {part.stored_width} columns of "
    read = "" if part.spec.conventions is None else f" ({part.spec.conventions.describe()})"
    return f"{taken}{part.spec.name} {part.spec.dtype}{read}"


def _stripes(part: Part, begin: int) -> list[Stripe]:
    """Cut a part's columns into runs of chunks along axis 1 that have any of those wanted."""
    spec = part.spec
    if part.columns is None:
        whole = (slice(0, part.width), slice(begin, begin + part.width))
        return [Stripe(spec, spec, None, (whole,))]
    sources = np.array(part.columns, np.int64)
    targets = begin + np.arange(part.width)
    if len(spec.shape) == 1 or spec.chunks[1] >= spec.shape[1]:
        return [Stripe(spec, spec, None, _moves(sources, targets))]
    behind = math.prod(spec.shape[2:])
    numbers = sources // behind // spec.chunks[1]
    wanted = np.unique(numbers)
    found = []
    for run in np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1):
        first = int(run[0]) * spec.chunks[1]
        stop = min((int(run[-1]) + 1) * spec.chunks[1], spec.shape[1])
        narrow = replace(spec, shape=(spec.shape[0], stop - first, *spec.shape[2:]))
        here = (numbers >= run[0]) & (numbers <= run[-1])
        moves = _moves(sources[here] - first * behind, targets[here])
        found.append(Stripe(spec, narrow, (first, stop), moves))
    return found


def _moves(sources: np.ndarray, targets: np.ndarray) -> tuple[Move, ...]:
    """Return runs of places that stay neighbours; all places at once where runs are many."""
    cuts = np.flatnonzero((np.diff(sources) != 1) | (np.diff(targets) != 1)) + 1
    if len(cuts) >= MOST_RUNS:
        return ((sources, targets),)
    runs = zip(np.split(sources, cuts), np.split(targets, cuts), strict=True)
    return tuple((_run(source), _run(target)) for source, target in runs)


def _run(places: np.ndarray) -> slice:
    return slice(int(places[0]), int(places[-1]) + 1)


def without_joined(arrays: Mapping[str, ArraySpec]) -> dict[str, ArraySpec]:
    """Return the arrays that are stored, without what is made of them."""
    return {name: spec for name, spec in arrays.items() if not spec.is_joined}
