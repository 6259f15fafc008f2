"""Every model of the table with every method: an entry is tested by being there."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import small_windows, write_dataset
from pairs import pairs

from ooc.core.errors import DataError
from ooc.models import MODELS, Model
from ooc.optim import FULL_GRADIENT, adam, averaged, momentum, sgd
from ooc.store.dataset import Dataset
from ooc.stream.plan import MIB, RESERVED_BYTES
from ooc.training.trainer import Trainer
from ooc.training.watchers.callbacks import Callbacks
from ooc.training.watchers.saver import Saving

MEMORY = RESERVED_BYTES + 256 * MIB
SAME = ("parameters_sha256", "loss", "steps", "rows", "epochs")
# Settings that keep a model small, or that ask more of it than its defaults do.
SETTINGS: dict[str, dict[str, Any]] = {
    "softmax": {"classes": 3},
    "mlp": {"hidden": (6,), "dropout": 0.2, "weight_decay": 1e-3, "activation": "tanh"},
    "autoencoder": {"hidden": (4,), "code": 2, "activation": "tanh"},
    "embedding_mlp": {
        "vocabulary": 50, "length": 5, "width": 3, "figure_hidden": (4,), "hidden": (5,),
        "activation": "tanh", "dropout": 0.2,
    },
}  # fmt: skip
# What a gradient over all rows is not for is left out: the part of which a batch touches some rows.
WHOLE: dict[str, dict[str, Any]] = {"embedding_mlp": {"branches": "figures"}}
STEPS = {"mini-batches": (adam(0.02, l2=1e-3), 64), "full": (adam(0.02), "full")}
METHODS = {
    **STEPS,
    **{name: (make(l2=1e-3), 64) for name, make in FULL_GRADIENT.items() if name != "hybrid"},
    "hybrid": (FULL_GRADIENT["hybrid"](0.02, l2=1e-3), 64),
}


@pytest.fixture
def labelled(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Rows in several windows whose labels fit every model, features off the origin."""
    small_windows(monkeypatch, 8 * 2**10)
    x = (rng.standard_normal((640, 4)) * [1, 2, 3, 0.5] + [0, 1, -1, 5]).astype(np.float32)
    y = (x[:, 0] + 0.5 * rng.standard_normal(640) > 0).astype(np.int64)
    tokens = tokens_of(640)
    return write_dataset(tmp_path / "labelled.zarr", chunk_rows=40, X=x, y=y, tokens=tokens)


def tokens_of(rows: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 50, (rows, 5)).astype(np.uint16)


def make(name: str, method: str = "mini-batches") -> Model:
    whole = WHOLE.get(name, {}) if method != "mini-batches" else {}
    model: Model = MODELS[name](**{**SETTINGS.get(name, {}), **whole})
    return model


def trainer_of(name: str, method: str, **options: Any) -> Trainer:
    optimizer, batch_size = METHODS[method]
    model = make(name, method)
    return Trainer(model, optimizer, batch_size, memory=MEMORY, **options)  # type: ignore[arg-type]


def stopped(trainer: Trainer, dataset: Dataset, epochs: int, step: int, folder: Path) -> int:
    """Train up to a step, as a signal would stop it, and return the steps that were taken."""
    stop = threading.Event()

    def at_step(now: Any) -> None:
        if now.step >= step:
            stop.set()

    run = trainer.fit(dataset, epochs, folder, stop=stop, callbacks=Callbacks(step_end=at_step))
    return int(run.results["steps"])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), pairs(MODELS, METHODS))
