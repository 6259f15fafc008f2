"""Orientations: as many as a spacing asks for, and as even as closed forms say."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from pipelines.cryo_em.orientations import (
    angles_between,
    orientation_count,
    orientation_grid,
    rotation_grid,
)
from pipelines.cryo_em.poses import from_quaternions, random_rotations, to_quaternions


@pytest.mark.parametrize("spacing", [10.0, 15.0, 30.0])
def test_moments_of_a_grid_are_those_of_all_rotations(spacing: float) -> None:
    grid = rotation_grid(spacing)
    assert len(grid) == orientation_count(spacing)
    assert_allclose(
        grid @ grid.transpose(0, 2, 1), np.tile(np.eye(3), (len(grid), 1, 1)), atol=1e-9
    )
    assert np.abs(grid.mean(axis=0)).max() < 0.01
    entries = grid.reshape(-1, 9)
    # Entries of a uniform rotation have no covariance, and a variance of a third.
    assert np.abs(entries.T @ entries / len(grid) - np.eye(9) / 3).max() < 0.01


def test_angles_from_any_rotation_have_the_density_one_minus_cosine() -> None:
    grid, centre = rotation_grid(12.0), random_rotations(np.random.default_rng(0), 3)
    for each in centre:
        angles = np.deg2rad(np.sort(angles_between(grid, np.tile(each, (len(grid), 1, 1)))))
        below = (angles - np.sin(angles)) / np.pi
        assert np.abs(below - (np.arange(len(grid)) + 0.5) / len(grid)).max() < 0.01


def test_no_rotation_is_far_from_the_grid() -> None:
    grid = orientation_grid(orientation_count(15.0))
    assert_allclose(np.linalg.norm(grid, axis=1), 1)
    some = to_quaternions(random_rotations(np.random.default_rng(1), 2000))
    nearest = np.rad2deg(2 * np.arccos(np.clip(np.abs(some @ grid.T).max(axis=1), 0, 1)))
    # A ball of the volume of a cell has a radius of 9.3 degrees (15 times (3/(4 pi))^(1/3)).
    assert nearest.max() < 1.6 * 9.3
    assert 0.7 * 9.3 < nearest.mean() < 9.3


def test_distances_of_rotations_are_those_of_scipy() -> None:
    rng = np.random.default_rng(2)
    one, other = Rotation.random(50, random_state=rng), Rotation.random(50, random_state=rng)
    expected = np.rad2deg((one * other.inv()).magnitude())
    assert_allclose(angles_between(one.as_matrix(), other.as_matrix()), expected, rtol=1e-9)
    near = one * Rotation.from_rotvec([[1e-8, 0, 0]] * 50)
    assert_allclose(angles_between(one.as_matrix(), near.as_matrix()), np.rad2deg(1e-8), rtol=1e-6)


def test_quaternions_of_rotations_give_them_back() -> None:
    quaternions = np.random.default_rng(3).standard_normal((200, 4))
    quaternions[:4] = np.eye(4)  # of half turns, and of none
    rotations = from_quaternions(quaternions)
    found = to_quaternions(rotations)
    assert (found[:, 0] >= 0).all()
    assert_allclose(np.linalg.norm(found, axis=1), 1)
    assert_allclose(from_quaternions(found), rotations, atol=1e-12)
