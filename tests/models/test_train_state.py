"""What training changes: one descent's part of several, bytes, and settings of each phase."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ooc.kernels.counters import TOTALS
from ooc.models import Layout, Logistic
from ooc.models.declarations import Phase
from ooc.models.train_state import (
    at_rest,
    start,
    state_rows,
    train_state_bytes,
    update_addresses,
)
from ooc.optim import adam, averaged, cg, hybrid, momentum, sgd
from ooc.optim.settings import SETTINGS

TURNS: Any = SimpleNamespace(
    phases=(Phase("a", 2, adam(0.5)), Phase("b", 1)), terms=("one", "two", "three")
)


def test_descents_begin_alike_and_differ_in_their_methods() -> None:
    first = np.array([1.0, -2.0, 3.0], np.float32)
    both = start([sgd(0.1), adam(0.2)], first)
    assert len(both) == 2
    assert both.parameters.tolist() == [first.tolist()] * 2
    assert (both.state.shape, both.totals.shape) == ((2, 2, 3), (2, TOTALS + 1))
    assert both.active.tolist() == [True, True]
    assert not both.state.any() and not both.totals.any()
    assert np.array_equal(both.settings, [sgd(0.1).settings(), adam(0.2).settings()])
    assert both.optimizers == (sgd(0.1), adam(0.2))
    assert start([cg()], first).optimizers == ()


def test_one_descent_is_a_view_with_the_state_that_it_needs() -> None:
    both = start([momentum(0.1), adam(0.2)], np.zeros(3))
    one, other = both.alone(0), both.alone(1)
    assert (one.state.shape, other.state.shape) == ((1, 1, 3), (1, 2, 3))
    assert (one.methods, other.methods) == (both.methods[:1], both.methods[1:])
    other.parameters[0, 1], other.state[0, 1, 2], other.active[0] = 7, 8, False
    other.totals[0, 0], other.settings[0, 0] = 9, 0.5
    assert both.parameters.tolist() == [[0, 0, 0], [0, 7, 0]]
    assert (both.state[1, 1, 2], both.totals[1, 0], both.settings[1, 0]) == (8, 9, 0.5)
    assert both.active.tolist() == [True, False]
    # Alone from the start, with a phase that needs more than its method.
    alone = start([sgd(0.1)], np.zeros(3), TURNS)
    assert alone.alone(0).state.shape == alone.state.shape == (1, 2, 3)


def test_what_a_run_keeps_is_the_average_of_its_own_descent() -> None:
    both = start([sgd(0.1), averaged(0.1)], np.zeros(2))
    both.parameters[:] = [[1, 2], [3, 4]]
    both.state[:, 0] = [[9, 9], [0.5, 0.25]]
    assert both.solution(0).tolist() == [1, 2]
    assert both.solution(1).tolist() == [3.5, 4.25]
    assert both.solution().tolist() == [1, 2]


@pytest.mark.slow
def test_each_phase_has_settings_and_an_update_of_its_own() -> None:
    state = start([sgd(0.1), momentum(0.25)], np.zeros(3), TURNS)
    for row, own in zip(state.settings, (sgd(0.1), momentum(0.25)), strict=True):
        assert np.array_equal(row, np.concatenate([adam(0.5).settings(), own.settings()]))
    assert state.state.shape == (2, 2, 3)
    assert state.totals.shape == (2, TOTALS + 3)
    addresses = update_addresses(TURNS, state)
    adams, sgds = (make(0.1).address(np.float64) for make in (adam, sgd))
    assert addresses.tolist() == [[adams, sgds], [adams, momentum(0.1).address(np.float64)]]
    of_model: Any = Logistic()
    found = update_addresses(of_model, start([cg(), sgd(0.1)], np.zeros(3, np.float32)))
    assert found.tolist() == [[0], [sgd(0.1).address()]]
    rest = at_rest(TURNS, np.zeros(3))
    assert (rest.parameters.shape, rest.state.shape) == ((1, 3), (1, 0, 3))
    assert (rest.settings.shape, rest.totals.shape) == ((1, 2 * SETTINGS), (1, TOTALS + 3))
    nothing = update_addresses(TURNS, rest)
    assert nothing.shape == (1, 2)
    assert nothing[0, 0] == nothing[0, 1] not in (0, adams, sgds)


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ([sgd(0.1)], 10 * 4),
        ([adam(0.1)], 10 * (4 + 16)),
        ([sgd(0.1), adam(0.1)], 2 * 10 * (4 + 16)),
        ([hybrid(0.1, kept=8)], 10 * (4 + 8 * hybrid(0.1, kept=8).state_rows(10))),
    ],
)
def test_bytes_are_those_of_the_method_that_has_most(methods: list[Any], expected: int) -> None:
    layout = Layout({"w": (2, 5)})
    assert train_state_bytes(Logistic(), layout, methods) == expected
    made = start(methods, np.zeros(10, np.float32))
    assert made.parameters.nbytes + made.state.nbytes == expected
    wide = Logistic(dtype="float64")
    assert train_state_bytes(wide, layout, methods) == expected + 40 * len(methods)


def test_of_phases_the_one_with_most_state_counts() -> None:
    assert state_rows(sgd(0.1), 5, TURNS) == 2
    assert state_rows(sgd(0.1), 5) == 0
    assert state_rows(cg(), 5, TURNS) == cg().state_rows(5) > 2
