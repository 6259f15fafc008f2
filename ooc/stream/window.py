"""Windows: decoded blocks from all over the dataset, and the order in which rows are visited."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ooc.store.spec import ArraySpec
from ooc.store.stores import Stores


class ByRole:
    """Arrays by what they are for, of whatever has `arrays` and `roles`."""

    arrays: dict[str, np.ndarray]
    roles: tuple[str, str | None, str | None]

    @property
    def features(self) -> np.ndarray:
        """The rows of the features array."""
        return self.arrays[self.roles[0]]

    @property
    def target(self) -> np.ndarray | None:
        """The rows of the target array, if it travels."""
        return self.arrays.get(self.roles[1] or "")

    @property
    def weight(self) -> np.ndarray | None:
        """The rows of the weight array, if it travels."""
        return self.arrays.get(self.roles[2] or "")


@dataclass(frozen=True)
class Window(ByRole):
    """Decoded blocks from all over the dataset, and the order in which their rows are visited.

    Attributes
    ----------
    arrays
        For each array (rows, ...), views of a slab: valid until the next window is asked for.
    order
        (rows,) int32 places in the arrays.
    start
        First place in `order` that is not used yet.
    block_starts, block_rows
        Row of the dataset at which each block starts, and places of a block in the arrays.
    overlap
        How many of these, its last ones, hold no row: room for rows that overlap.
    last
        Whether the epoch ends with it.
    skipped_chunks, skipped_rows
        What could not be read, and the rows that are left out of `order`, for it or because they
        lack a value.
    missing
        How many of its rows lacked a value and were left out or filled, by array.
    wait_seconds
        How long its reading kept the caller waiting.
    weights
        (places,) float64, what the rows were drawn by; None where each is visited once.
    stores
        Of which store a row is, where there are several.
    joined
        What the features are made of, where that is several arrays, or columns of one.
    block_lanes
        (blocks,) int64, the lane of each block, where there are several.
    """

    arrays: dict[str, np.ndarray]
    roles: tuple[str, str | None, str | None]
    order: np.ndarray
    start: int
    block_starts: np.ndarray
    block_rows: int
    epoch: int
    index: int
    last: bool
    skipped_chunks: int = 0
    skipped_rows: int = 0
    wait_seconds: float = 0.0
    weights: np.ndarray | None = None
    missing: Mapping[str, int] = field(default_factory=dict)
    stores: Stores | None = None
    joined: ArraySpec | None = None
    block_lanes: np.ndarray | None = None
    overlap: int = 0

    def rows(self, places: np.ndarray) -> np.ndarray:
        """Return the rows of the dataset (int64) at places in the arrays."""
        block, inside = np.divmod(places, self.block_rows)
        return self.block_starts[block] + inside
