"""Histories and results of several runs at once, long ones, and those that go on."""

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import small_windows
from labelled import trainer, write_labelled

import ooc
from ooc.core.progress import Progress
from ooc.optim import Optimizer, adam, averaged, hybrid, lbfgs, momentum, sgd
from ooc.optim.schedules import cosine
from ooc.runs import checkpoint
from ooc.runs.run_directory import read_history
from ooc.stream.loader import Loader
from ooc.training.watchers import recorder

TIMES = {
    "seconds", "wait_seconds", "memory_bytes", "total_seconds", "rows_per_second", "started",
    "bytes_per_second", "memory_peak_bytes", "seconds_to_first_batch", "save_seconds",
    "memory_projected_bytes", "memory_used_bytes",
}  # fmt: skip


def untimed(entries: Any) -> dict[str, Any]:
    return {key: value for key, value in entries.items() if key not in TIMES}


@pytest.mark.slow
def test_each_of_a_sweep_tells_what_it_tells_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates, losses, noise and what was evaluated, in every line and in the results."""
    small_windows(monkeypatch, 16 * 2**10)
    dataset = write_labelled(tmp_path / "a.zarr")
    one = trainer(log_every=12, validation=ooc.Validation(0.2, every=9, by="row"))
    optimizers: dict[str, Optimizer] = {
        "a": sgd(0.1, schedule=cosine(20)), "b": momentum(0.05), "c": adam(0.02),
        "d": averaged(0.4),
    }  # fmt: skip
    runs = one.fit_many(dataset, optimizers, 2)
    for name, optimizer in optimizers.items():
        alone = replace(one, optimizer=optimizer).fit(dataset, 2)
        assert [untimed(line) for line in runs[name].history] == [
            untimed(line) for line in alone.history
        ]
        assert untimed(runs[name].results) == untimed(alone.results)
        assert any("noise_scale_low" in line for line in alone.history)
    assert [run.results["learning_rate"] for run in runs.values()] == [0.1, 0.05, 0.02, 0.4]


@pytest.mark.parametrize(("count", "steps"), [(1, 2), (2, 3), (32, 7)])
def test_many_runs_at_once_have_fewer_lines_each(tmp_path: Path, count: int, steps: int) -> None:
    """Of 147 steps: fifty lines of one, one fewer of each of two, twenty of many at least.

    An epoch's end has one in any case.
    """
    dataset = write_labelled(tmp_path / "a.zarr")
    one = ooc.Trainer(ooc.models.Logistic(), sgd(), 31, memory="768MiB")
    runs = one.fit_many(dataset, [sgd(0.01 * (each + 1)) for each in range(count)], 3)
    for run in runs.values():
        lines = [line["step"] for line in run.history if line["kind"] == "train"]
        assert sorted({*range(steps, 148, steps), 49, 98, 147}) == lines


def test_of_a_long_history_every_second_line_goes_but_the_first_and_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "MOST_LINES", 8)
    dataset = write_labelled(tmp_path / "a.zarr")
    told: list[Any] = []
    until = ooc.Callbacks(lambda now: now.step == 20)
    run = trainer(log_every=1).fit(dataset, 1, callbacks=until, trackers=[told.append])
    # At nine lines four go: after 9, 13 and 17 steps.
    assert [line["step"] for line in run.history] == [1, 9, 13, 15, 17, 18, 19, 20]
    steps = [line["step"] for line in told if line["kind"] == "train"]
    assert steps == list(range(1, 21))


@pytest.mark.parametrize(("keep", "left"), [(1, [24]), (2, [20, 24]), (9, [0, 5, 10, 15, 20, 24])])
def test_so_many_checkpoints_are_kept(tmp_path: Path, keep: int, left: list[int]) -> None:
    dataset = write_labelled(tmp_path / "a.zarr")
    trainer(saving=ooc.Saving(every_steps=5, keep=keep)).fit(dataset, 1, tmp_path / "run")
    assert checkpoint.steps(tmp_path / "run") == left
    saved = [
        line["step"] for line in read_history(tmp_path / "run") if line["kind"] == "checkpoint"
    ]
    assert saved == [0, 5, 10, 15, 20, 24, 24]


def test_a_run_that_an_earlier_version_saved_goes_on_with_what_it_noted(tmp_path: Path) -> None:
    """Neither when it was begun nor how long it took in all."""
    dataset, stop = write_labelled(tmp_path / "a.zarr"), threading.Event()
    until = ooc.Callbacks(lambda now: stop.set() if now.step == 9 else None)
    whole = trainer().fit(dataset, 1)
    trainer().fit(dataset, 1, tmp_path / "run", stop=stop, callbacks=until)
    arrays, saved = checkpoint.load(tmp_path / "run")
    noted = saved["watchers"]["recorder"]
    noted["seconds"] = 1000.0
    del noted["started"], noted["total_seconds"]
    checkpoint.save(tmp_path / "run", 9, arrays, saved, keep=1)
    results = ooc.resume(tmp_path / "run").results
    assert results["parameters_sha256"] == whole.results["parameters_sha256"]
    assert 1000 < results["seconds"] < 1100 and 1000 < results["total_seconds"] < 1100


def test_a_range_test_is_told_with_each_rate_and_the_loss_after_it(tmp_path: Path) -> None:
    dataset = write_labelled(tmp_path / "a.zarr")
    run = replace(trainer(), optimizer=sgd()).fit(dataset, 1, tmp_path / "run")
    (line,) = [each for each in run.history if each["kind"] == "range_test"]
    rates = [rate for rate, _ in line["trials"]]
    assert line["rate"] in rates and rates == sorted(rates) and line["step"] == 0
    near = dict(map(tuple, line["trials"]))[line["rate"]]
    assert 0 < near < np.log(2)
    whole = json.loads((tmp_path / "run" / "history.jsonl").read_text().splitlines()[0])
    assert whole["trials"] == line["trials"]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("optimizer", "patience", "at_most"),
    [
        (sgd(0.1), None, False),
        (sgd(0.1), 3, True),
        (lbfgs(), None, True),
        (hybrid(0.1), None, True),
    ],
)
def test_progress_says_whether_a_run_may_end_by_itself(
    tmp_path: Path, optimizer: Any, patience: int | None, at_most: bool
) -> None:
    dataset, told = write_labelled(tmp_path / "a.zarr"), list[Progress]()
    held = ooc.Validation(0.2, patience=patience, by="row")
    made = replace(trainer(validation=held), optimizer=optimizer)
    made.fit(dataset, 2, report=told.append)
    trained = [each for each in told if each.step]
    assert trained and all(each.at_most is at_most for each in trained)
    texts = [each.text for each in told if each.text]
    assert texts.count("evaluating on the rows held out") == 2
    for text in ("checking what fits the memory", "reading a sample", "reading the first rows"):
        assert text in texts


def test_a_run_that_waits_adds_up_what_its_windows_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(monkeypatch, 16 * 2**10)
    dataset = write_labelled(tmp_path / "a.zarr")
    made = trainer()
    windows, waited = Loader.windows, list[float]()

    def slow(loader: Loader, epochs: int) -> Any:
        for number, window in enumerate(windows(loader, epochs)):
            waited.append(0.25 + number)
            yield replace(window, wait_seconds=waited[-1])

    monkeypatch.setattr(Loader, "windows", slow)
    ages = iter(range(5, 10**6))
    monkeypatch.setattr(recorder, "age_seconds", lambda: float(next(ages)))
    run = made.fit(dataset, 1)
    count = made.loader(dataset).plan.order.windows
    assert run.results["wait_seconds"] == sum(waited[-count:]) > 1
    assert run.results["seconds_to_first_batch"] == 5.0
