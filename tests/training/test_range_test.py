"""A learning rate that nobody gave: found for features of any scale, the same every time."""

from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset
from pairs import pairs

import ooc
from ooc.core.errors import InputError
from ooc.models import MLP, Linear, Logistic
from ooc.optim import OPTIMIZERS, adam, momentum, sgd
from ooc.optim.schedules import cosine
from ooc.store.dataset import Dataset
from ooc.training.range_test import find_rate
from ooc.training.trainer import Trainer


def scaled(path: Path, factors: list[float], offset: float = 0.0) -> tuple[Dataset, float]:
    """Write rows whose labels are those of unscaled features; return the best possible loss."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((30_000, len(factors)))
    odds = x @ np.linspace(-2, 2, len(factors))
    y = (rng.random(len(x)) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    best = float(np.mean(np.logaddexp(0, odds) - y * odds))
    return write_dataset(path, 500, X=(x * factors + offset).astype(np.float32), y=y), best


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("factors", "offset"),
    [([1.0] * 8, 0.0), ([1e-3] * 8, 0.0), ([1e4] * 8, 0.0), (np.logspace(-4, 4, 8), 0.0),
     ([1.0] * 8, 300.0)],
    ids=["one", "small", "large", "mixed", "far"],
)  # fmt: skip
def test_features_of_any_scale_train_well(tmp_path: Path, factors: list, offset: float) -> None:
    dataset, best = scaled(tmp_path / "a.zarr", factors, offset)
    model, optimizer = Logistic(standardise="auto"), sgd(schedule=cosine())
    run = Trainer(model, optimizer, 64, memory="512MiB").fit(dataset, epochs=2)
    assert run.evaluate(dataset)["loss"] < 1.005 * best
    assert run.model.standardise == (set(factors) != {1.0} or offset > 0)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "batch_size"), pairs(OPTIMIZERS, [1, 256, "full"]))
def test_every_optimizer_and_batch_gets_a_rate_that_learns(
    tmp_path: Path, name: str, batch_size: int | str
) -> None:
    dataset, best = scaled(tmp_path / "a.zarr", [1.0] * 4)
    epochs = 30 if batch_size == "full" else 1
    run = Trainer(Logistic(), OPTIMIZERS[name](), batch_size, memory="512MiB").fit(dataset, epochs)
    start = np.log(2)
    assert run.evaluate(dataset)["loss"] < best + 0.2 * (start - best)
    assert run.results["learning_rate"] > 0


@pytest.mark.slow
def test_networks_get_one_too(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.standard_normal((20_000, 6)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    dataset = write_dataset(tmp_path / "a.zarr", 200, X=x, y=y)
    run = Trainer(MLP(hidden=(32,)), adam(), 64, memory="768MiB").fit(dataset, epochs=4)
    assert run.evaluate(dataset)["accuracy"] > 0.9


def test_it_is_printed_stored_and_the_same_every_time(tmp_path: Path) -> None:
    dataset, _ = scaled(tmp_path / "a.zarr", [1.0] * 4)
    trainer = Trainer(Logistic(), momentum(), 64, memory="512MiB")
    runs = [trainer.fit(dataset, run_dir=tmp_path / str(number)) for number in range(2)]
    assert runs[0].results["learning_rate"] == runs[1].results["learning_rate"]
    (line,) = [line for line in runs[0].history if line["kind"] == "range_test"]
    assert line["rate"] == runs[0].results["learning_rate"]
    assert len(line["trials"]) >= 5
    same = momentum(line["rate"], schedule=cosine())
    given = Trainer(Logistic(), same, 64, memory="512MiB").fit(dataset)
    assert given.results["parameters_sha256"] == runs[0].results["parameters_sha256"]
    assert ooc.load(tmp_path / "0").results["learning_rate"] == line["rate"]


def test_where_nothing_can_be_learned_it_goes_on(tmp_path: Path) -> None:
    x, y = np.ones((500, 2), np.float32), np.arange(500) % 2
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=y)
    assert Trainer(Logistic(), sgd(), 10, memory="512MiB").fit(dataset).results["loss"] < 0.7


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "a.zarr", X=np.ones((3, 2), np.float32), y=np.zeros(3))
    with pytest.raises(InputError, match="too few rows to find a learning rate"):
        Trainer(Linear(), sgd(), 1, memory="512MiB").fit(dataset)


def test_a_rate_is_judged_on_rows_that_it_was_not_tried_on(tmp_path: Path) -> None:
    """Each row has a feature of its own: what is learned of one says nothing of another."""
    y = np.random.default_rng(0).integers(0, 2, 400)
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=np.eye(400, dtype=np.float32), y=y)
    model = Logistic(standardise=False, intercept=False)
    loader = Trainer(model, sgd(), 16, memory="512MiB").loader(dataset)
    found = find_rate(model, sgd(), loader, np.zeros(400, np.float32))
    losses = [loss for loss in found.trials.values() if np.isfinite(loss)]
    np.testing.assert_allclose(losses, np.log(2), rtol=1e-6)


def test_what_was_tried_is_told_in_the_targets_unit(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Half of the variance that no line explains is 500,000, and no rate comes below it."""
    x = rng.standard_normal((600, 2))
    y = 1000 * (x[:, 0] + rng.standard_normal(600))
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=x, y=y)
    run = Trainer(Linear(standardise_target=True), sgd(), 16, memory="512MiB").fit(dataset, 1)
    tried = [loss for _, loss in run.history[0]["trials"] if np.isfinite(loss)]
    assert 300_000 < min(tried) < 800_000


def test_rows_that_it_looks_at_are_not_counted_as_left_out(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((600, 2))
    y = x[:, 0] + rng.standard_normal(600)
    x[::100, 1] = np.nan
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=x, y=y)
    model = Linear(standardise=False, standardise_target=False)
    trainer = Trainer(model, sgd(), 16, memory="512MiB", missing_values="drop")
    results = trainer.fit(dataset, 2).results
    assert (results["missing"], results["skipped_rows"]) == ({"X": 2 * 6}, 2 * 6)
