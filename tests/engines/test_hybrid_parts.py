"""The hybrid's rule, its samples and its units, each by the formula that its description names."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ooc.engines import hybrid_engine
from ooc.engines.hybrid_engine import HybridEngine, signal_is_lost, whitening
from ooc.kernels.counters import HALVED, TOTALS
from ooc.optim.full_gradient import (
    AVERAGED_ITERATES,
    BEGUN,
    DECIDED_STEP,
    DIFFERENCES,
    WINDOW_TOTALS,
)
from ooc.optim.settings import OWN, SETTINGS


def sums_of(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return what counters hold of batches' signals and noises."""
    products = (signal, signal**2, noise, noise**2, signal * noise)
    return np.array([len(signal), *(each.sum() for each in products)])


def test_a_signal_is_lost_where_its_excess_over_the_noise_is_below_zero_by_a_one_sided_test(
    rng: np.random.Generator,
) -> None:
    """The excess of each batch, its mean, and the standard error of that mean."""
    seen = set()
    for shift in np.linspace(-0.6, 0.2, 41):
        noise = rng.uniform(10, 20, 30)
        signal = noise / 16 + shift + 0.7 * rng.standard_normal(30)
        excess = signal - noise / 16
        error = excess.std(ddof=0) / math.sqrt(29)
        expected = excess.mean() + 1.6448536269514722 * error < 0
        assert signal_is_lost(sums_of(signal, noise), 16) == expected
        seen.add(bool(expected))
    assert seen == {False, True}


def test_of_fewer_than_two_batches_nothing_is_known() -> None:
    lost = np.full(2, -1.0), np.full(2, 3.0)
    assert not signal_is_lost(sums_of(*(each[:1] for each in lost)), 4)
    assert signal_is_lost(sums_of(*lost), 4)


@pytest.mark.parametrize("l2", [0.0, 0.5])
def test_in_whitened_units_the_covariance_and_the_penalty_are_the_identity(
    rng: np.random.Generator, l2: float
) -> None:
    factor = rng.standard_normal((5, 5))
    covariance, penalty = factor @ factor.T + np.eye(5), l2 * np.array([1, 1, 1, 1, 0.0])
    units = whitening(covariance, penalty)
    curvature = covariance + np.diag(penalty)
    np.testing.assert_allclose(units.T @ curvature @ units, np.eye(5), atol=1e-5)
    assert units.flags.c_contiguous


def test_what_hardly_moves_has_a_unit_ten_thousand_times_the_smallest() -> None:
    units = whitening(np.diag([4.0, 1e-30, 1.0]), np.zeros(3))
    np.testing.assert_allclose(np.diag(units), [0.5, 0.5e4, 1.0], rtol=1e-5)
    np.testing.assert_allclose(whitening(np.zeros((2, 2)), np.zeros(2)), np.eye(2), rtol=1e-5)


def engine_of(units: np.ndarray, every: int = 5, batch: int = 8, parameters: int = 2) -> Any:
    """Return an engine amid its first part, of which nothing was decided."""
    engine: Any = object.__new__(HybridEngine)
    engine._every, engine._trained = every, parameters
    engine._l2 = np.zeros(parameters)
    engine._first = SimpleNamespace(gradient=np.zeros(parameters), batch_size=batch, step=0)
    engine.train_state = SimpleNamespace(
        parameters=np.zeros((1, parameters)),
        totals=np.zeros((1, TOTALS + 1)),
        settings=np.zeros((1, SETTINGS)),
        state=np.zeros((1, 2, parameters)),
    )
    engine._record = SimpleNamespace(
        head=np.zeros(64), start=np.zeros(parameters), total=np.zeros(parameters), units=units
    )
    return engine


def test_it_looks_at_windows_of_64_steps_and_then_at_pairs_of_steps() -> None:
    engine = engine_of(np.zeros(2))
    assert [engine._next(step) for step in (0, 1, 63, 64, 130)] == [64, 64, 64, 128, 192]
    engine._record.head[DECIDED_STEP] = 64
    assert [engine._next(step) for step in (64, 65, 66, 69, 70, 71)] == [65, 66, 70, 70, 71, 75]


def test_the_rule_is_of_the_steps_of_the_last_window_alone(rng: np.random.Generator) -> None:
    """A strong signal before is no reason to go on: it was there in the first 64 steps."""
    engine = engine_of(np.zeros(2))
    strong = sums_of(rng.uniform(90, 100, 64), rng.uniform(9, 10, 64))
    weak = sums_of(rng.uniform(-0.1, 0.1, 64), rng.uniform(90, 100, 64))
    assert not signal_is_lost(strong + weak, 8)
    head = engine._record.head
    for step, sums in ((64, strong), (128, weak)):
        assert head[DECIDED_STEP] == 0
        engine.train_state.totals[0, HALVED : HALVED + 6] += sums
        engine._watch(step)
        np.testing.assert_array_equal(
            head[WINDOW_TOTALS : WINDOW_TOTALS + 6],
            engine.train_state.totals[0, HALVED : HALVED + 6],
        )
    assert head[DECIDED_STEP] == 128
    # Once it has decided, it samples and decides no more.
    engine._watch(130)
    assert (head[DECIDED_STEP], head[AVERAGED_ITERATES]) == (128, 1)


