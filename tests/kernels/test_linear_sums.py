"""The full gradient of the linear family: finite differences, weights, any dtype, bad rows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import small_windows, write_dataset

from ooc.core.errors import DataError
from ooc.engines.full_sums import LinearSums
from ooc.models import Linear, Logistic, Softmax
from ooc.models.linear import LinearFamily
from ooc.stream.loader import Loader

MODELS = [
    Linear(),
    Logistic(class_weights=(1.0, 3.0)),
    Softmax(classes=3, intercept=False),
    Linear(loss="huber", loss_constant=0.8),
    Linear(standardise=True, scale=0.5),
]


def sums(model: LinearFamily, loader: Loader, point: np.ndarray) -> tuple[float, np.ndarray]:
    """Return loss and gradient summed over an epoch's rows."""
    total, loss, rows = np.zeros(point.size), 0.0, 0
    adding = LinearSums(model, loader, point.astype(np.float32))
    for window in loader.windows(1):
        count, part = adding.add(window, point, total)
        rows, loss = rows + count, loss + part
    assert rows == loader.plan.order.epoch_rows
    return loss, total


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_gradient_is_the_slope_of_the_loss(
    tmp_path: Path, rng: np.random.Generator, model: LinearFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weighted rows in several windows and tiles; in float64 differences agree to eight digits."""
    small_windows(monkeypatch, 16 * 2**10)
    x = rng.standard_normal((1501, 4)).astype(np.float32)
    y = rng.integers(0, 3 if isinstance(model, Softmax) else 2, 1501)
    weight = rng.random(1501).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=50, X=x, y=y, weight=weight)
    loader, layout = Loader(dataset, 1, memory="512MiB"), model.layout((4,))
    assert loader.plan.order.windows > 1
    point = rng.standard_normal(layout.size)
    for name in layout.fixed:
        layout.views(point)[name][:] = np.float32([0.5, 1.0, 2.0, 0.25])
    gradient = sums(model, loader, point)[1]
    for name, view in layout.views(point).items():
        slopes, told = np.zeros(view.size), layout.views(gradient)[name].reshape(-1)
        for i in range(0 if name in layout.fixed else view.size):
            flat, ends = view.reshape(-1), []
            for step in (1e-4, -2e-4):
                flat[i] += step
                ends.append(sums(model, loader, point)[0])
            flat[i] += 1e-4
            slopes[i] = (ends[0] - ends[1]) / 2e-4
        np.testing.assert_allclose(told, slopes, rtol=1e-7, atol=2e-5)


def test_a_bad_row_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.standard_normal((900, 4)).astype(np.float32)
    x[777, 2] = np.nan
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=50, X=x, y=np.ones(900, np.float32))
    with pytest.raises(DataError, match="row 777 has nan in feature 2"):
        sums(Linear(), Loader(dataset, 1, memory="512MiB"), np.zeros(5))


def test_what_was_used_of_a_window_is_left_out(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.standard_normal((900, 4)).astype(np.float16)
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=50, X=x, y=np.ones(900, np.float32))
    loader, model, point = Loader(dataset, 1, memory="512MiB"), Linear(), rng.standard_normal(5)
    adding = LinearSums(model, loader, point.astype(np.float32))
    for window in loader.windows(1):
        total = np.zeros(5)
        rows, loss = adding.add(replace(window, start=100), point, total)
        used = x[window.rows(window.order[100:].astype(np.int64))].astype(np.float64)
        errors = used @ point[:4] + point[4] - 1
        assert rows == len(errors)
        assert loss == pytest.approx(0.5 * (errors**2).sum(), rel=1e-12)
        np.testing.assert_allclose(total[:4], errors @ used, rtol=1e-9)
