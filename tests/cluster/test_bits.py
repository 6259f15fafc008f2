"""A run on a cluster comes to the bits of one process with the same lanes."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract.cases import CASES
from datasets import small_windows, write_dataset
from distributed import Client, LocalCluster

import ooc
from ooc.core.errors import InputError
from ooc.models import MODELS
from ooc.optim import OPTIMIZERS
from ooc.store.dataset import Dataset
from ooc.stream.plan import MIB, RESERVED_BYTES
from ooc.training.trainer import Trainer
from ooc.training.watchers.callbacks import Callbacks
from ooc.training.watchers.steering import Steering
from ooc.training.watchers.validation import Validation

MEMORY = RESERVED_BYTES + 320 * MIB
SAME = ("parameters_sha256", "loss", "steps", "rows", "epochs")
SETTINGS: dict[str, dict[str, Any]] = {
    "softmax": {"classes": 3},
    "mlp": {"hidden": (6,), "dropout": 0.2, "weight_decay": 1e-3, "activation": "tanh"},
    "autoencoder": {"hidden": (4,), "code": 2, "activation": "tanh"},
    "embedding_mlp": {"branches": "figures", "hidden": (5,), "figure_hidden": (4,)},
}


@pytest.fixture
def labelled(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Rows in several windows, whose lanes do not end together; batches span windows."""
    small_windows(monkeypatch, 16 * 2**10)
    x = (rng.standard_normal((1990, 4)) * [1, 2, 3, 0.5] + [0, 1, -1, 5]).astype(np.float32)
    y = (x[:, 0] + 0.5 * rng.standard_normal(1990) > 0).astype(np.int64)
    return write_dataset(tmp_path / "labelled.zarr", chunk_rows=40, X=x, y=y)


