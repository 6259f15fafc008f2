"""A history's lines: each tells of the step that it follows."""

import math
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
