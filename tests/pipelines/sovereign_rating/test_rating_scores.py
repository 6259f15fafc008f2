"""Scores, the blend of branches and plain methods, against scikit-learn and finite differences."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, log_loss, roc_auc_score

from pipelines.sovereign_rating import blend, plain, scores
from pipelines.sovereign_rating.network import lagged, scores_of


def drawn(rows: int = 400, notches: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    now = rng.integers(1, notches - 1, rows)
    true = np.clip(now + rng.choice([-1, 0, 0, 1], rows), 0, notches - 1)
    likely = rng.dirichlet(np.ones(notches), rows) + 2 * np.eye(notches)[now]
    return likely / likely.sum(axis=1, keepdims=True), now, true


def test_scores_are_those_of_scikit_learn() -> None:
    likely, now, true = drawn()
    found, foretold = scores.score(likely, now, true), likely.argmax(axis=1)
    assert found.exact == pytest.approx(np.mean(foretold == true))
    assert found.within_one == pytest.approx(np.mean(np.abs(foretold - true) <= 1))
    assert found.within_two == pytest.approx(np.mean(np.abs(foretold - true) <= 2))
    assert found.kappa == pytest.approx(cohen_kappa_score(foretold, true, weights="quadratic"))
    stays = likely[np.arange(len(now)), now]
    assert found.change_auc == pytest.approx(roc_auc_score(true != now, 1 - stays))
    assert found.log_loss == pytest.approx(log_loss(true, likely, labels=range(8)))


def test_the_last_rating_is_a_forecast_without_a_view_of_changes() -> None:
    _, now, true = drawn()
    found = scores.score(scores.persistence(now, 8).likely, now, true)
    assert found.exact == np.mean(now == true)
    assert found.change_auc == 0.5


def test_without_a_change_there_is_no_area() -> None:
    likely, now, _ = drawn()
    assert np.isnan(scores.score(likely, now, now).change_auc)


def test_movements_stay_on_the_scale() -> None:
    likely = np.array([[0.1, 0.2, 0.3, 0.3, 0.1]] * 3)
    found = scores.ratings_from_movements(likely, np.array([0, 2, 3]), 4)
    np.testing.assert_allclose(found, [[0.6, 0.3, 0.1, 0], [0.1, 0.2, 0.3, 0.4],
                                       [0, 0.1, 0.2, 0.7]])  # fmt: skip


def test_a_blend_finds_the_weights_that_made_the_labels() -> None:
    rng = np.random.default_rng(1)
    columns = rng.normal(3, [1.0, 5.0], (20_000, 2))
    score = columns @ [1.5, -0.4]
    noise = rng.logistic(size=len(score))
    thresholds = np.array([1.0, 3.0, 5.0])
    labels = (score + noise > thresholds[:, None]).sum(axis=0)
    found = blend.fit(columns, labels, 4)
    np.testing.assert_allclose(found.weights, [1.5, -0.4], atol=0.06)
    np.testing.assert_allclose(found.thresholds, thresholds, atol=0.15)
    shares = found.likely(columns).mean(axis=0)
    np.testing.assert_allclose(shares, np.bincount(labels) / len(labels), atol=0.01)


def test_a_blend_takes_classes_that_never_come() -> None:
    rng = np.random.default_rng(2)
    found = blend.fit(rng.normal(size=(500, 1)), rng.integers(1, 3, 500), 5)
    likely = found.likely(np.array([[0.0]]))[0]
    assert likely[[0, 3, 4]].max() < 0.01
    assert likely.sum() == pytest.approx(1)


def test_slopes_of_a_blend_are_finite_differences() -> None:
    rng = np.random.default_rng(3)
    values, thresholds = rng.normal(size=6), np.array([-1.0, 0.2, 0.9])
    wanted = np.eye(4)[rng.integers(0, 4, 6)]

    def loss(values: np.ndarray, thresholds: np.ndarray) -> float:
        likely = blend._likely(values, thresholds)
        return blend._loss(likely, wanted, values, thresholds)[0]

    likely = blend._likely(values, thresholds)
    _, by_score, by_threshold = blend._loss(likely, wanted, values, thresholds)
    for slopes, make in (
        (by_score, lambda e: (values + e, thresholds)),
        (by_threshold, lambda e: (values, thresholds + e)),
    ):
        for place, slope in enumerate(slopes):
            step = np.eye(len(slopes))[place] * 1e-6
            difference = (loss(*make(step)) - loss(*make(-step))) / 2e-6
            assert slope == pytest.approx(difference, abs=1e-6)


def test_the_common_score_is_found_up_to_a_constant() -> None:
    thresholds = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
    values = np.linspace(-2, 2, 9)
    found = scores_of(blend._likely(values, thresholds))
    np.testing.assert_allclose(np.diff(found), np.diff(values), atol=1e-9)


def test_news_of_months_before_come_from_before() -> None:
    news = np.arange(1.0, 9.0)[None]
    columns = lagged(news)
    np.testing.assert_array_equal(columns[0], news)
    np.testing.assert_array_equal(columns[2], [[0, 0, 1, 2, 3, 4, 5, 6]])


@pytest.mark.parametrize("name", plain.METHODS)
def test_plain_methods_learn_with_missing_values_and_columns_that_say_nothing(name: str) -> None:
    rng = np.random.default_rng(4)
    figures = rng.normal(size=(900, 4)).astype(np.float32)
    labels = 1 + (figures[:, 0] > 0).astype(np.int64) + (figures[:, 0] > 1)
    figures[:, 1] = 7.0
    figures[:, 3] = figures[:, 2]
    figures[rng.random(900) < 0.1, 2] = np.nan
    likely, other = plain.METHODS[name](figures, labels, 5, [figures, figures[:3]])
    assert likely.shape == (900, 5)
    np.testing.assert_allclose(likely.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(likely[:3], other)
    assert np.mean(likely.argmax(axis=1) == labels) > 0.9