def both(
    trainer: Trainer, dataset: Dataset, client: Client, **how: Any
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the results of this process alone, and of the cluster."""
    here, there = (
        trainer.fit(dataset, 2, report=False, client=each, **how).results for each in (None, client)
    )
    return here, there


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model(labelled: Dataset, client: Client, name: str) -> None:
    model = MODELS[name](**SETTINGS.get(name, {}))
    trainer = Trainer(model, ooc.optim.adam(0.02, l2=1e-3), 150, memory=MEMORY, lanes=3)
    here, there = both(trainer, labelled, client)
    assert [here[key] for key in SAME] == [there[key] for key in SAME]
    assert there["workers"] == 2 and there["lanes"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(labelled: Dataset, client: Client, name: str) -> None:
    trainer = Trainer(ooc.models.Logistic(), OPTIMIZERS[name](0.02), 100, memory=MEMORY, lanes=2)
    here, there = both(trainer, labelled, client)
    assert [here[key] for key in SAME] == [there[key] for key in SAME]


@pytest.mark.slow
@pytest.mark.parametrize("name", [each for each in CASES if each != "embedding_bag"])
def test_models_of_other_kinds(
    tmp_path: Path, rng: np.random.Generator, client: Client, name: str
) -> None:
    """Parts that take turns, float64, further arrays, several terms."""
    case = CASES[name]
    data = write_dataset(tmp_path / "case.zarr", chunk_rows=40, **case.columns(1200, rng))
    trainer = Trainer(
        case.model, case.optimizer, 90, memory=MEMORY, lanes=4, window=8, block_rows=40
    )
    if trainer._method.full is not None:
        trainer = replace_optimizer(trainer, ooc.optim.adam(0.01))
    here, there = both(trainer, data, client)
    assert [here[key] for key in SAME] == [there[key] for key in SAME]


def replace_optimizer(trainer: Trainer, optimizer: Any) -> Trainer:
    return Trainer(trainer.model, optimizer, trainer.batch_size, stream=trainer.stream)


@pytest.mark.slow
def test_what_else_depends_on_rows_and_steps(labelled: Dataset, client: Client) -> None:
    """Held-out rows, steered batches, missing rows that are left out, a rate that is found."""
    trainer = Trainer(
        ooc.models.Logistic(), ooc.optim.sgd(), 64, memory=MEMORY, lanes=4,
        validation=Validation(0.2), steering=Steering(batch=((9, 130), (20, 33))),
    )  # fmt: skip
    here, there = both(trainer, labelled, client)
    keys = (*SAME, "validation_loss", "best_step")
    assert [here.get(key) for key in keys] == [there.get(key) for key in keys]


@pytest.mark.slow
def test_rows_that_cannot_be_used_are_left_out_alike(
    tmp_path: Path, rng: np.random.Generator, client: Client
) -> None:
    x = rng.standard_normal((1990, 4)).astype(np.float32)
    x[rng.integers(0, 1990, 200), 1] = np.nan
    y = (np.nan_to_num(x[:, 0]) > 0).astype(np.int64)
    data = write_dataset(tmp_path / "lacking.zarr", chunk_rows=40, X=x, y=y)
    Path(data.path, "X", "c", "3", "0").unlink()
    trainer = Trainer(
        ooc.models.Logistic(), ooc.optim.sgd(0.1), 64, memory=MEMORY, lanes=3, window=12,
        block_rows=40, missing_values="drop", on_bad_chunk="skip",
    )  # fmt: skip
    here, there = both(trainer, data, client)
    keys = (*SAME, "skipped_rows", "skipped_chunks", "missing")
    assert [here.get(key) for key in keys] == [there.get(key) for key in keys]
    assert here["skipped_rows"] > 200


@pytest.mark.slow
def test_a_sweep(labelled: Dataset, client: Client) -> None:
    optimizers = {"slow": ooc.optim.sgd(0.01), "fast": ooc.optim.adam(0.1)}
    trainer = Trainer(ooc.models.Logistic(), ooc.optim.sgd(0.1), 100, memory=MEMORY, lanes=2)
    here, there = (
        trainer.fit_many(labelled, optimizers, 2, report=False, client=each)
        for each in (None, client)
    )
    for name in optimizers:
        assert [here[name].results[key] for key in SAME] == [
            there[name].results[key] for key in SAME
        ]


@pytest.mark.slow
@pytest.mark.parametrize("begins_on", ["cluster", "one machine"])
def test_a_run_goes_on_elsewhere(
    labelled: Dataset, client: Client, tmp_path: Path, begins_on: str
) -> None:
    trainer = Trainer(ooc.models.Logistic(), ooc.optim.adam(0.02), 150, memory=MEMORY, lanes=3)
    whole, stop = trainer.fit(labelled, 2, report=False), threading.Event()

    def at_step(now: Any) -> None:
        if now.step >= 11:
            stop.set()

    first, second = (client, None) if begins_on == "cluster" else (None, client)
    how = {"report": False, "stop": stop, "callbacks": Callbacks(step_end=at_step)}
    begun = trainer.fit(labelled, 2, tmp_path / "run", client=first, **how)
    assert 0 < begun.results["steps"] < whole.results["steps"]
    run = trainer.resume(labelled, tmp_path / "run", report=False, client=second)
    assert [run.results[key] for key in SAME] == [whole.results[key] for key in SAME]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
def test_any_number_of_workers(labelled: Dataset, workers: int) -> None:
    trainer = Trainer(ooc.models.Logistic(), ooc.optim.adam(0.02), 150, memory=MEMORY, lanes=4)
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1"
        ) as cluster,
        Client(cluster) as client,
    ):
        here, there = both(trainer, labelled, client)
    assert [here[key] for key in SAME] == [there[key] for key in SAME]
    assert there["workers"] == workers


@pytest.mark.slow
def test_a_bad_row_is_named_as_its_worker_sees_it(
    tmp_path: Path, rng: np.random.Generator, client: Client
) -> None:
    x = rng.standard_normal((400, 3)).astype(np.float32)
    x[321, 2] = np.inf
    data = write_dataset(tmp_path / "bad.zarr", chunk_rows=40, X=x, y=np.arange(400) % 2)
    model = ooc.models.Logistic(standardise=False)
    trainer = Trainer(
        model, ooc.optim.sgd(0.1), 40, memory=MEMORY, lanes=2, window=4, block_rows=40
    )
    with pytest.raises(InputError, match="row 321 of X has inf in feature 2"):
        trainer.fit(data, 1, report=False, client=client)


@pytest.mark.slow
def test_a_budget_that_is_too_small_for_a_worker_is_refused_there(
    labelled: Dataset, client: Client
) -> None:
    trainer = Trainer(
        ooc.models.Logistic(), ooc.optim.sgd(0.1), 40, memory=RESERVED_BYTES + 20 * MIB, lanes=2
    )
    client.run(hold, 300 * MIB)
    try:
        with pytest.raises(InputError, match=r"for each worker is below the .* in worker tcp://"):
            trainer.fit(labelled, 1, report=False, client=client)
    finally:
        client.run(hold, 0)


def hold(size: int) -> None:
    """Let this process hold so many bytes, as a worker's other tasks may."""
    np.ballast = np.ones(size, np.uint8)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_store_that_workers_do_not_see_is_named_with_the_worker(
    labelled: Dataset, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(ooc.models.Logistic(), ooc.optim.sgd(0.1), 40, memory=MEMORY, lanes=2)
    from ooc.training import engine_choice

    choose = engine_choice.engine_on

    def hide(*given: Any) -> Any:
        Path(labelled.path).rename(Path(labelled.path).with_name("hidden.zarr"))
        return choose(*given)

    monkeypatch.setattr("ooc.training.trainer.engine_on", hide)
    with pytest.raises(InputError, match=rf"worker tcp://\S+ does not see {labelled.path} as"):
        trainer.fit(labelled, 1, report=False, client=client)


def test_what_a_cluster_cannot_serve_is_refused_before_any_work(labelled: Dataset) -> None:
    def refused(client: Any, message: str, **more: Any) -> None:
        given = {"model": ooc.models.Logistic(), "optimizer": ooc.optim.sgd(0.1), "lanes": 2}
        trainer = Trainer(**{**given, **more}, memory=MEMORY)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=message):
            trainer.fit(labelled, report=False, client=client)

    refused("tcp://127.0.0.1:8786", "client is a dask.distributed.Client, not str")
