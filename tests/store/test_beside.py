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
        with pytest.raises(DataError) as caught:
            exact(ooc.open(path), tmp_path / "new.zarr", "512MiB")
        assert str(caught.value) == (
            "chunk 1 of array table is not stored, and its array's fill_value is null, so that it "
            "has no value; restore it"
        )
        assert not (tmp_path / "new.zarr").exists()
        return
    exact(ooc.open(path), tmp_path / "new.zarr", "512MiB")
    copy = zarr.open_group(tmp_path / "new.zarr", mode="r")["table"]
    np.testing.assert_array_equal(copy[...], [0, 1, 2, 5, 5, 5, 6, 7, 8])


OF_ROWS = ("layers/raw", "obsm/pca", "obs/age")
OF_COLUMNS = ("var/mean", "varm/loadings", "varp/near", "uns/colours", "raw/var/mean", "raw/varm/l")


def test_as_many_cells_as_genes_do_not_make_genes_cells(tmp_path: Path) -> None:
    """Arrays of AnnData's that are of its columns stay as they are; those of rows move."""
    count = 12
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_group("obs", attributes={"encoding-type": "dataframe"})
    numbers = np.arange(count, dtype=np.float32)
    group.create_array("X", data=np.tile(numbers[:, None], count), chunks=(3, count))
    for name in (*OF_ROWS, *OF_COLUMNS):
        group.create_array(name, data=np.stack([numbers, numbers], axis=1), chunks=(3, 2))
    exact(ooc.open(tmp_path / "a.zarr"), tmp_path / "new.zarr", "512MiB", seed=1)
    copy = zarr.open_group(tmp_path / "new.zarr", mode="r")
    order = copy["X"][:, 0]
    assert sorted(order) == numbers.tolist() != order.tolist()
    for name in OF_ROWS:
        np.testing.assert_array_equal(copy[name][:, 1], order, err_msg=name)
    for name in OF_COLUMNS:
        np.testing.assert_array_equal(copy[name][:, 1], numbers, err_msg=name)
