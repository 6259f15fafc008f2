"""Pairs of rows that share a block and a batch: counted in a real loader, beside a closed form.

This file reaches into how windows are planned, which nothing else here does.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import ooc
from ooc.shuffle.scan import same_pairs
from ooc.stream.mixing_theory import pairs_expected
from pipelines.common.dataset import open_or_make

PART_ROWS = 2**20
BLOCKS_PER_WINDOW = 400


@dataclass(frozen=True)
class Pairs:
    """Same-block pairs in an epoch's batches.

    Attributes
    ----------
    counted, expected, deviation
        What the loader did; mean and standard deviation by the closed form.
    full_shuffle
        The closed form for a full shuffle.
    """

    counted: int
    expected: float
    deviation: float
    full_shuffle: float

    @property
    def score(self) -> float:
        """How many standard deviations the count is off."""
        return (self.counted - self.expected) / self.deviation


def count_pairs(path: Path, memory: str, rows: int, block_rows: int) -> Pairs:
    """Count pairs in batches of as many rows as a block, on a dataset that is made for it."""

    def make(_: Any) -> None:
        fields = {"X": ("uint8", (1,))}
        with ooc.create(path, fields, chunk_bytes=block_rows, shard_bytes=2**20) as writer:
            for first in range(0, rows, PART_ROWS):
                numbers = np.arange(first, min(first + PART_ROWS, rows))
                writer.append({"X": (numbers % 251).astype(np.uint8)[:, None]})

    dataset = open_or_make(path, {"rows": rows}, make)
    batch_size = block_rows
    loader = ooc.Loader(
        dataset, batch_size, memory=memory, block_rows=block_rows, window=BLOCKS_PER_WINDOW
    )
    # A plan would make windows of one size; here they are of 400 blocks, and a rest of one.
    order = replace(loader.plan.order, blocks_per_window=BLOCKS_PER_WINDOW)
    loader.plan = replace(loader.plan, order=order)
    counted = sum(int(same_pairs(batch.rows // block_rows)) for batch in loader)
    sizes = []
    for window in range(order.windows):
        blocks = order.window_blocks(0, window)
        each = [block_rows] * len(blocks)
        each[-1] = order.rows_in(blocks) - block_rows * (len(blocks) - 1)
        sizes.append(each)
    whole = [[block_rows] * (rows // block_rows) + [rows % block_rows]]
    expected, full = (pairs_expected(parts, batch_size) for parts in (sizes, whole))
    return Pairs(counted, expected.mean, expected.deviation, full.mean)
