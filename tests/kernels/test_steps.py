"""From gradients of shares to a step: signal and noise, pieces, clipping, decay, terms."""

import math

import numpy as np
import pytest
from linear_twin import model_of, problem, twin
from loops import descend, loop_of, recut, stream_of

from ooc.kernels import counters
from ooc.models import MLP
from ooc.models.train_state import start
from ooc.optim import OPTIMIZERS, adam, sgd

ROWS = 1003


def given_problem() -> tuple:
    x, y, weights, first, _ = problem("logistic", ROWS, 6, True, 1)
    return stream_of({"X": x, "y": y, "w": weights.astype(np.float32)}, (13, 70)), first


@pytest.mark.parametrize("slots", [1, 2, 100])
@pytest.mark.parametrize("most_rows", [4, 24, 256])
@pytest.mark.parametrize("batch", [8, 50, 64, 250])
def test_even_and_odd_shares_tell_signal_and_noise(
    batch: int, most_rows: int, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against gradients of the halves that NumPy computes."""
    stream, first = given_problem()
    monkeypatch.setattr("ooc.models.scratch.MOST_SLOT_BYTES", 1)
    monkeypatch.setattr("ooc.models.scratch.FEWEST_SLOTS", slots)
    model = model_of("logistic")
    train_state, loop = descend(model, stream, [sgd(1e-12)], first, batch, most_rows=most_rows)
    x, y, weights = (stream.arrays[role].astype(np.float64) for role in ("X", "y", "w"))
    share = loop.kernel.share_rows(batch)
    assert share == min(most_rows, math.ceil(batch / 2 / 4) * 4)
    sums, visited = np.zeros(6), stream.visited
    for begin in range(0, ROWS, batch):
        rows = visited[begin : begin + batch]
        is_odd = np.arange(len(rows)) // share % 2 == 1
        if not is_odd.any():
            continue
        one, other = (
            twin("logistic", x[half], y[half], weights[half], first, True, 1)[1]
            for half in (rows[~is_odd], rows[is_odd])
        )
        signal = one @ other
        noise = np.sum((one - other) ** 2) / (1 / np.sum(~is_odd) + 1 / np.sum(is_odd))
        sums += [1, signal, signal**2, noise, noise**2, signal * noise]
    totals, wanted = train_state.totals[0], dict(zip("nsSxXc", sums, strict=True))
    assert totals[counters.HALVED] == wanted["n"]
    assert totals[counters.SIGNAL] == pytest.approx(wanted["s"], rel=1e-3, abs=1e-5)
    assert totals[counters.SIGNAL_SQUARES] == pytest.approx(wanted["S"], rel=1e-3)
    assert totals[counters.NOISE] == pytest.approx(wanted["x"], rel=1e-4)
    assert totals[counters.NOISE_SQUARES] == pytest.approx(wanted["X"], rel=1e-4)
    assert totals[counters.SIGNAL_NOISE] == pytest.approx(wanted["c"], rel=1e-3, abs=1e-5)


def test_a_batch_of_one_share_tells_nothing() -> None:
    stream, first = given_problem()
    train_state, _ = descend(model_of("logistic"), stream, [sgd(0.1)], first, 4)
    assert not train_state.totals[0, counters.HALVED : counters.GRADIENT_NORM].any()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_bit_of_a_step_depends_on_pieces(name: str) -> None:
    model = MLP((7, 3), "tanh", standardise=False, weight_decay=0.1)
    stream, _ = given_problem()
    first = model.init(model.layout((6,)), np.random.default_rng(3))
    optimizer = OPTIMIZERS[name](0.1, l2=0.1, l1=0.01, clip_norm=0.1)
    whole, _ = descend(model, stream, [optimizer], first)
    for piece in (1, 5, 64):
        cut, _ = descend(model, stream, [optimizer], first, piece=piece)
        assert np.array_equal(whole.parameters, cut.parameters)
        assert np.array_equal(whole.state, cut.state)
        np.testing.assert_allclose(whole.totals, cut.totals, rtol=1e-9)


@pytest.mark.parametrize("limit", [0.01, 0.1, 1e3])
def test_clipping_is_of_the_gradient_of_the_whole_vector(limit: float) -> None:
    stream, first = given_problem()
    model, whole = model_of("logistic"), recut(stream, ())
    x, y, weights = (stream.arrays[role].astype(np.float64) for role in ("X", "y", "w"))
    expected = first.astype(np.float64)
    for begin in range(0, ROWS, 100):
        rows = stream.visited[begin : begin + 100]
        gradient = twin("logistic", x[rows], y[rows], weights[rows], expected, True, 1)[1]
        gradient *= min(1, limit / np.linalg.norm(gradient))
        gradient[:6] += 0.3 * expected[:6]
        expected = expected - 0.5 * gradient
    optimizer = sgd(0.5, l2=0.3, clip_norm=limit)
    train_state, _ = descend(model, whole, [optimizer], first, 100, piece=3)
    np.testing.assert_allclose(train_state.parameters[0], expected, rtol=1e-4, atol=1e-5)


def test_a_model_s_own_decay_is_of_its_loss_and_of_the_parts_it_names() -> None:
    """Its gradient is added once a step, and its value counts for each row."""
    stream, first = given_problem()
    model, rate, decay = model_of("logistic"), 0.5, 0.2
    x, y, weights = (stream.arrays[role].astype(np.float64) for role in ("X", "y", "w"))
    expected, loss = first.astype(np.float64), 0.0
    for begin in range(0, ROWS, 100):
        rows = stream.visited[begin : begin + 100]
        part, gradient = twin("logistic", x[rows], y[rows], weights[rows], expected, True, 1)
        loss += part + len(rows) * 0.5 * decay * np.sum(expected[:6] ** 2)
        gradient[:6] += decay * expected[:6]
        expected = expected - rate * gradient
    train_state, _ = descend(model, stream, [sgd(rate)], first, 100, decay={"coefficients": decay})
    np.testing.assert_allclose(train_state.parameters[0], expected, rtol=1e-4, atol=1e-5)
    assert train_state.totals[0, counters.LOSS_SUM] == pytest.approx(loss, rel=1e-5)


def test_a_sum_may_be_asked_for_in_place_of_a_mean() -> None:
    stream, first = given_problem()
    model, one = model_of("logistic"), recut(stream, ())
    x, y, weights = (stream.arrays[role].astype(np.float64) for role in ("X", "y", "w"))
    for mean in (True, False):
        train_state = start([sgd(1e-30)], first, model)
        loop = loop_of(model, stream.arrays, train_state, ROWS)
        loop.begin(mean=mean)
        assert loop.run(one.rows(0), True, place=0) == counters.OK
        gradient = twin("logistic", x, y, weights, first, True, 1)[1] * (1 if mean else ROWS)
        np.testing.assert_allclose(loop.gradient, gradient, rtol=1e-4, atol=1e-4)


def test_parts_that_are_fixed_never_move() -> None:
    stream, _ = given_problem()
    model = model_of("logistic", standardise=True)
    layout = model.layout((6,))  # type: ignore[attr-defined]
    first = np.random.default_rng(2).random(layout.size).astype(np.float32) + 0.5
    train_state, _ = descend(model, stream, [adam(0.1, l1=0.1, l2=0.1)], first)
    before, after = layout.views(first), layout.views(train_state.parameters[0])
    for name in layout.shapes:
        assert np.array_equal(before[name], after[name]) == (name in layout.fixed)


def test_a_gradient_that_is_not_finite_stops_the_step() -> None:
    """Rows that are finite, as is their loss, and whose gradient overflows float32."""
    stream, _ = given_problem()
    arrays = {name: array.copy() for name, array in stream.arrays.items()}
    arrays["X"][:, 2], arrays["w"][:] = 3e38, 10.0
    model, first = model_of("hinge"), np.zeros(7, np.float32)
    train_state = start([sgd(0.1)], first, model)
    loop = loop_of(model, arrays, train_state, 64)
    loop.begin()
    rows = recut(type(stream)(arrays, stream.windows), ()).rows(0)
    assert loop.run(rows, True, place=0) == counters.NOT_FINITE
    assert (loop.bad_row, loop.step) == (-1, 0)
