"""Promises of training a network: the same numbers both ways, the same bits on any threads."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import small_windows, write_dataset
from ooc.engines.network_engine import NetworkEngine
from ooc.kernels.network_window import train_window
from threadpoolctl import threadpool_info

import ooc
from ooc.core.errors import DataError, DivergedError, InputError
from ooc.core.random_keys import Purpose, generator
from ooc.engines.batch_engine import BatchEngine
from ooc.engines.engine import make_engine
from ooc.engines.train_state import start
from ooc.kernels.counters import (
    HALVED,
    LOSS_SUM,
    NOISE,
    NOISE_SQUARES,
    SIGNAL,
    SIGNAL_NOISE,
    SIGNAL_SQUARES,
)
from ooc.models import MLP, Autoencoder
from ooc.models.network import DenseNetwork
from ooc.optim import Optimizer, adam, adamw, averaged, momentum, nesterov, sgd
from ooc.optim.schedules import cosine
from ooc.store.dataset import Dataset
from ooc.training.trainer import Trainer

MEMORY = "768MiB"
MODELS = [
    MLP(hidden=(300, 50), dropout=0.2, weight_decay=0.01),
    MLP(hidden=(8,), activation="gelu", head="multiclass", outputs=2),
    Autoencoder(hidden=(9,), code=4, activation="tanh"),
]


@pytest.fixture
def weighted(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """9,000 weighted rows in several windows, of a length that no batch divides."""
    small_windows(monkeypatch, 2**17)
    x = rng.standard_normal((9007, 12)).astype(np.float32)
    y, weight = (x[:, 0] * x[:, 1] > 0).astype(np.int64), rng.random(9007).astype(np.float32)
    return write_dataset(tmp_path / "a.zarr", chunk_rows=100, X=x, y=y, weight=weight)


def trained(
    engine_of: type, model: DenseNetwork, optimizer: Optimizer, batch_size: int, dataset: Dataset
) -> tuple[np.ndarray, float, int, int]:
    trainer = Trainer(model, optimizer, batch_size, memory=MEMORY)
    loader, layout = trainer.loader(dataset), trainer.layout(dataset)
    assert loader.plan.order.windows > 2
    descents = start((optimizer,), model.init(layout, generator(0, Purpose.PARAMETERS)))
    engine = engine_of(model, loader, descents)
    for window in loader.windows(2):
        engine.advance(window)
    return descents.parameters[0], descents.totals[0, LOSS_SUM], engine.step, engine.rows


@pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{m.name}-{len(m.hidden)}")
@pytest.mark.parametrize(
    ("optimizer", "batch_size"),
    [
        (adam(0.01), 700),
        (momentum(0.01), 64),
        (adamw(0.01, l1=1e-4, clip_norm=0.05), 700),
        (nesterov(0.01, l2=1e-3, l1=1e-4, clip_norm=0.05, schedule=cosine(100)), 64),
        (averaged(0.1, l2=1e-3), 64),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_window_in_one_call_gives_the_numbers_of_a_loop_over_batches(
    weighted: Dataset, model: DenseNetwork, optimizer: Optimizer, batch_size: int
) -> None:
    """To the last bit: shares, masks and the order of sums are the same."""
    engines = [
        trained(kind, model, optimizer, batch_size, weighted)
        for kind in (NetworkEngine, BatchEngine)
    ]
    assert np.array_equal(engines[0][0], engines[1][0])
    assert engines[0][1] == pytest.approx(engines[1][1], rel=1e-12)
    assert engines[0][2:] == engines[1][2:]
    assert engines[0][3] == 2 * 9007


def test_a_network_gets_the_engine_that_runs_windows(weighted: Dataset) -> None:
    trainer = Trainer(MODELS[0], sgd(0.1), 64, memory=MEMORY)
    layout = trainer.layout(weighted)
    descents = start((trainer.optimizer,), np.zeros(layout.size, np.float32))
    engine = make_engine(MODELS[0], trainer.loader(weighted), descents)
    assert isinstance(engine, NetworkEngine)


def test_bits_do_not_depend_on_threads(weighted: Dataset) -> None:
    """Kernel threads, BLAS' threads and readers, each in a process of its own."""
    code = (
        "import ooc, sys\n"
        "model = ooc.models.MLP(hidden=(300, 50), dropout=0.2)\n"
        f"trainer = ooc.Trainer(model, ooc.optim.adam(0.01), 1024, memory={MEMORY!r}, "
        "readers=int(sys.argv[1]))\n"
        f"print(trainer.fit(ooc.open({weighted.path!r})).results['parameters_sha256'])"
    )
    hashes = set()
    for threads, readers in (("1", "1"), ("2", "5")):
        environment = {**os.environ, "NUMBA_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", code, readers]
        hashes.add(subprocess.check_output(command, env=environment, text=True))
    assert len(hashes) == 1