def test_it_learns_with_the_same_bits_for_any_readers(
    labelled: Dataset, name: str, method: str
) -> None:
    """The loss falls below that of the first parameters, and readers change nothing."""
    epochs = 12 if method == "full" else 6
    one, other = (
        trainer_of(name, method, readers=readers).fit(labelled, epochs) for readers in (1, 3)
    )
    assert all(one.results[key] == other.results[key] for key in SAME)
    first = Trainer(make(name, method), sgd(1e-30), 64, memory=MEMORY).fit(labelled)
    assert one.evaluate(labelled)["loss"] < 0.98 * first.evaluate(labelled)["loss"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "method"), pairs(MODELS, [name for name in METHODS if name != "mini-batches"])
)
def test_stopped_after_a_step_it_goes_on_to_the_same_bits(
    labelled: Dataset, tmp_path: Path, name: str, method: str
) -> None:
    """Where passes begin and end, and where the hybrid goes over."""
    epochs = 5
    trainer = trainer_of(name, method, saving=Saving(every_steps=1))
    whole = trainer.fit(labelled, epochs).results
    for step in (1, whole["steps"] // 2, whole["steps"] - 1):
        folder = tmp_path / str(step)
        stopped(trainer, labelled, epochs, step, folder)
        resumed = replace(trainer, readers=step % 3 + 1).resume(labelled, folder).results
        assert {key: resumed[key] for key in SAME} == {key: whole[key] for key in SAME}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    "steps", [(1, 5, 7), pytest.param(range(1, 11), marks=pytest.mark.slow)], ids=["some", "every"]
)
@pytest.mark.parametrize("name", MODELS)
def test_saved_and_resumed_after_a_step(
    labelled: Dataset, tmp_path: Path, name: str, steps: Sequence[int]
) -> None:
    """Batches cross windows, and the last one of an epoch, the fifth, is shorter."""
    trainer = replace(trainer_of(name, "mini-batches"), batch_size=150)
    assert trainer.loader(labelled).plan.order.windows > 1
    whole = trainer.fit(labelled, 2).results
    assert whole["steps"] == 10
    for step in steps:
        folder = tmp_path / str(step)
        assert stopped(trainer, labelled, 2, step, folder) == step
        resumed = replace(trainer, readers=step % 3 + 1).resume(labelled, folder).results
        assert {key: resumed[key] for key in SAME} == {key: whole[key] for key in SAME}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_several_at_once_have_the_bits_of_single_runs(labelled: Dataset, name: str) -> None:
    """Optimizers of different memories, of which one diverges and is left behind."""
    several = sgd(0.02, l1=1e-3), adam(0.02), averaged(0.05), momentum(0.01)
    optimizers = dict(zip("abcd", several, strict=True))
    trainer = trainer_of(name, "mini-batches")
    runs = trainer.fit_many(labelled, {**optimizers, "far": sgd(1e30)}, 2)
    for key, optimizer in optimizers.items():
        alone = replace(trainer, optimizer=optimizer).fit(labelled, 2).results
        assert {one: runs[key].results[one] for one in SAME} == {one: alone[one] for one in SAME}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(("name", "method"), pairs(MODELS, METHODS))
def test_a_bad_row_is_named(
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    method: str,
) -> None:
    """Whatever reads it first: the sample, the moments, a mini-batch or the sum over all rows."""
    small_windows(monkeypatch, 8 * 2**10)
    x, y = rng.standard_normal((640, 4)).astype("f4"), rng.integers(0, 2, 640).astype("f4")
    y[333] = np.nan
    if make(name).needs_target:
        columns = {"X": x, "y": y, "tokens": tokens_of(640)}
        dataset = write_dataset(tmp_path / "y.zarr", chunk_rows=40, **columns)
        with pytest.raises(DataError, match="row 333 of y has target nan"):
            trainer_of(name, method).fit(dataset, 3)
    x[333, 2] = np.inf
    columns = {"X": x, "y": np.nan_to_num(y), "tokens": tokens_of(640)}
    dataset = write_dataset(tmp_path / "x.zarr", chunk_rows=40, **columns)
    models: list[Callable[[], Trainer]] = [
        lambda: trainer_of(name, method),
        lambda: replace(
            trainer_of(name, method),
            model=replace(make(name, method), standardise=True),  # type: ignore[type-var]
        ),
    ]
    for trainer in models:
        with pytest.raises(DataError, match=r"row 333 (of X )?has inf in feature 2"):
            trainer().fit(dataset, 3)
