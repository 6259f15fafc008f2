"""From a problem to its solution: points, weights, Adam and L-BFGS, and again with other points."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import ooc
from ooc.core.random_keys import Purpose, generator
from ooc.models.pinn import PINN
from ooc.runs.run import Run
from ooc.training.watchers.callbacks import Situation
from pipelines.pinn.balance import weights
from pipelines.pinn.points import Points, draw, draw_again
from pipelines.pinn.problem import Problem

TOLERANCE = 1e-10  # of the gradient: further there is nothing to gain
NOTED = 20  # passes between lines of the history


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Attributes
    ----------
    folder
        Where points and runs are written.
    seed
        Of points, first parameters and batches.
    rounds
        How often points are drawn: after the first time where residuals are large.
    passes
        Over the points, in each round, at most.
    lr, batch_size
        Of Adam, in the first round.
    memory
        Bytes that the process may use.
    dtype
        Of parameters and points.
    """

    folder: Path
    seed: int = 0
    rounds: int = 3
    passes: int = 1000
    lr: float = 1e-3
    batch_size: int = 64
    memory: str = "1GiB"
    dtype: str = "float64"


@dataclass(frozen=True)
class Line:
    """A line of the history: seconds of training, passes, and each term's mean squared residual."""

    seconds: float
    passes: float
    terms: Mapping[str, float]


@dataclass(frozen=True)
class Solution:
    """What training found.

    Attributes
    ----------
    switch, rounds
        Passes after which L-BFGS took over, and after which each round ended.
    seconds
        Of all rounds, the drawing of points included.
    """

    problem: Problem
    model: PINN
    parameters: np.ndarray
    points: Points
    history: tuple[Line, ...]
    switch: float
    rounds: tuple[float, ...]
    seconds: float
    run: Run = field(repr=False)

    def __call__(self, points: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs at points, (rows, D), of the geometry.

        Raises
        ------
        InputError
            If a point is outside of it.
        """
        self.problem.geometry.check_inside(points)
        return self.model.predict(self.parameters, points)

    def error(self, points: np.ndarray, name: str) -> float:
        """Return the relative L2 error of an output against the problem's reference."""
        return relative_error(self(points)[name], reference_of(self.problem, points)[name])


def reference_of(problem: Problem, points: np.ndarray) -> Mapping[str, np.ndarray]:
    """Return the reference at points."""
    assert problem.reference is not None, f"{problem.name} has a reference"
    return problem.reference(points)


def relative_error(found: np.ndarray, known: np.ndarray) -> float:
    """Return |found - known| / |known|.

    Examples
    --------
    >>> relative_error(np.array([3.0, 4.4]), np.array([3.0, 4.0])).__round__(6)
    0.08
    """
    return float(np.linalg.norm(found - known) / np.linalg.norm(known))


def solve(
    problem: Problem,
    training: Training,
    watch: Callable[[PINN, np.ndarray], bool] | None = None,
) -> Solution:
    """Train a network until it obeys the problem's laws at its points.

    The first round is `ooc.optim.hybrid`: Adam on mini-batches, then, when a gradient's signal is
    lost under its noise, L-BFGS on all points. Each further round draws points where residuals are
    large, weighs the terms anew, and goes on with L-BFGS.

    Parameters
    ----------
    watch
        Called after each pass with the model and its parameters; training ends where it returns
        True. Nothing that it learns comes back into training.
    """
    begun, model = time.perf_counter(), problem.model(training.dtype)
    rng = generator(training.seed, Purpose.DATA)
    first = generator(training.seed, Purpose.PARAMETERS)
    parameters = model.init(model.layout((len(model.coordinates),)), first)
    points, history, ends, switch = draw(problem, rng), list[Line](), list[float](), float("inf")
    passes, is_over = 0, False

    def note(now: Situation) -> bool:
        nonlocal passes, is_over
        passes += 1
        if passes % NOTED == 0:
            terms = mean_squares(model, now.parameters, points)
            history.append(Line(time.perf_counter() - begun, passes, terms))
        is_over = watch is not None and watch(model, now.parameters)
        return is_over

    for number in range(training.rounds):
        if number > 0:
            points = draw_again(problem, model, parameters, rng)
        settled = weights(model, parameters, points, training.seed)
        model = replace(model, weights=settled, start=parameters)
        run = _round(model, points, training, number, note)
        parameters, switch = run.parameters, min(switch, _switch(run, ends))
        ends.append(passes)
        if is_over:
            break
    seconds = time.perf_counter() - begun
    return Solution(
        problem, model, parameters, points, tuple(history), switch, tuple(ends), seconds, run
    )


def mean_squares(model: PINN, parameters: np.ndarray, points: Points) -> dict[str, float]:
    """Return the mean squared residual of each term, without its weight."""
    found, of_tags = {}, [points.of(tag) for tag in range(len(model.laws))]
    laws = [law for laws in model.laws for law in laws]
    for term, tag, law in zip(model.terms, model.term_tags, laws, strict=True):
        of = of_tags[tag]
        values = model.evaluate(law, parameters, of.places, of.normals)
        found[term] = float(np.mean(np.sum(values**2, axis=0)))
    return found


def _round(
    model: PINN,
    points: Points,
    training: Training,
    number: int,
    note: Callable[[Situation], bool],
) -> Run:
    """Train on some points: Adam and L-BFGS the first time, L-BFGS later."""
    path = training.folder / f"points-{number}.zarr"
    shutil.rmtree(path, ignore_errors=True)
    training.folder.mkdir(parents=True, exist_ok=True)
    dataset = points.write(path, training.dtype)
    common: dict[str, Any] = {"tolerance": TOLERANCE, "kept": training.passes, "dense": True}
    method = ooc.optim.lbfgs(**common)
    if number == 0:
        method = ooc.optim.hybrid(training.lr, **common)
    batch = min(training.batch_size, len(points.tags))
    trainer = ooc.Trainer(model, method, batch, memory=training.memory, seed=training.seed)
    callbacks = ooc.Callbacks(epoch_end=note)
    return trainer.fit(dataset, training.passes, report=False, callbacks=callbacks)


def _switch(run: Run, ends: Sequence[float]) -> float:
    """Return the passes after which L-BFGS took over."""
    for line in run.history:
        if line.get("gradient_norm") is not None:
            return float(line["epoch"]) + (ends[-1] if ends else 0.0)
    return float("inf")
