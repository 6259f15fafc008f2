"""The minimiser that keeps the whole inverse curvature: where it ends, and what it costs."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ooc
from ooc.core.errors import InputError
from ooc.engines.self_scaling import minimise_dense
from ooc.optim import hybrid, lbfgs, method_from_config


def counted(function):  # type: ignore[no-untyped-def]
    calls = []

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        calls.append(x)
        return function(x)

    return objective, calls


def test_it_finds_the_minimum_of_a_narrow_valley_in_fewer_calls_than_pairs() -> None:
    """Rosenbrock's function in ten dimensions, whose minimum is at ones."""
    from scipy.optimize import minimize, rosen, rosen_der

    objective, calls = counted(lambda x: (float(rosen(x)), rosen_der(x)))
    start, found = np.linspace(-1.2, 1.2, 10), list[np.ndarray]()
    minimise_dense(objective, start, found.append)
    assert np.abs(found[-1] - 1).max() < 1e-7 or np.abs(rosen_der(found[-1])).max() < 1e-9
    pairs = minimize(rosen, start, jac=rosen_der, method="L-BFGS-B", options={"ftol": 0, "gtol": 0})
    assert len(calls) < 1.5 * pairs.nfev


def test_a_quadratic_of_large_condition_needs_about_its_dimension() -> None:
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    matrix = turn @ np.diag(np.logspace(0, 6, 12)) @ turn.T
    objective, calls = counted(lambda x: (float(x @ matrix @ x / 2), matrix @ x))
    found = list[np.ndarray]()
    minimise_dense(objective, np.ones(12), found.append)
    assert found[-1] @ matrix @ found[-1] < 1e-16
    assert len(calls) < 300


def test_nothing_is_accepted_where_nothing_falls() -> None:
    found = list[np.ndarray]()
    minimise_dense(lambda x: (0.0, np.zeros_like(x)), np.ones(3), found.append)
    assert not found


def test_methods_that_keep_it_are_made_again_and_old_ones_stay_as_they_were() -> None:
    for method in (lbfgs(dense=True), hybrid(0.1, dense=True)):
        assert method_from_config(method.to_config()) == method
        assert method.full is not None and method.full.dense
    assert "dense" not in lbfgs().to_config()
    with pytest.raises(InputError, match="cg cannot be made from"):
        method_from_config({**ooc.optim.cg().to_config(), "dense": True})


@pytest.mark.slow
def test_a_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5)).astype(np.float32)
    path = tmp_path / "rows.zarr"
    with ooc.create(path, {"X": ("float32", (5,)), "y": ("float32", ())}, {}) as writer:
        writer.append({"X": x, "y": np.sin(x @ np.arange(5.0)).astype(np.float32)})
    dataset = ooc.open(path)
    trainer = ooc.Trainer(
        ooc.models.MLP(hidden=(4,), activation="tanh", head="regression", dtype="float64"),
        lbfgs(dense=True, kept=32), memory="1GiB",
    )  # fmt: skip
    whole = trainer.fit(dataset, 40, report=False)
    folder = tmp_path / "run"
    stop = threading.Event()

    def end(now: Any) -> None:
        if now.step == 17:
            stop.set()

    trainer.fit(dataset, 40, folder, report=False, stop=stop, callbacks=ooc.Callbacks(end, end))
    resumed = trainer.resume(dataset, folder, report=False)
    assert np.array_equal(whole.parameters, resumed.parameters)
