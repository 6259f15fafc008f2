"""Local minimisation: it goes down, to where SciPy goes, and ends when it is told to."""

import numpy as np
import pytest
from clusters import energy_of, gradient_of, minimum, naive_energy

from pipelines.molecules import mini_batches, minimisers
from pipelines.molecules.scipy_minimisers import numpy_energy_and_gradient, scipy_minimise

pytestmark = pytest.mark.slow  # to compile
MINIMISERS = (minimisers.minimise_lbfgs, minimisers.minimise_cg)


@pytest.mark.parametrize("minimise", MINIMISERS)
@pytest.mark.parametrize(("atoms", "energy"), [(2, -1), (3, -3), (4, -6)])
def test_simplexes_have_a_pair_s_energy_on_each_edge(minimise, atoms: int, energy: int) -> None:
    positions = mini_batches.start_of(atoms, 3)
    found, norm, _ = minimise(positions, 1e-8, 10_000)
    assert found == pytest.approx(energy, abs=1e-12)
    assert norm < 1e-8


@pytest.mark.parametrize("minimise", MINIMISERS)
@pytest.mark.parametrize("atoms", [13, 38])
def test_a_minimisation_goes_down_to_a_norm_of_a_hundred_millionth(minimise, atoms: int) -> None:
    for index in range(20):
        start = mini_batches.start_of(atoms, 1, index)
        positions = start.copy()
        energy, norm, evaluations = minimise(positions, 1e-8, 10_000)
        assert energy < energy_of(start)
        assert energy == pytest.approx(naive_energy(positions), abs=1e-10)
        assert norm < 1e-8
        assert np.linalg.norm(gradient_of(positions)) == pytest.approx(norm, rel=1e-6)
        assert evaluations < 3000


@pytest.mark.parametrize("minimise", MINIMISERS)
def test_near_a_minimum_all_minimisers_find_that_one(minimise) -> None:
    lowest = minimum(13, 2)
    start = lowest + 0.02 * np.random.default_rng(0).normal(size=lowest.shape)
    energy, *_ = minimise(start.copy(), 1e-8, 10_000)
    for method in ("L-BFGS-B", "CG"):
        by_scipy, norm, _ = scipy_minimise(method, numpy_energy_and_gradient, start)
        assert norm < 1e-4
        assert energy == pytest.approx(by_scipy, abs=1e-9)
    assert energy == pytest.approx(energy_of(lowest), abs=1e-12)


@pytest.mark.parametrize("minimise", MINIMISERS)
def test_a_minimisation_ends_when_its_evaluations_are_used_up(minimise) -> None:
    _, norm, evaluations = minimise(mini_batches.start_of(13, 0), 1e-8, 30)
    assert norm > 1e-8
    assert 30 <= evaluations < 60
