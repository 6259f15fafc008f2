"""Penalties that are taken late: the coefficients are those of taking them of all at each step."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc.models.step_kernels import with_lazy_penalties
from ooc.optim import adagrad, as_method, lazy, lbfgs, momentum, sgd
from ooc.store.dataset import Dataset

ROWS, COLUMNS, BATCH = 120, 4000, 4
MATRIX = random_matrix(ROWS, COLUMNS, 0.004)
LABELS = np.random.default_rng(5).integers(0, 3, ROWS).astype(np.float32)
BINARY = np.minimum(LABELS, 1)
STREAM: dict[str, Any] = {"batch_size": BATCH, "memory": "1GiB", "seed": 0}


def data(path: Path, y: np.ndarray = BINARY) -> Dataset:
    return ooc.open(write_sparse(path / "a.zarr", MATRIX, y=y))


def naive(
    dataset: Dataset, optimizer: Any, classes: int = 1, epochs: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Descend with NumPy, and with all coefficients at every step; return them and intercepts."""
    w, b = np.zeros((classes, COLUMNS)), np.zeros(classes)
    loader, step = ooc.Loader(dataset, **STREAM), 0
    steps = epochs * -(-ROWS // BATCH)
    for _ in range(epochs):
        for batch in loader:
            x, y = batch["X"].astype(np.float64).toarray(), batch["y"].astype(int)
            scores = x @ w.T + b
            if classes == 1:
                slopes = 1 / (1 + np.exp(-scores)) - y[:, None]
            else:
                likely = np.exp(scores - scores.max(axis=1, keepdims=True))
                slopes = likely / likely.sum(axis=1, keepdims=True) - np.eye(classes)[y]
            rate = optimizer.rate
            if optimizer.rates.name == "cosine":
                rate *= (1 + np.cos(np.pi * step / steps)) / 2
            w = w - rate * (slopes.T @ x / len(y) + optimizer.l2 * w)
            w = np.sign(w) * np.maximum(np.abs(w) - rate * optimizer.l1, 0)
            b = b - rate * slopes.mean(axis=0)
            step += 1
    return w, b


def fitted(dataset: Dataset, optimizer: Any, model: Any, **given: Any) -> np.ndarray:
    return ooc.Trainer(model, optimizer, **STREAM).fit(dataset, report=False, **given).parameters


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "penalties",
    [{"l2": 0.02}, {"l1": 2e-3}, {"l1": 2e-3, "l2": 0.02}, {"l2": 1.7}, {"l1": 1e-3, "l2": 0.6}],
)
def test_a_run_is_that_of_taking_penalties_of_all_coefficients(
    tmp_path: Path, penalties: dict[str, float], dtype: str
) -> None:
    dataset, optimizer = data(tmp_path), sgd(0.5, **penalties)
    w, b = naive(dataset, optimizer)
    found = fitted(dataset, optimizer, ooc.models.Logistic(dtype=dtype), epochs=2)
    tolerance = 1e-13 if dtype == "float64" else 2e-7
    np.testing.assert_allclose(found, np.append(w, b), rtol=tolerance, atol=tolerance)
    if "l1" in penalties:
        assert np.count_nonzero(w == 0) > 100
        np.testing.assert_array_equal(found[:-1] == 0, w[0] == 0)


@pytest.mark.slow
def test_classes_and_a_rate_that_falls_take_what_each_step_takes(tmp_path: Path) -> None:
    dataset = data(tmp_path, LABELS)
    optimizer = sgd(0.4, l1=1e-3, l2=0.05, schedule=ooc.schedules.cosine(steps=60))
    w, b = naive(dataset, optimizer, classes=3)
    found = fitted(dataset, optimizer, ooc.models.Softmax(classes=3, dtype="float64"), epochs=2)
    np.testing.assert_allclose(found, np.append(w.ravel(), b), rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_a_scale_that_would_vanish_is_brought_back(tmp_path: Path) -> None:
    """By a third at each of 300 steps it would be 1e-53."""
    dataset, optimizer = data(tmp_path), sgd(0.5, l1=1e-4, l2=2 / 3)
    w, b = naive(dataset, optimizer, epochs=10)
    found = fitted(dataset, optimizer, ooc.models.Logistic(dtype="float64"), epochs=10)
    np.testing.assert_allclose(found, np.append(w, b), rtol=1e-12, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 7, 31])
