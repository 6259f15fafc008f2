"""Does a conversion fit into its budget? How many threads, and how much is under way."""

import os
from dataclasses import dataclass

from ooc.conversion.formats import FORMATS
from ooc.conversion.outputs import Layout
from ooc.conversion.pipeline import AHEAD, GROUP_BYTES
from ooc.conversion.source import Source
from ooc.core.errors import TooSmallError
from ooc.core.sizes import format_size
from ooc.store.fields import CHUNK_BYTES, SHARD_BYTES
from ooc.store.sparse import PARTS
from ooc.stream.plan import MIB

# The interpreter, the imports of every conversion, thread stacks and the allocator's slack.
RESERVED_BYTES = 144 * MIB
MOST_THREADS = 8


@dataclass(frozen=True)
class Fit:
    """How a conversion works within its budget.

    Attributes
    ----------
    threads, depth, ahead
        Threads that read and encode, pieces that they have in hand, and those that are read before
        they are wanted.
    chunk_rows, shard_rows, widest
        Of the store; bytes of a row of its largest array.
    chunk_bytes, shard_bytes
        By which the arrays of sparse matrices are cut.
    """

    threads: int
    depth: int
    ahead: int
    chunk_rows: int
    shard_rows: int
    widest: int
    projected: int
    budget: int
    chunk_bytes: int = CHUNK_BYTES
    shard_bytes: int = SHARD_BYTES


def fit(
    source: Source,
    layout: Layout,
    format_name: str,
    budget: int,
    threads: int | None,
    held: int,
) -> Fit:
    """Fit a conversion into a budget; refuse one into which not even one thread's work fits.

    `held` is what the process held before the source was opened, see `ooc.stream.plan.held_bytes`.
    """
    dense = max((output.field().row_bytes for output in layout.dense), default=0)
    widest = max(dense, *(output.row_bytes for output in layout.sparse), 1)
    chunk_rows = max(1, CHUNK_BYTES // widest)
    shard_rows = chunk_rows * max(1, SHARD_BYTES // (chunk_rows * widest))
    fixed = RESERVED_BYTES + FORMATS[format_name].library_bytes + held + source.held_bytes
    read = sum(source.columns[name].row_bytes for name in layout.names)
    # A piece as it is read, and as the arrays that are made of it.
    read_bytes = source.piece_bytes(layout.names)
    piece = read_bytes * (1 + layout.row_bytes / max(1, read))
    chunk = chunk_rows * layout.row_bytes
    # The chunks of sparse matrices that are begun, and a copy of those that is noted.
    fixed += 2 * len(PARTS) * len(layout.sparse) * CHUNK_BYTES
    group = max(GROUP_BYTES, 2 * chunk)
    wanted = threads or min(MOST_THREADS, (os.cpu_count() or 1) + 1)
    # Where memory is short there are fewer threads; where there is but one, nothing is read ahead.
    for used, ahead in [*((each, AHEAD) for each in range(wanted, 0, -1)), (1, 0)]:
        # Groups that wait to be encoded are views of pieces, which they keep.
        under_way = (2 * used + 3) * piece + ahead * read_bytes + (used + 2) * 2 * group
        projected = int(fixed + 2 * chunk + under_way)
        if projected <= budget:
            shape = (chunk_rows, shard_rows, widest)
            return Fit(used, used + 1, ahead, *shape, projected, budget, CHUNK_BYTES, SHARD_BYTES)
    needed = -(-projected // MIB) * MIB
    raise TooSmallError(
        f"the budget of {format_size(budget)} is below the {format_size(needed)} that converting "
        f"{source.path} needs; raise the memory to {needed // MIB}MiB",
        needed,
    )
