"""How often the lanes of a run meet: in every step, or after some that each has taken alone."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.core.numbers import check_counts, whole


@dataclass(frozen=True)
class Synchronisation:
    """How often lanes meet, and for how many of them a step waits.

    Attributes
    ----------
    local_steps
        H, steps that each lane takes by itself, with parameters and an optimizer state of its
        own, on its rows of each batch; then parameters are averaged, weighted by rows (McMahan et
        al. 2017). 1 is exact: gradients are added up in every step, and lanes make no difference
        but in the order of rows. A round ends early where its epoch does.
    outer_momentum
        M of a Nesterov momentum on the change of the average from round to round, as in DiLoCo
        (Douillard et al. 2023), where it is 0.9.
    outer_rate
        What that change is multiplied with; 0.7 in DiLoCo.
    backup_lanes
        k of the lanes that a step on a cluster does not wait for: it uses the gradients that are
        there as soon as all but k are (Chen et al. 2016), and drops the others. Which these are,
        and so the bits, depends on the workers' timing.

    Raises
    ------
    InputError
        If an option cannot be used, or not beside another.

    Examples
    --------
    >>> Synchronisation(local_steps=8, outer_momentum=0.9, outer_rate=0.7).is_exact
    False
    """

    local_steps: int = 1
    outer_momentum: float = 0.0
    outer_rate: float = 1.0
    backup_lanes: int = 0

    def __post_init__(self) -> None:
        check_counts(local_steps=self.local_steps)
        if not 0 <= self.outer_momentum < 1:
            raise InputError(
                f"outer_momentum is at least 0 and below 1, not {self.outer_momentum}; 0.9 is usual"
            )
        if not 0 < self.outer_rate < math.inf:
            raise InputError(f"outer_rate is above 0, not {self.outer_rate}; 1 takes the average")
        if self.local_steps == 1 and (self.outer_momentum, self.outer_rate) != (0.0, 1.0):
            raise InputError(
                "an outer momentum or rate acts where lanes meet after several steps; give "
                "local_steps=2 or more"
            )

        whole("backup_lanes", self.backup_lanes, 0)
        if self.backup_lanes and self.local_steps > 1:
            raise InputError(
                "backup lanes are those that a step does not wait for, and lanes that take local "
                "steps are averaged, all of them; give one of the two"
            )

    @property
    def is_exact(self) -> bool:
        """Whether every step is that of all lanes' rows."""
        return self == EVERY_STEP

    def to_config(self) -> dict[str, Any]:
        """Return the settings, JSON-ready."""
        return asdict(self)


EVERY_STEP = Synchronisation()


def outer_step(
    start: np.ndarray,
    lanes: Sequence[np.ndarray],
    rows: Sequence[int],
    velocity: np.ndarray,
    how: Synchronisation,
) -> np.ndarray:
    """Return the parameters with which lanes begin their next round.

    Parameters
    ----------
    start
        (P,), those with which the round began.
    lanes, rows
        What each lane came to, (P,), and on how many rows; one without rows takes no part.
    velocity
        (P,) float64, updated in place.

    Notes
    -----
    With d the mean of the lanes' changes, weighted by rows: v <- M v + d, and the parameters
    change by rate (d + M v), or by rate d without a momentum. All sums are float64, in the order
    of the lanes.

    Examples
    --------
    >>> averaged = Synchronisation(local_steps=2)
    >>> lanes = [np.array([1.0, 2.0]), np.array([3.0, 2.0])]
    >>> outer_step(np.zeros(2), lanes, [10, 30], np.zeros(2), averaged).tolist()
    [2.5, 2.0]
    """
    change, total = np.zeros(start.shape), sum(rows)
    for values, count in zip(lanes, rows, strict=True):
        if count:
            # Of what is the same everywhere, such as fixed parts, nothing is left.
            change += (values.astype(np.float64) - start) * (count / total)
    momentum = how.outer_momentum
    velocity[:] = momentum * velocity + change
    moved = start + how.outer_rate * (change + momentum * velocity if momentum else change)
    return moved.astype(start.dtype)
