"""Geometries: what is inside, on which piece of the boundary points lie, and which way is out."""

import numpy as np
import pytest

from ooc.core.errors import InputError
from pipelines.pinn.geometry import Geometry, box, disk, without
from pipelines.pinn.problems.poisson import ell


def test_points_inside_are_uniform() -> None:
    plate = without(box(x=(0, 2), y=(0, 2)), disk("hole", 0.5, centre=(1, 1)))
    points = plate.draw_inside(20_000, np.random.default_rng(0))
    assert points.shape == (20_000, 2)
    assert np.hypot(*(points - 1).T).min() > 0.5
    # Of the square below and left of the hole's middle, a quarter of the area.
    share = np.mean((points < 1).all(axis=1))
    assert share == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 20_000))


def test_points_of_a_boundary_lie_on_it_with_outward_normals() -> None:
    plate = without(box(x=(0, 2), y=(0, 2)), disk("hole", 0.5, centre=(1, 1)))
    found = plate.draw_boundary(200, np.random.default_rng(1))
    assert list(found) == ["x=0", "x=2", "y=0", "y=2", "hole"]
    expected = {"x=0": (-1, 0), "x=2": (1, 0), "y=0": (0, -1), "y=2": (0, 1)}
    for name, points in found.items():
        assert np.abs(plate.surfaces[name](*points.T)).max() < 1e-12
        normals = plate.normals(points)
        if name == "hole":
            np.testing.assert_allclose(normals, (1 - points) / 0.5, atol=1e-6)
        else:
            np.testing.assert_allclose(
                normals, np.broadcast_to(expected[name], (200, 2)), atol=1e-6
            )
    angles = np.arctan2(*(found["hole"] - 1).T)
    counts = np.histogram(angles, bins=4, range=(-np.pi, np.pi))[0]
    assert counts.min() > 25


def test_a_corner_that_sticks_in_has_both_of_its_sides() -> None:
    found = ell().draw_boundary(100, np.random.default_rng(2))["corner"]
    assert 25 < np.sum(np.abs(found[:, 0]) < 1e-9) < 75
    assert ((found[:, 0] >= -1e-9) & (found[:, 1] <= 1e-9)).all()


def test_a_point_outside_is_refused_with_its_place() -> None:
    ring = without(disk("rim", 2.0), disk("hole", 1.0))
    with pytest.raises(
        InputError, match=r"point 1 \(x=0.25, y=0\) .* 0.75 beyond hole, as are 1 of"
    ):
        ring.check_inside(np.array([[1.5, 0], [0.25, 0]]))
    with pytest.raises(InputError, match=r"point 0 \(x=nan, y=0\) is outside"):
        ring.check_inside(np.array([[np.nan, 0.0]]))
    with pytest.raises(InputError, match="have not the 2 coordinates x, y"):
        ring.check_inside(np.zeros((3, 1)))
    ring.check_inside(np.array([[2.0, 0.0], [0.0, -1.0]]))


def test_surfaces_that_bound_nothing_are_refused() -> None:
    rng = np.random.default_rng(0)
    far = without(box(x=(0, 1), y=(0, 1)), disk("far", 0.5, centre=(5, 5)))
    with pytest.raises(InputError, match="the surface far bounds nothing: 0 points of 10"):
        far.draw_boundary(10, rng)
    inverted = Geometry("x", ((0.0, 1.0),), {"all": lambda x: 1 + 0 * x})
    with pytest.raises(InputError, match="0 are inside of the geometry; are all negative inside"):
        inverted.draw_inside(10, rng)
