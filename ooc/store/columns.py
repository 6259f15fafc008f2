"""A few arrays of a dataset, read in order, piece by piece: for counts that need every row once."""

from collections.abc import Iterator, Sequence

import numpy as np

from ooc.core.errors import InputError
from ooc.store.chunks import open_reader
from ooc.store.dataset import Dataset

PIECE_BYTES = 4 * 2**20


def pieces_of(
    dataset: Dataset, names: Sequence[str], block_rows: int | None = None
) -> Iterator[tuple[int, int, dict[str, np.ndarray]]]:
    """Yield (first row, stop, values by name) of all stored rows; values last until the next.

    Parameters
    ----------
    dataset, names
        What to read; without names only the numbers of rows are gone through.
    block_rows
        Pieces begin at multiples of this, by default of a chunk of the first array.
    """
    specs, rows = dataset.specs(tuple(names)), dataset.stored_rows
    unit = block_rows or (specs[0].chunks[0] if specs else 1)
    row_bytes = max(8, sum(spec.row_bytes for spec in specs))
    step = max(1, PIECE_BYTES // (unit * row_bytes)) * unit
    readers = {spec.name: open_reader(dataset, spec.name) for spec in specs}
    memory = {spec.name: np.empty((min(step, rows), *spec.shape[1:]), spec.dtype) for spec in specs}
    for first in range(0, rows, step):
        stop = min(first + step, rows)
        values = {name: array[: stop - first] for name, array in memory.items()}
        for name, reader in readers.items():
            reader.read_runs([(first, stop)], values[name])
        yield first, stop, values


def check_one_number_a_row(dataset: Dataset, name: str) -> None:
    """Refuse an array that is not there, or has more than one number a row."""
    (spec,) = dataset.specs((name,))
    if np.prod(spec.shape[1:], dtype=np.int64) != 1:
        raise InputError(
            f"array {name} of {dataset.path} has shape {spec.shape}; it needs one number a row"
        )
