"""Rows that are sequences of a long array's entries, described without being made.

Row i has the entries ``i * stride`` to ``i * stride + length - 1`` along axis 0, which are called
*times* here; rows overlap where the stride is below the length. What stands beside the features,
such as a target, has its value at a row's last time.

In memory a block of rows takes its times once: rows are views of them. Those that begin in a block
and end behind it need the times that follow, so that behind each block of a window there is room
for a few more rows' times, `ArraySpec.overlap`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ooc.core.sizes import format_size
from ooc.core.sliding import sliding_rows
from ooc.store.labels import Labels
from ooc.store.spec import ArraySpec


@dataclass(frozen=True)
class SequenceSpec(ArraySpec):
    """What the readers and the plan need to know of sequences of an array.

    Attributes
    ----------
    source
        The array that is stored, (times, ...).
    length, stride
        Times of a row, and times from one row's first to the next one's.
    is_last
        Whether a row has the value at its last time alone.
    """

    source: ArraySpec = field(kw_only=True)
    length: int = field(kw_only=True)
    stride: int = field(kw_only=True)
    is_last: bool = field(kw_only=True)

    @property
    def overlap(self) -> int:
        """How many rows after a row share times with it."""
        return -(-self.length // self.stride) - 1

    @property
    def declares_missing(self) -> bool:
        """Whether some of its values may be missing: they are read as NaN."""
        return self.source.declares_missing

    @property
    def kept_row_bytes(self) -> int:
        """Bytes that a further row takes in memory."""
        return self.row_bytes if self.is_last else self.stride * self.source.row_bytes

    @property
    def taken_row_bytes(self) -> int:
        """Bytes of the times that a further row adds."""
        return self.stride * self.source.taken_row_bytes

    @property
    def read_row_bytes(self) -> int:
        """Bytes that are decoded for a further row even where all of a chunk is used."""
        return self.stride * self.source.read_row_bytes

    @property
    def chunk_bytes(self) -> int:
        """Decoded bytes of one stored chunk."""
        return self.source.chunk_bytes

    @property
    def chunks_across(self) -> int:
        """Chunks that one time is spread over."""
        return self.source.chunks_across

    @property
    def stored_chunks(self) -> int:
        """Chunks of the whole array."""
        return self.source.stored_chunks

    @property
    def index_bytes(self) -> int:
        """Bytes of the indices of its shards, which readers keep."""
        return self.source.index_bytes

    @property
    def telling_places(self) -> int:
        """How many of a row's first values tell how rows differ: those of its first time."""
        return max(1, self.source.row_bytes // self.dtype.itemsize)

    def times(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first time that rows start to stop need, and the one after the last."""
        first = start * self.stride + (self.length - 1) * self.is_last
        return first, (stop - 1) * self.stride + self.length

    def rows_of(self, first: int, last: int) -> tuple[int, int]:
        """Return the first and the last row that need any of the times first to last."""
        shift = self.length - 1 if self.is_last else 0
        needed = 1 if self.is_last else self.length
        low = -(-(first - shift - needed + 1) // self.stride)
        return max(0, low), min(self.shape[0] - 1, (last - shift) // self.stride)

    def memory(self, rows: int, allocate: Callable[..., np.ndarray] = np.empty) -> np.ndarray:
        """Return memory for so many rows: views of their times, each of which is there once."""
        if self.is_last or rows == 0:
            return super().memory(rows, allocate)
        times = (rows - 1) * self.stride + self.length
        values = allocate((times, *self.source.shape[1:]), self.dtype)
        return sliding_rows(values, rows, self.length, self.stride)

    def decoded_bytes(self, start: int, stop: int) -> int:
        """Return the bytes that are decoded to read rows start to stop: whole chunks."""
        return self.source.decoded_bytes(*self.times(start, stop))

    def most_decoded_bytes(self, rows: int) -> int:
        """Return the most bytes that are decoded for any block of this many rows."""
        return self.source.most_decoded_bytes(self.block_times(rows))

    def block_times(self, rows: int) -> int:
        """Return the most times that are read for a block of this many rows."""
        return min((rows + self.overlap) * self.stride + self.length, self.source.shape[0])

    def describe(self) -> str:
        """Say in one line what it is, and of what."""
        what = "values at the last of" if self.is_last else "sequences of"
        size = format_size(self.source.row_bytes * self.source.shape[0])
        told = f"{self.dtype} {self.shape}, {what} {self.length} times, one every {self.stride}"
        return f"{told}, of {self.source.shape}, {size}, chunks {self.source.chunks}"

    def stored_at(self, place: int) -> tuple[ArraySpec, int]:
        """Return the array that stores the number at a place of a row, and its place there."""
        return self.source.stored_at(place % self.telling_places)

    def number_name(self, place: int) -> str:
        """Return what the number at a place of a flattened row is called, such as 'X[3,0]'."""
        time, inside = divmod(place, self.telling_places)
        return f"{self.name}[{time},{inside}]"

    def undecoded(self) -> ArraySpec:
        """Return what is stored."""
        return self.source.undecoded()

    def labelled(self, labels: Labels) -> "SequenceSpec":
        """Return it with its values read as codes of labels."""
        return self._of(self.source.labelled(labels))

    def unlabelled(self) -> "SequenceSpec":
        """Return it with its values as they are, whatever they stand for."""
        return self._of(self.source.unlabelled())

    def beside(self, spec: ArraySpec) -> ArraySpec:
        """Return an array of the same times as it stands beside these rows."""
        return last_of_sequences(spec, self.length, self.stride)

    def to_json(self) -> dict[str, Any]:
        """Return what is known of it, JSON-ready."""
        own = {"length": self.length, "stride": self.stride, "last": self.is_last}
        return {**self.source.to_json(), "shape": list(self.shape), "sequences": own}

    def _of(self, source: ArraySpec) -> "SequenceSpec":
        return replace(self, source=source, dtype=source.dtype, labels=source.labels)


def sequences_of(source: ArraySpec, length: int, stride: int) -> SequenceSpec:
    """Describe sequences of an array, of so many times, one every `stride` times.

    Examples
    --------
    >>> stored = ArraySpec("X", (100, 3), np.dtype("float32"), (20, 3), None)
    >>> found = sequences_of(stored, 10, 4)
    >>> found.shape, found.overlap, found.row_bytes, found.kept_row_bytes
    ((23, 10, 3), 2, 120, 48)
    """
    return _described(source, length, stride, is_last=False)


def last_of_sequences(source: ArraySpec, length: int, stride: int) -> SequenceSpec:
    """Describe an array's values at the last times of sequences."""
    return _described(source, length, stride, is_last=True)


def _described(source: ArraySpec, length: int, stride: int, is_last: bool) -> SequenceSpec:
    rows = (source.shape[0] - length) // stride + 1
    inside = () if is_last else (length,)
    return SequenceSpec(
        source.name,
        (rows, *inside, *source.shape[1:]),
        source.dtype,
        (max(1, min(rows, source.chunks[0] // stride)), *inside, *source.chunks[1:]),
        None,
        problem=source.problem,
        labels=source.labels,
        source=source,
        length=length,
        stride=stride,
        is_last=is_last,
    )
