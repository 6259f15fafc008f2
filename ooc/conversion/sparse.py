"""Sparse rows: today they become dense ones, where that is asked for or costs little.

What writes them as they are is to take `SparseRows` here, and to be asked in `check_dense`.
"""

from dataclasses import dataclass
from pathlib import Path

from ooc.core.errors import InputError
from ooc.core.sizes import format_size

# Dense rows that are larger than the sparse ones by more than this are written where that is asked.
MOST_GROWTH = 4.0
INDEX_BYTES = 4


@dataclass(frozen=True)
class SparseRows:
    """A sparse matrix of a source: its rows, columns and stored values, and bytes of a value."""

    rows: int
    columns: int
    stored: int
    value_bytes: int

    @property
    def sparse_bytes(self) -> int:
        """Bytes of values and indices."""
        return self.stored * (self.value_bytes + INDEX_BYTES) + 8 * (self.rows + 1)

    @property
    def dense_bytes(self) -> int:
        """Bytes of all values, zeros too."""
        return self.rows * self.columns * self.value_bytes


def check_dense(path: Path, name: str, matrix: SparseRows, dense: bool, choose: str) -> None:
    """Refuse to write sparse rows as dense ones that are many times as large, unless asked to."""
    if dense or matrix.dense_bytes <= MOST_GROWTH * matrix.sparse_bytes:
        return
    share = 100 * matrix.stored / max(1, matrix.rows * matrix.columns)
    raise InputError(
        f"{name} of {path} is sparse: {share:.2g}% of {matrix.rows:,} x {matrix.columns:,} values "
        f"are stored, and dense rows take {format_size(matrix.dense_bytes)} instead of "
        f"{format_size(matrix.sparse_bytes)}; give --dense to write them so all the same{choose}"
    )
