"""The loss of a run on its way, as often as asked for, looked at off the clock."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import ooc
from pipelines.common.dataset import Dataset


@dataclass(frozen=True)
class Trajectory:
    """Where a run was, at the start, on its way and at the end.

    Attributes
    ----------
    steps, seconds, losses
        (points,) steps taken, seconds that they took, and the loss there.
    """

    steps: np.ndarray
    seconds: np.ndarray
    losses: np.ndarray


def follow(
    trainer: ooc.Trainer,
    dataset: Dataset,
    epochs: int,
    every: int,
    start: np.ndarray,
    loss: Callable[[np.ndarray], float],
) -> Trajectory:
    """Train with `ooc.Trainer.fit`, and look at the loss every so many steps.

    Parameters
    ----------
    every
        Steps between two looks; there is one more at each epoch's end.
    start
        Where the run begins.
    loss
        Of parameters; the seconds that it takes do not count.
    """
    points = [(0, 0.0, loss(start))]
    begun, looking = time.perf_counter(), 0.0

    def look(now: Any) -> None:
        nonlocal looking
        entered = time.perf_counter()
        if now.step > points[-1][0]:
            points.append((now.step, entered - begun - looking, loss(now.parameters)))
        looking += time.perf_counter() - entered

    callbacks = ooc.Callbacks(step_end=look, epoch_end=look, every=every)
    results = trainer.fit(dataset, epochs, report=False, callbacks=callbacks).results
    steps, seconds, losses = (np.array(each) for each in zip(*points, strict=True))
    # The run's own seconds begin when it is set up.
    set_up = max(0.0, seconds[-1] + looking - results["seconds"])
    return Trajectory(steps, np.maximum(seconds - set_up, 0.0), losses)
