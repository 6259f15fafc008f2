"""Numbers of other people's data: what is learned from them, and what names those that are wild."""

import re
from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset
from pairs import pairs
from sklearn.linear_model import LinearRegression, LogisticRegression

import ooc
from ooc.cli import main
from ooc.core.errors import DataError
from ooc.models import Linear, Logistic
from ooc.runs.run import Run

ROWS = 20_000


def trained(path: Path, model: object, **arrays: np.ndarray) -> Run:
    dataset = write_dataset(path / "data.zarr", 500, **arrays)
    trainer = ooc.Trainer(model, ooc.optim.sgd(), batch_size=256, memory="600MiB", seed=0)
    return trainer.fit(dataset)


def evaluated(path: Path, run: Run) -> dict[str, float]:
    return run.evaluate(ooc.open(path / "data.zarr"))


@pytest.mark.parametrize(
    ("seed", "width"),
    [
        (0, 8),
        pytest.param(1, 128, marks=pytest.mark.slow),
        *(pytest.param(seed, 128 - 120 * (seed % 2), marks=pytest.mark.slow) for seed in range(4)),
        *(pytest.param(seed, 8 + 120 * (seed % 2), marks=pytest.mark.slow) for seed in (2, 3)),
    ],
)
def test_noise_diverges_at_no_rate_and_a_rate_is_found_that_would_learn(
    tmp_path: Path, seed: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((ROWS, width)).astype(np.float32)
    run = trained(tmp_path, Linear(), X=features, y=rng.standard_normal(ROWS))
    assert run.results["learning_rate"] > 1e-4
    assert abs(evaluated(tmp_path, run)["r2"]) < 0.02


@pytest.mark.parametrize(
    "signal", [0.03, *(pytest.param(each, marks=pytest.mark.slow) for each in (0.1, 0.3))]
)
def test_a_weak_signal_is_learned_as_least_squares_learn_it(tmp_path: Path, signal: float) -> None:
    rng = np.random.default_rng(1)
    features = rng.standard_normal((ROWS, 8)).astype(np.float32)
    target = signal * features @ rng.standard_normal(8) + rng.standard_normal(ROWS)
    run = trained(tmp_path, Linear(), X=features, y=target)
    best = LinearRegression().fit(features, target).score(features, target)
    assert evaluated(tmp_path, run)["r2"] > best - 0.01


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(("rows", "offset"), pairs([300, 1000, 3000], [0.0, 50.0]))
def test_few_rows_are_passed_over_until_they_are_learned(
    tmp_path: Path, rows: int, offset: float
) -> None:
    rng = np.random.default_rng(2)
    features = rng.standard_normal((rows, 8)).astype(np.float32)
    run = trained(tmp_path, Linear(), X=features + offset, y=features @ rng.standard_normal(8))
    assert run.results["steps"] >= 200
    assert run.results["epochs"] == -(-200 // -(-rows // 256))
    assert evaluated(tmp_path, run)["r2"] > 0.99


@pytest.mark.parametrize(
    ("dtype", "move", "spread"),
    [
        (np.float64, 1.7e9, 60.0),  # seconds since 1970, within a minute
        pytest.param(np.float64, 101325.0, 0.01, marks=pytest.mark.slow),  # pascals
        pytest.param(np.int64, 2**40, 1000.0, marks=pytest.mark.slow),
        pytest.param(np.float64, 5e6, 3.0, marks=pytest.mark.slow),  # northings in metres
    ],
)
def test_features_far_from_zero_keep_their_digits(
    tmp_path: Path, dtype: type, move: float, spread: float
) -> None:
    rng = np.random.default_rng(3)
    features = (move + spread * rng.standard_normal((ROWS, 4))).astype(dtype)
    centred = (features - dtype(move)).astype(np.float64)
    logits = 2 * centred @ rng.standard_normal(4) / spread
    labels = (rng.random(ROWS) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    run = trained(tmp_path, Logistic(), X=features, y=labels)
    best = LogisticRegression().fit(centred / spread, labels).score(centred / spread, labels)
    assert evaluated(tmp_path, run)["accuracy"] > best - 0.01


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("value", "model"),
    pairs(
        [np.nan, np.inf, -np.inf, 1e300, 1e200, 1e39],
        [Linear(), Linear(standardise=True), Logistic()],
    ),
    ids=str,
)
def test_a_wild_value_is_named_with_its_row_and_column(
    tmp_path: Path, model: object, value: float
) -> None:
    rng = np.random.default_rng(4)
    features = rng.standard_normal((ROWS, 8))
    features[77, 3] = value
    with pytest.raises(DataError, match=f"row 77 .*{re.escape(f'{value:g}')} in feature 3"):
        trained(tmp_path, model, X=features, y=(features[:, 0] > 0).astype(np.int64))


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", ["X", "y"])
@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e300])
def test_a_plan_says_what_training_would_refuse(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: float,
) -> None:
    monkeypatch.chdir(tmp_path)
    arrays = {"X": np.ones((300, 8)), "y": np.ones((300, 1))}
    arrays[name][77, -1] = value
    write_dataset(tmp_path / "a.zarr", **arrays)
    options = [str(tmp_path / "a.zarr"), "--model", "linear", "--memory", "512MiB"]
    place = f"row 77 of {name} has {value} in "
    assert main(["plan", *options, "--json"]) == 0
    assert place in capsys.readouterr().err
    assert main(["train", *options]) == 2
    said = capsys.readouterr().err
    assert f"row 77 of {name} has " in said and f" {value}" in said
    if np.isnan(value):
        assert main(["plan", *options, "--json", "--missing-values", "drop"]) == 0
        assert place not in capsys.readouterr().err


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_a_weight_that_is_none_is_named_with_its_row(tmp_path: Path, value: float) -> None:
    rng = np.random.default_rng(5)
    features = rng.standard_normal((ROWS, 8)).astype(np.float32)
    weight = np.ones(ROWS)
    weight[55] = value
    with pytest.raises(DataError, match=f"row 55 of weight has weight {value}"):
        trained(tmp_path, Linear(), X=features, y=features[:, 0], weight=weight)
