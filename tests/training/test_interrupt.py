"""Ctrl-C while a run with a directory is trained: it is saved, as the shell does, and raised."""

import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import ooc
from ooc.runs import checkpoint
from ooc.store.dataset import Dataset
from ooc.training.watchers.callbacks import Situation


def interrupt_at(*steps: int) -> ooc.Callbacks:
    """Press Ctrl-C after some steps: the signal is there before the call returns."""

    def press(now: Situation) -> None:
        if now.step in steps:
            os.kill(os.getpid(), signal.SIGINT)

    return ooc.Callbacks(step_end=press)


@pytest.fixture
def trainer() -> ooc.Trainer:
    model = ooc.models.Logistic(standardise=False)
    return ooc.Trainer(model, ooc.optim.sgd(1e-6), 100, memory="512MiB")


def test_the_run_is_saved_and_goes_on_to_the_same_bits(
    dataset: Dataset, tmp_path: Path, trainer: ooc.Trainer
) -> None:
    whole = trainer.fit(dataset, epochs=3)
    with pytest.raises(KeyboardInterrupt, match=rf"saved in {tmp_path}/run; ooc.resume goes on"):
        trainer.fit(dataset, 3, tmp_path / "run", callbacks=interrupt_at(14))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert checkpoint.steps(tmp_path / "run")[-1] == 14
    run = ooc.resume(tmp_path / "run")
    assert run.results["steps"] == 33
    assert run.results["parameters_sha256"] == whole.results["parameters_sha256"]


def test_one_that_comes_as_a_run_begins_saves_it_too(
    dataset: Dataset, tmp_path: Path, trainer: ooc.Trainer
) -> None:
    def press(line: Mapping[str, Any]) -> None:
        if line["kind"] == "settings":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="saved in"):
        trainer.fit(dataset, 3, tmp_path / "run", trackers=[press])
    assert 0 < checkpoint.steps(tmp_path / "run")[-1] < 33
    whole = trainer.fit(dataset, epochs=3)
    run = ooc.resume(tmp_path / "run")
    assert run.results["parameters_sha256"] == whole.results["parameters_sha256"]


def test_a_run_of_nowhere_ends_at_once_and_so_does_one_at_the_second_time(
    dataset: Dataset, tmp_path: Path, trainer: ooc.Trainer
) -> None:
    seen: list[int] = []

    def press(now: Situation) -> None:
        seen.append(now.step)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    callbacks = ooc.Callbacks(step_end=press)
    with pytest.raises(KeyboardInterrupt) as raised:
        trainer.fit(dataset, 3, callbacks=callbacks)
    assert not raised.value.args and seen == [1]
    with pytest.raises(KeyboardInterrupt) as raised:
        trainer.fit(dataset, 3, tmp_path / "run", callbacks=callbacks)
    assert not raised.value.args and seen == [1, 1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_a_programs_own_is_left_alone(
    dataset: Dataset, tmp_path: Path, trainer: ooc.Trainer
) -> None:
    caught: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        run = trainer.fit(dataset, 1, tmp_path / "run", callbacks=interrupt_at(2))
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught == [signal.SIGINT] and run.results["steps"] == 11


def test_other_threads_train_as_well(
    dataset: Dataset, tmp_path: Path, trainer: ooc.Trainer
) -> None:
    """Only the main thread can hear signals."""
    runs: list[ooc.runs.run.Run] = []
    work = threading.Thread(target=lambda: runs.append(trainer.fit(dataset, 1, tmp_path / "run")))
    work.start()
    work.join()
    assert runs[0].results["steps"] == 11
