"""A problem: a geometry, the equations inside, and a condition for each piece of its boundary."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from ooc.core.errors import InputError
from ooc.models.pinn import PINN
from pipelines.pinn.geometry import Geometry

# A function of what its parameters name that is zero where it is obeyed, see `ooc.models.PINN`.
Law: TypeAlias = Callable[..., object]
# Of coordinates, an array each: the output of that name, or None where there is no reference.
Reference: TypeAlias = Callable[[np.ndarray], Mapping[str, np.ndarray]]
FREE: tuple[Law, ...] = ()


@dataclass(frozen=True)
class Problem:
    """What is to be solved.

    Attributes
    ----------
    name
        Of the problem, for files and tables.
    geometry
        Where it holds.
    outputs
        What is wanted, by names.
    inside
        Equations inside.
    boundary
        For each surface of the geometry its conditions; `FREE` for none, such as at the end of
        time.
    reference
        Points (rows, D) to outputs that are known of them. Training never sees it.
    hidden, points, edge_points
        Units of the network's layers, points inside, and points of each piece of the boundary.

    Raises
    ------
    InputError
        If a piece of the boundary has no condition, or a law cannot be used.
    """

    name: str
    geometry: Geometry
    outputs: Sequence[str]
    inside: Sequence[Law]
    boundary: Mapping[str, Sequence[Law]]
    reference: Reference | None = field(default=None, compare=False)
    hidden: Sequence[int] = (32, 32, 32)
    points: int = 4096
    edge_points: int = 256

    def __post_init__(self) -> None:
        if self.points < 1 or self.edge_points < 1:
            raise InputError(
                f"{self.name}: {self.points} points inside and {self.edge_points} on each piece of "
                "the boundary are not possible: there is at least one"
            )
        surfaces = self.geometry.surfaces
        missing = [name for name in surfaces if name not in self.boundary]
        if missing:
            raise InputError(
                f"{self.name}: the boundary {', '.join(missing)} has no condition; give it one, "
                "or FREE where nothing is known there"
            )
        unknown = [name for name in self.boundary if name not in surfaces]
        if unknown:
            raise InputError(
                f"{self.name}: there is a condition for {', '.join(unknown)}, and the geometry has "
                f"{', '.join(surfaces)}"
            )
        self.model()

    @property
    def conditions(self) -> dict[str, Sequence[Law]]:
        """The pieces of the boundary where something is known, in the order of their tags."""
        return {name: self.boundary[name] for name in self.geometry.surfaces if self.boundary[name]}

    @property
    def tags(self) -> tuple[str, ...]:
        """Names of the tags from 0 on: inside, and pieces of the boundary."""
        return ("inside", *self.conditions)

    def model(self, dtype: str = "float64") -> PINN:
        """Return the network that is to solve it."""
        return PINN(
            self.geometry.coordinates, tuple(self.outputs),
            (tuple(self.inside), *map(tuple, self.conditions.values())),
            hidden=self.hidden, bounds=self.geometry.bounds, dtype=dtype,
        )  # fmt: skip
