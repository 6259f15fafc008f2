"""Fingerprints of data: of few rows every one counts, and every array that a run uses."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from datasets import foreign

import ooc
from ooc.core.errors import InputError
from ooc.store.fingerprint import check_same_data, fingerprint

ROWS = 40


@pytest.mark.parametrize("name", ["X", "y"])
def test_any_row_of_few_that_differs_is_another_dataset(tmp_path: Path, name: str) -> None:
    """Whatever the user confirms."""
    x = {"data": np.arange(2.0 * ROWS).reshape(ROWS, 2), "chunks": (10, 2), "compressors": None}
    y = {"data": np.arange(ROWS), "chunks": (10,), "compressors": None}
    path = foreign(tmp_path / "a.zarr", 2, X=x, y=y)
    saved = fingerprint(ooc.open(path), ["X", "y"])
    array = zarr.open_group(path, mode="r+")[name]
    for row in (0, 1, 17, ROWS - 1):
        before = array[row]
        array[row] = before + 1
        with pytest.raises(InputError, match="sampled_rows_sha256 was"):
            check_same_data("run", saved, fingerprint(ooc.open(path), ["X", "y"]), True)
        array[row] = before
    check_same_data("run", saved, fingerprint(ooc.open(path), ["X", "y"]), True)
    with pytest.raises(InputError, match=f"the files of {name} were written after the run began"):
        check_same_data("run", saved, fingerprint(ooc.open(path), ["X", "y"]))
