"""Fingerprints of data: of few rows every one counts, and every array that a run uses."""

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from datasets import foreign, write_dataset

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


@pytest.mark.parametrize("by", ["row", "block", "y"])
def test_another_side_or_split_is_another_dataset(tmp_path: Path, by: str) -> None:
    """Each number that a side is made of counts."""
    y = np.repeat(np.arange(20), 2)
    dataset = write_dataset(tmp_path / "a.zarr", 2, X=np.ones((ROWS, 2)), y=y)
    sides = ooc.split(dataset, 0.5, seed=1, by=by)
    others = [dataset]
    for share, seed in ((0.25, 1), (0.5, 2)):
        others += ooc.split(dataset, share, seed=seed, by=by)
    if by == "row":
        others += ooc.split(dataset, 0.5, seed=1, by="row", stratify="y")
    found = [fingerprint(each, ["X", "y"]) for each in (*sides, *others)]
    for first in (0, 1):
        saved = json.loads(json.dumps(found[first]))
        for place, here in enumerate(found):
            if place == first:
                check_same_data("run", saved, here)
            else:
                with pytest.raises(InputError, match="selection"):
                    check_same_data("run", saved, here, True)
