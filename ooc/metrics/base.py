"""The contract of a streaming metric: functions over one flat state of bounded size."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ooc.metrics.measured import Measured


@dataclass(frozen=True)
class Metric:
    """One metric, or a few that share a state, with the names of its values.

    A state is a flat float64 vector whose length does not depend on the rows. Zeros are the state
    of no rows.

    Attributes
    ----------
    size
        Entries of the state for batches such as this one; 0 where the metric is not for them.
    update
        Adds a batch to a state, in place. Raises `DataError` for answers that cannot be counted.
        Sums of whole weights are the same to the last bit in any batches, others to rounding.
    values
        State -> a value for each key, JSON-ready; None where it is not defined.
    most_bytes
        Outputs of a row -> bytes that the state and an update hold at most.
    """

    keys: tuple[str, ...]
    size: Callable[[Measured], int]
    update: Callable[[np.ndarray, Measured], None]
    values: Callable[[np.ndarray], dict[str, Any]]
    most_bytes: Callable[[int], int]
