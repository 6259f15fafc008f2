"""What lies beside the rows comes along as it is, or is refused where something is lost."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from datasets import foreign

import ooc
from ooc.core.errors import DataError
from ooc.shuffle import exact


@pytest.mark.parametrize("fill", [None, 5])
def test_a_chunk_that_is_not_stored_is_its_fill_value_or_lost(
    tmp_path: Path, fill: int | None
) -> None:
    """Version 2 alone knows arrays without a fill value."""
    rows = {"data": np.ones((40, 2), np.float32), "chunks": (10, 2)}
    path = foreign(tmp_path / "a.zarr", 2, X=rows)
    group = zarr.open_group(path, mode="r+")
    array = group.create_array("table", shape=(9,), chunks=(3,), dtype="i4", fill_value=fill)
    array[...] = np.arange(9)
    (path / "table" / "1").unlink()
    if fill is None:
        with pytest.raises(DataError, match="chunk 1 of array table is not stored"):
            exact(ooc.open(path), tmp_path / "new.zarr", "512MiB")
        assert not (tmp_path / "new.zarr").exists()
        return
    exact(ooc.open(path), tmp_path / "new.zarr", "512MiB")
    copy = zarr.open_group(tmp_path / "new.zarr", mode="r")["table"]
    np.testing.assert_array_equal(copy[...], [0, 1, 2, 5, 5, 5, 6, 7, 8])
