"""Rounds of local steps: against a twin in NumPy, and the same bits whoever serves the lanes."""

import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import small_windows, write_dataset

import ooc
from ooc.core.errors import InputError
from ooc.engines.synchronisation import Synchronisation
from ooc.optim.schedules import cosine
from ooc.store.dataset import Dataset
from ooc.stream.plan import MIB, RESERVED_BYTES
from ooc.training.trainer import Trainer
from ooc.training.watchers.callbacks import Callbacks
from ooc.training.watchers.steering import Steering

MEMORY = RESERVED_BYTES + 320 * MIB
SAME = ("parameters_sha256", "loss", "steps", "rows", "epochs", "synchronisations")
LANES, BATCH, RATE = 3, 90, 0.05


@pytest.fixture
def measured(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Rows in several windows, whose lanes do not end together; batches span windows."""
    small_windows(monkeypatch, 16 * 2**10)
    x = rng.standard_normal((1990, 4)).astype(np.float32)
    y = (x @ np.array([1, -2, 0.5, 0]) + 0.3 * rng.standard_normal(1990)).astype(np.float32)
    return write_dataset(tmp_path / "measured.zarr", chunk_rows=40, X=x, y=y)


def trainer(how: Synchronisation, optimizer: Any = None, **more: Any) -> Trainer:
    return Trainer(
        ooc.models.Linear(standardise=False), optimizer or ooc.optim.sgd(RATE), BATCH,
        **{"memory": MEMORY, "lanes": LANES, "synchronisation": how, **more},
    )  # fmt: skip


def twin(dataset: Dataset, how: Synchronisation, epochs: int) -> np.ndarray:
    """Local SGD on the same batches, line by line as the papers have it, in float64."""
    own = trainer(how).loader(dataset)
    loader = ooc.Loader(dataset, BATCH, stream=own.stream, memory=MEMORY)
    order, width = own.plan.order, dataset.row_shape[0] + 1
    theta, velocity = np.zeros(width), np.zeros(width)
    for _ in range(epochs):
        lanes = np.tile(theta, (LANES, 1))
        seen, steps = np.zeros(LANES), 0
        batches = list(loader)
        for number, batch in enumerate(batches):
            x = np.column_stack([batch["X"], np.ones(len(batch.rows))])
            of_rows = batch.rows // order.block_rows % LANES
            for lane in range(LANES):
                mine, target = x[of_rows == lane], batch["y"].reshape(-1)[of_rows == lane]
                if len(mine):
                    slopes = mine @ lanes[lane] - target
                    lanes[lane] -= RATE * slopes @ mine / len(mine)
                seen[lane] += len(mine)
            steps += 1
            if steps == how.local_steps or number == len(batches) - 1:
                change = seen @ (lanes - theta) / seen.sum()
                velocity = how.outer_momentum * velocity + change
                theta = theta + how.outer_rate * (change + how.outer_momentum * velocity)
                lanes[:], seen[:], steps = theta, 0, 0
    return theta


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [Synchronisation(2), Synchronisation(5, 0.9, 0.7), Synchronisation(1000, 0.0, 1.5)]
)
def test_a_twin_in_numpy_comes_to_the_same(measured: Dataset, how: Synchronisation) -> None:
    run = trainer(how).fit(measured, 2, report=False)
    expected = twin(measured, how, 2)
    np.testing.assert_allclose(run.parameters, expected, rtol=2e-5, atol=2e-5)
    per_epoch = -(-1990 // BATCH)
    assert run.results["synchronisations"] == 2 * -(-per_epoch // how.local_steps)


@pytest.mark.slow
def test_lanes_that_meet_in_every_step_are_as_they_were(measured: Dataset) -> None:
    exact = trainer(Synchronisation()).fit(measured, 1, report=False)
    plain = Trainer(
        ooc.models.Linear(standardise=False), ooc.optim.sgd(RATE), BATCH,
        memory=MEMORY, lanes=LANES,
    )  # fmt: skip
    assert (exact.parameters == plain.fit(measured, 1, report=False).parameters).all()
    assert trainer(Synchronisation()).to_config() == plain.to_config()


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 7, 23, 24, 30])
def test_a_run_that_stops_anywhere_goes_on_to_the_same_bits(
    measured: Dataset, tmp_path: Path, step: int
) -> None:
    one = trainer(Synchronisation(4, 0.9, 0.7), ooc.optim.adam(0.02))
    whole, stop = one.fit(measured, 2, report=False), threading.Event()
    callbacks = at_step(step, stop.set)
    begun = one.fit(measured, 2, tmp_path / "run", report=False, stop=stop, callbacks=callbacks)
    assert begun.results["steps"] == step
    run = ooc.resume(tmp_path / "run", report=False)
    assert [run.results[key] for key in SAME] == [whole.results[key] for key in SAME]


def at_step(step: int, action: Callable[[], Any]) -> Callbacks:
    def step_end(now: Any) -> None:
        if now.step == step:
            action()

    return Callbacks(step_end=step_end)


@pytest.mark.slow
def test_bits_do_not_depend_on_where_history_cuts_the_legs(measured: Dataset) -> None:
    runs = [
        trainer(Synchronisation(6), ooc.optim.adam(0.02), log_every=every).fit(
            measured, 2, report=False
        )
        for every in (1, 1000)
    ]
    first, second = ([run.results[key] for key in SAME] for run in runs)
    assert first == second


@pytest.mark.slow
def test_a_sweep_is_each_run_by_itself(measured: Dataset) -> None:
    optimizers = {"slow": ooc.optim.sgd(0.01), "fast": ooc.optim.adam(0.05)}
    how = Synchronisation(3, 0.5, 1.0)
    many = trainer(how).fit_many(measured, optimizers, 1, report=False)
    for name, optimizer in optimizers.items():
        alone = trainer(how, optimizer).fit(measured, 1, report=False)
        assert [many[name].results[key] for key in SAME] == [alone.results[key] for key in SAME]


@pytest.mark.slow
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.standard_normal((400, 3)).astype(np.float32)
    x[321, 2] = np.inf
    data = write_dataset(tmp_path / "bad.zarr", chunk_rows=40, X=x, y=x[:, 0])
    one = trainer(Synchronisation(4), window=6, block_rows=40)
    with pytest.raises(InputError, match="row 321 of X has inf in feature 2"):
        one.fit(data, 1, report=False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"local_steps": 0}, "local_steps must be .*at least 1|local_steps"),
        ({"local_steps": 2, "outer_momentum": 1.0}, "at least 0 and below 1, not 1.0"),
        ({"local_steps": 2, "outer_rate": 0.0}, "outer_rate is above 0, not 0.0"),
        ({"outer_momentum": 0.9}, "acts where lanes meet after several steps; give local_steps=2"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Synchronisation(**given)


def test_what_has_no_local_steps_is_refused_before_any_work(measured: Dataset) -> None:
    rounds = Synchronisation(4)
    with pytest.raises(InputError, match="a round of local steps shares out a run by its lanes"):
        trainer(rounds, lanes=1).fit(measured, report=False)
    with pytest.raises(InputError, match="averaged keeps an average of the iterates"):
        trainer(rounds, ooc.optim.averaged(0.1)).fit(measured, report=False)
    with pytest.raises(InputError, match="are for mini-batches, and a step takes all rows"):
        Trainer(ooc.models.Linear(), ooc.optim.sgd(0.1), "full", synchronisation=rounds)
    with pytest.raises(InputError, match="an automatic batch is judged by gradients of one place"):
        steering = Steering(batch="auto", largest=128)
        trainer(rounds, steering=steering)


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer",
    [ooc.optim.sgd(RATE), ooc.optim.adam(0.02), ooc.optim.sgd(RATE, schedule=cosine(60))],
)
def test_workers_come_to_the_bits_of_one_process(
    measured: Dataset, client: Any, optimizer: Any
) -> None:
    one = trainer(Synchronisation(5, 0.9, 0.7), optimizer, log_every=1000)
    here, there = (one.fit(measured, 2, report=False, client=each) for each in (None, client))
    assert [here.results[key] for key in SAME] == [there.results[key] for key in SAME]
    assert there.results["workers"] == 2 and there.results["bytes_per_step"] > 0


@pytest.mark.slow
def test_a_run_goes_on_elsewhere_within_a_round(
    measured: Dataset, client: Any, tmp_path: Path
) -> None:
    one = trainer(Synchronisation(8, 0.9, 0.7), ooc.optim.adam(0.02))
    whole, stop = one.fit(measured, 2, report=False), threading.Event()
    how = {"report": False, "stop": stop, "callbacks": at_step(12, stop.set)}
    one.fit(measured, 2, tmp_path / "run", client=client, **how)
    run = ooc.resume(tmp_path / "run", report=False)
    assert [run.results[key] for key in SAME] == [whole.results[key] for key in SAME]


@pytest.mark.slow
def test_a_worker_that_is_killed_within_a_round_costs_no_bit(measured: Dataset) -> None:
    from distributed import Client, LocalCluster

    one = trainer(Synchronisation(7, 0.5), ooc.optim.adam(0.02))
    whole, generator = one.fit(measured, 4, report=False), random.Random(3)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1"
        ) as cluster,
        Client(cluster) as client,
    ):

        def kill_one() -> None:
            import os

            found = [each.pid for each in cluster.workers.values() if each.pid]
            os.kill(generator.choice(found), signal.SIGKILL)

        callbacks = at_step(31, kill_one)
        run = one.fit(measured, 4, report=False, client=client, callbacks=callbacks)
    assert [run.results[key] for key in SAME] == [whole.results[key] for key in SAME]
    assert run.results["workers_lost"] == 1
