"""Open what others wrote, and refuse what cannot be used."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from datasets import foreign

import ooc
from ooc.core.errors import InputError
from ooc.store.dataset import ArraySpec


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float32", "float64"])
def test_any_group_with_any_names_dtypes_chunks_and_axes(
    tmp_path: Path, zarr_format: int, dtype: str
) -> None:
    images = np.arange(60 * 4 * 5).reshape(60, 4, 5).astype(dtype)
    labels = np.arange(60, dtype=np.int32)
    path = foreign(
        tmp_path / "foreign.zarr",
        zarr_format,
        images={"data": images, "chunks": (7, 3, 5)},
        labels={"data": labels, "chunks": (25,)},
        other={"data": np.zeros(3), "chunks": (3,)},
    )
    dataset = ooc.open(path, features="images", target="labels")
    assert (dataset.rows, dataset.target, dataset.weight) == (60, "labels", None)
    assert set(dataset.arrays) == {"images", "labels"}
    assert dataset.row_shape == (4, 5)
    assert dataset.roles == ("images", "labels", None)
    loader = ooc.Loader(dataset, batch_size=9, memory="512MiB", seed=3)
    seen = []
    for batch in loader:
        assert batch["images"].dtype == np.dtype(dtype)
        assert np.array_equal(batch["images"], images[batch.rows])
        assert np.array_equal(batch["labels"], labels[batch.rows])
        seen.append(batch.rows)
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(60))


def test_a_chunk_of_the_fill_value_is_read_only_where_the_user_says_so(tmp_path: Path) -> None:
    """zarr-python does not store a chunk of zeros."""
    values = np.repeat([0, 1], 10).astype(np.float32)
    path = foreign(tmp_path / "a.zarr", 3, X={"data": values[:, None], "chunks": (10, 1)})
    with pytest.raises(InputError, match=r"chunk 0\.0 of array X .* missing=.fill."):
        list(ooc.Loader(ooc.open(path), 5, memory="512MiB"))
    rows = [
        batch["X"].sum() for batch in ooc.Loader(ooc.open(path, missing="fill"), 5, memory="512MiB")
    ]
    assert sum(rows) == 10
    with pytest.raises(InputError, match="one of raise, fill, not 'zero'"):
        ooc.open(path, missing="zero")


def test_default_roles(tmp_path: Path) -> None:
    one = {"data": np.ones(5), "chunks": (5,)}
    path = foreign(tmp_path / "a.zarr", 3, X=dict(one), y=dict(one), weight=dict(one))
    dataset = ooc.open(path)
    assert (dataset.features, dataset.target, dataset.weight) == ("X", "y", "weight")


def test_chunks_that_a_read_decodes() -> None:
    spec = ArraySpec("X", (1000, 10), np.dtype("f4"), (100, 4), None)
    assert spec.chunks_across == 3
    assert spec.decoded_bytes(0, 100) == 3 * 1600
    assert spec.decoded_bytes(99, 101) == 2 * 3 * 1600
    assert spec.most_decoded_bytes(100) == 3 * 1600
    assert spec.most_decoded_bytes(50) == 2 * 3 * 1600


def refused(path: Path, **roles: str) -> str:
    with pytest.raises(InputError) as caught:
        ooc.open(path, **roles)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_no_such_path(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nothing.zarr")


def test_no_zarr_group(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "is not a Zarr group" in refused(tmp_path / "folder")
    (tmp_path / "file.zarr").write_text("hello")
    assert "no whole zip archive" in refused(tmp_path / "file.zarr")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_array_in_place_of_a_group(tmp_path: Path, zarr_format: int) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(3,), dtype="f4", zarr_format=zarr_format)
    assert "is a Zarr array, and not a group" in refused(tmp_path / "a.zarr")


def test_a_missing_array(tmp_path: Path) -> None:
    path = foreign(tmp_path / "a.zarr", 3, data={"data": np.ones((4, 2)), "chunks": (2, 2)})
    assert "no array 'X' for features; it has: data" in refused(path)
    assert "no array 'labels' for target" in refused(path, features="data", target="labels")


def test_lengths_that_differ(tmp_path: Path) -> None:
    path = foreign(
        tmp_path / "a.zarr",
        3,
        X={"data": np.ones((4, 2)), "chunks": (2, 2)},
        y={"data": np.ones(5), "chunks": (5,)},
    )
    message = refused(path)
    assert "X has 4 rows" in message
    assert "y has 5" in message


def test_no_rows(tmp_path: Path) -> None:
    path = foreign(tmp_path / "a.zarr", 3, X={"data": np.ones((0, 2)), "chunks": (1, 2)})
    assert "is empty" in refused(path)


@pytest.mark.parametrize("dtype", ["U5", "complex64"])
def test_a_dtype_that_is_no_real_number(tmp_path: Path, dtype: str) -> None:
    data = np.zeros((4, 2), dtype)
    path = foreign(tmp_path / "a.zarr", 2, X={"data": data, "chunks": (2, 2)})
    assert "not a real number" in refused(path)


def test_weights_of_several_numbers_a_row(tmp_path: Path) -> None:
    path = foreign(
        tmp_path / "a.zarr",
        3,
        X={"data": np.ones((4, 2)), "chunks": (2, 2)},
        weight={"data": np.ones((4, 3)), "chunks": (4, 3)},
    )
    assert "needs one number a row" in refused(path)
