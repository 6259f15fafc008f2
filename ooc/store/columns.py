"""A few arrays of a dataset, read in order, piece by piece: for counts that need every row once."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ooc.store.chunks import BadChunkError, open_reader
from ooc.store.chunks.row_reader import BadChunks
from ooc.store.dataset import Dataset

PIECE_BYTES = 4 * 2**20


def pieces_of(
    dataset: Dataset,
    names: Sequence[str],
    block_rows: int | None = None,
    bad: BadChunks = None,
) -> Iterator[tuple[int, int, dict[str, np.ndarray]]]:
    """Yield (first row, stop, values by name) of all stored rows; values last until the next.

    Pieces begin at multiples of `block_rows`, by default of a chunk of the first array; without
    names only the numbers of rows are gone through. Chunks that cannot be read are noted in `bad`.
    """
    specs, rows = dataset.specs(tuple(names)), dataset.stored_rows
    unit = block_rows or (specs[0].chunks[0] if specs else 1)
    row_bytes = max(8, sum(spec.kept_row_bytes for spec in specs))
    step = max(1, PIECE_BYTES // (unit * row_bytes)) * unit
    readers = {spec.name: open_reader(dataset, spec.name) for spec in specs}
    memory = {spec.name: spec.memory(min(step, rows)) for spec in specs}
    for first in range(0, rows, step):
        stop = min(first + step, rows)
        values = {name: array[: stop - first] for name, array in memory.items()}
        for name, reader in readers.items():
            reader.read_runs([(first, stop)], values[name], bad)
        yield first, stop, values


def used_pieces(
    dataset: Dataset, names: Sequence[str], block_rows: int | None = None, skip_bad: bool = False
) -> Iterator[tuple[int, dict[str, np.ndarray], np.ndarray]]:
    """Yield (first row, values, which rows are used), pieces as `pieces_of` yields them.

    With `skip_bad`, rows of chunks that cannot be read are not used.
    """
    selection, bad = dataset.selection, list[BadChunkError]()
    wanted = dict.fromkeys((*names, *(selection.arrays if selection else ())))
    noted = bad if skip_bad else None
    for first, stop, values in pieces_of(dataset, tuple(wanted), block_rows, noted):
        used = np.ones(stop - first, bool)
        if selection:
            used = selection.contains(first, stop, values)
        while bad:
            start, last = bad.pop().rows
            used[max(start - first, 0) : last + 1 - first] = False
        yield first, values, used


def block_sums(
    dataset: Dataset,
    names: Sequence[str],
    block_rows: int,
    weigh: Callable[[int, dict[str, np.ndarray], np.ndarray], np.ndarray],
) -> np.ndarray:
    """Add up for each block of the store what its used rows weigh: (K,) float64.

    `weigh` is called with what `used_pieces` yields, and returns the weights of all its rows.
    """
    sums = np.zeros(-(-dataset.stored_rows // block_rows))
    for first, values, used in used_pieces(dataset, names, block_rows):
        weights = weigh(first, values, used) * used
        starts = np.arange(0, len(used), block_rows)
        block = first // block_rows
        sums[block : block + len(starts)] = np.add.reduceat(weights, starts)
    return sums


def count_labels(counts: Counter[int], labels: np.ndarray) -> None:
    """Add to each label's count how often it is among these."""
    found, numbers = np.unique(labels, return_counts=True)
    counts.update(dict(zip(found.tolist(), numbers.tolist(), strict=True)))
