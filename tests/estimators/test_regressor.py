"""The regressor: scikit-learn's answers where there is a closed form, on arrays and on stores."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, Ridge

import ooc
from ooc.core.errors import InputError
from ooc.models import MLP, Linear


@pytest.fixture
def rows(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((200, 5)) @ rng.standard_normal((5, 5)) + 1.0


@pytest.fixture
def target(rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
    return rows @ np.array([1, -2, 0.5, 0, 3]) + 4 + 0.1 * rng.standard_normal(200)


def test_it_is_least_squares(rows: np.ndarray, target: np.ndarray) -> None:
    mine, other = ooc.OOCRegressor(tol=1e-8), LinearRegression()
    mine.fit(rows, target)
    other.fit(rows, target)
    np.testing.assert_allclose(mine.coef_, other.coef_, rtol=1e-5, atol=1e-6)
    assert mine.intercept_ == pytest.approx(other.intercept_, rel=1e-5)
    np.testing.assert_allclose(mine.predict(rows), other.predict(rows), rtol=1e-5, atol=1e-5)
    assert mine.score(rows, target) == pytest.approx(other.score(rows, target), rel=1e-9)


def test_it_is_ridge_regression(
    rng: np.random.Generator, rows: np.ndarray, target: np.ndarray
) -> None:
    """With weights: its alpha is l2 times their sum."""
    weights = rng.uniform(0, 2, len(rows))
    mine = ooc.OOCRegressor(l2=7.0 / weights.sum(), tol=1e-8).fit(rows, target, weights)
    other = Ridge(alpha=7.0).fit(rows, target, weights)
    np.testing.assert_allclose(mine.coef_, other.coef_, rtol=1e-5)
    assert mine.intercept_ == pytest.approx(other.intercept_, rel=1e-5)


def test_float32_rows_have_float32_parameters(rows: np.ndarray, target: np.ndarray) -> None:
    mine = ooc.OOCRegressor().fit(rows.astype(np.float32), target)
    assert mine.run_.parameters.dtype == np.float32
    np.testing.assert_allclose(mine.coef_, LinearRegression().fit(rows, target).coef_, atol=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_network_predicts_several_numbers(rows: np.ndarray, target: np.ndarray) -> None:
    both = np.column_stack([target, rows[:, 0] - rows[:, 1]])
    mine = ooc.OOCRegressor(MLP(hidden=(16,)), epochs=500).fit(rows, both)
    assert mine.predict(rows).shape == both.shape
    assert mine.score(rows, both) > 0.99


@pytest.mark.slow
def test_parts_are_learned_one_after_the_other(rows: np.ndarray, target: np.ndarray) -> None:
    """A rate is found in the first, and stays."""
    mine = ooc.OOCRegressor(Linear(standardise=True), batch_size=10)
    for _ in range(10):
        for part in np.split(np.arange(200), 4):
            mine.partial_fit(rows[part], target[part])
    assert mine.run_.results["steps"] == 10 * 20
    assert mine.score(rows, target) > 0.99


def test_a_store_is_trained_on_as_by_a_trainer(
    tmp_path: Path, rows: np.ndarray, target: np.ndarray
) -> None:
    dataset = write_dataset(tmp_path / "a.zarr", X=rows, y=target)
    mine = ooc.OOCRegressor(optimizer="adam", lr=0.1, epochs=3, batch_size=20).fit(dataset)
    trainer = ooc.Trainer(Linear(), ooc.optim.adam(0.1), batch_size=20)
    run = trainer.fit(dataset, epochs=3)
    np.testing.assert_array_equal(mine.run_.parameters, run.parameters)
    assert mine.score(dataset.path) == run.evaluate(dataset)["r2"]
    assert mine.n_iter_ == 3


def test_a_method_that_was_not_done_says_so(rows: np.ndarray, target: np.ndarray) -> None:
    with pytest.warns(ConvergenceWarning, match="lbfgs was not done after 3 passes: .* more epoch"):
        ooc.OOCRegressor(epochs=3).fit(rows, target)


@pytest.mark.parametrize(
    ("settings", "columns", "told"),
    [
        ({"model": "logistic"}, 1, "logistic does not predict numbers; choose one that does: lin"),
        ({"model": "linear"}, 2, "y should be a 1d array"),
        ({"optimizer": "lbfgs", "l1": 0.1}, 1, "l1"),
        ({"optimizer": "sgd", "batch_size": 0}, 1, "batch"),
    ],
)
def test_what_does_not_fit_is_refused(
    rows: np.ndarray, target: np.ndarray, settings: dict[str, Any], columns: int, told: str
) -> None:
    y = target if columns == 1 else np.column_stack([target] * columns)
    with pytest.raises(ValueError, match=told):
        ooc.OOCRegressor(**settings).fit(rows, y)


def test_a_store_without_targets_is_refused(tmp_path: Path, rows: np.ndarray) -> None:
    dataset = write_dataset(tmp_path / "a.zarr", X=rows)
    with pytest.raises(InputError, match="has no targets; name those to train on"):
        ooc.OOCRegressor().fit(dataset)
