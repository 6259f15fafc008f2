"""What is found in one pass over all rows: moments and counts, whatever serves the pass."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from datasets import small_windows, write_dataset
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import ooc
from ooc.core.errors import DataError, InputError
from ooc.models import LinearSVM, Logistic, Softmax
from ooc.models.declarations import prepare
from ooc.optim import adam, sgd
from ooc.store.dataset import Dataset
from ooc.stream.loader import Loader
from ooc.stream.plan import MIB, RESERVED_BYTES
from ooc.stream.window import Window
from ooc.training.statistics import RowStatistics, merge_moments
from ooc.training.trainer import Trainer

MEMORY = RESERVED_BYTES + 112 * MIB


@pytest.mark.slow
@given(cuts=st.lists(st.integers(1, 999), max_size=6), seed=st.integers(0, 1000))
def test_merged_moments_are_those_of_all_rows(cuts: list[int], seed: int) -> None:
    rows = np.random.default_rng(seed).standard_normal((1000, 3)) * [1, 1e-6, 1e6] + [0, 1, 1e9]
    parts = [part for part in np.split(rows, sorted(set(cuts))) if len(part)]
    moments = [np.stack([np.full(3, len(p)), p.mean(0), len(p) * p.var(0)]) for p in parts]
    total = moments[0]
    for one in moments[1:]:
        total = merge_moments(total, one)
    # A mean may be as near zero as it likes: what is lost is measured against the values' size.
    largest = np.abs(rows).max(axis=0)
    assert np.all(np.abs(total[1] - rows.mean(axis=0)) <= 1e-12 * largest)
    np.testing.assert_allclose(total[2] / 1000, rows.var(axis=0), rtol=1e-6)


@pytest.mark.parametrize(
    "dtype", ["float32", "uint8", pytest.param("float16", marks=pytest.mark.slow)]
)
def test_features_are_standardised_as_scikit_learn_does(
    tmp_path: Path, rng: np.random.Generator, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(monkeypatch, 16 * 2**10)
    x = (rng.random((3000, 2, 2)) * [1, 100] + [[0, 20], [90, 0]]).astype(dtype)
    x[:, 1, 1] = 7
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=x, y=np.arange(3000) % 2)
    runs = [
        Trainer(
            Logistic(standardise=True, scale=0.5),
            sgd(0.1),
            64,
            memory=MEMORY,
            readers=readers,
        ).fit(dataset)
        for readers in (1, 4)
    ]  # fmt: skip
    assert np.array_equal(runs[0].parameters, runs[1].parameters)
    found = runs[0].layout.views(runs[0].parameters)
    rows = x.reshape(3000, -1).astype(np.float64)
    expected = StandardScaler().fit(rows)
    mean = found["feature_mean"].astype(np.float64) + found["feature_mean_rest"]
    np.testing.assert_allclose(mean, expected.mean_, rtol=1e-12)
    np.testing.assert_allclose(found["feature_deviation"], np.sqrt(expected.var_), rtol=1e-5)
    odds = runs[0].model.scores(runs[0].parameters, x)[:, 0]
    twin = expected.transform(rows) @ found["coefficients"][0] + found["intercept"]
    np.testing.assert_allclose(odds, twin, rtol=1e-4, atol=1e-5)


def test_moments_lie_in_the_saved_model_and_are_never_trained(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x = (rng.standard_normal((2000, 3)) * [1, 100, 1e-3] + 5).astype(np.float32)
    y = (x[:, 1] > 5).astype(np.int64)
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=x, y=y)
    run = Trainer(
        Logistic(standardise=True), adam(0.05, l2=0.1, l1=0.01), 64, memory=MEMORY
    ).fit(dataset, 3, tmp_path / "run")  # fmt: skip
    found = ooc.load(tmp_path / "run")
    views = found.layout.views(found.parameters)
    np.testing.assert_allclose(views["feature_deviation"], x.std(axis=0), rtol=1e-4)
    assert found.evaluate(dataset)["accuracy"] == run.evaluate(dataset)["accuracy"] > 0.9


@pytest.mark.slow
def test_balanced_classes_weigh_as_scikit_learn_does(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((3000, 4)).astype(np.float32)
    y = (x[:, 0] + rng.standard_normal(3000) > 1.5).astype(np.int64)
    dataset = write_dataset(tmp_path / "a.zarr", 100, X=x, y=y)
    run = Trainer(Logistic(class_weights="balanced"), sgd(4.0), 3000, memory=MEMORY).fit(
        dataset, 200
    )
    counts = np.bincount(y)
    np.testing.assert_allclose(run.model.class_weights, 3000 / (2 * counts))
    reference = LogisticRegression(C=np.inf, class_weight="balanced", tol=1e-9).fit(x, y)
    found = run.layout.views(run.parameters)
    np.testing.assert_allclose(found["coefficients"], reference.coef_, atol=2e-3)
    np.testing.assert_allclose(found["intercept"], reference.intercept_, atol=2e-3)


def test_only_the_rows_that_are_trained_on_are_counted(tmp_path: Path) -> None:
    y = np.repeat([0, 1], [900, 100])
    dataset = write_dataset(tmp_path / "a.zarr", 10, X=np.ones((1000, 1), "f4"), y=y)
    training, _ = ooc.split(dataset, 0.3, by="block")
    statistics = RowStatistics(ooc.Loader(training, 10, memory=MEMORY))
    model = prepare(LinearSVM(class_weights="balanced", standardise=False), statistics).model
    counts = training.rows / (2 * np.array(model.class_weights))
    assert counts.sum() == pytest.approx(700)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(100), "class 1 has no rows in"),
        (np.full(100, 3), "row 0 of y has target 3.0, but softmax takes whole labels from 0 to 1"),
    ],
)
def test_classes_that_cannot_be_balanced(tmp_path: Path, y: np.ndarray, message: str) -> None:
    dataset = write_dataset(tmp_path / "a.zarr", X=np.ones((100, 1), "f4"), y=y)
    with pytest.raises(DataError, match=message):
        Trainer(Softmax(class_weights="balanced"), sgd(0.1), 10, memory=MEMORY).fit(dataset)


def test_weights_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match=r"softmax takes 3 finite class weights"):
        Softmax(classes=3, class_weights=[1.0, 2.0])
    with pytest.raises(InputError, match="or \"balanced\", not 'even'"):
        Logistic(class_weights="even")


def test_rows_that_are_dropped_count_in_no_moments(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Rows without a target have other features; rows without a feature other targets."""
    x, y = rng.standard_normal((600, 3)), rng.standard_normal(600)
    y[::4], x[::4] = np.nan, 1e6
    x[1::6, 2], y[1::6] = np.nan, 1e6
    there = np.isfinite(y) & np.isfinite(x).all(axis=1)
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=x, y=y)
    statistics = RowStatistics(ooc.Loader(dataset, 10, memory=MEMORY, missing_values="drop"))
    for (mean, deviation), values in (
        (statistics.moments(), x[there]),
        (statistics.target_moments(), y[there, None]),
    ):
        np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-9)
        np.testing.assert_allclose(deviation, values.std(axis=0), rtol=1e-9)


