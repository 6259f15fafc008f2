"""Gradient noise: the same numbers as batches that are cut one by one, and the closed forms."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import pairs
from scipy.stats import sem

import ooc
from ooc.core.errors import DataError, DivergedError, InputError
from ooc.measure.gradient_noise import (
    BatchVariance,
    GradientNoise,
    expected_variance,
    gradient_variance,
    noise_scale,
)
from ooc.models.contract import Layout, Model
from ooc.store.dataset import Dataset
from ooc.stream.batch import Batch
from ooc.stream.loader import Loader

MEMORY = "512MiB"


@dataclass(frozen=True)
class Saturated:
    """tanh of a linear score, and half the squared error: no compiled path is for it."""

    name = "saturated"
    needs_target = True

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        return Layout({"coefficients": row_shape})

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        return np.zeros(layout.size, np.float32)

    def check_target(self, shape: tuple[int, ...]) -> None:
        pass

    def scratch_bytes(self, layout: Layout, rows: int) -> int:
        return 8 * rows * (layout.size + 4)

    def loss_and_grad(self, parameters: np.ndarray, batch: Any, out_grad: np.ndarray) -> float:
        score = np.tanh(batch.features.astype(np.float64) @ parameters)
        residual = score - batch.target
        out_grad[:] = (residual * (1 - score**2)) @ batch.features / len(residual)
        return 0.5 * float(np.mean(residual**2))

    def measure(self, parameters: np.ndarray, batch: Any) -> Any:
        raise NotImplementedError

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def to_config(self) -> dict[str, Any]:
        return {"name": self.name}


MODELS: dict[str, Model] = {
    "linear": ooc.models.Linear(),
    "standardised": ooc.models.Linear(standardise=True),
    "logistic": ooc.models.Logistic(intercept=False, scale=0.5),
    "weighted classes": ooc.models.Logistic(class_weights=(1.0, 3.0)),
    "softmax": ooc.models.Softmax(classes=3),
    "of one's own": Saturated(),
}


@pytest.fixture
def small(tmp_path: Path, rng: np.random.Generator) -> Dataset:
    x = rng.standard_normal((203, 4)).astype(np.float32) + 0.5
    return write_dataset(tmp_path / "small.zarr", X=x, y=np.arange(203) % 2)


def row_gradients(model: Model, parameters: np.ndarray, loader: Loader) -> np.ndarray:
    """Return the gradient of each row of the stream, by the model's own function."""
    out = []
    for batch in loader:
        for i in range(len(batch.rows)):
            arrays = {name: values[i : i + 1] for name, values in batch.arrays.items()}
            one = Batch(arrays, batch.rows[i : i + 1], 0, 0, batch.roles)
            gradient = np.empty(parameters.size)
            model.loss_and_grad(parameters, one, gradient)
            out.append(gradient)
    return np.array(out)


