"""Rows whose numbers are decoded on their way: of any runs, in any memory, bad chunks and all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import foreign

import ooc
from ooc.store.chunks import BadChunkError, open_reader
from ooc.store.chunks.decoded import DecodedReader
from ooc.store.conventions import read_conventions

VALUES = np.arange(1, 61, dtype="i2").reshape(20, 3)
RUNS = [(2, 9), (13, 17)]
ROWS = np.r_[2:9, 13:17]


@pytest.fixture
def reader(tmp_path: Path) -> Any:
    noted = {"scale_factor": 0.5, "_FillValue": 20}
    x = {"data": VALUES, "chunks": (5, 3), "attributes": noted}
    found = open_reader(ooc.open(foreign(tmp_path / "a.zarr", 3, X=x)), "X")
    assert isinstance(found, DecodedReader)
    return found


MEANT = np.where(VALUES == 20, np.nan, 0.5 * VALUES)


def test_rows_are_decoded_in_memory_that_may_be_larger(reader: Any) -> None:
    out = np.full((14, 3), 77.0)
    reader.read_runs(RUNS, out)
    np.testing.assert_array_equal(out[:11], MEANT[ROWS])
    assert (out[11:] == 77).all(), "what nobody asked for stays as it is"
    assert (reader.name, reader.shape, reader.chunks) == ("X", (20, 3), (5, 3))
    reader.stored.files.retries = 4
    assert reader.retries == 4


def test_memory_with_gaps_is_refused(reader: Any) -> None:
    for out in (np.zeros((11, 6))[:, ::2], np.zeros((3, 11)).T):
        with pytest.raises(ValueError, match="memory for decoded rows has to be contiguous"):
            reader.read_runs(RUNS, out)
        assert not out.any()


def test_bad_chunks_are_noted_and_the_others_decoded(reader: Any, tmp_path: Path) -> None:
    (tmp_path / "a.zarr" / "X" / "c" / "3" / "0").unlink()
    bad: list[BadChunkError] = []
    out = np.zeros((11, 3))
    reader.read_runs(RUNS, out, bad)
    assert [(each.rows, each.run) for each in bad] == [((15, 19), 1)]
    np.testing.assert_array_equal(out[ROWS < 15], MEANT[ROWS[ROWS < 15]])
    with pytest.raises(BadChunkError):
        reader.read_runs(RUNS, out)


def test_numbers_that_mean_themselves_are_not_decoded(tmp_path: Path) -> None:
    """Units, and NaN as what is missing, change nothing."""
    values = np.where(VALUES == 20, np.nan, VALUES).astype("f4")
    for number, noted in enumerate(({"units": "m"}, {"_FillValue": "NaN"}, {})):
        x = {"data": values, "chunks": (5, 3), "attributes": noted}
        dataset = ooc.open(foreign(tmp_path / f"{number}.zarr", 3, X=x))
        assert not isinstance(open_reader(dataset, "X"), DecodedReader)
        assert dataset.arrays["X"].declares_missing == (number == 1)
    found = read_conventions({"_Unsigned": "true"}, np.dtype("i2"))
    assert found is not None and found.changes
