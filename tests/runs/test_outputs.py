"""Predictions for arrays: those for a store with the same rows, or one line that says why not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset
from random_runs import trained

from ooc.core.errors import InputError
from ooc.models import Autoencoder, Linear, Logistic
from ooc.runs import outputs


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("model", "output"),
    [
        (Logistic(standardise=True), "prediction"),
        (Logistic(standardise=True), "probability"),
        (Linear(standardise=False, standardise_target=True), "scores"),
        (Autoencoder((4,), code=2, activation="gelu", standardise=False), "prediction"),
    ],
)
def test_an_array_is_told_what_a_store_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Any, output: str
) -> None:
    """A few rows at a time, in whatever order they lie in memory."""
    monkeypatch.setattr(outputs, "SCORED_BYTES", 7 * 6 * 8)
    run = trained(model)
    rows = np.random.default_rng(0).standard_normal((40, 6)) + 1000 * (model.standardise is True)
    of_store = run.predict(write_dataset(tmp_path / "a.zarr", X=rows), output, memory="512MiB")
    for given in (rows, np.asfortranarray(rows), rows.astype(">f8"), rows.tolist()):
        np.testing.assert_array_equal(run.predict(given, output), of_store)


def test_scores_are_in_the_unit_of_targets() -> None:
    run = trained(Linear(standardise=False, standardise_target=True))
    rows = np.random.default_rng(0).standard_normal((5, 6))
    np.testing.assert_array_equal(run.predict(rows, "scores")[:, 0], run.predict(rows))


@pytest.mark.parametrize(
    ("rows", "output", "told"),
    [
        (np.ones((3, 5)), "prediction", r"shape \(rows, 6\), .*not a ndarray of shape \(3, 5\)"),
        (np.ones(6), "prediction", r"shape \(rows, 6\), .*not a ndarray of shape \(6,\)"),
        ("big.zarr", "prediction", r"or what ooc.open returns, not a str of shape \(\)"),
        (np.ones((0, 6)), "prediction", r"X is empty: its shape is \(0, 6\)"),
        (np.ones((3, 6), complex), "prediction", "complex128, which is not a real number"),
        (np.ones((3, 6)), "odds", "has no output 'odds'; it has: prediction, probability, scores"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_a_line(rows: Any, output: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        trained(Logistic(standardise=False)).predict(rows, output)
    assert "\n" not in str(error.value)
