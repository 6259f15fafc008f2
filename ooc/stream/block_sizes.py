"""How many rows a block has, and what blocks and batches of rows take at most."""

from collections.abc import Sequence

import numpy as np

from ooc.core.errors import InputError
from ooc.store.dataset import ArraySpec
from ooc.store.sparse import EXTENT_BYTES, SparseSpec

SMALLEST_BLOCK = 256 * 2**10
MOST_AMPLIFICATION = 1.25
FEWEST_BLOCKS = 64
# Of sparse rows no block ends where a chunk does: one of few chunks decodes much for nothing. So
# few do where they are alike, as the targets tell: see `ooc.stream.window_advice`.
FEWEST_SPARSE_BLOCKS = 10


def heaviest_blocks(specs: Sequence[ArraySpec], block_rows: int) -> np.ndarray | None:
    """Return the most bytes that non-zeros of one block, of two, and so on take: (K,) int64."""
    found = [
        spec.heaviest(block_rows) * spec.value_bytes
        for spec in specs
        if isinstance(spec, SparseSpec)
    ]
    return sum(found[1:], found[0]) if found else None


def batch_bytes(specs: Sequence[ArraySpec], rows: int) -> int:
    """Return the most bytes that so many rows of some arrays take, as a batch."""
    found = 0
    for spec in specs:
        found += rows * (EXTENT_BYTES if isinstance(spec, SparseSpec) else spec.row_bytes)
        if isinstance(spec, SparseSpec):
            # Beside values and columns there are their places in the window for a moment.
            found += spec.most_nonzeros(rows) * (spec.value_bytes + 8)
    return found


def check_units(specs: Sequence[ArraySpec], block_rows: int, rows: int) -> None:
    """Refuse blocks that begin where nobody knows the place of their non-zeros."""
    for spec in specs:
        if isinstance(spec, SparseSpec) and block_rows % spec.unit and block_rows < rows:
            raise InputError(
                f"a block of {block_rows} rows does not go with {spec.name}, where the place of "
                f"every {spec.unit} rows is known; take a multiple of {spec.unit}"
            )


def choose_block_rows(
    specs: Sequence[ArraySpec], rows: int, chunk_rows: int, row_bytes: int, window_bytes: int
) -> int:
    """Choose the rows of a block: one chunk of the features, or a few."""
    block_rows = chunk_rows
    is_sparse = any(spec.is_sparse for spec in specs)
    fewest = FEWEST_SPARSE_BLOCKS if is_sparse else FEWEST_BLOCKS
    # A block is doubled while it is too small to be read well, or while other arrays with longer
    # chunks make reading it decode much that is not used, and while a window holds many blocks.
    while block_rows < rows:
        small = block_rows * row_bytes < SMALLEST_BLOCK
        # Columns that share a chunk with wanted ones are decoded whatever a block is.
        decoded = amplification_of(specs, block_rows, rows) * sum(s.taken_row_bytes for s in specs)
        wasteful = decoded > MOST_AMPLIFICATION * sum(spec.read_row_bytes for spec in specs)
        room = window_bytes // (2 * block_rows * row_bytes) >= fewest
        if not ((small or wasteful) and room):
            break
        block_rows *= 2
    return block_rows


def amplification_of(specs: Sequence[ArraySpec], block_rows: int, rows: int) -> float:
    """Return decoded over used bytes, judged by the first blocks."""
    used = min(64 * block_rows, rows)
    decoded = sum(
        spec.decoded_bytes(start, min(start + block_rows, rows))
        for spec in specs
        for start in range(0, used, block_rows)
    )
    return decoded / (used * sum(spec.taken_row_bytes for spec in specs))
