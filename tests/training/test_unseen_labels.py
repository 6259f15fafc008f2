"""A label that only the validation has is told before training; its first row is named."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from datasets import write_dataset

import ooc
from ooc.store.dataset import Dataset
from ooc.training.unseen_labels import NOWHERE, first_rows

NAMES = np.array(["cat", "dog", "emu"])


@pytest.fixture
def rare(tmp_path: Path) -> Dataset:
    """500 rows whose third label begins at row 460, in the last tenth."""
    y = np.arange(500) % 2
    y[460::7] = 2
    x = np.random.default_rng(1).standard_normal((500, 2)).astype("f4")
    return write_dataset(tmp_path / "a.zarr", chunk_rows=10, X=x, y=y)


def fit(dataset: Dataset, **how: Any) -> list[str]:
    validation = ooc.Validation(0.1, **how)
    trainer = ooc.Trainer(
        ooc.models.Softmax(classes=3), ooc.optim.sgd(0.1), 50, validation=validation
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(dataset, report=False)
    # Whatever else collecting garbage may warn of meanwhile.
    told = [str(each.message) for each in caught]
    return [each for each in told if each.startswith("label ")]


def test_a_label_of_the_validation_alone_is_named_with_its_first_row(rare: Dataset) -> None:
    (told,) = fit(rare, ordered=True)
    assert told.startswith(f"label 2 of y in {rare.path} is among the rows to evaluate on alone")
    assert "first in row 460: the model never sees it" in told


def test_one_that_both_parts_have_is_none(rare: Dataset) -> None:
    zarr.open_group(rare.path, mode="a")["y"][3] = 2
    assert fit(ooc.open(rare.path), ordered=True) == []


@pytest.mark.slow
def test_texts_are_called_as_they_are(rare: Dataset) -> None:
    group = zarr.open_group(rare.path, mode="a")
    group.create_array("kind", data=NAMES[group["y"][...]], chunks=(10,))
    (told,) = fit(ooc.open(rare.path, target="kind"), ordered=True)
    assert told.startswith("label emu of kind in ")


def test_first_rows_are_numpy_s(rare: Dataset) -> None:
    y = zarr.open_group(rare.path)["y"][...]
    expected = [int(np.argmax(y == label)) for label in range(3)]
    assert first_rows(rare, 4).tolist() == [*expected, NOWHERE]
