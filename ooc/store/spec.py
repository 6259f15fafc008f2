"""What the readers and the plan need to know of one array, from its metadata."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ooc.core.sizes import format_size
from ooc.store.conventions import Conventions
from ooc.store.labels import Labels


@dataclass(frozen=True)
class ArraySpec:
    """What the readers and the plan need to know of one array; chunks are the inner ones.

    Attributes
    ----------
    dtype
        Of the values as they are read: decoded by the conventions, if there are any.
    problem
        Why what attributes declare cannot be honoured; such an array is not read.
    labels
        Of a target whose values are read as codes 0 to K - 1: what they stand for.
    is_sparse
        Whether rows are stored as their non-zeros, see `ooc.store.sparse.SparseSpec`.
    is_joined
        Whether it is made of others that are stored, see `ooc.store.joined.JoinedSpec`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    conventions: Conventions | None = None
    problem: str | None = None
    labels: Labels | None = None

    is_sparse: ClassVar[bool] = False
    is_joined: ClassVar[bool] = False

    @property
    def overlap(self) -> int:
        """How many rows after a row share values with it: there is room for them behind a block."""
        return 0

    @property
    def declares_missing(self) -> bool:
        """Whether some of its values may be missing: they are read as NaN."""
        return self.conventions is not None and self.conventions.declares_missing

    @property
    def row_bytes(self) -> int:
        """Decoded bytes of one row."""
        return self.dtype.itemsize * math.prod(self.shape[1:])

    @property
    def kept_row_bytes(self) -> int:
        """Bytes that a further row takes in a window's memory."""
        return self.row_bytes

    @property
    def taken_row_bytes(self) -> int:
        """Bytes that are taken of what is decoded for a row."""
        return self.row_bytes

    @property
    def read_row_bytes(self) -> int:
        """Bytes that are decoded for a row even where all rows of a chunk are used."""
        return self.row_bytes

    @property
    def telling_places(self) -> int:
        """How many of a row's first values tell how rows differ: all of them."""
        return math.prod(self.shape[1:])

    @property
    def chunk_bytes(self) -> int:
        """Decoded bytes of one chunk."""
        return self.dtype.itemsize * math.prod(self.chunks)

    @property
    def chunks_across(self) -> int:
        """Chunks that one row is spread over."""
        axes = zip(self.shape[1:], self.chunks[1:], strict=True)
        return math.prod(-(-length // chunk) for length, chunk in axes)

    @property
    def stored_chunks(self) -> int:
        """Chunks of the whole array."""
        return -(-self.shape[0] // self.chunks[0]) * self.chunks_across

    @property
    def index_bytes(self) -> int:
        """Bytes of the indices of its shards, which readers keep."""
        return 16 * self.stored_chunks if self.shards else 0

    def describe(self) -> str:
        """Say in one line what the array is, such as 'float32 (9, 3), 108 B, chunks (9, 3)'."""
        size = format_size(self.row_bytes * self.shape[0])
        shards = f", shards {self.shards}" if self.shards else ""
        if self.labels is not None and self.labels.is_text:
            return f"text {self.shape}, labels, chunks {self.chunks}{shards}"
        return f"{self.dtype} {self.shape}, {size}, chunks {self.chunks}{shards}"

    def stored_at(self, place: int) -> tuple["ArraySpec", int]:
        """Return the array that stores the number at a place of a row, and its place there."""
        return self, place

    def number_name(self, place: int) -> str:
        """Return what the number at a place of a flattened row is called, such as 'X[3]'."""
        return f"{self.name}[{place}]"

    def memory(self, rows: int, allocate: Callable[..., np.ndarray] = np.empty) -> np.ndarray:
        """Return memory for so many rows, which `allocate` makes of a shape and a dtype."""
        return allocate((rows, *self.shape[1:]), self.dtype)

    def beside(self, spec: "ArraySpec") -> "ArraySpec":
        """Return an array of as many entries as it stands beside these rows."""
        return spec

    def undecoded(self) -> "ArraySpec":
        """Return the array as it is stored, whatever its attributes declare."""
        dtype = self.dtype if self.labels is None else self.labels.stored
        dtype = dtype if self.conventions is None else self.conventions.stored
        return replace(self, dtype=dtype, conventions=None, problem=None, labels=None)

    def labelled(self, labels: Labels) -> "ArraySpec":
        """Return the array with its values read as codes of labels."""
        return replace(self, dtype=self.dtype if labels.are_codes else labels.dtype, labels=labels)

    def unlabelled(self) -> "ArraySpec":
        """Return the array with its values as they are, whatever they stand for."""
        return self if self.labels is None else replace(self, dtype=self.labels.stored, labels=None)

    def to_json(self) -> dict[str, Any]:
        """Return the array's metadata, JSON-ready."""
        return {
            "dtype": str(self.dtype),
            "shape": list(self.shape),
            "chunks": list(self.chunks),
            "shards": list(self.shards) if self.shards else None,
            "bytes": self.row_bytes * self.shape[0],
            **({"conventions": self.conventions.to_json()} if self.conventions else {}),
            **({"problem": self.problem} if self.problem else {}),
        }

    def decoded_bytes(self, start: int, stop: int) -> int:
        """Return the bytes that are decoded to read rows start to stop: whole chunks."""
        chunk_rows = self.chunks[0]
        touched = -(-stop // chunk_rows) - start // chunk_rows
        return touched * self.chunks_across * self.chunk_bytes

    def most_decoded_bytes(self, rows: int) -> int:
        """Return the most bytes that are decoded for any aligned block of this many rows."""
        chunk_rows = self.chunks[0]
        unaligned = 0 if rows % chunk_rows == 0 else chunk_rows - 1
        return self.decoded_bytes(0, rows + unaligned)
