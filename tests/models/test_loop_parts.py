"""The window loop's own decisions: threads, waiting rows, and what it may not do."""

import os
from typing import Any

import numpy as np
import pytest
from linear_twin import problem
from loops import loop_of

from ooc.models import MLP, Logistic
from ooc.models.loop import WindowLoop, make_loop, parallel_threads
from ooc.models.scratch import sizes_of
from ooc.models.train_state import start
from ooc.optim import sgd
from ooc.store.dataset import Dataset


@pytest.mark.parametrize(
    ("cores", "allowed", "threads"), [(3, 64, 3), (64, 64, 8), (6, 2, 2), (64, 5, 5), (1, 1, 1)]
)
def test_no_more_threads_than_cores_than_numba_has_and_than_eight(
    monkeypatch: pytest.MonkeyPatch, cores: int, allowed: int, threads: int
) -> None:
    monkeypatch.setattr("numba.get_num_threads", lambda: allowed)
    assert parallel_threads(cores) == threads


def small_loop(model: Any, batch: int, threads: int) -> WindowLoop:
    """Return the loop of a model over twenty rows of three features."""
    x, y, *_ = problem("logistic", 20, 3, True, 0)
    state = start([sgd(0.1)], np.zeros(model.layout((3,)).size, np.float32), model)
    return loop_of(model, {"X": x, "y": y}, state, batch, threads=threads)


@pytest.mark.parametrize(
    ("model", "batch", "threads", "parallel"),
    [
        (Logistic(standardise=False), 64, 2, False),  # shares are small, and it is not eager
        (Logistic(standardise=False), 4096, 2, True),
        (Logistic(standardise=False), 4096, 1, False),
        (MLP((4,), standardise=False), 4096, 2, True),
        (MLP((4,), standardise=False), 1200, 2, True),  # eager, whatever their size
        (MLP((4,), standardise=False), 64, 1, False),
    ],
)
def test_shares_go_to_threads_where_that_may_be_faster(
    model: Any, batch: int, threads: int, parallel: bool
) -> None:
    loop = small_loop(model, batch, threads)
    assert loop.goes_parallel == parallel
    assert loop.threads == min(threads, loop.sizes.threads)


@pytest.mark.parametrize(
    ("model", "batch", "threads", "certain"),
    [
        (MLP((4,), standardise=False), 4096, 2, True),
        (MLP((4,), standardise=False), 4096, 1, False),
        (MLP((4,), standardise=False), 64, 2, False),  # one share: a try tells
        (Logistic(standardise=False), 4096, 2, False),
    ],
)
def test_threads_are_tried_first_where_a_batch_is_one_share(
    model: Any, batch: int, threads: int, certain: bool
) -> None:
    loop = small_loop(model, batch, threads)
    assert loop.is_for_threads == certain


@pytest.mark.parametrize(
    ("batch", "models", "rows", "shares", "slots"),
    [
        (1, 1, 4, 1, 1),
        (64, 1, 32, 2, 2),
        (4096, 1, 256, 16, 16),
        (100_000, 1, 256, 391, 391),
        (100_000, 3000, 256, 391, 87),  # 8 MiB of gradients: 2^23 / (3000 * 8 * 4)
        (100_000, 10**6, 256, 391, 4),
    ],
)
def test_how_a_batch_is_cut_is_a_function_of_batch_and_model(
    batch: int, models: int, rows: int, shares: int, slots: int
) -> None:
    model = Logistic(standardise=False)
    layout = model.layout((7,))
    kernel = model.kernel(layout, np.zeros(8, np.float32))
    sizes = sizes_of(layout, kernel, batch, models, 4)
    assert (sizes.share_rows, sizes.shares, sizes.slots) == (rows, shares, slots)
    assert sizes.threads == min(8, slots)
    assert (sizes.gradient, sizes.capacity) == (8, 0)


def test_a_loop_of_a_dataset_has_room_for_the_largest_batch_it_may_come_to(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {3, 5, 7})
    monkeypatch.setattr("numba.get_num_threads", lambda: 64)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    model = Logistic(standardise=False)
    state = start([sgd(0.1)], np.zeros(4, np.float32), model)
    loop = make_loop(model, dataset, state, 64, 4096, piece=3)
    assert (loop.batch_size, loop.sizes.share_rows, loop.sizes.shares) == (64, 256, 16)
    assert loop.threads == 3
    assert [(each.name, each.values) for each in loop.columns] == [("X", 3), ("y", 1)]
    assert loop.work["piece_count"][0] == 2
    assert os.environ["GOMP_SPINCOUNT"] == "3000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    plain = make_loop(model, dataset, state, 64)
    assert (plain.sizes.share_rows, plain.work["piece_count"][0]) == (32, 1)
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    assert np.array_equal(plain.waiting, loop.waiting)
    assert (plain.step, plain.rows) == (0, 0)


def test_a_loop_begins_as_it_is_told() -> None:
    x, y, *_ = problem("logistic", 20, 3, True, 0)
    model = Logistic(standardise=False)
    state = start([sgd(0.1)], np.zeros(4, np.float32), model)
    loop = loop_of(model, {"X": x, "y": y}, state, 8)
    loop.begin(7, run_key=2**64 - 5, seed=9, mean=False)
    numbers = {name: int(loop.work[name][0]) for name in ("run_key", "seed", "mean")}
    assert (loop.step, numbers) == (7, {"run_key": -5, "seed": 9, "mean": 0})
    loop.work["in_batch"], loop.work["in_share"] = 3, 2
    loop.work["used"], loop.work["folded"] = 1, 1
    loop.begin()
    names = ("in_batch", "in_share", "used", "folded", "step", "run_key")
    assert [int(loop.work[name][0]) for name in names] == [0] * 6
    assert (loop.work["seed"][0], loop.work["mean"][0]) == (-1, 1)
