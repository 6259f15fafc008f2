"""Methods that learn from the exact gradient over all rows, one streamed pass each.

They are given to a trainer like any optimizer. L-BFGS and conjugate gradients are SciPy's own;
"hybrid" begins with Adam on mini-batches.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Unpack

import numpy as np

from ooc.core.errors import InputError
from ooc.optim.optimizer import Common, Optimizer, positive
from ooc.optim.schedules import UNCHANGED
from ooc.optim.settings import ADAM, CG, HYBRID, LBFGS, SETTINGS

# Passes that are made at most where their number is not given.
USUAL_PASSES = 100
FEWEST_PASSES = 2
# Parameters that a hybrid measures in units of a matrix, at most.
MOST_WHITENED = 512
# Decay of the moments, and epsilon, of the hybrid's Adam.
ADAM_CONSTANTS = (0.9, 0.999, 1e-8)

# Entries of the head of a record: evaluations in it, and whether it has begun; rows and summed
# loss of the pass at hand; iterations before this round; and of the hybrid: iterates that were
# averaged, the step at which it decided, differences of gradients that were taken, and from the
# last one on the totals of signal and noise where the window of its rule began.
COUNT, BEGUN, PASS_ROWS, PASS_LOSS, ITERATIONS = range(5)
AVERAGED_ITERATES, DECIDED_STEP, DIFFERENCES, WINDOW_TOTALS = range(5, 9)
HEAD = 16


class Record(NamedTuple):
    """What a full-gradient method was told so far: views of one descent's state.

    Attributes
    ----------
    start
        (P,) float64, where this round began; before that, the average of a hybrid's iterates.
    total
        (P,) float64, gradient of the pass at hand, summed over its rows; before that, a gradient
        that a hybrid subtracts from the next.
    units
        What a hybrid's second part measures parameters in, float64: (P, P), or (P,) where there
        are many; None for the others.
    gradients, values, losses
        (R, P), (R,) and (R,) float64: gradient and objective of each evaluation, penalty included,
        and the loss without it.
    head
        (HEAD,) float64, counts, see above.
    """

    start: np.ndarray
    total: np.ndarray
    units: np.ndarray | None
    gradients: np.ndarray
    values: np.ndarray
    losses: np.ndarray
    head: np.ndarray


@dataclass(frozen=True)
class FullGradient(Optimizer):
    """A method that is told loss and gradient over all rows; its entry is in `FULL_GRADIENT`.

    Its constants are: the norm of the gradient at which it is done; R, evaluations that are kept
    to go on from exactly; and pairs of vectors that L-BFGS remembers. After R evaluations a new
    round begins where the last one came to.
    """

    @property
    def tolerance(self) -> float:
        """Norm of the gradient, penalty included, at which it is done."""
        return self.constants[0]

    @property
    def kept(self) -> int:
        """R, evaluations in a round."""
        return int(self.constants[1])

    @property
    def memory(self) -> int:
        """Pairs of vectors that L-BFGS remembers; 0 for conjugate gradients."""
        return int(self.constants[2]) if len(self.constants) > 2 else 0

    @property
    def first(self) -> Optimizer | None:
        """The mini-batch optimizer that comes first; None where there is none."""
        if self.code != HYBRID:
            return None
        return Optimizer(
            "adam", ADAM, self.rate, ADAM_CONSTANTS, 2, self.l2, 0.0, self.clip_norm, self.schedule
        )

    def units_rows(self, parameters: int) -> int:
        """Return the vectors of units: a matrix of a hybrid with few parameters."""
        if self.code != HYBRID:
            return 0
        return parameters if parameters <= MOST_WHITENED else 1

    def state_rows(self, parameters: int) -> int:
        """Return the vectors of state, with room for a record of R evaluations."""
        return (
            self.slots
            + self.units_rows(parameters)
            + 2
            + self.kept
            + -(-(2 * self.kept + HEAD) // parameters)
        )

    def record(self, state: np.ndarray) -> Record:
        """Return the record in a state, (state rows, P) float64, as views."""
        start = self.slots + self.units_rows(state.shape[1])
        rest = state[start + 2 + self.kept :].reshape(-1)
        units = state[self.slots : start]
        return Record(
            state[start],
            state[start + 1],
            None if len(units) == 0 else units[0] if state.shape[1] > MOST_WHITENED else units,
            state[start + 2 : start + 2 + self.kept],
            rest[HEAD : HEAD + self.kept],
            rest[HEAD + self.kept : HEAD + 2 * self.kept],
            rest[:HEAD],
        )

    def settings(self) -> np.ndarray:
        """Return the settings of the mini-batch optimizer, or none."""
        return np.zeros(SETTINGS) if self.first is None else self.first.settings()


def lbfgs(
    lr: None = None,
    tolerance: float = 1e-6,
    kept: int = 128,
    memory: int = 10,
    **common: Unpack[Common],
) -> FullGradient:
    """L-BFGS on the streamed full gradient (SciPy's L-BFGS-B: Byrd, Lu, Nocedal and Zhu 1995).

    Each evaluation is one pass over the data, and each iteration takes one of them, seldom two.
    An L2 penalty is part of the objective.

    Parameters
    ----------
    lr
        There is none to give: a line search finds the length of each step.
    tolerance
        Norm of the gradient at which the run is done.
    kept
        Evaluations that a checkpoint holds, 8 bytes a parameter each, so that a run goes on
        exactly; after so many the method begins anew, where it came to.
    memory
        Pairs of vectors from which the curvature is known.

    Raises
    ------
    InputError
        If anything is given that it cannot use: a rate, a schedule, clipping or an L1 penalty.

    Examples
    --------
    >>> lbfgs(l2=1e-3).memory
    10
    """
    constants = (*_constants(tolerance, kept), _count("memory", memory, 1))
    _check_line_search("lbfgs", lr, common)
    return FullGradient("lbfgs", LBFGS, None, constants, slots=0, **_checked("lbfgs", common))


def cg(
    lr: None = None,
    tolerance: float = 1e-6,
    kept: int = 128,
    **common: Unpack[Common],
) -> FullGradient:
    """Nonlinear conjugate gradients on the streamed full gradient (SciPy's CG: Polak-Ribiere).

    Each evaluation is one pass over the data; an iteration takes about two of them.

    Parameters
    ----------
    lr, tolerance, kept
        See `lbfgs`.

    Examples
    --------
    >>> cg(tolerance=1e-4).tolerance
    0.0001
    """
    constants = _constants(tolerance, kept)
    _check_line_search("cg", lr, common)
    return FullGradient("cg", CG, None, constants, slots=0, **_checked("cg", common))


def hybrid(
    lr: float | None = None,
    tolerance: float = 1e-6,
    kept: int = 128,
    memory: int = 10,
    **common: Unpack[Common],
) -> FullGradient:
    """Adam on mini-batches, then L-BFGS on the full gradient, see `ooc.engines.hybrid_engine`.

    It switches by itself, when the gradient's signal sinks under its noise. L-BFGS then begins
    at the average of the iterates since, in units in which that noise is alike in all directions.

    Parameters
    ----------
    lr
        Adam's rate; None: from a short range test.
    tolerance, kept, memory
        See `lbfgs`.

    Examples
    --------
    >>> hybrid(0.01).first.name
    'adam'
    """
    constants = (*_constants(tolerance, kept), _count("memory", memory, 1))
    rate = None if lr is None else positive("lr", lr)
    return FullGradient("hybrid", HYBRID, rate, constants, slots=2, **_checked("hybrid", common))


FULL_GRADIENT: dict[str, Callable[..., FullGradient]] = {"lbfgs": lbfgs, "cg": cg, "hybrid": hybrid}


def _constants(tolerance: float, kept: int) -> tuple[float, float]:
    return positive("tolerance", tolerance), _count("kept", kept, 8)


def _count(name: str, value: float, least: int) -> float:
    if not (value >= least and float(value).is_integer()):
        raise InputError(f"{name} must be a whole number of at least {least}, not {value}")
    return float(value)


def _check_line_search(name: str, lr: object, common: Common) -> None:
    if lr is not None:
        raise InputError(
            f"{name} finds the length of each step by a line search; leave out lr={lr}, or choose "
            "hybrid, whose first part has a learning rate"
        )
    if common.get("clip_norm") is not None:
        raise InputError(
            f"{name} needs the gradient as it is; leave out clip_norm={common['clip_norm']}"
        )


def _checked(name: str, common: Common) -> Common:
    if common.get("l1"):
        raise InputError(
            f"{name} needs a gradient, which an L1 penalty has not at zero; use l2= instead of "
            f"l1={common['l1']}, or an optimizer on mini-batches"
        )
    if common.get("schedule", UNCHANGED).code != UNCHANGED.code:
        raise InputError(
            f"{name} takes no schedule but constant, not {common['schedule'].name}: it lowers its "
            "steps by itself"
        )
    if not math.isfinite(common.get("l2", 0.0)):
        raise InputError(f"l2 must be a finite number, not {common['l2']}")
    return common