def test_blas_has_its_threads_back_after_training(weighted: Dataset) -> None:
    Trainer(MODELS[1], sgd(0.1), 64, memory=MEMORY).fit(weighted)
    before = [pool["num_threads"] for pool in threadpool_info()]
    Trainer(MODELS[1], sgd(0.1), 64, memory=MEMORY).fit(weighted)
    assert [pool["num_threads"] for pool in threadpool_info()] == before


def test_widths_compile_nothing(weighted: Dataset) -> None:
    Trainer(MODELS[0], adam(0.1), 64, memory=MEMORY).fit(weighted)
    compiled = len(train_window.signatures)  # type: ignore[attr-defined]
    for model in (MODELS[1], MLP(hidden=()), MLP(hidden=(3, 4, 5, 6), activation="softplus")):
        Trainer(model, sgd(0.01), 100, memory=MEMORY).fit(weighted)
    assert len(train_window.signatures) == compiled  # type: ignore[attr-defined]


def test_a_network_learns_what_no_linear_model_can(weighted: Dataset) -> None:
    """The label is the sign of a product of two features."""
    run = Trainer(MLP(hidden=(32, 32)), adam(0.005), 64, memory=MEMORY).fit(weighted, epochs=8)
    assert run.evaluate(weighted)["accuracy"] > 0.95


