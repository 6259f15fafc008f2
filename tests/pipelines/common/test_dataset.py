"""Datasets are made once, used again, and never mistaken for one another."""

from pathlib import Path

import numpy as np
import pytest

import ooc
from ooc.core.errors import InputError
from pipelines.common.dataset import Columns, decoded_bytes, open_or_make, write


def draw(number: int, first: int, count: int) -> Columns:
    return {"X": np.arange(first, first + count, dtype=np.float32)[:, None]}


def test_a_dataset_is_made_once_and_another_is_refused(tmp_path: Path) -> None:
    path, made = tmp_path / "a.zarr", []

    def make(report: object) -> None:
        made.append(path)
        write(path, {"X": ("float32", (1,))}, {"seed": 2}, 20, draw)

    for _ in range(2):
        dataset = open_or_make(path, {"seed": 2, "rows": 20}, make)
    assert len(made) == 1
    assert decoded_bytes(dataset) == 80
    (batch,) = ooc.Loader(dataset, 20, memory="1GiB", shuffle="none")
    assert batch["X"][:, 0].tolist() == list(range(20))
    for expected, message in (
        ({"seed": 3}, "a.zarr was made with seed 2, not 3; remove it"),
        ({"rows": 30}, "a.zarr was made with rows 20, not 30; remove it"),
        ({"atoms": 4}, "a.zarr was made with atoms None, not 4; remove it"),
    ):
        with pytest.raises(InputError, match=message):
            open_or_make(path, expected, make)
