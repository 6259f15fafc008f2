"""Walks draw uniformly from spaces of known shape; diagnostics agree with closed forms."""

import numpy as np
import pytest
from flux_states import box, simplex
from scipy.linalg import null_space
from scipy.stats import beta, ks_2samp, kstest, uniform

from pipelines.metabolic_flux.convergence import effective_size, split_psrf
from pipelines.metabolic_flux.directions import directions_of, sparse_null_space
from pipelines.metabolic_flux.network import Network, generate_network
from pipelines.metabolic_flux.space import LARGE, space_of, walk_from


def states(network: Network, rows: int, sweeps: int = 10) -> np.ndarray:
    return walk_from(space_of(network, 0), 7, rows, sweeps, keep_fluxes=True)[0]


def test_a_box_is_filled_evenly_whatever_its_sides() -> None:
    sides = (1e-2, 1.0, 400.0)
    found = states(box(sides), 4000)
    for column, side in zip(found.T, sides, strict=True):
        assert kstest(column, uniform(scale=side).cdf).statistic < 0.035
    assert np.abs(np.corrcoef(found.T) - np.eye(3)).max() < 0.06


def test_shares_of_a_simplex_have_their_beta_distribution() -> None:
    count = 6
    found = states(simplex(count), 4000, 20)
    assert np.allclose(found[:, 0], 1) and np.allclose(found[:, 1:].sum(axis=1), 1)
    for column in found[:, 1:].T:
        assert kstest(column, beta(1, count - 1).cdf).statistic < 0.035


def test_a_cut_box_is_filled_as_by_rejection() -> None:
    # v0 + v1 = v2 with v2 bounded: the corner of a square is cut off.
    matrix = np.array([[1.0, 1.0, -1.0]])
    network = Network(
        "cut", ("m",), ("v0", "v1", "v2"), matrix, np.array([-1.0, 0, 0]), np.array([1.0, 3, 2]), 0
    )
    points = np.random.default_rng(0).uniform((-1, 0), (1, 3), (40_000, 2))
    total = points.sum(axis=1)
    kept = points[(total >= 0) & (total <= 2)][:8000]
    found = states(network, 8000)
    for column, expected in zip(found[:, :2].T, kept.T, strict=True):
        assert ks_2samp(column, expected).statistic < 0.03
    assert abs(np.corrcoef(found[:, :2].T)[0, 1] - np.corrcoef(kept.T)[0, 1]) < 0.05


def test_a_walk_goes_on_from_where_it_was() -> None:
    space = space_of(simplex(4), 0)
    whole, _ = walk_from(space, 3, 8, 2)
    first, chain = walk_from(space, 3, 5, 2)
    second, _ = walk_from(space, 3, 3, 2, chain)
    np.testing.assert_allclose(np.concatenate([first, second]), whole, atol=1e-9)


def test_a_rounded_space_is_round() -> None:
    space = space_of(box((1e-3, 1.0, 1e3)), 0)
    found, _ = walk_from(space, 1, 3000, 4)
    np.testing.assert_allclose(np.cov(found.T), np.eye(3), atol=0.35)
    assert space.roundness < 4


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_effective_size_of_an_autoregression_is_the_known_one(memory: float) -> None:
    random, chains = np.random.default_rng(1), np.zeros((4, 10_000, 1))
    noise = random.standard_normal(chains.shape)
    for step in range(1, chains.shape[1]):
        chains[:, step] = memory * chains[:, step - 1] + noise[:, step]
    expected = 40_000 * (1 - memory) / (1 + memory)
    assert effective_size(chains)[0] == pytest.approx(expected, rel=0.12)
    assert split_psrf(chains)[0] < 1.01


def test_a_chain_that_drifts_is_told() -> None:
    chains = np.random.default_rng(2).standard_normal((4, 1000, 2))
    chains[:, :, 1] += np.linspace(0, 3, 1000)
    found = split_psrf(chains)
    assert found[0] < 1.02 < 1.2 < found[1]


def test_a_sparse_null_space_is_that_of_scipy() -> None:
    network = generate_network(40, 90, 2)
    found, expected = sparse_null_space(network.stoichiometry), null_space(network.stoichiometry)
    assert found.shape == expected.T.shape
    assert np.abs(network.stoichiometry @ found.T).max() < 1e-12
    assert np.allclose(found @ expected @ expected.T, found)
    assert np.linalg.matrix_rank(found) == len(found)
    assert (found != 0).mean() < 0.3


def test_fluxes_in_proportion_are_walked_as_one_with_the_bounds_of_all() -> None:
    # v0 = v1 = -v2 / 2 between 0 and 1, -1 and 5, and -1 and 3; v3 on its own.
    basis = np.array([[1.0, 1.0, -2.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    lower, upper = np.array([0.0, -1, -1, -4]), np.array([1.0, 5, 3, 4])
    found = directions_of(basis, np.array([0.25, 0.25, -0.5, 0.0]), lower, upper)
    assert found.chosen.tolist() == [0, 3]
    np.testing.assert_allclose(found.lower, [0, -4])
    np.testing.assert_allclose(found.upper, [0.5, 4])


@pytest.mark.slow
def test_a_large_space_is_filled_as_is_known() -> None:
    # Shares of one influx: 220 of them, more than rounding by covariance takes.
    count = LARGE + 20
    space = space_of(simplex(count), 0)
    assert space.directions is not None and space.roundness < 40
    found = walk_from(space, 7, 1500, 8, keep_fluxes=True)[0]
    assert np.allclose(found[:, 1:].sum(axis=1), 1) and found.min() > -1e-12
    distances = [kstest(column, beta(1, count - 1).cdf).statistic for column in found[:, 1:].T]
    assert np.median(distances) < 0.035 and max(distances) < 0.1
    coordinates = walk_from(space, 8, 1500, 8)[0]
    assert np.median(np.abs(coordinates.var(axis=0) - 1)) < 0.25


@pytest.mark.slow
def test_a_walk_of_a_large_space_goes_on_from_where_it_was() -> None:
    space = space_of(simplex(LARGE + 5), 0)
    whole, _ = walk_from(space, 3, 6, 2)
    first, chain = walk_from(space, 3, 4, 2)
    second, _ = walk_from(space, 3, 2, 2, chain)
    np.testing.assert_allclose(np.concatenate([first, second]), whole, atol=1e-8)