def batch_means(epochs: list[np.ndarray], size: int) -> np.ndarray:
    """Return the mean gradient of each full batch."""
    cut = [rows[: len(rows) // size * size].reshape(-1, size, rows.shape[1]) for rows in epochs]
    return np.concatenate([batches.mean(axis=1) for batches in cut])


def standard_error(means: np.ndarray) -> float:
    """Return SciPy's, of what each batch adds to the spread about the mean of those before it."""
    added = [
        count / (count + 1) * float(np.sum((means[count] - means[:count].mean(axis=0)) ** 2))
        for count in range(1, len(means))
    ]
    return float(sem(added))


def by_definition(epochs: list[np.ndarray], size: int, exact_mean: bool) -> tuple[int, float]:
    """Return batches and variance, from all gradients held at once."""
    means = batch_means(epochs, size)
    centre = np.concatenate(epochs).mean(axis=0) if exact_mean else means.mean(axis=0)
    squares = np.sum((means - centre) ** 2)
    return len(means), squares / (len(means) - (0 if exact_mean else 1))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sampling"), pairs(MODELS, ["once", "replacement"]))
def test_variances_are_those_of_batches_cut_one_by_one(
    small: Dataset, rng: np.random.Generator, name: str, sampling: str
) -> None:
    """Over two epochs, with sizes that divide each other, one that none divides, and a rest."""
    model, sizes = MODELS[name], (1, 2, 6, 10, 30, 67) if name != "of one's own" else (4, 8, 20)
    parameters = 0.3 * rng.standard_normal(model.layout((4,)).size).astype(np.float32)
    options: dict[str, Any] = {"seed": 5, "sampling": sampling, "window": 7, "block_rows": 10}
    noise = gradient_variance(model, parameters, small, sizes, memory=MEMORY, epochs=2, **options)
    loader = Loader(small, 50, memory=MEMORY, **options)
    epochs = [row_gradients(model, parameters, loader) for _ in range(2)]
    assert not np.array_equal(epochs[0], epochs[1])
    for found, size in zip(noise.sizes, sizes, strict=True):
        batches, variance = by_definition(epochs, size, exact_mean=sampling == "once")
        assert (found.batch_size, found.batches) == (size, batches)
        assert found.variance == pytest.approx(variance, rel=2e-5)
        means = batch_means(epochs, size)
        assert found.squared_norm == pytest.approx(np.mean(np.sum(means**2, axis=1)), rel=2e-5)
        assert found.error == pytest.approx(standard_error(means), rel=1e-3)
    mean = np.concatenate(epochs).mean(axis=0)
    np.testing.assert_allclose(noise.gradient, mean, rtol=2e-5, atol=1e-6)


def test_weights_count_as_in_training(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.standard_normal((60, 2)).astype(np.float32)
    dataset = write_dataset(
        tmp_path / "a.zarr", X=x, y=x.sum(axis=1), weight=rng.random(60).astype(np.float32)
    )
    model, parameters = ooc.models.Linear(), np.ones(3, np.float32)
    noise = gradient_variance(model, parameters, dataset, (1, 5), memory=MEMORY)
    rows = row_gradients(model, parameters, Loader(dataset, 60, memory=MEMORY))
    assert noise.variance(5) == pytest.approx(by_definition([rows], 5, True)[1], rel=2e-5)


@pytest.mark.slow
@settings(max_examples=8)
@given(st.integers(1, 40), st.integers(30, 90), st.integers(0, 10**6))
def test_without_replacement_the_finite_population_counts(size: int, rows: int, seed: int) -> None:
    """Row 1 of the closed forms, within 5 standard errors, which is tiny for nearly full batches.

    Columns are orthogonal, so that the batch's variance is spread over all of them.
    """
    features, size = 8, min(size, rows)
    rng = np.random.default_rng(seed)
    x = np.linalg.qr(rng.standard_normal((rows, features + 1)))[0][:, 1:] * np.sqrt(rows)
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_dataset(
            Path(folder) / "a.zarr", chunk_rows=rows, X=x.astype(np.float32), y=np.ones(rows)
        )
        model = ooc.models.Linear(intercept=False)
        noise = gradient_variance(
            model, np.zeros(features), dataset, (1, size), memory=MEMORY, seed=seed, epochs=100
        )
    expected = expected_variance(noise.variance(1), size, rows)
    found = noise.sizes[-1]
    assert abs(found.variance - expected) <= 5 * found.error + 1e-6 * noise.variance(1)


@pytest.mark.slow
@pytest.mark.parametrize("repeats", [50, pytest.param(200, marks=pytest.mark.slow)])
def test_the_error_is_the_spread_of_repeated_measurements(
    tmp_path: Path, rng: np.random.Generator, repeats: int
) -> None:
    x = rng.standard_normal((400, 3)).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=400, X=x, y=x[:, 0] ** 2)
    model = ooc.models.Linear(intercept=False)
    found = [
        gradient_variance(
            model, np.zeros(3), dataset, (8,), memory=MEMORY, seed=seed, sampling="replacement"
        ).sizes[0]
        for seed in range(repeats)
    ]
    spread = np.std([each.variance for each in found])
    assert np.mean([each.error for each in found]) == pytest.approx(spread, rel=0.25)


def test_noise_scale_of_a_known_gradient(tmp_path: Path, rng: np.random.Generator) -> None:
    """Rows whose gradient has the mean G and the covariance S, both exact."""
    rows, features = 4000, 4
    x = np.linalg.qr(rng.standard_normal((rows, features + 1)))[0] * np.sqrt(rows)
    x = (x[:, 1:] - x[:, 1:].mean(axis=0) + 0.5).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=rows, X=x, y=-np.ones(rows))
    model = ooc.models.Linear(intercept=False)
    noise = gradient_variance(
        model,
        np.zeros(features),
        dataset,
        (4, 64),
        memory=MEMORY,
        sampling="replacement",
        epochs=40,
    )
    truth = x.astype(np.float64)
    squared, trace = np.sum(truth.mean(axis=0) ** 2), truth.var(axis=0).sum()
    scale = noise_scale(*noise.sizes)
    assert scale.squared_gradient == pytest.approx(squared, rel=0.05)
    assert scale.trace == pytest.approx(trace, rel=0.05)
    assert scale.batch_size == pytest.approx(trace / squared, rel=0.08)
    assert noise.slope() == pytest.approx(-1, abs=0.03)


def test_no_gradient_no_scale() -> None:
    sizes = [BatchVariance(size, 9, 1 / size, 0.1, 1 / size) for size in (2, 4)]
    assert noise_scale(*sizes).batch_size == np.inf
    with pytest.raises(InputError, match="not 2 twice"):
        noise_scale(sizes[0], sizes[0])


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ((), {}, "whole numbers from 1 on"),
        ((0, 4), {}, "whole numbers from 1 on"),
        ((4, 100), {}, "have 2 full batches of 100, and a variance needs 3"),
        ((4,), {"epochs": 0}, "epochs must be a whole number of at least 1, not 0"),
        ((4,), {"memory": "16MiB"}, "the budget of 16.0 MiB is below"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    small: Dataset, sizes: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        gradient_variance(ooc.models.Logistic(), np.zeros(5), small, sizes, **options)


def test_parameters_that_do_not_fit_are_refused(small: Dataset) -> None:
    with pytest.raises(InputError, match="has 5 parameters here, but 4 were given"):
        gradient_variance(ooc.models.Logistic(), np.zeros(4), small, (4,), memory=MEMORY)
    with pytest.raises(InputError, match="parameter 1 is nan"):
        gradient_variance(ooc.models.Logistic(), np.array([0, np.nan, 0, 0, 0]), small, (4,))


@pytest.mark.parametrize("name", ["logistic", "of one's own"])
def test_a_value_that_is_not_finite_is_named(
    tmp_path: Path, rng: np.random.Generator, name: str
) -> None:
    x = rng.standard_normal((50, 4)).astype(np.float32)
    x[31, 2] = np.nan
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=np.arange(50) % 2)
    model = MODELS[name]
    parameters = np.full(model.layout((4,)).size, 0.1)
    with pytest.raises((DataError, DivergedError), match="31"):
        gradient_variance(model, parameters, dataset, (1, 2), memory=MEMORY)


def test_measuring_changes_neither_parameters_nor_results(small: Dataset) -> None:
    parameters = np.full(5, 0.2, np.float32)
    first, second = (
        gradient_variance(
            ooc.models.Logistic(), parameters, small, (1, 4), memory=MEMORY, readers=r
        )
        for r in (1, 3)
    )
    assert np.array_equal(parameters, np.full(5, 0.2, np.float32))
    assert first.sizes == second.sizes
    assert np.array_equal(first.gradient, second.gradient)
    with pytest.raises(InputError, match="batches of 7 were not measured; measured were: 1, 4"):
        first.variance(7)


def noise_of(variances: dict[int, float]) -> GradientNoise:
    sizes = [BatchVariance(size, 9, variance, 0.1, 1.0) for size, variance in variances.items()]
    return GradientNoise(np.zeros(2), 100, tuple(sizes))


def test_a_slope_is_that_of_logarithms() -> None:
    assert noise_of({1: 6.0, 4: 3.0, 16: 1.5}).slope() == pytest.approx(-0.5)
    assert noise_of({2: 1.0, 4: 4.0, 8: 16.0}).slope() == pytest.approx(2.0)
    for variances in ({4: 3.0}, {1: 6.0, 4: 0.0}, {}):
        with pytest.raises(InputError, match="a slope needs two batch sizes or more"):
            noise_of(variances).slope()


@pytest.mark.parametrize(
    ("batch", "rows", "sampling", "expected"),
    [
        (1, 10, "once", 12.0),
        (4, 10, "once", 12 / 4 * 6 / 9),
        (10, 10, "once", 0.0),
        (4, 10, "replacement", 3.0),
        (4, 10, "weight", 3.0),
        (1, 1, "once", 12.0),
    ],
)
def test_what_a_batch_mean_varies_by(batch: int, rows: int, sampling: str, expected: float) -> None:
    assert expected_variance(12.0, batch, rows, sampling) == pytest.approx(expected)


def test_options_of_the_stream_are_taken_each_or_all(small: Dataset) -> None:
    model, at = ooc.models.Logistic(intercept=False), np.zeros(4)
    options: dict[str, Any] = {"seed": 3, "memory": MEMORY, "sampling": "replacement"}
    one = gradient_variance(model, at, small, (2, 8), **options)
    stream = ooc.StreamOptions(**{**options, "seed": 9})
    other = gradient_variance(model, at, small, (8, 2), stream=stream, seed=3)
    assert one.sizes == other.sizes
    assert one.sizes != gradient_variance(model, at, small, (2, 8), stream=stream).sizes
    assert [found.batch_size for found in other.sizes] == [2, 8]
    assert other.rows == 203


def test_rows_of_a_batch_that_is_not_finite_are_named(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((50, 4)).astype(np.float32)
    x[31, 2] = np.inf
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=np.arange(50) % 2)
    with pytest.raises(DataError) as refused, np.errstate(all="ignore"):
        gradient_variance(Saturated(), np.full(4, 0.1), dataset, (10,), shuffle="none")
    assert str(refused.value) == (
        f"loss or gradient of saturated are not finite for rows 30 to 39 of {dataset.path}; check "
        "these rows and the parameters"
    )


@pytest.mark.parametrize(
    ("sizes", "epochs", "message"),
    [
        ((4, 100), 1, "1 epochs of 203 rows have 2 full batches of 100, and a variance needs 3"),
        ((150, 4), 2, "2 epochs of 203 rows have 2 full batches of 150, and a variance needs 3"),
    ],
)
def test_full_batches_are_counted_within_each_epoch(
    small: Dataset, sizes: tuple[int, ...], epochs: int, message: str
) -> None:
    with pytest.raises(InputError) as refused:
        gradient_variance(Saturated(), np.zeros(4), small, sizes, epochs=epochs)
    assert str(refused.value) == f"{message}; lower the batch size or raise epochs"
    found = gradient_variance(Saturated(), np.zeros(4), small, (100,), epochs=2, memory=MEMORY)
    assert found.sizes[0].batches == 4
