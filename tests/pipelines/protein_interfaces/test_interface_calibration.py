"""The last step of the output map, against moments and quantiles of NumPy and SciPy."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, spearmanr

from pipelines.protein_interfaces.calibration import between


def test_made_points_get_mean_covariance_and_quantiles_of_their_class(
    rng: np.random.Generator,
) -> None:
    labels = np.repeat([0, 3], 4000)
    real = rng.gamma(2, size=(8000, 3)) + labels[:, None]
    real[:, 1] += real[:, 0]
    made = rng.standard_normal((8000, 3)) * [1, 2, 0.5]
    found = between(made, real, labels)
    straight = found.straight(made, labels)
    for label in (0, 3):
        one, other = straight[labels == label], real[labels == label]
        np.testing.assert_allclose(one.mean(axis=0), other.mean(axis=0), atol=1e-9)
        np.testing.assert_allclose(np.cov(one.T), np.cov(other.T), rtol=5e-3, atol=5e-3)
    for points, most in ((made, 0.01), (rng.standard_normal((8000, 3)) * [1, 2, 0.5], 0.04)):
        moved = found(points, labels)
        for label in (0, 3):
            for column in range(3):
                one, other = (each[labels == label, column] for each in (moved, real))
                assert ks_2samp(one, other, method="asymp").statistic < most


def test_a_class_without_training_rows_stays_as_it_is_made(rng: np.random.Generator) -> None:
    points = rng.standard_normal((100, 3))
    found = between(points, points + 1, np.zeros(100, int))
    np.testing.assert_allclose(found(points, np.full(100, 5)), points, atol=1e-9)


def test_points_that_are_right_stay_where_they_are(rng: np.random.Generator) -> None:
    points, labels = rng.standard_normal((2000, 4)), np.zeros(2000, int)
    found = between(points, points, labels)
    np.testing.assert_allclose(found(points, labels), points, atol=1e-9)


def test_what_depends_on_what_beyond_moments_is_left_to_the_generator(
    rng: np.random.Generator,
) -> None:
    """A parabola has no covariance, and no linear map makes one."""
    across = rng.standard_normal((2, 4000))
    real = np.stack([across[0], across[0] ** 2], axis=1)
    made = rng.standard_normal((4000, 2))
    moved = between(made, real, np.zeros(4000, int))(made, np.zeros(4000, int))
    assert spearmanr(np.abs(real[:, 0]), real[:, 1]).statistic > 0.99
    assert spearmanr(np.abs(moved[:, 0]), moved[:, 1]).statistic == pytest.approx(0, abs=0.1)
