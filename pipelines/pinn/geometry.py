"""Geometries by signed distance: where points are, on which piece of the boundary, and the normal.

A geometry is what is inside of several named surfaces. Each is a function of the coordinates that
is negative inside, zero on the surface and positive outside, near it about the distance.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ooc.core.errors import InputError

# Of coordinates, an array each, (rows,): the signed distance, (rows,).
Surface: TypeAlias = Callable[..., np.ndarray]
ON_BOUNDARY = 1e-9  # of the geometry's extent: what counts as on it
_STEP = 1e-6  # of the extent, for the distance's slope
_NEWTON_STEPS = 30
_BAND = 0.02  # of the extent: points so near are moved to the boundary


@dataclass(frozen=True)
class Geometry:
    """What is inside of all of its surfaces.

    Attributes
    ----------
    coordinates
        Their names, a letter each.
    bounds
        Least and largest value of each coordinate.
    surfaces
        The pieces of its boundary by their names.

    Examples
    --------
    >>> ring = without(disk("outer", 2.0), disk("inner", 1.0))
    >>> ring.distance(np.array([[1.5, 0.0], [0.0, 0.5]]))
    array([-0.5,  0.5])
    """

    coordinates: str
    bounds: tuple[tuple[float, float], ...]
    surfaces: Mapping[str, Surface]

    @property
    def extent(self) -> float:
        """Its largest side."""
        return max(high - low for low, high in self.bounds)

    def distances(self, points: np.ndarray) -> np.ndarray:
        """Return the signed distance of points, (rows, D), to each surface: (surfaces, rows)."""
        columns = points.T.astype(np.float64)
        return np.stack(
            [np.broadcast_to(each(*columns), len(points)) for each in self.surfaces.values()]
        )

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Return the signed distance to the boundary, (rows,): negative inside."""
        found: np.ndarray = self.distances(points).max(axis=0)
        return found

    def check_inside(self, points: np.ndarray, what: str = "point") -> None:
        """Refuse points that are outside.

        Raises
        ------
        InputError
            With the first one's row, coordinates, surface and distance.
        """
        if points.ndim != 2 or points.shape[1] != len(self.coordinates):
            raise InputError(
                f"points of shape {points.shape} have not the {len(self.coordinates)} coordinates "
                f"{', '.join(self.coordinates)} of the geometry"
            )
        distances = self.distances(points)
        outside = ~(distances.max(axis=0) <= ON_BOUNDARY * self.extent)
        if outside.any():
            row = int(np.argmax(outside))
            place = ", ".join(
                f"{name}={value:.6g}"
                for name, value in zip(self.coordinates, points[row], strict=True)
            )
            surface = list(self.surfaces)[int(np.argmax(distances[:, row]))]
            raise InputError(
                f"{what} {row} ({place}) is outside of the geometry, {distances[:, row].max():.3g} "
                f"beyond {surface}, as are {int(outside.sum())} of {len(points)}; move it inside, "
                "or correct the geometry"
            )

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Return the distance's slope, of length 1, (rows, D): on the boundary outward normals."""
        step, slopes = _STEP * self.extent, np.empty(points.shape)
        which = self.distances(points).argmax(axis=0)
        rows = np.arange(len(points))
        for axis in range(points.shape[1]):
            moved = np.zeros(points.shape[1])
            moved[axis] = step
            ahead = self.distances(points + moved)[which, rows]
            slopes[:, axis] = (ahead - self.distances(points - moved)[which, rows]) / (2 * step)
        length = np.linalg.norm(slopes, axis=1, keepdims=True)
        found: np.ndarray = slopes / np.maximum(length, 1e-300)
        return found

    def draw_inside(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw points inside, uniformly: (count, D).

        Raises
        ------
        InputError
            If hardly any point of the bounds is inside.
        """
        low, high = np.array(self.bounds).T
        kept, tried = np.empty((0, len(low))), 0
        while len(kept) < count:
            points = rng.uniform(low, high, (max(count, 1024), len(low)))
            kept = np.concatenate([kept, points[self.distance(points) < 0]])
            tried += len(points)
            if len(kept) < tried / 1000:
                raise InputError(
                    f"of {tried} points of the bounds {self.bounds}, {len(kept)} are inside of the "
                    f"geometry; are {', '.join(self.surfaces)} negative inside?"
                )
        return kept[:count]

    def draw_boundary(self, count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw points on each piece of the boundary, uniformly: (count, D) for each name.

        Raises
        ------
        InputError
            If a surface bounds nothing: it is out of reach, or behind others.
        """
        low, high = np.array(self.bounds).T
        found = {name: np.empty((0, len(low))) for name in self.surfaces}
        band = _BAND * self.extent
        for _ in range(200):
            missing = [name for name, points in found.items() if len(points) < count]
            if not missing:
                break
            points = rng.uniform(low - band, high + band, (16 * max(count, 256), len(low)))
            for name in missing:
                surface = self.surfaces[name]
                near = points[np.abs(surface(*points.T)) < band]
                on = self._onto(surface, near)
                inside = self.distance(on) <= ON_BOUNDARY * self.extent
                found[name] = np.concatenate([found[name], on[inside]])[:count]
        for name, points in found.items():
            if len(points) < count:
                raise InputError(
                    f"the surface {name} bounds nothing: {len(points)} points of {count} were "
                    "found on it; leave it out, or correct the bounds"
                )
        return found

    def _onto(self, surface: Surface, points: np.ndarray) -> np.ndarray:
        """Move points along the slope of a surface's distance until it is zero."""
        step = _STEP * self.extent
        for _ in range(_NEWTON_STEPS):
            value = surface(*points.T)
            if np.all(np.abs(value) < 1e-14 * self.extent):
                break
            slope = np.empty_like(points)
            for axis in range(points.shape[1]):
                moved = np.zeros(points.shape[1])
                moved[axis] = step
                slope[:, axis] = surface(*(points + moved).T) - surface(*(points - moved).T)
            slope /= 2 * step
            square = np.maximum(np.sum(slope**2, axis=1), 1e-300)
            points = points - (value / square)[:, None] * slope
        return points


def box(**sides: tuple[float, float]) -> Geometry:
    """Return a box, whose surfaces have names such as "x=0" and "x=1".

    Examples
    --------
    >>> list(box(x=(0, 1), t=(0, 2)).surfaces)
    ['x=0', 'x=1', 't=0', 't=2']
    """
    surfaces: dict[str, Surface] = {}
    for axis, (name, (low, high)) in enumerate(sides.items()):
        surfaces[f"{name}={low:g}"] = lambda *x, a=axis, at=low: at - x[a]
        surfaces[f"{name}={high:g}"] = lambda *x, a=axis, at=high: x[a] - at
    bounds = tuple((float(low), float(high)) for low, high in sides.values())
    return Geometry("".join(sides), bounds, surfaces)


def disk(name: str, radius: float, centre: tuple[float, float] = (0.0, 0.0)) -> Geometry:
    """Return a disk in x and y."""
    bounds = tuple((middle - radius, middle + radius) for middle in centre)
    surface = lambda x, y: np.hypot(x - centre[0], y - centre[1]) - radius  # noqa: E731
    return Geometry("xy", bounds, {name: surface})


def without(geometry: Geometry, hole: Geometry) -> Geometry:
    """Return what is inside of a geometry and outside of a hole, which has one surface."""
    ((name, surface),) = hole.surfaces.items()
    surfaces = {**geometry.surfaces, name: lambda *x: -surface(*x)}
    return Geometry(geometry.coordinates, geometry.bounds, surfaces)
