"""Labels of a store are read as codes: an unknown one is named, and one that is gone is not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from datasets import foreign

import ooc
from ooc.core.errors import DataError, InputError
from ooc.store.chunks import BadChunkError, open_reader, scratch_bytes
from ooc.store.chunks.labelled import LabelReader
from ooc.store.conventions import PIECE_BYTES
from ooc.store.dataset import Dataset
from ooc.store.labels import Labels
from ooc.store.members import quiet

ROWS, CHUNK = 60, 10
CODES = np.random.default_rng(1).integers(0, 3, ROWS)
CITIES = ("Oslo", "Rome", "Łódź")
RUNS = [(35, 52), (5, 20)]
READ = np.r_[35:52, 5:20]


def write(path: Path, values: np.ndarray, **attributes: Any) -> Dataset:
    options = {"data": values, "chunks": (CHUNK, *values.shape[1:])}
    zeros = {"data": np.zeros((ROWS, 1), "f4"), "chunks": (CHUNK, 1)}
    with quiet():
        foreign(path, 3, X=zeros, y=options)
    zarr.open_group(path, mode="r+")["y"].attrs.update(attributes)
    return ooc.open(path)


def labelled(dataset: Dataset, values: tuple[Any, ...], names: tuple[Any, ...] = ()) -> Dataset:
    spec = dataset.arrays["y"].unlabelled()
    spec = spec.labelled(Labels(names or values, values, spec.dtype))
    return replace(dataset, arrays={**dataset.arrays, "y": spec})


def read(dataset: Dataset, bad: list[BadChunkError] | None = None) -> np.ndarray:
    spec = dataset.arrays["y"]
    out = np.full((len(READ) + 3, *spec.shape[1:]), 77, spec.dtype)
    with quiet():
        open_reader(dataset, "y").read_runs(RUNS, out, bad)
    assert (out[len(READ) :] == 77).all()
    return out[: len(READ)]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (np.array(CITIES)[CODES], CITIES),
        (np.array(CITIES, np.dtypes.StringDType())[CODES], CITIES),
        (np.array([30, 10, 20], "i2")[CODES], (30, 10, 20)),
        (np.array([0.5, -1, 2])[CODES], (0.5, -1.0, 2.0)),
        (np.array([30, 10, 20])[np.stack([CODES, CODES[::-1]], axis=1)], (30, 10, 20)),
    ],
)
def test_labels_are_read_as_codes(tmp_path: Path, values: np.ndarray, labels: Any) -> None:
    dataset = labelled(write(tmp_path / "a.zarr", values), labels)
    wanted = np.stack([CODES, CODES[::-1]], axis=1) if values.ndim == 2 else CODES
    found = read(dataset)
    assert found.dtype == (np.float64 if values.dtype.kind == "f" else np.int64)
    np.testing.assert_array_equal(found, wanted[READ])


def test_a_value_that_is_missing_is_no_label(tmp_path: Path) -> None:
    values = np.array([30, 10, 20], "i2")[CODES]
    values[[6, 51]] = -9
    dataset = labelled(write(tmp_path / "a.zarr", values, _FillValue=-9), (30.0, 10.0, 20.0))
    wanted = np.where(values == -9, np.nan, CODES)
    np.testing.assert_array_equal(read(dataset), wanted[READ])


@pytest.mark.parametrize("row", [5, 19, 35, 40, 51])
def test_a_row_whose_label_is_unknown_is_named(tmp_path: Path, row: int) -> None:
    values = np.array([30, 10, 20])[np.stack([CODES, CODES], axis=1)]
    values[row, 1] = 99
    values[52] = 98  # nobody reads it
    with pytest.raises(DataError) as caught:
        read(labelled(write(tmp_path / "a.zarr", values), (30, 10, 20), ("x", "y", "z")))
    assert str(caught.value) == (
        f"row {row} of y in {tmp_path / 'a.zarr'} has the label 99, which is none of the 3: "
        "x, y, z; correct the row, or train on data that have all labels"
    )


def test_rows_of_a_chunk_that_is_gone_have_no_unknown_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    values = np.array([30, 10, 20])[CODES]
    dataset = labelled(write(path, values), (30, 10, 20))
    (path / "y" / "c" / "4").unlink()
    with pytest.raises(BadChunkError, match="chunk 4 of array y"):
        read(dataset)
    bad: list[BadChunkError] = []
    found = read(dataset, bad)
    assert [(each.cell, each.rows, each.run) for each in bad] == [((4,), (40, 49), 0)]
    kept = (READ < 40) | (READ > 49)
    np.testing.assert_array_equal(found[kept], CODES[READ][kept])
    # Their neighbours are blamed as ever.
    array = zarr.open_group(path, mode="r+")["y"]
    for row in (39, 50):
        array[row] = 99
        with pytest.raises(DataError, match=f"row {row} of y in .* has the label 99"):
            read(dataset, [])
        array[row] = 30


def test_text_is_read_once_its_labels_are_known(tmp_path: Path) -> None:
    dataset = write(tmp_path / "a.zarr", np.array(CITIES)[CODES])
    with pytest.raises(InputError) as caught:
        read(dataset)
    assert str(caught.value) == (
        f"array y of {tmp_path / 'a.zarr'} is text, whose labels are found where a model that "
        "predicts labels is trained; name another array"
    )
    reader: Any = open_reader(labelled(dataset, CITIES), "y")
    reader.stored._store._store.retries = 7
    assert (reader.retries, reader.shape, reader.chunks) == (7, (ROWS,), (CHUNK,))


def test_codes_are_read_as_they_are_and_labels_by_the_way_that_was_asked_for(
    tmp_path: Path,
) -> None:
    dataset = write(tmp_path / "a.zarr", CODES + 1)
    reader: Any = open_reader(labelled(dataset, (1, 2, 3)), "y", "buffered")
    assert isinstance(reader, LabelReader) and reader.stored.files.mode == "buffered"
    codes = open_reader(labelled(dataset, (0, 1, 2), ("a", "b", "c")), "y")
    assert not isinstance(codes, LabelReader)


def test_memory_for_labels_aside_is_counted(tmp_path: Path) -> None:
    numbers = write(tmp_path / "a.zarr", np.array([30, 10, 20])[CODES])
    plain = scratch_bytes(numbers.arrays["y"], 100)
    assert scratch_bytes(labelled(numbers, (30, 10, 20)).arrays["y"], 100) == plain + 100 * 48
    assert scratch_bytes(labelled(numbers, (0, 1, 2)).arrays["y"], 100) == plain
    declared = write(tmp_path / "c.zarr", np.array([30, 10, 20])[CODES], _FillValue=-9)
    both = scratch_bytes(labelled(declared, (30, 10, 20)).arrays["y"], 100)
    assert both == plain + PIECE_BYTES + 100 * 48
    texts = labelled(write(tmp_path / "b.zarr", np.array(CITIES)[CODES]), CITIES).arrays["y"]
    assert scratch_bytes(texts, 200) - scratch_bytes(texts, 100) == 100 * 192
