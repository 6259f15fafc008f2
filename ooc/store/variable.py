"""Strings and bytes without a fixed size, as bytes of one width: the length, the value, zeros."""

import struct
from typing import Any

import numpy as np

LENGTH_BYTES = 4


def pack_values(values: np.ndarray, width: int) -> np.ndarray:
    """Return strings or bytes as (..., width) uint8: the length, the bytes, then zeros.

    Examples
    --------
    >>> pack_values(np.array(["ab", ""], object), 6).tolist()
    [[2, 0, 0, 0, 97, 98], [0, 0, 0, 0, 0, 0]]
    """
    packed = bytearray(values.size * width)
    for number, value in enumerate(values.ravel().tolist()):
        stored, start = as_bytes(value), number * width
        packed[start : start + LENGTH_BYTES + len(stored)] = struct.pack("<I", len(stored)) + stored
    return np.frombuffer(packed, np.uint8).reshape(*values.shape, width)


def unpack_values(packed: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return what `pack_values` packed.

    Examples
    --------
    >>> unpack_values(pack_values(np.array(["ab", ""], object), 6), np.dtypes.StringDType())
    array(['ab', ''], dtype=StringDType())
    """
    stored, found = packed.tobytes(), []
    for start in range(0, len(stored), packed.shape[-1]):
        (length,) = struct.unpack_from("<I", stored, start)
        found.append(stored[start + LENGTH_BYTES : start + LENGTH_BYTES + length])
    if dtype.kind != "O":
        texts = [each.decode() for each in found]
        return np.array(texts, dtype).reshape(packed.shape[:-1])
    values = np.empty(len(found), object)
    values[:] = found
    return values.reshape(packed.shape[:-1])


def as_bytes(value: Any) -> bytes:
    """Return a value as it is stored; text as UTF-8."""
    return value if isinstance(value, bytes) else str(value).encode()
