"""Callbacks: what they are told does not depend on where a run was stopped."""

from pathlib import Path

import numpy as np
import pytest
from datasets import small_windows, write_dataset

import ooc
from ooc.optim import sgd
from ooc.training.watchers.callbacks import Callbacks, Situation


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
