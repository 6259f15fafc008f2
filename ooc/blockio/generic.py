"""The path through zarr-python: any store, any codec, any order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import ByteRequest
from zarr.buffer import cpu
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from ooc.blockio.errors import BadChunkError
from ooc.dataset import ArraySpec, open_zarr_array

# Decoding one block through zarr-python holds the stored chunk, the decoded chunk and a copy.
DECODE_COPIES = 3
_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


class StrictStore(WrapperStore[Any]):
    """A store in which an object that is not there is an error and not the fill value."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return an object, or a part of it."""
        found: Buffer | None = await super().get(key, prototype, byte_range)
        if found is None and not key.endswith(_METADATA):
            raise KeyError(
                f"{key} is not stored; restore it from its source, or open with "
                'missing="fill" if it was left out as the fill value'
            )
        return found


class ZarrReader:
    """Reads rows of one array through zarr-python, one run at a time.

    Parameters
    ----------
    path
        Folder or URL of the dataset.
    spec
        The array.
    missing
        "raise" or "fill": what a chunk that is not stored means.
    """

    retries = 0

    def __init__(self, path: str, spec: ArraySpec, missing: str) -> None:
        self.path, self.spec, self.missing = path, spec, missing
        array = open_zarr_array(path, spec.name)
        if missing == "raise":
            store = StrictStore(array.store)
            array = zarr.open_array(store, path=array.path, mode="r")
        self._array = array

    def read_runs(
        self,
        runs: Sequence[tuple[int, int]],
        out: np.ndarray,
        bad: list[BadChunkError] | None = None,
    ) -> None:
        """Fill `out` with runs of rows, as `ooc.blockio.native.NativeReader.read_runs` does."""
        place = 0
        for run, (start, stop) in enumerate(runs):
            target = cpu.NDBuffer.from_numpy_array(out[place : place + stop - start])
            place += stop - start
            try:
                self._array.get_basic_selection(slice(start, stop), out=target)
            except Exception as error:  # stores and codecs raise errors of many unrelated kinds
                first = start // self.spec.chunks[0]
                cell = (first, *(0 for _ in self.spec.shape[1:]))
                reason = str(error).strip("'\"") or type(error).__name__
                found = BadChunkError(
                    self.spec.name, self.path, cell, self.path, (start, stop - 1), reason, run
                )
                if bad is None:
                    raise found from error
                bad.append(found)

    def __reduce__(self) -> tuple[Any, ...]:
        return ZarrReader, (self.path, self.spec, self.missing)
