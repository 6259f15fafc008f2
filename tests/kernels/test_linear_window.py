"""Window loops of the linear family: naive twins, many models at once, exact stops, noise."""

import numpy as np
import pytest
from kernels.test_linear import LOSS_CODES, naive_loss_and_gradient, problem, problem_of

from ooc.engines.train_state import Descents, start
from ooc.kernels import counters
from ooc.kernels.linear import no_own_loss, rows_of_first_half
from ooc.kernels.linear_window import Candidates, Rows, Tile, train_window
from ooc.optim import Optimizer, adam, momentum, sgd

CUTS = [(0, 130), (130, 131), (131, 700), (700, 1000)]


def run(
    name: str,
    data: tuple[np.ndarray, ...],
    descents: Descents,
    order: np.ndarray,
    batch: int = 64,
    stops: tuple[int, ...] = (counters.NEVER,),
    tile_rows: int = 24,
) -> np.ndarray:
    """Train on windows of uneven length, so that batches and tiles cross them."""
    x, y, weights, outputs = data
    columns, size = x.shape[1], descents.parameters.shape[1]
    tile = Tile(
        np.empty((tile_rows, columns), np.float32),
        np.empty(tile_rows, np.float32),
        np.empty(tile_rows, np.float32),
        np.empty(tile_rows, np.int64),
        np.empty((tile_rows, outputs), np.float32),
        np.empty((2, columns), np.float32),
        np.empty(3),
    )
    candidates = Candidates(
        descents.parameters,
        descents.state,
        descents.settings,
        np.arange(size) < outputs * columns,
        descents.active,
        np.zeros((len(descents), 2, size)),
        np.empty(size),
        descents.totals,
    )
    counted, given = np.zeros(counters.COUNTERS, np.int64), problem_of(name, True)
    for first, last in CUTS:
        rows = order[first:last]
        window = Rows(
            x[rows],
            False,
            y[rows].astype(np.float32),
            weights[rows].astype(np.float32),
            np.arange(last - first, dtype=np.int32),
            np.zeros(1, np.int64),
            last - first,
        )
        place, waiting = 0, iter([stop for stop in stops if stop > counted[counters.STEP]])
        while place < last - first:
            stop = next(waiting, counters.NEVER)
            status = train_window(
                window, place, last - first, last == 1000, batch, stop, given, no_own_loss,
                candidates, tile, counted,
            )  # fmt: skip
            assert status == counters.OK
            place = counted[counters.PLACE]
            assert counted[counters.STEP] <= stop
    return counted


@pytest.mark.parametrize("optimizer", [sgd(0.1), momentum(0.05), adam(0.02)], ids=lambda o: o.name)
@pytest.mark.parametrize("name", LOSS_CODES)
def test_a_window_of_steps_is_that_of_a_loop_in_numpy(name: str, optimizer: Optimizer) -> None:
    x, y, weights, first, outputs = problem(name, 1000, 6, True, 1)
    first *= np.float32(0.3)
    order = np.random.default_rng(5).permutation(1000)
    expected, memory, twin_loss = first.copy(), optimizer.init(first.size), 0.0
    for step, begin in enumerate(range(0, 1000, 64)):
        rows = order[begin : begin + 64]
        loss, gradient = naive_loss_and_gradient(
            name, x[rows], y[rows], weights[rows], expected, True, outputs
        )
        twin_loss += loss
        optimizer.update(expected, gradient, memory, step)
    descents = start((optimizer,), first)
    counted = run(name, (x, y, weights, outputs), descents, order)
    assert counted[counters.STEP] == 16
    assert counted[counters.ROWS] == 1000
    assert descents.totals[0, counters.LOSS_SUM] == pytest.approx(twin_loss, rel=1e-3)
    np.testing.assert_allclose(descents.parameters[0], expected, rtol=5e-3, atol=5e-4)


def test_several_models_do_what_each_does_alone() -> None:
    x, y, weights, first, outputs = problem("logistic", 1000, 6, True, 1)
    order = np.random.default_rng(5).permutation(1000)
    optimizers = (sgd(0.5), adam(0.01, l1=1e-3), momentum(0.1, l2=0.1, clip_norm=0.1))
    together = start(optimizers, first)
    run("logistic", (x, y, weights, outputs), together, order)
    for number, optimizer in enumerate(optimizers):
        alone = start((optimizer,), first)
        run("logistic", (x, y, weights, outputs), alone, order)
        assert np.array_equal(together.parameters[number], alone.parameters[0])
        assert np.array_equal(together.totals[number], alone.totals[0])


def test_one_that_diverges_is_left_behind() -> None:
    x, y, weights, first, outputs = problem("squared", 1000, 6, True, 1)
    order = np.arange(1000)
    together, alone = start((sgd(0.1), sgd(1e6)), first), start((sgd(0.1),), first)
    run("squared", (x, y, weights, outputs), together, order)
    run("squared", (x, y, weights, outputs), alone, order)
    assert together.active.tolist() == [True, False]
    assert np.array_equal(together.parameters[0], alone.parameters[0])


def test_stops_between_steps_change_nothing() -> None:
    x, y, weights, first, outputs = problem("logistic", 1000, 6, True, 1)
    order, whole = np.arange(1000), start((adam(0.1),), first)
    run("logistic", (x, y, weights, outputs), whole, order)
    parts = start((adam(0.1),), first)
    run("logistic", (x, y, weights, outputs), parts, order, stops=tuple(range(1, 17)))
    assert np.array_equal(whole.parameters, parts.parameters)
    assert np.array_equal(whole.totals, parts.totals)


@pytest.mark.parametrize("batch", [8, 50, 64, 250])
def test_the_halves_tell_signal_and_noise(batch: int) -> None:
    """Against gradients of the halves that NumPy computes."""
    x, y, weights, first, outputs = problem("logistic", 1000, 6, True, 1)
    order, descents = np.random.default_rng(2).permutation(1000), start((sgd(1e-12),), first)
    run("logistic", (x, y, weights, outputs), descents, order, batch)
    signal, noise, count = 0.0, 0.0, 0
    for begin in range(0, 1000, batch):
        rows = order[begin : begin + batch]
        # Tiles of 24 rows are cut into groups of four, which go to the halves in turn.
        which = np.arange(len(rows)) // 4 % 2
        whole = len(rows) // 4 * 4
        which[whole:] = (whole // 4 + np.arange(whole, len(rows))) % 2
        assert np.sum(which == 0) == rows_of_first_half(len(rows))
        one, other = (
            naive_loss_and_gradient(
                "logistic", x[half], y[half], weights[half], first, True, outputs
            )[1]
            for half in (rows[which == 0], rows[which == 1])
        )
        signal += one @ other
        noise += np.sum((one - other) ** 2) / (1 / np.sum(which == 0) + 1 / np.sum(which == 1))
        count += 1
    totals = descents.totals[0]
    assert totals[counters.HALVED] == count
    assert totals[counters.SIGNAL] == pytest.approx(signal, rel=1e-3, abs=1e-5)
    assert totals[counters.NOISE] == pytest.approx(noise, rel=1e-4)
