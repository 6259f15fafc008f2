"""A history's lines: each tells of the step that it follows."""

import math
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset

import ooc


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
