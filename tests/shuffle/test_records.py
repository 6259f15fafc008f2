"""Records byte by byte, and their checksum in whole numbers."""

import numpy as np

from ooc.core.random_keys import GOLDEN, splitmix
from ooc.shuffle.records import RecordLayout, checksum
from ooc.store.dataset import ArraySpec

BITS = 2**64


def test_a_record_is_the_key_the_bytes_of_each_array_and_zeros() -> None:
    specs = [
        ArraySpec("a", (3, 2), np.dtype("u2"), (3, 2), None),
        ArraySpec("b", (3,), np.dtype("u1"), (3,), None),
        ArraySpec("c", (3, 6), np.dtype("u1"), (3, 6), None),
    ]
    layout = RecordLayout.of(specs)
    assert layout == RecordLayout(("a", "b", "c"), (8, 12, 13), (4, 1, 6), 24)
    rng = np.random.default_rng(0)
    arrays = {each.name: rng.integers(1, 99, each.shape).astype(each.dtype) for each in specs}
    keys, order = np.array([2**63 + 1, 5, 9], np.uint64), np.array([2, 0])
    memory = np.full(100, 255, np.uint8)
    records = layout.pack(arrays, keys, order, memory)
    for record, row in zip(records, order, strict=True):
        parts = [keys[row].tobytes(), *(arrays[name][row].tobytes() for name in "abc")]
        assert record.tobytes() == b"".join(parts).ljust(24, b"\0")
    assert np.shares_memory(records, memory)
    assert (memory[48:] == 255).all()
    assert RecordLayout.of(specs[:2] + [specs[1]] * 3).record_bytes == 16


def test_the_checksum_adds_up_a_hash_of_each_row() -> None:
    """Of its words and their places, without the key."""
    rng = np.random.default_rng(1)
    records, total = rng.integers(0, 2**64, (9, 5), np.uint64), 0
    for record in records.tolist():
        row = 5
        for place, word in enumerate(record[1:], 1):
            mixed = (word + place * GOLDEN) % BITS
            mixed = (mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9 % BITS
            row = (row + (mixed ^ (mixed >> 32))) % BITS
        total = (total + splitmix(row)) % BITS
    assert checksum(records) % BITS == total
