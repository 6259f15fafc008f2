"""Bytes of chunks into memory that the caller owns: one interface for every store and format."""

from pathlib import Path

import numpy as np
from zarr.buffer import cpu

from ooc.dataset import open_zarr_array
from ooc.errors import DataError

# Decoding one block through zarr-python holds the stored chunk, the decoded chunk and a copy.
DECODE_COPIES = 3


class RowReader:
    """Reads runs of rows of one array through zarr-python.

    Parameters
    ----------
    path
        Folder or URL of the dataset.
    name
        The array to read.
    missing
        Whether a file that is not there is an error ("raise") or the fill value ("fill").
    """

    def __init__(self, path: str, name: str, missing: str = "raise") -> None:
        self.path = path
        self.name = name
        self.missing = missing
        self._array = open_zarr_array(path, name)

    def allocate(self, rows: int) -> np.ndarray:
        """Return new memory for this many rows."""
        return np.empty((rows, *self._array.shape[1:]), self._array.dtype)

    def read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        """Fill `out`, shape (stop - start, ...), with rows start to stop.

        Raises
        ------
        DataError
            If a chunk is missing or does not decode; array and rows are named.
        """
        self._check_stored(start, stop)
        try:
            self._array.get_basic_selection(
                slice(start, stop), out=cpu.NDBuffer.from_numpy_array(out)
            )
        except Exception as error:  # codecs raise errors of many unrelated kinds
            raise DataError(
                f"array {self.name} of {self.path}, rows {start} to {stop - 1}, cannot be read: "
                f"{error or type(error).__name__}; restore the file from its source"
            ) from error

    def _check_stored(self, start: int, stop: int) -> None:
        """Refuse files that are not there, which zarr-python would read as the fill value."""
        root = getattr(self._array.store, "root", None)
        if root is None or self.missing == "fill":
            return
        grid = self._array.shards or self._array.chunks
        for row in range(start // grid[0], -(-stop // grid[0])):
            for rest in np.ndindex(*_chunks_across(self._array.shape, grid)):
                key = self._array.metadata.encode_chunk_key((row, *rest))
                file = Path(root, self._array.path, key)
                if not file.exists():
                    raise DataError(
                        f"array {self.name} of {self.path} has no chunk {key}, which holds rows "
                        f"from {row * grid[0]} on: {file} is missing; restore it from its source, "
                        'or open with missing="fill" if it was left out as the fill value'
                    )


def _chunks_across(shape: tuple[int, ...], grid: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-length // step) for length, step in zip(shape[1:], grid[1:], strict=True))