def test_pairs_of_gradients_tell_twice_their_covariance_and_iterates_are_averaged(
    rng: np.random.Generator,
) -> None:
    """Later iterates weigh more: the n-th of them (eta + 1) / (n + eta), with eta 3."""
    engine = engine_of(np.zeros((2, 2)))
    head, record = engine._record.head, engine._record
    head[DECIDED_STEP] = 1
    engine._first.gradient = np.array([5.0, 5.0])
    engine._watch(6)  # the second of a pair whose first nobody saw
    assert head[DIFFERENCES] == 0 and not record.units.any()
    mean, outer = np.zeros(2), np.zeros((2, 2))
    for number in range(1, 6):
        iterate, one, other = rng.standard_normal((3, 2))
        engine.train_state.parameters[0] = iterate
        engine._first.gradient = one.copy()
        engine._watch(5 * number)
        mean = mean + 4 / (number + 3) * (iterate - mean)
        engine._first.gradient = other.copy()
        engine._watch(5 * number + 1)
        outer += 8 * np.outer(other - one, other - one)
        assert (head[AVERAGED_ITERATES], head[DIFFERENCES]) == (number, number)
    np.testing.assert_allclose(record.start, mean, rtol=1e-12)
    np.testing.assert_allclose(record.units, outer, rtol=1e-12)
    # Of many parameters there is no matrix to add to.
    many = engine_of(np.zeros(2))
    many._record.head[[DECIDED_STEP, AVERAGED_ITERATES]] = 1
    many._watch(6)
    assert many._record.head[DIFFERENCES] == 0 and not many._record.units.any()


@pytest.mark.parametrize(("differences", "is_whitened"), [(4, True), (3, False), (0, False)])
def test_units_are_of_the_covariance_where_it_is_known_and_else_of_adam(
    rng: np.random.Generator, differences: int, is_whitened: bool
) -> None:
    """Two differences for each parameter that is trained; else the second moments, unbiased."""
    factor = rng.standard_normal((2, 2))
    outer = factor @ factor.T + np.eye(2)
    l2, moments = np.array([0.25, 0.0]), np.array([0.5, 2.0])
    for units in (differences * 2.0 * outer, np.zeros(2)):
        engine = engine_of(units, batch=16)
        engine._l2, engine._first.step = l2, 10
        engine.train_state.settings[0, OWN : OWN + 2] = 0.9, 0.99
        engine.train_state.state[0, 1] = moments
        engine.train_state.parameters[0] = [7.0, 9.0]
        record = engine._record
        record.head[DIFFERENCES], record.total[:] = differences, 3.0
        engine._finish_first()
        curvature = 16 * moments / (1 - 0.99**10) + l2
        if units.ndim == 2 and is_whitened:
            expected = np.linalg.inv(outer + np.diag(l2))
            np.testing.assert_allclose(units @ units.T, expected, rtol=1e-5)
        elif units.ndim == 2:
            np.testing.assert_allclose(units, np.diag(curvature**-0.5), rtol=1e-12)
        else:
            np.testing.assert_allclose(units, curvature**-0.5, rtol=1e-12)
        assert record.head[BEGUN] == 1 and not record.total.any()
        # No iterate was averaged: it goes on from the last one.
        assert record.start.tolist() == [7.0, 9.0]


def test_it_goes_on_from_the_average_where_there_is_one() -> None:
    engine = engine_of(np.zeros(2))
    engine.train_state.settings[0, OWN + 1], engine._first.step = 0.99, 10
    engine.train_state.state[0, 1] = 1.0
    engine._record.head[AVERAGED_ITERATES], engine._record.start[:] = 2, [1.0, 2.0]
    engine.train_state.parameters[0] = [7.0, 9.0]
    engine._finish_first()
    assert engine.train_state.parameters[0].tolist() == [1.0, 2.0]


def test_the_first_part_is_over_once_it_decided_or_where_nothing_is_halved() -> None:
    engine = engine_of(np.zeros(2))
    assert engine._is_over(), "a model of one's own, or batches of one row"
    engine.train_state.totals[0, HALVED] = 5
    assert not engine._is_over()
    engine._record.head[DECIDED_STEP] = 64
    assert engine._is_over()


@pytest.mark.parametrize(
    ("steps", "trained", "every"),
    [(10, 2, 2), (96, 2, 3), (127, 2, 3), (5000, 4, 16), (640, 4, 10)],
)
def test_sixteen_iterates_are_averaged_in_an_epoch_for_each_parameter(
    monkeypatch: pytest.MonkeyPatch, steps: int, trained: int, every: int
) -> None:
    """Two to sixteen steps lie between them."""
    layout = SimpleNamespace(trained=trained, penalised=lambda: np.ones(trained))
    model: Any = SimpleNamespace(layout=lambda row_shape: layout)
    optimizer = SimpleNamespace(state_rows=lambda size: 2)
    state = SimpleNamespace(
        optimizers=(optimizer,), parameters=np.zeros((1, trained)), state=np.zeros((1, 9, trained))
    )
    loader: Any = SimpleNamespace(
        plan=SimpleNamespace(steps=steps), dataset=SimpleNamespace(row_shape=())
    )
    record = SimpleNamespace(head=np.zeros(64))
    monkeypatch.setattr(hybrid_engine, "record_of", lambda train_state: record)
    monkeypatch.setattr(hybrid_engine, "minimiser_of", lambda train_state: SimpleNamespace(l2=0.5))
    monkeypatch.setattr(hybrid_engine, "as_method", lambda optimizer: optimizer)
    monkeypatch.setattr(hybrid_engine, "replace", lambda given, **more: (given, more))
    firsts: list[Any] = []
    engine = HybridEngine(model, loader, state, lambda first: firsts.append(first) or first)  # type: ignore[arg-type,func-returns-value]
    assert engine._every == every
    assert engine._l2.tolist() == [0.5] * trained
    assert firsts[0][1]["state"].shape == (1, 2, trained)
