"""The window loop against a loop in NumPy: batches, stops, several models, and rows it refuses."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_twin import CONSTANTS, TWINS, model_of, problem, twin
from loops import Stream, descend, loop_of, recut, stream_of

from ooc.kernels.counters import BAD_TARGET, BAD_WEIGHT, LOSS_SUM, NOT_FINITE, OK
from ooc.models import MLP, Logistic
from ooc.models.contract import Model
from ooc.models.train_state import start
from ooc.optim import Optimizer, adam, momentum, sgd

ROWS = 1003
CUTS = (13, 14, 70)
NETWORK = MLP((7,), "tanh", standardise=False, dropout=0.25, weight_decay=0.01)


def given_problem(name: str) -> tuple[Model, Stream, np.ndarray, int]:
    x, y, weights, first, outputs = problem(name, ROWS, 6, True, 1)
    stream = stream_of({"X": x, "y": y, "w": weights.astype(np.float32)}, CUTS)
    return model_of(name, outputs=outputs), stream, first * np.float32(0.3), outputs


def network_problem() -> tuple[Model, Stream, np.ndarray]:
    _, stream, _, _ = given_problem("logistic")
    layout = NETWORK.layout((6,))
    return NETWORK, stream, NETWORK.init(layout, np.random.default_rng(3))


def batches_of(stream: Stream, batch: int) -> list[np.ndarray]:
    visited = stream.visited
    return [visited[begin : begin + batch] for begin in range(0, len(visited), batch)]


@pytest.mark.parametrize("optimizer", [sgd(0.1), momentum(0.05), adam(0.02)], ids=lambda o: o.name)
@pytest.mark.parametrize("name", [*TWINS, "softmax"])
def test_an_epoch_of_steps_is_that_of_a_loop_in_numpy(name: str, optimizer: Optimizer) -> None:
    model, stream, first, outputs = given_problem(name)
    x, y, weights = (stream.arrays[role].astype(np.float64) for role in ("X", "y", "w"))
    expected, memory, summed = first.copy(), optimizer.init(first.size), 0.0
    for step, rows in enumerate(batches_of(stream, 64)):
        loss, gradient = twin(name, x[rows], y[rows], weights[rows], expected, True, outputs)
        summed += loss
        optimizer.update(expected, gradient, memory, step)
    train_state, loop = descend(model, stream, [optimizer], first)
    assert (loop.step, loop.rows) == (16, ROWS)
    assert train_state.totals[0, LOSS_SUM] == pytest.approx(summed, rel=1e-3)
    np.testing.assert_allclose(train_state.parameters[0], expected, rtol=5e-3, atol=5e-4)
    assert name == "softmax" or CONSTANTS.get(name, 0.0) == model.constant  # type: ignore[attr-defined]


def test_without_a_flush_the_rest_of_an_epoch_waits_for_the_next() -> None:
    """43 rows are left after 15 batches: they are the beginning of the next epoch's first."""
    model, stream, first, _ = given_problem("logistic")
    train_state, loop = descend(model, stream, [sgd(0.1)], first, flush=False)
    assert (loop.step, loop.rows) == (15, 960)
    stopped, _ = descend(model, stream, [sgd(0.1)], first, stops=[15])
    twice = Stream(stream.arrays, stream.windows * 2)
    whole, _ = descend(model, twice, [sgd(0.1)], first)
    for number in range(len(stream.windows)):
        assert loop.run(stream.rows(number), number == len(stream.windows) - 1, place=0) == OK
    assert loop.step == 32
    assert np.array_equal(train_state.parameters, whole.parameters)
    assert not np.array_equal(train_state.parameters, stopped.parameters)


