"""A part of which a batch touches some rows only: the same steps, and nothing else moves."""

import numpy as np
import pytest
from bag import IDS, WIDTH, Bag
from loops import Stream, descend, stream_of

from ooc.kernels.counters import LOSS_SUM
from ooc.models.compiled import batch_gradient
from ooc.optim import OPTIMIZERS, Optimizer, adam, momentum, sgd
from ooc.stream.batch import Batch

ROWS = 203


def stream(model: Bag, rng: np.random.Generator, ids: int) -> Stream:
    """Identifiers of a row may be equal; the last ones of the table are never touched."""
    x = rng.integers(0, ids, (ROWS, IDS)) + model.base
    return stream_of({"X": x, "y": rng.standard_normal(ROWS)}, (5, 6))


def naive(
    model: Bag, held: Stream, optimizer: Optimizer, first: np.ndarray, batch: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Take whole steps, and put back what belongs to rows that the batch does not touch."""
    parameters, state, summed = first.copy(), optimizer.init(first.size), 0.0
    visited = held.visited
    for step, begin in enumerate(range(0, ROWS, batch)):
        rows = visited[begin : begin + batch]
        x, y = held.arrays["X"][rows], held.arrays["y"][rows]
        loss, gradient = model.twin(parameters, x, y)
        summed += loss
        used = np.zeros(model.rows, bool)
        used[x - model.base] = True
        moves = np.concatenate([np.ones(WIDTH, bool), np.repeat(used, WIDTH)])
        before, kept = parameters.copy(), state.copy()
        optimizer.update(parameters, gradient, state, step)
        parameters[~moves], state[:, ~moves] = before[~moves], kept[:, ~moves]
    return parameters, state, summed


EXTRAS = {"plain": {}, "all": {"l2": 0.1, "l1": 0.01, "clip_norm": 0.3}}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_a_naive_twin(name: str, extra: str, rng: np.random.Generator) -> None:
    model, optimizer = Bag(), OPTIMIZERS[name](0.1, **EXTRAS[extra])
    held, first = stream(model, rng, 25), rng.standard_normal(WIDTH * 31)
    for batch, most_rows in ((17, 4), (40, 256), (300, 8)):
        parameters, state, loss = naive(model, held, optimizer, first, batch)
        found, _ = descend(model, held, [optimizer], first, batch, most_rows=most_rows)
        np.testing.assert_allclose(found.parameters[0], parameters, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(found.state[0], state, rtol=1e-9, atol=1e-11)
        assert found.totals[0, LOSS_SUM] == pytest.approx(loss, rel=1e-9)
        assert np.array_equal(found.parameters[0, -WIDTH * 5 :], first[-WIDTH * 5 :])


def test_no_bit_depends_on_threads_or_on_other_models(rng: np.random.Generator) -> None:
    model, optimizers = Bag(), (adam(0.1), momentum(0.05, clip_norm=0.1), sgd(0.2))
    held, first = stream(model, rng, 30), rng.standard_normal(WIDTH * 31)
    together, _ = descend(model, held, optimizers, first, 50, most_rows=8)
    threads, _ = descend(model, held, optimizers, first, 50, parallel=True, most_rows=8)
    assert np.array_equal(together.parameters, threads.parameters)
    for number, optimizer in enumerate(optimizers):
        alone, _ = descend(model, held, [optimizer], first, 50, most_rows=8)
        assert np.array_equal(together.parameters[number], alone.parameters[0])
        assert np.array_equal(together.totals[number], alone.totals[0])


def test_the_gradient_of_a_batch_is_that_of_the_whole_table(rng: np.random.Generator) -> None:
    """By the twin, and by finite differences."""
    model = Bag()
    held, point = stream(model, rng, 25), rng.standard_normal(WIDTH * 31)
    x, y = held.arrays["X"], held.arrays["y"]
    batch, found = Batch({"X": x, "y": y}, np.arange(ROWS), 0, 0, ("X", "y", None)), point.copy()
    kernel = model.kernel(model.layout((IDS,)), point)
    batch_gradient(model, kernel, point, batch, found)
    np.testing.assert_allclose(found, model.twin(point, x, y)[1], rtol=1e-12, atol=1e-12)
    other = np.empty_like(found)
    for i in range(0, point.size, 5):
        ends = []
        for sign in (1, -1):
            moved = point.copy()
            moved[i] += sign * 1e-5
            ends.append(batch_gradient(model, kernel, moved, batch, other)[2] / ROWS)
        assert found[i] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-8)
