"""Clusters of atoms that several tests share, and their energy by the textbook."""

import numpy as np
from hypothesis import strategies as st

from pipelines.molecules import energy, mini_batches, minimisers


def naive_energy(positions: np.ndarray) -> float:
    """Four lines of the textbook."""
    total = 0.0
    for i in range(positions.shape[1]):
        for j in range(i):
            r = np.linalg.norm(positions[:, i] - positions[:, j])
            total += 4 * (r**-12 - r**-6)
    return total


def energy_of(positions: np.ndarray) -> float:
    return energy.energy_and_gradient(positions, np.empty_like(positions))


def gradient_of(positions: np.ndarray) -> np.ndarray:
    gradient = np.empty_like(positions)
    energy.energy_and_gradient(positions, gradient)
    return gradient


def minimum(atoms: int, index: int = 0) -> np.ndarray:
    positions = mini_batches.start_of(atoms, 0, index)
    minimisers.minimise_lbfgs(positions, 1e-8, 10_000)
    return positions


starts = st.builds(mini_batches.start_of, st.integers(2, 20), st.integers(0, 2**62))
