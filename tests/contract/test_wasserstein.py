"""Groups that take turns: 25 Gaussians, each phase with its own loss and its own optimizer."""

from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset

import ooc
from contract.cases import grid_points
from contract.twins import twin_of
from contract.wasserstein import WassersteinPair
from ooc.core.errors import InputError
from ooc.optim.schedules import cosine
from ooc.training.watchers.callbacks import Situation

pytestmark = pytest.mark.slow  # to compile


def test_points_of_most_gaussians_are_made(tmp_path: Path, rng: np.random.Generator) -> None:
    """Points all over the square would be near a mode one time in six."""
    rows = write_dataset(tmp_path / "a.zarr", chunk_rows=256, **grid_points(25_600, rng))
    model = WassersteinPair()
    trainer = ooc.Trainer(model, ooc.optim.adam(0.002, beta1=0.0, beta2=0.9), 256, memory="1GiB")
    run = trainer.fit(rows, epochs=40)
    made = model.sample(run.parameters, 5000, seed=1)
    nearest = np.clip(np.rint(made), -2, 2)
    near = np.abs(made - nearest).max(axis=1) < 0.2
    modes = ((nearest[near] + 2) @ [5, 1]).astype(int)
    assert near.mean() > 0.35
    assert (np.bincount(modes, minlength=25) >= 25).sum() >= 20


def test_each_phase_moves_its_own_group_by_its_own_optimizer(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    rows = write_dataset(tmp_path / "a.zarr", **grid_points(640, rng))
    model, seen = WassersteinPair(hidden=6, critic_steps=3), {}
    layout = model.layout((2,))

    def note(now: Situation) -> None:
        seen[now.step] = layout.views(now.parameters.copy())

    trainer = ooc.Trainer(model, ooc.optim.sgd(0.5), 64, memory="1GiB")
    run = trainer.fit(rows, 1, callbacks=ooc.Callbacks(note))
    general = ooc.Trainer(twin_of(model), ooc.optim.sgd(0.5), 64, memory="1GiB").fit(rows, 1)
    np.testing.assert_allclose(general.parameters, run.parameters, atol=1e-5)
    for step in range(2, 11):
        moved = {
            name.partition("_")[0]
            for name, part in seen[step].items()
            if not np.array_equal(part, seen[step - 1][name])
        }
        assert moved == {"generator" if step % 4 == 0 else "critic"}
    # The first step of Adam has the length of its rate, wherever the gradient is not near 0.
    moved = np.abs(seen[2]["critic_in"] - seen[1]["critic_in"])
    assert 0 < moved.max() < 0.0041


def test_rate_and_schedule_are_those_of_the_phase(tmp_path: Path, rng: np.random.Generator) -> None:
    """A cosine spans the generator's own steps."""
    rows = write_dataset(tmp_path / "a.zarr", **grid_points(640, rng))
    model = WassersteinPair(hidden=6, critic_steps=1)
    optimizer = ooc.optim.adam(0.01, schedule=cosine())
    trainer = ooc.Trainer(model, optimizer, 64, memory="1GiB", log_every=1)
    run = trainer.fit(rows, 2)
    rates = [line["learning_rate"] for line in run.history if line["kind"] == "train"]
    assert rates[::2] == [0.002] * 10
    steps = np.arange(10)
    expected = 0.01 * (1 + np.cos(np.pi * steps / 10)) / 2
    assert np.allclose(rates[1::2], expected)


def test_a_rate_is_asked_for(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = write_dataset(tmp_path / "a.zarr", **grid_points(640, rng))
    trainer = ooc.Trainer(WassersteinPair(), ooc.optim.adam(), 64, memory="1GiB")
    with pytest.raises(InputError, match=r"parts of wasserstein take turns.* give one with lr="):
        trainer.fit(rows)
