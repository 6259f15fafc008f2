"""The compiled engine: the numbers of a loop over batches, the same bits on any threads."""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import small_windows, write_dataset
from pairs import few, pairs
from threadpoolctl import threadpool_info, threadpool_limits

import ooc
from ooc.core.errors import DataError, DivergedError, InputError
from ooc.core.random_keys import Purpose, generator
from ooc.engines.batch_engine import BatchEngine
from ooc.engines.engine import make_engine
from ooc.engines.window_engine import WindowEngine
from ooc.kernels.counters import (
    HALVED,
    LOSS_SUM,
    NOISE,
    NOISE_SQUARES,
    SIGNAL,
    SIGNAL_NOISE,
    SIGNAL_SQUARES,
)
from ooc.kernels.window_loop import run_window
from ooc.models import MLP, Autoencoder, Linear, LinearSVM, Logistic, Model, Softmax
from ooc.models.train_state import start
from ooc.optim import Optimizer, adam, adamw, averaged, momentum, nesterov, sgd
from ooc.optim.schedules import cosine
from ooc.store.dataset import Dataset
from ooc.stream.plan import MIB, RESERVED_BYTES
from ooc.training.trainer import Trainer

MEMORY = RESERVED_BYTES + 368 * MIB
ROWS = 4480
NETWORK = MLP(hidden=(300, 50), dropout=0.2, weight_decay=0.01)
MULTICLASS = MLP(hidden=(8,), activation="gelu", head="multiclass", outputs=2)
MODELS = {
    "linear": Linear(),
    "logistic": Logistic(class_weights=(1.0, 2.5)),
    "softmax": Softmax(classes=3, intercept=False),
    "svm": LinearSVM(loss="squared_hinge"),
    "network": NETWORK,
    "multiclass": MULTICLASS,
    "ordinal": MLP(hidden=(7,), head="ordinal", outputs=4, class_weights=(1, 2, 1, 1)),
    "huber": MLP(hidden=(4,), head="regression", loss="huber", activation="tanh"),
    "autoencoder": Autoencoder(hidden=(9,), code=4, activation="tanh"),
}


@pytest.fixture
def weighted(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Weighted rows in several windows."""
    small_windows(monkeypatch, 2**16)
    x = rng.standard_normal((ROWS, 12)).astype(np.float32)
    y, weight = (x[:, 0] * x[:, 1] > 0).astype(np.int64), rng.random(ROWS).astype(np.float32)
    return write_dataset(tmp_path / "a.zarr", chunk_rows=100, X=x, y=y, weight=weight)


def trained(
    engine_of: type,
    model: Model,
    optimizer: Optimizer,
    batch_size: int,
    dataset: Dataset,
    parallel: bool | None = None,
) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Return parameters, totals, steps and rows after two epochs of several windows."""
    trainer = Trainer(model, optimizer, batch_size, memory=MEMORY)
    loader, layout = trainer.loader(dataset), trainer.layout(dataset)
    assert loader.plan.order.windows > 2
    train_state = start((optimizer,), model.init(layout, generator(0, Purpose.PARAMETERS)), model)
    engine = engine_of(model, loader, train_state)
    if parallel is not None:
        engine.choice = Fixed(parallel)
    for window in loader.windows(2):
        while not engine.advance(window):
            pass
    return train_state.parameters[0], train_state.totals[0], engine.step, engine.rows


class Fixed:
    """Stands for the measured choice between one thread and several."""

    def __init__(self, parallel: bool) -> None:
        self.parallel = parallel

    def note(self, rows: int, seconds: float) -> None:
        """Note nothing."""

    def end_window(self) -> None:
        """Note nothing."""


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("name", "how"),
    pairs(
        MODELS,
        [
            (adamw(0.01, l1=1e-4, clip_norm=0.05), 640),
            (nesterov(0.01, l2=1e-3, l1=1e-4, clip_norm=0.05, schedule=cosine(100)), 64),
        ],
    ),
    ids=lambda value: value if isinstance(value, str) else value[0].name,
)
def test_a_window_in_one_call_gives_the_numbers_of_a_loop_over_batches(
    weighted: Dataset, name: str, how: tuple[Optimizer, int]
) -> None:
    """To the last bit, over windows that batches cross: shares, masks and sums' order agree."""
    optimizer, batch_size = how
    engines = [
        trained(kind, MODELS[name], optimizer, batch_size, weighted)
        for kind in (WindowEngine, BatchEngine)
    ]
    assert np.array_equal(engines[0][0], engines[1][0])
    assert engines[0][1][LOSS_SUM] == pytest.approx(engines[1][1][LOSS_SUM], rel=1e-12)
    assert engines[0][2:] == engines[1][2:] == (2 * ROWS // batch_size, 2 * ROWS)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", ["softmax", "network"])
def test_the_last_batch_of_an_epoch_may_be_shorter(weighted: Dataset, name: str) -> None:
    """It is cut into shares as the others are, so that its last bits are not those of a batch."""
    one, other = (
        trained(kind, MODELS[name], adam(0.01), 1000, weighted)
        for kind in (WindowEngine, BatchEngine)
    )
    np.testing.assert_allclose(one[0], other[0], rtol=1e-4, atol=1e-5)
    assert one[1][LOSS_SUM] == pytest.approx(other[1][LOSS_SUM], rel=1e-6)
    assert one[2:] == other[2:] == (2 * 5, 2 * ROWS)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("how", "name"),
    pairs(
        [(sgd(0.05, l1=1e-3), 1), (momentum(0.01), 1000), (averaged(0.1, l2=1e-3), 40)],
        ["logistic", "network"],
    ),
    ids=lambda value: value if isinstance(value, str) else value[0].name,
)
def test_batches_of_any_size_give_the_numbers_of_a_loop_over_batches(
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    how: tuple[Optimizer, int],
    name: str,
) -> None:
    """From single rows to batches of more than a window."""
    optimizer, batch_size = how
    small_windows(monkeypatch, 16 * 2**10)
    rows, features = (200, 120) if batch_size == 1 else (2000, 12)
    x = rng.standard_normal((rows, features)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=20, X=x, y=y)
    found = [
        trained(kind, MODELS[name], optimizer, batch_size, dataset)[0]
        for kind in (WindowEngine, BatchEngine)
    ]
    assert np.array_equal(*found)


