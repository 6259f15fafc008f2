"""Steps of synchronous descent, event by event: asked, worked off, answered, enough are in.

One client asks the machines one by one, each works its share off, and the client takes the answers
one by one as they come; with enough of them it takes the step. Machines that are late have their
answers dropped. Time is that of the client, in seconds.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Costs:
    """What a step takes beside the work, in seconds.

    Attributes
    ----------
    ask, take
        Of the client for each machine that it asks, and each answer that it takes.
    step
        Of the client between the last answer and the next questions.
    work
        What a share takes a machine beside its rows.
    """

    ask: float = 0.0
    take: float = 0.0
    step: float = 0.0
    work: float = 0.0


@dataclass(frozen=True)
class Steps:
    """What came of it.

    Attributes
    ----------
    seconds
        (steps,) that each took.
    dropped
        (machines,) answers that were not used, or not even begun, of each.
    """

    seconds: np.ndarray
    dropped: np.ndarray

    @property
    def mean(self) -> float:
        """Seconds of a step."""
        return float(self.seconds.mean())


def simulate(work: np.ndarray, needed: int, costs: Costs = Costs(), leaves: bool = False) -> Steps:
    """Follow the steps of a run.

    Parameters
    ----------
    work
        (steps, machines) seconds that a share takes.
    needed
        Answers that a step waits for.
    leaves
        Whether a machine that is late leaves its work as the step ends. Those that do not finish
        it first, and are asked for the step that then is at hand.

    Examples
    --------
    >>> simulate(np.array([[1.0, 5.0, 2.0], [1.0, 1.0, 1.0]]), 2).seconds
    array([2., 1.])
    """
    steps, machines = work.shape
    seconds, dropped = np.empty(steps), np.zeros(machines, np.int64)
    free, begun = np.zeros(machines), 0.0
    asked_after = costs.ask * np.arange(1, machines + 1)
    late = np.empty(0)
    for step in range(steps):
        begins = np.maximum(begun + asked_after, free)
        ends = begins + costs.work + work[step]
        order = np.argsort(ends, kind="stable")
        # Answers queue for the client: those that come late from steps before among them.
        arrivals = np.sort(np.concatenate([late, ends]))
        enough = ends[order[needed - 1]]
        last = np.searchsorted(arrivals, enough, side="right")
        taken_after = costs.take * np.arange(last)
        queued = np.max(np.maximum(arrivals[:last], begun + asked_after[-1]) - taken_after)
        over = queued + costs.take * last
        unused = order[needed:]
        dropped[unused] += 1
        if leaves:
            free[:] = over
        else:
            started = unused[begins[unused] < over]
            free[started] = ends[started]
            late = np.concatenate([late[late > enough], ends[started][ends[started] > enough]])
        seconds[step] = over + costs.step - begun
        begun = over + costs.step
    return Steps(seconds, dropped)
