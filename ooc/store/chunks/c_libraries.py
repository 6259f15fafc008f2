"""The C functions of codec libraries, for compiled code that calls them without the interpreter.

They are those that the modules of numcodecs and crc32c are built of, found by their names, and for
blosc those of the package blosc2, where it is installed: they keep their memory from chunk to
chunk, where those of numcodecs ask for new memory each time, of which the allocator keeps ten times
as much. A library may not show them, or another version may mean something else by them: each is
tried on a few bytes before it is used, and where it does not do as it should it is left out.
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import crc32c
import numcodecs
import numpy as np

from ooc.store.chunks.codecs import (
    Decoder,
    decode_blosc,
    decode_lz4,
    decode_zstd,
    verify_crc32c,
)

# How a chunk's bytes become values, as `ooc.store.chunks.reading_kernel` tells them apart.
PLAIN, BLOSC, ZSTD, LZ4 = range(4)
ALL_BITS = 2**32 - 1

_POINTER, _SIZE, _INT, _CRC = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_uint32
_SIGNED = ctypes.c_int32


@dataclass(frozen=True)
class ChunkDecoder:
    """How a chunk is verified and decoded in C.

    Attributes
    ----------
    kind
        `PLAIN`, `BLOSC`, `ZSTD` or `LZ4`.
    decode, checksum
        Addresses of functions; without a checksum 0, as that of `PLAIN` bytes, which are copied.
    """

    kind: int
    decode: int
    checksum: int


def chunk_decoder(decoders: Sequence[Decoder]) -> ChunkDecoder | None:
    """Return how C decodes what these decoders do, None where it cannot.

    Examples
    --------
    >>> chunk_decoder([verify_crc32c, decode_zstd]).kind == ZSTD
    True
    >>> chunk_decoder([decode_zstd, decode_zstd]) is None
    True
    """
    rest, checksum = list(decoders), 0
    if libc_functions() is None:
        return None
    if rest and _is(rest[0], verify_crc32c, location="end"):
        del rest[0]
        if not (checksum := _checksum()):
            return None
    if not rest:
        return ChunkDecoder(PLAIN, 0, checksum)
    found = next((kind for decode, kind in _KINDS.items() if _is(rest[0], decode)), None)
    if len(rest) > 1 or found is None or not (address := _decoder(found)):
        return None
    return ChunkDecoder(found, address, checksum)


_BLOSC_NAMES = ("libblosc2.so", "libblosc2.dylib")
_KINDS = {decode_blosc: BLOSC, decode_zstd: ZSTD, decode_lz4: LZ4}


def _is(decoder: Any, function: Callable[..., Any], **settings: Any) -> bool:
    """Tell whether a decoder is a function, with no settings but these."""
    given = decoder.keywords if isinstance(decoder, partial) else {}
    return getattr(decoder, "func", decoder) is function and given in ({}, settings)


@cache
def libc_functions() -> tuple[int, ...] | None:
    """Return the addresses of syscall(2), pread(2) and posix_fadvise(2) for offsets of 64 bits.

    None where the C library has not all of them.
    """
    libc = ctypes.CDLL(None)
    try:
        return tuple(_address(libc[name]) for name in ("syscall", "pread64", "posix_fadvise64"))
    except AttributeError:
        return None


@cache
def _checksum() -> int:
    """Return the function that has a CRC-32C go on over some bytes; 0 without it.

    It begins and ends with all bits turned over.
    """
    module = getattr(crc32c, "_crc32c", None)
    if module is None:
        return 0
    name = "_crc32c_hw_adler" if crc32c.hardware_based else "_crc32c_sw_slicing_by_8"
    function = _function(module.__file__, name, _CRC, _CRC, _POINTER, ctypes.c_ulong)
    known = np.frombuffer(b"123456789" * 9000, np.uint8)
    for length in (9, len(known)):
        wanted = crc32c.crc32c(known[:length].data) ^ ALL_BITS
        if function is None or function(ALL_BITS, known.ctypes.data, length) != wanted:
            return 0
    return _address(function)


class BloscContext:
    """What blosc2 keeps from chunk to chunk, of one thread.

    Attributes
    ----------
    address
        Of it in memory; 0 without the library.
    """

    address = 0

    def __init__(self) -> None:
        library = _blosc_library()
        if library is not None:
            create = _function(library, "blosc2_create_dctx", _POINTER, _BloscParameters)
            self._free = _function(library, "blosc2_free_ctx", None, _POINTER)
            self.address = create(_BloscParameters(1)) or 0 if create and self._free else 0

    def __del__(self) -> None:
        if self.address:
            self._free(self.address)


class _BloscParameters(ctypes.Structure):
    """blosc2_dparams: a number of threads, and zeros, of which other versions may have more."""

    _fields_ = (("threads", ctypes.c_int), ("others", ctypes.c_void_p * 8))


@cache
def _blosc_library() -> str | None:
    """Return the file of blosc2's library, without importing the package."""
    try:
        found = find_spec("blosc2")
    except (ImportError, ValueError):
        return None
    folders = [] if found is None else list(found.submodule_search_locations or ())
    names = [Path(folder, "lib", name) for folder in folders for name in _BLOSC_NAMES]
    return next((str(each) for each in names if each.exists()), None)


@cache
def _decoder(kind: int) -> int:
    """Return the function that decodes a kind; 0 without it."""
    values = np.arange(5000, dtype=np.int32)
    out = np.zeros_like(values)
    address = out.ctypes.data
    if kind == BLOSC:
        library, context = _blosc_library(), BloscContext()
        if library is None or not context.address:
            return 0
        function = _function(
            library, "blosc2_decompress_ctx", _INT, _POINTER, _POINTER, _SIGNED, _POINTER, _SIGNED
        )
        stored = np.frombuffer(numcodecs.Blosc("lz4").encode(values), np.uint8)
        given: tuple[int, ...] = (
            context.address, stored.ctypes.data, len(stored), address, out.nbytes,
        )  # fmt: skip
    elif kind == ZSTD:
        function = _function(
            numcodecs.zstd.__file__, "ZSTD_decompress", _SIZE, _POINTER, _SIZE, _POINTER, _SIZE
        )
        stored = np.frombuffer(numcodecs.Zstd().encode(values), np.uint8)
        given = address, out.nbytes, stored.ctypes.data, len(stored)
    else:
        function = _function(
            numcodecs.lz4.__file__, "LZ4_decompress_safe", _INT, _POINTER, _POINTER, _INT, _INT
        )
        stored = np.frombuffer(numcodecs.LZ4().encode(values), np.uint8)
        given = stored.ctypes.data + 4, address, len(stored) - 4, out.nbytes
    if function is None or function(*given) != out.nbytes or (out != values).any():
        return 0
    return _address(function)


def _function(library: str, name: str, told: Any, *given: Any) -> Any:
    """Return a function of a library, such as a module that was built of it; None without it."""
    try:
        function = ctypes.CDLL(library)[name]
    except (OSError, AttributeError):
        return None
    function.restype, function.argtypes = told, given
    return function


def _address(function: Any) -> int:
    return ctypes.cast(function, _POINTER).value or 0
