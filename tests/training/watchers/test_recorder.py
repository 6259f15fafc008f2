"""A history's lines: each tells of the step that it follows."""

import itertools
import json
import math
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import small_windows, write_dataset
from linear_twin import twin

import ooc
from ooc.core.progress import Progress
from ooc.store.dataset import Dataset


def test_a_line_tells_the_rate_of_its_own_step(tmp_path: Path, rng: np.random.Generator) -> None:
    """Half a cosine over all steps of all epochs, after a warm-up."""
    x = rng.standard_normal((330, 3)).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", 10, X=x, y=x[:, 0])
    schedule = ooc.schedules.cosine(warmup=4)
    trainer = ooc.Trainer(
        ooc.models.Linear(), ooc.optim.sgd(0.25, schedule=schedule), 32, log_every=1
    )
    lines = trainer.fit(dataset, 3).history
    assert [line["step"] for line in lines] == list(range(1, 34))
    falls = [(1 + math.cos(math.pi * step / 29)) / 2 for step in range(29)]
    expected = [0.25 * share for share in (0.25, 0.5, 0.75, 1.0, *falls)]
    assert [line["learning_rate"] for line in lines] == pytest.approx(expected, abs=1e-12)


def test_a_short_run_has_a_line_for_each_step_or_fifty(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((2050, 3)).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=x, y=x[:, 0])
    for batch, lines in ((410, 5), (10, 52)):
        runs = [
            ooc.Trainer(ooc.models.Linear(), ooc.optim.sgd(0.1), batch, **more).fit(dataset, 1)
            for more in ({"log_every": None}, {"log_every": 10**6})
        ]
        told = [line for line in runs[0].history if line["kind"] == "train"]
        assert len(told) == lines and told[-1]["rows"] == 2050
        # Losses of disjoint rows: their mean is that of the epoch.
        rows = np.diff([0, *(line["rows"] for line in told)])
        mean = np.average([line["loss"] for line in told], weights=rows)
        assert mean == pytest.approx(runs[0].results["loss"], rel=1e-9)
        assert np.array_equal(runs[0].parameters, runs[1].parameters)


def test_when_a_run_was_started_and_how_long_it_took_in_all(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((100, 3)).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=x, y=x[:, 0])
    begun = datetime.now(UTC).replace(microsecond=0)
    run = ooc.Trainer(ooc.models.Linear(), ooc.optim.sgd(), 10).fit(dataset, 2, tmp_path / "run")
    ended = datetime.now(UTC)
    assert begun <= datetime.fromisoformat(run.results["started"]) <= ended
    # Finding a rate is no training.
    assert run.results["seconds"] < run.results["total_seconds"]
    assert run.results["total_seconds"] <= (ended - begun).total_seconds()


def test_a_run_that_goes_on_keeps_its_start_and_adds_up_its_time(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((100, 3)).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=x, y=x[:, 0])
    stop = threading.Event()
    stop.set()
    trainer = ooc.Trainer(ooc.models.Linear(), ooc.optim.sgd(0.1), 10)
    first = trainer.fit(dataset, 2, tmp_path / "run", stop=stop).results
    assert first["epochs"] < 2
    begun = time.perf_counter()
    last = ooc.resume(tmp_path / "run").results
    passed = time.perf_counter() - begun
    assert last["started"] == first["started"] and last["epochs"] == 2
    added = last["total_seconds"] - first["total_seconds"]
    # The first one's end was saved a little after its results were told.
    assert last["seconds"] - first["seconds"] <= added <= passed + 1.0


