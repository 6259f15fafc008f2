"""A case: a problem, how long it is trained, and what its solution is held to."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipelines.pinn.problem import Problem
from pipelines.pinn.training import Solution, reference_of, relative_error


@dataclass(frozen=True)
class Judgement:
    """A number that a solution is judged by, and the most that it may be."""

    name: str
    value: float
    bound: float


@dataclass(frozen=True)
class Profile:
    """What is known of an output along a line, such as a published table.

    Attributes
    ----------
    output
        Its name.
    points, values
        (rows, D), which differ in one coordinate, and (rows,).
    source
        Whose it is.
    """

    output: str
    points: np.ndarray
    values: np.ndarray
    source: str


@dataclass(frozen=True)
class Case:
    """One of the pipeline's problems.

    Attributes
    ----------
    problem
        What is solved.
    judge
        Tells how far a solution is from the reference; the first number decides.
    rounds, passes
        Of training, see `pipelines.pinn.training.Training`.
    shown
        Names of the outputs that are drawn.
    profiles
        What is known along lines, where there is no reference for all points; they are drawn.
    """

    problem: Problem
    judge: Callable[[Solution], tuple[Judgement, ...]]
    rounds: int = 3
    passes: int = 1000
    shown: tuple[str, ...] = ()
    profiles: tuple[Profile, ...] = ()


def judge_outputs(
    points: np.ndarray, bounds: dict[str, float]
) -> Callable[..., tuple[Judgement, ...]]:
    """Return a judge by the relative L2 error of outputs at points, (rows, D)."""

    def judge(solution: Solution) -> tuple[Judgement, ...]:
        known, found = reference_of(solution.problem, points), solution(points)
        return tuple(
            Judgement(
                f"relative L2 error of {name}", relative_error(found[name], known[name]), bound
            )
            for name, bound in bounds.items()
        )

    return judge


def grid(problem: Problem, count: int) -> np.ndarray:
    """Return the points of a regular grid that are inside of a problem's geometry, (rows, D)."""
    axes = [np.linspace(low, high, count) for low, high in problem.geometry.bounds]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    return points[problem.geometry.distance(points) <= 0]
