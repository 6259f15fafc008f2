"""What compiled window loops count: the steps, rows and loss of a run."""

import numpy as np

from ooc.kernels import linear as kernels


class Counted:
    """The half of `ooc.engines.Engine` that is read from a kernel's counters.

    Parameters
    ----------
    step
        Steps taken before.
    """

    def __init__(self, step: int) -> None:
        self._counters = np.zeros(kernels.COUNTERS, np.int64)
        self._counters[kernels.STEP] = step
        self._totals = np.zeros(kernels.TOTALS)

    @property
    def step(self) -> int:
        """Steps taken since the run began."""
        return int(self._counters[kernels.STEP])

    @property
    def rows(self) -> int:
        """Rows used by the steps of this engine."""
        return int(self._counters[kernels.ROWS])

    @property
    def loss_sum(self) -> float:
        """Sum of the loss over those rows."""
        return float(self._totals[kernels.LOSS_SUM])
