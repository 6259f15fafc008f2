"""The window loop's own decisions: threads, waiting rows, and what it may not do."""

from typing import Any

import numpy as np
import pytest
from linear_twin import problem
from loops import loop_of

from ooc.models import MLP, Logistic
from ooc.models.loop import parallel_threads
from ooc.models.scratch import sizes_of
from ooc.models.train_state import start
from ooc.optim import sgd


@pytest.mark.parametrize(
    ("cores", "allowed", "threads"), [(3, 64, 3), (64, 64, 8), (6, 2, 2), (64, 5, 5), (1, 1, 1)]
)
def test_no_more_threads_than_cores_than_numba_has_and_than_eight(
    monkeypatch: pytest.MonkeyPatch, cores: int, allowed: int, threads: int
) -> None:
    monkeypatch.setattr("numba.get_num_threads", lambda: allowed)
    assert parallel_threads(cores) == threads


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
    x, y, *_ = problem("logistic", 20, 3, True, 0)
    layout = model.layout((3,))
    state = start([sgd(0.1)], np.zeros(layout.size, np.float32), model)
    loop = loop_of(model, {"X": x, "y": y}, state, batch, threads=threads)
    assert loop.goes_parallel == parallel
    assert loop.threads == min(threads, loop.sizes.threads)


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
