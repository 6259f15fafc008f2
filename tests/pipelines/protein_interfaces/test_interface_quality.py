"""What judges made rows: against scikit-learn and SciPy, and on rows whose fault is known."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from pipelines.protein_interfaces import coordinates, quality, rivals
from pipelines.protein_interfaces.columns import COUNTS, ENERGY, faults
from pipelines.protein_interfaces.complexes import FITTED
from pipelines.protein_interfaces.quality import Judge, Rows, judge_of, measure
from pipelines.protein_interfaces.sampling import ask
from pipelines.protein_interfaces.training import Looks, Training
from pipelines.protein_interfaces.world import draw_rows

SHARES = np.array(FITTED.shares) / np.sum(FITTED.shares)


def rows_of(count: int, seed: int) -> Rows:
    drawn = draw_rows(np.random.default_rng(seed), count, FITTED)
    return Rows(drawn["X"], drawn["y"])


@pytest.fixture(scope="module")
def judge() -> Judge:
    known = rows_of(3000, 0)
    return judge_of(coordinates.fit(known.values), known, rows_of(3000, 1), SHARES)


def test_the_discrepancy_is_that_of_scikit_learns_kernel(rng: np.random.Generator) -> None:
    from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel

    one, other = rng.standard_normal((300, 5)), rng.standard_normal((200, 5)) + 0.2
    width = np.median(euclidean_distances(one, one, squared=True)[np.triu_indices(300, 1)])
    kernel = [rbf_kernel(a, b, 1 / width).mean() for a, b in
              ((one, one), (other, other), (one, other))]  # fmt: skip
    expected = np.sqrt(kernel[0] + kernel[1] - 2 * kernel[2])
    assert quality.discrepancy(one, other) == pytest.approx(expected, rel=1e-9)


def test_neighbours_and_manifolds_are_scikit_learns(rng: np.random.Generator) -> None:
    from sklearn.neighbors import NearestNeighbors

    manifold, points = rng.standard_normal((400, 3)), 1.5 * rng.standard_normal((300, 3))
    nearest = NearestNeighbors(n_neighbors=6).fit(manifold)
    distances, _ = nearest.kneighbors(points)
    found = np.sqrt(quality.nearest_distances(points, manifold, 6))
    np.testing.assert_allclose(found, distances, atol=1e-9)
    radii = nearest.kneighbors(manifold)[0][:, 5]
    between = np.sqrt(((points[:, None] - manifold) ** 2).sum(axis=2))
    expected = (between <= radii + 1e-12).any(axis=1).mean()
    assert quality.coverage(manifold, points) == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow  # trees
def test_real_rows_are_taken_for_real_and_copies_for_copies(judge: Judge) -> None:
    real = measure(judge, judge.others)
    assert real.modes(SHARES) == 9
    assert 0.45 < real.accuracy < 0.55
    assert 0.45 < real.nearer < 0.55
    assert real.copies == 0
    copied = measure(judge, judge.known[:1500])
    assert copied.copies == 1500
    assert copied.nearer == pytest.approx(1.0)


@pytest.mark.slow  # trees
def test_a_mode_that_is_left_out_and_values_that_are_moved_are_seen(judge: Judge) -> None:
    few = rows_of(3000, 2)
    kept = few.labels != 8
    found = measure(judge, Rows(few.values[kept][:1500], few.labels[kept][:1500]))
    assert found.modes(SHARES) == 8
    assert found.worst_share(SHARES) > 20
    moved = rows_of(1500, 3)
    moved.values[:, ENERGY] += 2
    asked = np.ones(1500, bool)
    found = measure(judge, moved, asked)
    assert found.accuracy > 0.6
    assert found.stable == pytest.approx(np.mean(moved.values[:, ENERGY] <= -9))


def test_a_copula_keeps_quantiles_and_ranks_of_its_class() -> None:
    known = rows_of(6000, 4)
    labels = np.full(1000, 8, np.uint8)
    made = rivals.repair(rivals.by_class(known, labels, rivals.copula, 0))
    assert not any(faults(made).values())
    real = known.values[known.labels == 8]
    for column in COUNTS[:6]:
        assert np.median(made[:, column]) == pytest.approx(np.median(real[:, column]), abs=1)
    ranks = [spearmanr(rows[:, 6], rows[:, 2]).statistic for rows in (real, made)]
    assert ranks[0] == pytest.approx(ranks[1], abs=0.08)


def test_what_is_asked_for_has_the_shares_of_the_training_rows() -> None:
    conditions = np.stack([SHARES, np.linspace(0.1, 0.9, 9)], axis=1)
    labels, stable = ask(conditions, 40_000, 3)
    np.testing.assert_allclose(np.bincount(labels) / 40_000, SHARES, atol=0.01)
    found = np.bincount(labels, stable) / np.bincount(labels)
    np.testing.assert_allclose(found, conditions[:, 1], atol=0.04)


def test_seconds_to_a_discrepancy_are_those_after_which_it_stays_below() -> None:
    looks = Looks(np.arange(4), np.arange(4.0), np.array([0.5, 0.1, 0.3, 0.2]), np.zeros((4, 9)))
    assert looks.seconds_to(0.3) == 1.0
    assert looks.seconds_to(0.25) == 3.0
    assert np.isnan(looks.seconds_to(0.15))


def test_steps_are_divided_among_both_networks() -> None:
    training = Training(3, 10, 1e-3, "1GiB", 0, 8, 64, 10.0, 5, 0.999, 4)
    assert training.steps(100) == 30
    assert training.own_steps(100) == (25, 5)
    assert training.own_steps(110) == (28, 5)
