"""Texts as whole numbers, where there are too many different ones to be categories.

A text's number is a function of its UTF-8 bytes alone, and never changes: their FNV-1a hash of 64
bits (Fowler, Noll and Vo, 1991), mixed by SplitMix64's finaliser, of which the upper bits are
kept: as many as the array's type holds, 53 at most, which every reader of floats and the transform
``hash`` hold exactly. No text is -1. How many different ones there are, by which the odds of two
with one number are told, is estimated from the lower bits (HyperLogLog, Flajolet and others 2007).
"""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ooc.conversion.source import HASH, NO_CATEGORY, Column, Texts
from ooc.core.compile_child import Compilation
from ooc.core.compiler import kernel_for, lean_kernel
from ooc.core.hashing import mix

FUNCTION = "FNV-1a of 64 bits of UTF-8, mixed by SplitMix64, upper bits"
MOST_BITS = 53
# Of a sketch: bits that choose its counter. The estimate's standard error is 1.04 / 2^(bits / 2).
SKETCH_BITS = 12
_BASIS, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_ONE = np.uint64(1)


@runtime_checkable
class Utf8(Protocol):
    """Texts that are encoded already."""

    def utf8(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all bytes (uint8), and where each text begins and the last one ends (int64)."""


@lean_kernel
def hash_bytes(
    data: np.ndarray, bounds: np.ndarray, bits: int, out: np.ndarray, sketch: np.ndarray
) -> None:
    """Fill the numbers (int64) of texts, and raise the counters (uint8) of a sketch.

    `data` (uint8) and `bounds` (int64), one more than texts, are as in `Utf8`.
    """
    for i in range(out.size):
        key = _BASIS
        for place in range(bounds[i], bounds[i + 1]):
            key = (key ^ np.uint64(data[place])) * _PRIME
        key = mix(key)
        out[i] = np.int64(key >> np.uint64(64 - bits))
        counter, rest = key & np.uint64(2**SKETCH_BITS - 1), key >> np.uint64(SKETCH_BITS)
        zeros = np.uint8(1)
        while zeros <= 64 - SKETCH_BITS and not rest & _ONE:
            zeros, rest = np.uint8(zeros + 1), rest >> _ONE
        sketch[counter] = max(sketch[counter], zeros)


def hashing_kernels() -> list[Compilation]:
    """Return the compilations that hashing needs."""
    data, bounds, sketch = np.zeros(1, np.uint8), np.zeros(2, np.int64), new_sketch()
    # Bytes of a library's may not be written to.
    data.flags.writeable = bounds.flags.writeable = False
    return [kernel_for(hash_bytes, data, bounds, MOST_BITS, np.zeros(1, np.int64), sketch)]


def hash_texts(texts: Texts, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers of texts (rows,) int64, -1 for none, and a sketch of how many differ.

    Examples
    --------
    >>> texts = Texts(np.array([0, 1, -1, 0], np.int32), ["", "a"])
    >>> [hex(number) for number in hash_texts(texts, 53)[0]]
    ['0x1ea542bd3536bd', '0x5817b7e90284', '-0x1', '0x1ea542bd3536bd']
    """
    data, bounds = _utf8_of(texts.values)
    data.flags.writeable = bounds.flags.writeable = False
    # The last one is for -1.
    numbers, sketch = np.full(len(texts.values) + 1, NO_CATEGORY, np.int64), new_sketch()
    hash_bytes(data, bounds, bits, numbers[:-1], sketch)
    return numbers[texts.codes], sketch


def _utf8_of(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(texts, Utf8):
        return texts.utf8()
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    bounds = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=bounds[1:])
    return np.frombuffer(b"".join(encoded), np.uint8), bounds


def bits_of(dtype: np.dtype) -> int:
    """Return the bits of the numbers that a dtype gets, none of them negative.

    Examples
    --------
    >>> [bits_of(np.dtype(name)) for name in ("int64", "int32", "uint16", "float32")]
    [53, 31, 16, 24]
    """
    exact = np.finfo(dtype).nmant + 1 if dtype.kind == "f" else np.iinfo(dtype).bits
    return min(MOST_BITS, int(exact) - (dtype.kind == "i"))


def hash_notes(columns: Sequence[Column], dtype: np.dtype) -> dict[str, Any]:
    """Return what is noted of an array with columns of hashed text; nothing if there are none."""
    names = [column.name for column in columns if column.kind == HASH]
    told = {"columns": names, "function": FUNCTION, "bits": bits_of(dtype)}
    return {"hashed_text": told} if names else {}


def new_sketch() -> np.ndarray:
    """Return a sketch of no texts."""
    return np.zeros(2**SKETCH_BITS, np.uint8)


def join_sketches(all_: dict[str, np.ndarray], more: Mapping[str, np.ndarray]) -> None:
    """Add sketches of more texts; those that were in it before change nothing."""
    for name, sketch in more.items():
        all_[name] = np.maximum(all_[name], sketch) if name in all_ else sketch


def packed_sketch(sketch: np.ndarray) -> str:
    """Return a sketch for JSON."""
    return base64.standard_b64encode(sketch.tobytes()).decode()


def unpacked_sketch(text: str) -> np.ndarray:
    """Return the sketch that `packed_sketch` packed."""
    return np.frombuffer(base64.standard_b64decode(text), np.uint8)


def count_of(sketch: np.ndarray) -> int:
    """Estimate how many different texts a sketch has seen; the standard error is 1.6 percent."""
    counters = len(sketch)
    found = (
        0.7213 / (1 + 1.079 / counters) * counters**2 / float(np.sum(2.0 ** -sketch.astype(int)))
    )
    unused = int(np.count_nonzero(sketch == 0))
    if found <= 2.5 * counters and unused:
        found = counters * math.log(counters / unused)
    return round(found)


def told_of_hash(sketch: np.ndarray | None, dtype: np.dtype) -> str:
    """Say how many bits a hashed column has, and what the odds are that two texts share a number.

    Examples
    --------
    >>> told_of_hash(None, np.dtype("int32"))
    'hashed to 31 bits, 0 different texts'
    """
    bits = bits_of(dtype)
    count = 0 if sketch is None else count_of(sketch)
    about = "about " if count >= 100 else ""
    pairs = count * (count - 1) / 2 / 2**bits
    told = f"hashed to {bits} bits, {about}{count:,} different texts"
    if pairs == 0:
        return told
    if pairs < 1:
        return f"{told}, of which two share a number with odds of {pairs:.1g}"
    return f"{told}, about {round(pairs):,} pairs of which share a number"
