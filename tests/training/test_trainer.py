"""Training: the same bits whatever serves it, saved, stopped and bad runs."""

import json
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import zarr
from datasets import small_windows, write_dataset
from sklearn.linear_model import LogisticRegression

import ooc
from ooc.core.errors import DataError, DivergedError, InputError
from ooc.engines.engine import engine_bytes
from ooc.models import Linear, Logistic
from ooc.optim import lbfgs, sgd
from ooc.store.dataset import Dataset
from ooc.stream.plan import MIB, RESERVED_BYTES
from ooc.training.trainer import Trainer
from ooc.training.watchers.halving import Halving
from ooc.training.watchers.steering import Steering

MEMORY = RESERVED_BYTES + 112 * MIB


@pytest.fixture(autouse=True)
def several_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep windows so small that a small dataset needs several."""
    small_windows(monkeypatch, 16 * 2**10)


@pytest.fixture
def labelled(tmp_path: Path, rng: np.random.Generator) -> Dataset:
    x = rng.standard_normal((3000, 5)).astype(np.float32)
    y = (x[:, 0] + 0.5 * rng.standard_normal(3000) > 0).astype(np.int64)
    return write_dataset(tmp_path / "labelled.zarr", chunk_rows=50, X=x, y=y)


def fitted(dataset: Dataset, **options: object) -> ooc.Trainer:
    settings = {"batch_size": 64, "memory": MEMORY, **options}
    return Trainer(Logistic(), sgd(0.1), **settings)  # type: ignore[arg-type]


@pytest.mark.slow
def test_readers_do_not_change_the_bits(labelled: Dataset) -> None:
    hashes = {
        fitted(labelled, readers=readers).fit(labelled, 2).results["parameters_sha256"]
        for readers in (1, 2, 4)
    }
    assert len(hashes) == 1


def test_seeds_change_the_bits(labelled: Dataset) -> None:
    runs = [fitted(labelled, seed=seed).fit(labelled).results for seed in (0, 1)]
    assert runs[0]["parameters_sha256"] != runs[1]["parameters_sha256"]


@pytest.mark.slow
def test_it_finds_what_scikit_learn_finds(labelled: Dataset) -> None:
    group = zarr.open_group(labelled.path, mode="r")
    x, y = group["X"][...], group["y"][...]
    reference = LogisticRegression(C=np.inf, tol=1e-8).fit(x, y)
    run = Trainer(Logistic(), sgd(4.0), 3000, memory=MEMORY).fit(labelled, epochs=100)
    coefficients = run.layout.views(run.parameters)["coefficients"]
    np.testing.assert_allclose(coefficients, reference.coef_, atol=2e-3)
    assert run.evaluate(labelled)["accuracy"] == pytest.approx(reference.score(x, y), abs=1e-3)


@dataclass(frozen=True)
class Mean:
    """Learns the mean of each feature."""

    name: ClassVar[str] = "mean"
    needs_target: ClassVar[bool] = False

    def layout(self, row_shape):
        return ooc.models.Layout({"mean": row_shape})

    def init(self, layout, generator):
        return np.zeros(layout.size, np.float32)

    def scratch_bytes(self, layout, rows):
        return 4 * layout.size * rows

    def loss_and_grad(self, parameters, batch, out_grad):
        difference = parameters - batch.features
        out_grad[:] = difference.mean(axis=0)
        return 0.5 * float((difference**2).sum(axis=1).mean())

    def measure(self, parameters, batch):
        raise AssertionError

    def predict(self, parameters, features):
        return {"prediction": features - parameters}

    def to_config(self):
        return {"name": self.name}


SEEDS: list[int] = []


class Noting(Mean):
    """Notes the seeds that it is given, in their order."""

    def loss_and_grad(self, parameters, batch, out_grad):
        SEEDS.append(batch.seed)
        return super().loss_and_grad(parameters, batch, out_grad)


@pytest.mark.slow
def test_a_model_of_ones_own_is_one_class(
    labelled: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Trainer(Mean(), sgd(1.0), 3000, memory=MEMORY).fit(labelled)
    x = zarr.open_array(Path(labelled.path) / "X", mode="r")[...]
    np.testing.assert_allclose(run.parameters, x.mean(axis=0), atol=1e-5)
    plans = [
        Trainer(Mean(), sgd(1.0), rows, memory=MEMORY).loader(labelled).plan for rows in (1, 9)
    ]
    assert plans[1].projected - plans[0].projected >= 8 * 4 * 5
    monkeypatch.delattr(Mean, "scratch_bytes")
    with pytest.raises(InputError, match="mean does not declare what it holds beside"):
        Trainer(Mean(), sgd(1.0), 3000, memory=MEMORY).fit(labelled)


def test_a_model_of_ones_own_is_steered_in_all_descents(labelled: Dataset) -> None:
    steering = Steering(batch=[(0, 64), (5, 200)])
    trainer = Trainer(Mean(), sgd(), 64, memory=MEMORY, steering=steering)
    runs = trainer.fit_many(labelled, [sgd(0.1), sgd(0.01)])
    for name, rate in (("0", 0.1), ("1", 0.01)):
        alone = replace(trainer, optimizer=sgd(rate)).fit(labelled)
        for key in ("steps", "rows", "loss", "parameters_sha256"):
            assert runs[name].results[key] == alone.results[key]


def test_a_model_of_ones_own_is_dropped_where_it_stands(labelled: Dataset) -> None:
    trainer = Trainer(Mean(), sgd(), 64, memory=MEMORY)
    runs = trainer.fit_many(labelled, [sgd(0.5), sgd(1e-6)], 1, halving=Halving())
    # Means are near 0, where all begin: what steps far is worse.
    assert runs["0"].results["dropped"] == "among the worst after step 23"
    until = ooc.Callbacks(lambda now: now.step == 23)
    alone = replace(trainer, optimizer=sgd(0.5)).fit(labelled, 1, callbacks=until)
    np.testing.assert_array_equal(runs["0"].parameters, alone.parameters)


def test_what_several_models_of_ones_own_hold_is_planned(labelled: Dataset) -> None:
    """Gradients are float64, and each descent has its own, beside parameters and scratch."""
    held = [engine_bytes(Mean(), labelled, [sgd(0.1)] * count, 64, full=False) for count in (1, 3)]
    assert held[1] - held[0] >= 2 * (4 * 5 + 8 * 5 + 4 * 5 * 64)


def test_predictions_ask_for_no_weights(tmp_path: Path, rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((200, 3)), np.ones(200)
    weight[[3, 70]] = -1
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=x[:, 0], weight=weight)
    attributes = zarr.open_group(dataset.path, mode="r+")["weight"].attrs
    attributes["missing_value"] = -1.0
    dataset = ooc.open(dataset.path)
    trainer = Trainer(Linear(), sgd(0.1), 10, memory=MEMORY, missing_values="drop")
    run = trainer.fit(dataset, 1)
    assert run.results["missing"] == {"weight": 2}
    assert np.isfinite(run.predict(dataset, memory=MEMORY)).all()


def test_an_evaluation_names_the_row_of_the_dataset(
    labelled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.runs.scoring.SCORED_BYTES", 2**12)
    y = np.zeros(900, np.int64)
    y[777] = 2
    bad = write_dataset(tmp_path / "bad.zarr", X=np.ones((900, 5), np.float32), y=y)
    with pytest.raises(DataError, match=r"row 777 of y has target 2"):
        fitted(labelled).fit(labelled).evaluate(bad, MEMORY)


def test_parts_of_full_steps_have_seeds_of_their_own_also_after_a_resume(
    labelled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.engines.batch_engine.MOST_PART_ROWS", 700)
    trainer, stop = Trainer(Noting(), sgd(0.1), "full", memory=MEMORY), threading.Event()
    SEEDS.clear()
    trainer.fit(labelled, 3)
    whole = SEEDS.copy()
    assert len(set(whole)) == len(whole) == 3 * 5
    SEEDS.clear()
    callbacks = ooc.Callbacks(lambda now: stop.set())
    trainer.fit(labelled, 3, tmp_path / "run", stop=stop, callbacks=callbacks)
    trainer.resume(labelled, tmp_path / "run")
    assert whole == SEEDS


def test_passes_of_one_minimisation_have_the_same_seeds(labelled: Dataset) -> None:
    """A model that samples is then one function, which a line search can go down."""
    SEEDS.clear()
    run = Trainer(Noting(), lbfgs(), memory=MEMORY).fit(labelled)
    passes = run.results["steps"]
    assert passes > 1 and len(SEEDS) % passes == 0
    one = SEEDS[: len(SEEDS) // passes]
    assert len(set(one)) == len(one) > 2
    assert one * passes == SEEDS


@pytest.mark.slow
def test_weights_travel_and_count(tmp_path: Path, rng: np.random.Generator) -> None:
    x = np.ones((200, 1), np.float32)
    y = rng.integers(0, 2, 200)
    weight = np.where(y == 1, 3.0, 1.0).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=y, weight=weight)
    assert dataset.weight == "weight"
    run = Trainer(Logistic(intercept=False), sgd(1.0), 200, memory=MEMORY).fit(dataset, 200)
    expected = np.log((weight * y).sum() / (weight * (1 - y)).sum())
    assert run.parameters[0] == pytest.approx(expected, rel=1e-3)


def test_a_saved_run_is_the_run(labelled: Dataset, tmp_path: Path) -> None:
    run = fitted(labelled).fit(labelled, 2, run_dir=tmp_path / "run")
    loaded = ooc.load(tmp_path / "run")
    assert np.array_equal(loaded.parameters, run.parameters)
    assert loaded.model == run.model
    assert loaded.evaluate(labelled)["loss"] == run.evaluate(labelled)["loss"]
    assert [line["step"] for line in loaded.history if line["kind"] == "train"][-1] == 94


def test_a_stop_saves_a_position_and_parameters(labelled: Dataset, tmp_path: Path) -> None:
    stop = threading.Event()
    run = fitted(labelled).fit(labelled, 5, tmp_path / "run", lambda _: stop.set(), stop)
    description = json.loads((tmp_path / "run" / "run.json").read_text())
    assert 0 < run.results["steps"] < 47
    assert description["position"]["row"] == 64 * run.results["steps"]
    assert np.array_equal(ooc.load(tmp_path / "run").parameters, run.parameters)


def test_predictions_are_in_the_order_of_the_rows(labelled: Dataset, tmp_path: Path) -> None:
    run = fitted(labelled).fit(labelled, 3)
    x = zarr.open_array(Path(labelled.path) / "X", mode="r")[...]
    expected = run.model.predict(run.parameters, x)
    assert np.array_equal(run.predict(labelled), expected["prediction"])
    run.predict_to(labelled, tmp_path / "predictions.zarr")
    written = zarr.open_group(tmp_path / "predictions.zarr", mode="r")
    for name, values in expected.items():
        assert np.array_equal(written[name][...], values)


def test_loss_is_that_before_a_row_is_learned_from(labelled: Dataset) -> None:
    run = Trainer(Logistic(), sgd(0.1), 3000, memory=MEMORY).fit(labelled, epochs=1)
    assert run.results["loss"] == pytest.approx(np.log(2), rel=1e-6)


def test_results_have_the_keys_of_the_contract(labelled: Dataset) -> None:
    keys = (
        "rows steps epochs seconds rows_per_second bytes_per_second loss memory_budget_bytes "
        "memory_projected_bytes memory_peak_bytes wait_seconds window_rows block_rows "
        "blocks_per_window parameters_sha256"
    )
    results = fitted(labelled).fit(labelled, 2).results
    assert set(keys.split()) <= set(results)
    assert (results["rows"], results["steps"], results["epochs"]) == (6000, 94, 2)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("X", np.nan, "row 1234 of X has nan in feature 3"),
        ("X", np.inf, "row 1234 of X has inf in feature 3"),
        ("y", 2, "row 1234 of y has target 2.0, but logistic takes labels 0 and 1"),
        ("y", np.nan, "row 1234 of y has target nan"),
    ],
)
def test_a_bad_row_is_named(
    tmp_path: Path, rng: np.random.Generator, column: str, value: float, message: str
) -> None:
    x, y = rng.standard_normal((2000, 5)).astype("f4"), rng.integers(0, 2, 2000).astype("f4")
    if column == "X":
        x[1234, 3] = value
    else:
        y[1234] = value
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=y)
    for batch_size in (1, 64, 2000):
        with pytest.raises(DataError, match=message):
            Trainer(Logistic(), sgd(0.1), batch_size, memory=MEMORY).fit(dataset)


def test_steps_that_are_too_long_are_told_from_bad_data(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((2000, 5)).astype("f4")
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=x.sum(axis=1))
    with pytest.raises(DivergedError, match="lower the learning rate"):
        Trainer(Linear(), sgd(50.0), 16, memory=MEMORY).fit(dataset)


def test_what_cannot_be_is_refused_before_work(labelled: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="epochs must be at least 1"):
        fitted(labelled).fit(labelled, 0)
    bare = write_dataset(tmp_path / "bare.zarr", X=np.ones((100, 2), np.float32))
    with pytest.raises(InputError, match="has no targets, and the model needs them"):
        fitted(bare).fit(bare, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = fitted(labelled).fit(labelled)
    with pytest.raises(InputError, match=r"trained on rows of shape \(5,\)"):
        run.predict(bare)
    with pytest.raises(InputError, match="no output 'odds'; it has: prediction, probability"):
        run.predict(labelled, "odds")