@pytest.mark.parametrize(
    "dtype",
    [
        "uint8",
        pytest.param("int16", marks=pytest.mark.slow),
        pytest.param("float16", marks=pytest.mark.slow),
        pytest.param("float64", marks=pytest.mark.slow),
    ],
)
def test_both_engines_read_any_dtype(
    tmp_path: Path, rng: np.random.Generator, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of rows with several axes, too."""
    small_windows(monkeypatch, 2**10)
    x = (rng.random((480, 2, 3)) * 100).astype(dtype)
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=(x[:, 0, 0] > 50).astype(np.uint8))
    model = Logistic(scale=1 / 100)
    assert model.layout(dataset.row_shape).shapes["coefficients"] == (1, 6)
    runs = [trained(kind, model, sgd(0.5), 32, dataset)[0] for kind in (WindowEngine, BatchEngine)]
    assert np.array_equal(*runs)
    assert np.abs(runs[0]).max() > 0.1


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_with_a_kernel_gets_the_compiled_engine(weighted: Dataset, name: str) -> None:
    trainer = Trainer(MODELS[name], sgd(0.1), 64, memory=MEMORY)
    parameters = np.zeros(trainer.layout(weighted).size, np.float32)
    train_state = start((trainer.optimizer,), parameters, MODELS[name])
    assert isinstance(
        make_engine(MODELS[name], trainer.loader(weighted), train_state), WindowEngine
    )


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("name", "batch_size"), pairs(["linear", "network", "softmax", "logistic"], [512, 1300])
)
def test_shares_on_several_threads_give_the_bits_of_one(
    weighted: Dataset, monkeypatch: pytest.MonkeyPatch, name: str, batch_size: int
) -> None:
    """Parameters, losses and noise; also where slots are too few and shares are folded."""
    monkeypatch.setattr("ooc.models.network.SHARE_WORK", 1)
    found = []
    for parallel, threads, slots in ((False, 1, 8), (True, 1, 8), (True, 2, 8), (True, 2, 2)):
        monkeypatch.setattr(
            "ooc.models.loop.parallel_threads", lambda cores, threads=threads: threads
        )
        if slots == 2:
            monkeypatch.setattr("ooc.models.scratch.MOST_SLOT_BYTES", 0)
            monkeypatch.setattr("ooc.models.scratch.FEWEST_SLOTS", 2)
        found.append(
            trained(WindowEngine, MODELS[name], adam(0.01), batch_size, weighted, parallel)
        )
    for other in found[1:3]:
        assert np.array_equal(found[0][0], other[0])
        assert found[0][1].tolist() == other[1].tolist()
    np.testing.assert_allclose(found[3][0], found[0][0], atol=1e-4)
    assert found[0][1][HALVED] > 0


@pytest.mark.slow
def test_bits_do_not_depend_on_threads(weighted: Dataset) -> None:
    """Kernel threads, BLAS' threads and readers, each in a process of its own."""
    code = (
        "import ooc, sys\n"
        "for model in (ooc.models.MLP(hidden=(300, 50), dropout=0.2), ooc.models.Logistic()):\n"
        f"    trainer = ooc.Trainer(model, ooc.optim.adam(0.01), 1024, memory={MEMORY}, "
        "readers=int(sys.argv[1]))\n"
        f"    print(trainer.fit(ooc.open({weighted.path!r}), 2).results['parameters_sha256'])"
    )
    hashes = set()
    for threads, readers in (("1", "1"), ("2", "5")):
        environment = {**os.environ, "NUMBA_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", code, readers]
        hashes.add(subprocess.check_output(command, env=environment, text=True))
    assert len(hashes) == 1
    assert len(set(hashes.pop().split())) == 2


def test_blas_has_one_thread_while_a_network_trains_and_its_own_before_and_after(
    weighted: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads are asked for here, so that there is something to take and to give back."""

    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    trainer = Trainer(NETWORK, sgd(0.1), 64, memory=MEMORY)
    loader, layout = trainer.loader(weighted), trainer.layout(weighted)
    train_state = start((trainer.optimizer,), np.zeros(layout.size, np.float32), NETWORK)
    engine, during = WindowEngine(NETWORK, loader, train_state), []

    def noted(work: np.ndarray, one: np.floating) -> int:
        during.append(threads())
        return run_window(work, one)

    monkeypatch.setattr("ooc.models.loop.run_window", noted)
    with threadpool_limits(2, "blas"):
        before = threads()
        assert set(before) == {2}
        for window in loader.windows(1):
            engine.advance(window)
            assert threads() == before
    assert during
    assert all(set(each) == {1} for each in during)


@pytest.mark.slow
def test_other_sizes_of_a_model_compile_nothing(weighted: Dataset) -> None:
    """The loop is compiled once for all, and widths are numbers that it reads."""
    Trainer(NETWORK, adam(0.1), 64, memory=MEMORY).fit(weighted)
    compiled = len(run_window.signatures)  # type: ignore[attr-defined]
    for model in (MULTICLASS, MLP(hidden=()), Softmax(classes=5), Linear()):
        Trainer(model, sgd(0.01), 100, memory=MEMORY).fit(weighted)
    assert len(run_window.signatures) == compiled  # type: ignore[attr-defined]


def test_a_network_learns_what_no_linear_model_can(weighted: Dataset) -> None:
    """The label is the sign of a product of two features."""
    run = Trainer(MLP(hidden=(32, 32)), adam(0.005), 64, memory=MEMORY).fit(weighted, epochs=16)
    assert run.evaluate(weighted)["accuracy"] > 0.95


@pytest.mark.slow
def test_an_autoencoder_finds_the_plane_that_rows_lie_in(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Rows on a plane of 2 dimensions in 6: a code of 2 suffices, one of 1 does not."""
    x = (rng.standard_normal((5000, 2)) @ rng.standard_normal((2, 6))).astype(np.float32)
    dataset = write_dataset(tmp_path / "plane.zarr", chunk_rows=100, X=x)
    found = {}
    for code in (1, 2):
        model = Autoencoder(hidden=(), code=code, activation="identity", standardise=False)
        run = Trainer(model, adam(0.02), 50, memory=MEMORY).fit(
            dataset, epochs=6, run_dir=tmp_path / str(code)
        )
        found[code] = run.evaluate(dataset)["loss"]
        assert run.predict(dataset, "error").mean() == pytest.approx(found[code], rel=1e-4)
    smallest = np.linalg.svd(x - x.mean(0), compute_uv=False)[1] ** 2 / (2 * len(x))
    assert found[1] > 0.99 * smallest
    assert found[2] < 0.01 * smallest


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("model", "batch_size", "parallel"),
    few(
        itertools.product([Logistic(), MLP(hidden=(8,))], [1, 64, 2000], [False, True]),
        [(Logistic(), 1, False), (MLP(hidden=(8,)), 64, True), (Logistic(), 2000, False)],
    ),
)
def test_a_bad_row_is_named_and_nothing_is_learned_from_its_batch(
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    model: Model,
    batch_size: int,
    parallel: bool,
) -> None:
    """Also where its batch began in the window before."""
    small_windows(monkeypatch, 8 * 2**10)
    monkeypatch.setattr("ooc.engines.parallel_choice.ParallelChoice.parallel", parallel)
    monkeypatch.setattr("ooc.models.network.SHARE_WORK", 1)
    x, y = rng.standard_normal((2000, 5)).astype("f4"), rng.integers(0, 2, 2000).astype("f4")

    def refused(message: str, **columns: np.ndarray) -> None:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}.zarr"
        dataset = write_dataset(folder, 40, **{"X": x, "y": y, **columns})
        trainer = Trainer(model, sgd(0.1), batch_size, memory=MEMORY)
        parameters = model.init(trainer.layout(dataset), generator(0, Purpose.PARAMETERS))
        failed, before = (start((trainer.optimizer,), parameters, model) for _ in range(2))
        engine = WindowEngine(model, trainer.loader(dataset), failed)
        with pytest.raises(DataError, match=message):
            for window in trainer.loader(dataset).windows(1):
                engine.advance(window)
        twin = WindowEngine(model, trainer.loader(dataset), before)
        for window in trainer.loader(dataset).windows(1):
            if not twin.advance(window, engine.step):
                break
        assert engine.step == twin.step
        assert np.array_equal(failed.parameters, before.parameters)

    for value in (np.nan, np.inf):
        bad = x.copy()
        bad[1234, 3] = value
        refused(f"row 1234 of X has {value} in feature 3", X=bad)
    for label, told in ((2.0, r"2\.0, but \w+ takes labels 0 and 1"), (np.nan, "nan")):
        bad = y.copy()
        bad[1234] = label
        refused(f"row 1234 of y has target {told}", y=bad)
    weight = np.ones(2000, np.float32)
    weight[1234] = -1
    refused(r"row 1234 of weight has weight -1\.0", weight=weight)


