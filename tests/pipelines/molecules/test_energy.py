"""The energy and its gradient: their twins, their symmetries, random starts."""

import numpy as np
import pytest
from clusters import energy_of, gradient_of, naive_energy, starts
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipelines.molecules import energy, scipy_minimisers


@pytest.mark.slow
@settings(max_examples=30)
@given(starts)
def test_the_energy_is_that_of_its_naive_twins(positions: np.ndarray) -> None:
    expected = naive_energy(positions)
    by_numpy, gradient = scipy_minimisers.numpy_energy_and_gradient(positions.reshape(-1))
    scale = max(1.0, np.abs(gradient).max())
    assert energy_of(positions) == pytest.approx(expected, rel=1e-11, abs=1e-10)
    assert by_numpy == pytest.approx(expected, rel=1e-11, abs=1e-10)
    np.testing.assert_allclose(
        gradient_of(positions).reshape(-1) / scale, gradient / scale, 0, 1e-12
    )
    by_atom = np.empty(positions.shape[1])
    energy.atom_energies(positions, by_atom)
    assert by_atom.sum() == pytest.approx(2 * expected, rel=1e-11, abs=1e-10)


@pytest.mark.slow
@settings(max_examples=20)
@given(starts)
def test_the_gradient_is_the_slope_of_the_energy(positions: np.ndarray) -> None:
    gradient, width = gradient_of(positions), 1e-6
    for place in range(positions.size):
        ends = []
        for sign in (1, -1):
            moved = positions.copy()
            moved.reshape(-1)[place] += sign * width
            ends.append(energy_of(moved))
        slope = (ends[0] - ends[1]) / (2 * width)
        tolerance = 1e-5 * max(1.0, np.abs(gradient).max())
        assert gradient.reshape(-1)[place] == pytest.approx(slope, abs=tolerance)


@pytest.mark.slow
@settings(max_examples=30)
@given(starts, st.integers(0, 2**32 - 1))
def test_turning_shifting_and_renaming_atoms_changes_nothing(
    positions: np.ndarray, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    turn = Rotation.random(random_state=rng).as_matrix()
    order = rng.permutation(positions.shape[1])
    moved = np.ascontiguousarray((turn @ positions + rng.normal(size=(3, 1)))[:, order])
    before, after = gradient_of(positions), gradient_of(moved)
    scale = max(1.0, np.abs(before).max())
    assert energy_of(moved) == pytest.approx(energy_of(positions), rel=1e-10, abs=1e-9)
    np.testing.assert_allclose(after / scale, (turn @ before)[:, order] / scale, 0, 1e-9)


@given(starts)
def test_starts_are_in_their_sphere_and_no_two_atoms_are_too_near(positions: np.ndarray) -> None:
    atoms = positions.shape[1]
    assert np.linalg.norm(positions, axis=0).max() <= energy.LOOSE * atoms ** (1 / 3)
    apart = np.linalg.norm(positions[:, :, None] - positions[:, None, :], axis=0)
    assert apart[np.triu_indices(atoms, 1)].min() >= energy.NEAREST
    np.fill_diagonal(apart, np.inf)
    assert energy.nearest_distance(positions) == pytest.approx(apart.min(axis=1).mean())
