"""Minimisers of the exact loss over all rows, SciPy's own, and the record of what they know."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ooc.core.numbers import not_negative, positive, whole

# SciPy's names of them.
LBFGS, CG = "L-BFGS-B", "CG"
# Parameters that a hybrid measures in units of a matrix, at most.
MOST_WHITENED = 512

# Entries of the head of a record: evaluations in it, and whether it has begun; rows and summed
# loss of the pass at hand; iterations before this round; and of the hybrid: iterates that were
# averaged, the step at which it decided, differences of gradients that were taken, and from the
# last one on the totals of signal and noise where the window of its rule began.
COUNT, BEGUN, PASS_ROWS, PASS_LOSS, ITERATIONS = range(5)
AVERAGED_ITERATES, DECIDED_STEP, DIFFERENCES, WINDOW_TOTALS = range(5, 9)
HEAD = 16


class Record(NamedTuple):
    """What a full-gradient method was told so far: float64 views of one descent's state.

    Attributes
    ----------
    start
        (P,), where this round began; before that, the average of a hybrid's iterates.
    total
        (P,), gradient of the pass at hand, summed over its rows; before that, a gradient that a
        hybrid subtracts from the next.
    units
        What a hybrid's second part measures parameters in: (P, P), or (P,) where there are many.
    gradients, values, losses
        (R, P), (R,) and (R,): gradient and objective of each evaluation, penalty included, and
        the loss without it.
    head
        (HEAD,), counts, see above.
    """

    start: np.ndarray
    total: np.ndarray
    units: np.ndarray | None
    gradients: np.ndarray
    values: np.ndarray
    losses: np.ndarray
    head: np.ndarray


@dataclass(frozen=True)
class FullGradient:
    """A minimiser that is told loss and gradient over all rows.

    Attributes
    ----------
    minimiser
        `LBFGS` or `CG`.
    tolerance
        Norm of the gradient, penalty included, at which it is done.
    kept
        R, evaluations in a round, which are kept to go on from exactly. After so many a new
        round begins where the last one came to.
    memory
        Pairs of vectors that L-BFGS remembers; 0 for conjugate gradients.
    l2
        ``l2/2 |w|^2`` of the coefficients is part of the objective.
    dense
        Whether L-BFGS keeps the whole inverse curvature, (P, P), see
        `ooc.engines.self_scaling`, and no pairs.
    in_units
        Whether parameters are measured in units that mini-batches told, see
        `ooc.engines.hybrid_engine`.
    """

    minimiser: str
    tolerance: float = 1e-6
    kept: int = 128
    memory: int = 0
    l2: float = 0.0
    in_units: bool = False
    dense: bool = False

    def __post_init__(self) -> None:
        positive("tolerance", self.tolerance)
        object.__setattr__(self, "kept", whole("kept", self.kept, 8))
        least = 1 if self.minimiser == LBFGS else 0
        object.__setattr__(self, "memory", whole("memory", self.memory, least))
        not_negative("l2", self.l2)

    def units_rows(self, parameters: int) -> int:
        """Return the vectors of units: a matrix where there are few parameters."""
        if not self.in_units:
            return 0
        return parameters if parameters <= MOST_WHITENED else 1

    def state_rows(self, parameters: int) -> int:
        """Return the vectors of state: room for a record of R evaluations."""
        counts = -(-(2 * self.kept + HEAD) // parameters)
        return self.units_rows(parameters) + 2 + self.kept + counts

    def record(self, state: np.ndarray) -> Record:
        """Return the record in its rows of a state, (state rows, P) float64, as views."""
        rows = self.units_rows(state.shape[1])
        units, (start, total), rest = state[:rows], state[rows : rows + 2], state[rows + 2 :]
        numbers = rest[self.kept :].reshape(-1)
        head, values, losses, _ = np.split(numbers, HEAD + self.kept * np.arange(3))
        kept_units = units[0] if rows and state.shape[1] > MOST_WHITENED else units
        gradients = rest[: self.kept]
        return Record(start, total, kept_units if rows else None, gradients, values, losses, head)
