"""Which rates a range test tries, on which rows, and which of them it takes."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset
from linear_twin import twin

from ooc.core.errors import DataError, InputError
from ooc.models import Linear
from ooc.optim import sgd
from ooc.optim.schedules import cosine
from ooc.store.dataset import Dataset
from ooc.stream.window import Window
from ooc.training import range_test
from ooc.training.range_test import find_rate
from ooc.training.trainer import Trainer

MODEL = Linear(standardise=False, standardise_target=False)
INF = math.inf


def listed(losses: dict[float, float], rest: float = INF) -> Callable[[float], float]:
    return lambda rate: losses.get(rate, rest)


SEARCHES: dict[str, tuple[Callable[[float], float], float, float, Any]] = {
    "two that are worse end a walk, and the best one's neighbours are halfway": (
        lambda rate: 1 + math.log(rate, 4) ** 2, 100.0, 1.0,
        {1 / 16, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 16.0},
    ),
    "a smaller one that is as good but for a thousandth of what was gained": (
        listed({1.0: 1.0, 0.5: 1.0004, 0.25: 1.0009}, 3.0), 2.0, 0.25, None,
    ),
    "and none that is worse by more": (
        listed({1.0: 1.0, 0.5: 1.0004, 0.25: 1.0011}, 3.0), 2.0, 0.5, None,
    ),
    "from far away that is a hundredth of the least loss": (
        listed({1.0: 1.0, 0.5: 1.0004, 0.25: 1.009}, 3.0), 1e6, 0.25, None,
    ),
    "and no more": (listed({1.0: 1.0, 0.5: 1.009, 0.25: 1.011}, 3.0), 1e6, 0.5, None),
    "where nothing is gained, the largest of those that lose no more than that": (
        listed({1.0: 0.9985, 4.0: 0.998, 8.0: 1.5, 16.0: 0.9975, 32.0: 1.002}), 1.0, 32.0, None,
    ),
    "and none that loses more": (
        listed({1.0: 0.9985, 4.0: 0.998, 8.0: 1.5, 16.0: 0.9975, 32.0: 1.003}), 1.0, 16.0, None,
    ),
    "below one that learns nothing there is nothing": (
        lambda rate: 1.0 if rate <= 1 else 2.0, 1.0, 1.0, {0.25, 0.5, 1.0, 2.0, 4.0, 16.0},
    ),
    "up as long as it gets better, for sixteen": (
        lambda rate: 1 / rate, 2.0, 2.0 * 4.0**15,
        {*(4.0**power for power in range(16)), 4.0**15 / 2, 4.0**15 * 2},
    ),
    "down as long as it diverges, and on from there": (
        lambda rate: INF if rate > 4.0**-9 else 1 + math.log(rate * 4**10, 4) ** 2, 9.0, 4.0**-10,
        {4.0, *(4.0**-power for power in range(13)), 4.0**-10 / 2, 4.0**-10 * 2},
    ),
    "losses below zero": (
        listed({1.0: -2.0, 0.5: -1.9998, 0.25: -1.9985}, 3.0), -1.0, 0.5, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SEARCHES)
def test_of_the_rates_that_were_tried_it_takes(name: str) -> None:
    loss_after, before, rate, tried = SEARCHES[name]
    found = range_test._search(loss_after, 1.0, before)
    assert found is not None and found.rate == rate
    assert list(found.trials) == sorted(found.trials)
    assert all(loss == loss_after(each) for each, loss in found.trials.items())
    assert tried is None or set(found.trials) == tried


def test_where_all_diverge_there_is_none() -> None:
    """After sixteen, most of them smaller and smaller, and the two beside the first."""
    tried: list[float] = []

    def diverging(rate: float) -> float:
        tried.append(rate)
        return INF

    assert range_test._search(diverging, 0.5, 1.0) is None
    down = [0.5 / 4**power for power in range(1, 15)]
    assert tried == [0.5, 2.0, *down, 0.25, 1.0]


@pytest.fixture
def rows(tmp_path: Path, rng: np.random.Generator) -> Dataset:
    x = rng.standard_normal((1000, 3)).astype(np.float32) * np.float32([1, 2, 0.5])
    y = (x @ np.float32([1, -1, 2]) + rng.standard_normal(1000) + 0.5).astype(np.float32)
    return write_dataset(tmp_path / "a.zarr", 50, X=x, y=y)


@pytest.mark.parametrize(
    ("batch", "limits", "trained", "judged", "steps_of"),
    [
        (10, {}, 800, 200, (10, 10)),
        (256, {}, 800, 200, (100, 200)),
        (10, {"MOST_STEPS": 5, "LEAST_ROWS": 100, "MOST_JUDGES": 30}, 100, 30, (10, 10)),
        (40, {"MOST_STEPS": 5, "LEAST_ROWS": 100, "MOST_JUDGES": 30}, 200, 30, (25, 30)),
    ],
)
def test_rows_that_judge_are_apart_from_those_that_are_tried_on(
    rows: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
    limits: dict[str, int],
    trained: int,
    judged: int,
    steps_of: tuple[int, int],
) -> None:
    """A fifth of the window judges; a trial has eight steps at least, and has an end."""
    for name, value in limits.items():
        monkeypatch.setattr(range_test, name, value)
    seen: list[tuple[Any, Window, int]] = []

    def noted(model: Any, optimizer: Any, values: Any, loader: Any, window: Any, size: int) -> Any:
        seen.append((optimizer, window, size))
        return values, 1.0

    monkeypatch.setattr(range_test, "_descent", noted)
    loader = Trainer(MODEL, sgd(), batch, memory="512MiB").loader(rows)
    order = next(loader.looked_at()).order.copy()
    find_rate(MODEL, sgd(), loader, np.zeros(4, np.float32))
    # Judged at the start; then the loss on the way without a step; then both of each trial.
    assert [each[0] is None for each in seen[:4]] == [True, True, False, True]
    for number, (_, window, size) in enumerate(seen):
        is_judge = number == 0 or (number > 1 and number % 2)
        expected = order[-judged:] if is_judge else order[:trained]
        np.testing.assert_array_equal(window.order, expected)
        assert (window.start, window.last) == (0, is_judge)
        assert size == steps_of[is_judge]
    assert all(each[0].rate > 0 for each in seen[2::2])


def test_each_trial_is_a_descent_from_the_start_at_that_rate_alone(rows: Dataset) -> None:
    """By NumPy: its penalty counts and its schedule does not; one that rises on the way is none."""
    optimizer, batch = sgd(l2=0.1, schedule=cosine(3)), 32
    loader = Trainer(MODEL, optimizer, batch, memory="512MiB").loader(rows)
    window = next(loader.looked_at())
    x, y = window.features[window.order].astype(np.float64), np.ravel(window.target)[window.order]  # type: ignore[arg-type]
    first = np.array([0.5, -0.25, 1.0, 0.0])
    state = loader.state_dict()
    found = find_rate(MODEL, optimizer, loader, first.astype(np.float32))
    assert loader.state_dict() == state

    def step(parameters: np.ndarray, at: slice, rate: float) -> tuple[float, np.ndarray]:
        ones = np.ones(len(y[at]))
        loss, gradient = twin("squared", x[at], y[at], ones, parameters, True, 1)
        return loss, parameters - rate * (gradient + 0.1 * np.append(parameters[:3], 0))

    def descent(rate: float) -> float:
        parameters, at_first, way = first, 0.0, 0.0
        for start in range(0, 800, batch):
            at = slice(start, start + batch)
            at_first += step(first, at, 0.0)[0]
            with np.errstate(all="ignore"):
                loss, parameters = step(parameters, at, rate)
            way += loss
        if not way <= 1.02 * at_first:
            return INF
        return step(parameters, slice(800, 1000), 0.0)[0] / 200

    assert len(found.trials) > 5 and INF in found.trials.values()
    for rate, loss in found.trials.items():
        assert loss == pytest.approx(descent(rate), rel=1e-4), rate


def test_what_is_wrong_is_told_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = write_dataset(tmp_path / "few.zarr", X=np.ones((4, 2), np.float32), y=np.zeros(4))
    with pytest.raises(InputError) as told:
        Trainer(MODEL, sgd(), 1, memory="512MiB").fit(few)
    expected = f"{few.path} has too few rows to find a learning rate; give one with lr="
    assert str(told.value) == expected
    five = write_dataset(tmp_path / "five.zarr", X=np.ones((5, 2), np.float32), y=np.zeros(5))
    assert Trainer(MODEL, sgd(), 1, memory="512MiB").fit(five, 1).results["learning_rate"] > 0
    loader = Trainer(MODEL, sgd(), 1, memory="512MiB").loader(five)
    monkeypatch.setattr(range_test, "_search", lambda *given: None)
    with pytest.raises(InputError) as told:
        find_rate(MODEL, sgd(), loader, np.zeros(3, np.float32))
    assert str(told.value) == (
        "every learning rate that was tried diverges on the first window; give a small one "
        "with lr=, standardise the features, or choose another model"
    )


def test_a_bad_row_is_told_and_an_overflow_is_a_rate_too_long(
    rows: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = Trainer(MODEL, sgd(), 10, memory="512MiB").loader(rows)
    told: list[str] = []

    def failing(model: Any, optimizer: Any, values: Any, *more: Any) -> Any:
        if optimizer is not None and optimizer.rate > 0.01:
            told.append("far")
            raise DataError("its square overflows")
        if optimizer is not None and len(told) > 5:
            raise DataError("row 3 is bad")
        return values, 1.0

    monkeypatch.setattr(range_test, "_descent", failing)
    found = find_rate(MODEL, sgd(), loader, np.zeros(4, np.float32))
    assert all((loss == INF) == (rate > 0.01) for rate, loss in found.trials.items())
    told.extend("far" for _ in range(6))
    with pytest.raises(DataError, match="row 3 is bad"):
        find_rate(MODEL, sgd(), loader, np.zeros(4, np.float32))


@pytest.mark.parametrize("at_first", [1.0, -1.0, 1e6])
def test_a_loss_may_rise_by_a_fiftieth_on_the_way(
    rows: Dataset, monkeypatch: pytest.MonkeyPatch, at_first: float
) -> None:
    """Steps beyond a rate are too long, though what they come to looks fine."""
    rises = {0.01: 0.019, math.inf: 0.021}

    def rising(model: Any, optimizer: Any, values: Any, *more: Any) -> Any:
        rate = 0.0 if optimizer is None else optimizer.rate
        rise = next(each for limit, each in rises.items() if rate <= limit) if rate else 0.0
        return values, at_first + rise * abs(at_first)

    monkeypatch.setattr(range_test, "_descent", rising)
    loader = Trainer(MODEL, sgd(), 10, memory="512MiB").loader(rows)
    found = find_rate(MODEL, sgd(), loader, np.zeros(4, np.float32))
    assert {rate > 0.01: loss for rate, loss in found.trials.items()} == {
        False: at_first, True: INF,
    }  # fmt: skip