def test_an_autoencoder_finds_the_plane_that_rows_lie_in(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Rows on a plane of 2 dimensions in 6: a code of 2 suffices, one of 1 does not."""
    x = (rng.standard_normal((5000, 2)) @ rng.standard_normal((2, 6))).astype(np.float32)
    dataset = write_dataset(tmp_path / "plane.zarr", chunk_rows=100, X=x)
    found = {}
    for code in (1, 2):
        model = Autoencoder(hidden=(), code=code, activation="identity")
        run = Trainer(model, adam(0.02), 50, memory=MEMORY).fit(
            dataset, epochs=6, run_dir=tmp_path / str(code)
        )
        found[code] = run.evaluate(dataset)["loss"]
        assert run.predict(dataset, "error").mean() == pytest.approx(found[code], rel=1e-4)
    smallest = np.linalg.svd(x - x.mean(0), compute_uv=False)[1] ** 2 / (2 * len(x))
    assert found[1] > 0.99 * smallest
    assert found[2] < 0.01 * smallest


@pytest.mark.parametrize("batch_size", [1, 64, 2000])
def test_a_bad_row_is_named_and_nothing_is_learned_from_its_batch(
    tmp_path: Path, rng: np.random.Generator, batch_size: int
) -> None:
    x, y = rng.standard_normal((2000, 5)).astype("f4"), rng.integers(0, 2, 2000)
    x[1234, 3] = np.nan
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=y)
    with pytest.raises(DataError, match="row 1234 has nan in feature 3"):
        Trainer(MODELS[0], sgd(0.1), batch_size, memory=MEMORY).fit(dataset)
    labels = write_dataset(tmp_path / "b.zarr", X=np.nan_to_num(x), y=y + 1)
    with pytest.raises(DataError, match=r"has target 2\.0, but mlp takes labels 0 and 1"):
        Trainer(MODELS[0], sgd(0.1), batch_size, memory=MEMORY).fit(labels)


def test_steps_that_are_too_long_are_told(weighted: Dataset) -> None:
    with pytest.raises(DivergedError, match="lower the learning rate"):
        Trainer(MLP(hidden=(50,), head="regression"), sgd(1e12), 64, memory=MEMORY).fit(weighted, 3)


def test_a_head_that_does_not_fit_is_refused_before_training(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((100, 3)).astype("f4")
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=x)
    with pytest.raises(InputError, match=r"binary head takes 1 target value a row.* have 3 a row"):
        Trainer(MLP(), sgd(0.1), 10, memory=MEMORY).fit(dataset, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = Trainer(MLP(head="regression", outputs=3), sgd(0.1), 10, memory=MEMORY).fit(dataset)
    assert run.predict(dataset).shape == (100, 3)


def test_a_saved_network_is_the_network_and_another_layout_is_refused(
    weighted: Dataset, tmp_path: Path
) -> None:
    run = Trainer(MODELS[1], adam(0.01), 64, memory=MEMORY).fit(weighted, run_dir=tmp_path / "run")
    loaded = ooc.load(tmp_path / "run")
    assert loaded.model == run.model
    assert np.array_equal(loaded.predict(weighted), run.predict(weighted))
    wider = replace(MODELS[1], hidden=(9,))
    with pytest.raises(InputError, match=r"run holds 122 parameters, but its mlp .* has 137"):
        ooc.load(tmp_path / "run", model=wider)


@pytest.mark.slow
@pytest.mark.parametrize("cold", [False, True])
def test_a_network_stays_inside_its_memory(tmp_path: Path, cold: bool) -> None:
    """In fresh processes, and with a cold compile cache, too."""
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cold")} if cold else {}

    def run(*arguments: str) -> dict:
        command = [sys.executable, "-m", "ooc", *arguments, "--json"]
        printed = subprocess.check_output(command, text=True, env={**os.environ, **cache})
        return json.loads(printed)

    data, saved, memory = str(tmp_path / "a.zarr"), str(tmp_path / "run"), "--memory=560MiB"
    run("make", "logistic", data, "--rows", "400k")
    network = ["--model", "mlp", "--hidden", "512,512", "--batch-size", "1024", "--run", saved]
    results = [
        run("train", data, *network, "--optimizer", "adam", "--lr", "0.001", memory),
        run("evaluate", saved, data, memory),
        run("predict", saved, data, str(tmp_path / "out.zarr"), memory),
    ]
    for result in results:
        budget, projected = result["memory_budget_bytes"], result["memory_projected_bytes"]
        assert result["memory_peak_bytes"] <= projected <= budget
    assert results[1]["loss"] < 0.4


@pytest.mark.parametrize("batch_size", [260, 400, 500])
def test_the_noise_of_a_batch_is_that_of_its_shares(
    weighted: Dataset, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    """Two, three and four shares; a twin asks for the gradient of each half."""
    monkeypatch.setattr("ooc.kernels.network_memory.SHARE_WORK", 1)
    model, optimizer = MLP(hidden=(8,)), sgd(1e-12)
    trainer = Trainer(model, optimizer, batch_size, memory=MEMORY)
    loader, layout = trainer.loader(weighted), trainer.layout(weighted)
    descents = start((optimizer,), model.init(layout, generator(0, Purpose.PARAMETERS)))
    parameters = descents.parameters[0].copy()
    engine = NetworkEngine(model, loader, descents)
    for window in loader.windows(1):
        engine.advance(window)
    totals, sums = descents.totals[0], np.zeros(6)
    size = max(128, -(-batch_size // 4))
    for batch in trainer.loader(weighted):
        rows = len(batch.rows)
        shares = -(-rows // max(128, -(-rows // 4)))
        if shares == 1:
            continue
        first = max(128, -(-rows // 4)) * ((shares + 1) // 2)
        halves = []
        for part in (slice(0, first), slice(first, rows)):
            arrays = {name: values[part] for name, values in batch.arrays.items()}
            halves.append(np.zeros(layout.size))
            half = replace(batch, arrays=arrays, rows=batch.rows[part])
            model.loss_and_grad(parameters, half, halves[-1])
        signal = halves[0] @ halves[1]
        noise = ((halves[0] - halves[1]) ** 2).sum() / (1 / first + 1 / (rows - first))
        sums += (1, signal, signal**2, noise, noise**2, signal * noise)
    assert -(-batch_size // size) == {260: 3, 400: 4, 500: 4}[batch_size]
    found = totals[[HALVED, SIGNAL, SIGNAL_SQUARES, NOISE, NOISE_SQUARES, SIGNAL_NOISE]]
    np.testing.assert_allclose(found, sums, rtol=1e-4)
    assert sums[0] > 10