@pytest.fixture
def linear(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """330 rows of 3 features in several windows, 310 of them on one side of a split."""
    small_windows(monkeypatch, 2**11)
    x = rng.standard_normal((330, 3)).astype(np.float32)
    dataset = write_dataset(
        tmp_path / "a.zarr", 10, X=x, y=(x[:, 0] + x[:, 1] ** 2).astype(np.float64)
    )
    return ooc.split(dataset, 20 / 330, by="row")[0]


def trainer_of(**settings: Any) -> ooc.Trainer:
    model = ooc.models.Linear(standardise=False, standardise_target=False)
    return ooc.Trainer(model, ooc.optim.sgd(0.05), 32, memory="512MiB", **settings)


def losses_of(trainer: ooc.Trainer, dataset: Dataset, epochs: int) -> list[tuple[int, float]]:
    """Return rows and summed loss of each step, by NumPy; each row's before it is learned."""
    parameters, found = np.zeros(4), []
    loader = trainer.loader(dataset)
    for _ in range(epochs):
        for batch in loader:
            x, y, ones = batch["X"].astype(float), batch["y"], np.ones(len(batch.rows))
            loss, gradient = twin("squared", x, y, ones, parameters, True, 1)
            found.append((len(y), loss))
            parameters = parameters - 0.05 * gradient
    return found


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("every", [1, 4])
def test_a_line_tells_of_the_rows_since_the_line_before(linear: Dataset, every: int) -> None:
    trainer = trainer_of(log_every=every)
    steps = losses_of(trainer, linear, 3)
    run = trainer.fit(linear, 3)
    lines = [line for line in run.history if line["kind"] == "train"]
    assert [line["step"] for line in lines[: 30 // every]] == [*range(every, 31, every)]
    before = 0
    for line in lines:
        rows, loss = np.sum(steps[before : line["step"]], axis=0)
        assert line["loss"] == pytest.approx(loss / rows, rel=1e-5)
        assert line["rows"] == sum(rows for rows, _ in steps[: line["step"]])
        assert line["bytes"] == line["rows"] * (3 * 4 + 8)
        assert (line["batch_size"], line["memory_budget_bytes"]) == (32, 512 * 2**20)
        assert line["epoch"] in {(line["step"] - 1) // 10, line["step"] // 10}
        assert 2**26 < line["memory_bytes"] < 2**34
        before = line["step"]
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds) and seconds[0] > 0
    waited = [line["wait_seconds"] for line in lines]
    assert waited == sorted(waited) and 0 <= waited[-1] <= seconds[-1]


@pytest.mark.slow
def test_results_are_those_of_the_whole_run_also_after_a_resume(
    linear: Dataset, tmp_path: Path
) -> None:
    trainer, stop = trainer_of(), threading.Event()
    rows, loss = np.sum(losses_of(trainer, linear, 3)[20:], axis=0)
    plan = trainer.loader(linear).plan

    def at_step(now: Any) -> None:
        if now.step == 24:
            stop.set()

    whole = trainer.fit(linear, 3, tmp_path / "whole")
    first = trainer.fit(
        linear, 3, tmp_path / "run", stop=stop, callbacks=ooc.Callbacks(step_end=at_step)
    )
    assert first.results["rows"] == 2 * 310 + 4 * 32
    run = trainer.resume(linear, tmp_path / "run")
    assert run.results["seconds"] > first.results["seconds"]
    assert run.results["wait_seconds"] >= first.results["wait_seconds"]
    assert run.results["seconds_to_first_batch"] == first.results["seconds_to_first_batch"]
    for each in (run, whole):
        told = each.results
        expected = {
            "rows": 930, "steps": 30, "epochs": 3, "updates_per_epoch": 10,
            "gradient_evaluations": 930, "learning_rate": 0.05, "skipped_rows": 0,
            "window_rows": plan.order.window_rows, "block_rows": 10, "skipped_chunks": 0,
            "blocks_per_window": plan.order.blocks_per_window, "read_retries": 0,
            "memory_budget_bytes": 512 * 2**20, "memory_projected_bytes": plan.projected,
        }  # fmt: skip
        assert {key: told[key] for key in expected} == expected
        assert told["loss"] == pytest.approx(loss / rows, rel=1e-5)
        assert told["rows_per_second"] == pytest.approx(930 / told["seconds"])
        assert told["bytes_per_second"] == pytest.approx(930 * 20 / told["seconds"])
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    assert saved["results"] == json.loads(json.dumps(dict(run.results)))


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("patience", [None, 5])
def test_progress_comes_to_its_end(linear: Dataset, patience: int | None) -> None:
    """Of rows that are used, not of those that are stored; it may end before where it says so."""
    held = ooc.Validation(linear, every=10, patience=patience)
    told = list[Progress]()
    trainer = trainer_of(validation=held)
    trainer.fit(linear, 2, report=told.append)
    trained = [each for each in told if each.step and each.total_rows == 620]
    steps = losses_of(trainer, linear, 2)
    last = trained[-1]
    assert (last.rows, last.step, last.bytes) == (620, 20, 620 * 20)
    assert last.memory_budget_bytes == 512 * 2**20
    assert last.at_most == (patience is not None)
    assert 0 <= last.wait_seconds <= last.seconds
    rows = [0, *(each.rows for each in trained)]
    assert len(rows) > 4
    ends = np.cumsum([[0, 0.0], *steps], axis=0)
    for each, (first, second) in zip(trained, itertools.pairwise(rows), strict=True):
        sums = [ends[np.flatnonzero(ends[:, 0] == place)[0], 1] for place in (first, second)]
        expected = (sums[1] - sums[0]) / max(second - first, 1)
        assert (each.loss or 0.0) == pytest.approx(expected, rel=1e-5)
