"""Features x features: each pair is run once, and checked by a twin in NumPy.

Of this package the twin takes which rows the batches have, and no more: values, labels, weights,
moments, penalties and steps are its own. Each run is stopped in its second epoch and resumed, too.
"""

import itertools
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from datasets import write_dataset
from linear_twin import twin
from sklearn.utils.class_weight import compute_class_weight

import ooc
from ooc.core.errors import InputError
from ooc.runs.run_directory import read_history
from ooc.store.dataset import Dataset
from ooc.stream.options import StreamOptions
from ooc.stream.plan import MIB, RESERVED_BYTES
from ooc.synthetic.kinds import Recipe, make

ROWS, CHUNK, BATCH, EPOCHS, RATE, STOP = 600, 20, 32, 3, 0.3, 29
LACKS = np.arange(ROWS) % 23 == 5
LOST = np.arange(ROWS) // CHUNK == 9


@dataclass(frozen=True)
class Feature:
    """What a feature changes: a run's options, its roles, and the rows and numbers of the twin."""

    model: dict[str, Any] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)
    stream: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)


FEATURES: dict[str, Feature] = {
    "split": Feature(),
    "weights": Feature(),
    "drawn by weight": Feature(stream={"sampling": "weight"}),
    "drawn balanced": Feature(stream={"sampling": "balanced"}),
    "class weights": Feature(model={"class_weights": "balanced"}),
    "standardise": Feature(model={"standardise": True}),
    "fill": Feature(stream={"missing_values": "fill:0.5"}),
    "drop": Feature(stream={"missing_values": "drop"}),
    "skip": Feature(stream={"on_bad_chunk": "skip"}),
    "best": Feature(trainer={"validation": ooc.Validation(0.2, every=7, by="row")}),
    "l2": Feature(method={"l2": 0.05}),
    "l1": Feature(method={"l1": 0.02}),
    "clip": Feature(method={"clip_norm": 0.1}),
    "saved often": Feature(trainer={"saving": ooc.Saving(every_seconds=1e-9, every_steps=5)}),
    "lanes": Feature(stream={"lanes": 2}),
}
# Both are given by one option, or cannot be had together: what is said of it.
REFUSED = {
    ("drawn by weight", "drawn balanced"): None,
    ("fill", "drop"): None,
    **{(f"drawn {how}", "drop"): "needs every row" for how in ("by weight", "balanced")},
    **{(f"drawn {how}", "skip"): "needs every chunk" for how in ("by weight", "balanced")},
    **{(f"drawn {how}", "lanes"): "goes with one lane" for how in ("by weight", "balanced")},
}
# Where a leak was found once, and enough others for each feature to meet some; the rest is slow.
ALWAYS = {
    ("split", "drawn by weight"), ("split", "drawn balanced"), ("split", "class weights"),
    ("split", "standardise"), ("split", "best"), ("class weights", "drop"),
    ("class weights", "skip"), ("standardise", "drop"), ("standardise", "skip"),
    ("skip", "best"), ("weights", "class weights"), ("class weights", "best"), ("l2", "clip"),
    ("l2", "l1"),
}  # fmt: skip
NAMES = list(FEATURES)
PAIRS = [
    pytest.param(pair, marks=[] if pair in ALWAYS or far == 7 else [pytest.mark.slow])
    for pair in itertools.combinations(NAMES, 2)
    for far in [NAMES.index(pair[1]) - NAMES.index(pair[0])]
    if REFUSED.get(pair, "") is not None
]