@pytest.mark.slow
@settings(max_examples=40)
@given(
    places=st.sets(st.integers(0, ROWS), max_size=8),
    stops=st.sets(st.integers(1, 40)),
    batch=st.integers(1, 300),
    most_rows=st.sampled_from([4, 8, 24, 256]),
)
def test_no_bit_depends_on_where_windows_and_calls_end(
    places: set[int], stops: set[int], batch: int, most_rows: int
) -> None:
    """Batches and shares are carried over windows of any length, also of none."""
    model, stream, first, _ = given_problem("logistic")
    one = recut(stream, ())
    whole, loop = descend(model, one, [adam(0.1)], first, batch, most_rows=most_rows)
    many = recut(stream, sorted(places))
    cut, other = descend(model, many, [adam(0.1)], first, batch, sorted(stops), most_rows=most_rows)
    assert np.array_equal(whole.parameters, cut.parameters)
    assert np.array_equal(whole.state, cut.state)
    assert np.array_equal(whole.totals, cut.totals)
    assert loop.step == other.step == -(-ROWS // batch)
    assert loop.rows == other.rows == ROWS


def test_a_network_s_dropout_does_not_depend_on_where_windows_and_calls_end() -> None:
    model, stream, first = network_problem()
    whole, _ = descend(model, recut(stream, ()), [adam(0.01)], first, 100, least_rows=4)
    for places, stops in (((1, 99, 100, 101, 555), (1, 5, 9)), ((37,), range(1, 11))):
        many = recut(stream, places)
        cut, _ = descend(model, many, [adam(0.01)], first, 100, list(stops), least_rows=4)
        assert np.array_equal(whole.parameters, cut.parameters)
        assert np.array_equal(whole.totals, cut.totals)


def test_a_last_window_of_which_nothing_could_be_read_flushes_what_was_carried() -> None:
    model, stream, first, _ = given_problem("logistic")
    expected, _ = descend(model, stream, [sgd(0.1)], first)
    nothing = (np.empty(0, np.int64), np.empty(0, np.int32))
    for place in (0, 2, 4):
        windows = (*stream.windows[:place], nothing, *stream.windows[place:])
        found, loop = descend(model, Stream(stream.arrays, windows), [sgd(0.1)], first)
        assert np.array_equal(found.parameters, expected.parameters)
        assert (loop.step, loop.rows) == (16, ROWS)
    empty = Stream(stream.arrays, (nothing, nothing))
    found, loop = descend(model, empty, [sgd(0.1)], first)
    assert (loop.step, loop.rows) == (0, 0)
    assert np.array_equal(found.parameters[0], first)


def test_several_models_do_what_each_does_alone() -> None:
    """To the bit, also where one needs more state than another."""
    several = (sgd(0.5), adam(0.01, l1=1e-3), momentum(0.1, l2=0.1, clip_norm=0.1))
    for model, stream, first in (given_problem("logistic")[:3], network_problem()):
        together, _ = descend(model, stream, several, first)
        for number, optimizer in enumerate(several):
            alone, _ = descend(model, stream, [optimizer], first)
            assert np.array_equal(together.parameters[number], alone.parameters[0])
            assert np.array_equal(together.totals[number], alone.totals[0])
            assert np.array_equal(together.state[number, : optimizer.slots], alone.state[0])


def test_one_that_diverges_is_left_behind() -> None:
    model, stream, first, _ = given_problem("squared")
    together, _ = descend(model, stream, (sgd(0.1), sgd(1e6), adam(0.1)), first)
    assert together.active.tolist() == [True, False, True]
    for number, optimizer in ((0, sgd(0.1)), (2, adam(0.1))):
        alone, _ = descend(model, stream, [optimizer], first)
        assert np.array_equal(together.parameters[number], alone.parameters[0])
        assert np.array_equal(together.totals[number], alone.totals[0])


def test_where_all_diverge_the_loop_says_so() -> None:
    model, stream, first, _ = given_problem("squared")
    for optimizers in ([sgd(1e6)], [sgd(1e6), sgd(1e7)]):
        train_state = start(optimizers, first, model)
        loop = loop_of(model, stream.arrays, train_state, 64)
        loop.begin()
        found = OK
        for number in range(len(stream.windows)):
            if found == OK:
                found = loop.run(stream.rows(number), False, place=0)
        assert found == NOT_FINITE
        assert loop.step < 15


# Where the row lies in the stream: in a share that is whole within a window, at the end of a
# window whose share goes on in the next, and at the beginning of that next window.
PLACES = {"whole": 40, "carried": 127, "next": 132}
BAD = {
    "target": ("y", 2.0, BAD_TARGET),
    "no number": ("y", np.nan, BAD_TARGET),
    "weight": ("w", -1.0, BAD_WEIGHT),
    "infinite weight": ("w", np.inf, BAD_WEIGHT),
    "feature": ("X", np.nan, NOT_FINITE),
    "infinite feature": ("X", -np.inf, NOT_FINITE),
}


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("model", [Logistic(standardise=False), NETWORK], ids=lambda m: m.name)
def test_a_row_that_cannot_be_used_is_named_and_its_batch_changes_nothing(
    model: Model, place: str, kind: str, parallel: bool, several: bool
) -> None:
    name, value, status = BAD[kind]
    _, stream, _, _ = given_problem("logistic")
    stream = recut(stream, (130, 131, 700))
    row = int(stream.visited[PLACES[place]])
    optimizers = [sgd(0.1), adam(0.1)] if several else [sgd(0.1)]
    first = model.init(model.layout((6,)), np.random.default_rng(1))
    arrays = {key: array.copy() for key, array in stream.arrays.items()}
    arrays[name][row] = value
    spoiled = Stream(arrays, stream.windows)
    train_state = start(optimizers, first, model)
    loop = loop_of(model, arrays, train_state, 64, 2 if parallel else 1, most_rows=24, least_rows=4)
    loop.parallel = parallel
    loop.begin(run_key=5)
    for number in range(4):
        found = loop.run(spoiled.rows(number), False, place=0)
        if found != OK:
            break
    assert (found, loop.bad_row, loop.step) == (status, row, PLACES[place] // 64)
    before, stop = start(optimizers, first, model), PLACES[place] // 64
    other = loop_of(model, stream.arrays, before, 64, most_rows=24, least_rows=4)
    other.begin(run_key=5)
    for number in range(4):
        other.run(stream.rows(number), False, stop, place=0)
    assert np.array_equal(train_state.parameters, before.parameters)
    assert np.array_equal(train_state.state, before.state)


def test_the_first_of_several_bad_rows_is_named() -> None:
    model, stream, first, _ = given_problem("logistic")
    arrays = {name: array.copy() for name, array in stream.arrays.items()}
    visited = stream.visited
    arrays["y"][visited[[61, 12, 33]]] = 7.0
    for parallel in (False, True):
        train_state = start([sgd(0.1)], first, model)
        loop = loop_of(model, arrays, train_state, 64, 2 if parallel else 1, most_rows=8)
        loop.parallel = parallel
        loop.begin()
        assert loop.run(Stream(arrays, stream.windows).rows(0), False, place=0) == BAD_TARGET
        assert loop.bad_row == visited[12]


def test_a_batch_size_may_change_between_steps() -> None:
    """As if two runs had been put one after the other."""
    model, stream, first, _ = given_problem("logistic")
    one, visited = recut(stream, ()), stream.visited
    train_state = start([adam(0.1)], first, model)
    loop = loop_of(model, stream.arrays, train_state, 200)
    loop.batch_size = 50
    loop.begin()
    rows = one.rows(0)
    assert loop.run(rows, True, 3, place=0) == OK
    loop.batch_size = 200
    assert loop.run(rows, True) == OK
    x, y, weights = (stream.arrays[role].astype(np.float64) for role in ("X", "y", "w"))
    expected, memory = first.copy(), adam(0.1).init(first.size)
    edges = [0, 50, 100, 150, 350, 550, 750, 950, ROWS]
    for step, (begin, end) in enumerate(itertools.pairwise(edges)):
        batch = visited[begin:end]
        _, gradient = twin("logistic", x[batch], y[batch], weights[batch], expected, True, 1)
        adam(0.1).update(expected, gradient, memory, step)
    np.testing.assert_allclose(train_state.parameters[0], expected, rtol=1e-3, atol=1e-4)
    assert (loop.step, loop.rows) == (8, ROWS)
