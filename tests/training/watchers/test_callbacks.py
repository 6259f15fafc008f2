"""Callbacks: what they are told does not depend on where a run was stopped."""

from pathlib import Path

import numpy as np
import pytest
from datasets import small_windows, write_dataset

import ooc
from ooc.optim import sgd
from ooc.training.watchers.callbacks import Callbacks, Situation


@pytest.mark.slow
def test_a_resumed_run_tells_the_same_losses(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(monkeypatch, 16 * 2**10)
    x = rng.standard_normal((2000, 5)).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=x, y=(x[:, 0] > 0).astype(np.int64))
    trainer = ooc.Trainer(ooc.models.Logistic(), sgd(0.1), 64)
    saving = ooc.Saving(every_steps=21)
    trainer = ooc.Trainer(ooc.models.Logistic(), sgd(0.1), 64, saving=saving)
    whole: list[tuple[int, float]] = []
    parts: list[tuple[int, float]] = []

    def note(now: Situation) -> None:
        whole.append((now.step, now.loss))

    def fail(now: Situation) -> None:
        parts.append((now.step, now.loss))
        if now.step == 28:
            raise RuntimeError("after step 28")

    def fail_again(now: Situation) -> None:
        parts.append((now.step, now.loss))
        if now.step == 49:
            raise RuntimeError("after step 49")

    def note_again(now: Situation) -> None:
        parts.append((now.step, now.loss))

    trainer.fit(dataset, 2, callbacks=Callbacks(note, note, every=7))
    with pytest.raises(RuntimeError, match="after step 28"):
        trainer.fit(dataset, 2, tmp_path / "run", callbacks=Callbacks(fail, fail, every=7))
    assert parts.pop()[0] == 28, "the run was saved at step 21"
    with pytest.raises(RuntimeError, match="after step 49"):
        trainer.resume(
            dataset, tmp_path / "run", callbacks=Callbacks(fail_again, fail_again, every=7)
        )
    assert parts.pop()[0] == 49, "the run was saved at step 42"
    trainer.resume(dataset, tmp_path / "run", callbacks=Callbacks(note_again, note_again, every=7))
    assert parts == whole


def test_a_callback_is_told_step_epoch_rate_and_loss_of_the_step_just_taken(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """330 rows of targets in the hundreds; a rate that falls; losses are of targets as they are."""
    x = rng.standard_normal((330, 3)).astype(np.float32)
    y = 100 * (x[:, 0] + rng.standard_normal(330)) + 700
    dataset = write_dataset(tmp_path / "a.zarr", 10, X=x, y=y)
    told: dict[str, list[Situation]] = {"step": [], "epoch": []}
    callbacks = Callbacks(told["step"].append, told["epoch"].append, every=2)  # type: ignore[arg-type]
    optimizer = sgd(0.25, schedule=ooc.schedules.cosine(22))
    model = ooc.models.Linear(standardise=False, standardise_target=True)
    trainer = ooc.Trainer(model, optimizer, 32, memory="512MiB", log_every=1)
    run = trainer.fit(dataset, 2, callbacks=callbacks)
    assert [now.step for now in told["step"]] == list(range(2, 23, 2))
    assert [now.epoch for now in told["step"]] == [0] * 5 + [1] * 6
    assert [(now.step, now.epoch) for now in told["epoch"]] == [(11, 0), (22, 1)]
    rates = 0.125 * (1 + np.cos(np.pi * np.arange(22) / 22))
    for each in told.values():
        expected = [rates[now.step - 1] for now in each]
        assert [now.learning_rate for now in each] == pytest.approx(expected, rel=1e-9)
    lines = [line for line in run.history if line["kind"] == "train"]
    losses = np.array([line["loss"] for line in lines])
    rows = np.diff([0, *(line["rows"] for line in lines)])
    sizes = {"step": 2, "epoch": 11}
    for kind, size in sizes.items():
        for now in told[kind]:
            since = slice(now.step - size, now.step)
            expected_loss = np.average(losses[since], weights=rows[since])
            assert now.loss == pytest.approx(expected_loss, rel=1e-6)
    assert told["epoch"][1].loss == pytest.approx(run.results["loss"], rel=1e-6)
    assert told["epoch"][0].loss > 1000
    assert all(now.validation is None for now in told["step"])