@dataclass(frozen=True)
class Data:
    """What is stored, and what the twin takes it for."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray


def write(path: Path, pair: tuple[str, str]) -> tuple[Dataset, Data]:
    rng = np.random.default_rng(5)
    x = (rng.standard_normal((ROWS, 4)) * [1, 2, 0.5, 1] + [0, 1, 0, -1]).astype(np.float32)
    y = (x[:, 0] - x[:, 2] + rng.standard_normal(ROWS) > 1).astype(np.int64)
    weight = rng.random(ROWS) + 0.1
    stored = x.copy()
    if {"fill", "drop"} & set(pair):
        stored[LACKS, 1] = np.nan
        x = np.where(np.isnan(stored), np.float32(0.5), stored)
    write_dataset(path, CHUNK, X=stored, y=y, weight=weight)
    if "skip" in pair:
        (path / "y").joinpath("c", "2").write_bytes(b"")  # chunks 8 to 11
    weighted = {"weights", "drawn by weight"} & set(pair)
    return ooc.open(path, weight=None if weighted else False), Data(x, y, weight)


def trainer_of(pair: tuple[str, str], held_out: Dataset | None) -> ooc.Trainer:
    one, other = (FEATURES[name] for name in pair)
    model = ooc.models.Logistic(**{"standardise": False, **one.model, **other.model})
    stream = StreamOptions(memory="512MiB", seed=4, block_rows=CHUNK, window=8)
    stream = replace(stream, **one.stream, **other.stream)
    options = {**one.trainer, **other.trainer}
    if held_out is not None and "best" in pair:
        options["validation"] = replace(options["validation"], data=held_out)
    method = ooc.optim.sgd(RATE, **one.method, **other.method)
    return ooc.Trainer(model, method, BATCH, stream=stream, log_every=1, **options)


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_two_features_at_once(tmp_path: Path, pair: tuple[str, str]) -> None:
    dataset, data = write(tmp_path / "a.zarr", pair)
    held_out = None
    if "split" in pair:
        dataset, held_out = ooc.split(dataset, 0.25, seed=3)
    if told := REFUSED.get(pair):
        with pytest.raises(InputError, match=told):
            trainer_of(pair, held_out).fit(dataset, EPOCHS)
        return
    trainer = trainer_of(pair, held_out)
    run = trainer.fit(dataset, EPOCHS, tmp_path / "whole")
    trainer.fit(dataset, EPOCHS, tmp_path / "run", **until(STOP))
    # A side of a split has to be given again, and so has what a run is evaluated on.
    given = dataset if "split" in pair else None
    go_on = partial(ooc.resume, tmp_path / "run", given, log_every=1)
    if pair == ("split", "best"):
        go_on = partial(trainer.resume, dataset, tmp_path / "run")
    if "skip" in pair:  # a position counts the rows that were left out before it
        go_on(**until(STOP + 4))
    again = go_on()
    for key in ("parameters_sha256", "loss", "steps", "rows", "memory_budget_bytes"):
        assert again.results[key] == run.results[key], key
    assert told_of(tmp_path / "run") == told_of(tmp_path / "whole")
    views = run.layout.views(run.parameters)
    found = np.concatenate([views["coefficients"].ravel(), views["intercept"]])
    sides = (dataset, held_out) if held_out is not None else (dataset, None)
    np.testing.assert_allclose(found, learned(pair, trainer, sides, data), rtol=2e-3, atol=2e-4)


def until(step: int) -> dict[str, Any]:
    """Return what stops a run right after a step."""
    stop = threading.Event()
    callbacks = ooc.Callbacks(step_end=lambda now: stop.set() if now.step == step else None)
    return {"stop": stop, "callbacks": callbacks}


def told_of(run_dir: Path) -> list[tuple[Any, ...]]:
    """Return what a run's history says of its steps."""
    keys = ("step", "epoch", "rows", "loss", "learning_rate", "batch_size")
    lines = [line for line in read_history(run_dir) if line["kind"] == "train"]
    assert [line["step"] for line in lines] == list(range(1, lines[-1]["step"] + 1))
    return [tuple(line[key] for key in keys) for line in lines]


def rows_of(dataset: Dataset) -> np.ndarray:
    """Return the rows of a side, asked of its selection."""
    selection = dataset.selection
    everything = np.arange(ROWS)
    return everything if selection is None else everything[selection.contains(0, ROWS, {})]


