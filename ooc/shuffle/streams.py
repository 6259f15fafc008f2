"""Orders to be measured, as streams: parts of (rows, their arrays, places in the arrays)."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ooc.store.columns import pieces_of
from ooc.store.dataset import Dataset
from ooc.stream.loader import Loader
from ooc.stream.mixing_theory import PairCount, pairs_expected
from ooc.stream.order import Order

PART_ROWS = 2**14


class Part(NamedTuple):
    """A part of the stream with its data: rows of arrays, and their order."""

    features: np.ndarray
    labels: np.ndarray
    order: np.ndarray


class LoaderStream:
    """What a loader yields, with or without a shuffle of blocks; `name` is for reports."""

    def __init__(self, loader: Loader) -> None:
        self.loader, self._order = loader, loader.plan.order
        self.name, self.block_rows = self._order.shuffle, self._order.block_rows
        self.blocks_per_window = self._order.blocks_per_window

    def rows(self, epoch: int) -> Iterator[np.ndarray]:
        """Compute the rows of each window; nothing is read."""
        order = self._order
        places = np.empty(order.window_rows, np.int32)
        for window in range(order.windows):
            blocks = order.window_blocks(epoch, window)
            part = places[: order.rows_in(blocks)]
            order.permute_rows(epoch, window, part)
            yield blocks[part // order.block_rows] * order.block_rows + part % order.block_rows

    def parts(self, followed: np.ndarray) -> Iterator[Part]:
        """Read the windows of the first epoch as training does, with all features."""
        for window in self.loader.windows(1):
            labels = np.empty(0) if window.target is None else window.target
            features = window.features.reshape(len(window.features), -1)
            yield Part(features, labels.reshape(-1).astype(np.float64), window.order)

    def expected_pairs(self, batch_size: int) -> PairCount | None:
        """Return the closed form for this epoch's windows."""
        order = self._order
        if order.shuffle == "none":
            return None
        windows = (order.window_blocks(0, window) for window in range(order.windows))
        return pairs_expected([_block_sizes(order, blocks) for blocks in windows], batch_size)


class ListStream:
    """Rows in an order that is in memory: the exact shuffle's, or a user's own list."""

    def __init__(self, name: str, rows: np.ndarray, dataset: Dataset, block_rows: int) -> None:
        self.name, self._rows, self._dataset = name, rows, dataset
        self.block_rows, self.blocks_per_window = block_rows, 0

    def rows(self, epoch: int) -> Iterator[np.ndarray]:
        """Yield the list; it is the same in every epoch."""
        for first in range(0, len(self._rows), PART_ROWS):
            yield self._rows[first : first + PART_ROWS]

    def parts(self, followed: np.ndarray) -> Iterator[Part]:
        """Yield the list with the followed features, which are read in order and kept."""
        dataset = self._dataset
        rows, target = dataset.stored_rows, dataset.target
        columns = np.empty((rows, len(followed)), np.float32)
        labels = np.empty(rows if target else 0)
        names = [dataset.features, target] if target else [dataset.features]
        for first, stop, arrays in pieces_of(dataset, names):
            values = arrays[dataset.features]
            columns[first:stop] = values.reshape(stop - first, -1)[:, followed]
            if target:
                labels[first:stop] = arrays[target].reshape(-1)
        for part in self.rows(0):
            yield Part(columns, labels, part)

    def expected_pairs(self, batch_size: int) -> PairCount | None:
        """Return the full shuffle's closed form; of a user's list there is none."""
        if self.name != "exact":
            return None
        return full_shuffle_pairs(self._dataset.stored_rows, self.block_rows, batch_size)


Stream = LoaderStream | ListStream


def full_shuffle_pairs(rows: int, block_rows: int, batch_size: int) -> PairCount:
    """Return the closed form of same-block pairs where all rows are one window."""
    order = Order(rows, block_rows, 1)
    return pairs_expected([_block_sizes(order, np.arange(order.blocks))], batch_size)


def _block_sizes(order: Order, blocks: np.ndarray) -> list[int]:
    return [stop - first for first, stop in order.spans(blocks)]
