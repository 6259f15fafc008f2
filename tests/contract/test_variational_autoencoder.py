"""A sampled code: digits are reconstructed from it, and the run tells both terms of the loss."""

from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset

import ooc
from contract.variational_autoencoder import VariationalAutoencoder
from ooc.stream.batch import Batch

pytestmark = pytest.mark.slow  # to compile
load_digits = pytest.importorskip("sklearn.datasets").load_digits


def test_digits_are_reconstructed_from_a_code(tmp_path: Path) -> None:
    images = load_digits().images.astype(np.uint8)
    rows = write_dataset(tmp_path / "digits.zarr", chunk_rows=64, X=images)
    model = VariationalAutoencoder(scale=1 / 16)
    trainer = ooc.Trainer(model, ooc.optim.adam(0.003), 128, memory="1GiB", log_every=10)
    run = trainer.fit(rows, epochs=50)
    pixels = images.reshape(len(images), -1) / 16
    mean = pixels.mean(axis=0).clip(1e-3, 1 - 1e-3)
    without_code = -(pixels * np.log(mean) + (1 - pixels) * np.log(1 - mean)).sum(axis=1).mean()
    terms = run.results["terms"]
    assert terms["reconstruction"] < without_code - 4.5
    assert 1 < terms["kullback_leibler"] < 5
    # With what the code costs, it is still a better description than the mean image.
    assert run.evaluate(rows)["loss"] < without_code - 3
    # The weight of the second term grows: at first the code is free.
    first = next(line for line in run.history if line["kind"] == "train")
    assert first["terms"]["kullback_leibler"] < 0.5 * terms["kullback_leibler"]
    assert (run.predict(rows, "code").std(axis=0) > 0.5).sum() >= 3


def test_noise_is_a_function_of_step_seed_and_row() -> None:
    """Another step draws another code; the same step draws the same."""
    model = VariationalAutoencoder(hidden=4, code=2, warmup=1)
    layout = model.layout((5,))
    parameters = model.init(layout, np.random.default_rng(0))
    arrays = {"X": np.random.default_rng(1).random((8, 5), np.float32)}
    found, out = [], np.empty(layout.size)
    for seed in (3, 3, 4):
        batch = Batch(arrays, np.arange(8), step=0, seed=seed, roles=("X", None, None))
        found.append(model.loss_and_grad(parameters, batch, out))
    assert found[0] == found[1] != found[2]