def learned(
    pair: tuple[str, str],
    trainer: ooc.Trainer,
    sides: tuple[Dataset, Dataset | None],
    data: Data,
) -> np.ndarray:
    """Descend as a textbook does, over the rows of the run's batches."""
    dataset, held_out = sides
    loader, best = trainer.loader(dataset), "best" in pair
    if best and held_out is None:
        dataset, held_out = ooc.split(dataset, 0.2, seed=4, by="row")
    usable = ~(LACKS & ("drop" in pair)) & ~(np.isin(np.arange(ROWS) // 80, 2) & ("skip" in pair))
    used = np.intersect1d(rows_of(dataset), np.flatnonzero(usable))
    batches = [batch.rows for _ in range(EPOCHS) for batch in loader]
    if "drawn" not in " ".join(pair):
        seen = np.concatenate(batches)
        np.testing.assert_array_equal(np.sort(seen), np.repeat(used, EPOCHS))
    assert np.isin(np.concatenate(batches), used).all()
    x, y, weight = data.x.astype(np.float64), data.y, np.ones(ROWS)
    if "standardise" in pair:
        x = (x - x[used].mean(axis=0)) / x[used].std(axis=0)
    if {"weights", "drawn by weight"} & set(pair):
        weight = data.weight
    of_class = np.ones(2)
    if "class weights" in pair:
        of_class = compute_class_weight("balanced", classes=np.arange(2), y=y[used])
    method = {**FEATURES[pair[0]].method, **FEATURES[pair[1]].method}
    parameters, losses, kept = np.zeros(5), [], []
    for step, rows in enumerate(batches, 1):
        each = weight[rows] * of_class[y[rows]]
        _, gradient = twin("logistic", x[rows], y[rows], each, parameters, True, 1)
        if "clip_norm" in method:
            gradient *= min(1, method["clip_norm"] / np.linalg.norm(gradient))
        coefficients = parameters[:4] - RATE * (gradient[:4] + method.get("l2", 0) * parameters[:4])
        shrunk = np.abs(coefficients) - RATE * method.get("l1", 0)
        parameters = np.append(
            np.sign(coefficients) * np.maximum(shrunk, 0), parameters[4] - RATE * gradient[4]
        )
        if best and step % 7 == 0:
            assert held_out is not None
            out = np.intersect1d(rows_of(held_out), np.flatnonzero(usable))
            loss, _ = twin("logistic", x[out], y[out], weight[out], parameters, True, 1)
            losses.append(loss / weight[out].sum())  # classes weigh in training alone
            kept.append(parameters)
    return kept[int(np.argmin(losses))] if best else parameters


@pytest.mark.slow
def test_a_budget_is_kept_where_a_user_s_processes_read(tmp_path: Path) -> None:
    """In real processes: what they send is a part of what the plan projected."""
    make(tmp_path / "a.zarr", Recipe("logistic", 200_000, 128))
    memory = f"{RESERVED_BYTES // MIB + 64}MiB"
    command = [sys.executable, "-m", "ooc", "train", str(tmp_path / "a.zarr"), "--json"]
    found = {}
    for scheduler in ("threads", "processes"):
        done = subprocess.run(
            [*command, "--lr", "0.05", "--memory", memory, "--run", str(tmp_path / scheduler)],
            env={**os.environ, "DASK_SCHEDULER": scheduler},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found[scheduler] = json.loads(done.stdout)
        numbers = [found[scheduler][f"memory_{each}_bytes"] for each in ("peak", "projected")]
        assert numbers[0] <= numbers[1] <= found[scheduler]["memory_budget_bytes"]
    assert found["threads"]["parameters_sha256"] == found["processes"]["parameters_sha256"]


@pytest.mark.parametrize("package", ["numba", "numpy"])
def test_a_run_of_another_version_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    """Its bits would be others; the checkpoint says whose they are, and answers as before."""
    dataset, _ = write(tmp_path / "a.zarr", ("l2", "l1"))
    trainer = trainer_of(("l2", "l1"), None)
    module = {"numba": numba, "numpy": np}[package]
    here = module.__version__
    with monkeypatch.context() as patch:
        patch.setattr(module, "__version__", "0.1")
        run = trainer.fit(dataset, EPOCHS, tmp_path / "run", **until(STOP))
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    assert saved["versions"][package] == "0.1"
    with pytest.raises(InputError, match=f"another version: {package} .*0.1.*{here}"):
        ooc.resume(tmp_path / "run", dataset)
    again = ooc.load(tmp_path / "run")
    np.testing.assert_array_equal(again.parameters, run.parameters)
