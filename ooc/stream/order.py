"""The order of rows: which blocks a window holds, and how its rows are permuted.

Pure integer functions of a key. Nothing here is as long as the dataset: any window of any epoch
is found without the ones before it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ooc.core.compile_child import Compilation
from ooc.core.compiler import exact_kernel, kernel_for, small_kernel
from ooc.core.errors import InputError
from ooc.core.hashing import GOLDEN, mix
from ooc.core.numbers import entry_of
from ooc.core.random_keys import Purpose, key
from ooc.stream.draws import Draws, draw_places

# Swap-or-not mixes N items in a few times log2(N) rounds; 96 serve up to 2**32 blocks.
ROUNDS = 96


@small_kernel
def _swap_or_not(x, count, key, round_number):  # type: ignore[no-untyped-def]
    round_key = mix(key + np.uint64(2 * round_number + 1) * GOLDEN)
    partner = (round_key % count + count - x) % count
    larger = max(x, partner)
    bit = mix(mix(key + np.uint64(2 * round_number + 2) * GOLDEN) + larger) & np.uint64(1)
    return partner if bit else x


@exact_kernel
def shuffled(positions: np.ndarray, count: int, key: int) -> np.ndarray:
    """Map positions of a shuffled sequence of `count` items to the items, both (n,) int64.

    A keyed bijection of 0..count-1 (Hoang, Morris and Rogaway, "An enciphering scheme based on a
    card shuffle", CRYPTO 2012), so that any part of the order is had without the rest.
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
class Subset:
    """Blocks that hold rows of one side of a split, ascending, and how many each: (K,) int64."""

    blocks: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Order:
    """The order in which an epoch visits rows.

    Attributes
    ----------
    rows
        Rows of the store.
    block_rows
        b; the last block may be shorter.
    blocks_per_window
        n, blocks of a window; the last window may hold fewer.
    lanes
        L. Block k belongs to lane k mod L, whose blocks and rows are ordered by themselves; the
        stream takes a row of each lane in turn, so that a batch of B rows has B/L of each.
        Only in the last window, where lanes may differ by a block, longer ones go on alone.
    subset, draws
        Which rows are used, where not all are, or how they are drawn.
    """

    rows: int
    block_rows: int
    blocks_per_window: int
    shuffle: str = "blocks"
    seed: int = 0
    lanes: int = 1
    subset: Subset | None = field(default=None, compare=False, repr=False)
    draws: Draws | None = None

    def __post_init__(self) -> None:
        entry_of("shuffle", SHUFFLES, self.shuffle)
        if self.lanes < 1 or self.blocks_per_window % self.lanes:
            raise InputError(
                f"a window of {self.blocks_per_window} blocks cannot be shared by {self.lanes} "
                "lanes; choose lanes that divide it"
            )

    @property
    def stored_blocks(self) -> int:
        """Blocks of the store."""
        return -(-self.rows // self.block_rows)

    @property
    def blocks(self) -> int:
        """K, blocks of an epoch; where rows are drawn, how often one is drawn."""
        if self.draws is not None:
            return -(-self.draws.rows // self.block_rows)
        return self.stored_blocks if self.subset is None else len(self.subset.blocks)

    @property
    def epoch_rows(self) -> int:
        """N, rows of an epoch's stream."""
        if self.draws is not None:
            return self.draws.rows
        return self.rows if self.subset is None else int(self.subset.rows.sum())

    @property
    def windows(self) -> int:
        """Windows of an epoch."""
        return -(-self.blocks // self.blocks_per_window)

    @property
    def window_rows(self) -> int:
        """Rows of a full window."""
        return min(self._full, self.rows)

    def window_blocks(self, epoch: int, window: int) -> np.ndarray:
        """Return the blocks of a window, ascending: a shorter last block is last here, too."""
        return np.unique(self._drawn_blocks(epoch, window))

    def lane_blocks(self, epoch: int, window: int, lane: int) -> np.ndarray:
        """Return one lane's part of a window's blocks, ascending; it needs no other lane."""
        found = self._lane_positions(epoch, window, lane)
        return found if self.subset is None else self.subset.blocks[found]

    def lanes_of(self, blocks: np.ndarray) -> np.ndarray:
        """Return the lane of each block, (n,) int64."""
        if self.subset is not None:
            blocks = np.searchsorted(self.subset.blocks, blocks)
        return blocks % self.lanes

    def spans(self, blocks: np.ndarray) -> list[tuple[int, int]]:
        """Return the first row and the one after the last of each block."""
        firsts = (blocks * self.block_rows).tolist()
        return [(first, min(first + self.block_rows, self.rows)) for first in firsts]

    def rows_in(self, blocks: np.ndarray) -> int:
        """Return the stored rows that these ascending blocks hold."""
        has_last = blocks[-1] == self.stored_blocks - 1
        return len(blocks) * self.block_rows - (self._missing if has_last else 0)

    def window_stream_rows(self, epoch: int, window: int) -> int:
        """Return the rows that a window gives to the stream."""
        if self.draws is not None:
            return min(self._full, self.epoch_rows - window * self._full)
        blocks = self.window_blocks(epoch, window)
        if self.subset is not None:
            return int(self.subset.rows[np.searchsorted(self.subset.blocks, blocks)].sum())
        return self.rows_in(blocks)

    def permute_rows(self, epoch: int, window: int, out: np.ndarray) -> None:
        """Fill `out` (int32, one entry for each stored row of the window) with the rows' order."""
        if self.lanes == 1:
            self._permute(epoch, window, 0, out)
            return
        # Only the last block may be shorter.
        of_blocks = self.lanes_of(self.window_blocks(epoch, window))
        lane_of_row = np.repeat(of_blocks, self.block_rows)[: out.size]
        lanes = [np.flatnonzero(lane_of_row == lane) for lane in range(self.lanes)]
        interleave(
            [self.lane_rows(epoch, window, lane, rows) for lane, rows in enumerate(lanes)], out
        )

    def lane_rows(self, epoch: int, window: int, lane: int, rows: np.ndarray) -> np.ndarray:
        """Return rows of one lane's part of a window in that lane's order."""
        order = np.empty(len(rows), np.int32)
        self._permute(epoch, window, lane, order)
        return rows[order]

    def draw_rows(
        self, epoch: int, window: int, weights: np.ndarray, out: np.ndarray
    ) -> np.ndarray:
        """Return the places that are drawn from a window, in `out`: (rows of a full one,) int32.

        The weights are those of the window's stored rows, float64.
        """
        drawn = np.sort(self._drawn_blocks(epoch, window))
        blocks, times = np.unique(drawn, return_counts=True)
        cumulative = np.cumsum(weights)
        places, slots = np.empty(len(drawn) * self.block_rows, np.int32), np.cumsum(times)
        for slot, (block, end, count) in enumerate(zip(blocks, slots, times, strict=True)):
            draw_places(
                cumulative,
                slot * self.block_rows,
                min((slot + 1) * self.block_rows, len(weights)),
                key(self.seed, Purpose.DRAWS, epoch, (window << 32) + int(block)),
                places[(end - count) * self.block_rows : end * self.block_rows],
            )
        order = np.empty(len(places), np.int32)
        self._permute(epoch, window, 0, order)
        taken = order[: self.window_stream_rows(epoch, window)]
        out[: len(taken)] = places[taken]
        return out[: len(taken)]

    def locate(
        self, epoch: int, row: int, left_out: Mapping[int, int] | None = None
    ) -> tuple[int, int]:
        """Return (window, row in it) of a position in the epoch's stream of rows.

        `left_out` says how many rows of a window are not in the stream, as they cannot be read.
        """
        if self.subset is not None or left_out:
            for window in range(self.windows):
                rows = self.window_stream_rows(epoch, window) - (left_out or {}).get(window, 0)
                if row < rows:
                    return window, row
                row -= rows
            return self.windows - 1, row
        if self.draws is not None:
            return divmod(row, self._full)
        lane = (self.blocks - 1) % self.lanes
        count = self._lane_count(lane)
        last = SHUFFLES[self.shuffle].position(count - 1, count, self._key(epoch, lane))
        window_of_last = int(last) // (self.blocks_per_window // self.lanes)
        window = row // self._full
        if window >= window_of_last and row >= (window_of_last + 1) * self._full - self._missing:
            window = (row + self._missing) // self._full
        return window, row - window * self._full + (window > window_of_last) * self._missing

    @property
    def _full(self) -> int:
        """Rows of a window of full blocks."""
        return self.blocks_per_window * self.block_rows

    @property
    def _missing(self) -> int:
        """Rows by which the last block of the store is shorter."""
        return self.stored_blocks * self.block_rows - self.rows

    def _lane_count(self, lane: int) -> int:
        """Return the blocks of a lane."""
        return len(range(lane, self.blocks, self.lanes))

    def _lane_positions(self, epoch: int, window: int, lane: int) -> np.ndarray:
        count, share = self._lane_count(lane), self.blocks_per_window // self.lanes
        positions = np.arange(window * share, min((window + 1) * share, count))
        if len(positions) == 0:
            return positions
        items = SHUFFLES[self.shuffle].items(positions, count, self._key(epoch, lane))
        return np.sort(items) * self.lanes + lane

    def _drawn_blocks(self, epoch: int, window: int) -> np.ndarray:
        if self.draws is not None:
            positions = self._lane_positions(epoch, window, 0)
            return self.draws.blocks_at(positions, self.blocks, self.seed, epoch)
        lanes = [self.lane_blocks(epoch, window, lane) for lane in range(self.lanes)]
        return np.concatenate(lanes)

    def _permute(self, epoch: int, window: int, lane: int, out: np.ndarray) -> None:
        number = (lane << 32) + window
        SHUFFLES[self.shuffle].permute(out, key(self.seed, Purpose.ROW_ORDER, epoch, number))

    def _key(self, epoch: int, lane: int) -> int:
        return key(self.seed, Purpose.BLOCK_ORDER, epoch, lane)


def interleave(parts: Sequence[np.ndarray], out: np.ndarray) -> None:
    """Fill `out` with an entry of each part in turn; longer parts go on when others have ended."""
    place, done = 0, 0
    left = [part for part in parts if len(part)]
    while left:
        count = min(len(part) for part in left) - done
        for number, part in enumerate(left):
            out[place + number : place + count * len(left) : len(left)] = part[done : done + count]
        place, done = place + count * len(left), done + count
        left = [part for part in left if len(part) > done]


def interleave_again(order: np.ndarray, lane_of_row: np.ndarray, lanes: int) -> np.ndarray:
    """Let lanes take turns again in an order, (rows,) int32, of which some rows were left out.

    `lane_of_row` is that of each entry, (rows,). Each lane's own order stays.

    Examples
    --------
    >>> interleave_again(np.array([4, 0, 5, 1, 6], np.int32), np.array([0, 1, 0, 1, 0]), 2).tolist()
    [4, 0, 5, 1, 6]
    >>> interleave_again(np.array([4, 5, 1, 6], np.int32), np.array([0, 0, 1, 0]), 2).tolist()
    [4, 1, 5, 6]
    """
    out = np.empty_like(order)
    interleave([order[lane_of_row == lane] for lane in range(lanes)], out)
    return out


@dataclass(frozen=True)
class Shuffle:
    """One way to order blocks and rows: block at a position, its inverse, rows of a window."""

    items: Callable[[np.ndarray, int, int], np.ndarray]
    position: Callable[[int, int, int], int]
    permute: Callable[[np.ndarray, int], None]


def _count_up(out: np.ndarray, key: int) -> None:
    out[:] = np.arange(out.size, dtype=out.dtype)


SHUFFLES = {
    "blocks": Shuffle(shuffled, position_of, permute),
    "none": Shuffle(lambda place, count, key: place, lambda item, count, key: item, _count_up),
}


def order_kernels() -> list[Compilation]:
    """Return the compilations that any order of rows needs."""
    return [
        kernel_for(shuffled, np.zeros(1, np.int64), 1, 1),
        kernel_for(position_of, 1, 1, 1),
        kernel_for(permute, np.zeros(1, np.int32), 1),
    ]
