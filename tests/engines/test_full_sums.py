"""Sums over all rows, rows of a window, and what engines say where a loss is not finite."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from datasets import small_windows, write_dataset

import ooc
from ooc.core.errors import DataError, DivergedError
from ooc.engines.full_sums import make_sums
from ooc.engines.window_engine import row_in
from ooc.models import MLP, Linear, Logistic
from ooc.models.contract import Layout
from ooc.optim import cg, lbfgs, sgd
from ooc.store.dataset import Dataset
from ooc.stream.window import Window
from ooc.training.trainer import Trainer

MEMORY = "768MiB"
PLAIN = Linear(standardise=False, standardise_target=False)


class Half:
    """Half of the squared distance of a row from the parameters; infinite where they are so."""

    name: ClassVar[str] = "half"
    needs_target: ClassVar[bool] = False

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        return Layout({"a": row_shape})

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        return np.zeros(layout.size, np.float32)

    def loss_and_grad(self, parameters: np.ndarray, batch: Any, out: np.ndarray) -> float:
        away = parameters - batch.features
        out[:] = away.mean(axis=0)
        return 0.5 * float((away**2).sum(axis=1).mean())

    def scratch_bytes(self, layout: Layout, rows: int) -> int:
        return 8 * rows


@pytest.fixture
def rows(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    small_windows(monkeypatch, 2**11)
    x = rng.standard_normal((230, 3)).astype(np.float32)
    return write_dataset(tmp_path / "a.zarr", 10, X=x, y=np.arange(230) % 2)


@pytest.mark.parametrize("model", [Half(), PLAIN], ids=["of one's own", "compiled"])
def test_sums_are_of_the_rows_that_a_window_has_left(rows: Dataset, model: Any) -> None:
    """By NumPy, added to what is there; a window whose rows are used up adds nothing."""
    loader = ooc.Loader(rows, 16, memory=MEMORY, shuffle="none")
    size = model.layout((3,)).size
    point = np.linspace(-1, 1, size)
    add = make_sums(model, loader, np.zeros(size, np.float32))
    window = next(loader.windows(1))
    count = len(window.order)
    for start in (0, 7, count):
        left = Window(**{**vars(window), "start": start})
        total = np.full(size, 5.0)
        found_rows, loss, _ = add(left, point, total)
        x = window.features[window.order[start:]].astype(np.float64)
        y = np.ravel(window.target)[window.order[start:]] if window.target is not None else None
        if isinstance(model, Half):
            away = point.astype(np.float32) - x
            gradient, expected = away.sum(axis=0), 0.5 * (away**2).sum()
        else:
            error = x @ point[:3] + point[3] - y
            gradient = np.append(error @ x, error.sum())
            expected = 0.5 * (error**2).sum()
        assert found_rows == count - start
        assert loss == pytest.approx(expected, rel=1e-5, abs=1e-12)
        np.testing.assert_allclose(total - 5, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_model_that_samples_draws_anew_in_each_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows are alike: only what is drawn tells one window from another."""
    small_windows(monkeypatch, 2**11)
    x = np.ones((320, 3), np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", 10, X=x, y=np.zeros(320, np.int64))
    model = MLP(hidden=(4,), dropout=0.5, standardise=False)
    loader = ooc.Loader(dataset, 16, memory=MEMORY, shuffle="none")
    point = np.random.default_rng(0).standard_normal(model.layout((3,)).size)
    add = make_sums(model, loader, point.astype(np.float32))
    losses = [add(window, point, np.zeros(point.size))[1] for window in loader.windows(1)]
    assert len(losses) > 2 and len(set(losses[:-1])) == len(losses) - 1


def test_a_loss_that_is_not_finite_is_told_with_its_rows(rows: Dataset) -> None:
    loader = ooc.Loader(rows, 16, memory=MEMORY, shuffle="none")
    window = next(loader.windows(1))
    add = make_sums(Half(), loader, np.zeros(3, np.float32))  # type: ignore[arg-type]
    last = len(window.order) - 1
    with pytest.raises(DivergedError) as told, np.errstate(all="ignore"):
        add(window, np.full(3, 1e30), np.zeros(3))
    assert str(told.value) == (
        f"the loss is inf for rows 0 to {last}; begin with mini-batches (hybrid), or look for rows "
        "that are not finite"
    )
    add = make_sums(PLAIN, loader, np.zeros(4, np.float32))
    with pytest.raises(DivergedError) as told:
        add(window, np.full(4, 1e200), np.zeros(4))
    assert str(told.value) == (
        "the loss is not finite at row 0, whose data are finite: the steps are too long; lower "
        "the learning rate, or standardise the features"
    )


@pytest.mark.parametrize("method", [lbfgs(), cg()], ids=["lbfgs", "cg"])
def test_where_each_row_lacks_a_value_a_full_gradient_is_none(tmp_path: Path, method: Any) -> None:
    x = np.full((60, 2), np.nan, np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=np.arange(60) % 2)
    trainer = Trainer(Logistic(standardise=False), method, memory=MEMORY, missing_values="drop")
    with pytest.raises(DataError) as told:
        trainer.fit(dataset)
    assert str(told.value) == (
        f"no row of {dataset.path} could be used: each lacks a value or cannot be read"
    )


def test_rows_that_lack_a_value_count_in_no_full_gradient(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With weights and a penalty: the mean over what is left, by NumPy, at the first point."""
    small_windows(monkeypatch, 2**11)
    x, weight = rng.standard_normal((230, 3)), rng.uniform(0.5, 2, 230)
    x[::9, 1] = np.nan
    y = rng.standard_normal(230) + 1
    dataset = write_dataset(tmp_path / "a.zarr", 10, X=x, y=y, weight=weight)
    made = Trainer(PLAIN, lbfgs(l2=0.1), memory=MEMORY, missing_values="drop", log_every=1)
    run = made.fit(dataset, 2)
    first, *_ = [line for line in run.history if line["kind"] == "train"]
    used = ~np.isnan(x).any(axis=1)
    error = -(weight * y)[used]
    gradient = np.append(error @ x[used], error.sum()) / used.sum()
    assert first["rows"] == used.sum() == made.loader(dataset).plan.order.epoch_rows - 26
    assert first["loss"] == pytest.approx(0.5 * (weight * y**2)[used].mean(), rel=1e-6)
    assert first["gradient_norm"] == pytest.approx(np.linalg.norm(gradient), rel=1e-6)
    assert run.results["skipped_rows"] == 2 * 26


@pytest.mark.parametrize(
    ("row", "place"), [(39, None), (40, 0), (43, 3), (44, None), (11, None), (12, 4), (15, 7)]
)
def test_a_row_is_found_in_the_blocks_of_a_window(row: int, place: int | None) -> None:
    arrays = {"X": np.arange(16.0).reshape(8, 2), "y": np.arange(8)[:, None] + 0.5}
    window = Window(
        {**arrays, "w": np.arange(8) + 100}, ("X", "y", "w"), np.arange(8, dtype=np.int32), 0,
        np.array([40, 12]), 4, 0, 0, True,
    )  # fmt: skip
    found = row_in(window, row)
    if place is None:
        assert found is None
    else:
        assert found is not None
        assert found[0].tolist() == [2.0 * place, 2.0 * place + 1]
        assert found[1:] == (place + 0.5, place + 100.0)
    bare = Window(**{**vars(window), "roles": ("X", None, None)})
    assert place is None or row_in(bare, row)[1:] == (None, None)  # type: ignore[index]


def test_steps_that_are_too_long_are_told_with_step_rate_and_rows(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """The compiled engine's, of rows that lie in their order; the rate falls from step to step."""
    x = rng.standard_normal((200, 3)).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", 10, X=x, y=x[:, 0])
    schedule = ooc.schedules.inverse_scaling(1.0, 1.0)
    made = Trainer(PLAIN, sgd(1e25, schedule=schedule), 10, memory=MEMORY, shuffle="none")
    with pytest.raises(DivergedError) as told:
        made.fit(dataset, 1)
    said = str(told.value)
    step = int(said.partition("step ")[2].partition(",")[0])
    first, rate = 10 * step, 1e25 / (1 + step)
    assert said == (
        f"the loss is not finite at row {first} (step {step}, learning rate {rate:g}, batch of "
        f"rows {first}, {first + 1}, {first + 2} and 7 more), whose data are finite: the steps are "
        "too long; lower the learning rate, or standardise the features"
    )
    assert 0 < step < 5