@pytest.mark.slow
def test_steps_that_are_too_long_are_told(weighted: Dataset) -> None:
    for model in (MLP(hidden=(50,), head="regression"), Linear()):
        with pytest.raises(DivergedError, match="lower the learning rate"):
            Trainer(model, sgd(1e12), 64, memory=MEMORY).fit(weighted, 3)


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
    run = Trainer(MULTICLASS, adam(0.01), 64, memory=MEMORY).fit(weighted, run_dir=tmp_path / "run")
    loaded = ooc.load(tmp_path / "run")
    assert loaded.model == run.model
    assert np.array_equal(loaded.predict(weighted), run.predict(weighted))
    wider = replace(run.model, hidden=(9,))  # type: ignore[type-var]
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

    data, saved = str(tmp_path / "a.zarr"), str(tmp_path / "run")
    memory = f"--memory={RESERVED_BYTES + 160 * MIB}"
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


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("name", "batch_size", "shares"),
    [
        ("logistic", 3, [3]),
        ("logistic", 10, [8, 2]),
        ("logistic", 250, [128, 122]),
        ("logistic", 1000, [256, 256, 256, 232]),
        ("multiclass", 100, [100]),
        ("multiclass", 260, [128, 128, 4]),
        ("multiclass", 400, [128, 128, 128, 16]),
        ("multiclass", 1000, [252, 252, 252, 244]),
    ],
)
def test_the_noise_of_a_batch_is_that_of_its_even_and_odd_shares(
    weighted: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    batch_size: int,
    shares: list[int],
) -> None:
    """The shares are written out here; a twin asks the model for the gradient of each half."""
    monkeypatch.setattr("ooc.models.network.SHARE_WORK", 1)
    model, optimizer = replace(MODELS[name], standardise=False), sgd(1e-12)  # type: ignore[type-var]
    trainer = Trainer(model, optimizer, batch_size, memory=MEMORY)
    loader, layout = trainer.loader(weighted), trainer.layout(weighted)
    first = model.init(layout, generator(0, Purpose.PARAMETERS))
    first = first + np.random.default_rng(3).normal(0, 0.3, first.size).astype(first.dtype)
    train_state = start((optimizer,), first, model)
    engine = WindowEngine(model, loader, train_state)
    steps = min(20, ROWS // batch_size)
    for window in loader.windows(1):
        engine.advance(window, steps)
        if engine.step == steps:
            break
    sums = np.zeros(6)
    share_of = np.repeat(np.arange(len(shares)), shares)
    for batch in Trainer(model, optimizer, batch_size, memory=MEMORY).loader(weighted):
        if batch.step >= steps or len(shares) == 1:
            break
        halves, counts = [], []
        for rows in (np.flatnonzero(share_of % 2 == 0), np.flatnonzero(share_of % 2)):
            arrays = {name: values[rows] for name, values in batch.arrays.items()}
            halves.append(np.zeros(layout.size))
            counts.append(len(rows))
            half = replace(batch, arrays=arrays, rows=batch.rows[rows])
            model.loss_and_grad(first, half, halves[-1])
        signal = halves[0] @ halves[1]
        noise = ((halves[0] - halves[1]) ** 2).sum() / (1 / counts[0] + 1 / counts[1])
        sums += (1, signal, signal**2, noise, noise**2, signal * noise)
    found = train_state.totals[0][
        [HALVED, SIGNAL, SIGNAL_SQUARES, NOISE, NOISE_SQUARES, SIGNAL_NOISE]
    ]
    np.testing.assert_allclose(found, sums, rtol=2e-3, atol=1e-9)
    assert sums[0] == (0 if len(shares) == 1 else steps)
