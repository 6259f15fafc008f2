"""Rows of all arrays as records, in one piece of memory: packed, unpacked and summed up.

A record is the row's key, then its bytes of each array, then zeros up to a multiple of 8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ooc.core.compiler import ROWS_AHEAD, copy_bytes, exact_kernel, lean_kernel, prefetch_row
from ooc.core.hashing import GOLDEN, mix
from ooc.store.dataset import ArraySpec

WORD = 8


@dataclass(frozen=True)
class RecordLayout:
    """Where each array's first byte is in a record, and how many bytes all have."""

    names: tuple[str, ...]
    offsets: tuple[int, ...]
    widths: tuple[int, ...]
    record_bytes: int

    @classmethod
    def of(cls, specs: Sequence[ArraySpec]) -> "RecordLayout":
        """Lay out the arrays one after the other.

        Examples
        --------
        >>> x = ArraySpec("X", (9, 3), np.dtype("f4"), (9, 3), None)
        >>> y = ArraySpec("y", (9,), np.dtype("u1"), (9,), None)
        >>> layout = RecordLayout.of([x, y])
        >>> layout.offsets, layout.record_bytes
        ((8, 20), 24)
        """
        widths = tuple(spec.row_bytes for spec in specs)
        ends = np.cumsum([WORD, *widths]).tolist()
        names = tuple(spec.name for spec in specs)
        return cls(names, tuple(ends[:-1]), widths, -(-ends[-1] // WORD) * WORD)

    def pack(
        self,
        arrays: Mapping[str, np.ndarray],
        keys: np.ndarray,
        order: np.ndarray,
        memory: np.ndarray,
    ) -> np.ndarray:
        """Return rows as records, (rows, record bytes), at the beginning of flat memory (uint8).

        Arrays are (rows, ...), the rows' keys uint64, the order (rows,) int64 places in both.
        """
        out = memory[: len(order) * self.record_bytes].reshape(len(order), self.record_bytes)
        out[:, self.offsets[-1] + self.widths[-1] :] = 0
        out.view(np.uint64)[:, 0] = keys[order]
        for name, offset in zip(self.names, self.offsets, strict=True):
            _gather_into(_as_bytes(arrays[name]), order, out, offset)
        return out

    def unpack(self, records: np.ndarray, order: np.ndarray, out: Mapping[str, np.ndarray]) -> None:
        """Fill arrays with the records at these places (int64)."""
        for name, offset in zip(self.names, self.offsets, strict=True):
            _gather_from(records, order, offset, _as_bytes(out[name][: len(order)]))


def _as_bytes(array: np.ndarray) -> np.ndarray:
    """View a contiguous array as (rows, bytes of a row)."""
    return array.reshape(len(array), -1).view(np.uint8)


@exact_kernel
def checksum(records: np.ndarray) -> int:
    """Return a sum over records that does not depend on their order, modulo 2**64.

    Records are (rows, words) uint64. Each one's hash is over its words and their places, the key
    left out. Two different multisets of rows have the same sum with a probability of about 2**-64.
    """
    total = np.uint64(0)
    for i in range(records.shape[0]):
        row = np.uint64(records.shape[1])
        for j in range(1, records.shape[1]):
            word = records[i, j] + np.uint64(j) * GOLDEN
            word = (word ^ (word >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
            row += word ^ (word >> np.uint64(32))
        total += mix(row)
    return total  # type: ignore[return-value]


@lean_kernel
def _gather_into(source: np.ndarray, order: np.ndarray, out: np.ndarray, offset: int) -> None:
    address, width = source.ctypes.data, source.shape[1]
    target, step = out.ctypes.data + offset, out.shape[1]
    for i in range(order.size):
        if i + ROWS_AHEAD < order.size:
            prefetch_row(address + order[i + ROWS_AHEAD] * width, width)
        copy_bytes(target + i * step, address + order[i] * width, width)


@lean_kernel
def _gather_from(records: np.ndarray, order: np.ndarray, offset: int, out: np.ndarray) -> None:
    address, step = records.ctypes.data + offset, records.shape[1]
    target, width = out.ctypes.data, out.shape[1]
    for i in range(order.size):
        if i + ROWS_AHEAD < order.size:
            prefetch_row(address + order[i + ROWS_AHEAD] * step, width)
        copy_bytes(target + i * width, address + order[i] * step, width)
