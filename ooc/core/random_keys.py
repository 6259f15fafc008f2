"""The only place that makes random generators: a function of (seed, purpose, epoch, index)."""

from enum import IntEnum

import numpy as np

ALL_BITS = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


class Purpose(IntEnum):
    """What random numbers are for; streams of different purposes never meet."""

    BLOCK_ORDER = 1
    ROW_ORDER = 2
    PARAMETERS = 3
    TRUTH = 4
    DATA = 5
    HELD_OUT_DATA = 6
    BATCH = 7
    EXACT_ORDER = 20
    BLOCK_SAMPLE = 21
    SPLIT = 22
    DRAWS = 23


def splitmix(value: int) -> int:
    """Mix 64 bits: the bijective finaliser of SplitMix64 (Steele, Lea and Flood, 2014).

    The only one: `ooc.core.hashing.mix` is the same function, compiled for uint64.

    Examples
    --------
    >>> [hex(splitmix(number * GOLDEN & ALL_BITS)) for number in (1, 2)]
    ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & ALL_BITS
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & ALL_BITS
    return value ^ (value >> 31)


def key(seed: int, purpose: Purpose, epoch: int = 0, index: int = 0) -> int:
    """Return a 63-bit key, an int64 to a kernel, for the integer functions of `ooc.stream.order`.

    Examples
    --------
    >>> key(0, Purpose.ROW_ORDER, 3, 7) == key(0, Purpose.ROW_ORDER, 7, 3)
    False
    """
    return splitmix(((prefix(seed, purpose, epoch) ^ (index & ALL_BITS)) + GOLDEN) & ALL_BITS) >> 1


def prefix(seed: int, purpose: Purpose, epoch: int = 0) -> int:
    """Return the 64 bits from which a kernel makes the keys of all indices on its own."""
    mixed = 0
    for part in (seed, int(purpose), epoch):
        mixed = splitmix(((mixed ^ (part & ALL_BITS)) + GOLDEN) & ALL_BITS)
    return mixed


def generator(seed: int, purpose: Purpose, epoch: int = 0, index: int = 0) -> np.random.Generator:
    """Return a NumPy generator of its own for (seed, purpose, epoch, index).

    Examples
    --------
    >>> a, b = (generator(0, Purpose.DATA, index=5).random() for _ in range(2))
    >>> a == b
    True
    """
    sequence = np.random.SeedSequence([seed & ALL_BITS, int(purpose), epoch, index])
    return np.random.Generator(np.random.SFC64(sequence))
