"""Sorted rows are sorted, and what is held out is of the same truth."""

from pathlib import Path

import pytest

import ooc
from ooc.core.errors import InputError
from pipelines.sorted_data.data import DRIFT, draw_held_out, open_sorted


def test_rows_are_sorted_and_those_held_out_are_of_both_labels(tmp_path: Path) -> None:
    dataset = open_sorted(tmp_path / "label.zarr", "label", 1000, 3, 2**14)
    (batch,) = ooc.Loader(dataset, 1000, memory="1GiB", shuffle="none")
    assert batch["y"].tolist() == [0] * 500 + [1] * 500
    assert 0.2 < draw_held_out("label", 1000, 3)["y"].mean() < 0.8


def test_the_first_feature_drifts(tmp_path: Path) -> None:
    dataset = open_sorted(tmp_path / "drift.zarr", "drift", 1000, 3, 2**14)
    (batch,) = ooc.Loader(dataset, 1000, memory="1GiB", shuffle="none")
    first = batch["X"][:, 0]
    assert first[:100].mean() == pytest.approx(-0.9 * DRIFT, abs=0.1)
    assert first[-100:].mean() == pytest.approx(0.9 * DRIFT, abs=0.1)


def test_rows_of_another_seed_are_not_used_again(tmp_path: Path) -> None:
    open_sorted(tmp_path / "label.zarr", "label", 100, 3, 2**14)
    with pytest.raises(InputError, match="was made with seed 3, not 4; remove it"):
        open_sorted(tmp_path / "label.zarr", "label", 100, 4, 2**14)
