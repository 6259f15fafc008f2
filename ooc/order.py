"""The order of rows: which blocks a window holds, and how its rows are permuted.

Pure integer functions of a key. Nothing here is as long as the dataset: any window of any epoch
is found without the ones before it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ooc.compiled import exact_kernel
from ooc.errors import InputError
from ooc.hashing import GOLDEN, mix
from ooc.rng import Purpose, key

# Swap-or-not mixes N items in a few times log2(N) rounds; 96 serve up to 2**32 blocks.
ROUNDS = 96


@exact_kernel
def _swap_or_not(x, count, key, round_number):  # type: ignore[no-untyped-def]
    round_key = mix(key + np.uint64(2 * round_number + 1) * GOLDEN)
    partner = (round_key % count + count - x) % count
    larger = max(x, partner)
    bit = mix(mix(key + np.uint64(2 * round_number + 2) * GOLDEN) + larger) & np.uint64(1)
    return partner if bit else x


@exact_kernel
def shuffled(positions: np.ndarray, count: int, key: int) -> np.ndarray:
    """Map positions of a shuffled sequence of `count` items to the items.

    A keyed bijection of 0..count-1 (Hoang, Morris and Rogaway, "An enciphering scheme based on a
    card shuffle", CRYPTO 2012), so that any part of the order is had without the rest.

    Parameters
    ----------
    positions
        (n,) int64, each in 0..count-1.
    count
        Items in the whole sequence.
    key
        key of the permutation, as `ooc.rng.key` makes it.

    Returns
    -------
    numpy.ndarray
        (n,) int64 items.
    """
    items = np.empty(positions.size, np.int64)
    for i in range(positions.size):
        x = np.uint64(positions[i])
        for round_number in range(ROUNDS):
            x = _swap_or_not(x, np.uint64(count), np.uint64(key), round_number)
        items[i] = np.int64(x)
    return items


@exact_kernel
def position_of(item: int, count: int, key: int) -> int:
    """Invert `shuffled` for one item: where in the shuffled sequence it stands."""
    x = np.uint64(item)
    for round_number in range(ROUNDS - 1, -1, -1):
        x = _swap_or_not(x, np.uint64(count), np.uint64(key), round_number)
    return np.int64(x)  # type: ignore[return-value]


@exact_kernel
def permute(out: np.ndarray, key: int) -> None:
    """Fill `out` (int32) with a uniformly random permutation of 0..out.size-1.

    Fisher and Yates, with bounded integers by Lemire's rejection ("Fast random integer generation
    in an interval", 2019), so that every permutation is equally likely.
    """
    state = np.uint64(key)
    low_half = np.uint64(0xFFFFFFFF)
    for i in range(out.size):
        out[i] = i
    for i in range(out.size - 1, 0, -1):
        bound = np.uint64(i + 1)
        state += GOLDEN
        product = (mix(state) >> np.uint64(32)) * bound
        if (product & low_half) < bound:
            threshold = (np.uint64(1 << 32) - bound) % bound
            while (product & low_half) < threshold:
                state += GOLDEN
                product = (mix(state) >> np.uint64(32)) * bound
        j = np.int64(product >> np.uint64(32))
        out[i], out[j] = out[j], out[i]


@dataclass(frozen=True)
class Order:
    """The order in which an epoch visits rows.

    Attributes
    ----------
    rows
        N, rows of the dataset.
    block_rows
        b, rows of a block; the last block may be shorter.
    blocks_per_window
        n, blocks of a window; the last window may hold fewer.
    shuffle
        An entry of `SHUFFLES`.
    seed
        What the order is a function of, with the epoch.
    """

    rows: int
    block_rows: int
    blocks_per_window: int
    shuffle: str = "blocks"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shuffle not in SHUFFLES:
            known = ", ".join(SHUFFLES)
            raise InputError(f"no shuffle is called {self.shuffle!r}; choose one of: {known}")

    @property
    def blocks(self) -> int:
        """K, blocks of the dataset."""
        return -(-self.rows // self.block_rows)

    @property
    def windows(self) -> int:
        """Windows of an epoch."""
        return -(-self.blocks // self.blocks_per_window)

    @property
    def window_rows(self) -> int:
        """Rows of a full window."""
        return min(self.block_rows * self.blocks_per_window, self.rows)

    def window_blocks(self, epoch: int, window: int) -> np.ndarray:
        """Return the blocks of a window as ascending int64, the order in which they are stored.

        The dataset's shorter last block is thus last in its window, too.
        """
        first = window * self.blocks_per_window
        positions = np.arange(first, min(first + self.blocks_per_window, self.blocks))
        return np.sort(SHUFFLES[self.shuffle].items(positions, self.blocks, self._key(epoch)))

    def rows_in(self, blocks: np.ndarray) -> int:
        """Return the rows that these ascending blocks hold."""
        missing = self.blocks * self.block_rows - self.rows
        return len(blocks) * self.block_rows - (missing if blocks[-1] == self.blocks - 1 else 0)

    def permute_rows(self, epoch: int, window: int, out: np.ndarray) -> None:
        """Fill `out` (int32, one entry for each row of the window) with the rows' order."""
        SHUFFLES[self.shuffle].permute(out, key(self.seed, Purpose.ROW_ORDER, epoch, window))

    def locate(self, epoch: int, row: int) -> tuple[int, int]:
        """Return (window, row in it) of a position in the epoch's stream of rows."""
        missing = self.blocks * self.block_rows - self.rows
        last = SHUFFLES[self.shuffle].position(self.blocks - 1, self.blocks, self._key(epoch))
        window_of_last = int(last) // self.blocks_per_window
        full = self.blocks_per_window * self.block_rows
        window = row // full
        if window >= window_of_last and row >= (window_of_last + 1) * full - missing:
            window = (row + missing) // full
        start = window * full - (missing if window > window_of_last else 0)
        return window, row - start

    def _key(self, epoch: int) -> int:
        return key(self.seed, Purpose.BLOCK_ORDER, epoch)


@dataclass(frozen=True)
class Shuffle:
    """One way to order blocks and rows: block at a position, its inverse, rows of a window."""

    items: Callable[[np.ndarray, int, int], np.ndarray]
    position: Callable[[int, int, int], int]
    permute: Callable[[np.ndarray, int], None]


def _as_stored(positions: np.ndarray, count: int, key: int) -> np.ndarray:
    return positions


def _same_position(item: int, count: int, key: int) -> int:
    return item


def _count_up(out: np.ndarray, key: int) -> None:
    out[:] = np.arange(out.size, dtype=out.dtype)


SHUFFLES = {
    "blocks": Shuffle(shuffled, position_of, permute),
    "none": Shuffle(_as_stored, _same_position, _count_up),
}
