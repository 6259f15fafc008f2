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
    ],
)
def test_what_are_no_rows_of_numbers_is_refused(arrays: dict[str, np.ndarray], told: str) -> None:
    with pytest.raises(InputError, match=told):
        hold(arrays)
