"""Arrays are described, and their chunks counted, as by hand."""

from dataclasses import replace

import numpy as np
import pytest

from ooc.store.conventions import read_conventions
from ooc.store.labels import Labels
from ooc.store.spec import ArraySpec

SPEC = ArraySpec("X", (1000, 10, 6), np.dtype("i2"), (100, 4, 6), (300, 8, 6))
PLAIN = replace(SPEC, shards=None)
LABELS = ArraySpec("y", (9,), np.dtype("i8"), (4,), None)
TEXT = Labels((), (), np.dtype("U4"))


def test_bytes_and_chunks_are_counted_as_by_hand() -> None:
    assert (SPEC.row_bytes, SPEC.chunk_bytes) == (10 * 6 * 2, 100 * 4 * 6 * 2)
    assert (SPEC.chunks_across, SPEC.stored_chunks) == (3, 10 * 3)
    # An offset and a size of eight bytes each, of every chunk in a shard.
    assert (SPEC.index_bytes, PLAIN.index_bytes) == (30 * 16, 0)
    assert replace(SPEC, shape=(1001, 12, 6)).stored_chunks == 11 * 3
    assert LABELS.stored_chunks == 3 and LABELS.row_bytes == 8


@pytest.mark.parametrize(
    ("start", "stop", "chunks"),
    [(0, 100, 1), (0, 101, 2), (99, 100, 1), (100, 200, 1), (99, 201, 3), (0, 1000, 10)],
)
def test_rows_decode_whole_chunks(start: int, stop: int, chunks: int) -> None:
    assert SPEC.decoded_bytes(start, stop) == chunks * 3 * SPEC.chunk_bytes


@pytest.mark.parametrize("rows", [1, 7, 100, 103, 150, 200])
def test_the_worst_aligned_block_of_rows_decodes_most(rows: int) -> None:
    """What is not a multiple of a chunk may lie across one edge more."""
    most = max(SPEC.decoded_bytes(start, start + rows) for start in range(0, 40 * rows, rows))
    assert most <= SPEC.most_decoded_bytes(rows) <= (rows + 198) // 100 * 3 * SPEC.chunk_bytes
    if rows % 100 == 0:
        assert SPEC.most_decoded_bytes(rows) == most == rows // 100 * 3 * SPEC.chunk_bytes


def test_arrays_are_described_in_a_line() -> None:
    assert PLAIN.describe() == "int16 (1000, 10, 6), 117 KiB, chunks (100, 4, 6)"
    assert SPEC.describe() == (
        "int16 (1000, 10, 6), 117 KiB, chunks (100, 4, 6), shards (300, 8, 6)"
    )
    text = replace(LABELS, shards=(8,)).labelled(TEXT)
    assert text.describe() == "text (9,), labels, chunks (4,), shards (8,)"
    numbers = LABELS.labelled(Labels((1, 2), (1, 2), LABELS.dtype))
    assert numbers.describe() == "int64 (9,), 72 B, chunks (4,)"


def test_arrays_are_told_as_json() -> None:
    assert SPEC.to_json() == {
        "dtype": "int16", "shape": [1000, 10, 6], "chunks": [100, 4, 6], "shards": [300, 8, 6],
        "bytes": 120_000,
    }  # fmt: skip
    conventions = read_conventions({"scale_factor": 0.5}, np.dtype("i2"))
    told = replace(PLAIN, conventions=conventions, problem="no").to_json()
    assert (told["shards"], told["problem"]) == (None, "no")
    assert told["conventions"] == {"stored_dtype": "int16", "scale_factor": 0.5}


def test_what_an_array_stands_for_is_put_on_and_taken_off() -> None:
    conventions = read_conventions({"_FillValue": 5}, np.dtype("i2"))
    decoded = replace(PLAIN, dtype=np.dtype("f4"), conventions=conventions, problem="no")
    assert decoded.declares_missing and not PLAIN.declares_missing
    assert decoded.undecoded() == PLAIN
    scaled = read_conventions({"scale_factor": 0.5}, np.dtype("i2"))
    assert not replace(PLAIN, conventions=scaled).declares_missing
    codes = LABELS.labelled(Labels(("a", "b"), (0, 1), np.dtype("i8")))
    assert codes.dtype == np.int64
    small = replace(LABELS, dtype=np.dtype("i1"))
    # Codes that are stored as such are read as they are; others need room for none.
    assert small.labelled(Labels(("a", "b"), (0, 1), small.dtype)).dtype == np.int8
    other = small.labelled(Labels((5, 7), (5, 7), small.dtype))
    assert other.dtype == np.int64
    assert other.unlabelled() == small and other.undecoded() == small
    assert small.unlabelled() is small
    both = replace(
        PLAIN, dtype=np.dtype("f8"), conventions=conventions,
        labels=Labels((5,), (5,), np.dtype("f4")),
    )  # fmt: skip
    assert both.undecoded().dtype == np.int16 and both.unlabelled().dtype == np.float32
