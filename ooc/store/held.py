"""Arrays in memory as a dataset: what trains on a store trains on them, row for row."""

from collections.abc import Mapping

import numpy as np

from ooc.core.errors import InputError
from ooc.store.dataset import ArraySpec, Dataset
from ooc.store.fields import CHUNK_BYTES
from ooc.store.member import NUMERIC_KINDS

WHERE = "the data in memory"


def hold(arrays: Mapping[str, np.ndarray]) -> Dataset:
    """Return arrays as a dataset; they are neither copied nor written anywhere.

    Parameters
    ----------
    arrays
        "X", and "y" and "weight" where there are any: numbers, rows along axis 0. They are to stay
        as they are for as long as the dataset is used.

    Raises
    ------
    InputError
        If they are not numbers, or have no rows, or not as many.

    Examples
    --------
    >>> dataset = hold({"X": np.ones((4, 3)), "y": np.arange(4)})
    >>> dataset.rows, dataset.row_shape, dataset.target
    (4, (3,), 'y')
    """
    rows, widest = len(arrays["X"]), max(values[:1].nbytes for values in arrays.values())
    if rows == 0:
        raise InputError(f"X is empty: its shape is {arrays['X'].shape}")
    specs = {}
    for name, values in arrays.items():
        if values.dtype.kind not in NUMERIC_KINDS:
            raise InputError(f"{name} has dtype {values.dtype}, which is not a real number")
        if len(values) != rows:
            raise InputError(f"X has {rows} rows, but {name} has {len(values)}")
        chunks = (max(1, min(rows, CHUNK_BYTES // widest)), *values.shape[1:])
        dtype = values.dtype.newbyteorder("=")
        specs[name] = ArraySpec(name, values.shape, dtype, chunks, None)
    target, weight = (name if name in arrays else None for name in ("y", "weight"))
    return Dataset(WHERE, specs, "X", target, weight, held=dict(arrays))
