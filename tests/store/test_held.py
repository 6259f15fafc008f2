"""Arrays in memory as a dataset: rows are those of the arrays, and none is copied."""

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.store.held import hold
from ooc.stream.loader import Loader


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float64", "uint8", ">f4"])
def test_every_row_of_the_arrays_is_read_once(dtype: str, order: str) -> None:
    x = np.random.default_rng(0).uniform(0, 200, (5000, 31)).astype(dtype, order=order)
    arrays = {"X": x, "y": np.arange(5000), "weight": np.linspace(1, 2, 5000)}
    dataset = hold(arrays)
    assert dataset.held["X"] is x
    assert dataset.roles == ("X", "y", "weight")
    seen = []
    for batch in Loader(dataset, 300, memory="512MiB"):
        seen += batch.rows.tolist()
        for name, values in arrays.items():
            np.testing.assert_array_equal(batch[name], values[batch.rows])
            assert batch[name].dtype.isnative
    assert sorted(seen) == list(range(5000))
    assert seen != sorted(seen)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"X": np.ones((0, 3))}, "X is empty: its shape is \\(0, 3\\)"),
        ({"X": np.array([["a"]])}, "X has dtype <U1, which is not a real number"),
        ({"X": np.ones((3, 2)), "y": np.ones(4)}, "X has 3 rows, but y has 4"),
        ({"X": np.ones((3, 2)), "weight": np.ones(2)}, "X has 3 rows, but weight has 2"),
        ({"X": np.ones((3, 2)), "y": np.ones(3, "M8[s]")}, "y has dtype datetime64"),
    ],
)
def test_what_are_no_rows_of_numbers_is_refused(arrays: dict[str, np.ndarray], told: str) -> None:
    with pytest.raises(InputError, match=told):
        hold(arrays)


@pytest.mark.parametrize(
    ("rows", "width", "chunk"), [(5000, 128, 512), (5000, 127, 516), (100, 128, 100)]
)
def test_chunks_are_of_half_a_mebibyte_of_the_widest_array(
    rows: int, width: int, chunk: int
) -> None:
    arrays = {"X": np.zeros((rows, width)), "y": np.zeros(rows, "i1")}
    dataset = hold(arrays)
    assert dataset.arrays["X"].chunks == (chunk, width)
    assert dataset.arrays["y"].chunks == (chunk,)
    assert (dataset.path, dataset.target, dataset.weight) == ("the data in memory", "y", None)
    assert hold({"X": np.zeros((2, 2**17))}).arrays["X"].chunks == (1, 2**17)
    big = hold({"X": np.zeros((3, 2), ">i2"), "weight": np.ones(3)})
    assert big.arrays["X"].dtype == np.dtype("i2") and big.roles == ("X", None, "weight")
