"""The optimum that training goes to is the one that scikit-learn's solver finds in memory."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset
from pairs import few
from sklearn.linear_model import LogisticRegression

import ooc
from ooc.core.errors import InputError
from ooc.optim import Optimizer, averaged, nesterov
from ooc.optim.schedules import cosine
from ooc.store.dataset import Dataset

ROWS, FEATURES = 2000, 6
METHODS = (nesterov(1.0), "full"), (averaged(0.02, start=20_000, schedule=cosine()), 20)


@pytest.fixture
def problem(tmp_path: Path, rng: np.random.Generator) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """Correlated features, off the origin, and labels that no plane separates."""
    mixing = np.eye(FEATURES) + rng.uniform(-0.2, 0.2, (FEATURES, FEATURES))
    features = (rng.standard_normal((ROWS, FEATURES)) @ mixing + 0.5).astype(np.float32)
    scores = features @ rng.standard_normal(FEATURES) - 0.7
    labels = (rng.random(ROWS) < 1 / (1 + np.exp(-scores))).astype(np.int64)
    return write_dataset(tmp_path / "rows.zarr", 100, X=features, y=labels), features, labels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "l2"),
    few(itertools.product(METHODS, [0.0, 0.003]), [(METHODS[0], 0.003)]),
    ids=lambda value: str(value) if isinstance(value, float) else value[0].name,
)
def test_the_optimum_is_that_of_scikit_learn(
    problem: tuple[Dataset, np.ndarray, np.ndarray],
    how: tuple[Optimizer, int | str],
    l2: float,
) -> None:
    (optimizer, batch_size), (dataset, features, labels) = how, problem
    trainer = ooc.Trainer(
        ooc.models.Logistic(), replace(optimizer, l2=l2), batch_size, memory="768MiB"
    )
    found = trainer.fit(dataset, 400).parameters
    # Its C divides the penalty of a summed loss, l2 goes with the mean one.
    c = 1 / (l2 * ROWS) if l2 else np.inf
    theirs = LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(features.astype(float), labels)
    np.testing.assert_allclose(found[:-1], theirs.coef_[0], atol=1e-4, rtol=0)
    np.testing.assert_allclose(found[-1:], theirs.intercept_, atol=1e-4, rtol=0)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("every", [1, 7, 100])
def test_a_callback_is_called_after_multiples_of_its_steps(dataset: Dataset, every: int) -> None:
    steps: list[int] = []
    callbacks = ooc.Callbacks(step_end=lambda now: steps.append(now.step), every=every)
    trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.averaged(1e-6), batch_size=50)
    run = trainer.fit(dataset, epochs=2, callbacks=callbacks)
    assert steps == list(range(every, run.results["steps"] + 1, every))


def test_a_callback_sees_the_average_that_the_run_keeps(dataset: Dataset) -> None:
    seen: list[np.ndarray] = []
    callbacks = ooc.Callbacks(epoch_end=lambda now: seen.append(now.solution.copy()))
    trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.averaged(1e-6), batch_size=50)
    run = trainer.fit(dataset, epochs=1, callbacks=callbacks)
    np.testing.assert_array_equal(seen[0], run.parameters)


def test_callbacks_refuse_to_be_called_less_than_every_step() -> None:
    with pytest.raises(InputError, match="at least 1, not 0"):
        ooc.Callbacks(every=0)
