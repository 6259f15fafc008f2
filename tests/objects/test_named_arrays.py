"""Arrays by name, in a dict: what a dataset reads is what NumPy holds."""

import re
from pathlib import Path
from typing import Any

import dask.array
import dask.local
import numpy as np
import pytest
import zarr

import ooc
from ooc.core.errors import InputError

ROWS = 230
X = np.random.default_rng(0).standard_normal((ROWS, 3)).astype(np.float32)
Y = np.arange(ROWS) / 7


@pytest.fixture
def path(tmp_path: Path) -> Path:
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("counts", data=X, chunks=(50, 3))
    group.create_array("outcome", data=Y, chunks=(60,))
    return tmp_path / "a.zarr"


def read(dataset: Any) -> dict[str, np.ndarray]:
    loader = ooc.Loader(dataset, 40, memory="512MiB", shuffle="none")
    parts = [batch.arrays for batch in loader]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_what_lies_in_one_store_is_that_store(path: Path) -> None:
    """No row is copied, whoever shows the arrays."""
    group = zarr.open_group(path, mode="r")
    for show in (group.get, lambda name: dask.array.from_zarr(path, name)):
        dataset = ooc.open({"X": show("counts"), "y": show("outcome")})
        assert Path(dataset.path) == path
        found = read(dataset)
        np.testing.assert_array_equal(found[dataset.features], X)
        np.testing.assert_array_equal(found[str(dataset.target)], Y)


@pytest.mark.parametrize("chunk", [7, 64, 1000])
def test_what_is_computed_is_written_once(
    path: Path, capsys: pytest.CaptureFixture[str], chunk: int
) -> None:
    counts = dask.array.from_array(X, chunks=(chunk, 3))
    dataset = ooc.open({"a": dask.array.log1p(abs(counts)), "b": Y}, features="a", target="b")
    assert (
        "the dict is not as it is in a Zarr store, and is written once" in capsys.readouterr().err
    )
    found = read(dataset)
    np.testing.assert_allclose(found["a"], np.log1p(abs(X)), rtol=1e-6)
    np.testing.assert_array_equal(found["b"], Y)


def test_arrays_of_dask_are_computed_together_by_the_users_own_scheduler(path: Path) -> None:
    """What two of them share is computed once for each piece."""
    asked: list[int] = []

    def seen(block: np.ndarray) -> np.ndarray:
        asked.append(len(block))
        return block + 1

    def get(graph: Any, keys: Any, **options: Any) -> Any:
        calls.append(keys)
        return dask.local.get_sync(graph, keys, **options)

    calls: list[Any] = []
    shared = dask.array.from_array(X, chunks=(50, 3)).map_blocks(seen, dtype="f4", meta=X[:0])
    for how in ({}, {"scheduler": get}):
        asked.clear()
        with dask.config.set(how):
            dataset = ooc.open({"X": shared * 2, "y": shared[:, 0]})
        assert sum(asked) == ROWS
        found = read(dataset)
        np.testing.assert_allclose(found["X"], 2 * (X + 1), rtol=1e-6)
        np.testing.assert_allclose(found["y"], X[:, 0] + 1, rtol=1e-6)
    assert calls


def test_an_array_that_cannot_be_computed_says_why(path: Path) -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        raise ValueError("no such day")

    broken = dask.array.from_array(X, chunks=(50, 3)).map_blocks(
        fail, dtype=X.dtype, meta=np.empty((0, 3), X.dtype)
    )
    with pytest.raises(ValueError, match="no such day"):
        ooc.open({"X": broken, "y": Y})


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"X": [[1.0]]}, "X is an object of list, and no array"),
        ({"X": X, "y": Y[1:]}, "X has 230 rows, and y has 229"),
        ({"X": np.float64(3)}, "X is one number, and has no rows"),
        ({1: X}, "named by texts, and not by 1"),
        ({"x": X}, "has no variable 'X' for features; it has: x"),
        ({}, "has no variable 'X' for features; it has: none"),
        ({"X": np.array(["a", "b"])}, "X has dtype <U1"),
    ],
)
def test_what_is_no_array_is_named(arrays: dict[Any, Any], told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        ooc.open(arrays)