def test_a_value_that_is_not_finite_is_named(tmp_path: Path) -> None:
    x = np.ones((1000, 3), np.float32)
    x[777, 2] = np.nan
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=np.zeros(1000))
    with pytest.raises(DataError, match="row 777 of X has nan in feature 2"):
        Trainer(Logistic(standardise=True), sgd(0.1), 10, memory=MEMORY).fit(dataset)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_values_that_are_not_finite_are_refused_without_a_warning(tmp_path: Path) -> None:
    x = np.ones((1000, 3), np.float32)
    x[::3, 1], x[1::3, 1] = np.inf, -np.inf
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=np.zeros(1000))
    with pytest.raises(DataError, match=r"row \d+ of X has -?inf in feature 1"):
        Trainer(Logistic(standardise=True), sgd(0.1), 10, memory=MEMORY).fit(dataset)


@pytest.mark.parametrize("by", ["row", "block"])
def test_a_target_that_is_no_class_is_named_by_its_row_in_the_store(
    tmp_path: Path, by: str
) -> None:
    y = np.arange(1000) % 2
    dataset = write_dataset(tmp_path / "a.zarr", 10, X=np.ones((1000, 1), "f4"), y=y)
    side = ooc.split(dataset, 0.3, by=by)[0]
    used = np.concatenate([batch.rows for batch in ooc.Loader(side, 10, memory=MEMORY)])
    row = int(np.sort(used)[-100])
    y[row] = 7
    write_dataset(tmp_path / "b.zarr", 10, X=np.ones((1000, 1), "f4"), y=y)
    side = ooc.split(ooc.open(tmp_path / "b.zarr"), 0.3, by=by)[0]
    with pytest.raises(DataError, match=f"^row {row} of y has target 7"):
        Trainer(Logistic(class_weights="balanced"), sgd(0.1), 10, memory=MEMORY).fit(side)


def test_a_pass_over_all_rows_has_the_memory_to_itself(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    statistics = RowStatistics(loader := Loader(dataset, 64, memory="512MiB"))
    statistics.sample_moments()
    slab, passed = weakref.ref(next(loader.looked_at()).features.base), list[bool]()
    windows = Loader.windows

    def note(self: Loader, epochs: int) -> Iterator[Window]:
        gc.collect()
        passed.append(slab() is None)
        return windows(self, epochs)

    assert slab() is not None
    monkeypatch.setattr(Loader, "windows", note)
    statistics.moments()
    assert passed == [True]
