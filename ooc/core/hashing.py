"""Integer functions that look random: one mixer of 64 bits, and a key of its own for every row.

Rows sorted by key are in uniformly random order, those below a limit a uniformly random subset.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ooc.core import random_keys
from ooc.core.compile_child import Compilation
from ooc.core.compiler import exact_kernel, kernel_for

GOLDEN = np.uint64(random_keys.GOLDEN)
ALL_BITS = np.uint64(random_keys.ALL_BITS)
PIECE_ROWS = 2**18


# Of a uint64, in kernels.
mix: Callable[[Any], Any] = exact_kernel(random_keys.splitmix)


@exact_kernel
def fill_row_keys(first: int, key: int, out: np.ndarray) -> None:
    """Fill `out` (uint64) with the keys of rows first, first + 1, ..."""
    for i in range(out.size):
        out[i] = mix(np.uint64(key) + np.uint64(first + i + 1) * GOLDEN)


@exact_kernel
def keys_of(values: np.ndarray, key: int) -> np.ndarray:
    """Return the uint64 keys of any row numbers or labels (int64)."""
    out = np.empty(values.size, np.uint64)
    for i in range(values.size):
        out[i] = mix(np.uint64(key) + np.uint64(values[i] + 1) * GOLDEN)
    return out


@exact_kernel
def _count_bins(keys: np.ndarray, groups: np.ndarray, shift: int, counts: np.ndarray) -> None:
    for i in range(keys.size):
        group = groups[i] if groups.size else 0
        counts[group, np.int64(keys[i] >> np.uint64(shift))] += 1


def hashing_kernels() -> list[Compilation]:
    """Return the compilations that splits of rows need."""
    numbers, keys = np.zeros(1, np.int64), np.zeros(1, np.uint64)
    return [
        kernel_for(fill_row_keys, 1, 1, keys),
        kernel_for(keys_of, numbers, 1),
        kernel_for(_count_bins, keys, numbers, 1, np.zeros((1, 1), np.int64)),
    ]


KeyPieces = Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]


def keys_of_rows(rows: int, key: int) -> KeyPieces:
    """Return what yields the keys of rows 0 to rows - 1, piece by piece, of one group."""

    def pieces() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        out, alone = np.empty(min(rows, PIECE_ROWS), np.uint64), np.empty(0, np.int64)
        for first in range(0, rows, PIECE_ROWS):
            part = out[: min(PIECE_ROWS, rows - first)]
            fill_row_keys(first, key, part)
            yield part, alone

    return pieces


def keys_at_ranks(pieces: KeyPieces, ranks: list[np.ndarray], bits: int = 20) -> list[np.ndarray]:
    """Find exact order statistics of distinct keys in two passes and little memory.

    The first pass counts keys by their leading bits, the second one collects those that share
    their leading bits with a wanted key.

    Parameters
    ----------
    pieces
        Yields (keys, groups), uint64 and int64; an empty `groups` means that there is one group.
    ranks
        For each group ascending ranks: how many keys of the group are below the wanted key, of
        which one is returned for each. A rank equal to the group's size gives the largest uint64.
    bits
        Leading bits that are counted.

    Examples
    --------
    >>> keys = np.array([50, 20, 40, 10, 30], np.uint64) << np.uint64(56)
    >>> found = keys_at_ranks(lambda: iter([(keys, np.empty(0, np.int64))]), [np.array([0, 2, 4])])
    >>> (found[0] >> np.uint64(56)).tolist()
    [10, 30, 50]
    """
    shift = 64 - bits
    counts = np.zeros((len(ranks), 2**bits), np.int64)
    for keys, groups in pieces():
        _count_bins(keys, groups, shift, counts)
    below = np.cumsum(counts, axis=1)
    bins = [np.searchsorted(below[group], wanted, "right") for group, wanted in enumerate(ranks)]
    is_wanted = np.zeros((len(ranks), 2**bits + 1), bool)
    for group, each in enumerate(bins):
        is_wanted[group, each] = True
    found: list[list[np.ndarray]] = [[np.empty(0, np.uint64)] for _ in ranks]
    for keys, groups in pieces():
        leading = (keys >> np.uint64(shift)).astype(np.int64)
        for group, wanted in enumerate(is_wanted):
            hit = wanted[leading]
            found[group].append(keys[hit & (groups == group) if groups.size else hit])
    out = [np.full(len(wanted), ALL_BITS) for wanted in ranks]
    for group, values in enumerate(out):
        keys = np.sort(np.concatenate(found[group]))
        inside = bins[group] < 2**bits
        bin_ = bins[group][inside]
        before = below[group, bin_] - counts[group, bin_]
        starts = np.searchsorted((keys >> np.uint64(shift)).astype(np.int64), bin_)
        values[inside] = keys[starts + ranks[group][inside] - before]
    return out