def test_a_run_that_was_stopped_has_the_bits_of_one_that_was_not(tmp_path: Path, stop: int) -> None:
    dataset, model = data(tmp_path), ooc.models.Logistic()
    trainer = ooc.Trainer(model, sgd(0.5, l1=1e-3, l2=0.1), **STREAM)
    whole = trainer.fit(dataset, epochs=2, report=False)
    halt = threading.Event()
    calls = ooc.Callbacks(step_end=lambda now: halt.set() if now.step == stop else None)
    trainer.fit(dataset, 2, tmp_path / "run", report=False, stop=halt, callbacks=calls)
    resumed = ooc.resume(tmp_path / "run", report=False)
    assert resumed.results["steps"] == whole.results["steps"] == 60
    assert resumed.parameters.tobytes() == whole.parameters.tobytes()


@pytest.mark.slow
def test_callbacks_see_coefficients_that_are_up_to_date(tmp_path: Path) -> None:
    dataset, optimizer, seen = data(tmp_path), sgd(0.5, l1=1e-3, l2=0.1), list[np.ndarray]()

    def keep(now: Any) -> None:
        seen.append(now.parameters.copy())
        np.testing.assert_array_equal(now.parameters, now.solution)
        with pytest.raises(ValueError, match="read-only"):
            now.parameters[0] = 1.0

    model, calls = ooc.models.Logistic(dtype="float64"), ooc.Callbacks(step_end=keep, every=30)
    found = fitted(dataset, optimizer, model, epochs=2, callbacks=calls)
    np.testing.assert_allclose(seen[0], np.append(*naive(dataset, optimizer, epochs=1)), rtol=1e-12)
    np.testing.assert_array_equal(seen[1], found)


@pytest.mark.slow
def test_descents_side_by_side_each_have_penalties_of_their_own(tmp_path: Path) -> None:
    dataset, model = data(tmp_path), ooc.models.Logistic()
    optimizers = [sgd(0.5), sgd(0.5, l1=2e-3), sgd(0.25, l2=0.1), sgd(0.5, l1=1e-3, l2=0.1)]
    trainer = ooc.Trainer(model, sgd(0.5), **STREAM)
    runs = trainer.fit_many(dataset, optimizers, epochs=2, report=False)
    for optimizer, run in zip(optimizers, runs.values(), strict=True):
        alone = fitted(dataset, optimizer, model, epochs=2)
        assert run.parameters.tobytes() == alone.tobytes()


def test_penalties_are_taken_late_where_every_step_is_plain_and_rows_are_wide(
    tmp_path: Path,
) -> None:
    dataset, model = data(tmp_path), ooc.models.Logistic()

    def are_late(*optimizers: Any, rows: int = BATCH) -> list[bool]:
        methods = [as_method(each) for each in optimizers]
        found = with_lazy_penalties(methods, model, dataset, rows)
        assert [one.to_config() for one in found] == [one.to_config() for one in methods]
        return [bool(one.optimizer and one.optimizer.is_lazy) for one in found]

    assert are_late(sgd(0.1, l2=0.1), sgd(0.1), sgd(0.1, l1=0.1)) == [True, False, True]
    assert are_late(sgd(0.1)) == [False]
    assert are_late(sgd(0.1, l2=0.1), rows=ROWS) == [False], "a batch has most columns"
    for other in (momentum(0.1), adagrad(0.1), sgd(0.1, clip_norm=1.0), lbfgs()):
        assert are_late(sgd(0.1, l2=0.1), other) == [False, False]


def test_what_is_not_a_number_stays_so() -> None:
    state, w = np.zeros((lazy.SLOTS, 3)), np.array([np.nan, 1.0, 5.0], np.float32)
    lazy.begin(state, np.array([True, True, False]))
    state[lazy.SCALARS, lazy.TAKEN] = 2.0
    out = np.empty(3, np.float32)
    lazy.write_settled(w, state, out)
    np.testing.assert_array_equal(out, [np.nan, 0.0, 5.0])
    lazy.catch_up(w, state, 0.5)
    np.testing.assert_array_equal(w, [np.nan, 0.0, 5.0])
