"""What is promised of stores that other tools wrote: stores x promises, each pair run once.

A promise is a function of a store's path and of what it holds by others; see `stores`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from pairs import pairs
from shell import called
from sklearn.linear_model import LinearRegression
from truth.stores import STORES, Truth

import ooc
from ooc.core.errors import DataError

MEMORY = "512MiB"
Shell = pytest.CaptureFixture[str]
Stored = tuple[Path, Truth]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Stored]:
    """Write each store once."""
    written: dict[str, Stored] = {}

    def write(name: str) -> Stored:
        if name not in written:
            path = tmp_path_factory.mktemp("store") / "a [1].zarr"
            written[name] = path, STORES[name](path)
        return written[name]

    return write


def options_of(truth: Truth) -> list[str]:
    """Return the roles as the shell takes them."""
    options = []
    for role, name in truth.roles.items():
        options += [f"--no-{role}"] if name is False else [f"--{role}", name]
    return options


def values_are_those_of_others(path: Path, truth: Truth, shell: Shell, folder: Path) -> None:
    dataset = ooc.open(path, **truth.roles)
    batches = list(ooc.Loader(dataset, 64, memory=MEMORY, seed=1, missing_values="keep"))
    rows = np.concatenate([batch.rows for batch in batches])
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(truth.target)))
    for name, expected in zip(dataset.roles, (truth.features, truth.target), strict=False):
        found = np.concatenate([batch[str(name)] for batch in batches])
        np.testing.assert_allclose(found, expected[rows], rtol=1e-12, atol=1e-9)


def rows_that_lack_a_value_are_named_or_dropped(
    path: Path, truth: Truth, shell: Shell, folder: Path
) -> None:
    dataset, whole = ooc.open(path, **truth.roles), truth.whole
    if not whole.all():
        first = int(np.argmin(whole))
        name = dataset.features if np.isnan(truth.features[first]).any() else dataset.target
        values = truth.features if name == dataset.features else truth.target
        lacks = np.flatnonzero(np.isnan(values[first]).reshape(-1))
        more = f" and {len(lacks) - 1} more of its columns" if len(lacks) > 1 else ""
        told = rf"array {name} of .* has a missing value in row {first}, column {lacks[0]}{more} \("
        with pytest.raises(DataError, match=told):
            list(ooc.Loader(dataset, 64, memory=MEMORY))
    loader = ooc.Loader(dataset, 64, memory=MEMORY, missing_values="drop")
    rows = np.concatenate([batch.rows for batch in loader])
    np.testing.assert_array_equal(np.sort(rows), np.flatnonzero(whole))
    assert loader.skipped_rows == np.count_nonzero(~whole)
    sides = ooc.split(dataset, 0.3, seed=2)
    used = [ooc.Loader(side, 64, memory=MEMORY, missing_values="drop") for side in sides]
    assert sum(len(batch.rows) for each in used for batch in each) == np.count_nonzero(whole)


def least_squares_are_found_in_the_target_s_unit(
    path: Path, truth: Truth, shell: Shell, folder: Path
) -> None:
    """Train, evaluate, predict and resume in the shell, against scikit-learn and NumPy."""
    run, out, roles = str(folder / "run"), folder / "out.zarr", options_of(truth)
    rule = ["--memory", MEMORY, "--missing-values", "drop"]
    method = ["--model", "linear", "--optimizer", "lbfgs", "--batch-size", "64"]
    trained = called(shell, "train", str(path), *roles, *method, *rule, "--run", run)
    assert called(shell, "resume", run)["parameters_sha256"] == trained["parameters_sha256"]
    measured = called(shell, "evaluate", run, str(path), *roles, *rule)
    features = [] if "features" not in truth.roles else roles[:2]
    called(shell, "predict", run, str(path), str(out), *features, *rule)
    found = np.asarray(zarr.open_group(out, mode="r")["prediction"]).reshape(-1)
    there = ~np.isnan(truth.features.reshape(len(found), -1)).any(axis=1)
    np.testing.assert_array_equal(np.isnan(found), ~there)
    x, y = truth.features.reshape(len(found), -1)[truth.whole], truth.target[truth.whole]
    middle, spread = x.mean(axis=0), x.std(axis=0)
    best = LinearRegression().fit((x - middle) / spread, y - y.mean())
    expected = best.predict((x - middle) / spread) + y.mean()
    errors = found[truth.whole] - y
    assert np.abs(found[truth.whole] - expected).max() < 1e-3 * y.std()
    assert measured["r2"] == pytest.approx(1 - np.mean(errors**2) / y.var(), abs=1e-6)
    assert measured["mean_absolute_error"] == pytest.approx(np.abs(errors).mean(), rel=1e-4)


def a_shuffle_moves_rows_and_nothing_else(
    path: Path, truth: Truth, shell: Shell, folder: Path
) -> None:
    moved = folder / "moved.zarr"
    said = called(shell, "shuffle", str(path), str(moved), *options_of(truth), "--memory", "640MiB")
    assert said["rows"] == len(truth.target)
    dataset = ooc.open(moved, **truth.roles)
    batches = list(ooc.Loader(dataset, 64, memory=MEMORY, missing_values="keep"))
    parts = [[batch[str(name)] for batch in batches] for name in dataset.roles[:2]]
    found = np.column_stack([np.concatenate(part).reshape(len(truth.target), -1) for part in parts])
    expected = np.column_stack([truth.features.reshape(len(found), -1), truth.target])
    for each in (found, expected):
        each[:] = each[np.lexsort(np.nan_to_num(each, nan=-1e300).T)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)
    assert not np.array_equal(parts[0][0], truth.features[: len(parts[0][0])], equal_nan=True)


def info_and_plan_tell_what_is_there(path: Path, truth: Truth, shell: Shell, folder: Path) -> None:
    said = called(shell, "info", str(path), *options_of(truth), "--verify")
    dataset = ooc.open(path, **truth.roles)
    assert said["rows"] == len(truth.target)
    assert tuple(said["arrays"][dataset.features]["shape"]) == truth.features.shape
    assert set(said["unused"]) == truth.unused
    memory = ["--memory", MEMORY, "--batch-size", "64"]
    planned = called(shell, "plan", str(path), *options_of(truth), *memory)
    assert planned["rows"] == len(truth.target)
    json.dumps({**said, **planned}, allow_nan=False)


Promise = Callable[[Path, Truth, Shell, Path], Any]
PROMISES: tuple[Promise, ...] = (
    values_are_those_of_others,
    rows_that_lack_a_value_are_named_or_dropped,
    least_squares_are_found_in_the_target_s_unit,
    a_shuffle_moves_rows_and_nothing_else,
    info_and_plan_tell_what_is_there,
)


# Each store meets this one and a part of the others.
ALWAYS = (PROMISES[0],)


@pytest.mark.parametrize(
    ("store", "promise"),
    pairs(STORES, PROMISES, ALWAYS),
    ids=lambda value: getattr(value, "__name__", value),
)
def test_promises(
    stored: Callable[[str], Stored],
    store: str,
    promise: Promise,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    promise(*stored(store), capsys, tmp_path)
