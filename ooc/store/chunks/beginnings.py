"""Decode the beginning of a chunk, where its codec can without the rest.

Blocks that end inside chunks, as those of sparse rows do, and arrays whose chunks have more rows
than a block, need no more of a chunk than what comes before their last row. A Zstandard frame (RFC
8878) is decoded in steps of 128 KiB. Blosc's blocks are as large as most chunks: nothing is gained.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import zstandard

from ooc.store.chunks.codecs import (
    Buffer,
    DecodeError,
    Decoder,
    decode_chunk,
    decode_zstd,
    most_stored_bytes,
    zstd_content_size,
)

_HAS_CHECKSUM = 0x04


def decode_beginning(
    decoders: Sequence[Decoder], stored: Buffer, out: np.ndarray, needed: int
) -> int:
    """Decode at least so many bytes of a chunk into `out`; return how many of it are there.

    Parameters
    ----------
    out
        (chunk bytes,) uint8, contiguous.

    Raises
    ------
    DecodeError
        If they cannot be decoded. What comes behind them is not looked at.

    Examples
    --------
    >>> import numcodecs
    >>> values, out = np.arange(300_000, dtype=np.int32), np.empty(1_200_000, np.uint8)
    >>> stored = memoryview(numcodecs.Zstd().encode(values))
    >>> decode_beginning((decode_zstd,), stored, out, 800)
    800
    >>> out.view(np.int32)[:200].tolist() == list(range(200))
    True
    """
    last = decoders[-1] if decoders else None
    decode = BEGINNINGS.get(getattr(last, "func", last))
    if decode is None or needed == out.nbytes:
        decode_chunk(decoders, stored, out)
        return out.nbytes
    data = stored
    try:
        for decoder in decoders[:-1]:
            data = decoder(data, None, most_stored_bytes(out.nbytes))
        if decode(data, out, needed):
            return needed
    except DecodeError:
        raise
    except Exception as error:  # codecs raise errors of many unrelated kinds
        raise DecodeError(f"{type(error).__name__}: {error}") from error
    decode_chunk(decoders[-1:], data, out)
    return out.nbytes


def begin_zstd(stored: Buffer, out: np.ndarray, needed: int) -> bool:
    """Decode the beginning of a frame; not where a checksum is of all that is in it."""
    size = zstd_content_size(stored)
    if size is None or stored[4] & _HAS_CHECKSUM:
        return False
    if size != out.nbytes:
        raise DecodeError(f"it decodes to {size:,} bytes, not to {out.nbytes:,}")
    wanted, place = memoryview(out)[:needed], 0  # type: ignore[arg-type]
    with zstandard.ZstdDecompressor().stream_reader(stored) as stream:
        while place < needed:
            count = stream.readinto(wanted[place:])
            if count == 0:
                raise DecodeError(f"its frame ends after {place:,} of {size:,} bytes")
            place += count
    return True


# By the decoder of a chunk: what fills the first bytes of its memory, or says that it cannot.
BEGINNINGS: dict[Any, Callable[[Buffer, np.ndarray, int], bool]] = {decode_zstd: begin_zstd}
